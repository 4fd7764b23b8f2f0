"""The pinwheel study: its points by hand, the network against numpy, what is trained and what is not."""

import matplotlib.image
import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.special import log_softmax

from surm_bench.studies import measurements, pinwheel, pinwheel_data, pinwheel_report, pinwheel_runs
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel_data import ARMS, BEND, REACH, TEST, TRAIN, grid, sample
from surm_bench.studies.pinwheel_network import METHODS, STRUCTURED, WIDTH, Network, build, matrix_counts, train

COUNTS = {  # trained and stored, for a matrix of 32×32
    "frozen": (0, 0),
    "low_rank": (64, 64),
    "circulant": (64, 32),
    "symmetric_toeplitz": (64, 64),
    "toeplitz": (63, 63),
    "dense": (1024, 1024),
}
methods = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def pretrained():
    torch.manual_seed(1)
    return Network(ARMS)


@pytest.fixture
def points():
    x, y = sample([0, TRAIN], 10)
    return torch.from_numpy(x), torch.from_numpy(y)


def test_the_arms_without_noise(monkeypatch):
    """All points of an arm are at radius 1, at the angle of the arm plus BEND·e."""
    monkeypatch.setattr(pinwheel_data, "RADIAL_STD", 0.0)
    monkeypatch.setattr(pinwheel_data, "TANGENTIAL_STD", 0.0)
    x, y = sample([0], 3, turn=0.2)
    np.testing.assert_array_equal(y, np.repeat(range(ARMS), 3))
    angles = 0.2 + BEND * np.e + 2 * np.pi * y / ARMS
    np.testing.assert_allclose(x, np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)


def test_the_noise_is_along_and_across_the_arms():
    """|x|² is (1 + radial)² + tangential², of mean 1 + 0.3² + 0.1²."""
    x, _ = sample([0], 20_000)
    assert (x.astype(float) ** 2).sum(1).mean() == pytest.approx(1.1, abs=0.01)


def test_turning_the_wheel_is_a_rotation():
    x, y = sample([4, TEST], 50)
    turned, same = sample([4, TEST], 50, turn=0.7)
    rotation = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    np.testing.assert_allclose(turned, x @ rotation.T, atol=1e-6)
    np.testing.assert_array_equal(y, same)


def test_points_are_seeded_and_drawn_apart_for_every_purpose():
    np.testing.assert_array_equal(sample([3, TRAIN], 5)[0], sample([3, TRAIN], 5)[0])
    assert not np.allclose(sample([3, TRAIN], 5)[0], sample([3, TEST], 5)[0])
    assert not np.allclose(sample([3, TRAIN], 5)[0], sample([4, TRAIN], 5)[0])


@methods
def test_the_network_against_numpy(method, points):
    torch.manual_seed(0)
    network = build(method, ARMS, None)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    p = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    match method:
        case "low_rank":
            delta = p["delta.b"] @ p["delta.a"]
        case "circulant":
            delta = scipy.linalg.circulant(p["delta.a"] * p["delta.b"])
        case "symmetric_toeplitz":
            delta = scipy.linalg.toeplitz(p["delta.b"]) @ scipy.linalg.toeplitz(p["delta.a"])
        case "toeplitz":
            delta = scipy.linalg.toeplitz(p["delta.t"][WIDTH - 1 :], p["delta.t"][WIDTH - 1 :: -1])
        case _:
            delta = 0
    first = np.maximum(points[0].numpy() @ p["input.weight"].T + p["input.bias"], 0)
    second = np.maximum(first @ (p["hidden.weight"] + delta).T + p["hidden.bias"], 0)
    logits = second @ p["head.weight"].T + p["head.bias"]
    np.testing.assert_allclose(network(points[0]).detach().numpy(), logits, rtol=1e-4, atol=1e-3)


@methods
def test_counts_of_the_matrix(method, pretrained):
    for base in (None, pretrained):
        assert matrix_counts(build(method, ARMS, base)) == COUNTS[method]


@methods
def test_what_is_trained(method, pretrained, points):
    """Adapted: the matrix only. From scratch: all else too, while a structured matrix replaces W₀, which stays zero."""
    others = {f"{layer}.{kind}" for layer in ("input", "head") for kind in ("weight", "bias")} | {"hidden.bias"}
    for base in (None, pretrained):
        network = build(method, ARMS, base)
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        train(network, *points, rate=0.01, steps=3)
        changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
        matrix = {name for name in before if name.startswith("delta") and method in STRUCTURED}
        matrix |= {"hidden.weight"} if method == "dense" else set()
        assert changed == (matrix if base else matrix | others)
        if method in STRUCTURED and base is None:
            assert torch.count_nonzero(network.hidden.weight) == 0


@methods
def test_an_adaptation_starts_at_the_pretrained_network(method, pretrained, points):
    torch.testing.assert_close(build(method, ARMS, pretrained)(points[0]), pretrained(points[0]), rtol=0, atol=0)


def test_the_loss_and_the_first_step_of_adam(pretrained, points):
    """The first loss by scipy; Adam's first step is the rate, in the direction of the gradient's sign."""
    x, y = points
    expected = -log_softmax(pretrained(x).detach().double().numpy(), axis=1)[np.arange(len(y)), y.numpy()].mean()
    network = build("toeplitz", ARMS, pretrained)
    losses = train(network, x, y, rate=0.01, steps=1)
    assert losses == [pytest.approx(expected, rel=1e-5)]
    np.testing.assert_allclose(network.delta.t.detach().abs().numpy(), 0.01, rtol=1e-3)


def test_the_rate_falls_to_zero(pretrained, points, monkeypatch):
    seen, step = [], torch.optim.Adam.step

    def watch(optimizer, *arguments):
        seen.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watch)
    train(build("toeplitz", ARMS, pretrained), *points, rate=0.4, steps=4)
    assert seen == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_nothing_to_train(pretrained, points):
    assert train(build("frozen", ARMS, pretrained), *points, rate=0.01, steps=3) == []


def test_the_rule_of_the_learning_rate():
    rows = [{"rate": 0.1, "accuracies": [0.5, 0.8]}, {"rate": 0.01, "accuracies": [0.7, 0.6]}]
    assert pinwheel_runs.choose(rows) == 0.01  # both have a mean of 0.65
    rows[0]["accuracies"][0] = 0.51
    assert pinwheel_runs.choose(rows) == 0.1


def test_a_decision_map_begins_below():
    def above(x):
        return torch.stack([-x[:, 1], x[:, 1] + 0.01 * (x[:, 0] > 0)], dim=1)

    assert pinwheel_runs.decision_map(above, 4) == ["0000", "0000", "1111", "1111"]
    np.testing.assert_allclose(grid(2), REACH / 2 * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pinwheel")
    pinwheel.main(folder, quick=True)
    return folder


def test_the_study_leaves_records_a_table_and_figures(quick):
    records, settings = measurements.read(quick / "measurements.json"), pinwheel.QUICK
    runs = {(run["setting"], run["method"], run["seed"]): run for run in records["runs"]}
    assert len(runs) == len(records["runs"]) == 2 * len(METHODS) * len(settings.seeds)
    assert {(run["trained"], run["stored"]) for run in records["runs"]} == set(COUNTS.values())
    assert len(records["tuning"]) == 2 * len(METHODS) * len(settings.rates)
    assert not set(settings.seeds) & set(settings.tuning_seeds)
    assert records["environment"]["torch"]
    frozen = runs["adapted", "frozen", 0]
    assert (frozen["rate"], frozen["losses"]) == (None, [])
    for region in records["regions"]:
        assert len(region["rows"]) == settings.resolution
        assert set("".join(region["rows"])) <= set("0123456")
    table = (quick / "table.md").read_text()
    assert all(name in table for name in ("LoRA r=1", "circulant", "symmetric Toeplitz", "Toeplitz", "dense"))
    for name in ("decision_regions", "loss_curves"):
        assert matplotlib.image.imread(quick / f"{name}.png").shape[1] == 1600


def test_the_same_seed_gives_the_same_numbers(quick):
    torch.manual_seed(9)
    base, accuracy = pinwheel.pretrain(1, pinwheel.QUICK)
    records = measurements.read(quick / "measurements.json")
    assert {"seed": 1, "accuracy": accuracy} in records["pretraining"]
    run = next(r for r in records["runs"] if (r["setting"], r["method"], r["seed"]) == ("adapted", "circulant", 1))
    again = pinwheel_runs.learn(pinwheel.start("circulant", {1: base}, 1), 1, run["rate"], pinwheel.QUICK)
    assert run == {"setting": "adapted", "method": "circulant"} | again


def a_run(method, seed, accuracy, rate=0.1, setting="adapted"):
    cell = {"setting": setting, "method": method, "trained": COUNTS[method][0], "stored": COUNTS[method][1]}
    losses = [] if rate is None else [1.0, 0.5 + seed]
    return cell | {"seed": seed, "rate": rate, "accuracy": accuracy, "steps": [0, 5][: len(losses)], "losses": losses}


def test_the_table_by_hand():
    """References are never marked as best."""
    runs = [a_run("frozen", seed, 0.5, rate=None) for seed in (0, 1)]
    runs += [a_run("low_rank", 0, 0.80), a_run("low_rank", 1, 0.84)]
    runs += [a_run("circulant", 0, 0.90), a_run("circulant", 1, 0.80)]
    runs += [a_run("toeplitz", 0, 0.70), a_run("toeplitz", 1, 0.70)]
    runs += [a_run("dense", seed, 0.99, rate=0.3) for seed in (0, 1)]
    settings = {"seeds": [0, 1], "tuning_seeds": [7], "steps": 10, "rates": [0.01, 0.1, 0.3]}
    table = pinwheel_report.accuracy_table({"settings": settings, "structures": declarations(), "runs": runs})
    rows = {row[0].text: [(cell.text, cell.mark) for cell in row[1:]] for row in table.rows}
    assert rows["frozen"] == [("0", ""), ("0", ""), ("50.0 ± 0.0", ""), ("—", ""), ("—", "")]
    assert rows["LoRA r=1"] == [("64", ""), ("64", ""), ("82.0 ± 2.8", "second"), ("1.000", ""), ("0.1", "")]
    assert rows["circulant"][1:3] == [("32", ""), ("85.0 ± 7.1", "best")]
    assert rows["Toeplitz"][2] == ("70.0 ± 0.0", "")
    assert rows["dense"][2] == ("99.0 ± 0.0", "")
    assert "chosen at an edge of this grid: dense, adapted (0.3)" in table.caption
    assert "diverged" not in table.caption


def test_a_seed_that_diverged_leaves_no_mean():
    runs = [a_run(method, seed, 0.8) for method in ("low_rank", "circulant") for seed in (0, 1)]
    runs[0]["losses"] = [1.0, None]
    settings = {"seeds": [0, 1], "tuning_seeds": [7], "steps": 10, "rates": [0.01, 0.1, 0.3]}
    table = pinwheel_report.accuracy_table({"settings": settings, "structures": declarations(), "runs": runs})
    assert [(cell.text, cell.mark) for cell in table.rows[0][3:]] == [("1 of 2 diverged", ""), ("—", ""), ("0.1", "")]
    assert [row[3].mark for row in table.rows] == ["", "best"]
    assert table.data["n"].tolist() == [1, 2] and table.data["accuracy"].isna().tolist() == [True, False]
    assert "No mean where a seed diverged: LoRA r=1, adapted (1 of 2 diverged)." in table.caption

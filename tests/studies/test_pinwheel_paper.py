"""The pinwheel in the paper's setting: what is trained, the same start for all methods, CKA by hand, the report."""

import matplotlib.image
import numpy as np
import pytest
import torch

from surm_bench.studies import measurements, pinwheel_paper, pinwheel_paper_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel_data import TEST, TRAIN
from surm_bench.studies.pinwheel_network import STRUCTURED, matrix_counts, train
from surm_bench.studies.pinwheel_paper import ARMS, FROZEN, METHODS, QUICK, TRAINED, WIDTH, build, similarity
from surm_bench.studies.pinwheel_runs import points

COUNTS = {"low_rank": 128, "circulant": 128, "symmetric_toeplitz": 128, "toeplitz": 127, "dense": 4096}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("embedding", [FROZEN, TRAINED])
def test_what_is_trained_and_where_it_starts(method, embedding):
    network, dense = build(method, embedding, 3), build("dense", embedding, 3)
    assert matrix_counts(network)[0] == COUNTS[method]
    for name in ("input.weight", "head.weight"):
        torch.testing.assert_close(network.get_parameter(name), dense.get_parameter(name), rtol=0, atol=0)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    train(network, *points([0, TRAIN], 10, ARMS), rate=0.01, steps=3)
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    others = {"hidden.bias", "head.weight", "head.bias"} | (
        {"input.weight", "input.bias"} if embedding == TRAINED else set()
    )
    assert {name for name in changed if not name.startswith("delta.")} == others | (
        {"hidden.weight"} if method == "dense" else set()
    )
    if method in STRUCTURED:
        assert {name for name in before if name.startswith("delta.")} <= changed
        assert torch.count_nonzero(network.hidden.weight) == 0


def test_five_arms():
    x, y = points([0, TRAIN], 7, ARMS)
    assert x.shape == (5 * 7, 2) and set(y.tolist()) == set(range(ARMS))


def test_similarity_is_linear_cka_by_its_definition():
    """tr(KHLH) over the norms, H the centring matrix; features by numpy."""
    one, full = build("dense", FROZEN, 0), build("dense", FROZEN, 1)
    x, _ = points([0, TEST], 4, ARMS)

    def features(network):
        p = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
        first = np.maximum(x.numpy() @ p["input.weight"].T + p["input.bias"], 0)
        return np.maximum(first @ p["hidden.weight"].T + p["hidden.bias"], 0)

    def hsic(k, m):
        h = np.eye(len(k)) - 1 / len(k)
        return np.trace(k @ h @ m @ h)

    found = similarity(one, full, x)
    weights = [network.hidden.weight.detach().double().numpy() for network in (one, full)]
    for name, (a, b) in {"cka_features": (features(one), features(full)), "cka_weights": weights}.items():
        k, m = a @ a.T, b @ b.T
        assert found[name] == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-4)
    assert found["cka_weights"] < 0.9 and weights[0].shape == (WIDTH, WIDTH)


@pytest.mark.slow
def test_the_study_leaves_records_a_table_and_figures(tmp_path):
    pinwheel_paper.main(tmp_path, quick=True)
    records = measurements.read(tmp_path / "measurements.json")
    assert len(records["runs"]) == 2 * len(METHODS) * len(QUICK.seeds)
    assert len(records["similarities"]) == 2 * (len(STRUCTURED) + 2) * len(QUICK.seeds)
    assert set("".join("".join(region["rows"]) for region in records["regions"])) <= set("01234")
    table = (tmp_path / "table.md").read_text()
    assert all(name in table for name in ("LoRA r=1", "symmetric Toeplitz", "dense, another seed", "embedding trained"))
    for name in ("decision_regions", "loss_curves"):
        assert matplotlib.image.imread(tmp_path / f"{name}.png").shape[1] == 1600


@pytest.fixture
def measured():
    """LoRA's loss is the highest in one of two settings; by features circulant alone is nearer than LoRA."""
    losses = {"low_rank": (0.8, 0.1), "circulant": (0.2, 0.2), "symmetric_toeplitz": (0.3, 0.2), "toeplitz": (0.1, 0.1)}
    alike = {"low_rank": 0.5, "circulant": 0.9, "symmetric_toeplitz": 0.4, "toeplitz": 0.4, "dense, not trained": 0.6}
    runs, similarities = [], []
    for place, setting in enumerate((FROZEN, TRAINED)):
        for method, loss in (losses | {"dense": (0.05, 0.05)}).items():
            counts = {"trained": 128, "stored": 128, "rate": 0.01, "accuracy": 0.9, "losses": [loss[place]]}
            runs += [{"setting": setting, "method": method, "seed": seed} | counts for seed in (0, 1)]
        for method, cka in alike.items():
            row = {"setting": setting, "method": method, "cka_features": cka, "cka_weights": 1 - cka}
            similarities += [row | {"seed": seed} for seed in (0, 1)]
    settings = {"width": 64, "arms": 5, "train_per_arm": 1, "steps": 1}
    settings |= {"seeds": [0, 1], "tuning_seeds": [9], "rates": [0.01, 0.1, 1]}
    return {"settings": settings, "runs": runs, "similarities": similarities, "structures": declarations()}


def test_what_the_paper_says_beside_what_is_measured(measured):
    caption = pinwheel_paper_report.similarity_table(measured).caption
    assert "LoRA's loss is the highest in 1 of 2 settings, unlike there, and within a factor" in caption
    assert "of that size in 1 of 2 settings, unlike there; embedding frozen: 0.800, the structured 0.100" in caption
    assert "features LoRA is the last in 0 of 2 settings, unlike there, and circulant the first in 2 of 2" in caption
    assert "matrix LoRA is the last in 0 of 2 settings, unlike there, and circulant the first in 0 of 2" in caption
    assert "not trained is ahead of 8 of 16 trained ones" in caption  # 3 of 4 by features, 1 of 4 by the matrix


def test_the_rates_and_those_at_an_edge_of_the_grid(measured):
    for run in measured["runs"]:
        run["rate"] = 0.1 if run["method"] != "dense" else 1
    table = pinwheel_paper_report.similarity_table(measured)
    rates = {row[1].text: row[3].text for row in table.rows}
    assert rates == dict.fromkeys(("LoRA r=1", "circulant", "symmetric Toeplitz", "Toeplitz"), "0.1") | {
        "dense": "1", "dense, not trained": "—",
    }  # fmt: skip
    assert "at an edge of this grid: dense, embedding frozen (1); dense, embedding trained (1)." in table.caption


def test_a_seed_that_diverged_leaves_no_mean_and_no_comparison(measured):
    measured["runs"][0]["losses"] = [None]
    table = pinwheel_paper_report.similarity_table(measured)
    assert [cell.text for cell in table.rows[0][4:]] == ["1 of 2 diverged", "—", "—", "—"]
    assert "no comparison with the paper: LoRA r=1, embedding frozen (1 of 2 diverged)." in table.caption
    assert "LoRA's loss" not in table.caption

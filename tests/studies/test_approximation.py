"""The study of approximation: targets as promised, fits against closed forms by numpy, the report by hand."""

import dataclasses
import json
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import torch
from support.oracles import oracle

from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.errors import UserError
from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import approximation, approximation_report, measurements
from surm_bench.studies.fitting import fit
from surm_bench.studies.members import build, declarations, nearest, relative_error
from surm_bench.studies.targets import NOISE, TARGETS, extent, sample

SIDE = 16
QUICK = dataclasses.replace(approximation.QUICK, iterations=25)
CELLS = [(name, budget) for name in STRUCTURES for budget in (1, 2, 3) if budget == 1 or STRUCTURES[name].growth]
with_closed_form = pytest.mark.parametrize(
    "name, budget", [cell for cell in CELLS if STRUCTURES[cell[0]].has_closed_form()]
)


def best_error(name: str, matrix: np.ndarray, budget: int) -> float:
    """The least relative error, by numpy alone."""
    side = len(matrix)
    match name:
        case "low_rank":  # Eckart and Young: the tail of the spectrum
            return tail(matrix, budget)
        case "kronecker":  # factors of 4×4, for a side of 16: blocks as rows, then as above
            blocks = [matrix[r : r + 4, c : c + 4].ravel() for r in range(0, side, 4) for c in range(0, side, 4)]
            return tail(np.array(blocks), budget)
        case _:  # a linear space of matrices, spanned by random members: least squares
            torch.manual_seed(2)
            members = [StructuredMatrix(STRUCTURES[name](side, side)) for _ in range(2 * side + 4)]
            for parameter in (parameter for member in members for parameter in member.parameters()):
                torch.nn.init.normal_(parameter)
            span = np.stack([oracle(name, member).numpy().ravel() for member in members], axis=1)
            projected = span @ np.linalg.lstsq(span, matrix.ravel())[0]
            return np.linalg.norm(matrix.ravel() - projected) / np.linalg.norm(matrix)


def tail(matrix: np.ndarray, rank: int) -> float:
    singular = np.linalg.svd(matrix, compute_uv=False)
    return np.linalg.norm(singular[rank:]) / np.linalg.norm(singular)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_seeded_and_of_one_size(name):
    matrix = sample(name, 32, trial=3)
    assert matrix.shape == (32, 32)
    assert np.sqrt((matrix**2).mean()) == pytest.approx(1)
    np.testing.assert_array_equal(matrix, sample(name, 32, trial=3))
    assert not np.allclose(matrix, sample(name, 32, trial=4))


def test_psd_target():
    """Wishart: E tr(A)² is n⁴ and E‖A‖² is 2n³ + n², so that the identity has 1 / (2 + 1/n) of the squared norm."""
    for trial in range(3):
        matrix = sample("random PSD", 128, trial)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > 0
        share = np.trace(matrix) ** 2 / 128 / np.linalg.norm(matrix) ** 2
        assert share == pytest.approx(1 / (2 + 1 / 128), abs=0.02)


def test_gaussian_target_has_no_structure():
    """Each of its singular values takes its part: the largest is about 2√n for entries of variance 1."""
    singular = np.linalg.svd(sample("random Gaussian", 256, 0), compute_uv=False)
    assert singular[0] == pytest.approx(2 * np.sqrt(256), rel=0.05)


def test_near_low_rank_target():
    singular = np.linalg.svd(sample("near low rank", 64, 0), compute_uv=False)
    rank = extent(64)
    assert rank == 4
    assert singular[rank - 1] > 5 * singular[rank]
    beyond = np.linalg.norm(singular[rank:]) / np.linalg.norm(singular)
    # of the noise, the best four-dimensional row and column spaces take a part away
    assert NOISE * (1 - 2 * rank / 64) < beyond < NOISE


def test_banded_target():
    matrix, (i, j) = sample("banded", 48, 0), np.indices((48, 48))
    assert extent(48) == 3
    assert (matrix[abs(i - j) > 3] == 0).all()
    assert (matrix[abs(i - j) <= 3] != 0).all()


def test_too_small_a_side():
    with pytest.raises(UserError, match="side=8 is not possible: give at least 16"):
        sample("banded", 8, 0)


@pytest.mark.parametrize("name, budget", CELLS)
@pytest.mark.parametrize("side", [16, 64])
def test_budgets_are_equal(name, budget, side):
    member = build(name, side, budget)
    assert 2 * side * budget - 1 <= member.num_parameters <= 2 * side * budget  # one fewer: Toeplitz
    assert 0 < member.num_stored <= member.num_parameters
    assert member.dense().shape == (side, side)
    assert torch.count_nonzero(member.dense()) == 0  # the structure's own start


@with_closed_form
@pytest.mark.parametrize("target", TARGETS)
def test_nearest_and_the_fit_reach_the_least_error(name, budget, target):
    matrix = sample(target, SIDE, trial=1)
    least = best_error(name, matrix, budget)
    matrix = torch.from_numpy(matrix)
    assert relative_error(nearest(name, matrix, budget), matrix) == pytest.approx(least, abs=1e-12)
    torch.manual_seed(0)
    member = build(name, SIDE, budget).double()
    assert 1 < fit(member, matrix, iterations=1000) < 1000
    assert least - 1e-12 < relative_error(member, matrix) < least + 1e-4


@pytest.mark.parametrize("name", ["symmetric_toeplitz", "ldr"])
def test_without_closed_form(name):
    assert nearest(name, torch.eye(SIDE), 1) is None


def test_the_fit_finds_a_matrix_of_low_displacement_rank():
    """A matrix of rank 2 has displacement rank 4 at most (Kailath, Kung & Morf, 1979)."""
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(rng.standard_normal((SIDE, 2)) @ rng.standard_normal((2, SIDE)))
    torch.manual_seed(0)
    member = build("ldr", SIDE, 4).double()
    fit(member, matrix, iterations=1000)
    assert relative_error(member, matrix) < 1e-3


def test_a_fit_stops_at_its_limit():
    matrix = torch.from_numpy(sample("random Gaussian", SIDE, 0))
    assert fit(build("ldr", SIDE, 2).double(), matrix, iterations=7) == 7


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("approximation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximation, "QUICK", QUICK)
        approximation.main(folder, quick=True)
    return folder


def test_the_study_leaves_records_a_table_and_a_figure(quick):
    records, settings = measurements.read(quick / "measurements.json"), QUICK
    assert records["settings"]["side"] == settings.side
    assert records["environment"]["torch"]
    cells = {(row["structure"], row["budget"]) for row in records["fits"]}
    assert cells == {cell for cell in CELLS if cell[1] in settings.budgets}
    assert {("circulant", 1), ("low_rank", 2), ("kronecker", 2), ("ldr", 2)} <= cells
    assert len(records["fits"]) == len(cells) * len(TARGETS) * settings.trials
    for row in records["fits"]:
        matrix = sample(row["target"], settings.side, row["trial"])
        if STRUCTURES[row["structure"]].has_closed_form():
            assert row["closed_form"] == pytest.approx(best_error(row["structure"], matrix, row["budget"]))
            assert row["fitted"] >= row["closed_form"] - 1e-12
        else:
            assert row["closed_form"] is None
        assert 0 < row["fitted"] < 1
    for row in records["identity"]:
        matrix = sample(row["target"], settings.side, row["trial"])
        along = (matrix * np.eye(len(matrix)) / np.sqrt(len(matrix))).sum() / np.linalg.norm(matrix)  # a cosine
        assert row["error"] == pytest.approx(np.sqrt(1 - along**2))
    assert "low rank r=2" in (quick / "table.md").read_text()
    assert (quick / "table.tex").read_text().count(r" \\") > 9
    assert (quick / "table.csv").read_text().count("\n") == 1 + len(cells) * len(TARGETS)
    assert matplotlib.image.imread(quick / "error_against_parameters.png").shape[1] == 1600
    assert not [path for path in quick.iterdir() if path.name.startswith(".")]


def test_the_same_seeds_give_the_same_numbers(quick):
    """Whatever was drawn before, and without disturbing who draws next."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    row = approximation.approximate("ldr", 2, "banded", 1, QUICK)
    assert row in measurements.read(quick / "measurements.json")["fits"]
    torch.testing.assert_close(torch.get_rng_state(), state)


def fitted(structure, trial, fitted, closed_form=None, target="random PSD", budget=1):
    counts = {"trained": 32 * budget, "stored": 32 * budget}
    cell = {"structure": structure, "budget": budget, "target": target, "trial": trial}
    return cell | counts | {"fitted": fitted, "closed_form": closed_form, "iterations": 10 + trial}


@pytest.fixture
def by_hand():
    """Circulant 0.5 and 0.7 (mean 0.6, std 0.1414), gaps 0 and 0.1; low rank 0.60 and 0.6008 (0.6004); LDR 0.8."""
    fits = [fitted("circulant", 0, 0.5, 0.5), fitted("circulant", 1, 0.7, 0.6)]
    fits += [fitted("low_rank", 0, 0.6, 0.6), fitted("low_rank", 1, 0.6008, 0.6)]
    fits += [fitted("ldr", 0, 0.7), fitted("ldr", 1, 0.9)]
    fits += [fitted("ldr", trial, 0.95, budget=2) for trial in (0, 1)]
    settings = {"side": 16, "budgets": [1, 2], "trials": 2, "iterations": 11, "method": "L-BFGS-B"}
    identity = [{"target": "random PSD", "trial": trial, "error": error} for trial, error in enumerate((0.7, 0.9))]
    return {"settings": settings, "structures": declarations(), "identity": identity, "fits": fits}


def test_the_table_by_hand(by_hand):
    """0.600 and 0.6004 look equal: both are best, and LDR is second; a larger budget competes by itself."""
    table = approximation_report.error_table(by_hand)
    assert [column.title for column in table.columns] == ["Structure", "Trained", "Stored", "random PSD", "Gap"]
    rows = {row[0].text: row for row in table.rows}
    assert [cell.text for cell in table.rows[0]] == ["multiple of the identity", "1", "1", "0.800 ± 0.141", "—"]
    assert (rows["circulant"][3].text, rows["circulant"][3].mark) == ("0.600 ± 0.141", "best")
    assert (rows["low rank r=1"][3].text, rows["low rank r=1"][3].mark) == ("0.600 ± 0.001", "best")
    assert (rows["LDR r=1"][3].text, rows["LDR r=1"][3].mark) == ("0.800 ± 0.141", "second")
    assert [cell.text for cell in rows["LDR r=2"]] == ["LDR r=2", "64", "64", "0.950 ± 0.000", "—"]
    assert rows["LDR r=2"][3].mark == "best"
    assert [rows[name][4].text for name in ("circulant", "low rank r=1", "LDR r=1")] == ["1e-01", "8e-04", "—"]
    assert "low rank is the worst in 0 of 2 trials" in table.caption
    assert "which 4 of 8 fits used up" in table.caption  # those of trial 1
    assert "best first by the mean: circulant 0.600, low rank 0.600, LDR 0.800." in table.caption


def test_reports_need_no_torch():
    """Neither do the targets."""
    rooms = "approximation_report, pinwheel_report, pinwheel_data, targets"
    code = f"import sys; from surm_bench.studies import {rooms}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_records_are_whole_and_plain(tmp_path):
    path = tmp_path / "measurements.json"
    measurements.write(
        path, {"study": "some"}, rows=[{"a": float("nan"), "b": [1.5, float("inf")]}, {"a": 2.0, "b": []}]
    )
    read = measurements.read(path)
    assert read["rows"] == [{"a": None, "b": [1.5, None]}, {"a": 2.0, "b": []}]
    assert read["study"] == "some"
    whole = path.read_text()
    with pytest.raises(TypeError):
        measurements.write(path, {"study": "another"}, rows=[{"a": object()}])
    assert path.read_text() == whole
    path.write_text(whole[:-20])
    with pytest.raises(UserError, match="unreadable measurements"):
        measurements.read(path)
    path.write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UserError, match="schema_version 99: this surm-bench reads 1"):
        measurements.read(path)
    with pytest.raises(UserError, match="unreadable measurements"):
        measurements.read(tmp_path / "nowhere.json")


def test_the_command_line(monkeypatch, tmp_path):
    """What is only tried does not replace results."""
    called = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(approximation, "main", lambda folder, **options: called.append((str(folder), options)))
    for arguments in ([], ["--quick"], ["--folder", "here", "--side", "32"]):
        assert command(["study", "approximation", *arguments]) == 0
    assert called == [
        ("results/studies/approximation", {"quick": False}),
        ("outputs/studies/approximation", {"quick": True}),
        ("here", {"quick": False, "side": 32}),
    ]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--side", "8"], "side=8 is not possible: give at least 16"),
        (["--side", "0"], "side=0 is not possible: give at least 16"),
        (["--folder", "file"], "file: File exists: name another path"),
    ],
)
def test_bad_input_is_one_line(arguments, complaint, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert exit_code(command, ["study", "approximation", *arguments]) == 2
    assert capsys.readouterr().err == f"surm-bench: {complaint}\n"
    assert not list(tmp_path.rglob("*.json"))

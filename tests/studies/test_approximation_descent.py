"""Approximation along training: the targets by their definitions, descents against least errors by numpy."""

import dataclasses

import matplotlib.image
import numpy as np
import pytest

from surm_bench.studies import approximation_descent, approximation_descent_report, measurements
from surm_bench.studies.approximation_descent import MEMBERS, NOISE, QUICK, RANK, TARGETS, approximate

LONG = dataclasses.replace(QUICK, steps=400, every=100)


def sample(name, side):
    return TARGETS[name](np.random.default_rng(3), side)


def test_targets():
    singular = np.linalg.svd(sample("near low rank", 60), compute_uv=False)
    assert singular[RANK - 1] > 20 * singular[RANK]
    np.testing.assert_allclose((singular[RANK:] ** 2).sum() / (60 - RANK) ** 2, NOISE**2, rtol=0.1)
    t, sines = np.random.default_rng(3).standard_normal(60), sample("sines", 60)
    assert sines[7, 4] == pytest.approx(np.sin(5 * t[7]))
    assert (sample("sines with noise", 60) - sines).std() == pytest.approx(NOISE, rel=0.1)
    assert sample("Gaussian", 60).std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name, wrap", [("circulant", True), ("Toeplitz", False)])
def test_a_descent_ends_at_the_mean_of_every_diagonal(name, wrap):
    matrix = np.random.default_rng(0).standard_normal((16, 16))
    diagonals = np.subtract.outer(np.arange(16), np.arange(16)) % (16 if wrap else 100)
    nearest = sum(np.where(diagonals == d, matrix[diagonals == d].mean(), 0) for d in np.unique(diagonals))
    row = approximate(name, "Gaussian", 0, LONG)
    assert row["errors"][0] == 1  # from zero
    assert row["errors"][-1] == pytest.approx(np.linalg.norm(matrix - nearest) / np.linalg.norm(matrix), abs=1e-4)


@pytest.mark.slow
def test_w_of_a_large_r_holds_every_matrix_and_a_larger_r_is_nearer():
    """r·2·16 numbers: with r = 20 there are more than the 256 of the target."""
    errors = [approximate(f"W(G, H), r = {r}", "Gaussian", 0, LONG)["errors"][-1] for r in (1, 2, 4, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.8 and errors[-1] < 1e-2


def test_the_study_leaves_records_a_table_and_a_figure(tmp_path):
    approximation_descent.main(tmp_path, quick=True)
    rows = measurements.read(tmp_path / "measurements.json")["descents"]
    assert len(rows) == len(TARGETS) * len(MEMBERS) * QUICK.trials
    assert {len(row["errors"]) for row in rows} == {3}  # before, after 10 and 20 steps
    stored = {row["member"]: row["stored"] for row in rows}
    assert stored["W(G, H), r = 4"] == 4 * 2 * 16 and stored["Toeplitz"] == 31 and stored["circulant"] == 16
    table = (tmp_path / "table.md").read_text()
    assert "W(G, H), r = 20" in table and "over 2 trials" in table and "nan" not in table
    assert matplotlib.image.imread(tmp_path / "error_along_training.png").shape[1] == 1600


def test_the_table_by_hand():
    def row(member, trial, last):
        return {"target": "t", "member": member, "trial": trial, "stored": 1000, "errors": [1.0, last]}

    one, two = "W(G, H), r = 1", "W(G, H), r = 2"
    rows = [row(two, 0, 0.2), row(two, 1, 0.4), row(one, 0, 0.5), row(one, 1, 0.5)]
    rows += [row(name, trial, 0.8) for name in ("circulant", "Toeplitz") for trial in (0, 1)]
    rows = sorted(rows, key=lambda row: row["member"])
    settings = {"steps": 9, "side": 4, "trials": 2, "noise": 0.05, "rank": 4, "rate": 0.1}
    table = approximation_descent_report.error_table({"settings": settings, "descents": rows})
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["Toeplitz", "1,000", "0.800 ± 0.000"],
        [one, "1,000", "0.500 ± 0.000"],
        [two, "1,000", "0.300 ± 0.141"],
        ["circulant", "1,000", "0.800 ± 0.000"],
    ]
    assert [row[2].mark for row in table.rows] == ["", "second", "best", ""]
    assert "on 1 of 1 targets, W(G, H) of r = 2 is ahead of Toeplitz on 1 of 1, and" in table.caption
    assert "leave at least 0.800: the order is the theorem's" in table.caption
    once = approximation_descent_report.error_table({"settings": settings, "descents": rows[::2]})
    assert [row[2].text for row in once.rows] == ["0.800", "0.500", "0.200", "0.800"]  # one trial has no deviation
    worse = [one_row | {"errors": [1.0, 0.9]} if one_row["member"] == two else one_row for one_row in rows]
    caption = approximation_descent_report.error_table({"settings": settings, "descents": worse}).caption
    assert "on 0 of 1 targets" in caption and "the order is not the theorem's" in caption

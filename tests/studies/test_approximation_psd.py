"""The paper's PSD approximation: targets as promised, every structure at the least error by closed forms of numpy."""

import matplotlib.image
import numpy as np
import pytest
import scipy.linalg

from surm_bench.studies import approximation_psd, approximation_psd_report, measurements
from surm_bench.studies.approximation_psd import SIDE, TARGETS, approximations, mean_along


@pytest.fixture(params=TARGETS)
def matrix(request):
    return TARGETS[request.param](np.random.default_rng(1))


def least_square_of_symmetric(matrix):
    """min ‖c·uuᵀ − S‖² over c ≥ 0: the largest eigenvalue is taken away from the symmetric part S."""
    return np.linalg.norm(matrix) ** 2 - np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1] ** 2


def test_targets():
    x = TARGETS["X·Xᵀ, X with unit rows"](np.random.default_rng(0))
    assert np.linalg.eigvalsh(x).min() > -1e-12
    np.testing.assert_allclose(np.diag(x), 1)
    rows = TARGETS["PSD, then unit rows"](np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    scales = np.random.default_rng(0).standard_normal((SIDE, SIDE))
    np.testing.assert_allclose(rows * np.linalg.norm(scales @ scales.T, axis=1)[:, None], scales @ scales.T)


def test_gradient_descent_reaches_the_least_errors(matrix):
    """v·vᵀ by the leading eigenvalue; A⊗Aᵀ so too, after the rearrangement of Van Loan and Pitsianis."""
    found = approximations(matrix, trial=0, steps=3000)
    error = np.linalg.norm(found["low rank v·vᵀ"] - matrix)
    assert error == pytest.approx(np.sqrt(least_square_of_symmetric(matrix)), rel=1e-3)
    pairs = np.empty((50, 50))  # (A⊗Aᵀ)[i·5 + k, j·10 + l] = A[i, j]·A[l, k], A of 10×5
    for (i, j), (lower, k) in ((a, b) for a in np.ndindex(10, 5) for b in np.ndindex(10, 5)):
        pairs[i * 5 + j, lower * 5 + k] = matrix[i * 5 + k, j * 10 + lower]
    error = np.linalg.norm(found["Kronecker A⊗Aᵀ"] - matrix)
    assert error == pytest.approx(np.sqrt(least_square_of_symmetric(pairs)), rel=1e-3)


def test_closed_forms_are_projections(matrix):
    found = approximations(matrix, trial=0, steps=1)
    eye = np.eye(SIDE)
    bases = {
        "circulant": [scipy.linalg.circulant(column) for column in eye],
        "symmetric Toeplitz": [scipy.linalg.toeplitz(column) for column in eye],
        "multiple of the identity": [eye],
    }
    for name, members in bases.items():
        span = np.stack([member.ravel() for member in members], axis=1)
        wanted = span @ np.linalg.lstsq(span, matrix.ravel())[0]
        np.testing.assert_allclose(found[name].ravel(), wanted, atol=1e-12)


def test_means_of_groups():
    np.testing.assert_array_equal(mean_along(np.array([1.0, 5.0, 3.0]), np.array([0, 1, 0])), [2, 5, 2])


def test_the_study_leaves_records_a_table_and_a_figure(tmp_path):
    approximation_psd.main(tmp_path, quick=True)
    rows = measurements.read(tmp_path / "measurements.json")["errors"]
    assert len(rows) == 2 * 2 * 5
    row = next(r for r in rows if (r["structure"], r["trial"]) == ("multiple of the identity", 1))
    assert row["error"] ** 2 == pytest.approx(row["norm"] ** 2 - SIDE)  # ‖M − I‖² = ‖M‖² − 2 tr M + n, tr M = n
    assert "Kronecker A⊗Aᵀ" in (tmp_path / "table.md").read_text()
    assert matplotlib.image.imread(tmp_path / "errors.png").shape[1] == 1600


def test_the_table_by_hand():
    errors = {
        "multiple of the identity": (1, 1),
        "low rank v·vᵀ": (5, 7),
        "circulant": (2, 2),
        "Kronecker A⊗Aᵀ": (6, 3),
    }
    rows = [
        {"target": "t", "trial": trial, "structure": name, "error": error, "norm": 8}
        for name, both in errors.items()
        for trial, error in enumerate(both)
    ]
    settings = {"side": 50, "factor": [10, 5], "rate": 0.1, "start": 0.1, "trials": 2, "steps": 5}
    table = approximation_psd_report.error_table({"settings": settings, "errors": rows})
    shown = {row[0].text: (row[1].text, row[1].mark) for row in table.rows}
    assert shown["multiple of the identity"] == ("1.000 ± 0.000", "")
    assert shown["low rank v·vᵀ"] == ("6.000 ± 1.414", "")
    assert shown["circulant"][1] == "best" and shown["Kronecker A⊗Aᵀ"] == ("4.500 ± 2.121", "second")
    assert shown["zero, ‖M‖"][0] == "8.000 ± 0.000"
    assert "t: low rank v·vᵀ, Kronecker A⊗Aᵀ, circulant (low rank v·vᵀ in 1 of 2 trials)" in table.caption
    assert "ahead of 3 of 3 structures on t" in table.caption

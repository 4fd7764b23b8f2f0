"""The similarity of two matrices, independent of scale: linear CKA, its unbiased form, and cosine. fp64, only numpy.

A matrix is (examples, features). A weight (d_out, d_in) fits, too: its output neurons are the examples, and their
incoming weights are the features, so features are centred over the neurons.
"""

import numpy as np
from numpy.typing import ArrayLike


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Return the linear centred kernel alignment of (n, p) and (n, q), from 0 to 1; NaN if a matrix has no variation.

    ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms, columns centred: Kornblith et al. 2019, arXiv 1905.00414. It is biased
    upwards: for unrelated matrices it is far from 0 unless n is large against their effective ranks.
    """
    x, y = _centred(x), _centred(y)
    return _ratio(np.linalg.norm(y.T @ x) ** 2, np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def debiased_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Return linear CKA with the unbiased estimator of HSIC: about 0 for unrelated matrices of any rank, also below 0.

    The estimator is from Song et al. 2012 (JMLR 13); Nguyen et al. 2021, arXiv 2010.15327, use it for CKA.

    Raises:
        ValueError: fewer than four examples; the estimator is then undefined.
    """
    x, y = _centred(x), _centred(y)  # no effect on the exact estimator, but smaller rounding errors
    if len(x) < 4:
        raise ValueError(f"the unbiased estimator needs at least 4 examples, not {len(x)}")
    k, m = _without_diagonal(x @ x.T), _without_diagonal(y @ y.T)
    return _ratio(_unbiased_hsic(k, m), np.sqrt(_unbiased_hsic(k, k) * _unbiased_hsic(m, m)))


def cosine(x: ArrayLike, y: ArrayLike) -> float:
    """Return the cosine of the angle between two arrays of one shape as flat vectors; NaN if an array is zero."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _ratio(np.sum(x * y), np.linalg.norm(x) * np.linalg.norm(y))


def relative_norm(x: ArrayLike, y: ArrayLike) -> float:
    """Return the Frobenius norm of x divided by that of y; NaN if y is zero."""
    return _ratio(np.linalg.norm(np.asarray(x, np.float64)), np.linalg.norm(np.asarray(y, np.float64)))


def _centred(x: ArrayLike) -> np.ndarray:
    """Return the columns minus their means; exact zeros where only rounding errors remain."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=0)
    return np.where(np.abs(centred) <= len(x) * np.finfo(x.dtype).eps * np.abs(x).max(axis=0), 0.0, centred)


def _without_diagonal(kernel: np.ndarray) -> np.ndarray:
    return kernel - np.diag(np.diag(kernel))


def _unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Return the unbiased HSIC of two symmetric kernels (n, n) with zero diagonals."""
    n = len(k)
    mean = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return (np.sum(k * m) + mean - 2 * (k.sum(axis=0) @ m.sum(axis=0)) / (n - 2)) / (n * (n - 3))


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")

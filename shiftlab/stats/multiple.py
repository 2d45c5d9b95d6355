"""Corrections for many tests: Holm and Benjamini-Hochberg."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["benjamini_hochberg", "holm"]

Floats = NDArray[np.float64]


def _check(p_values: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p_values must be 1-D, got shape {p.shape}")
    given = ~np.isnan(p)
    if ((p[given] < 0) | (p[given] > 1)).any():
        raise ValueError("p_values must lie between 0 and 1")
    return p, given


def holm(p_values: ArrayLike, *, fewest: int = 1) -> Floats:
    r"""Holm's step-down adjusted p-values: control of the family-wise error rate.

    With :math:`p_{(1)} \le \dots \le p_{(m)}`,
    :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})`. Rejecting where
    :math:`\tilde p \le \alpha` makes any false rejection with probability at most
    :math:`\alpha`, whatever the dependence. NaN marks a test that was not run: it stays NaN
    and is not counted.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        Raw p-values, NaN where there is none.
    fewest : int, default=1
        Smallest factor of a p-value: with f, :math:`\max(f, m - j + 1)` stands for
        :math:`m - j + 1`. At m this is Bonferroni's correction.

    Returns
    -------
    ndarray of shape (m,)
        Adjusted p-values in the given order.

    Raises
    ------
    ValueError
        If a p-value is outside [0, 1].

    References
    ----------
    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal
    of Statistics 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    >>> holm([0.01, 0.04, 0.03], fewest=2)
    array([0.03, 0.08, 0.06])
    """
    p, given = _check(p_values)
    adjusted = np.full(p.size, np.nan)
    order = np.flatnonzero(given)[np.argsort(p[given], kind="stable")]
    steps = np.maximum(fewest, np.arange(order.size, 0, -1)) * p[order]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    r"""Benjamini-Hochberg adjusted p-values: control of the false discovery rate.

    :math:`\tilde p_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j)`. Among the tests with
    :math:`\tilde p \le \alpha` at most a share :math:`\alpha` is false on average, for
    independent or positively dependent tests. NaN stays NaN and is not counted.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        Raw p-values, NaN where there is none.

    Returns
    -------
    ndarray of shape (m,)
        Adjusted p-values in the given order.

    Raises
    ------
    ValueError
        If a p-value is outside [0, 1].

    References
    ----------
    Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
    Statistical Society B 1995.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    p, given = _check(p_values)
    adjusted = np.full(p.size, np.nan)
    order = np.flatnonzero(given)[np.argsort(p[given], kind="stable")]
    steps = p[order] * order.size / np.arange(1, order.size + 1)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted

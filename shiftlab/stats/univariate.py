"""Two-sample tests of one column: numbers, categories, missing values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, fisher_exact, ks_2samp, wasserstein_distance

from shiftlab.stats.priors import label_permutation_test, total_variation

__all__ = ["UnivariateResult", "categorical_test", "continuous_test", "missingness_test"]

LEVELS_AT_MOST = 50
EXACT_UP_TO = 50  # rows a side for the exact Kolmogorov-Smirnov p-value
PERMUTATIONS = 4999  # small p-values must survive a correction over many columns


class UnivariateResult(NamedTuple):
    """Result of a test of one column.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic : float
        Its statistic.
    p_value : float
        Its p-value.
    effect : float
        Distance of the two distributions between 0 and 1.
    details : dict
        What else is worth knowing.
    """

    test: str
    statistic: float
    p_value: float
    effect: float
    details: dict[str, Any]


def continuous_test(source: ArrayLike, target: ArrayLike) -> UnivariateResult:
    r"""Kolmogorov-Smirnov test of two samples of numbers.

    Statistic and effect are :math:`\sup_x |F_S(x) - F_T(x)|`. Ties make it conservative.
    ``details`` holds the Wasserstein distance in units of the source's standard deviation
    (None where that is zero), the two medians and the two standard deviations. Infinite
    values take part by their rank and are left out of the details. O(n log n).

    Parameters
    ----------
    source : array-like of shape (n_source,)
        Numbers without NaN.
    target : array-like of shape (n_target,)
        Numbers without NaN.

    Returns
    -------
    UnivariateResult

    Raises
    ------
    ValueError
        If a side is empty.

    Examples
    --------
    >>> import numpy as np
    >>> result = continuous_test(np.arange(100), np.arange(100) + 50)
    >>> result.effect, bool(result.p_value < 1e-10)
    (0.5, True)
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if a.size == 0 or b.size == 0:
        raise ValueError(f"both sides need values, got {a.size} and {b.size}")
    method = "exact" if max(a.size, b.size) <= EXACT_UP_TO else "asymp"
    result = ks_2samp(a, b, method=method)
    fa, fb = a[np.isfinite(a)], b[np.isfinite(b)]
    details: dict[str, Any] = {"wasserstein": None}
    if fa.size and fb.size:
        with np.errstate(over="ignore", invalid="ignore"):  # of values near the largest float
            scale, target_scale = float(fa.std()), float(fb.std())
        details = {
            "wasserstein": float(wasserstein_distance(fa, fb)) / scale
            if 0 < scale < np.inf
            else None,
            "source_median": float(np.median(fa)),
            "target_median": float(np.median(fb)),
            "source_sd": scale,
            "target_sd": target_scale,
        }
    statistic = float(result.statistic)
    return UnivariateResult(
        "Kolmogorov-Smirnov", statistic, float(result.pvalue), statistic, details
    )


def categorical_test(
    source_counts: ArrayLike, target_counts: ArrayLike, *, rng: np.random.Generator
) -> UnivariateResult:
    r"""Chi-square test of equal category frequencies, with new and vanished categories.

    Beyond 50 categories the rarest (by both samples together, so the choice does not
    depend on the domain) are counted as one. The asymptotic chi-square is used where all
    expected counts are at least 5 (Cochran's rule), Fisher's exact test for two categories
    otherwise, and else 4,999 permutations; a category that only one side has is just a count
    of zero. The effect is the total variation distance over all categories.

    Parameters
    ----------
    source_counts : array-like of shape (k,)
        Rows of each category in the source.
    target_counts : array-like of shape (k,)
        Rows of each category in the target.
    rng : numpy.random.Generator
        For the permutations.

    Returns
    -------
    UnivariateResult

    Raises
    ------
    ValueError
        If a side has no rows.

    References
    ----------
    W. Cochran, "Some Methods for Strengthening the Common chi-square Tests", Biometrics 1954.

    Examples
    --------
    >>> import numpy as np
    >>> result = categorical_test([50, 50, 0], [50, 0, 50], rng=np.random.default_rng(0))
    >>> result.effect, bool(result.p_value < 1e-10)
    (0.5, True)
    """
    counts = np.stack([np.asarray(source_counts), np.asarray(target_counts)]).astype(np.int64)
    if (counts.sum(axis=1) == 0).any():
        raise ValueError("both sides need at least one row")
    effect = total_variation(*(row / row.sum() for row in counts))
    counts = _lumped(counts)
    expected = counts.sum(axis=1, keepdims=True) * (counts.sum(axis=0) / counts.sum())
    if counts.shape[1] == 1:
        return UnivariateResult("chi-square", 0.0, 1.0, effect, {"levels": 1})
    statistic = float((np.square(counts - expected) / expected).sum())
    details = {"levels": counts.shape[1]}
    if expected.min() >= 5:
        p_value = float(chi2.sf(statistic, counts.shape[1] - 1))
        return UnivariateResult("chi-square", statistic, p_value, effect, details)
    if counts.shape[1] == 2:
        p_value = float(fisher_exact(counts).pvalue)
        return UnivariateResult("Fisher", statistic, p_value, effect, details)
    _, p_value = label_permutation_test(*counts, n_permutations=PERMUTATIONS, rng=rng)
    return UnivariateResult("permutation chi-square", statistic, p_value, effect, details)


def _lumped(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop empty categories and count the rarest beyond the limit as one."""
    pooled = counts.sum(axis=0)
    counts = counts[:, np.argsort(-pooled, kind="stable")][:, : int((pooled > 0).sum())]
    if counts.shape[1] <= LEVELS_AT_MOST:
        return counts
    kept = counts[:, : LEVELS_AT_MOST - 1]
    return np.column_stack([kept, counts[:, LEVELS_AT_MOST - 1 :].sum(axis=1)])


def missingness_test(source_missing: ArrayLike, target_missing: ArrayLike) -> UnivariateResult:
    """Fisher's exact test of equal shares of missing values.

    The effect is the absolute difference of the shares, which ``details`` holds.

    Parameters
    ----------
    source_missing : array-like of bool, shape (n_source,)
        Whether each source value is missing.
    target_missing : array-like of bool, shape (n_target,)
        Whether each target value is missing.

    Returns
    -------
    UnivariateResult

    Examples
    --------
    >>> result = missingness_test([False] * 50, [True] * 25 + [False] * 25)
    >>> result.effect, bool(result.p_value < 1e-6)
    (0.5, True)
    """
    a, b = np.asarray(source_missing, dtype=bool), np.asarray(target_missing, dtype=bool)
    table = [[int(a.sum()), int((~a).sum())], [int(b.sum()), int((~b).sum())]]
    share_a, share_b = float(a.mean()), float(b.mean())
    difference = share_b - share_a
    return UnivariateResult(
        "Fisher (missing values)",
        difference,
        float(fisher_exact(table).pvalue),
        abs(difference),
        {"source_missing": share_a, "target_missing": share_b},
    )

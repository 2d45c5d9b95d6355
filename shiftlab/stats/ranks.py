"""Ranks of methods over several problems, and how far apart they must be to mean something."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, studentized_range

__all__ = ["cliques", "critical_difference", "mean_ranks"]


def mean_ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute the mean rank of each method, 1 for the best; ties share their ranks.

    Parameters
    ----------
    scores : array of shape (problems, methods)
        Higher is better.

    Returns
    -------
    ndarray of shape (methods,)

    Examples
    --------
    >>> mean_ranks([[0.9, 0.8, 0.8], [0.7, 0.9, 0.1]]).tolist()
    [1.5, 1.75, 2.75]
    """
    table = np.atleast_2d(np.asarray(scores, dtype=float))
    ranks: NDArray[np.float64] = rankdata(-table, axis=1).mean(axis=0)
    return ranks


def critical_difference(n_methods: int, n_problems: int, alpha: float = 0.05) -> float:
    r"""Compute the difference of mean ranks from which two of several methods differ (Nemenyi).

    ``q_alpha sqrt(k (k + 1) / (6 N))`` with the quantile of the studentised range over the root
    of two.

    Parameters
    ----------
    n_methods : int
        At least 2.
    n_problems : int
        Independent ones; pairs of domains share domains, which makes it too small.
    alpha : float, default=0.05
        Chance of any false difference.

    Returns
    -------
    float

    References
    ----------
    J. Demsar. Statistical comparisons of classifiers over multiple data sets. JMLR, 2006.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    quantile = float(studentized_range.ppf(1.0 - alpha, n_methods, np.inf)) / np.sqrt(2.0)
    return float(quantile * np.sqrt(n_methods * (n_methods + 1) / (6.0 * n_problems)))


def cliques(ranks: ArrayLike, difference: float) -> list[tuple[int, int]]:
    """Find the largest runs of methods that do not differ.

    Parameters
    ----------
    ranks : array of shape (methods,)
        Sorted.
    difference : float
        From which two differ.

    Returns
    -------
    list of (int, int)
        First and last of each run of at least two, none inside another.

    Examples
    --------
    >>> cliques([1.0, 1.5, 2.2, 4.0], 1.0)
    [(0, 1), (1, 2)]
    """
    values = np.asarray(ranks, dtype=float)
    runs: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = int(np.searchsorted(values, values[first] + difference, side="left")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs

"""Canonical correlation analysis of paired rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

__all__ = ["Canonical", "canonical_correlations", "choose_canonical"]

Floats = NDArray[np.float64]

RIDGES = (0.001, 0.01, 0.1, 1.0)  # tried on held-out pairs
FEW = 12  # pairs below which nothing can be held out


class Canonical(NamedTuple):
    """Means, directions and correlations of two sets of columns."""

    mean_a: Floats
    mean_b: Floats
    directions_a: Floats
    directions_b: Floats
    correlations: Floats


def canonical_correlations(A: Floats, B: Floats, ridge: float, n_components: int) -> Canonical:
    r"""Return the directions in which two sets of columns go together most.

    .. math:: \max_{W, V} \operatorname{tr}(W^\top S_{ab} V) \quad\text{with}\quad
              W^\top (S_{aa} + r_a I) W = V^\top (S_{bb} + r_b I) V = I

    and :math:`r = \text{ridge} \cdot \operatorname{tr}(S) / d`. O(n (d + e)^2 + (d + e)^3).

    Parameters
    ----------
    A, B : ndarray of shape (n, d) and (n, e)
        Rows of one object each.
    ridge : float
        Share of the mean variance that is added to every variance.
    n_components : int
        Pairs of directions, at most.

    Returns
    -------
    Canonical
        Directions of shape (d, k) and (e, k), correlations falling, ``(k,)``.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.array([[0.0], [1.0], [2.0]])
    >>> canonical_correlations(A, -3 * A, 0.0, 1).correlations.round(6).tolist()
    [1.0]
    """
    n = len(A)
    mean_a, mean_b = A.mean(axis=0), B.mean(axis=0)
    A, B = A - mean_a, B - mean_b
    roots = []
    for X in (A, B):
        scatter = X.T @ X / n
        level = np.trace(scatter) / len(scatter)
        # rounding alone must not make the matrix indefinite
        scatter[np.diag_indices(len(scatter))] += max(ridge, 1e-12) * level or 1.0
        roots.append(cholesky(scatter, lower=True))
    cross = solve_triangular(roots[0], A.T @ B / n, lower=True)
    cross = solve_triangular(roots[1], cross.T, lower=True).T
    left, correlations, right = np.linalg.svd(cross, full_matrices=False)
    k = min(n_components, len(correlations))
    return Canonical(
        mean_a,
        mean_b,
        solve_triangular(roots[0], left[:, :k], lower=True, trans="T"),
        solve_triangular(roots[1], right[:k].T, lower=True, trans="T"),
        np.clip(correlations[:k], 0.0, 1.0),
    )


def choose_canonical(
    A: Floats, B: Floats, ridge: float | None, n_components: int | None
) -> Canonical:
    """Fit all pairs, with what is not given chosen on a third of them.

    The ridge with the largest sum of squared correlations of held-out pairs is taken, and the
    leading components up to the first whose correlation there is below two standard errors.

    Parameters
    ----------
    A, B : ndarray of shape (n, d) and (n, e)
        Rows of one object each.
    ridge : float or None
        See `canonical_correlations`.
    n_components : int or None
        Pairs of directions.

    Returns
    -------
    Canonical
    """
    most = min(A.shape[1], B.shape[1], len(A) - 1)
    if (ridge is None or n_components is None) and len(A) >= FEW:
        held = np.arange(len(A)) % 3 == 2
        best = -1.0
        for candidate in RIDGES if ridge is None else (ridge,):
            fit = canonical_correlations(A[~held], B[~held], candidate, most)
            u = (A[held] - fit.mean_a) @ fit.directions_a
            v = (B[held] - fit.mean_b) @ fit.directions_b
            u, v = (z - z.mean(axis=0) for z in (u, v))
            size = np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
            found = (u * v).sum(axis=0) / np.where(size > 0, size, np.inf)
            low = np.flatnonzero(found < 2 / np.sqrt(held.sum()))
            k = max(1, int(low[0])) if len(low) else len(found)
            value = float((found[:k] ** 2).sum())
            if value > best:
                best, chosen, count = value, candidate, k
        ridge = chosen
        n_components = count if n_components is None else n_components
    return canonical_correlations(
        A, B, 0.1 if ridge is None else ridge, most if n_components is None else n_components
    )

"""Weighted conformal prediction: sets and intervals that stay valid where the target differs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["conformal_radius", "conformal_sets"]

Floats = NDArray[np.float64]


def conformal_sets(
    scores: ArrayLike,
    weights: ArrayLike,
    target_scores: ArrayLike,
    target_weights: ArrayLike,
    alpha: float,
) -> NDArray[np.bool_]:
    r"""Return which classes each target row may have.

    A class y is in the set of x if its score is not among the largest of held-out source rows,
    weighted to the target:

    .. math:: \sum_{i:\, s_i < s(x, y)} w_i < (1 - \alpha) \Big(\sum_i w_i + w(x, y)\Big)

    With w the density ratio of X (covariate shift) or of Y (label shift), the probability that
    the set holds the truth is at least :math:`1 - \alpha`, for any model and any n, if w is
    exact and the scored rows did not train the model. With equal weights it is ordinary split
    conformal prediction. O((n + m k) log n) time, O(n + m k) memory.

    Parameters
    ----------
    scores : array-like of shape (n,)
        How badly the model takes the true class of held-out source rows, such as one less its
        probability.
    weights : array-like of shape (n,)
        Density ratios of the same rows, on any scale.
    target_scores : array-like of shape (m, k)
        Scores of every class of target rows.
    target_weights : array-like of shape (m,) or (m, k)
        Their density ratios on the same scale, by row or by row and class.
    alpha : float
        Share of rows whose class may be left out.

    Returns
    -------
    ndarray of bool, shape (m, k)

    Raises
    ------
    ValueError
        If scores or weights are not finite, weights are negative or all zero, or alpha is not
        between 0 and 1.

    References
    ----------
    R. J. Tibshirani, R. Foygel Barber, E. J. Candes, A. Ramdas, "Conformal Prediction Under
    Covariate Shift", NeurIPS 2019. A. Podkopaev, A. Ramdas, "Distribution-free Uncertainty
    Quantification for Classification Under Label Shift", UAI 2021.

    Examples
    --------
    >>> scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    >>> conformal_sets(scores, [1.0] * 9, [[0.55, 0.85]], [1.0], alpha=0.2).tolist()
    [[True, False]]
    """
    s, w = _read(scores, weights, alpha)
    t = np.asarray(target_scores, dtype=np.float64)
    v = np.asarray(target_weights, dtype=np.float64)
    v = v[:, None] if v.ndim == 1 else v
    order = np.argsort(s)
    below = np.append(0.0, np.cumsum(w[order]))[np.searchsorted(s[order], t)]
    # Where both sides are the same but for rounding, they are the same.
    return np.asarray(below < (1 - alpha) * (w.sum() + v) * (1 - 1e-12))


def conformal_radius(
    scores: ArrayLike, weights: ArrayLike, target_weights: ArrayLike, alpha: float
) -> Floats:
    r"""Return the half width of an interval around each target row's predicted number.

    The smallest r with :math:`\sum_{i:\, s_i \le r} w_i \ge (1 - \alpha)(\sum_i w_i + w(x))`,
    with the absolute errors s of held-out source rows; infinite where the row alone weighs more
    than :math:`\alpha` of it all. Guarantee, errors and sources as in `conformal_sets`.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Absolute errors of held-out source rows.
    weights : array-like of shape (n,)
        Density ratios of the same rows.
    target_weights : array-like of shape (m,)
        Those of target rows, on the same scale.
    alpha : float
        Share of rows that may fall outside.

    Returns
    -------
    ndarray of shape (m,)

    Examples
    --------
    >>> conformal_radius([1.0, 2.0, 3.0, 4.0], [1.0] * 4, [1.0, 9.0], alpha=0.2).tolist()
    [4.0, inf]
    """
    s, w = _read(scores, weights, alpha)
    v = np.asarray(target_weights, dtype=np.float64)
    order = np.argsort(s)
    needed = (1 - alpha) * (w.sum() + v) * (1 - 1e-12)
    place = np.searchsorted(np.cumsum(w[order]), needed)
    return np.asarray(np.append(s[order], np.inf)[place])


def _read(scores: ArrayLike, weights: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    s, w = np.asarray(scores, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    if s.ndim != 1 or s.size == 0 or s.shape != w.shape:
        raise ValueError(
            f"scores and weights must be two vectors of one length, got {s.shape} and {w.shape}"
        )
    if not (np.isfinite(s).all() and np.isfinite(w).all()) or (w < 0).any() or not w.any():
        raise ValueError("scores must be finite, weights finite, non-negative and not all zero")
    return s, w

"""How many rows a weighted sample is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["effective_sample_size"]


def effective_sample_size(weights: ArrayLike) -> float:
    r"""Kish's effective sample size of a weighted sample.

    .. math:: n_\mathrm{eff} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    It equals the number of rows when all weights are equal, and 1 when a single row
    carries all of the weight; the variance of a weighted mean is about that of a plain
    mean over ``n_eff`` rows. The scale of the weights does not matter. O(n) time.

    Parameters
    ----------
    weights : array-like of shape (n,)
        Finite, non-negative, not all zero.

    Returns
    -------
    float
        Between 1 and ``n``.

    Raises
    ------
    ValueError
        If ``weights`` is empty, not one-dimensional, negative, not finite or all zero.

    References
    ----------
    L. Kish, *Survey Sampling*, Wiley 1965.

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 1.0, 1.0])
    4.0
    >>> effective_sample_size([3.0, 0.0, 0.0])
    1.0
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or w.size == 0:
        raise ValueError(f"weights must be a non-empty 1-D array, got shape {w.shape}")
    if not np.isfinite(w).all() or (w < 0).any():
        raise ValueError("weights must be finite and non-negative")
    largest = float(w.max())
    if largest == 0.0:
        raise ValueError("weights must not all be zero")
    w = w / largest  # squares of very large or very small weights would overflow
    return float(w.sum() ** 2 / np.square(w).sum())

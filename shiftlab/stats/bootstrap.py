"""A number with its 95% bootstrap interval, and weighted means of resampled rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "mean_estimate"]

Floats = NDArray[np.float64]

DRAWS = 200


class Estimate(NamedTuple):
    """A number with its 95% bootstrap interval.

    Attributes
    ----------
    value : float
        On all rows.
    interval : tuple of (float, float)
        2.5% and 97.5% quantiles over the draws.
    """

    value: float
    interval: tuple[float, float]


def resampled_counts(n: int, rng: np.random.Generator) -> Floats:
    """How often each row is drawn: once in the first line, then in bootstrap samples."""
    drawn = rng.integers(n, size=(DRAWS, n)) + n * np.arange(1, DRAWS + 1)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * (DRAWS + 1)).astype(np.float64)
    counts[:n] = 1.0
    return counts.reshape(DRAWS + 1, n)


def estimate_of(values: Floats, low: float = -np.inf, high: float = np.inf) -> Estimate:
    """Summarise a statistic of the lines of :func:`resampled_counts`, kept between two bounds."""
    kept = np.clip(values, low, high)
    lower, upper = np.nanquantile(kept[1:], [0.025, 0.975])
    return Estimate(float(kept[0]), (float(lower), float(upper)))


def weighted_means(counts: Floats, values: Floats, weights: Floats) -> Floats:
    """Self-normalised weighted mean in every line of :func:`resampled_counts`."""
    total = counts @ weights
    # A draw in which no row has any weight has no mean.
    found: Floats = np.divide(
        counts @ (values * weights), total, out=np.full(len(total), np.nan), where=total > 0
    )
    return found


def mean_estimate(
    values: ArrayLike, weights: ArrayLike | None = None, *, rng: np.random.Generator
) -> Estimate:
    r"""Self-normalised weighted mean :math:`\sum_i w_i v_i / \sum_i w_i` with its interval.

    With density ratios as weights and losses of source rows as values it estimates the mean
    loss in the target, if Y given X is the same there and the source has rows wherever the
    target has. Rows are resampled together with their weights, which count as known. O(200 n)
    time and memory.

    Parameters
    ----------
    values : array-like of shape (n,)
        Such as losses, or whether a row was right.
    weights : array-like of shape (n,), default=None
        Non-negative, not all zero. None gives the plain mean.
    rng : numpy.random.Generator
        For the resampling.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If there are no values or the weights do not fit them.

    Examples
    --------
    >>> import numpy as np
    >>> mean_estimate([0.0, 1.0], [3.0, 1.0], rng=np.random.default_rng(0)).value
    0.25
    """
    v = np.asarray(values, dtype=np.float64)
    w = np.ones_like(v) if weights is None else np.asarray(weights, dtype=np.float64)
    if v.ndim != 1 or v.size == 0:
        raise ValueError(f"values must be a non-empty 1-D array, got shape {v.shape}")
    check_weights(w, "weights", v, "values")
    return estimate_of(weighted_means(resampled_counts(v.size, rng), v, w))


def check_weights(weights: Floats, name: str, values: Floats, of: str) -> None:
    """Raise if weights do not fit the values that they weigh."""
    if weights.shape != values.shape:
        raise ValueError(f"{name} must have the shape of {of}, {values.shape}, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"{name} must be finite, non-negative and not all zero")

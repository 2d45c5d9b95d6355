"""Weights of rows: what they are worth, their scale, and where they cannot help."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.stats.kernels import squared_distances

__all__ = ["effective_sample_size", "scale_to_mean_one", "support_overlap"]

Floats = NDArray[np.float64]


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


def scale_to_mean_one(
    ratio: Floats, weight: Floats | None = None, clip: float | None = None
) -> tuple[Floats, float]:
    r"""Scale a density ratio to mean one under an upper bound.

    Finds :math:`c` with :math:`\sum_i w_i \min(c\, r_i, \text{clip}) = \sum_i w_i`, so that
    both the mean and the bound hold exactly. O(n log n).

    Parameters
    ----------
    ratio : ndarray of shape (n,)
        Positive and finite.
    weight : ndarray of shape (n,), default=None
        Row weights of the mean.
    clip : float, default=None
        Upper bound, at least 1.

    Returns
    -------
    tuple of (scaled, c)
        The ratios after scaling and clipping, and the factor.

    Examples
    --------
    >>> import numpy as np
    >>> scale_to_mean_one(np.array([1.0, 1.0, 6.0]), clip=2.0)[0].round(6).tolist()
    [0.5, 0.5, 2.0]
    """
    share = np.full(len(ratio), 1 / len(ratio)) if weight is None else weight / weight.sum()
    factor = 1.0 / float(share @ ratio)
    if clip is not None and factor * ratio.max() > clip:
        # With the m largest at the bound, the factor follows from the rest; take the
        # smallest m for which no other ratio exceeds the bound.
        order = np.argsort(-ratio)
        r, p = ratio[order], share[order]
        above = np.concatenate([[0.0], np.cumsum(p)])[:-1]
        rest = np.cumsum((p * r)[::-1])[::-1]
        room = np.maximum(1.0 - clip * above, 0.0)
        fits = room * r <= clip * rest
        # Without a solution (clip = 1 and ties in rounding) every ratio is at the bound.
        m = int(np.argmax(fits)) if fits.any() else len(r) - 1
        factor = room[m] / rest[m] if room[m] > 0 else clip / float(r[p > 0].min())
    scaled = factor * ratio
    if clip is not None:
        scaled = np.minimum(scaled, clip)
    return scaled / float(share @ scaled) if clip is None else scaled, factor


def support_overlap(source: Floats, target: Floats) -> float:
    """Return the share of the target's rows that lie within reach of the source.

    A row is within reach when its nearest source row is no farther than the 99% quantile of
    the distances between source rows and their nearest neighbours. About 0.99 for equal
    distributions; 0 for supports that are apart. O(n_s (n_s + n_t) d), so give samples of some
    thousand rows at most.

    Parameters
    ----------
    source, target : ndarray of shape (n, d)
        Rows in comparable units; at least two of the source.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source = rng.normal(size=(500, 2))
    >>> target = rng.normal(size=(500, 2))
    >>> support_overlap(source, target) > 0.95, support_overlap(source, target + 20)
    (True, 0.0)
    """
    among = squared_distances(source, source)
    np.fill_diagonal(among, np.inf)
    reach = np.quantile(among.min(axis=1), 0.99)
    return float((squared_distances(target, source).min(axis=1) <= reach).mean())

"""Confidence interval for the total variation of two vectors of class shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm

__all__ = [
    "VariationInterval",
    "covariance_noise",
    "multinomial_noise",
    "total_variation_interval",
]

Floats = NDArray[np.float64]

NO_NOISE = 1e-300


class VariationInterval(NamedTuple):
    """What :func:`total_variation_interval` returns.

    Attributes
    ----------
    low, high : float
        Bounds of the interval.
    by_chance : float
        Mean of the estimate where the shares are equal.
    """

    low: float
    high: float
    by_chance: float


def multinomial_noise(p: ArrayLike, n: float, q: ArrayLike, m: float) -> tuple[Floats, float]:
    r"""Noise of the difference of two vectors of shares that were counted in two samples.

    The spread is exact up to rounding to classes: a signed sum of shares is that of a set of
    classes, whose variance is at most :math:`1/(4n)`, or :math:`p_{\max}(1 - p_{\max})/n` where
    one class has more than half of the rows. O(k).

    Parameters
    ----------
    p, q : array-like of shape (k,)
        Shares.
    n, m : float
        Rows behind them.

    Returns
    -------
    tuple of (variance, spread)
        Variance of each entry, shape (k,), and the largest standard deviation of
        :math:`\tfrac12\sum_i s_i\varepsilon_i` over signs s.

    Examples
    --------
    >>> variance, spread = multinomial_noise([0.5, 0.5], 100, [0.5, 0.5], 100)
    >>> variance.round(4).tolist(), round(spread, 4)
    ([0.005, 0.005], 0.0707)
    """
    variance, squared = np.zeros(1), 0.0
    for shares, rows in ((p, n), (q, m)):
        share = np.asarray(shares, dtype=np.float64)
        variance = variance + share * (1 - share) / rows
        most = max(0.5, float(share.max()))
        squared += most * (1 - most) / rows
    return variance, float(np.sqrt(squared))


def covariance_noise(covariance: ArrayLike) -> tuple[Floats, float]:
    r"""Noise of a difference of shares with any covariance.

    The spread is bounded by :math:`\tfrac12(\lambda_{\max}(R)\sum_i\sigma_i^2)^{1/2}` with the
    correlations R. O(k^3).

    Parameters
    ----------
    covariance : array-like of shape (k, k)
        Of the difference.

    Returns
    -------
    tuple of (variance, spread)
        As of :func:`multinomial_noise`.

    Examples
    --------
    >>> variance, spread = covariance_noise([[0.005, -0.005], [-0.005, 0.005]])
    >>> variance.tolist(), round(spread, 4)
    ([0.005, 0.005], 0.0707)
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    variance = np.maximum(np.diag(matrix), 0.0)
    noisy = variance > NO_NOISE
    if not noisy.any():
        return variance, 0.0
    scaled = np.sqrt(variance[noisy])
    correlation = matrix[np.ix_(noisy, noisy)] / np.outer(scaled, scaled)
    largest = float(np.linalg.eigvalsh(correlation)[-1])
    return variance, 0.5 * float(np.sqrt(largest * variance.sum()))


def _folded(u: ArrayLike) -> Floats:
    """Mean of ``|u + Z|`` for a standard normal Z."""
    u = np.asarray(u, dtype=np.float64)
    mean: Floats = 2 * norm.pdf(u) + u * (1 - 2 * norm.cdf(-u))
    return mean


def total_variation_interval(
    difference: ArrayLike, variance: ArrayLike, spread: float, *, confidence: float = 0.95
) -> VariationInterval:
    r"""Interval for :math:`\tfrac12\lVert\delta\rVert_1` from a noisy difference of shares.

    The estimate :math:`T = \tfrac12\lVert\delta + \varepsilon\rVert_1` with noise
    :math:`\varepsilon_i \sim N(0, \sigma_i^2)` is too large on average, the more so the more
    classes there are: at equal shares it is :math:`\tfrac12\sum_i \sigma_i\sqrt{2/\pi}` and not
    0, so an interval around it misses the truth. By how much it is too large depends on how the
    true distance t is spread over the classes. With :math:`g(u) = E|u + Z|` the mean of T is

    - at least :math:`\tfrac12 S g(2t/S)`, :math:`S = \sum_i\sigma_i`, as g is convex: the
      distance is spread over all classes like the noise;
    - at most that of t in one pair of classes, the two with the least noise, and none
      elsewhere, as g has slopes below 1.

    The upper bound is the largest t whose lower mean leaves T no more than z standard
    deviations below, the lower bound the smallest whose upper mean leaves it no more than z
    above. The standard deviation is that of a signed sum of the noise, the largest over the
    signs. So the interval covers at least about ``confidence`` at every t and every number of
    classes, and starts at 0 where the shares are equal; it is wide rather than short.
    O(k log k).

    Parameters
    ----------
    difference : array-like of shape (k,)
        Estimated difference of the shares; sums to zero.
    variance : array-like of shape (k,)
        Of that estimate, :math:`\sigma_i^2`.
    spread : float
        Largest standard deviation of half a signed sum of the noise, as
        :func:`multinomial_noise` and :func:`covariance_noise` give it.
    confidence : float, default=0.95
        Nominal coverage.

    Returns
    -------
    VariationInterval

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> p, q = [0.5, 0.5], [0.7, 0.3]
    >>> interval = total_variation_interval([0.2, -0.2], *multinomial_noise(p, 400, q, 400))
    >>> round(interval.low, 3), round(interval.high, 3)  # 0.2 -+ 1.96 sd, as for two shares
    (0.134, 0.266)
    >>> equal = total_variation_interval([0.01, -0.02, 0.01], [1e-3] * 3, 0.03)
    >>> equal.low
    0.0
    """
    delta = np.asarray(difference, dtype=np.float64)
    squares = np.asarray(variance, dtype=np.float64)
    if delta.ndim != 1 or squares.shape != delta.shape:
        raise ValueError(
            "difference and variance must be 1-D and of one size, got shapes "
            f"{delta.shape} and {squares.shape}"
        )
    estimate = float(np.abs(delta).sum() / 2)
    noisy = squares > NO_NOISE
    if noisy.sum() < 2:
        return VariationInterval(min(1.0, estimate), min(1.0, estimate), 0.0)
    sigma = np.sort(np.sqrt(squares[noisy]))
    margin = float(norm.ppf(0.5 + confidence / 2)) * spread
    total, zero = float(sigma.sum()), float(_folded(0.0))

    def least(t: float) -> float:
        return 0.5 * total * float(_folded(2 * t / total))

    def most(t: float) -> float:
        pair = float((sigma[:2] * _folded(t / sigma[:2])).sum())
        return 0.5 * (pair + zero * float(sigma[2:].sum()))

    low = high = 0.0
    if most(0.0) + margin < estimate:
        low = brentq(lambda t: most(t) + margin - estimate, 0.0, estimate)
    if least(0.0) - margin < estimate:
        high = brentq(lambda t: least(t) - margin - estimate, 0.0, estimate + margin + total)
    return VariationInterval(min(1.0, float(low)), min(1.0, float(high)), least(0.0))

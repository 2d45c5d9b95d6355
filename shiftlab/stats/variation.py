"""Confidence interval for the total variation of two vectors of class shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm

__all__ = ["VariationInterval", "multinomial_covariance", "total_variation_interval"]

Floats = NDArray[np.float64]


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


def multinomial_covariance(shares: ArrayLike, n: float) -> Floats:
    r"""Covariance of estimated shares, :math:`(\mathrm{diag}(p) - pp^\top)/n`.

    Parameters
    ----------
    shares : array-like of shape (k,)
        Shares p of the classes.
    n : float
        Rows behind them.

    Returns
    -------
    ndarray of shape (k, k)

    Examples
    --------
    >>> multinomial_covariance([0.5, 0.5], 100)
    array([[ 0.0025, -0.0025],
           [-0.0025,  0.0025]])
    """
    p = np.asarray(shares, dtype=np.float64)
    result: Floats = (np.diag(p) - np.outer(p, p)) / n
    return result


def _folded(u: ArrayLike) -> Floats:
    """Mean of ``|u + Z|`` for a standard normal Z."""
    u = np.asarray(u, dtype=np.float64)
    mean: Floats = 2 * norm.pdf(u) + u * (1 - 2 * norm.cdf(-u))
    return mean


def total_variation_interval(
    difference: ArrayLike, covariance: ArrayLike, *, confidence: float = 0.95
) -> VariationInterval:
    r"""Interval for :math:`\tfrac12\lVert\delta\rVert_1` from a noisy difference of shares.

    The estimate :math:`T = \tfrac12\lVert\delta + \varepsilon\rVert_1` with
    :math:`\varepsilon \sim N(0, \Sigma)` is too large on average, the more so the more classes
    there are: at equal shares it is :math:`\tfrac12\sum_i \sigma_i\sqrt{2/\pi}` and not 0, so an
    interval around it misses the truth. By how much it is too large depends on how the true
    distance t is spread over the classes. With :math:`g(u) = E|u + Z|` the mean of T is

    - at least :math:`\tfrac12 S g(2t/S)`, :math:`S = \sum_i\sigma_i`, as g is convex: the
      distance is spread over all classes like the noise;
    - at most that of t in one pair of classes, the two with the least noise, and none
      elsewhere, as g has slopes below 1.

    The upper bound is the largest t whose lower mean leaves T no more than z standard
    deviations below, the lower bound the smallest whose upper mean leaves it no more than z
    above. The standard deviation is that of a signed sum of the noise, bounded over the signs by
    :math:`\tfrac12(\lambda_{\max}(R)\sum_i\sigma_i^2)^{1/2}` with the correlations R. So the
    interval covers at least about ``confidence`` at every t and every number of classes, and
    starts at 0 where the shares are equal; it is wide rather than short. O(k^3).

    Parameters
    ----------
    difference : array-like of shape (k,)
        Estimated difference of the shares; sums to zero.
    covariance : array-like of shape (k, k)
        Of that estimate.
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
    >>> noise = multinomial_covariance(p, 400) + multinomial_covariance(q, 400)
    >>> interval = total_variation_interval([0.2, -0.2], noise)
    >>> round(interval.low, 3), round(interval.high, 3)  # 0.2 -+ 1.96 sd, as for two shares
    (0.134, 0.266)
    >>> equal = total_variation_interval([0.01, -0.02, 0.01], np.eye(3) * 1e-3)
    >>> equal.low
    0.0
    """
    delta = np.asarray(difference, dtype=np.float64)
    sigma2 = np.asarray(covariance, dtype=np.float64)
    if delta.ndim != 1 or sigma2.shape != (delta.size, delta.size):
        raise ValueError(
            "difference must be 1-D and covariance a matrix of its size, got shapes "
            f"{delta.shape} and {sigma2.shape}"
        )
    estimate = float(np.abs(delta).sum() / 2)
    variance = np.maximum(np.diag(sigma2), 0.0)
    noisy = variance > 1e-300
    if noisy.sum() < 2:
        return VariationInterval(min(1.0, estimate), min(1.0, estimate), 0.0)
    sigma = np.sort(np.sqrt(variance[noisy]))
    scaled = np.sqrt(variance[noisy])
    correlation = sigma2[np.ix_(noisy, noisy)] / np.outer(scaled, scaled)
    largest = float(np.linalg.eigvalsh(correlation)[-1])
    spread = 0.5 * float(np.sqrt(largest * variance.sum()))
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

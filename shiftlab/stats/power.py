"""How many labels a test of Y at equal X needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from shiftlab.stats.learners import QUADRATIC_UP_TO

__all__ = [
    "DIRECTION_COST",
    "class_variance",
    "conditional_information",
    "conditional_power",
    "detectable_change",
    "direction_cost",
]

Floats = NDArray[np.float64]

# What learning the direction costs: a part for the trees, and one for each term of the smooth
# model (penalised, so each costs less than 1). Set by simulation on 3 to 20 columns with 2 and
# 3 classes and numbers; the two tasks and the shape of the change move it by a third.
DIRECTION_COST = (10.0, 0.8)


def direction_cost(n_columns: int) -> float:
    """Count the parameters that learning a direction of change is worth.

    For the learners of the diagnosis (:class:`~shiftlab.stats.BlendedClassifier` and its twin):
    ``10 + 0.8 m`` with the m terms of the smooth model, which has squares and products for
    up to 15 columns. Found by simulation, see :func:`conditional_power`.

    Parameters
    ----------
    n_columns : int
        Columns of the matrix.

    Returns
    -------
    float

    Examples
    --------
    >>> round(direction_cost(6), 1), direction_cost(20)
    (31.6, 26.0)
    """
    squares = n_columns * (n_columns + 1) // 2 if n_columns <= QUADRATIC_UP_TO else 0
    return DIRECTION_COST[0] + DIRECTION_COST[1] * (n_columns + squares)


def conditional_information(
    balanced_source: ArrayLike,
    balanced_target: ArrayLike,
    n_source: float,
    n_target: float,
    support: tuple[float, float] = (0.0, 1.0),
) -> float:
    r"""Pairs of labels that a comparison at equal X is worth.

    .. math:: I = n_S\,\mathrm{mean}_S[w] + n_T\,\mathrm{mean}_T[w], \quad
              w = e(1-e)\,1(\text{support}), \quad
              e = \frac{n_T b}{n_T b + n_S (1 - b)}

    with :math:`b(x)` the probability of the target, both sides counting the same. The
    standard error of the mean difference of Y at equal X is :math:`\sigma/\sqrt I`; with equal
    X, :math:`I = n_S n_T / (n_S + n_T)`, as for two means. O(n).

    Parameters
    ----------
    balanced_source : array-like of shape (a,)
        b of a sample of source rows, in any number.
    balanced_target : array-like of shape (b,)
        b of a sample of target rows.
    n_source, n_target : float
        Labelled rows that the test has.
    support : tuple of float, default=(0.0, 1.0)
        Bounds of b within which rows are compared.

    Returns
    -------
    float

    References
    ----------
    F. Li, K. Morgan, A. Zaslavsky, "Balancing Covariates via Propensity Score Weighting",
    JASA 2018.

    Examples
    --------
    >>> conditional_information([0.5] * 10, [0.5] * 10, 100, 300)
    75.0
    """
    total = 0.0
    for b, n in ((balanced_source, n_source), (balanced_target, n_target)):
        share = np.asarray(b, dtype=np.float64)
        if share.ndim != 1 or share.size == 0 or not ((share >= 0) & (share <= 1)).all():
            raise ValueError("balanced probabilities must be 1-D, not empty, and between 0 and 1")
        inside = (share > support[0]) & (share < support[1])
        target, source = n_target * share[inside], n_source * (1 - share[inside])
        total += n * float((target * source / np.square(target + source)).sum()) / share.size
    return total


def class_variance(probabilities: ArrayLike) -> float:
    r"""Variance of class indicators along a change, where classes are uncertain.

    With :math:`v(x) = 1 - \sum_k p_k(x)^2`, the total variance of the indicators and so the most
    along any direction (reached where two classes compete), returns
    :math:`\overline{v^2}/\overline v`: each row counts by how uncertain its class is, as
    class probabilities can move most there.

    Parameters
    ----------
    probabilities : array-like of shape (n, K)
        Class probabilities at held-out rows.

    Returns
    -------
    float

    Examples
    --------
    >>> class_variance([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    0.5
    """
    p = np.asarray(probabilities, dtype=np.float64)
    v = np.maximum(1 - np.square(p).sum(axis=1), 0.0)
    return float(np.square(v).sum() / v.sum()) if v.sum() > 0 else 0.0


def conditional_power(
    effect: float, information: float, variance: float, cost: float, *, alpha: float = 0.05
) -> float:
    r"""Power of the residual product test along a direction learnt on another half.

    With the true direction the test's statistic has mean :math:`s = \delta \sqrt{I}/\sigma`
    and variance 1. A direction learnt on as many other rows has signal :math:`s^2` and
    noise c, so the cosine of its angle to the truth is :math:`s / \sqrt{s^2 + c}` and

    .. math:: \mathrm{power} = \Phi\Bigl(\frac{s^2}{\sqrt{s^2 + c}} - z_{1-\alpha}\Bigr)

    A change that is the same for all X is found with fewer rows. O(1).

    Parameters
    ----------
    effect : float
        Root mean square of the change of the conditional mean, :math:`\delta`.
    information : float
        Of the half that tests, :func:`conditional_information`.
    variance : float
        Of the response at equal X, :math:`\sigma^2`, in squared units of the effect.
    cost : float
        c, :func:`direction_cost`; 0 for a known direction.
    alpha : float, default=0.05
        One-sided level of the test.

    Returns
    -------
    float

    Examples
    --------
    >>> round(conditional_power(0.0, 100.0, 0.5, 10.0), 3)
    0.05
    >>> round(conditional_power(0.2, 100.0, 0.5, 0.0), 2)  # s is 2.83
    0.88
    """
    if min(effect, information, variance, cost) < 0:
        raise ValueError(
            "effect, information, variance and cost must not be negative, got "
            f"{effect}, {information}, {variance} and {cost}"
        )
    signal = effect**2 * information / max(variance, 1e-12)
    mean = signal / np.sqrt(signal + cost) if signal > 0 else 0.0
    return float(norm.cdf(mean - norm.ppf(1 - alpha)))


def detectable_change(
    information: float, variance: float, cost: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    r"""Smallest change that :func:`conditional_power` finds with the given power.

    With :math:`m = z_{1-\alpha} + z_{\mathrm{power}}`, solves
    :math:`s^2 / \sqrt{s^2 + c} = m` for :math:`s^2 = (m^2 + m\sqrt{m^2 + 4c}) / 2`. O(1).

    Parameters
    ----------
    information : float
        Of the half that tests.
    variance : float
        Of the response at equal X.
    cost : float
        Of learning the direction.
    alpha : float, default=0.05
        One-sided level.
    power : float, default=0.8
        Probability of finding it, at least ``alpha``.

    Returns
    -------
    float
        Infinite without information.

    Examples
    --------
    >>> change = detectable_change(100.0, 0.5, 10.0)
    >>> round(conditional_power(change, 100.0, 0.5, 10.0), 6)
    0.8
    """
    if information <= 0:
        return float("inf")
    m = max(0.0, float(norm.ppf(1 - alpha) + norm.ppf(power)))
    signal = (m**2 + m * np.sqrt(m**2 + 4 * cost)) / 2
    return float(np.sqrt(signal * variance / information))

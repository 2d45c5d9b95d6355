"""Classifier two-sample test: can a classifier tell source rows from target rows?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.base import clone

from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.permutation import rank_permutation_test

__all__ = [
    "TwoSampleResult",
    "auc_interval",
    "classifier_two_sample_test",
    "detectable_auc",
    "halves",
]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class TwoSampleResult(NamedTuple):
    """What :func:`classifier_two_sample_test` returns.

    Attributes
    ----------
    auc : float
        Area under the ROC curve on the held-out half; 0.5 means indistinguishable.
    p_value : float
        Permutation p-value.
    interval : tuple of float
        Confidence interval of the AUC.
    n_source, n_target : int
        Held-out rows of each side.
    """

    auc: float
    p_value: float
    interval: tuple[float, float]
    n_source: int
    n_target: int


def halves(n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Split ``range(n)`` at random into two halves (the second is the larger when n is odd).

    Parameters
    ----------
    n : int
        Number of rows.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of (learn, test), index arrays

    Examples
    --------
    >>> import numpy as np
    >>> learn, test = halves(5, np.random.default_rng(0))
    >>> learn.size, test.size, sorted([*learn.tolist(), *test.tolist()])
    (2, 3, [0, 1, 2, 3, 4])
    """
    order = rng.permutation(n)
    return order[: n // 2], order[n // 2 :]


def auc_interval(
    auc: float, n_source: ArrayLike, n_target: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    r"""Score-type confidence interval for an AUC (Newcombe's method 5).

    The bounds are the :math:`\theta` with :math:`|\hat\theta - \theta| = z\sqrt{V(\theta)}`,
    with Hanley and McNeil's variance at exponential scores,

    .. math:: V(\theta) = \frac{\theta(1-\theta)}{mn}\left[1 + (N-1)\left(
              \frac{1-\theta}{2-\theta} + \frac{\theta}{1+\theta}\right)\right],
              \quad N = \frac{m+n}{2}.

    Unlike Wald intervals it has a width at an AUC of 1 and stays inside [0, 1]. For a mean
    over strata, weighted as in :func:`rank_permutation_test`, the variance is the weighted
    one, with the same AUC in every stratum. O(strata).

    Parameters
    ----------
    auc : float
        Estimate, between 0 and 1.
    n_source, n_target : int or array-like of shape (strata,)
        Rows behind it, in each stratum; none with a zero.
    confidence : float, default=0.95
        Nominal coverage.

    Returns
    -------
    tuple of (low, high)

    References
    ----------
    R. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 2006.

    Examples
    --------
    >>> low, high = auc_interval(0.8, 100, 100)
    >>> round(low, 3), round(high, 3)
    (0.731, 0.853)
    >>> auc_interval(1.0, [20, 30], [30, 20])[0] > 0.8
    True
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    m, n = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (n_source, n_target))
    weight = m * n / (m + n)
    weight = weight / weight.sum()

    def spread(theta: float) -> float:
        shape = (1 - theta) / (2 - theta) + theta / (1 + theta)
        inside = (1 + ((m + n) / 2 - 1) * shape) / (m * n)
        variance = theta * (1 - theta) * float((np.square(weight) * inside).sum())
        return z * float(np.sqrt(max(0.0, variance)))

    # the bounds 0 and 1 themselves solve the equations when the AUC is there, trivially
    edge = 1e-9
    low = 0.0 if auc <= 0 else brentq(lambda t: auc - t - spread(t), 0.0, min(auc, 1 - edge))
    high = 1.0 if auc >= 1 else brentq(lambda t: t - auc - spread(t), max(auc, edge), 1.0)
    return float(low), float(high)


def detectable_auc(
    n_source: int, n_target: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    r"""Smallest AUC that the one-sided rank test finds with the given power.

    :math:`\tfrac12 + (z_{1-\alpha} + z_{\mathrm{power}})\sqrt{(m+n+1)/(12mn)}`, which takes
    the null variance for the variance and so holds for small shifts.

    Parameters
    ----------
    n_source, n_target : int
        Held-out rows.
    alpha : float, default=0.05
        Level.
    power : float, default=0.8
        Probability of finding it.

    Returns
    -------
    float
        At most 1.

    Examples
    --------
    >>> round(detectable_auc(1000, 1000), 3)
    0.532
    """
    sd = np.sqrt((n_source + n_target + 1) / (12 * n_source * n_target))
    return float(min(1.0, 0.5 + (norm.ppf(1 - alpha) + norm.ppf(power)) * sd))


def classifier_two_sample_test(
    source: ArrayLike,
    target: ArrayLike,
    *,
    estimator: Any = None,
    n_permutations: int = 499,
    confidence: float = 0.95,
    random_state: int | None = None,
) -> TwoSampleResult:
    r"""Test :math:`P_S(X) = P_T(X)` by the held-out AUC of a domain classifier.

    Both samples are split in half once. The classifier learns on one half, scores the other,
    and the domain indicator of the scored half is permuted with the scores held fixed. The
    scores never saw those indicators, so the p-value is exact at any sample size and for any
    classifier; a poor classifier costs power only. There is one split on purpose:
    permuting under cross-fitted scores rejects too often, because every row's indicator
    shaped the scores of the other fold.

    Cost: one fit on half of the rows, and O(B n) for the permutations.

    Parameters
    ----------
    source : array-like of shape (n_source, d)
        Source rows, NaN where missing (if the estimator takes it).
    target : array-like of shape (n_target, d)
        Target rows.
    estimator : classifier with predict_proba or None, default=None
        Domain classifier; None stands for :class:`BlendedClassifier`.
    n_permutations : int, default=499
        Permutations of the domain indicator.
    confidence : float, default=0.95
        Coverage of the interval.
    random_state : int or None, default=None
        Seed of the split, the learner and the permutations.

    Returns
    -------
    TwoSampleResult

    Raises
    ------
    ValueError
        If a side has fewer than 4 rows or the numbers of columns differ.

    References
    ----------
    D. Lopez-Paz, M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.

    I. Kim, A. Ramdas, A. Singh, L. Wasserman, "Classification accuracy as a proxy for
    two-sample testing", Annals of Statistics 2021.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(300, 3)), rng.normal(0.5, 1.0, size=(300, 3))
    >>> classifier_two_sample_test(a, b, random_state=0).p_value
    0.002
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"source and target must be 2-D with equal columns, got {a.shape} and {b.shape}"
        )
    if min(a.shape[0], b.shape[0]) < 4:
        raise ValueError(f"each side needs at least 4 rows, got {a.shape[0]} and {b.shape[0]}")
    rng = np.random.default_rng(random_state)
    if estimator is None:
        model = BlendedClassifier(random_state=int(rng.integers(2**31)))
    else:
        model = clone(estimator)
    (a_learn, a_test), (b_learn, b_test) = halves(a.shape[0], rng), halves(b.shape[0], rng)
    model.fit(np.vstack([a[a_learn], b[b_learn]]), np.repeat([0, 1], [a_learn.size, b_learn.size]))
    scores = model.predict_proba(np.vstack([a[a_test], b[b_test]]))[:, 1]
    is_target = np.repeat([False, True], [a_test.size, b_test.size])
    auc, p_value = rank_permutation_test(scores, is_target, n_permutations=n_permutations, rng=rng)
    interval = auc_interval(auc, a_test.size, b_test.size, confidence=confidence)
    return TwoSampleResult(auc, p_value, interval, int(a_test.size), int(b_test.size))

"""Permutation tests of scores against the domain indicator."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

__all__ = ["permutation_p_value", "rank_permutation_test"]

Floats = NDArray[np.float64]


def permutation_p_value(statistic: float, null: ArrayLike) -> float:
    r"""P-value of a Monte Carlo permutation test, large values being extreme.

    .. math:: p = \frac{1 + \#\{b : T_b \ge T\}}{B + 1}

    The observed value counts as one of the permutations, which makes the test valid at
    every B and never returns zero. Values within rounding of the observed one count as ties.

    Parameters
    ----------
    statistic : float
        Observed value.
    null : array-like of shape (B,)
        Values under permutation.

    Returns
    -------
    float
        Between 1 / (B + 1) and 1.

    References
    ----------
    B. Phipson, G. Smyth, "Permutation P-values Should Never Be Zero", Statistical
    Applications in Genetics and Molecular Biology 2010.

    Examples
    --------
    >>> permutation_p_value(3.0, [1.0, 2.0, 3.0, 0.0])
    0.4
    """
    values = np.asarray(null, dtype=np.float64)
    slack = 1e-10 * max(1.0, abs(statistic))
    return float((1 + np.count_nonzero(values >= statistic - slack)) / (values.size + 1))


def rank_permutation_test(
    scores: ArrayLike,
    is_target: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    n_permutations: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    r"""One-sided permutation test that target rows score higher than source rows.

    The statistic is the area under the ROC curve,
    :math:`\mathrm{AUC} = P(s_T > s_S) + \tfrac12 P(s_T = s_S)`; with strata, the mean of the
    AUCs inside the strata weighted by their number of (source, target) pairs over their
    size. The domain indicator is permuted (inside the strata) with the scores held fixed,
    so **the scores must not have been learnt from these rows' indicators**: with cross-fitted
    scores the two folds are negatively dependent on each other and the test rejects too
    often. O(B n) time, blocks of permutations keep the memory below about 32 MB.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Held-out scores; large means "looks like target".
    is_target : array-like of shape (n,)
        Domain indicator.
    strata : array-like of shape (n,) or None, default=None
        Integer codes; strata that lack one side say nothing and are left out.
    n_permutations : int
        Number of permutations, B.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of (auc, p_value)
        Statistic and permutation p-value.

    Raises
    ------
    ValueError
        If no stratum has rows of both sides.

    References
    ----------
    D. Lopez-Paz, M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> scores = np.arange(200.0)
    >>> rank_permutation_test(scores, scores >= 100, n_permutations=999, rng=rng)
    (1.0, 0.001)
    """
    values = np.asarray(scores, dtype=np.float64)
    target = np.asarray(is_target, dtype=bool)
    codes = np.zeros(values.size, dtype=np.int64) if strata is None else np.asarray(strata)
    auc, weight, null = 0.0, 0.0, np.zeros(n_permutations)
    for code in np.unique(codes):
        inside = codes == code
        n_target = int(target[inside].sum())
        n_source = int(inside.sum()) - n_target
        if n_target == 0 or n_source == 0:
            continue
        ranks = rankdata(values[inside])
        pairs = n_source * n_target
        share = pairs / (n_source + n_target)  # inverse of the null variance, up to a constant
        base = n_target * (n_target + 1) / 2
        auc += share * (ranks[target[inside]].sum() - base) / pairs
        null += share * (_permuted_sums(ranks, n_target, n_permutations, rng) - base) / pairs
        weight += share
    if weight == 0.0:
        raise ValueError("is_target must have rows of both domains in at least one stratum")
    auc, null = auc / weight, null / weight
    return float(auc), permutation_p_value(auc, null)


def _permuted_sums(
    ranks: Floats, n_chosen: int, n_permutations: int, rng: np.random.Generator
) -> Floats:
    """Sums of ``n_chosen`` ranks drawn without replacement, ``n_permutations`` times."""
    sums = np.empty(n_permutations)
    block = max(1, 4_000_000 // ranks.size)
    for start in range(0, n_permutations, block):
        stop = min(start + block, n_permutations)
        shuffled = rng.permuted(np.broadcast_to(ranks, (stop - start, ranks.size)), axis=1)
        sums[start:stop] = shuffled[:, :n_chosen].sum(axis=1)
    return sums

"""Does label shift explain the target's X? A test without target labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from shiftlab.stats.learners import BlendedClassifier

__all__ = [
    "LabelFitResult",
    "LabelView",
    "MixtureMoments",
    "label_fit_test",
    "learnt_label_fit",
    "mixture_moments",
]

Floats = NDArray[np.float64]


class MixtureMoments(NamedTuple):
    """What :func:`mixture_moments` returns.

    Attributes
    ----------
    prior : ndarray of shape (k,)
        Unconstrained BBSE solution; sums to 1 and may leave [0, 1].
    covariance : ndarray of shape (k, k)
        Of the prior.
    condition : float
        Condition number of the class-conditional mean predictions.
    """

    prior: Floats
    covariance: Floats
    condition: float

    @property
    def standard_error(self) -> Floats:
        """Standard error of each entry of the prior."""
        error: Floats = np.sqrt(np.diag(self.covariance))
        return error


class LabelFitResult(NamedTuple):
    """What :func:`label_fit_test` returns.

    Attributes
    ----------
    statistic : float
        Standardised misfit, standard normal under label shift.
    p_value : float
        One-sided.
    misfit : float
        Mean score of the target minus that of the best mixture of source classes.
    standard_error : float
        Of the misfit.
    """

    statistic: float
    p_value: float
    misfit: float
    standard_error: float


def _class_means(values: Floats, codes: NDArray[Any], k: int) -> Floats:
    counts = np.bincount(codes, minlength=k)
    if (counts < 2).any():
        raise ValueError(f"every class needs at least 2 source rows, got {counts.tolist()}")
    return np.stack([values[codes == j].mean(axis=0) for j in range(k)], axis=-1)


class LabelView(NamedTuple):
    """What some of the rows taught about all rows, for :func:`learnt_label_fit`.

    Attributes
    ----------
    weight : ndarray of shape (n,)
        Of the source rows, under which they have the target's Y as it was estimated.
    columns, target_columns : ndarrays of shape (n, d) and (m, d)
        What the score may look at.
    predictions, target_predictions : ndarrays of shape (n, k) and (m, k)
        As :func:`label_fit_test` takes them.
    """

    weight: Floats
    columns: Floats
    target_columns: Floats
    predictions: Floats
    target_predictions: Floats


def mixture_moments(
    source_probabilities: ArrayLike, source_codes: ArrayLike, target_probabilities: ArrayLike
) -> MixtureMoments:
    r"""Target prior by matching mean predictions, with standard errors.

    :math:`q = A^{-1} m` with :math:`A_{ij} = E_S[\hat p_i \mid Y=j]` and
    :math:`m = E_T[\hat p]`. With :math:`\zeta = A^{-1}\hat p(x)`, whose source mean in class
    j is the j-th unit vector, the delta method gives :math:`\mathrm{Cov}(q) =
    \mathrm{Cov}_T(\zeta)/n_T + \sum_j q_j^2\, \mathrm{Cov}_S(\zeta\mid j)/n_j`.
    O(n k^2).

    Parameters
    ----------
    source_probabilities : array-like of shape (n_source, k)
        Predictions on source rows that the model did not train on.
    source_codes : array-like of shape (n_source,)
        Their classes, 0 to k - 1.
    target_probabilities : array-like of shape (n_target, k)
        Predictions on target rows.

    Returns
    -------
    MixtureMoments

    Raises
    ------
    ValueError
        If a class has fewer than 2 source rows.

    References
    ----------
    Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and Correcting for Label Shift with Black
    Box Predictors", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> certain = np.eye(2)
    >>> moments = mixture_moments(certain[[0, 0, 1, 1]], [0, 0, 1, 1], certain[[0, 0, 0, 1]])
    >>> moments.prior
    array([0.75, 0.25])
    """
    p, codes = np.asarray(source_probabilities, dtype=np.float64), np.asarray(source_codes)
    t = np.asarray(target_probabilities, dtype=np.float64)
    k = p.shape[1]
    means = _class_means(p, codes, k)
    condition = float(np.linalg.cond(means))
    inverse = np.linalg.pinv(means)
    zeta_s, zeta_t = p @ inverse.T, t @ inverse.T
    prior = zeta_t.mean(axis=0)
    covariance = np.cov(zeta_t, rowvar=False) / t.shape[0]
    for j, share in enumerate(prior):
        inside = zeta_s[codes == j]
        covariance = covariance + share**2 * np.cov(inside, rowvar=False) / inside.shape[0]
    return MixtureMoments(prior, np.atleast_2d(covariance), condition)


def label_fit_test(
    source_scores: ArrayLike,
    source_probabilities: ArrayLike,
    source_labels: ArrayLike,
    target_scores: ArrayLike,
    target_probabilities: ArrayLike,
) -> LabelFitResult:
    r"""Test that the target's X is a mixture of the source's classes (label shift).

    Take any score :math:`\varphi(x)` and class predictions :math:`\hat p(x)` learnt on other
    rows. With :math:`A` the matrix of class-conditional source means of
    :math:`\hat p` and :math:`\mu` those of :math:`\varphi`, the corrected score

    .. math:: \psi(x) = \varphi(x) - \mu^\top A^{-1} \hat p(x)

    has mean zero in *every* source class, hence in every mixture of them: under label shift
    its target mean is zero whatever the target prior, which is thereby re-estimated by BBSE
    on these very rows. Where Y is a number its classes are overlapping functions
    :math:`\rho_b(y)`, and means in a class are means under these weights: the mixtures are then
    all ratios :math:`\sum_b \alpha_b \rho_b(y)`. The standard error counts the estimation of
    :math:`\mu` and :math:`A`. One-sided: :math:`\varphi` should be high where the target has
    more rows than the reweighted source. Rejection means "not label shift alone"; no rejection
    does not prove label shift, since a covariate shift may look the same. O(n k^2).

    Parameters
    ----------
    source_scores : array-like of shape (n_source,)
        Held-out source scores, bounded.
    source_probabilities : array-like of shape (n_source, k)
        Predictions on the same rows.
    source_labels : array-like of shape (n_source,) or (n_source, k)
        Their classes, 0 to k - 1, or non-negative memberships :math:`\rho_b(y_i)`.
    target_scores : array-like of shape (n_target,)
        Held-out target scores.
    target_probabilities : array-like of shape (n_target, k)
        Predictions on the same rows.

    Returns
    -------
    LabelFitResult

    Raises
    ------
    ValueError
        If a class has fewer than 2 source rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> codes = np.repeat([0, 1], 1000)
    >>> x, moved = rng.normal(3.0 * codes), rng.normal(3.0 * codes, 2.0)
    >>> def predict(x):
    ...     p = 1 / (1 + np.exp(4.5 - 3.0 * x))
    ...     return np.column_stack([1 - p, p])
    >>> def score(x):
    ...     return np.abs(x - 1.5) > 3.0
    >>> kept = rng.normal(3.0 * (rng.random(1000) < 0.9))
    >>> bool(label_fit_test(score(x), predict(x), codes, score(kept), predict(kept)).p_value > 0.05)
    True
    >>> result = label_fit_test(score(x), predict(x), codes, score(moved), predict(moved))
    >>> bool(result.p_value < 1e-6)
    True
    """
    p, labels = np.asarray(source_probabilities, dtype=np.float64), np.asarray(source_labels)
    t = np.asarray(target_probabilities, dtype=np.float64)
    phi_s = np.asarray(source_scores, dtype=np.float64)
    phi_t = np.asarray(target_scores, dtype=np.float64)
    member = np.eye(p.shape[1])[labels] if labels.ndim == 1 else labels.astype(np.float64)
    total, squares = member.sum(axis=0), np.square(member).sum(axis=0)
    rows = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    if (rows < 2).any():
        raise ValueError(f"every class needs at least 2 source rows, got {rows.round(1).tolist()}")
    member = member / total
    inverse = np.linalg.pinv(p.T @ member)
    beta = inverse.T @ (phi_s @ member)
    psi_s, psi_t = phi_s - p @ beta, phi_t - t @ beta
    share = (t @ inverse.T).mean(axis=0)
    # psi has mean zero in each class, which cost one of the rows that the class is worth.
    pull = member @ (share * np.sqrt(rows / (rows - 1))) * psi_s
    misfit = float(psi_t.mean())
    error = float(np.sqrt(psi_t.var(ddof=1) / psi_t.size + np.square(pull).sum()))
    if error == 0.0:
        return LabelFitResult(0.0, 1.0, misfit, 0.0)
    statistic = misfit / error
    return LabelFitResult(statistic, float(norm.sf(statistic)), misfit, error)


def learnt_label_fit(
    view: Callable[[NDArray[np.bool_], NDArray[np.bool_]], LabelView],
    source_labels: NDArray[Any],
    half: NDArray[np.intp],
    target_half: NDArray[np.intp],
    seed: int,
) -> LabelFitResult:
    """Test label shift by a score that is learnt on one half of the rows, both ways round.

    On one half a classifier learns what still tells the target from the source after the source
    has the target's Y; on the other :func:`label_fit_test` asks whether its score is higher
    than any mixture of the source's classes allows. The mean of both ways has a standard
    deviation of at most one under label shift. Two fits of
    :class:`shiftlab.stats.learners.BlendedClassifier`.

    Parameters
    ----------
    view : callable
        From masks of the source and target rows that may be learnt from to a `LabelView` of all.
    source_labels : ndarray of shape (n,) or (n, k)
        As :func:`label_fit_test` takes them.
    half : ndarray of shape (n,)
        0 or 1 for each source row.
    target_half : ndarray of shape (m,)
        The same for the target rows.
    seed : int
        Of the classifier.

    Returns
    -------
    LabelFitResult
        Means of the two ways round.
    """
    ways = []
    for learn in (0, 1):
        rows, target_rows = half == learn, target_half == learn
        seen = view(rows, target_rows)
        is_target = np.repeat([False, True], [rows.sum(), target_rows.sum()])
        # Both sides weigh the same, so that the score is about shape and not about sizes.
        own = seen.weight[rows] / seen.weight[rows].sum()
        balance = np.append(own, np.full(target_rows.sum(), 1 / target_rows.sum()))
        scorer = BlendedClassifier(random_state=seed).fit(
            np.vstack([seen.columns[rows], seen.target_columns[target_rows]]),
            is_target,
            balance * len(is_target) / 2,
        )
        ways.append(
            label_fit_test(
                scorer.predict_proba(seen.columns[~rows])[:, 1],
                seen.predictions[~rows],
                source_labels[~rows],
                scorer.predict_proba(seen.target_columns[~target_rows])[:, 1],
                seen.target_predictions[~target_rows],
            )
        )
    statistic, misfit, error = np.mean(
        [(r.statistic, r.misfit, r.standard_error) for r in ways], axis=0
    )
    return LabelFitResult(float(statistic), float(norm.sf(statistic)), float(misfit), float(error))

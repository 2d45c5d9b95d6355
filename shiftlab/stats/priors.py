"""Class priors: estimates under label shift (BBSE, EM), distance and test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from shiftlab.stats.permutation import permutation_p_value

__all__ = [
    "EMPrior",
    "bbse_prior",
    "em_prior",
    "label_counts",
    "label_permutation_test",
    "reweighted_probabilities",
    "total_variation",
]

Floats = NDArray[np.float64]


class EMPrior(NamedTuple):
    """What :func:`em_prior` returns.

    Attributes
    ----------
    prior : ndarray of shape (k,)
        Estimated target prior, non-negative, sums to one.
    n_iter : int
        Updates done.
    converged : bool
        Whether the last update moved no class by more than ``tol``.
    """

    prior: Floats
    n_iter: int
    converged: bool


def _distribution(values: ArrayLike, name: str) -> Floats:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 1 or p.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-D array, got shape {p.shape}")
    if not np.isfinite(p).all() or (p < 0).any() or abs(float(p.sum()) - 1.0) > 1e-6:
        raise ValueError(f"{name} must be non-negative and sum to 1, got {p.tolist()}")
    return p


def total_variation(p: ArrayLike, q: ArrayLike) -> float:
    r"""Total variation distance :math:`\frac12\sum_k |p_k - q_k|` of two distributions.

    The largest difference that the two give to any set of classes: 0 when equal, 1 when
    they share no class.

    Parameters
    ----------
    p, q : array-like of shape (k,)
        Distributions over the same classes.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If either is no distribution or their lengths differ.

    Examples
    --------
    >>> round(total_variation([0.5, 0.5], [0.8, 0.2]), 6)
    0.3
    """
    a, b = _distribution(p, "p"), _distribution(q, "q")
    if a.shape != b.shape:
        raise ValueError(f"p and q must have the same length, got {a.size} and {b.size}")
    return float(0.5 * np.abs(a - b).sum())


def bbse_prior(
    confusion: ArrayLike,
    target_prediction_mean: ArrayLike,
    source_prior: ArrayLike,
    *,
    rcond: float = 1e-6,
) -> Floats:
    r"""Target prior by black-box shift estimation, kept on the simplex.

    Under label shift :math:`\mu = C w` with the joint source confusion matrix
    :math:`C_{ij} = P_S(\hat Y = i, Y = j)`, the mean target prediction
    :math:`\mu_i = P_T(\hat Y = i)` and the weights :math:`w_j = q_j / p_j`. With
    :math:`A_{ij} = C_{ij}/p_j = P(\hat Y = i\mid Y = j)` this solves

    .. math:: \min_q \lVert A q - \mu\rVert_2^2 \quad\text{s.t.}\quad q \ge 0,\ 1^\top q = 1

    exactly: with :math:`M = A - \mu 1^\top` the objective on the simplex is
    :math:`\lVert Mq\rVert^2`, and the direction of the non-negative least squares solution
    of :math:`[M; 1^\top] z = [0; 1]` is its minimiser. Hard predictions (0/1) and soft ones
    (probabilities) both work, as long as ``confusion`` and ``target_prediction_mean`` are
    made the same way, ``confusion`` on source rows that the model did not train on.
    O(k^3) time.

    Parameters
    ----------
    confusion : array-like of shape (k, k)
        Joint source confusion matrix, ``confusion[i, j] = P_S(prediction = i, Y = j)``; its
        columns sum to ``source_prior``.
    target_prediction_mean : array-like of shape (k,)
        Mean prediction over the target rows; sums to 1.
    source_prior : array-like of shape (k,)
        Class frequencies of the rows behind ``confusion``; all positive, sums to 1.
    rcond : float, default=1e-6
        The matrix counts as singular when its smallest singular value is below ``rcond``
        times its largest.

    Returns
    -------
    ndarray of shape (k,)
        Estimated target prior; divide by ``source_prior`` for the class weights.

    Raises
    ------
    ValueError
        If a shape is wrong, ``confusion`` is not the joint matrix of ``source_prior``, or it
        is singular (some classes get the same predictions, so no data can tell their
        shares apart).

    References
    ----------
    Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and Correcting for Label Shift with Black
    Box Predictors", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> given_class = np.array([[0.9, 0.2], [0.1, 0.8]])
    >>> source_prior = np.array([0.5, 0.5])
    >>> bbse_prior(given_class * source_prior, given_class @ [0.3, 0.7], source_prior).round(6)
    array([0.3, 0.7])
    """
    p = _distribution(source_prior, "source_prior")
    mu = _distribution(target_prediction_mean, "target_prediction_mean")
    joint = np.asarray(confusion, dtype=np.float64)
    if joint.shape != (p.size, p.size) or mu.size != p.size:
        raise ValueError(
            f"confusion must be ({p.size}, {p.size}) and target_prediction_mean ({p.size},) for "
            f"{p.size} classes in source_prior, got {joint.shape} and {mu.shape}"
        )
    if (p == 0).any():
        raise ValueError(
            f"source_prior must be positive in every class, got {p.tolist()}; "
            "drop the classes that the source does not have"
        )
    if not np.isfinite(joint).all() or (joint < 0).any():
        raise ValueError("confusion must be finite and non-negative")
    if not np.allclose(joint.sum(axis=0), p, atol=1e-6):
        raise ValueError(
            "confusion must be the joint matrix P(prediction = i, Y = j), whose columns sum to "
            f"source_prior {p.round(6).tolist()}; its columns sum to "
            f"{joint.sum(axis=0).round(6).tolist()} (counts? conditional? transposed?)"
        )
    given_class = joint / p
    singular = np.linalg.svd(given_class, compute_uv=False)
    if singular[-1] <= rcond * singular[0]:
        raise ValueError(
            "confusion is singular: the predictions do not tell all classes apart, so the "
            "target prior is not identified; use a better model or merge classes"
        )
    system = np.vstack([given_class - mu[:, None], np.ones((1, p.size))])
    direction, _ = nnls(system, np.append(np.zeros(p.size), 1.0))
    return np.asarray(direction / direction.sum(), dtype=np.float64)


def reweighted_probabilities(
    probabilities: ArrayLike, source_prior: ArrayLike, target_prior: ArrayLike
) -> Floats:
    r"""Source posteriors turned into target posteriors under label shift.

    .. math:: P_T(y\mid x) \propto P_S(y\mid x)\, q_y / p_y

    O(n k) time. A row whose every class has target prior zero keeps its source posterior.

    Parameters
    ----------
    probabilities : array-like of shape (n, k)
        Calibrated source posteriors; rows sum to 1.
    source_prior : array-like of shape (k,)
        Prior that the posteriors were trained under; positive.
    target_prior : array-like of shape (k,)
        Prior to move to.

    Returns
    -------
    ndarray of shape (n, k)
        Rows sum to 1.

    Raises
    ------
    ValueError
        If a shape is wrong, a row does not sum to 1 or ``source_prior`` has a zero.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    Examples
    --------
    >>> reweighted_probabilities([[0.5, 0.5]], [0.5, 0.5], [0.9, 0.1])
    array([[0.9, 0.1]])
    """
    posterior, p = _posteriors(probabilities, source_prior)
    q = _distribution(target_prior, "target_prior")
    if q.size != p.size:
        raise ValueError(f"target_prior must have {p.size} entries, got {q.size}")
    return _reweighted(posterior, q / p)


def _posteriors(probabilities: ArrayLike, source_prior: ArrayLike) -> tuple[Floats, Floats]:
    p = _distribution(source_prior, "source_prior")
    posterior = np.asarray(probabilities, dtype=np.float64)
    if posterior.ndim != 2 or posterior.shape[0] == 0 or posterior.shape[1] != p.size:
        raise ValueError(
            f"probabilities must be (n, {p.size}) with n >= 1, got shape {posterior.shape}"
        )
    sums = posterior.sum(axis=1)
    if (
        not np.isfinite(posterior).all()
        or (posterior < 0).any()
        or not np.allclose(sums, 1.0, atol=1e-4)
    ):
        raise ValueError("probabilities must be non-negative and every row must sum to 1")
    if (p == 0).any():
        raise ValueError(
            f"source_prior must be positive in every class, got {p.tolist()}; "
            "drop the classes that the source does not have"
        )
    return posterior / sums[:, None], p


def _reweighted(posterior: Floats, ratio: Floats) -> Floats:
    moved = posterior * ratio
    total = moved.sum(axis=1, keepdims=True)
    lost = total[:, 0] == 0
    moved[lost], total[lost] = posterior[lost], 1.0
    return np.asarray(moved / total, dtype=np.float64)


def em_prior(
    probabilities: ArrayLike,
    source_prior: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    max_iter: int = 1000,
    tol: float = 1e-8,
) -> EMPrior:
    r"""Target prior that maximises the likelihood of unlabelled target rows, by EM and Newton.

    Under label shift with calibrated posteriors the target likelihood is, up to a constant,

    .. math:: \ell(q) = \sum_i w_i \log \sum_y \frac{q_y}{p_y} P_S(y \mid x_i),

    concave in :math:`q`. The first steps from :math:`q = p` are those of EM (reweight the
    posteriors by :math:`q/p`, average them); then each step maximises the quadratic model of
    :math:`\ell` over :math:`q \ge 0`, as far as that raises :math:`\ell`. EM alone takes
    hundreds of steps where classes overlap. O(n k^2) time for each of some ten steps.

    Parameters
    ----------
    probabilities : array-like of shape (n, k)
        Source posteriors of the target rows, calibrated; rows sum to 1.
    source_prior : array-like of shape (k,)
        Prior that the posteriors were trained under; positive, sums to 1.
    weight : array-like of shape (n,), default=None
        Row weights, non-negative, not all zero.
    max_iter : int, default=1000
        Largest number of steps.
    tol : float, default=1e-8
        Stop when no class moved by more than this, or the mean log-likelihood is at most this
        far below its maximum.

    Returns
    -------
    EMPrior
        ``(prior, n_iter, converged)``.

    Raises
    ------
    ValueError
        If a shape is wrong, a row does not sum to 1, ``source_prior`` has a zero or
        ``max_iter`` is below 1.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    A. Alexandari, A. Kundaje, A. Shrikumar, "Maximum Likelihood with Bias-Corrected
    Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020 (concavity).

    Y. Kim, P. Carbonetto, M. Stephens, M. Anitescu, "A Fast Algorithm for Maximum Likelihood
    Estimation of Mixture Proportions Using Sequential Quadratic Programming", Journal of
    Computational and Graphical Statistics 2020 (the Newton steps).

    Examples
    --------
    >>> import numpy as np
    >>> certain = np.eye(2)[[0, 0, 0, 1]]
    >>> result = em_prior(certain, [0.5, 0.5])
    >>> result.prior, result.converged
    (array([0.75, 0.25]), True)
    """
    if max_iter < 1:
        raise ValueError(f"max_iter must be at least 1, got {max_iter}")
    posterior, p = _posteriors(probabilities, source_prior)
    w = np.ones(len(posterior)) if weight is None else np.asarray(weight, dtype=np.float64)
    if w.shape != (len(posterior),) or not (w >= 0).all() or not w.sum() > 0:
        raise ValueError(
            f"weight must hold {len(posterior)} non-negative numbers, not all zero; got shape "
            f"{w.shape}"
        )
    return climb_to_prior(posterior / p, w / w.sum(), p, max_iter, tol)


EM_FIRST = 4  # steps of EM, after which the quadratic model is a good one


def climb_to_prior(
    likelihood: Floats, weight: Floats, start: Floats, max_iter: int = 1000, tol: float = 1e-8
) -> EMPrior:
    """Maximise ``weight @ log(likelihood @ q)`` over the simplex; see :func:`em_prior`.

    Parameters
    ----------
    likelihood : ndarray of shape (n, k)
        Of each row in each class, up to a factor of the row; not checked.
    weight : ndarray of shape (n,)
        Non-negative, sums to one.
    start : ndarray of shape (k,)
        Where to begin; a class that is zero here may stay zero.
    max_iter : int, default=1000
        Largest number of steps.
    tol : float, default=1e-8
        As in :func:`em_prior`.

    Returns
    -------
    EMPrior
    """
    q = start
    mixed = likelihood @ q
    for step in range(1, max_iter + 1):
        rise = likelihood.T @ (weight / mixed)  # 1 in classes with rows, at most 1 elsewhere
        if step > EM_FIRST and rise.max() - 1 <= tol:
            return EMPrior(q, step, True)
        updated = q * rise
        if step > EM_FIRST:
            updated = _newton(likelihood, weight, q, mixed, rise)
        updated = updated / updated.sum()
        converged = bool(np.abs(updated - q).max() <= tol)
        q, mixed = updated, likelihood @ updated
        if converged:
            return EMPrior(q, step, True)
    return EMPrior(q, max_iter, False)


def _newton(likelihood: Floats, weight: Floats, q: Floats, mixed: Floats, rise: Floats) -> Floats:
    """Return a better prior from the quadratic model of the likelihood, or a step of EM."""
    scaled = likelihood * (np.sqrt(weight) / mixed)[:, None]
    hessian = scaled.T @ scaled
    hessian[np.diag_indices_from(hessian)] += 1e-10 * np.trace(hessian) / len(q)
    try:
        root = np.linalg.cholesky(hessian).T
        # min 1/2 z'Hz - (2 rise - 1)'z over z >= 0: the model of -likelihood + sum(z) at q.
        found, _ = nnls(root, np.linalg.solve(root.T, 2 * rise - 1))
    except (np.linalg.LinAlgError, RuntimeError):
        return q * rise
    now = weight @ np.log(mixed)
    with np.errstate(divide="ignore", invalid="ignore"):
        for halvings in range(12):
            tried = q + 0.5**halvings * (found - q)
            tried = tried / tried.sum()
            if weight @ np.log(likelihood @ tried) > now:
                return np.asarray(tried)
    return q * rise


def label_counts(
    source_labels: ArrayLike, target_labels: ArrayLike
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Count every class of the union on both sides.

    Parameters
    ----------
    source_labels : array-like of shape (n_source,)
        Class labels.
    target_labels : array-like of shape (n_target,)
        Class labels of the same kind.

    Returns
    -------
    tuple of (classes, source_counts, target_counts), ndarrays of shape (k,)
        Sorted union of the labels and how often each side has them.

    Examples
    --------
    >>> label_counts(["a", "b", "a"], ["b", "c"])[1:]
    (array([2, 1, 0]), array([0, 1, 1]))
    """
    source, target = np.asarray(source_labels), np.asarray(target_labels)
    classes, codes = np.unique(np.concatenate([source, target]), return_inverse=True)
    codes = codes.reshape(-1)
    return (
        classes,
        np.bincount(codes[: source.size], minlength=classes.size).astype(np.int64),
        np.bincount(codes[source.size :], minlength=classes.size).astype(np.int64),
    )


def label_permutation_test(
    source_counts: ArrayLike,
    target_counts: ArrayLike,
    *,
    n_permutations: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    r"""Permutation chi-square test of equal class frequencies.

    The statistic is Pearson's :math:`\chi^2` of the 2 x k table. Permuting the domain
    indicator over the pooled rows leaves the margins as they are, so a permuted table is a
    multivariate hypergeometric draw and no rows are shuffled: O(B k) time. The p-value
    :math:`(1 + \#\{\chi^2_b \ge \chi^2\})/(B + 1)` is exact at any sample size, classes that
    one side lacks included.

    Parameters
    ----------
    source_counts : array-like of shape (k,)
        Rows of each class in the source.
    target_counts : array-like of shape (k,)
        Rows of each class in the target.
    n_permutations : int
        Number of permuted tables, B.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of (statistic, p_value)
        Chi-square and its permutation p-value.

    Raises
    ------
    ValueError
        If the shapes differ, a count is negative or a side has no rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> label_permutation_test([50, 50], [90, 10], n_permutations=999, rng=rng)[1]
    0.001
    """
    counts = np.stack([np.asarray(source_counts), np.asarray(target_counts)]).astype(np.int64)
    if counts.ndim != 2 or (counts < 0).any() or (counts.sum(axis=1) == 0).any():
        raise ValueError("counts must be non-negative, 1-D and non-empty on both sides")
    counts = counts[:, counts.sum(axis=0) > 0]
    pooled = counts.sum(axis=0)
    n_source, n_target = (int(n) for n in counts.sum(axis=1))
    expected = pooled * (n_source / (n_source + n_target))

    def chi_square(source: NDArray[np.int64]) -> Floats:
        # (o - e)^2 is the same for both rows of a class once the margins are fixed
        deviation = np.square(source - expected)
        value: Floats = (deviation / expected).sum(axis=-1) * (1 + n_source / n_target)
        return value

    statistic = float(chi_square(counts[0]))
    if pooled.size == 1:
        return 0.0, 1.0
    null = chi_square(rng.multivariate_hypergeometric(pooled, n_source, size=n_permutations))
    return statistic, permutation_p_value(statistic, null)

"""Label shift: regularised and shrunken priors, and how uncertain a prior is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar, nnls
from scipy.special import digamma, gammaln, softmax

from shiftlab.stats.calibration import calibration_scores
from shiftlab.stats.priors import EMPrior, climb_to_prior, em_prior, reweighted_probabilities

__all__ = [
    "ShrunkenPrior",
    "confusion_matrix",
    "prior_draws",
    "rlls_prior",
    "shrunken_prior",
    "standing_rows",
]

Floats = NDArray[np.float64]

ROWS = 5000  # of each side, for the strength of the shrinkage and for the bootstrap
STEPS = 500
GRID = 8  # strengths that are weighed


class ShrunkenPrior(NamedTuple):
    """What :func:`shrunken_prior` returns.

    Attributes
    ----------
    prior : ndarray of shape (k,)
        Estimated shares of the classes among the target rows.
    strength : float
        Rows that the source's prior counts for, under the most probable strength; infinite
        where nothing speaks for a shift.
    converged : bool
        Whether the iteration came to rest.
    """

    prior: Floats
    strength: float
    converged: bool


def confusion_matrix(
    predictions: Floats, codes: NDArray[np.intp], weight: Floats | None = None
) -> Floats:
    """Return the joint matrix ``P(prediction = i, Y = j)`` of soft or one-hot predictions.

    O(n k).

    Parameters
    ----------
    predictions : ndarray of shape (n, k)
        Of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes.
    weight : ndarray of shape (n,), default=None
        Row weights.

    Returns
    -------
    ndarray of shape (k, k)
        Sums to one; its columns sum to the class shares.
    """
    k = predictions.shape[1]
    w = np.ones(len(codes)) if weight is None else weight
    onehot = np.zeros((len(codes), k))
    onehot[np.arange(len(codes)), codes] = w
    joint = predictions.T @ onehot
    return np.asarray(joint / joint.sum())


def rlls_prior(
    confusion: ArrayLike,
    target_prediction_mean: ArrayLike,
    source_prior: ArrayLike,
    n_source: float,
    *,
    scale: float = 0.01,
) -> Floats:
    r"""Target prior by regularised learning under label shift (RLLS).

    .. math:: \min_{\theta \ge -1} \lVert C\theta - (\mu - C 1)\rVert_2
              + \lambda \lVert\theta\rVert_2, \qquad
              \lambda = 3 s \Big(\frac{2\log(2k/\delta)}{3 n} + \sqrt{\frac{2\log(2k/\delta)}{n}}
              \Big)

    with the joint confusion matrix :math:`C`, the mean target prediction :math:`\mu`, the
    weights :math:`w = 1 + \theta = q/p` and :math:`\delta = 0.05`: the error bound of
    :math:`C` times a scale :math:`s`. Every stationary point is one of ridge regression with
    some penalty, so that one number is searched for. Where the data say little the weights
    stay at one, and a singular :math:`C` still has an answer. O(k^3) for each of some 50 steps.

    Parameters
    ----------
    confusion : array-like of shape (k, k)
        As :func:`shiftlab.stats.priors.bbse_prior` takes it.
    target_prediction_mean : array-like of shape (k,)
        Mean prediction over the target rows.
    source_prior : array-like of shape (k,)
        Class shares behind ``confusion``.
    n_source : float
        Rows behind ``confusion``.
    scale : float, default=0.01
        :math:`s`, the authors' choice.

    Returns
    -------
    ndarray of shape (k,)

    References
    ----------
    K. Azizzadenesheli, A. Liu, F. Yang, A. Anandkumar, "Regularized Learning for Domain
    Adaptation under Label Shifts", ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> given_class, p = np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([0.5, 0.5])
    >>> rlls_prior(given_class * p, given_class @ [0.3, 0.7], p, 10**6).round(2)
    array([0.3, 0.7])
    """
    C = np.asarray(confusion, dtype=np.float64)
    mu = np.asarray(target_prediction_mean, dtype=np.float64)
    p = np.asarray(source_prior, dtype=np.float64)
    k = len(p)
    bound = 2 * np.log(2 * k / 0.05)
    penalty = 3 * scale * (bound / (3 * n_source) + np.sqrt(bound / n_source))

    def ridge(log_alpha: float) -> Floats:
        root = np.exp(0.5 * log_alpha)
        w, _ = nnls(np.vstack([C, root * np.eye(k)]), np.append(mu, np.full(k, root)))
        return np.asarray(w)

    def objective(log_alpha: float) -> float:
        w = ridge(log_alpha)
        return float(np.linalg.norm(C @ w - mu) + penalty * np.linalg.norm(w - 1))

    # The norms are not squared, so the objective along the path may have its minimum at an end.
    grid = np.linspace(-30.0, 5.0, 36)
    best = int(np.argmin([objective(a) for a in grid]))
    inside = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = minimize_scalar(objective, bounds=inside, method="bounded", options={"xatol": 1e-4}).x
    q = p * ridge(min(found, grid[best], key=objective))
    return np.asarray(q / q.sum()) if q.sum() > 0 else p


def shrunken_prior(probabilities: ArrayLike, source_prior: ArrayLike) -> ShrunkenPrior:
    r"""Target prior that stays near the source's as far as the target rows allow it.

    The prior itself is taken to be drawn around the source's,

    .. math:: q \sim \mathrm{Dirichlet}(s\, p), \qquad
              x_i \sim \sum_y q_y\, P(x \mid y),

    and the estimate is an average over strengths :math:`s`, from hardly any to infinite (no
    shift), each weighted by the evidence for it: how probable it makes the target rows (Laplace's
    approximation in the logits of :math:`q`). Given :math:`s`, the posterior of :math:`q` is
    approximated by a Dirichlet distribution (variational Bayes). After a strong shift the result
    is nearly that of maximum likelihood; a weak one, seen through a poor classifier, is mostly
    noise and shrinks towards none. Returned is the mean of the rows' posteriors under the
    shrunken :math:`q`: the shares that these target rows have, not those of the population
    they come from. O(n k + k^3) for each of some hundred steps; the strengths are weighed on at
    most 5,000 rows, and from there on the most probable one alone is used.

    Parameters
    ----------
    probabilities : array-like of shape (n, k)
        Calibrated source posteriors of the target rows.
    source_prior : array-like of shape (k,)
        Positive, sums to one.

    Returns
    -------
    ShrunkenPrior

    References
    ----------
    D. MacKay, "Choice of Basis for Laplace Approximation", Machine Learning 1998.

    C. Morris, "Parametric Empirical Bayes Inference: Theory and Applications", Journal of the
    American Statistical Association 1983.

    Examples
    --------
    >>> import numpy as np
    >>> sure = np.repeat([[0.99, 0.01], [0.01, 0.99]], [900, 100], axis=0)
    >>> shrunken_prior(sure, [0.5, 0.5]).prior.round(2)
    array([0.91, 0.09])
    >>> vague = np.repeat([[0.55, 0.45], [0.45, 0.55]], [11, 9], axis=0)
    >>> shrunken_prior(vague, [0.5, 0.5]).strength
    inf
    """
    maximum = em_prior(probabilities, source_prior)
    p = np.asarray(source_prior, dtype=np.float64)
    likelihood = np.asarray(probabilities, dtype=np.float64) / p
    n = len(likelihood)
    every = -(-n // ROWS)
    strengths, means, evidence, settled = _weigh(likelihood[::every], p, maximum.prior)
    best = int(np.argmax(evidence))
    strength = float(strengths[best])
    if every == 1:
        trust = softmax(evidence)
        q = trust @ means
    elif np.isinf(strength):
        q = p
    else:
        # The strength says how far priors lie apart, however many rows there are.
        pseudo = strength * p
        concentration, fits = _posterior(likelihood, pseudo, pseudo + n * maximum.prior)
        q, settled = concentration / concentration.sum(), settled and fits
    shares = reweighted_probabilities(probabilities, p, q).mean(axis=0)
    return ShrunkenPrior(shares / shares.sum(), strength, maximum.converged and settled)


def _weigh(likelihood: Floats, p: Floats, maximum: Floats) -> tuple[Floats, Floats, Floats, bool]:
    """Return strengths, the mean prior and the log-evidence for each, and whether all settled."""
    n, k = likelihood.shape
    strengths = np.append(np.geomspace(0.05 * k, 4.0 * n, GRID), np.inf)
    means, evidence, settled = [], [], True
    concentration = strengths[0] * p + n * maximum
    for s in strengths[:-1]:
        concentration, fits = _posterior(likelihood, s * p, concentration)
        means.append(concentration / concentration.sum())
        evidence.append(_evidence(likelihood, s * p, means[-1]))
        settled &= fits
    # Without a shift the target rows have the likelihood that the source gives them, 1 a row.
    return strengths, np.array([*means, p]), np.array([*evidence, 0.0]), settled


def _posterior(likelihood: Floats, pseudo: Floats, start: Floats) -> tuple[Floats, bool]:
    """Fit a Dirichlet distribution to the posterior of the prior; return its parameters."""
    concentration = start
    for _ in range(STEPS):
        share = np.exp(digamma(concentration) - digamma(concentration.sum()))
        updated = pseudo + share * (likelihood.T @ (1 / (likelihood @ share)))
        moved = float(np.abs(updated - concentration).max())
        concentration = updated
        if moved <= 1e-5 * float(updated.sum()):
            return concentration, True
    return concentration, False


def _evidence(likelihood: Floats, pseudo: Floats, start: Floats) -> float:
    """Return the log-probability of the rows given Dirichlet(pseudo), by Laplace in the logits."""
    n, k = likelihood.shape
    strength = pseudo.sum()
    q = start
    for _ in range(20):  # EM towards the mode, which the start is near
        q = q * (likelihood.T @ (1 / (likelihood @ q))) + pseudo
        q /= q.sum()
    mixed = likelihood @ q
    member = likelihood * q / mixed[:, None]
    total = (n + strength) * (np.diag(q) - np.outer(q, q))
    curvature = total - np.diag(member.sum(axis=0)) + member.T @ member
    # Adding one number to all logits changes nothing: integrate over the others only.
    along = np.linalg.svd(np.ones((1, k)))[2][1:]
    _, log_determinant = np.linalg.slogdet(along @ curvature @ along.T)
    return float(
        np.log(mixed).sum()
        + gammaln(strength)
        - gammaln(pseudo).sum()
        + pseudo @ np.log(np.maximum(q, 1e-300))
        - 0.5 * log_determinant
        + 0.5 * (k - 1) * np.log(2 * np.pi)
        + 0.5 * np.log(k)
    )


def prior_draws(
    estimate: Callable[[Floats, Floats, Floats], Floats] | None,
    probabilities: Floats,
    codes: NDArray[np.intp],
    target_probabilities: Floats,
    weight: Floats | None = None,
    *,
    sizes: tuple[int, int] | None = None,
    n_draws: int = 300,
    rng: np.random.RandomState,
) -> Floats:
    r"""Bootstrap the estimate of the target prior over the rows of both sides.

    Target rows are drawn anew, and so are the held-out source rows, from which follow the
    source's prior and the calibration: its inverse temperature and biases move by one Newton
    step (:func:`shiftlab.stats.calibration.calibration_scores`). The classifier itself stays:
    its errors are the same in both samples as long as the calibration holds. A few thousand
    rows may stand for more, see :func:`standing_rows`: their counts vary as much less as the
    others would have made them. O(draws n k^2) time.

    Parameters
    ----------
    estimate : callable or None
        From a joint confusion matrix, a mean target prediction and a source prior to a target
        prior (BBSE, RLLS). None is maximum likelihood.
    probabilities : ndarray of shape (n, k)
        Held-out probabilities of the source, calibrated.
    codes : ndarray of shape (n,)
        Their classes.
    target_probabilities : ndarray of shape (m, k)
        Calibrated probabilities of the target.
    weight : ndarray of shape (n,), default=None
        Weights of the source rows, of mean about one.
    sizes : tuple of (int, int), default=None
        Rows of source and target that the given ones stand for; None for no others.
    n_draws : int, default=300
        Number of bootstrap samples.
    rng : RandomState
        For the draws.

    Returns
    -------
    ndarray of shape (n_draws + 1, k)
        The estimate for the rows as they are first.

    References
    ----------
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993.
    """
    P, c, T = probabilities, codes, target_probabilities
    k = P.shape[1]
    w = np.ones(len(c)) if weight is None else weight
    n_source, n_target = sizes or (len(P), len(T))
    source_counts = _counts(len(P), n_source, n_draws, rng)
    target_counts = _counts(len(T), n_target, n_draws, rng)
    onehot = np.eye(k)[c]
    # A class must not vanish from a draw: it would not from any sample worth an interval.
    shares = np.maximum(source_counts @ (w[:, None] * onehot), 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    found = np.empty((n_draws + 1, k))
    if estimate is not None:
        for b in range(n_draws + 1):
            joint = confusion_matrix(P, c, w * source_counts[b])
            prior = np.maximum(joint.sum(axis=0), 1e-12)
            found[b] = estimate(joint, target_counts[b] @ T / target_counts[b].sum(), prior)
        return found
    scores, curvature = calibration_scores(P, c, w)
    moves = -np.linalg.solve(curvature, ((source_counts - 1) @ scores).T).T
    logs = np.log(np.maximum(T, 1e-300))
    start = None
    for b in range(n_draws + 1):
        moved = T if b == 0 else softmax((1 + moves[b, 0]) * logs + moves[b, 1:], axis=1)
        fit: EMPrior = climb_to_prior(
            moved / shares[b],
            target_counts[b] / target_counts[b].sum(),
            shares[0] if start is None else start,
            tol=1e-6,
        )
        found[b] = fit.prior
        if start is None:
            start = 0.99 * fit.prior + 0.01 * shares[0]  # no class is shut out of the draws
    return found


def standing_rows(n: int, rng: np.random.RandomState, most: int = ROWS) -> NDArray[np.int64]:
    """Return all of n rows, or some of them drawn at random to stand for more.

    Parameters
    ----------
    n : int
        Rows there are.
    rng : RandomState
        For the draw.
    most : int, default=5000
        Rows to draw if there are more.

    Returns
    -------
    ndarray of int
        Sorted.
    """
    rows = np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
    return rows.astype(np.int64)


def _counts(m: int, n: int, n_draws: int, rng: np.random.RandomState) -> Floats:
    """How often each of m rows, which stand for n, occurs: once, then in bootstrap samples."""
    counts = np.ones((n_draws + 1, m))
    counts[1:] += np.sqrt(m / n) * (rng.multinomial(m, np.full(m, 1 / m), size=n_draws) - 1)
    return counts

"""Importance weights by maximum likelihood: KLIEP."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning

from shiftlab.adapter import Facts
from shiftlab.marginal.weighting.base import weighting_facts
from shiftlab.marginal.weighting.kernel_model import BANDWIDTHS, BLOCK, KernelModel
from shiftlab.marginal.weighting.rows import some_rows

__all__ = ["KLIEP", "MixtureResult", "kliep_mixture"]

Floats = NDArray[np.float64]

ROWS_TO_CHOOSE_ON = 2000
ROWS_TO_FIT_ON = 50_000
FOLDS = 3
GAP = 1e-6  # nats a row


class MixtureResult(NamedTuple):
    """What :func:`kliep_mixture` returns.

    Attributes
    ----------
    mixture : ndarray of shape (b,)
        Non-negative, sum one.
    gap : float
        The mean log-likelihood is at most this far below its maximum.
    converged : bool
        Whether the gap is below the tolerance.
    """

    mixture: Floats
    gap: float
    converged: bool


def kliep_mixture(
    ratios: Floats, weight: Floats | None = None, tol: float = GAP, max_iter: int = 100
) -> MixtureResult:
    r"""Maximise the mean log of a mixture of given ratios.

    .. math:: \max_{\pi \ge 0,\; \sum_l \pi_l = 1} \; \sum_j \omega_j \log \sum_l \pi_l r_{jl}

    Newton's method on the problem without the sum (at whose optimum the sum is one by
    itself); each step is a non-negative least-squares problem. With the gradient
    :math:`g_l = \sum_j \omega_j r_{jl} / (r\pi)_j`, concavity bounds the distance to the
    maximum by :math:`\max_l g_l - 1`, which is the stopping rule and is returned. Each step
    costs O(n b^2); about ten are taken.

    Parameters
    ----------
    ratios : ndarray of shape (n, b)
        Non-negative; each row has a positive entry.
    weight : ndarray of shape (n,), default=None
        :math:`\omega`, sum one. None weights all rows alike.
    tol : float, default=1e-6
        Largest gap.
    max_iter : int, default=100
        Most steps.

    Returns
    -------
    MixtureResult

    References
    ----------
    Y. Kim, P. Carbonetto, M. Stephens, M. Anitescu, "A Fast Algorithm for Maximum Likelihood
    Estimation of Mixture Proportions Using Sequential Quadratic Programming", Journal of
    Computational and Graphical Statistics 2020.

    Examples
    --------
    >>> import numpy as np
    >>> kliep_mixture(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).mixture.round(4).tolist()
    [0.6667, 0.3333]
    """
    n, b = ratios.shape
    share = np.full(n, 1 / n) if weight is None else weight
    mixture, gap = np.full(b, 1 / b), np.inf
    for step in range(max_iter):
        values = ratios @ mixture
        scaled = ratios / values[:, None]
        gradient = share @ scaled
        gap = float(gradient.max() - mixture @ gradient / mixture.sum())
        if gap <= tol:
            break
        if step < 3:  # expectation maximisation is slow near the optimum and safe far from it
            mixture = mixture * gradient
            continue
        hessian = (scaled * share[:, None]).T @ scaled
        # a ridge far below the curvature that matters, for kernels that are nearly alike
        hessian[np.diag_indices(b)] += 1e-9 * np.trace(hessian) / b
        root = cholesky(hessian)
        towards = solve_triangular(root, 2 * gradient - 1, trans=1)
        direction = nnls(root, towards)[0] - mixture
        along, slope = ratios @ direction, float(direction.sum() - gradient @ direction)
        size, height = 1.0, mixture.sum() - share @ np.log(values)
        while size > 1e-10:
            moved = values + size * along
            if moved.min() > 0:
                lower = (mixture + size * direction).sum() - share @ np.log(moved)
                if lower <= height + 1e-4 * size * slope:
                    break
            size /= 2
        mixture = np.maximum(mixture + size * direction, 0.0)
    return MixtureResult(mixture / mixture.sum(), gap, gap <= tol)


class KLIEP(KernelModel):
    r"""Weight source rows by the density ratio that makes the target most likely.

    .. math:: w(x) = \sum_l \alpha_l k(x, c_l), \qquad
              \max_{\alpha \ge 0} \frac{1}{n_T} \sum_j \log w(x^T_j)
              \quad \text{subject to} \quad \frac{1}{n_S} \sum_i w(x^S_i) = 1

    with Gaussian kernels around target rows. It minimises the Kullback-Leibler divergence from
    the target to the weighted source. Scaled by the constraint, the kernels are densities with
    respect to the source and the problem is that of mixture proportions; it is solved to
    within 1e-6 nats a row of its maximum, which duality certifies. The bandwidth is the one with
    the largest log-likelihood of held-out target rows. Columns are divided by their pooled
    standard deviation, so units do not matter; above 100 columns the first 100 principal
    components are used.

    It helps under covariate shift, as `ClassifierWeighting` does. It is smooth, never negative and
    seldom extreme. It harms, like all weights, where the estimator needs no correction and rows
    are few: the weighted source is worth fewer rows.

    Time O((n_s + n_t) b d) for the kernels, O(n_t b^2) for each of about ten steps, and 18 fits
    on at most 2,000 rows to choose; memory O(n b).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    bandwidth : float or "cv", default="cv"
        Of the kernels, in units of the median distance between two rows. "cv" chooses.
    n_centres : int, default=100
        Number of kernels; all target rows where there are fewer.
    relative : float, default=0.0
        In [0, 1): the share :math:`\alpha` of the target in the denominator,
        :math:`w / (\alpha w + 1 - \alpha)`, which bounds the ratio by :math:`1 / \alpha`.
    <clip and flatten of every weighting>
    random_state : int, RandomState or None, default=None
        Seed of the centres and of the folds.

    Attributes
    ----------
    <attributes of every weighting>
    bandwidth_ : float
        The bandwidth, in units of the median distance; infinite, with all weights one, where
        held-out rows are most likely without weights.
    coefficients_ : ndarray of shape (n_centres,)
        :math:`\alpha`.
    log_likelihood_ : float
        Mean log ratio of the target rows: how far, in nats, the target is from the source.
    gap_ : float
        An upper bound of what is missing to its maximum.

    Raises
    ------
    ValueError
        In `fit`, for fewer than two rows on a side, text columns, NaN or infinity.

    Warns
    -----
    UserWarning
        When the two samples hardly overlap.

    References
    ----------
    M. Sugiyama, S. Nakajima, H. Kashima, P. von Bünau, M. Kawanabe, "Direct Importance
    Estimation with Model Selection and Its Application to Covariate Shift Adaptation",
    NeurIPS 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import KLIEP
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = KLIEP(random_state=0).fit(source, target)
    >>> bool(abs(np.average(source[:, 0], weights=adapter.weights_) - target.mean()) < 0.1)
    True
    """

    facts: ClassVar[Facts] = weighting_facts(
        "time O(n b d + n b^2) with b = 100 kernels, memory O(n b)"
    )

    def __init__(
        self,
        estimator: Any = None,
        *,
        bandwidth: float | str = "cv",
        n_centres: int = 100,
        relative: float = 0.0,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.n_centres = n_centres
        self.relative = relative
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _choose(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        if self.bandwidth != "cv":
            self.bandwidth_ = float(self.bandwidth)
            return
        source = some_rows(np.flatnonzero(a > 0), ROWS_TO_CHOOSE_ON, rng)
        target = some_rows(np.flatnonzero(b > 0), ROWS_TO_CHOOSE_ON, rng)
        fold = rng.permutation(len(target)) % min(FOLDS, len(target))
        # the kernel around a row must not judge that row
        own = np.array([np.isin(self._centre_rows, target[fold == k]) for k in np.unique(fold)])
        best = 0.0, np.inf  # weights of one have a log-likelihood of zero
        for bandwidth in BANDWIDTHS:
            of_source, of_target = (self._kernels(X, bandwidth) for X in (S[source], T[target]))
            density = a[source] / a[source].sum() @ of_source
            scores = np.empty(len(target))
            for k in np.unique(fold):
                kept = ~own[k] & (density > np.finfo(float).tiny)
                scores[fold == k] = _held_out(
                    of_target[:, kept] / density[kept], b[target], fold == k
                )
            score = float(b[target] / b[target].sum() @ scores)
            best = max(best, (score, bandwidth))
        self.bandwidth_ = best[1]

    def _solve(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        density = np.zeros(len(self._centres))
        for i in range(0, len(S), BLOCK):
            density += a[i : i + BLOCK] @ self._kernels(S[i : i + BLOCK], self.bandwidth_)
        rows = some_rows(np.flatnonzero(b > 0), ROWS_TO_FIT_ON, rng)
        kernels = self._kernels(T[rows], self.bandwidth_)
        near = density > np.finfo(float).tiny
        ratios = kernels[:, near] / density[near]
        reached = ratios.max(axis=1, initial=0.0) > 0
        self.coefficients_ = np.zeros(len(self._centres))
        self.log_likelihood_ = self.gap_ = 0.0
        if not reached.any():
            return  # no kernel touches both samples: the ratio is zero, which is said later
        weight = b[rows][reached] / b[rows][reached].sum()
        result = kliep_mixture(ratios[reached], weight)
        if not result.converged:
            warnings.warn(
                f"KLIEP stopped {result.gap:.2g} nats a row below the largest possible "
                "log-likelihood; set a larger bandwidth= or fewer n_centres=",
                ConvergenceWarning,
                stacklevel=5,
            )
        self.coefficients_[near] = result.mixture / density[near]
        self.gap_ = result.gap
        self.log_likelihood_ = float(weight @ np.log(ratios[reached] @ result.mixture))


def _held_out(ratios: Floats, weight: Floats, test: NDArray[np.bool_]) -> Floats:
    """Log ratio of the rows of one fold by the mixture of the others; minus infinity for 0."""
    learn = ~test & (ratios.max(axis=1, initial=0.0) > 0)
    if not learn.any() or not ratios.shape[1]:
        return np.full(int(test.sum()), -np.inf)
    mixture = kliep_mixture(ratios[learn], weight[learn] / weight[learn].sum(), tol=1e-3).mixture
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(ratios[test] @ mixture))

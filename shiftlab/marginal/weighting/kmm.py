"""Importance weights that match means in a kernel's feature space: kernel mean matching."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Facts
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.base import ImportanceWeighting, weighting_facts
from shiftlab.marginal.weighting.kernel_model import median_of_both, shares
from shiftlab.marginal.weighting.rows import some_rows
from shiftlab.stats.kernels import NystroemMap
from shiftlab.validation import check_memory

__all__ = ["KMM", "MeanMatching", "kernel_mean_matching", "project_to_mean_one"]

Floats = NDArray[np.float64]

BANDWIDTHS = (0.3, 0.6, 1.0)  # times the median distance
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
ROWS_TO_CHOOSE_ON = 2000
LANDMARKS_TO_CHOOSE_ON = 100
EXACT_ROWS = 1000
EASY_PENALTY = 1e-3  # down to here Newton's method needs no help
LEAST_GAIN = 0.95
BLOCK = 20_000


class MeanMatching(NamedTuple):
    """What :func:`kernel_mean_matching` returns.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Between 0 and the bound, mean one.
    direction : ndarray of shape (m,)
        With ``shift``, the weights of any row: ``clip(1 + features @ direction - shift,
        0, bound)``.
    shift : float
        See ``direction``.
    converged : bool
        Whether the optimality conditions hold to the tolerance.
    """

    weights: Floats
    direction: Floats
    shift: float
    converged: bool


def project_to_mean_one(
    values: Floats, share: Floats, bound: float = np.inf
) -> tuple[Floats, float]:
    r"""Project onto weights between 0 and a bound whose mean is one.

    .. math:: \min_\beta \sum_i a_i (\beta_i - v_i)^2 \quad\text{subject to}\quad
              0 \le \beta_i \le B,\; \sum_i a_i \beta_i = 1

    The solution is :math:`\min(\max(v_i - \nu, 0), B)`; its mean falls in :math:`\nu`, which
    is found by Newton's method inside a shrinking bracket. O(n) for each of some ten steps.

    Parameters
    ----------
    values : ndarray of shape (n,)
        :math:`v`.
    share : ndarray of shape (n,)
        :math:`a`, sum one.
    bound : float, default=inf
        :math:`B`, at least 1.

    Returns
    -------
    tuple of (projected, shift)
        :math:`\beta` and :math:`\nu`.

    Examples
    --------
    >>> import numpy as np
    >>> project_to_mean_one(np.array([-5.0, 1.0, 4.0]), np.full(3, 1 / 3))[0].round(6).tolist()
    [0.0, 0.0, 3.0]
    """
    seen = share > 0
    v, a = values[seen], share[seen]
    low, high = float(v.min()) - min(bound, 1.0), float(v.max())
    if np.isfinite(bound):
        low = min(low, float(v.min()) - bound)
    else:
        low = min(low, float(a @ v) - 1.0)  # there the mean is at least one
    shift = min(max(float(a @ v) - 1.0, low), high)
    for _ in range(200):
        moved = v - shift
        excess = float(a @ np.clip(moved, 0.0, bound)) - 1.0
        if excess > 0:
            low = shift
        else:
            high = shift
        slope = float(a[(moved > 0) & (moved < bound)].sum())
        step = shift + excess / slope if slope > 0 else np.inf
        new = step if low < step < high else (low + high) / 2
        if new == shift or abs(excess) < 1e-15:
            break
        shift = new
    return np.clip(values - shift, 0.0, bound), shift


def kernel_mean_matching(
    features: Floats,
    target_mean: Floats,
    share: Floats,
    penalty: float,
    bound: float = np.inf,
    *,
    tol: float = 1e-7,
    max_iter: int = 100,
) -> MeanMatching:
    r"""Weight rows so that the mean of their features comes near a given one.

    .. math:: \min_\beta \; \tfrac12 \Big\lVert \sum_i a_i \beta_i \phi_i - \mu_T \Big\rVert^2
              + \tfrac{\lambda}{2} \sum_i a_i (\beta_i - 1)^2
              \quad\text{subject to}\quad 0 \le \beta_i \le B,\; \sum_i a_i \beta_i = 1

    With :math:`\theta = (\mu_T - \sum_i a_i \beta_i \phi_i) / \lambda` the optimal weights are
    :math:`\beta_i = \min(\max(1 + \phi_i^\top \theta - \nu, 0), B)`, so the dual has one
    variable for each feature, is convex and piecewise quadratic, and is solved by
    semismooth Newton steps with a line search: O(n m^2 + m^3) for each of some ten.

    Parameters
    ----------
    features : ndarray of shape (n, m)
        :math:`\phi`. Inner products are the kernel.
    target_mean : ndarray of shape (m,)
        :math:`\mu_T`.
    share : ndarray of shape (n,)
        :math:`a`, sum one.
    penalty : float
        :math:`\lambda > 0`.
    bound : float, default=inf
        :math:`B`, at least 1.
    tol : float, default=1e-7
        Largest norm of the dual gradient, relative to that of the target's mean.
    max_iter : int, default=100
        Most steps.

    Returns
    -------
    MeanMatching

    References
    ----------
    A. Gretton, A. Smola, J. Huang, M. Schmittfull, K. Borgwardt, B. Schölkopf, "Covariate Shift
    by Kernel Mean Matching", in *Dataset Shift in Machine Learning*, MIT Press 2009.

    L. Qi, J. Sun, "A Nonsmooth Version of Newton's Method", Mathematical Programming 1993.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.array([[0.0], [1.0], [2.0]])
    >>> found = kernel_mean_matching(features, np.array([1.5]), np.full(3, 1 / 3), 1e-6)
    >>> found.weights.round(3).tolist()
    [0.25, 1.0, 1.75]
    """
    # From a strong penalty down, each solution starting the next: theta is about the same
    # residual divided by the penalty.
    steps = max(0, int(np.ceil(np.log10(EASY_PENALTY / penalty))))
    path = [penalty * 10.0**k for k in range(steps, -1, -1)]
    direction = np.zeros(features.shape[1])
    for before, now in zip([path[0], *path], path, strict=False):
        accuracy = tol if now == penalty else max(tol, 1e-3)
        found = _newton(
            features, target_mean, share, now, bound, direction * (before / now), accuracy, max_iter
        )
        direction = found.direction
    return found


def _newton(
    features: Floats,
    target_mean: Floats,
    share: Floats,
    penalty: float,
    bound: float,
    direction: Floats,
    tol: float,
    max_iter: int,
) -> MeanMatching:
    """Minimise the dual of `kernel_mean_matching` from a starting point."""
    weighted = features * share[:, None]
    scale = max(float(np.linalg.norm(target_mean)), np.finfo(float).tiny)

    def evaluate(theta: Floats) -> tuple[float, Floats, Floats, float]:
        v = 1 + features @ theta
        beta, shift = project_to_mean_one(v, share, bound)
        envelope = 0.5 * float(share @ (v**2 - (v - beta) ** 2))
        value = 0.5 * penalty * float(theta @ theta) - float(target_mean @ theta) + envelope
        return value, penalty * theta - target_mean + weighted.T @ beta, beta, shift

    value, gradient, beta, shift = evaluate(direction)
    for _ in range(max_iter):
        if np.linalg.norm(gradient) <= tol * scale:
            break
        free = (beta > 0) & (beta < bound) & (share > 0)
        hessian = weighted[free].T @ features[free]
        middle = weighted[free].sum(axis=0)
        mass = float(share[free].sum())
        if mass > 0:
            hessian -= np.outer(middle, middle) / mass
        hessian[np.diag_indices(len(hessian))] += penalty
        step = -cho_solve(cho_factor(hessian), gradient)
        slope, size = float(gradient @ step), 1.0
        while size > 1e-10:
            moved = evaluate(direction + size * step)
            lower = moved[0] <= value + 1e-4 * size * slope
            # near the optimum the value is lost in rounding before the gradient is
            if lower or np.linalg.norm(moved[1]) < 0.5 * np.linalg.norm(gradient):
                break
            size /= 2
        else:
            break
        direction = direction + size * step
        value, gradient, beta, shift = moved
    converged = bool(np.linalg.norm(gradient) <= 10 * tol * scale)
    return MeanMatching(beta, direction, shift, converged)


class KMM(ImportanceWeighting):
    r"""Kernel mean matching: weight source rows so that their mean embedding is the target's.

    .. math:: \min_\beta \; \tfrac12 \Big\lVert \frac{1}{n_S} \sum_i \beta_i \phi(x^S_i)
              - \frac{1}{n_T} \sum_j \phi(x^T_j) \Big\rVert^2
              + \frac{\lambda}{2 n_S} \sum_i (\beta_i - 1)^2
              \quad\text{subject to}\quad 0 \le \beta_i \le B,\;
              \frac{1}{n_S} \sum_i \beta_i = 1

    with the feature map of a Gaussian kernel. Box and sum hold exactly. The dual is solved by
    Newton steps to its optimality conditions. Up to 1,000 source rows the kernel is exact;
    beyond, it is approximated by ``n_landmarks`` landmarks, and every row has its own
    weight whatever n is. New rows are weighted by the optimality condition itself.

    Bandwidth and :math:`\lambda` are chosen by the moment residual of held-out rows: one half of
    both samples finds the weights, which are carried over to the other half, and what is left
    there of the squared distance of the means is compared. It holds the variance of uneven weights
    too, so that few rows or an overlap that is poor keep the weights near one. Where no setting
    leaves less than 95% of the distance without weights, all weights stay one.

    It helps under covariate shift, as `ClassifierWeighting` does, and needs no model of the
    ratio. It harms where supports hardly overlap: the weights then pile up on few rows.

    Time O(n m^2) with m landmarks for each of about ten steps, and 24 small fits to choose;
    memory O(n m).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    bandwidth : float or "cv", default="cv"
        Of the kernel, in units of the median distance between two rows. "cv" chooses.
    penalty : float or "cv", default="cv"
        :math:`\lambda`. Towards 0 it is the original method, with many weights of zero.
        "cv" chooses.
    n_landmarks : int, default=300
        Landmarks of the kernel's approximation above 1,000 source rows.
    clip : float, default=None
        The bound :math:`B`, at least 1. None is no bound.
    flatten : float or "auto", default="auto"
        Exponent of the ratio, from 0 (all weights one) to 1 (the ratio itself): less variance for
        some bias. "auto" is the largest that leaves ten effective rows for each column, or
        95% of the rows where there are fewer.
    random_state : int, RandomState or None, default=None
        Seed of the landmarks and of the halves.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows: :math:`\beta` times the source's own weights. Mean one.
    effective_sample_size_ : float
        How many equally weighted rows the weighted source is worth (Kish).
    max_share_ : float
        Share of the total weight that the heaviest row carries.
    flatten_ : float
        The exponent that was used.
    overlap_ : float
        Share of the target's rows that are as near to a source row as source rows to each other.
    bandwidth_ : float
        The bandwidth, in units of the median distance.
    penalty_ : float
        The :math:`\lambda` that was used; infinity where all weights are one.
    residual_ : float
        Squared distance of the means that held-out rows keep, as a share of that without
        weights; NaN if nothing was to be chosen.

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
    J. Huang, A. Smola, A. Gretton, K. Borgwardt, B. Schölkopf, "Correcting Sample Selection
    Bias by Unlabeled Data", NeurIPS 2006.

    A. Gretton, A. Smola, J. Huang, M. Schmittfull, K. Borgwardt, B. Schölkopf, "Covariate Shift
    by Kernel Mean Matching", in *Dataset Shift in Machine Learning*, MIT Press 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import KMM
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = KMM(random_state=0).fit(source, target)
    >>> bool(abs(np.average(source[:, 0], weights=adapter.weights_) - target.mean()) < 0.1)
    True
    """

    facts: ClassVar[Facts] = weighting_facts("time O(n m^2) with m = 300 landmarks, memory O(n m)")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImportanceWeighting._parameter_constraints,
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "penalty": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        bandwidth: float | str = "cv",
        penalty: float | str = "cv",
        n_landmarks: int = 300,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.penalty = penalty
        self.n_landmarks = n_landmarks
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        S, T = self._rows(source), self._rows(target)
        a, b = shares(source), shares(target)
        self._median = median_of_both(S, T, rng)
        self._choose(S, T, a, b, rng)
        self._found = None
        if np.isinf(self.penalty_):
            return np.zeros(len(S))
        most = EXACT_ROWS if len(S) <= EXACT_ROWS else self.n_landmarks
        landmarks = some_rows(S, most, rng)
        check_memory(32.0 * len(S) * len(landmarks), "KMM (set a smaller n_landmarks=)")
        self._map = NystroemMap(landmarks, self.bandwidth_ * self._median)
        features = _in_blocks(self._map, S)
        found = kernel_mean_matching(
            features, _mean(self._map, T, b), a, self.penalty_, self._bound()
        )
        if not found.converged:
            warnings.warn(
                "KMM stopped before its optimality conditions held; set a larger penalty=",
                ConvergenceWarning,
                stacklevel=5,
            )
        self._found = found.direction, found.shift
        return _log(found.weights)

    def _log_ratio(self, rows: Domain) -> Floats:
        X = self._rows(rows)
        if self._found is None:
            return np.zeros(len(X))
        direction, shift = self._found
        values = [self._map(X[i : i + BLOCK]) @ direction for i in range(0, len(X), BLOCK)]
        return _log(np.clip(1 + np.concatenate(values) - shift, 0.0, self._bound()))

    def _bound(self) -> float:
        return np.inf if self.clip is None else float(self.clip)

    def _choose(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        """Set bandwidth and penalty by the moment residual of held-out rows."""
        self.residual_ = np.nan
        bandwidths = BANDWIDTHS if self.bandwidth == "cv" else (float(self.bandwidth),)
        penalties = PENALTIES if self.penalty == "cv" else (float(self.penalty),)
        self.bandwidth_, self.penalty_ = bandwidths[-1], penalties[0]
        few = min(int((a > 0).sum()), int((b > 0).sum()))
        if len(bandwidths) == len(penalties) == 1 or few < 4:
            return
        halves = []
        for X, w in ((S, a), (T, b)):
            rows = rng.permutation(some_rows(np.flatnonzero(w > 0), ROWS_TO_CHOOSE_ON, rng))
            parts = rows[: len(rows) // 2], rows[len(rows) // 2 :]
            halves.append([(X[r], w[r] / w[r].sum()) for r in parts])
        pooled = np.vstack([halves[0][0][0], halves[1][0][0]])
        landmarks = some_rows(pooled, LANDMARKS_TO_CHOOSE_ON, rng)
        maps = [NystroemMap(landmarks, h * self._median) for h in bandwidths]
        # [map][sample][half]: features, judged below by the kernels of all bandwidths
        seen = [[[phi(X) for X, _ in sample] for sample in halves] for phi in maps]
        n_final = 1 / float(a @ a)  # rows' worth of the fit that the choice is for
        left: dict[tuple[float, float], list[float]] = {}
        for learn, test in ((0, 1), (1, 0)):
            (_, p), (_, q) = halves[0][learn], halves[1][learn]
            p_test = halves[0][test][1]
            part = 1 / (float(p_test @ p_test) * n_final)

            def residuals(w: Floats, test: int = test, part: float = part) -> Floats:
                share = w / w.sum()
                return np.array(
                    [
                        _residual(s[0][test], share, s[1][test], halves[1][test][1], part)
                        for s in seen
                    ]
                )

            plain = residuals(p_test)
            for h, s in zip(bandwidths, seen, strict=True):
                for penalty in penalties:
                    found = kernel_mean_matching(
                        s[0][learn], q @ s[1][learn], p, penalty, self._bound(), tol=1e-4
                    )
                    w = np.clip(1 + s[0][test] @ found.direction - found.shift, 0, self._bound())
                    usable = (p_test * w).sum() > 0 and (plain > 0).all()
                    kept = float(np.mean(residuals(p_test * w) / plain)) if usable else np.inf
                    left.setdefault((h, penalty), []).append(kept)
        best = min(left, key=lambda setting: np.mean(left[setting]))
        self.residual_ = float(np.mean(left[best]))
        self.bandwidth_, self.penalty_ = best
        if self.residual_ > LEAST_GAIN:
            self.penalty_, self.residual_ = np.inf, 1.0


def _residual(
    source: Floats, share: Floats, target: Floats, target_share: Floats, part: float
) -> float:
    """Squared distance of two means, with the variance that a larger sample would have.

    What both samples' noise adds to the distance is taken out; of the source's, the part that
    is left at the size of the fit is put back, so that uneven weights have their price.
    """
    between = share @ source, target_share @ target
    noise = [
        float(w**2 @ np.square(X - mean).sum(axis=1)) / max(1 - float(w @ w), 1e-3)
        for X, w, mean in zip((source, target), (share, target_share), between, strict=True)
    ]
    distance = float(np.square(between[0] - between[1]).sum())
    return max(distance - noise[0] - noise[1], 0.0) + part * noise[0]


def _log(weights: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights))


def _in_blocks(features: NystroemMap, X: Floats) -> Floats:
    parts = [features(X[i : i + BLOCK]) for i in range(0, len(X), BLOCK)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _mean(features: NystroemMap, X: Floats, share: Floats) -> Floats:
    """Mean features of many rows without keeping them."""
    total = np.zeros(features.root.shape[1])
    for i in range(0, len(X), BLOCK):
        total += share[i : i + BLOCK] @ features(X[i : i + BLOCK])
    return total

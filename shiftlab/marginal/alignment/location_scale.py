"""Location and scale: move columns so that source and target embed alike in a kernel space."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.utils import check_random_state

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.frames import frame_like
from shiftlab.stats.kernels import median_distance, pooled_spread
from shiftlab.validation import class_codes, numeric_rows

__all__ = ["LocationScale", "Problem", "fourier_features"]

Floats = NDArray[np.float64]

FREQUENCIES = 201  # two features each, a third of them for each bandwidth
BANDWIDTHS = (0.5, 1.0, 2.0)  # times the median distance
FIT_ROWS = 20_000  # source rows that the parameters are fitted on
DOUBLE = 1_000_000  # features of all rows above which they are computed in float32
MAX_ITER = 500
PULL = 0.3  # times (1 / n_s + 1 / n_t), which is the size of the noise in a squared MMD
COMMON = 0.1  # of that, for a move that all classes share


def fourier_features(X: NDArray[Any], frequencies: NDArray[Any]) -> NDArray[Any]:
    r"""Return :math:`(\cos x^\top\omega, \sin x^\top\omega) / \sqrt{D}` for D frequencies.

    Inner products are unbiased estimates of the kernel whose spectrum the frequencies are
    drawn from.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    frequencies : ndarray of shape (d, D)
        One in each column.

    Returns
    -------
    ndarray of shape (n, 2 D)
    """
    angle = X @ frequencies
    out = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    out /= np.sqrt(frequencies.shape[1])
    return out


@dataclass(frozen=True)
class Problem:
    r"""The squared MMD of moved classes and a target, with its gradient.

    .. math:: \Big\lVert \sum_c \pi_c \sum_{i:\, y_i = c} w_i\, \phi\big(e^{s_c} (x_i - m)
              + m + t_c\big) - \nu \Big\rVert^2
              + \lambda \sum_c \left(\lVert \theta_c - \bar\theta \rVert^2
              + \mu \lVert \bar\theta - \theta^0 \rVert^2\right)

    with :math:`\pi` the softmax of the last k parameters, :math:`\theta_c = (s_c, t_c)` and
    :math:`\bar\theta` their mean. One class is a global move, and its share is one.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Source rows minus their mean m.
    member : ndarray of shape (k, n)
        :math:`w_i` in the row of the class of i, else zero; rows add up to one.
    mean : ndarray of shape (d,)
        m.
    frequencies : ndarray of shape (d, D)
        Of the features :math:`\phi`.
    embedding : ndarray of shape (2 D,)
        :math:`\nu`, the mean of the target's features.
    prior : ndarray of shape (2, 1, d)
        :math:`\theta^0`, which the moves of all classes are drawn to.
    pull : float
        :math:`\lambda`.
    """

    X: NDArray[Any]
    member: NDArray[Any]
    mean: Floats
    frequencies: NDArray[Any]
    embedding: Floats
    prior: Floats
    pull: float

    def read(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Split parameters into moves ``(2, k, d)`` and class shares ``(k,)``."""
        k = len(self.member)
        moves = parameters[:-k].reshape(2, k, -1)
        logits = parameters[-k:]
        raw = np.exp(logits - logits.max())
        return moves, raw / raw.sum()

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        """Return the objective and its gradient."""
        kind = self.X.dtype
        moves, shares = self.read(parameters)
        scale = np.exp(moves[0])
        codes = self.member.argmax(axis=0)
        moved = self.X * scale.astype(kind)[codes]
        moved += (self.mean + moves[1]).astype(kind)[codes]
        features = fourier_features(moved, self.frequencies)
        embeddings = np.asarray(self.member @ features, dtype=np.float64)
        residual = shares @ embeddings - self.embedding
        common = moves.mean(axis=1, keepdims=True)
        apart, away = moves - common, np.sqrt(COMMON) * (common - self.prior)
        penalty = (apart**2).sum() + len(self.member) * (away**2).sum()
        value = float(residual @ residual + self.pull * penalty)
        # the derivatives of cosine and sine are minus sine and cosine
        r, half = residual.astype(kind), self.frequencies.shape[1]
        slope = r[half:] * features[:, :half]
        slope -= r[:half] * features[:, half:]
        slope = slope @ self.frequencies.T
        gradient = 2 * self.pull * (apart + np.sqrt(COMMON) * away)
        by_class = 2 * shares[:, None]
        gradient[0] += by_class * scale * (self.member @ (slope * self.X))
        gradient[1] += by_class * (self.member @ slope)
        of_shares = 2 * embeddings @ residual
        of_logits = shares * (of_shares - shares @ of_shares)
        return value, np.concatenate([gradient.ravel(), of_logits])


class LocationScale(Adapter):
    r"""Scale and shift every column so that the source looks like the target to a kernel.

    .. math:: \min_{s > 0,\, t} \mathrm{MMD}^2\left(s \circ X_S + t,\; X_T\right)

    for a mixture of three Gaussian kernels (0.5, 1 and 2 times the median distance, on columns
    divided by their pooled standard deviation), through 402 random Fourier features. Moments
    are matched first, and the kernel decides from there: outliers and other tails, which upset
    a mean and a variance, hardly move it. Source rows move, target rows stay.

    With ``per_class=True`` every class has a scale and a shift of its own, and the shares of
    the classes in the target are estimated with them:

    .. math:: \min_{s, t, \pi} \Big\lVert \sum_c \pi_c\, \mathbb E_{X_S | c}\,
              \phi(s_c \circ x + t_c) - \mathbb E_{X_T}\, \phi(x) \Big\rVert^2

    so that :math:`P(X|Y)` may change by location and scale, and P(Y) as well. The rows of a class
    are then weighted by :math:`\pi_c` over its share in the source, so that the estimator must
    take weights. Several explanations may fit a target. A small quadratic penalty prefers moves
    that all classes share, and among these small ones: where the shares alone explain the
    target, hardly anything moves. Three starts are tried (new shares and no move, one move that
    matches the moments, neither), and the best end is taken.

    It helps when every column was measured on another scale or with an offset (of its own in
    every class, if so told). It harms when columns did not change and only the distribution did.
    Measured with logistic regression (500 + 500 rows, five columns, ten seeds), without
    adaptation, with this and with ``per_class=True``:

    - covariate shift, one relevant column moved by 1 at standard deviation .8: .996, .625, .818
    - label shift, the share of a class falls from .5 to .1: .924, .625, .957
    - nothing differs: .987, .969, .955
    - all columns scaled and shifted: .853, .969, .914

    Time O((n d + k d) D) an evaluation, D = 201, on at most 20,000 source rows (drawn at random
    from every class), and some hundred evaluations; the target is read once. Memory O(n d)
    and, for the rows that are fitted, O(n D).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the moved source, with its weights.
    per_class : bool, default=False
        Fit a scale and a shift for every class, and the class shares of the target. Needs
        class labels on the source; rows without a label are left out of `source_`.
    random_state : int, RandomState or None, default=None
        Seed of the features and of the rows that are fitted.

    Attributes
    ----------
    source_ : Domain
        The source with moved features, in the dtype that it came in.
    scale_, shift_ : ndarray of shape (d,) or (k, d)
        A value x of a column becomes ``scale_ * x + shift_``; a row for each class with
        ``per_class=True``.
    source_classes_ : ndarray of shape (k,)
        Classes of the rows of these; only with ``per_class=True``.
    prior_ : ndarray of shape (k,)
        Estimated shares of the classes in the target; only with ``per_class=True``.
    mmd_ : tuple of (float, float)
        Squared MMD of the features' means, before and after.

    Raises
    ------
    ValueError
        In `fit`, for text columns, NaN or infinity, or ``per_class=True`` without class labels.

    Warns
    -----
    UserWarning
        When the minimisation did not converge.

    References
    ----------
    K. Zhang, B. Schölkopf, K. Muandet, Z. Wang, "Domain Adaptation under Target and Conditional
    Shift", ICML 2013.

    A. Rahimi, B. Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import LocationScale
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) * [3, 1] + [0, 5]
    >>> adapter = LocationScale(random_state=0).fit(source, target)
    >>> adapter.scale_.round().tolist(), adapter.shift_.round().tolist()
    ([3.0, 1.0], [0.0, 5.0])
    """

    facts: ClassVar[Facts] = Facts(
        handles=("marginal",),
        assumes="Every column has another scale or offset in the target, and nothing else moved.",
        inputs=("dense", "frame", "images"),
        cost="O(n d) for each of some hundred steps, on at most 20,000 source rows",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "per_class": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        per_class: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.per_class = per_class
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        if self.per_class:
            class_codes(source, "LocationScale(per_class=True)", "per_class=False")
            source = source.labelled_part()
            if source.weight is not None:
                source = source.take(source.weight > 0)
            classes, codes = np.unique(source.y, return_inverse=True)
        else:
            classes, codes = None, np.zeros(source.n_rows, dtype=np.intp)
        rows = numeric_rows(source, "LocationScale")
        X = rows.astype(np.float64, copy=False)
        Y = numeric_rows(target, "LocationScale").astype(np.float64, copy=False)
        unit, centre = pooled_spread(X, Y), Y.mean(axis=0)
        A, B = (X - centre) / unit, (Y - centre) / unit
        rng = check_random_state(self.random_state)
        problem = _pose(A, codes, source.weight, B, target.weight, rng)
        held = np.bincount(codes, source.weight)
        held = held / held.sum()
        moments = _matched_moments(A, source.weight, B, target.weight, problem.mean)
        if self.per_class:
            starts = _starts(problem, moments, held)
        else:
            problem = replace(problem, prior=moments)
            starts = [(moments, held)]
        moves, prior, self.mmd_ = _solve(problem, starts, held)
        scale = np.exp(moves[0])
        shift = (problem.mean * (1 - scale) + moves[1]) * unit + centre * (1 - scale)
        moved = (X * scale[codes] + shift[codes]).astype(rows.dtype, copy=False)
        changes: dict[str, Any] = {}
        for name in ("source_classes_", "prior_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if self.per_class:
            self.scale_, self.shift_, self.source_classes_, self.prior_ = (
                scale,
                shift,
                classes,
                prior,
            )
            own = np.ones(source.n_rows) if source.weight is None else source.weight
            changes["weight"] = own * (prior / held)[codes]
        else:
            self.scale_, self.shift_ = scale[0], shift[0]
        return source.with_(X=frame_like(source.X, moved) if source.is_frame else moved, **changes)

    def _transform_target(self, target: Domain) -> Domain:
        if target.is_image or target.is_sparse:
            return target.with_(X=numeric_rows(target, "LocationScale"))
        return target


def _pose(
    A: Floats,
    codes: NDArray[np.intp],
    weight: Floats | None,
    B: Floats,
    weight_target: Floats | None,
    rng: np.random.RandomState,
) -> Problem:
    """Draw features and source rows, and embed the target."""
    k = int(codes.max()) + 1
    few = [B[np.linspace(0, len(B) - 1, min(len(B), 1000)).astype(np.intp)] for B in (A, B)]
    frequencies = rng.standard_normal((A.shape[1], FREQUENCIES)) / (
        median_distance(np.concatenate(few), rng) * np.resize(BANDWIDTHS, FREQUENCIES)
    )
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(codes == c))[: FIT_ROWS // k] for c in range(k)]
    )
    kind = np.float64 if len(rows) * FREQUENCIES <= DOUBLE else np.float32
    member = (codes[rows] == np.arange(k)[:, None]).astype(np.float64)
    if weight is not None:
        member *= weight[rows]
    member /= member.sum(axis=1, keepdims=True)
    mean = A[rows].mean(axis=0)
    share = np.full(len(B), 1 / len(B)) if weight_target is None else weight_target
    embedding = np.zeros(2 * FREQUENCIES)
    for start in range(0, len(B), 10_000):
        block = slice(start, start + 10_000)
        features = fourier_features(B[block].astype(kind), frequencies.astype(kind))
        embedding += share[block].astype(kind) @ features
    return Problem(
        X=(A[rows] - mean).astype(kind),
        member=member.astype(kind),
        mean=mean,
        frequencies=frequencies.astype(kind),
        embedding=embedding / share.sum(),
        prior=np.zeros((2, 1, A.shape[1])),
        pull=PULL * (1 / len(rows) + 1 / len(B)),
    )


def _matched_moments(
    A: Floats, weight: Floats | None, B: Floats, weight_target: Floats | None, mean: Floats
) -> Floats:
    """Return the moves ``(2, 1, d)`` that match mean and variance of every column."""
    (mean_s, var_s), (mean_t, var_t) = (
        (m := np.average(Z, axis=0, weights=w), np.average((Z - m) ** 2, axis=0, weights=w))
        for Z, w in ((A, weight), (B, weight_target))
    )
    varies = np.minimum(var_s, var_t) > 1e-12 * np.maximum(var_s, var_t)
    scale = np.sqrt(np.divide(var_t, var_s, out=np.ones_like(var_s), where=varies))
    return np.stack([np.log(scale), mean_t - mean - scale * (mean_s - mean)])[:, None]


Start = tuple[Floats, Floats]


def _starts(problem: Problem, moments: Floats, held: Floats) -> list[Start]:
    """Explain the target by shares alone, by one move of all classes, or by nothing."""
    still = np.zeros((2, len(held), problem.X.shape[1]))

    def of_logits(logits: Floats) -> tuple[float, Floats]:
        value, gradient = problem(np.concatenate([still.ravel(), logits]))
        return value, gradient[still.size :]

    found = minimize(of_logits, np.log(held), jac=True, method="L-BFGS-B").x
    shares = np.exp(found - found.max())
    # a share of zero would leave its class without a gradient
    shares = np.maximum(shares / shares.sum(), 0.01 * held)
    return [
        (still, shares / shares.sum()),
        (moments + still, held),
        (still, held),
    ]


def _solve(
    problem: Problem, starts: list[Start], held: Floats
) -> tuple[Floats, Floats, tuple[float, float]]:
    """Return the best moves and shares over all starts, and the MMD before and after."""
    best = None
    for moves, shares in starts:
        found = minimize(
            problem,
            np.concatenate([moves.ravel(), np.log(shares)]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_ITER, "ftol": 1e-7, "gtol": 1e-7},
        )
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    if best.status == 1:
        warnings.warn(
            f"LocationScale: the kernel distance was still falling after {best.nit} steps; the "
            "moves are those reached so far",
            stacklevel=4,
        )
    moves, shares = problem.read(best.x)
    free = replace(problem, pull=0.0)
    before = free(np.concatenate([np.zeros(moves.size), np.log(held)]))[0]
    return moves, shares, (before, free(best.x)[0])

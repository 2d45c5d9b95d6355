"""Optimal transport: move source rows onto the target along a cheapest plan."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.frames import frame_like
from shiftlab.stats import transport
from shiftlab.stats.kernels import pooled_spread, squared_distances
from shiftlab.validation import check_memory, class_codes, numeric_rows

__all__ = ["OptimalTransport", "smooth_displacement", "stratified_batches"]

Floats = NDArray[np.float64]

FULL = 6000 * 6000  # entries of a plan above which solver="auto" takes mini-batches
DOUBLE = 2000 * 2000  # entries of a plan above which it is held in float32, as in batches
TOL = 1e-4  # of the marginals, as a share of the mass: far below the noise of any sample
ANCHORS = 5000  # fitted rows that new rows look at


def stratified_batches(
    codes: NDArray[np.intp], size: int, count: int, rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Deal rows into batches that all have nearly the same share of every class.

    Every row is dealt once before any is dealt twice.

    Parameters
    ----------
    codes : int ndarray of shape (n,)
        Class of each row.
    size, count : int
        Rows in a batch, and batches.
    rng : numpy.random.RandomState
        Order of the rows.

    Returns
    -------
    int ndarray of shape (count, size)

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.array([0, 0, 0, 0, 1, 1])
    >>> batches = stratified_batches(codes, 3, 2, np.random.RandomState(0))
    >>> codes[batches].sum(axis=1).tolist(), sorted(batches.ravel().tolist())
    ([1, 1], [0, 1, 2, 3, 4, 5])
    """
    n = len(codes)
    _, start, many = np.unique(np.sort(codes), return_index=True, return_counts=True)
    rounds = []
    for _ in range(-(-size * count // n)):
        order = np.lexsort((rng.random_sample(n), codes))
        # the rows of a class are spread evenly over the round, each class from a random point
        place = (np.arange(n) - np.repeat(start, many) + 0.5) / np.repeat(many, many)
        rounds.append(order[np.argsort(place + 1e-9 * rng.random_sample(n))])
    return np.concatenate(rounds)[: size * count].reshape(count, size)


def smooth_displacement(
    X: Floats, anchors: Floats, displacement: Floats, bandwidth: float
) -> Floats:
    r"""Average the displacements of anchors near each row, with a Gaussian kernel.

    .. math:: \frac{\sum_i k(x, x_i)\, \delta_i}{\sum_i k(x, x_i)}

    Far from every anchor it is the displacement of the nearest ones.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    anchors, displacement : ndarray of shape (m, d) and (m, d')
        Rows whose displacement is known.
    bandwidth : float
        Of the kernel.

    Returns
    -------
    ndarray of shape (n, d')
    """
    moves = np.empty((len(X), displacement.shape[1]))
    for start in range(0, len(X), 1000):
        rows = slice(start, start + 1000)
        kernel = squared_distances(X[rows], anchors)
        kernel -= kernel.min(axis=1, keepdims=True)
        np.exp(kernel * (-0.5 / bandwidth**2), out=kernel)
        moves[rows] = (kernel @ displacement) / kernel.sum(axis=1, keepdims=True)
    return moves


class OptimalTransport(Adapter):
    r"""Move every source row to the barycentre of the target rows that it is sent to.

    .. math:: \min_P \sum_{ij} P_{ij} C_{ij} + \varepsilon\, \mathrm{KL}(P \,|\, a b^\top),
              \qquad x_i \mapsto \frac{\sum_j P_{ij}\, x^T_j}{\sum_j P_{ij}}

    a and b are the rows' weights, and the marginals of the plan P. The cost is the squared
    distance on columns divided by their pooled standard deviation, divided by its median, so
    that no parameter has a unit. Target rows stay as they are.

    - ``"entropic"``: the problem above, solved in the log domain.
    - ``"exact"``: without the entropy, by network simplex. The plan is nearly a permutation.
    - ``"class_regularized"``: with a penalty on target rows that receive mass from several
      source classes. It needs class labels on the source.
    - ``"unbalanced"``: the marginals may be missed, at a price of ``relaxation`` times their
      KL divergence. Mass that finds nothing near is dropped: the weights of `source_` are the
      mass that is left, so that the estimator must take weights.

    It helps when the target is the same task seen through a smooth change of the features that
    moves no row past another (a gradient of a convex function), with the class shares of the
    source. It harms when rows are where they should be and only their number differs: target
    rows are then given the labels of the wrong source rows. Measured with logistic regression
    (500 + 500 rows, five columns, ten seeds), without adaptation, with "entropic" and with
    "unbalanced":

    - covariate shift, one relevant column moved by 1 at standard deviation .8: .996, .624, .900
    - label shift, the share of a class falls from .5 to .1: .924, .605, .862
    - nothing differs: .987, .965, .979
    - all columns scaled and shifted: .853, .964, .914

    Entropic plans blur: barycentres are closer to each other than rows of the target, the
    more so the larger ``regularization`` and the more columns. Classifiers hardly mind. A ridge
    regression on 20 columns has R2 1.00 without adaptation where nothing differs, .86 with
    "entropic", and .91 with ``regularization=0.01``.

    Time O(n_s n_t d) for each plan and O(n_s n_t) for each of its iterations; memory two
    n_s x n_t matrices (float32 above 4 million entries), checked against the memory at hand.
    Above 36 million entries ``solver="auto"`` takes mini-batches: batches of rows, with the
    class shares of the source, are transported to batches of the target, and a row's
    barycentres are averaged. Then time is O(n batch_size) for each iteration, and memory O(n d).
    The plan of batches is more blurred than that of all rows.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the moved source, with its weights.
    method : {"entropic", "exact", "class_regularized", "unbalanced"}, default="entropic"
        Which problem is solved.
    regularization : "auto" or float, default="auto"
        :math:`\varepsilon`, as a share of the median cost. "auto" is 0.05, and 0.1 for
        "class_regularized", where the penalty sharpens what the entropy blurs (settings that
        did well between MNIST, USPS and printed digits). Not used by "exact".
    class_regularization : float, default=0.2
        Weight of the penalty on mixed classes, on the same scale. With 0
        "class_regularized" is "entropic".
    relaxation : float, default=0.1
        Price of missed marginals for "unbalanced", on the same scale.
    solver : {"auto", "full", "minibatch"}, default="auto"
        One plan for all rows, or mini-batches. "auto" takes the second above 36 million
        entries of the plan.
    batch_size : int, default=1000
        Rows of each side in a mini-batch.
    n_epochs : int, default=3
        How often the mini-batches cover the larger side.
    max_iter : int, default=2000
        Most iterations of a plan (thousands of steps for "exact").
    random_state : int, RandomState or None, default=None
        Seed of the mini-batches. One plan for all rows has nothing random.

    Attributes
    ----------
    source_ : Domain
        The source with moved features, in the dtype that it came in.
    mass_ : ndarray of shape (n_source,)
        Mass that left each source row, mean one; its own weight unless "unbalanced".
    marginal_error_ : float
        Largest sum of absolute differences between a plan's marginals and those asked for.
    n_iter_ : int
        Iterations, of all batches together.
    converged_ : bool
        Whether every plan reached its tolerance.
    solver_ : {"full", "minibatch"}
        Which was used.

    Raises
    ------
    ValueError
        In `fit`, for text columns, NaN or infinity, "class_regularized" without class labels,
        or "unbalanced" when no mass is left.
    MemoryError
        When one plan does not fit in memory.

    Warns
    -----
    UserWarning
        When a plan did not converge.

    References
    ----------
    N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy, "Optimal Transport for Domain
    Adaptation", IEEE Transactions on Pattern Analysis and Machine Intelligence 2017.

    M. Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NeurIPS 2013.

    L. Chizat, G. Peyré, B. Schmitzer, F.-X. Vialard, "Scaling algorithms for unbalanced optimal
    transport problems", Mathematics of Computation 2018.

    K. Fatras, Y. Zine, R. Flamary, R. Gribonval, N. Courty, "Learning with minibatch
    Wasserstein: asymptotic and gradient properties", AISTATS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import OptimalTransport
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2))
    >>> moved = OptimalTransport(method="exact").fit(X, X[::-1] + 3).source_.X
    >>> bool(np.allclose(moved, X + 3))
    True
    """

    facts: ClassVar[Facts] = Facts(
        handles=("marginal",),
        assumes="The features changed smoothly, past no other row, and the class shares did not.",
        inputs=("dense", "frame", "images"),
        cost="O(n^2) an iteration, O(n^2) memory; from 6,000 rows a side O(n), in mini-batches",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "method": [StrOptions({"entropic", "exact", "class_regularized", "unbalanced"})],
        "regularization": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "class_regularization": [Interval(Real, 0, None, closed="left")],
        "relaxation": [Interval(Real, 0, None, closed="neither")],
        "solver": [StrOptions({"auto", "full", "minibatch"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "entropic",
        regularization: float | str = "auto",
        class_regularization: float = 0.2,
        relaxation: float = 0.1,
        solver: str = "auto",
        batch_size: int = 1000,
        n_epochs: int = 3,
        max_iter: int = 2000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.regularization = regularization
        self.class_regularization = class_regularization
        self.relaxation = relaxation
        self.solver = solver
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.max_iter = max_iter
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        codes = self._codes(source)
        self._epsilon = (
            (0.1 if self.method == "class_regularized" else 0.05)
            if self.regularization == "auto"
            else float(self.regularization)
        )
        rows = numeric_rows(source, "OptimalTransport")
        X = rows.astype(np.float64, copy=False)
        Y = numeric_rows(target, "OptimalTransport").astype(np.float64, copy=False)
        # Rows without weight send and receive nothing.
        weight_s, weight_t = _weights(source), _weights(target)
        sends, receives = np.flatnonzero(weight_s), np.flatnonzero(weight_t)
        self._unit, self._centre = pooled_spread(X, Y), Y.mean(axis=0)
        A, B = self._in_units(X[sends]), self._in_units(Y[receives])
        self._scale = transport.typical_cost(A, B)
        large = len(A) * len(B) > FULL
        self.solver_ = ("minibatch" if large else "full") if self.solver == "auto" else self.solver
        solve = self._full if self.solver_ == "full" else self._in_batches
        moved, mass = solve(A, B, weight_s[sends], weight_t[receives], codes[sends])
        if not self.converged_:
            warnings.warn(
                f"OptimalTransport(method={self.method!r}): a plan did not converge in max_iter="
                f"{self.max_iter} iterations; its marginals are off by {self.marginal_error_:.1g} "
                "of the mass. A larger regularization converges sooner.",
                stacklevel=2,
            )
        arrived = mass > 0
        if not arrived.any():
            raise ValueError(
                f"OptimalTransport: relaxation={self.relaxation} leaves no mass on any row; "
                "give a larger one"
            )
        self.mass_ = np.zeros(source.n_rows)
        self.mass_[sends] = mass / mass.sum() * source.n_rows
        # Rows that sent nothing move as their neighbours do, and so do new rows.
        displacement = moved[arrived] - A[arrived]
        few = np.linspace(0, len(displacement) - 1, min(len(displacement), ANCHORS)).astype(np.intp)
        self._anchors, self._displacement = A[arrived][few], displacement[few]
        self._bandwidth = _spacing(self._anchors)
        result = X.copy()
        result[sends[arrived]] = moved[arrived] * self._unit + self._centre
        silent = np.flatnonzero(self.mass_ == 0)
        if silent.size:
            result[silent] = self._extended(X[silent])
        result = result.astype(rows.dtype, copy=False)
        changes: dict[str, Any] = {"weight": self.mass_} if self.method == "unbalanced" else {}
        return source.with_(
            X=frame_like(source.X, result) if source.is_frame else result, **changes
        )

    def _transform_target(self, target: Domain) -> Domain:
        if target.is_image or target.is_sparse:
            return target.with_(X=numeric_rows(target, "OptimalTransport"))
        return target

    def transform_source(self, X: Any) -> Any:
        """Move source rows that were not fitted.

        They move as the fitted rows near them did: the displacements of these are averaged
        with a Gaussian kernel as wide as the rows are apart. Of more than 5,000 fitted rows,
        5,000 are looked at. Fitted rows are in ``source_``.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Rows with the columns of the source.

        Returns
        -------
        array or data frame
        """
        self._read_and_transform(X)  # checks the columns
        domain = Domain.of(X, name="X")
        rows = numeric_rows(domain, "OptimalTransport")
        moved = self._extended(rows.astype(np.float64, copy=False)).astype(rows.dtype, copy=False)
        return frame_like(domain.X, moved) if domain.is_frame else moved

    # -- the parts ------------------------------------------------------------------------------

    def _codes(self, source: Domain) -> NDArray[np.intp]:
        """Classes of the source rows: for the penalty, and for batches that hold each."""
        who = f"OptimalTransport(method={self.method!r})"
        try:
            return class_codes(source, who, "method='entropic'")
        except ValueError:
            if self.method == "class_regularized":
                raise
            return np.zeros(source.n_rows, dtype=np.intp)

    def _in_units(self, X: Floats) -> Floats:
        return np.asarray((X - self._centre) / self._unit)

    def _extended(self, X: Floats) -> Floats:
        moves = smooth_displacement(
            self._in_units(X), self._anchors, self._displacement, self._bandwidth
        )
        return np.asarray(X + moves * self._unit)

    def _plan(
        self,
        A: Floats,
        B: Floats,
        a: Floats,
        b: Floats,
        codes: NDArray[np.intp],
        start: Floats | None = None,
    ) -> transport.Transport:
        size = len(A) * len(B)
        # float32 has digits enough where costs are divided by no less than a hundredth
        precise = self.method == "exact" or self._epsilon < 0.01
        float32 = not precise and (size > DOUBLE or self.solver_ == "minibatch")
        kind = np.float32 if float32 else np.float64
        copies = 4 if self.method == "exact" else 2
        check_memory(
            float(copies * np.dtype(kind).itemsize * size),
            f"one transport plan of {len(A)} x {len(B)} rows (solver='minibatch' needs less)",
        )
        cost = squared_distances(A.astype(kind), B.astype(kind))
        cost *= 1 / self._scale
        if self.method == "exact":
            return transport.exact(cost, a, b, 1000 * self.max_iter)
        if self.method == "class_regularized":
            return transport.class_regularized(
                cost,
                a,
                b,
                self._epsilon,
                codes,
                self.class_regularization,
                start=start,
                tol=TOL,
                max_iter=self.max_iter,
            )
        return transport.sinkhorn(
            cost,
            a,
            b,
            self._epsilon,
            relaxation=self.relaxation if self.method == "unbalanced" else None,
            start=start,
            tol=TOL,
            max_iter=self.max_iter,
        )

    def _full(
        self, A: Floats, B: Floats, a: Floats, b: Floats, codes: NDArray[np.intp]
    ) -> tuple[Floats, Floats]:
        solved = self._plan(A, B, a, b, codes)
        self.marginal_error_, self.n_iter_ = solved.error, solved.n_iter
        self.converged_ = solved.converged
        return solved.barycentres(B), solved.mass

    def _in_batches(
        self, A: Floats, B: Floats, a: Floats, b: Floats, codes: NDArray[np.intp]
    ) -> tuple[Floats, Floats]:
        """Average barycentres and mass over batches that cover both sides."""
        rng = check_random_state(self.random_state)
        count = self.n_epochs * -(-max(len(A), len(B)) // self.batch_size)
        dealt_s = stratified_batches(codes, min(self.batch_size, len(A)), count, rng)
        everyone = np.zeros(len(B), dtype=np.intp)
        dealt_t = stratified_batches(everyone, min(self.batch_size, len(B)), count, rng)
        moved, mass, times = np.zeros_like(A), np.zeros(len(A)), np.zeros(len(A))
        potential = np.zeros(len(B))  # what earlier batches found is a start for the next
        self.marginal_error_, self.n_iter_, self.converged_ = 0.0, 0, True
        for rows, columns in zip(dealt_s, dealt_t, strict=True):
            start = None if self.method == "exact" else potential[columns]
            solved = self._plan(A[rows], B[columns], a[rows], b[columns], codes[rows], start)
            sent = solved.mass * a[rows].sum()
            np.add.at(moved, rows, sent[:, None] * np.nan_to_num(solved.barycentres(B[columns])))
            np.add.at(mass, rows, sent)
            np.add.at(times, rows, 1.0)
            if start is not None and solved.g is not None:
                potential[columns] = solved.g
            self.marginal_error_ = max(self.marginal_error_, solved.error)
            self.n_iter_ += solved.n_iter
            self.converged_ &= solved.converged
        return moved / np.where(mass > 0, mass, 1.0)[:, None], mass / times


def _weights(domain: Domain) -> Floats:
    return np.ones(domain.n_rows) if domain.weight is None else domain.weight.astype(np.float64)


def _spacing(anchors: Floats) -> float:
    """Median distance of some rows to the nearest other."""
    some = np.linspace(0, len(anchors) - 1, min(len(anchors), 500)).astype(np.intp)
    distances = squared_distances(anchors[some], anchors)
    distances[np.arange(len(some)), some] = np.inf
    nearest = np.sqrt(distances.min(axis=1))
    nearest = nearest[np.isfinite(nearest) & (nearest > 0)]
    return float(np.median(nearest)) if nearest.size else 1.0

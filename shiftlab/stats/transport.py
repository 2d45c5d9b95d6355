"""Optimal transport between two weighted samples: exact, entropic, unbalanced, by class."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Transport",
    "class_regularized",
    "exact",
    "only_numpy",
    "sinkhorn",
    "typical_cost",
]

Floats = NDArray[np.float64]

BLOCK = 2**16  # entries at a time, so that temporaries stay in the cache
LARGEST_SCALING = 30.0  # logarithm; beyond it the scalings are absorbed into the kernel
LARGEST_LOG = 80.0  # so that the kernel stays finite in float32
SMALLEST_SUM = 1e-25  # a sum of the kernel below it is taken again in the log domain
FLAT = 1e-2  # added to class shares, so that the slope of their root stays finite
MAX_OUTER = 50
OUTER_TOL = 2e-3
ROUND_TOL = 1e-3  # rounds before the last need not be solved better


@dataclass(frozen=True)
class Transport:
    """A transport plan and how far it was solved.

    Parameters
    ----------
    plan : ndarray of shape (n, m)
        Mass that goes from row i to row j.
    error : float
        Sum of absolute differences between the marginals of the plan and those asked for, as
        a share of the mass. For unbalanced transport, the same of the last change.
    converged : bool
        Whether the error reached the tolerance.
    n_iter : int
        Iterations; 0 for the exact plan.
    f, g : ndarray of shape (n,) and (m,), default=None
        Potentials, in the unit of the cost.
    """

    plan: NDArray[Any]
    error: float
    converged: bool
    n_iter: int
    f: Floats | None = None
    g: Floats | None = None

    @property
    def mass(self) -> Floats:
        """Mass that leaves each row, ``(n,)``."""
        return np.asarray(self.plan.sum(axis=1, dtype=np.float64))

    def barycentres(self, Y: NDArray[Any]) -> Floats:
        r"""Return :math:`\sum_j P_{ij} y_j / \sum_j P_{ij}`.

        Parameters
        ----------
        Y : ndarray of shape (m, d)
            Where the columns of the plan are.

        Returns
        -------
        ndarray of shape (n, d)
            NaN for rows without mass.
        """
        mass = self.mass
        moved = np.asarray(self.plan @ Y.astype(self.plan.dtype, copy=False), dtype=np.float64)
        share = np.divide(1.0, mass, out=np.full_like(mass, np.nan), where=mass > 0)
        return moved * share[:, None]


def typical_cost(X: NDArray[Any], Y: NDArray[Any], most: int = 1000) -> float:
    """Return the median squared distance between the rows of two samples.

    Parameters
    ----------
    X, Y : ndarray of shape (n, d) and (m, d)
        Rows; of larger samples, evenly spaced ones.
    most : int, default=1000
        Rows of each that are looked at.

    Returns
    -------
    float
        1.0 where all rows are equal.
    """
    from shiftlab.stats.kernels import squared_distances

    few = [Z[np.linspace(0, len(Z) - 1, min(len(Z), most)).astype(np.intp)] for Z in (X, Y)]
    distances = squared_distances(few[0], few[1])
    positive = distances[distances > 0]
    return float(np.median(positive)) if positive.size else 1.0


# -- exact --------------------------------------------------------------------------------------


@contextmanager
def only_numpy() -> Iterator[None]:
    """Keep POT from importing every array library that it finds."""
    libraries = {"PYTORCH": "torch", "JAX": "jax", "CUPY": "cupy", "TENSORFLOW": "tensorflow"}
    names = [
        f"POT_BACKEND_DISABLE_{name}"
        for name, module in libraries.items()
        if module not in sys.modules and f"POT_BACKEND_DISABLE_{name}" not in os.environ
    ]
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


def exact(cost: Floats, a: Floats, b: Floats, max_iter: int = 10_000_000) -> Transport:
    r"""Solve :math:`\min_P \langle P, C \rangle` with marginals a and b, by network simplex.

    O(n^3) time at worst, O(n m) memory.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
        Finite.
    a, b : ndarray of shape (n,) and (m,)
        Non-negative masses; both are scaled to the sum one.
    max_iter : int, default=10,000,000
        Steps of the simplex.

    Returns
    -------
    Transport

    References
    ----------
    N. Bonneel, M. van de Panne, S. Paris, W. Heidrich, "Displacement Interpolation Using
    Lagrangian Mass Transport", SIGGRAPH Asia 2011.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.array([0.5, 0.5])
    >>> exact(np.array([[4.0, 1.0], [1.0, 4.0]]), half, half).plan.tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    with only_numpy():
        lp = importlib.import_module("ot.lp")
    # POT wants marginals that agree to the last bit, or it answers with zeros.
    a, b = a / a.sum(), b / b.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said by the caller, from what is returned
        plan, log = lp.emd(a, b, cost.astype(np.float64, copy=False), max_iter, log=True)
    error = max(
        float(np.abs(plan.sum(axis=1) - a).sum()), float(np.abs(plan.sum(axis=0) - b).sum())
    )
    solved = log["warning"] is None and error < 1e-6
    return Transport(plan, error, solved, 0, log["u"], log["v"])


# -- entropic -----------------------------------------------------------------------------------


def sinkhorn(
    cost: NDArray[Any],
    a: Floats,
    b: Floats,
    regularization: float,
    *,
    relaxation: float | None = None,
    penalty: tuple[Floats, NDArray[np.intp]] | None = None,
    start: Floats | None = None,
    tol: float = 1e-5,
    max_iter: int = 2000,
) -> Transport:
    r"""Solve entropic transport, balanced or unbalanced.

    .. math:: \min_P \langle P, C \rangle + \varepsilon\, \mathrm{KL}(P \,|\, a b^\top)
              \quad\text{with}\quad P \mathbf 1 = a,\; P^\top \mathbf 1 = b

    The unbalanced problem replaces the constraints by
    :math:`\tau\, \mathrm{KL}(P \mathbf 1 \,|\, a) + \tau\, \mathrm{KL}(P^\top \mathbf 1 \,|\, b)`.
    The plan is :math:`a_i b_j \exp((f_i + g_j - C_{ij}) / \varepsilon)`. The potentials f and g
    are updated in turn; they are kept in the log domain, in float64, and absorbed into the
    kernel whenever a scaling of it becomes large, so that nothing overflows. Time O(n m) a step,
    memory one more matrix like the cost.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
        Finite; float32 halves time and memory.
    a, b : ndarray of shape (n,) and (m,)
        Non-negative masses; both are scaled to the sum one.
    regularization : float
        :math:`\varepsilon > 0`, in the unit of the cost.
    relaxation : float, default=None
        :math:`\tau`; None keeps the marginals.
    penalty : tuple of (ndarray of shape (k, m), int ndarray of shape (n,)), default=None
        Added to the cost of row i: the row of the first that the second names.
    start : ndarray of shape (m,), default=None
        Potential g to start from.
    tol : float, default=1e-5
        Error at which to stop.
    max_iter : int, default=2000
        Most iterations.

    Returns
    -------
    Transport
        Of a balanced problem the row marginals hold up to rounding; ``error`` is the columns'.

    References
    ----------
    M. Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NeurIPS 2013.

    L. Chizat, G. Peyré, B. Schmitzer, F.-X. Vialard, "Scaling algorithms for unbalanced optimal
    transport problems", Mathematics of Computation 2018.

    B. Schmitzer, "Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport
    Problems", SIAM Journal on Scientific Computing 2019.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.array([0.5, 0.5])
    >>> solved = sinkhorn(np.array([[4.0, 1.0], [1.0, 4.0]]), half, half, 0.01)
    >>> solved.plan.round(6).tolist(), solved.converged
    ([[0.0, 0.5], [0.5, 0.0]], True)
    """
    a, b = a / a.sum(), b / b.sum()
    eps = float(regularization)
    damp = 1.0 if relaxation is None else relaxation / (relaxation + eps)
    g = np.zeros(len(b)) if start is None else start
    kernel, kind = np.empty_like(cost), cost.dtype
    n_iter, finished = 0, False
    while not finished:
        # Absorb: the kernel of a plan whose rows are right, computed in the log domain.
        f = f0 = _absorb(kernel, cost, penalty, g, b, eps, damp)
        g0 = g
        u, v = np.ones(len(a)), np.ones(len(b))
        while True:
            columns = np.asarray((a * u).astype(kind) @ kernel, dtype=np.float64)
            n_iter += 1
            lost = not _holds(columns)
            if lost:
                g_next = damp * _soft_minimum_of_columns(cost, penalty, f, a, eps)
            else:
                g_next = damp * (g0 - eps * np.log(columns))
            change = np.expm1(np.clip((g - g_next) / eps, -50, 50))
            error = float(b @ np.abs(change))
            finished = error <= tol or n_iter >= max_iter
            if finished:
                break  # f is the answer to g, so that the rows are right
            g = g_next
            if lost or np.abs(g - g0).max() > LARGEST_SCALING * eps:
                break
            v = np.exp((g - g0) / eps)
            rows = np.asarray(kernel @ (b * v).astype(kind), dtype=np.float64)
            if not _holds(rows):
                break
            f = damp * (f0 - eps * np.log(rows))
            if np.abs(f - f0).max() > LARGEST_SCALING * eps:
                break
            u = np.exp((f - f0) / eps)
    kernel *= (a * u).astype(kind)[:, None]
    kernel *= (b * v).astype(kind)
    return Transport(kernel, error, error <= tol, n_iter, f, g)


def _holds(sums: Floats) -> bool:
    """Whether sums of the kernel are neither lost to underflow nor too large."""
    return bool(sums.min() > SMALLEST_SUM and sums.max() < 1 / SMALLEST_SUM)


Penalty = tuple[Floats, NDArray[np.intp]] | None


def _blocks(cost: NDArray[Any], penalty: Penalty, eps: float) -> Iterator[tuple[slice, Any]]:
    """Give the cost with its penalty over epsilon, some rows at a time."""
    size = max(1, BLOCK // cost.shape[1])
    added = None if penalty is None else (penalty[0] / eps).astype(cost.dtype)
    for start in range(0, len(cost), size):
        rows = slice(start, start + size)
        block = cost[rows] * cost.dtype.type(1 / eps)
        if penalty is not None and added is not None:
            block += added[penalty[1][rows]]
        yield rows, block


def _absorb(
    kernel: NDArray[Any],
    cost: NDArray[Any],
    penalty: Penalty,
    g: Floats,
    b: Floats,
    eps: float,
    damp: float,
) -> Floats:
    r"""Return the rows' potential for g, and fill in the kernel of both.

    .. math:: f_i = -\varepsilon \log \sum_j b_j \exp((g_j - C_{ij}) / \varepsilon)
    """
    with np.errstate(divide="ignore"):
        log_b = np.log(b).astype(cost.dtype)
    scaled = (g / eps).astype(cost.dtype)
    f = np.empty(len(cost))
    for rows, block in _blocks(cost, penalty, eps):
        np.subtract(scaled, block, out=block)
        weighted = block + log_b
        largest = weighted.max(axis=1)
        weighted -= largest[:, None]
        f[rows] = -damp * (largest + np.log(np.exp(weighted, out=weighted).sum(axis=1)))
        block += f[rows, None].astype(cost.dtype)
        # unbalanced plans may pass through states that have more mass than float32 can hold
        kernel[rows] = np.exp(np.minimum(block, LARGEST_LOG, out=block), out=block)
    return f * eps


def _soft_minimum_of_columns(
    cost: NDArray[Any], penalty: Penalty, f: Floats, a: Floats, eps: float
) -> Floats:
    """The columns' potential for f: a running maximum, and a sum relative to it."""
    with np.errstate(divide="ignore"):
        weighted = (f / eps + np.log(a)).astype(cost.dtype)
    largest, total = np.full(cost.shape[1], -np.inf), np.zeros(cost.shape[1])
    for rows, block in _blocks(cost, penalty, eps):
        np.subtract(weighted[rows, None], block, out=block)
        higher = np.maximum(largest, block.max(axis=0))
        higher[np.isneginf(higher)] = 0.0  # only rows without mass so far
        block -= higher.astype(cost.dtype)
        total = total * np.exp(largest - higher) + np.exp(block, out=block).sum(axis=0)
        largest = np.where(total > 0, higher, -np.inf)
    return np.asarray(-eps * (largest + np.log(total)))


def class_regularized(
    cost: NDArray[Any],
    a: Floats,
    b: Floats,
    regularization: float,
    codes: NDArray[np.intp],
    strength: float,
    *,
    tol: float = 1e-5,
    max_iter: int = 2000,
    start: Floats | None = None,
) -> Transport:
    r"""Solve entropic transport in which a target row should receive mass from one class.

    .. math:: \min_P \langle P, C \rangle + \varepsilon\, \mathrm{KL}(P \,|\, a b^\top)
              + \eta \sum_j b_j \sum_c \sqrt{q_{cj} + \delta}, \qquad
              q_{cj} = \frac{1}{b_j} \sum_{i:\, y_i = c} P_{ij}

    with fixed marginals and :math:`\delta = 0.01`. The last sum is concave in P and smallest
    where the shares q of the classes in a column are zero and one. It is replaced by its
    tangent at the current plan, which adds a cost for each class and column, and entropic
    transport is solved again, from where it was: the objective falls in every round. A round
    costs no more than entropic transport, since the added cost lives in the kernel.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
        Finite.
    a, b : ndarray of shape (n,) and (m,)
        Non-negative masses.
    regularization : float
        :math:`\varepsilon`.
    codes : int ndarray of shape (n,)
        Class of each row, 0 to k - 1; -1 where unknown.
    strength : float
        :math:`\eta`; with 0 this is entropic transport.
    tol, max_iter
        Of each round, as in `sinkhorn`.
    start : ndarray of shape (m,), default=None
        Potential g to start from.

    Returns
    -------
    Transport
        Not converged if the last round was not, or the class shares still moved by more than
        0.002 (mean over the columns) after 50 rounds. ``n_iter`` counts all rounds.

    References
    ----------
    N. Courty, R. Flamary, D. Tuia, "Domain Adaptation with Regularized Optimal Transport",
    ECML PKDD 2014.
    """
    solved = sinkhorn(cost, a, b, regularization, start=start, tol=tol, max_iter=max_iter)
    if strength == 0 or codes.max() < 1:
        return solved
    member = (codes == np.arange(codes.max() + 1)[:, None]).astype(cost.dtype)
    shares, n_iter, moved = _class_shares(member, solved.plan), solved.n_iter, np.inf
    for _ in range(MAX_OUTER):
        slope = 0.5 * strength / np.sqrt(shares + FLAT)
        # a row of unknown class may join whatever class a column has
        added = np.vstack([slope, slope.min(axis=0)])
        solved = sinkhorn(
            cost,
            a,
            b,
            regularization,
            penalty=(added, codes),
            start=solved.g,
            tol=tol if moved < OUTER_TOL else max(tol, ROUND_TOL),
            max_iter=max_iter,
        )
        n_iter += solved.n_iter
        before, shares = shares, _class_shares(member, solved.plan)
        moved = float((np.abs(shares - before).sum(axis=0) @ b) / (2 * b.sum()))
        if moved < OUTER_TOL and solved.error <= tol:
            break
    converged = solved.converged and moved < OUTER_TOL
    return Transport(solved.plan, solved.error, converged, n_iter, solved.f, solved.g)


def _class_shares(member: NDArray[Any], plan: NDArray[Any]) -> Floats:
    """Shares of the classes in the mass that each column receives."""
    received = np.asarray(member @ plan, dtype=np.float64)
    total = received.sum(axis=0)
    return received / np.where(total > 0, total, 1.0)

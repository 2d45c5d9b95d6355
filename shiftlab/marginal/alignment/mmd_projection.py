"""Projections on which the means of two samples agree: what TCA, TJM, JDA and BDA share.

All four look for a map :math:`Z = F C` of feature rows :math:`F` (the columns themselves for
the linear kernel, Nystroem features for the Gaussian one) by one generalised symmetric
eigenproblem in as many dimensions as F has columns; no n x n matrix is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter
from shiftlab.domain import Domain
from shiftlab.marginal.alignment.components import components_to_keep, scale_columns
from shiftlab.marginal.alignment.subspaces import (
    mean_one,
    orthonormal_rows_basis,
    read_both,
    shift_and_unit,
)
from shiftlab.stats.kernels import NystroemMap, median_distance
from shiftlab.validation import check_memory, numeric_rows

__all__ = [
    "KernelFeatures",
    "MMDProjection",
    "Projection",
    "ProjectionProblem",
    "kernel_features",
    "mean_differences",
    "root_of",
]

Floats = NDArray[np.float64]

EXACT_ROWS = 1_000  # the Gaussian kernel is exact up to this many rows in all
LANDMARKS = 500  # and has this many landmarks above
BLOCK = 10_000  # rows whose kernel features are computed at once


@dataclass(frozen=True)
class KernelFeatures:
    """Feature rows whose inner products are the kernel, for any rows.

    Parameters
    ----------
    shift, unit : ndarray of shape (d,)
        What is subtracted from the rows, and what they are divided by.
    basis : ndarray of shape (d, r) or None
        For the linear kernel of rows with more columns than there are rows: an orthonormal
        basis of the span of the rows that were fitted.
    nystroem : NystroemMap or None
        For the Gaussian kernel.
    length : float
        Root mean square length of the rows in their units.
    """

    shift: Floats
    unit: Floats
    length: float
    basis: Floats | None = None
    nystroem: NystroemMap | None = None

    def __call__(self, X: Floats) -> Floats:
        """Return the features of rows, ``(n, p)``."""
        rows = (X - self.shift) / self.unit
        if self.nystroem is not None:
            return self.nystroem(rows)
        rows /= self.length
        return rows if self.basis is None else np.asarray(rows @ self.basis)


def kernel_features(
    source: Floats,
    target: Floats,
    weight: Floats,
    *,
    kernel: str,
    bandwidth: float | None,
    scale: bool,
    rng: np.random.RandomState,
    who: str,
) -> tuple[KernelFeatures, Floats]:
    r"""Choose the features of a kernel and compute them for the rows of both samples.

    Rows are put around their mean and, with ``scale``, columns are divided by their pooled
    spread. The linear kernel is divided by the mean of its diagonal, so that its size, and with
    it the meaning of a regularisation, is that of the Gaussian kernel.

    Parameters
    ----------
    source, target : ndarray of shape (n_s, d) and (n_t, d)
        Rows.
    weight : ndarray of shape (n,)
        Row weights, the source's first.
    kernel : {"linear", "gaussian"}
        Which kernel.
    bandwidth : float or None
        Of the Gaussian kernel; None takes the median distance.
    scale : bool
        Whether columns are divided by their pooled spread.
    rng : numpy.random.RandomState
        Draws landmarks and the pairs behind the median.
    who : str
        The adapter, for the message.

    Returns
    -------
    tuple of (features, F)
        F has shape (n, p), with p <= n. For the Gaussian kernel it is exact up to 1,000
        rows, and has 500 landmarks above, half of them of each side where it has as many.
    """
    n_source, n, d = len(source), len(weight), source.shape[1]
    width = d if kernel == "linear" else n if n <= EXACT_ROWS else LANDMARKS
    check_memory(8.0 * n * (2 * d + width), f"{who} on {n} rows with {d} columns")
    shift, unit = shift_and_unit(source, target, weight, scale)
    rows = np.concatenate([source, target])
    rows -= shift
    rows /= unit
    length = float(np.sqrt(weight @ np.einsum("ij,ij->i", rows, rows) / weight.sum())) or 1.0
    if kernel == "linear":
        rows /= length
        basis = None
        if d > n:
            basis, _ = orthonormal_rows_basis(rows, f"{who} on {n} rows")
            rows = rows @ basis
        return KernelFeatures(shift, unit, length, basis), rows
    if bandwidth is None:
        bandwidth = median_distance(rows, rng)
    landmarks = rows
    if n > EXACT_ROWS:
        from_source = min(n_source, max(LANDMARKS // 2, LANDMARKS - (n - n_source)))
        chosen = np.concatenate(
            [
                rng.choice(n_source, from_source, replace=False),
                n_source + rng.choice(n - n_source, LANDMARKS - from_source, replace=False),
            ]
        )
        landmarks = rows[chosen]
    nystroem = NystroemMap(landmarks, bandwidth)
    F = np.empty((n, nystroem.root.shape[1]))
    for start in range(0, n, BLOCK):
        F[start : start + BLOCK] = nystroem(rows[start : start + BLOCK])
    return KernelFeatures(shift, unit, length, nystroem=nystroem), F


def mean_differences(
    n_source: int,
    weight: Floats,
    codes: NDArray[np.intp] | None = None,
) -> sp.csr_matrix:
    r"""Return the vectors :math:`e_c` whose :math:`e_c^\top F` are differences of means.

    The first row is the difference of the means of source and target, the others those within
    each class that both sides have. An MMD matrix is :math:`\sum_c e_c e_c^\top`.

    Parameters
    ----------
    n_source : int
        Rows of the source, which come first.
    weight : ndarray of shape (n,)
        Row weights.
    codes : int array of shape (n,), default=None
        Classes as 0, 1, ...; -1 where unknown. None gives the first row only.

    Returns
    -------
    CSR matrix of shape (1 + number of classes on both sides, n)

    Examples
    --------
    >>> import numpy as np
    >>> mean_differences(2, np.ones(3), np.array([0, 1, 1])).toarray()
    array([[ 0.5,  0.5, -1. ],
           [ 0. ,  1. , -1. ]])
    """
    n = len(weight)
    side = np.repeat([0, 1], [n_source, n - n_source])
    signed = np.where(side == 0, weight, -weight)
    total = np.bincount(side, weight, minlength=2)
    values, columns = [signed / total[side]], [np.arange(n)]
    terms: list[NDArray[np.intp]] = [np.zeros(n, dtype=np.intp)]
    n_terms = 1
    if codes is not None:
        n_classes = int(codes.max()) + 1
        known = np.flatnonzero(codes >= 0)
        cell = 2 * codes[known] + side[known]
        mass = np.bincount(cell, weight[known], minlength=2 * n_classes).reshape(-1, 2)
        shared: NDArray[np.bool_] = np.all(mass > 0, axis=1)
        term = np.cumsum(shared, dtype=np.intp)  # 1, 2, ... for the shared classes
        kept = shared[codes[known]]
        known, cell = known[kept], cell[kept]
        values.append(signed[known] / mass.ravel()[cell])
        terms.append(term[codes[known]])
        columns.append(known)
        n_terms += int(shared.sum())
    return sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(terms), np.concatenate(columns))),
        shape=(n_terms, n),
    )


class ProjectionProblem:
    r"""Find the directions of largest scatter on which means agree.

    .. math:: \min_C \; \mathrm{tr}\left(C^\top (F^\top M F + \mu\, Q^{-1}) C\right)
        \quad \text{s.t.} \quad C^\top S C = I, \qquad Q = F^\top G^{-1} F

    with the MMD matrix :math:`M = E^\top E`, the scatter :math:`S = F^\top H F` of all rows
    around their mean, and a diagonal G. Since :math:`\mathrm{tr}(C^\top Q^{-1} C)` is the
    smallest :math:`\mathrm{tr}(W^\top G W)` of all W with :math:`C = F^\top W`, this is the
    textbook problem in n coefficients of the kernel matrix :math:`K = F F^\top`,

    .. math:: \min_W \; \mathrm{tr}\left(W^\top (K M K + \mu\, G) W\right)
        \quad \text{s.t.} \quad W^\top K H K W = I

    with the same :math:`Z = F C = K W`, at the cost of p dimensions instead of n.

    Parameters
    ----------
    F : ndarray of shape (n, p)
        Feature rows.
    weight : ndarray of shape (n,)
        Row weights; a row of weight two counts as two rows.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Mean of the feature rows.
    scatter : ndarray of shape (p, p)
        The matrix S.
    root : ndarray of shape (p, r)
        :math:`Q = R R^\top` for G = I; r is the rank of F. The last columns are the largest.
    """

    def __init__(self, F: Floats, weight: Floats) -> None:
        self.F = F
        self.weight = weight
        self.mean = weight @ F / weight.sum()
        moment = self.moment(weight)
        self.scatter = moment - weight.sum() * np.outer(self.mean, self.mean)
        self.root = root_of(moment)[0]

    def principal_components(self, rows: NDArray[np.intp]) -> Floats:
        """Return feature rows along the directions of largest scatter, the largest first."""
        axes = root_of(self.scatter)[0][:, ::-1]
        axes = axes[:, : self.root.shape[1]]
        return np.asarray((self.F[rows] - self.mean) @ (axes / np.linalg.norm(axes, axis=0)))

    def moment(self, diagonal: Floats) -> Floats:
        """Return the sum of ``diagonal[i] * outer(F[i], F[i])``, in blocks."""
        total = np.zeros((self.F.shape[1], self.F.shape[1]))
        for start in range(0, len(self.F), BLOCK):
            block = self.F[start : start + BLOCK]
            total += (block * diagonal[start : start + BLOCK, None]).T @ block
        return total

    def solve(
        self,
        differences: Floats,
        regularization: float,
        n_components: int,
        root: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        r"""Solve for given differences of means.

        Parameters
        ----------
        differences : ndarray of shape (m, p)
            :math:`E F`.
        regularization : float
            :math:`\mu`, positive.
        n_components : int
            Number of directions, k.
        root : ndarray of shape (p, r), default=None
            Of another Q than that of G = I.

        Returns
        -------
        tuple of (Y, cost)
            ``C = root @ Y``, and each direction's share of the objective, the least first;
            shapes (r, k) and (k,).
        """
        root = self.root if root is None else root
        scatter = root.T @ self.scatter @ root
        moved = differences @ root
        penalty = moved.T @ moved
        penalty[np.diag_indices_from(penalty)] += regularization
        r = len(scatter)
        ratio, Y = eigh(scatter, penalty, subset_by_index=[r - n_components, r - 1])
        # eigh gives Y' penalty Y = 1 and Y' scatter Y = ratio; no ratio is zero but by rounding
        ratio = np.maximum(ratio[::-1], np.finfo(np.float64).tiny)
        return Y[:, ::-1] / np.sqrt(ratio), 1 / ratio


def root_of(Q: Floats) -> tuple[Floats, Floats]:
    r"""Return R with :math:`R R^\top = Q`, and :math:`Q^+ R`, without directions of rounding."""
    values, vectors = np.linalg.eigh(Q)
    kept = values > max(1e-12 * values[-1], np.finfo(np.float64).tiny)
    size = np.sqrt(values[kept])
    return vectors[:, kept] * size, vectors[:, kept] / size


class Projection:
    r"""Map feature rows by directions of length one, :math:`z = \ell\, C^\top (f - \bar f)`.

    Directions of length one give components the spread that the rows have along them, as in
    PCA; scaled to unit scatter instead, weak components would count as much as strong ones.
    :math:`\ell` brings features of length one back to the units of the rows.

    Parameters
    ----------
    problem : ProjectionProblem
        Whose feature rows the map is made for.
    directions : ndarray of shape (p, k)
        Of any length.
    length : float
        The factor :math:`\ell`.
    spherical : bool
        Whether mapped rows are scaled to one length, the root mean square of their lengths.

    Attributes
    ----------
    fitted : ndarray of shape (n, k)
        The mapped rows of the problem.
    """

    def __init__(
        self, problem: ProjectionProblem, directions: Floats, length: float, spherical: bool
    ) -> None:
        self.directions = directions * (length / np.linalg.norm(directions, axis=0))
        self.offset = problem.mean @ self.directions
        self.radius: float | None = None
        self.fitted = self(problem.F)
        if spherical:
            squared = np.einsum("ij,ij->i", self.fitted, self.fitted)
            self.radius = float(np.sqrt(problem.weight @ squared / problem.weight.sum()))
            self.fitted = self._on_sphere(self.fitted)

    def _on_sphere(self, Z: Floats) -> Floats:
        length = np.linalg.norm(Z, axis=1, keepdims=True)
        return np.asarray(Z * (self.radius / np.where(length > 0, length, 1.0)))

    def __call__(self, F: Floats) -> Floats:
        """Map feature rows."""
        Z = np.asarray(F @ self.directions - self.offset)
        return Z if self.radius is None else self._on_sphere(Z)


class MMDProjection(Adapter):
    """Base of the adapters that project on directions on which means agree.

    A subclass declares the parameters below, among others, and writes ``_project``, which
    returns the `Projection` and sets the fitted attributes of its own.
    """

    n_components: int | None
    kernel: str
    bandwidth: float | None
    regularization: float
    scale: bool | str
    spherical: bool
    random_state: int | np.random.RandomState | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "kernel": [StrOptions({"linear", "gaussian"})],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), None],
        "regularization": [Interval(Real, 0, None, closed="neither")],
        "scale": ["boolean", StrOptions({"auto"})],
        "spherical": ["boolean"],
        "random_state": ["random_state"],
    }

    def _project(self, problem: ProjectionProblem, source: Domain, length: float) -> Projection:
        raise NotImplementedError(f"{type(self).__name__} must define _project")

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = type(self).__name__
        X_source, X_target, dtype = read_both(source, target, who)
        weight = np.concatenate([mean_one(source), mean_one(target)])
        self.scale_ = scale_columns(self.scale, X_source, X_target, source, self.estimator)
        self._features, F = kernel_features(
            X_source,
            X_target,
            weight,
            kernel=self.kernel,
            bandwidth=self.bandwidth,
            scale=self.scale_,
            rng=check_random_state(self.random_state),
            who=who,
        )
        problem = ProjectionProblem(F, weight)
        self.n_components_ = components_to_keep(
            self.n_components,
            problem.root.shape[1],
            lambda rows: problem.principal_components(rows) * self._features.length,
            source,
            self.estimator,
            who,
        )
        projection = self._project(problem, source, self._features.length)
        mapped = projection.fitted[: source.n_rows].astype(dtype, copy=False)
        del projection.fitted
        self._projection = projection
        return source.with_(X=mapped, feature_names=None)

    def _transform_target(self, target: Domain) -> Domain:
        rows = numeric_rows(target, type(self).__name__)
        mapped = np.empty((len(rows), self.n_components_), dtype=rows.dtype)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            mapped[block] = self._projection(self._features(rows[block].astype(np.float64)))
        return target.with_(X=mapped, feature_names=None)

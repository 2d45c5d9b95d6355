"""A density ratio as a sum of Gaussian kernels around target rows."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.domain import Domain
from shiftlab.marginal.weighting.base import ImportanceWeighting
from shiftlab.marginal.weighting.rows import some_rows
from shiftlab.stats.kernels import gaussian_kernel, median_distance

__all__ = ["BANDWIDTHS", "KernelModel", "median_of_both", "shares"]

Floats = NDArray[np.float64]

BANDWIDTHS = (0.1, 0.15, 0.22, 0.33, 0.5, 0.8, 1.3)  # times the median distance
ROWS_FOR_MEDIAN = 1000
BLOCK = 20_000


def shares(domain: Domain, rows: NDArray[np.intp] | None = None) -> Floats:
    """Return the share of the weight that each row carries; sum one."""
    weight = np.ones(domain.n_rows) if domain.weight is None else domain.weight
    weight = weight if rows is None else weight[rows]
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def median_of_both(S: Floats, T: Floats, rng: np.random.RandomState) -> float:
    """Return the median distance between rows of both samples, as many of one as of the other."""
    both = np.vstack([some_rows(X, ROWS_FOR_MEDIAN, rng) for X in (S, T)])
    return median_distance(both, rng)


class KernelModel(ImportanceWeighting):
    r"""Base class of :math:`w(x) = \sum_l \alpha_l k(x, c_l)` with centres among the target rows.

    A subclass writes `_choose`, which sets ``bandwidth_`` by a criterion of its own (infinity
    where no kernel does better than weights of one), and `_solve`, which sets ``coefficients_``
    at that bandwidth.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImportanceWeighting._parameter_constraints,
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "n_centres": [Interval(Integral, 1, None, closed="left")],
    }

    bandwidth: float | str
    n_centres: int
    bandwidth_: float
    coefficients_: Floats

    def _choose(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        raise NotImplementedError

    def _solve(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        raise NotImplementedError

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        S, T = self._rows(source), self._rows(target)
        a, b = shares(source), shares(target)
        self._median = median_of_both(S, T, rng)
        heavy = np.flatnonzero(b > 0)
        self._centre_rows = some_rows(heavy, self.n_centres, rng)
        self._centres = T[self._centre_rows]
        self._choose(S, T, a, b, rng)
        if np.isfinite(self.bandwidth_):
            self._solve(S, T, a, b, rng)
        return self._log_values(S)

    def _log_ratio(self, rows: Domain) -> Floats:
        return self._log_values(self._rows(rows))

    def _kernels(self, X: Floats, bandwidth: float) -> Floats:
        """Return the kernels of rows at a bandwidth given in medians, ``(n, b)``."""
        return gaussian_kernel(X, self._centres, bandwidth * self._median)

    def _log_values(self, X: Floats) -> Floats:
        if not np.isfinite(self.bandwidth_):
            return np.zeros(len(X))
        values = np.concatenate(
            [
                self._kernels(X[i : i + BLOCK], self.bandwidth_) @ self.coefficients_
                for i in range(0, len(X), BLOCK)
            ]
        )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(values))

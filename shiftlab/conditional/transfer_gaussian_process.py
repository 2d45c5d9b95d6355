"""A Gaussian process on the target whose prior mean is the source's model."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.pooling import checked_rows, pool
from shiftlab.conditional.tradaboost_r2 import require_numbers
from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import check_memory, numeric_rows

__all__ = ["MeanAndProcess", "TransferGaussianProcess"]

Floats = NDArray[np.float64]


class MeanAndProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The sum of a regression and a Gaussian process on scaled columns.

    Parameters
    ----------
    mean : regressor
        Fitted.
    process : GaussianProcessRegressor
        Fitted to what the regression leaves.
    unit : ndarray of shape (d,)
        By which columns are divided for the process.
    """

    def __init__(self, mean: Any, process: Any, unit: Any) -> None:
        self.mean = mean
        self.process = process
        self.unit = unit

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the posterior mean, and its standard deviation if asked for."""
        rows = numeric_rows(Domain.of(X), "TransferGaussianProcess") / self.unit
        base = np.ravel(self.mean.predict(rows_for(self.mean, X)))
        if not return_std:
            return base + self.process.predict(rows)
        change, deviation = self.process.predict(rows, return_std=True)
        return base + change, deviation


class TransferGaussianProcess(Adapter):
    r"""Learn on the target's labels how it departs from the source's model.

    .. math:: y = m_S(x) + g(x) + \varepsilon, \qquad g \sim \mathrm{GP}(0, k)

    :math:`m_S` is any regression, trained on the source; the posterior of g is computed from
    what it leaves on the labelled target rows. Far from these rows g returns to zero, and the
    answer is the source's model. The kernel's length and scale and the noise are those of the
    largest marginal likelihood, on columns divided by their standard deviation in the source.

    It helps when the target departs from the source smoothly, and some tens of rows are
    labelled. It harms little: where the source is of no help, the process has to learn the
    source's errors as well. Measured with a random forest for :math:`m_S` (500 source rows, 30
    labelled target rows, four columns, ten seeds, R2), with the source, a Gaussian process on
    the 30 rows alone, the forest on both pooled, and this:

    - the target is the source plus a line: .15, .66, .25, .93
    - another law: -1.06, .93, -.78, .72
    - nothing differs: .91, .44, .92, .91

    Time: one fit on the source, and O(m^3) for m labelled target rows for each step of the
    likelihood; memory O(m^2), checked against the memory at hand. Above some thousand rows take
    another method.

    Parameters
    ----------
    estimator : regressor
        Trained on the source.
    kernel : sklearn kernel, default=None
        Of g, on scaled columns. None is a constant times a Gaussian, plus white noise.
    random_state : int, RandomState or None, default=None
        Seed of the process.

    Attributes
    ----------
    estimator_ : MeanAndProcess
        ``estimator_.process`` is the fitted GaussianProcessRegressor.
    source_ : Domain
        The labelled target rows.
    source_estimator_ : regressor
        :math:`m_S`.

    Raises
    ------
    ValueError
        In `fit`, without labelled target rows, or for labels that are no numbers.
    MemoryError
        For too many labelled target rows.

    References
    ----------
    C. Rasmussen, C. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006 (2.7,
    explicit mean functions).

    B. Cao, S. J. Pan, Y. Zhang, D.-Y. Yeung, Q. Yang, "Adaptive Transfer Learning", AAAI 2010.

    Examples
    --------
    The target is the source's law plus a line: with a Gaussian process on the labelled target rows
    alone, the source's model on both pooled, and this.

    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    >>> from shiftlab import Domain, TransferGaussianProcess
    >>> rng = np.random.default_rng(0)
    >>> X, Xt = rng.normal(size=(2, 400, 3))
    >>> y = np.sin(3 * X[:, 0]) + X[:, 1]
    >>> yt = np.sin(3 * Xt[:, 0]) + Xt[:, 1] + 1 - Xt[:, 2]
    >>> known, forest = np.arange(400) < 30, RandomForestRegressor(50, random_state=0)
    >>> process = GaussianProcessRegressor(1.0 * RBF() + WhiteKernel(0.1), normalize_y=True)
    >>> alone = process.fit(Xt[known], yt[known]).score(Xt, yt)
    >>> pooled = forest.fit(np.r_[X, Xt[known]], np.r_[y, yt[known]]).score(Xt, yt)
    >>> model = TransferGaussianProcess(forest, random_state=0)
    >>> score = model.fit((X, y), Domain(Xt, yt, labelled=known)).score(Xt, yt)
    >>> print(f"{alone:.2f} {pooled:.2f} {score:.2f}")
    0.63 0.25 0.96
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="The target departs smoothly from the source's law; some tens of labels are known.",
        source_labels=True,
        target_labels="required",
        tasks=("regression",),
        inputs=("dense", "frame", "images"),
        cost="one fit on the source; time O(m^3), memory O(m^2) for m labelled target rows",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "kernel": [Kernel, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        kernel: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.kernel = kernel
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = "TransferGaussianProcess"
        source = checked_rows(source, target, self.estimator, who)
        require_numbers(source, who)
        both, is_target = pool(source, target, who)
        rows = both.take(is_target)
        check_memory(40.0 * rows.n_rows**2, f"{who} with {rows.n_rows} labelled target rows")
        spread = numeric_rows(source, who).std(axis=0, dtype=np.float64)
        self._unit = np.where(spread > 0, spread, 1.0)
        self.source_estimator_ = fit_estimator(self.estimator, source)
        return rows

    def _train(self, predictor: Any, source: Domain) -> MeanAndProcess:
        mean = self.source_estimator_
        left = source.y.astype(np.float64) - np.ravel(mean.predict(rows_for(mean, source.X)))
        size = max(float(np.mean(left**2)), 1e-12)
        d = len(self._unit)
        kernel = self.kernel
        if kernel is None:
            kernel = ConstantKernel(size, (1e-4 * size, 1e4 * size)) * RBF(
                np.sqrt(d), (0.1 * np.sqrt(d), 100 * np.sqrt(d))
            ) + WhiteKernel(0.1 * size, (1e-5 * size, 1e2 * size))
        noise: Any = 1e-10
        if source.weight is not None:
            # half of the weight is about twice the noise; the heaviest rows have the kernel's
            noise += 0.1 * size * (source.weight.max() / source.weight - 1)
        process = GaussianProcessRegressor(
            kernel, alpha=noise, random_state=check_random_state(self.random_state)
        )
        X = numeric_rows(source, "TransferGaussianProcess") / self._unit
        return MeanAndProcess(mean, process.fit(X, left), self._unit)

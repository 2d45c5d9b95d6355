"""Importance weights from two Gaussian densities."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Facts
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.base import ImportanceWeighting, weighting_facts
from shiftlab.stats.covariance import shrunk_covariance

__all__ = ["GaussianWeighting", "gaussian_log_density"]

Floats = NDArray[np.float64]

LEAST_VARIANCE = 1e-6  # of a direction, in units of the mean variance


def gaussian_log_density(X: Floats, mean: Floats, covariance: Floats) -> Floats:
    r"""Return :math:`\log N(x; \mu, \Sigma)` of rows.

    O(d^3 + n d^2) by a Cholesky factor.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    mean, covariance : ndarray of shape (d,) and (d, d)
        Of the density; the covariance positive definite.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> gaussian_log_density(np.zeros((1, 1)), np.zeros(1), np.eye(1)).round(4).tolist()
    [-0.9189]
    """
    root = np.linalg.cholesky(covariance)
    white = solve_triangular(root, (X - mean).T, lower=True)
    squared = np.einsum("ij,ij->j", white, white)
    size = len(mean) * np.log(2 * np.pi) + 2 * np.log(np.diag(root)).sum()
    return np.asarray(-0.5 * (squared + size))


class GaussianWeighting(ImportanceWeighting):
    r"""Weight source rows by the ratio of two Gaussian densities.

    .. math:: w(x) = \frac{N(x; \mu_T, \Sigma_T)}{N(x; \mu_S, \Sigma_S)}

    with the samples' means and shrunk covariances. Columns are divided by their pooled
    standard deviation first, and above 100 columns the first 100 principal components are used.

    It is the best of the weights where both samples are nearly Gaussian, and needs the fewest
    rows. It harms where they are not: heavy tails, clusters or categories give far rows weights
    that no data support.

    Time O(n d^2 + d^3), memory O(n d).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    shrinkage : "auto" or float in [0, 1], default="auto"
        Shrinkage of both covariances towards a multiple of the identity. "auto" is the
        estimate of Ledoit and Wolf for each.
    relative : float, default=0.0
        In [0, 1): the share :math:`\alpha` of the target in the denominator,
        :math:`w / (\alpha w + 1 - \alpha)`, which bounds the ratio by :math:`1 / \alpha`.
    <clip and flatten of every weighting>
    random_state : int, RandomState or None, default=None
        Seed of the components above 100 columns.

    Attributes
    ----------
    <attributes of every weighting>
    source_mean_, target_mean_ : ndarray of shape (d,)
        Means, in units of the pooled standard deviation.
    source_covariance_, target_covariance_ : ndarray of shape (d, d)
        Covariances, in the same units.

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
    H. Shimodaira, "Improving predictive inference under covariate shift by weighting the
    log-likelihood function", Journal of Statistical Planning and Inference 2000.

    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import GaussianWeighting
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = GaussianWeighting(random_state=0).fit(source, target)
    >>> bool(abs(np.average(source[:, 0], weights=adapter.weights_) - target.mean()) < 0.1)
    True
    """

    facts: ClassVar[Facts] = weighting_facts("time O(n d^2 + d^3), memory O(n d)")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImportanceWeighting._parameter_constraints,
        "shrinkage": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        shrinkage: float | str = "auto",
        relative: float = 0.0,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.shrinkage = shrinkage
        self.relative = relative
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        rows = self._rows(source)
        self.source_mean_, self.source_covariance_ = self._moments(rows, source)
        self.target_mean_, self.target_covariance_ = self._moments(self._rows(target), target)
        return self._values(rows)

    def _log_ratio(self, rows: Domain) -> Floats:
        return self._values(self._rows(rows))

    def _moments(self, X: Floats, domain: Domain) -> tuple[Floats, Floats]:
        mean, covariance, _ = shrunk_covariance(X, domain.weight, self.shrinkage)
        # A constant column, or one that others determine, would have a density without bound.
        floor = LEAST_VARIANCE * (np.trace(covariance) / len(mean) or 1.0)
        covariance[np.diag_indices(len(mean))] += floor
        return mean, covariance

    def _values(self, X: Floats) -> Floats:
        above = gaussian_log_density(X, self.target_mean_, self.target_covariance_)
        return above - gaussian_log_density(X, self.source_mean_, self.source_covariance_)

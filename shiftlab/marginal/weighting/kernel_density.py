"""Importance weights from two kernel density estimates."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Facts
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.base import ImportanceWeighting, weighting_facts
from shiftlab.marginal.weighting.kernel_model import median_of_both, shares
from shiftlab.marginal.weighting.rows import some_rows
from shiftlab.stats.kernels import squared_distances

__all__ = ["KernelDensityWeighting", "kernel_log_density"]

Floats = NDArray[np.float64]

BANDWIDTHS = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.4)  # times the median distance
ROWS_TO_CHOOSE_ON = 500
BLOCK = 2000


def kernel_log_density(
    X: Floats, points: Floats, share: Floats, bandwidth: float, own: Floats | None = None
) -> Floats:
    r"""Return :math:`\log \sum_j a_j \exp(-\lVert x - p_j \rVert^2 / (2 \sigma^2))` of rows.

    Without the constant of the Gaussian density. Finite for any row, however far. O(n m d)
    time in blocks of 2,000 rows, single precision inside.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    points : ndarray of shape (m, d)
        Centres of the kernels.
    share : ndarray of shape (m,)
        :math:`a`, positive.
    bandwidth : float
        :math:`\sigma`.
    own : ndarray of shape (n,) or None, default=None
        Added to the sum for each row: the share of a kernel at the row itself.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0.0], [2.0]])
    >>> far = kernel_log_density(np.array([[100.0]]), points, np.full(2, 0.5), 1.0)
    >>> far.round(1).tolist()
    [-4802.7]
    """
    single: NDArray[Any] = X.astype(np.float32)
    centres: NDArray[Any] = points.astype(np.float32)
    log_share = np.log(share).astype(np.float32)
    found = np.empty(len(X))
    for i in range(0, len(X), BLOCK):
        exponents = squared_distances(single[i : i + BLOCK], centres)
        exponents *= np.float32(-0.5 / bandwidth**2)
        exponents += log_share
        largest = exponents.max(axis=1)
        exponents -= largest[:, None]
        total = np.exp(exponents, out=exponents).sum(axis=1, dtype=np.float64)
        found[i : i + BLOCK] = largest + np.log(total)
    if own is not None:
        with np.errstate(divide="ignore"):  # a row without a kernel of its own
            found = np.logaddexp(found, np.log(own))
    return found


class KernelDensityWeighting(ImportanceWeighting):
    r"""Weight source rows by the ratio of two kernel density estimates.

    .. math:: w(x) = \frac{\hat p_T(x)}{\hat p_S(x)}, \qquad
              \hat p(x) = \sum_j a_j\, \exp\left(-\frac{\lVert x - x_j \rVert^2}{2\sigma^2}\right)

    with one bandwidth for both, that under which held-out target rows have the largest
    log ratio. The source's density counts the row itself, which keeps it from vanishing
    in the tails. Beyond ``n_points`` rows of a side a random part of it carries the kernels.
    Columns are divided by their pooled standard deviation; above 100 columns the first 100
    principal components are used.

    It helps under covariate shift in few columns, where densities of any shape can be
    estimated. It harms in many: from some ten columns on, kernels are mostly empty and the
    other weights are closer.

    Time O((n_s + 8 * 500) m d) with m kernels a side, memory O(m) for each of 2,000 rows.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    bandwidth : float or "cv", default="cv"
        Of the kernels, in units of the median distance between two rows. "cv" chooses.
    n_points : int, default=5000
        Most kernels of a side.
    relative : float, default=0.0
        In [0, 1): the share :math:`\alpha` of the target in the denominator,
        :math:`w / (\alpha w + 1 - \alpha)`, which bounds the ratio by :math:`1 / \alpha`.
    <clip and flatten of every weighting>
    random_state : int, RandomState or None, default=None
        Seed of the rows that carry the kernels and of the search.

    Attributes
    ----------
    <attributes of every weighting>
    bandwidth_ : float
        The bandwidth, in units of the median distance.

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

    M. Sugiyama, K.-R. Müller, "Input-Dependent Estimation of Generalization Error under Covariate
    Shift", Statistics & Decisions 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import KernelDensityWeighting
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = KernelDensityWeighting(random_state=0).fit(source, target)
    >>> bool(abs(np.average(source[:, 0], weights=adapter.weights_) - target.mean()) < 0.1)
    True
    """

    facts: ClassVar[Facts] = weighting_facts(
        "time O(n m d) with m at most 5,000 kernels, memory O(n d)"
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImportanceWeighting._parameter_constraints,
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "n_points": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        bandwidth: float | str = "cv",
        n_points: int = 5000,
        relative: float = 0.0,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.n_points = n_points
        self.relative = relative
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        S, T = self._rows(source), self._rows(target)
        self._median = median_of_both(S, T, rng)
        self._points, rows = [], []
        for X, domain in ((S, source), (T, target)):
            weight = shares(domain)
            chosen = some_rows(np.flatnonzero(weight > 0), self.n_points, rng)
            rows.append(chosen)
            self._points.append((X[chosen], weight[chosen] / weight[chosen].sum()))
        self.bandwidth_ = self._choose(rng)
        # a row that carries a kernel is counted already
        missing = np.full(len(S), 1 / (len(rows[0]) + 1))
        missing[rows[0]] = 0.0
        return self._values(S, missing)

    def _log_ratio(self, rows: Domain) -> Floats:
        X = self._rows(rows)
        return self._values(X, np.full(len(X), 1 / (len(self._points[0][0]) + 1)))

    def _values(self, X: Floats, missing: Floats) -> Floats:
        width = self.bandwidth_ * self._median
        source = kernel_log_density(X, *self._points[0], width, missing)
        return kernel_log_density(X, *self._points[1], width) - source

    def _choose(self, rng: np.random.RandomState) -> float:
        """Return the bandwidth under which target rows are most likely, each without itself."""
        if self.bandwidth != "cv":
            return float(self.bandwidth)
        (S, a), (T, b) = self._points
        rows = [some_rows(np.arange(len(X)), ROWS_TO_CHOOSE_ON, rng) for X in (S, T)]
        s, t = S[rows[0]], T[rows[1]]
        # squared distances to the kernels of (source, target) for both kinds of rows
        of_s, of_t = ([squared_distances(x, X) for X in (S, T)] for x in (s, t))
        of_t[1][np.arange(len(t)), rows[1]] = np.inf
        one = 1 / (len(S) + 1)
        best = -np.inf, BANDWIDTHS[-1]
        for bandwidth in BANDWIDTHS:
            scale = -0.5 / (bandwidth * self._median) ** 2

            def log_sum(squared: Floats, share: Floats, scale: float = scale) -> Floats:
                exponents = scale * squared + np.log(share)
                largest = exponents.max(axis=1, keepdims=True)
                return np.asarray(largest[:, 0] + np.log(np.exp(exponents - largest).sum(axis=1)))

            ratio_s = log_sum(of_s[1], b) - log_sum(of_s[0], a)
            ratio_t = log_sum(of_t[1], b) - np.logaddexp(log_sum(of_t[0], a), np.log(one))
            largest = ratio_s.max()
            mean = largest + np.log(np.average(np.exp(ratio_s - largest), weights=a[rows[0]]))
            best = max(best, (float(np.average(ratio_t, weights=b[rows[1]]) - mean), bandwidth))
        return best[1]

"""Importance weights from distances to nearest neighbours."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Facts
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.base import ImportanceWeighting, weighting_facts
from shiftlab.marginal.weighting.kernel_model import median_of_both, shares
from shiftlab.marginal.weighting.rows import some_rows
from shiftlab.stats.kernels import squared_distances

__all__ = ["NearestNeighborWeighting", "most_likely_exponent"]

Floats = NDArray[np.float64]

NEIGHBOURS = (5, 10, 20, 50, 100, 200)
ROWS_TO_CHOOSE_ON = 2000
BLOCK = 2000
NEAREST = 1e-4  # smallest squared distance that counts, in squared medians


def most_likely_exponent(of_source: Floats, of_target: Floats, largest: float) -> float:
    r"""Return the exponent of a ratio under which the target is most likely.

    .. math:: \max_{0 \le e \le e_{\max}} \; e\, \overline{t} - \log \frac{1}{n} \sum_i e^{e\, s_i}

    where :math:`s` and :math:`t` are the logs of a ratio at source and target rows: the
    log-likelihood of the target under the source tilted by the ratio to the power e. Concave.

    Parameters
    ----------
    of_source, of_target : ndarray of shape (n,) and (m,)
        :math:`s` and :math:`t`.
    largest : float
        :math:`e_{\max}`.

    Returns
    -------
    float
        0 where the ratio is no larger at target rows than at source rows.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=20_000)
    >>> round(most_likely_exponent(x, x + 1.0, 10.0), 1)  # N(1, 1) is N(0, 1) tilted by e^x
    1.0
    """
    wanted = float(of_target.mean())

    def slope(exponent: float) -> float:
        return wanted - float(softmax(exponent * of_source) @ of_source)

    if slope(0.0) <= 0:
        return 0.0
    return largest if slope(largest) >= 0 else float(brentq(slope, 0.0, largest))


def _systematic_sample(share: Floats, most: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Draw rows in proportion to their shares, none twice, as many as that allows.

    Neighbours among them are then neighbours in the weighted sample.
    """
    n = min(most, int(1 / share.max() + 1e-9))
    steps = np.cumsum(share) * n
    return np.unique(np.searchsorted(steps, rng.uniform() + np.arange(n)).clip(max=len(share) - 1))


class NearestNeighborWeighting(ImportanceWeighting):
    r"""Weight source rows by how near their neighbours are in both samples.

    .. math:: w(x) = \left(\frac{d_k^S(x)}{d_k^T(x)}\right)^{e}

    where :math:`d_k^S` and :math:`d_k^T` are the distances to the k-th nearest row of source
    and target, the row itself left out. With k neighbours the density is about
    :math:`k / (n\, d_k^e)` in e dimensions, so the ratio of the densities is that of the
    distances. The dimension of the data is not known: k and e are those under which the
    target is most likely, 0 (all weights one) among the values of e. Beyond ``n_points`` rows
    of a side, neighbours are sought in a random part of it. Columns are divided by their pooled
    standard deviation; above 100 columns the first 100 principal components are used.

    It helps under covariate shift of any shape, and follows clusters and curves that smooth
    ratios miss. It harms where many rows are alike: distances of zero say nothing.

    Time O((n_s + 4,000) m d) with m points a side, memory O(m) for each of 2,000 rows.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    n_neighbors : int or "cv", default="cv"
        k. "cv" chooses.
    n_points : int, default=4000
        Most rows of a side in which neighbours are sought.
    relative : float, default=0.0
        In [0, 1): the share :math:`\alpha` of the target in the denominator,
        :math:`w / (\alpha w + 1 - \alpha)`, which bounds the ratio by :math:`1 / \alpha`.
    <clip and flatten of every weighting>
    random_state : int, RandomState or None, default=None
        Seed of the points and of the search.

    Attributes
    ----------
    <attributes of every weighting>
    n_neighbors_ : int
        The k that was used.
    exponent_ : float
        The e that was used.

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
    J. Kremer, F. Gieseke, K. Steenstrup Pedersen, C. Igel, "Nearest Neighbor Density Ratio
    Estimation for Large-Scale Applications in Astronomy", Astronomy and Computing 2015.

    Q. Wang, S. Kulkarni, S. Verdú, "Divergence Estimation for Multidimensional Densities via
    k-Nearest-Neighbor Distances", IEEE Transactions on Information Theory 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import NearestNeighborWeighting
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = NearestNeighborWeighting(random_state=0).fit(source, target)
    >>> bool(abs(np.average(source[:, 0], weights=adapter.weights_) - target.mean()) < 0.15)
    True
    """

    facts: ClassVar[Facts] = weighting_facts(
        "time O(n m d) with m at most 4,000 points, memory O(n d)"
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImportanceWeighting._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), StrOptions({"cv"})],
        "n_points": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_neighbors: int | str = "cv",
        n_points: int = 4000,
        relative: float = 0.0,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_neighbors = n_neighbors
        self.n_points = n_points
        self.relative = relative
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        S, T = self._rows(source), self._rows(target)
        a, b = shares(source), shares(target)
        self._nearest = NEAREST * median_of_both(S, T, rng) ** 2
        chosen = [_systematic_sample(weight, self.n_points, rng) for weight in (a, b)]
        self._points = S[chosen[0]], T[chosen[1]]
        most = min(len(p) for p in self._points) - 1
        given = NEIGHBOURS if self.n_neighbors == "cv" else (self.n_neighbors,)
        options = sorted({min(int(k), most) for k in given})
        few = [some_rows(np.arange(len(c)), ROWS_TO_CHOOSE_ON, rng) for c in chosen]
        of_source = self._gaps(self._points[0][few[0]], options, (few[0], None))
        of_target = self._gaps(self._points[1][few[1]], options, (None, few[1]))
        best = -np.inf, options[0], 0.0
        for k, s, t in zip(options, of_source, of_target, strict=True):
            exponent = most_likely_exponent(s, t, 4.0 * S.shape[1])
            log_mean = float(np.log(np.mean(np.exp(exponent * (s - s.max()))))) + exponent * s.max()
            best = max(best, (float(exponent * t.mean() - log_mean), k, exponent))
        self.n_neighbors_, self.exponent_ = best[1:]
        own = np.full(len(S), -1)
        own[chosen[0]] = np.arange(len(chosen[0]))
        return self.exponent_ * self._gaps(S, [self.n_neighbors_], (own, None))[0]

    def _log_ratio(self, rows: Domain) -> Floats:
        return self.exponent_ * self._gaps(self._rows(rows), [self.n_neighbors_], (None, None))[0]

    def _gaps(
        self, X: Floats, neighbours: list[int], own: tuple[NDArray[Any] | None, NDArray[Any] | None]
    ) -> list[Floats]:
        """Log distance to the k-th source point less that to the k-th target point, for each k.

        ``own`` has, for each sample, the position of every row among its points, or -1.
        """
        found = np.empty((len(neighbours), len(X)))
        for i in range(0, len(X), BLOCK):
            part = X[i : i + BLOCK]
            logs = []
            for points, at in zip(self._points, own, strict=True):
                squared = squared_distances(part, points)
                if at is not None:
                    position = at[i : i + BLOCK]
                    known = np.flatnonzero(position >= 0)
                    squared[known, position[known]] = np.inf
                places = [k - 1 for k in neighbours]
                squared.partition(places, axis=1)
                logs.append(0.5 * np.log(np.maximum(squared[:, places], self._nearest)))
            found[:, i : i + BLOCK] = (logs[0] - logs[1]).T
        return list(found)

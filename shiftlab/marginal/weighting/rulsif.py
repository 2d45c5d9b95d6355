"""Importance weights by least squares on a relative ratio, which is bounded: RuLSIF."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from shiftlab.adapter import Facts
from shiftlab.marginal.weighting.base import weighting_facts
from shiftlab.marginal.weighting.ulsif import ULSIF, LeastSquaresRatio

__all__ = ["RULSIF"]


class RULSIF(LeastSquaresRatio):
    r"""Weight source rows by a relative density ratio, fitted in mean square.

    .. math:: r_\rho(x) = \frac{p_T(x)}{\rho\, p_T(x) + (1 - \rho)\, p_S(x)} \le \frac{1}{\rho},
              \qquad \min_{\alpha \ge 0} \;
              \frac{\rho}{2 n_T} \sum_j w(x^T_j)^2 + \frac{1 - \rho}{2 n_S} \sum_i w(x^S_i)^2
              - \frac{1}{n_T} \sum_j w(x^T_j) + \frac{\lambda}{2} \lVert \alpha \rVert^2

    with :math:`w(x) = \sum_l \alpha_l k(x, c_l)` and Gaussian kernels around target rows. The
    relative ratio is bounded where the plain one is not, which makes it far easier to
    estimate, at the price of a weighted source that stops short of the target. All else is as
    in `ULSIF`, which is the limit :math:`\rho = 0`.

    It helps under covariate shift where the target's tails are longer than the source's. It harms
    where the whole of the ratio is needed: weights are at most :math:`1/\rho` before scaling.

    Time O((n_s + n_t) b (b + d)) and 28 closed-form scores on at most 2,000 rows; memory O(b^2)
    beside blocks of 20,000 rows.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source.
    bandwidth : float or "cv", default="cv"
        Of the kernels, in units of the median distance between two rows. "cv" chooses.
    ridge : float or "cv", default="cv"
        :math:`\lambda`, in units of the kernels' mean square. "cv" chooses.
    n_centres : int, default=100
        Number of kernels; all target rows where there are fewer.
    relative : float, default=0.1
        :math:`\rho` in [0, 1), the target's share in the denominator.
    <clip and flatten of every weighting>
    random_state : int, RandomState or None, default=None
        Seed of the centres and of the rows of the search.

    Attributes
    ----------
    <attributes of every weighting>
    bandwidth_ : float
        The bandwidth, in units of the median distance; infinite, with all weights one, where
        that has the best leave-one-out score.
    ridge_ : float
        The :math:`\lambda` that was used, in units of the kernels' mean square.
    score_ : float
        Its leave-one-out score, -1/2 for weights of one; NaN if nothing was to be chosen.
    coefficients_ : ndarray of shape (n_centres,)
        :math:`\alpha`.

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
    M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama, "Relative Density-Ratio
    Estimation for Robust Distribution Comparison", Neural Computation 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import RULSIF
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = RULSIF(random_state=0).fit(source, target)
    >>> bool(np.average(source[:, 0], weights=adapter.weights_) > 0.75)
    True
    """

    facts: ClassVar[Facts] = weighting_facts(
        "time O(n b (b + d)) with b = 100 kernels, memory O(n d)"
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = ULSIF._parameter_constraints

    def __init__(
        self,
        estimator: Any = None,
        *,
        bandwidth: float | str = "cv",
        ridge: float | str = "cv",
        n_centres: int = 100,
        relative: float = 0.1,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.n_centres = n_centres
        self.relative = relative
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

    def _target_share(self) -> float:
        return self.relative

    def _relative(self) -> float:
        return 0.0  # what is estimated is relative already

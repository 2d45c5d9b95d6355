"""Importance weights by least squares: uLSIF."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from shiftlab.adapter import Facts
from shiftlab.marginal.weighting.base import weighting_facts
from shiftlab.marginal.weighting.kernel_model import BANDWIDTHS, BLOCK, KernelModel
from shiftlab.marginal.weighting.rows import some_rows

__all__ = ["ULSIF", "LeastSquaresRatio", "left_out_coefficients", "non_negative_coefficients"]

Floats = NDArray[np.float64]

ROWS_TO_CHOOSE_ON = 2000
UNSURE = 0.2  # standard error of a score, as a share of it, above which it is not used
RIDGES = (1e-1, 1e-2, 1e-3, 1e-4)  # times the mean square of a kernel


def left_out_coefficients(
    source: Floats, target: Floats, a: Floats, b: Floats, ridge: float, relative: float = 0.0
) -> Floats:
    r"""Coefficients of the least-squares ratio without row i of both samples, for every i.

    .. math:: \alpha^{(i)} = \left(\hat H_{-i} + \lambda I\right)^{-1} \hat h_{-i}, \qquad
        \hat H = \rho \sum_j b_j t_j t_j^\top + (1-\rho) \sum_j a_j s_j s_j^\top, \quad
        \hat h = \sum_j b_j t_j

    Leaving one pair out changes :math:`\hat H` by a matrix of rank two, so the Woodbury
    formula gives all n solutions from one factorisation: O(n b^2) in place of O(n b^3).
    For equal weights they are those of n separate fits to n - 1 rows.

    Parameters
    ----------
    source, target : ndarray of shape (n, b)
        Kernels :math:`s_i, t_i` of the same number of rows of both samples.
    a, b : ndarray of shape (n,)
        Weights of the rows, sum one.
    ridge : float
        :math:`\lambda > 0`.
    relative : float, default=0.0
        :math:`\rho`, the target's share in the denominator.

    Returns
    -------
    ndarray of shape (n, b)

    References
    ----------
    T. Kanamori, S. Hido, M. Sugiyama, "A Least-squares Approach to Direct Importance
    Estimation", JMLR 2009.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> S, T, share = rng.random((20, 3)), rng.random((20, 3)), np.full(20, 1 / 20)
    >>> fast = left_out_coefficients(S, T, share, share, 0.1)[0]
    >>> H, h = S[1:].T @ S[1:] / 19, T[1:].mean(axis=0)
    >>> bool(np.allclose(fast, np.linalg.solve(H + 0.1 * np.eye(3), h)))
    True
    """
    n, d = source.shape
    moments = relative * (target * b[:, None]).T @ target
    moments += (1 - relative) * (source * a[:, None]).T @ source
    h = b @ target
    # n - 1 rows keep (n - 1) / n of the sums, so the ridge shrinks with them
    moments[np.diag_indices(d)] += ridge * (1 - 1 / n)
    factor = cho_factor(moments)
    u, v = np.sqrt(relative * b)[:, None] * target, np.sqrt((1 - relative) * a)[:, None] * source
    base = cho_solve(factor, (h - b[:, None] * target).T).T
    solved_u, solved_v = cho_solve(factor, u.T).T, cho_solve(factor, v.T).T
    # the 2 x 2 systems I - U' M^-1 U of all rows at once
    uu, vv = 1 - (u * solved_u).sum(axis=1), 1 - (v * solved_v).sum(axis=1)
    uv = -(u * solved_v).sum(axis=1)
    on_u, on_v = (u * base).sum(axis=1), (v * base).sum(axis=1)
    determinant = uu * vv - uv**2
    first, second = (vv * on_u - uv * on_v), (uu * on_v - uv * on_u)
    base += (first / determinant)[:, None] * solved_u
    base += (second / determinant)[:, None] * solved_v
    return np.asarray(base)


def non_negative_coefficients(moments: Floats, h: Floats, ridge: float) -> Floats:
    r"""Minimise a regularised quadratic function over non-negative coefficients.

    .. math:: \min_{\alpha \ge 0} \tfrac12 \alpha^\top (H + \lambda I) \alpha - h^\top \alpha

    Parameters
    ----------
    moments : ndarray of shape (b, b)
        :math:`H`, positive semi-definite.
    h : ndarray of shape (b,)
        Linear term.
    ridge : float
        :math:`\lambda > 0`.

    Returns
    -------
    ndarray of shape (b,)
    """
    root = cholesky(moments + ridge * np.eye(len(h)))
    return np.asarray(nnls(root, solve_triangular(root, h, trans=1))[0])


class LeastSquaresRatio(KernelModel):
    """What `ULSIF` and `RULSIF` share: the search by leave-one-out, and the solution."""

    ridge: float | str

    def _target_share(self) -> float:
        """Return the target's share in the denominator of the ratio that is estimated."""
        return 0.0

    def _choose(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        bandwidths = BANDWIDTHS if self.bandwidth == "cv" else (float(self.bandwidth),)
        ridges = RIDGES if self.ridge == "cv" else (float(self.ridge),)
        if len(bandwidths) == len(ridges) == 1:
            self.bandwidth_, self.ridge_, self.score_ = bandwidths[0], ridges[0], np.nan
            return
        n = min(ROWS_TO_CHOOSE_ON, int((a > 0).sum()), int((b > 0).sum()))
        source, target = (some_rows(np.flatnonzero(w > 0), n, rng) for w in (a, b))
        p, q = a[source] / a[source].sum(), b[target] / b[target].sum()
        share = self._target_share()
        # a ratio of one everywhere has the score -1/2
        best = (-0.5, np.inf, RIDGES[0])
        for bandwidth in bandwidths:
            s, t = self._kernels(S[source], bandwidth), self._kernels(T[target], bandwidth)
            # the kernel around a row must not judge that row
            t[target[:, None] == self._centre_rows] = 0.0
            unit = float(p @ np.square(s).mean(axis=1))
            for ridge in ridges if unit > np.finfo(float).tiny else ():
                moments = share * (t * q[:, None]).T @ t + (1 - share) * (s * p[:, None]).T @ s
                # leaving a row out seldom changes which coefficients are zero
                used = non_negative_coefficients(moments, q @ t, ridge * unit) > 0
                if not used.any():
                    continue
                left = left_out_coefficients(s[:, used], t[:, used], p, q, ridge * unit, share)
                w_s, w_t = (np.maximum((X[:, used] * left).sum(axis=1), 0.0) for X in (s, t))
                terms = n * (q * (share / 2 * w_t**2 - w_t) + (1 - share) / 2 * p * w_s**2)
                score, error = float(terms.mean()), float(terms.std() / np.sqrt(n))
                # Narrow kernels where the source has hardly a row promise much on average and
                # show it on few rows only.
                if error > UNSURE * abs(score):
                    continue
                best = min(best, (score, bandwidth, ridge))
        self.score_, self.bandwidth_, self.ridge_ = best

    def _solve(
        self, S: Floats, T: Floats, a: Floats, b: Floats, rng: np.random.RandomState
    ) -> None:
        d, share = len(self._centres), self._target_share()
        moments, h, unit = np.zeros((d, d)), np.zeros(d), 0.0
        for X, weight, part in ((S, a, 1 - share), (T, b, share)):
            for i in range(0, len(X), BLOCK):
                k, w = self._kernels(X[i : i + BLOCK], self.bandwidth_), weight[i : i + BLOCK]
                moments += part * (k * w[:, None]).T @ k
                if X is S:
                    unit += float(w @ np.square(k).mean(axis=1))
                else:
                    h += w @ k
        floor = np.finfo(float).eps * max(float(np.trace(moments)) / d, np.finfo(float).tiny)
        self.coefficients_ = non_negative_coefficients(moments, h, self.ridge_ * unit + floor)


class ULSIF(LeastSquaresRatio):
    r"""Weight source rows by the density ratio that fits best in mean square.

    .. math:: w(x) = \sum_l \alpha_l k(x, c_l), \qquad \min_{\alpha \ge 0} \;
              \frac{1}{2 n_S} \sum_i w(x^S_i)^2 - \frac{1}{n_T} \sum_j w(x^T_j)
              + \frac{\lambda}{2} \lVert \alpha \rVert^2

    with Gaussian kernels around target rows: up to a constant half the squared distance
    of w to the density ratio. Bandwidth and :math:`\lambda` have the smallest leave-one-out
    score, in closed form on the coefficients that are not zero; scores that are not known to
    within a fifth, because they rest on few rows, do not count. The bound :math:`\alpha \ge 0`
    is kept exactly, by a quadratic program of size b: setting negative coefficients of the
    solution without it to zero can leave a ratio of mean 10 that is worse than weights of one.
    Columns are divided by their pooled standard deviation; above 100 columns the first 100
    principal components are used.

    It helps under covariate shift, as `ClassifierWeighting` does, and is the fastest of the
    weights on many rows. Where the ratio has long tails, `RULSIF` is steadier. It harms, like
    all weights, where the estimator needs no correction and rows are few.

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
    T. Kanamori, S. Hido, M. Sugiyama, "A Least-squares Approach to Direct Importance
    Estimation", JMLR 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import ULSIF
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(500, 1)), rng.normal(1.0, 0.7, size=(500, 1))
    >>> adapter = ULSIF(random_state=0).fit(source, target)
    >>> bool(np.average(source[:, 0], weights=adapter.weights_) > 0.75)
    True
    """

    facts: ClassVar[Facts] = weighting_facts(
        "time O(n b (b + d)) with b = 100 kernels, memory O(n d)"
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **KernelModel._parameter_constraints,
        "ridge": KernelModel._parameter_constraints["bandwidth"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        bandwidth: float | str = "cv",
        ridge: float | str = "cv",
        n_centres: int = 100,
        clip: float | None = None,
        flatten: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.n_centres = n_centres
        self.clip = clip
        self.flatten = flatten
        self.random_state = random_state

"""Conditional independence of a response and the domain, by products of residuals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution
from scipy.stats import norm

__all__ = ["ResidualResult", "merge_rare", "residual_covariance_test", "residual_product_test"]


class ResidualResult(NamedTuple):
    """What :func:`residual_product_test` returns.

    Attributes
    ----------
    statistic : float
        Standardised mean product, standard normal under the null.
    p_value : float
        One-sided.
    effect : float
        Change of the conditional mean along the direction (see the function).
    standard_error : float
        Of the effect.
    """

    statistic: float
    p_value: float
    effect: float
    standard_error: float


def residual_product_test(
    response_residual: ArrayLike, domain_residual: ArrayLike, direction: ArrayLike
) -> ResidualResult:
    r"""Test that a response is independent of the domain given the covariates.

    With :math:`r_i = y_i - \hat E[Y\mid x_i]`, :math:`d_i = D_i - \hat P(D=1\mid x_i)` and a
    direction :math:`h(x)` that guesses :math:`E[Y\mid x, D=1] - E[Y\mid x, D=0]`, all three
    learnt on *other* rows, the products :math:`L_i = h(x_i)^\top r_i\, d_i` have mean zero
    under :math:`Y \perp D \mid X`, up to the product of the errors of the two regressions.

    .. math:: T = \sqrt n\, \bar L / \mathrm{sd}(L) \to N(0, 1)

    The test is one-sided: with the right :math:`h` the mean is positive. The plain
    generalised covariance measure is :math:`h = 1` and misses changes that average out over
    x; learning the direction is what finds them. The effect,
    :math:`\bar L / (\overline{d^2 \lVert h\rVert^2})^{1/2} / (\overline{d^2})^{1/2}`, is the
    length of the change along the direction where the two domains overlap, in units of the
    response. O(n k).

    Parameters
    ----------
    response_residual : array-like of shape (n,) or (n, k)
        Held-out residuals of the response (of its k class indicators).
    domain_residual : array-like of shape (n,)
        Held-out residuals of the domain indicator.
    direction : array-like of the shape of ``response_residual``
        Guess of the change.

    Returns
    -------
    ResidualResult

    Raises
    ------
    ValueError
        If shapes disagree.

    References
    ----------
    R. Shah, J. Peters, "The Hardness of Conditional Independence Testing and the Generalised
    Covariance Measure", Annals of Statistics 2020.

    C. Scheidegger, J. Hörrmann, P. Bühlmann, "The Weighted Generalised Covariance Measure",
    JMLR 2022.

    A. Lundborg, I. Kim, R. Shah, R. Samworth, "The Projected Covariance Measure for
    assumption-lean variable significance testing", Annals of Statistics 2024.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, d = rng.normal(size=2000), rng.integers(0, 2, size=2000)
    >>> change = 0.5 * np.sign(x)  # averages out over x
    >>> y = x + d * change + rng.normal(size=2000)
    >>> result = residual_product_test(y - x - 0.5 * change, d - 0.5, change)
    >>> bool(result.p_value < 1e-6), round(result.effect, 1)
    (True, 0.5)
    """
    r = np.atleast_2d(np.asarray(response_residual, dtype=np.float64).T).T
    h = np.atleast_2d(np.asarray(direction, dtype=np.float64).T).T
    d = np.asarray(domain_residual, dtype=np.float64)
    if r.shape != h.shape or d.shape != (r.shape[0],) or d.size < 2:
        raise ValueError(
            "response_residual and direction must have the same shape and one row for each of "
            f"at least 2 domain residuals, got {r.shape}, {h.shape} and {d.shape}"
        )
    products = (h * r).sum(axis=1) * d
    sd = float(products.std(ddof=1))
    if sd == 0.0:
        return ResidualResult(0.0, 1.0, 0.0, 0.0)
    mean = float(products.mean())
    statistic = float(np.sqrt(d.size) * mean / sd)
    overlap = np.square(d)
    length = float(np.sqrt((overlap * np.square(h).sum(axis=1)).mean() * overlap.mean()))
    effect, error = mean / length, sd / np.sqrt(d.size) / length
    return ResidualResult(statistic, float(norm.sf(statistic)), effect, float(error))


def residual_covariance_test(response_residual: ArrayLike, domain_residual: ArrayLike) -> float:
    r"""Test that a response is independent of the domain given the covariates, in all entries.

    The generalised covariance measure of a vector response: with the products
    :math:`m_i = r_i d_i` of the residuals,

    .. math:: Q = n\, \bar m^\top \widehat{\mathrm{Cov}}(m)^{+} \bar m, \qquad
              \frac{\nu - r + 1}{\nu r} Q \approx F_{r,\,\nu - r + 1}

    with the rank r, which is Hotelling's test at :math:`\nu = n - 1`. Where one domain has few
    rows they carry nearly all of the covariance, and chi-square, its limit, rejects too often;
    so n in :math:`\nu` is the number of rows that count,
    :math:`(\sum d_i^2)^2 / \sum d_i^4`. Classes of a handful of rows are to be merged by
    the caller: no distribution of the statistic holds for cells that are nearly empty.

    The test finds a response that is higher or lower in one domain on the whole, as a class share
    that moved; it learns no direction, and so the residuals may be cross-fitted over all of
    the rows. O(n k^2).

    Parameters
    ----------
    response_residual : array-like of shape (n, k)
        Out-of-fold residuals of the response (of its k class indicators).
    domain_residual : array-like of shape (n,)
        Out-of-fold residuals of the domain indicator.

    Returns
    -------
    float
        P-value.

    References
    ----------
    R. Shah, J. Peters, "The Hardness of Conditional Independence Testing and the Generalised
    Covariance Measure", Annals of Statistics 2020.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> d = rng.integers(0, 2, size=1000) - 0.5
    >>> noise = rng.normal(size=(1000, 2))
    >>> residual_covariance_test(noise, d) > 0.05
    True
    >>> residual_covariance_test(noise + 0.3 * d[:, None], d) < 1e-3
    True
    """
    r = np.atleast_2d(np.asarray(response_residual, dtype=np.float64).T).T
    d = np.asarray(domain_residual, dtype=np.float64)
    products = r * d[:, None]
    n, mean = products.shape[0], products.mean(axis=0)
    covariance = np.atleast_2d(np.cov(products, rowvar=False))
    values, vectors = np.linalg.eigh(covariance)
    # class indicators sum to one, so one direction has no variance and must not be divided by
    used = values > 1e-8 * max(float(values[-1]), 1e-300)
    if not used.any() or values[-1] <= 0:
        return 1.0
    statistic = n * float((np.square(mean @ vectors[:, used]) / values[used]).sum())
    rank = int(used.sum())
    square = np.square(d / np.abs(d).max())
    freedom = float(square.sum() ** 2 / np.square(square).sum()) - 1
    if freedom - rank + 1 < 1:
        return 1.0
    ratio = (freedom - rank + 1) / (freedom * rank) * statistic
    return float(f_distribution.sf(ratio, rank, freedom - rank + 1))


def merge_rare(
    residuals: ArrayLike, expected: ArrayLike, fewest: float = 20.0
) -> NDArray[np.float64]:
    """Add up the residuals of rare classes, the rarest first, until each sum has enough rows.

    Parameters
    ----------
    residuals : array-like of shape (n, k)
        Of the indicators of k classes.
    expected : array-like of shape (k,)
        Rows of each class to expect on the smaller side; not those that were seen there, which
        are what is tested.
    fewest : float, default=20.0
        Rows that a class, or a sum of classes, must have.

    Returns
    -------
    ndarray of shape (n, m)
        m from 1 to k; zeros where there are not even two groups.

    Examples
    --------
    >>> merge_rare([[1.0, 2.0, 4.0, 8.0]], [50, 12, 9, 30])
    array([[6., 8., 1.]])
    """
    r, counts = np.asarray(residuals, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    groups: list[list[int]] = []
    open_group: list[int] = []
    for i in np.argsort(counts, kind="stable").tolist():
        open_group.append(i)
        if counts[open_group].sum() >= fewest:
            groups.append(open_group)
            open_group = []
    if len(groups) < 2:  # the residuals of all classes sum to zero and say nothing
        return np.zeros((r.shape[0], 1))
    groups[-1] += open_group
    return np.stack([r[:, group].sum(axis=1) for group in groups], axis=1)

"""Scores of how well features, or a source's predictions, suit a new set of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.stats.covariance import shrunk_covariance

__all__ = ["h_score", "leep", "log_evidence", "logme", "nce", "transrate"]

Floats = NDArray[np.float64]


def read_features(features: ArrayLike, y: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Check features and labels, and give the labels as codes 0, 1, ...

    Parameters
    ----------
    features : array-like of shape (n, d)
        Finite numbers.
    y : array-like of shape (n,)
        Labels of at least two classes.

    Returns
    -------
    tuple of (features, codes)
        float64 of shape (n, d) and integers of shape (n,).

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"features must have shape (n, d), got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("features must have no NaN and no infinity")
    return rows, _codes(y, len(rows), "y")[1]


def _codes(labels: ArrayLike, n: int, name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name} must have one label a row, shape ({n},); got {array.shape}")
    classes, codes = np.unique(array, return_inverse=True)
    if name == "y" and len(classes) < 2:
        raise ValueError(f"y must have at least two classes; got only {classes.tolist()}")
    return classes, codes


def logme(features: ArrayLike, y: ArrayLike) -> float:
    r"""Log maximum evidence of a linear model of the labels on the features.

    Mean over classes of

    .. math:: \frac{1}{n} \max_{\alpha, \beta}
              \log \mathcal{N}(y_k \mid 0,\; \beta^{-1} I + \alpha^{-1} F F^\top)

    for the indicator :math:`y_k` of a class: the evidence of ridge regression
    whose prior and noise are chosen by the data. Higher is better. The features
    are taken as they are; the score does not depend on their scale.

    For a given ratio :math:`\beta / \alpha` the best noise has a closed form,
    so one number is searched on the singular values, in place of the published
    fixed-point iteration. Where the features give an indicator exactly, the
    evidence is unbounded and the ratio stops at 1e10 over the largest squared
    singular value.

    Time is O(n d min(n, d)).

    Parameters
    ----------
    features : array-like of shape (n, d)
        Outputs of a layer.
    y : array-like of shape (n,)
        Labels.

    Returns
    -------
    float

    References
    ----------
    K. You, Y. Liu, J. Wang, M. Long. LogME: practical assessment of pre-trained models for
    transfer learning. ICML, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.stats.transferability import logme
    >>> y = np.repeat([0, 1], 20)
    >>> noise = np.random.default_rng(0).normal(size=(40, 2))
    >>> bool(logme(noise + 3 * y[:, None], y) > logme(noise, y))
    True
    """
    rows, codes = read_features(features, y)
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    squares = singular**2
    return float(
        np.mean(
            [
                log_evidence(left, squares, (codes == code).astype(float))
                for code in range(codes.max() + 1)
            ]
        )
    )


def log_evidence(left: Floats, squares: Floats, target: Floats) -> float:
    """Maximise the evidence of one indicator, per row.

    Parameters
    ----------
    left : ndarray of shape (n, r)
        Left singular vectors of the features.
    squares : ndarray of shape (r,)
        Squared singular values.
    target : ndarray of shape (n,)
        What is modelled.

    Returns
    -------
    float
    """
    n = len(target)
    parts = (left.T @ target) ** 2
    rest = max(float(target @ target - parts.sum()), 0.0)
    floor = np.finfo(float).eps * float(target @ target)

    def evidence(log_ratio: Floats) -> Floats:
        growth = 1.0 + np.exp(log_ratio)[:, None] * squares
        noise = np.maximum((parts / growth).sum(axis=1) + rest, floor) / n
        spread = np.log(growth).sum(axis=1)
        values: Floats = -0.5 * (n * np.log(2 * np.pi * noise) + spread + n) / n
        return values

    # Finer and finer grids: the curve may have two tops, and a grid sees both.
    scale = np.log(max(float(squares.max()), np.finfo(float).tiny))
    low, high = np.log(1e-10) - scale, np.log(1e10) - scale
    for _ in range(8):
        grid = np.linspace(low, high, 101)
        values = evidence(grid)
        best = int(values.argmax())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 100)]
    return float(values.max())


def leep(source_proba: ArrayLike, y: ArrayLike) -> float:
    r"""Log expected empirical prediction of the labels from a source model's probabilities.

    .. math:: \frac{1}{n} \sum_i \log \sum_z \hat P(y_i \mid z)\, \theta(x_i)_z, \qquad
              \hat P(y, z) = \frac{1}{n} \sum_{i: y_i = y} \theta(x_i)_z

    Zero at best; higher is better.

    Parameters
    ----------
    source_proba : array-like of shape (n, k)
        The source model's probabilities of its own classes.
    y : array-like of shape (n,)
        Labels of the new task.

    Returns
    -------
    float

    References
    ----------
    C. Nguyen, T. Hassner, M. Seeger, C. Archambeau. LEEP: a new measure to evaluate
    transferability of learned representations. ICML, 2020.

    Examples
    --------
    >>> from shiftlab.stats.transferability import leep
    >>> leep([[1.0, 0.0], [0.0, 1.0]], ["cat", "dog"])
    0.0
    """
    theta = np.asarray(source_proba, dtype=np.float64)
    if theta.ndim != 2 or 0 in theta.shape:
        raise ValueError(f"source_proba must have shape (n, classes), got {theta.shape}")
    sums = theta.sum(axis=1)
    if not ((theta >= 0).all() and np.allclose(sums, 1.0, atol=1e-4)):
        raise ValueError(
            "source_proba must have probabilities in its rows: not negative, with the sum 1; got "
            f"values from {theta.min():g} and sums from {sums.min():g} to {sums.max():g}"
        )
    _, codes = _codes(y, len(theta), "y")
    joint = np.eye(codes.max() + 1)[codes].T @ theta / len(theta)
    total = joint.sum(axis=0)
    given = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    return float(np.mean(np.log((theta * given[codes]).sum(axis=1))))


def nce(source_labels: ArrayLike, y: ArrayLike) -> float:
    r"""Negative conditional entropy of the labels given a source model's labels.

    .. math:: -H(Y \mid Z) = \frac{1}{n} \sum_i \log \hat P(y_i \mid z_i)

    in nats. Zero at best; higher is better.

    Parameters
    ----------
    source_labels : array-like of shape (n,)
        What the source model calls each row, or its true label in the source's task.
    y : array-like of shape (n,)
        Labels of the new task.

    Returns
    -------
    float

    References
    ----------
    A. Tran, C. Nguyen, T. Hassner. Transferability and hardness of supervised classification
    tasks. ICCV, 2019.

    Examples
    --------
    >>> from shiftlab.stats.transferability import nce
    >>> round(nce([0, 0, 1, 1], ["a", "b", "c", "c"]), 4)  # half the rows, at log 1/2
    -0.3466
    """
    n = len(np.asarray(y))
    _, codes = _codes(y, n, "y")
    _, given = _codes(source_labels, n, "source_labels")
    counts = np.zeros((given.max() + 1, codes.max() + 1))
    np.add.at(counts, (given, codes), 1.0)
    share = counts / counts.sum(axis=1, keepdims=True)
    return float(np.mean(np.log(share[given, codes])))


def h_score(features: ArrayLike, y: ArrayLike, *, shrink: bool = False) -> float:
    r"""Inter-class variance of the features in units of their own variance.

    .. math:: \mathrm{tr}\left(\mathrm{cov}(f)^{+}\, \mathrm{cov}(E[f \mid y])\right)

    Between 0 and the number of classes minus one; higher is better. It does not
    depend on any invertible linear map of the features. With fewer rows than
    columns the published score is the number of classes minus one, whatever
    the features; `shrink` is then the way.

    Parameters
    ----------
    features : array-like of shape (n, d)
        Outputs of a layer.
    y : array-like of shape (n,)
        Labels.
    shrink : bool, default=False
        Shrink the covariance of the features by Ledoit and Wolf's estimate, and the other
        by as much, as Ibrahim et al. do.

    Returns
    -------
    float

    References
    ----------
    Y. Bao et al. An information-theoretic approach to transferability in task transfer
    learning. ICIP, 2019.

    S. Ibrahim, N. Ponomareva, R. Mazumder. Newer is not always better: rethinking
    transferability metrics, their peculiarities, stability and performance. ECML PKDD, 2022.

    Examples
    --------
    >>> from shiftlab.stats.transferability import h_score
    >>> round(h_score([[0.0], [0.0], [1.0], [1.0]], [0, 0, 1, 1]), 6)
    1.0
    """
    rows, codes = read_features(features, y)
    centred = rows - rows.mean(axis=0)
    one_hot = np.eye(codes.max() + 1)[codes]
    means = (one_hot.T @ centred / one_hot.sum(axis=0)[:, None])[codes]
    n = len(rows)
    between = means.T @ means / n
    if shrink:
        _, covariance, amount = shrunk_covariance(rows)
        covariance *= (n - 1) / n
        return float((1 - amount) * np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))
    covariance = centred.T @ centred / n
    return float(np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))


def transrate(features: ArrayLike, y: ArrayLike, *, epsilon: float = 1e-4) -> float:
    r"""Mutual information of features and labels, with coding rates for entropies.

    .. math:: R(Z) - \sum_c \frac{n_c}{n} R(Z_c), \qquad
              R(Z) = \tfrac{1}{2} \log\det\left(I + \frac{1}{n \epsilon} Z^\top Z\right)

    for features Z with mean zero, of which :math:`Z_c` are the rows of a class.
    Higher is better. It depends on the scale of the features, so it compares
    only what was scaled alike.

    Parameters
    ----------
    features : array-like of shape (n, d)
        Outputs of a layer.
    y : array-like of shape (n,)
        Labels.
    epsilon : float, default=1e-4
        Squared distortion of the code.

    Returns
    -------
    float

    References
    ----------
    L.-K. Huang et al. Frustratingly easy transferability estimation. ICML, 2022.

    Examples
    --------
    >>> from shiftlab.stats.transferability import transrate
    >>> round(transrate([[-1.0], [1.0]], [0, 1], epsilon=1.0), 6)  # the rates are equal
    0.0
    """
    rows, codes = read_features(features, y)
    if not 0.0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be a positive number, got {epsilon!r}")
    rows = rows - rows.mean(axis=0)

    def rate(part: Floats) -> float:
        # The smaller of the two Gram matrices has the same determinant.
        gram = part @ part.T if len(part) < part.shape[1] else part.T @ part
        values = np.linalg.eigvalsh(gram) / (len(part) * epsilon)
        return 0.5 * float(np.log1p(np.maximum(values, 0.0)).sum())

    inside = sum(
        np.mean(codes == code) * rate(rows[codes == code]) for code in range(codes.max() + 1)
    )
    return rate(rows) - float(inside)

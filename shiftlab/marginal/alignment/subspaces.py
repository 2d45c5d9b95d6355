"""Principal axes of a sample, and the columns' units that alignments share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.stats.kernels import pooled_spread
from shiftlab.validation import check_memory, numeric_rows

__all__ = [
    "axes_of_both",
    "choose_size",
    "mean_one",
    "orthonormal_rows_basis",
    "principal_axes",
    "read_both",
    "shift_and_unit",
]

Floats = NDArray[np.float64]

ROUNDING = 1e-10  # variances below this share of the largest are rounding


def read_both(
    source: Domain, target: Domain, who: str
) -> tuple[Floats, Floats, np.dtype[np.generic]]:
    """Return the rows of both sides as float64, and the dtype to give features back in."""
    rows, target_rows = numeric_rows(source, who), numeric_rows(target, who)
    return (
        rows.astype(np.float64, copy=False),
        target_rows.astype(np.float64, copy=False),
        rows.dtype,
    )


def mean_one(domain: Domain) -> Floats:
    """Return the row weights of a domain, scaled to mean one."""
    if domain.weight is None:
        return np.ones(domain.n_rows)
    return np.asarray(domain.weight / domain.weight.mean())


def shift_and_unit(
    source: Floats, target: Floats, weight: Floats, scale: bool
) -> tuple[Floats, Floats]:
    """Return the (weighted) mean of all rows and the unit of every column.

    Parameters
    ----------
    source, target : ndarray of shape (n_s, d) and (n_t, d)
        Rows.
    weight : ndarray of shape (n_s + n_t,)
        Of the source's rows, then the target's.
    scale : bool
        Whether the unit is the pooled spread; otherwise it is one.

    Returns
    -------
    tuple of ndarray of shape (d,)
    """
    n = len(source)
    shift = (weight[:n] @ source + weight[n:] @ target) / weight.sum()
    unit = pooled_spread(source, target) if scale else np.ones(source.shape[1])
    return shift, unit


def orthonormal_rows_basis(X: Floats, what: str) -> tuple[Floats, Floats]:
    r"""Return the right singular vectors and the squared singular values of a matrix.

    By the eigenvectors of :math:`X^\top X` or :math:`X X^\top`, whichever is smaller: time
    O(n d min(n, d)), memory O(min(n, d)^2), no randomness.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows; centre and weight them first where that is meant.
    what : str
        What needs the memory, for the message.

    Returns
    -------
    tuple of (basis, squared)
        Shapes (d, r) and (r,), the largest first; r is the numerical rank.
    """
    n, d = X.shape
    small = min(n, d)
    check_memory(8.0 * (3 * small**2 + small * d), f"{what} (reduce the columns first, with PCA)")
    values, vectors = np.linalg.eigh(X.T @ X if d <= n else X @ X.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > max(ROUNDING * values[0], np.finfo(np.float64).tiny)
    values, vectors = values[kept], vectors[:, kept]
    if d > n:
        vectors = (X.T @ vectors) / np.sqrt(values)
    return vectors, values


def principal_axes(X: Floats, weight: Floats, what: str) -> Floats:
    """Return the principal axes of a sample around its own (weighted) mean.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    weight : ndarray of shape (n,)
        Their weights.
    what : str
        What needs the memory, for the message.

    Returns
    -------
    ndarray of shape (d, r)
        Orthonormal, the direction of largest variance first; r is the numerical rank.
    """
    centred = X - weight @ X / weight.sum()
    centred *= np.sqrt(weight)[:, None]
    return orthonormal_rows_basis(centred, what)[0]


def axes_of_both(
    source: Floats, target: Floats, weights: tuple[Floats, Floats], who: str
) -> tuple[Floats, Floats]:
    """Return the principal axes of both sides; raise where a side has none.

    Raises
    ------
    ValueError
        Where the rows of a side are all equal, or there is only one.
    """
    found = []
    for X, weight, role in zip((source, target), weights, ("source", "target"), strict=True):
        axes = principal_axes(X, weight, f"{who} on {X.shape[1]} columns")
        if axes.shape[1] == 0:
            raise ValueError(
                f"{who} needs rows that differ, at least 2 on each side; the {role} has "
                f"{len(X)} sample(s) without any variance"
            )
        found.append(axes)
    return found[0], found[1]


def choose_size(n_components: int | None, possible: int, default: int, who: str) -> int:
    """Return the number of components; raise where more are asked for than there are.

    Parameters
    ----------
    n_components : int or None
        As the user gave it. None takes ``default``, or all where there are fewer.
    possible : int
        How many there are.
    default : int
        The most that None takes.
    who : str
        The adapter, for the message.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If ``n_components`` is larger than ``possible``, or that is zero.
    """
    if possible == 0:
        raise ValueError(f"{who} needs rows that differ; all rows of both samples are equal")
    if n_components is None:
        return min(default, possible)
    if n_components > possible:
        raise ValueError(
            f"{who}: n_components={n_components}, but the samples have only {possible} "
            f"direction(s) in which they vary; give at most {possible}, or None"
        )
    return n_components

"""Scores of predictions where the target has classes that the source has not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["OpenSetScores", "open_set_scores"]


class OpenSetScores(NamedTuple):
    """What `open_set_scores` returns.

    Attributes
    ----------
    os_star : float
        OS*: mean accuracy over the known classes that the truth has, each class alike.
    unk : float
        UNK: share of the rows of unknown classes that are told as unknown.
    h_score : float
        Harmonic mean of both; zero where either is.
    os : float
        OS: mean accuracy over the known classes and the unknown as one more.
    """

    os_star: float
    unk: float
    h_score: float
    os: float


def open_set_scores(y_true: ArrayLike, y_pred: ArrayLike, known: ArrayLike) -> OpenSetScores:
    r"""Score predictions of known classes and of "unknown".

    .. math:: H = \frac{2\, \mathrm{OS}^* \cdot \mathrm{UNK}}{\mathrm{OS}^* + \mathrm{UNK}}

    A method that rejects all rows, or none, has H = 0, whatever the shares of the classes are.

    Parameters
    ----------
    y_true : array of shape (n,)
        True labels. Every label that is not in ``known`` is unknown.
    y_pred : array of shape (n,)
        Predictions. Every label that is not in ``known`` says "unknown".
    known : array of shape (k,)
        The source's classes.

    Returns
    -------
    OpenSetScores
        ``(os_star, unk, h_score, os)``.

    Raises
    ------
    ValueError
        If the lengths differ, or there is no row of a known or of an unknown class.

    References
    ----------
    P. Panareda Busto, J. Gall, "Open Set Domain Adaptation", ICCV 2017 (OS, OS*).

    S. Bucci, M. R. Loghmani, T. Tommasi, "On the Effectiveness of Image Rotation for Open Set
    Domain Adaptation", ECCV 2020 (the harmonic mean).

    Examples
    --------
    >>> from shiftlab.label_space.metrics import open_set_scores
    >>> truth = ["a", "a", "b", "c", "d"]
    >>> scores = open_set_scores(truth, ["a", "b", "b", "?", "a"], known=["a", "b"])
    >>> scores.os_star, scores.unk, scores.h_score
    (0.75, 0.5, 0.6)
    """
    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(
            "y_true and y_pred must be vectors of one length; got shapes "
            f"{truth.shape} and {predicted.shape}"
        )
    classes = set(np.asarray(known).tolist())
    is_known = _is_in(truth, classes)
    if is_known.all() or not is_known.any():
        missing = "an unknown" if is_known.all() else "a known"
        raise ValueError(
            f"open_set_scores needs rows of known and of unknown classes; y_true has none of "
            f"{missing} class (known are {sorted(classes, key=str)})"
        )
    right = np.array([t == p for t, p in zip(truth.tolist(), predicted.tolist(), strict=True)])
    names = np.array([str(label) for label in truth.tolist()])
    recalls = [right[is_known & (names == name)].mean() for name in np.unique(names[is_known])]
    os_star = float(np.mean(recalls))
    unk = float(np.mean(~_is_in(predicted, classes)[~is_known]))
    total = os_star + unk
    return OpenSetScores(
        os_star,
        unk,
        2 * os_star * unk / total if total > 0 else 0.0,
        (os_star * len(recalls) + unk) / (len(recalls) + 1),
    )


def _is_in(labels: NDArray[Any], classes: set[Any]) -> NDArray[np.bool_]:
    return np.array([label in classes for label in labels.tolist()], dtype=bool)

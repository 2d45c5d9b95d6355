"""Undo another encoding of categories: which value of the target is which of the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.feature_space.assignment import soft_assignment

__all__ = ["match_levels"]

Floats = NDArray[np.float64]

SHIFT = 0.1  # what shares and means may differ by without a change of meaning
CAP = 25.0
OPEN = 12.0


def match_levels(
    source: NDArray[Any], target: NDArray[Any], mine: Floats, theirs: Floats
) -> tuple[dict[Any, Any], float]:
    """Match the values of two encodings of one column by frequency and by what goes with them.

    Two values are as alike as their shares and the mean ranks of the other columns in their
    rows, each measured in its own standard error.

    Parameters
    ----------
    source, target : ndarray of shape (n,) and (m,)
        The column on both sides; None or NaN where missing.
    mine, theirs : ndarray of shape (n, k) and (m, k)
        Ranks in 0..1 of the other columns that are matched, in one order.

    Returns
    -------
    tuple of (codes, confidence)
        Target value -> source value, and the probability of the least sure of these pairs.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array(["f", "m"] * 200), np.array([1, 0] * 200)
    >>> height = np.where(a == "m", 0.7, 0.3)[:, None]
    >>> match_levels(a, b, height, height)[0]
    {1: 'f', 0: 'm'}
    """
    ours, their_levels = _levels(source), _levels(target)
    if not ours or not their_levels:
        return {}, 0.0
    share_a, mean_a, count_a = _summary(source, ours, mine)
    share_b, mean_b, count_b = _summary(target, their_levels, theirs)
    error = 1 / np.maximum(count_a, 1)[:, None] + 1 / np.maximum(count_b, 1)[None, :]
    share_error = 0.25 * (1 / len(source) + 1 / len(target)) + SHIFT**2
    energy = np.minimum((share_a[:, None] - share_b[None, :]) ** 2 / share_error, CAP)
    # ranks in 0..1 have a variance of a twelfth
    gaps = (mean_a[:, None, :] - mean_b[None, :, :]) ** 2 / (error / 12 + SHIFT**2 / 12)[:, :, None]
    energy = 0.5 * (energy + np.minimum(gaps, CAP).sum(axis=2))
    pairs, sure = soft_assignment(energy, OPEN)
    codes = {their_levels[j]: ours[i] for i, j in pairs}
    whole = len(pairs) == len(their_levels)
    return codes, min((float(sure[i, j]) for i, j in pairs), default=0.0) if whole else 0.0


def _levels(values: NDArray[Any]) -> list[Any]:
    return sorted({v for v in values.tolist() if v is not None and v == v}, key=str)


def _summary(
    values: NDArray[Any], levels: list[Any], ranks: Floats
) -> tuple[Floats, Floats, Floats]:
    members = np.array([[v == level for v in values.tolist()] for level in levels], dtype=float)
    counts = members.sum(axis=1)
    return counts / max(counts.sum(), 1), (members @ ranks) / counts[:, None], counts

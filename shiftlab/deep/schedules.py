"""Learning-rate schedules: from the part of the training that is done to a factor on the rate."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["SCHEDULES", "cosine", "one_cycle", "staircase"]


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """Compute the one-cycle factor on the learning rate (Smith, 2018).

    Half a cosine from 1/25 up to 1 in the first `warmup` of the training, and
    half a cosine down to 1/10,000 in the rest.

    Parameters
    ----------
    progress : float
        Part of the steps done, in [0, 1].
    warmup : float, default=0.2
        Where the peak lies.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(one_cycle(p), 4) for p in (0.0, 0.2, 1.0)]
    [0.04, 1.0, 0.0001]
    """
    if progress < warmup:
        low, part = 1 / 25, 1.0 - progress / warmup
    else:
        low, part = 1e-4, (progress - warmup) / (1.0 - warmup)
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * min(part, 1.0)))


def _warmed(progress: float, warmup: float) -> float:
    """Rise on a line from 1/25 to 1 within the first `warmup` of the training."""
    return 1.0 if progress >= warmup else 1 / 25 + (1 - 1 / 25) * progress / warmup


def cosine(progress: float, warmup: float = 0.05) -> float:
    """Compute half a cosine from 1 to 0 (Loshchilov and Hutter, 2017), after a linear warm-up.

    Parameters
    ----------
    progress : float
        Part of the steps done, in [0, 1].
    warmup : float, default=0.05
        Part of the training in which the rate rises.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(cosine(p), 4) for p in (0.0, 0.05, 0.525, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    rest = max(progress - warmup, 0.0) / (1.0 - warmup)
    return _warmed(progress, warmup) * 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))


def staircase(progress: float, warmup: float = 0.05) -> float:
    """Compute a rate that falls to a tenth at half of the training and again at three quarters.

    Parameters
    ----------
    progress : float
        Part of the steps done, in [0, 1].
    warmup : float, default=0.05
        Part of the training in which the rate rises.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(staircase(p), 4) for p in (0.0, 0.3, 0.5, 0.8)]
    [0.04, 1.0, 0.1, 0.01]
    """
    return _warmed(progress, warmup) * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "step": staircase,
    "constant": lambda progress: 1.0,
}
"""Schedules by name; each takes the part of the training that is done, in [0, 1]."""

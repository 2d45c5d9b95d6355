"""Short films made of single images: a view that wanders over each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from shiftlab.deep.augment import affine_matrices
from shiftlab.deep.images import as_image_array

__all__ = ["wandering_views"]


def wandering_views(
    images: Any,
    *,
    length: int = 4,
    step: float = 0.12,
    turn: float = 12.0,
    random_state: int | np.random.Generator | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Let a view wander over each image, by a step, or none, to a side at each frame.

    At each frame the image moves by -`step`, 0 or `step` half-widths along x and along y, and turns
    counter-clockwise by -`turn`, 0 or `turn` degrees, each drawn evenly and for itself.

    Parameters
    ----------
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        One a film.
    length : int, default=4
        Frames, at least 2; the first is the image itself.
    step : float, default=0.12
        In half-widths.
    turn : float, default=12.0
        In degrees.
    random_state : int, Generator or None, default=None
        Decides the moves.

    Returns
    -------
    frames : ndarray of uint8, shape (n, length, H, W, C)
    moves : ndarray of int64, shape (n, length - 1, 3)
        Along x, along y and the turn: 0 for a negative one, 1 for none, 2 for a positive one.

    Examples
    --------
    >>> frames, moves = wandering_views(np.zeros((2, 8, 8), dtype=np.uint8), random_state=0)
    >>> frames.shape, moves.shape
    ((2, 4, 8, 8, 1), (2, 3, 3))
    """
    array = as_image_array(images)
    if length < 2:
        raise ValueError(f"length must be at least 2 frames, got {length!r}")
    n = len(array)
    moves = np.random.default_rng(random_state).integers(0, 3, size=(n, length - 1, 3))
    place = np.concatenate([np.zeros((n, 1, 3)), (moves - 1).cumsum(axis=1)], axis=1)
    pixels = torch.from_numpy(np.ascontiguousarray(array).copy()).permute(0, 3, 1, 2).float()
    frames = []
    for t in range(length):
        where = torch.from_numpy(place[:, t]).float()
        angle = where[:, 2] * (turn * np.pi / 180.0)
        grid = F.affine_grid(
            affine_matrices(angle, torch.ones(n, 2), where[:, :2] * step),
            list(pixels.shape),
            align_corners=False,
        )
        seen = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        frames.append(seen.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.stack(frames, axis=1), moves.astype(np.int64)

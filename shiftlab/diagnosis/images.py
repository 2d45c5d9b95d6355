"""A cheap description of images: thumbnails and a few plain statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

__all__ = ["describe_images"]

Floats = NDArray[np.float64]

GRID = 8
COMPONENTS = 20
BLOCK = 2000  # images at a time, so that floats of all images never exist at once


def describe_images(
    source: NDArray[np.uint8], target: NDArray[np.uint8], seed: int
) -> tuple[list[str], Floats, Floats, str]:
    """Brightness, contrast, edges, colours and the main components of 8 x 8 thumbnails.

    The components are those of both samples together, without looking at which is which.
    Sizes and channels may differ: thumbnails are averages over cells of a common grid, and
    colour is used only if both have it.

    Parameters
    ----------
    source, target : ndarray of shape (n, H, W) or (n, H, W, C), uint8
        Images.
    seed : int
        For the components.

    Returns
    -------
    tuple of (names, source_matrix, target_matrix, note)

    Examples
    --------
    >>> import numpy as np
    >>> a = np.random.default_rng(0).integers(0, 255, (30, 28, 28), dtype=np.uint8)
    >>> names, first, second, _ = describe_images(a, a // 2, 0)
    >>> bool(np.allclose(first[:, 0], 2 * second[:, 0], atol=0.01)), names[:3]
    (True, ['brightness', 'contrast', 'edge strength'])
    """
    colour = all(x.ndim == 4 and x.shape[3] >= 3 for x in (source, target))
    parts = [_describe(x, colour) for x in (source, target)]
    names = ["brightness", "contrast", "edge strength"]
    if colour:
        names += ["red less grey", "green less grey", "blue less grey"]
    thumbnails = np.vstack([p[1] for p in parts])
    n_components = min(COMPONENTS, thumbnails.shape[0], thumbnails.shape[1])
    scores = PCA(n_components, random_state=seed).fit_transform(thumbnails)
    names += [f"thumbnail component {i + 1}" for i in range(n_components)]
    n = source.shape[0]
    note = (
        f"Images are compared through brightness, contrast, edge strength{', colour' * colour} and "
        f"the {n_components} main components of their {GRID} x {GRID} thumbnails; features= takes "
        "a better description, such as a trained network's."
    )
    return (
        names,
        np.column_stack([parts[0][0], scores[:n]]),
        np.column_stack([parts[1][0], scores[n:]]),
        note,
    )


def _describe(images: NDArray[np.uint8], colour: bool) -> tuple[Floats, Floats]:
    statistics, thumbnails = [], []
    for start in range(0, images.shape[0], BLOCK):
        block = images[start : start + BLOCK].astype(np.float32) / np.float32(255)
        grey = block if block.ndim == 3 else block[..., :3].mean(axis=3)
        edges = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) if grey.shape[1] > 1 else 0.0
        if grey.shape[2] > 1:
            edges = edges + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
        columns: list[Any] = [grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))]
        columns.append(np.broadcast_to(edges, (grey.shape[0],)))
        if colour:
            columns += _less_grey(images[start : start + BLOCK, ..., :3])
        statistics.append(np.column_stack(columns).astype(np.float64))
        thumbnails.append(_cells(grey))
    return np.vstack(statistics), np.vstack(thumbnails)


def _less_grey(block: NDArray[np.uint8]) -> list[Floats]:
    """Mean of each channel less the mean of all three; exactly 0 for grey images."""
    red, green, blue = (block.mean(axis=(1, 2), dtype=np.float64) / 255).T
    return [
        (2 * red - green - blue) / 3,
        (2 * green - red - blue) / 3,
        (2 * blue - red - green) / 3,
    ]


def _cells(grey: NDArray[np.float32]) -> Floats:
    """Mean over the cells of a grid; images smaller than the grid repeat pixels."""
    rows, columns = (_edges(size) for size in grey.shape[1:])
    out = np.empty((grey.shape[0], GRID, GRID))
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            out[:, i, j] = grey[:, top:bottom, left:right].mean(axis=(1, 2))
    return out.reshape(grey.shape[0], -1)


def _edges(size: int) -> list[tuple[int, int]]:
    starts = [i * size // GRID for i in range(GRID)]
    stops = [max(start + 1, -(-(i + 1) * size // GRID)) for i, start in enumerate(starts)]
    return list(zip(starts, stops, strict=True))

"""Bring images of any size and channel count to one common form."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["LUMA", "luma", "resize_images", "resize_matrix", "to_common_images"]

# Chunks keep the float32 work space near 100 MB whatever the number of images.
_CHUNK = 4096
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _as_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Rows of antialiased linear (triangle) interpolation weights, shape (n_out, n_in).

    Shrinking widens the triangle by the scale, so that every input pixel counts;
    enlarging is plain bilinear interpolation. Pixel centres lie at ``i + 0.5``.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of pixels before and after.

    Returns
    -------
    ndarray of shape (n_out, n_in), float32
        Weights; every row sums to 1.

    Examples
    --------
    >>> from shiftlab.feature_space.images import resize_matrix
    >>> resize_matrix(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    scale = n_in / n_out
    support = max(scale, 1.0)
    centre = (np.arange(n_out) + 0.5) * scale
    position = np.arange(n_in) + 0.5
    weight = np.maximum(0.0, 1.0 - np.abs(position[None, :] - centre[:, None]) / support)
    matrix: NDArray[np.float32] = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


def luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    r"""Gray values of RGB images: :math:`0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601).

    Parameters
    ----------
    images : ndarray of shape (n, H, W, 3), uint8
        Colour images.

    Returns
    -------
    ndarray of shape (n, H, W), uint8
        Rounded luma.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.feature_space.images import luma
    >>> luma(np.array([[[[255, 0, 0]]]], dtype=np.uint8)).item()
    76
    """
    out = np.empty(images.shape[:3], dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        out[rows] = _as_uint8(images[rows].astype(np.float32) @ LUMA)
    return out


def resize_images(images: NDArray[np.uint8], size: int | tuple[int, int]) -> NDArray[np.uint8]:
    r"""Resize images by antialiased linear interpolation.

    Computes :math:`A_h X A_w^\top` for every image, where the rows of :math:`A` are
    triangle weights whose width grows with the shrinking factor. The result is
    within one gray level of Pillow's ``BILINEAR`` filter (which rounds between its
    two passes), and takes :math:`O(n H W s)` operations as matrix products.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, C), uint8
        Images; not changed.
    size : int or tuple of (int, int)
        Height and width of the result in pixels; a number stands for both.

    Returns
    -------
    ndarray of shape (n, height, width) or (n, height, width, C), uint8
        The input itself when it has that size already.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.feature_space.images import resize_images
    >>> resize_images(np.full((2, 16, 16), 7, dtype=np.uint8), 28).shape
    (2, 28, 28)
    """
    height, width = images.shape[1:3]
    new = (size, size) if isinstance(size, int) else size
    if (height, width) == new:
        return images
    down, across = resize_matrix(height, new[0]), resize_matrix(width, new[1])
    out = np.empty((len(images), *new, *images.shape[3:]), dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        block = images[rows].astype(np.float32)
        if block.ndim == 3:
            out[rows] = _as_uint8(down @ block @ across.T)
        else:
            planes = np.moveaxis(block, 3, 1)
            out[rows] = _as_uint8(np.moveaxis(down @ planes @ across.T, 1, 3))
    return out


def _as_bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype == np.uint16:
        return _as_uint8(images / 257)
    numbers = images.size > 0 and images.dtype.kind in "iuf"
    low, high = (images.min(), images.max()) if numbers else (0, 0)
    if images.dtype.kind != "f" or not (low >= 0 and high <= 1):
        values = f" in {low:g}..{high:g}" if numbers else ""
        raise ValueError(
            "images must be uint8, or float in 0..1, uint16 or truth values; got "
            f"{images.dtype}{values}"
        )
    return _as_uint8(255 * images)


def to_common_images(
    images: NDArray[Any], size: int | tuple[int, int] = 28, channels: Literal[1, 3] = 1
) -> NDArray[np.uint8]:
    """Bring images to one size, one number of channels and one encoding.

    Every image is *resized*, never padded: the part of the frame that a digit fills
    stays what it was in its own data set, for any ``size``. Gray becomes RGB by
    repetition, RGB becomes gray by ITU-R BT.601 luma (before the resize). Truth values, 16 bits and
    numbers in 0..1 become 0 to 255.

    Parameters
    ----------
    images : ndarray of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        Images of uint8, uint16, truth values, or floats in 0..1; not changed.
    size : int or tuple of (int, int), default=28
        Height and width of the result in pixels.
    channels : {1, 3}, default=1
        Channels of the result.

    Returns
    -------
    ndarray of shape (n, height, width) if ``channels == 1`` else (n, height, width, 3), uint8
        Converted images; may share memory with the input when nothing had to change.

    Raises
    ------
    ValueError
        If an argument has another shape, dtype or value than stated here.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import to_common_images
    >>> to_common_images(np.zeros((5, 16, 16), dtype=np.uint8), size=28, channels=3).shape
    (5, 28, 28, 3)
    """
    images = _as_bytes(np.asarray(images))
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise ValueError(
            f"images must have shape (n, H, W), (n, H, W, 1) or (n, H, W, 3), got {images.shape}"
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have at least one pixel, got shape {images.shape}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels!r}")
    new = size if isinstance(size, tuple) else (size, size)
    if len(new) != 2 or any(
        isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 1 for s in new
    ):
        raise ValueError(f"size must be a positive integer (pixels), or two, got {size!r}")
    if channels == 1 and images.ndim == 4:
        images = luma(images)
    resized = resize_images(images, (int(new[0]), int(new[1])))
    if channels == 3 and resized.ndim == 3:
        return np.repeat(resized[..., None], 3, axis=3)
    return resized

"""Draw many glyphs at once: projective sampling, per-image blur, smooth random fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.feature_space.images import resize_matrix

__all__ = ["blur", "glyph_maps", "sample_glyphs", "smooth_fields"]

Array = NDArray[np.float32]


def glyph_maps(
    height: NDArray[np.float64],
    aspect: NDArray[np.float64],
    angle: NDArray[np.float64],
    centre: NDArray[np.float64],
    tilt: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Matrices that map image pixels to coordinates of the glyph's unit square.

    The glyph is stretched, rotated about its middle, put at ``centre`` and, with
    ``tilt``, seen in perspective: the homogeneous coordinate is ``1 + tilt . p``.

    Parameters
    ----------
    height : ndarray of shape (n,)
        Height of the glyph's square in pixels.
    aspect : ndarray of shape (n,)
        Width over height.
    angle : ndarray of shape (n,)
        Rotation in radians, clockwise as seen (rows grow downwards).
    centre : ndarray of shape (n, 2)
        Where the middle goes: x, y in pixels.
    tilt : ndarray of shape (n, 2) or None, default=None
        Perspective per pixel from ``centre``; None is a parallel projection.

    Returns
    -------
    ndarray of shape (n, 3, 3)
        Homogeneous maps of pixel coordinates (x, y, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.warp import glyph_maps
    >>> one = np.ones(1)
    >>> glyph_maps(8 * one, one, 0 * one, np.array([[4.0, 4.0]]))[0] @ [4, 4, 1]
    array([0., 0., 1.])
    """
    n = len(height)
    cos, sin = np.cos(angle), np.sin(angle)
    maps = np.zeros((n, 3, 3))
    # Inverse of: stretch to (height * aspect, height), then rotate.
    maps[:, 0, 0], maps[:, 0, 1] = cos / (height * aspect), sin / (height * aspect)
    maps[:, 1, 0], maps[:, 1, 1] = -sin / height, cos / height
    maps[:, 2, 2] = 1.0
    if tilt is not None:
        maps[:, 2, :2] = tilt
    shift = np.tile(np.eye(3), (n, 1, 1))
    shift[:, :2, 2] = -centre
    return maps @ shift


def sample_glyphs(
    bank: Array, which: NDArray[np.int64], maps: NDArray[np.float64], size: int
) -> Array:
    """Draw ``bank[which[i]]`` through ``maps[i]`` into image ``i``, bilinearly.

    Costs :math:`O(n s^2)` time and memory; call it in batches.

    Parameters
    ----------
    bank : ndarray of shape (g, b, b), float32
        Pictures with an empty border; outside of them is 0.
    which : ndarray of shape (n,)
        Picture of each image.
    maps : ndarray of shape (n, 3, 3)
        See :func:`glyph_maps`; the unit square has its origin in the picture's middle.
    size : int
        Height and width of the result.

    Returns
    -------
    ndarray of shape (n, size, size), float32
        Drawn pictures, with the values of ``bank``.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.warp import glyph_maps, sample_glyphs
    >>> bank = np.zeros((1, 4, 4), np.float32); bank[0, 1, 1] = 1
    >>> one = np.ones(1)
    >>> same = glyph_maps(4 * one, one, 0 * one, np.array([[2.0, 2.0]]))
    >>> bool((sample_glyphs(bank, np.array([0]), same, 4) == bank).all())
    True
    """
    side = bank.shape[1]
    pixel = np.arange(size) + 0.5
    grid = np.stack(np.broadcast_arrays(pixel[None, :], pixel[:, None], 1.0)).reshape(3, -1)
    u, v, w = np.moveaxis(maps.astype(np.float32) @ grid.astype(np.float32), 1, 0)
    w = np.maximum(w, 0.05)  # a point at or behind the horizon is drawn far outside
    x, y = (u / w + 0.5) * side - 0.5, (v / w + 0.5) * side - 0.5
    # The border of a picture is empty, so that clipping to it means "outside is 0".
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - left, y - top
    flat = bank.reshape(-1)
    at = which[:, None] * (side * side) + top * side + left
    upper = flat[at] * (1 - fx) + flat[at + 1] * fx
    lower = flat[at + side] * (1 - fx) + flat[at + side + 1] * fx
    drawn: Array = (upper * (1 - fy) + lower * fy).reshape(-1, size, size).astype(np.float32)
    return drawn


def blur(images: Array, sigma: NDArray[np.float64]) -> Array:
    r"""Gaussian blur with its own width for every image: :math:`B_i X_i B_i^\top`.

    The rows of :math:`B_i` are normalised, so that the edge repeats no pixel and a
    constant image stays what it is.

    Parameters
    ----------
    images : ndarray of shape (n, s, s) or (n, s, s, c), float32
        Images.
    sigma : ndarray of shape (n,)
        Standard deviations in pixels; widths below 0.05 do nothing.

    Returns
    -------
    ndarray of the shape of ``images``, float32
        Blurred images.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.warp import blur
    >>> float(blur(np.full((1, 8, 8), 0.5, np.float32), np.array([2.0])).std()) < 1e-6
    True
    """
    position = np.arange(images.shape[1])
    distance = (position[:, None] - position[None, :]) ** 2
    width = np.maximum(sigma, 0.05)[:, None, None]
    matrix = np.exp(-distance / (2 * width**2))
    matrix = (matrix / matrix.sum(axis=2, keepdims=True)).astype(np.float32)
    back = np.swapaxes(matrix, 1, 2)
    if images.ndim == 3:
        flat: Array = matrix @ images @ back
        return flat
    planes = np.moveaxis(images, 3, 1)
    coloured: Array = np.moveaxis(matrix[:, None] @ planes @ back[:, None], 1, 3)
    return coloured


def smooth_fields(rng: np.random.RandomState, n: int, size: int, cells: int) -> Array:
    """Random smooth fields in [-1, 1]: uniform noise on a coarse grid, interpolated.

    Parameters
    ----------
    rng : RandomState
        Source of randomness.
    n : int
        Number of fields.
    size : int
        Height and width in pixels.
    cells : int
        Height and width of the coarse grid.

    Returns
    -------
    ndarray of shape (n, size, size), float32
        The fields.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.warp import smooth_fields
    >>> smooth_fields(np.random.RandomState(0), 2, 32, 4).shape
    (2, 32, 32)
    """
    coarse = rng.uniform(-1, 1, (n, cells, cells)).astype(np.float32)
    matrix = resize_matrix(cells, size)
    field: Array = (matrix @ coarse @ matrix.T).astype(np.float32)
    return field

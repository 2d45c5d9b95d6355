"""Small sets of real photographs that installed packages ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain

__all__ = ["face_patches", "photo_patches"]

_SKIMAGE = (
    "astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "retina", "rocket",
)  # fmt: skip
_SKLEARN = ("china.jpg", "flower.jpg")


def _photographs() -> dict[str, NDArray[np.uint8]]:
    """Read 16 photographs as colour images; the packages' own, nothing is downloaded."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = {name: np.asarray(getattr(data, name)()) for name in _SKIMAGE}
    found |= {Path(name).stem: np.asarray(load_sample_image(name)) for name in _SKLEARN}
    for name, image in found.items():
        if image.ndim == 2:
            found[name] = np.repeat(image[..., None], 3, axis=2)
    return dict(sorted(found.items()))


def photo_patches(
    side: Literal["left", "right"], n: int, *, size: int = 64, seed: int = 0
) -> Domain:
    """Cut square patches from one half of each of 16 photographs; the label is the photograph.

    Parameters
    ----------
    side : {"left", "right"}
        Which half; the halves share no pixel.
    n : int
        Patches of each photograph.
    size : int, default=64
        Height and width in pixels.
    seed : int, default=0
        Of the places.

    Returns
    -------
    Domain
        ``X`` uint8 of shape (16 n, size, size, 3), in random order.

    Examples
    --------
    >>> from shiftlab.experiments.photos import photo_patches
    >>> photo_patches("left", 2).X.shape
    (32, 64, 64, 3)
    """
    rng = np.random.default_rng([seed, side == "right"])
    patches, labels = [], []
    for name, photo in _photographs().items():
        height, width = photo.shape[0], photo.shape[1] // 2
        half = photo[:, :width] if side == "left" else photo[:, -width:]
        if min(height, width) < size:
            raise ValueError(f"size={size} is larger than half of {name!r}, {height} x {width}")
        rows = rng.integers(0, height - size + 1, n)
        columns = rng.integers(0, width - size + 1, n)
        patches += [half[r : r + size, c : c + size] for r, c in zip(rows, columns, strict=True)]
        labels += [name] * n
    order = rng.permutation(len(labels))
    return Domain(np.stack(patches)[order], np.array(labels)[order], name=f"photos ({side})")


def face_patches() -> Domain:
    """Read 100 faces and 100 other patches of photographs, 25 x 25 gray (a part of LFW).

    Returns
    -------
    Domain
        ``X`` uint8 of shape (200, 25, 25), in a fixed random order; labels "face" and "other".
    """
    from skimage import data

    images: Any = data.lfw_subset()
    order = np.random.default_rng(0).permutation(len(images))
    labels = np.repeat(["face", "other"], 100)
    pixels = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
    return Domain(pixels[order], labels[order], name="faces")

"""The MNIST-M recipe: digits that invert the colours of patches of photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .raw import RawDigits, Split

__all__ = ["blend_difference", "load_photos", "make_mnist_m", "photo_region", "sample_patches"]

_TRAIN_SHARE = 2 / 3  # of each photograph's width; the rest, on the right, is for testing


def blend_difference(digits: NDArray[np.uint8], patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    r"""Blend digits over colour patches: :math:`|P_{ijk} - D_{ij}|` in every channel.

    Parameters
    ----------
    digits : ndarray of shape (n, H, W), uint8
        White strokes on black.
    patches : ndarray of shape (n, H, W, 3), uint8
        Backgrounds.

    Returns
    -------
    ndarray of shape (n, H, W, 3), uint8
        MNIST-M images.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    References
    ----------
    .. [1] Y. Ganin et al., "Domain-adversarial training of neural networks", JMLR 17(59),
       2016, section 5.2.4.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.mnist_m import blend_difference
    >>> blend_difference(np.full((1, 1, 1), 200, np.uint8), np.full((1, 1, 1, 3), 30, np.uint8))
    array([[[[170, 170, 170]]]], dtype=uint8)
    """
    if patches.shape != (*digits.shape, 3):
        raise ValueError(
            f"patches must have shape {(*digits.shape, 3)} to fit the digits, got {patches.shape}"
        )
    digit = digits[..., None]
    # max - min, which stays in uint8 where a difference would wrap around.
    blended: NDArray[np.uint8] = np.maximum(patches, digit) - np.minimum(patches, digit)
    return blended


def load_photos() -> list[NDArray[np.uint8]]:
    """Colour photographs that scikit-learn and scikit-image carry in their wheels.

    Returns
    -------
    list of ndarray of shape (H, W, 3), uint8
        Six photographs: a temple, a flower, a portrait, a cat, a cup of coffee, a rocket.
        They are in the public domain, CC0 or CC BY 2.0 (the first two).

    Raises
    ------
    ImportError
        If scikit-image is not installed.

    Examples
    --------
    >>> from shiftlab.data.mnist_m import load_photos
    >>> len(load_photos())
    6
    """
    try:
        from skimage import data as pictures
    except ImportError as error:
        raise ImportError(
            "the MNIST-M recipe needs scikit-image; install it with: pip install 'shiftlab[data]'"
        ) from error
    from sklearn.datasets import load_sample_images

    photos = [
        *load_sample_images().images,
        pictures.astronaut(),
        pictures.chelsea(),
        pictures.coffee(),
        pictures.rocket(),
    ]
    return [np.ascontiguousarray(photo[..., :3], dtype=np.uint8) for photo in photos]


def photo_region(photo: NDArray[np.uint8], split: Split) -> NDArray[np.uint8]:
    """The part of a photograph that belongs to a split: left two thirds, or the rest.

    Parameters
    ----------
    photo : ndarray of shape (H, W, 3)
        A photograph.
    split : {"train", "test"}
        Which half.

    Returns
    -------
    ndarray of shape (H, W', 3)
        A view; the two splits share no pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.mnist_m import photo_region
    >>> photo_region(np.zeros((10, 30, 3), np.uint8), "test").shape
    (10, 10, 3)
    """
    border = round(photo.shape[1] * _TRAIN_SHARE)
    return photo[:, :border] if split == "train" else photo[:, border:]


def sample_patches(
    photos: Sequence[NDArray[np.uint8]], n: int, size: int, rng: np.random.RandomState
) -> NDArray[np.uint8]:
    """Cut square patches at random places of random photographs.

    Parameters
    ----------
    photos : sequence of ndarray of shape (H, W, 3), uint8
        Photographs, each at least ``size`` pixels high and wide.
    n : int
        Number of patches.
    size : int
        Their height and width in pixels.
    rng : RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n, size, size, 3), uint8
        Patches.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.mnist_m import sample_patches
    >>> sample_patches([np.zeros((9, 9, 3), np.uint8)], 2, 4, np.random.RandomState(0)).shape
    (2, 4, 4, 3)
    """
    out = np.empty((n, size, size, 3), dtype=np.uint8)
    chosen = rng.randint(len(photos), size=n)
    place = rng.uniform(size=(n, 2))
    for number, photo in enumerate(photos):
        if min(photo.shape[:2]) < size:
            raise ValueError(f"photos must be at least {size} pixels wide, got {photo.shape}")
        rows = np.flatnonzero(chosen == number)
        top = (place[rows, 0] * (photo.shape[0] - size + 1)).astype(np.int64)
        left = (place[rows, 1] * (photo.shape[1] - size + 1)).astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(photo, (size, size), axis=(0, 1))
        out[rows] = np.moveaxis(windows[top, left], 1, 3)
    return out


def make_mnist_m(
    digits: RawDigits,
    index: NDArray[np.int64],
    split: Split,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> RawDigits:
    """Make MNIST-M images of the MNIST digits ``index``.

    Differs from the published set in its photographs only: BSDS500 there, those of
    :func:`load_photos` here.

    Parameters
    ----------
    digits : RawDigits
        MNIST digits of the split, gray.
    index : ndarray of shape (m,)
        Which of them to use.
    split : {"train", "test"}
        Decides the part of each photograph that patches come from.
    random_state : int, RandomState or None, default=None
        Seed of the patches.

    Returns
    -------
    RawDigits
        Images (m, H, W, 3), with ``mnist_index`` set to ``index``.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.mnist_m import make_mnist_m
    >>> from shiftlab.data.raw import RawDigits
    >>> mnist = RawDigits(np.zeros((5, 28, 28), np.uint8), np.arange(5))
    >>> make_mnist_m(mnist, np.array([4, 1]), "train", random_state=0).y
    array([4, 1])
    """
    photos = [photo_region(photo, split) for photo in load_photos()]
    chosen = digits.X[index]
    patches = sample_patches(photos, len(index), chosen.shape[1], check_random_state(random_state))
    return RawDigits(blend_difference(chosen, patches), digits.y[index], index)

"""What every digit reader returns, and the checks that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["DataFileError", "RawDigits", "Split", "check_digits"]

Split = Literal["train", "test"]


class DataFileError(ValueError):
    """A data file is missing a part, damaged, or not in the format its name promises.

    Examples
    --------
    >>> from shiftlab.data import DataFileError
    >>> issubclass(DataFileError, ValueError)
    True
    """


@dataclass(frozen=True)
class RawDigits:
    """Digits as they lie in a file: native size and channels.

    Parameters
    ----------
    X : ndarray of shape (n, H, W) or (n, H, W, 3), uint8
        Images.
    y : ndarray of shape (n,), int64
        Digits 0 to 9.
    mnist_index : ndarray of shape (n,), int64, or None, default=None
        For MNIST-M: which MNIST digit of the same split each image was made from.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.raw import RawDigits
    >>> RawDigits(np.zeros((3, 8, 8), np.uint8), np.arange(3)).X.shape
    (3, 8, 8)
    """

    X: NDArray[np.uint8]
    y: NDArray[np.int64]
    mnist_index: NDArray[np.int64] | None = None


def _bytes_of(images: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if images.size == 0:
        return images.astype(np.uint8)
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 255:
        raise DataFileError(
            f"{path}: pixel values must lie in [0, 1] or [0, 255], got [{low:g}, {high:g}]"
        )
    factor = 255.0 if images.dtype.kind == "f" and high <= 1 else 1.0
    scaled: NDArray[np.uint8] = np.rint(images.astype(np.float64) * factor).astype(np.uint8)
    return scaled


def check_digits(
    images: NDArray[Any],
    labels: NDArray[Any],
    path: Path,
    *,
    ten_is_zero: bool = False,
    mnist_index: NDArray[Any] | None = None,
) -> RawDigits:
    """Check what a reader found and bring it to uint8 images and int64 labels.

    Parameters
    ----------
    images : ndarray of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        Pixels: integers 0..255, or floats in [0, 1] or [0, 255].
    labels : ndarray of shape (n,), (n, 1) or (n, 10)
        Digits, or their one-hot rows.
    path : Path
        The file that messages name.
    ten_is_zero : bool, default=False
        Whether the format writes the digit 0 as class 10.
    mnist_index : ndarray of shape (n,) or None, default=None
        Passed on.

    Returns
    -------
    RawDigits
        The digits.

    Raises
    ------
    DataFileError
        If images and labels do not fit each other or are no digits.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from shiftlab.data.raw import check_digits
    >>> check_digits(np.zeros((2, 4, 4)), np.array([[10], [3]]), Path("a"), ten_is_zero=True).y
    array([0, 3])
    """
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise DataFileError(
            f"{path}: images must have shape (n, H, W) or (n, H, W, 3), got {images.shape}"
        )
    if labels.ndim == 2 and labels.shape[1] == 10 and len(labels) == len(images):
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1)
    if len(labels) != len(images):
        raise DataFileError(f"{path}: {len(images)} images but {len(labels)} labels")
    if labels.dtype.kind not in "iuf" or not np.array_equal(labels, np.floor(labels)):
        raise DataFileError(f"{path}: labels must be whole numbers, got dtype {labels.dtype}")
    y = labels.astype(np.int64)
    if ten_is_zero:
        y = np.where(y == 10, 0, y)
    if len(y) and (y.min() < 0 or y.max() > 9):
        raise DataFileError(f"{path}: labels must be digits 0 to 9, got {y.min()} to {y.max()}")
    index = None if mnist_index is None else mnist_index.reshape(-1).astype(np.int64)
    if index is not None and len(index) != len(y):
        raise DataFileError(f"{path}: {len(y)} images but {len(index)} MNIST indices")
    return RawDigits(_bytes_of(images, path), y, index)

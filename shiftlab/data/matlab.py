"""Read digits from MATLAB files: SVHN's own and the five of the Digit-Five collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from .formats import reading
from .raw import DataFileError, RawDigits, Split, check_digits

__all__ = ["read_cell_mat", "read_paired_mat", "read_svhn_mat"]

# Names that the Digit-Five files use for (images, labels) of a split, best first.
_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("train_28", "label_train"),
        ("train_32", "label_train"),
        ("train", "label_train"),
        ("train_data", "train_label"),
    ),
    "test": (
        ("test_28", "label_test"),
        ("test_32", "label_test"),
        ("test", "label_test"),
        ("test_data", "test_label"),
    ),
}


def _load(path: Path) -> dict[str, Any]:
    with reading(path, "MATLAB"):
        try:
            content: dict[str, Any] = loadmat(path)
        except (MatReadError, TypeError, IndexError) as error:
            raise DataFileError(f"{path}: not a complete MATLAB file ({error})") from error
        except NotImplementedError as error:
            raise DataFileError(
                f"{path}: is a MATLAB 7.3 (HDF5) file; save it as version 7 or earlier"
            ) from error
        return {key: value for key, value in content.items() if not key.startswith("__")}


def _not_understood(path: Path, wanted: str, found: dict[str, Any]) -> DataFileError:
    shapes = ", ".join(f"{k} {getattr(v, 'shape', '')}" for k, v in sorted(found.items()))
    return DataFileError(f"{path}: needs {wanted}, found {shapes or 'no variables'}")


def _image_first(images: NDArray[Any], n: int, path: Path) -> NDArray[Any]:
    """Images with the row number first, whichever axes the file used for n and colour."""
    if images.ndim == 2 and images.shape[0] == n:
        side = round(images.shape[1] ** 0.5)
        if side * side != images.shape[1]:
            raise DataFileError(f"{path}: {images.shape[1]} pixels are no square image")
        return images.reshape(n, side, side)
    if images.ndim in (3, 4) and images.shape[0] != n and images.shape[-1] == n:
        images = np.moveaxis(images, -1, 0)
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    return images


def _n_labels(labels: NDArray[Any]) -> int:
    return len(labels) if labels.ndim == 2 and labels.shape[1] == 10 else int(labels.size)


def read_svhn_mat(path: Path) -> RawDigits:
    """Read ``X`` (32, 32, 3, n) and ``y`` (n, 1), where class 10 is the digit 0.

    Parameters
    ----------
    path : Path
        ``train_32x32.mat`` or ``test_32x32.mat``.

    Returns
    -------
    RawDigits
        The digits.
    """
    found = _load(path)
    if not {"X", "y"} <= set(found):
        raise _not_understood(path, "the variables X (32, 32, 3, n) and y (n, 1)", found)
    images, n = found["X"], found["y"].size
    if images.ndim == 4 and images.shape[2] == 3 and images.shape[3] == n:
        images = np.moveaxis(images, 3, 0)
    else:  # saved again by someone, in another order
        images = _image_first(images, n, path)
    return check_digits(np.ascontiguousarray(images), found["y"], path, ten_is_zero=True)


def read_paired_mat(path: Path, split: Split) -> RawDigits:
    """Read Digit-Five's ``mnist_data``, ``mnistm_with_label`` and ``syn_number``.

    Images and labels lie under a pair of names such as ``train_28`` and
    ``label_train``; labels are digits or one-hot rows.

    Parameters
    ----------
    path : Path
        The file.
    split : {"train", "test"}
        Which half.

    Returns
    -------
    RawDigits
        The digits.
    """
    found = _load(path)
    for image_key, label_key in _PAIRS[split]:
        if image_key in found and label_key in found:
            labels = found[label_key]
            images = _image_first(found[image_key], _n_labels(labels), path)
            return check_digits(images, labels, path)
    pairs = " or ".join(f"{a} with {b}" for a, b in _PAIRS[split])
    raise _not_understood(path, f"the variables {pairs}", found)


def read_cell_mat(path: Path, split: Split) -> RawDigits:
    """Read Digit-Five's ``usps_28x28.mat``: a 2 x 2 cell ``dataset``.

    Row 0 is the training half, row 1 the test half; each holds images
    (n, 1, 28, 28) in [0, 1] and labels (n, 1).

    Parameters
    ----------
    path : Path
        The file.
    split : {"train", "test"}
        Which half.

    Returns
    -------
    RawDigits
        The digits.
    """
    found = _load(path)
    cell = found.get("dataset")
    if not isinstance(cell, np.ndarray) or cell.shape != (2, 2) or cell.dtype != object:
        raise _not_understood(path, "a 2 x 2 cell named dataset", found)
    images, labels = cell[0 if split == "train" else 1]
    return check_digits(_image_first(images, _n_labels(labels), path), labels, path)

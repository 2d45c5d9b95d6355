"""Read digits in the file formats people already have. Nothing is ever unpickled.

Each reader returns :class:`~shiftlab.data.raw.RawDigits` of one split and raises
:class:`~shiftlab.data.raw.DataFileError`, which names the file, for anything damaged
or not understood.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raw import DataFileError, RawDigits, Split, check_digits

__all__ = ["read_idx", "read_libsvm", "read_npz", "read_npz_extra", "read_png_folder"]

_DAMAGE = (EOFError, OSError, ValueError, KeyError, zlib.error, lzma.LZMAError, struct.error)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into one message that names it."""
    try:
        yield
    except (DataFileError, FileNotFoundError):
        raise
    except (*_DAMAGE, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataFileError(f"{path}: not a complete {what} file ({error})") from error


def _open_bytes(path: Path) -> bytes:
    """Content of a plain, gzip or bzip2 file, decided by its first bytes."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    if content[:3] == b"BZh":
        return bz2.decompress(content)
    return content


def read_npz(path: Path, split: Split) -> RawDigits:
    """Read ``X_<split>`` and ``y_<split>`` of an ``.npz`` file.

    ``X16_<split>`` (USPS at its native 16 x 16) is preferred to ``X_<split>``, so that
    an image is interpolated once and not twice; ``idx_<split>`` becomes
    ``mnist_index``; lower-case ``x_<split>`` is understood too.

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
    with reading(path, ".npz"), np.load(path, allow_pickle=False) as archive:
        keys = set(archive.files)
        image_key = next(
            (key for p in ("X16", "X", "x") if (key := f"{p}_{split}") in keys), f"X_{split}"
        )
        missing = {image_key, f"y_{split}"} - keys
        if missing:
            raise DataFileError(
                f"{path}: needs the arrays X_{split} and y_{split}, found {sorted(keys)}"
            )
        index = archive[f"idx_{split}"] if f"idx_{split}" in keys else None
        return check_digits(archive[image_key], archive[f"y_{split}"], path, mnist_index=index)


def read_npz_extra(path: Path, key: str) -> NDArray[Any] | None:
    """One more array of an ``.npz`` file, or None when it has no such key.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        Name of the array.

    Returns
    -------
    ndarray or None
        The array.
    """
    with reading(path, ".npz"), np.load(path, allow_pickle=False) as archive:
        return archive[key] if key in archive.files else None


def _idx_array(path: Path) -> NDArray[np.uint8]:
    with reading(path, "IDX"):
        content = _open_bytes(path)
        zero, dtype, n_dims = struct.unpack(">HBB", content[:4])
        if zero != 0 or dtype != 0x08 or n_dims not in (1, 3):
            raise DataFileError(
                f"{path}: not an IDX file of unsigned bytes (first bytes {content[:4].hex()})"
            )
        shape = struct.unpack(f">{n_dims}I", content[4 : 4 + 4 * n_dims])
        values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_dims)
        expected = int(np.prod(shape, dtype=np.int64))
        if values.size != expected:
            raise DataFileError(
                f"{path}: holds {values.size} values where its header {shape} promises {expected}"
            )
        return values.reshape(shape)


def read_idx(images: Path, labels: Path) -> RawDigits:
    """Read a pair of IDX files (MNIST's own format), plain or gzip.

    Parameters
    ----------
    images, labels : Path
        ``*-images-idx3-ubyte`` and ``*-labels-idx1-ubyte``, with or without ``.gz``.

    Returns
    -------
    RawDigits
        The digits.
    """
    pixels, digits = _idx_array(images), _idx_array(labels)
    if pixels.ndim != 3:
        raise DataFileError(f"{images}: holds labels where images were expected")
    if digits.ndim != 1:
        raise DataFileError(f"{labels}: holds images where labels were expected")
    return check_digits(pixels, digits, images)


def read_libsvm(path: Path, size: int = 16) -> RawDigits:
    """Read USPS in LIBSVM's text format: labels 1..10, pixels ``index:value`` in [-1, 1].

    Label ``k`` is the digit ``k - 1``. A pixel that a line leaves out has the value 0,
    which is LIBSVM's convention (and middle gray here).

    Parameters
    ----------
    path : Path
        Text file, plain, bzip2 or gzip.
    size : int, default=16
        Height and width of the images in pixels.

    Returns
    -------
    RawDigits
        The digits.
    """
    n_pixels = size * size
    with reading(path, "LIBSVM"):
        lines = [line for line in _open_bytes(path).decode("ascii").splitlines() if line.strip()]
        values = np.zeros((len(lines), n_pixels), dtype=np.float64)
        labels = np.empty(len(lines), dtype=np.int64)
        for row, line in enumerate(lines):
            head, *entries = line.split()
            labels[row] = round(float(head))
            if not entries:
                continue
            pairs = np.array([entry.split(":") for entry in entries], dtype=np.float64)
            column = pairs[:, 0].astype(np.int64) - 1
            if column.min() < 0 or column.max() >= n_pixels:
                raise DataFileError(
                    f"{path}: line {row + 1} has feature {column.max() + 1}, "
                    f"but {size}x{size} images have features 1 to {n_pixels}"
                )
            values[row, column] = pairs[:, 1]
        if len(lines) == 0:
            raise DataFileError(f"{path}: holds no rows")
        if np.abs(values).max() > 1 + 1e-6:
            raise DataFileError(f"{path}: pixel values must lie in [-1, 1]")
        if labels.min() < 1 or labels.max() > 10:
            raise DataFileError(
                f"{path}: labels must be 1 to 10 (digit plus one), "
                f"got {labels.min()} to {labels.max()}"
            )
    pixels = np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)
    return check_digits(pixels.reshape(-1, size, size), labels - 1, path)


def _label_rows(label_file: Path) -> list[tuple[str, int]]:
    rows: list[tuple[str, int]] = []
    text = label_file.read_text(encoding="utf-8-sig")
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.replace(",", " ").split()
        if not parts:
            continue
        if len(parts) < 2 or not parts[-1].lstrip("+-").isdigit():
            if number == 1:  # a header such as "filename,label"
                continue
            raise DataFileError(
                f"{label_file}: line {number} must be 'filename label', got {line!r}"
            )
        rows.append((" ".join(parts[:-1]), int(parts[-1])))
    if not rows:
        raise DataFileError(f"{label_file}: holds no rows 'filename label'")
    return rows


def read_png_folder(folder: Path, label_file: Path) -> RawDigits:
    """Read a folder of images and a text file with ``filename label`` on each line.

    Commas and blanks both separate, a header line is skipped, and a file name that
    leads out of the folder is refused.

    Parameters
    ----------
    folder : Path
        Folder of images, all of one size.
    label_file : Path
        ``.csv`` or ``.txt``; its order is the order of the result.

    Returns
    -------
    RawDigits
        The digits.
    """
    from PIL import Image

    base = folder.resolve()
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for name, label in _label_rows(label_file):
        path = (base / name).resolve()
        if not path.is_relative_to(base):
            raise DataFileError(f"{label_file}: {name!r} leads out of the folder {folder}")
        if not path.is_file():
            raise DataFileError(f"{label_file}: names {name!r}, which is not in {folder}")
        with reading(path, "image"), Image.open(path) as image:
            gray = image.mode in ("1", "L", "I;16", "I", "F")
            pixels = np.asarray(image.convert("L" if gray else "RGB"))
        if images and pixels.shape != images[0].shape:
            raise DataFileError(
                f"{path}: has shape {pixels.shape}, the images before it {images[0].shape}"
            )
        images.append(pixels)
        labels.append(label)
    return check_digits(np.stack(images), np.array(labels), label_file)

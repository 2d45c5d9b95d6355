"""Find digits that the user already has on disk, in whatever layout they lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .formats import read_idx, read_libsvm, read_npz, read_npz_extra, read_png_folder
from .matlab import read_cell_mat, read_paired_mat, read_svhn_mat
from .raw import RawDigits, Split

__all__ = ["LocalDigits", "data_root", "find_glyphs", "find_local"]

# Names that folders and files carry for each domain, besides its own.
_ALIASES: dict[str, tuple[str, ...]] = {
    "mnist": ("mnist", "MNIST"),
    "mnist_m": ("mnist_m", "mnistm", "MNIST-M", "mnist-m", "MNIST_M", "MNISTM"),
    "usps": ("usps", "USPS"),
    "svhn": ("svhn", "SVHN"),
    "synth": ("synth", "synth_digits", "syn_digits", "SynthDigits", "SYN", "syn"),
}
Shared = tuple[NDArray[np.int64], NDArray[np.int64]]
_COLLECTIONS = ("", "digits", "digit5", "Digit-Five", "Digit5", "digit_five")
_INSIDE = ("", "raw", "RAW")


@dataclass(frozen=True)
class LocalDigits:
    """Both halves of one digit domain, found on disk.

    Parameters
    ----------
    layout : str
        What the files are, in words.
    path : Path
        The file or folder.
    read : callable
        Maps ``"train"`` or ``"test"`` to the digits of that half.
    recipe : str, default=""
        What made the files, when they are not the published ones.
    shared : callable or None, default=None
        For MNIST-M: maps a split to the indices and the labels of its MNIST digits, or
        to None when they are not known.

    Examples
    --------
    >>> from pathlib import Path
    >>> from shiftlab.data.local import LocalDigits
    >>> LocalDigits("an .npz file", Path("usps.npz"), lambda split: None).layout
    'an .npz file'
    """

    layout: str
    path: Path
    read: Callable[[Split], RawDigits]
    recipe: str = ""
    shared: Callable[[Split], Shared | None] | None = None


def data_root(root: str | os.PathLike[str] | None) -> Path | None:
    """The folder to search: ``root``, else what ``SHIFTLAB_DATA`` names, else none.

    Parameters
    ----------
    root : path or None
        What the caller gave.

    Returns
    -------
    Path or None
        An existing folder, or None when neither is set.

    Raises
    ------
    FileNotFoundError
        If the chosen folder does not exist.

    Examples
    --------
    >>> from shiftlab.data.local import data_root
    >>> data_root(".").is_dir()
    True
    """
    origin, chosen = "root", root
    if root is None:
        origin, chosen = "SHIFTLAB_DATA", os.environ.get("SHIFTLAB_DATA") or None
    if chosen is None:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{origin} must name an existing folder, got {str(chosen)!r}")
    return folder


def _folders(root: Path, domain: str) -> Iterator[Path]:
    """Existing folders that may hold the domain, nearest and most specific first."""
    seen: set[Path] = set()
    for collection in _COLLECTIONS:
        for alias in (*_ALIASES[domain], ""):
            for inside in _INSIDE:
                folder = root / collection / alias / inside
                key = folder.resolve()
                if key not in seen and folder.is_dir():
                    seen.add(key)
                    yield folder


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((path for name in names if (path := folder / name).is_file()), None)


def _npz(folder: Path, domain: str) -> LocalDigits | None:
    path = _first(folder, tuple(f"{alias}.npz" for alias in _ALIASES[domain]))
    if path is None:
        return None

    def shared(split: Split) -> Shared | None:
        index, labels = (read_npz_extra(path, f"{key}_{split}") for key in ("idx", "y"))
        if index is None or labels is None:
            return None
        return index.astype(np.int64), labels.astype(np.int64)

    recipe = read_npz_extra(path, "recipe")
    return LocalDigits(
        "an .npz file",
        path,
        lambda split: read_npz(path, split),
        recipe="" if recipe is None else str(recipe),
        shared=shared,
    )


def _idx(folder: Path, domain: str) -> LocalDigits | None:
    if domain != "mnist":
        return None
    parts: dict[str, tuple[Path, Path]] = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pair = [
            _first(folder, (f"{stem}.gz", stem, f"{dotted}.gz", dotted))
            for kind in ("images-idx3", "labels-idx1")
            for stem, dotted in [
                (f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-idx', '.idx')}-ubyte")
            ]
        ]
        if pair[0] is None or pair[1] is None:
            return None
        parts[split] = (pair[0], pair[1])
    return LocalDigits("IDX files", folder, lambda split: read_idx(*parts[split]))


def _two_files(
    layout: str, train: Path | None, test: Path | None, read: Callable[[Path], RawDigits]
) -> LocalDigits | None:
    if train is None or test is None:
        return None
    halves = {"train": train, "test": test}
    return LocalDigits(layout, train.parent, lambda split: read(halves[split]))


def _libsvm(folder: Path, domain: str) -> LocalDigits | None:
    if domain != "usps":
        return None
    train = _first(folder, ("usps.bz2", "usps"))
    test = _first(folder, ("usps.t.bz2", "usps.t"))
    return _two_files("LIBSVM files", train, test, read_libsvm)


def _svhn_mat(folder: Path, domain: str) -> LocalDigits | None:
    if domain != "svhn":
        return None
    train, test = (
        _first(folder, (f"{half}_32x32.mat", f"svhn_{half}_32x32.mat"))
        for half in ("train", "test")
    )
    return _two_files("MATLAB files", train, test, read_svhn_mat)


def _digit_five_mat(folder: Path, domain: str) -> LocalDigits | None:
    names = {
        "mnist": "mnist_data.mat",
        "mnist_m": "mnistm_with_label.mat",
        "usps": "usps_28x28.mat",
        "synth": "syn_number.mat",
    }
    path = _first(folder, (names[domain],)) if domain in names else None
    if path is None:
        return None
    reader = read_cell_mat if domain == "usps" else read_paired_mat
    return LocalDigits("a Digit-Five .mat file", path, lambda split: reader(path, split))


def _png_half(folder: Path, domain: str, split: str) -> tuple[Path, Path] | None:
    for name in (split, *(f"{alias}_{split}" for alias in _ALIASES[domain])):
        images = folder / name
        if not images.is_dir():
            continue
        labels = _first(images, ("labels.csv", "labels.txt")) or _first(
            folder,
            tuple(f"{name}{tail}{ext}" for tail in ("_labels", "") for ext in (".csv", ".txt")),
        )
        if labels is not None:
            return images, labels
    return None


def _png(folder: Path, domain: str) -> LocalDigits | None:
    # A bare "train" folder says nothing of its domain: only a folder named for it may hold one.
    named = {folder.name, folder.parent.name} & set(_ALIASES[domain])
    train, test = (_png_half(folder, domain, half) for half in ("train", "test"))
    if train is None or test is None:
        return None
    if not named and train[0].name == "train":
        return None
    halves = {"train": train, "test": test}
    return LocalDigits("image folders", folder, lambda split: read_png_folder(*halves[split]))


_LAYOUTS = (_npz, _idx, _libsvm, _svhn_mat, _digit_five_mat, _png)


def find_glyphs(root: Path) -> Path | None:
    """The file of Chars74K glyphs, ``chars74k_fnt.npz``, under ``root``.

    Parameters
    ----------
    root : Path
        An existing folder.

    Returns
    -------
    Path or None
        None when there is none.
    """
    places = (root / collection / "chars74k_fnt.npz" for collection in _COLLECTIONS)
    return next((path for path in places if path.is_file()), None)


def find_local(domain: str, root: Path) -> LocalDigits | None:
    """Find a domain under ``root`` in any layout that is understood.

    Looked for, in this order and in ``root``, ``root/digits``, ``root/digit5`` and
    folders named for the domain: one ``.npz`` file; MNIST's IDX files (also
    torchvision's ``MNIST/raw``); USPS in LIBSVM's format; SVHN's ``*_32x32.mat``; the
    Digit-Five ``.mat`` files; folders of images with a label file.

    Parameters
    ----------
    domain : str
        One of :data:`shiftlab.data.DIGITS5`.
    root : Path
        An existing folder.

    Returns
    -------
    LocalDigits or None
        None when no layout is complete, that is, when a half of it is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from shiftlab.data.local import find_local
    >>> with tempfile.TemporaryDirectory() as empty:
    ...     print(find_local("usps", Path(empty)))
    None
    """
    folders = list(_folders(root, domain))
    for layout in _LAYOUTS:
        for folder in folders:
            found = layout(folder, domain)
            if found is not None:
                return found
    return None

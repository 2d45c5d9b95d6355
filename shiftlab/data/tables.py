"""Real tables and texts for studies: Office-Caltech10 with SURF features, Amazon reviews."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.domain import Domain

from .cards import read_card
from .local import data_root
from .raw import DataFileError

__all__ = [
    "AMAZON_REVIEWS",
    "OFFICE_CALTECH",
    "load_amazon_reviews",
    "load_office_caltech",
    "table_signature",
]

OFFICE_CALTECH = ("amazon", "caltech10", "dslr", "webcam")
AMAZON_REVIEWS = ("books", "dvd", "electronics", "kitchen")
_DOMAINS = {"office_caltech": OFFICE_CALTECH, "amazon_reviews": AMAZON_REVIEWS}
_COLUMNS = {"office_caltech": 800, "amazon_reviews": 5000}
_FOLDERS = {
    "office_caltech": ("office_caltech_surf", "office_caltech", ""),
    "amazon_reviews": ("amazon_reviews", ""),
}
Root = str | os.PathLike[str] | None


def load_office_caltech(domain: str, root: Root = None) -> Domain:
    """Load a domain of Office-Caltech10: counts of 800 visual words, ten classes of objects.

    Parameters
    ----------
    domain : {"amazon", "caltech10", "dslr", "webcam"}
        Which camera or collection.
    root : path or None, default=None
        Folder of local data; None takes ``SHIFTLAB_DATA``. The file is looked for in
        ``office_caltech_surf``, ``office_caltech`` and the folder itself.

    Returns
    -------
    Domain
        ``X`` of shape (n, 800) uint8, ``y`` 0 to 9.

    Raises
    ------
    ValueError
        If there is no such domain.
    FileNotFoundError
        If the file is not there; the message says what it is and where to get it.
    DataFileError
        If it holds something else.
    """
    X, y, _ = _read("office_caltech", domain, root)
    return Domain(X, y, name=domain)


def load_amazon_reviews(domain: str, split: int | None = None, root: Root = None) -> Domain:
    """Load a topic of the Amazon reviews: counts of 5,000 uni- and bigrams, good or bad.

    Parameters
    ----------
    domain : {"books", "dvd", "electronics", "kitchen"}
        Which products.
    split : {0, 1} or None, default=None
        0 is the usual 2,000 training rows, 1 the rest, None both.
    root : path or None, default=None
        Folder of local data; None takes ``SHIFTLAB_DATA``. The file is looked for in
        ``amazon_reviews`` and the folder itself.

    Returns
    -------
    Domain
        ``X`` a CSR matrix of shape (n, 5000), float64; ``y`` 0 or 1; ``group`` is the split.

    Raises
    ------
    ValueError
        If there is no such domain or split.
    FileNotFoundError
        If the file is not there; the message says what it is and where to get it.
    DataFileError
        If it holds something else.
    """
    if split not in (None, 0, 1):
        raise ValueError(f"split must be 0, 1 or None, got {split!r}")
    X, y, which = _read("amazon_reviews", domain, root)
    reviews = Domain(sp.csr_matrix(X, dtype=np.float64), y, name=domain, group=which)
    return reviews if split is None else reviews.take(which == split)


def table_signature(collection: str, root: Root = None) -> str:
    """Return a name for the exact files of a collection, for results measured on them.

    Parameters
    ----------
    collection : {"office_caltech", "amazon_reviews"}
        Which one.
    root : path or None, default=None
        Folder of local data; None takes ``SHIFTLAB_DATA``.

    Returns
    -------
    str
        Name and the first 12 digits of a SHA-256 over all files.
    """
    digest = hashlib.sha256()
    for domain in _DOMAINS[collection]:
        digest.update(hashlib.sha256(_find(collection, domain, root).read_bytes()).digest())
    return f"{collection}={digest.hexdigest()[:12]}"


def _find(collection: str, domain: str, root: Root) -> Path:
    if domain not in _DOMAINS[collection]:
        raise ValueError(f"domain must be one of {_DOMAINS[collection]}, got {domain!r}")
    base = data_root(root)
    card = read_card(collection)
    folders = [] if base is None else [base / folder for folder in _FOLDERS[collection]]
    for folder in folders:
        if (folder / f"{domain}.npz").is_file():
            return folder / f"{domain}.npz"
    where = (
        "set SHIFTLAB_DATA or root= to the folder that holds it"
        if base is None
        else f"looked in {', '.join(str(folder) for folder in folders)}"
    )
    raise FileNotFoundError(
        f"{card.title}: no {domain}.npz found ({where}). Its arrays are described in "
        f"datasets/{collection}/README.md, the data come from {card.homepage}"
    )


def _read(
    collection: str, domain: str, root: Root
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return counts, labels and split (zeros where there is none) after checking them."""
    path = _find(collection, domain, root)
    wanted = ("X", "y", "split") if collection == "amazon_reviews" else ("X", "y")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file.files]
            if missing:
                raise DataFileError(f"{path}: needs the arrays {wanted}, lacks {missing}")
            X, y = file["X"], file["y"]
            split = file["split"] if "split" in wanted else np.zeros(len(y))
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataFileError(f"{path} is no .npz file: {error}") from error
    except ValueError as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(f"{path}: {error}") from error
    shape = (len(y), _COLUMNS[collection])
    if X.shape != shape or X.dtype.kind not in "iu" or y.shape != split.shape or y.ndim != 1:
        raise DataFileError(
            f"{path}: X must hold whole numbers, {shape[0]} x {shape[1]}, with one value of "
            f"{', '.join(wanted[1:])} a row; got X {X.shape} {X.dtype}, y {y.shape}"
        )
    return X, y.astype(np.int64), split.astype(np.int64)

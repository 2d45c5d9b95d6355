"""The five digit domains: MNIST, MNIST-M, USPS, SVHN and SynthDigits."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

from shiftlab.feature_space.images import to_common_images

from ..domain import Domain
from .cards import read_card
from .raw import Split
from .sources import DIGITS5, Kind, Resolved, Source, resolve

__all__ = ["DIGITS5", "DigitSource", "describe_digits5", "load_digits5"]

_log = logging.getLogger(__name__)
_told: set[str] = set()


@dataclass(frozen=True)
class DigitSource:
    """What stands behind one of the five digit domains.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"mnist_m"``, ``"usps"``, ``"svhn"`` or ``"synth"``.
    kind : {"official", "local", "offline"}
        Where it comes from.
    stand_in : bool
        Whether other images stand in for the data set's own. Results on stand-ins do
        not belong in a table with results on the real data.
    note : str
        What the images are, in plain words.
    licence : str
        Terms of use of these images.
    n_train, n_test : int
        Numbers of images.

    Examples
    --------
    >>> from shiftlab.data import describe_digits5
    >>> [source.stand_in for source in describe_digits5(source="offline")]
    [False, True, True, True, True]
    """

    name: str
    kind: Kind
    stand_in: bool
    note: str
    licence: str
    n_train: int
    n_test: int


def _tell_once(found: Resolved) -> None:
    line = f"{found.domain} is a stand-in ({found.kind}): {found.note}"
    if found.stand_in and line not in _told:
        _told.add(line)
        _log.warning(line)


def load_digits5(
    domain: str,
    split: Split = "train",
    *,
    size: int = 28,
    channels: Literal[1, 3] = 1,
    root: str | os.PathLike[str] | None = None,
    source: Source = "auto",
    exclude_shared: bool = True,
) -> Domain:
    """Load one half of one of the five digit domains.

    All images are resized (never padded) to ``size`` by antialiased linear
    interpolation, from their native size; colour becomes gray by ITU-R BT.601 luma.
    A stand-in says so in the name of the domain and, once, in the log.

    Parameters
    ----------
    domain : {"mnist", "mnist_m", "usps", "svhn", "synth"}
        Which domain.
    split : {"train", "test"}, default="train"
        Which half.
    size : int, default=28
        Height and width in pixels.
    channels : {1, 3}, default=1
        Gray or RGB.
    root : path or None, default=None
        Folder of local data, in any layout listed in ``datasets/digit5/README.md``;
        None takes the environment variable ``SHIFTLAB_DATA``.
    source : {"auto", "official", "local", "offline"}, default="auto"
        ``"local"`` reads ``root``; ``"official"`` downloads to the user's cache (or makes
        by recipe what has no lasting address); ``"offline"`` needs no network: real digits
        from installed packages and stand-ins. ``"auto"``, for each domain: local if it is
        found, else official if it was fetched before, else offline.
    exclude_shared : bool, default=True
        Leave out of MNIST the digits that MNIST-M was made from. With them, a pair of
        MNIST and MNIST-M would have the same handwriting on both sides, and the target's
        test digits could be in the source's training set. Concerns ``"mnist"`` only;
        False gives all of MNIST, for work that does not use MNIST-M.

    Returns
    -------
    Domain
        ``X`` uint8 of shape (n, size, size), or (n, size, size, 3) with three channels;
        ``y`` int64, digits 0 to 9; ``name`` the domain's, with " (stand-in)" added to one.

    Raises
    ------
    ValueError
        If an argument is none of the allowed values.
    DataFileError
        If a file is damaged or not understood; the message names it.
    FileNotFoundError
        If ``root`` does not exist, or ``source="local"`` and there is no such data.
    DownloadError
        If ``source="official"`` and no mirror gave a file.
    ImportError
        If a package of the extra ``data`` is missing.

    Examples
    --------
    >>> from shiftlab.data import load_digits5
    >>> digits = load_digits5("usps", "test", source="offline")
    >>> digits.X.shape, digits.name
    ((497, 28, 28), 'usps (stand-in)')
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be a positive integer (pixels), got {size!r}")
    found = resolve(domain, root, source)
    _tell_once(found)
    digits = found.read(split)
    if exclude_shared:
        digits = found.without_shared(split, digits)
    name = f"{domain} (stand-in)" if found.stand_in else domain
    return Domain(to_common_images(digits.X, size, channels), digits.y, name=name)


def describe_digits5(
    root: str | os.PathLike[str] | None = None, source: Source = "auto"
) -> list[DigitSource]:
    """Say where each of the five domains comes from and which are stand-ins.

    Parameters
    ----------
    root : path or None, default=None
        As in :func:`load_digits5`.
    source : {"auto", "official", "local", "offline"}, default="auto"
        As in :func:`load_digits5`.

    Returns
    -------
    list of DigitSource
        One record a domain, in the order of :data:`DIGITS5`.

    Examples
    --------
    >>> from shiftlab.data import describe_digits5
    >>> [(s.name, s.n_train) for s in describe_digits5(source="offline")][:2]
    [('mnist', 2000), ('mnist_m', 2000)]
    """
    records = []
    for name in DIGITS5:
        found, card = resolve(name, root, source), read_card(name)
        n_train, n_test = found.count("train"), found.count("test")
        note = found.note
        if not found.stand_in and found.kind != "offline" and found.shared is None:
            published = (card.n_train, card.n_test)
            if (n_train, n_test) != published:
                note += (
                    f"; {n_train:,} / {n_test:,} images where the published split has "
                    f"{published[0]:,} / {published[1]:,}: figures do not compare with papers'"
                )
        records.append(
            DigitSource(
                name,
                found.kind,
                found.stand_in,
                note,
                found.licence or card.licence,
                n_train,
                n_test,
            )
        )
    return records

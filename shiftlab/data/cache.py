"""Keep generated digits on disk: written whole or not at all, rebuilt when damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from shiftlab.files import write_atomically

from .formats import read_npz
from .raw import DataFileError, RawDigits, Split
from .resources import cache_dir

__all__ = ["cached_digits"]

_log = logging.getLogger(__name__)


def cached_digits(key: str, make: Callable[[], dict[Split, RawDigits]], split: Split) -> RawDigits:
    """Digits of one split from the cache, made first when they are not there.

    Parameters
    ----------
    key : str
        File name without ending; must name everything that the digits depend on
        (recipe, version, seed, inputs).
    make : callable
        Makes both splits.
    split : {"train", "test"}
        Which half to return.

    Returns
    -------
    RawDigits
        The digits.
    """
    path = cache_dir() / "rendered" / f"{key}.npz"
    if path.is_file():
        try:
            return read_npz(path, split)
        except DataFileError as error:
            _log.warning("rebuilding a damaged cache file: %s", error)
    made = make()
    arrays: dict[str, np.ndarray] = {}
    for half, digits in made.items():
        arrays[f"X_{half}"], arrays[f"y_{half}"] = digits.X, digits.y
        if digits.mnist_index is not None:
            arrays[f"idx_{half}"] = digits.mnist_index
    try:
        write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except OSError as error:  # a full or read-only disk costs time on the next call, nothing else
        _log.warning("could not keep %s: %s", path, error)
    return made[split]

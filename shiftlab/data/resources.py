"""Find the folders that travel with the package: data cards and studies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

__all__ = ["cache_dir", "resource_root"]

_PACKAGED = {"datasets": "_cards", "experiments": "_studies"}


def resource_root(kind: Literal["datasets", "experiments"]) -> Path:
    """Folder of the data cards or of the studies, in a clone and in an installed wheel.

    An installed wheel carries them as ``shiftlab/_cards`` and ``shiftlab/_studies``;
    in a clone they are the folders ``datasets`` and ``experiments`` beside the package.

    Parameters
    ----------
    kind : {"datasets", "experiments"}
        Which of the two folders.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    ValueError
        If ``kind`` is neither of the two.
    FileNotFoundError
        If the installation carries no such folder.

    Examples
    --------
    >>> from shiftlab.data import resource_root
    >>> (resource_root("datasets") / "digit5").is_dir()
    True
    """
    if kind not in _PACKAGED:
        raise ValueError(f"kind must be one of {sorted(_PACKAGED)}, got {kind!r}")
    package = Path(__file__).resolve().parents[1]
    candidates = (package / _PACKAGED[kind], package.parent / kind)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"this installation has no {kind} folder; looked at "
        + " and ".join(str(folder) for folder in candidates)
    )


def cache_dir() -> Path:
    """Folder for downloads and rendered images: ``SHIFTLAB_CACHE`` or the user's cache.

    Returns
    -------
    Path
        The folder; it need not exist yet.

    Examples
    --------
    >>> from shiftlab.data.resources import cache_dir
    >>> cache_dir().is_absolute()
    True
    """
    chosen = os.environ.get("SHIFTLAB_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    import pooch

    return Path(pooch.os_cache("shiftlab")).resolve()

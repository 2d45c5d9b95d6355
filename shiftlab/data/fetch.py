"""Get a data set: download what has an address, make what has a recipe."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftlab.files import write_atomically

from .cards import read_card
from .download import download_card, official_dir
from .generated import recipe_mnist_m, rendered_synth
from .local import find_local
from .raw import RawDigits, Split

__all__ = ["fetch"]

_SPLITS: tuple[Split, Split] = ("train", "test")


def _write_npz(path: Path, halves: dict[Split, RawDigits], recipe: str) -> None:
    # The recipe travels inside: whoever loads the file later is told that it is a stand-in.
    arrays: dict[str, NDArray[np.generic]] = {"recipe": np.array(recipe)}
    for half, digits in halves.items():
        arrays[f"X_{half}"], arrays[f"y_{half}"] = digits.X, digits.y
        if digits.mnist_index is not None:
            arrays[f"idx_{half}"] = digits.mnist_index
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _make(name: str, root: str | os.PathLike[str] | None, progress: bool, recipe: str) -> Path:
    path = official_dir(root) / name / f"{name}.npz"
    if path.is_file():
        return path.parent
    if name == "mnist_m":
        mnist = find_local("mnist", fetch("mnist", root, progress))
        if mnist is None:  # fetch has just checked every file
            raise FileNotFoundError(f"MNIST is not complete in {official_dir(root) / 'mnist'}")
        halves = {half: recipe_mnist_m(mnist.read, half) for half in _SPLITS}
    elif name == "synth":
        halves = {half: rendered_synth(half) for half in _SPLITS}
    else:
        raise ValueError(f"{name} cannot be fetched or made by a command. {recipe}")
    _write_npz(path, halves, recipe)
    return path.parent


def fetch(
    card_name: str, root: str | os.PathLike[str] | None = None, progress: bool = True
) -> Path:
    """Get a data set into a folder where ``load_digits5`` finds it.

    Files with an address are downloaded: mirrors in order, an interrupted download
    resumed, every file checked against its hash. MNIST-M and SynthDigits, which have no
    lasting address, are made by the recipe on their card. What is already there and
    right is not fetched again.

    Parameters
    ----------
    card_name : str
        A name from :func:`list_cards`.
    root : path or None, default=None
        Folder to put it in; None is the user's cache, where ``source="official"`` looks.
    progress : bool, default=True
        Whether to show a progress bar on stderr.

    Returns
    -------
    Path
        The folder with the files, ``<root>/<card_name>``.

    Raises
    ------
    ValueError
        If there is no such card.
    DownloadError
        If no mirror gave a file; the next call resumes.

    Examples
    --------
    >>> from shiftlab.data import fetch
    >>> fetch("no-such-card")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ValueError: card_name must be one of ['mnist', ...], got 'no-such-card'
    """
    card = read_card(card_name)
    if not card.files:
        return _make(card.name, root, progress, " ".join(card.recipe.split()))
    folder = official_dir(root) / card.name
    download_card(card, folder, progress)
    return folder

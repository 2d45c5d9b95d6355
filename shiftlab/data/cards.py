"""Data cards: what a data set consists of, where it comes from and who may use it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .resources import resource_root

__all__ = ["Card", "CardFile", "list_cards", "read_card"]


@dataclass(frozen=True)
class CardFile:
    """One file of a data set.

    Parameters
    ----------
    name : str
        File name, without a folder.
    hash : str
        ``"sha256:..."`` or ``"md5:..."``.
    urls : tuple of str
        Addresses, tried in this order.

    Examples
    --------
    >>> from shiftlab.data import CardFile
    >>> CardFile("a.gz", "md5:0", ("https://example.org/a.gz",)).name
    'a.gz'
    """

    name: str
    hash: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """One data set, as its TOML file in ``datasets/`` describes it.

    Parameters
    ----------
    name : str
        Short name, e.g. ``"mnist_m"``.
    title : str
        Its usual name.
    collection : str
        Folder of the card, e.g. ``"digit5"``.
    licence : str
        Terms of use, in words.
    non_commercial : bool
        Whether commercial use is not allowed.
    shape : tuple of int
        Shape of one image or row.
    n_train, n_test : int
        Sizes of the published split.
    citation : str
        Authors, title, venue, year.
    homepage : str
        Where to read more.
    files : tuple of CardFile
        What to download; empty when there is no stable address.
    recipe : str
        How it is made when it cannot be downloaded, else empty.

    Examples
    --------
    >>> from shiftlab.data import read_card
    >>> read_card("svhn").non_commercial
    True
    """

    name: str
    title: str
    collection: str
    licence: str
    non_commercial: bool
    shape: tuple[int, ...]
    n_train: int
    n_test: int
    citation: str
    homepage: str
    files: tuple[CardFile, ...]
    recipe: str


_KEYS = {
    "name", "title", "licence", "non_commercial", "shape", "splits", "citation", "homepage",
    "files", "recipe",
}  # fmt: skip


def _parse(path: Path) -> Card:
    def fail(reason: str) -> ValueError:
        return ValueError(f"{path}: {reason}")

    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise fail(f"not valid TOML ({error})") from error
    unknown = set(content) - _KEYS
    missing = _KEYS - {"files", "recipe"} - set(content)
    if unknown or missing:
        raise fail(f"unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
    if content["name"] != path.stem:
        raise fail(f"name must be {path.stem!r} like the file, got {content['name']!r}")
    files = []
    for entry in content.get("files", []):
        name = entry["name"]
        if Path(name).name != name or name in ("", ".", ".."):
            raise fail(f"a file name must not hold a folder, got {name!r}")
        algorithm = entry["hash"].partition(":")[0]
        if algorithm not in ("sha256", "md5"):
            raise fail(f"hash of {name} must start with 'sha256:' or 'md5:'")
        files.append(CardFile(name, entry["hash"], tuple(entry["urls"])))
    if not files and not content.get("recipe"):
        raise fail("needs files to download or a recipe")
    return Card(
        name=content["name"],
        title=content["title"],
        collection=path.parent.name,
        licence=content["licence"],
        non_commercial=content["non_commercial"],
        shape=tuple(content["shape"]),
        n_train=content["splits"]["train"],
        n_test=content["splits"]["test"],
        citation=content["citation"],
        homepage=content["homepage"],
        files=tuple(files),
        recipe=content.get("recipe", ""),
    )


def list_cards() -> list[Card]:
    """All data cards that come with shiftlab, sorted by collection and name.

    Returns
    -------
    list of Card
        The cards.

    Raises
    ------
    ValueError
        If a card is not valid; the message names its file.

    Examples
    --------
    >>> from shiftlab.data import list_cards
    >>> sorted(card.name for card in list_cards() if card.collection == "digit5")
    ['mnist', 'mnist_m', 'svhn', 'synth', 'usps']
    """
    return [_parse(path) for path in sorted(resource_root("datasets").glob("*/*.toml"))]


def read_card(name: str) -> Card:
    """The data card called ``name``.

    Parameters
    ----------
    name : str
        A name from :func:`list_cards`.

    Returns
    -------
    Card
        The card.

    Raises
    ------
    ValueError
        If there is no such card.

    Examples
    --------
    >>> from shiftlab.data import read_card
    >>> read_card("usps").n_train
    7291
    """
    cards = {card.name: card for card in list_cards()}
    if name not in cards:
        raise ValueError(f"card_name must be one of {sorted(cards)}, got {name!r}")
    return cards[name]

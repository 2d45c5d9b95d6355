"""What a Digit-5 study is made of: pairs, methods, seeds, sizes and training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ALL_PAIRS",
    "ALWAYS",
    "DIGIT_DOMAINS",
    "REST",
    "Digit5Settings",
    "parts_of",
    "read_pairs",
]

DIGIT_DOMAINS = ("mnist", "mnist_m", "usps", "svhn", "synth")
ALL_PAIRS = tuple((s, t) for s in DIGIT_DOMAINS for t in DIGIT_DOMAINS if s != t)
# As a source: all other domains, each a source of its own.
REST = "rest"
# The two rows that every table has: the floor and the ceiling.
ALWAYS = ("source-only", "target-supervised")

# Raised when the protocol changes in a way that the settings do not show.
_PROTOCOL = 1
_NETWORKS = ("digit_cnn", "lenet")
_SOURCES = ("auto", "local", "offline", "official")
# Fields that choose cells of the grid, or where data come from, and change no cell's result.
_CHOICE = ("pairs", "methods", "seeds", "source_data")


@dataclass(frozen=True)
class Digit5Settings:
    """Settings of a Digit-5 study; those that change a result are part of each cell's key.

    Parameters
    ----------
    pairs : tuple of (str, str), default=all 20
        Source and target of each transfer. The source "rest" is all four other domains.
    methods : tuple of str, default=("source-only", "coral", "finetune", "target-supervised")
        Rows of the table. "source-only" and "target-supervised" are added when absent.
    seeds : int, default=3
        Seeds 0 to ``seeds - 1``.
    n_train : int, default=5000
        Training images drawn a domain and seed; all of them where a domain has fewer.
    n_test : int, default=2000
        Test images drawn a domain and seed; all of them where a domain has fewer.
    labels_per_class : int, default=10
        Labelled target images a class that "finetune" sees.
    size : int, default=28
        Height and width of the images.
    channels : {1, 3}, default=3
        1 turns colour to gray, in which many strokes of MNIST-M cannot be seen.
    network : {"digit_cnn", "lenet"}, default="digit_cnn"
        What is trained; the network is the same for all methods.
    epochs : int, default=30
        Passes over the training images of a network.
    finetune_epochs : int, default=40
        Passes over the few labelled images, at most.
    source_data : {"auto", "local", "offline", "official"}, default="auto"
        Where the digits come from.

    Raises
    ------
    ValueError
        If a value is out of range or a name is unknown.

    Examples
    --------
    >>> from shiftlab.experiments import Digit5Settings
    >>> Digit5Settings(pairs=(("mnist", "usps"),), methods=("coral",)).methods
    ('source-only', 'coral', 'target-supervised')
    """

    pairs: tuple[tuple[str, str], ...] = ALL_PAIRS
    methods: tuple[str, ...] = ("source-only", "coral", "finetune", "target-supervised")
    seeds: int = 3
    n_train: int = 5000
    n_test: int = 2000
    labels_per_class: int = 10
    size: int = 28
    channels: int = 3
    network: str = "digit_cnn"
    epochs: int = 30
    finetune_epochs: int = 40
    source_data: str = "auto"

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # frozen; construction is the one exception
        set_(self, "pairs", read_pairs(self.pairs))
        wanted = list(dict.fromkeys(str(m) for m in self.methods))
        middle = [m for m in wanted if m not in ALWAYS]
        set_(self, "methods", (ALWAYS[0], *middle, ALWAYS[1]))
        for name in _COUNTS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels!r}")
        if self.network not in _NETWORKS:
            raise ValueError(f"network must be one of {', '.join(_NETWORKS)}; got {self.network!r}")
        if self.source_data not in _SOURCES:
            raise ValueError(
                f"source_data must be one of {', '.join(_SOURCES)}; got {self.source_data!r}"
            )

    @classmethod
    def quick(cls, **changes: Any) -> Digit5Settings:
        """Return small settings: all pairs in a few minutes, for a look and not for a table.

        Parameters
        ----------
        **changes : object
            Fields to set otherwise.

        Returns
        -------
        Digit5Settings
        """
        small: dict[str, Any] = {
            "seeds": 1,
            "n_train": 1000,
            "n_test": 500,
            "epochs": 8,
            "finetune_epochs": 8,
        }
        return cls(**{**small, **changes})

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], **changes: Any) -> Digit5Settings:
        """Read the table ``[study]`` of a TOML file.

        Parameters
        ----------
        path : str or path-like
            The file. Pairs are strings, ``"mnist:usps"``, or the word ``"all"``.
        **changes : object
            Fields to set otherwise than the file does.

        Returns
        -------
        Digit5Settings

        Raises
        ------
        ValueError
            If the file is no TOML, or has a field that the settings have not.
        FileNotFoundError
            If there is no such file.
        """
        source = Path(path)
        try:
            content = tomllib.loads(source.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{source} is no TOML file: {error}") from error
        study = content.get("study")
        if not isinstance(study, dict):
            raise ValueError(f"{source} has no table [study]")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(study) - known)
        if unknown:
            raise ValueError(
                f"{source}: unknown setting {', '.join(unknown)}; known are "
                + ", ".join(sorted(known))
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in study.items()}
        return cls(**{**values, **changes})

    def with_(self, **changes: Any) -> Digit5Settings:
        """Return the settings with some fields replaced."""
        return dataclasses.replace(self, **changes)

    @property
    def domains(self) -> tuple[str, ...]:
        """All domains of the pairs, each once, in the order of Digit-5."""
        named = {d for s, t in self.pairs for d in (*parts_of(s, t), t)}
        return tuple(d for d in DIGIT_DOMAINS if d in named)

    def training(self) -> dict[str, Any]:
        """Return what a trained network depends on, besides its domain and seed."""
        return self._named("n_train", "size", "channels", "network", "epochs")

    def result(self) -> dict[str, Any]:
        """Return what a cell's result depends on, besides data, domains, method and seed."""
        fields = (f.name for f in dataclasses.fields(self) if f.name not in _CHOICE)
        return self._named(*fields)

    def _named(self, *names: str) -> dict[str, Any]:
        """Return some fields; the usual network goes unnamed, as in results older than others."""
        values = {name: getattr(self, name) for name in names}
        if self.network == _NETWORKS[0]:
            del values["network"]
        return {"protocol": _PROTOCOL, **values}


def parts_of(source: str, target: str) -> tuple[str, ...]:
    """Return the domains that a source is made of.

    Parameters
    ----------
    source, target : str
        A pair.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from shiftlab.experiments.settings import parts_of
    >>> parts_of("usps", "mnist"), parts_of("rest", "mnist")
    (('usps',), ('mnist_m', 'usps', 'svhn', 'synth'))
    """
    return tuple(d for d in DIGIT_DOMAINS if d != target) if source == REST else (source,)


_COUNTS = ("seeds", "n_train", "n_test", "labels_per_class", "size", "epochs", "finetune_epochs")


def short_hash(values: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that name a set of values."""
    text = json.dumps(dict(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_pairs(pairs: str | Iterable[str | tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Read pairs of domains from text or tuples.

    Parameters
    ----------
    pairs : str or iterable of str or (str, str)
        ``"all"``, ``"mnist:usps,svhn:mnist"``, ``["mnist:usps"]`` or ``[("mnist", "usps")]``;
        ``"rest:usps"`` for four sources at once.

    Returns
    -------
    tuple of (str, str)
        Each pair once, in the given order.

    Raises
    ------
    ValueError
        If a domain is unknown, a pair has not two of them, or both are the same.

    Examples
    --------
    >>> from shiftlab.experiments.settings import read_pairs
    >>> read_pairs("mnist:usps, usps:mnist")
    (('mnist', 'usps'), ('usps', 'mnist'))
    """
    if isinstance(pairs, str):
        if pairs.strip() == "all":
            return ALL_PAIRS
        pairs = [p for p in pairs.split(",") if p.strip()]
    found: dict[tuple[str, str], None] = {}
    for pair in pairs:
        parts = tuple(p.strip() for p in pair.split(":")) if isinstance(pair, str) else tuple(pair)
        if len(parts) == 1 and parts[0] == "all":
            found.update(dict.fromkeys(ALL_PAIRS))
            continue
        if len(parts) != 2:
            raise ValueError(f"a pair is source:target, for example mnist:usps; got {pair!r}")
        for name in parts:
            if name not in DIGIT_DOMAINS and (name, parts[0]) != (REST, REST):
                raise ValueError(
                    f"unknown domain {name!r}; the domains are {', '.join(DIGIT_DOMAINS)}, and "
                    "rest as a source"
                )
        if parts[0] == parts[1]:
            raise ValueError(f"source and target of a pair must differ, got {pair!r}")
        found[(parts[0], parts[1])] = None
    if not found:
        raise ValueError("pairs names no pair; write source:target, for example mnist:usps")
    return tuple(found)

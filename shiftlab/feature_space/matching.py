"""Columns of a table as far as matching looks at them, and matches by name."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.feature_space.units import (
    conversion_by_name,
    ks_distance,
    stem_of,
    unit_of,
    words,
    worsening,
)

__all__ = [
    "BY_CONTENT",
    "Column",
    "Match",
    "has_words",
    "match_by_name",
    "name_similarity",
    "normal_form",
    "read_columns",
    "rename_categories",
]

Floats = NDArray[np.float64]

BY_CONTENT = "distribution and dependence"

# Distributions are compared on at most this many values a column, taken evenly.
MOST_VALUES = 10_000


@dataclass(frozen=True, eq=False)
class Column:
    """A column, as far as matching looks at it.

    Parameters
    ----------
    name : str
        Its name.
    numeric : bool
        Whether it holds numbers (or booleans), rather than categories.
    values : ndarray
        Sorted finite numbers; empty for categories.
    shares : dict of str to float
        Share of each category in normal form; empty for numbers.
    labels : tuple of str
        Categories as they are written.
    """

    name: str
    numeric: bool
    values: Floats
    shares: dict[str, float]
    labels: tuple[str, ...] = ()


class Match(NamedTuple):
    """A matched pair: names, how it was found, and a score in 0..1."""

    source: str
    target: str
    how: str
    score: float


def normal_form(text: Any) -> str:
    """Return text without case, spaces and punctuation; the text itself if nothing is left."""
    plain = "".join(c for c in str(text).casefold() if c.isalnum())
    return plain or str(text).strip()


def read_columns(domain: Domain) -> list[Column]:
    """Return the columns of a frame, or of an array with or without names."""
    step = max(1, domain.n_rows // MOST_VALUES)
    if not domain.is_frame:
        names = domain.feature_names or tuple(str(j) for j in range(domain.n_features))
        X = domain.X[::step]
        X = X.toarray() if domain.is_sparse else X
        return [Column(c, True, _sorted(X[:, j]), {}) for j, c in enumerate(names)]
    table = nw.from_native(domain.X, eager_only=True)
    columns = []
    for j, name in enumerate(table.columns):
        column = table[:, j][::step]
        if column.dtype.is_numeric() or column.dtype == nw.Boolean:
            values = column.drop_nulls().cast(nw.Float64).to_numpy()
            columns.append(Column(str(name), True, _sorted(values), {}))
        else:
            # All rows: a rare category must be renamed as well.
            counts = _counts(str(name), table[:, j].to_list())
            shares: dict[str, float] = {}
            for label, count in counts.items():
                form = normal_form(label)
                shares[form] = shares.get(form, 0.0) + count / counts.total()
            columns.append(Column(str(name), False, np.empty(0), shares, tuple(counts)))
    return columns


def _counts(name: str, values: list[Any]) -> Counter[Any]:
    """How often each category stands in a column."""
    try:
        counts = Counter(v for v in values if v is not None and v == v)
    except TypeError:
        kind = next(type(v).__name__ for v in values if v is not None)
        raise ValueError(
            f"column {name!r} holds values of type {kind}, which cannot be matched: give their "
            "parts columns of their own, or drop it"
        ) from None
    for value in counts:
        beyond = isinstance(value, int) and abs(value) > sys.float_info.max
        if isinstance(value, complex) or beyond:
            raise ValueError(
                f"column {name!r} holds {'integers beyond floats' if beyond else 'complex numbers'}"
                ", which cannot be matched: make them real numbers or text, or drop it"
            )
    return counts


def _sorted(values: NDArray[Any]) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    return np.sort(numbers[np.isfinite(numbers)])


def name_similarity(a: str, b: str) -> float:
    """Compare two names by their words; a word may be a prefix of the other's.

    Edit distance is not used: "height" and "weight" are one letter apart.

    Parameters
    ----------
    a, b : str
        Column names; units at their end are left out.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> name_similarity("sepal_len", "Sepal Length (cm)"), name_similarity("height", "weight")
    (1.0, 0.0)
    """
    first, second = (words(n)[:-1] if unit_of(n) else words(n) for n in (a, b))
    if not first or not second:
        return 0.0
    left, matched = list(second), 0
    for word in first:
        for other in left:
            short, long = sorted((word, other), key=len)
            if word == other or (len(short) >= 3 and long.startswith(short)):
                left.remove(other)
                matched += 1
                break
    return matched / max(len(first), len(second))


def has_words(name: str) -> bool:
    """Tell whether a name says something: "v12" and "x_3" do not, "income" does.

    Parameters
    ----------
    name : str
        A column's name.

    Returns
    -------
    bool
    """
    return any(len(word) >= 3 and word.isalpha() for word in words(name))


def match_by_name(source: list[Column], target: list[Column]) -> list[Match]:
    """Match equal names, then names that are equal up to case, spaces and punctuation.

    Parameters
    ----------
    source, target : list of Column
        Columns not matched so far.

    Returns
    -------
    list of Match
        Names that could be several of the other side are left to the distributions.
    """
    target_names = {c.name for c in target}
    matches = [Match(c.name, c.name, "same name", 1.0) for c in source if c.name in target_names]
    for how, form in (
        ("same name but for case or punctuation", normal_form),
        ("same name, other unit", stem_of),
    ):
        done, taken = {m.source for m in matches}, {m.target for m in matches}
        groups: dict[str, tuple[list[Column], list[Column]]] = {}
        for side, (columns, gone) in enumerate(((source, done), (target, taken))):
            for column in columns:
                if column.name not in gone:
                    groups.setdefault(form(column.name), ([], []))[side].append(column)
        for mine, theirs in groups.values():
            alone = len(mine) == 1 and len(theirs) == 1
            if alone and (form is normal_form or _units_agree(mine[0], theirs[0])):
                matches.append(Match(mine[0].name, theirs[0].name, how, 1.0))
    return matches


def _units_agree(source: Column, target: Column) -> bool:
    """Tell whether the ends of two names can be units: "vitamin c" and "vitamin k" are not."""
    if not (source.numeric and target.numeric and len(source.values) and len(target.values)):
        return False
    named = conversion_by_name(source.name, target.name)
    if named is None:
        return unit_of(source.name) is None or unit_of(target.name) is None
    if worsening(named, source.values, target.values) > 0:
        return False
    converted = named.factor * target.values + named.offset
    n, m = len(source.values), len(target.values)
    return ks_distance(source.values, converted) <= max(0.5, 1.36 * float(np.sqrt(1 / n + 1 / m)))


def rename_categories(source: Column, target: Column) -> tuple[dict[str, str], list[str]]:
    """Pair categories that differ by case, spaces or punctuation only.

    Parameters
    ----------
    source, target : Column
        Of categories.

    Returns
    -------
    tuple of (renamed, new)
        Target category -> source category, and target categories that the source has not.

    Raises
    ------
    ValueError
        If a category of the target could be several of the source.
    """
    forms: dict[str, list[str]] = {}
    for label in source.labels:
        forms.setdefault(normal_form(label), []).append(label)
    renamed, new = {}, []
    for label in target.labels:
        if label in source.labels:
            continue
        near = forms.get(normal_form(label), [])
        if len(near) > 1:
            raise ValueError(
                f"SchemaAlignment: category {label!r} of column {target.name!r} could be any of "
                f"{sorted(near)}; rename it"
            )
        if near:
            renamed[label] = near[0]
        else:
            new.append(label)
    return renamed, new

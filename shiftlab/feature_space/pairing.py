"""Pair the columns of two domains: as told, by name, and by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np

from shiftlab.domain import Domain
from shiftlab.feature_space.assignment import match_by_content
from shiftlab.feature_space.matching import (
    BY_CONTENT,
    Column,
    Match,
    match_by_name,
    normal_form,
    read_columns,
    rename_categories,
)
from shiftlab.feature_space.profiles import Profiles, read_profiles
from shiftlab.feature_space.recoding import match_levels

__all__ = ["Pairing", "check_factors", "check_names"]

# A candidate below this probability is not worth a line.
WORTH_NAMING = 0.05


@dataclass
class Pairing:
    """The columns of two domains, and which of them are the same.

    Parameters
    ----------
    source, target : Domain
        The two samples.
    mapping : mapping of str to str
        Target column -> source column, decided by the user.
    min_confidence : float
        Probability from which a pair that no name decides is taken.

    Attributes
    ----------
    mine, theirs : list of Column
        What was read.
    matches : list of Match
        Pairs.
    candidates : dict of str to list of (str, float)
        For source columns that stayed open, target columns that could be it.
    copies : dict of str to str
        Target columns that repeat another one, row by row, and which.
    """

    source: Domain
    target: Domain
    mapping: Mapping[str, str]
    min_confidence: float
    mine: list[Column] = field(init=False)
    theirs: list[Column] = field(init=False)
    matches: list[Match] = field(init=False)
    candidates: dict[str, list[tuple[str, float]]] = field(init=False, default_factory=dict)
    copies: dict[str, str] = field(init=False, default_factory=dict)
    _profiles: tuple[Profiles, Profiles] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        source, target = self.source, self.target
        self.mine, self.theirs = read_columns(source), read_columns(target)
        named = source.is_frame or bool(source.feature_names and target.feature_names)
        same = named or source.n_features == target.n_features
        if not named and same:
            # arrays of one width go by position, and their columns are called alike
            pairs = zip(self.mine, self.theirs, strict=True)
            self.theirs = [replace(b, name=a.name) for a, b in pairs]
        given = {str(a): str(b) for a, b in self.mapping.items()}
        check_names("mapping", list(given), self.theirs, "target")
        check_names("mapping", list(given.values()), self.mine, "source")
        if len(set(given.values())) < len(given):
            raise ValueError(f"SchemaAlignment: mapping={given} gives a source column twice")
        self.matches = [Match(b, a, "mapping", 1.0) for a, b in given.items()]
        if not named and same and not given:
            self.matches = [Match(c.name, c.name, "position", 1.0) for c in self.mine]
        elif same:
            self.matches += match_by_name(*self._left())
        if all(self._left()):
            self._match_the_rest(named)

    def _left(self) -> tuple[list[Column], list[Column]]:
        sources, targets = {m.source for m in self.matches}, {m.target for m in self.matches}
        return (
            [c for c in self.mine if c.name not in sources],
            [c for c in self.theirs if c.name not in targets and c.name not in self.copies],
        )

    @property
    def profiles(self) -> tuple[Profiles, Profiles]:
        """Distributions and dependences of both sides, read when they are first asked for."""
        if self._profiles is None:
            self._profiles = (
                read_profiles(self.source, self.mine),
                read_profiles(self.target, self.theirs),
            )
        return self._profiles

    def index(self, side: str, name: str) -> int:
        """Return the position of a column of the "source" or of the "target"."""
        columns = self.mine if side == "source" else self.theirs
        return next(j for j, c in enumerate(columns) if c.name == name)

    def _match_the_rest(self, named: bool) -> None:
        self._find_copies()
        left_s, left_t = self._left()
        known = [
            (self.index("source", m.source), self.index("target", m.target)) for m in self.matches
        ]
        copies = [self.index("target", name) for name in self.copies]
        pairs, sure = match_by_content(*self.profiles, known, named=named, left_out=copies)
        at_s = {self.index("source", c.name): c for c in left_s}
        at_t = {self.index("target", c.name): c for c in left_t}
        for i, j in pairs:
            if i in at_s and j in at_t and sure[i, j] >= self.min_confidence:
                match = Match(at_s[i].name, at_t[j].name, BY_CONTENT, float(sure[i, j]))
                self.matches.append(match)
        taken = {m.target for m in self.matches}
        for i, column in at_s.items():
            if column.name not in {m.source for m in self.matches}:
                near = [(c.name, float(sure[i, j])) for j, c in at_t.items() if c.name not in taken]
                near = [pair for pair in near if pair[1] >= WORTH_NAMING]
                self.candidates[column.name] = sorted(near, key=lambda pair: -pair[1])

    def _find_copies(self) -> None:
        """Note target columns that equal an earlier one; constant ones say nothing."""
        matched = {m.target for m in self.matches}
        order = sorted(range(len(self.theirs)), key=lambda j: self.theirs[j].name not in matched)
        constant = self.profiles[1].constant
        seen: dict[Any, str] = {}
        for j in order:
            name = self.theirs[j].name
            if constant[j]:
                continue
            first = seen.setdefault(_content(self.target, j), name)
            if first != name and name not in matched:
                self.copies[name] = first

    def recode(self, match: Match) -> tuple[dict[Any, Any] | None, str]:
        """Return which value of the target is which of the source, and a note.

        Parameters
        ----------
        match : Match
            A pair of columns of which at least one has categories or few numbers.

        Returns
        -------
        tuple of (dict or None, str)
            None where the encodings cannot be brought together.
        """
        i, j = self.index("source", match.source), self.index("target", match.target)
        mine, theirs = self.mine[i], self.theirs[j]
        if not mine.numeric and not theirs.numeric:
            renamed, new = rename_categories(mine, theirs)
            shared = {normal_form(v) for v in mine.labels} & {normal_form(v) for v in theirs.labels}
            if shared or not new:
                return renamed, f"new categories {new[:5]}" if new else ""
        codes, sure = self._levels(i, j)
        if sure >= self.min_confidence:
            return codes, f"values matched by frequency and dependence ({sure:.2f})"
        if mine.numeric != theirs.numeric:
            return None, ""
        return {}, f"new categories {list(theirs.labels)[:5]}" if theirs.labels else ""

    def recode_numbers(self, match: Match) -> tuple[dict[Any, Any], tuple[float, float]]:
        """Return how the few numbers of one column stand for those of another.

        Parameters
        ----------
        match : Match
            A pair of columns of numbers.

        Returns
        -------
        tuple of (dict, (factor, offset))
            A rising straight line where one does it, which new values follow, too; or which
            value stands for which; or nothing to do.
        """
        i, j = self.index("source", match.source), self.index("target", match.target)
        codes, sure = self._levels(i, j)
        levels_s, levels_t = (p.levels[k] for p, k in zip(self.profiles, (i, j), strict=True))
        same_size = levels_s is not None and levels_t is not None and len(levels_s) == len(levels_t)
        if not same_size or sure < self.min_confidence or all(a == b for a, b in codes.items()):
            return {}, (1.0, 0.0)
        x, y = (np.array(list(v), dtype=np.float64) for v in (codes.keys(), codes.values()))
        slope, offset = np.polyfit(x, y, 1)
        offset = 0.0 if abs(offset) < 1e-9 * np.abs(y).max() else offset
        if slope > 0 and np.abs(slope * x + offset - y).max() < 1e-9 * np.abs(y).max():
            return {}, (float(slope), float(offset))
        return codes, (1.0, 0.0)

    def _levels(self, i: int, j: int) -> tuple[dict[Any, Any], float]:
        profile_s, profile_t = self.profiles
        if profile_s.levels[i] is None or profile_t.levels[j] is None:
            return {}, 0.0
        pairs = [
            (self.index("source", m.source), self.index("target", m.target)) for m in self.matches
        ]
        others = [
            (k, m)
            for k, m in pairs
            if k != i
            and self.mine[k].numeric
            and self.theirs[m].numeric
            and profile_s.levels[k] is None
        ]
        mine = profile_s.ranks[:, [k for k, _ in others]].astype(np.float64)
        theirs = profile_t.ranks[:, [m for _, m in others]].astype(np.float64)
        return match_levels(profile_s.values[i], profile_t.values[j], mine, theirs)


def _content(domain: Domain, j: int) -> Any:
    if not domain.is_frame:
        return np.ascontiguousarray(domain.X[:, j]).tobytes()
    column = nw.from_native(domain.X, eager_only=True)[:, j]
    if column.dtype.is_numeric() and not column.null_count():
        return column.cast(nw.Float64).to_numpy().tobytes()
    return tuple(column.to_list())


def check_names(parameter: str, names: list[str], columns: list[Column], side: str) -> None:
    """Raise ValueError where a parameter names a column that a side has not."""
    known = [c.name for c in columns]
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ValueError(
            f"SchemaAlignment: {parameter} names {unknown}, which the {side} has not; its columns "
            f"are {known[:12]}"
        )


def check_factors(units: Mapping[Any, Any], columns: list[Column]) -> None:
    """Raise ValueError unless ``units`` gives a number to columns of numbers of the target."""
    check_names("units", [str(name) for name in units], columns, "target")
    for name, factor in units.items():
        if not isinstance(factor, Real) or not np.isfinite(float(factor)) or factor == 0:
            raise ValueError(
                f"SchemaAlignment: units[{name!r}] must be a finite factor other than zero; got "
                f"{factor!r}"
            )
        if not next(c for c in columns if c.name == str(name)).numeric:
            raise ValueError(
                f"SchemaAlignment: units names {name!r}, which holds text in the target; only "
                "numbers have a unit"
            )

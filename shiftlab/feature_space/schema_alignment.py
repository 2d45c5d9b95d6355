"""Bring the target's columns, units and categories to the source's schema."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar

import narwhals.stable.v1 as nw
import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.feature_space.matching import (
    BY_CONTENT,
    Ambiguity,
    Column,
    Match,
    match_by_content,
    match_by_name,
    read_columns,
    rename_categories,
)
from shiftlab.feature_space.units import BY_DISTRIBUTION, Conversion, choose_conversion
from shiftlab.validation import check_values

__all__ = ["ColumnReport", "SchemaAlignment"]


@dataclass(frozen=True)
class ColumnReport:
    """What was done with one column.

    Parameters
    ----------
    source, target : str or None
        Names on both sides; None where a side has no such column.
    how : str
        How the pair was found, or "missing in the target" or "only in the target".
    score : float, default=1.0
        Confidence in the pair, 0 to 1.
    factor, offset : float
        ``source value = factor * target value + offset``.
    unit : str, default=""
        Name of the conversion.
    categories : dict of str to str
        Categories of the target that were renamed.
    note : str, default=""
        What stayed open.
    """

    source: str | None
    target: str | None
    how: str
    score: float = 1.0
    factor: float = 1.0
    offset: float = 0.0
    unit: str = ""
    categories: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        pair = " <- ".join(repr(n) if n is not None else "-" for n in (self.source, self.target))
        parts = [f"{pair}: {self.how} ({self.score:.2f})"]
        if self.unit:
            shift = f" {self.offset:+g}" if self.offset else ""
            parts.append(f"unit {self.unit} (x {self.factor:g}{shift})")
        if self.categories:
            renamed = ", ".join(f"{a!r} to {b!r}" for a, b in self.categories.items())
            parts.append(f"categories {renamed}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)


class SchemaAlignment(Adapter):
    """Rename, reorder, convert and recode the target's columns into those of the source.

    Columns are matched one to one, by the first of these that applies: ``mapping``; the same
    name; the same name but for case, spaces and punctuation; and for what is left, a score

    ``0.4 * similarity of the words in the names + 0.6 * (1 - distance of the distributions)``

    (Kolmogorov-Smirnov for numbers, after a known conversion of units if one is needed; total
    variation for categories), which must reach ``min_score`` and lead every rival on both
    sides by ``min_margin``. A match by score gives a warning that names it; a column with
    several candidates is an error that lists them.

    A unit is converted if both names spell one out ("height_cm", "height (in)"), or if the
    distributions lie apart and agree after one known conversion (powers of ten; length, mass,
    time, volume, temperature, share); the latter gives a warning. Any other difference of
    scale may be a real shift, stays as it is and is noted in the report. Categories that
    differ by case, spaces or punctuation are renamed; new ones stay.

    It helps when the same quantities were recorded under another schema. It harms when a
    column's distribution really moved by the factor of a known conversion, or when two columns
    that mean different things share a name: read ``summary()``.

    Columns that only the target has are left out. Arrays without names are matched by
    position and must have equally many columns; sparse matrices and images pass unchanged.
    Missing values pass, unless ``X`` is an array and the estimator takes none.
    Time O(n d log n) on at most 10,000 rows a side, and O(m_s m_t n log n) for the m columns
    that no name matches.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the source.
    mapping : dict of str to str, default=None
        Target column -> source column; goes before everything else.
    missing : {"error", "drop"}, default="error"
        What to do with a source column that the target does not have: "drop" removes it from
        the source.
    units : "auto", "keep" or dict, default="auto"
        "keep" converts nothing; a dict of target column -> factor is applied to these columns,
        and the others are treated as with "auto".
    min_score : float, default=0.5
        Lowest score of a match by names and distributions, 0 to 1.
    min_margin : float, default=0.1
        Lead that it needs over every rival.

    Attributes
    ----------
    source_ : Domain
        The source, without dropped columns.
    report_ : list of ColumnReport
        One record for each column of either side.

    Raises
    ------
    ValueError
        In `fit`, if a column is missing or ambiguous, ``mapping`` or ``units`` name a column
        that is not there, numbers meet text, or no column is shared.

    Warns
    -----
    UserWarning
        For each match and conversion that the distributions had to decide.

    References
    ----------
    E. Rahm, P. Bernstein, "A survey of approaches to automatic schema matching", The VLDB
    Journal 2001.

    Examples
    --------
    >>> import pandas as pd
    >>> from shiftlab import SchemaAlignment
    >>> source = pd.DataFrame({"height_cm": [150.0, 180.0], "sex": ["f", "m"]})
    >>> target = pd.DataFrame({"Sex ": ["M", "F"], "Height (m)": [1.75, 1.6]})
    >>> adapter = SchemaAlignment().fit(source, target)
    >>> adapter.transform(target).to_dict("list")
    {'height_cm': [175.0, 160.0], 'sex': ['m', 'f']}
    >>> print(adapter.report_[0])
    'height_cm' <- 'Height (m)': same name, other unit (1.00); unit m to cm (x 100)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("feature_space",),
        assumes="Both sides recorded the same quantities, under other names, units or spellings.",
        inputs=("dense", "sparse", "frame", "images"),
        cost="O(n d log n) on at most 10,000 rows; O(m^2 n log n) for m columns without a name",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "mapping": [Mapping, None],
        "missing": [StrOptions({"error", "drop"})],
        "units": [StrOptions({"auto", "keep"}), Mapping],
        "min_score": [Interval(Real, 0, 1, closed="both")],
        "min_margin": [Interval(Real, 0, 1, closed="both")],
    }

    report_: list[ColumnReport]
    _columns: list[tuple[int, int, ColumnReport]]

    def __init__(
        self,
        estimator: Any = None,
        *,
        mapping: Mapping[str, str] | None = None,
        missing: str = "error",
        units: str | Mapping[str, float] = "auto",
        min_score: float = 0.5,
        min_margin: float = 0.1,
    ) -> None:
        self.estimator = estimator
        self.mapping = mapping
        self.missing = missing
        self.units = units
        self.min_score = min_score
        self.min_margin = min_margin

    def summary(self) -> str:
        """Return the report as text, one line a column."""
        return "\n".join(str(record) for record in self.report_)

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        _check_kinds(source, target)
        for domain in (source, target):
            check_values(domain, self.estimator, "SchemaAlignment")
        if source.is_image or source.is_sparse:
            self.report_, self._columns = [], []
            return source
        mine, theirs = read_columns(source), read_columns(target)
        by_position = not source.is_frame and not (source.feature_names and target.feature_names)
        if by_position:
            theirs = [Column(a.name, True, b.values, {}) for a, b in zip(mine, theirs, strict=True)]
        matches = self._match(mine, theirs, by_position)
        found = {m.source: m for m in matches}
        lacking = [c.name for c in mine if c.name not in found]
        self._check_missing(lacking, mine, theirs, found)
        taken = {m.target for m in matches}
        position = {c.name: j for j, c in enumerate(theirs)}
        self.report_ = []
        self._columns = []
        for i, column in enumerate(mine):
            if column.name not in found:
                record = ColumnReport(column.name, None, "missing in the target, dropped", 0.0)
            else:
                j = position[found[column.name].target]
                record = self._describe(column, theirs[j], found[column.name], source, target)
                self._columns.append((i, j, record))
            self.report_.append(record)
        self.report_ += [
            ColumnReport(None, c.name, "only in the target, left out", 0.0)
            for c in theirs
            if c.name not in taken
        ]
        self._warn()
        self._source_schema = source.unlabelled().with_(weight=None, group=None).take([])
        if not lacking:
            return source
        return _select(source, [i for i, _, _ in self._columns])

    def _transform_target(self, target: Domain) -> Domain:
        if not self._columns:  # images and sparse matrices
            return target
        if target.is_frame:
            return target.with_(X=self._transform_frame(target.X))
        index = [j for _, j, _ in self._columns]
        X = target.X if index == list(range(target.n_features)) else target.X[:, index]
        factor = np.array([record.factor for _, _, record in self._columns])
        offset = np.array([record.offset for _, _, record in self._columns])
        if (factor != 1).any() or (offset != 0).any():
            dtype = X.dtype if X.dtype.kind == "f" else np.float64
            X = (X * factor + offset).astype(dtype, copy=False)
        names = self._source_schema.feature_names
        if names is not None:
            names = tuple(names[i] for i, _, _ in self._columns)
        return target.with_(X=X, feature_names=names)

    def _transform_frame(self, frame: Any) -> Any:
        table = nw.from_native(frame, eager_only=True)
        ours = list(nw.from_native(self._source_schema.X, eager_only=True).columns)
        columns = []
        for i, j, record in self._columns:
            column = table[:, j]
            if record.categories:
                values = [record.categories.get(v, v) for v in column.to_list()]
                kind = column.dtype
                column = nw.new_series(ours[i], values, nw.String, backend=table.implementation)
                if kind == nw.Categorical:
                    column = column.cast(nw.Categorical)
                if hasattr(frame, "index"):
                    native = column.to_native()
                    native.index = frame.index
                    column = nw.from_native(native, series_only=True)
            elif record.factor != 1 or record.offset != 0:
                column = column * record.factor + record.offset
            columns.append(column.alias(ours[i]))
        return nw.to_native(table.select(columns))

    # -- matching -------------------------------------------------------------------------

    def _match(self, mine: list[Column], theirs: list[Column], by_position: bool) -> list[Match]:
        given = {str(a): str(b) for a, b in (self.mapping or {}).items()}
        _check_names("mapping", list(given), theirs, "target")
        _check_names("mapping", list(given.values()), mine, "source")
        if isinstance(self.units, Mapping):
            _check_names("units", [str(n) for n in self.units], theirs, "target")
        if len(set(given.values())) < len(given):
            raise ValueError(f"SchemaAlignment: mapping={given} gives a source column twice")
        matches = [Match(b, a, "mapping", 1.0) for a, b in given.items()]
        left_s, left_t = _without(mine, theirs, matches)
        if by_position and not given:
            return [Match(c.name, c.name, "position", 1.0) for c in mine]
        named, ambiguous = match_by_name(left_s, left_t)
        _refuse(ambiguous)
        matches += named
        left_s, left_t = _without(mine, theirs, matches)
        alike, ambiguous = match_by_content(left_s, left_t, self.min_score, self.min_margin)
        _refuse(ambiguous)
        return matches + alike

    def _check_missing(
        self,
        lacking: list[str],
        mine: list[Column],
        theirs: list[Column],
        found: dict[str, Match],
    ) -> None:
        if not found:
            raise ValueError(
                f"SchemaAlignment: the target shares no column with the source (source: "
                f"{[c.name for c in mine][:8]}, target: {[c.name for c in theirs][:8]}); give "
                'mapping={"target column": "source column"}'
            )
        if lacking and self.missing == "error":
            taken = {m.target for m in found.values()}
            rest = [c.name for c in theirs if c.name not in taken]
            raise ValueError(
                f"SchemaAlignment: the target has no match for the source's columns {lacking[:8]}; "
                f"not matched in the target: {rest[:8] or 'none'}. Give "
                'mapping={"target column": "source column"}, or missing="drop" to do without.'
            )

    # -- units and categories ---------------------------------------------------------------

    def _describe(
        self, mine: Column, theirs: Column, match: Match, source: Domain, target: Domain
    ) -> ColumnReport:
        if mine.numeric != theirs.numeric:
            kinds = ["numbers" if c.numeric else "text" for c in (mine, theirs)]
            raise ValueError(
                f"SchemaAlignment: column {mine.name!r} of the source holds {kinds[0]}, but "
                f"{theirs.name!r} of the target {kinds[1]}; convert one of them"
            )
        record = ColumnReport(match.source, match.target, match.how, match.score)
        if not mine.numeric:
            renamed, new = rename_categories(mine, theirs)
            note = f"new categories {new[:5]}" if new else ""
            return replace(record, categories=renamed, note=note)
        conversion, note = self._unit(mine, theirs)
        factor, offset, name = conversion or Conversion(1.0, 0.0, "")
        return replace(record, factor=factor, offset=offset, unit=name, note=note)

    def _unit(self, mine: Column, theirs: Column) -> tuple[Conversion | None, str]:
        if self.units == "keep":
            return None, ""
        if isinstance(self.units, Mapping) and theirs.name in self.units:
            return Conversion(float(self.units[theirs.name]), 0.0, "as given"), ""
        try:
            return choose_conversion(mine.name, theirs.name, mine.values, theirs.values)
        except ValueError as error:
            raise ValueError(
                f"SchemaAlignment: {error}. Give units={{{theirs.name!r}: factor}}, or "
                'units="keep".'
            ) from None

    def _warn(self) -> None:
        guessed = [
            str(record)
            for record in self.report_
            if record.how == BY_CONTENT or record.note.startswith(BY_DISTRIBUTION)
        ]
        if guessed:
            warnings.warn(
                "SchemaAlignment: the distributions had to decide about these columns; check "
                "them, and fix what is wrong with mapping= or units=:\n  " + "\n  ".join(guessed),
                UserWarning,
                stacklevel=4,
            )


def _check_kinds(source: Domain, target: Domain) -> None:
    if source.is_frame != target.is_frame:
        a, b = ("a data frame" if d.is_frame else "an array" for d in (source, target))
        raise ValueError(
            f"SchemaAlignment: the source is {a} but the target is {b}; pass both as the same kind"
        )
    if source.is_image or target.is_image:
        if source.shape[1:] != target.shape[1:]:
            raise ValueError(
                f"SchemaAlignment: images of the source have shape {source.shape[1:]} but those "
                f"of the target {target.shape[1:]}; bring them to one size and number of channels"
            )
        return
    named = source.feature_names and target.feature_names
    if (source.is_sparse or not named) and source.n_features != target.n_features:
        raise ValueError(
            f"SchemaAlignment: the source has {source.n_features} features but the target "
            f"{target.n_features}, and without names on both sides columns are matched by "
            "position; pass data frames, or Domain(X, feature_names=...)"
        )


def _check_names(parameter: str, names: list[str], columns: list[Column], side: str) -> None:
    known = [c.name for c in columns]
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ValueError(
            f"SchemaAlignment: {parameter} names {unknown}, which the {side} has not; its columns "
            f"are {known[:12]}"
        )


def _without(
    mine: list[Column], theirs: list[Column], matches: list[Match]
) -> tuple[list[Column], list[Column]]:
    sources, targets = {m.source for m in matches}, {m.target for m in matches}
    return [c for c in mine if c.name not in sources], [c for c in theirs if c.name not in targets]


def _refuse(ambiguous: list[Ambiguity]) -> None:
    if not ambiguous:
        return
    lines = [
        f"{name!r} could be " + ", ".join(f"{c!r} ({score:.2f})" for c, score in candidates[:5])
        for name, candidates in ambiguous[:8]
    ]
    raise ValueError(
        "SchemaAlignment: ambiguous columns (scores in brackets): source column "
        + "; ".join(lines)
        + '. Decide with mapping={"target column": "source column"}.'
    )


def _select(domain: Domain, index: list[int]) -> Domain:
    """Return a domain with some of its columns."""
    if domain.is_frame:
        table = nw.from_native(domain.X, eager_only=True)
        return domain.with_(X=nw.to_native(table[:, index]))
    names = domain.feature_names
    return domain.with_(
        X=domain.X[:, index], feature_names=names and tuple(names[i] for i in index)
    )

"""Bring the target's columns, units and categories to the source's schema."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.feature_space.column_report import ColumnReport
from shiftlab.feature_space.completion import Completion, assemble, column_names, select_columns
from shiftlab.feature_space.images import to_common_images
from shiftlab.feature_space.matching import BY_CONTENT, Column, Match
from shiftlab.feature_space.pairing import Pairing, check_factors
from shiftlab.feature_space.units import BY_DISTRIBUTION, Conversion, choose_conversion
from shiftlab.validation import check_values

__all__ = ["ColumnReport", "SchemaAlignment"]

Floats = NDArray[np.float64]

WORDS = (nw.String, nw.Categorical, nw.Enum)


class SchemaAlignment(Adapter):
    r"""Rename, reorder, convert and recode the target's columns into those of the source.

    Columns are matched one to one, by the first of these that applies: ``mapping``; the same
    name; the same name but for case, spaces and punctuation; and for what is left, the
    assignment of least energy. The energy of a pair (i, j) is

    .. math:: E_{ij} = \frac{1}{2} \frac{D_{ij}^2}{\sigma^2} + u_{ij} - 6 s_{ij}
        + \frac{1}{2} \sum_{(k, l)} c_{kl} \min\Big(\frac{(r_{ik} - r'_{jl})^2}{\tau^2}, 9\Big)

    with D the distance of the distributions after the best change of unit or encoding, u what
    that change costs, s the similarity of the words in the names, r and r' the rank
    dependence of two columns in the source and in the target, and c the probability of the pairs
    (k, l) that are matched so far. So columns without names are told apart by what they
    go together with. A pair whose probability reaches ``min_confidence`` is taken, with a warning
    that names it; anything else stays open, with its candidates in the report.

    A unit is converted if both names spell one out ("height_cm", "height (in)"), or if the
    distributions lie apart and agree after one known conversion (powers of ten; length, mass,
    time, volume, temperature, share); the latter gives a warning. Any other difference of
    scale may be a real shift, stays as it is and is noted in the report. Categories that
    differ by case, spaces or punctuation are renamed; where no category is shared, or one side
    has codes for the words of the other, values are matched by their frequency and the other
    columns' means. New categories stay. Target columns that repeat another one are left out.

    Missing columns can be imputed from the shared ones, by boosted trees. What stays
    unknown of them is carried as a weight of the row, :math:`1 - \sum_c u_c(x) / d`, with u the
    unexplained share of the variance of column c at x. Columns that only the target has can be
    used once some of its labels are known: the labelled target rows join the training, and
    the source's rows get these columns imputed, with their weight. The target alone does better
    as soon as it has some labelled rows for each column: compare.

    It helps when the same quantities were recorded under another schema. It harms when a
    column's distribution really moved by the factor of a known conversion, when two columns
    that mean different things share a name, or when a shift between the domains is as large as
    the differences between columns: read ``summary()``. Measured on 200 corruptions of five
    tables: see ``experiments/schema``.

    Arrays without names and with equally many columns are matched by position; sparse matrices pass
    unchanged; images of the target get the source's size and channels. Missing values pass, unless
    ``X`` is an array and the estimator takes none. Time O(n d log n + n d^2) on at most 10,000 rows
    a side, O(m_s m_t d) for the m columns that no name matches.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the source.
    mapping : dict of str to str, default=None
        Target column -> source column; goes before everything else.
    missing : {"error", "drop", "impute"}, default="error"
        What to do with a source column that the target does not have or that stayed open:
        "drop" removes it from the source, "impute" fills it in the target.
    added : {"drop", "use"}, default="drop"
        What to do with columns that only the target has. "use" needs labelled target rows, and
        drops them where there are none.
    units : "auto", "keep" or dict, default="auto"
        "keep" converts nothing; a dict of target column -> factor is applied to these columns,
        and the others are treated as with "auto".
    min_confidence : float, default=0.75
        Lowest probability of a match that no name decides.

    Attributes
    ----------
    source_ : Domain
        The source, without dropped columns; with ``added="use"``, followed by the labelled
        rows of the target, and weighted by what is known of each row.
    report_ : list of ColumnReport
        One record for each column of either side: what was matched, how, how surely, what
        was converted, and what stayed open.
    target_weight_ : ndarray of shape (n_target,) or None
        Share of each target row that is known; None where nothing was imputed.

    Raises
    ------
    ValueError
        In `fit`, if a column is missing or open, ``mapping`` or ``units`` name a column
        that is not there, numbers meet text, or no column is shared. With another ``missing``
        than "error" open columns are treated as missing.

    Warns
    -----
    UserWarning
        For each match and conversion that the distributions had to decide.

    References
    ----------
    E. Rahm, P. Bernstein, "A survey of approaches to automatic schema matching", The VLDB
    Journal 2001.

    J. Kang, J. Naughton, "On Schema Matching with Opaque Column Names and Data Values",
    SIGMOD 2003.

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
    >>> noise = pd.DataFrame({"a": [0.3, -1.2], "b": [0.9, 0.1]})  # of which nothing is matched
    >>> adapter.fit(noise, target)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: SchemaAlignment: the target has no sure match for the source's columns ['a', 'b']...
    """

    facts: ClassVar[Facts] = Facts(
        handles=("feature_space",),
        assumes="Both sides recorded the same quantities, under other names, units or spellings.",
        inputs=("dense", "sparse", "frame", "images"),
        cost="O(n d log n + n d^2) on at most 10,000 rows",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "mapping": [Mapping, None],
        "missing": [StrOptions({"error", "drop", "impute"})],
        "added": [StrOptions({"drop", "use"})],
        "units": [StrOptions({"auto", "keep"}), Mapping],
        "min_confidence": [Interval(Real, 0, 1, closed="both")],
    }

    report_: list[ColumnReport]
    target_weight_: Floats | None
    _columns: list[tuple[int, int, ColumnReport]]

    def __init__(
        self,
        estimator: Any = None,
        *,
        mapping: Mapping[str, str] | None = None,
        missing: str = "error",
        added: str = "drop",
        units: str | Mapping[str, float] = "auto",
        min_confidence: float = 0.75,
    ) -> None:
        self.estimator = estimator
        self.mapping = mapping
        self.missing = missing
        self.added = added
        self.units = units
        self.min_confidence = min_confidence

    def _get_facts(self) -> Facts:
        # only the columns that the source has not need the target's labels
        return replace(self.facts, target_labels="optional") if self.added == "use" else self.facts

    def summary(self) -> str:
        """Return the report as text, one line a column."""
        return "\n".join(str(record) for record in self.report_)

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        _check_kinds(source, target)
        for domain in (source, target):
            check_values(domain, self.estimator, "SchemaAlignment")
        self._complete: Completion | None = None
        self._added: dict[str, str] = {}
        self._order: list[str] = []
        self.target_weight_ = None
        self._shape: tuple[int, ...] | None = None
        if source.is_image or source.is_sparse:
            self.report_, self._columns = [], []
            if source.is_image and source.shape[1:] != target.shape[1:]:
                self._shape = source.shape[1:]
                ours, theirs = (" x ".join(map(str, d.shape[1:])) for d in (source, target))
                self.report_ = [ColumnReport(ours, theirs, "images, resized and in its channels")]
            return source
        pairing = Pairing(source, target, self.mapping or {}, self.min_confidence)
        if isinstance(self.units, Mapping):
            check_factors(self.units, pairing.theirs)
        records = self._describe_all(pairing)
        lacking = [c.name for c in pairing.mine if c.name not in records]
        self._check_missing(lacking, pairing, records)
        self._columns, self.report_ = [], []
        for i, column in enumerate(pairing.mine):
            record = records.get(column.name)
            if record is None:
                record = self._open_record(column, pairing)
            else:
                self._columns.append((i, pairing.index("target", str(record.target)), record))
            self.report_.append(record)
        used = {record.target for record in records.values()}
        extra = [c.name for c in pairing.theirs if c.name not in used]
        use = self.added == "use" and target.n_labelled > 0
        taken = [name for name in extra if name not in pairing.copies] if use else []
        self.report_ += [_extra_record(name, pairing, name in taken) for name in extra]
        self._source_schema = source.unlabelled().with_(weight=None, group=None).take([])
        self._warn()
        kept = [column_names(source)[i] for i, _, _ in self._columns]
        return self._completed(source, target, kept, lacking, taken)

    def _completed(
        self, source: Domain, target: Domain, kept: list[str], lacking: list[str], added: list[str]
    ) -> Domain:
        """Return the source, and learn the columns that one side has not."""
        imputed = lacking if self.missing == "impute" else []
        shared = select_columns(source, kept)
        if not imputed and not added:
            return shared
        # the target's own names may be those of other columns of the source
        self._added = {name: _unused(name, column_names(source)) for name in added}
        self._order = [n for n in column_names(source) if n in kept or n in imputed]
        self._order += list(self._added.values())
        if imputed:
            self._complete = Completion(shared, source, imputed)
        moved, known_target = self._completed_target(target)
        self.target_weight_ = known_target if imputed else None
        if not added:
            return source if len(self._order) == source.n_features else shared
        extra = _renamed(select_columns(target, added), list(self._added.values()))
        complete = Completion(self._shared(target), extra, list(self._added.values()))
        ours, known = complete(shared, source, self._order)
        ours = ours.with_(weight=known if source.weight is None else known * source.weight)
        rows = np.flatnonzero(target.labelled)
        theirs, known = moved.take(rows), known_target[rows]
        theirs = theirs.with_(
            weight=known if theirs.weight is None else known * theirs.weight, name="target"
        )
        return Domain.concat([ours, _like(theirs, ours)])

    def _transform_target(self, target: Domain) -> Domain:
        if self._shape is not None:
            channels: Any = self._shape[2] if len(self._shape) == 3 else 1
            images = to_common_images(target.X, (self._shape[0], self._shape[1]), channels)
            return target.with_(X=images.reshape(len(images), *self._shape))
        if not self._columns:  # images and sparse matrices
            return target
        if not self._order:  # nothing was imputed or added
            return self._shared(target)
        return self._completed_target(target)[0]

    def _completed_target(self, target: Domain) -> tuple[Domain, Floats]:
        shared = self._shared(target)
        own = target
        if self._added:
            own = _renamed(select_columns(target, list(self._added)), list(self._added.values()))
        if self._complete is not None:
            return self._complete(shared, own, self._order)
        return assemble(shared, own, {}, self._order), np.ones(target.n_rows)

    def _shared(self, target: Domain) -> Domain:
        """Return the matched columns of the target, as the source has them."""
        if target.is_frame:
            return target.with_(X=self._transform_frame(target.X))
        index = [j for _, j, _ in self._columns]
        X = target.X if index == list(range(target.n_features)) else target.X[:, index]
        factor = np.array([record.factor for _, _, record in self._columns])
        offset = np.array([record.offset for _, _, record in self._columns])
        recoded = {k: r.categories for k, (_, _, r) in enumerate(self._columns) if r.categories}
        if (factor != 1).any() or (offset != 0).any() or recoded:
            dtype = X.dtype if X.dtype.kind == "f" else np.float64
            X = (X * factor + offset).astype(dtype)
            for k, codes in recoded.items():
                X[:, k] = [codes.get(v, v) for v in X[:, k].tolist()]
        names = self._source_schema.feature_names
        if names is not None:
            names = tuple(names[i] for i, _, _ in self._columns)
        return target.with_(X=X, feature_names=names)

    def _transform_frame(self, frame: Any) -> Any:
        table = nw.from_native(frame, eager_only=True)
        ours = nw.from_native(self._source_schema.X, eager_only=True)
        columns = []
        for i, j, record in self._columns:
            column, name = table[:, j], ours.columns[i]
            numbers = ours[:, i].dtype.is_numeric()
            if numbers and not record.categories and column.dtype in WORDS:
                raise ValueError(
                    f"SchemaAlignment: column {table.columns[j]!r} holds text, but held numbers "
                    "when it was fitted; convert it"
                )
            if record.categories:
                column = _recoded(column, record.categories, ours[:, i].dtype, table, frame)
            elif record.factor != 1 or record.offset != 0:
                column = column * record.factor + record.offset
            columns.append(column.alias(name))
        return nw.to_native(table.select(columns))

    # -- what is done with each column --------------------------------------------------------

    def _check_missing(
        self, lacking: list[str], pairing: Pairing, records: Mapping[str, ColumnReport]
    ) -> None:
        if not lacking or (records and self.missing != "error"):
            return
        mine, theirs = ([c.name for c in side] for side in (pairing.mine, pairing.theirs))
        if not records and not any(pairing.candidates.values()):
            raise ValueError(
                f"SchemaAlignment: the target shares no column with the source (source: "
                f"{mine[:8]}, target: {theirs[:8]}); to say of one pair that it is the same is "
                'enough to go on: mapping={"target column": "source column"}, missing="drop"'
            )
        taken = {record.target for record in records.values()}
        rest = [name for name in theirs if name not in taken and name not in pairing.copies]
        doubts = [
            f"{name!r} could be " + _listed(pairing.candidates[name])
            for name in lacking[:8]
            if pairing.candidates.get(name)
        ]
        known = f" (probabilities in brackets: {'; '.join(doubts)})" if doubts else ""
        raise ValueError(
            f"SchemaAlignment: the target has no sure match for the source's columns "
            f"{lacking[:8]}{known}; not matched in the target: {rest[:8] or 'none'}. Give "
            'mapping={"target column": "source column"}, or missing="drop" or "impute" to do '
            "without."
        )

    def _open_record(self, column: Column, pairing: Pairing) -> ColumnReport:
        near = pairing.candidates.get(column.name, [])
        done = "imputed" if self.missing == "impute" else "dropped"
        how = f"{'open' if near else 'missing in the target'}, {done}"
        note = f"could be {_listed(near)}" if near else ""
        return ColumnReport(column.name, None, how, near[0][1] if near else 0.0, note=note)

    def _describe_all(self, pairing: Pairing) -> dict[str, ColumnReport]:
        """Return a record for each match that can be carried out."""
        found = {}
        for match in pairing.matches:
            mine = pairing.mine[pairing.index("source", match.source)]
            theirs = pairing.theirs[pairing.index("target", match.target)]
            record = self._describe(mine, theirs, match, pairing)
            if record is not None:
                found[match.source] = record
        return found

    def _describe(
        self, mine: Column, theirs: Column, match: Match, pairing: Pairing
    ) -> ColumnReport | None:
        record = ColumnReport(match.source, match.target, match.how, match.score)
        if not (mine.numeric and theirs.numeric):
            codes, note = pairing.recode(match)
            if codes is not None:
                return replace(record, categories=codes, note=note)
            if self.missing != "error":
                return None
            kinds = ["numbers" if c.numeric else "text" for c in (mine, theirs)]
            raise ValueError(
                f"SchemaAlignment: column {mine.name!r} of the source holds {kinds[0]}, but "
                f"{theirs.name!r} of the target {kinds[1]}, and nothing tells which value is "
                "which; convert one of them"
            )
        if match.how == BY_CONTENT and self.units != "keep":
            codes, (factor, offset) = pairing.recode_numbers(match)
            if codes or factor != 1 or offset != 0:
                return replace(
                    record,
                    categories=codes,
                    factor=factor,
                    offset=offset,
                    unit="" if codes else "of its values",
                    note=f"{BY_DISTRIBUTION}, from few values",
                )
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
            if self.missing != "error":
                return None, f"unit open: {error}"
            raise ValueError(
                f"SchemaAlignment: {error}. Give units={{{theirs.name!r}: factor}}, or "
                'units="keep".'
            ) from None

    def _warn(self) -> None:
        guessed = [
            str(record)
            for record in self.report_
            if record.how == BY_CONTENT or record.note.startswith((BY_DISTRIBUTION, "unit open"))
        ]
        if guessed:
            warnings.warn(
                "SchemaAlignment: the distributions had to decide about these columns; check "
                "them, and fix what is wrong with mapping= or units=:\n  " + "\n  ".join(guessed),
                UserWarning,
                stacklevel=4,
            )


def _listed(candidates: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name!r} ({sure:.2f})" for name, sure in candidates[:5])


def _extra_record(name: str, pairing: Pairing, used: bool) -> ColumnReport:
    if name in pairing.copies:
        how = f"copy of {pairing.copies[name]!r}, left out"
    else:
        how = "only in the target, " + ("used" if used else "left out")
    return ColumnReport(None, name, how, 0.0)


def _unused(name: str, taken: list[str]) -> str:
    return name if name not in taken else f"target:{name}"


def _renamed(domain: Domain, names: list[str]) -> Domain:
    if not domain.is_frame:
        return domain.with_(feature_names=tuple(names))
    table = nw.from_native(domain.X, eager_only=True)
    columns = [table[:, j].alias(name) for j, name in enumerate(names)]
    return domain.with_(X=nw.to_native(table.select(columns)))


def _like(domain: Domain, other: Domain) -> Domain:
    """Return a domain with the column types of another, so that both can be stacked."""
    if not domain.is_frame:
        return domain
    table, like = (nw.from_native(d.X, eager_only=True) for d in (domain, other))
    return domain.with_(
        X=nw.to_native(table.select([table[c].cast(like[c].dtype) for c in like.columns]))
    )


def _recoded(column: Any, codes: Mapping[Any, Any], kind: Any, table: Any, frame: Any) -> Any:
    """Replace the values of a column; the result has the source's type."""
    text = not (kind.is_numeric() or kind == nw.Boolean)
    values = [codes.get(v, v) for v in column.to_list()]
    if text:
        values = [None if v is None or v != v else str(v) for v in values]
    else:  # a word that stands for no number is a gap
        values = [float("nan") if isinstance(v, str) or v is None else float(v) for v in values]
    made = nw.new_series(
        column.name, values, nw.String if text else nw.Float64, backend=table.implementation
    )
    if kind == nw.Categorical:
        made = made.cast(nw.Categorical)
    if hasattr(frame, "index"):
        native = made.to_native()
        native.index = frame.index
        made = nw.from_native(native, series_only=True)
    return made


def _check_kinds(source: Domain, target: Domain) -> None:
    if source.is_frame != target.is_frame:
        a, b = ("a data frame" if d.is_frame else "an array" for d in (source, target))
        raise ValueError(
            f"SchemaAlignment: the source is {a} but the target is {b}; pass both as the same kind"
        )
    if source.is_image != target.is_image:
        a, b = ("images" if d.is_image else "columns" for d in (source, target))
        raise ValueError(
            f"SchemaAlignment: the source holds {a} but the target {b}; describe the images by "
            "features first"
        )
    if source.is_image:
        if any(len(d.shape) == 4 and d.shape[3] not in (1, 3) for d in (source, target)):
            raise ValueError(
                f"SchemaAlignment: images must have 1 or 3 channels; got shapes {source.shape[1:]} "
                f"and {target.shape[1:]}"
            )
        return
    if source.is_sparse and source.n_features != target.n_features:
        raise ValueError(
            f"SchemaAlignment: the source has {source.n_features} features but the target "
            f"{target.n_features}, and sparse columns are matched by position; make both dense "
            "to have them matched by what they hold"
        )

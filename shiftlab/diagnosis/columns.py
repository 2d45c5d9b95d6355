"""Reading two domains column by column, whatever their types."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.diagnosis.duplicates import repeated_rows_notes, shared_rows_note
from shiftlab.diagnosis.findings import FeatureShift
from shiftlab.diagnosis.images import describe_images
from shiftlab.diagnosis.text import tfidf_weights, word_records
from shiftlab.domain import Domain

__all__ = ["Column", "Columns", "column_names", "column_values", "read_columns"]

Floats = NDArray[np.float64]
Family = Literal["number", "truth value", "time", "text", "nested"]

# families of columns of objects, the narrower type first: a truth value is a number as well
BY_VALUE: tuple[tuple[tuple[type, ...], Family], ...] = (
    ((bool, np.bool_), "truth value"),
    ((Real, Decimal, datetime.timedelta), "number"),
    ((datetime.date,), "time"),
)
# dates as a CSV file holds them; without this every date is a category of its own
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
FEW_VALUES = 10  # numbers with at most so many distinct values are compared as categories
SPARSE_COLUMNS = 200  # up to so many, sparse columns are compared like any others
MOST_WORDS = 2000  # compared one by one


@dataclass(frozen=True)
class Column:
    """One column of both domains.

    ``source`` and ``target`` are floats with NaN where missing; for a category they are
    positions in ``levels``.
    """

    name: str
    kind: Literal["number", "category"]
    source: Floats
    target: Floats
    levels: tuple[str, ...] = ()
    family: Family = "number"

    def take(self, source_rows: NDArray[Any], target_rows: NDArray[Any]) -> Column:
        """Return the column restricted to some rows."""
        return replace(self, source=self.source[source_rows], target=self.target[target_rows])


@dataclass
class Columns:
    """What two domains share, and what they do not.

    ``unusable`` maps a shared column that cannot be compared to the reason. ``families`` of a
    column are its types in source and target.
    """

    shared: list[Column] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)
    reordered: bool = False
    notes: list[str] = field(default_factory=list)
    embedding: tuple[Any, Any] | None = None  # rows to use instead of the columns, if any
    embedded: tuple[str, ...] = ()  # names of the embedding's columns
    words: tuple[str, ...] = ()  # those of them that are compared by how many rows have them
    derived: bool = False  # made from X, so without units or types of their own

    @property
    def n_shared(self) -> int:
        """Number of columns that both sides have and that can be compared."""
        return len(self.embedded) or len(self.shared)

    def word_records(self) -> list[FeatureShift]:
        """Compare the words; p-values are raw."""
        if self.embedding is None:
            return []
        return word_records(self.embedded, self.words, *self.embedding)

    def leave_out(self, reasons: dict[str, str]) -> None:
        """Take columns out of everything that follows.

        Parameters
        ----------
        reasons : dict of str to str
            Column -> why.
        """
        self.unusable.update(reasons)
        self.shared = [c for c in self.shared if c.name not in reasons]
        if self.embedding is not None and reasons:
            kept = [i for i, name in enumerate(self.embedded) if name not in reasons]
            a, b = self.embedding
            self.embedding = a[:, kept], b[:, kept]
            self.embedded = tuple(self.embedded[i] for i in kept)


def column_names(domain: Domain) -> tuple[str, ...]:
    """Names of the columns, ``x0``, ``x1``, ... where there are none.

    Parameters
    ----------
    domain : Domain
        Rows that are no images.

    Returns
    -------
    tuple of str
    """
    if domain.feature_names is not None:
        return tuple(domain.feature_names)
    return tuple(f"x{i}" for i in range(domain.n_features))


def read_columns(source: Domain, target: Domain, features: Any, seed: int) -> Columns:
    """Read what can be compared.

    Parameters
    ----------
    source, target : Domain
        The two samples.
    features : callable, transformer, "tfidf" or None
        Maps ``X`` to a matrix that is compared instead of ``X``; "tfidf" weights the counts
        of a sparse ``X`` (see `shiftlab.diagnosis.text.read_texts` for texts).
    seed : int
        For the components of images.

    Returns
    -------
    Columns

    Raises
    ------
    TypeError
        If ``features`` is none of the above.
    ValueError
        If it gives no matrix, or ``X`` is no sparse matrix of counts where it must be.
    """
    found = _read(source, target, features, seed)
    rows = _rows(found)
    found.notes += [note for note in [shared_rows_note(rows)] if note]
    found.notes += repeated_rows_notes(rows)
    return found


def _rows(found: Columns) -> tuple[list[bytes], list[bytes]]:
    """What identifies a row on either side, to the precision of a float32."""
    if found.embedding is not None:
        sparse = [m.astype(np.float32) for m in found.embedding]
        cuts = [np.split(np.arange(m.nnz), m.indptr[1:-1]) for m in sparse]
        return tuple(  # type: ignore[return-value]
            [m.indices[c].tobytes() + m.data[c].tobytes() for c in cut]
            for m, cut in zip(sparse, cuts, strict=True)
        )
    if not found.shared:
        return [], []
    with np.errstate(over="ignore"):
        sides = [
            np.column_stack([getattr(c, side) for c in found.shared]).astype(np.float32)
            for side in ("source", "target")
        ]
    return tuple([row.tobytes() for row in side] for side in sides)  # type: ignore[return-value]


def _read(source: Domain, target: Domain, features: Any, seed: int) -> Columns:
    tfidf = isinstance(features, str) and features == "tfidf"
    if tfidf and not (source.is_sparse and target.is_sparse):
        raise ValueError(
            "features='tfidf' needs texts or sparse matrices of word counts on both sides; got "
            f"{source!r} and {target!r}"
        )
    if features is not None and not tfidf:
        return _from_features(source, target, features)
    if source.is_image and target.is_image:
        names, a, b, note = describe_images(source.X, target.X, seed)
        return Columns(_number_columns(names, a, b), notes=[note], derived=True)
    if source.is_image != target.is_image:
        return Columns(notes=["One side holds images and the other columns."])
    names_s, names_t = column_names(source), column_names(target)
    unnamed = source.feature_names is None or target.feature_names is None
    if unnamed and len(names_s) == len(names_t):
        # without names on both sides position is all there is
        names_s = names_t = names_s if source.feature_names is not None else names_t
    elif unnamed:
        note = (
            f"Source has {len(names_s)} columns and target {len(names_t)}, and not both have "
            "names, so no column can be matched."
        )
        return Columns(notes=[note])
    in_source, in_target = set(names_s), set(names_t)
    both = [n for n in names_s if n in in_target]
    found = Columns(
        missing=[n for n in names_s if n not in in_target],
        added=[n for n in names_t if n not in in_source],
        reordered=both != [n for n in names_t if n in in_source],
    )
    if source.is_sparse and target.is_sparse:
        return _from_sparse(source, target, names_s, names_t, both, found, tfidf)
    where_s = {n: i for i, n in enumerate(names_s)}
    where_t = {n: i for i, n in enumerate(names_t)}
    for name in both:
        try:
            a, family_a = column_values(source, where_s[name])
            b, family_b = column_values(target, where_t[name])
        except (TypeError, ValueError, OverflowError) as error:
            found.unusable[name] = f"could not be read ({error})"
            continue
        _add(found, name, a, b, family_a, family_b)
    return found


def _add(found: Columns, name: str, a: Any, b: Any, family_a: Family, family_b: Family) -> None:
    if "nested" in (family_a, family_b):
        found.unusable[name] = "nested values are not compared"
    elif family_a != family_b and {family_a, family_b} != {"number", "truth value"}:
        empty_a, empty_b = _all_missing(a), _all_missing(b)
        if empty_a or empty_b:
            # an empty column has no type of its own; take the other side's
            size = len(a) if empty_a else len(b)
            blank = (
                np.full(size, np.nan)
                if (family_b if empty_a else family_a) != "text"
                else ([None] * size)
            )
            a, b = (blank, b) if empty_a else (a, blank)
            _add(found, name, a, b, *((family_b, family_b) if empty_a else (family_a, family_a)))
            return
        found.retyped[name] = (family_a, family_b)
        found.unusable[name] = f"its type changed from {family_a} to {family_b}"
    elif family_a == "text":
        found.shared.append(_category(name, a, b))
    else:
        found.shared.append(_number(name, a, b, family_a))


def _all_missing(values: Any) -> bool:
    if isinstance(values, list):
        return all(v is None for v in values)
    return bool(np.isnan(values).all())


def _number(name: str, a: Floats, b: Floats, family: Family) -> Column:
    pooled = np.concatenate([a, b])
    distinct = np.unique(pooled[~np.isnan(pooled)])
    if distinct.size > FEW_VALUES or family == "time":
        return Column(name, "number", a, b, family=family)
    levels = tuple(f"{v:g}" for v in distinct)
    if family == "truth value":
        levels = tuple("true" if v else "false" for v in distinct)

    def code(values: Floats) -> Floats:
        return np.where(np.isnan(values), np.nan, np.searchsorted(distinct, values))

    return Column(name, "category", code(a), code(b), levels, family)


def _category(name: str, a: list[str | None], b: list[str | None]) -> Column:
    levels = sorted({v for v in a if v is not None} | {v for v in b if v is not None})
    position = {v: float(i) for i, v in enumerate(levels)}

    def code(values: list[str | None]) -> Floats:
        return np.array([np.nan if v is None else position[v] for v in values], dtype=np.float64)

    return Column(name, "category", code(a), code(b), tuple(levels), "text")


def column_values(domain: Domain, index: int) -> tuple[Any, Family]:
    """Floats with NaN, or a list of strings with None, and the family of the type."""
    if not domain.is_frame:
        X = domain.X
        column = X[:, [index]].toarray()[:, 0] if sp.issparse(X) else X[:, index]
        return column.astype(np.float64), "truth value" if column.dtype == bool else "number"
    # by position: names need not be strings, and may be missing
    series = nw.from_native(domain.X, eager_only=True)[:, index]
    dtype = series.dtype
    if dtype.is_nested():
        return [], "nested"
    missing = series.is_null().to_numpy().astype(bool)
    if (dtype.is_numeric() or dtype == nw.Boolean) and not missing.any():
        floats = np.asarray(series.to_numpy(), dtype=np.float64)
        return floats, "truth value" if dtype == nw.Boolean else "number"
    values = series.to_list()
    missing |= np.array([isinstance(v, float) and v != v for v in values], dtype=bool)
    present = [v for v, gone in zip(values, missing, strict=True) if not gone]
    family = _family(dtype, present)
    looks_like_dates = bool(present) and all(
        isinstance(v, str) and ISO_DATE.match(v) for v in present
    )
    if family == "text" and looks_like_dates:
        with contextlib.suppress(ValueError):
            present, family = [datetime.datetime.fromisoformat(v) for v in present], "time"
    if family in ("text", "nested"):
        return [None if m else str(v) for v, m in zip(values, missing, strict=True)], family
    floats = np.full(len(values), np.nan)
    floats[~missing] = [_float(v) for v in present]
    return floats, family


def _family(dtype: Any, present: list[Any]) -> Family:
    """Family of a column's type; of its values where the type is any object."""
    if dtype == nw.Boolean:
        return "truth value"
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, nw.Duration):
        return "number"
    if isinstance(dtype, (nw.Datetime, nw.Date)):
        return "time"
    if dtype == nw.Object and present:
        for types, family in BY_VALUE:
            if all(isinstance(v, types) for v in present):
                return family
    if any(isinstance(v, (list, dict, set, tuple, np.ndarray)) for v in present):
        return "nested"
    if any(isinstance(v, complex) for v in present):
        raise ValueError("complex numbers have no order")
    return "text"


def _float(value: Any) -> float:
    """A number, or seconds for a time.

    Times without a zone count as UTC: read in local time, they would move between machines.
    """
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.date):
        if not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.UTC)
        return float(value.timestamp())
    return float(value)


def _number_columns(names: Sequence[str], a: Floats, b: Floats) -> list[Column]:
    return [Column(n, "number", a[:, i], b[:, i]) for i, n in enumerate(names)]


def _from_sparse(
    source: Domain,
    target: Domain,
    names_s: tuple[str, ...],
    names_t: tuple[str, ...],
    both: list[str],
    found: Columns,
    tfidf: bool,
) -> Columns:
    a, b = (_chosen(d.X, n, both) for d, n in ((source, names_s), (target, names_t)))
    bad = sum(_clear_non_finite(m) for m in (a, b))
    if bad:
        found.notes.append(f"{bad:,} values of the sparse X are not finite and count as zero.")
    # whatever is chosen looks at both samples together, so it cannot favour either
    used = np.diff(sp.vstack([a, b]).tocsc().indptr)
    order = np.argsort(-used, kind="stable")
    if len(both) <= SPARSE_COLUMNS:
        dense, words = order, order[:0]
    else:
        common = used[order] > 0.5 * (a.shape[0] + b.shape[0])
        dense, words = order[common][:SPARSE_COLUMNS], order[~common & (used[order] > 0)]
        words = words[: MOST_WORDS - dense.size]
    if len(both) > SPARSE_COLUMNS or tfidf:
        found.notes.append(_sparse_note(dense.size + words.size, len(both), tfidf))
        found.embedding = tfidf_weights(a, b) if tfidf else (a, b)
        found.embedded = tuple(both)
    found.words = tuple(both[i] for i in np.sort(words))
    for i in np.sort(dense):
        column_a, column_b = (m[:, [i]].toarray()[:, 0] for m in (a, b))
        found.shared.append(_number(both[i], column_a, column_b, "number"))
    return found


def _chosen(X: Any, names: Sequence[str], both: list[str]) -> Any:
    """Columns of a sparse matrix by name, as a copy without stored zeros."""
    where = {n: i for i, n in enumerate(names)}
    chosen = sp.csr_matrix(X)[:, [where[n] for n in both]].astype(np.float64)
    chosen.eliminate_zeros()
    return chosen


def _clear_non_finite(matrix: Any) -> int:
    bad = ~np.isfinite(matrix.data)
    matrix.data[bad] = 0.0
    matrix.eliminate_zeros()
    return int(bad.sum())


def _sparse_note(n_compared: int, n_columns: int, tfidf: bool) -> str:
    if tfidf:
        return (
            f"X is text: {n_columns:,} words, weighted by TF-IDF, are tested together through "
            f"50 singular components, and the {n_compared:,} most used one by one, by the share "
            "of texts that contain them."
        )
    return (
        f"X is sparse: the {n_compared:,} most used of its {n_columns:,} columns are compared one "
        "by one, by the share of rows where they are not zero (by value, if that is more than "
        "half), and all of them together through 50 singular components."
    )


def _from_features(source: Domain, target: Domain, features: Any) -> Columns:
    transform = _as_function(features, source, target)
    a, b = (_as_matrix(transform(d.X), d) for d in (source, target))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"features gave {a.shape[1]} columns for the source and {b.shape[1]} for the target"
        )
    names = [f"feature {i}" for i in range(a.shape[1])]
    note = f"X is compared through the given features ({a.shape[1]} columns), not as it is."
    return Columns(_number_columns(names, a, b), notes=[note], derived=True)


def _as_function(features: Any, source: Domain, target: Domain) -> Callable[[Any], Any]:
    if hasattr(features, "transform"):
        from sklearn.base import clone
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(features)
        except NotFittedError:
            # fitted on both samples together: blind to which row came from where
            pooled = Domain.concat([source.unlabelled(), target.unlabelled()])
            features = clone(features).fit(pooled.X)
        transform: Callable[[Any], Any] = features.transform
        return transform
    if callable(features):
        function: Callable[[Any], Any] = features
        return function
    if isinstance(features, str):
        raise ValueError(
            "features must be 'tfidf' (for text), a callable that maps X to a matrix (such as the "
            f"method net.features of a trained network) or a transformer; got {features!r}"
        )
    hint = "; pass its method features" if hasattr(features, "features") else ""
    raise TypeError(
        "features must be a callable that maps X to a matrix, a transformer or 'tfidf'; got "
        f"{type(features).__name__}{hint}"
    )


def _as_matrix(values: Any, domain: Domain) -> Floats:
    if sp.issparse(values):
        values = values.toarray()
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != domain.n_rows:
        raise ValueError(
            f"features must give a matrix with {domain.n_rows} rows, got shape {matrix.shape}"
        )
    return matrix

"""Reading two domains column by column, whatever their types."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.diagnosis.images import describe_images
from shiftlab.domain import Domain

__all__ = ["Column", "Columns", "column_names", "column_values", "read_columns"]

Floats = NDArray[np.float64]
Family = Literal["number", "truth value", "time", "text", "nested"]

FEW_VALUES = 10  # numbers with at most so many distinct values are compared as categories
SPARSE_COLUMNS = 200


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
    features : callable, transformer or None
        Maps ``X`` to a matrix that is compared instead of ``X``.
    seed : int
        For the components of images.

    Returns
    -------
    Columns
    """
    if features is not None:
        return _from_features(source, target, features)
    if source.is_image and target.is_image:
        names, a, b, note = describe_images(source.X, target.X, seed)
        return Columns(_number_columns(names, a, b), notes=[note])
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
    found = Columns(
        missing=[n for n in names_s if n not in set(names_t)],
        added=[n for n in names_t if n not in set(names_s)],
    )
    both = [n for n in names_s if n in set(names_t)]
    found.reordered = both != [n for n in names_t if n in set(names_s)]
    if source.is_sparse and target.is_sparse:
        return _from_sparse(source, target, names_s, names_t, both, found)
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
    if distinct.size > FEW_VALUES:
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
    table = nw.from_native(domain.X, eager_only=True)
    series = table[table.columns[index]]
    dtype = series.dtype
    if dtype.is_numeric():
        return _floats(series), "number"
    if dtype == nw.Boolean:
        return _floats(series), "truth value"
    if isinstance(dtype, (nw.Datetime, nw.Date)):
        return _seconds(series), "time"
    if dtype.is_nested():
        return [], "nested"
    return _texts(series.to_list())


def _floats(series: Any) -> Floats:
    values = series.to_numpy()
    if values.dtype == object or series.null_count():
        return np.array([np.nan if v is None else float(v) for v in series.to_list()])
    return np.asarray(values, dtype=np.float64)


def _seconds(series: Any) -> Floats:
    """Seconds since 1970; a constant offset between time zones would look like a shift."""

    def one(value: Any) -> float:
        if value is None or value != value:  # NaT differs from itself
            return np.nan
        if not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.UTC)
        return float(value.timestamp())

    return np.array([one(v) for v in series.to_list()], dtype=np.float64)


def _texts(values: Sequence[Any]) -> tuple[Any, Family]:
    if any(isinstance(v, (list, dict, set, tuple, np.ndarray)) for v in values):
        return [], "nested"
    cleaned: list[str | None] = [
        None if v is None or (isinstance(v, float) and np.isnan(v)) else str(v) for v in values
    ]
    present = [v for v in values if v is not None and not (isinstance(v, float) and np.isnan(v))]
    if present and all(isinstance(v, (bool, np.bool_)) for v in present):
        # a boolean column with missing values arrives as objects
        floats = [np.nan if c is None else float(c == "True") for c in cleaned]
        return np.array(floats), "truth value"
    return cleaned, "text"


def _number_columns(names: Sequence[str], a: Floats, b: Floats) -> list[Column]:
    return [Column(n, "number", a[:, i], b[:, i]) for i, n in enumerate(names)]


def _from_sparse(
    source: Domain,
    target: Domain,
    names_s: tuple[str, ...],
    names_t: tuple[str, ...],
    both: list[str],
    found: Columns,
) -> Columns:
    where_s = {n: i for i, n in enumerate(names_s)}
    where_t = {n: i for i, n in enumerate(names_t)}
    a = source.X[:, [where_s[n] for n in both]]
    b = target.X[:, [where_t[n] for n in both]]
    # the choice looks at both samples together, so it cannot favour either
    used = np.asarray(a.getnnz(axis=0) + b.getnnz(axis=0))
    top = np.sort(np.argsort(-used, kind="stable")[:SPARSE_COLUMNS])
    if top.size < len(both):
        found.notes.append(
            f"X is sparse: the {top.size} most used of its {len(both)} columns are compared one "
            "by one, and all of them together through 50 singular components."
        )
        found.embedding = (a, b)
    for i in top:
        column_a = a[:, [i]].toarray()[:, 0].astype(np.float64)
        column_b = b[:, [i]].toarray()[:, 0].astype(np.float64)
        found.shared.append(_number(both[i], column_a, column_b, "number"))
    return found


def _from_features(source: Domain, target: Domain, features: Any) -> Columns:
    transform = _as_function(features, source, target)
    a, b = (_as_matrix(transform(d.X), d) for d in (source, target))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"features gave {a.shape[1]} columns for the source and {b.shape[1]} for the target"
        )
    names = [f"feature {i}" for i in range(a.shape[1])]
    note = f"X is compared through the given features ({a.shape[1]} columns), not as it is."
    return Columns(_number_columns(names, a, b), notes=[note])


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
    raise TypeError(
        "features must be a callable that maps X to a matrix, or a transformer; got "
        f"{type(features).__name__}"
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

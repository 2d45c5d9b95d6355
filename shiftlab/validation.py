"""Checks on input that every adapter shares: one clear error, before any long work."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.multiclass import type_of_target

from shiftlab.domain import Domain

__all__ = [
    "at_least_two_rows",
    "available_memory",
    "check_columns",
    "check_memory",
    "check_pair",
    "check_values",
    "class_codes",
    "flatten_images",
    "numeric_rows",
    "read_source",
]


LARGEST = 1e150  # beyond, squares and with them variances and distances overflow


def at_least_two_rows(source: Domain, target: Domain, who: str) -> None:
    """Raise unless both sides have two rows whose weight is not zero.

    Parameters
    ----------
    source, target : Domain
        The two samples.
    who : str
        The adapter, for the message.

    Raises
    ------
    ValueError
        Naming the side.
    """
    for domain, role in ((source, "source"), (target, "target")):
        n = domain.n_rows if domain.weight is None else int(np.count_nonzero(domain.weight))
        if n < 2:
            weighted = "" if domain.weight is None else " with weight"
            raise ValueError(
                f"{who} needs at least 2 rows{weighted} on each side; the {role} has {n} sample(s)"
            )


def read_source(source: Any) -> Domain:
    """Return the source as one domain; a list of domains or pairs is stacked.

    Parameters
    ----------
    source : Domain, (X, y), X, or a list of domains, pairs and frames
        A list of anything else is taken as the rows of one array.

    Returns
    -------
    Domain
    """
    if isinstance(source, list) and source and all(_is_whole_domain(part) for part in source):
        return Domain.concat(Domain.of(part) for part in source)
    return Domain.of(source, name="source")


def _is_whole_domain(part: Any) -> bool:
    return isinstance(part, (Domain, tuple)) or nw.dependencies.is_into_dataframe(part)


def check_columns(expected: Domain, got: Domain, who: str) -> None:
    """Raise unless two domains have the same columns in the same order.

    Parameters
    ----------
    expected, got : Domain
        Usually the source and the target.
    who : str
        The adapter, for the message.

    Raises
    ------
    ValueError
        Naming what is missing, added or out of order, and what would help.
    """
    ours, theirs = expected.name or "source", got.name or "target"
    hint = "SchemaAlignment brings both to one schema"
    if expected.is_frame != got.is_frame:
        a, b = ("a data frame" if d.is_frame else "an array" for d in (expected, got))
        raise ValueError(f"{who}: {ours} is {a} but {theirs} is {b}; pass both as the same kind")
    if expected.feature_names and got.feature_names:
        if expected.feature_names == got.feature_names:
            return
        missing = [c for c in expected.feature_names if c not in got.feature_names]
        added = [c for c in got.feature_names if c not in expected.feature_names]
        if missing or added:
            if len(missing) == 1 and not added:
                hint += f", or, if it is the label, Domain.of({ours}, label={missing[0]!r})"
            raise ValueError(
                f"{who}: {theirs} lacks columns {_listed(missing)} and has {_listed(added)} that "
                f"{ours} has not; {hint}"
            )
        raise ValueError(f"{who}: {theirs} has the columns of {ours} in another order; {hint}")
    if expected.is_image or got.is_image:
        if expected.shape[1:] != got.shape[1:]:
            raise ValueError(
                f"{who}: images of {ours} have shape {expected.shape[1:]} but those of "
                f"{theirs} {got.shape[1:]}; bring them to one with to_common_images or "
                "SchemaAlignment"
            )
    elif expected.n_features != got.n_features:
        raise ValueError(
            f"{who}: {ours} has {expected.n_features} features but {theirs} "
            f"{got.n_features}; {hint}"
        )


def _listed(names: list[str], most: int = 5) -> str:
    if not names:
        return "none"
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def check_pair(source: Domain, target: Domain, who: str, *, same_columns: bool = True) -> None:
    """Raise unless source and target have rows and, if asked, the same columns."""
    for domain, role in ((source, "source"), (target, "target")):
        if domain.n_rows == 0:
            raise ValueError(f"{who}: {role} has 0 sample(s); a minimum of 1 is required")
        if domain.n_features == 0:
            # The wording that scikit-learn's own estimator checks look for.
            raise ValueError(
                f"{who}: {role} has 0 feature(s) (shape={domain.shape}) while a minimum of 1 "
                "is required."
            )
    if same_columns:
        check_columns(source, target, who)


@overload
def numeric_rows(
    domain: Domain, who: str, *, sparse: Literal[False] = ..., missing: bool = ...
) -> NDArray[Any]: ...
@overload
def numeric_rows(domain: Domain, who: str, *, sparse: bool, missing: bool = ...) -> Any: ...
def numeric_rows(domain: Domain, who: str, *, sparse: bool = False, missing: bool = False) -> Any:
    """Return ``X`` as a float matrix ``(n, d)``.

    Parameters
    ----------
    domain : Domain
        Whose ``X`` to read. Numeric and boolean columns of a frame become floats, images
        are flattened to values in 0..1.
    who : str
        The adapter, for the message.
    sparse : bool, default=False
        Whether a CSR matrix may stay one. It becomes dense otherwise, after a check that
        it fits in memory.
    missing : bool, default=False
        Whether NaN is allowed.

    Returns
    -------
    ndarray or CSR matrix
        float32 stays float32; other types become float64. No copy where none is needed.

    Raises
    ------
    ValueError
        For text columns, NaN or infinity.
    """
    if domain.is_frame:
        X: Any = _frame_to_matrix(domain, who)
    elif domain.is_image:
        X = flatten_images(domain.X)
    elif domain.is_sparse and not sparse:
        check_memory(8.0 * domain.n_rows * domain.n_features, f"{who} (makes X dense)")
        X = domain.X.toarray()
    else:
        X = domain.X
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    _check_finite(X, domain, who, missing)
    return X


def check_values(domain: Domain, estimator: Any, who: str) -> None:
    """Raise for infinity in an array, and for NaN that the estimator could not take.

    For adapters that do not compute with the values themselves, so that a mistake shows in
    `fit` and not in a later prediction. Frames may hold text and are left to the estimator.

    Parameters
    ----------
    domain : Domain
        Whose ``X`` to look at.
    estimator : estimator or None
        What will be trained; None takes anything.
    who : str
        The adapter, for the message.

    Raises
    ------
    ValueError
        For NaN or infinity.
    """
    if not (domain.is_frame or domain.is_image):
        takes_missing = estimator is None or get_tags(estimator).input_tags.allow_nan
        numeric_rows(domain, who, sparse=True, missing=takes_missing)


def class_codes(source: Domain, who: str, instead: str) -> NDArray[np.intp]:
    """Return the classes of the rows as 0 to k - 1, and -1 where the label is unknown.

    Parameters
    ----------
    source : Domain
        Whose labels to read.
    who, instead : str
        The adapter, and the setting that needs no classes, for the message.

    Returns
    -------
    int ndarray of shape (n,)

    Raises
    ------
    ValueError
        Without labels, or for labels that are no classes.
    """
    kind = "no label" if source.n_labelled == 0 else type_of_target(source.y[source.labelled])
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"{who} needs class labels on the source; got {kind}; {instead} needs none"
        )
    codes = np.full(source.n_rows, -1, dtype=np.intp)
    codes[source.labelled] = np.unique(source.y[source.labelled], return_inverse=True)[1]
    return codes


def _check_finite(X: Any, domain: Domain, who: str, missing: bool) -> None:
    values = X.data if sp.issparse(X) else X
    # One pass without a temporary: a sum is finite only if every term is (or it overflows,
    # in which case the slower check decides).
    name = domain.name or "X"
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            if values.size and max(values.max(), -values.min()) > LARGEST:
                raise ValueError(
                    f"{who}: {name} contains values above {LARGEST:.0e}, whose squares are too "
                    "large a number; rescale the columns"
                )
            return
    if np.isinf(values).any():
        raise ValueError(f"{who}: {name} contains infinity or a value too large; replace it")
    if missing or not np.isnan(values).any():
        return
    where = ""
    if domain.feature_names and not sp.issparse(X):
        columns = np.flatnonzero(np.isnan(X).any(axis=0))
        where = " in " + _listed([domain.feature_names[i] for i in columns])
    raise ValueError(
        f"{who}: {name} contains NaN{where}; impute first, for example "
        "make_pipeline(SimpleImputer(), ...)"
    )


def _frame_to_matrix(domain: Domain, who: str) -> NDArray[Any]:
    table = nw.from_native(domain.X, eager_only=True)
    text = [
        str(c)
        for c, dtype in table.schema.items()
        if not (dtype.is_numeric() or dtype == nw.Boolean)
    ]
    if text:
        raise ValueError(
            f"{who}: columns {_listed(text)} of {domain.name or 'X'} hold no numbers; encode them "
            "first, for example make_pipeline(make_column_transformer((OneHotEncoder(), [...]), "
            "remainder='passthrough'), ...)"
        )
    columns = []
    for c in table.columns:
        column = table.get_column(c)
        values = column.to_numpy()
        if values.dtype == object or column.null_count():
            values = np.array([np.nan if v is None else float(v) for v in column.to_list()])
        columns.append(values.astype(np.float64, copy=False))
    return np.column_stack(columns) if columns else np.empty((domain.n_rows, 0))


def flatten_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(n, H, W[, C])`` uint8 images as ``(n, H*W*C)`` float32 rows in 0..1."""
    check_memory(4.0 * images.size, "turning images into rows of floats")
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def available_memory() -> float:
    """Return the bytes of memory that can be had now, or infinity where unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * float(line.split()[1])
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_memory(needed: float, what: str) -> None:
    """Raise MemoryError when ``what`` needs more bytes than can be had.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What needs them, and what to do instead if there is something.
    """
    available = available_memory()
    if needed > available:
        raise MemoryError(
            f"{what} needs about {needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are available"
        )

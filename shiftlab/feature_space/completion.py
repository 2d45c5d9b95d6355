"""Bring two samples with some columns in common to all columns of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.feature_space.imputation import ImputedColumn, impute_column

__all__ = ["Completion", "assemble", "column_names", "select_columns"]

Floats = NDArray[np.float64]


def column_names(domain: Domain) -> list[str]:
    """Return the names of the columns; positions where there are none."""
    if domain.is_frame:
        return [str(c) for c in nw.from_native(domain.X, eager_only=True).columns]
    return list(domain.feature_names or (str(j) for j in range(domain.n_features)))


def select_columns(domain: Domain, names: Sequence[str]) -> Domain:
    """Return a domain with some of its columns, in the order that is asked for.

    Parameters
    ----------
    domain : Domain
        A frame or an array.
    names : sequence of str
        As `column_names` gives them.

    Returns
    -------
    Domain
    """
    ours = column_names(domain)
    if list(names) == ours:
        return domain
    index = [ours.index(name) for name in names]
    if domain.is_frame:
        table = nw.from_native(domain.X, eager_only=True)
        return domain.with_(X=nw.to_native(table[:, index]))
    kept = domain.feature_names and tuple(domain.feature_names[j] for j in index)
    return domain.with_(X=domain.X[:, index], feature_names=kept)


class Completion:
    """Columns that one side lacks, as functions of the columns that both have.

    Parameters
    ----------
    shared : Domain
        The columns that both sides have.
    own : Domain
        Other columns of the same rows.
    names : sequence of str
        Which of ``own`` to learn.
    """

    def __init__(self, shared: Domain, own: Domain, names: Sequence[str]) -> None:
        self._labels = _labels(shared)
        X = self._encoded(shared)
        categories = np.array([levels is not None for levels in self._labels], dtype=bool)
        self.columns: dict[str, ImputedColumn] = {
            name: impute_column(X, _plain(own, name), categories) for name in names
        }

    def __call__(self, shared: Domain, own: Domain, order: Sequence[str]) -> tuple[Domain, Floats]:
        """Return rows with all columns, and the share of them that is known.

        Parameters
        ----------
        shared : Domain
            The columns that both sides have.
        own : Domain
            Where to find the other columns that are known.
        order : sequence of str
            Columns of the result.

        Returns
        -------
        tuple of (Domain, ndarray of shape (n,))
            The share is one minus the sum of what stays unknown of each column, over the
            number of columns.
        """
        X = self._encoded(shared)
        found = {name: column(X) for name, column in self.columns.items()}
        unknown = sum((u for _, u in found.values()), np.zeros(shared.n_rows))
        values = {name: v for name, (v, _) in found.items()}
        return assemble(shared, own, values, order), 1 - unknown / len(order)

    def _encoded(self, shared: Domain) -> Floats:
        columns = []
        for name, levels in zip(column_names(shared), self._labels, strict=True):
            values = _plain(shared, name)
            if levels is None:
                columns.append(values.astype(np.float64))
            else:
                columns.append(np.array([levels.get(v, np.nan) for v in values], dtype=np.float64))
        return np.column_stack(columns)


def _labels(shared: Domain) -> list[dict[Any, int] | None]:
    """Codes of the categories of each column; None for numbers."""
    found: list[dict[Any, int] | None] = []
    for name in column_names(shared):
        values = _plain(shared, name)
        if values.dtype.kind in "fiub":
            found.append(None)
        else:
            levels = sorted({v for v in values.tolist() if v is not None}, key=str)
            found.append({v: k for k, v in enumerate(levels[:255])})
    return found


def _plain(domain: Domain, name: str) -> NDArray[Any]:
    """A column as floats, or as an object array with None for gaps."""
    j = column_names(domain).index(name)
    if not domain.is_frame:
        return np.asarray(domain.X[:, j], dtype=np.float64)
    column = nw.from_native(domain.X, eager_only=True)[:, j]
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return np.array([np.nan if v is None else float(v) for v in column.to_list()])
    return np.array([None if v != v else v for v in column.to_list()], dtype=object)


def assemble(
    shared: Domain, own: Domain, values: Mapping[str, NDArray[Any]], order: Sequence[str]
) -> Domain:
    """Return rows with columns from three places.

    Parameters
    ----------
    shared, own : Domain
        Two sets of columns of the same rows.
    values : mapping of str to ndarray of shape (n,)
        New columns.
    order : sequence of str
        Columns of the result; each is looked for in ``shared``, ``values`` and ``own``.

    Returns
    -------
    Domain
        With the labels and weights of ``shared``.
    """
    ours, others = column_names(shared), column_names(own)
    if not shared.is_frame:
        columns = [
            shared.X[:, ours.index(n)]
            if n in ours
            else values[n]
            if n in values
            else own.X[:, others.index(n)]
            for n in order
        ]
        kind = shared.X.dtype if shared.X.dtype.kind == "f" else np.float64
        names = None if shared.feature_names is None else tuple(order)
        return shared.with_(X=np.column_stack(columns).astype(kind), feature_names=names)
    table, rest = (nw.from_native(d.X, eager_only=True) for d in (shared, own))
    series = []
    for name in order:
        if name in ours:
            series.append(table[:, ours.index(name)])
        elif name in values:
            made = nw.new_series(name, values[name].tolist(), backend=table.implementation)
            if hasattr(shared.X, "index"):
                native = made.to_native()
                native.index = shared.X.index
                made = nw.from_native(native, series_only=True)
            series.append(made)
        else:
            series.append(rest[:, others.index(name)].alias(name))
    return shared.with_(X=nw.to_native(table.select(series)))

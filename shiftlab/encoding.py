"""Data frames as numbers: what columns hold is learnt on one side and applied to both."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

__all__ = ["TableEncoder"]

# More categories than these in a column are taken together as rare ones.
MOST_CATEGORIES = 50


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise numbers, and turn text and categories into indicator columns.

    Missing numbers take the median; categories that were not there when fitted count as rare
    ones. Arrays are standardised the same way; other rows, such as sparse matrices, pass as they
    are. O(n d) time.

    Attributes
    ----------
    numbers_, words_ : list of str
        Columns of a data frame by what they hold; empty for an array.
    n_features_in_ : int
        Columns.

    Raises
    ------
    ValueError
        For a column that holds neither numbers nor text, or text where the fitted frame had
        numbers.

    Examples
    --------
    >>> import polars as pl
    >>> from shiftlab.encoding import TableEncoder
    >>> table = pl.DataFrame({"age": [20.0, None, 40.0], "city": ["Rome", "Oslo", "Rome"]})
    >>> TableEncoder().fit_transform(table).round(2).tolist()
    [[-1.22, 0.0, 1.0], [0.0, 1.0, 0.0], [1.22, 0.0, 1.0]]
    """

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn what the columns hold.

        Parameters
        ----------
        X : data frame, array or CSR matrix
            Rows.
        y : ignored
            There for pipelines.

        Returns
        -------
        self
        """
        self.n_features_in_ = int(np.shape(X)[1])
        self.numbers_, self.words_ = _column_kinds(X) if _is_frame(X) else ([], [])
        self._scale = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        )
        self._frame = _is_frame(X)
        self._dense = self._frame or isinstance(X, np.ndarray)
        if self.numbers_:
            self._scale.fit(_numbers(X, self.numbers_))
        elif self._dense and not self._frame:
            self._scale.fit(X)
        if self.words_:
            self._encode = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=MOST_CATEGORIES,
                sparse_output=False,
            ).fit(_words(X, self.words_))
        return self

    def transform(self, X: Any) -> Any:
        """Return the rows as numbers.

        Parameters
        ----------
        X : data frame, array or CSR matrix
            Rows with the fitted columns.

        Returns
        -------
        array of shape (n, d'), or X itself where it is sparse
        """
        check_is_fitted(self, "n_features_in_")
        if not self._dense:
            return X
        if not self._frame:
            return self._scale.transform(X)
        parts = []
        if self.numbers_:
            parts.append(self._scale.transform(_numbers(X, self.numbers_)))
        if self.words_:
            parts.append(self._encode.transform(_words(X, self.words_)))
        return np.hstack(parts)


def _is_frame(X: Any) -> bool:
    return not isinstance(X, np.ndarray) and hasattr(X, "columns")


def _column_kinds(X: Any) -> tuple[list[str], list[str]]:
    table = nw.from_native(X, eager_only=True)
    numbers: list[str] = []
    words: list[str] = []
    for name, dtype in table.schema.items():
        if dtype.is_numeric() or dtype == nw.Boolean:
            numbers.append(name)
        elif dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object):
            words.append(name)
        else:
            raise ValueError(
                f"column {name!r} holds {dtype}, which is neither number nor text; turn it into "
                "one of them or leave it out"
            )
    return numbers, words


def _numbers(X: Any, names: list[str]) -> NDArray[np.float64]:
    table = nw.from_native(X, eager_only=True)
    columns = []
    for name in names:
        try:
            values = [np.nan if v is None else float(v) for v in table[name].to_list()]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {name!r} holds numbers in the source, but not here: {error}"
            ) from error
        columns.append(values)
    return np.array(columns, dtype=np.float64).T


def _words(X: Any, names: list[str]) -> NDArray[Any]:
    table = nw.from_native(X, eager_only=True)
    columns = [["" if _is_missing(v) else str(v) for v in table[n].to_list()] for n in names]
    return np.array(columns, dtype=object).T


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))

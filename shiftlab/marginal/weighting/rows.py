"""Rows as numbers in comparable units, for methods that measure distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD

from shiftlab.domain import Domain
from shiftlab.stats.kernels import pooled_spread
from shiftlab.validation import numeric_rows

__all__ = ["MOST_COLUMNS", "RowMap", "some_rows"]

Floats = NDArray[np.float64]

# Above this many columns distances are taken between principal components.
MOST_COLUMNS = 100
ROWS_TO_REDUCE = 10_000


def some_rows(X: Any, most: int, rng: np.random.RandomState) -> Any:
    """Return at most ``most`` rows, drawn without replacement and kept in order."""
    n = X.shape[0]
    return X if n <= most else X[np.sort(rng.choice(n, most, replace=False))]


class RowMap:
    """Map rows to columns of unit spread; above 100 columns to 100 principal components.

    Fitted on both samples: columns are centred at the middle of the two means and divided by
    the pooled standard deviation inside the samples, so that units do not matter and a shift
    keeps its size. A sparse matrix with more than 100 columns is reduced without centring.

    Parameters
    ----------
    source, target : Domain
        What it is fitted on.
    who : str
        The adapter, for messages.
    rng : numpy.random.RandomState
        Draws the rows that the components are learnt on, at most 10,000 of each side.
    """

    def __init__(
        self, source: Domain, target: Domain, who: str, rng: np.random.RandomState
    ) -> None:
        self.who = who
        S, T = (numeric_rows(d, who, sparse=True) for d in (source, target))
        few = [some_rows(X, ROWS_TO_REDUCE, rng) for X in (S, T)]
        wide = S.shape[1] > MOST_COLUMNS and sum(X.shape[0] for X in few) > MOST_COLUMNS
        self.middle: Any = 0.0
        self.unit: Any = 1.0
        self.reduction: Any = None
        seed = rng.randint(2**31 - 1)
        if sp.issparse(S) and wide:
            self.reduction = TruncatedSVD(MOST_COLUMNS, random_state=seed).fit(sp.vstack(few))
            return
        dense = [X.toarray() if sp.issparse(X) else X.astype(np.float64, copy=False) for X in few]
        self.unit = pooled_spread(*dense)
        self.middle = (dense[0].mean(axis=0) + dense[1].mean(axis=0)) / 2
        if wide:
            stacked = np.vstack([(X - self.middle) / self.unit for X in dense])
            pca = PCA(MOST_COLUMNS, svd_solver="randomized", random_state=seed)
            self.reduction = pca.fit(stacked)

    def __call__(self, rows: Domain) -> Floats:
        """Return the rows of a domain, ``(n, d)`` with d at most 100."""
        X = numeric_rows(rows, self.who, sparse=True)
        if sp.issparse(X) and not isinstance(self.reduction, TruncatedSVD):
            X = X.toarray()
        if not sp.issparse(X):
            X = (X - self.middle) / self.unit
        if self.reduction is not None:
            X = self.reduction.transform(X)
        return np.asarray(X, dtype=np.float64)

"""Fill a column that one side has not from the columns that both have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import cross_val_predict

__all__ = ["ImputedColumn", "impute_column"]

Floats = NDArray[np.float64]

MOST_ROWS = 5_000
FOLDS = 3
ROUNDS = 60


@dataclass(frozen=True)
class ImputedColumn:
    r"""A column as a function of others, and how much of it stays unknown.

    For numbers, :math:`\hat c(x) = E[c\,|\,x]` by boosted trees, and

    .. math:: u(x) = \frac{E[(c - \hat c(x))^2\,|\,x]}{\operatorname{Var}(c)} \in [0, 1]

    by trees on the squares of the residuals outside the fold. For categories the most
    probable one, and one minus its probability's share beyond that of the most frequent.
    """

    model: Any
    spread: Any
    variance: float

    def __call__(self, X: Floats) -> tuple[NDArray[Any], Floats]:
        """Return the values and how unknown each is, 0 to 1.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            The columns that both sides have.

        Returns
        -------
        tuple of ndarrays of shape (n,)
        """
        if self.spread is not None:
            unknown = self.spread.predict(X) / self.variance
            return self.model.predict(X), np.clip(unknown, 0.0, 1.0)
        share = self.model.predict_proba(X)
        unknown = (1 - share.max(axis=1)) / self.variance
        return self.model.classes_[share.argmax(axis=1)], np.clip(unknown, 0.0, 1.0)


def impute_column(
    X: Floats, values: NDArray[Any], categories: NDArray[np.bool_], seed: int = 0
) -> ImputedColumn:
    """Learn a column from others; O(n d) with boosted trees on at most 5,000 rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The columns that both sides have; NaN may stand for a gap.
    values : ndarray of shape (n,)
        The column: numbers, or text. Rows where it is missing are left out.
    categories : bool ndarray of shape (d,)
        Which columns of ``X`` are codes of categories.
    seed : int, default=0
        Of the folds' models.

    Returns
    -------
    ImputedColumn

    Raises
    ------
    ValueError
        If fewer than ten values are known.
    """
    numeric = values.dtype.kind in "fiub"
    rows = np.array(
        [k for k, v in enumerate(values.tolist()) if v is not None and v == v], dtype=np.intp
    )
    if len(rows) < 10:
        raise ValueError(f"a column is imputed from at least 10 known values; got {len(rows)}")
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.intp)]
    Z, c = X[rows], values[rows]
    given: dict[str, Any] = {
        "max_iter": ROUNDS,
        "early_stopping": False,
        "min_samples_leaf": min(20, max(2, len(rows) // 10)),
        "categorical_features": categories if categories.any() else None,
        "random_state": seed,
    }
    if not numeric:
        shares = np.unique(c.astype(str), return_counts=True)[1] / len(c)
        classifier = HistGradientBoostingClassifier(**given).fit(Z, c.astype(str))
        unsure = max(1 - float(shares.max()), 1e-12)
        return ImputedColumn(classifier, None, unsure)
    regressor = HistGradientBoostingRegressor(**given)
    c = c.astype(np.float64)
    outside = c - cross_val_predict(regressor, Z, c, cv=FOLDS)
    variance = max(float(c.var()), 1e-300)
    spread = HistGradientBoostingRegressor(**{**given, "max_iter": ROUNDS // 3})
    spread.fit(Z, outside**2)
    return ImputedColumn(regressor.fit(Z, c), spread, variance)

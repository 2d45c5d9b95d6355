"""How much a column tells about the domain, and how much a model of Y leans on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from shiftlab.diagnosis.findings import FeatureShift

__all__ = [
    "add_importance",
    "domain_importance",
    "most_different",
    "score_drop",
    "task_importance",
]

Floats = NDArray[np.float64]

MOST_ROWS = 1000
MANY_COLUMNS = 20  # up to so many are shuffled three times each, more of them once
MOST_COLUMNS = 200
MEASURED_BEYOND = 50
FLOOR = 1e-3  # probability; one row predicted wrongly with certainty must not decide


def score_drop(
    score: Callable[[Floats], float],
    X: Floats,
    owners: Sequence[int],
    n_columns: int,
    rng: np.random.Generator,
    repeats: int,
    only: Sequence[int] | None = None,
) -> Floats:
    r"""Permutation importance: how far a score falls when one column is shuffled.

    .. math:: I_j = s(X) - \frac1R \sum_{r=1}^R s(X^{(j, r)})

    where :math:`X^{(j, r)}` has all matrix columns that were made from column j (indicators
    of its levels, of missing values) shuffled over the rows together, by one permutation.
    Columns that say the same thing share their importance: each alone can be missed. O(R d)
    calls of the score.

    Parameters
    ----------
    score : callable
        Maps a matrix like ``X`` to a number, large being good.
    X : ndarray of shape (n, m)
        Rows that the model did not learn from; NaN where missing.
    owners : sequence of int, length m
        Position of the column that each matrix column was made from.
    n_columns : int
        Number of columns.
    rng : numpy.random.Generator
        For the permutations.
    repeats : int
        Permutations per column, R.
    only : sequence of int or None, default=None
        Columns to measure; None stands for all.

    Returns
    -------
    ndarray of shape (n_columns,)
        Drops; zero for a column that is not in the matrix, NaN for one not measured.

    References
    ----------
    A. Fisher, C. Rudin, F. Dominici, "All Models are Wrong, but Many are Useful", JMLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> y = X[:, 0].copy()
    >>> drop = score_drop(lambda Z: -np.mean((Z[:, 0] - y) ** 2), X, [0, 1], 2, rng, repeats=5)
    >>> np.round(drop + 0.0, 1).tolist()
    [2.0, 0.0]
    """
    owner = np.asarray(owners, dtype=np.intp)
    if owner.shape != (X.shape[1],):
        raise ValueError(
            f"owners must name one column for each of the {X.shape[1]} matrix columns, got "
            f"{owner.size}"
        )
    drops = np.full(n_columns, np.nan)
    drops[np.arange(n_columns) if only is None else np.asarray(only, dtype=np.intp)] = 0.0
    base = score(X)
    shuffled = X.copy()
    for column in np.intersect1d(owner, np.flatnonzero(drops == 0.0)):
        own = np.flatnonzero(owner == column)
        scores = []
        for _ in range(repeats):
            shuffled[:, own] = X[rng.permutation(X.shape[0])][:, own]
            scores.append(score(shuffled))
        shuffled[:, own] = X[:, own]
        drops[column] = base - np.mean(scores)
    return drops


def domain_importance(
    model: Any,
    X: Floats,
    is_target: NDArray[np.bool_],
    owners: Sequence[int],
    n_columns: int,
    rng: np.random.Generator,
    only: Sequence[int] | None = None,
) -> Floats | None:
    """Measure how much of the AUC of a domain classifier each column carries.

    Up to 1,000 random rows are used; each column is shuffled three times, or once where
    more than 20 are measured.

    Parameters
    ----------
    model : classifier
        Fitted on other rows, with the target as its second class.
    X : ndarray of shape (n, m)
        Held-out rows of both sides.
    is_target : ndarray of bool, shape (n,)
        Domain indicator; both sides must occur.
    owners : sequence of int, length m
        Position of the column of each matrix column; empty if there is none.
    n_columns : int
        Number of columns.
    rng : numpy.random.Generator
        For rows and permutations.
    only : sequence of int or None, default=None
        Columns to measure; None stands for all.

    Returns
    -------
    ndarray of shape (n_columns,) or None
        Drops of the AUC; None where the matrix holds components of many columns.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.stats import BlendedClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, is_target = rng.normal(size=(600, 2)), np.arange(600) % 2 == 1
    >>> X[is_target, 1] += 1.5
    >>> model = BlendedClassifier(random_state=0).fit(X[:300], is_target[:300])
    >>> drop = domain_importance(model, X[300:], is_target[300:], [0, 1], 2, rng)
    >>> bool(drop[0] < 0.05 < 0.2 < drop[1])
    True
    """
    X, is_target = _fewer(X, np.asarray(is_target, dtype=bool), rng)
    n_target = int(is_target.sum())
    if len(owners) == 0 or n_target in (0, is_target.size):
        return None

    def auc(rows: Floats) -> float:
        ranks = rankdata(model.predict_proba(rows)[:, 1])
        pairs = n_target * (is_target.size - n_target)
        return float((ranks[is_target].sum() - n_target * (n_target + 1) / 2) / pairs)

    return score_drop(auc, X, owners, n_columns, rng, _repeats(n_columns, only), only)


def task_importance(
    model: Any,
    X: Floats,
    y: NDArray[Any],
    owners: Sequence[int],
    n_columns: int,
    rng: np.random.Generator,
    task: Literal["classification", "regression"],
    only: Sequence[int] | None = None,
) -> Floats | None:
    r"""Measure how much of what a model explains of Y each column carries.

    The score is R-squared: in regression :math:`1 - \overline{(y - f(x))^2} / \mathrm{var}(y)`;
    in classification McFadden's :math:`1 - \ell(f) / \ell(\text{class shares})` with the mean
    log-loss :math:`\ell`. Log-loss is less noisy than accuracy and shows a column that
    matters for a rare class, where accuracy does not move; the division puts both tasks in
    one unit. Rows and repeats as in :func:`domain_importance`.

    Parameters
    ----------
    model : estimator
        Fitted on other rows; its classes are the codes in ``y``.
    X : ndarray of shape (n, m)
        Held-out rows with labels.
    y : ndarray of shape (n,)
        Class codes, or numbers.
    owners : sequence of int, length m
        Position of the column of each matrix column; empty if there is none.
    n_columns : int
        Number of columns.
    rng : numpy.random.Generator
        For rows and permutations.
    task : {"classification", "regression"}
        What ``y`` is.
    only : sequence of int or None, default=None
        Columns to measure; None stands for all.

    Returns
    -------
    ndarray of shape (n_columns,) or None
        Drops of R-squared, above 1 for a column without which the model is worse than
        no model; None where the matrix holds components of many columns or Y is constant.

    References
    ----------
    D. McFadden, "Conditional logit analysis of qualitative choice behavior", Frontiers in
    Econometrics 1974.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.stats import BlendedRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 2))
    >>> model = BlendedRegressor(random_state=0).fit(X[:300], X[:300, 0])
    >>> drop = task_importance(model, X[300:], X[300:, 0], [0, 1], 2, rng, "regression")
    >>> bool(drop[0] > 1.5 and abs(drop[1]) < 0.05)
    True
    """
    X, y = _fewer(X, np.asarray(y), rng)
    values, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(owners) == 0 or values.size < 2:
        return None
    if task == "regression":
        spread = float(np.var(y))

        def explained(rows: Floats) -> float:
            return 1 - float(np.square(y - model.predict(rows)).mean()) / spread
    else:
        shares = counts / counts.sum()
        entropy = -float(shares @ np.log(shares))
        own = np.searchsorted(model.classes_, values)
        own = np.where(np.isin(values, model.classes_), own, -1)[codes]
        each = np.arange(y.size)

        def explained(rows: Floats) -> float:
            predicted = np.where(own >= 0, model.predict_proba(rows)[each, own], 0.0)
            return 1 + float(np.log(np.maximum(predicted, FLOOR)).mean()) / entropy

    return score_drop(explained, X, owners, n_columns, rng, _repeats(n_columns, only), only)


def _fewer(X: Floats, y: NDArray[Any], rng: np.random.Generator) -> tuple[Floats, NDArray[Any]]:
    if X.shape[0] <= MOST_ROWS:
        return X, y
    rows = rng.choice(X.shape[0], MOST_ROWS, replace=False)
    return X[rows], y[rows]


def _repeats(n_columns: int, only: Sequence[int] | None) -> int:
    measured = n_columns if only is None else len(only)
    return 3 if measured <= MANY_COLUMNS else 1


def most_different(records: list[FeatureShift], names: list[str]) -> tuple[list[int] | None, str]:
    """Choose the columns that are worth measuring where there are more than 200.

    Parameters
    ----------
    records : list of FeatureShift
        Those that differ most first.
    names : list of str
        Names of the columns, by position.

    Returns
    -------
    tuple of (list of int or None, str)
        Positions of the 50 that differ most, and a note that says so; None and no note where
        all are measured.

    Examples
    --------
    >>> most_different([], ["age", "city"])
    (None, '')
    """
    if len(names) <= MOST_COLUMNS:
        return None, ""
    position = {name: i for i, name in enumerate(names)}
    chosen = [position[r.feature] for r in records if r.feature in position][:MEASURED_BEYOND]
    return chosen, (
        f"Importance was measured for the {len(chosen)} columns that differ most, not for all "
        f"{len(names)}."
    )


def add_importance(
    records: list[FeatureShift],
    names: list[str],
    domain_drop: Floats | None,
    task_drop: Floats | None,
) -> list[FeatureShift]:
    """Write the importances into the records of the columns.

    Parameters
    ----------
    records : list of FeatureShift
        One for each column, in any order.
    names : list of str
        Names of the columns, by position.
    domain_drop, task_drop : ndarray of shape (n_columns,) or None
        By position; None or NaN where it was not measured.

    Returns
    -------
    list of FeatureShift
        In the given order.

    Examples
    --------
    >>> import numpy as np
    >>> record = FeatureShift("age", "differs", "Kolmogorov-Smirnov")
    >>> add_importance([record], ["age"], np.array([0.2]), None)[0].domain_importance
    0.2
    """
    position = {name: i for i, name in enumerate(names)}

    def of(drop: Floats | None, name: str) -> float | None:
        if drop is None or name not in position or np.isnan(drop[position[name]]):
            return None
        return float(drop[position[name]])

    return [
        replace(
            record,
            domain_importance=of(domain_drop, record.feature),
            task_importance=of(task_drop, record.feature),
        )
        for record in records
    ]

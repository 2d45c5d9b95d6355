"""Boosting with source rows: the steps of TrAdaBoost and its relatives, and their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, get_tags

from shiftlab.supervised import rows_for

__all__ = [
    "MedianRegressor",
    "VotingClassifier",
    "adjusted_errors",
    "boosted_weights",
    "source_factor",
    "target_error",
    "weighted_median",
]

Floats = NDArray[np.float64]


def source_factor(n_source: int, n_rounds: int) -> float:
    r"""Return :math:`\beta = 1 / (1 + \sqrt{2 \ln n_S / N})`, by which wrong source rows shrink.

    Parameters
    ----------
    n_source : int
        Source rows.
    n_rounds : int
        Rounds of boosting.

    Returns
    -------
    float
        In (0, 1].

    Examples
    --------
    >>> round(source_factor(100, 10), 4)
    0.5103
    """
    return float(1 / (1 + np.sqrt(2 * np.log(n_source) / n_rounds)))


def target_error(weight: Floats, error: Floats, is_target: NDArray[np.bool_]) -> float:
    r"""Return :math:`\sum_{i \in T} w_i e_i / \sum_{i \in T} w_i`.

    Parameters
    ----------
    weight, error : ndarray of shape (n,)
        Weights, and errors in 0..1, of all rows.
    is_target : bool ndarray of shape (n,)
        Which rows are the target's.

    Returns
    -------
    float
    """
    return float(weight[is_target] @ error[is_target] / weight[is_target].sum())


def boosted_weights(
    weight: Floats,
    error: Floats,
    is_target: NDArray[np.bool_],
    shrink: float,
    odds: float,
) -> Floats:
    r"""Lower the weight of wrong source rows and raise that of wrong target rows.

    .. math:: w_i \leftarrow w_i\, \beta^{e_i} \;(i \in S), \qquad
              w_i \leftarrow w_i\, o^{e_i} \;(i \in T)

    Parameters
    ----------
    weight, error : ndarray of shape (n,)
        Weights, and errors in 0..1.
    is_target : bool ndarray of shape (n,)
        Which rows are the target's.
    shrink : float
        :math:`\beta`.
    odds : float
        :math:`o = 1 / \beta_t`, at least one.

    Returns
    -------
    ndarray of shape (n,)
        With the sum of ``weight``.
    """
    moved = weight * np.where(is_target, odds, shrink) ** error
    return np.asarray(moved * (weight.sum() / moved.sum()))


def adjusted_errors(truth: Floats, predicted: Floats) -> Floats:
    r"""Return :math:`|y_i - h(x_i)| / \max_j |y_j - h(x_j)|`, zeros where all are right."""
    error = np.abs(truth - predicted)
    largest = error.max()
    return np.asarray(error / largest if largest > 0 else error)


def weighted_median(values: Floats, weight: Floats) -> Floats:
    """Return the weighted median of each row.

    Parameters
    ----------
    values : ndarray of shape (n, t)
        One column for each voter.
    weight : ndarray of shape (t,)
        Their weights, positive.

    Returns
    -------
    ndarray of shape (n,)
        The smallest value that has half of the weight at or below it.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_median(np.array([[1.0, 2.0, 9.0]]), np.array([1.0, 1.0, 3.0])).tolist()
    [9.0]
    """
    order = np.argsort(values, axis=1, kind="stable")
    below = np.cumsum(weight[order], axis=1)
    middle = np.argmax(below >= 0.5 * below[:, -1:] * (1 - 1e-12), axis=1)
    rows = np.arange(len(values))
    return np.asarray(values[rows, order[rows, middle]])


class _Ensemble(BaseEstimator):  # type: ignore[misc]
    """Fitted estimators and their weights; made by an adapter, not by hand."""

    def __init__(self, estimators: Any = (), weights: Any = ()) -> None:
        self.estimators = estimators
        self.weights = weights

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if len(self.estimators):
            tags.input_tags = get_tags(self.estimators[0]).input_tags
        return tags


class VotingClassifier(ClassifierMixin, _Ensemble):  # type: ignore[misc]
    """Classifiers that vote with weights.

    Parameters
    ----------
    estimators : sequence of classifier
        Fitted.
    weights : sequence of float
        Positive, one for each.
    classes : ndarray of shape (k,)
        Sorted labels.
    """

    def __init__(self, estimators: Any = (), weights: Any = (), classes: Any = ()) -> None:
        super().__init__(estimators, weights)
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels."""
        return np.asarray(self.classes)

    def predict_proba(self, X: Any) -> Floats:
        """Return the share of the votes that each class has, ``(n, k)``; not calibrated."""
        votes = np.zeros((X.shape[0], len(self.classes)))
        for model, weight in zip(self.estimators, self.weights, strict=True):
            voted = np.searchsorted(self.classes, model.predict(rows_for(model, X)))
            votes[np.arange(len(votes)), voted] += weight
        return np.asarray(votes / votes.sum(axis=1, keepdims=True))

    def decision_function(self, X: Any) -> Floats:
        """Return the shares of the votes, for two classes the difference of both."""
        shares = self.predict_proba(X)
        return np.asarray(shares[:, 1] - shares[:, 0] if shares.shape[1] == 2 else shares)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes, the first of several."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])


class MedianRegressor(RegressorMixin, _Ensemble):  # type: ignore[misc]
    """Regressors whose weighted median is the answer.

    Parameters
    ----------
    estimators : sequence of regressor
        Fitted.
    weights : sequence of float
        Positive, one for each.
    """

    def predict(self, X: Any) -> Floats:
        """Return the weighted median of the predictions, ``(n,)``."""
        values = [np.ravel(model.predict(rows_for(model, X))) for model in self.estimators]
        return weighted_median(
            np.column_stack(values).astype(np.float64), np.asarray(self.weights, dtype=np.float64)
        )

"""Learners behind the tests: a smooth model and a tree ensemble, averaged."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

__all__ = ["BlendedClassifier", "BlendedRegressor"]

Floats = NDArray[np.float64]

QUADRATIC_UP_TO = 15  # columns; above it the squares and products outnumber the rows
ROUNDS = 30
RATE = 0.15
TREES_AT_MOST = 300  # over all classes, so that many classes do not cost many seconds
BINS = 64


def _clip(X: Floats) -> Floats:
    return np.clip(X, -5.0, 5.0)


def _smooth(n_columns: int, model: Any) -> Pipeline:
    """Impute, standardise, cut outliers (before they are squared), expand, fit."""
    steps: list[Any] = [
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(_clip),
    ]
    if n_columns <= QUADRATIC_UP_TO:
        steps += [PolynomialFeatures(2, include_bias=False), StandardScaler()]
    return make_pipeline(*steps, model)


class _Bins(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Columns as numbers of their quantile bins; NaN stays.

    Trees see only the order of the bins. With weights scikit-learn's own binning takes longer than
    the trees; what it would gain in fineness, many bins have as well.
    """

    def fit(self, X: Floats, y: Any = None) -> Self:
        levels = np.linspace(0, 1, BINS + 1)[1:-1]
        columns = (column[~np.isnan(column)] for column in X.T)
        self.edges_ = [np.unique(np.quantile(c, levels)) if c.size else c for c in columns]
        return self

    def transform(self, X: Floats) -> Floats:
        found = np.empty_like(X, order="F")
        for j, edges in enumerate(self.edges_):
            found[:, j] = np.searchsorted(edges, X[:, j])
        found[np.isnan(X)] = np.nan
        return found


class BlendedClassifier(BaseEstimator):  # type: ignore[misc]
    r"""Average of a penalised logistic regression and gradient boosted trees.

    .. math:: \hat P(y\mid x) = \tfrac12 \hat P_{\mathrm{logistic}}(y\mid x)
              + \tfrac12 \hat P_{\mathrm{trees}}(y\mid x)

    The logistic part works on standardised columns with their squares and products (up to
    15 columns) and finds small smooth changes with few rows; the trees find jumps and
    interactions and take missing values as they are. Meant for nuisance functions and
    domain scores inside tests, where a decent answer in a fraction of a second is wanted.
    O(n d log n) time for the trees and O(n d^4) for the quadratic part.

    Parameters
    ----------
    random_state : int or None, default=None
        Seed of the trees.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Sorted labels; a single class is allowed and predicted with certainty.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(200.0)[:, None]
    >>> model = BlendedClassifier(random_state=0).fit(X, X[:, 0] > 99)
    >>> bool(model.predict_proba([[150.0]])[0, 1] > 0.9)
    True
    """

    classes_: NDArray[Any]

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit both parts.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Floats, NaN where missing.
        y : array-like of shape (n,)
            Labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Row weights.

        Returns
        -------
        self
        """
        matrix = np.asarray(X, dtype=np.float64)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        self.parts_: list[Any] = []
        k = self.classes_.size
        if k == 1:
            return self
        trees = HistGradientBoostingClassifier(
            max_iter=max(5, min(ROUNDS, TREES_AT_MOST // (k if k > 2 else 1))),
            learning_rate=RATE,
            max_bins=BINS,
            max_leaf_nodes=8,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.random_state,
        )
        logistic = _smooth(matrix.shape[1], LogisticRegression(C=0.3, max_iter=100, tol=1e-3))
        logistic.fit(matrix, codes, logisticregression__sample_weight=sample_weight)
        if sample_weight is None:
            trees.fit(matrix, codes)
        else:
            trees = make_pipeline(_Bins(), trees)
            trees.fit(matrix, codes, histgradientboostingclassifier__sample_weight=sample_weight)
        self.parts_ = [logistic, trees]
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Floats, NaN where missing.

        Returns
        -------
        ndarray of shape (n, k)
            Rows sum to 1; columns in the order of ``classes_``.
        """
        matrix = np.asarray(X, dtype=np.float64)
        if not self.parts_:
            return np.ones((matrix.shape[0], 1))
        return np.asarray(
            np.mean([part.predict_proba(matrix) for part in self.parts_], axis=0), dtype=np.float64
        )


class BlendedRegressor(BaseEstimator):  # type: ignore[misc]
    """Average of a ridge regression (with squares and products) and boosted trees.

    The regression twin of :class:`BlendedClassifier`, with the same steps and cost.

    Parameters
    ----------
    random_state : int or None, default=None
        Seed of the trees.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = BlendedRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(abs(model.predict([[0.5]])[0] - 0.25) < 0.05)
    True
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit both parts.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Floats, NaN where missing.
        y : array-like of shape (n,)
            Numbers.

        Returns
        -------
        self
        """
        matrix, values = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        trees = HistGradientBoostingRegressor(
            max_iter=ROUNDS,
            learning_rate=RATE,
            max_bins=BINS,
            max_leaf_nodes=8,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.random_state,
        )
        self.parts_ = [
            _smooth(matrix.shape[1], Ridge(alpha=1.0)).fit(matrix, values),
            trees.fit(matrix, values),
        ]
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Predicted values.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Floats, NaN where missing.

        Returns
        -------
        ndarray of shape (n,)
        """
        matrix = np.asarray(X, dtype=np.float64)
        return np.asarray(np.mean([p.predict(matrix) for p in self.parts_], axis=0))

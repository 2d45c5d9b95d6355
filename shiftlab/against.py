"""A plain scikit-learn estimator with the target bound inside."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from shiftlab.domain import Domain

__all__ = ["AdaptedEstimator"]


def _adapter_has(method: str) -> Any:
    def check(self: AdaptedEstimator) -> bool:
        getattr(getattr(self, "adapter_", self.adapter), method)
        return True

    return check


class AdaptedEstimator(BaseEstimator):  # type: ignore[misc]
    """An adapter (or pipeline) and its target as one scikit-learn estimator.

    Made by ``adapter.against(target)``. Rows given to `fit` are the source; rows given to
    `predict` are taken to be target rows. In a cross-validation both are source rows, so
    its score says how well the adapted model does *on the source*: use it to compare
    settings of the estimator, and the validators of `shiftlab.selection` to compare adapters.

    Parameters
    ----------
    adapter : Adapter
        With an estimator inside; cloned, never fitted itself.
    target : Domain or None, default=None
        What to adapt to; None adapts to the training rows themselves.

    Attributes
    ----------
    adapter_ : Adapter
        The fitted clone.
    classes_ : array of shape (n_classes,)
        Class labels (classifiers only).
    n_features_in_ : int
        Number of columns seen in `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.preprocessing import StandardScaler
    >>> from shiftlab import CORAL, make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(80, 2)), np.repeat([0, 1], 40)
    >>> model = make_pipeline(StandardScaler(), CORAL(), LogisticRegression()).against(3 * X)
    >>> search = GridSearchCV(model, {"adapter__logisticregression__C": [0.1, 1.0]}, cv=4)
    >>> search.fit(X, y).predict(X).shape
    (80,)
    """

    def __init__(self, adapter: Any, target: Domain | None = None) -> None:
        self.adapter = adapter
        self.target = target

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Adapt the source ``(X, y)`` to the bound target and train the estimator.

        Parameters
        ----------
        X : array, CSR matrix or data frame of shape (n, d)
            Source rows.
        y : array of shape (n,)
            Source labels.
        sample_weight : array of shape (n,), default=None
            Source weights.

        Returns
        -------
        self
        """
        if not hasattr(self.adapter, "predict"):
            raise TypeError(
                f"against() needs something that predicts; give {type(self.adapter).__name__} an "
                "estimator, or end the pipeline with one"
            )
        source = Domain(*self._check_training_rows(X, y), weight=sample_weight)
        target = source.unlabelled() if self.target is None else self.target
        self.adapter_ = clone(self.adapter).fit(source, target)
        if is_classifier(self):
            self.classes_ = self.adapter_.classes_
        return self

    def _check_training_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        if hasattr(X, "columns") or getattr(X, "ndim", 2) > 2:
            # Frames may hold text and images are no matrix: the steps inside check them.
            validate_data(self, X, skip_check_array=True)
        else:
            X, y = validate_data(self, X, y, **self._rules(), y_numeric=is_regressor(self))
        if is_classifier(self):
            check_classification_targets(y)
        return X, y

    def _rules(self) -> dict[str, Any]:
        tags = get_tags(self).input_tags
        return {
            "accept_sparse": "csr" if tags.sparse else False,
            "ensure_all_finite": "allow-nan" if tags.allow_nan else True,
        }

    def _check_rows(self, X: Any) -> Any:
        check_is_fitted(self, "adapter_")
        if self.target is not None and "feature_space" in self.adapter_._get_facts().handles:
            return X  # rows have the target's columns, not those of `fit`; the adapter checks them
        if hasattr(X, "columns") or getattr(X, "ndim", 2) > 2:
            validate_data(self, X, reset=False, skip_check_array=True)
            return X
        return validate_data(self, X, reset=False, **self._rules())

    @available_if(_adapter_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> Any:
        """Predict labels of target rows; see `Adapter.predict`."""
        rows = self._check_rows(X)
        return self.adapter_.predict(rows)

    @available_if(_adapter_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Predict class probabilities of target rows; see `Adapter.predict_proba`."""
        rows = self._check_rows(X)
        return self.adapter_.predict_proba(rows)

    @available_if(_adapter_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Return decision values of target rows; see `Adapter.decision_function`."""
        rows = self._check_rows(X)
        return self.adapter_.decision_function(rows)

    @available_if(_adapter_has("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return accuracy or R^2 on labelled rows; see `Adapter.score`."""
        rows = self._check_rows(X)
        return float(self.adapter_.score(rows, y, sample_weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.adapter)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.input_tags = inner.input_tags
        tags.input_tags.three_d_array = True  # an adapter flattens images itself, on both sides
        tags.target_tags.required = True
        return tags

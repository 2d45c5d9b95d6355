"""A classifier that knows fewer classes than it answers for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if

__all__ = ["WidenedClassifier"]

Floats = NDArray[np.float64]


def _inner_has(method: str) -> Any:
    return lambda self: hasattr(self.classifier, method)


class WidenedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Give a fitted classifier columns for classes that it was not trained on.

    Parameters
    ----------
    classifier : classifier
        Fitted.
    classes : ndarray of shape (k,)
        Sorted; all that it knows, and more. The others have the probability zero, and a
        decision value one below the smallest of the row.
    """

    def __init__(self, classifier: Any, classes: Any) -> None:
        self.classifier = classifier
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        """All classes."""
        return np.asarray(self.classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict one of the classes that are known."""
        return np.asarray(self.classifier.predict(X))

    @available_if(_inner_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities, ``(n, k)``, zero for classes that are not known."""
        wide = np.zeros((X.shape[0], len(self.classes)))
        wide[:, self._columns()] = self.classifier.predict_proba(X)
        return wide

    @available_if(_inner_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Floats:
        """Return decision values, ``(n, k)``; of two classes the usual one value a row."""
        values = np.asarray(self.classifier.decision_function(X), dtype=np.float64)
        if values.ndim == 1:
            values = np.column_stack([-values, values])
        wide = np.repeat(values.min(axis=1, keepdims=True) - 1, len(self.classes), axis=1)
        wide[:, self._columns()] = values
        return wide

    def _columns(self) -> NDArray[np.intp]:
        return np.asarray(np.searchsorted(self.classes, self.classifier.classes_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.classifier).input_tags
        return tags

"""What a validator sees of one candidate: a fitted model, held-out source rows, target rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from shiftlab.domain import Domain

__all__ = ["Trial"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """One candidate, fitted, and the rows that it is judged on.

    Predictions are made when they are first asked for, and once. All are of the model as it
    answers *target* rows: of a held-out source row too, since under covariate shift that is
    the function whose risk is wanted.

    Parameters
    ----------
    name : str
        Of the candidate, for messages.
    model : Adapter
        Fitted on the other source rows and the target.
    unfitted : Adapter
        The same before `fit`.
    source : Domain
        Labelled source rows that the model did not see.
    target : Domain
        Target rows without labels.
    ratio : ndarray of shape (n_source,), default=None
        ``p_T(x) / p_S(x)`` at the source rows, for validators that need it.
    """

    name: str
    model: Any
    unfitted: Any
    source: Domain
    target: Domain
    ratio: Floats | None = None

    @property
    def classifies(self) -> bool:
        """Whether the model predicts classes."""
        return bool(is_classifier(self.model))

    @cached_property
    def source_prediction(self) -> NDArray[Any]:
        """Predictions of the held-out source rows, shape (n,)."""
        return self._predicted(self.source.X)

    @cached_property
    def target_prediction(self) -> NDArray[Any]:
        """Predictions of the target rows, shape (m,)."""
        return self._predicted(self.target.X)

    @cached_property
    def source_probabilities(self) -> Floats:
        """Class probabilities of the held-out source rows, shape (n, k)."""
        return self._probabilities(self.source.X)

    @cached_property
    def target_probabilities(self) -> Floats:
        """Class probabilities of the target rows, shape (m, k)."""
        return self._probabilities(self.target.X)

    @cached_property
    def source_codes(self) -> NDArray[np.intp]:
        """Classes of the held-out source rows as columns of the probabilities; -1 for others."""
        classes = np.asarray(self.model.classes_)
        order = np.argsort(classes)
        place = np.searchsorted(classes, self.source.y, sorter=order).clip(max=len(classes) - 1)
        codes: NDArray[np.intp] = order[place].astype(np.intp)
        codes[classes[codes] != self.source.y] = -1
        return codes

    @cached_property
    def source_loss(self) -> Floats:
        """0 or 1 for classes, the squared error for numbers; shape (n,)."""
        if self.classifies:
            return np.asarray(self.source_prediction != self.source.y, dtype=np.float64)
        return np.square(np.asarray(self.source_prediction - self.source.y, dtype=np.float64))

    @cached_property
    def source_weight(self) -> Floats:
        """The source's own weights, all one where it has none; shape (n,)."""
        w = self.source.weight
        return np.ones(self.source.n_rows) if w is None else np.asarray(w, dtype=np.float64)

    def _predicted(self, X: Any) -> NDArray[Any]:
        found = np.asarray(self.model.predict(X))
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError(f"candidate {self.name!r} predicts NaN or infinity")
        return found

    def _probabilities(self, X: Any) -> Floats:
        if not hasattr(self.model, "predict_proba"):
            raise ValueError(
                f"candidate {self.name!r} has no predict_proba, which this validator needs; give "
                "it an estimator with probabilities, such as LogisticRegression"
            )
        found = np.asarray(self.model.predict_proba(X), dtype=np.float64)
        if not np.isfinite(found).all():
            raise ValueError(f"candidate {self.name!r} predicts probabilities that are not finite")
        return found

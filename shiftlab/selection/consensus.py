"""Several adapted models that answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.selection.judge import as_candidate

__all__ = ["Consensus"]


def _all_have_probabilities(self: Consensus) -> bool:
    models = getattr(self, "models_", None) or self.models
    return all(hasattr(m, "predict_proba") for m in models)


class Consensus(Adapter):
    r"""The mean of several adapted models' probabilities, or of their numbers.

    .. math:: p(y \mid x) = \frac 1 M \sum_m p_m(y \mid x)

    Models that adapt in different ways err on different rows. It helps where none of them can be
    shown to be right: the mean is seldom far below the best and never below the worst loss (log-
    loss and squared error are convex). It does not help where one of them is known to be right.
    Cost: that of all models.

    Parameters
    ----------
    models : list of adapters, pipelines or estimators
        At least two, all for classes or all for numbers. A plain estimator is the source-only
        model.

    Attributes
    ----------
    models_ : list of Adapter
        Fitted, in their order.
    classes_ : ndarray of shape (k,)
        Classes of the columns of `predict_proba`.
    source_ : Domain
        The source as it was given: each model has its own.

    Raises
    ------
    ValueError
        For fewer than two models, or classifiers beside regressors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import CORAL, Consensus, SelfTraining
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2))
    >>> model = Consensus([CORAL(LogisticRegression()), SelfTraining(LogisticRegression())])
    >>> model.fit((X, X[:, 0] > 0), X + 0.2).predict(X[:3]).shape
    (3,)
    """

    facts: ClassVar[Facts] = Facts(
        handles=(), assumes="What its models assume.", source_labels=True
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"models": [list, tuple]}

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = models

    def _predictor(self) -> Any:
        return None  # `_adapt` fits them

    def _answering(self) -> Any:
        return self.models[0]

    def _candidates(self) -> list[Any]:
        return [as_candidate(m, type(m).__name__) for m in self.models]

    def _get_facts(self) -> Facts:
        inner = [m._get_facts() for m in self._candidates()]
        asks = {f.target_labels for f in inner}
        handles = tuple(dict.fromkeys(d for f in inner for d in f.handles))
        for level in ("required", "optional"):
            if level in asks:
                return Facts(handles, self.facts.assumes, source_labels=True, target_labels=level)
        return Facts(handles, self.facts.assumes, source_labels=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self.models[0].__sklearn_tags__()
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        return tags

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        models = self._candidates()
        if len(models) < 2 or len({bool(is_classifier(m)) for m in models}) > 1:
            raise ValueError(
                "models must be at least two, all classifiers or all regressors; got "
                f"{[type(m).__name__ for m in self.models]}"
            )
        self.models_ = [
            clone(m).fit(source, _seen(target, m._get_facts().target_labels)) for m in models
        ]
        return source

    @property
    def classes_(self) -> Any:
        """Class labels, in the order of the columns of `predict_proba`."""
        return self.models_[0].classes_

    def predict(self, X: Any) -> Any:
        """Predict target rows by the mean of all models.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        array of shape (n,)
            Classifiers without probabilities vote; the first model's class wins a tie.
        """
        self._read_and_transform(X)
        if not is_classifier(self):
            return np.mean([m.predict(X) for m in self.models_], axis=0)
        classes = np.asarray(self.classes_)
        if _all_have_probabilities(self):
            return classes[self.predict_proba(X).argmax(axis=1)]
        answers = np.array([np.searchsorted(classes, m.predict(X)) for m in self.models_])
        votes = (answers[:, :, None] == np.arange(len(classes))).sum(axis=0) * 2
        votes[np.arange(len(votes)), answers[0]] += 1
        return classes[votes.argmax(axis=1)]

    @available_if(_all_have_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the mean class probabilities of target rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        ndarray of shape (n, k)
        """
        check_is_fitted(self, "models_")
        self._read_and_transform(X)
        return np.asarray(np.mean([m.predict_proba(X) for m in self.models_], axis=0))


def _seen(target: Domain, asks: str) -> Domain:
    """Labels of the target reach only the models that learn from them."""
    return target.unlabelled() if asks == "none" else target

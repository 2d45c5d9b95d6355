"""One model for each source, and each row answered by those that are sure of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.utils._param_validation import HasMethods

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import check_values

__all__ = ["MultiSource", "sure_mixture"]


def sure_mixture(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix the predictions of several models, each weighed by how sure it is of the row.

    ``sum_j c_j(x) p_j(x) / sum_j c_j(x)`` with ``c_j = 1 - H(p_j) / log k``, where H is the
    entropy. Where no model is sure of anything, all count the same.

    Parameters
    ----------
    probabilities : ndarray of shape (models, n, k)
        At least two classes.

    Returns
    -------
    ndarray of shape (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> sure_mixture(np.array([[[1.0, 0.0]], [[0.5, 0.5]]])).round(6).tolist()
    [[1.0, 0.0]]
    """
    logs = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    entropy = -(probabilities * logs).sum(axis=2)
    sure = np.maximum(1.0 - entropy / np.log(probabilities.shape[2]), 1e-12)
    mixed: NDArray[np.float64] = np.einsum("jn,jnk->nk", sure / sure.sum(axis=0), probabilities)
    return mixed


class _Models(ClassifierMixin):  # type: ignore[misc]
    """What predicts: the models of all sources."""

    def __init__(self, models: list[Any], classes: NDArray[Any]) -> None:
        self.models = models
        self.classes_ = classes

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        found = np.zeros((len(self.models), X.shape[0], len(self.classes_)))
        for row, model in zip(found, self.models, strict=True):
            columns = np.searchsorted(self.classes_, model.classes_)
            rows = X if isinstance(model, Adapter) else rows_for(model, X)
            row[:, columns] = model.predict_proba(rows)
        return sure_mixture(found)

    def predict(self, X: Any) -> NDArray[Any]:
        predicted: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return predicted


class MultiSource(Adapter):
    r"""Adapt each of several sources to the target by itself, and mix what the models say.

    .. math:: p(y \mid x) = \frac{\sum_j c_j(x)\, p_j(y \mid x)}{\sum_j c_j(x)}, \quad
              c_j(x) = 1 - \frac{H(p_j(\cdot \mid x))}{\log k}

    An adapter that is given a list of sources pools them. Here a copy of it, or of a plain
    classifier, is fitted to each source and the target, and each target row is answered by those
    models that are sure of it.

    It helps where the sources differ from each other in ways that one adaptation cannot undo, and
    each has something of the target. Where they are alike, pooled rows teach more than
    parts do. A model that is sure and wrong is believed: calibrated probabilities are worth more.

    Time and memory: those of the adapter, once for each source.

    Parameters
    ----------
    estimator : adapter or classifier
        With `predict_proba` after a fit; an adapter of tables needs an estimator of its own.

    Attributes
    ----------
    models_ : list of adapter or classifier
        Fitted, one a source, in the order of the list.
    estimator_ : object
        All of them as one, with `predict` and `predict_proba`.
    source_ : Domain
        The pooled source, unchanged.

    Raises
    ------
    ValueError
        In `fit`, for an estimator that gives no probabilities.

    See Also
    --------
    M3SDA : One network that brings all sources and the target together.

    References
    ----------
    Y. Mansour, M. Mohri, A. Rostamizadeh. Domain adaptation with multiple sources. NeurIPS, 2008.
    (There the weights are the sources' densities at x, which are not known.)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import CORAL, MultiSource
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([3.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = MultiSource(CORAL(LogisticRegression(), center=True))
    >>> model.fit([(X, y), (5 * X, y)], X + 2.0).predict_proba(X[:1]).shape
    (1, 2)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("marginal",),
        assumes="Each source has something of the target, and models know what they do not know.",
        source_labels=True,
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        several_sources=True,
        cost="that of the adapter, once a source",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
    }

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        for domain in (source, target):
            check_values(domain, self.estimator, type(self).__name__)
        labelled = source.labelled_part()
        self.models_ = []
        for part in _parts(labelled):
            model = clone(self.estimator)
            if isinstance(model, Adapter):
                model.fit(part, target)
            else:
                model = fit_estimator(model, part)
            if not hasattr(model, "predict_proba"):
                raise ValueError(
                    f"MultiSource mixes probabilities, and {type(model).__name__} gives none; "
                    "give the adapter an estimator with predict_proba"
                )
            self.models_.append(model)
        return source

    def _train(self, predictor: Any, source: Domain) -> Any:
        return _Models(self.models_, np.unique(source.labelled_part().y))


def _parts(source: Domain) -> list[Domain]:
    """Cut the pooled source into its sources."""
    if source.group is None:
        return [source]
    return [
        source.take(np.flatnonzero(source.group == name)).with_(group=None)
        for name in dict.fromkeys(source.group.tolist())
    ]

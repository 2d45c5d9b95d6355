"""Universal adaptation: each side may have classes that the other has not."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval

from shiftlab.adapter import Facts
from shiftlab.domain import Domain
from shiftlab.label_space.open_set import OpenSet, OpenSetClassifier
from shiftlab.label_space.partial_adaptation import labelled_classes, present_classes
from shiftlab.label_space.widened import WidenedClassifier

__all__ = ["Universal"]

Floats = NDArray[np.float64]


class Universal(OpenSet):
    r"""Find the classes that both sides have, train on these, and say "unknown" to the rest.

    1. `OpenSet` with all classes of the source rejects target rows of no class of it.
    2. Among the rows that are left, the shares of the classes are estimated as in
       `PartialAdaptation`, and classes whose share is below ``threshold`` times that in the
       source are left out.
    3. `OpenSet` again, with the classes that are kept: rows near a class that was left out
       may now be unknown.

    It helps when both label spaces have something to themselves; where one contains the other,
    `PartialAdaptation` or `OpenSet` is enough. It harms as these do: when known classes
    moved, or are rare in the target.

    Time: at most ``max_iter + 5`` fits of the estimator; memory O(n d).

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`.
    unknown_label : "auto" or label, default="auto"
        What is predicted for rejected rows. "auto" is "unknown" for text and -1 for numbers,
        or one less than the smallest label.
    threshold : float, default=0.1
        Ratio of the shares in target and source below which a class counts as missing.
    max_iter : int, default=5
        Most times that classes are left out.
    cv : int, default=5
        Folds of the source rows, at least 2.
    random_state : int, RandomState or None, default=None
        Seed of the folds. The estimator has its own.

    Attributes
    ----------
    source_ : Domain
        Source rows of common classes, and target rows with the labels that they were given.
    classes_ : ndarray of shape (k,)
        All classes of the source. Columns of `predict_proba` are these, zero for classes that
        were left out: the probabilities of a row given that it is of a known class.
        `predict` answers one of the common classes or ``unknown_label_``.
    kept_classes_ : ndarray
        The common classes.
    unknown_label_, unknown_share_, threshold_
        As in `OpenSet`, of its last use.

    Raises
    ------
    ValueError
        As `OpenSet` and `PartialAdaptation`.

    References
    ----------
    K. You, M. Long, Z. Cao, J. Wang, M. Jordan, "Universal Domain Adaptation", CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import Universal
    >>> from shiftlab.label_space.metrics import open_set_scores
    >>> rng = np.random.default_rng(0)
    >>> centres = np.array([[0, 0], [6, 0], [3, 5], [3, -5]])
    >>> y, yt = np.repeat([0, 1, 2], 200), np.repeat([0, 1, 3], 200)
    >>> X, Xt = centres[y] + rng.normal(size=(600, 2)), centres[yt] + rng.normal(size=(600, 2))
    >>> model = Universal(LogisticRegression(), random_state=0).fit((X, y), Xt)
    >>> model.kept_classes_.tolist(), model.classes_.tolist()
    ([0, 1], [0, 1, 2])
    >>> round(open_set_scores(yt, model.predict(Xt), [0, 1]).h_score, 2)
    0.98
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="Both sides have classes of their own, and these lie apart from the common ones.",
        source_labels=True,
        tasks=("classification",),
        label_sets=("new", "gone"),
        cost="at most max_iter + 5 fits of the estimator, O(cv n d k)",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "unknown_label": [str, int, float],
        "threshold": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        unknown_label: Any = "auto",
        threshold: float = 0.1,
        max_iter: int = 5,
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(estimator, unknown_label=unknown_label, cv=cv, random_state=random_state)
        self.threshold = threshold
        self.max_iter = max_iter

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        source = labelled_classes(source, target, self.estimator, "Universal")
        self._classes = np.unique(source.y)
        first = OpenSet(
            self.estimator,
            unknown_label=self.unknown_label,
            cv=self.cv,
            random_state=self.random_state,
        ).fit(source, target)
        accepted = target
        if first.unknown_share_ > 0:
            near = first.predict(target.X) != first.unknown_label_
            accepted = target.take(near) if near.any() else target
        self.kept_classes_, _ = present_classes(
            self.estimator, source, accepted.X, self.threshold, self.max_iter, "Universal"
        )
        return super()._adapt(source.take(np.isin(source.y, self.kept_classes_)), target)

    def _check_label(self, classes: NDArray[Any]) -> None:
        # a class that was left out may not lend its label to "unknown"
        super()._check_label(self._classes)

    def _train(self, predictor: Any, source: Domain) -> Any:
        model = super()._train(predictor, source)
        if len(model.classes_) == len(self._classes):
            return model
        return WidenedClassifier(model, self._classes)

    def _open_classifier(self) -> OpenSetClassifier:
        found: Any = self.estimator_
        inner: OpenSetClassifier = (
            found.classifier if isinstance(found, WidenedClassifier) else found
        )
        return inner

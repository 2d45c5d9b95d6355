"""Open-set adaptation: find target rows of classes that the source has not, and say "unknown"."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.contradiction import warn_of_contradictions
from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import numeric_rows

__all__ = [
    "ClassDistance",
    "OpenSet",
    "OpenSetClassifier",
    "held_out_distances",
    "unknown_label_for",
    "unknown_share",
]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

SURE = 0.9  # part of the lower bound that is taken: known rows that moved look unknown, too
KNOWN_LOST = 0.05  # part of the source's rows that may lie beyond the threshold
LEVEL = 0.05  # of the bound on the share


class ClassDistance:
    r"""Distance of rows to the nearest class mean, in units of the spread within classes.

    .. math:: d(x)^2 = \min_c \sum_j \frac{(x_j - \mu_{cj})^2}{s_j^2}

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    codes : int ndarray of shape (n,)
        Their classes, 0 to k - 1; each has a row.
    """

    def __init__(self, X: Floats, codes: Codes) -> None:
        k = int(codes.max()) + 1
        member = np.eye(k)[codes]
        self.means = member.T @ X / member.sum(axis=0)[:, None]
        spread = np.sqrt(np.mean((X - self.means[codes]) ** 2, axis=0))
        # A column that hardly varies within classes may not decide alone.
        self.unit = np.maximum(spread, 0.1 * X.std(axis=0))
        self.unit[self.unit == 0] = 1.0

    def __call__(self, X: Floats) -> Floats:
        """Return the distances, ``(n,)``."""
        nearest = np.full(len(X), np.inf)
        for mean in self.means:
            nearest = np.minimum(nearest, np.square((X - mean) / self.unit).sum(axis=1))
        return np.asarray(np.sqrt(nearest))


def held_out_distances(X: Floats, codes: Codes, cv: int, rng: np.random.RandomState) -> Floats:
    """Return the `ClassDistance` of each row from means that were computed without it.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    codes : int ndarray of shape (n,)
        Their classes.
    cv : int
        Folds, dealt class by class.
    rng : numpy.random.RandomState
        Deals.

    Returns
    -------
    ndarray
        One for each row whose class has others outside of its fold.
    """
    fold = np.empty(len(codes), dtype=np.intp)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        fold[rng.permutation(rows)] = np.arange(len(rows)) % cv
    found = []
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        present = np.unique(codes[train])
        test &= np.isin(codes, present)
        if test.any():
            measure = ClassDistance(X[train], np.searchsorted(present, codes[train]))
            found.append(measure(X[test]))
    return np.concatenate(found) if found else np.empty(0)


def unknown_share(source: Floats, target: Floats, level: float = LEVEL) -> float:
    r"""Bound the share of target rows that are not of the source's classes, from below.

    If known target rows are as far from the class means as held-out source rows are, the target's
    distances are a mixture :math:`F_T = (1 - \pi) F_S + \pi F_U`, so that for every t

    .. math:: \pi \ge \frac{F_S(t) - F_T(t)}{F_S(t)} \ge
              \frac{\hat F_S(t) - \hat F_T(t) - \epsilon_S - \epsilon_T}{\hat F_S(t)}

    with probability ``1 - level`` for all t at once (Dvoretzky, Kiefer, Wolfowitz). The largest
    over the t beyond the source's median is returned.

    Parameters
    ----------
    source : ndarray of shape (n,)
        Distances of held-out source rows.
    target : ndarray of shape (m,)
        Distances of target rows.
    level : float, default=0.05
        Probability that the bound is too high.

    Returns
    -------
    float
        In 0..1; 0 where there is no evidence of unknown rows.

    References
    ----------
    G. Blanchard, G. Lee, C. Scott, "Semi-Supervised Novelty Detection", Journal of Machine
    Learning Research 2010.

    Examples
    --------
    >>> import numpy as np
    >>> known, far = np.linspace(0, 1, 2000), np.full(1000, 5.0)
    >>> 0.25 < unknown_share(known, np.concatenate([known, far])) < 1 / 3
    True
    """
    t = np.quantile(source, np.linspace(0.5, 1, 101))
    below_s = np.searchsorted(np.sort(source), t, side="right") / len(source)
    below_t = np.searchsorted(np.sort(target), t, side="right") / len(target)
    band = sum(np.sqrt(np.log(4 / level) / (2 * n)) for n in (len(source), len(target)))
    return float(max(0.0, np.max((below_s - below_t - band) / below_s)))


def unknown_label_for(labels: NDArray[Any]) -> Any:
    """Return a label of the kind of the others that is none of them.

    Parameters
    ----------
    labels : ndarray
        Known labels.

    Returns
    -------
    str or number
        "unknown" (with underscores where that is a label), or -1 for numbers, or one less than
        the smallest where that is not positive.

    Raises
    ------
    ValueError
        For booleans, which have no third value.

    Examples
    --------
    >>> import numpy as np
    >>> unknown_label_for(np.array(["a", "b"])), unknown_label_for(np.array([-1, 1]))
    ('unknown', -2)
    """
    if labels.dtype == bool:
        raise ValueError(
            "labels are booleans, which have no third value for unknown rows; give them as "
            "integers or text"
        )
    if labels.dtype.kind in "iuf":
        return labels.dtype.type(min(-1, labels.min() - 1)).item()
    label = "unknown"
    while label in labels.tolist():
        label += "_"
    return label


def _inner_has(method: str) -> Any:
    return lambda self: hasattr(self.classifier, method)


class OpenSetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier with "unknown" as one of its classes, which speaks of the others.

    Parameters
    ----------
    classifier : classifier
        Fitted.
    unknown : label
        One of its classes.
    """

    def __init__(self, classifier: Any, unknown: Any) -> None:
        self.classifier = classifier
        self.unknown = unknown

    @property
    def classes_(self) -> NDArray[Any]:
        """The known classes."""
        classes = np.asarray(self.classifier.classes_)
        return np.asarray(classes[self._known()])

    def _known(self) -> NDArray[np.bool_]:
        return np.array([label != self.unknown for label in self.classifier.classes_.tolist()])

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict a known class or the unknown label."""
        return np.asarray(self.classifier.predict(X))

    @available_if(_inner_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities of the known classes, given that the row is of one of them."""
        known = np.asarray(self.classifier.predict_proba(X), dtype=np.float64)[:, self._known()]
        known += np.finfo(np.float64).tiny
        return np.asarray(known / known.sum(axis=1, keepdims=True))

    @available_if(_inner_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Floats:
        """Return decision values of the known classes, for two of them their difference."""
        known = np.asarray(self.classifier.decision_function(X), dtype=np.float64)
        known = known[:, self._known()]
        return np.asarray(known[:, 1] - known[:, 0] if known.shape[1] == 2 else known)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.classifier).input_tags
        return tags


class OpenSet(Adapter):
    r"""Train on the source's classes and on target rows that are of none of them.

    1. Every row has a distance to the nearest class mean. Held-out source rows show how far known
       rows lie; the target's distances are a mixture of these and of those of unknown rows. The
       share of the unknown ones is bounded from below, with 95% confidence. No target label is
       used.
    2. If the bound is zero, there is no evidence of unknown classes: the estimator is trained on
       the source and rejects nothing.
    3. Otherwise the farthest target rows, nine tenths of the bound, but none that is nearer
       than the threshold beyond which 5% of held-out source rows lie, become the class
       "unknown". The nearer half of the rows within the threshold join with the label that
       the source's model gives them. The estimator is trained on all, and rejects a row where
       "unknown" is its most likely class.

    It helps when unknown classes lie apart from the known ones. It harms when the known classes
    moved: they are then far from the source's means, and their rows are called unknown; align
    the features first, or leave it. The study `experiments/label_space` compares it with thresholds
    on the confidence.

    Time: two fits of the estimator, O(cv n d k) for the distances; memory O(n d).

    Parameters
    ----------
    estimator : classifier
        Trained on the source, and again with "unknown" as one more class.
    unknown_label : "auto" or label, default="auto"
        What is predicted for rejected rows. "auto" is "unknown" for text and -1 for numbers,
        or one less than the smallest label.
    cv : int, default=5
        Folds of the source rows, at least 2.
    random_state : int, RandomState or None, default=None
        Seed of the folds. The estimator has its own.

    Attributes
    ----------
    source_ : Domain
        Source rows, and target rows with the labels that they were given.
    classes_ : ndarray of shape (k,)
        The source's classes, without "unknown". Columns of `predict_proba` are these: the
        probabilities of a row *given* that it is of a known class; they sum to one.
        ``unknown_probability(X)`` is the rest. `predict` answers one of these or
        ``unknown_label_``.
    unknown_label_ : label
        What is predicted for rejected rows.
    unknown_share_ : float
        Lower bound of the share of target rows that are unknown.
    threshold_ : float
        Distance beyond which 5% of held-out source rows lie.

    Raises
    ------
    ValueError
        In `fit`, for an unknown label that is one of the source's or does not fit their kind,
        for boolean labels where unknown rows are found, text columns, NaN or infinity, or a
        source with one class.

    References
    ----------
    P. Panareda Busto, J. Gall, "Open Set Domain Adaptation", ICCV 2017.

    K. Saito, S. Yamamoto, Y. Ushiku, T. Harada, "Open Set Domain Adaptation by Backpropagation",
    ECCV 2018.

    G. Blanchard, G. Lee, C. Scott, "Semi-Supervised Novelty Detection", Journal of Machine
    Learning Research 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import OpenSet, open_set_scores
    >>> rng = np.random.default_rng(0)
    >>> centres = np.array([[0, 0], [6, 0], [3, 5]])
    >>> y, yt = np.repeat([0, 1], 200), np.repeat([0, 1, 2], 200)
    >>> X, Xt = centres[y] + rng.normal(size=(400, 2)), centres[yt] + rng.normal(size=(600, 2))
    >>> model = OpenSet(LogisticRegression(), random_state=0).fit((X, y), Xt)
    >>> model.unknown_label_, round(open_set_scores(yt, model.predict(Xt), [0, 1]).h_score, 2)
    (-1, 0.99)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="The target has classes that the source has not, and they lie apart.",
        source_labels=True,
        tasks=("classification",),
        label_sets=("new",),
        cost="two fits of the estimator, O(cv n d k)",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "unknown_label": [str, int, float],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        unknown_label: Any = "auto",
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.unknown_label = unknown_label
        self.cv = cv
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = type(self).__name__
        source = source.labelled_part()
        classes, codes = np.unique(source.y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"{who} needs a source with at least 2 classes; got 1 class, "
                f"{classes.tolist()[0]!r}"
            )
        self._check_label(classes)
        if who == "OpenSet":  # Universal has looked
            warn_of_contradictions(source, who)
        X = numeric_rows(source, who).astype(np.float64, copy=False)
        Y = numeric_rows(target, who).astype(np.float64, copy=False)
        rng = check_random_state(self.random_state)
        known = held_out_distances(X, codes, self.cv, rng)
        if len(known) == 0:
            raise ValueError(f"{who} needs a class with at least 2 source rows; got one each")
        far = ClassDistance(X, codes)(Y)
        self.threshold_ = float(np.quantile(known, 1 - KNOWN_LOST))
        self.unknown_share_ = unknown_share(known, far)
        beyond = int(np.count_nonzero(far > self.threshold_))
        n_unknown = int(SURE * min(self.unknown_share_ * len(far), beyond))
        self._unknown: Any = None
        if n_unknown == 0:
            if source.y.dtype == bool and self.unknown_label == "auto":
                self.unknown_label_ = None
            return source
        if source.y.dtype == bool:
            unknown_label_for(classes)  # raises
        self._unknown = self.unknown_label_
        order = np.argsort(far, kind="stable")
        near, lost = order[: (len(far) - beyond) // 2], order[len(far) - n_unknown :]
        rows = target if target.is_frame else target.with_(feature_names=source.feature_names)
        parts = [source.with_(classes=None)]
        if near.size:
            model = fit_estimator(self.estimator, source)
            given = rows.take(near)
            answers = model.predict(rows_for(model, given.X))
            parts.append(given.with_(y=answers, classes=None))
        strange = np.full(n_unknown, self._unknown)
        parts.append(rows.take(lost).with_(y=strange, classes=None))
        return Domain.concat(parts)

    def _check_label(self, classes: NDArray[Any]) -> None:
        if isinstance(self.unknown_label, str) and self.unknown_label == "auto":
            self.unknown_label_ = None if classes.dtype == bool else unknown_label_for(classes)
            return
        is_text = isinstance(classes.tolist()[0], str)
        if isinstance(self.unknown_label, str) != is_text or self.unknown_label in classes.tolist():
            raise ValueError(
                f"{type(self).__name__}: unknown_label must be "
                f"{'text' if is_text else 'a number'} that is none of the labels "
                f"{classes.tolist()[:5]}; got {self.unknown_label!r}"
            )
        self.unknown_label_ = self.unknown_label

    def _train(self, predictor: Any, source: Domain) -> Any:
        model = fit_estimator(predictor, source)
        return model if self._unknown is None else OpenSetClassifier(model, self._unknown)

    def unknown_probability(self, X: Any) -> Floats:
        """Return the probability that a row is of no known class.

        Parameters
        ----------
        X : array, data frame, images or Domain
            Target rows.

        Returns
        -------
        ndarray of shape (n,)
            Zeros where no evidence of unknown rows was found; zero or one for an estimator
            without `predict_proba`.
        """
        rows = self._estimator_rows(X)
        return self._unknown_probability(rows)

    def _unknown_probability(self, rows: Any) -> Floats:
        if self._unknown is None:
            return np.zeros(rows.shape[0])
        model = self._open_classifier().classifier
        if not hasattr(model, "predict_proba"):
            return np.asarray(model.predict(rows) == self._unknown, dtype=np.float64)
        column = int(np.flatnonzero(np.asarray(model.classes_) == self._unknown)[0])
        return np.asarray(model.predict_proba(rows)[:, column], dtype=np.float64)

    def _open_classifier(self) -> OpenSetClassifier:
        found: OpenSetClassifier = self.estimator_
        return found

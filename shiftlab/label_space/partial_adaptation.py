"""Partial adaptation: the target has only some of the source's classes."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.contradiction import warn_of_contradictions
from shiftlab.domain import Domain
from shiftlab.label_space.widened import WidenedClassifier
from shiftlab.stats.priors import em_prior
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import check_values

__all__ = [
    "PartialAdaptation",
    "class_ratios",
    "class_shares",
    "labelled_classes",
    "present_classes",
]

Floats = NDArray[np.float64]


def class_shares(source: Domain, classes: NDArray[Any]) -> Floats:
    """Return the (weighted) share of each class among rows that are all labelled."""
    counts = np.bincount(
        np.searchsorted(classes, source.y), weights=source.weight, minlength=len(classes)
    )
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def class_ratios(model: Any, rows: Any, classes: NDArray[Any], prior: Floats) -> Floats:
    r"""Return :math:`q_c / p_c` with the target's shares q by maximum likelihood (EM).

    Parameters
    ----------
    model : classifier
        Trained under the prior p; with `predict_proba`.
    rows : array, CSR matrix, data frame or images
        Target rows.
    classes : ndarray of shape (k,)
        All classes; those that the model does not know get zero.
    prior : ndarray of shape (k,)
        p, positive where the model knows the class.

    Returns
    -------
    ndarray of shape (k,)
    """
    columns = np.searchsorted(classes, model.classes_)
    posterior = np.asarray(model.predict_proba(rows_for(model, rows)), dtype=np.float64)
    # no row may rule a class out for good
    posterior = (1 - 1e-6) * posterior + 1e-6 / posterior.shape[1]
    known = prior[columns] / prior[columns].sum()
    ratios = np.zeros(len(classes))
    found = em_prior(posterior / posterior.sum(axis=1, keepdims=True), known, tol=1e-6)
    ratios[columns] = found.prior / known
    return ratios


def present_classes(
    estimator: Any, source: Domain, rows: Any, threshold: float, max_iter: int, who: str
) -> tuple[NDArray[Any], Floats]:
    """Leave out classes that the target seems not to have, until none is left out any more.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`; cloned.
    source : Domain
        All rows labelled.
    rows : array, CSR matrix, data frame or images
        Target rows.
    threshold : float
        Ratio of the shares below which a class is left out.
    max_iter : int
        Most fits.
    who : str
        The adapter, for the warning.

    Returns
    -------
    ndarray
        The classes that stay, at least two.
    ndarray of shape (k,)
        The last ratios.
    """
    classes = np.unique(source.y)
    prior = class_shares(source, classes)
    kept = np.ones(len(classes), dtype=bool)
    ratios = kept.astype(np.float64)
    for _ in range(max_iter):
        model = fit_estimator(estimator, source.take(np.isin(source.y, classes[kept])))
        ratios = class_ratios(model, rows, classes, prior)
        left = kept & (ratios >= threshold)
        if left.sum() < 2:
            warnings.warn(
                f"{who}: the target seems to have one class only, "
                f"{classes.tolist()[int(np.argmax(ratios))]!r}; the two most likely ones are kept",
                stacklevel=3,
            )
            left = np.isin(np.arange(len(classes)), np.argsort(-ratios, kind="stable")[:2])
        if left.sum() == kept.sum():
            break
        kept = left
    return classes[kept], ratios


class PartialAdaptation(Adapter):
    r"""Leave out the source's classes that the target does not have, and train on the others.

    .. math:: \min_f \sum_{i \in S} w_{y_i}\, L(f(x_i), y_i), \qquad
              w_c = [q_c \ge t\, p_c]

    p are the shares of the classes in the source and q those in the target, estimated from the
    predicted probabilities of the target rows by maximum likelihood. A class whose ratio is
    below ``threshold`` is left out, the estimator is trained on the others, and so on until
    no class is left out any more. Classes that are kept keep their shares: weights of
    :math:`q_c / p_c` cost five points where only the features had moved. Put `PriorCorrection`
    behind it where the shares moved, too.

    It helps when the source has many classes, the target only some, and rows of the target are
    taken for classes that it does not have. It harms when a class is rare in the target and
    its predictions are poor: it is left out as if it were missing. Predicted probabilities that
    are far from calibrated make q wrong. Measured with logistic regression (ten classes in
    five columns, target moved by 0.7, ten seeds), source-only and this:

    - the target has three of ten classes: .84, .88
    - it has all ten: .82, .81

    Time: at most ``max_iter + 1`` fits of the estimator; memory O(n k).

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`.
    threshold : float, default=0.1
        Ratio of the shares in target and source below which a class counts as missing.
    max_iter : int, default=5
        Most times that classes are left out.

    Attributes
    ----------
    source_ : Domain
        The source rows of the classes that are kept.
    classes_ : ndarray of shape (k,)
        All classes of the source. Columns of `predict_proba` are these; the classes that were
        left out have the probability zero, and are never predicted.
    kept_classes_ : ndarray
        The classes that are kept.
    class_ratios_ : ndarray of shape (k,)
        :math:`q_c / p_c`, zero for classes that were left out before.

    Raises
    ------
    ValueError
        In `fit`, for an estimator without `predict_proba`, or a source with one class.

    Warns
    -----
    UserWarning
        When fewer than two classes would be left: the two of the largest ratios are kept.

    References
    ----------
    Z. Cao, L. Ma, M. Long, J. Wang, "Partial Adversarial Domain Adaptation", ECCV 2018.

    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import PartialAdaptation
    >>> rng = np.random.default_rng(0)
    >>> y, yt = np.repeat([0, 1, 2, 3], 100), np.repeat([0, 2], 100)
    >>> centres = np.array([[0, 0], [2, 0], [0, 2], [2, 2]])
    >>> X, Xt = centres[y] + rng.normal(size=(400, 2)), centres[yt] + rng.normal(size=(200, 2))
    >>> model = PartialAdaptation(LogisticRegression()).fit((X, y), Xt)
    >>> print(f"{LogisticRegression().fit(X, y).score(Xt, yt):.2f} {model.score(Xt, yt):.2f}")
    0.76 0.87
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="The target has only some of the source's classes.",
        source_labels=True,
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        label_sets=("gone",),
        cost="at most max_iter + 1 fits of the estimator",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "threshold": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator: Any, *, threshold: float = 0.1, max_iter: int = 5) -> None:
        self.estimator = estimator
        self.threshold = threshold
        self.max_iter = max_iter

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        source = labelled_classes(source, target, self.estimator, "PartialAdaptation")
        self._classes = np.unique(source.y)
        self.kept_classes_, self.class_ratios_ = present_classes(
            self.estimator,
            source,
            target.X,
            self.threshold,
            self.max_iter,
            "PartialAdaptation",
        )
        return source.take(np.isin(source.y, self.kept_classes_))

    def _train(self, predictor: Any, source: Domain) -> Any:
        model = fit_estimator(predictor, source)
        if len(model.classes_) == len(self._classes):
            return model
        return WidenedClassifier(model, self._classes)


def labelled_classes(source: Domain, target: Domain, estimator: Any, who: str) -> Domain:
    """Return the labelled source rows that have weight; raise unless there are two classes."""
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"{who}: {type(estimator).__name__} has no predict_proba; wrap it in "
            f"CalibratedClassifierCV({type(estimator).__name__}(...)), or use LogisticRegression"
        )
    for domain in (source, target):
        check_values(domain, estimator, who)
    source = source.labelled_part()
    if source.weight is not None:
        source = source.take(source.weight > 0)
    if len(np.unique(source.y)) < 2:
        raise ValueError(
            f"{who} needs a source with at least 2 classes; got 1 class, {source.y.tolist()[0]!r}"
        )
    warn_of_contradictions(source, who)
    return source

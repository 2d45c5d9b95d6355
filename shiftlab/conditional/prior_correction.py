"""Label shift: estimate the target's class prior and correct the classifier for it."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.estimation import (
    class_shares,
    cross_fit,
    estimate_prior,
    probabilities_of,
    require_probabilities,
)
from shiftlab.domain import Domain
from shiftlab.stats.calibration import CALIBRATIONS, Calibration
from shiftlab.stats.priors import reweighted_probabilities

__all__ = ["PriorCorrection"]


def _has_probabilities(self: PriorCorrection) -> bool:
    return hasattr(self.estimator, "predict_proba")


class PriorCorrection(Adapter):
    r"""Correct a classifier for a change of the class shares.

    .. math:: P_T(y \mid x) \propto P_S(y \mid x)\, \frac{P_T(y)}{P_S(y)}

    The estimator is trained on the source. Its probabilities are calibrated on held-out
    source rows (cross-fitting), the target's prior is estimated from the calibrated
    probabilities of the unlabelled target rows, and every prediction is calibrated *and*
    corrected. The source's prior is that of the weighted rows that the estimator was trained
    on; after `Resample` in a pipeline it is the prior that the resampling imposed, so that
    the correction undoes the miscalibration that resampling causes.

    It helps under label shift, ``P(X|Y)`` the same on both sides and ``P(Y)`` moved. It harms
    when ``P(X|Y)`` moved instead: a mere covariate shift is then read as a change of the
    prior. It cannot see a class that the source does not have.

    Time: ``cv + 1`` fits of the estimator, and O(n k) for each of at most 1,000 steps of EM.
    Memory O(n k).

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`. Wrap one that has none in `CalibratedClassifierCV`.
    method : {"em", "bbse"}, default="em"
        "em" maximises the likelihood of the target rows (Saerens; also MLLS); "bbse" inverts
        the confusion matrix of the held-out probabilities.
    calibration : {"auto", "none", "temperature", "bias_corrected"}, default="auto"
        Map from the estimator's probabilities to calibrated ones. "auto" takes the one with
        the smallest cross-validated log-loss.
    cv : int, default=5
        Number of folds, at least 2. A class with fewer rows is held out in fewer folds.
    random_state : int, RandomState or None, default=None
        Seed of the folds. The estimator has its own.

    Attributes
    ----------
    estimator_ : classifier
        Trained on all of the source. Its own probabilities are neither calibrated nor
        corrected.
    classes_ : ndarray of shape (k,)
        Class labels.
    prior_ : ndarray of shape (k,)
        Estimated shares of the classes in the target.
    source_prior_ : ndarray of shape (k,)
        (Weighted) shares of the classes in the source.
    class_weights_ : ndarray of shape (k,)
        ``prior_ / source_prior_``.
    calibration_ : Calibration
        The fitted calibration map.

    Raises
    ------
    ValueError
        In `fit`, for an estimator without `predict_proba`, a source with one class, or, with
        "bbse", predictions that do not tell the classes apart.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and Correcting for Label Shift with Black
    Box Predictors", ICML 2018.

    A. Alexandari, A. Kundaje, A. Shrikumar, "Maximum Likelihood with Bias-Corrected
    Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import PriorCorrection
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 500)
    >>> X = rng.normal(3.0 * y[:, None], 1.0)
    >>> target = rng.normal(3.0 * np.repeat([0, 1], [900, 100])[:, None], 1.0)
    >>> model = PriorCorrection(LogisticRegression(), random_state=0).fit((X, y), target)
    >>> model.prior_.round(1).tolist()
    [0.9, 0.1]
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="Only the shares of the classes moved: P(X|Y) is the same on both sides.",
        source_labels=True,
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        cost="cv + 1 fits of the estimator; O(n k) for each step of EM",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "method": [StrOptions({"em", "bbse"})],
        "calibration": [StrOptions({"auto", *CALIBRATIONS})],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "em",
        calibration: str = "auto",
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.calibration = calibration
        self.cv = cv
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_probabilities(self.estimator, "PriorCorrection")
        source = source.labelled_part()
        if source.weight is not None:
            source = source.take(source.weight > 0)
        if len(np.unique(source.y)) < 2:
            raise ValueError(
                "PriorCorrection needs a source with at least 2 classes; got 1 class, "
                f"{source.y[0]!r}"
            )
        return source

    def _after_training(self, target: Domain) -> None:
        source = self.source_
        classes, codes = np.unique(source.y, return_inverse=True)
        self.source_prior_ = class_shares(codes, len(classes), source.weight)
        rng = check_random_state(self.random_state)
        fit = cross_fit(self.estimator, source, self.calibration, self.cv, rng)
        self.calibration_: Calibration = fit.calibration
        calibrated = self.calibration_(probabilities_of(self.estimator_, target.X, classes))
        self.prior_ = estimate_prior(self.method, fit, self.source_prior_, calibrated, classes)
        self.class_weights_ = self.prior_ / self.source_prior_

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities of target rows, calibrated and corrected.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        ndarray of shape (n, k)
            Columns in the order of ``classes_``.
        """
        X = self._estimator_rows(X)
        calibrated = self.calibration_(probabilities_of(self.estimator_, X, self.classes_))
        return reweighted_probabilities(calibrated, self.source_prior_, self.prior_)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable class of target rows after the correction.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        ndarray of shape (n,)
        """
        most_probable = np.argmax(self.predict_proba(X), axis=1)
        return np.asarray(self.classes_[most_probable])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return corrected log-odds (two classes) or log-probabilities of target rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        ndarray of shape (n,) or (n, k)
        """
        tiny = np.finfo(np.float64).tiny  # a class of prior zero has no logarithm
        logs = np.log(np.maximum(self.predict_proba(X), tiny))
        return np.asarray(logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs)

"""Label shift: estimate the target's class prior and correct the classifier for it."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.contradiction import warn_of_contradictions
from shiftlab.conditional.estimation import (
    METHODS,
    CrossFit,
    class_shares,
    cross_fit,
    estimate_prior,
    moment_estimator,
    predictions_of,
    probabilities_of,
    require_probabilities,
)
from shiftlab.conditional.resample import Resample
from shiftlab.domain import Domain
from shiftlab.pipeline import Pipeline, Transform
from shiftlab.stats.calibration import ALL_CALIBRATIONS, Calibration
from shiftlab.stats.label_shift import prior_draws, standing_rows
from shiftlab.stats.priors import reweighted_probabilities
from shiftlab.supervised import fit_estimator

__all__ = ["PriorCorrection"]


COUNTED_ROWS = 50_000  # of the target; a share of them is certain to 0.002


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
    the correction undoes the miscalibration that resampling causes. Better still is
    ``PriorCorrection(Resample("smote", estimator))``: the folds are resampled, and calibration
    sees real rows only.

    It helps under label shift, ``P(X|Y)`` the same on both sides and ``P(Y)`` moved: a clinic
    with more of one disease. It harms when ``P(X|Y)`` moved instead: reviews of books and of
    kitchenware differ in their words, and the difference is read as a change of opinion. So it
    refuses, keeps the source's prior and warns, when no mixture of the source's classes explains
    the target's rows (a test with level .01), when the classifier or the rows tell too little
    about a share (the less may be told where label shift cannot be tested), when maximum
    likelihood contradicts the mean predictions, or when a class vanishes without support. The
    probabilities are then only calibrated. It cannot see a class that the source does not have.
    With some ten rows of a class and an overconfident classifier it can still lose.

    Of a target with more than 50,000 rows as many are drawn at random to estimate the prior from:
    a share among them is that of all rows with a standard error of at most .0022, which the
    interval counts and the error from the source nearly always exceeds. All rows are corrected.

    Time: ``cv + 1`` fits of the estimator, about a second for the test, and O(n k^2) for each
    of some ten steps. Memory O(n k).

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`. Wrap one that has none in `CalibratedClassifierCV`. One that is
        fitted is used as it is inside ``sklearn.frozen.FrozenEstimator``; the source rows must
        then not be those that it was trained on. An adapter with an estimator adapts first, and
        the correction is done in its space, as at the end of a pipeline. A deep adapter is trained
        ``cv + 1`` times, so that rows are held out from its network, too; in a pipeline,
        ``make_pipeline(DANN(), PriorCorrection(LogisticRegression()))``, once.
    method : {"auto", "em", "bbse", "bbse_hard", "rlls", "rlls_hard"}, default="auto"
        "em" maximises the likelihood of the target rows (Saerens; also MLLS), and "auto" does so
        with shrinkage towards the source's prior, the more the weaker the shift is (see
        `shiftlab.stats.label_shift.shrunken_prior`). With three to thirty classes, ten rows of
        each and ``calibration="auto"``, both take the likelihood from densities of each class's
        predictions (`shiftlab.stats.class_densities`) where these fit held-out rows better than
        calibrated probabilities do. "bbse" inverts the confusion matrix of
        the held-out probabilities and "rlls" does so with a penalty; "bbse_hard" and
        "rlls_hard" count predicted classes.
    calibration : {"auto", "none", "temperature", "bias_corrected", "vector", "isotonic"}, \
            default="auto"
        Map from the estimator's probabilities to calibrated ones. "auto" takes the one with
        the smallest cross-validated log-loss.
    retrain : bool, default=False
        Train the estimator again with the class weights and let it answer, instead of
        correcting its probabilities. It can help a classifier too simple for the task, and
        costs a fit; the probabilities are then its own.
    cv : int, default=5
        Number of folds, at least 2. A class with fewer rows is held out in fewer folds; equal
        rows are held out together.
    random_state : int, RandomState or None, default=None
        Seed of the folds, the test and the interval. The estimator has its own.

    Attributes
    ----------
    estimator_ : classifier
        Trained on all of the source (with class weights if ``retrain``). Its own probabilities
        are neither calibrated nor corrected.
    adapter_ : Adapter or None
        The fitted adapter, where the estimator is one that adapts first.
    classes_ : ndarray of shape (k,)
        Class labels.
    prior_ : ndarray of shape (k,)
        Estimated shares of the classes in the target.
    prior_interval_ : ndarray of shape (k, 2)
        95% interval of each share in the population of the target, from a bootstrap of both
        samples without shrinkage, computed when it is first asked for. It holds if label shift
        does.
    source_prior_ : ndarray of shape (k,)
        (Weighted) shares of the classes in the source.
    weights_ : ndarray of shape (k,)
        ``prior_ / source_prior_``.
    calibration_ : Calibration
        The fitted calibration map.
    strength_ : float
        Rows that the source's prior counted for in "auto"; infinite if nothing spoke for a
        shift, 0 for other methods.
    label_shift_fit_ : LabelFitResult or None
        The test of label shift; None where it could not be done.
    refused_ : str or None
        Why the source's prior was kept, if it was.

    Raises
    ------
    ValueError
        In `fit`, for an estimator without `predict_proba`, a source with one class, or, with
        a confusion matrix, a class with a single row.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities: A Simple Procedure", Neural Computation 2002.

    Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and Correcting for Label Shift with Black
    Box Predictors", ICML 2018.

    K. Azizzadenesheli, A. Liu, F. Yang, A. Anandkumar, "Regularized Learning for Domain
    Adaptation under Label Shifts", ICLR 2019.

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
    >>> low, high = model.prior_interval_[0]
    >>> bool(low < 0.9 < high), model.refused_
    (True, None)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="Only the shares of the classes moved: P(X|Y) is the same on both sides.",
        source_labels=True,
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        cost="cv + 1 fits of the estimator; O(n k^2) for each of some ten steps",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "method": [StrOptions(set(METHODS))],
        "calibration": [StrOptions({"auto", *ALL_CALIBRATIONS})],
        "retrain": ["boolean"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "auto",
        calibration: str = "auto",
        retrain: bool = False,
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.calibration = calibration
        self.retrain = retrain
        self.cv = cv
        self.random_state = random_state

    # -- what is corrected --------------------------------------------------------------------

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_probabilities(self.estimator, "PriorCorrection")
        if self.retrain and isinstance(self.estimator, FrozenEstimator):
            raise ValueError("PriorCorrection: retrain=True cannot train a FrozenEstimator again")
        source = source.labelled_part()
        if source.weight is not None:
            source = source.take(source.weight > 0)
        if len(np.unique(source.y)) < 2:
            raise ValueError(
                "PriorCorrection needs a source with at least 2 classes; got 1 class, "
                f"{source.y.tolist()[0]!r}"
            )
        warn_of_contradictions(source, "PriorCorrection")
        self.adapter_: Adapter | None = None
        self._bound: Domain | None = target
        if self._adapts_first():
            self.adapter_ = clone(self.estimator).set_params(estimator=None).fit(source, target)
            source = self.adapter_.source_
        return source

    def _adapts_first(self) -> bool:
        """Whether the estimator is an adapter whose space the held-out rows have to be in."""
        inner = self.estimator
        if isinstance(inner, Pipeline):
            for name, step in inner._before_predictor():
                if isinstance(step, Adapter) and not isinstance(step, (Resample, Transform)):
                    raise ValueError(
                        f"PriorCorrection: step {name!r} of the pipeline inside adapts to the "
                        "target; put the correction at the end of the pipeline, "
                        "make_pipeline(..., PriorCorrection(estimator))"
                    )
            return False
        # What Resample adds is for training only: rows that are held out stay as they are.
        if not isinstance(inner, Adapter) or isinstance(inner, Resample):
            return False
        return getattr(inner, "estimator", None) is not None

    def _predictor(self) -> Any:
        if not isinstance(self.estimator, Adapter):
            return self.estimator
        if self._adapts_first():
            return self.estimator.estimator
        return self.estimator.against(getattr(self, "_bound", None))

    def _transform_target(self, target: Domain) -> Domain:
        adapter = getattr(self, "adapter_", None)
        return target if adapter is None else adapter._transform_target(target)

    def _after_training(self, target: Domain) -> None:
        source, target = self.source_, self._transform_target(target)
        predictor = self._predictor()
        self._bound = None
        classes, codes = np.unique(source.y, return_inverse=True)
        self.source_prior_ = class_shares(codes, len(classes), source.weight)
        rng = check_random_state(self.random_state)
        tested = target.take(standing_rows(target.n_rows, rng))
        fit = cross_fit(predictor, source, tested, self.calibration, self.cv, rng)
        self.calibration_: Calibration = fit.calibration
        counted = target.take(standing_rows(target.n_rows, rng, most=COUNTED_ROWS))
        raw = probabilities_of(self.estimator_, counted.X, classes)
        found = estimate_prior(self.method, fit, source, self.source_prior_, tested, raw, rng)
        self.prior_, self.refused_ = found.prior, found.refused
        self.strength_, self.label_shift_fit_ = found.strength, found.fit
        self.weights_ = self.prior_ / self.source_prior_
        self._keep_for_interval(fit, raw, found.posteriors, rng)
        if found.refused is not None:
            warnings.warn(
                f"PriorCorrection keeps the source's prior: {found.refused}",
                UserWarning,
                stacklevel=3,
            )
        self._retrained = self.retrain and found.refused is None and (self.prior_ > 0).sum() > 1
        if self._retrained:
            weight = self.weights_[codes] * (1.0 if source.weight is None else source.weight)
            weighted = source.with_(weight=weight).take(weight > 0)
            self.estimator_ = fit_estimator(predictor, weighted)
            self._known = classes

    # -- how certain it is ----------------------------------------------------------------------

    def _keep_for_interval(
        self, fit: CrossFit, raw: Any, posteriors: Any, rng: np.random.RandomState
    ) -> None:
        """Keep at most a few thousand rows of each side, for when the interval is asked for."""
        rows = standing_rows(len(fit.codes), rng)
        target_rows = standing_rows(len(raw), rng)
        calibrated = posteriors is None
        of_target = fit.calibration(raw) if calibrated else posteriors
        self._sample: dict[str, Any] = {
            "probabilities": (fit.probabilities if calibrated else fit.posteriors)[rows],
            "codes": fit.codes[rows],
            "weight": None if fit.weight is None else fit.weight[rows],
            "target_probabilities": of_target[target_rows],
            "sizes": (len(fit.codes), len(raw)),
        }
        self._interval_seed = int(rng.randint(2**31 - 1))
        self._interval: NDArray[np.float64] | None = None

    @property
    def prior_interval_(self) -> NDArray[np.float64]:
        """95% interval of each class's share in the target."""
        if not hasattr(self, "_sample"):
            raise AttributeError("prior_interval_ is there after fit")
        if self._interval is None:
            given = dict(self._sample)
            solve = None
            if self.method not in ("auto", "em"):
                solve = moment_estimator(self.method, given["sizes"][0])
                for side in ("probabilities", "target_probabilities"):
                    given[side] = predictions_of(self.method, given[side])
            rng = check_random_state(self._interval_seed)
            draws = prior_draws(solve, **given, rng=rng)
            self._interval = np.quantile(draws[1:], [0.025, 0.975], axis=0).T
        return self._interval

    # -- predictions ----------------------------------------------------------------------------

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
        if self._retrained:
            return probabilities_of(self.estimator_, X, self.classes_)
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

    @property
    def classes_(self) -> Any:
        """Class labels, in the order of the columns of `predict_proba`."""
        return self._known if getattr(self, "_retrained", False) else self.estimator_.classes_

"""Sets of classes, or intervals of numbers, that hold the truth as often as they say."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.prior_correction import PriorCorrection
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.classifier import ClassifierWeighting
from shiftlab.selection.judge import Judge, as_candidate
from shiftlab.selection.validators.source_risk import SourceScore
from shiftlab.stats.conformal import conformal_radius, conformal_sets

__all__ = ["ConformalPrediction"]

Floats = NDArray[np.float64]


class ConformalPrediction(Adapter):
    r"""Say with every prediction what else the answer could be, valid in the target.

    The sets are those of weighted conformal prediction, see
    `shiftlab.stats.conformal.conformal_sets`: a class belongs to the set of a row unless its
    score :math:`1 - p(y \mid x)` is among the largest :math:`\alpha` of held-out source rows,
    weighted to the target. For numbers the score is the absolute error.

    Coverage in the target is :math:`1 - \alpha` if what ``shift`` says is true and its weights
    are exact: "none", rows of both are alike; "covariate", Y at equal X is the same, weights
    :math:`p_T(x) / p_S(x)`; "label", X within classes is the same, weights :math:`q_y / p_y`.
    It holds however wrong the model is; a bad one has large sets. It does not hold where Y at
    equal X differs, or the target lies where the source has no rows. Nothing without target
    labels can notice all of that: `diagnose` finds what can be found.

    Cost: ``cv + 1`` fits of the model; weights or a prior besides.

    Parameters
    ----------
    estimator : adapter, pipeline or estimator
        What predicts. A classifier needs ``predict_proba``.
    shift : {"none", "covariate", "label"}, default="covariate"
        What differs.
    weighting : ImportanceWeighting, default=None
        Estimates the ratio for "covariate". None is
        ``ClassifierWeighting(flatten=1.0)``, the ratio as it is.
    prior : array-like of shape (k,), default=None
        The target's class shares for "label", in the order of ``classes_``. None is
        estimated by `PriorCorrection`; where that refuses, the source's.
    cv : int, default=5
        Folds of the source: its rows are scored by models that did not train on them.
    random_state : int, RandomState or None, default=None
        Seed of the folds and of what estimates the weights. The model has its own.

    Attributes
    ----------
    estimator_ : Adapter
        Fitted to the whole source and the target; it gives `predict` and `predict_proba`.
    scores_, weights_ : ndarray of shape (n,)
        Of the held-out source rows.
    prior_ : ndarray of shape (k,)
        For "label": the target's shares that were used.
    source_ : Domain
        What the model was trained on.

    Raises
    ------
    ValueError
        In `fit`: "label" with numbers to predict, a prior that is none, a classifier without
        probabilities, too few labelled rows.

    References
    ----------
    R. J. Tibshirani et al., NeurIPS 2019; A. Podkopaev, A. Ramdas, UAI 2021. V. Vovk,
    "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 2015, on
    scores by folds.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import ConformalPrediction
    >>> from shiftlab.data.gaussian_shifts import make_gaussian_shift
    >>> source, target = make_gaussian_shift("label", random_state=0)
    >>> model = ConformalPrediction(LogisticRegression(), shift="label", random_state=0)
    >>> sets = model.fit(source, target.unlabelled()).predict_set(target.X, alpha=0.1)
    >>> place = (target.y == model.classes_[1]).astype(int)
    >>> bool(0.85 < sets[range(len(place)), place].mean() < 0.95)
    True
    """

    facts: ClassVar[Facts] = Facts(
        handles=(), assumes="What `shift` says is the only difference.", source_labels=True
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "shift": [StrOptions({"none", "covariate", "label"})],
        "weighting": [HasMethods(["fit", "weigh"]), None],
        "prior": ["array-like", None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        shift: str = "covariate",
        weighting: Any = None,
        prior: ArrayLike | None = None,
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.shift = shift
        self.weighting = weighting
        self.prior = prior
        self.cv = cv
        self.random_state = random_state

    def _predictor(self) -> Any:
        return None  # `_adapt` fits it

    def _answering(self) -> Any:
        return self.estimator

    def _get_facts(self) -> Facts:
        inner = as_candidate(self.estimator, "estimator")._get_facts()
        return Facts(
            inner.handles,
            self.facts.assumes,
            source_labels=True,
            target_labels=inner.target_labels,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self.estimator.__sklearn_tags__()
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        return tags

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        model = as_candidate(self.estimator, "estimator")
        self._classifies = bool(is_classifier(model))
        self._check(model)
        rng = check_random_state(self.random_state)
        judge = Judge.of(
            SourceScore(), source, target, self.cv, self._classifies, int(rng.randint(2**31 - 1))
        )
        self.estimator_ = clone(model).fit(source, target)
        rows = np.concatenate([test for _, test in judge.folds])
        y = np.asarray(source.y)[rows]
        self.scores_ = np.concatenate(
            [
                self._own_scores(judge.fit(model, fold), source.take(test))
                for fold, (_, test) in enumerate(judge.folds)
            ]
        )
        own = np.ones(len(rows)) if source.weight is None else np.asarray(source.weight)[rows]
        self.weights_ = own * self._weigh(model, source, target, rows, y, rng)
        adapted: Domain = self.estimator_.source_
        return adapted

    def _check(self, model: Any) -> None:
        if self._classifies and not hasattr(model, "predict_proba"):
            raise ValueError(
                f"ConformalPrediction needs class probabilities, and {type(model).__name__} has "
                "no predict_proba; use a classifier that has, such as LogisticRegression"
            )
        if self.shift == "label" and not self._classifies:
            raise ValueError(
                "shift='label' needs classes, and the estimator predicts numbers; use 'covariate'"
            )

    def _own_scores(self, fitted: Any, rows: Domain) -> Floats:
        """Score held-out source rows with their own labels."""
        y = np.asarray(rows.y)
        if not self._classifies:
            return np.asarray(np.abs(np.asarray(fitted.predict(rows.X), dtype=np.float64) - y))
        classes = np.asarray(fitted.classes_)
        probability = np.asarray(fitted.predict_proba(rows.X))
        # a class that its fold did not see has probability zero
        hit = classes[None, :] == y[:, None]
        return np.asarray(1.0 - np.where(hit, probability, 0.0).sum(axis=1))

    def _weigh(
        self,
        model: Any,
        source: Domain,
        target: Domain,
        rows: NDArray[np.intp],
        y: NDArray[Any],
        rng: np.random.RandomState,
    ) -> Floats:
        if self.shift == "none":
            return np.ones(len(rows))
        seed = int(rng.randint(2**31 - 1))
        if self.shift == "covariate":
            given = self.weighting or ClassifierWeighting(flatten=1.0, random_state=seed)
            plain = source.unlabelled().with_(weight=None)
            self.weighting_ = clone(given).fit(plain, target.unlabelled())
            return np.asarray(self.weighting_.weights_)[rows]
        classes = np.asarray(self.estimator_.classes_)
        codes = np.searchsorted(classes, y)
        own = None if source.weight is None else np.asarray(source.weight)[rows]
        shares = np.bincount(codes, weights=own, minlength=len(classes))
        shares = shares / shares.sum()
        if self.prior is None:
            self.prior_ = self._estimated_prior(model, source, target, classes, seed)
        else:
            self.prior_ = _check_prior(self.prior, len(classes))
        self._ratio = np.divide(self.prior_, shares, out=np.zeros(len(classes)), where=shares > 0)
        return np.asarray(self._ratio[codes])

    def _estimated_prior(
        self, model: Any, source: Domain, target: Domain, classes: NDArray[Any], seed: int
    ) -> Floats:
        # a model that corrects its prior knows it; a pipeline has it as its last step
        inner = (self.estimator_, getattr(self.estimator_, "estimator_", None))
        correction = next((m for m in inner if isinstance(m, PriorCorrection)), None)
        if correction is None:
            correction = PriorCorrection(model, random_state=seed).fit(source, target)
        order = np.searchsorted(np.asarray(correction.classes_), classes)
        return np.asarray(correction.prior_)[order]

    def predict_set(self, X: Any, *, alpha: float = 0.1) -> NDArray[np.bool_]:
        """Return which classes each target row may have.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.
        alpha : float, default=0.1
            Share of rows whose class may be missing from its set.

        Returns
        -------
        ndarray of bool, shape (n, k)
            Columns in the order of ``classes_``. A set may be empty: no class fits the row.
        """
        if not self._has_fitted(classes=True):
            raise ValueError("predict_set is for classes; use predict_interval for numbers")
        scores = 1.0 - np.asarray(self.predict_proba(X))
        weights = self._ratio[None, :] if self.shift == "label" else self._row_weights(X)
        return conformal_sets(self.scores_, self.weights_, scores, weights, alpha)

    def predict_interval(self, X: Any, *, alpha: float = 0.1) -> Floats:
        """Return an interval around each predicted number.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.
        alpha : float, default=0.1
            Share of rows whose number may lie outside.

        Returns
        -------
        ndarray of shape (n, 2)
            Infinite where the source has too little weight near a row to say anything.
        """
        if not self._has_fitted(classes=False):
            raise ValueError("predict_interval is for numbers; use predict_set for classes")
        predicted = np.asarray(self.predict(X), dtype=np.float64)
        radius = conformal_radius(self.scores_, self.weights_, self._row_weights(X), alpha)
        return np.column_stack([predicted - radius, predicted + radius])

    def _has_fitted(self, classes: bool) -> bool:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "scores_")
        return self._classifies == classes

    def _row_weights(self, X: Any) -> Floats:
        if self.shift == "covariate":
            return np.asarray(self.weighting_.weigh(X))
        return np.ones(Domain.of(X).n_rows)


def _check_prior(prior: ArrayLike, k: int) -> Floats:
    q = np.asarray(prior, dtype=np.float64)
    if q.shape != (k,) or not np.isfinite(q).all() or (q < 0).any() or abs(q.sum() - 1) > 1e-6:
        raise ValueError(
            f"prior must be {k} shares, non-negative and summing to one, in the order of the "
            f"source's classes; got {prior!r}"
        )
    return q

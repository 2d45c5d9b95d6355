"""Adapt only where there is evidence that it helps."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.label_shift_fit import is_label_shift_plausible, label_shift_fit
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.classifier import ClassifierWeighting
from shiftlab.pipeline import Pipeline, Transform, make_pipeline
from shiftlab.selection.evidence import Evidence, remaining_difference, win_e_value
from shiftlab.selection.judge import Judge, as_candidate
from shiftlab.selection.validators.source_risk import SourceScore
from shiftlab.stats.bootstrap import Estimate, mean_estimate
from shiftlab.stats.performance import label_shift_estimate
from shiftlab.validation import numeric_rows

__all__ = ["SafeAdapter", "source_only"]

Floats = NDArray[np.float64]

FEWEST_LABELS = 5
EFFECTIVE_ROWS = 50.0  # that the weighted source has to be worth
COVERED = 0.9  # share of the target that has to lie within reach of the source
MATCHED = 0.6  # AUC up to which weights, or a map, count as having made the sides alike
ROWS = 2000  # of each side, to see what is left


def source_only(model: Any) -> Any:
    """Return the same model without its adapters.

    Parameters
    ----------
    model : adapter or pipeline
        Steps that are scikit-learn transformers stay; an adapter that predicts is replaced by its
        ``estimator``.

    Returns
    -------
    Pipeline

    Raises
    ------
    ValueError
        If no estimator is left.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from shiftlab import CORAL, make_pipeline
    >>> from shiftlab.selection.safe_adapter import source_only
    >>> model = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    >>> [name for name, _ in source_only(model).steps]
    ['standardscaler', 'logisticregression']
    """
    steps = [s for _, s in model._active()] if isinstance(model, Pipeline) else [model]
    kept: list[Any] = [s for s in steps[:-1] if isinstance(s, Transform) or not _adapts(s)]
    last = steps[-1]
    while isinstance(last, Adapter):
        last = getattr(last, "estimator", None)
    if last is None or not hasattr(last, "predict"):
        raise ValueError(
            f"SafeAdapter cannot tell what {type(model).__name__} would be without adapting; pass "
            "baseline=, the estimator or pipeline that is trained on the source alone"
        )
    return make_pipeline(*kept, last)


def _adapts(step: Any) -> bool:
    return isinstance(step, Adapter) or hasattr(step, "fit_resample")


class SafeAdapter(Adapter):
    r"""Use the adapted model only where there is evidence that it beats the source-only one.

    Both models are fitted. What adapting gains in the target, :math:`E_T[\ell(f_S) - \ell(f_A)]`,
    is estimated from held-out source rows under each assumption in turn, and the first that the
    rows leave standing decides:

    1. *Label shift* (classes): the target is a mixture of the source's classes by a test that
       could refute it. The gain is weighted by the estimated target prior.
    2. *Covariate shift*: weights make the source like the target, are worth 50 rows or more, and
       the source reaches the target. The gain is weighted by them.
    3. *Feature map*: neither holds, and the adapter's map makes source and target alike: it
       explains the whole change of X. The gain is measured on mapped source rows.

    The adapted model is used if the 95% interval of the gain lies above 0. If no assumption
    stands, it is not used: nothing could show that it helps. With five or more labelled target
    rows these come first, as a test that may be looked at after each further label; where it is
    undecided, and the labels do not speak against adapting, the above goes on.

    It costs gains that cannot be shown: where all assumptions fail, as with words of another topic,
    an adapter may still help. No rule without target labels can be right always: covariate shift
    and a change of Y at equal X look alike. A few target labels settle it.

    Cost: four fits of either model (seven of an adapter that maps features), one fit of weights.

    Parameters
    ----------
    adapter : adapter or pipeline
        It has to predict.
    baseline : estimator or pipeline, default=None
        The source-only model. None is the adapter's own estimator, or the pipeline without its
        adapters; see `source_only`.
    cv : int, default=3
        Folds of the source, and of labelled target rows where the adapter learns from them.
    alpha : float, default=0.1
        Level of the test with target labels.
    random_state : int, RandomState or None, default=None
        Seed of the folds and the resampling. The models have their own.

    Attributes
    ----------
    adapted_, source_only_ : Adapter
        Both models, fitted.
    uses_adapted_ : bool
        Which of them predicts.
    decision_ : str
        Why, in one sentence.
    evidence_ : list of Evidence
        What was looked at, in order.
    gain_, gain_interval_ : float and tuple, or None
        The deciding estimate: a share of rows for classes, of the variance of Y for numbers.
    source_ : Domain
        What the model in use was trained on.

    References
    ----------
    M. Saerens et al., Neural Computation 2002; M. Sugiyama et al., JMLR 2007, for the two
    weighted estimates. Testing by betting: see `shiftlab.selection.evidence.win_e_value`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import LocationScale, SafeAdapter
    >>> from shiftlab.data.gaussian_shifts import make_gaussian_shift
    >>> for kind in ("covariate", "location_scale"):
    ...     source, target = make_gaussian_shift(kind, random_state=0)
    ...     safe = SafeAdapter(LocationScale(LogisticRegression(), random_state=0), random_state=0)
    ...     print(kind, safe.fit(source, target.unlabelled()).uses_adapted_)
    covariate False
    location_scale True
    """

    facts: ClassVar[Facts] = Facts(
        handles=(), assumes="What its adapter assumes.", source_labels=True
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "adapter": [HasMethods(["fit", "get_params"])],
        "baseline": [HasMethods(["fit", "predict"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        adapter: Any,
        *,
        baseline: Any = None,
        cv: int = 3,
        alpha: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.adapter = adapter
        self.baseline = baseline
        self.cv = cv
        self.alpha = alpha
        self.random_state = random_state

    # -- what the base class asks -------------------------------------------------------------

    def _answering(self) -> Any:
        return self.adapter

    def _get_facts(self) -> Facts:
        inner = as_candidate(self.adapter, "adapter")._get_facts()
        # labels that the adapter does not learn from still serve the decision
        asks: Literal["optional", "required"] = (
            "required" if inner.target_labels == "required" else "optional"
        )
        return Facts(inner.handles, self.facts.assumes, source_labels=True, target_labels=asks)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self.adapter.__sklearn_tags__()
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        return tags

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        adapter = as_candidate(self.adapter, "adapter")
        given = source_only(adapter) if self.baseline is None else self.baseline
        baseline = as_candidate(given, "baseline")
        rng = check_random_state(self.random_state)
        self.adapted_ = clone(adapter).fit(source, target)
        self.source_only_ = clone(baseline).fit(source, target)
        self.evidence_: list[Evidence] = []
        self.gain_: float | None = None
        self.gain_interval_: tuple[float, float] | None = None
        look = _Look(adapter, baseline, source, target, self, rng)
        self.uses_adapted_, self.decision_ = self._decide(look)
        self.estimator_ = self.adapted_ if self.uses_adapted_ else self.source_only_
        adapted: Domain = self.estimator_.source_
        return adapted

    # -- the decision -------------------------------------------------------------------------

    def _decide(self, look: _Look) -> tuple[bool, str]:
        differs = look.share_changed()
        if differs == 0:
            return False, "source-only model kept: adapting changes no prediction of the target."
        against = False
        if look.target.n_labelled >= FEWEST_LABELS:
            wins, losses, said = look.target_labels()
            for_it, against_it = win_e_value(wins, losses), win_e_value(losses, wins)
            if for_it >= 1 / self.alpha:
                return True, f"adapted model used: {said}."
            if against_it >= 1 / self.alpha:
                return False, f"source-only model kept: {said}."
            against = losses > wins
        for assess in (look.label_shift, look.covariate_shift, look.feature_map):
            found = assess()
            if found is None:
                continue
            self.evidence_.append(found)
            if not found.plausible or found.gain is None or found.interval is None:
                continue
            self.gain_, self.gain_interval_ = found.gain, found.interval
            low, high = found.interval
            said = (
                f"if {found.assumes}, which stands ({found.why}), adapting changes the score in "
                f"the target by {100 * found.gain:+.1f} points (95% interval {100 * low:+.1f} to "
                f"{100 * high:+.1f})"
            )
            if low > 0 and not against:
                return True, f"adapted model used: {said}."
            if low > 0:
                said += ", but the labelled target rows speak against it"
            return False, f"source-only model kept: {said}."
        tried = "; ".join(e.why for e in self.evidence_) or "nothing could be tested"
        return False, (
            f"source-only model kept: nothing can show that adapting helps ({tried}). Label some "
            "target rows."
        )


class _Look:
    """The held-out predictions of both models, and each way of estimating the gain from them."""

    def __init__(
        self,
        adapter: Any,
        baseline: Any,
        source: Domain,
        target: Domain,
        owner: SafeAdapter,
        rng: np.random.RandomState,
    ) -> None:
        self.adapter, self.baseline = adapter, baseline
        self.source, self.target, self.owner, self.rng = source, target, owner, rng
        self.classifies = bool(is_classifier(adapter))
        seed = int(rng.randint(2**31 - 1))
        judge = Judge.of(SourceScore(), source, target, owner.cv, self.classifies, seed)
        self.folds = judge.folds
        self.held_out = np.concatenate([test for _, test in self.folds])
        self.y = np.asarray(source.y)[self.held_out]
        self.scale = 1.0 if self.classifies else max(float(np.var(self.y)), 1e-300)
        gains, proba, target_proba = [], [], []
        for fold, (_, test) in enumerate(self.folds):
            fitted = [judge.fit(m, fold) for m in (baseline, adapter)]
            rows = source.take(test)
            gains.append(self._gain(fitted, rows.X, np.asarray(rows.y)))
            if hasattr(fitted[0], "predict_proba"):
                proba.append(_aligned(fitted[0], rows.X, owner.source_only_))
                target_proba.append(_aligned(fitted[0], target.X, owner.source_only_))
        self.gain = np.concatenate(gains)
        self.proba = np.concatenate(proba) if proba else None
        self.target_proba = np.mean(target_proba, axis=0) if target_proba else None
        own = source.weight
        self.own = np.ones(len(self.y)) if own is None else np.asarray(own)[self.held_out]

    def _gain(self, models: list[Any], X: Any, y: NDArray[Any]) -> Floats:
        """Loss of the source-only model less that of the adapted one, by row."""
        losses = [_loss(np.asarray(m.predict(X)), y, self.classifies) for m in models]
        return np.asarray((losses[0] - losses[1]) / self.scale)

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(int(self.rng.randint(2**31 - 1)))

    def share_changed(self) -> float:
        """Share of the target's rows whose prediction differs between the two models."""
        answers = [m.predict(self.target.X) for m in (self.owner.source_only_, self.owner.adapted_)]
        return float(np.mean(np.asarray(answers[0]) != np.asarray(answers[1])))

    def target_labels(self) -> tuple[int, int, str]:
        """Count the labelled target rows on which only one of the models is right."""
        known = np.flatnonzero(self.target.labelled)
        y = np.asarray(self.target.y)
        models = [self.owner.source_only_, self.owner.adapted_]
        if self.adapter._get_facts().target_labels == "none":
            gain = self._gain(models, self.target.take(known).X, y[known])
        else:
            gain = np.zeros(len(known))
            part = self.rng.permutation(len(known)) % self.owner.cv
            for fold in np.unique(part):
                mask = self.target.labelled.copy()
                mask[known[part == fold]] = False
                seen = self.target.with_(labelled=mask).masked()
                fitted = [clone(m).fit(self.source, seen) for m in (self.baseline, self.adapter)]
                rows = self.target.take(known[part == fold])
                gain[part == fold] = self._gain(fitted, rows.X, np.asarray(rows.y))
        wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
        said = (
            f"of {len(known)} labelled target rows the adapted model alone is better on {wins}, "
            f"the source-only model on {losses}"
        )
        self.owner.evidence_.append(
            Evidence("target labels", "the labelled rows are drawn at random", True, said,
                     float(gain.mean()), None)
        )  # fmt: skip
        return wins, losses, said

    def label_shift(self) -> Evidence | None:
        """The gain if only the class shares changed."""
        if not self.classifies or self.proba is None or self.target_proba is None:
            return None
        classes = np.asarray(self.owner.source_only_.classes_)
        place = np.searchsorted(classes, self.y)
        fit = label_shift_fit(
            self.source.take(self.held_out), self.proba, place, self.target.unlabelled(),
            self.target_proba, self.rng,
        )  # fmt: skip
        assumes = "only the class shares changed"
        if fit is None:
            return Evidence("label shift", assumes, False, "label shift could not be tested")
        if not is_label_shift_plausible(fit):
            why = f"no change of the class shares explains the target's X (p = {fit.p_value:.2g})"
            return Evidence("label shift", assumes, False, why)
        found = label_shift_estimate(
            self.gain, place, self.proba, self.target_proba, rng=self._generator()
        )
        return Evidence("label shift", assumes, True, f"test of it: p = {fit.p_value:.2f}", *found)

    def covariate_shift(self) -> Evidence | None:
        """The gain if Y at equal X is the same, where weights reach the target."""
        assumes = "Y at equal X is the same in both"
        pair = self._numbers()
        if pair is None:
            return Evidence("covariate shift", assumes, False, "the columns could not be weighted")
        S, T = pair
        weighting = ClassifierWeighting(flatten=1.0, random_state=0)
        ratio = np.asarray(weighting.fit(S, T).weights_)
        worth, covered = weighting.effective_sample_size_, weighting.overlap_
        if worth < EFFECTIVE_ROWS or covered < COVERED:
            why = (
                f"weights would leave {worth:.0f} rows' worth, and {covered:.0%} of the target "
                "lies within reach of the source"
            )
            return Evidence("covariate shift", assumes, False, why)
        some, others = self._some(S.n_rows), self._some(T.n_rows)
        left = remaining_difference(np.asarray(S.X)[some], np.asarray(T.X)[others], ratio[some])
        if left > MATCHED:
            why = f"weights leave source and target apart (AUC {left:.2f})"
            return Evidence("covariate shift", assumes, False, why)
        found = mean_estimate(self.gain, ratio[self.held_out] * self.own, rng=self._generator())
        why = f"weights make the source like the target, AUC {left:.2f}"
        return Evidence("covariate shift", assumes, True, why, *found)

    def feature_map(self) -> Evidence | None:
        """The gain on mapped source rows, if the map makes the two sides alike."""
        assumes = "Y at equal mapped X is the same in both"
        whole = self.owner.adapted_.source_
        rows = self.target.take(self._some(self.target.n_rows))
        moved = Domain.of(self.owner.adapted_.transform(rows.X))
        numbers = isinstance(whole.X, np.ndarray) and whole.X.ndim == 2
        if not numbers or whole.n_rows != self.source.n_rows:
            return None
        if not _same(moved.X, rows.X) or _same(whole.X, self.source.X):
            # source rows that are not brought into the target's columns answer nothing here
            return None
        left = remaining_difference(np.asarray(whole.X)[self._some(whole.n_rows)], moved.X)
        if left > MATCHED:
            why = f"the map leaves source and target apart (AUC {left:.2f})"
            return Evidence("feature map", assumes, False, why)
        gains = []
        for _, test in self.folds:
            mask = self.source.labelled.copy()
            mask[test] = False
            masked = self.source.with_(labelled=mask).masked()
            fitted = [clone(m).fit(masked, self.target) for m in (self.baseline, self.adapter)]
            mapped = fitted[1].source_
            if mapped.n_rows != self.source.n_rows:
                return None
            gains.append(self._gain(fitted, mapped.X[test], np.asarray(self.source.y)[test]))
        found: Estimate = mean_estimate(np.concatenate(gains), self.own, rng=self._generator())
        why = f"the map makes the source like the target, AUC {left:.2f}"
        return Evidence("feature map", assumes, True, why, *found)

    def _some(self, n: int) -> NDArray[np.intp]:
        """Draw at most 2,000 of n rows."""
        if n <= ROWS:
            return np.arange(n)
        return np.sort(self.rng.choice(n, ROWS, replace=False))

    def _numbers(self) -> tuple[Domain, Domain] | None:
        """Both samples as dense numbers, or nothing."""
        try:
            X = numeric_rows(self.source, "SafeAdapter", sparse=False)
            Z = numeric_rows(self.target, "SafeAdapter", sparse=False)
        except ValueError:  # text or gaps: the estimator may take them, weights do not
            return None
        return Domain(X, weight=self.source.weight, name="source"), Domain(Z, name="target")


def _loss(predicted: NDArray[Any], y: NDArray[Any], classifies: bool) -> Floats:
    if classifies:
        return np.asarray(predicted != y, dtype=np.float64)
    return np.square(np.asarray(predicted - y, dtype=np.float64))


def _same(A: Any, B: Any) -> bool:
    return bool(np.shape(A) == np.shape(B) and np.array_equal(A, B))


def _aligned(model: Any, X: Any, whole: Any) -> Floats:
    """Class probabilities in the columns of the whole model, also where a fold lacks a class."""
    columns = np.searchsorted(whole.classes_, model.classes_)
    found = np.zeros((len(X) if not hasattr(X, "shape") else X.shape[0], len(whole.classes_)))
    found[:, columns] = model.predict_proba(X)
    return found

"""Adapt only where there is evidence that it helps."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.pipeline import Pipeline, Transform, make_pipeline
from shiftlab.selection.evidence import Evidence, label_evidence, win_e_value
from shiftlab.selection.ground import FEWEST_LABELS, Ground
from shiftlab.selection.judge import as_candidate

__all__ = ["Decision", "SafeAdapter", "decide", "source_only"]


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


@dataclass(frozen=True)
class Decision:
    """Whether an adapter is used, and why.

    Parameters
    ----------
    adapted : bool
        True for the adapted model.
    why : str
        In one sentence.
    evidence : list of Evidence
        What was looked at, in order.
    """

    adapted: bool
    why: str
    evidence: list[Evidence]


def decide(ground: Ground, adapter: Any, fitted: Any, alpha: float) -> Decision:
    """Decide between an adapter and the source-only model; see `SafeAdapter`.

    Parameters
    ----------
    ground : Ground
        The source-only model and its held-out rows.
    adapter, fitted : Adapter
        Unfitted, and fitted to the same samples.
    alpha : float
        Level of the test with target labels.

    Returns
    -------
    Decision
    """
    seen: list[Evidence] = []
    if ground.share_changed(fitted) == 0:
        return Decision(False, "adapting changes no prediction of the target", seen)
    against = False
    if ground.target.n_labelled >= FEWEST_LABELS:
        gain = ground.target_gain(adapter, fitted)
        seen.append(label_evidence(gain))
        wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
        if win_e_value(wins, losses) >= 1 / alpha:
            return Decision(True, seen[0].why, seen)
        if win_e_value(losses, wins) >= 1 / alpha:
            return Decision(False, seen[0].why, seen)
        against = losses > wins
    seen += ground.assess(adapter, fitted)
    last = seen[-1] if seen else None
    if last is None or last.interval is None:
        tried = "; ".join(e.why for e in seen) or "nothing could be tested"
        why = f"nothing can show that adapting helps ({tried}); label some target rows"
        return Decision(False, why, seen)
    if last.shown and against:
        why = f"{last.sentence()}, but the labelled target rows speak against it"
        return Decision(False, why, seen)
    return Decision(last.shown, last.sentence(), seen)


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

    The adapted model is used if the 95% interval of the gain lies above 0, or, in the first two,
    if the gain is positive and that interval of the fall of the Brier score, which the same rows
    tell more surely, lies above 0. If no assumption stands, it is not used: nothing could show
    that it helps. With five or more labelled target rows these come first, as a test that may be
    looked at after each further label; where it is undecided, and the labels do not speak
    against adapting, the above goes on.

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
        ground = Ground(baseline, source, target, self.cv, check_random_state(self.random_state))
        self.source_only_ = ground.baseline_
        self.adapted_ = clone(adapter).fit(source, target)
        decided = decide(ground, adapter, self.adapted_, self.alpha)
        self.uses_adapted_, self.evidence_ = decided.adapted, decided.evidence
        which = "adapted model used" if decided.adapted else "source-only model kept"
        self.decision_ = f"{which}: {decided.why}."
        last = self.evidence_[-1] if self.evidence_ else None
        judged = last is not None and last.interval is not None
        self.gain_ = last.gain if last is not None and judged else None
        self.gain_interval_ = last.interval if last is not None and judged else None
        self.estimator_ = self.adapted_ if self.uses_adapted_ else self.source_only_
        adapted: Domain = self.estimator_.source_
        return adapted

"""Chains of adapters, scikit-learn transformers and a final estimator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from shiftlab.adapter import Adapter, Difference, Facts
from shiftlab.deep_adapter import NetAdapter
from shiftlab.domain import Domain
from shiftlab.supervised import rows_for, weight_keyword

__all__ = ["Pipeline", "Transform", "make_pipeline"]


class Transform(Adapter):
    """A scikit-learn transformer as a step, with a say in which domain it is fitted on.

    Parameters
    ----------
    transformer : transformer
        Anything with ``fit`` and ``transform``.
    on : {"source", "target", "both", "each"}, default="source"
        What it is fitted on. "each" fits one copy on the source and one on the target, so
        that `StandardScaler` removes a difference of location and scale between them.
        Only a transformer that is fitted on the source alone sees labels, the source's.

    Attributes
    ----------
    source_ : Domain
        The transformed source.
    source_transformer_, target_transformer_ : transformer
        The fitted copies; the same object unless ``on="each"``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from shiftlab import Transform
    >>> X = np.arange(10.0).reshape(5, 2)
    >>> step = Transform(StandardScaler(), on="each").fit(X, 100 + 5 * X)
    >>> bool(np.allclose(step.source_.X, step.transform(100 + 5 * X)))
    True
    """

    facts: ClassVar[Facts] = Facts(
        handles=("marginal",),
        assumes="What the transformer assumes.",
        inputs=("dense", "sparse", "frame", "images"),
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "transformer": [HasMethods(["fit", "transform"])],
        "on": [StrOptions({"source", "target", "both", "each"})],
    }

    def __init__(self, transformer: Any, on: str = "source") -> None:
        self.transformer = transformer
        self.on = on

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        if self.on == "both":
            fitted = self._fitted_on(Domain.concat([source, target]).unlabelled())
            self.source_transformer_ = self.target_transformer_ = fitted
        elif self.on == "each":
            self.source_transformer_ = self._fitted_on(source)
            self.target_transformer_ = self._fitted_on(target.unlabelled())
        else:
            fitted = self._fitted_on(source if self.on == "source" else target.unlabelled())
            self.source_transformer_ = self.target_transformer_ = fitted
        return source.with_(X=self._apply(self.source_transformer_, source))

    def _transform_target(self, target: Domain) -> Domain:
        return target.with_(X=self._apply(self.target_transformer_, target))

    def _fitted_on(self, domain: Domain) -> Any:
        transformer = clone(self.transformer)
        if get_tags(transformer).target_tags.required:
            domain = domain.labelled_part()
        weights = {}
        keyword = weight_keyword(transformer)
        if domain.weight is not None and keyword is not None:
            weights[keyword] = domain.weight
        y = domain.y if domain.n_labelled == domain.n_rows else None
        return transformer.fit(rows_for(transformer, domain.X), y, **weights)

    @staticmethod
    def _apply(transformer: Any, domain: Domain) -> Any:
        return transformer.transform(rows_for(transformer, domain.X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.transformer).input_tags
        return tags


class Pipeline(Adapter, _BaseComposition):  # type: ignore[misc]
    """Adapters, scikit-learn transformers and a final estimator, one after the other.

    Every step sees the source and the target as the steps before it left them. Rows and
    weights that an adapter makes reach every later step that takes them. At prediction
    time, target rows go through the same steps.

    Parameters
    ----------
    steps : list of (str, step)
        A step is an adapter, a scikit-learn transformer (fitted on the adapted source;
        wrap it in ``Transform(..., on=)`` for another choice), an imbalanced-learn
        sampler, or, as the last one, an estimator; "passthrough" or None switches a step
        off. The last step may also be an adapter
        with an estimator, such as ``PriorCorrection(LogisticRegression())``. A deep adapter
        before the last step hands on the features of its network.

    Attributes
    ----------
    source_ : Domain
        The source after all steps but the final estimator.
    steps_ : list of (str, Adapter)
        The fitted steps before the final predictor.
    estimator_ : estimator
        The fitted final predictor, if there is one.

    Raises
    ------
    ValueError
        In `fit`, if names repeat or a step before the last one predicts.
    TypeError
        In `fit`, if a step is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from shiftlab import CORAL, Pipeline
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(100, 2)), np.repeat(["no", "yes"], 50)
    >>> X[50:] += 2
    >>> model = Pipeline(
    ...     [("scale", StandardScaler()), ("align", CORAL()), ("classify", LogisticRegression())]
    ... )
    >>> model.fit((X, y), 3 * X - 2).predict(3 * X[:2] - 2).tolist()
    ['no', 'no']
    """

    facts: ClassVar[Facts] = Facts(handles=(), assumes="What its steps assume.")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"steps": [list, tuple]}

    def __init__(self, steps: Sequence[tuple[str, Any]]) -> None:
        self.steps = steps

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the steps as ``<step>__<parameter>``."""
        parameters: dict[str, Any] = self._get_params("steps", deep=deep)
        return parameters

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``<step>`` replaces a step, ``<step>__<parameter>`` sets one in it."""
        self._set_params("steps", **params)
        return self

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, key: int | str) -> Any:
        """Return a step by name or position, fitted if the pipeline is."""
        if isinstance(key, int):
            key = self.steps[key][0]
        fitted = dict(getattr(self, "steps_", []))
        if key in fitted:
            return fitted[key]
        if key == self.steps[-1][0] and hasattr(self, "estimator_"):
            return self.estimator_
        return dict(self.steps)[key]

    # -- what the base class asks ---------------------------------------------------------

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        self.steps_: list[tuple[str, Adapter]] = []
        if hasattr(self, "estimator_"):
            del self.estimator_
        for name, step in self._before_predictor():
            fitted = as_adapter(step, name).fit(source, target)
            self.steps_.append((name, fitted))
            source, target = fitted.source_, fitted._transform_target(target)
        last = self._last()
        if isinstance(last, Adapter) and hasattr(last, "predict"):
            # It adapts and predicts by itself, and needs the target to do so.
            self.estimator_ = clone(last).fit(source, target)
            source = self.estimator_.source_
        return source

    def _predictor(self) -> Any:
        """Return a final scikit-learn estimator; a predicting adapter is fitted in `_adapt`."""
        last = self._last()
        return last if _is_plain_predictor(last) else None

    def _answering(self) -> Any:
        return self._last() if len(self._before_predictor()) < len(self._active()) else None

    def _transform_target(self, target: Domain) -> Domain:
        for _, step in self.steps_:
            target = step._transform_target(target)
        return target

    def _get_facts(self) -> Facts:
        self._check_steps()
        steps = [s for _, s in self._active() if isinstance(s, Adapter)]
        facts = [step._get_facts() for step in steps]
        handled: list[Difference] = list(dict.fromkeys(h for f in facts for h in f.handles))
        asks = {f.target_labels for f in facts}
        return Facts(
            handles=tuple(handled),
            assumes=self.facts.assumes,
            source_labels=any(f.source_labels for f in facts),
            target_labels=next((a for a in ("required", "optional") if a in asks), "none"),
            deep=any(f.deep for f in facts),
        )

    # -- steps ------------------------------------------------------------------------------

    def _active(self) -> list[tuple[str, Any]]:
        """Return the steps without those that are switched off."""
        return [
            (name, step)
            for name, step in self.steps
            if not (step is None or (isinstance(step, str) and step == "passthrough"))
        ]

    def _last(self) -> Any:
        return self._active()[-1][1]

    def _before_predictor(self) -> list[tuple[str, Any]]:
        last = self._last()
        predicts = _is_plain_predictor(last) or (
            isinstance(last, Adapter) and hasattr(last, "predict")
        )
        steps = self._active()
        return steps[:-1] if predicts else steps

    def _check_steps(self) -> None:
        if not self._active():
            raise ValueError("Pipeline: steps is empty; give at least one step")
        names = [name for name, _ in self.steps]
        self._validate_names(names)
        for name, step in self._active()[:-1]:
            # A network hands on its features.
            predicts = isinstance(step, Adapter) and hasattr(step, "predict")
            if predicts and not isinstance(step, NetAdapter):
                raise ValueError(
                    f"Pipeline: step {name!r} has an estimator but is not the last step; its "
                    "predictions would be lost. Leave its estimator out, or put it last."
                )
            as_adapter(step, name)

    def __sklearn_tags__(self) -> Tags:
        tags = super(Adapter, self).__sklearn_tags__()  # those of the steps, not of an adapter
        if self._active():
            tags.input_tags = get_tags(self._active()[0][1]).input_tags
            last = get_tags(self._last())
            tags.estimator_type = last.estimator_type
            tags.classifier_tags = last.classifier_tags
            tags.regressor_tags = last.regressor_tags
        return tags


def make_pipeline(*steps: Any) -> Pipeline:
    """Make a `Pipeline` whose steps are named after their classes.

    Parameters
    ----------
    *steps : adapter, transformer, sampler or estimator
        As in `Pipeline`.

    Returns
    -------
    Pipeline

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from shiftlab import ClassifierWeighting, make_pipeline
    >>> pipeline = make_pipeline(StandardScaler(), ClassifierWeighting(), LogisticRegression())
    >>> [name for name, _ in pipeline.steps]
    ['standardscaler', 'classifierweighting', 'logisticregression']
    """
    names = [type(_unwrapped(step)).__name__.lower() for step in steps]
    total, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}-{seen[name]}" if total[name] > 1 else name)
    return Pipeline(list(zip(unique, steps, strict=True)))


def _unwrapped(step: Any) -> Any:
    return step.transformer if isinstance(step, Transform) else step


def _is_plain_predictor(step: Any) -> bool:
    return not isinstance(step, Adapter) and hasattr(step, "predict")


def as_adapter(step: Any, name: str) -> Adapter:
    """Return a fresh adapter for a step of a pipeline.

    Parameters
    ----------
    step : adapter, transformer or sampler
        A copy is made; the step itself is never fitted.
    name : str
        Its name, for the message.

    Returns
    -------
    Adapter

    Raises
    ------
    TypeError
        If the step is none of these.
    """
    if isinstance(step, Adapter):
        copied: Adapter = clone(step)
        return copied
    if hasattr(step, "fit_resample"):
        from shiftlab.conditional.resample import Resample

        return Resample(step)
    if not isinstance(step, type) and hasattr(step, "fit") and hasattr(step, "transform"):
        return Transform(step)
    raise TypeError(
        f"Pipeline: step {name!r} is {step!r}; a step is an adapter, a scikit-learn transformer, "
        "an imbalanced-learn sampler or, as the last one, an estimator"
    )

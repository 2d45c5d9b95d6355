"""Adapt a classifier from one table to another, whatever the columns hold."""

from __future__ import annotations

import csv
import inspect
import io
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.encoding import TableEncoder
from shiftlab.experiments.names import did_you_mean
from shiftlab.registry import ADAPTERS

if TYPE_CHECKING:
    from shiftlab.selection.result import AdaptationResult

__all__ = [
    "ESTIMATORS",
    "SOURCE_ONLY",
    "Adapted",
    "adapt",
    "adapt_automatically",
    "predictions_csv",
    "resolve_method",
]

SOURCE_ONLY = "source-only"
ESTIMATORS = ("logistic", "boosting")

# What a method cannot be made without: copies of the rare classes, the plainest resampling.
_DEFAULTS: dict[str, dict[str, Any]] = {"Resample": {"sampler": "over"}}


@dataclass(frozen=True)
class Adapted:
    """What `adapt` gives back.

    Parameters
    ----------
    prediction : ndarray of shape (n,)
        A label for each target row.
    probability : ndarray of shape (n, k) or None
        Class probabilities where the method has them.
    classes : ndarray of shape (k,)
        Classes of the columns of ``probability``.
    saw_target_labels : bool
        Whether the method was trained on labels of the target.
    """

    prediction: NDArray[Any]
    probability: NDArray[Any] | None
    classes: NDArray[Any]
    saw_target_labels: bool


def resolve_method(name: str) -> str:
    """Return a method's name as the registry writes it.

    Parameters
    ----------
    name : str
        In any case.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        With the close matches, if there is none of that name.

    Examples
    --------
    >>> from shiftlab.cli.adapt import resolve_method
    >>> resolve_method("coral"), resolve_method("Source-Only")
    ('CORAL', 'source-only')
    """
    known = {n.lower(): n for n in (SOURCE_ONLY, *ADAPTERS)}
    if name.lower() not in known:
        raise ValueError(f"unknown method {name!r}; {did_you_mean(name, known.values())}")
    return known[name.lower()]


def adapt(source: Domain, target: Domain, method: str, estimator: str) -> Adapted:
    """Train on the source, adapted to the target, and label the target's rows.

    Numbers are standardised (missing ones take the median), text becomes indicator columns;
    both are fitted on the source. A method that aligns schemas works before that, all others
    after it. Target labels are removed unless the method cannot do without them.

    Parameters
    ----------
    source, target : Domain
        Tables, arrays or images.
    method : str
        From `resolve_method`.
    estimator : {"logistic", "boosting"}
        The classifier.

    Returns
    -------
    Adapted
    """
    if method == SOURCE_ONLY:
        return _train(source, target.unlabelled(), None, estimator)
    adapter = getattr(import_module(ADAPTERS[method]), method)
    facts = adapter.facts
    needs_labels = facts.target_labels == "required"
    seen = target if needs_labels else target.unlabelled()
    if facts.inputs == ("images",):
        for domain in (source, target):
            if not domain.is_image:
                raise ValueError(
                    f"{method} needs images, an NPZ file whose X has shape (n, H, W) or "
                    f"(n, H, W, C); {domain.name} has {domain.n_features} columns"
                )
        model = _seeded(adapter()).fit(source, seen)
        return _predictions(model, target.X, needs_labels)
    if "feature_space" in facts.handles:
        aligned = _seeded(adapter()).fit(source, seen)
        moved = Domain.of(aligned.transform(target.X), name=target.name)
        return _train(aligned.source_, moved, None, estimator)
    return _train(source, seen, adapter, estimator)


def adapt_automatically(
    source: Domain, target: Domain, estimator: str, budget: float | None
) -> tuple[Adapted, AdaptationResult]:
    """Adapt with `shiftlab.adapt`, whatever fits.

    Parameters
    ----------
    source, target : Domain
        Tables, arrays or images. Labels of the target are learnt from if some rows lack one.
    estimator : {"logistic", "boosting"}
        The classifier; "logistic" has its penalty chosen on the source.
    budget : float or None
        Seconds.

    Returns
    -------
    (Adapted, AdaptationResult)
        The predictions, and all there is to say of them.
    """
    from shiftlab.selection.adapt import adapt as run

    partly = 0 < target.n_labelled < target.n_rows
    given = None if estimator == "logistic" else _make_estimator(estimator)
    seen = target if partly else target.unlabelled()
    result = run(source, seen, estimator=given, budget=budget, random_state=0)
    classes = np.asarray(result.classes)
    return Adapted(result.predictions, result.probabilities, classes, partly), result


def _train(source: Domain, target: Domain, adapter: Any, estimator: str) -> Adapted:
    from shiftlab.supervised import fit_estimator, rows_for
    from shiftlab.validation import check_pair

    check_pair(source, target, adapter.__name__ if adapter else SOURCE_ONLY)
    source, target = _encode(source, target)
    if adapter is None:
        model = fit_estimator(_make_estimator(estimator), source)
        return _predictions(model, rows_for(model, target.X), False)
    given = dict(_DEFAULTS.get(adapter.__name__, {}))
    if "estimator" in inspect.signature(adapter).parameters:
        classes = "classification" in adapter.facts.tasks
        given["estimator"] = _make_estimator(estimator, regression=not classes)
    model = _seeded(adapter(**given))
    model.fit(source, target)
    return _predictions(model, target.X, target.n_labelled > 0)


def _make_estimator(name: str, regression: bool = False) -> Any:
    if regression:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import Ridge

        return HistGradientBoostingRegressor(random_state=0) if name == "boosting" else Ridge()
    if name == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(random_state=0)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000)


def _seeded(adapter: Any) -> Any:
    return adapter.set_params(random_state=0) if "random_state" in adapter.get_params() else adapter


def _predictions(model: Any, rows: Any, saw_target_labels: bool) -> Adapted:
    classes = np.asarray(model.classes_)
    # Hidden by available_if where the estimator has none.
    probability = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    return Adapted(np.asarray(model.predict(rows)), probability, classes, saw_target_labels)


def _encode(source: Domain, target: Domain) -> tuple[Domain, Domain]:
    """Turn the columns of two data frames into numbers, by what the source's columns hold."""
    if not source.is_frame:
        return source, target
    encoder = TableEncoder().fit(source.X)
    first, second = (d.with_(X=encoder.transform(d.X)) for d in (source, target))
    return first, second


def predictions_csv(adapted: Adapted) -> str:
    """Write predictions as CSV: ``row``, ``prediction`` and a probability a class.

    Parameters
    ----------
    adapted : Adapted
        From `adapt`.

    Returns
    -------
    str
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    probability = adapted.probability
    names = [] if probability is None else [f"probability {c}" for c in adapted.classes]
    writer.writerow(["row", "prediction", *names])
    for row, label in enumerate(adapted.prediction):
        values = [] if probability is None else [f"{p:.6g}" for p in probability[row]]
        writer.writerow([row, label, *values])
    return out.getvalue()

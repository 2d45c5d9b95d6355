"""Adapt a classifier from one table to another, whatever the columns hold."""

from __future__ import annotations

import csv
import inspect
import io
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.names import did_you_mean
from shiftlab.registry import ADAPTERS

__all__ = ["ESTIMATORS", "SOURCE_ONLY", "Adapted", "adapt", "predictions_csv", "resolve_method"]

SOURCE_ONLY = "source-only"
ESTIMATORS = ("logistic", "boosting")

# What a method cannot be made without: copies of the rare classes, the plainest resampling.
_DEFAULTS: dict[str, dict[str, Any]] = {"Resample": {"sampler": "over"}}

# More categories than these in a column are taken together as rare ones.
_MOST_CATEGORIES = 50


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
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, words = _column_kinds(source)
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
    if numbers:
        scale = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        )
        scale.fit(_numbers(source, numbers))
        parts.append(
            (scale.transform(_numbers(source, numbers)), scale.transform(_numbers(target, numbers)))
        )
    if words:
        encode = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=_MOST_CATEGORIES,
            sparse_output=False,
        )
        encode.fit(_words(source, words))
        parts.append(
            (encode.transform(_words(source, words)), encode.transform(_words(target, words)))
        )
    first, second = (np.hstack(columns) for columns in zip(*parts, strict=True))
    return source.with_(X=first), target.with_(X=second)


def _column_kinds(domain: Domain) -> tuple[list[str], list[str]]:
    table = nw.from_native(domain.X, eager_only=True)
    numbers: list[str] = []
    words: list[str] = []
    for name, dtype in table.schema.items():
        if dtype.is_numeric() or dtype == nw.Boolean:
            numbers.append(name)
        elif dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object):
            words.append(name)
        else:
            raise ValueError(
                f"column {name!r} of {domain.name} holds {dtype}, which is neither number nor "
                "text; turn it into one of them or leave it out"
            )
    return numbers, words


def _numbers(domain: Domain, names: list[str]) -> NDArray[Any]:
    table = nw.from_native(domain.X, eager_only=True)
    columns = []
    for name in names:
        try:
            values = [np.nan if v is None else float(v) for v in table[name].to_list()]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {name!r} holds numbers in the source, but in {domain.name}: {error}"
            ) from error
        columns.append(values)
    return np.array(columns, dtype=np.float64).T


def _words(domain: Domain, names: list[str]) -> NDArray[Any]:
    table = nw.from_native(domain.X, eager_only=True)
    columns = [["" if _is_missing(v) else str(v) for v in table[n].to_list()] for n in names]
    return np.array(columns, dtype=object).T


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


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

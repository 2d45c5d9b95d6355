"""After the verdict: what it costs, where it is, which rows, and what labels would settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.answers import Answers
from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.explanation import Explanation
from shiftlab.diagnosis.findings import FeatureShift, Finding
from shiftlab.diagnosis.importance import (
    add_importance,
    domain_importance,
    most_different,
    task_importance,
)
from shiftlab.diagnosis.map import draw_map
from shiftlab.diagnosis.marginal import DomainModel, stacked
from shiftlab.diagnosis.performance import assess_performance
from shiftlab.diagnosis.plan import LabelSetting, plan_labels, power_of_labels
from shiftlab.diagnosis.regions import find_regions
from shiftlab.diagnosis.sample import Sample
from shiftlab.diagnosis.unlike import find_unlike_rows
from shiftlab.stats.performance import balanced_probability
from shiftlab.stats.power import class_variance

__all__ = ["Explained", "explain"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Part = TypeVar("Part")


@dataclass(frozen=True)
class Explained:
    """What :func:`explain` returns; ``limits`` are sentences for the reader."""

    explanation: Explanation
    features: list[FeatureShift]
    limits: list[str]


@dataclass(frozen=True)
class TaskModel:
    """A source model and its predictions on the second half, and what is true there.

    ``source_y`` and ``target_y`` are columns of the scores; a class that the model does not
    know is a column beyond them.
    """

    model: Any
    source_scores: Floats
    target_scores: Floats
    source_y: NDArray[Any]
    target_y: NDArray[Any]


def explain(
    answers: Answers,
    findings: dict[str, Finding],
    features: list[FeatureShift],
    columns: list[Column],
    alpha: float,
    original: Rows,
    new_share: float,
) -> Explained:
    """Explain the findings with what was fitted for them.

    A part that cannot be made takes nothing from the others: ``missing`` says why.

    Parameters
    ----------
    answers : Answers
        Sample, domain classifier and source model.
    findings : dict of str to Finding
        Decided answers.
    features : list of FeatureShift
        Records of the columns.
    columns : list of Column
        The columns themselves.
    alpha : float
        Level.
    original : ndarray of int
        Position in the target as given of every target row that is compared.
    new_share : float
        Share of the labelled target rows whose class the source never had.

    Returns
    -------
    Explained
    """
    sample, domain = answers.sample, answers.domain
    if sample is None or domain is None:
        reason = findings["marginal"].summary
        return Explained(Explanation(missing={"everything": reason}), features, [])
    missing: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], Part]) -> Part | None:
        try:
            return make()
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            missing[name] = f"{name} could not be made: {error}"
            return None

    rng = sample.rng
    task = attempt("source model", lambda: _task_model(sample, answers))
    names = [c.name for c in columns]
    only, note = most_different(features, names)
    domain_drop = attempt(
        "importance",
        lambda: domain_importance(
            domain.model, *stacked(sample.test), answers.owners, len(names), rng, only
        ),
    )
    task_drop = None
    if task is not None and answers.owners:
        task_drop = attempt(
            "task importance", lambda: _task_importance(task, sample, answers, len(names), only)
        )
    features = add_importance(features, names, domain_drop, task_drop)
    every = _every_target_row(sample, domain)
    performance = (
        attempt("performance", lambda: _performance(task, sample, domain, findings, new_share))
        if task is not None
        else None
    )
    setting = attempt("plan", lambda: _setting(sample, domain, task, alpha))
    said = [note] if note else []
    plan = None
    if setting is not None and not findings["conditional"].differs:
        plan = attempt("plan", lambda: _plan(setting, sample, every, original))
        n_known = int(_known(sample).sum())
        # where the test was made, it has told its power itself
        if n_known > 0 and "power" not in findings["conditional"].details:
            few = attempt("power", lambda: power_of_labels(setting, n_known))
            said += [few.summary] if few is not None else []
    explanation = Explanation(
        performance=performance,
        plan=plan,
        map=attempt("map", lambda: _map(sample, domain)),
        missing=missing,
    )
    if findings["marginal"].differs:
        learn, test = sample.learn_rows, sample.test_rows
        regions = attempt(
            "regions", lambda: find_regions(columns, learn, test, alpha, sample.seed())
        )
        unlike = attempt(
            "unlike rows", lambda: find_unlike_rows(columns, *every, original[every[0]])
        )
        if not any(r.status == "differs" for r in regions or ()):
            regions = ()
        explanation = replace(explanation, regions=regions or (), unlike=unlike or ())
    return Explained(explanation, features, said)


def _task_model(sample: Sample, answers: Answers) -> TaskModel | None:
    """Use the source model of the answers; in regression train one."""
    test = sample.test
    if sample.task == "regression":
        known = sample.learn.source_known
        if known.sum() < 2 or not test.source_known.any():
            return None
        model = sample.new_model().fit(sample.learn.source[known], sample.learn.source_y[known])
        source, target = (
            np.asarray(model.predict(X), dtype=np.float64)[:, None]
            for X in (test.source[test.source_known], test.target)
        )
        return TaskModel(model, source, target, test.source_y[test.source_known], test.target_y)
    found = answers.model
    if found is None:
        return None
    k = len(found.kept)
    column = np.full(sample.n_classes + 1, k)
    column[found.kept] = np.arange(k)
    return TaskModel(
        found.model, found.source, found.target, column[found.codes], column[test.target_y]
    )


def _task_importance(
    task: TaskModel, sample: Sample, answers: Answers, n_columns: int, only: list[int] | None
) -> Floats | None:
    known = sample.test.source_known
    return task_importance(
        task.model,
        sample.test.source[known],
        task.source_y,
        answers.owners,
        n_columns,
        sample.rng,
        "regression" if sample.task == "regression" else "classification",
        only,
    )


def _performance(
    task: TaskModel,
    sample: Sample,
    domain: DomainModel,
    findings: dict[str, Finding],
    new_share: float,
) -> Any:
    n_source = sample.test.source.shape[0]
    return assess_performance(
        task=sample.task,
        source_scores=task.source_scores,
        source_y=task.source_y,
        target_scores=task.target_scores,
        target_y=task.target_y,
        target_known=sample.test.target_known,
        source_domain=domain.test[:n_source][sample.test.source_known],
        target_domain=domain.test[n_source:],
        findings=findings,
        rng=sample.rng,
        new_share=new_share,
        converted=tuple(
            change["columns"][0]
            for change in findings["feature_space"].details.get("changes", [])
            if change.get("converted")
        ),
    )


def _every_target_row(sample: Sample, domain: DomainModel) -> tuple[Rows, Floats]:
    """Positions of all compared target rows and their balanced held-out probabilities."""
    parts = []
    for half, p in ((sample.learn, domain.learn), (sample.test, domain.test)):
        n_source, n_target = half.source.shape[0], half.target.shape[0]
        parts.append(balanced_probability(p[n_source:], n_source, n_target))
    rows = np.concatenate([sample.learn_rows[1], sample.test_rows[1]])
    return rows, np.concatenate(parts)


def _known(sample: Sample) -> NDArray[np.bool_]:
    return np.concatenate([sample.learn.target_known, sample.test.target_known])


def _setting(
    sample: Sample, domain: DomainModel, task: TaskModel | None, alpha: float
) -> LabelSetting | None:
    if task is None:
        return None
    n_source = sample.test.source.shape[0]
    _, target = _every_target_row(sample, domain)
    if sample.task == "regression":
        error = np.square(task.source_scores[:, 0] - task.source_y).mean()
        variance = float(error) / max(float(np.var(task.source_y)), 1e-300)
    else:
        variance = class_variance(task.source_scores)
    return LabelSetting(
        balanced_source=balanced_probability(
            domain.test[:n_source], n_source, sample.test.target.shape[0]
        ),
        balanced_target=target,
        variance=variance,
        n_source_labels=int(sample.learn.source_known.sum() + sample.test.source_known.sum()),
        alpha=alpha,
        n_columns=sample.test.source.shape[1],
        task="regression" if sample.task == "regression" else "classification",
    )


def _plan(setting: LabelSetting, sample: Sample, every: tuple[Rows, Floats], original: Rows) -> Any:
    return plan_labels(setting, _known(sample), original[every[0]], sample.seed())


def _map(sample: Sample, domain: DomainModel) -> Any:
    test = sample.test
    n = test.source.shape[0]
    odds = np.log(np.clip(domain.test, 1e-6, 1) / np.clip(1 - domain.test, 1e-6, 1))
    return draw_map(test.source, test.target, (odds[:n], odds[n:]), sample.seed())

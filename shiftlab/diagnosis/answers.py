"""The questions that need a test, asked in order on one split of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.columns import Columns
from shiftlab.diagnosis.conditional import (
    check_class_conditional,
    check_conditional,
    fit_labelled,
)
from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.label_fit import check_label_fit
from shiftlab.diagnosis.label_space import Labels
from shiftlab.diagnosis.marginal import DomainModel, check_marginal, fit_domain
from shiftlab.diagnosis.novelty import check_novelty
from shiftlab.diagnosis.prior import (
    ClassModel,
    check_numbers,
    check_prior,
    check_prior_without_labels,
    fit_class_model,
)
from shiftlab.diagnosis.sample import (
    LARGEST,
    Sample,
    embed_sparse,
    encode,
    make_half,
    split_rows,
)
from shiftlab.domain import Domain

__all__ = ["Answers", "Settings", "answer"]

FEWEST_ROWS = 8
MOST_CLASSES = 200
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    task: str
    n_permutations: int
    alpha: float
    domain_classifier: Any
    model: Any
    inputs: str
    label: tuple[str | None, bool]
    texts: tuple[bool, bool] | None = None


@dataclass
class Answers:
    """Findings with raw p-values, and what was fitted on the way, for the explanation."""

    findings: dict[str, Finding]
    sample: Sample | None = None
    domain: DomainModel | None = None
    model: ClassModel | None = None
    owners: list[int] = field(default_factory=list)
    classes: list[Any] = field(default_factory=list)


def answer(
    s: Domain,
    t: Domain,
    columns: Columns,
    labels: Labels,
    kept: tuple[Rows, Rows],
    settings: Settings,
    p_columns: float,
    rng: np.random.Generator,
    notes: list[str],
) -> Answers:
    """Answer the questions that need a test.

    Parameters
    ----------
    s, t : Domain
        Source and target.
    columns : Columns
        What both share, restricted to the kept rows.
    labels : Labels
        Labels of all rows.
    kept : tuple of index arrays
        Rows that are compared.
    settings : Settings
        What the user chose.
    p_columns : float
        P-value of the hypothesis that no single column moved.
    rng : numpy.random.Generator
        Source of randomness.
    notes : list of str
        Added to.

    Returns
    -------
    Answers
    """
    task = settings.task
    source_counts, target_counts = labels.counts()
    shared = [int(c) for c in np.flatnonzero((source_counts > 0) & (target_counts > 0))]
    has_target = bool(labels.target_known.any())
    owners: list[int] = []
    if columns.embedding is not None:
        xs, xt = embed_sparse(*columns.embedding, int(rng.integers(2**31)))
    else:
        xs, xt, owners, encoded = encode(columns.shared, int(rng.integers(2**31)))
        notes += encoded
    reason = ""
    if xs.shape[0] and min(xs.shape[0], xt.shape[0]) < FEWEST_ROWS:
        reason = f"Each side needs at least {FEWEST_ROWS} rows for a test."
    elif xs.size == 0:
        reason = "No column that both sides share varies, so X cannot be compared."
    if task == "regression":
        prior = _prior_of_numbers(s, t)
    elif has_target and labels.source_known.any():
        prior = check_prior(labels, shared, settings.n_permutations, rng)
    else:
        prior = Finding.not_testable("prior", "There are no labels to compare.")
    if reason:
        questions = ("marginal", "class_conditional", "conditional", "label_fit", "novelty")
        return Answers({q: Finding.not_testable(q, reason) for q in questions} | {"prior": prior})

    # all of the source's: rows of the target without a label may be of any of them
    every = bool(labels.target_known.all())
    used = shared if every else [int(c) for c in np.flatnonzero(source_counts)]
    if task == "regression":
        # nothing depends on the unit of Y, and squares of huge numbers overflow
        values = numbers(s)[kept[0]], numbers(t)[kept[1]]
        unit = max((float(np.abs(v).max()) for v in values if v.size), default=1.0)
        unit = unit if unit > LARGEST else 1.0
        responses: tuple[NDArray[Any], NDArray[Any]] = (values[0] / unit, values[1] / unit)
        known = labels.source_known[kept[0]], labels.target_known[kept[1]]
    else:
        position = np.zeros(len(labels.classes) + 1, dtype=np.intp)
        position[used] = np.arange(len(used))
        responses = position[labels.source[kept[0]]], position[labels.target[kept[1]]]
        known = (
            labels.source_known[kept[0]] & np.isin(labels.source[kept[0]], used),
            labels.target_known[kept[1]] & np.isin(labels.target[kept[1]], used),
        )
    learn, test = split_rows(known, rng)
    sample = Sample(
        learn=make_half((xs, xt), responses, known, learn),
        test=make_half((xs, xt), responses, known, test),
        learn_rows=learn,
        test_rows=test,
        task=task,
        n_classes=len(used),
        n_permutations=settings.n_permutations,
        alpha=settings.alpha,
        rng=rng,
        domain_classifier=settings.domain_classifier,
        model=settings.model,
    )
    domain = fit_domain(sample)
    classes = [labels.classes[c] for c in used]
    findings = {"marginal": check_marginal(sample, domain, p_columns), "prior": prior}
    findings |= _with_labels(sample, domain, has_target, bool(known[0].any()))
    answered = findings["class_conditional"].testable
    model = _source_model(sample, classes, task, out_of_fold=not answered)
    fitted = None if isinstance(model, str) else model
    if answered:
        why = "With these target labels, X within classes answers this directly."
        findings["label_fit"] = Finding.not_testable("label_fit", why, answered_elsewhere=True)
    else:
        findings["label_fit"] = _label_fit(sample, classes, model)
    if not has_target and task == "classification":
        findings["prior"] = (
            Finding.not_testable("prior", model)
            if isinstance(model, str)
            else check_prior_without_labels(model, classes, sample.n_permutations, rng)
        )
    findings["novelty"] = check_novelty(sample, domain, fitted)
    return Answers(findings, sample, domain, fitted, owners, classes)


def _with_labels(
    sample: Sample, domain: DomainModel, has_target: bool, has_source: bool
) -> dict[str, Finding]:
    reason = ""
    if not has_source:
        reason = "The source has no labels."
    elif sample.n_classes > MOST_CLASSES:
        reason = _too_many(sample.n_classes)
    elif not has_target:
        reason = "Without target labels this cannot be seen."
    both = reason or fit_labelled(sample, domain)
    if isinstance(both, str):
        return {q: Finding.not_testable(q, both) for q in ("class_conditional", "conditional")}
    return {
        "class_conditional": check_class_conditional(both, sample),
        "conditional": check_conditional(both, sample),
    }


def _too_many(n_classes: int) -> str:
    return (
        f"Y has {n_classes:,} classes; models of Y are made for at most {MOST_CLASSES}. Group the "
        "classes to compare more than their shares."
    )


def _source_model(
    sample: Sample, classes: list[Any], task: str, *, out_of_fold: bool
) -> ClassModel | str:
    """Fit a source model on the first half, or give the reason why there is none."""
    if task == "regression":
        return "For a numeric Y no mixture of classes can be fitted."
    if len(classes) > MOST_CLASSES:
        return _too_many(len(classes))
    if len(classes) < 2:
        return "The source has fewer than two classes with labels."
    return fit_class_model(sample, classes, out_of_fold=out_of_fold)


def _label_fit(sample: Sample, classes: list[Any], model: ClassModel | str) -> Finding:
    if isinstance(model, str):
        return Finding.not_testable("label_fit", model)
    other = fit_class_model(sample.swapped(), classes, out_of_fold=True)
    if isinstance(other, str):
        return Finding.not_testable("label_fit", other)
    return check_label_fit(sample, (model, other))


def numbers(domain: Domain) -> NDArray[np.float64]:
    """Regression targets; the filler of unknown ones is never read."""
    values = np.zeros(domain.n_rows)
    if domain.n_labelled:
        try:
            values[domain.labelled] = np.asarray(domain.y)[domain.labelled].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"task='regression' needs numbers as labels; {domain.name or 'y'} has "
                f"{np.asarray(domain.y).dtype}"
            ) from error
    return values


def _prior_of_numbers(s: Domain, t: Domain) -> Finding:
    if s.n_labelled == 0 or t.n_labelled == 0:
        return Finding.not_testable("prior", "Without labels on both sides Y cannot be compared.")
    return check_numbers(numbers(s)[s.labelled], numbers(t)[t.labelled])

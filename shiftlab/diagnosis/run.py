"""The diagnosis from end to end."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, get_args

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from shiftlab.diagnosis.attribution import adjust, attribute, limits
from shiftlab.diagnosis.columns import Columns, read_columns
from shiftlab.diagnosis.conditional import (
    FEWEST,
    SUPPORT_SHARE,
    check_class_conditional,
    check_conditional,
    fit_labelled,
)
from shiftlab.diagnosis.features import check_features
from shiftlab.diagnosis.findings import QUESTIONS, Finding
from shiftlab.diagnosis.label_fit import check_label_fit
from shiftlab.diagnosis.label_space import Labels, compare_label_spaces, read_labels
from shiftlab.diagnosis.marginal import check_marginal
from shiftlab.diagnosis.prior import (
    check_numbers,
    check_prior,
    check_prior_without_labels,
    fit_class_model,
)
from shiftlab.diagnosis.recommend import Situation
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.sample import Sample, embed_sparse, encode, make_half, split_rows
from shiftlab.diagnosis.schema import compare_schema
from shiftlab.domain import Domain

__all__ = ["diagnose"]

Task = Literal["classification", "regression"]

MOST_ROWS = 10_000
FEWEST_ROWS = 8
APART = 0.98  # a classifier with this AUC leaves hardly a row where both domains have some


def diagnose(
    source: Any,
    target: Any,
    *,
    label: str | None = None,
    task: Task = "classification",
    alpha: float = 0.05,
    n_permutations: int = 499,
    features: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> Diagnosis:
    """Say how a target differs from a source, with what certainty, and what to do.

    The questions, each with its own test, are: the feature space and the label space (read
    off the data); X (classifier two-sample test); Y (permutation chi-square; without target
    labels through black-box shift estimation); with target labels also X within classes
    (permutation inside the classes) and Y at equal X (weighted generalised covariance
    measure); without them whether label shift alone would explain X. Models learn on one half of
    the rows and the tests run on the other. Holm's correction over the questions keeps the
    probability of any false "differs" among them at ``alpha``; columns have a budget of
    their own. Time is about a second at 2,000 rows and 10 columns; beyond 10,000 rows a side a
    random 10,000 are tested, and the notes say so.

    Parameters
    ----------
    source : Domain, (X, y), X, data frame or Bunch
        The sample that a model was or will be trained on, with labels if there are any.
    target : Domain, (X, y), X, data frame or Bunch
        The other sample. Labels are used where known.
    label : str or None, default=None
        The label's column, when data frames are given. The target may lack it.
    task : {"classification", "regression"}, default="classification"
        What the labels are.
    alpha : float, default=0.05
        Family-wise level.
    n_permutations : int, default=499
        Permutations of the permutation tests; at least 19.
    features : callable, transformer or None, default=None
        Maps ``X`` to a matrix to compare instead, such as a trained network's ``features``. An
        unfitted transformer is fitted on both samples together. None compares columns, or
        for images brightness, contrast, edges and thumbnail components.
    random_state : int, RandomState or None, default=None
        Seed of splits, learners and permutations.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If a sample is empty or an argument is out of range.

    References
    ----------
    Z. Lipton, Y.-X. Wang, A. Smola, "Detecting and Correcting for Label Shift with Black
    Box Predictors", ICML 2018.

    F. Polo, R. Izbicki, E. Lacerda, J. Ibieta-Jimenez, R. Vicente, "A unified framework for
    dataset shift diagnostics", Information Sciences 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import diagnose
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    >>> y = np.where(source[:, 0] > 0, "yes", "no")
    >>> target[:, 1] += 2.0
    >>> diagnosis = diagnose((source, y), target, random_state=0)
    >>> diagnosis.kind, diagnosis.features[0].feature
    ('not_label', 'x1')
    >>> diagnosis.recommend()[0].method in {"ClassifierWeighting", "CORAL"}
    True
    """
    _check_arguments(task, alpha, n_permutations)
    s, t = _read(source, label, "source"), _read(target, label, "target")
    if task == "classification":
        for domain, role in ((s, "source"), (t, "target")):
            _refuse_continuous(domain, role)
    for domain, role in ((s, "source"), (t, "target")):
        if domain.n_rows == 0 or domain.n_features == 0:
            what = "rows" if domain.n_rows == 0 else "columns"
            raise ValueError(f"{role} has no {what}, so there is nothing to compare")
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    n_rows = s.n_rows, t.n_rows
    s, t = _subsampled(s, "source", rng, notes), _subsampled(t, "target", rng, notes)
    if s.weight is not None or t.weight is not None:
        notes.append("Row weights are not used.")
    columns = read_columns(s, t, features, seed)
    notes += columns.notes
    findings: dict[str, Finding] = {}
    findings["feature_space"], left_out = compare_schema(s, t, columns)
    if left_out:
        listed = ", ".join(f"'{name}' ({why})" for name, why in left_out.items())
        notes.append(f"Left out of every other question: {listed}.")
        columns.unusable.update(left_out)
        columns.shared = [c for c in columns.shared if c.name not in left_out]
        columns.embedding = None
    labels = read_labels(s, t)
    findings["label_space"] = compare_label_spaces(labels, task, alpha)
    keep_s, keep_t = _shared_classes(labels, task, notes)
    columns.shared = [c.take(keep_s, keep_t) for c in columns.shared]
    if columns.embedding is not None:
        a, b = columns.embedding
        columns.embedding = a[keep_s], b[keep_t]
    tested = _answer(s, t, columns, labels, (keep_s, keep_t), task, n_permutations, rng, notes)
    findings |= adjust(tested, alpha)
    kind = attribute(findings)
    return Diagnosis(
        kind=kind,
        findings={q: findings[q] for q in QUESTIONS},
        features=check_features(columns.shared, columns.unusable, alpha, rng),
        limits=limits(kind, findings, t.n_labelled, s.n_labelled > 0),
        notes=notes,
        situation=Situation(
            kind=kind,
            feature_space_differs=findings["feature_space"].differs,
            label_space_differs=findings["label_space"].differs,
            task=task,
            inputs=_inputs(s),
            n_source_labels=s.n_labelled,
            n_target_labels=t.n_labelled,
            new_classes=bool(findings["label_space"].details.get("new")),
            overlap=_overlap(findings),
        ),
        source_name=s.name or "source",
        target_name=t.name or "target",
        n_source=n_rows[0],
        n_target=n_rows[1],
        alpha=float(alpha),
    )


def _refuse_continuous(domain: Domain, role: str) -> None:
    """Say that numbers look like a regression target, instead of taking each for a class."""
    y = None if domain.y is None else np.asarray(domain.y)[domain.labelled]
    if y is None or y.dtype.kind != "f" or np.array_equal(y, np.round(y)):
        return
    n_values = len(np.unique(y))
    if n_values > max(20, 0.2 * len(y)):
        raise ValueError(
            f"the {role}'s labels are {n_values} different numbers in {len(y)} rows, which look "
            "like a regression target; pass task='regression' (or strings, if they are classes)"
        )


def _overlap(findings: dict[str, Finding]) -> bool:
    """Whether the target lies where the source has rows, as far as was seen."""
    support = findings["conditional"].details.get("common_support")
    if support is not None:
        return bool(support >= SUPPORT_SHARE)
    auc = findings["marginal"].effect
    return auc is None or auc < APART


def _check_arguments(task: Any, alpha: Any, n_permutations: Any) -> None:
    if task not in get_args(Task):
        raise ValueError(f"task must be 'classification' or 'regression', got {task!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, (float, int)) or not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}")
    whole = isinstance(n_permutations, Integral) and not isinstance(n_permutations, bool)
    if not whole or n_permutations < 19:
        raise ValueError(f"n_permutations must be an int of at least 19, got {n_permutations!r}")


def _read(given: Any, label: str | None, role: str) -> Domain:
    if label is not None and role == "target" and nw.dependencies.is_into_dataframe(given):
        frame = nw.from_native(given, eager_only=True)
        if label not in [str(c) for c in frame.columns]:
            return Domain.of(given, name=role)
    named = label if nw.dependencies.is_into_dataframe(given) else None
    if label is not None and named is None and role == "source":
        return Domain.of(given, label=label, name=role)  # raises, naming what is wrong
    return Domain.of(given, label=named, name=role)


def _subsampled(domain: Domain, role: str, rng: np.random.Generator, notes: list[str]) -> Domain:
    if domain.n_rows <= MOST_ROWS:
        return domain
    notes.append(f"A random {MOST_ROWS:,} of the {domain.n_rows:,} {role} rows are compared.")
    return domain.take(np.sort(rng.choice(domain.n_rows, MOST_ROWS, replace=False)))


def _inputs(domain: Domain) -> str:
    if domain.is_image:
        return "images"
    if domain.is_frame:
        return "frame"
    return "sparse" if domain.is_sparse else "dense"


def _shared_classes(
    labels: Labels, task: str, notes: list[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to compare: without the rows of classes that only one side has, if all are known."""
    everything = np.arange(labels.source.size), np.arange(labels.target.size)
    if task == "regression" or not (labels.source_known.all() and labels.target_known.all()):
        return everything
    source, target = labels.counts()
    shared = (source > 0) & (target > 0)
    if shared.all() or not shared.any():
        return everything
    notes.append(
        f"Only rows of the {int(shared.sum())} classes that both sides have are compared further."
    )
    return np.flatnonzero(shared[labels.source]), np.flatnonzero(shared[labels.target])


def _answer(
    s: Domain,
    t: Domain,
    columns: Columns,
    labels: Labels,
    kept: tuple[NDArray[np.intp], NDArray[np.intp]],
    task: str,
    n_permutations: int,
    rng: np.random.Generator,
    notes: list[str],
) -> dict[str, Finding]:
    """Answer the questions that need a test, with raw p-values."""
    source_counts, target_counts = labels.counts()
    shared = [int(c) for c in np.flatnonzero((source_counts > 0) & (target_counts > 0))]
    has_target = bool(labels.target_known.any())
    if columns.embedding is not None:
        xs, xt = embed_sparse(*columns.embedding, int(rng.integers(2**31)))
    else:
        xs, xt, _, encoded = encode(columns.shared, int(rng.integers(2**31)))
        notes += encoded
    reason = ""
    if xs.shape[0] and min(xs.shape[0], xt.shape[0]) < FEWEST_ROWS:
        reason = f"Each side needs at least {FEWEST_ROWS} rows for a test."
    elif xs.size == 0:
        reason = "No column that both sides share varies, so X cannot be compared."
    if task == "regression":
        y_prior = _prior_of_numbers(s, t)
    elif has_target and labels.source_known.any():
        y_prior = check_prior(labels, shared, n_permutations, rng)
    else:
        y_prior = Finding.not_testable("prior", "There are no labels to compare.")
    questions = ("marginal", "class_conditional", "conditional", "label_fit")
    if reason:
        return {q: Finding.not_testable(q, reason) for q in questions} | {"prior": y_prior}

    # classes: the shared ones when the target has labels, else all of the source's
    used = shared if has_target else [int(c) for c in np.flatnonzero(source_counts)]
    if task == "regression":
        responses: tuple[NDArray[Any], NDArray[Any]] = (_numbers(s)[kept[0]], _numbers(t)[kept[1]])
        known = labels.source_known[kept[0]], labels.target_known[kept[1]]
    else:
        position = np.zeros(len(labels.classes) + 1, dtype=np.intp)
        position[used] = np.arange(len(used))
        responses = position[labels.source[kept[0]]], position[labels.target[kept[1]]]
        known = (
            labels.source_known[kept[0]] & np.isin(labels.source[kept[0]], used),
            labels.target_known[kept[1]] & np.isin(labels.target[kept[1]], used),
        )
    learn, test = split_rows(xs.shape[0], xt.shape[0], rng)
    sample = Sample(
        learn=make_half((xs, xt), responses, known, learn),
        test=make_half((xs, xt), responses, known, test),
        task=task,
        n_classes=len(used),
        n_permutations=n_permutations,
        rng=rng,
    )
    answers = {"marginal": check_marginal(sample), "prior": y_prior}
    enough = min(int(known[0].sum()), int(known[1].sum())) >= 2 * FEWEST
    answers |= _with_labels(sample, has_target, bool(known[0].any()))
    classes = [labels.classes[c] for c in used]
    if enough:
        why = "With target labels, X within classes and Y at equal X answer this directly."
        answers["label_fit"] = Finding.not_testable("label_fit", why)
    else:
        answers |= _through_source_model(sample, classes, task, has_target)
    return answers


def _with_labels(sample: Sample, has_target: bool, has_source: bool) -> dict[str, Finding]:
    reason = ""
    if not has_source:
        reason = "The source has no labels."
    elif not has_target:
        reason = "Without target labels this cannot be seen."
    fits = reason or fit_labelled(sample)
    if isinstance(fits, str):
        return {q: Finding.not_testable(q, fits) for q in ("class_conditional", "conditional")}
    return {
        "class_conditional": check_class_conditional(fits, sample),
        "conditional": check_conditional(fits),
    }


def _through_source_model(
    sample: Sample, classes: list[Any], task: str, has_target: bool
) -> dict[str, Finding]:
    """The label fit, and the prior if there are no target labels."""
    if task == "regression":
        reason = "For a numeric Y no mixture of classes can be fitted."
    elif len(classes) < 2:
        reason = "The source has fewer than two classes with labels."
    else:
        model = fit_class_model(sample, classes)
        if not isinstance(model, str):
            answers = {"label_fit": check_label_fit(sample, model)}
            if not has_target:
                answers["prior"] = check_prior_without_labels(
                    model, classes, sample.n_permutations, sample.rng
                )
            return answers
        reason = model
    answers = {"label_fit": Finding.not_testable("label_fit", reason)}
    if not has_target:
        answers["prior"] = Finding.not_testable("prior", reason)
    return answers


def _numbers(domain: Domain) -> NDArray[np.float64]:
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
    return check_numbers(_numbers(s)[s.labelled], _numbers(t)[t.labelled])

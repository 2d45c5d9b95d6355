"""The diagnosis from end to end."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import ceil
from numbers import Integral
from typing import Any, Literal, get_args

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shiftlab.diagnosis.answers import Settings, answer
from shiftlab.diagnosis.apart import set_apart
from shiftlab.diagnosis.attribution import FAMILY, adjust, attribute, limits
from shiftlab.diagnosis.columns import read_columns
from shiftlab.diagnosis.explain import explain as explain_findings
from shiftlab.diagnosis.explanation import Explanation
from shiftlab.diagnosis.features import check_features
from shiftlab.diagnosis.findings import QUESTIONS, Finding
from shiftlab.diagnosis.label_space import Labels, compare_label_spaces, read_labels
from shiftlab.diagnosis.marginal import TESTS_OF_X, stronger
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.sample import own_random_state
from shiftlab.diagnosis.schema import compare_schema
from shiftlab.diagnosis.situation import inputs_of, read_situation
from shiftlab.diagnosis.text import read_texts
from shiftlab.domain import Domain

__all__ = ["diagnose"]

Task = Literal["classification", "regression"]

MOST_ROWS = 10_000
PERMUTATIONS = 499
SMALL = 1_000_000  # numbers in both samples


def diagnose(
    source: Any,
    target: Any,
    *,
    label: str | None = None,
    task: Task = "classification",
    alpha: float = 0.05,
    n_permutations: int | None = None,
    features: Any = None,
    domain_classifier: Any = None,
    model: Any = None,
    explain: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> Diagnosis:
    """Say how a target differs from a source, with what certainty, and what to do.

    The questions are: the feature space and the label space (read off the data); X (classifier two-
    sample test, kernel test, single columns); Y (permutation chi-square; without target labels
    through black-box shift estimation); with target labels also X within classes (classifier and
    kernels, permuted inside the classes) and Y at equal X (generalised covariance measures);
    without them whether label shift alone would explain X; and whether many rows are of a sort that
    is rare in the source, such as a new class. Models learn on one half of the rows and the tests
    run on the other. Holm's correction over the questions keeps the probability of any false
    "differs" among them at ``alpha``; the sets of labels have another fifth of ``alpha``, columns
    and regions budgets of their own. Times and row numbers are compared by themselves and left out
    of X. Takes about a second at 2,000 rows and 10 columns; beyond 10,000 rows a side a random
    10,000 are tested, and the notes say so.

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
    n_permutations : int or None, default=None
        Permutations of the permutation tests; None is 499, or more where a small ``alpha`` needs
        them. At least 12 / ``alpha``: with fewer no p-value stays below ``alpha`` after the
        correction over four questions and three tests of each.
    features : "tfidf", callable, transformer or None, default=None
        What to compare. "tfidf" is for texts (a list, a column of them) or counts of words:
        weighted words together, and each word by itself. A callable or transformer maps ``X`` to
        a matrix, such as a trained network's ``features``; an unfitted transformer is fitted
        on both samples together. None compares columns, or for images brightness, contrast,
        edges and thumbnail components.
    domain_classifier : classifier or None, default=None
        What learns to tell source from target. None is a logistic regression averaged with
        boosted trees. Missing values are filled with medians before it sees them.
    model : classifier or regressor or None, default=None
        The kind of model whose accuracy on the target is asked; a copy is trained on half of the
        source, also where it was fitted already. None is the same blend.
    explain : bool, default=True
        Whether to go on, after the verdict, to what the shift costs a model, in which regions
        and rows it is, and what labels would settle. The verdict does not depend on it.
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
    check_arguments(task, alpha)
    n_draws = check_permutations(n_permutations, alpha)
    notes: list[str] = []
    texts = isinstance(features, str) and features == "tfidf"
    if texts:
        s, t, notes = read_texts(source, target, label)
    else:
        s, t = _read(source, label, "source"), _read(target, label, "target")
    if task == "classification":
        for domain, role in ((s, "source"), (t, "target")):
            _refuse_continuous(domain, role)
    for domain, role in ((s, "source"), (t, "target")):
        if domain.n_rows == 0 or domain.n_features == 0:
            what = "rows" if domain.n_rows == 0 else "columns"
            raise ValueError(f"{role} has no {what}, so there is nothing to compare")
    seed = int(own_random_state(random_state).randint(2**31 - 1))
    notes += _check_models(domain_classifier, model, task)
    settings = Settings(
        task=task,
        n_permutations=n_draws,
        alpha=float(alpha),
        domain_classifier=domain_classifier,
        model=model,
        inputs="texts" if texts else inputs_of(s),
        texts=_pairs_of_texts(source, target) if texts else None,
        label=(label, label is not None and _has_column(target, label)),
    )
    small = (s.n_rows + t.n_rows) * max(s.n_features, t.n_features) < SMALL
    # threads that wait for each other cost many times the work on small samples
    with threadpool_limits(1 if small else None, user_api="openmp"), warnings.catch_warnings():
        # few rows of many classes are said in the findings
        warnings.filterwarnings("ignore", "The number of unique classes is greater than")
        return _diagnose(s, t, settings, float(alpha), features, explain, seed, notes)


def _diagnose(
    s: Domain,
    t: Domain,
    settings: Settings,
    alpha: float,
    features: Any,
    explain: bool,
    seed: int,
    notes: list[str],
) -> Diagnosis:
    """Diagnose two domains that have rows and columns."""
    task = settings.task
    rng = np.random.default_rng(seed)
    n_rows = s.n_rows, t.n_rows
    rows_s, rows_t = _some_rows(s, "source", rng, notes), _some_rows(t, "target", rng, notes)
    s, t = s.take(rows_s), t.take(rows_t)
    if s.weight is not None or t.weight is not None:
        notes.append("Row weights are not used.")
    columns = read_columns(s, t, features, seed)
    findings: dict[str, Finding] = {}
    findings["feature_space"], left_out = compare_schema(s, t, columns)
    notes += columns.notes
    if left_out:
        listed = ", ".join(f"'{name}' ({why})" for name, why in left_out.items())
        notes.append(f"Left out of every other question: {listed}.")
        columns.leave_out(left_out)
    columns.shared, alone, note = set_apart(columns.shared)
    notes += [note] if note else []
    labels = read_labels(s, t)
    findings["label_space"] = compare_label_spaces(labels, task, alpha)
    keep_s, keep_t = _shared_classes(labels, task, notes)
    columns.shared = [c.take(keep_s, keep_t) for c in columns.shared]
    alone = [c.take(keep_s, keep_t) for c in alone]
    if columns.embedding is not None:
        a, b = columns.embedding
        columns.embedding = a[keep_s], b[keep_t]
    words = columns.word_records()
    records = check_features([*columns.shared, *alone], columns.unusable, alpha, rng, words)
    outside = {c.name for c in alone}
    p_columns = stronger(
        *(r.p_value for r in records if r.p_value is not None and r.feature not in outside)
    )
    answers = answer(s, t, columns, labels, (keep_s, keep_t), settings, p_columns, rng, notes)
    findings |= adjust(answers.findings, alpha)
    findings["label_space"] = _with_suspicion(findings)
    kind = attribute(findings)
    said = limits(kind, findings, t.n_labelled, s.n_labelled > 0)
    moved = [r.feature for r in records if r.status == "differs" and r.feature not in outside]
    if moved and findings["marginal"].testable and not findings["marginal"].differs:
        shown = ", ".join(moved[:3]) + (", ..." if len(moved) > 3 else "")
        said.append(
            f"By themselves {len(moved)} columns differ ({shown}), though X as a whole was not "
            "found to. Columns have an error budget of their own; take them for hints."
        )
    explanation = Explanation()
    if explain:
        explained = explain_findings(
            answers, findings, records, columns.shared, alpha, rows_t[keep_t], _new_share(labels)
        )
        explanation, records = explained.explanation, explained.features
        said += explained.limits
    return Diagnosis(
        kind=kind,
        findings={q: findings[q] for q in QUESTIONS},
        features=records,
        limits=said,
        notes=notes,
        situation=read_situation(
            kind,
            findings,
            s,
            t,
            task,
            columns,
            settings.inputs,
            settings.label,
            tuple(outside),
            settings.texts,
        ),
        source_name=s.name or "source",
        target_name=t.name or "target",
        n_source=n_rows[0],
        n_target=n_rows[1],
        alpha=alpha,
        explanation=explanation,
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


def check_arguments(task: Any, alpha: Any) -> None:
    """Refuse a task or a level that there is not."""
    if task not in get_args(Task):
        raise ValueError(f"task must be 'classification' or 'regression', got {task!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, (float, int)) or not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}")


def check_permutations(n_permutations: Any, alpha: float) -> int:
    """Refuse so few permutations that nothing could be found; give the default number."""
    fewest = fewest_permutations(alpha)
    if n_permutations is None:
        return max(PERMUTATIONS, fewest)
    whole = isinstance(n_permutations, Integral) and not isinstance(n_permutations, bool)
    if not whole or n_permutations < fewest:
        raise ValueError(
            f"n_permutations must be an int of at least {fewest} at alpha={alpha:g}, got "
            f"{n_permutations!r}: with fewer no p-value stays below alpha after the correction"
        )
    return int(n_permutations)


def fewest_permutations(alpha: float, n_comparisons: int = 1) -> int:
    """So many that 1 / (n + 1), corrected over tests and questions, is at most alpha."""
    return ceil(TESTS_OF_X * len(FAMILY) * n_comparisons / alpha - 1e-9) - 1


def _check_models(domain_classifier: Any, model: Any, task: str) -> list[str]:
    """Refuse what cannot be used, before any work, and note what is trained anew."""
    from sklearn.base import is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    notes = []
    for name, given in (("domain_classifier", domain_classifier), ("model", model)):
        if given is None:
            continue
        numbers = name == "model" and task == "regression"
        wanted = "predict" if numbers else "predict_proba"
        if not hasattr(given, "get_params") or not hasattr(given, wanted):
            raise TypeError(
                f"{name} must be a scikit-learn estimator with {wanted}, got {given!r}"
                + ("" if numbers else "; for SVC and the like wrap it in CalibratedClassifierCV")
            )
        if numbers != is_regressor(given):
            kind = "regressor" if numbers else "classifier"
            raise TypeError(f"{name} must be a {kind}, got {given!r}")
        try:
            check_is_fitted(given)
        except NotFittedError:
            continue
        notes.append(
            f"{name} was fitted already; a copy of it was trained anew, on half of the rows. What "
            "is said of its accuracy is that copy's."
        )
    return notes


def _pairs_of_texts(source: Any, target: Any) -> tuple[bool, bool] | None:
    """Whether each list or array of texts comes with labels as a pair; None for anything else."""
    pairs = [isinstance(given, tuple) and len(given) == 2 for given in (source, target)]
    for given, pair in zip((source, target), pairs, strict=True):
        texts = given[0] if pair else given
        plain = isinstance(texts, (list, np.ndarray)) and np.ndim(texts) == 1
        if not plain or not all(isinstance(t, str) for t in texts):
            return None
    return pairs[0], pairs[1]


def _has_column(given: Any, name: str) -> bool:
    """Whether a frame has the column; True for what is no frame."""
    if not nw.dependencies.is_into_dataframe(given):
        return True
    return name in [str(c) for c in nw.from_native(given, eager_only=True).columns]


def _refuse_equal_names(given: Any, role: str) -> None:
    for part in given if isinstance(given, tuple) else (given,):
        # what is no pandas frame cannot have two columns of one name
        if nw.dependencies.is_pandas_dataframe(part) and not part.columns.is_unique:
            name = part.columns[part.columns.duplicated()][0]
            raise ValueError(f"{role} has more than one column named {name!r}; rename them")


def _read(given: Any, label: str | None, role: str) -> Domain:
    X = given[0] if isinstance(given, tuple) and len(given) == 2 else given
    if isinstance(X, (list, np.ndarray)) and np.ndim(X) == 1 and isinstance(next(iter(X), 0), str):
        raise ValueError(f"{role} holds texts; pass features='tfidf' to compare their words")
    _refuse_equal_names(given, role)
    if label is not None and role == "target" and not _has_column(given, label):
        return Domain.of(given, name=role)
    named = label if nw.dependencies.is_into_dataframe(given) else None
    if label is not None and named is None and role == "source":
        return Domain.of(given, label=label, name=role)  # raises, naming what is wrong
    return Domain.of(given, label=named, name=role)


def _some_rows(
    domain: Domain, role: str, rng: np.random.Generator, notes: list[str]
) -> NDArray[np.intp]:
    """Positions of the rows that are compared: all, or a random part of many."""
    if domain.n_rows <= MOST_ROWS:
        return np.arange(domain.n_rows)
    notes.append(f"A random {MOST_ROWS:,} of the {domain.n_rows:,} {role} rows are compared.")
    return np.sort(rng.choice(domain.n_rows, MOST_ROWS, replace=False))


def _new_share(labels: Labels) -> float:
    """Share of the labelled target rows whose class no labelled source row has."""
    source, target = labels.counts()
    return float(target[source == 0].sum() / max(1, target.sum()))


def _with_suspicion(findings: dict[str, Finding]) -> Finding:
    """Say of unseen target labels that a new class is suspected, where rows are novel."""
    finding, novelty = findings["label_space"], findings["novelty"]
    # where most of the target is such, X moved as a whole and says nothing about classes
    many = (novelty.effect or 0.0) > 0.5
    if finding.testable or finding.details.get("not_asked") or not novelty.differs or many:
        return finding
    share = f"{novelty.effect:.0%}"
    return replace(
        finding,
        summary=f"{finding.summary} {share} of the target's rows are of a sort that is rare in "
        "every source class: a class that the source never had is suspected, if X did not move "
        "there on the whole.",
        details=finding.details | {"suspected": True},
    )


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
    classes = f"{shared.sum():,} classes" if shared.sum() > 1 else "one class"
    notes.append(f"Only rows of the {classes} that both sides have are compared further.")
    return np.flatnonzero(shared[labels.source]), np.flatnonzero(shared[labels.target])

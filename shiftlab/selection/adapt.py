"""Adapt to a target: diagnose, try what fits, choose without target labels, do no harm."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as t_distribution
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.utils import check_random_state

from shiftlab.diagnosis import diagnose
from shiftlab.domain import Domain
from shiftlab.encoding import TableEncoder
from shiftlab.feature_space.schema_alignment import SchemaAlignment
from shiftlab.pipeline import make_pipeline
from shiftlab.selection.assumption import Assumption
from shiftlab.selection.candidates import (
    assumed,
    default_estimator,
    from_labels,
    unassumed,
)
from shiftlab.selection.evidence import Evidence
from shiftlab.selection.ground import Ground
from shiftlab.selection.judge import as_candidate
from shiftlab.selection.outcome import cautions, expected_score
from shiftlab.selection.probabilities import held_out_calibration
from shiftlab.selection.result import SOURCE_ONLY, AdaptationResult, Candidate
from shiftlab.validation import check_pair, read_source

__all__ = ["adapt"]

Task = Literal["classification", "regression"]

FOLDS = 3
LEVEL = 0.1  # of the test with target labels
BY_LABELS = "target labels"
POOLED = "BalancedWeighting"  # of the adapters that learn from target labels
POOLED_ROWS = 30  # with 12 it lost 1.7 points where nothing differed, with 50 a third of one


def adapt(
    source: Any,
    target: Any,
    *,
    task: Task = "classification",
    label: str | None = None,
    labels: Mapping[int, Any] | None = None,
    estimator: Any = None,
    budget: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> AdaptationResult:
    r"""Diagnose the shift, try the adapters that fit it, and keep what there is evidence for.

    1. *Diagnose* (`shiftlab.diagnose`). Columns that differ are matched by `SchemaAlignment`; data
       frames become numbers by what their columns hold in the source.
    2. *Labelled target rows*, five or more: adapters that learn from them are cross-validated on
       them, by the Brier score (numbers: squared error). The best is used if it beats the
       source-only model in a paired test at level 10%, shared among them; by one standard error
       where the labels show that what source rows promise does not hold. If none does and there
       are 30 or more, `BalancedWeighting`, which trains on the labelled rows of both sides, is
       used in the end unless they speak against it: by a standard error where the next steps keep
       the source-only model, at all where they find a better one.
    3. *An assumption that stands*: label shift, covariate shift or a map that makes the two
       alike, in this order; see `SafeAdapter`. Each candidate's gain is estimated under it
       from held-out source rows. Of those whose gain is shown, as `SafeAdapter` asks, the highest
       lower end of the 95% interval wins; if there is none, the source-only model stays.
    4. *None stands.* Nothing can be shown then. Where the rows vary in 60 directions or more, the
       source model tells the classes apart, and it sees about the same class shares in the
       target, the mean of self-training and a class-wise aligned projection is used: on such
       pairs it has done most good and little harm, on narrow tables it has harmed (see
       ``experiments/selection``). The result says that this is experience, not evidence. Else
       the source-only model stays.

    No rule without target labels can be right for every target: rows that look the same may
    have other labels. ``labels=`` for a few settles more than all else.

    Cost: the diagnosis, and about four fits of each of up to five adapters.

    Parameters
    ----------
    source : Domain, (X, y), data frame, or a list of them
        The labelled sample.
    target : Domain, (X, y), X or data frame
        What to adapt to. Labels that are marked as known are learnt from; a pair (X, y) has all
        known: leave y out if it is there to check the result.
    task : {"classification", "regression"}, default="classification"
        What is predicted.
    label : str, default=None
        Column of data frames that holds the labels; a missing value is an unknown label.
    labels : mapping of int to label, default=None
        Known labels of target rows, by row number. They replace those in ``target``.
    estimator : estimator, default=None
        What is trained. None is a linear model whose penalty is chosen on the source.
    budget : float, default=None
        Seconds. No candidate is started that would, as long as the longest so far, end after it;
        the diagnosis and the source-only model are always finished.
    random_state : int, RandomState or None, default=None
        Seed of everything.

    Returns
    -------
    AdaptationResult
        With ``model`` (fitted, predicts rows as they came), ``predictions``, calibrated
        ``probabilities``, ``expected_score`` with its interval and assumption, ``candidates``,
        ``diagnosis``, ``decision``; ``to_html(path)`` writes a report.

    Raises
    ------
    ValueError
        For a source without labels, an estimator of another task, labels of rows that are not
        there, or a budget that is not positive.

    Examples
    --------
    >>> from shiftlab import adapt
    >>> from shiftlab.data.gaussian_shifts import make_gaussian_shift
    >>> source, target = make_gaussian_shift("label", random_state=0)
    >>> result = adapt(source, target.unlabelled(), random_state=0)
    >>> result.chosen
    'PriorCorrection'
    >>> bool((result.predictions == target.y).mean() > 0.85)
    True
    """
    started = time.monotonic()
    S, T = _read(source, target, label, labels, task, estimator, budget)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with warnings.catch_warnings():
        # what adapters warn of is in the evidence
        warnings.simplefilter("ignore", UserWarning)
        found = diagnose(S, T, task=task, explain=False, random_state=seed)
        steps = _preparation(S, found.feature_space_differs)
        prepared = _Prepared(steps, S, T)
        base = default_estimator(prepared.source, task, seed) if estimator is None else estimator
        rng = np.random.RandomState(seed)
        ground = Ground(
            as_candidate(clone(base), "estimator"), prepared.source, prepared.target, FOLDS, rng
        )
        tried = _Trials(ground, started, budget)
        decision = _decide(tried, base, seed)
        if not tried.basis and ground.known is not None:
            tried.basis = BY_LABELS  # they say what to expect of whatever was kept
        chosen = tried.models[tried.best]
        model = tried.fitted[tried.best]
        if steps:
            model = make_pipeline(*map(clone, steps), clone(chosen)).fit(S, T)
        calibration = held_out_calibration(ground, chosen)
        probabilities = None
        if hasattr(model, "predict_proba"):
            probabilities = np.asarray(model.predict_proba(T.X), dtype=np.float64)
            probabilities = probabilities if calibration is None else calibration(probabilities)
        basis, assumes = tried.basis, ""
        score = None
        if basis == BY_LABELS:
            assumes = "the labelled target rows are drawn at random"
            score = expected_score(ground, chosen, None)
        elif tried.assumption is not None:
            assumes = tried.assumption.assumes
            score = expected_score(ground, chosen, tried.assumption)
        return AdaptationResult(
            model=model,
            chosen=tried.best,
            decision=decision,
            assumption=assumes,
            ground=basis,
            candidates=tried.candidates(),
            diagnosis=found,
            predictions=np.asarray(model.predict(T.X)),
            probabilities=probabilities,
            classes=np.asarray(model.classes_) if task == "classification" else None,
            metric="accuracy" if task == "classification" else "mean squared error",
            expected_score=score,
            cautions=cautions(found, basis),
            seconds=time.monotonic() - started,
            _calibration=calibration,
            _source=S,
            _target=T,
            _seed=seed,
        )


def _read(
    source: Any,
    target: Any,
    label: str | None,
    labels: Mapping[int, Any] | None,
    task: str,
    estimator: Any,
    budget: float | None,
) -> tuple[Domain, Domain]:
    """Check everything before any work."""
    if task not in ("classification", "regression"):
        raise ValueError(f"task must be 'classification' or 'regression', got {task!r}")
    if budget is not None and not budget > 0:
        raise ValueError(f"budget must be a positive number of seconds or None, got {budget!r}")
    if estimator is not None:
        right = is_classifier(estimator) if task == "classification" else is_regressor(estimator)
        if not right:
            raise ValueError(
                f"estimator must be a {'classifier' if task == 'classification' else 'regressor'} "
                f"for task={task!r}, got {estimator!r}"
            )
    if label is not None:
        source, target = _from_frame(source, label, True), _from_frame(target, label, False)
    S, T = read_source(source).masked(), Domain.of(target, name="target").masked()
    check_pair(S, T, "adapt", same_columns=False)
    if S.n_labelled < 2 * FOLDS:
        raise ValueError(
            f"source needs at least {2 * FOLDS} labelled rows, got {S.n_labelled}. Pass (X, y), or "
            "a data frame and label= for its column of labels"
        )
    if task == "classification" and len(np.unique(np.asarray(S.y)[S.labelled])) < 2:
        raise ValueError("source has labels of one class only; there is nothing to tell apart")
    return S, T if labels is None else _with_labels(T, labels)


def _from_frame(rows: Any, label: str, needed: bool) -> Any:
    """Take the labels out of a data frame; a missing value is an unknown label."""
    import narwhals.stable.v1 as nw

    if isinstance(rows, Domain) or not hasattr(rows, "columns"):
        return rows
    if label not in list(rows.columns):
        if needed:
            raise ValueError(f"source has no column {label!r}; it has {list(rows.columns)[:10]}")
        return rows
    table = nw.from_native(rows, eager_only=True)
    known = ~table[label].is_null().to_numpy()
    values = np.asarray(table[label].to_numpy())
    if values.dtype.kind == "f":
        known &= ~np.isnan(values)
    X = table.drop(label).to_native()
    if not known.any():
        return X
    filled = values.copy()
    filled[~known] = values[known][0]
    return Domain(X, np.asarray(filled.tolist()), labelled=known)


def _with_labels(target: Domain, labels: Mapping[int, Any]) -> Domain:
    """Mark the given labels, and no others, as known."""
    rows = np.array(list(labels), dtype=object)
    if not all(isinstance(r, (int, np.integer)) and 0 <= r < target.n_rows for r in rows):
        raise ValueError(
            f"labels must map row numbers 0..{target.n_rows - 1} of the target to their labels, "
            f"got {list(labels)[:5]}"
        )
    if not len(rows):
        return target.unlabelled()
    values = np.array(list(labels.values()))
    y = np.full(target.n_rows, values[0], dtype=values.dtype)
    y[rows.astype(np.intp)] = values
    known = np.zeros(target.n_rows, dtype=bool)
    known[rows.astype(np.intp)] = True
    return target.with_(y=y, labelled=known)


def _preparation(source: Domain, feature_space_differs: bool) -> list[Any]:
    """Steps that bring both sides into the same numbers."""
    steps: list[Any] = [SchemaAlignment()] if feature_space_differs else []
    return [*steps, TableEncoder()] if source.is_frame else steps


class _Prepared:
    """Both samples as numbers in the same columns."""

    def __init__(self, steps: list[Any], source: Domain, target: Domain) -> None:
        self.source, self.target = source, target
        if steps:
            fitted = make_pipeline(*map(clone, steps)).fit(source, target)
            self.source = fitted.source_
            self.target = target.with_(X=fitted.transform(target.X), feature_names=None)


class _Trials:
    """The candidates tried so far, within the budget."""

    def __init__(self, ground: Ground, started: float, budget: float | None) -> None:
        self.ground, self.started, self.budget = ground, started, budget
        self.longest = 0.0
        self.best = SOURCE_ONLY
        self.basis = ""
        self.assumption: Assumption | None = None
        self.models: dict[str, Any] = {SOURCE_ONLY: ground.baseline}
        self.fitted: dict[str, Any] = {SOURCE_ONLY: ground.baseline_}
        self.found: dict[str, Candidate] = {}

    def allows(self) -> bool:
        """Whether one more candidate, as long as the longest, would end in time."""
        if self.budget is None:
            return True
        # the chosen model is fitted once more at the end
        return time.monotonic() - self.started + 1.5 * self.longest < self.budget

    def run(self, name: str, model: Any, judge: Any) -> Any:
        """Fit and judge a candidate; None where it failed or was not reached."""
        if not self.allows():
            self.found[name] = Candidate(name, "not reached", "the budget was used up")
            return None
        began = time.monotonic()
        try:
            fitted = clone(model).fit(self.ground.source, self.ground.target)
            judged = judge(model, fitted)
        except (ValueError, np.linalg.LinAlgError, MemoryError) as error:
            self.found[name] = Candidate(name, "failed", str(error).split("\n")[0])
            return None
        self.longest = max(self.longest, time.monotonic() - began)
        self.models[name], self.fitted[name] = model, fitted
        return judged

    def candidates(self) -> tuple[Candidate, ...]:
        """All of them, source-only first."""
        first = Candidate(SOURCE_ONLY, "compared", "what all others are compared with", 0.0)
        return (first, *self.found.values())


def _decide(tried: _Trials, base: Any, seed: int) -> str:
    """Choose, and return why in a sentence; what it rests on stays in ``tried``."""
    gains = {} if tried.ground.known is None else _label_gains(tried, base, seed)
    said = _by_labels(tried, gains)
    if said:
        return said
    said = _by_assumption(tried, base, seed) or _by_experience(tried, base, seed)
    return _rather_pooled(tried, gains) or said


def _by_experience(tried: _Trials, base: Any, seed: int) -> str:
    """Keep what has done most good on other pairs, where it has something to stand on."""
    ground = tried.ground
    pool = unassumed(base, seed)
    if pool and not ground.class_structure.plausible:
        why = ground.class_structure.why
        tried.found |= {name: Candidate(name, "not tried", why) for name in pool}
        return f"source-only model kept: no assumption stands that could show a gain, and {why}"
    for name, model in pool.items():
        done = tried.run(name, model, lambda _, fitted: fitted)
        if done is None:
            continue
        if ground.known is not None and float(ground.target_gain(model, done).sum()) < 0:
            tried.found[name] = Candidate(
                name, "not used", "the labelled target rows speak against it"
            )
            continue
        tried.best = name
        share = ground.share_changed(done)
        tried.found[name] = Candidate(
            name, "used", f"no evidence; changes {share:.0%} of the predictions"
        )
        return (
            f"{name} used by experience, not evidence: no assumption stands under which source "
            "rows could show a gain; label some target rows to know"
        )
    return "source-only model kept: nothing can show that adapting helps"


def _label_gains(tried: _Trials, base: Any, seed: int) -> dict[str, NDArray[np.float64]]:
    """By how much adapters that learn from target labels lower the Brier score of each."""
    gains = {}
    for name, model in from_labels(base, seed).items():
        gain = tried.run(name, model, lambda m, f: tried.ground.target_gain(m, f, soft=True))
        if gain is not None:
            gains[name] = gain
            why = f"loss {gain.mean():+.3f} lower on {len(gain)} labelled target rows"
            tried.found[name] = Candidate(name, "judged by target labels", why, float(gain.mean()))
    return gains


def _by_labels(tried: _Trials, gains: dict[str, NDArray[np.float64]]) -> str:
    """Keep the best of the adapters that learn from target labels, if it beats source-only."""
    if not gains:
        return ""
    ground = tried.ground
    best = max(gains, key=lambda n: float(gains[n].mean()))
    n = len(gains[best])
    error = float(gains[best].std(ddof=1)) / n**0.5
    changed = ground.labels_refute
    # the best of several: each has its share of the level. Where the labels show that what the
    # source says of Y does not hold, the source-only model has no claim to the doubt's benefit
    needed = 1.0 if changed else float(t_distribution.ppf(1 - LEVEL / len(gains), n - 1))
    if float(gains[best].mean()) <= needed * error:
        return ""
    tried.best, tried.basis = best, BY_LABELS
    because = "which say that Y at equal X has changed, " if changed else ""
    return (
        f"{best} used: on {n} labelled target rows, {because}it has a loss of "
        f"{gains[best].mean():.3f} less (standard error {error:.3f})"
    )


def _rather_pooled(tried: _Trials, gains: dict[str, NDArray[np.float64]]) -> str:
    """Train on the labelled rows of both sides, unless those of the target speak against it.

    With enough of them it is hardly worse where nothing differs, so that it needs no proof.
    """
    gain = gains.get(POOLED)
    if gain is None or len(gain) < POOLED_ROWS:
        return ""
    least = -float(gain.std(ddof=1)) / len(gain) ** 0.5
    if tried.best != SOURCE_ONLY:
        model, fitted = tried.models[tried.best], tried.fitted[tried.best]
        least = float(tried.ground.target_gain(model, fitted, soft=True).mean())
    if float(gain.mean()) <= least:
        return ""
    instead = "" if tried.best == SOURCE_ONLY else f", that of {tried.best} is {-least:+.3f}"
    tried.best, tried.basis, tried.assumption = POOLED, BY_LABELS, None
    return (
        f"{POOLED} used: it trains on the labelled rows of both sides, and the {len(gain)} of the "
        f"target do not speak against it (loss {-gain.mean():+.3f}{instead}; chance may do as much)"
    )


def _by_assumption(tried: _Trials, base: Any, seed: int) -> str:
    """Keep the candidate with the highest lower end of its gain, where an assumption stands."""
    ground = tried.ground
    shown: dict[str, tuple[Evidence, Assumption]] = {}
    for name, model in assumed(base, seed).items():
        judged = tried.run(name, model, lambda m, fitted: (ground.assess(m, fitted), fitted))
        if judged is None:
            continue
        seen, fitted = judged
        last = seen[-1] if seen else None
        if last is None or last.gain is None or last.interval is None:
            why = last.why if last else "no assumption could be tested for it"
            tried.found[name] = Candidate(name, "not judged", why)
            continue
        if ground.known is not None and float(ground.target_gain(model, fitted).sum()) < 0:
            why = "the labelled target rows speak against it"
            tried.found[name] = Candidate(name, "not used", why, last.gain, last.interval)
        else:
            why = f"judged under {last.name}"
            tried.found[name] = Candidate(name, why, last.why, last.gain, last.interval)
            shown[name] = last, Assumption(last.name, last.assumes, True, last.why)
    standing = next(
        (a for a in (ground.label_shift, ground.covariate_shift) if a is not None and a.plausible),
        None,
    )
    sure = [name for name in shown if shown[name][0].shown]
    best = max(sure or shown, key=lambda n: _lower_end(shown[n][0]), default=None)
    if best is not None and sure:
        tried.best, (evidence, tried.assumption) = best, shown[best]
        tried.basis = tried.assumption.name
        return f"{best} used: {evidence.sentence()}"
    if standing is None and best is None:
        return ""
    if standing is not None:
        tried.assumption, tried.basis = standing, standing.name
    stands = standing or shown[str(best)][1]
    return (
        f"source-only model kept: if {stands.assumes}, which stands ({stands.why}), no candidate "
        "is shown to gain"
    )


def _lower_end(evidence: Evidence) -> float:
    return -np.inf if evidence.interval is None else evidence.interval[0]

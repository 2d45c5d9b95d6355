"""Search over adapters and their parameters, judged without target labels."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import ParameterGrid
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Adapter, Difference, Facts
from shiftlab.domain import Domain
from shiftlab.selection.judge import Judge, as_candidate
from shiftlab.store import ResultsStore

__all__ = ["AdaptationSearch"]

KEPT_FREE = 0.95  # of a budget, at which the last fit should have ended
FEWEST_ROWS = 60  # of a side, in the first rounds of halving


@dataclass
class _Entry:
    """One candidate and what is known of it."""

    name: str
    params: dict[str, Any]
    model: Any
    scores: dict[int, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    error: str = ""
    n_rows: int = 0

    def mean(self) -> float:
        return float(np.mean(list(self.scores.values()))) if self.scores else -math.inf


class AdaptationSearch(Adapter):
    r"""Try adapters and their parameters, and keep the one that a validator ranks first.

    .. math:: \arg\max_c \frac 1 K \sum_k V\big(c \text{ fitted without fold } k;\
              \text{fold } k,\, T_X\big)

    K folds of the labelled source; the target's rows, without labels, are whole in every fit.
    It is scikit-learn's `GridSearchCV` with two samples: ``cv_results_``, ``best_params_``,
    ``best_estimator_``, and the search itself predicts. A tie goes to the candidate that was
    given first, so put the source-only model first.

    It helps as far as the validator's assumption holds, and no validator holds for all shifts:
    of two targets that look alike, one may be moved rows and the other moved labels. It harms
    when a validator that rewards confidence meets an adapter that collapses the classes. So
    diagnose first, and give it candidates that fit what was found.

    Cost: candidates times folds fits, and one more. Memory: that of one fit a job.

    Parameters
    ----------
    candidates : mapping or sequence
        Name -> adapter, pipeline or estimator, or -> (model, parameter grid), where the grid is
        a dict of lists (or a list of such) as in `GridSearchCV`. A sequence of models is named
        after their classes. A plain estimator is the source-only model.
    validator : Validator
        Scores without target labels; higher is better.
    cv : int or splitter, default=3
        Folds of the labelled source rows.
    halving : int, default=None
        A factor f above 1: all candidates on a small share of both samples (at least five rows a
        column), the best 1/f of them on f times as many rows, and so on to all rows. For many
        candidates. Each round has an equal part of the budget and what the ones before it left.
    budget : float, default=None
        Seconds. No fold is started that would, as long as the longest of its name so far, leave
        no time for the last fit; candidates not reached are no choice. The first is always
        finished; then every name has its turn before a second point of its grid.
    n_jobs : int, default=None
        Folds at the same time, through the joblib backend that is active.
    resume : path, default=None
        A file that every finished fold is added to, and that is read at the start: a search
        that was stopped goes on where it was. The key of a line is made of the candidate, the
        rows, the fold and the validator.
    random_state : int, RandomState or None, default=None
        Seed of the folds and of the rows of halving. Adapters have their own.

    Attributes
    ----------
    cv_results_ : dict of arrays and lists
        ``candidate``, ``params``, ``status`` ("scored", "failed", "dropped" by halving or "not
        reached"), ``n_source_rows``, ``split<k>_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score`` (1 is best; 0 where not "scored"),
        ``mean_fit_time`` and ``error``. One entry a candidate.
    best_index_ : int
        Its place in ``cv_results_``.
    best_candidate_ : str
        Its name.
    best_params_ : dict
        Its parameters from the grid.
    best_score_ : float
        Its mean score.
    best_estimator_ : Adapter
        Fitted to the whole source and the target.
    source_ : Domain
        The adapted source of that.

    Raises
    ------
    ValueError
        If a score is not finite: it is an error that names the candidate, never a rank. A
        candidate whose fit fails is left out with a warning; if all fail, that is an error.

    References
    ----------
    P. Morerio et al., ICLR 2018; K. Musgrave et al., arXiv 2208.07360, on choosing without
    target labels. K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and
    Hyperparameter Optimization", AISTATS 2016, on halving.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import CORAL, AdaptationSearch, InfoMax
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> search = AdaptationSearch(
    ...     {
    ...         "source only": LogisticRegression(),
    ...         "CORAL": (CORAL(LogisticRegression()), {"center": [False, True]}),
    ...     },
    ...     validator=InfoMax(),
    ...     random_state=0,
    ... )
    >>> search = search.fit((X, X[:, 0] > 0), 3 * X + 1)
    >>> search.cv_results_["candidate"]
    ['source only', 'CORAL', 'CORAL']
    >>> search.predict(3 * X + 1).shape
    (200,)
    """

    facts: ClassVar[Facts] = Facts(handles=(), assumes="What the validator assumes.")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "halving": [Interval(Integral, 2, None, closed="left"), None],
        "budget": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        candidates: Mapping[str, Any] | Sequence[Any],
        validator: Any,
        *,
        cv: Any = 3,
        halving: int | None = None,
        budget: float | None = None,
        n_jobs: int | None = None,
        resume: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.candidates = candidates
        self.validator = validator
        self.cv = cv
        self.halving = halving
        self.budget = budget
        self.n_jobs = n_jobs
        self.resume = resume
        self.random_state = random_state

    # -- what the base class asks ---------------------------------------------------------

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        self._started = time.perf_counter()
        entries = _read_candidates(self.candidates)
        if self.resume is not None and self.random_state is None:
            raise ValueError("resume needs a random_state: other folds would be other results")
        classifies = is_classifier(entries[0].model)
        store = None if self.resume is None else ResultsStore(Path(self.resume))
        done = {}
        if store is not None:
            store.repair()
            done = {row["key"]: row for row in store.rows()}
        rng = check_random_state(self.random_state)
        alive = list(entries)
        shares = _shares(len(entries), self.halving, source)
        for turn, share in enumerate(shares):
            few_source, few_target = source, target
            if share < 1:
                # target labels are few and known for a reason
                few_source = _share(source, share, rng, keep=False, halving=self.halving)
                few_target = _share(target, share, rng, keep=True, halving=self.halving)
            judge = Judge.of(
                self.validator,
                few_source,
                few_target,
                self.cv,
                classifies,
                int(rng.randint(2**31 - 1)),
            )
            for entry in alive:
                entry.scores, entry.n_rows = {}, few_source.n_rows
            # every round may end at its part of the budget; what one leaves, the next has
            self._run(alive, judge, done, store, (turn + 1) / len(shares))
            alive = [e for e in alive if len(e.scores) == len(judge.folds)]
            if share < 1:
                alive.sort(key=_Entry.mean, reverse=True)  # stable: ties keep their order
                alive = alive[: max(1, math.ceil(len(alive) / (self.halving or 1)))]
        self._report(entries, alive, len(judge.folds))
        self.best_estimator_ = clone(entries[self.best_index_].model).fit(source, target)
        self.estimator_ = self.best_estimator_
        adapted: Domain = self.best_estimator_.source_
        return adapted

    def _answering(self) -> Any:
        return _read_candidates(self.candidates)[0].model

    def _get_facts(self) -> Facts:
        facts = [e.model._get_facts() for e in _read_candidates(self.candidates)]
        handled: list[Difference] = list(dict.fromkeys(h for f in facts for h in f.handles))
        asks = {f.target_labels for f in facts}
        return Facts(
            handles=tuple(handled),
            assumes=self.facts.assumes,
            source_labels=True,
            target_labels=next((a for a in ("required", "optional") if a in asks), "none"),
            deep=any(f.deep for f in facts),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self._answering().__sklearn_tags__()
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        return tags

    # -- the search ---------------------------------------------------------------------------

    def _run(
        self,
        entries: list[_Entry],
        judge: Judge,
        done: dict[str, Any],
        store: ResultsStore | None,
        part: float,
    ) -> None:
        """Score every fold of every candidate that there is time for."""
        data = ""
        if store is not None:
            rows = judge.source.X, judge.source.y, judge.source.weight, judge.target.X
            data = joblib.hash((rows, judge.target.y, repr(judge.validator)))
        longest: dict[str, float] = {}

        def waiting() -> Iterator[Any]:
            for place in _in_turn(entries):
                entry = entries[place]
                for fold, rows in enumerate(judge.folds):
                    if entry.error:
                        break
                    key = "" if store is None else joblib.hash((data, rows, entry.model))
                    if key in done:
                        _note(entry, fold, done[key])
                        continue
                    slow = longest.get(entry.name, max(longest.values(), default=0.0))
                    if place > 0 and self._late(slow, part):
                        break
                    yield joblib.delayed(_one)(judge, entry.name, entry.model, place, fold, key)

        parallel = joblib.Parallel(
            n_jobs=self.n_jobs, return_as="generator_unordered", pre_dispatch="n_jobs"
        )
        for row in parallel(waiting()):
            name = row["candidate"]
            longest[name] = max(longest.get(name, 0.0), row["seconds"])
            _note(entries[row["place"]], row["fold"], row)
            if store is not None:
                store.append(row)

    def _late(self, longest: float, part: float) -> bool:
        """Whether one more fold would, like the longest, overrun this part of the budget.

        The last part has to hold the fit of the chosen model as well, which has more rows than a
        fold's by one fold, and what no fold's time shows: the table, a machine that is busy.
        """
        if self.budget is None:
            return False
        more, end = (2.5, KEPT_FREE) if part == 1 else (1.0, part)
        return time.perf_counter() - self._started + more * longest > end * self.budget

    def _report(self, entries: list[_Entry], alive: list[_Entry], n_folds: int) -> None:
        """Set the attributes that say what came out."""
        failed = [e for e in entries if e.error]
        if failed:
            said = "; ".join(f"{e.name} {e.params or ''}: {e.error}" for e in failed[:3])
            if not alive:
                raise ValueError(f"every candidate that was reached failed: {said}")
            warnings.warn(
                f"{len(failed)} of {len(entries)} candidates failed and were left out: {said}",
                UserWarning,
                stacklevel=5,
            )
        means = np.array([e.mean() if e in alive else -math.inf for e in entries])
        order = np.argsort(-means, kind="stable")
        rank = np.zeros(len(entries), dtype=int)
        rank[order[: len(alive)]] = np.arange(1, len(alive) + 1)
        table = np.array([[e.scores.get(k, np.nan) for k in range(n_folds)] for e in entries])
        whole = ~np.isnan(table).any(axis=1)
        self.cv_results_ = {
            "candidate": [e.name for e in entries],
            "params": [e.params for e in entries],
            "status": [_status(e, alive, n_folds) for e in entries],
            "n_source_rows": np.array([e.n_rows for e in entries]),
            **{f"split{k}_test_score": table[:, k] for k in range(n_folds)},
            "mean_test_score": np.where(whole, table.mean(axis=1), np.nan),
            "std_test_score": np.where(whole, table.std(axis=1), np.nan),
            "rank_test_score": rank,
            "mean_fit_time": np.array(
                [np.mean(e.seconds) if e.seconds else np.nan for e in entries]
            ),
            "error": [e.error for e in entries],
        }
        self.best_index_ = int(order[0])
        best = entries[self.best_index_]
        self.best_candidate_, self.best_params_ = best.name, best.params
        self.best_score_ = best.mean()


def _read_candidates(given: Any) -> list[_Entry]:
    """Make the list of models, one for each point of each grid."""
    if isinstance(given, Mapping):
        named = list(given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        named = [(type(m[0] if isinstance(m, tuple) else m).__name__, m) for m in given]
    else:
        raise TypeError(f"candidates must be a mapping or a sequence of models, got {given!r}")
    entries = []
    for name, value in named:
        model, grid = value if isinstance(value, tuple) else (value, {})
        as_candidate(model, name)  # says what is wrong with it before it is cloned
        # a plain estimator's parameters have its own names
        entries += [
            _Entry(
                str(name), params, as_candidate(clone(model).set_params(**_copied(params)), name)
            )
            for params in ParameterGrid(grid)
        ]
    if not entries:
        raise ValueError("candidates is empty; give at least one model, the source-only one first")
    if len({is_classifier(e.model) for e in entries}) > 1:
        raise ValueError("candidates must all be classifiers, or all be made for regression")
    return entries


def _copied(params: Mapping[str, Any]) -> dict[str, Any]:
    """Copy parameters, so that two candidates never share an estimator."""
    return {name: clone(value, safe=False) for name, value in params.items()}


def _in_turn(entries: Sequence[_Entry]) -> list[int]:
    """Places in the order of the fits: the first of each name, the second of each, and so on.

    So a budget sees every method before many parameters of one, and how long each takes.
    """
    seen: dict[str, int] = {}
    turns = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, -1) + 1
        turns.append(seen[entry.name])
    return sorted(range(len(entries)), key=turns.__getitem__)


def _one(judge: Judge, name: str, model: Any, place: int, fold: int, key: str) -> dict[str, Any]:
    """Score one fold; a fit that fails is an answer, a score that is not finite is an error."""
    start = time.perf_counter()
    row: dict[str, Any] = {"key": key, "candidate": name, "place": place, "fold": fold}
    try:
        fitted = judge.fit(model, fold)
    except (ValueError, TypeError, MemoryError, np.linalg.LinAlgError) as error:
        row["error"] = f"{type(error).__name__}: {error}"
    else:
        row["fit_seconds"] = time.perf_counter() - start
        row["score"] = judge.judge(name, fitted, model, fold)
    row["seconds"] = time.perf_counter() - start
    return row


def _note(entry: _Entry, fold: int, row: Mapping[str, Any]) -> None:
    if "error" in row:
        entry.error = str(row["error"])
    else:
        entry.scores[fold] = float(row["score"])
        entry.seconds.append(float(row["fit_seconds"]))


def _status(entry: _Entry, alive: list[_Entry], n_folds: int) -> str:
    if entry.error:
        return "failed"
    if entry in alive:
        return "scored"
    return "dropped" if len(entry.scores) == n_folds else "not reached"


def _shares(n_candidates: int, factor: int | None, source: Domain) -> list[float]:
    """Shares of the rows in the rounds of halving; the last is all.

    Rounds that would have fewer rows than a score needs are one, of as many as it needs.
    """
    if factor is None:
        return [1.0]
    rounds = max(0, math.ceil(math.log(n_candidates, factor)) - 1) if n_candidates > 1 else 0
    least = _fewest_rows(source, factor) / source.n_rows
    shares = {max(float(factor) ** (k - rounds), min(least, 1.0)) for k in range(rounds + 1)}
    return sorted(shares)


def _fewest_rows(domain: Domain, factor: int) -> int:
    """Rows below which a score says little of a model of all: five a column.

    No more of them than make a round cheaper than one with all rows.
    """
    return max(FEWEST_ROWS, min(5 * domain.n_features, math.ceil(domain.n_rows / factor)))


def _share(
    domain: Domain, share: float, rng: np.random.RandomState, *, keep: bool, halving: int | None
) -> Domain:
    """Draw a share of the rows at random, enough to say something; all labelled ones if wanted."""
    fewest = _fewest_rows(domain, halving or 1)
    n = max(min(fewest, domain.n_rows), math.ceil(share * domain.n_rows))
    kept = domain.labelled if keep else np.zeros(domain.n_rows, dtype=bool)
    others = rng.permutation(np.flatnonzero(~kept))[: max(0, n - int(kept.sum()))]
    return domain.take(np.sort(np.concatenate([np.flatnonzero(kept), others])))

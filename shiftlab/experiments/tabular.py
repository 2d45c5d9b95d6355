"""Run a study of tables: every method on every pair, protocol, estimator and seed."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from shiftlab.experiments.grid import Task
from shiftlab.experiments.resume import Watch, run_unfinished, versions
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.settings import short_hash
from shiftlab.experiments.tabular_data import DATA, Pair, prepared_pair
from shiftlab.experiments.tabular_settings import (
    CEILING,
    FLOOR,
    Base,
    Method,
    Protocol,
    TabularStudy,
)
from shiftlab.pipeline import Transform, make_pipeline
from shiftlab.supervised import fit_estimator

__all__ = ["cell_ids", "plan_tabular", "run_tabular"]

# Raised when the way of measuring changes in a way that no setting shows.
_PROTOCOL = 1
_FOLDS = 5
_LONGEST = 300  # characters of a message that are kept


@dataclass(frozen=True)
class _Cell:
    """Measure one method on one pair."""

    data: str
    protocol: str
    prepare: str
    base_: Base
    method_: Method
    source: str
    target: str
    seed: int
    root: str | None
    key: str
    facts: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Kind of the task, for the estimate of the time left."""
        return f"{self.method_.name}, {self.base_.name}"

    def __str__(self) -> str:
        return f"{self.source} to {self.target}, {self.protocol}, {self.method}, seed {self.seed}"


def cell_ids(study: TabularStudy) -> dict[str, tuple[Protocol, Base, Method]]:
    """Name each column of work of a study by all that its results depend on, but the data.

    Parameters
    ----------
    study : TabularStudy
        The study.

    Returns
    -------
    dict of str to (Protocol, Base, Method)
        By hash, in the order of the tables.
    """
    found = {}
    for protocol in study.protocols:
        for base in protocol.bases:
            for method in study.methods:
                meant = protocol.methods is None or method.name in protocol.methods
                if meant and method.takes(base):
                    identity = {
                        "measured": _PROTOCOL,
                        "data": study.data,
                        "protocol": protocol.name,
                        "prepare": protocol.prepare,
                        "base": base.identity(),
                        "method": method.name,
                        **method.identity(),
                    }
                    found[short_hash(identity)] = (protocol, base, method)
    return found


def plan_tabular(study: TabularStudy, *, root: str | None = None) -> list[Task]:
    """Lay out the cells of a study, pair by pair.

    Parameters
    ----------
    study : TabularStudy
        What to run.
    root : str or None, default=None
        Folder of the data; None is what ``SHIFTLAB_DATA`` names.

    Returns
    -------
    list of Task
        Named by the cells' keys.

    Raises
    ------
    FileNotFoundError
        If the data are not there.
    """
    signature = DATA[study.data].signature(root)
    columns = cell_ids(study)
    tasks = []
    for source, target in study.pairs:
        for seed in range(study.seeds):
            for settings, (protocol, base, method) in columns.items():
                key = ":".join(
                    (source, target, method.name, str(seed), settings, short_hash({"": signature}))
                )
                facts = {
                    "study": study.name,
                    "base": base.name,
                    "settings": settings,
                    "data": signature,
                }
                cell = _Cell(
                    data=study.data,
                    protocol=protocol.name,
                    prepare=protocol.prepare,
                    base_=base,
                    method_=method,
                    source=source,
                    target=target,
                    seed=seed,
                    root=root,
                    key=key,
                    facts=facts,
                )
                tasks.append(Task(key, cell))
    return tasks


def run_tabular(
    study: TabularStudy,
    *,
    out: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Run the cells of a study that are not finished yet.

    Methods see the target's rows without labels. The labels are read in one place, after the
    predictions are made (and by the target-supervised reference, which says so in its name).
    A method that raises is recorded with its message and has no accuracy; the next run tries
    it again.

    Parameters
    ----------
    study : TabularStudy
        What to run.
    out : path
        Folder of ``results.jsonl``.
    root : path or None, default=None
        Folder of the data; None is what ``SHIFTLAB_DATA`` names.
    jobs : int, default=1
        Processes. The cores are shared among them.
    watch : callable, default=None
        For a progress bar; see :func:`shiftlab.experiments.resume.run_unfinished`.

    Returns
    -------
    list of dict
        Results of the study's cells, finished now or before.

    Raises
    ------
    FileNotFoundError
        If the data are not there; nothing has run then.
    GridError
        If another run is writing to ``out``, or a pair cannot be loaded.
    """
    tasks = plan_tabular(study, root=None if root is None else str(root))

    def left(done: set[str]) -> list[Task]:
        return [task for task in tasks if task.name not in done]

    keys = [str(task.name) for task in tasks]
    return run_unfinished(Path(out), keys, left, _measure, jobs=jobs, watch=watch)


# -- in a worker process ------------------------------------------------------------------


def _measure(cell: _Cell) -> dict[str, Any]:
    started = time.perf_counter()
    drawn = cell.seed if DATA[cell.data].seeded else 0
    pair = prepared_pair(cell.data, cell.prepare, cell.source, cell.target, drawn, cell.root)
    # The target-supervised reference is the same whatever the source.
    purpose = "folds" if cell.method_.name == CEILING else f"{cell.method_.name}/{cell.source}"
    seed = derive_seed("method", purpose, cell.target, cell.seed)
    outcome: dict[str, Any]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            predicted = _predict(pair, cell.method_, cell.base_.make(), seed)
            # The one place where hidden labels of the target are read.
            outcome = {"accuracy": _accuracy(predicted, pair.target.y[pair.scored])}
        except Exception as error:
            outcome = {"error": _one_line(f"{type(error).__name__}: {error}")}
    said = sorted({_one_line(str(w.message)) for w in heard if issubclass(w.category, UserWarning)})
    return {
        "key": cell.key,
        "source": cell.source,
        "target": cell.target,
        "protocol": cell.protocol,
        "method": cell.method_.name,
        "seed": cell.seed,
        **outcome,
        "warnings": said,
        "n_source": len(pair.source),
        "n_target": len(pair.target),
        "n_test": int(pair.scored.sum()),
        "seconds": round(time.perf_counter() - started, 3),
        **cell.facts,
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _predict(pair: Pair, method: Method, base: Any, seed: int) -> NDArray[Any]:
    """Predict the rows that count."""
    if method.name == CEILING:
        return _supervised(pair, base, seed)
    hidden = pair.target.unlabelled()
    rows = hidden.take(pair.scored).X
    if method.name == FLOOR:
        return np.asarray(fit_estimator(base, pair.source).predict(rows))
    model = _model(method, base, seed)
    return np.asarray(model.fit(pair.source, hidden).predict(rows))


def _supervised(pair: Pair, base: Any, seed: int) -> NDArray[Any]:
    tested = pair.target.take(pair.scored)
    if pair.trained is not None:
        trained = fit_estimator(base, pair.target.take(pair.trained))
        return np.asarray(trained.predict(tested.X))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(base, tested.X, tested.y, cv=folds))


def _model(method: Method, base: Any, seed: int) -> Any:
    if method.adapter is None:
        reduce = PCA(**method.parameters, svd_solver="full")
        return make_pipeline(Transform(reduce, on="both"), base)
    given = dict(method.parameters)
    parameters = inspect.signature(method.adapter).parameters
    if "random_state" in parameters:
        given.setdefault("random_state", seed)
    if "estimator" in parameters:
        return method.adapter(estimator=clone(base), **given)
    return make_pipeline(method.adapter(**given), base)


def _accuracy(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    if predicted.shape != truth.shape:
        raise ValueError(f"{predicted.shape} predictions for {truth.shape} rows")
    if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
        raise ValueError("predictions are not finite")
    return float(np.mean(predicted == truth))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."

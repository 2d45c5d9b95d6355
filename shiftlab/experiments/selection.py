"""The study of choosing: adapt, SafeAdapter and the validators, on shifts that are known after.

Run ``python -m shiftlab.experiments.selection`` in a clone; it goes on where it was stopped and
rewrites ``results.csv`` and the tables in the README of ``experiments/selection``.
"""

from __future__ import annotations

import argparse
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from shiftlab.conditional.self_training import SelfTraining
from shiftlab.experiments.grid import Task
from shiftlab.experiments.readme import replace_block
from shiftlab.experiments.resume import RESULTS, run_unfinished
from shiftlab.experiments.selection_csv import read_rows, write_rows
from shiftlab.experiments.selection_data import Case, all_pairs, load_case
from shiftlab.experiments.selection_tables import selection_block
from shiftlab.files import write_atomically
from shiftlab.marginal.alignment.coral import CORAL
from shiftlab.marginal.alignment.jda import JDA
from shiftlab.marginal.alignment.optimal_transport import OptimalTransport
from shiftlab.pipeline import make_pipeline
from shiftlab.selection.adapt import adapt
from shiftlab.selection.candidates import (
    COMPONENTS,
    assumed,
    default_estimator,
    directions,
    from_labels,
    unassumed,
)
from shiftlab.selection.ground import Ground
from shiftlab.selection.judge import Judge
from shiftlab.selection.safe_adapter import decide
from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.accuracy import ATC, DoC, LabelShiftAdjusted
from shiftlab.selection.validators.source_risk import (
    DEV,
    ImportanceWeightedScore,
    SourceScore,
)
from shiftlab.selection.validators.structure import ClassClustering
from shiftlab.selection.validators.target_outputs import BNM, SND, InfoMax, PredictionEntropy

__all__ = ["judge_case", "main", "pool_of"]

FOLDS = 3
ALPHA = 0.1


def pool_of(case: Case, estimator: Any, seed: int) -> dict[str, Any]:
    """Return the fixed adapters that are compared.

    Parameters
    ----------
    case : Case
        For its columns, and whether target labels are seen.
    estimator : estimator
        Trained in each.
    seed : int
        Of the adapters.

    Returns
    -------
    dict of str to Adapter
    """
    # a fold may vary in fewer directions than all rows
    k = max(1, min(COMPONENTS, int(0.9 * directions(case.source, case.target))))
    pool = assumed(estimator, seed) | unassumed(estimator, seed, k)
    pool["CORAL"] = CORAL(clone(estimator))
    pool["SelfTraining"] = SelfTraining(clone(estimator), random_state=seed)
    pool["JDA"] = JDA(clone(estimator), n_components=k, random_state=seed)
    pool["OptimalTransport"] = OptimalTransport(clone(estimator), random_state=seed)
    return pool | (from_labels(estimator, seed) if case.shown.any() else {})


def validators() -> dict[str, Any]:
    """Return what ranks the candidates without target labels."""
    found = (
        SourceScore(), ImportanceWeightedScore(), DEV(), SND(), BNM(), PredictionEntropy(),
        InfoMax(), ClassClustering(), LabelShiftAdjusted(), ATC(), DoC(),
    )  # fmt: skip
    return {type(v).__name__: v for v in found}


def judge_case(payload: tuple[str, str, str, int, dict[str, Any], str | None]) -> dict[str, Any]:
    """Measure everything on one pair.

    Parameters
    ----------
    payload : tuple
        Group, source, target, seed, settings and the folder of local data.

    Returns
    -------
    dict
        A line of the results.
    """
    group, source, target, seed, settings, root = payload
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = load_case(group, source, target, seed, settings, root)
        seen, y = case.visible(), np.asarray(case.target.y)

        def accuracy(answers: Any) -> float:
            return float(np.mean((np.asarray(answers) == y)[case.scored]))

        # the penalty that adapt would choose, for it and for all others alike
        estimator = case.estimator
        if estimator is None:
            estimator = default_estimator(case.source, "classification", seed)
        found = adapt(case.source, seen, estimator=estimator, random_state=seed)
        ground = Ground(
            make_pipeline(clone(estimator)), case.source, seen, FOLDS, np.random.RandomState(seed)
        )
        methods: dict[str, dict[str, Any]] = {
            "source-only": {"accuracy": accuracy(ground.baseline_.predict(seen.X))}
        }
        judge = Judge.of(ImportanceWeightedScore(), case.source, seen, FOLDS, True, seed)
        pool = pool_of(case, estimator, seed)
        for name, model in pool.items():
            try:
                fitted = clone(model).fit(case.source, seen)
                decided = decide(ground, model, fitted, ALPHA)
                methods[name] = {
                    "accuracy": accuracy(fitted.predict(seen.X)),
                    "safe": decided.adapted,
                }
            except (ValueError, np.linalg.LinAlgError) as error:
                methods[name] = {"error": str(error).split("\n")[0]}
        if group != "shifts":
            candidates = {"source-only": ground.baseline} | pool
            for name in [n for n in candidates if "accuracy" in methods[n]]:
                methods[name]["scores"] = _scores(judge, name, candidates[name])
    score = found.expected_score
    return {
        "key": f"{group}|{source}|{target}|{seed}",
        "group": group,
        "source": source,
        "target": target,
        "seed": seed,
        "methods": methods,
        "adapt": {
            "accuracy": accuracy(found.predictions),
            "chosen": found.chosen,
            "ground": found.ground,
            "expected": None if score is None else [score.value, *score.interval],
            "seconds": found.seconds,
        },
    }


def _scores(judge: Judge, name: str, model: Any) -> dict[str, float]:
    """All validators on the same fitted folds; one that cannot judge a model says nothing."""
    found: dict[str, list[float]] = {}
    target = judge.target.unlabelled()
    for fold, (_, test) in enumerate(judge.folds):
        assert judge.ratio is not None
        try:
            fitted = judge.fit(model, fold)
        except (ValueError, np.linalg.LinAlgError):
            return {}
        trial = Trial(name, fitted, model, judge.source.take(test), target, judge.ratio[test])
        for validator, scorer in validators().items():
            try:
                found.setdefault(validator, []).append(float(scorer.score(trial)))
            except ValueError:
                continue
    return {n: float(np.mean(v)) for n, v in found.items() if len(v) == len(judge.folds)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--out``, ``--root``, ``--jobs`` and ``--groups``; None reads them from the
        process.
    """
    parser = argparse.ArgumentParser(description="The study of experiments/selection.")
    parser.add_argument("--folder", type=Path, default=Path("experiments/selection"))
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    parser.add_argument("--root", help="folder of local data; else what SHIFTLAB_DATA names")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--groups", nargs="*", help="only these groups; all by default")
    parser.add_argument("--seeds", type=int, help="only so many seeds of the generated shifts")
    given = parser.parse_args(arguments)
    settings = tomllib.loads((given.folder / "config.toml").read_text(encoding="utf-8"))
    cells = {
        f"{g}|{s}|{t}|{seed}": (g, s, t, seed, settings, given.root)
        for g, s, t, seed in all_pairs(settings)
    }
    wanted = {
        key
        for key, (g, _, _, seed, *_) in cells.items()
        if (not given.groups or g in given.groups) and (given.seeds is None or seed < given.seeds)
    }

    def choose(done: set[str]) -> list[Task]:
        return [Task(key, cells[key]) for key in cells if key in wanted and key not in done]

    def watch(steps: Any, left: Any, jobs: int) -> Any:
        for task, result in steps:
            print(task.name, result["adapt"], flush=True)
            yield task, result

    given.out.mkdir(parents=True, exist_ok=True)
    rows = run_unfinished(given.out, list(cells), choose, judge_case, jobs=given.jobs, watch=watch)
    order = {key: place for place, key in enumerate(cells)}
    rows.sort(key=lambda row: order[row["key"]])
    table = write_rows(rows)
    write_atomically(given.folder / "results.csv", table)
    # from the table, so that whoever has it can write the page again
    replace_block(given.folder / "README.md", selection_block(read_rows(table)))
    print(f"{len(rows)} of {len(cells)} cases; {given.out / RESULTS}")


if __name__ == "__main__":
    main()

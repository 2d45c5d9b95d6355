"""Measure whether a long search ends within its budget, and goes on after it was killed.

python benchmarks/selection/run.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from shiftlab import (
    CORAL,
    JDA,
    TCA,
    AdaptationSearch,
    ClassifierWeighting,
    Domain,
    InfoMax,
    LinearTransport,
    LocationScale,
    PriorCorrection,
    SelfTraining,
    SubspaceAlignment,
    make_pipeline,
)
from shiftlab.experiments.readme import replace_block

HERE = Path(__file__).parent
BUDGET, ROWS, COLUMNS, KILLED_AFTER = 60.0, 5000, 50, 20.0


def samples() -> tuple[Domain, Domain]:
    """Two classes in 50 columns; the target has other units."""
    rng = np.random.default_rng(0)
    sides = []
    for moved in (False, True):
        y = rng.integers(0, 2, ROWS)
        X = rng.normal(size=(ROWS, COLUMNS)) + np.outer(2 * y - 1, np.linspace(0.5, 0, COLUMNS))
        if moved:
            X = X * np.exp(rng.uniform(-1, 1, COLUMNS)) + rng.uniform(-1, 1, COLUMNS)
        sides.append(Domain(X, y))
    return sides[0], sides[1]


def candidates() -> dict[str, Any]:
    """Ten methods at twenty penalties: 200 candidates, source-only first."""
    penalties = np.logspace(-4, 3, 20)
    lr = LogisticRegression(max_iter=500)
    inside = {"estimator__C": penalties}
    return {
        "source only": (lr, {"C": penalties}),
        "CORAL": (CORAL(lr), inside),
        "LinearTransport": (LinearTransport(lr), inside),
        "LocationScale": (LocationScale(lr, random_state=0), inside),
        "SubspaceAlignment": (SubspaceAlignment(lr, n_components=20), inside),
        "TCA": (TCA(lr, n_components=20), inside),
        "JDA": (JDA(lr, n_components=20), inside),
        "ClassifierWeighting": (ClassifierWeighting(lr, random_state=0), inside),
        "PriorCorrection": (PriorCorrection(lr, random_state=0), inside),
        "SelfTraining": (SelfTraining(lr, random_state=0), inside),
    }


def search(resume: Path | None, halving: int | None) -> AdaptationSearch:
    """Return the search that is measured."""
    return AdaptationSearch(
        candidates(), InfoMax(), halving=halving, budget=BUDGET, n_jobs=2, resume=resume,
        random_state=0,
    )  # fmt: skip


def run(resume: Path | None, halving: int | None) -> dict[str, Any]:
    """Search, and say how long it took and what came out."""
    source, target = samples()
    began = time.perf_counter()
    found = search(resume, halving).fit(source, target.unlabelled())
    seconds = time.perf_counter() - began
    status = Counter(found.cv_results_["status"])
    answers = {
        "found": float(np.mean(found.predict(target.X) == target.y)),
        "source only": float(
            np.mean(make_pipeline(LogisticRegression()).fit(source, target.unlabelled())
                    .predict(target.X) == target.y)
        ),
    }  # fmt: skip
    best = found.best_candidate_, found.best_params_
    return {"seconds": seconds, "status": dict(status), "best": str(best), **answers}


def oracle() -> float:
    """Accuracy of the best candidate, chosen with the target's labels."""
    source, target = samples()
    best = 0.0
    for model, grid in candidates().values():
        for name, values in grid.items():
            for value in values[::4]:
                fitted = make_pipeline(clone(model).set_params(**{name: value}))
                fitted.fit(source, target.unlabelled())
                best = max(best, float(np.mean(fitted.predict(target.X) == target.y)))
    return best


def killed() -> dict[str, Any]:
    """Kill the search with SIGKILL, and let it go on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.jsonl"
        command = [sys.executable, __file__, "--one", str(path), "--halving", "3"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(KILLED_AFTER)
        process.kill()
        process.wait()
        kept = len(path.read_text().splitlines())
        done = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return {**done, "kept": kept}


def main() -> None:
    """Run all of it and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=Path, help="one search with this file to go on from")
    parser.add_argument("--halving", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.one:
        print(json.dumps(run(given.one, given.halving)))
        return
    rows = {
        "budget alone": run(None, None),
        "budget and halving=3": run(None, 3),
        f"the same, killed after {KILLED_AFTER:.0f} s and resumed": killed(),
    }
    lines = ["| search | seconds | candidates | chosen | accuracy |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        status = ", ".join(f"{n} {what}" for what, n in sorted(row["status"].items()))
        kept = f" ({row['kept']} folds kept)" if "kept" in row else ""
        lines.append(
            f"| {name}{kept} | {row['seconds']:.1f} | {status} | {row['best']} | "
            f"{row['found']:.3f} |"
        )
    lines += ["", f"Source only {rows['budget alone']['source only']:.3f}, the best candidate "
              f"(every fourth penalty, by the target's labels) {oracle():.3f}."]  # fmt: skip
    replace_block(HERE / "README.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()

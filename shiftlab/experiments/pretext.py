"""The study of pretext tasks, beside random weights and supervised pre-training.

Run ``python -m shiftlab.experiments.pretext`` in a clone; it goes on where it was stopped and
rewrites ``results.csv`` and the table of ``experiments/pretext``.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shiftlab.domain import Domain
from shiftlab.experiments.few_labels_tables import mean_and_error
from shiftlab.experiments.grid import Task
from shiftlab.experiments.methods import few_labels
from shiftlab.experiments.readme import replace_block
from shiftlab.experiments.resume import run_unfinished
from shiftlab.experiments.seeds import derive_seed
from shiftlab.files import write_atomically

__all__ = ["main", "measure", "pretext_block"]

FIELDS = ("target", "way", "seed", "accuracy")


def measure(payload: tuple[str, str, int, dict[str, Any], str | None, str]) -> dict[str, Any]:
    """Pre-train in one way, where that was not done yet, and fine-tune on one target.

    Parameters
    ----------
    payload : tuple
        Target, way and seed; the settings, the folder of local data and that of the networks.

    Returns
    -------
    dict
        A line of the results.
    """
    from shiftlab.data import load_digits5
    from shiftlab.deep import fine_tune

    target, way, seed, settings, root, folder = payload
    given: dict[str, Any] = {"root": root, "source": "local", "exclude_shared": False}
    rows = _shuffled(load_digits5(target, "train", **given), target, seed)
    known = rows.take(np.flatnonzero(few_labels(rows.y, int(settings["labels"]))))
    test = _shuffled(load_digits5(target, "test", **given), target, 0)
    test = test.take(np.arange(min(int(settings["n_test"]), len(test))))
    tuned = fine_tune(
        _start(way, seed, known, settings, root, Path(folder)),
        known.X,
        known.y,
        probe=True,
        epochs=int(settings["epochs"]),
        validation_fraction=0.0,
        patience=None,
        device="cpu",
        random_state=derive_seed("tune", target, seed),
    )
    return {
        "key": f"{target}|{way}|{seed}",
        "target": target,
        "way": way,
        "seed": seed,
        "accuracy": round(float(np.mean(tuned.predict(test.X) == test.y)), 4),
    }


def _shuffled(rows: Domain, name: str, seed: int) -> Domain:
    return rows.take(np.random.default_rng(derive_seed("draw", name, seed)).permutation(len(rows)))


def _start(
    way: str, seed: int, known: Domain, settings: Mapping[str, Any], root: str | None, folder: Path
) -> Any:
    """Return the network that the fine-tuning starts from."""
    from shiftlab.data import load_digits5
    from shiftlab.deep import TrainedNet, pretrain, train_classifier
    from shiftlab.experiments.few_labels import untrained

    fresh = derive_seed("network", way, seed)
    if way == "random":
        return untrained(known, fresh)
    path = folder / f"{way}-{seed}.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        name = settings["source"]
        rows = _shuffled(load_digits5(name, "train", root=root, source="local"), name, seed)
        rows = rows.take(np.arange(int(settings["n_source"])))
        shared: dict[str, Any] = {
            "epochs": int(settings["source_epochs"]),
            "checkpoint": path.with_suffix(".part"),
            "device": "cpu",
            "random_state": fresh,
        }
        if way == "supervised":
            net = train_classifier(rows.X, rows.y, **shared)
        else:
            net = pretrain(rows.X, way, **shared)
        net.save(path)
        path.with_suffix(".part").unlink()
    return TrainedNet.load(path, device="cpu")


def pretext_block(rows: Sequence[Mapping[str, Any]], n_cells: int) -> str:
    """Write the results as a Markdown table.

    Parameters
    ----------
    rows : sequence of mapping
        Results, finished so far.
    n_cells : int
        Cells of the whole study.

    Returns
    -------
    str
    """
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["way"], row["target"]), []).append(float(row["accuracy"]))
    targets = list(dict.fromkeys(row["target"] for row in rows))
    lines = [f"{len(rows)} of {n_cells} cells are finished (seeds).", ""]
    lines += ["| way | " + " | ".join(targets) + " |", "|---" * (len(targets) + 1) + "|"]
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = []
        for target in targets:
            values = found.get((way, target), [])
            mean, error = mean_and_error(values) if values else (np.nan, np.nan)
            spread = f" ± {error:.3f}" if np.isfinite(error) else ""
            cells.append(f"{mean:.3f}{spread} ({len(values)})" if values else "")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--out``, ``--root``, ``--jobs``, ``--seconds`` and ``--report``; None reads
        them from the process.
    """
    parser = argparse.ArgumentParser(description="The study of experiments/pretext.")
    parser.add_argument("--folder", type=Path, default=Path("experiments/pretext"))
    parser.add_argument("--out", type=Path, default=Path("runs/pretext"))
    parser.add_argument("--root", help="folder of the digits; else what SHIFTLAB_DATA names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop after the cell that ends later")
    parser.add_argument("--report", action="store_true", help="run nothing, write the tables")
    given = parser.parse_args(arguments)
    settings = tomllib.loads((given.folder / "config.toml").read_text(encoding="utf-8"))
    nets = str(given.out / "nets")
    cells = {
        f"{target}|{way}|{seed}": (target, way, seed, settings, given.root, nets)
        for seed in range(int(settings["seeds"]))
        for way in settings["ways"]
        for target in settings["targets"]
    }
    started = time.monotonic()

    def choose(done: set[str]) -> list[Task]:
        if given.report:
            return []
        return [Task(key, payload) for key, payload in cells.items() if key not in done]

    def watch(steps: Any, left: Any, jobs: int) -> Any:
        for task, result in steps:
            print(task.name, f"{result['accuracy']:.3f}", flush=True)
            yield task, result
            if given.seconds is not None and time.monotonic() - started > given.seconds:
                return

    rows = run_unfinished(given.out, list(cells), choose, measure, jobs=given.jobs, watch=watch)
    order = {key: place for place, key in enumerate(cells)}
    rows.sort(key=lambda row: order[row["key"]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows([row[field] for field in FIELDS] for row in rows)
    write_atomically(given.folder / "results.csv", text.getvalue())
    replace_block(given.folder / "README.md", pretext_block(rows, len(cells)))
    print(f"{len(rows)} of {len(cells)} cells")


if __name__ == "__main__":
    main()

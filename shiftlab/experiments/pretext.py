"""The study of pretext tasks, beside random weights and supervised pre-training.

Run ``python -m shiftlab.experiments.pretext`` in a clone; it goes on where it was stopped and
rewrites ``results.csv`` and the table of ``experiments/pretext``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shiftlab.domain import Domain
from shiftlab.experiments.few_labels_tables import accuracy_cell
from shiftlab.experiments.methods import few_labels
from shiftlab.experiments.script import read_settings, run_cells, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed

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
        layer_decay=0.8,
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
            cells.append(f"{accuracy_cell(values)} ({len(values)})" if values else "")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--root``, ``--out``, ``--jobs``, ``--seconds`` and ``--report``; None reads
        them from the process.
    """
    given = study_parser("pretext", data="the digits", cells=True).parse_args(arguments)
    settings = read_settings(given.folder)
    nets = str(given.out / "nets")
    cells = {
        f"{target}|{way}|{seed}": (target, way, seed, settings, given.root, nets)
        for seed in range(int(settings["seeds"]))
        for way in settings["ways"]
        for target in settings["targets"]
    }
    rows = run_cells(given, cells, measure, key=FIELDS[:3])
    write_study(given.folder, FIELDS, rows, pretext_block(rows, len(cells)))


if __name__ == "__main__":
    main()

"""The study of few labels: what to do with a source's network, by the number of target labels.

Run ``python -m shiftlab.experiments.few_labels`` in a clone; it goes on where it was stopped and
rewrites ``results.csv``, the figure and the tables of ``experiments/few_labels``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.few_labels_tables import draw_curves, few_labels_block
from shiftlab.experiments.grid import Task
from shiftlab.experiments.methods import few_labels
from shiftlab.experiments.script import read_settings, run_cells, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.files import write_atomically

__all__ = ["SCRATCH", "cells_of", "main", "measure", "tune_settings", "untrained"]

SCRATCH = "scratch"
FIELDS = ("source", "target", "labels", "seed", "method", "accuracy", "seconds", "scores")


@dataclass(frozen=True)
class Cell:
    """One number of the study.

    Parameters
    ----------
    source : str
        Whose network; "-" from scratch.
    target : str
        Whose images.
    labels : int
        Labelled images a class.
    method : str
        What is done.
    seed : int
        Of the draw of the images, the networks and the training.
    """

    source: str
    target: str
    labels: int
    method: str
    seed: int

    @property
    def key(self) -> str:
        """Name of the cell in the results."""
        return "|".join(map(str, (self.source, self.target, self.labels, self.method, self.seed)))


def cells_of(settings: Mapping[str, Any]) -> list[Cell]:
    """List the cells, the most valuable first.

    Parameters
    ----------
    settings : mapping
        As in ``config.toml``.

    Returns
    -------
    list of Cell
        Seed by seed, and in each the more labels, the later: they take most of the time.

    Examples
    --------
    >>> settings = {"domains": ["a", "b"], "labels": [1, 9], "seeds": 1}
    >>> [cell.key for cell in cells_of(settings | {"methods": ["linear"]})]
    ['b|a|1|linear|0', 'a|b|1|linear|0', 'b|a|9|linear|0', 'a|b|9|linear|0']
    """
    found = []
    for seed in range(int(settings["seeds"])):
        for labels in settings["labels"]:
            for method in settings["methods"]:
                for target in settings["domains"]:
                    others = [name for name in settings["domains"] if name != target]
                    sources = ["-"] if method == SCRATCH else others
                    found += [Cell(s, target, labels, method, seed) for s in sources]
    return found


def tune_settings(method: str, epochs: int) -> dict[str, Any]:
    """Return how a method trains, as arguments of ``fine_tune``.

    Parameters
    ----------
    method : str
        A name of ``config.toml``.
    epochs : int
        Passes over the labelled images, unless the method trains none.

    Returns
    -------
    dict
    """
    ways: dict[str, dict[str, Any]] = {
        "frozen": {"probe": True, "epochs": 0},
        "probe, tuned": {"probe": True, "layer_decay": 0.8, "epochs": epochs},
        "tuned": {"layer_decay": 1.0, "epochs": epochs},
        "layer-wise": {"layer_decay": 0.8, "epochs": epochs},
        "l2-sp": {"layer_decay": 1.0, "penalty": "l2_sp", "epochs": epochs},
        SCRATCH: {"layer_decay": 1.0, "epochs": epochs},
    }
    if method not in ways:
        raise ValueError(f"unknown method {method!r}; there are {['linear', *ways]}")
    return ways[method]


@functools.lru_cache(maxsize=4)
def _images(domain: str, seed: int, size: int, channels: int, root: str | None) -> Domain:
    from shiftlab.data import load_digits5

    size_of: dict[str, Any] = {"size": size, "channels": channels, "root": root, "source": "local"}
    rows = load_digits5(domain, "train", **size_of)
    return rows.take(
        np.random.default_rng(derive_seed("draw", domain, seed)).permutation(len(rows))
    )


@functools.lru_cache(maxsize=4)
def _test_images(domain: str, n: int, size: int, channels: int, root: str | None) -> Domain:
    from shiftlab.data import load_digits5

    size_of: dict[str, Any] = {"size": size, "channels": channels, "root": root, "source": "local"}
    rows = load_digits5(domain, "test", exclude_shared=False, **size_of)
    order = np.random.default_rng(derive_seed("test", domain)).permutation(len(rows))
    return rows.take(order[:n])


def measure(
    payload: tuple[Cell | tuple[str, int], dict[str, Any], str | None, str],
) -> dict[str, Any]:
    """Train a source's network, or measure one cell.

    Parameters
    ----------
    payload : tuple
        A cell, or (domain, seed) of a network; the settings, the folder of local data and
        the folder of the networks.

    Returns
    -------
    dict
        A line of the results; without a key for a network.
    """
    work, settings, root, folder = payload
    shape = (int(settings["size"]), int(settings["channels"]))
    if not isinstance(work, Cell):
        _train_source(*work, settings, shape, root, Path(folder))
        return {}
    from shiftlab.deep import fine_tune

    started = time.process_time()
    rows = _images(work.target, work.seed, *shape, root)
    known = rows.take(np.flatnonzero(few_labels(rows.y, work.labels)))
    test = _test_images(work.target, int(settings["n_test"]), *shape, root)
    seed = derive_seed("tune", work.source, work.target, work.labels, work.seed)
    scores: dict[str, float] = {}
    if work.method == "linear":
        answers, scores = _linear(work, known, test, Path(folder))
    else:
        scratch = work.method == SCRATCH
        net = untrained(known, seed) if scratch else _net(work.source, work.seed, folder)
        listed = settings["scratch_epochs" if scratch else "epochs"]
        epochs = dict(zip(settings["labels"], listed, strict=True))[work.labels]
        tuned = fine_tune(
            net,
            known.X,
            known.y,
            patience=None,
            validation_fraction=0.0,
            device="cpu",
            random_state=seed,
            **tune_settings(work.method, epochs),
        )
        answers = tuned.predict(test.X)
    return {
        "key": work.key,
        "source": work.source,
        "target": work.target,
        "labels": work.labels,
        "method": work.method,
        "seed": work.seed,
        "accuracy": float(np.mean(np.asarray(answers) == test.y)),
        "seconds": round(time.process_time() - started, 2),
        "scores": scores,
    }


def _linear(
    work: Cell, known: Domain, test: Domain, folder: Path
) -> tuple[NDArray[Any], dict[str, float]]:
    """Take features off the shelf under a linear model, and score them before that."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from shiftlab.label_space.transferability import transferability

    net = _net(work.source, work.seed, str(folder))
    features = net.features(known.X)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    answers = model.fit(features, known.y).predict(net.features(test.X))
    scores = transferability(None, features, known.y, source_proba=net.predict_proba(known.X))
    return np.asarray(answers), {name: round(value, 6) for name, value in scores.items()}


def _net_file(domain: str, seed: int, folder: str | Path) -> Path:
    return Path(folder) / f"{domain}-{seed}.safetensors"


@functools.lru_cache(maxsize=8)
def _net(domain: str, seed: int, folder: str) -> Any:
    from shiftlab.deep import TrainedNet

    return TrainedNet.load(_net_file(domain, seed, folder), device="cpu")


def untrained(known: Domain, seed: int) -> Any:
    """Build a digit network with fresh weights for these images and labels.

    Parameters
    ----------
    known : Domain
        Labelled images.
    seed : int
        Of the weights.

    Returns
    -------
    TrainedNet
    """
    import torch

    from shiftlab.deep import TrainedNet, as_image_array, build_backbone
    from shiftlab.deep.devices import seeded

    shape = as_image_array(known.X).shape[1:]
    classes = np.unique(known.y)
    with seeded(seed, torch.device("cpu")):
        net = build_backbone("digit_cnn", shape[2], len(classes))
    return TrainedNet(net, classes, shape, backbone="digit_cnn", device="cpu")


def _train_source(
    domain: str,
    seed: int,
    settings: Mapping[str, Any],
    shape: tuple[int, int],
    root: str | None,
    folder: Path,
) -> None:
    from shiftlab.deep import train_classifier

    path = _net_file(domain, seed, folder)
    if path.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = _images(domain, seed, *shape, root).take(np.arange(int(settings["n_source"])))
    net = train_classifier(
        rows.X,
        rows.y,
        epochs=int(settings["source_epochs"]),
        checkpoint=path.with_suffix(".part"),
        device="cpu",
        random_state=derive_seed("network", domain, seed),
    )
    net.save(path)
    path.with_suffix(".part").unlink()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--root``, ``--out``, ``--jobs``, ``--methods``, ``--seconds`` and
        ``--report``; None reads them from the process.
    """
    parser = study_parser("few_labels", data="the digits", cells=True)
    parser.add_argument("--methods", nargs="*", help="only these; all by default")
    given = parser.parse_args(arguments)
    settings = read_settings(given.folder)
    shared = (settings, given.root, str(given.out / "nets"))
    cells = {cell.key: (cell, *shared) for cell in cells_of(settings)}

    def plan(left: list[str]) -> list[Task]:
        """Put each source's network before the first cell that starts from it."""
        tasks: dict[Any, Task] = {}
        for key in left:
            cell = cells[key][0]
            if given.methods and cell.method not in given.methods:
                continue
            net = (cell.source, cell.seed)
            needs = () if cell.source == "-" else (net,)
            for name in needs:
                tasks.setdefault(name, Task(name, (net, *shared)))
            tasks[key] = Task(key, cells[key], needs)
        return list(tasks.values())

    rows = run_cells(
        given, cells, measure, key=("source", "target", "labels", "method", "seed"), plan=plan
    )
    write_atomically(given.folder / "curves.svg", draw_curves(rows))
    write_study(given.folder, FIELDS, rows, few_labels_block(rows, len(cells)))


if __name__ == "__main__":
    main()

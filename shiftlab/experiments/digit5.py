"""The Digit-5 study: every source against every target, method and seed."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shiftlab.domain import Domain
from shiftlab.experiments.grid import GridError, Task
from shiftlab.experiments.illustrate import data_signature
from shiftlab.experiments.methods import METHODS, Method, Transfer
from shiftlab.experiments.names import did_you_mean
from shiftlab.experiments.resume import RESULTS, Watch, run_unfinished, versions
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.settings import REST, Digit5Settings, parts_of, short_hash
from shiftlab.experiments.tables import read_cells

if TYPE_CHECKING:
    from shiftlab.data import DigitSource

__all__ = [
    "RESULTS",
    "Study",
    "adapted_net",
    "draw_digits",
    "plan_digit5",
    "run_digit5",
    "trained_net",
]

_NETS = "nets"
_SNAPSHOTS = "snapshots"
_ADAPTED = "adapted"
_DEEP = ("torch", "accelerate", "safetensors")


def _load_digits(domain: str, split: str, settings: Digit5Settings, root: str | None) -> Domain:
    from shiftlab.data import load_digits5

    return load_digits5(
        domain,
        split,  # type: ignore[arg-type]
        size=settings.size,
        channels=settings.channels,  # type: ignore[arg-type]
        root=root,
        source=settings.source_data,  # type: ignore[arg-type]
    )


def _describe_digits(settings: Digit5Settings, root: str | None) -> Sequence[DigitSource]:
    from shiftlab.data import describe_digits5

    return describe_digits5(root, settings.source_data)  # type: ignore[arg-type]


def _train_net(images: Any, labels: Any, settings: Digit5Settings, seed: int) -> Any:
    from shiftlab.deep import train_classifier

    return train_classifier(
        images, labels, backbone=settings.network, epochs=settings.epochs, random_state=seed
    )


def _load_net(path: Path) -> Any:
    from shiftlab.deep import TrainedNet

    return TrainedNet.load(path)


@dataclass(frozen=True)
class Study:
    """The moving parts of the study. With ``jobs > 1`` all must be module-level functions.

    Parameters
    ----------
    load : callable
        ``(domain, split, settings, root)`` to a labelled `Domain` of images.
    describe : callable
        ``(settings, root)`` to one record a domain: name, kind, stand_in, n_train, n_test.
    train : callable
        ``(images, labels, settings, seed)`` to a network with ``save(path)``.
    load_net : callable
        Path to the network, with ``predict(images)`` and ``features(images)``.
    methods : mapping of str to Method
        The rows of the grid.
    """

    load: Callable[[str, str, Digit5Settings, str | None], Domain] = _load_digits
    describe: Callable[[Digit5Settings, str | None], Sequence[Any]] = _describe_digits
    train: Callable[[Any, Any, Digit5Settings, int], Any] = _train_net
    load_net: Callable[[Path], Any] = _load_net
    methods: Mapping[str, Method] = field(default_factory=lambda: dict(METHODS))


@dataclass(frozen=True)
class _Net:
    """Train the network of one domain and seed, unless its checkpoint is there."""

    study: Study
    settings: Digit5Settings
    root: str | None
    domain: str
    seed: int
    path: Path

    def __str__(self) -> str:
        return f"network of {self.domain}, seed {self.seed}"


@dataclass(frozen=True)
class _Cell:
    """Measure one method on one transfer with one seed."""

    study: Study
    settings: Digit5Settings
    root: str | None
    source: str
    target: str
    method: str
    seed: int
    nets: Mapping[str, Path]
    snapshot: Path
    adapted: Path
    key: str
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.source} to {self.target}, {self.method}, seed {self.seed}"


def plan_digit5(
    settings: Digit5Settings, out: Path, *, root: str | None = None, study: Study | None = None
) -> list[Task]:
    """Lay out a study: the networks first, then the cells that need them.

    Parameters
    ----------
    settings : Digit5Settings
        What to run.
    out : Path
        Folder of the results and checkpoints.
    root : str or None, default=None
        Folder of the user's own data; None is what ``SHIFTLAB_DATA`` names.
    study : Study, default=None
        The moving parts; None is the real ones.

    Returns
    -------
    list of Task
        A network's task is named by its checkpoint, a cell's by its key.

    Raises
    ------
    ValueError
        If a method is unknown.
    """
    study = study or Study()
    unknown = [m for m in settings.methods if m not in study.methods]
    if unknown:
        raise ValueError(
            f"unknown method {unknown[0]!r}; {did_you_mean(unknown[0], study.methods)}"
        )
    records = {record.name: record for record in study.describe(settings, root)}
    data = data_signature(records.values())
    nets: list[Task] = []
    cells: list[Task] = []
    for seed in range(settings.seeds):
        paths: dict[str, Path] = {}
        pooled = [_sample(s, t) for s, t in settings.pairs if s == REST]
        for name in (*settings.domains, *pooled):
            path = trained_net(out, settings, name, _kind(records, name), seed)
            paths[name] = path
            nets.append(Task(str(path), _Net(study, settings, root, name, seed, path)))
        for source, target in settings.pairs:
            sample = _sample(source, target)
            for method in settings.methods:
                kinds = {"source": _kind(records, sample), "target": records[target].kind}
                facts = {
                    "settings": short_hash(settings.result()),
                    "data": data,
                    "source_data": settings.source_data,
                    "source_kind": kinds["source"],
                    "target_kind": kinds["target"],
                    "source_stand_in": any(records[d].stand_in for d in _domains(sample)),
                    "target_stand_in": bool(records[target].stand_in),
                }
                key = f"{source}:{target}:{method}:{seed}:" + short_hash(
                    {**settings.result(), "kinds": kinds}
                )
                cell = _Cell(
                    study=study,
                    settings=settings,
                    root=root,
                    source=source,
                    target=target,
                    method=method,
                    seed=seed,
                    nets=paths,
                    snapshot=out / _SNAPSHOTS / f"{short_hash({'key': key})}.safetensors",
                    adapted=adapted_net(out, key),
                    key=key,
                    facts=facts,
                )
                owner = _owner(cell)
                needs = () if owner is None else (str(paths[owner]),)
                cells.append(Task(key, cell, needs))
    return nets + cells


_REST_OF = "rest-of-"


def _sample(source: str, target: str) -> str:
    """Name what is drawn for a source: a domain, or all but the target."""
    return _REST_OF + target if source == REST else source


def _owner(cell: _Cell) -> str | None:
    """Name the sample whose network the method of a cell starts from."""
    of = cell.study.methods[cell.method].net
    return {"source": _sample(cell.source, cell.target), "target": cell.target, None: None}[of]


def _domains(sample: str) -> tuple[str, ...]:
    target = sample.removeprefix(_REST_OF)
    return (sample,) if target == sample else parts_of(REST, target)


def _kind(records: Mapping[str, Any], sample: str) -> str:
    return "+".join(sorted({records[domain].kind for domain in _domains(sample)}))


def trained_net(out: Path, settings: Digit5Settings, domain: str, kind: str, seed: int) -> Path:
    """Return where the network is kept that was trained on one domain."""
    trained_by = {**settings.training(), "kind": kind}
    return out / _NETS / f"{domain}-seed{seed}-{short_hash(trained_by)}.safetensors"


def adapted_net(out: Path, key: str) -> Path:
    """Return where the network is kept that a cell adapted, for methods that adapt one."""
    return out / _ADAPTED / f"{short_hash({'key': key})}.safetensors"


def run_digit5(
    settings: Digit5Settings | None = None,
    *,
    out: str | os.PathLike[str] = "runs/digit5",
    root: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    study: Study | None = None,
    watch: Watch | None = None,
    known: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Run the cells of a Digit-5 study that are not finished yet.

    A seed draws ``n_train`` training images of the source and of the target and ``n_test``
    test images of the target; the draw of a domain depends on domain, split and seed alone.
    The source "rest" is the training images of the four domains that are not the target.
    One network is trained a domain and seed, kept as a checkpoint, and shared by all cells.
    Methods see the test images, never their labels; networks keep their last epoch.
    ``source-only`` is the source's network on the target, ``target-supervised`` the target's.

    Each finished cell is on the disk before the next is awaited, and a deep adapter keeps its
    state after each epoch, so a run that was stopped in any way goes on where it was. Results of
    other settings in the same folder stay apart.

    Parameters
    ----------
    settings : Digit5Settings, default=None
        What to run; None is the full study.
    out : path, default="runs/digit5"
        Folder of ``results.jsonl`` and of the checkpoints.
    root : path, default=None
        Folder of your own data; None is what ``SHIFTLAB_DATA`` names.
    jobs : int, default=1
        Processes. The cores are shared among them.
    study : Study, default=None
        Other data, networks or methods.
    watch : callable, default=None
        Gets the iterator of ``(task, result)``, the unfinished tasks and ``jobs``, and
        yields what it got; for a progress bar.
    known : path, default=None
        A ``results.csv`` of such a study. Its cells of the same settings and kinds of data are
        not run again; they are not among what is returned.

    Returns
    -------
    list of dict
        The results of these settings, finished now or before.

    Raises
    ------
    ValueError
        If a setting is wrong; nothing has run then.
    FileNotFoundError
        If there is no file `known`.
    ImportError
        If torch, or another part of the extra ``deep``, is missing.
    GridError
        If a cell fails or another run is writing to ``out``. Finished cells are kept.
    """
    if study is None:
        _need_deep()
    settings = settings or Digit5Settings()
    folder = Path(out)
    tasks = plan_digit5(settings, folder, root=None if root is None else str(root), study=study)
    measured = _measured_before(tasks, known)
    for name in (_NETS, _SNAPSHOTS, _ADAPTED):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return run_unfinished(
        folder,
        [str(t.name) for t in tasks if isinstance(t.payload, _Cell)],
        lambda done: _unfinished(tasks, done | measured),
        _do,
        jobs=jobs,
        watch=watch,
    )


def _need_deep() -> None:
    """Say what is missing before anything is loaded, without importing it."""
    missing = [name for name in _DEEP if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the networks of the study need {', '.join(missing)}; install it with: "
            "pip install 'shiftlab[deep]'"
        )


def _measured_before(tasks: Sequence[Task], known: str | os.PathLike[str] | None) -> set[str]:
    """Return the keys of the cells that a table has."""
    if known is None:
        return set()
    lines = read_cells(Path(known).read_text(encoding="utf-8"))
    found = set()
    for task in tasks:
        if isinstance(cell := task.payload, _Cell):
            line = lines.get((cell.source, cell.target, cell.method, cell.seed), {})
            if all(line.get(name) == cell.facts[name] for name in ("settings", "data")):
                found.add(cell.key)
    return found


def _unfinished(tasks: Sequence[Task], done: set[str]) -> list[Task]:
    """Leave out finished cells, and networks that are there or that nobody needs now."""
    cells = [t for t in tasks if isinstance(t.payload, _Cell) and t.name not in done]
    needed = {name for t in cells for name in t.needs}
    nets = [t for t in tasks if t.name in needed and not _is_whole(t.payload)]
    return nets + cells


def _is_whole(net: _Net) -> bool:
    if not net.path.is_file():
        return False
    try:
        net.study.load_net(net.path)
    except ValueError:  # damaged: train it again
        return False
    return True


# -- in a worker process ------------------------------------------------------------------


def _do(task: _Net | _Cell) -> dict[str, Any]:
    started = time.perf_counter()
    if isinstance(task, _Net):
        drawn = _draw(task, task.domain, "train")
        seed = derive_seed("train", task.domain, task.seed)
        net = task.study.train(drawn.X, drawn.y, task.settings, seed)
        net.save(task.path)
        return {"seconds": time.perf_counter() - started}
    return _measure(task, started)


def _measure(cell: _Cell, started: float) -> dict[str, Any]:
    method = cell.study.methods[cell.method]
    sample = _sample(cell.source, cell.target)
    source, target = (_draw(cell, name, "train") for name in (sample, cell.target))
    test = _draw(cell, cell.target, "test")
    owner = _owner(cell)
    curves: dict[str, Any] = {}
    predicted = method.predict(
        Transfer(
            source=source,
            target=method.visible(target, cell.settings),
            test=test.X,
            net=None if owner is None else _net_of(cell.study, cell.nets[owner]),
            settings=cell.settings,
            seed=derive_seed("method", cell.method, cell.source, cell.target, cell.seed),
            checkpoint=cell.snapshot,
            keep=functools.partial(_keep, cell.adapted, curves),
        )
    )
    cell.snapshot.unlink(missing_ok=True)
    if np.shape(predicted) != (len(test),):
        raise GridError(f"{cell.method} gave {np.shape(predicted)} labels for {len(test)} images")
    return {
        "key": cell.key,
        "source": cell.source,
        "target": cell.target,
        "method": cell.method,
        "seed": cell.seed,
        # The one place where labels of the target's test images are read.
        "accuracy": float(np.mean(predicted == test.y)),
        "predicted": _digits(predicted),
        "wanted": _digits(test.y),
        **curves,
        "n_train_source": len(source),
        "n_train_target": len(target),
        "n_test": len(test),
        "seconds": round(time.perf_counter() - started, 3),
        **cell.facts,
        "protocol": cell.settings.result(),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _keep(path: Path, curves: dict[str, Any], net: Any) -> None:
    net.save(path)
    if net.history is not None:
        curves["history"] = dataclasses.asdict(net.history)


def _digits(labels: Any) -> str:
    """Write labels from 0 to 9 as a word, the shortest that a line of results can hold."""
    return "".join(str(int(label)) for label in labels)


def _draw(task: _Net | _Cell, domain: str, split: str) -> Domain:
    return draw_digits(task.study, task.settings, task.root, domain, split, task.seed)


def draw_digits(
    study: Study, settings: Digit5Settings, root: str | None, domain: str, split: str, seed: int
) -> Domain:
    """Draw a domain's images of one seed, in random order, as all cells of a study do.

    ``rest-of-mnist`` is the draws of the four others, as sources of one domain.
    """
    if len(names := _domains(domain)) > 1:
        parts = [draw_digits(study, settings, root, name, split, seed) for name in names]
        return Domain.concat(parts)
    everything = _load_cached(study, domain, split, settings, root)
    order = np.random.RandomState(derive_seed("draw", domain, split, seed))
    n = settings.n_train if split == "train" else settings.n_test
    return everything.take(order.permutation(len(everything))[:n])


# A worker meets the same few domains and networks again and again.
_loaded: dict[tuple[Any, ...], Domain] = {}


def _load_cached(
    study: Study, domain: str, split: str, settings: Digit5Settings, root: str | None
) -> Domain:
    key = (study.load, domain, split, settings.size, settings.channels, settings.source_data, root)
    if key not in _loaded:
        _loaded[key] = study.load(domain, split, settings, root)
    return _loaded[key]


_nets: dict[tuple[Any, Path], Any] = {}


def _net_of(study: Study, path: Path) -> Any:
    key = (study.load_net, path)
    if key not in _nets:
        _nets[key] = study.load_net(path)
    return _nets[key]

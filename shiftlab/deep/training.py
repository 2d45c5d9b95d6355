"""The one training loop: AdamW, schedules, clipping, early stopping, resuming, own random state."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from shiftlab.deep.batches import draw_epoch, steps_an_epoch
from shiftlab.deep.devices import accelerator_on, seeded
from shiftlab.deep.schedules import SCHEDULES
from shiftlab.deep.snapshot import Snapshot

__all__ = ["History", "Hooks", "Plan", "TrainingError", "fit_loop"]


class TrainingError(RuntimeError):
    """Training cannot go on, for example because the loss is not a number."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; what :func:`fit_loop` follows.

    Parameters
    ----------
    epochs : int
        Passes over the training rows, at most.
    batch_size : int
        Rows of a gradient step.
    min_steps : int, default=1
        Gradient steps of an epoch, at least: a smaller set is gone through
        several times an epoch.
    weight_decay : float, default=0.0
        AdamW's, on weights; biases and norm layers have none.
    clip : float, default=1.0
        Largest Euclidean norm of the whole gradient.
    patience : int or None, default=None
        Stop after this many epochs without a lower validation loss.
    schedule : {"one_cycle", "cosine", "step", "constant"}, default="one_cycle"
        How the learning rate moves.
    accumulate : int, default=1
        Batches whose gradients are averaged for one step of the optimiser,
        where the device has no memory for larger batches.
    """

    epochs: int
    batch_size: int
    min_steps: int = 1
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int | None = None
    schedule: str = "one_cycle"
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Refuse lengths and sizes that make no training."""
        lowest = {"epochs": 1, "batch_size": 2, "min_steps": 1, "patience": 1, "accumulate": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {list(SCHEDULES)}, got {self.schedule!r}")


@dataclass
class History:
    """What happened in each epoch.

    Parameters
    ----------
    loss : list of float
        Mean training loss of each epoch.
    validation_loss : list of float
        Validation loss after each epoch; empty without validation rows.
    best_epoch : int or None
        The epoch (from 0) whose weights were kept; None for the last one
        because there was no validation.
    source_loss : list of float
        Mean cross-entropy on the source's labels in each epoch of an adaptation.
    target_share : list of float
        The largest class among those that an adaptation predicted for the
        target in each epoch, as a part of them.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    source_loss: list[float] = field(default_factory=list)
    target_share: list[float] = field(default_factory=list)


def _parameter_groups(
    groups: list[tuple[nn.Module, float]], weight_decay: float
) -> list[dict[str, Any]]:
    out = []
    for module, rate in groups:
        trained = [p for p in module.parameters() if p.requires_grad]
        for decay, members in (
            (weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if members:
                out.append({"params": members, "lr": rate, "weight_decay": decay})
    return out


@contextmanager
def _progress_bar(shown: bool, text: str, total: int) -> Iterator[Callable[[str, int], None]]:
    if not shown:
        yield lambda note, epochs: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} epochs {task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(text, total=total, note="")
        yield lambda note, epochs: bar.update(task, advance=epochs, note=note)


@dataclass(frozen=True)
class Hooks:
    """What happens around the steps of :func:`fit_loop`, beside the step itself.

    Parameters
    ----------
    before_step : callable, default=None
        Called with the part of the training that is done, in [0, 1].
    after_step : callable, default=None
        Called after the optimiser's step.
    after_epoch : callable, default=None
        Called after an epoch whose losses were finite, with the part that is done and
        the history.
    """

    before_step: Callable[[float], None] | None = None
    after_step: Callable[[], None] | None = None
    after_epoch: Callable[[float, History], None] | None = None


def fit_loop(
    net: nn.Module,
    loss: Callable[..., Tensor],
    n_rows: int | Sequence[int],
    *,
    groups: list[tuple[nn.Module, float]],
    plan: Plan,
    device: torch.device,
    precision: str,
    seed: int,
    index_device: torch.device | Sequence[torch.device] | None = None,
    validation_loss: Callable[[], float] | None = None,
    hooks: Hooks = Hooks(),
    snapshot: Snapshot | None = None,
    progress: bool = False,
    text: str = "training",
) -> History:
    """Minimise ``E[loss(batch)]`` over the rows by AdamW.

    Parameters
    ----------
    net : torch.nn.Module
        Trained in place; left in evaluation mode, with float32 weights. All
        modules whose state must outlive a stop are in it.
    loss : callable
        Row indices (b,), of each set of rows, to a scalar loss with a
        gradient; runs under autocast.
    n_rows : int or sequence of int
        Rows to draw from, at least 2; of several sets, see ``draw_epoch``.
    groups : list of (torch.nn.Module, float)
        Parts of the net with their peak learning rates. Parameters that ask
        for no gradient are left out.
    plan : Plan
        Length, batch size, schedule, weight decay, clipping, patience.
    device : torch.device
        Where the net lies and runs.
    precision : str
        "no" or "bf16", from ``resolve_precision``.
    seed : int
        Of the row order and, two above it, of dropout. No global generator is
        changed.
    index_device : torch.device, sequence of them or None, default=None
        Where `loss` wants its indices, of all sets or of each; None is the CPU.
    validation_loss : callable or None, default=None
        Called after each epoch with the net in evaluation mode. The weights of
        its lowest value are restored at the end.
    hooks : Hooks, default=Hooks()
        What else happens around the steps.
    snapshot : Snapshot or None, default=None
        Where the state is kept after each epoch, and taken up again.
    progress : bool, default=False
        Show a progress bar with the time left.
    text : str, default="training"
        What the bar is called.

    Returns
    -------
    History

    Raises
    ------
    TrainingError
        If a loss is NaN or infinite (noticed at the end of the epoch, because
        looking at every step would make the CPU wait for the GPU), or the
        device has not enough memory. A snapshot stays that of the last epoch
        that ended well.
    """
    sizes = [n_rows] if isinstance(n_rows, int) else list(n_rows)
    homes = [index_device] * len(sizes) if not isinstance(index_device, Sequence) else index_device
    generator = torch.Generator().manual_seed(seed)
    fused = device.type in {"cpu", "cuda"}
    optimiser = torch.optim.AdamW(_parameter_groups(groups, plan.weight_decay), fused=fused)
    peaks = [group["lr"] for group in optimiser.param_groups]
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    schedule = SCHEDULES[plan.schedule]
    total = plan.epochs * steps_an_epoch(sizes, plan.batch_size, plan.min_steps)
    history, kept, start = History(), dict[str, Tensor](), 0

    with (
        seeded(seed + 2, device) as generators,
        accelerator_on(device, precision, plan.accumulate) as accelerator,
        _progress_bar(progress, text, plan.epochs) as advance,
        _memory_errors_explained(plan, device, snapshot),
    ):
        own = {"rows": generator, **generators}
        if snapshot is not None and (found := snapshot.load(net, optimiser, own)) is not None:
            kept, saved = found
            history, start = History(**saved), len(saved["loss"])
            advance("resumed", start)
        step = start * total // plan.epochs
        optimiser.zero_grad(set_to_none=True)
        for epoch in range(start, plan.epochs):
            if _is_spent(plan, history):
                break
            net.train()
            summed = torch.zeros((), device=device)
            batches = draw_epoch(sizes, plan.batch_size, plan.min_steps, generator)
            for position, rows in enumerate(batches):
                rows = tuple(map(_to_device, rows, homes))
                done = step / max(total - 1, 1)
                if hooks.before_step is not None:
                    hooks.before_step(done)
                with accelerator.autocast() if precision != "no" else nullcontext():
                    value = loss(*rows)
                accelerator.backward(value)
                summed += value.detach()
                step += 1
                if step % plan.accumulate and position + 1 < len(batches):
                    continue
                factor = schedule(done)
                for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                nn.utils.clip_grad_norm_(trained, plan.clip)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                if hooks.after_step is not None:
                    hooks.after_step()
            mean = float(summed) / len(batches)
            if not math.isfinite(mean):
                raise TrainingError(
                    f"the training loss became {mean} in epoch {epoch + 1} of {plan.epochs}; lower "
                    f"learning_rate (now {max(peaks):g}) or look for broken images or weights"
                    + _last_good(snapshot)
                )
            history.loss.append(mean)
            note = f"loss {mean:.3f}"
            if validation_loss is not None:
                net.eval()
                measured = validation_loss()
                if measured < min(history.validation_loss, default=math.inf):
                    history.best_epoch = epoch
                    kept = {k: v.detach().clone() for k, v in net.state_dict().items()}
                history.validation_loss.append(measured)
                note += f", validation {measured:.3f}"
            if hooks.after_epoch is not None:
                hooks.after_epoch(step / total, history)
            if snapshot is not None:
                snapshot.save(net, optimiser, own, kept, asdict(history))
            advance(note, 1)
    if kept:
        net.load_state_dict(kept)
    net.eval()
    return history


def _is_spent(plan: Plan, history: History) -> bool:
    """Whether the validation loss has not fallen for `patience` epochs."""
    if plan.patience is None or history.best_epoch is None:
        return False
    return len(history.loss) - 1 - history.best_epoch >= plan.patience


def _to_device(rows: Tensor, device: torch.device | None) -> Tensor:
    if device is None or device.type == "cpu":
        return rows
    rows = rows.pin_memory() if device.type == "cuda" else rows
    return rows.to(device, non_blocking=True)


def _last_good(snapshot: Snapshot | None) -> str:
    if snapshot is None or not os.path.exists(snapshot.path):
        return ""
    return f"; the last epoch that ended well is in {os.fspath(snapshot.path)}"


@contextmanager
def _memory_errors_explained(
    plan: Plan, device: torch.device, snapshot: Snapshot | None
) -> Iterator[None]:
    """Turn what a device says when its memory is full into one clear error."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # The CPU's allocator and MPS raise plain errors that say so in words.
        words = re.search("not enough memory|out of memory|allocate memory", str(error))
        if not words and not isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
            raise
        raise TrainingError(
            f"out of memory on {device} with batch_size={plan.batch_size}; lower batch_size, take "
            "smaller images or a smaller backbone" + _last_good(snapshot)
        ) from error

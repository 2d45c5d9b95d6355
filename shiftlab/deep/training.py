"""The one training loop: AdamW, one-cycle rate, clipping, early stopping, own random state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from shiftlab.deep.devices import accelerator_on, seeded

__all__ = ["History", "Plan", "TrainingError", "batch_sizes", "fit_loop", "one_cycle"]


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
    """

    epochs: int
    batch_size: int
    min_steps: int = 1
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuse lengths and sizes that make no training."""
        lowest = {"epochs": 1, "batch_size": 2, "min_steps": 1, "patience": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay!r}")


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
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int | None = None


def one_cycle(progress: float, warmup: float = 0.2) -> float:
    """Compute the one-cycle factor on the learning rate (Smith, 2018).

    Half a cosine from 1/25 up to 1 in the first `warmup` of the training, and
    half a cosine down to 1/10,000 in the rest.

    Parameters
    ----------
    progress : float
        Part of the steps done, in [0, 1].
    warmup : float, default=0.2
        Where the peak lies.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(one_cycle(p), 4) for p in (0.0, 0.2, 1.0)]
    [0.04, 1.0, 0.0001]
    """
    if progress < warmup:
        low, part = 1 / 25, 1.0 - progress / warmup
    else:
        low, part = 1e-4, (progress - warmup) / (1.0 - warmup)
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * min(part, 1.0)))


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """Cut n rows into batches, none of a single row, which batch norm cannot take.

    A last batch of one row joins the batch before it.

    Parameters
    ----------
    n : int
        Rows.
    batch_size : int
        Rows of a full batch, at least 2.

    Returns
    -------
    list of int
        Their sum is n.

    Examples
    --------
    >>> batch_sizes(9, 4), batch_sizes(10, 4)
    ([4, 5], [4, 4, 2])
    """
    full, rest = divmod(n, batch_size)
    sizes = [batch_size] * full
    if rest == 1 and full:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


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
def _progress_bar(shown: bool, text: str, total: int) -> Iterator[Callable[[str], None]]:
    if not shown:
        yield lambda note: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} epochs {task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(text, total=total, note="")
        yield lambda note: bar.update(task, advance=1, note=note)


def _draw_epoch(n: int, plan: Plan, generator: torch.Generator) -> list[Tensor]:
    """Shuffle the rows, several times over when one pass has fewer than min_steps batches."""
    batches: list[Tensor] = []
    while len(batches) < plan.min_steps or not batches:
        order = torch.randperm(n, generator=generator)
        batches.extend(torch.split(order, batch_sizes(n, plan.batch_size)))
    return batches


def fit_loop(
    net: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n_rows: int,
    *,
    groups: list[tuple[nn.Module, float]],
    plan: Plan,
    device: torch.device,
    precision: str,
    seed: int,
    index_device: torch.device | None = None,
    validation_loss: Callable[[], float] | None = None,
    progress: bool = False,
    text: str = "training",
) -> History:
    """Minimise ``E[loss(batch)]`` over the rows by AdamW with a one-cycle rate.

    Parameters
    ----------
    net : torch.nn.Module
        Trained in place; left in evaluation mode, with float32 weights.
    loss : callable
        Row indices (b,) to a scalar loss with a gradient; runs under autocast.
    n_rows : int
        Rows to draw from, at least 2.
    groups : list of (torch.nn.Module, float)
        Parts of the net with their peak learning rates. Parameters that ask
        for no gradient are left out.
    plan : Plan
        Length, batch size, weight decay, clipping, patience.
    device : torch.device
        Where the net lies and runs.
    precision : str
        "no" or "bf16", from ``resolve_precision``.
    seed : int
        Of the row order and, two above it, of dropout. No global generator is
        changed.
    index_device : torch.device or None, default=None
        Where `loss` wants its indices; None is the CPU.
    validation_loss : callable or None, default=None
        Called after each epoch with the net in evaluation mode. The weights of
        its lowest value are restored at the end.
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
        If a loss is NaN or infinite; noticed at the end of the epoch, because
        looking at every step would make the CPU wait for the GPU.
    """
    generator = torch.Generator().manual_seed(seed)
    fused = device.type in {"cpu", "cuda"}
    optimiser = torch.optim.AdamW(_parameter_groups(groups, plan.weight_decay), fused=fused)
    peaks = [group["lr"] for group in optimiser.param_groups]
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    steps_an_epoch = max(len(batch_sizes(n_rows, plan.batch_size)), 1)
    steps_an_epoch *= math.ceil(plan.min_steps / steps_an_epoch)
    total = plan.epochs * steps_an_epoch
    history, best, step = History(), float("inf"), 0
    kept: dict[str, Tensor] = {}

    with (
        seeded(seed + 2, device),
        accelerator_on(device, precision) as accelerator,
        _progress_bar(progress, text, plan.epochs) as advance,
    ):
        for epoch in range(plan.epochs):
            net.train()
            summed = torch.zeros((), device=device)
            batches = _draw_epoch(n_rows, plan, generator)
            for rows in batches:
                if index_device is not None and index_device.type != "cpu":
                    rows = rows.pin_memory() if index_device.type == "cuda" else rows
                    rows = rows.to(index_device, non_blocking=True)
                factor = one_cycle(step / max(total - 1, 1))
                for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                with accelerator.autocast() if precision != "no" else nullcontext():
                    value = loss(rows)
                optimiser.zero_grad(set_to_none=True)
                accelerator.backward(value)
                nn.utils.clip_grad_norm_(trained, plan.clip)
                optimiser.step()
                summed += value.detach()
                step += 1
            mean = float(summed) / len(batches)
            if not math.isfinite(mean):
                raise TrainingError(
                    f"the training loss became {mean} in epoch {epoch + 1} of {plan.epochs}; "
                    f"lower learning_rate (now {max(peaks):g}) or look for broken images or weights"
                )
            history.loss.append(mean)
            note = f"loss {mean:.3f}"
            if validation_loss is not None:
                net.eval()
                measured = validation_loss()
                history.validation_loss.append(measured)
                note += f", validation {measured:.3f}"
                if measured < best:
                    best, history.best_epoch = measured, epoch
                    kept = {k: v.detach().clone() for k, v in net.state_dict().items()}
            advance(note)
            if (
                plan.patience is not None
                and history.best_epoch is not None
                and epoch - history.best_epoch >= plan.patience
            ):
                break
    if kept:
        net.load_state_dict(kept)
    net.eval()
    return history

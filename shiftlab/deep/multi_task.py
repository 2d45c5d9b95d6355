"""Train one body with a head for each of several tasks."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.augment import Augmentation
from shiftlab.deep.backbones import BlockNet, Scale, as_block_net, build_backbone
from shiftlab.deep.classifier import encode_labels
from shiftlab.deep.devices import resolve_precision, seeded
from shiftlab.deep.fingerprint import fingerprint
from shiftlab.deep.inputs import as_input_array, make_store
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.snapshot import Snapshot
from shiftlab.deep.training import History, Plan, fit_loop
from shiftlab.deep.transfer import replace_head

__all__ = ["joint_loss", "train_together"]

_STEPS_AN_EPOCH = 20
_WEIGHT_DECAY = 0.05


def joint_loss(
    scores: Sequence[Tensor],
    codes: Sequence[Tensor],
    weights: Sequence[float],
    row_weights: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Compute the weighted sum of the tasks' mean cross-entropies.

    Parameters
    ----------
    scores : sequence of Tensor, each of shape (n_t, k_t)
        Of each task's rows by its own head.
    codes : sequence of Tensor of int64, each of shape (n_t,)
        Their classes.
    weights : sequence of float
        Of the tasks.
    row_weights : sequence of Tensor of shape (n_t,) or None, default=None
        Of the rows of each task; the mean is that of weight times cross-entropy.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> two = [torch.zeros(1, 2), torch.zeros(3, 4)]
    >>> codes = [torch.tensor([0]), torch.tensor([0, 1, 2])]
    >>> round(joint_loss(two, codes, [1.0, 0.5]).item(), 4)  # log 2 + log(4) / 2
    1.3863
    """
    parts = []
    given = [None] * len(scores) if row_weights is None else row_weights
    for s, c, weight, of_rows in zip(scores, codes, weights, given, strict=True):
        losses = F.cross_entropy(s.float(), c, reduction="none")
        parts.append(weight * (losses if of_rows is None else of_rows * losses).mean())
    return torch.stack(parts).sum()


def train_together(
    inputs: Sequence[Any],
    labels: Sequence[Any],
    label_sets: Sequence[NDArray[Any]],
    *,
    weights: Sequence[float],
    row_weights: Sequence[NDArray[Any] | None],
    backbone: Any,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    augmentation: Augmentation | None,
    checkpoint: str | os.PathLike[str] | None,
    device: torch.device,
    seed: int,
    progress: bool = False,
) -> tuple[list[TrainedNet], History]:
    """Minimise :func:`joint_loss`, a batch of each task in each step.

    Parameters
    ----------
    inputs : sequence of array-like
        Images or rows of each task, of one shape.
    labels : sequence of array-like
        Their labels.
    label_sets : sequence of ndarray
        Classes of each head.
    weights : sequence of float
        Of the tasks.
    row_weights : sequence of ndarray or None
        Of the rows of each task; scaled to a mean of one.
    backbone : str, torch.nn.Module or pair of them
        Whose body is shared.
    epochs, batch_size, learning_rate
        As in :class:`Plan`; an epoch goes through the largest task, batches are of each.
    augmentation : Augmentation or None
        Changes of all training images.
    checkpoint : path or None
        A file that holds the state after each epoch.
    device : torch.device
        Where to run.
    seed : int
        Decides every random choice.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    nets : list of TrainedNet
        One a task; they share the body.
    history : History
    """
    arrays = [as_input_array(rows, name=f"task {t}") for t, rows in enumerate(inputs)]
    shape = arrays[0].shape[1:]
    codes = [
        encode_labels(y, n=len(rows), classes=classes, name=f"labels of task {t}")[1]
        for t, (y, rows, classes) in enumerate(zip(labels, arrays, label_sets, strict=True))
    ]
    with seeded(seed, torch.device("cpu")):
        if isinstance(backbone, str):
            body = build_backbone(backbone, shape[-1], len(label_sets[0]))
        else:
            body = copy.deepcopy(as_block_net(backbone))
    stores = [make_store(rows, device) for rows in arrays]
    for module in body.modules():
        if isinstance(module, Scale):
            module.set_from([store.pixels.cpu() for store in stores])
    heads = []
    for t, classes in enumerate(label_sets):
        one = BlockNet(nn.Flatten(), copy.deepcopy(body.head))
        old = np.array([f"old {k}" for k in range(_outputs(one.head))])
        replace_head(one, old, np.array([f"new {k}" for k in range(len(classes))]), seed + t)
        heads.append(one.head)
    whole = nn.ModuleDict({"features": body.features, "heads": nn.ModuleList(heads)}).to(device)
    if len(shape) == 3:
        whole = whole.to(memory_format=torch.channels_last)
    nets = [BlockNet(body.features, head) for head in heads]
    targets = [torch.from_numpy(c).to(device) for c in codes]
    shares = [
        None if w is None else torch.tensor(w / np.mean(w), dtype=torch.float32, device=device)
        for w in row_weights
    ]
    generator = torch.Generator(device=device).manual_seed(seed + 1)

    def loss(*rows: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            parts = [store.batch(index) for store, index in zip(stores, rows, strict=True)]
            batch = torch.cat(parts)
            if augmentation is not None:
                batch = augmentation(batch, generator)
        features = torch.split(nets[0].embed(batch), [len(part) for part in parts])
        scores = [head(part) for head, part in zip(heads, features, strict=True)]
        places = [index.to(device) for index in rows]
        wanted = [y[index] for y, index in zip(targets, places, strict=True)]
        of_rows = [None if w is None else w[i] for w, i in zip(shares, places, strict=True)]
        return joint_loss(scores, wanted, weights, of_rows)

    snapshot = None
    if checkpoint is not None:
        settings = {"plan": (epochs, batch_size), "rate": learning_rate, "seed": seed}
        settings |= {"weights": list(weights), "change": augmentation}
        start = [
            *arrays,
            *codes,
            *(w for w in shares if w is not None),
            *whole.state_dict().values(),
        ]
        marks = {"augmentation": generator}
        snapshot = Snapshot(checkpoint, fingerprint(settings, start), marks)
    history = fit_loop(
        whole,
        loss,
        [len(rows) for rows in arrays],
        groups=[(whole, learning_rate)],
        plan=Plan(epochs, batch_size, _STEPS_AN_EPOCH, _WEIGHT_DECAY),
        device=device,
        precision=resolve_precision("auto" if len(shape) == 3 else "float32", device),
        seed=seed,
        index_device=[store.pixels.device for store in stores],
        snapshot=snapshot,
        progress=progress,
        text="MultiTask",
    )
    name = backbone if isinstance(backbone, str) else ""
    found = [
        TrainedNet(net, classes, shape, backbone=name, device=device)
        for net, classes in zip(nets, label_sets, strict=True)
    ]
    return found, history


def _outputs(head: nn.Module) -> int:
    return int([m for m in head.modules() if isinstance(m, nn.Linear)][-1].out_features)

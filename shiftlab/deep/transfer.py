"""Give a trained network a new head and train it on a few labelled images of another domain."""

from __future__ import annotations

import copy
import os
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor, nn

from shiftlab.deep.augment import Augmentation
from shiftlab.deep.backbones import BlockNet, as_block_net, build_backbone, rates_by_block
from shiftlab.deep.classifier import (
    check_fraction,
    check_rate,
    encode_labels,
    fit_classifier,
    stratified_split,
)
from shiftlab.deep.devices import LARGEST_SEED, resolve_device, resolve_precision, seeded
from shiftlab.deep.fingerprint import fingerprint
from shiftlab.deep.images import ImageStore, as_image_array
from shiftlab.deep.losses.co_tuning import class_relation
from shiftlab.deep.mixture import single_head
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.objectives import (
    PENALTIES,
    Objective,
    channel_attention,
    co_tuning_objective,
    delta_objective,
    l2_sp_objective,
    spectral_objective,
)
from shiftlab.deep.probe import fit_head
from shiftlab.deep.snapshot import Snapshot
from shiftlab.deep.stages import BATCH_NORMS, set_statistics, stage_hooks
from shiftlab.deep.training import History, Plan

__all__ = ["check_transferable", "fine_tune", "probe_head", "replace_head"]

# A handful of labels makes an epoch of one or two steps, too short to time a
# validation by; such an epoch goes through the rows several times.
_STEPS_AN_EPOCH = 8

# Fewer validation rows than this choose an epoch by luck, and are missed in
# training: with 10 labels a class, from MNIST to SVHN, a fifth held out cost
# three to five points of accuracy (mean of two seeds).
_LEAST_VALIDATION = 50
_VALIDATION_FRACTION = 0.2

# The probe sees each image and so many changed copies.
_VIEWS = 4
_HEAD_STRENGTH = 0.1

# DELTA's weights of channels take one forward pass a channel over so many rows.
_ATTENTION_ROWS = 64


def _last_linear(head: nn.Module) -> nn.Linear:
    last = head[-1] if isinstance(head, nn.Sequential) and len(head) else head
    if not isinstance(last, nn.Linear):
        raise TypeError(
            "the head must be a torch.nn.Linear or a Sequential that ends in one, so that it can "
            f"be replaced; got {type(last).__name__}"
        )
    return last


def check_transferable(
    backbone: str | nn.Module | tuple[nn.Module, nn.Module], freeze: int
) -> None:
    """Refuse a backbone that could not be fine-tuned, before it is trained for long.

    Parameters
    ----------
    backbone : str, torch.nn.Module or pair of them
        As in :func:`~shiftlab.deep.train_classifier`.
    freeze : int
        Blocks to freeze later.

    Raises
    ------
    TypeError
        If it is no network, or its head does not end in a ``Linear``.
    ValueError
        If its name is unknown or it has fewer than `freeze` blocks.

    Examples
    --------
    >>> check_transferable("digit_cnn", 9)
    Traceback (most recent call last):
    ...
    ValueError: freeze must be between 0 and 5, the number of blocks [...]; got 9
    """
    if isinstance(backbone, str):
        with seeded(0, torch.device("cpu")):
            net = build_backbone(backbone, 1, 2)
    else:
        net = as_block_net(backbone)
    net.check_freeze(freeze)
    _last_linear(net.head)


def replace_head(
    net: BlockNet, old_classes: NDArray[Any], new_classes: NDArray[Any], seed: int
) -> None:
    """Put a linear head for `new_classes` in place of the one for `old_classes`.

    Classes in both keep their row of weights; those that are new start as a
    fresh ``torch.nn.Linear`` does.

    Parameters
    ----------
    net : BlockNet
        Changed in place. Its head is a ``Linear``, a ``Sequential`` that ends in one, or a mixture
        of such, whose mean is taken.
    old_classes : ndarray, shape (k,)
        Labels of the present outputs.
    new_classes : ndarray, shape (m,)
        Labels of the outputs to come.
    seed : int
        Of the fresh rows.

    Raises
    ------
    TypeError
        If the head does not end in a ``Linear``.

    Examples
    --------
    >>> net = BlockNet(nn.Flatten(), nn.Linear(4, 2))
    >>> kept = net.head.weight[1].tolist()
    >>> replace_head(net, np.array([0, 1]), np.array([1, 7, 8]), seed=0)
    >>> net.head.out_features, net.head.weight[0].tolist() == kept
    (3, True)
    """
    head = net.head = single_head(net.head)
    last = _last_linear(head)
    if last.out_features != len(old_classes):
        raise ValueError(
            f"the head has {last.out_features} outputs but there are {len(old_classes)} classes"
        )
    with seeded(seed, torch.device("cpu")):
        fresh = nn.Linear(last.in_features, len(new_classes), bias=last.bias is not None)
    rows = {label: row for row, label in enumerate(old_classes.tolist())}
    with torch.no_grad():
        for row, label in enumerate(new_classes.tolist()):
            if label in rows:
                fresh.weight[row] = last.weight[rows[label]]
                if last.bias is not None:
                    fresh.bias[row] = last.bias[rows[label]]
    fresh = fresh.to(last.weight.device)
    if isinstance(head, nn.Sequential):
        head[-1] = fresh
    else:
        net.head = fresh


def probe_head(
    net: BlockNet,
    store: ImageStore,
    codes: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    *,
    augmentation: Augmentation | None,
    seed: int,
) -> None:
    """Fit the last layer on features that stand still, drawn to its present rows.

    Rows of new classes start at zero. The features are those of the images and, with
    `augmentation`, of some changed copies of each.

    Parameters
    ----------
    net : BlockNet
        Its last layer is set.
    store : ImageStore
        Labelled rows.
    codes : ndarray of int64, shape (n,)
        Their classes.
    fresh : ndarray of bool, shape (k,)
        Which rows of the head are new.
    augmentation : Augmentation or None
        Changes of the images.
    seed : int
        Of the changes.
    """
    last = _last_linear(net.head)
    below = net.head[:-1] if isinstance(net.head, nn.Sequential) else nn.Identity()
    generator = torch.Generator(device=store.device).manual_seed(seed)
    views = 1 if augmentation is None else 1 + _VIEWS
    parts: list[Tensor] = []
    net.eval()
    with torch.no_grad():
        for view in range(views):
            for rows in torch.split(torch.arange(len(store), device=store.pixels.device), 512):
                batch = store.batch(rows)
                if view and augmentation is not None:
                    batch = augmentation(batch, generator)
                parts.append(below(net.embed(batch)).float().cpu())
        start = last.weight.detach().cpu().numpy().astype(np.float64)
        bias = np.zeros(len(start)) if last.bias is None else last.bias.detach().cpu().numpy()
        start[fresh] = 0.0
        features = torch.cat(parts).numpy()
        # More views are no more labels: the penalty is that of n rows.
        weight, bias = fit_head(
            features, np.tile(codes, views), start, bias * ~fresh, strength=views * _HEAD_STRENGTH
        )
        last.weight.copy_(torch.from_numpy(weight))
        if last.bias is not None:
            last.bias.copy_(torch.from_numpy(bias))


def fine_tune(
    trained: TrainedNet,
    images: Any,
    labels: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    freeze: int = 0,
    layer_decay: float = 1.0,
    probe: bool = False,
    gradual: bool = False,
    penalty: str | None = None,
    strength: float | None = None,
    batch_norm: str = "batch",
    unlabelled: Any = None,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.05,
    augmentation: Augmentation | None = Augmentation(),  # noqa: B008
    validation_fraction: float | Literal["auto"] = "auto",
    patience: int | None = 10,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    random_state: int | np.random.RandomState | None = None,
    progress: bool = False,
) -> TrainedNet:
    """Train a copy of a network on, with a head for another label set.

    ``min_w  1/n sum_i -log softmax(net_w(augment(standardise(x_i))))[y_i] + penalty(w)``,
    started at the trained weights, by AdamW with a one-cycle rate whose peak
    for block b of B is ``learning_rate * layer_decay ** (B - b)``.

    Time is O(epochs * n) gradient evaluations; memory is the uint8 images and
    one batch of activations.

    Parameters
    ----------
    trained : TrainedNet
        Where to start; not changed.
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Of the shape that `trained` takes.
    labels : array-like, shape (n,)
        Of any kind; at least two classes.
    classes : array-like, shape (k,), default=None
        The label set, where it is larger than what `labels` shows.
    freeze : int, default=0
        Blocks, from the bottom, whose weights and batch-norm statistics stay.
    layer_decay : float, default=1.0
        Rate of a block over the rate of the one above it, in (0, 1].
    probe : bool, default=False
        Fit the head alone first (:func:`fit_head`), on the features as they are.
    gradual : bool, default=False
        Open the blocks one by one from the top, in the first half of the epochs.
    penalty : {"l2_sp", "delta", "bss", "co_tuning"} or None, default=None
        A regulariser of :mod:`shiftlab.deep.objectives`. "l2_sp" and "delta" take the
        place of the weight decay.
    strength : float or None, default=None
        Of the penalty; None is that of ``PENALTIES``.
    batch_norm : {"batch", "source", "target"}, default="batch"
        Statistics of batch norm above the frozen blocks: of the batches, and moving; those
        that the source left; or those of `unlabelled`, taken once.
    unlabelled : array-like of uint8, default=None
        Target images for ``batch_norm="target"``; None is `images`.
    epochs : int, default=40
        Passes over the images; an epoch has at least 8 steps. 0 leaves it at the probe.
    batch_size : int, default=32
        Images a step, at least 2.
    learning_rate : float, default=3e-3
        Peak rate of the head.
    weight_decay : float, default=0.05
        AdamW's; not on biases and norm layers.
    augmentation : Augmentation or None, default=Augmentation()
        Random changes of the training images; None for none.
    validation_fraction : float or "auto", default="auto"
        Part of each class that is held out and chooses the epoch to keep.
        "auto" is 0.2 where that is at least 50 images, and 0 otherwise: all
        images are trained on, and the last epoch is kept. A class too small
        for its part stays in training whole.
    patience : int or None, default=10
        Stop after this many epochs without a lower validation loss; None goes
        through all epochs.
    checkpoint : path or None, default=None
        A file that holds the state after each epoch. A training that was stopped goes on from
        it, and ends with the bits of one that was not.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Arithmetic of the forward pass.
    random_state : int, RandomState or None, default=None
        Decides every random choice.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    TrainedNet
        A new one, for the new label set.

    Raises
    ------
    TypeError
        If the images are not uint8, or the head does not end in a ``Linear``.
    ValueError
        If shapes, labels, device or a setting are wrong.
    TrainingError
        If the loss becomes NaN.

    References
    ----------
    J. Yosinski, J. Clune, Y. Bengio, H. Lipson. How transferable are features
    in deep neural networks? NeurIPS, 2014.

    J. Howard, S. Ruder. Universal language model fine-tuning for text
    classification. ACL, 2018.

    A. Kumar et al. Fine-tuning can distort pretrained features and underperform
    out-of-distribution. ICLR, 2022 (the probe first).

    Examples
    --------
    >>> from shiftlab.deep import train_classifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 16)
    >>> X = rng.integers(0, 60, (32, 12, 12), dtype=np.uint8)
    >>> X[y == 1, 3:9, 3:9] += 150
    >>> trained = train_classifier(X, y, epochs=3, device="cpu", random_state=0)
    >>> words = np.array(["empty", "full"])[y]
    >>> tuned = fine_tune(trained, 255 - X, words, epochs=2, device="cpu", random_state=0)
    >>> tuned.classes.tolist()
    ['empty', 'full']
    """
    array = as_image_array(images, shape=trained.image_shape)
    label_set, codes = encode_labels(labels, n=len(array), classes=classes)
    chosen = resolve_device(device)
    arithmetic = resolve_precision(precision, chosen)
    if epochs == 0 and not probe:
        raise ValueError("epochs=0 trains nothing; use it with probe=True")
    decay = 0.0 if penalty in ("l2_sp", "delta") else weight_decay
    plan = Plan(max(epochs, 1), batch_size, _STEPS_AN_EPOCH, decay, patience=patience)
    check_rate(learning_rate)
    automatic = validation_fraction == "auto"
    fraction = _VALIDATION_FRACTION if automatic else float(validation_fraction)
    check_fraction(fraction)
    if not 0.0 < layer_decay <= 1.0:
        raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay!r}")
    if penalty is not None and penalty not in PENALTIES:
        raise ValueError(f"penalty must be one of {list(PENALTIES)} or None, got {penalty!r}")
    if batch_norm not in BATCH_NORMS:
        raise ValueError(f"batch_norm must be one of {list(BATCH_NORMS)}, got {batch_norm!r}")
    rng = check_random_state(random_state)
    seed = int(rng.randint(LARGEST_SEED))
    net = copy.deepcopy(trained.net)
    net.freeze_bottom(freeze)
    old_head = copy.deepcopy(net.head)
    replace_head(net, trained.classes, label_set, seed)
    net.head.requires_grad_(True)
    net = net.to(chosen).to(memory_format=torch.channels_last)
    held_out = stratified_split(codes, fraction, rng)
    if automatic and len(held_out) < _LEAST_VALIDATION:
        held_out = held_out[:0]
    training = np.setdiff1d(np.arange(len(array)), held_out)
    rows = ImageStore(array[training], chosen)
    if batch_norm == "target":
        given = array if unlabelled is None else unlabelled
        more = as_image_array(given, name="unlabelled", shape=trained.image_shape)
        set_statistics(net, ImageStore(more, chosen), freeze)
    start = copy.deepcopy(net)
    fresh = ~np.isin(label_set, trained.classes)
    if probe:
        probe_head(net, rows, codes[training], fresh, augmentation=augmentation, seed=seed + 3)
    if epochs == 0:
        return _finished(net, label_set, trained, chosen, History())
    whole = nn.ModuleDict({"net": net})
    objective = None
    if penalty is not None:
        power = PENALTIES[penalty] if strength is None else strength
        labelled = (rows, torch.from_numpy(codes[training]).to(chosen))
        if penalty == "delta":
            known = codes[training]
            probe_head(start, rows, known, fresh, augmentation=augmentation, seed=seed + 3)
        if penalty == "co_tuning":
            whole["source_head"] = old_head.to(chosen).requires_grad_(True)
        objective = _objective(penalty, power, net, start, whole, labelled, len(label_set), freeze)
    snapshot = None
    if checkpoint is not None:
        settings = {
            "plan": plan,
            "rates": (learning_rate, layer_decay),
            "seed": seed,
            "change": augmentation,
            "stages": (freeze, gradual, batch_norm, penalty, strength),
        }
        origin = [array, codes, held_out, *whole.state_dict().values()]
        snapshot = Snapshot(checkpoint, fingerprint(settings, origin))
    parts = [*net.blocks, net.head]
    groups = list(zip(parts, rates_by_block(net, learning_rate, layer_decay), strict=True))
    if "source_head" in whole:
        groups.append((whole["source_head"], learning_rate))
    history = fit_classifier(
        net,
        array,
        codes,
        groups=groups,
        plan=plan,
        augmentation=augmentation,
        validation_rows=held_out,
        device=chosen,
        precision=arithmetic,
        seed=seed,
        objective=objective,
        whole=whole,
        hooks=stage_hooks(net, freeze, gradual=gradual, batch_norm=batch_norm),
        snapshot=snapshot,
        progress=progress,
        text="fine-tuning",
    )
    return _finished(net, label_set, trained, chosen, history)


def _finished(
    net: BlockNet,
    classes: NDArray[Any],
    trained: TrainedNet,
    device: torch.device,
    history: History,
) -> TrainedNet:
    net.freeze_bottom(0)
    return TrainedNet(
        net, classes, trained.image_shape, backbone=trained.backbone, device=device, history=history
    )


def _objective(
    penalty: str,
    strength: float,
    net: BlockNet,
    start: BlockNet,
    whole: nn.ModuleDict,
    labelled: tuple[ImageStore, Tensor],
    n_classes: int,
    freeze: int,
) -> Objective:
    """Set up a regulariser, from the network as it is and the labelled rows."""
    store, codes = labelled
    if penalty == "l2_sp":
        return l2_sp_objective(net, strength)
    if penalty == "bss":
        return spectral_objective(net, strength)
    if penalty == "delta":
        # A class's first rows: one forward pass a channel is enough work with a few.
        few = torch.argsort(codes, stable=True)[:: max(1, len(codes) // _ATTENTION_ROWS)]
        layers = net.block_names[freeze:] or net.block_names[-1:]
        batch = store.batch(few.to(store.pixels.device))
        attention = channel_attention(start, batch, codes[few], layers)
        return delta_objective(net, attention, strength, start)
    head = whole["source_head"]
    start.eval()
    with torch.no_grad():
        index = torch.arange(len(store), device=store.pixels.device)
        scores = [head(start.embed(store.batch(rows))) for rows in torch.split(index, 512)]
        proba = torch.softmax(torch.cat(scores).float(), dim=1)
    relation = class_relation(proba, codes, n_classes)
    return co_tuning_objective(net, head, relation, strength)

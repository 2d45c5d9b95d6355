"""Train an image classifier on labelled images."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.augment import Augmentation
from shiftlab.deep.backbones import BlockNet, as_block_net, build_backbone
from shiftlab.deep.devices import LARGEST_SEED, resolve_device, resolve_precision, seeded
from shiftlab.deep.fingerprint import fingerprint
from shiftlab.deep.images import ImageStore, as_image_array
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.snapshot import Snapshot
from shiftlab.deep.training import History, Hooks, Plan, fit_loop

__all__ = ["encode_labels", "fit_classifier", "stratified_split", "train_classifier"]

_BATCH_OF_VALIDATION = 512


def encode_labels(
    labels: ArrayLike, *, n: int, classes: ArrayLike | None = None, name: str = "labels"
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Turn labels of any kind into sorted classes and integer codes.

    Parameters
    ----------
    labels : array-like, shape (n,)
        Integers, strings, booleans, floats.
    n : int
        How many there must be.
    classes : array-like, shape (k,), default=None
        The label set, where it is larger than what `labels` shows.
    name : str, default="labels"
        What an error message calls them.

    Returns
    -------
    classes : ndarray, shape (k,)
        Sorted.
    codes : ndarray of int64, shape (n,)
        ``classes[codes] == labels``.

    Raises
    ------
    ValueError
        If there are not n of them, one is NaN, one is not in `classes`, or they have a
        single class.

    Examples
    --------
    >>> classes, codes = encode_labels(["b", "a", "b"], n=3)
    >>> classes.tolist(), codes.tolist()
    (['a', 'b'], [1, 0, 1])
    """
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(
            f"{name} must have shape ({n},), one label an image; got shape {array.shape}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must have no NaN and no infinity")
    seen, codes = np.unique(array, return_inverse=True)
    if len(seen) < 2:
        raise ValueError(
            f"{name} must have at least two classes; got {len(seen)} class(es), {seen.tolist()}"
        )
    if classes is None:
        return seen, codes.astype(np.int64)
    known = np.unique(np.asarray(classes))
    place = {label: code for code, label in enumerate(known.tolist())}
    extra = [label for label in seen.tolist() if label not in place]
    if extra:
        raise ValueError(f"{name} has {extra}, which are not in classes, {known.tolist()}")
    return known, np.array([place[label] for label in seen.tolist()], dtype=np.int64)[codes]


def check_rate(learning_rate: float) -> None:
    """Refuse a learning rate that is not a positive number."""
    if not 0.0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")


def check_fraction(validation_fraction: float) -> None:
    """Refuse a validation part that leaves nothing to train on."""
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must be in [0, 1), got {validation_fraction!r}")


def stratified_split(
    codes: NDArray[np.int64], fraction: float, rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Choose validation rows, the same part of each class.

    Of a class with m rows, ``round(fraction * m)`` go to validation and at
    least one stays in training; half a row is rounded down. With too few rows
    a class nothing is chosen, and all rows are trained on.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Class of each row.
    fraction : float
        In [0, 1).
    rng : RandomState
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (m,)
        Sorted rows.

    Examples
    --------
    >>> stratified_split(np.repeat([0, 1], 10), 0.2, np.random.RandomState(0)).tolist()
    [2, 8, 13, 15]
    """
    chosen = []
    for code in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == code))
        count = min(int(np.ceil(fraction * len(rows) - 0.5)), len(rows) - 1)
        chosen.append(rows[: max(count, 0)])
    return np.sort(np.concatenate(chosen))


def fit_classifier(
    net: BlockNet,
    images: NDArray[np.uint8],
    codes: NDArray[np.int64],
    *,
    groups: list[tuple[nn.Module, float]],
    plan: Plan,
    augmentation: Augmentation | None,
    validation_rows: NDArray[np.intp],
    device: torch.device,
    precision: str,
    seed: int,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
    whole: nn.Module | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008 (frozen)
    snapshot: Snapshot | None = None,
    progress: bool = False,
    text: str = "training",
) -> History:
    """Minimise the cross-entropy of a network on labelled images, in place.

    Parameters
    ----------
    net : BlockNet
        On `device`.
    images : ndarray of uint8, shape (n, H, W, C)
        All images, those for validation among them.
    codes : ndarray of int64, shape (n,)
        The output that belongs to each image.
    groups : list of (torch.nn.Module, float)
        Parts of the network and their learning rates.
    plan : Plan
        Length, batch size and so on.
    augmentation : Augmentation or None
        Changes of the training images.
    validation_rows : ndarray of int
        Rows that are not trained on, and choose the epoch that is kept; none
        of them to train on all rows and keep the last epoch.
    device : torch.device
        Where to run.
    precision : str
        "no" or "bf16".
    seed : int
        Of row order, augmentation and dropout.
    objective : callable, default=None
        Batch and codes to a scalar, in place of the cross-entropy of `net`.
    whole : torch.nn.Module or None, default=None
        `net` with other modules that are trained; None is `net` alone.
    hooks : Hooks, default=Hooks()
        What else happens around the steps.
    snapshot : Snapshot or None, default=None
        Where the state is kept after each epoch.
    progress : bool, default=False
        Show a progress bar.
    text : str, default="training"
        What the bar is called.

    Returns
    -------
    History
    """
    store = ImageStore(images, device)
    home = store.pixels.device
    targets = torch.from_numpy(codes).to(device)
    # Not the seed of the row order: equal seeds would give the same stream twice.
    generator = torch.Generator(device=device).manual_seed(seed + 1)
    n = len(codes)
    training = torch.from_numpy(np.setdiff1d(np.arange(n), validation_rows)).to(home)
    held_out = torch.from_numpy(validation_rows.astype(np.int64))

    def loss(positions: Tensor) -> Tensor:
        rows = training[positions]
        with torch.autocast(device.type, enabled=False):
            batch = store.batch(rows)
            if augmentation is not None:
                batch = augmentation(batch, generator)
        wanted = targets[rows.to(targets.device)]
        if objective is not None:
            return objective(batch, wanted)
        return F.cross_entropy(net(batch).float(), wanted)

    def validation_loss() -> float:
        total = torch.zeros((), device=device)
        with torch.inference_mode():
            for rows in torch.split(held_out, _BATCH_OF_VALIDATION):
                scores = net(store.batch(rows.to(home)))
                total += F.cross_entropy(scores, targets[rows.to(device)], reduction="sum")
        return float(total) / len(held_out)

    if snapshot is not None:
        # Augmentation draws from a generator of its own, whose state goes along.
        snapshot = replace(snapshot, generators={"augmentation": generator})
    return fit_loop(
        net if whole is None else whole,
        loss,
        len(training),
        groups=groups,
        plan=plan,
        device=device,
        precision=precision,
        seed=seed,
        index_device=home,
        validation_loss=validation_loss if len(held_out) else None,
        hooks=hooks,
        snapshot=snapshot,
        progress=progress,
        text=text,
    )


def train_classifier(
    images: Any,
    labels: ArrayLike,
    *,
    backbone: str | nn.Module | tuple[nn.Module, nn.Module] = "digit_cnn",
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.05,
    augmentation: Augmentation | None = Augmentation(),  # noqa: B008 (frozen)
    validation_fraction: float = 0.0,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    random_state: int | np.random.RandomState | None = None,
    progress: bool = False,
) -> TrainedNet:
    """Train an image classifier from scratch, by cross-entropy.

    ``min_w  1/n sum_i -log softmax(net_w(augment(standardise(x_i))))[y_i]``
    by AdamW (Loshchilov and Hutter, ICLR 2019) with a one-cycle rate (Smith,
    2018). One setting serves MNIST, USPS, MNIST-M and SVHN. Without
    `validation_fraction` the last epoch is the result.

    Time is O(epochs * n) gradient evaluations; memory is the uint8 images and
    one batch of activations.

    Parameters
    ----------
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Gray images or images with channels last.
    labels : array-like, shape (n,)
        Of any kind; at least two classes.
    backbone : str, torch.nn.Module or pair of them, default="digit_cnn"
        A name of :data:`BACKBONES`, or a network: with the modules ``features``
        and ``head``, or as a pair of the two. A network is copied; its weights
        are where the training starts.
    epochs : int, default=30
        Passes over the training images.
    batch_size : int, default=64
        Images a step, at least 2.
    learning_rate : float, default=3e-3
        Peak of the one-cycle rate.
    weight_decay : float, default=0.05
        AdamW's; not on biases and norm layers.
    augmentation : Augmentation or None, default=Augmentation()
        Random changes of the training images; None for none.
    validation_fraction : float, default=0.0
        Part of each class that is not trained on and chooses the epoch to keep.
    patience : int or None, default=None
        Stop after this many epochs without a lower validation loss.
    checkpoint : path or None, default=None
        A file that holds the state after each epoch. A training that was stopped goes on from
        it, and ends with the bits of one that was not.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Arithmetic of the forward pass; "auto" takes bfloat16 where the
        processor multiplies it. Predictions are always float32.
    random_state : int, RandomState or None, default=None
        Decides every random choice; the same one gives the same bits on one
        machine. No global random state is read (except for None) or changed.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    TrainedNet
        With its training history.

    Raises
    ------
    TypeError
        If the images are not uint8 or `backbone` is no network.
    ValueError
        If shapes, labels, device or a setting are wrong.
    TrainingError
        If the loss becomes NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["dark", "bright"], 16)
    >>> X = rng.integers(0, 60, (32, 12, 12), dtype=np.uint8)
    >>> X[y == "bright", 3:9, 3:9] += 150
    >>> net = train_classifier(X, y, epochs=4, augmentation=None, device="cpu", random_state=0)
    >>> bool((net.predict(X) == y).mean() > 0.9)
    True
    """
    array = as_image_array(images)
    classes, codes = encode_labels(labels, n=len(array))
    chosen = resolve_device(device)
    arithmetic = resolve_precision(precision, chosen)
    plan = Plan(epochs, batch_size, weight_decay=weight_decay, patience=patience)
    check_rate(learning_rate)
    check_fraction(validation_fraction)
    if patience is not None and validation_fraction == 0.0:
        raise ValueError("patience needs a validation_fraction above 0 to watch")
    rng = check_random_state(random_state)
    seed = int(rng.randint(LARGEST_SEED))
    shape = array.shape[1:]
    name = backbone if isinstance(backbone, str) else ""
    if isinstance(backbone, str):
        with seeded(seed, torch.device("cpu")):
            net = build_backbone(backbone, shape[2], len(classes))
    else:
        net = copy.deepcopy(as_block_net(backbone))
    net = net.to(chosen).to(memory_format=torch.channels_last)
    rows = stratified_split(codes, validation_fraction, rng)
    snapshot = None
    if checkpoint is not None:
        settings = {"plan": plan, "rate": learning_rate, "seed": seed, "change": augmentation}
        start = [array, codes, rows, *net.state_dict().values()]
        snapshot = Snapshot(checkpoint, fingerprint(settings, start))
    history = fit_classifier(
        net,
        array,
        codes,
        groups=[(net, learning_rate)],
        plan=plan,
        augmentation=augmentation,
        validation_rows=rows,
        device=chosen,
        precision=arithmetic,
        seed=seed,
        snapshot=snapshot,
        progress=progress,
    )
    return TrainedNet(net, classes, shape, backbone=name, device=chosen, history=history)

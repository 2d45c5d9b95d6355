"""Training without labels, on tasks that images pose by themselves (self-taught learning)."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.augment import Augmentation
from shiftlab.deep.backbones import BlockNet, as_block_net, build_backbone
from shiftlab.deep.classifier import train_classifier
from shiftlab.deep.devices import LARGEST_SEED, resolve_device, resolve_precision, seeded
from shiftlab.deep.fingerprint import fingerprint
from shiftlab.deep.images import ImageStore, as_image_array
from shiftlab.deep.losses.slowness import slowness
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.sequences import wandering_views
from shiftlab.deep.snapshot import Snapshot
from shiftlab.deep.training import History, Plan, fit_loop

__all__ = ["PRETEXTS", "pretrain", "turned_copies"]

PRETEXTS = ("rotation", "exemplar", "slowness", "ego_motion")
"""Pretext tasks by name."""

# Exemplar networks tell a few thousand images apart; more make the head the larger part.
_EXEMPLARS = 2000
_STRONG = Augmentation(rotation=20.0, scale=0.25, shift=0.15, contrast=0.5, noise=0.2)
_FRAMES = 4
_WEIGHT_DECAY = 0.05


def turned_copies(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Turn each image by 0, 90, 180 and 270 degrees.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, H, H, C)
        Square.

    Returns
    -------
    images : ndarray, shape (4 n, H, H, C)
    names : ndarray of str, shape (4 n,)
        "turned 0", "turned 90" and so on.
    """
    if images.shape[1] != images.shape[2]:
        raise ValueError(
            f"task='rotation' needs square images; got {images.shape[1]} x {images.shape[2]} pixels"
        )
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    names = np.repeat([f"turned {90 * k}" for k in range(4)], len(images))
    return np.concatenate(turned), names


def pretrain(
    images: Any,
    task: str,
    *,
    backbone: str | nn.Module | tuple[nn.Module, nn.Module] = "digit_cnn",
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    random_state: int | np.random.RandomState | None = None,
    progress: bool = False,
) -> TrainedNet:
    r"""Train a network on images without labels, to be fine-tuned on a task with few.

    * "rotation": which of four right angles was the image turned by?
    * "exemplar": which of up to 2,000 images is a strongly changed copy of?
    * "slowness": in films of a view that wanders over an image, features of frames that follow
      each other are near, and those of other films apart (:func:`slowness`).
    * "ego_motion": from two frames that follow each other, to which side did the view go and
      turn? Three choices each for x, y and the angle.

    Time is O(epochs * n) gradient evaluations, of four images each for all but "exemplar".

    Parameters
    ----------
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Without labels.
    task : {"rotation", "exemplar", "slowness", "ego_motion"}
        As above.
    backbone : str, torch.nn.Module or pair of them, default="digit_cnn"
        As in :func:`train_classifier`.
    epochs : int, default=30
        Passes over the images.
    batch_size : int, default=64
        Images, or films, a step.
    learning_rate : float, default=3e-3
        Peak of the one-cycle rate.
    checkpoint : path or None, default=None
        A file that holds the state after each epoch, to go on from.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Decides every random choice.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    TrainedNet
        For ``FineTune(net)`` and ``OffTheShelf(backbone=net)``. Its classes are those of the
        pretext, which no label of a target is equal to; after "slowness" and "ego_motion" its
        head is untrained.

    References
    ----------
    S. Gidaris, P. Singh, N. Komodakis. Unsupervised representation learning by predicting image
    rotations. ICLR, 2018.

    A. Dosovitskiy et al. Discriminative unsupervised feature learning with exemplar
    convolutional neural networks. IEEE TPAMI, 2016.

    H. Mobahi, R. Collobert, J. Weston. Deep learning from temporal coherence in video. ICML, 2009.

    P. Agrawal, J. Carreira, J. Malik. Learning to see by moving. ICCV, 2015.

    Examples
    --------
    >>> X = np.random.default_rng(0).integers(0, 255, (20, 12, 12), dtype=np.uint8)
    >>> pretrain(X, "rotation", epochs=1, device="cpu", random_state=0).classes.tolist()
    ['turned 0', 'turned 180', 'turned 270', 'turned 90']
    """
    if task not in PRETEXTS:
        raise ValueError(f"task must be one of {list(PRETEXTS)}, got {task!r}")
    array = as_image_array(images)
    if len(array) < 2:
        raise ValueError(f"pretrain needs at least 2 images, got {len(array)}")
    rng = check_random_state(random_state)
    shared: dict[str, Any] = {
        "backbone": backbone,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "checkpoint": checkpoint,
        "device": device,
        "progress": progress,
    }
    if task == "rotation":
        copies, names = turned_copies(array)
        # The affine change turns by at most 12 degrees, far from a right angle.
        return train_classifier(copies, names, random_state=rng, **shared)
    if task == "exemplar":
        chosen = np.sort(rng.permutation(len(array))[:_EXEMPLARS])
        names = np.array([f"exemplar {row:06d}" for row in chosen])
        return train_classifier(
            array[chosen], names, augmentation=_STRONG, random_state=rng, **shared
        )
    return _train_on_films(array, task, rng, **shared)


def _train_on_films(
    array: NDArray[np.uint8],
    task: str,
    rng: np.random.RandomState,
    *,
    backbone: Any,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    checkpoint: str | os.PathLike[str] | None,
    device: str | torch.device,
    progress: bool,
) -> TrainedNet:
    chosen = resolve_device(device)
    seed = int(rng.randint(LARGEST_SEED))
    frames, moves = wandering_views(array, length=_FRAMES, random_state=seed)
    shape = array.shape[1:]
    name = backbone if isinstance(backbone, str) else ""
    names = np.array(["untrained 0", "untrained 1"])
    with seeded(seed, torch.device("cpu")):
        if isinstance(backbone, str):
            net = build_backbone(backbone, shape[2], 2)
        else:
            own = copy.deepcopy(as_block_net(backbone))
            with torch.no_grad():
                blank = torch.zeros(2, shape[2], *shape[:2])
                width = own.eval().embed(blank).shape[1]
            net = BlockNet(own.features, nn.Linear(width, 2))
        with torch.no_grad():
            width = net.eval().embed(torch.zeros(2, shape[2], *shape[:2])).shape[1]
        heads = nn.Linear(2 * width, 9)
    whole = nn.ModuleDict({"net": net, "heads": heads}).to(chosen)
    whole = whole.to(memory_format=torch.channels_last)
    store = ImageStore(frames.reshape(-1, *shape), chosen)
    wanted = torch.from_numpy(moves).to(chosen)
    generator = torch.Generator(device=chosen).manual_seed(seed + 1)
    change = Augmentation(rotation=0.0, scale=0.0, shift=0.0)

    def loss(films: Tensor) -> Tensor:
        n = len(films)
        draw = torch.randint(_FRAMES - 1, (n,), generator=generator, device=chosen)
        first = films.to(chosen) * _FRAMES + draw
        with torch.autocast(chosen.type, enabled=False):
            index = torch.cat([first, first + 1]).to(store.pixels.device)
            batch = change(store.batch(index), generator)
        features = net.embed(batch)
        now, soon = features[:n], features[n:]
        if task == "slowness":
            # The films of a batch in a circle: each has another one beside it.
            return slowness(now.float(), soon.float(), now.float().roll(1, dims=0))
        scores = heads(torch.cat([now, soon], dim=1)).float().view(n, 3, 3)
        codes = wanted[films.to(chosen), draw]
        return F.cross_entropy(scores.transpose(1, 2), codes)

    snapshot = None
    plan = Plan(epochs, batch_size, weight_decay=_WEIGHT_DECAY)
    if checkpoint is not None:
        settings = {"task": task, "plan": plan, "rate": learning_rate, "seed": seed}
        mark = fingerprint(settings, [array, *whole.state_dict().values()])
        snapshot = Snapshot(checkpoint, mark, {"pretext": generator})
    history: History = fit_loop(
        whole,
        loss,
        len(array),
        groups=[(whole, learning_rate)],
        plan=plan,
        device=chosen,
        precision=resolve_precision("auto", chosen),
        seed=seed,
        index_device=store.pixels.device,
        snapshot=snapshot,
        progress=progress,
        text=task,
    )
    return TrainedNet(net, names, shape, backbone=name, device=chosen, history=history)

"""What a deep adapter supplies, and the loop that does the rest: paired batches of two domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.backbones import BlockNet, Scale
from shiftlab.deep.inputs import make_store
from shiftlab.deep.snapshot import Snapshot
from shiftlab.deep.training import History, Hooks, Plan, fit_loop

__all__ = [
    "Augment",
    "Context",
    "Method",
    "Outputs",
    "Step",
    "adapt_net",
    "find_collapse",
    "source_loss",
]

Augment = Callable[[Tensor, torch.Generator], Tensor]

_BATCH_OF_PREDICTION = 512


@dataclass
class Outputs:
    """Features and class scores of a source and a target batch, in float32.

    Parameters
    ----------
    source_features, target_features : Tensor, shape (b, f)
    source_scores, target_scores : Tensor, shape (b, k)
    """

    source_features: Tensor
    target_features: Tensor
    source_scores: Tensor
    target_scores: Tensor


@dataclass
class Step:
    """Everything that the loss of one gradient step may look at.

    Parameters
    ----------
    context : Context
        What does not change from step to step.
    source : Tensor, shape (b, ...)
        Standardised images, or rows, of the source; not augmented.
    labels : Tensor of int64, shape (b,)
        Their classes.
    weight : Tensor of float32, shape (b,), or None
        Their weights, 1 on average.
    target : Tensor, shape (b, ...)
        Images or rows of the target; not augmented.
    source_rows, target_rows : Tensor of int64, shape (b,)
        Which ones.
    progress : float
        Part of the training that is done, in [0, 1].
    """

    context: Context
    source: Tensor
    labels: Tensor
    weight: Tensor | None
    target: Tensor
    source_rows: Tensor
    target_rows: Tensor
    progress: float

    def augment(self, batch: Tensor) -> Tensor:
        """Change a batch at random, as the training was asked to."""
        context = self.context
        if context.augmentation is None:
            return batch
        return context.augmentation(batch, context.generator)

    def embed(self, batch: Tensor, net: BlockNet | None = None) -> Tensor:
        """Give the features of a batch in float32, shape (b, f)."""
        with self.context.arithmetic():
            return (net or self.context.net).embed(batch).float()

    def scores(self, batch: Tensor, net: nn.Module | None = None) -> Tensor:
        """Give the class scores of a batch in float32, shape (b, k)."""
        with self.context.arithmetic():
            scores: Tensor = (net or self.context.net)(batch)
        return scores.float()

    def outputs(self) -> Outputs:
        """Augment both batches and run them through the network together.

        One pass over both is faster than two, and batch norm sees both domains.
        """
        features = self.embed(torch.cat([self.augment(self.source), self.augment(self.target)]))
        scores = self.context.net.head(features)
        n = len(self.source)
        self.watch_target(scores[n:])
        return Outputs(features[:n], features[n:], scores[:n], scores[n:])

    def cross_entropy(self, scores: Tensor) -> Tensor:
        """Give the weighted cross-entropy of the source's scores, and note it."""
        if self.weight is None:
            loss = F.cross_entropy(scores, self.labels)
        else:
            loss = (F.cross_entropy(scores, self.labels, reduction="none") * self.weight).mean()
        self.context.watched.source_loss += loss.detach()
        self.context.watched.n_steps += 1
        return loss

    def watch_target(self, scores: Tensor) -> None:
        """Count the predicted classes of target rows, from which a collapse is seen."""
        counts = self.context.watched.target_counts
        counts += torch.bincount(scores.detach().argmax(dim=1), minlength=len(counts))


class _Watched:
    """Sums over an epoch that stay on the device until its end."""

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.source_loss = torch.zeros((), device=device)
        self.n_steps = 0
        self.target_counts = torch.zeros(n_classes, dtype=torch.int64, device=device)

    def close_epoch(self, history: History) -> None:
        counts = self.target_counts.cpu()
        if self.n_steps:
            history.source_loss.append(float(self.source_loss) / self.n_steps)
        if int(counts.sum()):
            history.target_share.append(float(counts.max() / counts.sum()))
        self.source_loss.zero_()
        self.target_counts.zero_()
        self.n_steps = 0


class Context:
    """What stays the same during an adaptation: the network, both samples, and the device.

    Parameters
    ----------
    net : BlockNet
        The network that is adapted, on `device`.
    source, target : ndarray
        From ``as_input_array``.
    codes : ndarray of int64, shape (n,)
        Classes of the source rows, as outputs of the head.
    n_classes : int
        Outputs of the head.
    weight : ndarray of float64, shape (n,), or None
        Weights of the source rows.
    group : ndarray of int64, shape (n,), or None
        Which source a row is from, where there are several.
    augmentation : callable or None
        ``(batch, generator)`` to a changed batch.
    device : torch.device
        Where everything runs.
    precision : str
        "no" or "bf16", of the network's passes; losses are float32 always.
    seed : int
        Of augmentation and everything else that is drawn on the device.

    Attributes
    ----------
    source_prior : Tensor of float32, shape (k,)
        Weighted class shares of the source.
    n_features : int
        Width of the features.
    generator : torch.Generator
        On the device.
    """

    def __init__(
        self,
        net: BlockNet,
        source: NDArray[Any],
        codes: NDArray[np.int64],
        target: NDArray[Any],
        *,
        n_classes: int,
        weight: NDArray[np.float64] | None,
        group: NDArray[np.int64] | None,
        augmentation: Augment | None,
        device: torch.device,
        precision: str,
        seed: int,
    ) -> None:
        self.net, self.n_classes = net, n_classes
        self.device, self.precision = device, precision
        self.augmentation = augmentation
        self.source, self.target = make_store(source, device), make_store(target, device)
        self.labels = torch.from_numpy(codes).to(device)
        self.group = None if group is None else torch.from_numpy(group).to(device)
        self.weight: Tensor | None = None
        share = np.ones(len(codes)) if weight is None else weight
        if weight is not None:
            self.weight = torch.from_numpy(weight / weight.mean()).float().to(device)
        prior = np.bincount(codes, weights=share, minlength=n_classes) / share.sum()
        self.source_prior = torch.from_numpy(prior).float().to(device)
        self.generator = torch.Generator(device=device).manual_seed(seed + 1)
        self.watched = _Watched(n_classes, device)
        for module in net.modules():
            if isinstance(module, Scale) and source.ndim == 2 and not module.is_set:
                module.set_from([self.source.pixels, self.target.pixels])
        self.n_features = self._check_fit()

    def arithmetic(self) -> Any:
        """Enter the precision of the network's passes."""
        if self.precision == "no":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _check_fit(self) -> int:
        """Run two rows through the network, so that what does not fit is said at once."""
        shape = tuple(self.source.pixels.shape[1:])
        self.net.eval()
        try:
            with torch.no_grad():
                first = torch.arange(min(2, len(self.source)), device=self.source.pixels.device)
                features = self.net.embed(self.source.batch(first))
                scores = self.net.head(features)
        except RuntimeError as error:
            raise ValueError(
                f"the backbone does not take inputs of shape {shape}: {error}"
            ) from error
        if scores.ndim != 2 or scores.shape[1] != self.n_classes:
            raise ValueError(
                f"the head gives scores of shape {tuple(scores.shape)} for {len(first)} rows and "
                f"{self.n_classes} classes; it must give one score a class"
            )
        return int(features.shape[1])

    @torch.no_grad()
    def predict(self, net: nn.Module, *, of: str = "target", features: bool = False) -> Tensor:
        """Run a whole sample through a network in evaluation mode, in float32 and unaugmented.

        Parameters
        ----------
        net : torch.nn.Module
            It is left in the mode that it was in.
        of : {"source", "target"}, default="target"
            Which sample.
        features : bool, default=False
            The features of a ``BlockNet`` in place of its scores.

        Returns
        -------
        Tensor, shape (n, k) or (n, f)
        """
        store = self.target if of == "target" else self.source
        training = net.training
        net.eval()
        rows = torch.arange(len(store), device=store.pixels.device)
        out = []
        with self.arithmetic():
            for index in torch.split(rows, _BATCH_OF_PREDICTION):
                batch = store.batch(index)
                out.append((net.embed(batch) if features else net(batch)).float())  # type: ignore[operator]
        net.train(training)
        return torch.cat(out)


@dataclass
class Method:
    """What a deep adapter supplies: a loss, and the modules that belong to it.

    Parameters
    ----------
    loss : callable
        :class:`Step` to a scalar with a gradient.
    modules : mapping of str to torch.nn.Module, default={}
        Trained beside the network, for example a domain head.
    companions : mapping of str to torch.nn.Module, default={}
        Not trained by a gradient, but part of the state, for example a teacher.
    after_step : callable, default=None
        Called after each step of the optimiser.
    after_epoch : callable, default=None
        Called after each epoch with the part of the training that is done.
    predictor : BlockNet, default=None
        What predicts in the end; None is the network itself.
    trained : list of (torch.nn.Module, float), default=None
        Parts of the network that are trained and their rates relative to the learning
        rate; None is all of it at the full rate.
    watches_source : bool, default=True
        Whether a rising source loss is a bad sign.
    """

    loss: Callable[[Step], Tensor]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    companions: Mapping[str, nn.Module] = field(default_factory=dict)
    after_step: Callable[[], None] | None = None
    after_epoch: Callable[[float], None] | None = None
    predictor: BlockNet | None = None
    trained: list[tuple[nn.Module, float]] | None = None
    watches_source: bool = True


def adapt_net(
    context: Context,
    method: Method,
    *,
    plan: Plan,
    learning_rate: float,
    seed: int,
    snapshot: Snapshot | None = None,
    progress: bool = False,
    text: str = "adapting",
) -> History:
    """Train a network on a source and a target by a method's loss.

    Parameters
    ----------
    context : Context
        The network and the samples. Its network is trained in place.
    method : Method
        Whose modules are moved to the device and trained in place.
    plan : Plan
        Length, batch size, schedule and so on.
    learning_rate : float
        Peak rate.
    seed : int
        Of the row order and dropout.
    snapshot : Snapshot or None, default=None
        Where the state is kept, and taken up again; that of the context's generator is added.
    progress : bool, default=False
        Show a progress bar.
    text : str, default="adapting"
        What the bar is called.

    Returns
    -------
    History

    Raises
    ------
    TrainingError
        If the loss becomes NaN or memory runs out.
    """
    everything = nn.ModuleDict({"net": context.net, **method.modules, **method.companions}).to(
        context.device
    )
    parts = method.trained if method.trained is not None else [(context.net, 1.0)]
    groups = [(part, learning_rate * factor) for part, factor in parts]
    groups += [(module, learning_rate) for module in method.modules.values()]
    clock = _Clock()
    if snapshot is not None:
        drawn_from = {**snapshot.generators, "augmentation": context.generator}
        snapshot = replace(snapshot, generators=drawn_from)

    def loss(source_rows: Tensor, target_rows: Tensor) -> Tensor:
        home = context.labels.device
        rows = source_rows.to(home)
        step = Step(
            context,
            context.source.batch(source_rows),
            context.labels[rows],
            None if context.weight is None else context.weight[rows],
            context.target.batch(target_rows),
            rows,
            target_rows.to(home),
            clock.progress,
        )
        return method.loss(step)

    def after_epoch(done: float, history: History) -> None:
        context.watched.close_epoch(history)
        if method.after_epoch is not None:
            method.after_epoch(done)

    return fit_loop(
        everything,
        loss,
        [len(context.source), len(context.target)],
        groups=groups,
        plan=plan,
        device=context.device,
        precision="no",  # a Step enters the network's own precision
        seed=seed,
        index_device=[context.source.pixels.device, context.target.pixels.device],
        hooks=Hooks(clock.set, method.after_step, after_epoch),
        snapshot=snapshot,
        progress=progress,
        text=text,
    )


def source_loss(step: Step) -> Tensor:
    """Compute the cross-entropy on augmented source rows; the target is not looked at.

    Parameters
    ----------
    step : Step
        The step.

    Returns
    -------
    Tensor, scalar
    """
    return step.cross_entropy(step.scores(step.augment(step.source)))


class _Clock:
    progress = 0.0

    def set(self, progress: float) -> None:
        self.progress = progress


def find_collapse(history: History, source_prior: NDArray[Any], watches_source: bool) -> str | None:
    """Say whether an adaptation collapsed, from what was noted in each epoch.

    It did where nearly all of the target was given one class in the last epoch, though the
    source has several; or where the cross-entropy on the source ended far above its lowest
    value and at half of what guessing by the class shares costs.

    Parameters
    ----------
    history : History
        With ``source_loss`` and ``target_share``.
    source_prior : ndarray, shape (k,)
        Class shares of the source.
    watches_source : bool
        Whether the source loss is a sign at all.

    Returns
    -------
    str or None
        One sentence; None where all is well.

    Examples
    --------
    >>> find_collapse(History(target_share=[0.6, 0.99]), np.array([0.5, 0.5]), True)
    'the network gives 99% of the target one class, and the largest class of the source has 50%'
    """
    largest = float(source_prior.max())
    if history.target_share and history.target_share[-1] > max(0.95, (1 + largest) / 2):
        return (
            f"the network gives {history.target_share[-1]:.0%} of the target one class, and the "
            f"largest class of the source has {largest:.0%}"
        )
    positive = source_prior[source_prior > 0]
    guessing = float(-(positive * np.log(positive)).sum())
    losses = history.source_loss
    if watches_source and losses and losses[-1] > max(2 * min(losses), 0.5 * guessing):
        return (
            f"the cross-entropy on the source rose from {min(losses):.2f} to {losses[-1]:.2f}, "
            f"where guessing costs {guessing:.2f}"
        )
    return None

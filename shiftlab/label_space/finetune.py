"""Fine-tune a network trained on the source, with a head for the target's own label set."""

from __future__ import annotations

import dataclasses
import os
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import NetAdapter, comes_trained, read_trained, require_deep
from shiftlab.domain import Domain

if TYPE_CHECKING:
    from shiftlab.deep import TrainedNet

__all__ = ["FineTune", "fine_tuning_rule"]


def fine_tuning_rule(labels_a_class: float, new_labels: bool = False) -> dict[str, bool]:
    """Return what FineTune trains by default, by the number of labelled target rows a class.

    Parameters
    ----------
    labels_a_class : float
        Mean over the classes.
    new_labels : bool, default=False
        Whether the target has classes that the source's head does not know.

    Returns
    -------
    dict of str to bool
        "probe": fit the head first; "head_only": and leave the features as they are;
        "hold": draw the weights to the source's.

    Examples
    --------
    >>> from shiftlab.label_space.finetune import fine_tuning_rule
    >>> fine_tuning_rule(1)
    {'probe': True, 'head_only': True, 'hold': True}
    >>> fine_tuning_rule(10), fine_tuning_rule(10, new_labels=True)["probe"]
    ({'probe': False, 'head_only': False, 'hold': True}, True)
    >>> fine_tuning_rule(50)["hold"]
    False
    """
    head_only = labels_a_class < _HEAD_BELOW
    # A head that knows the labels already is not made better by fitting it alone. A new one starts
    # at nothing, and its first gradients would spoil the features; that is not measured here.
    return {
        "probe": head_only or (new_labels and labels_a_class < _PROBE_BELOW),
        "head_only": head_only,
        "hold": labels_a_class < _HOLD_BELOW,
    }


# Labels a class. The first two are measured in experiments/few_labels, between 1 and 5 and between
# 10 and 50; the last is not: with so many labels the head soon forgets where it started.
_HEAD_BELOW = 2
_HOLD_BELOW = 20
_PROBE_BELOW = 100


class FineTune(NetAdapter):
    r"""Train a deep net on the source, give it a new head, and go on with labelled target rows.

    Starting at the source's weights ``w_S`` and a head for the target's label
    set,

    .. math:: \min_w \frac{1}{n_T} \sum_{i \in \text{labelled target}}
              -\log p_w(y_i \mid x_i) + \Omega(w), \qquad
              \text{rate of block } b = \eta \, \delta^{B - b}

    by a few hundred steps of AdamW with a one-cycle rate. The lowest `freeze`
    blocks keep their weights and batch-norm statistics to the bit. Head rows
    of classes that source and target share start from the source's. With few
    labels, or with few of classes that the source's head does not know, the head is first
    fitted alone on features that stand still, and drawn to where it starts (linear probing, then
    fine-tuning): a convex problem. :func:`fine_tuning_rule` says what the defaults are for
    how many labels a class; ``experiments/few_labels`` is where that was measured, with the same
    labels on both sides.

    It helps when features of the source are useful for the target and some
    target rows have labels; a few a class are enough. It may harm when labels
    are so few that the training set is no picture of the target, and the
    domains are already close. Unlabelled target rows are used for nothing but
    ``batch_norm="target"``.

    Early stopping: a part of each class of the labelled target is held out, and
    the weights of the epoch with the lowest loss on it are kept. With few labels
    that does harm, because the rows are missed in training and the choice is
    luck: with 10 labels a class, from MNIST to SVHN, it cost three to five points
    of accuracy. By default a fifth is held out where that is at least 50 rows;
    below, all rows are trained on for all epochs and the last is kept. A class
    with m rows gives ``round(validation_fraction * m)`` of them, a half rounded
    down and never all; so one label a class works, without early stopping.

    Time is O(epochs * n_T) gradient evaluations, after O(pretrain_epochs * n_S)
    for a backbone that is yet to be trained; memory is the images and one batch
    of activations.

    Parameters
    ----------
    backbone : str, path, TrainedNet, torch.nn.Module or pair, default="digit_cnn"
        A name ("digit_cnn") or an untrained network, given as a module with
        ``features`` and ``head`` or as a pair of them, is trained on the
        labelled source first. A ``TrainedNet``, the path of one that was
        saved (it has a suffix or a folder, unlike a name), or a name that
        :func:`shiftlab.deep.load_pretrained` knows weights of ("efficientnet_lite0",
        "torchvision:resnet18") is used as it is; the source then needs no labels
        and is not read.
    freeze : int, "auto" or "search", default="auto"
        Blocks, from the bottom, that stay as the source left them; all of them
        is training the head alone. "auto" is the rule's; "search" tries all
        numbers by cross-validation on the labelled target rows
        (``freeze_scores_``), which takes three trainings for each.
    layer_decay : float, default=1.0
        Rate of a block over the rate of the one above it, in (0, 1].
    probe : bool or "auto", default="auto"
        Fit the head alone first; "auto" is the rule's. With all blocks frozen
        that is all.
    gradual : bool, default=False
        Open the blocks one by one from the top, in the first half of the epochs.
    penalty : {"l2_sp", "delta", "bss", "co_tuning"}, "auto" or None, default="auto"
        :math:`\Omega`: distance of the weights to the source's; of the feature
        maps, channel by channel; the smallest singular value of a batch's
        features; or cross-entropy of the source's head with the source classes
        that go with a label. The first two take the place of the weight decay.
        "auto" is the rule's: "l2_sp" with few labels, or with a strength, else None.
    strength : float or None, default=None
        Of the penalty; None is 0.01, 0.01, 0.001 and 1 in this order.
    batch_norm : {"batch", "source", "target"}, default="batch"
        Statistics of batch norm above the frozen blocks: of each batch; as the
        source left them; or of all target rows, labelled or not, taken once.
    epochs : int, default=40
        Passes over the labelled target rows; an epoch has at least 8 steps.
    learning_rate : float, default=3e-3
        Peak rate of the head.
    batch_size : int, default=32
        Images a step.
    validation_fraction : float or "auto", default="auto"
        Part of the labelled target rows, of each class alike, that chooses the
        epoch; 0 trains on all rows and keeps the last epoch. "auto" as above.
    patience : int or None, default=10
        Stop after this many epochs without a lower validation loss; None goes
        through all epochs.
    pretrain_epochs : int, default=30
        Passes over the source for a backbone that is yet to be trained.
    checkpoint : path or None, default=None
        A file that holds the state after each epoch (that of the training on the
        source beside it, with ".source" added). A fit that was stopped goes on from
        it, and ends with the bits of one that was not.
    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda:1", ...
    random_state : int, RandomState or None, default=None
        The same one gives the same bits on one machine.
    progress : bool, default=False
        Show progress bars.

    Attributes
    ----------
    net_ : TrainedNet
        The fine-tuned network; ``net_.save(path)`` and ``net_.history``.
    pretrained_ : TrainedNet
        The network before fine-tuning, with the head for the source's labels.
    freeze_ : int
        Blocks that stayed.
    probe_ : bool
        Whether the head was fitted first.
    penalty_ : str or None
        What held the weights.
    freeze_scores_ : dict of int to float
        With ``freeze="search"``: mean cross-entropy on held-out rows.
    classes_ : ndarray, shape (k,)
        The target's label set: what is seen, or ``target.classes`` where given.
    source_ : Domain
        What an estimator would train on next: the labelled target rows, as
        features of the fine-tuned network. Source labels are of another task.

    See Also
    --------
    shiftlab.deep.train_classifier : The training on the source.

    References
    ----------
    .. [1] J. Yosinski, J. Clune, Y. Bengio, H. Lipson. How transferable are
       features in deep neural networks? NeurIPS, 2014.
    .. [2] J. Howard, S. Ruder. Universal language model fine-tuning for text
       classification. ACL, 2018 (layer-wise rates, gradual unfreezing).
    .. [3] A. Kumar et al. Fine-tuning can distort pretrained features and
       underperform out-of-distribution. ICLR, 2022 (linear probing first).
    .. [4] X. Li, Y. Grandvalet, F. Davoine. Explicit inductive bias for transfer
       learning with convolutional networks. ICML, 2018 (L2-SP).
    .. [5] X. Li et al. DELTA: deep learning transfer using feature map with
       attention for convolutional networks. ICLR, 2019.
    .. [6] X. Chen et al. Catastrophic forgetting meets negative transfer: batch
       spectral shrinkage for safe transfer learning. NeurIPS, 2019 (BSS).
    .. [7] K. You et al. Co-Tuning for transfer learning. NeurIPS, 2020.
    .. [8] Y. Li et al. Revisiting batch normalization for practical domain
       adaptation. ICLR Workshop, 2017 (statistics of the target).

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Domain, FineTune
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 16)
    >>> X = rng.integers(0, 60, (32, 12, 12), dtype=np.uint8)
    >>> X[y == 1, 3:9, 3:9] += 150
    >>> target = Domain(255 - X, np.array(["empty", "full"])[y], labelled=np.arange(32) < 16)
    >>> model = FineTune(pretrain_epochs=3, epochs=5, device="cpu", random_state=0)
    >>> model.fit((X, y), target).classes_.tolist()
    ['empty', 'full']
    >>> model.transform(255 - X).shape
    (32, 128)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="Features learned on the source are useful for the target's labels.",
        source_labels=True,
        target_labels="required",
        tasks=("classification",),
        inputs=("images",),
        deep=True,
        label_sets=("new", "gone"),
        cost="O(epochs n) gradients",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [object],
        "freeze": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto", "search"})],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "probe": ["boolean", StrOptions({"auto"})],
        "gradual": ["boolean"],
        "penalty": [StrOptions({"auto", "l2_sp", "delta", "bss", "co_tuning"}), None],
        "strength": [Interval(Real, 0, None, closed="neither"), None],
        "batch_norm": [StrOptions({"batch", "source", "target"})],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "pretrain_epochs": [Interval(Integral, 1, None, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "device": [str],
        "random_state": ["random_state"],
        "progress": ["boolean"],
    }

    pretrained_: TrainedNet
    freeze_: int
    probe_: bool
    penalty_: str | None
    freeze_scores_: dict[int, float]

    def __init__(
        self,
        backbone: Any = "digit_cnn",
        *,
        freeze: int | Literal["auto", "search"] = "auto",
        layer_decay: float = 1.0,
        probe: bool | Literal["auto"] = "auto",
        gradual: bool = False,
        penalty: str | None = "auto",
        strength: float | None = None,
        batch_norm: str = "batch",
        epochs: int = 40,
        learning_rate: float = 3e-3,
        batch_size: int = 32,
        validation_fraction: float | Literal["auto"] = "auto",
        patience: int | None = 10,
        pretrain_epochs: int = 30,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.backbone = backbone
        self.freeze = freeze
        self.layer_decay = layer_decay
        self.probe = probe
        self.gradual = gradual
        self.penalty = penalty
        self.strength = strength
        self.batch_norm = batch_norm
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.pretrain_epochs = pretrain_epochs
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def _get_facts(self) -> Facts:
        """A network that is already trained needs no source labels."""
        return dataclasses.replace(self.facts, source_labels=not comes_trained(self.backbone))

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_deep("FineTune")
        from shiftlab import deep

        for domain, role in ((source, "source"), (target, "target")):
            if not domain.is_image:
                raise ValueError(
                    f"FineTune needs images of shape (n, height, width) or (n, height, width, "
                    f"channels) and dtype uint8; {role} has shape {domain.shape}"
                )
        deep.as_image_array(target.X, name="FineTune: target")
        labelled = target.labelled_part()
        classes = target.label_set()
        if len(classes) < 2:
            raise ValueError(
                "FineTune needs labelled target rows of at least two classes; got only one class, "
                f"{classes.tolist()}"
            )
        fewest = int(np.unique(labelled.y, return_counts=True)[1].min())
        if self.freeze == "search" and fewest < 2:
            raise ValueError(
                "freeze='search' needs at least 2 labelled target rows of each class, to hold one "
                f"out; a class has {fewest}. Give a number, or 'auto'"
            )
        if self.checkpoint is not None and not Path(self.checkpoint).parent.is_dir():
            raise ValueError(
                f"checkpoint={os.fspath(self.checkpoint)!r} is in a folder that does not exist"
            )
        given = self.freeze if isinstance(self.freeze, Integral) else 0
        if not comes_trained(self.backbone):
            deep.check_transferable(self.backbone, int(given))
        rng = check_random_state(self.random_state)
        self.pretrained_ = self._pretrained(source, rng)
        net = self.pretrained_.net
        net.check_freeze(int(given))
        new_labels = not set(classes.tolist()) <= set(np.asarray(self.pretrained_.classes).tolist())
        rule = fine_tuning_rule(labelled.n_rows / len(classes), new_labels)
        self.probe_ = rule["probe"] if self.probe == "auto" else bool(self.probe)
        held = "l2_sp" if rule["hold"] or self.strength is not None else None
        self.penalty_ = held if self.penalty == "auto" else self.penalty
        settings: dict[str, Any] = {
            "classes": classes,
            "layer_decay": self.layer_decay,
            "probe": self.probe_,
            "gradual": self.gradual,
            "penalty": self.penalty_,
            "strength": self.strength,
            "batch_norm": self.batch_norm,
            "unlabelled": target.X if self.batch_norm == "target" else None,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "device": self.device,
            "progress": self.progress,
        }
        if self.freeze == "search":
            self.freeze_scores_ = deep.search_freeze(
                self.pretrained_, labelled.X, labelled.y, random_state=rng, **settings
            )
            self.freeze_ = min(self.freeze_scores_, key=lambda n: self.freeze_scores_[n])
        elif self.freeze == "auto":
            self.freeze_ = len(net.blocks) if rule["head_only"] else 0
        else:
            self.freeze_ = int(self.freeze)
        if self.probe_ and self.freeze_ == len(net.blocks):
            settings["epochs"] = 0  # the head is at its optimum
        self.net_ = deep.fine_tune(
            self.pretrained_,
            labelled.X,
            labelled.y,
            freeze=self.freeze_,
            validation_fraction=self.validation_fraction,
            patience=self.patience,
            checkpoint=self.checkpoint,
            random_state=rng,
            **settings,
        )
        return self._transform_target(labelled)

    def _pretrained(self, source: Domain, rng: np.random.RandomState) -> TrainedNet:
        from shiftlab import deep

        if not comes_trained(self.backbone):
            labelled = source.labelled_part()
            return deep.train_classifier(
                labelled.X,
                labelled.y,
                backbone=self.backbone,
                epochs=self.pretrain_epochs,
                checkpoint=None if self.checkpoint is None else f"{self.checkpoint}.source",
                device=self.device,
                random_state=rng,
                progress=self.progress,
            )
        shape = deep.as_image_array(source.X).shape[1:]
        return read_trained(self.backbone, shape, self.device)

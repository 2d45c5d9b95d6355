"""Adapters that are networks: what they share, and the base of those that train on two samples."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils import ClassifierTags, Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.validation import at_least_two_rows, numeric_rows

if TYPE_CHECKING:
    from shiftlab.deep import TrainedNet
    from shiftlab.deep.adaptation import Context, Method
    from shiftlab.deep.snapshot import Snapshot

__all__ = [
    "DeepAdapter",
    "NetAdapter",
    "comes_trained",
    "deep_facts",
    "read_trained",
    "require_deep",
]


def require_deep(who: str) -> None:
    """Say what to install where torch and its companions are missing; first use imports them."""
    try:
        import shiftlab.deep  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "shiftlab":
            raise
        raise ImportError(
            f"{who} needs {error.name}; install it with: pip install 'shiftlab[deep]'"
        ) from error


# What load_pretrained takes by name, with weights of its own.
_PRETRAINED = ("efficientnet_lite0", "torchvision:")


def comes_trained(backbone: Any) -> bool:
    """Whether a backbone is a TrainedNet, a checkpoint's path or a pretrained name; needs no torch.

    Parameters
    ----------
    backbone : object
        As given by the user.

    Returns
    -------
    bool
        False for a name or a network that is yet to be trained on the source.
    """
    if isinstance(backbone, os.PathLike):
        return True
    if isinstance(backbone, str):
        # Names of backbones have neither; "x.safetensors" and "runs/x" are files.
        is_path = bool(os.path.dirname(backbone) or os.path.splitext(backbone)[1])
        return is_path or backbone.startswith(_PRETRAINED)
    nets = sys.modules.get("shiftlab.deep.nets")
    return nets is not None and isinstance(backbone, nets.TrainedNet)


def read_trained(backbone: Any, shape: tuple[int, ...], device: str) -> TrainedNet:
    """Load a backbone that comes trained.

    Parameters
    ----------
    backbone : TrainedNet, path or str
        One of those that :func:`comes_trained` knows.
    shape : tuple of int
        Of the images to come.
    device : str
        Where it will run.

    Returns
    -------
    TrainedNet
    """
    from shiftlab import deep

    if isinstance(backbone, deep.TrainedNet):
        return backbone
    if isinstance(backbone, str) and backbone.startswith(_PRETRAINED):
        return deep.load_pretrained(backbone, image_shape=shape, device=device)
    return deep.TrainedNet.load(backbone, device=device)


class NetAdapter(Adapter):
    """Base class of adapters whose predictions are those of a trained network, ``net_``.

    Attributes
    ----------
    net_ : TrainedNet
        Set by ``_adapt``.
    """

    net_: TrainedNet

    def _inputs(self, rows: Domain) -> Any:
        """Return what the network takes: images as they are, tables as numbers."""
        return rows.X if rows.is_image else numeric_rows(rows, type(self).__name__)

    def _transform_target(self, target: Domain) -> Domain:
        features = self.net_.features(self._inputs(target))
        return target.with_(X=features, feature_names=None)

    def _read_inputs(self, X: Any) -> Any:
        check_is_fitted(self, "net_")
        return self._inputs(self._read(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the labels of target rows.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), rows of shape (n, d), or Domain
            Of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n,)
        """
        inputs = self._read_inputs(X)
        return self.net_.predict(inputs)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), rows of shape (n, d), or Domain
            Of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n, k)
            Columns in the order of ``classes_``.
        """
        inputs = self._read_inputs(X)
        return self.net_.predict_proba(inputs)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Give the class scores before the softmax.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), rows of shape (n, d), or Domain
            Of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n, k), or (n,) for two classes
            For two classes, the second's score minus the first's.
        """
        inputs = self._read_inputs(X)
        scores = self.net_.decision_function(inputs).astype(np.float64)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give the accuracy on labelled target rows.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), rows of shape (n, d), or Domain
            Of the shape that was fitted.
        y : array of shape (n,)
            Their labels.
        sample_weight : array of shape (n,), default=None
            Row weights.

        Returns
        -------
        float
        """
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    @property
    def classes_(self) -> NDArray[Any]:
        """The label set, in the order of the columns of `predict_proba`."""
        check_is_fitted(self, "net_")
        return self.net_.classes

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = "dense" in self._get_facts().inputs
        return tags


def deep_facts(assumes: str, *, cost: str = "O(epochs n) gradients", **changes: Any) -> Facts:
    """Return the facts that all adapters of this kind share, with their own assumption.

    Parameters
    ----------
    assumes : str
        One sentence.
    cost : str, default="O(epochs n) gradients"
        As in `Facts`.
    **changes : object
        Other fields of `Facts`.

    Returns
    -------
    Facts
    """
    shared: dict[str, Any] = {
        "handles": ("marginal",),
        "source_labels": True,
        "tasks": ("classification",),
        "inputs": ("dense", "frame", "images"),
        "deep": True,
    }
    return Facts(assumes=assumes, cost=cost, **{**shared, **changes})


_EPOCHS = """\
epochs : int, default=20
    Passes over the larger sample; an epoch has at least 20 steps.
"""
_BUT_EPOCHS = """\
batch_size : int, default=64
    Rows of each sample in a step, at least 2.
learning_rate : float, default=3e-3
    Peak of the one-cycle rate of AdamW.
augmentation : "auto", callable or None, default="auto"
    Random changes of training images: "auto" is ``shiftlab.deep.Augmentation()``
    for images and none for tables. A callable takes a batch and a generator.
checkpoint : path or None, default=None
    A file that holds the state after each epoch. A training that was stopped goes on
    from it, and ends with the bits of one that was not.
device : str, default="auto"
    "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda:1", ...
random_state : int, RandomState or None, default=None
    The same one gives the same bits on one machine.
progress : bool, default=False
    Show a progress bar.
"""
_SHARED_DOCS = {
    "backbone of every deep adapter": """\
backbone : str, torch.nn.Module or pair, default="auto"
    "digit_cnn", "lenet" or "mlp"; "auto" is "digit_cnn" for images and "mlp" for tables.
    Or a network with ``features`` and ``head``, a pair of them, or a ``TrainedNet``; it is
    copied.
""",
    "parameters of every deep adapter": _EPOCHS + _BUT_EPOCHS,
    "parameters of every deep adapter but epochs": _BUT_EPOCHS,
    "attributes of every deep adapter": """\
net_ : TrainedNet
    The adapted network; ``net_.save(path)`` and ``net_.history``.
collapse_ : str or None
    What went wrong, where the network gave nearly all of the target one class or forgot
    the source; a warning says the same. None where all is well.
classes_ : ndarray, shape (k,)
    The source's label set.
source_ : Domain
    The labelled source rows, as features of the adapted network.
""",
}

# A small sample makes an epoch of one or two steps, too few to train a network in.
_STEPS_AN_EPOCH = 20
_WEIGHT_DECAY = 0.05


class DeepAdapter(NetAdapter):
    """Base class of adapters that train one network on a labelled source and a bare target.

    A subclass writes ``_method(context)``: the loss of a step and the modules that belong to
    it. With a parameter ``pretrain_epochs`` the network is trained for so long before that by
    ``_first_method(context)``, on the source alone by default.

    Parameters
    ----------
    <backbone of every deep adapter>
    <parameters of every deep adapter>
    """

    _shared_docs = _SHARED_DOCS
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [object],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "augmentation": [StrOptions({"auto"}), callable, None],
        "checkpoint": [str, os.PathLike, None],
        "device": [str],
        "random_state": ["random_state"],
        "progress": ["boolean"],
    }

    collapse_: str | None

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        epochs: int = 20,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        augmentation: Any = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.backbone = backbone
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augmentation = augmentation
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def _method(self, context: Context) -> Method:
        """Return the loss of a step and its modules."""
        raise NotImplementedError(f"{type(self).__name__} must define _method")

    def _first_method(self, context: Context) -> Method:
        """Return the method of the first `pretrain_epochs`: the source alone."""
        from shiftlab.deep.adaptation import Method, source_loss

        return Method(source_loss)

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = type(self).__name__
        require_deep(who)
        from shiftlab.deep import TrainedNet
        from shiftlab.deep.adaptation import adapt_net, find_collapse
        from shiftlab.deep.devices import LARGEST_SEED, resolve_device, seeded
        from shiftlab.deep.training import History, Plan

        labelled = source.labelled_part()
        at_least_two_rows(labelled, target, who)
        self._check_checkpoint()
        self._check_trained()
        chosen = resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        context, classes, shape = self._context(labelled, target, chosen, seed)
        given: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "seed": seed,
            "progress": self.progress,
            "text": who,
        }
        print_ = self._fingerprint(context, seed) if self.checkpoint else ""

        def train(method: Method, epochs: int, suffix: str = "") -> History:
            plan = Plan(epochs, self.batch_size, _STEPS_AN_EPOCH, _WEIGHT_DECAY)
            kept = self._snapshot(print_, suffix)
            return adapt_net(context, method, plan=plan, snapshot=kept, **given)

        if pretrain_epochs := getattr(self, "pretrain_epochs", 0):
            with seeded(seed + 4, chosen):
                first = self._first_method(context)
            train(first, pretrain_epochs, ".first")
        with seeded(seed + 3, chosen):
            method = self._method(context)
        history = train(method, self.epochs) if self.epochs else History()
        if not self.epochs and method.after_epoch is not None:
            method.after_epoch(1.0)
        prior = context.source_prior.cpu().numpy()
        self.collapse_ = find_collapse(history, prior, method.watches_source)
        if self.collapse_ is not None:
            warnings.warn(
                f"{who} collapsed: {self.collapse_}. Do not use it as it is: lower learning_rate "
                "or its weight, or keep the source's model",
                UserWarning,
                stacklevel=3,
            )
        self.net_ = TrainedNet(
            method.predictor or context.net,
            classes,
            shape,
            backbone=self._name_of_backbone(labelled),
            device=chosen,
            history=history,
        )
        return self._transform_target(labelled)

    def _backbone_of(self, rows: Domain) -> Any:
        if isinstance(self.backbone, str) and self.backbone == "auto":
            return "digit_cnn" if rows.is_image else "mlp"
        return self.backbone

    def _name_of_backbone(self, rows: Domain) -> str:
        """Return the name that the network was built by, or an empty one for the user's own."""
        backbone = self._backbone_of(rows)
        name = backbone if isinstance(backbone, str) else getattr(backbone, "backbone", "")
        return name if isinstance(name, str) else ""

    def _context(
        self, source: Domain, target: Domain, device: Any, seed: int
    ) -> tuple[Context, NDArray[Any], tuple[int, ...]]:
        """Read both samples and build the network."""
        import torch

        from shiftlab.deep import Augmentation, TrainedNet, as_block_net, build_backbone
        from shiftlab.deep.adaptation import Context
        from shiftlab.deep.classifier import encode_labels
        from shiftlab.deep.devices import resolve_precision, seeded
        from shiftlab.deep.inputs import as_input_array

        who = type(self).__name__
        X = as_input_array(self._inputs(source), name=f"{who}: source")
        X_target = as_input_array(self._inputs(target), name=f"{who}: target")
        classes, codes = encode_labels(
            source.y, n=len(X), classes=source.classes, name=f"{who}: source labels"
        )
        backbone = self._backbone_of(source)
        if isinstance(backbone, str):
            with seeded(seed, torch.device("cpu")):
                net = build_backbone(backbone, X.shape[-1], len(classes))
        elif isinstance(backbone, TrainedNet):
            if not np.array_equal(backbone.classes, classes):
                raise ValueError(
                    f"{who}: the backbone was trained on the classes {backbone.classes.tolist()} "
                    f"and the source has {classes.tolist()}; both must be the same"
                )
            net = copy.deepcopy(backbone.net).requires_grad_(True)
        else:
            net = copy.deepcopy(as_block_net(backbone))
        net = net.to(device)
        augmentation = self.augmentation
        if isinstance(augmentation, str):
            augmentation = Augmentation() if source.is_image else None
        group = None
        if source.group is not None:
            group = np.unique(source.group, return_inverse=True)[1].astype(np.int64)
        context = Context(
            net.to(memory_format=torch.channels_last) if source.is_image else net,
            X,
            codes,
            X_target,
            n_classes=len(classes),
            weight=None if source.weight is None else np.asarray(source.weight, dtype=float),
            group=group,
            augmentation=augmentation,
            device=device,
            # A net of a few thousand weights loses digits by bfloat16, and no time without it.
            precision=resolve_precision("auto" if source.is_image else "float32", device),
            seed=seed,
        )
        return context, classes, X.shape[1:]

    # -- stopping and going on --------------------------------------------------------------

    def _check_checkpoint(self) -> None:
        if self.checkpoint is not None and not Path(self.checkpoint).parent.is_dir():
            raise ValueError(
                f"checkpoint={os.fspath(self.checkpoint)!r} is in a folder that does not exist"
            )

    def _check_trained(self) -> None:
        """Refuse to rely on what a network says that nothing has trained."""
        for name in ("pretrain_epochs", "epochs"):
            if getattr(self, name, None) == 0 and isinstance(self.backbone, str):
                raise ValueError(
                    f"{type(self).__name__}: {name}=0 needs a backbone that is trained already, "
                    f"a TrainedNet or a module; {self.backbone!r} names one with random weights"
                )

    def _snapshot(self, fingerprint: str, suffix: str = "") -> Snapshot | None:
        from shiftlab.deep.snapshot import Snapshot

        if self.checkpoint is None:
            return None
        path = Path(self.checkpoint)
        return Snapshot(path.with_name(path.name + suffix), fingerprint)

    def _fingerprint(self, context: Context, seed: int) -> str:
        """Name the data, the settings and the network that a training starts from."""
        from shiftlab.deep.fingerprint import fingerprint

        given = self.get_params(deep=False)
        free = {"backbone", "checkpoint", "progress", "random_state", "device"}
        settings = {name: repr(value) for name, value in given.items() if name not in free}
        arrays = [context.source.pixels, context.target.pixels, context.labels]
        arrays += [t for t in (context.weight, context.group) if t is not None]
        arrays += list(context.net.state_dict().values())
        # Without dtypes, as the snapshots that are already on disks.
        return fingerprint((type(self).__name__, seed, settings), arrays, dtypes=False)

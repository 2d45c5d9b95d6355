"""The methods of the Digit-5 grid: each turns what it may see into predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.settings import Digit5Settings

__all__ = ["METHODS", "Method", "Transfer", "few_labels"]


@dataclass(frozen=True)
class Transfer:
    """All that a method may see of one cell of the grid.

    Parameters
    ----------
    source : Domain
        Labelled training images.
    target : Domain
        Training images of the target with the labels that the method may see, and no other.
    test : ndarray of uint8
        Test images of the target. Their labels are not here.
    net : object
        The trained network that the method starts from; None for one that starts from none.
    settings : Digit5Settings
        The study's settings.
    seed : int
        Seed of everything random in the method.
    checkpoint : Path
        Where a long training may keep its state, so that a killed cell goes on from there.
    keep : callable
        Takes the adapted network, for the report's pictures and curves.
    """

    source: Domain
    target: Domain
    test: NDArray[np.uint8]
    net: Any
    settings: Digit5Settings
    seed: int
    checkpoint: Path
    keep: Callable[[Any], None]


@dataclass(frozen=True)
class Method:
    """A row of the grid.

    Parameters
    ----------
    predict : callable
        :class:`Transfer` to the predicted labels of ``test``, shape (n,).
    target_labels : {"none", "few", "all"}, default="none"
        Which labels of the target's training images it may see; "few" is
        ``labels_per_class`` of each class.
    net : {"source", "target"} or None, default="source"
        Whose trained network it starts from; None trains its own.
    """

    predict: Callable[[Transfer], NDArray[Any]]
    target_labels: Literal["none", "few", "all"] = "none"
    net: Literal["source", "target"] | None = "source"

    def visible(self, target: Domain, settings: Digit5Settings) -> Domain:
        """Return the target's training images with the labels that this method may see."""
        if self.target_labels == "none":
            return target.unlabelled()
        if self.target_labels == "few":
            mask = few_labels(target.y, settings.labels_per_class)
            return target.with_(labelled=mask).masked()
        return target


def few_labels(y: NDArray[Any], per_class: int) -> NDArray[np.bool_]:
    """Mark the first rows of each class.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels in random order.
    per_class : int
        How many of each class; all of them where a class has fewer.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.experiments.methods import few_labels
    >>> few_labels(np.array([1, 1, 0, 1]), 2).tolist()
    [True, True, True, False]
    """
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        mask[np.flatnonzero(y == label)[:per_class]] = True
    return mask


def _from_net(transfer: Transfer) -> NDArray[Any]:
    return np.asarray(transfer.net.predict(transfer.test))


def _coral(transfer: Transfer) -> NDArray[Any]:
    """Give the source's features the covariance and mean of the target's, then classify."""
    from sklearn.linear_model import LogisticRegression

    from shiftlab.marginal.alignment.coral import CORAL

    net = transfer.net
    source = Domain(net.features(transfer.source.X), transfer.source.y, name="source")
    target = Domain(net.features(transfer.target.X), name="target")
    model = CORAL(LogisticRegression(max_iter=1000), center=True).fit(source, target)
    return np.asarray(model.predict(net.features(transfer.test)))


def _finetune(transfer: Transfer) -> NDArray[Any]:
    """Train on, with a new head, on the few labelled images of the target."""
    from shiftlab.label_space.finetune import FineTune

    # As the results that are kept were measured; few_labels compares the ways to fine-tune.
    model = FineTune(
        transfer.net,
        freeze=0,
        probe=False,
        layer_decay=0.8,
        penalty=None,
        epochs=transfer.settings.finetune_epochs,
        random_state=transfer.seed,
    )
    model.fit(transfer.source, transfer.target)
    return np.asarray(model.predict(transfer.test))


def _deep(name: str, transfer: Transfer) -> NDArray[Any]:
    """Train a new network on both domains, for as long as that of the source was trained."""
    return _adapted(transfer, name, transfer.settings.network, epochs=transfer.settings.epochs)


def _from_trained(name: str, transfer: Transfer) -> NDArray[Any]:
    """Go on from the source's network for half as long as it was trained."""
    epochs = max(1, transfer.settings.epochs // 2)
    return _adapted(transfer, name, transfer.net, pretrain_epochs=0, epochs=epochs)


def _adabn(transfer: Transfer) -> NDArray[Any]:
    return _adapted(transfer, "AdaBN", transfer.net, epochs=0)


def _tent(transfer: Transfer) -> NDArray[Any]:
    return _adapted(transfer, "TENT", transfer.net, pretrain_epochs=0)


def _dirt_t(transfer: Transfer) -> NDArray[Any]:
    """Train by VADA for as long as others train, and go on for half as long."""
    epochs = transfer.settings.epochs
    network = transfer.settings.network
    return _adapted(transfer, "DIRTT", network, pretrain_epochs=epochs, epochs=max(1, epochs // 2))


def _adapted(transfer: Transfer, name: str, backbone: Any, **settings: Any) -> NDArray[Any]:
    import shiftlab

    model = getattr(shiftlab, name)(
        backbone, checkpoint=transfer.checkpoint, random_state=transfer.seed, **settings
    )
    model.fit(transfer.source, transfer.target)
    transfer.keep(model.net_)
    return np.asarray(model.predict(transfer.test))


def _trains_its_own(name: str) -> Method:
    return Method(partial(_deep, name), net=None)


METHODS: Mapping[str, Method] = {
    "source-only": Method(_from_net),
    "coral": Method(_coral),
    "adabn": Method(_adabn),
    "deep-coral": _trains_its_own("DeepCORAL"),
    "dan": _trains_its_own("DAN"),
    "jan": _trains_its_own("JAN"),
    "afn": _trains_its_own("AFN"),
    "deep-jdot": _trains_its_own("DeepJDOT"),
    "m3sda": _trains_its_own("M3SDA"),
    "dann": _trains_its_own("DANN"),
    "cdan": _trains_its_own("CDAN"),
    "adda": Method(partial(_from_trained, "ADDA")),
    "mcd": _trains_its_own("MCD"),
    "mdd": _trains_its_own("MDD"),
    "mcc": _trains_its_own("MCC"),
    "vada": _trains_its_own("VADA"),
    "dirt-t": Method(_dirt_t, net=None),
    "tent": Method(_tent),
    "shot": Method(partial(_from_trained, "SHOT")),
    "self-ensembling": _trains_its_own("SelfEnsembling"),
    "adamatch": _trains_its_own("AdaMatch"),
    "deep-adapt": _trains_its_own("DeepAdapt"),
    "finetune": Method(_finetune, target_labels="few"),
    "target-supervised": Method(_from_net, target_labels="all", net="target"),
}
"""Name to method, in the order of the tables."""

"""How well a network's layers suit a new task, before anything is fine-tuned."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shiftlab.domain import Domain
from shiftlab.stats.transferability import h_score, leep, logme, nce, transrate

__all__ = ["transferability"]


def transferability(
    backbone: Any,
    X: Any,
    y: ArrayLike,
    *,
    layer: str | None = None,
    source_proba: ArrayLike | None = None,
) -> dict[str, float]:
    """Score a network, or features, for the labels of a new task.

    Higher is better in each score, and scores compare networks (or layers) on
    the *same* rows and labels only. None of them needs a training. How well each
    ranks what fine-tuning then reaches was measured in ``experiments/few_labels``
    (over sources: LEEP best, where the sources know the target's labels; LogME wrong
    with one label a class) and ``experiments/transferability`` (over layers: no score
    says how many to freeze).

    Time is O(n d min(n, d)) after one pass of the network.

    Parameters
    ----------
    backbone : TrainedNet, path of a saved one, or None
        The network; None if `X` holds features already, which needs no torch.
    X : uint8 images of shape (n, H, W) or (n, H, W, C), array of shape (n, d), or Domain
        Rows of the new task, or features of them.
    y : array-like of shape (n,)
        Their labels, of at least two classes.
    layer : str, default=None
        Name of the block whose output is scored, maps averaged over their places;
        None is the features below the head.
    source_proba : array-like of shape (n, k), default=None
        For given features: the source model's probabilities of its own classes.

    Returns
    -------
    dict of str to float
        "logme", "h_score", "h_score_shrunk" and "transrate" of the features, and,
        where there are probabilities, "leep" and "nce", which look at the head alone.

    Raises
    ------
    ValueError
        If shapes, labels or the layer's name are wrong.

    See Also
    --------
    shiftlab.stats.transferability : The scores as functions.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import transferability
    >>> y = np.repeat(["ant", "bee"], 30)
    >>> noise = np.random.default_rng(0).normal(size=(60, 3))
    >>> good = transferability(None, noise + 4 * (y == "ant")[:, None], y)
    >>> sorted(good)
    ['h_score', 'h_score_shrunk', 'logme', 'transrate']
    >>> good["logme"] > transferability(None, noise, y)["logme"]
    True
    """
    rows = X.X if isinstance(X, Domain) else X
    if backbone is None:
        if layer is not None:
            raise ValueError(f"layer={layer!r} needs a backbone; given features are one layer's")
        features = rows
    else:
        if source_proba is not None:
            raise ValueError("source_proba goes with features; a backbone has its own")
        from shiftlab.deep_adapter import require_deep

        require_deep("transferability")
        from shiftlab.deep import TrainedNet
        from shiftlab.deep.layers import layer_outputs

        if isinstance(backbone, (str, os.PathLike)):
            backbone = TrainedNet.load(backbone)
        if not isinstance(backbone, TrainedNet):
            raise TypeError(
                "backbone must be a TrainedNet, the path of a saved one, or None with features "
                f"as X; got {type(backbone).__name__}"
            )
        n, n_labels = len(rows), np.shape(y)
        if n_labels != (n,):
            raise ValueError(f"y must have one label a row, shape ({n},); got {n_labels}")
        features = (
            backbone.features(rows)
            if layer is None
            else layer_outputs(backbone, rows, [layer])[layer]
        )
        source_proba = backbone.predict_proba(rows)
    found = {
        "logme": logme(features, y),
        "h_score": h_score(features, y),
        "h_score_shrunk": h_score(features, y, shrink=True),
        "transrate": transrate(features, y),
    }
    if source_proba is not None:
        proba = np.asarray(source_proba, dtype=float)
        found["leep"] = leep(proba, y)
        found["nce"] = nce(proba.argmax(axis=1), y)
    return found

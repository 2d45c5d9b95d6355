"""How many blocks to freeze, by cross-validation on the labelled target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from shiftlab.deep.classifier import encode_labels
from shiftlab.deep.devices import LARGEST_SEED
from shiftlab.deep.images import as_image_array
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.transfer import fine_tune

__all__ = ["search_freeze"]

_FOLDS = 3


def search_freeze(
    trained: TrainedNet,
    images: Any,
    labels: ArrayLike,
    *,
    random_state: int | np.random.RandomState | None = None,
    **settings: Any,
) -> dict[int, float]:
    """Measure the cross-entropy on held-out rows for each number of frozen blocks.

    All numbers see the same folds and seeds. Time is that of three trainings for each
    number of blocks from none to all.

    Parameters
    ----------
    trained : TrainedNet
        Where to start.
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Labelled target images, at least two of each class.
    labels : array-like, shape (n,)
        Their labels.
    random_state : int, RandomState or None, default=None
        Decides every random choice.
    **settings : object
        As for :func:`fine_tune`, but for ``freeze`` and early stopping, which is off: the
        held-out rows must not choose an epoch as well.

    Returns
    -------
    dict of int to float
        Mean over all rows, in nats, for 0 to the number of blocks.
    """
    rng = check_random_state(random_state)
    array = as_image_array(images, shape=trained.image_shape)
    classes, codes = encode_labels(labels, n=len(array), classes=settings.get("classes"))
    known = np.asarray(labels)
    n_folds = min(_FOLDS, int(np.bincount(codes)[np.unique(codes)].min()))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=rng.randint(LARGEST_SEED))
    seed = int(rng.randint(LARGEST_SEED))
    n_blocks = len(trained.net.blocks)
    total = dict.fromkeys(range(n_blocks + 1), 0.0)
    epochs = settings.pop("epochs", 40)
    for rows, held_out in folds.split(array, codes):
        for freeze in total:
            head_only = settings.get("probe") and freeze == n_blocks
            tuned = fine_tune(
                trained,
                array[rows],
                known[rows],
                freeze=freeze,
                epochs=0 if head_only else epochs,
                validation_fraction=0.0,
                random_state=seed,
                **settings,
            )
            place = np.searchsorted(tuned.classes, classes[codes[held_out]])
            proba = tuned.predict_proba(array[held_out])[np.arange(len(held_out)), place]
            total[freeze] -= float(np.log(np.maximum(proba, 1e-12)).sum())
    return {freeze: value / len(array) for freeze, value in total.items()}

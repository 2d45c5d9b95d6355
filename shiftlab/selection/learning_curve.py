"""What a model of all source rows loses, by models of fewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.selection.ground import Ground

__all__ = ["whole_loss"]


def whole_loss(ground: Ground, adapter: Any, *, mapped: bool) -> NDArray[np.float64]:
    r"""Losses on held-out source rows, brought to those of an adapter of all source rows.

    With K folds an adapter learns from :math:`(1 - 1/K) n` labelled rows, and loses more than
    one of n. Others that learn from one fold show how much more: if the mean loss after m rows
    is :math:`a + b/m`,

    .. math:: \ell_n = \ell_{(1 - 1/K) n} - \frac{\ell_{n/K} - \ell_{(1 - 1/K) n}}{K (K - 2)}.

    The cost is K fits on n / K rows beside those of `Ground`.

    Parameters
    ----------
    ground : Ground
        Folds of the source, three or more; with two there is nothing to compare.
    adapter : Adapter
        Unfitted.
    mapped : bool
        Whether rows are answered as the adapter maps them; else as target rows.

    Returns
    -------
    ndarray of shape (n,)
        In the order of ``ground.held_out``. A single loss may be negative: their means count.
        The losses of the smaller models where a fold alone is too small to learn from.
    """
    if mapped:
        both = ground.mapped_losses(adapter)
        assert both is not None
        loss = both[1]
    else:
        loss = ground.held_out_loss(adapter)
    n_folds = len(ground.folds)
    if n_folds < 3:
        return loss
    of_few = np.zeros(ground.source.n_rows)
    for _, learnt in ground.folds:
        rest = np.setdiff1d(ground.held_out, learnt)
        try:
            of_few[rest] += ground.loss_without(adapter, rest, mapped=mapped) / (n_folds - 1)
        except ValueError:  # such as a fold that lacks a class
            return loss
    return np.asarray(loss - (of_few[ground.held_out] - loss) / (n_folds * (n_folds - 2)))

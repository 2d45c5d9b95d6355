"""What changes in a network while it is fine-tuned: open blocks, batch-norm statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from shiftlab.deep.backbones import BlockNet
from shiftlab.deep.training import Hooks

__all__ = ["BATCH_NORMS", "open_blocks", "set_statistics", "stage_hooks"]

BATCH_NORMS = ("batch", "source", "target")
"""Where batch norm takes its statistics from in fine-tuning."""

_BATCH = 512


def open_blocks(done: float, n_blocks: int) -> int:
    """Count the blocks that gradual unfreezing has opened, from the top.

    The first half of the training has equal stages: the head alone, then one block more
    in each; in the second half all are open (in the manner of Howard and Ruder, 2018, who
    open one an epoch).

    Parameters
    ----------
    done : float
        Part of the training that is done, in [0, 1].
    n_blocks : int
        Blocks to open.

    Returns
    -------
    int

    Examples
    --------
    >>> [open_blocks(done, 3) for done in (0.0, 0.12, 0.13, 0.26, 0.38, 0.5, 1.0)]
    [0, 0, 1, 2, 3, 3, 3]
    """
    return min(n_blocks, int(2 * done * (n_blocks + 1)))


def _norms(net: BlockNet, freeze: int) -> list[_BatchNorm]:
    return [m for b in net.blocks[freeze:] for m in b.modules() if isinstance(m, _BatchNorm)]


def stage_hooks(net: BlockNet, freeze: int, *, gradual: bool, batch_norm: str) -> Hooks:
    """Open blocks one by one, and keep batch-norm statistics where they are, as asked.

    Parameters
    ----------
    net : BlockNet
        The network.
    freeze : int
        Blocks that stay frozen throughout.
    gradual : bool
        Open the others one by one, from the top.
    batch_norm : {"batch", "source", "target"}
        Only "batch" lets the statistics move.

    Returns
    -------
    Hooks
    """
    still = _norms(net, freeze) if batch_norm != "batch" else []
    n_blocks = len(net.blocks)
    state: dict[str, Any] = {"frozen": None}

    def before_step(done: float) -> None:
        if gradual:
            frozen = n_blocks - open_blocks(done, n_blocks - freeze)
            if frozen != state["frozen"]:
                net.freeze_bottom(frozen)
                net.train()
                state["frozen"] = frozen
        for norm in still:
            norm.eval()

    return Hooks(before_step=before_step if gradual or still else None)


@torch.no_grad()
def set_statistics(net: BlockNet, store: Any, freeze: int) -> None:
    """Give batch norm the statistics of these rows (adaptive batch normalisation).

    Parameters
    ----------
    net : BlockNet
        Changed in place, above the frozen blocks.
    store : ImageStore or RowStore
        The rows, without their labels.
    freeze : int
        Blocks, from the bottom, whose statistics stay.

    References
    ----------
    Y. Li et al. Revisiting batch normalization for practical domain adaptation. ICLR Workshop,
    2017.
    """
    norms = _norms(net, freeze)
    momenta = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    n = len(store)
    parts = max(1, round(n / _BATCH))
    for rows in torch.tensor_split(torch.arange(n, device=store.pixels.device), parts):
        net.embed(store.batch(rows))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

"""Batch norm's running statistics: whose they are, and when they move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["norm_layers", "set_statistics", "statistics_kept"]


def norm_layers(net: nn.Module, who: str) -> list[_BatchNorm]:
    """Find the layers of batch norm.

    Parameters
    ----------
    net : torch.nn.Module
        The network.
    who : str
        The adapter, for the message.

    Returns
    -------
    list of torch.nn.modules.batchnorm._BatchNorm
        At least one.

    Raises
    ------
    ValueError
        If the network has none.

    Examples
    --------
    >>> len(norm_layers(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "AdaBN"))
    1
    """
    layers = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        raise ValueError(
            f"{who} adapts batch norm, and the backbone has no layer of it that keeps running "
            "statistics; take 'digit_cnn', 'mlp', or a network of your own that has"
        )
    return layers


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """Let no batch that goes through the network inside change its running statistics.

    Parameters
    ----------
    net : torch.nn.Module
        In training mode, batches are still normalised by their own statistics.

    Examples
    --------
    >>> net = nn.BatchNorm1d(1)
    >>> with statistics_kept(net):
    ...     _ = net(torch.tensor([[1.0], [3.0]]))
    >>> net.running_mean.item()
    0.0
    """
    layers = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


@torch.no_grad()
def set_statistics(net: nn.Module, batches: Iterable[Tensor], who: str) -> None:
    """Give batch norm the mean statistics of some batches in place of those of training.

    Parameters
    ----------
    net : torch.nn.Module
        Changed in place; its mode is not.
    batches : iterable of Tensor, each of shape (b, ...)
        Of about the same size, each of at least 2 rows.
    who : str
        The adapter, for the message.

    Examples
    --------
    >>> net = nn.BatchNorm1d(1)
    >>> set_statistics(net, [torch.tensor([[1.0], [3.0]])], "AdaBN")
    >>> net.running_mean.item(), net.running_var.item()
    (2.0, 2.0)
    """
    layers = norm_layers(net, who)
    modes = {module: module.training for module in net.modules()}
    momenta = [layer.momentum for layer in layers]
    net.eval()  # dropout stays off
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
        layer.train()
    try:
        for batch in batches:
            net(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode

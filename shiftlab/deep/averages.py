"""A network whose weights are the moving average of another's."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage(nn.Module):
    """An exponential moving average of a network's weights and buffers, always in evaluation mode.

    ``w <- d w + (1 - d) v`` after each step, with ``d = min(decay, k / (k + 9))`` at the
    k-th: the average forgets where it started within the first steps.

    Parameters
    ----------
    net : torch.nn.Module
        The network that is trained; copied.
    decay : float
        In [0, 1).

    Examples
    --------
    >>> net = nn.Linear(1, 1, bias=False)
    >>> average = MovingAverage(net, 0.9)
    >>> before = net.weight.item()
    >>> net.weight.data += 1.0
    >>> average.update(net)
    >>> round(average.net.weight.item() - before, 4)
    0.9
    """

    updates: Tensor

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._n_updates: int | None = None

    def train(self, mode: bool = True) -> MovingAverage:
        """Stay in evaluation mode: the average never learns by itself."""
        return super().train(False)

    def forward(self, batch: Tensor) -> Tensor:
        """Apply the averaged network, without a gradient."""
        with torch.no_grad():
            scores: Tensor = self.net(batch)
        return scores

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move towards the present weights.

        Parameters
        ----------
        net : torch.nn.Module
            Of the same kind as the one that was copied.
        """
        if self._n_updates is None:  # the buffer outlives a stop; reading it each time would wait
            self._n_updates = int(self.updates)
        self._n_updates += 1
        self.updates += 1
        decay = min(self.decay, self._n_updates / (self._n_updates + 9))
        ours, theirs = [], []
        for mine, other in zip(self._tensors(self.net), self._tensors(net), strict=True):
            if mine.is_floating_point():
                ours.append(mine)
                theirs.append(other)
            else:
                mine.copy_(other)
        torch._foreach_lerp_(ours, theirs, 1.0 - decay)

    @staticmethod
    def _tensors(net: nn.Module) -> list[Tensor]:
        return [*net.parameters(), *net.buffers()]

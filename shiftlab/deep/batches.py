"""Which rows make up which gradient step, for one set of rows or several side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["batch_sizes", "draw_epoch", "steps_an_epoch"]


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """Cut n rows into batches, none of a single row, which batch norm cannot take.

    A last batch of one row joins the batch before it.

    Parameters
    ----------
    n : int
        Rows.
    batch_size : int
        Rows of a full batch, at least 2.

    Returns
    -------
    list of int
        Their sum is n.

    Examples
    --------
    >>> batch_sizes(9, 4), batch_sizes(10, 4)
    ([4, 5], [4, 4, 2])
    """
    full, rest = divmod(n, batch_size)
    sizes = [batch_size] * full
    if rest == 1 and full:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def steps_an_epoch(sizes: Sequence[int], batch_size: int, least: int = 1) -> int:
    """Count the batches in which an epoch goes through the largest set at least once.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each set.
    batch_size : int
        Rows of a batch of each.
    least : int, default=1
        Steps of an epoch, at least; a small set is gone through several times.

    Returns
    -------
    int

    Examples
    --------
    >>> steps_an_epoch([10], 4), steps_an_epoch([3, 10], 4), steps_an_epoch([10], 4, least=5)
    (3, 3, 6)
    """
    if len(sizes) > 1:
        return max(math.ceil(max(sizes) / batch_size), least)
    once = max(len(batch_sizes(sizes[0], batch_size)), 1)
    return once * math.ceil(least / once)


def draw_epoch(
    sizes: Sequence[int], batch_size: int, least: int, generator: torch.Generator
) -> list[tuple[Tensor, ...]]:
    """Draw the rows of every step of an epoch.

    One set is shuffled and cut. Of several, each gives a full batch to every
    step: its shuffles follow each other without a gap, so that in a set of n
    rows no row is drawn k + 1 times before all are drawn k times. A set with
    fewer rows than a batch gives all of them, in another order each time.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each set.
    batch_size : int
        Rows of a batch of each.
    least : int
        Steps, at least.
    generator : torch.Generator
        Of the CPU; decides the order.

    Returns
    -------
    list of tuple of Tensor
        One tuple a step, with the rows of each set.

    Examples
    --------
    >>> steps = draw_epoch([2, 6], 3, 1, torch.Generator().manual_seed(0))
    >>> [tuple(len(rows) for rows in step) for step in steps]
    [(2, 3), (2, 3)]
    """
    if len(sizes) == 1:
        batches: list[Tensor] = []
        while len(batches) < least or not batches:
            order = torch.randperm(sizes[0], generator=generator)
            batches.extend(torch.split(order, batch_sizes(sizes[0], batch_size)))
        return [(rows,) for rows in batches]
    steps = steps_an_epoch(sizes, batch_size, least)
    streams = []
    for n in sizes:
        width = min(batch_size, n)
        shuffles = [
            torch.randperm(n, generator=generator) for _ in range(math.ceil(steps * width / n))
        ]
        streams.append(torch.cat(shuffles)[: steps * width].view(steps, width))
    return list(zip(*streams, strict=True))

"""Measure what the training loop of the deep adapters costs beside a hand-written one.

    python benchmarks/deep/run.py

Both train the same network by the same loss on the same number of rows a step, on one thread.
The times are those of the processor, the least of several rounds that take turns, so that other
work on the machine matters little. The table of the README is written anew.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shiftlab.deep.adaptation import Context, Method, Step, adapt_net
from shiftlab.deep.backbones import BlockNet, lenet, mlp
from shiftlab.deep.inputs import as_input_array
from shiftlab.deep.training import Plan
from shiftlab.experiments.readme import replace_block

HERE = Path(__file__).parent
CPU = torch.device("cpu")
BATCH = 64


def table(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=(n, 10)).astype(np.float32)


def digits(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return rng.integers(0, 256, size=(n, 28, 28), dtype=np.uint8)


CASES: dict[str, tuple[Callable[..., Any], Callable[[], BlockNet], int, int]] = {
    "MLP of 5,000 weights, 10 columns": (table, lambda: mlp(10, 10), 64 * 300, 1),
    "LeNet of 431,080 weights, 28 x 28 gray": (digits, lambda: lenet(1, 10), 64 * 30, 1),
}


def by_hand(
    source: Any, labels: Any, target: Any, net: BlockNet, epochs: int, fused: bool = False
) -> None:
    """A loop as one writes it who has read no library: tensors, permutations, AdamW."""
    # Two sets in memory as floats, scaled once; nothing else is prepared.
    S, T = (torch.from_numpy(np.atleast_2d(X)).float() for X in (source, target))
    if S.ndim == 3:
        S, T = ((X[:, None] / 127.5 - 1.0) for X in (S, T))
    y = torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused)
    net.train()
    for _ in range(epochs):
        order, other = torch.randperm(len(S)), torch.randperm(len(T))
        for start in range(0, len(S), BATCH):
            rows, columns = order[start : start + BATCH], other[start : start + BATCH]
            scores = net(torch.cat([S[rows], T[columns]]))
            loss = F.cross_entropy(scores[:BATCH], y[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()


def by_ours(source: Any, labels: Any, target: Any, net: BlockNet, epochs: int) -> None:
    context = Context(
        net,
        as_input_array(source),
        labels,
        as_input_array(target),
        n_classes=10,
        weight=None,
        group=None,
        augmentation=None,
        device=CPU,
        precision="no",
        seed=0,
    )

    def loss(step: Step) -> Tensor:
        return step.cross_entropy(step.outputs().source_scores)

    adapt_net(context, Method(loss), plan=Plan(epochs, BATCH), learning_rate=1e-3, seed=0)


LOOPS: dict[str, Callable[..., None]] = {
    "by hand": by_hand,
    "by hand, fused": partial(by_hand, fused=True),
    "shiftlab": by_ours,
}


def measure(case: str, rounds: int = 5) -> dict[str, Any]:
    draw, build, n, epochs = CASES[case]
    rng = np.random.default_rng(0)
    source, target = draw(rng, n), draw(rng, n)
    labels = rng.integers(0, 10, n)
    least: dict[str, float] = {}
    for round_ in range(rounds + 1):
        for name, loop in LOOPS.items():
            torch.manual_seed(0)
            net = build()
            started = time.process_time()
            loop(source, labels, target, net, epochs)
            taken = time.process_time() - started
            if round_:  # the first is for caches
                least[name] = min(taken, least.get(name, np.inf))
    steps = epochs * n // BATCH
    took = {name: least[name] / steps * 1e3 for name in LOOPS}
    ours = took["shiftlab"]
    return {
        "network": case,
        **{f"{name}, ms a step": round(value, 3) for name, value in took.items()},
        "overhead over fused, ms a step": round(ours - took["by hand, fused"], 3),
        "shiftlab, images a second": round(2 * BATCH / ours * 1e3),
        "rate over by hand": round(took["by hand"] / ours, 2),
        "rate over fused": round(took["by hand, fused"] / ours, 2),
    }


def main() -> None:
    torch.set_num_threads(1)
    rows = [measure(case) for case in CASES]
    with (HERE / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
    replace_block(HERE / "README.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()

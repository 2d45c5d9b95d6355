"""Measure what the training loop of the deep adapters costs beside a hand-written one.

    python benchmarks/deep/run.py --peer-python skada/bin/python

All train the same network by the same loss on the same number of rows a step, on one thread.
The times are those of the processor, the least of several rounds that take turns, so that other
work on the machine matters little. The table of the README is written anew.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.adaptation import Context, Method, Step, adapt_net
from shiftlab.deep.backbones import BlockNet, lenet, mlp
from shiftlab.deep.inputs import as_input_array
from shiftlab.deep.losses import coral
from shiftlab.deep.training import Plan
from shiftlab.experiments.readme import replace_block

HERE = Path(__file__).parent
CPU = torch.device("cpu")
BATCH = 64


def table(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=(n, 10)).astype(np.float32)


def digits(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return rng.integers(0, 256, size=(n, 28, 28), dtype=np.uint8)


def colours(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return rng.integers(0, 256, size=(n, 32, 32, 3), dtype=np.uint8)


def lenet_of_colours() -> BlockNet:
    """The LeNet for 32 x 32 pixels, with 320 hidden units so that it has as many weights."""
    conv1 = [nn.Conv2d(3, 20, 5), nn.MaxPool2d(2), nn.ReLU()]
    conv2 = [nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU()]
    fc = [nn.Flatten(), nn.Linear(1250, 320), nn.ReLU()]
    return BlockNet(nn.Sequential(*conv1, *conv2, *fc), nn.Linear(320, 10))


# Name in the tables, rows, network, number of rows, epochs.
CASES: dict[str, tuple[str, Callable[..., Any], Callable[[], BlockNet], int, int]] = {
    "table": ("MLP of 5,000 weights, 10 columns", table, lambda: mlp(10, 10), 64 * 300, 1),
    "gray": ("LeNet of 431,080 weights, 28 x 28 gray", digits, lambda: lenet(1, 10), 64 * 30, 1),
    "colour": ("LeNet of 430,100 weights, 32 x 32 RGB", colours, lenet_of_colours, 64 * 30, 1),
}


def by_hand(
    source: Any, labels: Any, target: Any, net: BlockNet, epochs: int, fused: bool = False
) -> None:
    """A loop as one writes it who has read no library: tensors, permutations, AdamW."""
    # Two sets in memory as floats, scaled once; nothing else is prepared.
    S, T = (torch.from_numpy(X).float() for X in (source, target))
    if S.ndim > 2:
        S, T = ((X[:, None] if X.ndim == 3 else X.permute(0, 3, 1, 2)) for X in (S, T))
        S, T = ((X / 127.5 - 1.0).contiguous() for X in (S, T))
    y = torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused)
    net.train()
    for _ in range(epochs):
        order, other = torch.randperm(len(S)), torch.randperm(len(T))
        for start in range(0, len(S), BATCH):
            rows, columns = order[start : start + BATCH], other[start : start + BATCH]
            features = net.embed(torch.cat([S[rows], T[columns]]))
            loss = F.cross_entropy(net.head(features[:BATCH]), y[rows])
            loss = loss + coral(features[:BATCH], features[BATCH:])
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
        out = step.outputs()
        return step.cross_entropy(out.source_scores) + coral(
            out.source_features, out.target_features
        )

    adapt_net(context, Method(loss), plan=Plan(epochs, BATCH), learning_rate=1e-3, seed=0)


LOOPS: dict[str, Callable[..., None]] = {
    "by hand": by_hand,
    "by hand, fused": partial(by_hand, fused=True),
    "shiftlab": by_ours,
}


def measure(case: str, peer_python: str | None, rounds: int) -> dict[str, Any]:
    name_of_case, draw, build, n, epochs = CASES[case]
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
    if peer_python is not None:
        command = [peer_python, str(HERE / "peer.py"), case, str(n), str(rounds)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(answer.splitlines()[-1])
        if found["steps"] != n // BATCH:
            raise RuntimeError(f"skada made {found['steps']} steps and we made {n // BATCH}")
        took["skada"] = found["ms"]
    return {
        "network": name_of_case,
        **{f"{name}, ms a step": round(value, 3) for name, value in took.items()},
        "overhead over fused, ms a step": round(ours - took["by hand, fused"], 3),
        "shiftlab, images a second": round(2 * BATCH / ours * 1e3),
        "rate over by hand": round(took["by hand"] / ours, 2),
        "rate over fused": round(took["by hand, fused"] / ours, 2),
        "rate over skada": round(took["skada"] / ours, 2) if "skada" in took else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="a Python that has skada, skorch and torch")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(case, given.peer_python, given.rounds) for case in CASES]
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

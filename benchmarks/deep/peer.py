"""Time DeepCORAL of skada on the networks and rows of ``run.py``; prints JSON.

    python peer.py table 19200 5

Needs skada, skorch and torch, and nothing of shiftlab.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from skada.deep import DeepCoral
from torch import nn

BATCH = 64


def lenet(channels: int, n_flat: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Sequential(nn.Linear(n_flat, width), nn.ReLU()),
        nn.Linear(width, 10),
    )


def mlp() -> nn.Sequential:
    layers = [nn.Linear(10, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU()]
    layers += [nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


CASES = {
    "table": (mlp, "5", (10,)),
    "gray": (lambda: lenet(1, 800, 500), "7", (1, 28, 28)),
    "colour": (lambda: lenet(3, 1250, 320), "7", (3, 32, 32)),
}


def main(case: str, n: int, rounds: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    build, layer, shape = CASES[case]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n, *shape)).astype(np.float32)
    y = np.concatenate([rng.integers(0, 10, n), np.full(n, -1)])
    domain = np.repeat([1, -2], n)
    least = np.inf
    for round_ in range(rounds + 1):
        net = DeepCoral(
            build(),
            layer_name=layer,
            batch_size=BATCH,  # of each domain
            max_epochs=1,
            train_split=None,
            optimizer=torch.optim.AdamW,
            lr=1e-3,
            device="cpu",
            callbacks__print_log=None,
        )
        started = time.process_time()
        net.fit(X, y, sample_domain=domain)
        if round_:
            least = min(least, time.process_time() - started)
    steps = len(net.history[-1]["batches"])
    print(json.dumps({"ms": 1e3 * least / steps, "steps": steps}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

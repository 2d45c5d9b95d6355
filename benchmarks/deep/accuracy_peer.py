"""Train one method of skada on the images that ``accuracy.py`` drew; saves the predictions.

    python accuracy_peer.py images.npz mcc 10 0 predicted.npy

Needs skada, skorch and torch, and nothing of shiftlab. Each method is as the library ships it.
"""

from __future__ import annotations

import os
import sys
import warnings
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from peer import lenet
from skada import deep
from torch import nn

METHODS: dict[str, Any] = {
    "source-only": deep.SourceOnly,
    "deep-coral": deep.DeepCoral,
    "dan": deep.DAN,
    "deep-jdot": deep.DeepJDOT,
    "dann": partial(deep.DANN, num_features=500),
    "cdan": partial(deep.CDAN, num_features=500, n_classes=10),
    "mdd": partial(deep.MDD, num_features=500, n_classes=10),
    "mcc": deep.MCC,
}


class Net(nn.Sequential):
    """skada 0.6.0 gives the network the weights of rows, of which there are none here."""

    def forward(self, x: Any, sample_weight: Any = None) -> Any:
        return super().forward(x)


def as_floats(images: Any) -> Any:
    return (images.transpose(0, 3, 1, 2) / 127.5 - 1.0).astype(np.float32)


def main(images: str, method: str, epochs: int, seed: int, predicted: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(seed)
    drawn = np.load(images)
    source, target, test = (as_floats(drawn[name]) for name in ("source", "target", "test"))
    net = METHODS[method](
        Net(*lenet(source.shape[1], 800, 500)),
        layer_name="7",
        batch_size=64,  # of each domain
        max_epochs=epochs,
        train_split=None,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        device="cpu",
        callbacks__print_log=None,
    )
    y = np.concatenate([drawn["labels"], np.full(len(target), -1)])
    domain = np.repeat([1, -2], [len(source), len(target)])
    net.fit(np.concatenate([source, target]), y, sample_domain=domain)
    answers = net.predict(test, sample_domain=np.full(len(test), -2), allow_source=True)
    np.save(predicted, np.asarray(answers))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])

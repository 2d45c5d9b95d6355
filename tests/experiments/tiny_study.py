"""Made-up digits and a cheap network, so that a whole grid takes a second."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shiftlab import Domain
from shiftlab.experiments import METHODS, Digit5Settings, Method, Study

SHIFT = {"mnist": 0, "mnist_m": 10, "usps": 20, "svhn": 30, "synth": 40}
N = {"train": 60, "test": 40}


@dataclass
class Record:
    name: str
    kind: str = "offline"
    stand_in: bool = False
    note: str = "made up"
    licence: str = "none"
    n_train: int = N["train"]
    n_test: int = N["test"]


def describe(settings, root):
    return [Record(name, stand_in=name == "synth") for name in SHIFT]


def load(domain, split, settings, root):
    rng = np.random.default_rng([SHIFT[domain], len(split)])
    y = np.arange(N[split]) % 2
    X = rng.integers(0, 60, (len(y), 4, 4)) + 100 * y[:, None, None] + SHIFT[domain]
    return Domain(X.astype(np.uint8), y, name=domain)


@dataclass
class MeanNet:
    means: np.ndarray

    def predict(self, images):
        level = np.asarray(images, dtype=float).mean(axis=(1, 2))
        return np.abs(level[:, None] - self.means).argmin(axis=1)

    def features(self, images):
        return np.asarray(images, dtype=np.float32).reshape(len(images), -1)

    def save(self, path):
        note("train", Path(path).name)
        with open(path, "wb") as file:
            np.save(file, self.means)


def note(*words):
    """Write down that something ran; one file for all processes."""
    if os.environ.get("TINY_LOG"):
        with open(os.environ["TINY_LOG"], "a", encoding="utf-8") as file:
            file.write(" ".join(words) + "\n")


def train(images, labels, settings, seed):
    level = np.asarray(images, dtype=float).mean(axis=(1, 2))
    return MeanNet(np.array([level[labels == c].mean() for c in (0, 1)]))


def load_net(path):
    return MeanNet(np.load(path, allow_pickle=False))


def slow(transfer):
    note("cell", str(transfer.seed))
    time.sleep(float(os.environ.get("TINY_SLEEP", "0")))
    return transfer.net.predict(transfer.test)


def broken(transfer):
    raise ArithmeticError("division by a cat")


def interrupted(transfer):
    raise KeyboardInterrupt


def peek(transfer):
    """Return the number of labels seen as the prediction, to show what a method may see."""
    return np.full(len(transfer.test), transfer.target.n_labelled)


TABLE = {
    "source-only": METHODS["source-only"],
    "slow": Method(slow),
    "broken": Method(broken),
    "interrupted": Method(interrupted),
    "target-supervised": METHODS["target-supervised"],
}


def study(**changes):
    parts = {"load": load, "describe": describe, "train": train, "load_net": load_net}
    return Study(**{**parts, "methods": TABLE, **changes})


def settings(**changes):
    small = {
        "pairs": "mnist:usps,usps:mnist,mnist:svhn",
        "methods": ("slow",),
        "seeds": 2,
        "n_train": 40,
        "n_test": 20,
    }
    return Digit5Settings(**{**small, **changes})

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shiftlab-cache")


@pytest.fixture(autouse=True)
def _no_user_folders(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    """Tests read no data of the user's and leave nothing in the user's cache."""
    monkeypatch.setenv("SHIFTLAB_CACHE", str(shared_cache))
    monkeypatch.delenv("SHIFTLAB_DATA", raising=False)


_REAL = os.environ.get("SHIFTLAB_DATA")


@pytest.fixture
def real_digits() -> Path:
    """Folder of the real digits."""
    if not _REAL or not (Path(_REAL) / "digits" / "mnist.npz").is_file():
        pytest.skip("SHIFTLAB_DATA does not name a folder with digits/mnist.npz")
    return Path(_REAL)


@pytest.fixture
def few_rendered(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Render few images, as what is tested does not depend on their number."""
    from shiftlab.data import generated

    counts = {"train": 120, "test": 40}
    for half, n in counts.items():
        monkeypatch.setitem(generated.N_RENDERED, half, n)
    return counts


@pytest.fixture
def toy() -> dict[str, np.ndarray]:
    """Small gray digits whose pixels tell which row they are."""
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, (30, 28, 28)).astype(np.uint8)
    y = np.arange(30) % 10
    return {"X_train": X[:20], "y_train": y[:20], "X_test": X[20:], "y_test": y[20:]}


def _idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _libsvm_bytes(images: np.ndarray, labels: np.ndarray) -> bytes:
    lines = []
    for image, label in zip(images, labels, strict=True):
        values = image.reshape(-1) / 127.5 - 1
        pairs = " ".join(f"{i + 1}:{v:.6f}" for i, v in enumerate(values) if v != 0)
        lines.append(f"{label + 1} {pairs} \n")
    return "".join(lines).encode()


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """Writer of MNIST's own format."""
    return _idx_bytes


@pytest.fixture
def libsvm_bytes() -> Callable[[np.ndarray, np.ndarray], bytes]:
    """Writer of LIBSVM's format, as USPS uses it."""
    return _libsvm_bytes

"""Checkpoints: safetensors with JSON metadata, and plain state dicts; nothing executes on load."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors_bytes
from torch import Tensor, nn

from shiftlab.files import write_atomically

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint"]

_KEY = "shiftlab"
_VERSION = 1


def save_checkpoint(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write weights and metadata to one safetensors file, all or nothing.

    The file is written beside its place, flushed to the disk and moved there:
    a reader, or a power cut, sees the old file or the new one.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist.
    state : mapping of str to Tensor
        A ``state_dict``; copied to the CPU.
    metadata : mapping
        What JSON can hold; kept in the file's header.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}")
    # Clones, because safetensors refuses tensors that share memory.
    tensors = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}
    header = {_KEY: json.dumps({"version": _VERSION, **metadata})}
    payload = to_safetensors_bytes(tensors, metadata=header)
    write_atomically(target, payload)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(str(path), framework="pt", device="cpu") as file:
        header = file.metadata() or {}
        # The handle offers keys() but cannot be iterated.
        names = list(file.keys())
        state = {name: file.get_tensor(name) for name in names}
    metadata: dict[str, Any] = json.loads(header.get(_KEY, "{}"))
    version = metadata.pop("version", _VERSION)
    if version != _VERSION:
        raise ValueError(
            f"{path} has checkpoint format {version}; this shiftlab reads format {_VERSION}"
        )
    return state, metadata


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and metadata onto the CPU.

    Takes safetensors files, and files of ``torch.save(state_dict)`` (also
    under a key ``"state_dict"``), whichever device wrote them. ``module.``,
    which DataParallel puts before every name, is removed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    state : dict of str to Tensor
    metadata : dict
        Empty for a file that :func:`save_checkpoint` did not write.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds anything but tensors (it is then not opened further: an
        arbitrary pickle could run code), or is damaged.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no checkpoint {source}")
    try:
        with source.open("rb") as file:
            start = file.read(9)
        # A safetensors file opens with the header's length and then its JSON.
        if start[8:9] == b"{":
            state, metadata = _read_safetensors(source)
        else:
            loaded = torch.load(source, map_location="cpu", weights_only=True)
            if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
                loaded = loaded["state_dict"]
            state, metadata = loaded, {}
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{source} is not a safetensors file or a plain state_dict of tensors, or it is "
            f"damaged; nothing in it was executed ({reason})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{source} must hold a state_dict: a mapping of names to tensors")
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state, metadata


def load_weights(net: nn.Module, state: Mapping[str, Tensor], *, name: str = "checkpoint") -> None:
    """Fill a network, or say exactly what does not fit and change nothing.

    Parameters
    ----------
    net : torch.nn.Module
        The network, on any device.
    state : mapping of str to Tensor
        Its weights.
    name : str, default="checkpoint"
        What an error message calls them.

    Raises
    ------
    ValueError
        With the missing and unexpected names, and the shapes that differ.

    Examples
    --------
    >>> load_weights(nn.Linear(2, 1), {"weight": torch.ones(1, 3)})
    Traceback (most recent call last):
    ...
    ValueError: checkpoint does not fit the network: missing ['bias']; weight has shape (1, 3), ...
    """
    own = net.state_dict()
    problems = []
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    if missing:
        problems.append(f"missing {missing}")
    if unexpected:
        problems.append(f"unexpected {unexpected}")
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, the network needs {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        raise ValueError(f"{name} does not fit the network: " + "; ".join(problems))
    net.load_state_dict(dict(state))

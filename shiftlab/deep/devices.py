"""Devices, numeric precision and random state of one fit, kept apart from the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import patch_environment

__all__ = ["LARGEST_SEED", "accelerator_on", "resolve_device", "resolve_precision", "seeded"]

LARGEST_SEED = 2**31 - 1
"""Seeds drawn from a ``RandomState`` are below this, on every platform."""

# Accelerate's state and torch's generators belong to the process, so two fits
# in two threads take turns. Parallel fits belong in processes.
_ONE_FIT_AT_A_TIME = threading.RLock()


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device's name into a device that is there.

    Parameters
    ----------
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then MPS, then the CPU. Otherwise a name that torch
        knows, such as "cpu", "cuda", "cuda:1" or "mps".

    Returns
    -------
    torch.device
        The device, with its index for CUDA.

    Raises
    ------
    ValueError
        If the name is unknown or the machine has no such device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is no device; use 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps'"
        ) from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if cuda else 0
        index = 0 if chosen.index is None else chosen.index
        if index >= count:
            raise ValueError(
                f"device={str(device)!r} asks for CUDA device {index}, but torch sees {count} CUDA "
                "device(s); use device='auto' or device='cpu'"
            )
        return torch.device("cuda", index)
    if chosen.type == "mps" and not mps:
        raise ValueError("device='mps' is not available on this machine; use device='auto'")
    return chosen


def _cpu_multiplies_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose the arithmetic of the forward pass: "no" (float32) or "bf16".

    Parameters
    ----------
    precision : {"auto", "float32", "bf16"}
        "auto" takes bfloat16 autocast where the processor multiplies it in
        hardware (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX, where the
        digit CNN trained about 1.7 times as fast as in float32), and float32
        elsewhere. Weights, gradients and optimiser state are float32 always.
    device : torch.device
        Where the training runs.

    Returns
    -------
    str
        Accelerate's name of it: "no" or "bf16".

    Examples
    --------
    >>> resolve_precision("float32", torch.device("cpu"))
    'no'
    """
    if precision not in {"auto", "float32", "bf16"}:
        raise ValueError(f"precision must be 'auto', 'float32' or 'bf16', got {precision!r}")
    if precision == "auto":
        if device.type == "cuda":
            # Emulated bfloat16 on older cards is slower than float32.
            native = torch.cuda.get_device_capability(device)[0] >= 8
        else:
            native = device.type == "cpu" and _cpu_multiplies_bf16()
        return "bf16" if native else "no"
    return "bf16" if precision == "bf16" else "no"


@contextmanager
def accelerator_on(device: torch.device, precision: str, accumulate: int = 1) -> Iterator[Any]:
    """Give an Accelerator for this device and precision, and leave no trace of it.

    Accelerate keeps its device and precision once a process: a second
    ``Accelerator`` with other settings is refused. This sets the process's
    state aside, makes a fresh one, and puts the old one back at the end, so
    that fits on different devices, and a caller's own Accelerator, live side
    by side.

    Parameters
    ----------
    device : torch.device
        A device from :func:`resolve_device`.
    precision : str
        A precision from :func:`resolve_precision`.
    accumulate : int, default=1
        Backward passes whose mean is one gradient.

    Yields
    ------
    accelerate.Accelerator
        Valid inside the ``with`` block only.
    """
    singletons = (PartialState, AcceleratorState, GradientState)
    with _ONE_FIT_AT_A_TIME:
        kept = [dict(state._shared_state) for state in singletons]
        for state in singletons:
            state._shared_state.clear()
        try:
            with patch_environment(ACCELERATE_TORCH_DEVICE=str(device)):
                yield Accelerator(
                    cpu=device.type == "cpu",
                    mixed_precision=precision,
                    gradient_accumulation_steps=accumulate,
                )
        finally:
            for state, values in zip(singletons, kept, strict=True):
                state._shared_state.clear()
                state._shared_state.update(values)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[dict[str, torch.Generator]]:
    """Run a block under this seed and give torch's generators back as they were.

    Weight initialisation and dropout draw from torch's own generators; only
    those of the CPU and of `device` are seeded, and both are restored.

    Parameters
    ----------
    seed : int
        The seed inside the block.
    device : torch.device
        Its generator is seeded and restored together with the CPU's.

    Yields
    ------
    dict of str to torch.Generator
        The generators that are under the seed.

    Examples
    --------
    >>> before = torch.random.get_rng_state()
    >>> with seeded(0, torch.device("cpu")):
    ...     first = torch.rand(1)
    >>> bool((torch.random.get_rng_state() == before).all())
    True
    """
    with _ONE_FIT_AT_A_TIME:
        cpu = torch.random.get_rng_state()
        other: Any = None
        if device.type == "cuda":
            other = torch.cuda.get_rng_state(device)
        elif device.type == "mps":
            other = torch.mps.get_rng_state()
        try:
            generators = {"cpu": torch.default_generator}
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
                generators["device"] = torch.cuda.default_generators[device.index]
            elif device.type == "mps":
                torch.mps.manual_seed(seed)
                generators["device"] = torch.mps._get_default_mps_generator()
            yield generators
        finally:
            torch.random.set_rng_state(cpu)
            if device.type == "cuda":
                torch.cuda.set_rng_state(other, device)
            elif device.type == "mps":
                torch.mps.set_rng_state(other)

"""The whole state of a training in one safetensors file, so that it goes on to equal bits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shiftlab.deep.checkpoint import load_checkpoint, load_weights, save_checkpoint

__all__ = ["Snapshot"]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where the state of a training is kept, and what it is the state of.

    Written after each epoch that ended well: weights and buffers of all
    modules, the optimiser's moments, every random generator, the history. A
    training with the same fingerprint goes on from there, and on one machine
    ends with the bits of one that was never stopped.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist.
    fingerprint : str
        Of the data and settings. A file with another one is refused.
    generators : mapping of str to torch.Generator
        Those that the loss draws from, beside the loop's own.
    """

    path: str | os.PathLike[str]
    fingerprint: str
    generators: Mapping[str, torch.Generator] = dataclasses.field(default_factory=dict)

    def save(
        self,
        modules: nn.Module,
        optimiser: torch.optim.Optimizer,
        generators: Mapping[str, torch.Generator],
        kept: Mapping[str, Tensor],
        progress: Mapping[str, Any],
    ) -> None:
        """Write the state, all or nothing.

        Parameters
        ----------
        modules : torch.nn.Module
            All that has weights or buffers.
        optimiser : torch.optim.Optimizer
            Its state is tensors and numbers a parameter.
        generators : mapping of str to torch.Generator
            The loop's own.
        kept : mapping of str to Tensor
            Weights of the best epoch so far; empty where none are kept.
        progress : mapping
            What JSON can hold.
        """
        state = {f"net.{name}": value for name, value in modules.state_dict().items()}
        state |= {f"kept.{name}": value for name, value in kept.items()}
        for name, generator in {**self.generators, **generators}.items():
            state[f"generator.{name}"] = generator.get_state()
        numbers: dict[str, Any] = {}
        for row, entries in optimiser.state_dict()["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    state[f"optimiser.{row}.{name}"] = value
                else:
                    numbers[f"{row}.{name}"] = value
        save_checkpoint(
            self.path,
            state,
            {"fingerprint": self.fingerprint, "optimiser": numbers, "progress": dict(progress)},
        )

    def load(
        self,
        modules: nn.Module,
        optimiser: torch.optim.Optimizer,
        generators: Mapping[str, torch.Generator],
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Put the saved state back.

        Parameters
        ----------
        modules, optimiser, generators
            As for :meth:`save`; filled in place.

        Returns
        -------
        (kept, progress) or None
            As given to :meth:`save`; None where there is no file yet.

        Raises
        ------
        ValueError
            If the file is of another training, or damaged.
        """
        path = Path(self.path)
        if not path.is_file():
            return None
        state, metadata = load_checkpoint(path)
        if metadata.get("fingerprint") != self.fingerprint:
            raise ValueError(
                f"checkpoint={os.fspath(path)!r} is of another training (other data, settings or "
                "random_state); give another path, or remove the file to start anew"
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        load_weights(modules, part("net."), name=os.fspath(path))
        for name, generator in {**self.generators, **generators}.items():
            generator.set_state(state[f"generator.{name}"])
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        rows: dict[int, dict[str, Any]] = {}
        entries: dict[str, Any] = {**part("optimiser."), **metadata["optimiser"]}
        for key, value in entries.items():
            row, name = key.split(".", 1)
            like = parameters[int(row)]
            if isinstance(value, Tensor) and value.shape == like.shape:
                # In the memory layout of the weights, which fused optimisers take for granted.
                value = torch.empty_like(like, requires_grad=False).copy_(value)
            rows.setdefault(int(row), {})[name] = value
        optimiser.load_state_dict(
            {"state": rows, "param_groups": optimiser.state_dict()["param_groups"]}
        )
        progress: dict[str, Any] = metadata["progress"]
        return part("kept."), progress

"""A study on tiny made-up domains, with a network that is a nearest-mean rule."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).with_name("tiny_study.py")


def _load():
    # Worker processes and scripts import it by name, so it is a module of its own.
    spec = importlib.util.spec_from_file_location("tiny_study", _HERE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_study"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny():
    return sys.modules.get("tiny_study") or _load()


@pytest.fixture(scope="session")
def tiny_folder():
    """Folder that a script puts on its path to import ``tiny_study``."""
    return str(_HERE.parent)

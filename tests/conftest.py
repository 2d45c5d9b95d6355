"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data; the test is skipped where it is absent."""
    root = os.environ.get("SHIFTLAB_DATA", "")
    if not root:
        pytest.skip("SHIFTLAB_DATA is not set, so there is no real data to test on")
    if not Path(root).is_dir():
        pytest.skip(f"SHIFTLAB_DATA={root} is no folder, so there is no real data to test on")
    return Path(root)

"""Run studies: a grid that survives a kill, a results store, tables and a report."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftlab.experiments.digit5 import Study, run_digit5
    from shiftlab.experiments.methods import METHODS, Method, Transfer
    from shiftlab.experiments.settings import Digit5Settings
    from shiftlab.experiments.tabular import run_tabular
    from shiftlab.experiments.tabular_settings import TabularStudy
    from shiftlab.store import ResultsStore

# Looked up on first use: the command line starts without loading what it does not need.
_HOMES = {
    "METHODS": "shiftlab.experiments.methods",
    "Digit5Settings": "shiftlab.experiments.settings",
    "Method": "shiftlab.experiments.methods",
    "ResultsStore": "shiftlab.store",
    "Study": "shiftlab.experiments.digit5",
    "TabularStudy": "shiftlab.experiments.tabular_settings",
    "Transfer": "shiftlab.experiments.methods",
    "run_digit5": "shiftlab.experiments.digit5",
    "run_tabular": "shiftlab.experiments.tabular",
}

__all__ = [
    "METHODS",
    "Digit5Settings",
    "Method",
    "ResultsStore",
    "Study",
    "TabularStudy",
    "Transfer",
    "run_digit5",
    "run_tabular",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shiftlab.experiments' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value

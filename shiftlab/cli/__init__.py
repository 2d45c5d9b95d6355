"""The command line: ``shiftlab``."""

from shiftlab.cli.app import main

__all__ = ["main"]

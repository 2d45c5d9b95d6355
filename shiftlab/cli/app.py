"""The commands, put together, and what happens to errors."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

import shiftlab
from shiftlab.cli import adapters, data, demo, digit5, study, tables
from shiftlab.cli.errors import INTERRUPTED, exit_code, one_line

__all__ = ["app", "main"]

app = typer.Typer(
    name="shiftlab",
    help="Say how a target differs from a source, adapt to it, and show that it helped.",
    epilog="Example: shiftlab diagnose shop_a.csv shop_b.csv --label bought",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"shiftlab {shiftlab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Say how a target differs from a source, adapt to it, and show that it helped."""


tables.register(app)
adapters.register(app)
app.add_typer(data.app, name="data")
app.add_typer(digit5.app, name="digit5")
app.add_typer(study.app, name="study")
demo.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What follows the program's name; None reads it from the process.

    Returns
    -------
    int
        0 done, 2 bad input (one line on standard error says what), 130 interrupted.
    """
    # A command line speaks in one line; the library's warnings repeat what it says.
    warnings.simplefilter("ignore")
    logging.getLogger("shiftlab").setLevel(logging.ERROR)
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except BaseException as error:
        code = exit_code(error)
        if code is None:
            raise
        if code == INTERRUPTED and arguments is None:
            # A second Ctrl-C while the workers are ended would print a traceback.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        line = one_line(error)
        if line:
            print(line, file=sys.stderr)
    return int(code or 0)

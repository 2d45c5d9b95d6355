"""Turn errors into one line and an exit code."""

from __future__ import annotations

import typer

from shiftlab.experiments.grid import GridError

try:
    from typer.exceptions import TyperException
except ImportError:  # older versions of typer raise click's
    from click import ClickException as TyperException  # type: ignore[assignment]

__all__ = ["BAD_INPUT", "DONE", "INTERRUPTED", "exit_code", "one_line"]

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

# What wrong input, a missing file or a missing extra raises. Anything else is a fault of the
# program, and keeps its traceback.
_EXPECTED = (ValueError, OSError, ImportError, MemoryError, GridError)


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error, or None where it is a fault of the program.

    Parameters
    ----------
    error : BaseException
        What a command raised.

    Returns
    -------
    int or None

    Examples
    --------
    >>> from shiftlab.cli.errors import exit_code
    >>> exit_code(ValueError("no such column")), exit_code(KeyboardInterrupt())
    (2, 130)
    >>> exit_code(AssertionError()) is None
    True
    """
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if isinstance(error, (TyperException, *_EXPECTED)):
        return BAD_INPUT
    return None


def one_line(error: BaseException) -> str:
    """Return what to say about an error: one line, or nothing.

    Parameters
    ----------
    error : BaseException
        What a command raised.

    Returns
    -------
    str

    Examples
    --------
    >>> from shiftlab.cli.errors import one_line
    >>> one_line(ValueError("a is wrong\\n  see b"))
    'shiftlab: a is wrong see b'
    """
    if isinstance(error, typer.Exit):
        return ""
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return "shiftlab: interrupted; what was finished is kept"
    if isinstance(error, TyperException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    # A group of commands without a command has printed its help, and has nothing to add.
    return "shiftlab: " + " ".join(text.split()) if text else ""

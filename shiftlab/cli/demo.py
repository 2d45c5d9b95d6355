"""``shiftlab demo``: the whole road once, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_PAIR = ("mnist", "usps")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: shiftlab demo --out runs/demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of results and report.")] = Path("runs/demo"),
    jobs: Annotated[int, typer.Option(help="Processes; the cores are shared among them.")] = 2,
) -> None:
    """Diagnose MNIST against USPS, run a quick grid over five domains, write a report.

    On the real digits where SHIFTLAB_DATA names a folder that has them, else on what needs no
    network; it says which domains are stand-ins.
    """
    from rich.console import Console

    from shiftlab.cli.digit5 import run_grid, tell_sources
    from shiftlab.cli.runs import check_run
    from shiftlab.experiments import Digit5Settings
    from shiftlab.experiments.illustrate import diagnosis_of, diagnosis_title, sample_sheets
    from shiftlab.experiments.report import render_report, write_report

    check_run(out, jobs)
    started = time.perf_counter()
    settings = Digit5Settings.quick()
    tell_sources(settings, None)
    found, n = diagnosis_of(settings, None, *_PAIR)
    Console().print(found)
    rows = run_grid(settings, out, None, jobs)
    page = render_report(
        rows,
        title="Digit-5, a quick look",
        sheets=sample_sheets(settings, None, settings.domains),
        diagnosis=found.to_html_fragment(),
        diagnosis_title=diagnosis_title(*_PAIR, n),
    )
    path = write_report(out / "report.html", page)
    typer.echo(f"done in {time.perf_counter() - started:.0f} s")
    typer.echo(f"report: {path}")

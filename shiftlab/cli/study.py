"""``shiftlab study``: the studies of tables and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftlab.cli.runs import check_run, words

__all__ = ["app"]

app = typer.Typer(help="Run and report the studies of tables and texts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="office_caltech, amazon_reviews, shift_types, imbalance")]
Config = Annotated[Path | None, typer.Option(help="Another configuration than the one that ships.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results.  (default: runs/NAME)")]


@app.command(epilog="Example: shiftlab study run shift_types --quick")
def run(
    name: Name,
    methods: Annotated[
        str | None,
        typer.Option(help="Names with commas; the rows that adapt nothing always run."),
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="source:target with commas, or all (the default).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few pairs and seeds.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; the cores are shared among them.")] = 2,
    out: Out = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of your data; else what SHIFTLAB_DATA names.")
    ] = None,
    config: Config = None,
) -> None:
    """Run the cells of a study that are not finished yet; stop and go on at will."""
    from shiftlab.experiments import TabularStudy, run_tabular
    from shiftlab.experiments.progress import watch_progress
    from shiftlab.experiments.tabular_settings import study_config

    study = TabularStudy.from_toml(
        config or study_config(name),
        methods=None if methods is None else words(methods),
        pairs=None if pairs is None else words(pairs),
        quick=quick,
    )
    folder = out or Path("runs") / name
    check_run(folder, jobs)
    if study.absent:
        typer.echo(f"not in this version: {', '.join(study.absent)}", err=True)
    rows = run_tabular(study, out=folder, root=root, jobs=jobs, watch=watch_progress)
    failed = sum("error" in row for row in rows)
    note = f", {failed} of them errors" if failed else ""
    typer.echo(f"{len(rows)} results{note} in {folder / 'results.jsonl'}")


@app.command(epilog="Example: shiftlab study report shift_types")
def report(
    name: Name,
    out: Out = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder with a README.md to fill.  (default: experiments/NAME)"),
    ] = None,
    config: Config = None,
) -> None:
    """Rewrite results.csv and the tables in README.md of a study from its results."""
    from shiftlab.experiments import ResultsStore, TabularStudy
    from shiftlab.experiments.tabular_report import write_tabular
    from shiftlab.experiments.tabular_settings import study_config

    study = TabularStudy.from_toml(config or study_config(name))
    store = ResultsStore((out or Path("runs") / name) / "results.jsonl")
    if not store.path.is_file():
        raise FileNotFoundError(
            f"{store.path}: no results there; run `shiftlab study run {name}` first"
        )
    for path in write_tabular(study, store.rows(), to or Path("experiments") / name):
        typer.echo(f"wrote {path}")

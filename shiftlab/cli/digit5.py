"""``shiftlab digit5``: the grid over five digit domains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftlab.cli.runs import check_run, words

if TYPE_CHECKING:
    from shiftlab.experiments import Digit5Settings

__all__ = ["app", "run_grid", "tell_sources"]

app = typer.Typer(help="Run and report the study of five digit domains.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder of results and networks.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder of your own digits; else what SHIFTLAB_DATA names.")
]


@app.command(epilog="Example: shiftlab digit5 run --methods coral --pairs mnist:usps --seeds 1")
def run(
    methods: Annotated[
        str | None,
        typer.Option(help="Names with commas; source-only and target-supervised always run."),
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="source:target with commas, or all (the default).")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds. (default: 3)")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and fast, one seed.")] = False,
    n_train: Annotated[
        int | None, typer.Option(help="Training images a domain. (default: 5000)")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(help="Test images a domain. (default: 2000)")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; the cores are shared among them.")] = 2,
    out: Out = Path("runs/digit5"),
    root: Root = None,
    source_data: Annotated[
        str | None, typer.Option(help="auto, local, offline or official. (default: auto)")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="TOML file with a table \\[study], or digit5 for the study that ships."),
    ] = None,
    known: Annotated[
        Path | None, typer.Option(help="A results.csv of the study: its cells are not run again.")
    ] = None,
) -> None:
    """Run the cells of the grid that are not finished yet; stop and go on at will."""
    from shiftlab.experiments import Digit5Settings

    given = {
        "methods": None if methods is None else tuple(words(methods)),
        "pairs": pairs,
        "seeds": seeds,
        "n_train": n_train,
        "n_test": n_test,
        "source_data": source_data,
    }
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if config is not None and quick:
        raise ValueError("--quick and --config exclude each other: both say how large to run")
    if config is not None:
        settings = Digit5Settings.from_toml(_config_path(config), **changes)
    elif quick:
        settings = Digit5Settings.quick(**changes)
    else:
        settings = Digit5Settings(**changes)
    tell_sources(settings, root)
    rows = run_grid(settings, out, root, jobs, known)
    typer.echo(f"{len(rows)} results in {out / 'results.jsonl'}")


def _config_path(given: str) -> Path:
    """Return the file of that name, else the configuration of the shipped study of that name."""
    from shiftlab.data import resource_root

    path = Path(given)
    if path.is_file():
        return path
    shipped = resource_root("experiments") / given / "config.toml"
    if shipped.is_file():
        return shipped
    raise FileNotFoundError(f"{given}: there is no such file, and no study of that name")


def tell_sources(settings: Digit5Settings, root: Path | None) -> None:
    """Print where each domain comes from, and which are stand-ins."""
    from shiftlab.data import describe_digits5

    for record in describe_digits5(root, settings.source_data):  # type: ignore[arg-type]
        if record.name in settings.domains:
            mark = "STAND-IN" if record.stand_in else record.kind
            counts = f"{record.n_train:,} / {record.n_test:,}"
            typer.echo(f"{record.name:8} {mark:9} {counts:>15}  {record.note}", err=True)


def run_grid(
    settings: Digit5Settings, out: Path, root: Path | None, jobs: int, known: Path | None = None
) -> list[dict[str, Any]]:
    """Run a grid with a progress bar and return its results."""
    check_run(out, jobs)
    from shiftlab.experiments import run_digit5
    from shiftlab.experiments.progress import watch_progress

    return run_digit5(settings, out=out, root=root, jobs=jobs, watch=watch_progress, known=known)


@app.command(
    epilog="Example: shiftlab digit5 report --out runs/digit5 --readme experiments/digit5/README.md"
)
def report(
    out: Out = Path("runs/digit5"),
    html: Annotated[
        Path | None, typer.Option(help="The page.  (default: report.html in the results' folder)")
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file: its results block is rewritten, and results.csv beside it, "
            "from these results and those of the same study that results.csv has."
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Hash of the settings, where the folder holds several.")
    ] = None,
    root: Root = None,
    samples: Annotated[
        bool, typer.Option(help="Show sample images and the diagnosis of a pair in the page.")
    ] = True,
) -> None:
    """Write the tables and the page of a study from its results."""
    from shiftlab.experiments import ResultsStore
    from shiftlab.experiments.readme import update_readme
    from shiftlab.experiments.report import render_report, write_report
    from shiftlab.experiments.tables import choose_study, markdown_table, to_csv, with_known
    from shiftlab.files import write_atomically

    store = ResultsStore(out / "results.jsonl")
    if not store.path.is_file():
        raise FileNotFoundError(f"{store.path}: no results there; run `shiftlab digit5 run` first")
    rows = choose_study(store.rows(), study)
    if readme is not None:
        table = readme.parent / "results.csv"
        known = with_known(rows, table.read_text(encoding="utf-8")) if table.is_file() else rows
        typer.echo(f"wrote {update_readme(readme, known)}")
        typer.echo(f"wrote {write_atomically(table, to_csv(known))}")
    parts = _illustrate(rows, out, root, samples)
    page = write_report(html or out / "report.html", render_report(rows, **parts))
    typer.echo(markdown_table(rows))
    typer.echo(f"wrote {page}")


def _illustrate(
    rows: list[dict[str, Any]], out: Path, root: Path | None, samples: bool
) -> dict[str, Any]:
    """Pictures, sheets and diagnosis, of the data that was measured on and no other."""
    from shiftlab.experiments.illustrate import diagnosis_of, diagnosis_title, sample_sheets
    from shiftlab.experiments.illustrate import nets_and_samples as load
    from shiftlab.experiments.pictures import study_pictures
    from shiftlab.experiments.settings import REST, Digit5Settings

    if not samples:
        return {"pictures": study_pictures(rows, None)}

    first = rows[0]
    domains = {row[side] for row in rows for side in ("source", "target")}
    protocol = first["protocol"]
    settings = Digit5Settings(
        size=protocol["size"],
        channels=protocol["channels"],
        n_train=protocol["n_train"],
        n_test=protocol["n_test"],
        network=protocol.get("network", "digit_cnn"),
        epochs=protocol["epochs"],
        source_data=first["source_data"],
    )
    sheets = sample_sheets(settings, root, domains, expected=first["data"])
    pairs = [(row["source"], row["target"]) for row in rows if row["source"] != REST]
    shown = not pairs or {"mnist", "usps"} <= domains
    source, target = ("mnist", "usps") if shown else pairs[0]
    found, n = diagnosis_of(settings, root, source, target)
    return {
        "pictures": study_pictures(rows, partial(load, rows, settings, out, root)),
        "sheets": sheets,
        "diagnosis": found.to_html_fragment(),
        "diagnosis_title": diagnosis_title(source, target, n),
    }

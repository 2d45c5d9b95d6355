"""``shiftlab data``: what there is, get it, look at it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="List, fetch and look at data sets.", no_args_is_help=True)

_COLLECTION = "digit5"
Root = Annotated[
    Path | None, typer.Option(help="Folder of your own data; else what SHIFTLAB_DATA names.")
]
SourceData = Annotated[str, typer.Option(help="auto, local, offline or official.")]


@app.command("list", epilog="Example: shiftlab data list --source-data offline")
def list_(root: Root = None, source_data: SourceData = "auto") -> None:
    """List the data sets, and what would be loaded for each here and now."""
    from rich.console import Console
    from rich.table import Table

    from shiftlab.data import describe_digits5, list_cards

    missing = ""
    try:
        records = describe_digits5(root, source_data)  # type: ignore[arg-type]
    except ImportError as error:  # the list itself needs no package
        records, missing = [], f"Not every domain can be loaded here: {error}"
    here = {record.name: record for record in records}
    table = Table(title="Data sets", title_justify="left", show_lines=True)
    for column in ("name", "what", "here", "train / test", "licence"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for card in list_cards():
        record = here.get(card.name)
        if record is None:
            table.add_row(card.name, card.title, "-", "-", card.licence)
            continue
        state = f"{'STAND-IN' if record.stand_in else record.kind}: {record.note}"
        counts = f"{record.n_train:,} / {record.n_test:,}"
        table.add_row(card.name, card.title, state, counts, card.licence)
    Console().print(table)
    if missing:
        typer.echo(missing)


@app.command(epilog="Example: shiftlab data fetch mnist")
def fetch(
    name: Annotated[str, typer.Argument(help="A name from `shiftlab data list`, or digit5.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder to put it in; else the user's cache.")
    ] = None,
) -> None:
    """Get a data set: download and check it, or make it by its recipe."""
    from shiftlab.data import fetch as get
    from shiftlab.data import list_cards
    from shiftlab.experiments.names import did_you_mean

    cards = list_cards()
    wanted = [card.name for card in cards if name in (card.name, card.collection)]
    if not wanted:
        known = [*(card.name for card in cards), *sorted({card.collection for card in cards})]
        raise ValueError(f"unknown data set {name!r}; {did_you_mean(name, known)}")
    for card in wanted:
        typer.echo(f"{card}: {get(card, root)}")


@app.command(epilog="Example: shiftlab data show digit5 --out sheets")
def show(
    name: Annotated[str, typer.Argument(help="One of the five domains, or digit5 for all.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("sheets"),
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    root: Root = None,
    source_data: SourceData = "auto",
) -> None:
    """Draw a contact sheet of each domain, with its labels, as PNG."""
    from shiftlab.data import DIGITS5, contact_sheet, load_digits5
    from shiftlab.experiments.names import did_you_mean
    from shiftlab.files import write_atomically

    if name != _COLLECTION and name not in DIGITS5:
        raise ValueError(f"unknown domain {name!r}; {did_you_mean(name, (_COLLECTION, *DIGITS5))}")
    for domain in DIGITS5 if name == _COLLECTION else (name,):
        digits = load_digits5(
            domain,
            split,  # type: ignore[arg-type]
            channels=3,
            root=root,
            source=source_data,  # type: ignore[arg-type]
        )
        picture = io.BytesIO()
        contact_sheet(digits).savefig(picture, format="png")
        path = write_atomically(out / f"{domain}-{split}.png", picture.getvalue())
        typer.echo(f"{digits.name}: {path}")

"""``shiftlab adapters``: what there is, from the registry."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftlab.cli.output import STDOUT, write_json

if TYPE_CHECKING:
    from shiftlab.adapter import Adapter

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: shiftlab adapters")(adapters)


def adapters(
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write it as JSON, too; - prints nothing else.")
    ] = None,
) -> None:
    """List the adapters: what they answer, when they help and what they need."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    from shiftlab.registry import list_adapters

    if json_ is not None:
        write_json([_record(adapter) for adapter in list_adapters()], json_)
    if json_ == STDOUT:
        return
    console = Console(highlight=False)
    for adapter in list_adapters():
        facts = adapter.facts
        answers = ", ".join(h.replace("_", " ") for h in facts.handles)
        needs = ", ".join(sorted(n.replace("_", " ") for n in facts.needs))
        console.print(f"[bold]{adapter.__name__}[/bold]  answers a difference of: {answers}")
        for line in (
            f"helps when: {facts.assumes}",
            f"needs: {needs or 'only the two samples'}",
            f"cost: {facts.cost}",
        ):
            console.print(Padding(escape(line), (0, 0, 0, 4)))


def _record(adapter: type[Adapter]) -> dict[str, Any]:
    facts = adapter.facts
    return {"name": adapter.__name__, **asdict(facts), "needs": sorted(facts.needs)}

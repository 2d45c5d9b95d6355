"""``shiftlab adapters``: what there is, from the registry."""

from __future__ import annotations

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: shiftlab adapters")(adapters)


def adapters() -> None:
    """List the adapters: what they answer, when they help and what they need."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    from shiftlab.registry import list_adapters

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

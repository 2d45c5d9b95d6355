"""The commands on tables: ``shiftlab diagnose`` and the like, and ``shiftlab adapt``."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftlab.cli import diagnose
from shiftlab.cli.diagnose import Label, Source, Target
from shiftlab.cli.output import check_outputs, wrote

if TYPE_CHECKING:
    from shiftlab.cli.adapt import Adapted
    from shiftlab.domain import Domain

__all__ = ["register"]

AUTO = "auto"


class _Estimator(StrEnum):
    logistic = "logistic"
    boosting = "boosting"


def register(app: typer.Typer) -> None:
    """Add the commands on tables."""
    diagnose.register(app)
    app.command(epilog="Example: shiftlab adapt a.csv b.csv --label bought -o p.csv")(adapt)


def adapt(
    source: Source,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file of predictions.")],
    method: Annotated[
        str,
        typer.Option(
            help="auto (try what fits and keep what there is evidence for), an adapter (see "
            "`shiftlab adapters`) or source-only."
        ),
    ] = AUTO,
    label: Label = None,
    estimator: Annotated[
        _Estimator, typer.Option(help="Classifier that is trained on the adapted source.")
    ] = _Estimator.logistic,
    report: Annotated[
        Path | None, typer.Option(help="HTML page of what was tried and why (auto only).")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds that trying may take (auto only).")
    ] = None,
) -> None:
    """Train on the source, adapted to the target, and predict the target's labels.

    Labels in the target's file are kept for the score if every row has one; where only some rows
    have, auto learns from those.
    """
    from shiftlab.cli.adapt import adapt as run
    from shiftlab.cli.adapt import adapt_automatically, predictions_csv, resolve_method
    from shiftlab.cli.files import read_domain
    from shiftlab.files import write_atomically

    name = AUTO if method.lower() == AUTO else resolve_method(method)
    if name != AUTO and (report is not None or budget is not None):
        raise ValueError("--report and --budget are for --method auto, which tries several")
    check_outputs((output, report), (source, target))
    if output.suffix.lower() != ".csv":
        raise ValueError(f"{output}: predictions are written as CSV; name a file that ends in .csv")
    first = read_domain(source, label, label_required=True)
    second = read_domain(target, label, label_required=False)
    if name == AUTO:
        adapted, result = adapt_automatically(first, second, estimator.value, budget)
        typer.echo(result.sentence())
        typer.echo(result.expected())
        for caution in result.cautions:
            typer.echo(f"note: {caution}", err=True)
        if report is not None:
            wrote(Path(result.to_html(report)))
        name = result.chosen
    else:
        with warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always", UserWarning)
            adapted = run(first, second, name, estimator.value)
        for text in dict.fromkeys(str(warning.message) for warning in noticed):
            if text.startswith(f"{name}:"):
                typer.echo(f"note: {' '.join(text.split())}", err=True)
    path = write_atomically(output, predictions_csv(adapted))
    typer.echo(f"wrote {len(adapted.prediction)} predictions of {name} to {path}")
    _say_score(first, second, adapted, name, (source, target))


def _say_score(
    first: Domain, second: Domain, adapted: Adapted, name: str, paths: tuple[Path, Path]
) -> None:
    """Compare with labels of the target that nothing was trained on."""
    if second.n_labelled == 0:
        return
    if adapted.saw_target_labels:
        typer.echo(f"{name} was trained on the target labels in the file, so there is no score")
        return
    if not set(first.label_set().tolist()) & set(second.label_set().tolist()):
        typer.echo(
            f"no accuracy: the labels in {paths[1].name} ({_some(second)}) are none of those in "
            f"{paths[0].name} ({_some(first)})"
        )
        return
    known = second.labelled
    accuracy = (adapted.prediction[known] == second.y[known]).mean()
    typer.echo(
        f"accuracy {accuracy:.4f} on {int(known.sum())} rows "
        "(target labels were in the file; used only for this score)"
    )


def _some(domain: Domain) -> str:
    labels = [repr(label) for label in domain.label_set().tolist()]
    return ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")

"""``shiftlab diagnose`` and ``shiftlab adapt``: two files in, an answer out."""

from __future__ import annotations

import json
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shiftlab.domain import Domain

__all__ = ["register"]

Source = Annotated[Path, typer.Argument(help="Labelled sample: CSV, Parquet or NPZ (X, y).")]
Target = Annotated[Path, typer.Argument(help="The sample that differs from it.")]
Label = Annotated[str | None, typer.Option(help="Column of the labels (NPZ: always y).")]


class _Estimator(StrEnum):
    logistic = "logistic"
    boosting = "boosting"


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command(epilog="Example: shiftlab diagnose a.csv b.csv --label bought --html d.html")(
        diagnose
    )
    app.command(
        epilog="Example: shiftlab adapt a.csv b.csv --label bought --method coral -o p.csv"
    )(adapt)


def diagnose(
    source: Source,
    target: Target,
    label: Label = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write it as JSON, too.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as HTML, too.")] = None,
) -> None:
    """Say how a target differs from a source."""
    from rich.console import Console

    import shiftlab
    from shiftlab.cli.files import read_domain
    from shiftlab.files import write_atomically

    _check_outputs((json_, html), (source, target))
    first = read_domain(source, label, label_required=label is not None)
    second = read_domain(target, label, label_required=False)
    found = shiftlab.diagnose(first, second, random_state=0)
    Console().print(found)
    if json_ is not None:
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        typer.echo(f"wrote {write_atomically(json_, text + chr(10))}")
    if html is not None:
        typer.echo(f"wrote {write_atomically(html, found.to_html())}")


def adapt(
    source: Source,
    target: Target,
    method: Annotated[
        str, typer.Option(help="An adapter (see `shiftlab adapters`) or source-only.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file of predictions.")],
    label: Label = None,
    estimator: Annotated[
        _Estimator, typer.Option(help="Classifier that is trained on the adapted source.")
    ] = _Estimator.logistic,
) -> None:
    """Train on the source, adapted to the target, and predict the target's labels."""
    from shiftlab.cli.adapt import adapt as run
    from shiftlab.cli.adapt import predictions_csv, resolve_method
    from shiftlab.cli.files import read_domain
    from shiftlab.files import write_atomically

    name = resolve_method(method)
    _check_outputs((output,), (source, target))
    if output.suffix.lower() != ".csv":
        raise ValueError(f"{output}: predictions are written as CSV; name a file that ends in .csv")
    first = read_domain(source, label, label_required=True)
    second = read_domain(target, label, label_required=False)
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always", UserWarning)
        adapted = run(first, second, name, estimator.value)
    for text in dict.fromkeys(str(warning.message) for warning in noticed):
        if text.startswith(f"{name}:"):
            typer.echo(f"note: {' '.join(text.split())}", err=True)
    path = write_atomically(output, predictions_csv(adapted))
    typer.echo(f"wrote {len(adapted.prediction)} predictions of {name} to {path}")
    if second.n_labelled == 0:
        return
    if adapted.saw_target_labels:
        typer.echo(f"{name} was trained on the target labels in the file, so there is no score")
        return
    if not set(first.label_set().tolist()) & set(second.label_set().tolist()):
        typer.echo(
            f"no accuracy: the labels in {target.name} ({_some(second)}) are none of those in "
            f"{source.name} ({_some(first)})"
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


def _check_outputs(outputs: tuple[Path | None, ...], inputs: tuple[Path, ...]) -> None:
    """Refuse, before any work, to write over an input or into a folder's place."""
    for path in outputs:
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name a file to write")
        if path.resolve() in {p.resolve() for p in inputs}:
            raise ValueError(f"{path} is an input; writing there would overwrite it")

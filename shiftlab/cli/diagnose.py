"""``shiftlab diagnose``, ``compare`` and ``drift``: what differs, printed and as files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftlab.cli.output import STDOUT, check_outputs, write_json, wrote

if TYPE_CHECKING:
    from shiftlab.diagnosis import Diagnosis
    from shiftlab.diagnosis.comparison import ManyDiagnosis

__all__ = ["Label", "Source", "Target", "register"]

FOUND = 1


class _Task(StrEnum):
    classification = "classification"
    regression = "regression"


class _Features(StrEnum):
    tfidf = "tfidf"


Source = Annotated[Path, typer.Argument(help="Labelled sample: CSV, Parquet or NPZ (X, y).")]
Target = Annotated[Path, typer.Argument(help="The sample that differs from it.")]
Label = Annotated[str | None, typer.Option(help="Column of the labels (NPZ: always y).")]
Task = Annotated[_Task, typer.Option(help="What the labels are.")]
Alpha = Annotated[float, typer.Option(help="Share of false alarms that is accepted.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same answer.")]
Permutations = Annotated[
    int | None,
    typer.Option(help="Permutations of each permutation test.", show_default="by need"),
]
Features = Annotated[
    _Features | None, typer.Option(help="Compare texts by the words in them (tfidf).")
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write it as JSON, too; - prints nothing else.")
]
Html = Annotated[Path | None, typer.Option("--html", help="Write it as HTML, too.")]
FailOnShift = Annotated[
    bool, typer.Option("--fail-on-shift", help="Exit with 1 when something differs.")
]


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command(epilog="Example: shiftlab diagnose a.csv b.csv --label bought --html d.html")(
        diagnose
    )
    app.command(epilog="Example: shiftlab compare ulm.csv bonn.csv kiel.csv --html m.html")(compare)
    app.command(epilog="Example: shiftlab drift log.csv --by date --windows 10 --fail-on-shift")(
        drift
    )


def diagnose(
    source: Source,
    target: Target,
    label: Label = None,
    task: Task = _Task.classification,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    permutations: Permutations = None,
    features: Features = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the tests, not what explains them.")
    ] = False,
    json_: Json = None,
    html: Html = None,
    fail_on_shift: FailOnShift = False,
) -> None:
    """Say how a target differs from a source."""
    import shiftlab
    from shiftlab.cli.files import read_domain

    check_outputs((json_, html), (source, target))
    first = read_domain(source, label, label_required=label is not None)
    second = read_domain(target, label, label_required=False)
    options = _options(task, alpha, seed, permutations, features)
    _tell(
        shiftlab.diagnose(first, second, explain=not quick, **options), json_, html, fail_on_shift
    )


def compare(
    files: Annotated[list[Path], typer.Argument(help="Two or more: CSV, Parquet or NPZ (X, y).")],
    label: Label = None,
    task: Task = _Task.classification,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    permutations: Permutations = None,
    features: Features = None,
    json_: Json = None,
    html: Html = None,
    fail_on_shift: FailOnShift = False,
) -> None:
    """Compare every file with every other."""
    from shiftlab.cli.files import read_domain
    from shiftlab.diagnosis.many import diagnose_many

    check_outputs((json_, html), tuple(files))
    stems = [f.stem for f in files]
    distinct = len(set(stems)) == len(stems)
    domains = {
        f.stem if distinct else str(f): read_domain(f, label, label_required=False) for f in files
    }
    if len(domains) < len(files):
        raise ValueError("a file is given twice; name each file once")
    if label is not None and not any(d.n_labelled for d in domains.values()):
        raise ValueError(f"none of the files has labels in a column {label!r}")
    options = _options(task, alpha, seed, permutations, features)
    _tell(diagnose_many(domains, **options), json_, html, fail_on_shift)


def drift(
    table: Annotated[Path, typer.Argument(help="Rows over time: CSV, Parquet or NPZ.")],
    by: Annotated[str, typer.Option(help="Column with numbers or dates that orders the rows.")],
    windows: Annotated[
        int | None,
        typer.Option(help="Number of windows, of equal counts.", show_default="up to 10"),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="File to compare the windows with.", show_default="the first window"),
    ] = None,
    label: Label = None,
    task: Task = _Task.classification,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    permutations: Permutations = None,
    features: Features = None,
    json_: Json = None,
    html: Html = None,
    fail_on_shift: FailOnShift = False,
) -> None:
    """Say when a table begins to differ along a column, such as a date."""
    from shiftlab.cli.files import read_domain
    from shiftlab.diagnosis.many import diagnose_many

    check_outputs((json_, html), (table,) if reference is None else (table, reference))
    domain = read_domain(table, label, label_required=label is not None)
    before = None if reference is None else read_domain(reference, label, label_required=False)
    options = _options(task, alpha, seed, permutations, features)
    found = diagnose_many(domain, by=by, n_windows=windows, reference=before, **options)
    _tell(found, json_, html, fail_on_shift)


def _options(
    task: _Task, alpha: float, seed: int, permutations: int | None, features: _Features | None
) -> dict[str, Any]:
    options: dict[str, Any] = {"task": task.value, "alpha": alpha, "random_state": seed}
    if permutations is not None:
        options["n_permutations"] = permutations
    if features is not None:
        options["features"] = features.value
    return options


def _tell(
    found: Diagnosis | ManyDiagnosis, json_: Path | None, html: Path | None, fail_on_shift: bool
) -> None:
    """Print, write what is to be written, and only then exit by what was found."""
    from rich.console import Console

    from shiftlab.files import write_atomically

    if json_ != STDOUT:
        Console().print(found)
    if json_ is not None:
        write_json(found.to_dict(), json_)
    if html is not None:
        wrote(write_atomically(html, str(found.to_html())))
    if fail_on_shift and found.found:
        raise typer.Exit(FOUND)

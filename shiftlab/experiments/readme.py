"""Put a study's tables into its README, between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shiftlab.experiments.parts import markdown_by_method, split_parts
from shiftlab.experiments.tables import (
    markdown_in_domain,
    markdown_table,
    stand_in_domains,
)
from shiftlab.experiments.verdict import verdict
from shiftlab.files import write_atomically

__all__ = ["BEGIN", "END", "replace_block", "results_block", "update_readme"]

BEGIN = "<!-- results: begin -->"
END = "<!-- results: end -->"


def results_block(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write what a study found, as Markdown.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    str
        Sentences, table of all pairs, in-domain accuracy, origin of the data.
    """
    stand_ins = sorted(stand_in_domains(rows))
    n_test = sorted({int(row["n_test"]) for row in rows})
    tests = f"{n_test[0]:,}" if len(n_test) == 1 else f"{n_test[0]:,} to {n_test[-1]:,}"
    main, *others = split_parts(rows)
    lines = [
        *(f"- {sentence}" for sentence in verdict(main.rows)),
        "",
        f"Accuracy on {tests} test images of the target, mean ± standard deviation over seeds; "
        "without ± it is of one seed. The mean in the last line is over the seeds that all "
        "methods have:",
        "",
        markdown_table(main.rows),
        "",
        "Within a domain (trained and tested on the same one; the target-supervised network):",
        "",
        markdown_in_domain(rows),
        "",
    ]
    for part in others:
        lines += [f"{part.title}, the best mean first:", "", markdown_by_method(part.rows), ""]
    if stand_ins:
        lines += [
            f"\\* {', '.join(stand_ins)}: images that stand in for the data set; figures with "
            "them do not compare with published ones.",
            "",
        ]
    lines.append(f"Data: `{rows[0]['data']}`; settings `{rows[0]['settings']}`; {len(rows)} cells.")
    return "\n".join(lines)


def update_readme(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Put the results of a Digit-5 study between the markers of a Markdown file.

    Parameters
    ----------
    path : Path
        An existing file with both markers.
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    Path
        The full path.

    Raises
    ------
    ValueError
        If a marker is missing; nothing is written then.
    """
    return replace_block(path, results_block(rows))


def replace_block(path: Path, block: str) -> Path:
    """Replace the text between the markers of a Markdown file.

    Parameters
    ----------
    path : Path
        An existing file with both markers.
    block : str
        What goes between them.

    Returns
    -------
    Path
        The full path.

    Raises
    ------
    ValueError
        If a marker is missing; nothing is written then.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: needs the lines {BEGIN} and {END}, in that order")
    return write_atomically(path, f"{before}{BEGIN}\n{block}\n{END}{after}")

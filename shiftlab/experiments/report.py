"""One HTML file that shows a study: verdict, heat maps, bars, samples, diagnosis."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.experiments.parts import by_method, split_parts
from shiftlab.experiments.tables import (
    in_domain,
    method_means,
    methods_of,
    stand_in_domains,
    summarise,
)
from shiftlab.experiments.verdict import verdict
from shiftlab.files import write_atomically

if TYPE_CHECKING:
    from shiftlab.experiments.pictures import Picture

__all__ = ["Sheet", "figure_uri", "render_report", "write_report"]

_TEMPLATE = "report.html.j2"
_LIGHT, _DARK = (250, 247, 240), (12, 74, 110)
# Where black and white text have the same contrast, sqrt(1.05 * 0.05) - 0.05: 4.58 : 1.
_MIDDLE = 0.179


@dataclass(frozen=True)
class Sheet:
    """Sample images of one domain.

    Parameters
    ----------
    name : str
        The domain.
    image : str
        A ``data:`` URI.
    kind : str
        Where the images come from: "official", "local" or "offline".
    stand_in : bool
        Whether other images stand in for the data set's own.
    note : str
        What the images are.
    """

    name: str
    image: str
    kind: str
    stand_in: bool
    note: str


def figure_uri(figure: Any) -> str:
    """Return a matplotlib figure as the ``data:`` URI of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def render_report(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "Digit-5",
    sheets: Sequence[Sheet] = (),
    diagnosis: str = "",
    diagnosis_title: str = "",
    pictures: Sequence[Picture] = (),
) -> str:
    """Render a study as one HTML page that needs nothing from outside.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study; may be of an unfinished grid.
    title : str, default="Digit-5"
        Heading of the page.
    sheets : sequence of Sheet, default=()
        Sample images.
    diagnosis : str, default=""
        HTML of a diagnosis, from ``Diagnosis.to_html_fragment()``; put in as it is.
    diagnosis_title : str, default=""
        Its heading.
    pictures : sequence of Picture, default=()
        Ranks, curves, confusions and so on, from ``study_pictures``.

    Returns
    -------
    str
        HTML. Every name is escaped.

    Raises
    ------
    ValueError
        If there is no result, or the results are of more than one study.
    """
    if not rows:
        raise ValueError("there are no results to report; run the study first")
    main, *others = split_parts(rows)
    entries = summarise(main.rows)
    methods = methods_of(entries)
    domains = list(dict.fromkeys(n for e in entries for n in (e.source, e.target)))
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("shiftlab.experiments", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        title=title,
        verdict=verdict(main.rows),
        domains=domains,
        methods=methods,
        stand_ins=sorted(stand_in_domains(rows)),
        maps=[_heat_map(method, domains, main.rows) for method in methods],
        bars=method_means(main.rows),
        others=[(part.title, by_method(part.rows)) for part in others],
        sheets=sheets,
        diagnosis=diagnosis,
        diagnosis_title=diagnosis_title,
        pictures=pictures,
        title_of_pairs=main.title,
        pairs=_pair_lines(main.rows, methods),
        n_seeds=len({row["seed"] for row in rows}),
        facts=_facts(rows),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write_report(path: str | os.PathLike[str], html: str) -> Path:
    """Write a page, all or nothing, and return its full path."""
    return write_atomically(Path(path), html)


def _heat_map(
    method: str, domains: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Colour each source and target; the diagonal is the accuracy within a domain."""
    found = {(e.source, e.target): e for e in summarise(rows) if e.method == method}
    own = in_domain(rows)
    lines = []
    for source in domains:
        cells: list[dict[str, Any]] = []
        for target in domains:
            if source == target:
                mean = own[source][0] if source in own else None
            else:
                mean = found[(source, target)].mean if (source, target) in found else None
            cells.append(_cell(mean, diagonal=source == target))
        lines.append({"source": source, "cells": cells})
    return {"method": method, "lines": lines}


def _cell(mean: float | None, *, diagonal: bool) -> dict[str, Any]:
    if mean is None:
        return {"text": "–", "background": "transparent", "colour": "inherit", "diagonal": diagonal}
    mixed = [round(a + (b - a) * mean**1.5) for a, b in zip(_LIGHT, _DARK, strict=True)]
    return {
        "text": f"{mean:.2f}",
        "background": "rgb({}, {}, {})".format(*mixed),
        "colour": "#ffffff" if _luminance(mixed) < _MIDDLE else "#000000",
        "diagonal": diagonal,
    }


def _luminance(colour: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2.2 defines it."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _pair_lines(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[dict[str, Any]]:
    entries = summarise(rows)
    found = {(e.source, e.target, e.method): e for e in entries}
    lines = []
    for source, target in dict.fromkeys((e.source, e.target) for e in entries):
        cells = [found.get((source, target, m)) for m in methods]
        lines.append({"source": source, "target": target, "cells": cells})
    return lines


def _facts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    first = rows[0]
    protocol = dict(first["protocol"])
    versions = sorted({f"{k} {v}" for row in rows for k, v in row["versions"].items()})
    counts = sorted({int(row["n_train_target"]) for row in rows})
    tests = sorted({int(row["n_test"]) for row in rows})
    return [
        ("Training images a domain", _range(counts)),
        ("Test images a domain", _range(tests)),
        ("Labelled target images a class for finetune", str(protocol.get("labels_per_class", "–"))),
        ("Epochs of a network", str(protocol.get("epochs", "–"))),
        ("Seeds", str(len({row["seed"] for row in rows}))),
        ("Data", str(first["data"]).replace(",", ", ")),
        ("Settings", str(first["settings"])),
        ("Versions", ", ".join(versions)),
    ]


def _range(values: Sequence[int]) -> str:
    low, high = values[0], values[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"

"""The results of the study of choosing as a table that can be read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["read_rows", "write_rows"]

PLACE = ("group", "source", "target", "seed")
FIELDS = (*PLACE, "method", "accuracy", "safe", "more")


def write_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a line for each method on each pair, and one for what `adapt` did.

    Parameters
    ----------
    rows : sequence of mapping
        From `shiftlab.experiments.selection.judge_case`.

    Returns
    -------
    str
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        where = [row[key] for key in PLACE]
        for name, found in row["methods"].items():
            accuracy = f"{found['accuracy']:.4f}" if "accuracy" in found else ""
            more = {k: v for k, v in found.items() if k not in ("accuracy", "safe")}
            writer.writerow([*where, name, accuracy, found.get("safe", ""), _json(more)])
        chosen = row["adapt"]
        more = {k: chosen[k] for k in ("chosen", "ground", "expected")}
        writer.writerow([*where, "adapt", f"{chosen['accuracy']:.4f}", "", _json(more)])
    return text.getvalue()


def read_rows(text: str) -> list[dict[str, Any]]:
    """Read what `write_rows` wrote.

    Parameters
    ----------
    text : str
        The table.

    Returns
    -------
    list of dict
        The rows, rounded.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in csv.DictReader(io.StringIO(text)):
        place = tuple(line[key] for key in PLACE)
        row = rows.setdefault(place, {**dict(zip(PLACE, place, strict=True)), "methods": {}})
        row["seed"] = int(row["seed"])
        found: dict[str, Any] = json.loads(line["more"]) if line["more"] else {}
        if line["accuracy"]:
            found["accuracy"] = float(line["accuracy"])
        if line["safe"]:
            found["safe"] = line["safe"] == "True"
        if line["method"] == "adapt":
            row["adapt"] = found
        else:
            row["methods"][line["method"]] = found
    return list(rows.values())


def _json(more: Mapping[str, Any]) -> str:
    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 5)
        if isinstance(value, Mapping):
            return {k: rounded(v) for k, v in value.items()}
        return [rounded(v) for v in value] if isinstance(value, list) else value

    return json.dumps(rounded(more)) if more else ""

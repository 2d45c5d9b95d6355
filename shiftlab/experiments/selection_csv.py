"""The results of the study of choosing as a table that can be read again."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["read_rows", "write_rows"]

PLACE = ("group", "source", "target", "seed")
FIELDS = (*PLACE, "method", "accuracy", "safe", "error")
OF_ADAPT = ("chosen", "ground", "expected", "low", "high")


def write_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a line for each method on each pair, and one for what `adapt` did.

    Parameters
    ----------
    rows : sequence of mapping
        From `shiftlab.experiments.selection.judge_case`.

    Returns
    -------
    str
        Each validator's scores are a column.
    """
    found = [method for row in rows for method in row["methods"].values()]
    validators = sorted({name for method in found for name in method.get("scores", ())})
    text = io.StringIO()
    writer = csv.DictWriter(text, [*FIELDS, *OF_ADAPT, *validators], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        where = {key: row[key] for key in PLACE}
        for name, method in row["methods"].items():
            line = {**where, "method": name, "error": method.get("error", "")}
            if "accuracy" in method:
                line["accuracy"] = f"{method['accuracy']:.4f}"
                line["safe"] = method.get("safe", "")
            scores = method.get("scores", {})
            writer.writerow(line | {k: round(v, 4) for k, v in scores.items()})
        chosen = row["adapt"]
        line = {**where, "method": "adapt", "accuracy": f"{chosen['accuracy']:.4f}"}
        line |= {key: chosen[key] for key in ("chosen", "ground")}
        if chosen["expected"] is not None:
            promised = zip(("expected", "low", "high"), chosen["expected"], strict=True)
            line |= {key: round(value, 4) for key, value in promised}
        writer.writerow(line)
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
        found: dict[str, Any] = {"error": line["error"]} if line["error"] else {}
        if line["accuracy"]:
            found["accuracy"] = float(line["accuracy"])
        if line["safe"]:
            found["safe"] = line["safe"] == "True"
        if line["method"] == "adapt":
            promised = [line[key] for key in ("expected", "low", "high")]
            expected = [float(value) for value in promised] if all(promised) else None
            given = {"chosen": line["chosen"], "ground": line["ground"], "expected": expected}
            row["adapt"] = found | given
            continue
        validators = set(line) - {*FIELDS, *OF_ADAPT}
        scores = {name: float(line[name]) for name in sorted(validators) if line[name]}
        row["methods"][line["method"]] = found | ({"scores": scores} if scores else {})
    return list(rows.values())

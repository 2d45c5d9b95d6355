"""The schema study: what is committed is what the tables say, and a corruption is known."""

import csv
import tomllib
from pathlib import Path

import numpy as np

from shiftlab.experiments.readme import BEGIN, END
from shiftlab.experiments.schema import (
    corrupt,
    distinguishable,
    read_table,
    run_schema,
    schema_block,
)

FOLDER = Path(__file__).parents[2] / "experiments" / "schema"
SETTINGS = tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))


def committed():
    with (FOLDER / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_readme_shows_the_committed_results():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == schema_block(committed())


def test_the_committed_results_are_those_of_the_settings():
    rows = committed()
    assert len(rows) == SETTINGS["corruptions"]
    again = list(run_schema({**SETTINGS, "corruptions": 10}))
    kept = [{k: str(v) for k, v in row.items()} for row in again if row["table"] != "digits"]
    assert kept == [row for row in rows[:10] if row["table"] != "digits"]


def test_a_corruption_can_be_undone_by_what_it_says():
    table = read_table("diabetes")
    case = corrupt(table, {**SETTINGS, "rescaled": 1.0, "recoded": 1.0}, anonymous=True, seed=0)
    rows = {tuple(np.round(row, 9)) for row in _numbers(table)}
    back = {}
    for name, values in case.target.items():
        codes, factor = case.codes.get(name), case.factors.get(name, 1.0)
        back[case.origin[name]] = [codes[v] for v in values] if codes else values / factor
    shared = [n for n in table if n in back and table[n].dtype.kind != "U"]
    positions = [n for n in table if table[n].dtype.kind != "U"]
    keep = [positions.index(n) for n in shared]
    known = {tuple(np.array(row)[keep]) for row in rows}
    assert all(
        tuple(np.round([back[n][k] for n in shared], 9)) in known for k in range(len(back["age"]))
    )
    assert distinguishable(case) <= set(case.source) & set(case.origin.values())


def _numbers(table):
    return np.column_stack([v for v in table.values() if v.dtype.kind != "U"])

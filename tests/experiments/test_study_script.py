"""What scripts of studies share: which cells run, in which order, and the files they fill."""

import csv
import io
import json

import pytest

from shiftlab.data import resource_root
from shiftlab.experiments import few_labels, off_the_shelf, transferability
from shiftlab.experiments.grid import Task
from shiftlab.experiments.readme import BEGIN, END
from shiftlab.experiments.script import csv_text, run_cells, study_parser, write_study

CELLS = {"b|0": 2, "a|0": 3, "b|1": 4}


def measure(number):
    return {"key": {2: "b|0", 3: "a|0", 4: "b|1"}[number], "accuracy": 1 / number}


def options(out, *more):
    given = ["--folder", str(out / "study"), "--out", str(out), *more]
    return study_parser("few_labels", cells=True).parse_args(given)


def run(options, cells=CELLS, work=measure, **more):
    return run_cells(options, cells, work, key=("way", "seed"), **more)


def stored(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_run_stops_after_its_seconds_and_the_next_goes_on(tmp_path, capsys):
    assert run(options(tmp_path, "--report")) == []
    rows = run(options(tmp_path, "--seconds", "0"))
    assert rows == [{"key": "b|0", "accuracy": 0.5}]
    told = capsys.readouterr().out
    assert told.splitlines()[-2:] == ["b|0 0.500", f"1 of 3 cells; {tmp_path / 'results.jsonl'}"]
    rows = run(options(tmp_path), dict(reversed(CELLS.items())))
    assert [row["key"] for row in rows] == ["b|1", "a|0", "b|0"]
    # four digits as in results.csv; the store keeps what was measured
    assert [row["accuracy"] for row in rows] == [0.25, 0.3333, 0.5]
    assert [row["accuracy"] for row in stored(tmp_path)] == [1 / 2, 1 / 4, 1 / 3]
    assert run(options(tmp_path, "--report"), {"a|0": 3}) == [rows[1]]


def test_cells_of_the_committed_table_are_finished_where_no_run_is(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "README.md").write_text(f"{BEGIN}\n{END}\n")
    fields = ("way", "seed", "accuracy", "scores")
    rows = [
        {"way": "b", "seed": 0, "accuracy": 0.125, "scores": {"leep": -0.5}},
        {"way": "b", "seed": 1, "accuracy": 0.25, "scores": {}},
        {"way": "gone", "seed": 0, "accuracy": 0.5, "scores": {}},
    ]
    write_study(folder, fields, rows, "")
    found = run(options(tmp_path))
    assert [row["key"] for row in found] == list(CELLS)
    assert [row["key"] for row in stored(tmp_path)] == ["a|0"]  # nothing was measured twice
    assert [{field: row[field] for field in fields} for row in (found[0], found[2])] == rows[:2]
    # what a run measured counts more than the table
    store = tmp_path / "results.jsonl"
    store.write_text(json.dumps({"key": "b|0", "accuracy": 0.75}) + "\n")
    assert run(options(tmp_path, "--report"))[0]["accuracy"] == 0.75


def test_what_a_cell_needs_is_planned_and_is_no_cell(tmp_path):
    order = []

    def work(payload):
        order.append(payload)
        return {} if payload == "net" else measure(payload)

    def plan(left):
        return [Task("net", "net"), *(Task(key, CELLS[key], ("net",)) for key in left)]

    rows = run(options(tmp_path, "--seconds", "0"), CELLS, work, plan=plan)
    assert order == ["net", 2]  # a network alone does not use up the time
    assert [row["key"] for row in rows] == ["b|0"]


def test_few_labels_trains_each_network_once_and_before_its_cells(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "README.md").write_text(f"{BEGIN}\n{END}\n")
    (folder / "config.toml").write_text(
        'domains = ["a", "b", "c"]\nlabels = [1, 2]\nseeds = 1\n'
        'methods = ["linear", "frozen", "scratch"]\n'
    )
    done = []

    def work(payload):
        cell = payload[0]
        done.append(cell)
        if not isinstance(cell, few_labels.Cell):
            return {}
        named = {name: getattr(cell, name) for name in (*few_labels.FIELDS[:-3], "key")}
        return {**named, "accuracy": 0.5, "seconds": 1.0, "scores": {}}

    monkeypatch.setattr(few_labels, "measure", work)
    given = ["--folder", str(folder), "--out", str(tmp_path / "out")]
    few_labels.main([*given, "--methods", "linear", "scratch"])
    nets = [cell for cell in done if not isinstance(cell, few_labels.Cell)]
    assert sorted(nets) == [("a", 0), ("b", 0), ("c", 0)]
    for place, cell in enumerate(done):
        if isinstance(cell, few_labels.Cell) and cell.source != "-":
            assert done.index((cell.source, 0)) < place
    table = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    assert {row["method"] for row in table} == {"linear", "scratch"}
    assert len(table) == 2 * (6 + 3)
    assert "18 of 30 cells are finished" in (folder / "README.md").read_text()


@pytest.mark.parametrize("study", [few_labels, off_the_shelf, transferability])
def test_committed_tables_are_what_would_be_written(study, tmp_path):
    name = study.__name__.split(".")[-1]
    text = (resource_root("experiments") / name / "results.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        row["accuracy"] = float(row["accuracy"])
        if row.get("scores"):
            row["scores"] = json.loads(row["scores"])
    assert csv_text(study.FIELDS, rows) == text
    (tmp_path / "README.md").write_text(f"# T\n{BEGIN}\nold\n{END}\nend\n")
    write_study(tmp_path, study.FIELDS, rows, "new")
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == text
    assert (tmp_path / "README.md").read_text() == f"# T\n{BEGIN}\nnew\n{END}\nend\n"


def test_a_study_has_the_options_that_it_needs(capsys):
    plain = vars(study_parser("schema").parse_args([]))
    assert {key: str(value) for key, value in plain.items()} == {"folder": "experiments/schema"}
    assert set(vars(study_parser("x", data="the digits").parse_args([]))) == {"folder", "root"}
    with pytest.raises(SystemExit):
        study_parser("schema").parse_args(["--seconds", "1"])
    assert "unrecognized arguments: --seconds 1" in capsys.readouterr().err

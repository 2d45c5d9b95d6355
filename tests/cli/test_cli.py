"""The command line but ``adapt``: what it writes, says, and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import shiftlab
from shiftlab.cli import main
from shiftlab.cli.files import read_domain
from shiftlab.registry import ADAPTERS

pd = pytest.importorskip("pandas")


def test_diagnose_writes_json_and_html(tables, tmp_path, capsys):
    outs = tmp_path / "d.json", tmp_path / "d.html"
    files = [str(tables / "source.csv"), str(tables / "target.csv")]
    arguments = ["diagnose", *files, "--label", "bought"]
    assert main([*arguments, "--json", str(outs[0]), "--html", str(outs[1])]) == 0
    told = capsys.readouterr().out
    found = json.loads(outs[0].read_text())
    assert found["kind"]
    assert "age" in told
    assert outs[1].read_text().lstrip().lower().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Rows over 300 days; the spend moves after day 200."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"spend": rng.normal(size=300), "visits": rng.normal(size=300)})
    frame.loc[frame.index >= 200, "spend"] += 2
    frame["date"] = pd.date_range("2024-01-01", periods=300).strftime("%Y-%m-%d")
    folder = tmp_path_factory.mktemp("log")
    frame.to_csv(folder / "log.csv", index=False)
    for name, start in (("early", 0), ("middle", 100), ("late", 200)):
        part = frame[start : start + 100].drop(columns="date")
        part.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_json_on_stdout_stands_alone_and_equals_the_library(tables, log, capsys):
    files = [str(tables / "source.csv"), str(tables / "target.csv")]
    arguments = ["diagnose", *files, "--label", "bought", "--quick", "--seed", "3"]
    assert main([*arguments, "--permutations", "199", "--alpha", ".1", "--json", "-"]) == 0
    told = capsys.readouterr()
    domains = [
        read_domain(tables / f"{n}.csv", "bought", label_required=True)
        for n in ("source", "target")
    ]
    expected = shiftlab.diagnose(
        *domains, explain=False, random_state=3, n_permutations=199, alpha=0.1
    )
    assert json.loads(told.out) == expected.to_dict()
    assert told.err == ""
    arguments = ["drift", str(log / "log.csv"), "--by", "date", "--windows", "3"]
    assert main([*arguments, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["first_different"] == "window 3"
    assert main(["adapters", "--json", "-"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in records] == list(ADAPTERS)
    assert all(r["assumes"] and isinstance(r["needs"], list) for r in records)


def test_fail_on_shift_writes_first_and_then_exits_with_1(log, tmp_path, capsys):
    early, middle, late = (str(log / f"{n}.csv") for n in ("early", "middle", "late"))
    flags = ["--quick", "--fail-on-shift"]
    assert main(["diagnose", early, middle, *flags]) == 0
    outs = tmp_path / "d.json", tmp_path / "d.html"
    capsys.readouterr()
    arguments = ["diagnose", early, late, *flags, "--json", str(outs[0]), "--html", str(outs[1])]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert json.loads(outs[0].read_text())["features"][0]["feature"] == "spend"
    assert "spend" in told.out
    # what was written is no part of the table
    assert "wrote" not in told.out
    assert [line.split()[1] for line in told.err.splitlines()] == [str(o) for o in outs]
    assert main(["diagnose", early, late, "--quick"]) == 0


def test_compare_names_the_files_and_their_nearest(log, tmp_path, capsys, fails):
    files = [str(log / f"{n}.csv") for n in ("early", "middle", "late")]
    out = tmp_path / "m.json"
    assert main(["compare", *files, "--json", str(out), "--fail-on-shift"]) == 1
    found = json.loads(out.read_text())
    differ = {(c["source"], c["target"]): c["differs"] for c in found["comparisons"]}
    assert differ == {
        ("early", "middle"): False,
        ("early", "late"): True,
        ("middle", "late"): True,
    }
    told = capsys.readouterr().out
    assert "2 of 3 pairs differ" in told
    assert "nearest to early: middle" in told
    fails(["compare", files[0]], "at least two domains", "got 1")
    fails(["compare", files[0], files[0]], "a file is given twice")
    fails(["compare", *files, "--label", "bought"], "labels in a column 'bought'")


def test_drift_says_when_it_began(log, tmp_path, capsys, fails):
    table, page = str(log / "log.csv"), tmp_path / "d.html"
    arguments = ["drift", table, "--by", "date", "--windows", "3", "--html", str(page)]
    assert main([*arguments, "--fail-on-shift"]) == 1
    told = capsys.readouterr().out
    assert "2024-07-19" in told
    assert "spend" in told
    assert "<svg" in page.read_text()
    early = ["--reference", str(log / "early.csv")]
    assert main([*arguments, *early]) == 0
    assert "2 of 3 windows differ" not in capsys.readouterr().out
    fails(["drift", table, "--by", "day"], "by='day' is not a column", "'date'")
    fails(["drift", table], "by")
    fails([*arguments[:4], "--windows", "20"], "need at least 600 rows")
    fails([*arguments[:4], "--alpha", "2"], "alpha must lie between 0 and 1")
    fails([*arguments, "--html", table], "is an input")


def test_the_process_exits_with_1_where_something_differs(log):
    code = "import sys; from shiftlab.cli import main; sys.exit(main())"
    files = [str(log / f"{n}.csv") for n in ("early", "late")]
    arguments = ["diagnose", *files, "--quick", "--json", "-", "--fail-on-shift"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["kind"] != "none"
    assert done.stderr == ""


def test_what_is_wrong_is_said_in_one_line(tables, tmp_path, fails):
    source, target, out = tables / "source.csv", tables / "target.csv", tmp_path / "p.csv"
    base = ["adapt", source, target, "--label", "bought", "-o", out, "--method"]
    fails([*base, "corral"], "unknown method 'corral'", "did you mean CORAL")
    fails(["adapt", tables / "no.csv", *base[2:], "coral"], "no.csv", "no such file")
    fails(["adapt", tables, *base[2:], "coral"], "is a folder")
    fails(
        ["adapt", source, target, "--label", "bougt", "-o", out, "--method", "coral"],
        "no column 'bougt'",
        "did you mean bought",
    )
    fails(["adapt", source, target, "-o", out, "--method", "coral"], "--label", "age, town")
    fails(["adapt", source, target, "--method", "coral"], "output")
    fails(["adapt", source, target, "--nonsense"], "nonsense")
    fails(["frobnicate"], "frobnicate")
    fails([*base[:-2], target, "--method", "coral"], "is an input")
    fails([*base[:-2], tmp_path, "--method", "coral"], "is a folder")
    fails(["diagnose", source, target, "--label", "bougt"], "no column 'bougt'")
    fails(["digit5", "run", "--pairs", "mnist:cifar"], "unknown domain 'cifar'")
    fails(["digit5", "run", "--config", "digit6"], "digit6", "no study of that name")
    fails(["digit5", "run", "--config", "digit5", "--quick"], "exclude each other")
    fails(["digit5", "report", "--out", tmp_path], "no results there")
    fails(["study", "run", "shift_type"], "unknown study", "did you mean shift_types")
    fails(["study", "run", "shift_types", "--methods", "corral"], "did you mean CORAL")
    fails(["study", "run", "shift_types", "--jobs", "0"], "--jobs must be at least 1")
    fails(["study", "report", "shift_types", "--out", tmp_path], "no results there")
    fails(["data", "fetch", "mnits"], "unknown data set 'mnits'", "did you mean mnist")
    assert not out.exists()


def test_an_interrupt_exits_with_130(tables, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("shiftlab.cli.files.read_domain", interrupt)
    files = [str(tables / "source.csv"), str(tables / "target.csv")]
    assert main(["diagnose", *files]) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_a_fault_of_the_program_keeps_its_traceback(tables, monkeypatch):
    def fault(*args, **kwargs):
        raise AssertionError("a fault")

    monkeypatch.setattr("shiftlab.cli.files.read_domain", fault)
    with pytest.raises(AssertionError, match="a fault"):
        main(["diagnose", str(tables / "source.csv"), str(tables / "target.csv")])


def test_adapters_lists_the_registry(capsys):
    assert main(["adapters"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ADAPTERS)


def test_data_list_and_show_name_the_stand_ins(tmp_path, capsys):
    assert main(["data", "list", "--source-data", "offline"]) == 0
    assert "STAND-IN" in capsys.readouterr().out
    arguments = ["data", "show", "usps", "--source-data", "offline", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "usps (stand-in)" in capsys.readouterr().out
    assert (tmp_path / "usps-train.png").read_bytes().startswith(b"\x89PNG")


def test_digit5_report_rebuilds_readme_and_csv(tmp_path, capsys):
    from shiftlab.experiments import ResultsStore
    from shiftlab.experiments.readme import BEGIN, END

    store = ResultsStore(tmp_path / "results.jsonl")
    for method, accuracy in (("source-only", 0.5), ("target-supervised", 0.875)):
        row = {"source": "mnist", "target": "usps", "method": method, "seed": 0}
        row |= {"accuracy": accuracy, "n_train_target": 10, "n_test": 100, "seconds": 1.0}
        row |= {"settings": "abc", "data": "d", "key": method, "versions": {}, "protocol": {}}
        store.append({**row, "source_stand_in": False, "target_stand_in": False})
    readme = tmp_path / "README.md"
    readme.write_text(f"# T\n{BEGIN}\n{END}\n")
    arguments = ["digit5", "report", "--out", str(tmp_path), "--readme", str(readme)]
    assert main([*arguments, "--no-samples"]) == 0
    assert "| mnist | usps | 0.500 | 0.875 |" in readme.read_text()
    assert "mnist,usps,source-only,0.500000" in (tmp_path / "results.csv").read_text()
    assert "0.875" in (tmp_path / "report.html").read_text()
    assert "report.html" in capsys.readouterr().out


def test_a_study_runs_and_fills_its_folder(tmp_path, capsys):
    from shiftlab.experiments.readme import BEGIN, END

    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    run = ["--out", str(tmp_path), "--quick", "--jobs", "1", "--methods", "CORAL"]
    assert main(["study", "run", "shift_types", "--pairs", "source:none", *run]) == 0
    assert "6 results in" in capsys.readouterr().out
    report = ["--out", str(tmp_path), "--to", str(tmp_path)]
    assert main(["study", "report", "shift_types", *report]) == 0
    assert "wrote" in capsys.readouterr().out
    assert "| CORAL | 0.9" in readme.read_text()
    assert (tmp_path / "results.csv").read_text().count("\n") == 4


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("diagnose",),
        ("compare",),
        ("drift",),
        ("adapt",),
        ("adapters",),
        ("data", "list"),
        ("data", "fetch"),
        ("data", "show"),
        ("digit5", "run"),
        ("digit5", "report"),
        ("study", "run"),
        ("study", "report"),
        ("demo",),
    ],
)
def test_every_help_shows_an_example(command, capsys):
    assert main([*command, "--help"]) == 0
    assert "Example: shiftlab" in capsys.readouterr().out


def test_the_program_starts_without_torch():
    code = (
        "import sys; from shiftlab.cli import main; main(['--version']); main(['adapters']);"
        "assert 'torch' not in sys.modules; print(sorted(sys.modules)[:1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"shiftlab {shiftlab.__version__}")


def test_the_process_returns_the_code(tmp_path):
    code = "import sys; from shiftlab.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "diagnose", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 2
    assert done.stderr.strip() == f"shiftlab: {tmp_path / 'a.csv'}: there is no such file"


def test_mistakes_are_noticed_before_any_work(tables, tmp_path, fails):
    pair = ["adapt", tables / "source.csv", tables / "target.csv", "--label", "bought"]
    to = [tmp_path / "out.parquet"]
    fails([*pair, "--method", "coral", "-o", *to], "ends in .csv")
    to = [tmp_path / "out.csv"]
    fails([*pair, "--method", "finetune", "-o", *to], "FineTune needs images", "3 columns")
    fails(["demo", "--jobs", "0"], "--jobs must be at least 1")
    blocked = tmp_path / "file"
    blocked.write_text("")
    fails(["demo", "--out", blocked / "runs"], "is a file; name a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_group_without_a_command_prints_its_help_alone(capsys):
    assert main(["data"]) == 2
    told = capsys.readouterr()
    assert "Usage" in told.out
    assert told.err == ""

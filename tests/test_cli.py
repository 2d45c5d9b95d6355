"""The command line on real files: what it writes, says, and exits with."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import shiftlab
from shiftlab import adapt
from shiftlab.cli import main
from shiftlab.cli.adapt import ESTIMATORS, resolve_method
from shiftlab.cli.files import read_domain
from shiftlab.registry import ADAPTERS

pd = pytest.importorskip("pandas")


def _table(n, seed, moved=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.05, np.nan, 40 + 8 * y + moved + rng.normal(0, 3, n)),
            "town": np.where(rng.random(n) < 0.8, np.array(["ham", "york"])[y], "leeds"),
            "member": rng.random(n) < 0.5,
            "bought": np.array(["no", "yes"])[y],
        }
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    source, target = _table(300, 0), _table(200, 1, moved=2.0)
    for name, frame in (("source", source), ("target", target)):
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet")
    target.drop(columns="bought").to_csv(folder / "bare.csv", index=False)
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 240)
    X = rng.normal(size=(240, 4)) + y[:, None]
    np.savez(folder / "source.npz", X=X[:140], y=y[:140])
    np.savez(folder / "target.npz", X=1.5 * X[140:], y=y[140:])
    return folder


def _fails(capsys, arguments, *parts):
    """Run a command that must end with one line on stderr and code 2."""
    assert main([str(a) for a in arguments]) == 2
    told = capsys.readouterr()
    lines = told.err.strip().splitlines()
    assert len(lines) == 1, told.err
    assert "Traceback" not in told.err
    for part in parts:
        assert part in lines[0]


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("method", ["source-only", "coral", "ClassifierWeighting"])
def test_adapt_writes_a_prediction_a_row(tables, tmp_path, capsys, ending, method):
    out = tmp_path / "p.csv"
    files = [tables / f"source.{ending}", tables / f"target.{ending}"]
    assert (
        main(
            [str(a) for a in ("adapt", *files, "--label", "bought", "--method", method, "-o", out)]
        )
        == 0
    )
    told = capsys.readouterr().out
    lines = _read(out)
    truth = pd.read_csv(tables / "target.csv")["bought"]
    predicted = np.array([line["prediction"] for line in lines])
    assert [int(line["row"]) for line in lines] == list(range(200))
    accuracy = (predicted == truth.to_numpy()).mean()
    assert accuracy > 0.75
    assert f"accuracy {accuracy:.4f} on 200 rows" in told
    assert "target labels were in the file; used only for this score" in told
    sums = [float(line["probability no"]) + float(line["probability yes"]) for line in lines]
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_adapt_chooses_by_itself_and_writes_a_page(tables, tmp_path, capsys):
    out, page = tmp_path / "p.csv", tmp_path / "p.html"
    pair = ["adapt", tables / "source.csv", tables / "target.csv", "--label", "bought"]
    assert main([str(a) for a in [*pair, "-o", out, "--report", page, "--budget", "60"]]) == 0
    told = capsys.readouterr().out
    source, target = (pd.read_csv(tables / f"{name}.csv") for name in ("source", "target"))
    truth = target.pop("bought").to_numpy()
    found = adapt(source, target, label="bought", estimator=None, random_state=0)
    assert found.chosen in told
    assert found.decision.lower() in told.lower()
    predicted = np.array([line["prediction"] for line in _read(out)])
    accuracy = (predicted == truth).mean()
    assert f"accuracy {accuracy:.4f} on 200 rows" in told
    assert accuracy > 0.75
    assert found.chosen in page.read_text()
    to = [*pair, "-o", out, "--method", "coral"]
    _fails(capsys, [*to, "--budget", "5"], "--budget are for --method auto")
    _fails(capsys, [*pair, "-o", out, "--budget", "-1"], "budget must be a positive number")


def test_all_formats_give_the_same_predictions(tables, tmp_path):
    found = []
    for ending in ("csv", "parquet"):
        out = tmp_path / f"{ending}.csv"
        files = [str(tables / f"{name}.{ending}") for name in ("source", "target")]
        assert (
            main(["adapt", *files, "--label", "bought", "--method", "CORAL", "-o", str(out)]) == 0
        )
        found.append(out.read_text())
    assert found[0] == found[1]


def test_target_labels_change_no_prediction(tables, tmp_path, capsys):
    outs = []
    for name in ("target.csv", "bare.csv"):
        out = tmp_path / name
        arguments = ["adapt", tables / "source.csv", tables / name]
        arguments += ["--label", "bought", "--method", "PriorCorrection", "-o", out]
        assert main([str(a) for a in arguments]) == 0
        outs.append(out.read_text())
    assert outs[0] == outs[1]
    assert capsys.readouterr().out.count("accuracy") == 1


def test_other_labels_in_the_target_give_no_score(tables, tmp_path, capsys):
    other = tmp_path / "other.csv"
    frame = pd.read_csv(tables / "target.csv")
    frame.assign(bought=frame["bought"].eq("yes").astype(int)).to_csv(other, index=False)
    arguments = ["adapt", tables / "source.csv", other, "--label", "bought"]
    arguments += ["--method", "source-only", "-o", tmp_path / "p.csv"]
    assert main([str(a) for a in arguments]) == 0
    told = capsys.readouterr().out
    assert "no accuracy: the labels in other.csv (0, 1)" in told
    assert "accuracy 0" not in told


def test_adapt_on_npz_equals_the_library(tables, tmp_path):
    from sklearn.linear_model import LogisticRegression

    out = tmp_path / "p.csv"
    files = [str(tables / "source.npz"), str(tables / "target.npz")]
    assert main(["adapt", *files, "--method", "coral", "-o", str(out)]) == 0
    source, target = (np.load(f) for f in files)
    model = shiftlab.CORAL(LogisticRegression(max_iter=2000))
    expected = model.fit((source["X"], source["y"]), target["X"]).predict(target["X"])
    assert [int(line["prediction"]) for line in _read(out)] == expected.tolist()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("method", ["Resample", "SchemaAlignment"])
def test_other_methods_and_estimators_run(tables, tmp_path, capsys, method, estimator):
    out = tmp_path / "p.csv"
    files = [str(tables / "source.csv"), str(tables / "target.csv")]
    arguments = ["adapt", *files, "--label", "bought", "--method", method]
    assert main([*arguments, "--estimator", estimator, "-o", str(out)]) == 0, (
        capsys.readouterr().err
    )
    assert len(_read(out)) == 200


def test_schema_alignment_takes_renamed_columns(tables, tmp_path, capsys):
    renamed = tmp_path / "renamed.csv"
    frame = pd.read_csv(tables / "target.csv").rename(columns={"age": "AGE", "town": "Town"})
    frame[["Town", "AGE", "member", "bought"]].to_csv(renamed, index=False)
    out = tmp_path / "p.csv"
    arguments = [
        "adapt",
        tables / "source.csv",
        renamed,
        "--label",
        "bought",
        "-o",
        out,
        "--method",
    ]
    _fails(capsys, [*arguments, "coral"], "lacks columns", "SchemaAlignment")
    assert main([str(a) for a in (*arguments, "SchemaAlignment")]) == 0
    truth = pd.read_csv(tables / "target.csv")["bought"]
    predicted = np.array([line["prediction"] for line in _read(out)])
    assert (predicted == truth.to_numpy()).mean() > 0.75


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


def test_compare_names_the_files_and_their_nearest(log, tmp_path, capsys):
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
    _fails(capsys, ["compare", files[0]], "at least two domains", "got 1")
    _fails(capsys, ["compare", files[0], files[0]], "a file is given twice")
    _fails(capsys, ["compare", *files, "--label", "bought"], "labels in a column 'bought'")


def test_drift_says_when_it_began(log, tmp_path, capsys):
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
    _fails(capsys, ["drift", table, "--by", "day"], "by='day' is not a column", "'date'")
    _fails(capsys, ["drift", table], "by")
    _fails(capsys, [*arguments[:4], "--windows", "20"], "need at least 600 rows")
    _fails(capsys, [*arguments[:4], "--alpha", "2"], "alpha must lie between 0 and 1")
    _fails(capsys, [*arguments, "--html", table], "is an input")


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


def test_what_is_wrong_is_said_in_one_line(tables, tmp_path, capsys):
    source, target, out = tables / "source.csv", tables / "target.csv", tmp_path / "p.csv"
    base = ["adapt", source, target, "--label", "bought", "-o", out, "--method"]
    _fails(capsys, [*base, "corral"], "unknown method 'corral'", "did you mean CORAL")
    _fails(capsys, ["adapt", tables / "no.csv", *base[2:], "coral"], "no.csv", "no such file")
    _fails(capsys, ["adapt", tables, *base[2:], "coral"], "is a folder")
    _fails(
        capsys,
        ["adapt", source, target, "--label", "bougt", "-o", out, "--method", "coral"],
        "no column 'bougt'",
        "did you mean bought",
    )
    _fails(
        capsys, ["adapt", source, target, "-o", out, "--method", "coral"], "--label", "age, town"
    )
    _fails(capsys, ["adapt", source, target, "--method", "coral"], "output")
    _fails(capsys, ["adapt", source, target, "--nonsense"], "nonsense")
    _fails(capsys, ["frobnicate"], "frobnicate")
    _fails(capsys, [*base[:-2], target, "--method", "coral"], "is an input")
    _fails(capsys, [*base[:-2], tmp_path, "--method", "coral"], "is a folder")
    _fails(capsys, ["diagnose", source, target, "--label", "bougt"], "no column 'bougt'")
    _fails(capsys, ["digit5", "run", "--pairs", "mnist:cifar"], "unknown domain 'cifar'")
    _fails(capsys, ["digit5", "run", "--config", "digit6"], "digit6", "no study of that name")
    _fails(capsys, ["digit5", "run", "--config", "digit5", "--quick"], "exclude each other")
    _fails(capsys, ["digit5", "report", "--out", tmp_path], "no results there")
    _fails(capsys, ["study", "run", "shift_type"], "unknown study", "did you mean shift_types")
    _fails(capsys, ["study", "run", "shift_types", "--methods", "corral"], "did you mean CORAL")
    _fails(capsys, ["study", "run", "shift_types", "--jobs", "0"], "--jobs must be at least 1")
    _fails(capsys, ["study", "report", "shift_types", "--out", tmp_path], "no results there")
    _fails(capsys, ["data", "fetch", "mnits"], "unknown data set 'mnits'", "did you mean mnist")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("broken.parquet", b"PAR1 no", "cannot be read as parquet"),
        ("broken.npz", b"PK\x03\x04 no", "cannot be read as npz"),
        ("empty.csv", b"", "cannot be read as csv"),
        ("header.csv", b"age,bought\n", "no rows"),
        ("table.xlsx", b"", "cannot read .xlsx; use .csv, .parquet, .npz"),
    ],
)
def test_damaged_files_are_named(tables, tmp_path, capsys, name, content, part):
    path = tmp_path / name
    path.write_bytes(content)
    _fails(capsys, ["diagnose", path, tables / "target.csv"], name, part)


def test_npz_never_unpickles_and_needs_its_arrays(tables, tmp_path, capsys):
    path = tmp_path / "objects.npz"
    np.savez(path, X=np.array([{"a": 1}], dtype=object))
    _fails(capsys, ["diagnose", path, tables / "target.npz"], "objects.npz", "allow_pickle")
    np.savez(path, data=np.eye(2))
    _fails(capsys, ["diagnose", path, tables / "target.npz"], "no array X")
    np.savez(path, X=np.eye(2))
    arguments = [
        "adapt",
        path,
        tables / "target.npz",
        "--method",
        "coral",
        "-o",
        tmp_path / "p.csv",
    ]
    _fails(capsys, arguments, "no array y")
    _fails(capsys, [*arguments, "--label", "kind"], "labels as y, not as 'kind'")


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


def test_method_names_are_the_registry_s():
    for name in ADAPTERS:
        assert resolve_method(name.upper()) == resolve_method(name.lower()) == name


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


def test_mistakes_are_noticed_before_any_work(tables, tmp_path, capsys):
    pair = ["adapt", tables / "source.csv", tables / "target.csv", "--label", "bought"]
    to = [tmp_path / "out.parquet"]
    _fails(capsys, [*pair, "--method", "coral", "-o", *to], "ends in .csv")
    to = [tmp_path / "out.csv"]
    _fails(capsys, [*pair, "--method", "finetune", "-o", *to], "FineTune needs images", "3 columns")
    _fails(capsys, ["demo", "--jobs", "0"], "--jobs must be at least 1")
    blocked = tmp_path / "file"
    blocked.write_text("")
    _fails(capsys, ["demo", "--out", blocked / "runs"], "is a file; name a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_group_without_a_command_prints_its_help_alone(capsys):
    assert main(["data"]) == 2
    told = capsys.readouterr()
    assert "Usage" in told.out
    assert told.err == ""


def test_a_warning_of_the_method_is_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(100) % 2)
    np.savez(tmp_path / "b.npz", X=X + np.array([50, 0]))
    files = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    out = ["-o", str(tmp_path / "out.csv")]
    assert main(["adapt", *files, "--method", "classifierweighting", *out]) == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("note: ClassifierWeighting: source and target hardly overlap")


class TestWithoutDataFrames:
    """A plain installation has no pandas and no polars: CSV files of numbers still work."""

    @pytest.fixture(autouse=True)
    def _no_frames(self, monkeypatch):
        for library in ("pandas", "polars"):
            monkeypatch.setitem(sys.modules, library, None)

    def test_numbers_and_a_label_of_text(self, tmp_path):
        path = tmp_path / "shop.csv"
        path.write_text("a,y,b\n1,yes,2.5\n3,,\n5,no,4\n\n", encoding="utf-8-sig")
        domain = read_domain(path, "y", label_required=True)
        np.testing.assert_array_equal(domain.X, [[1, 2.5], [3, np.nan], [5, 4]])
        assert domain.feature_names == ("a", "b")
        assert domain.labelled.tolist() == [True, False, True]
        assert domain.label_set().tolist() == ["no", "yes"]
        assert domain.name == "shop"

    def test_labels_that_are_numbers_stay_numbers(self, tmp_path):
        path = tmp_path / "shop.csv"
        path.write_text("a,y\n1,0\n2,1\n3,\n")
        domain = read_domain(path, "y", label_required=True)
        assert domain.label_set().dtype.kind == "i"
        assert domain.n_labelled == 2
        assert read_domain(path, None, label_required=False).shape == (3, 2)

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            ("", ValueError, "the file is empty"),
            ("a,y\n", ValueError, "has no rows"),
            ("a,y\n1,2\n3\n", ValueError, "line 3 has 1 cells, the header has 2"),
            ("a,z\n1,2\n", ValueError, "no column 'y'"),
            ("a,a,y\n1,2,3\n", ValueError, "same name more than once"),
            ("town,y\nUlm,1\n", ImportError, r"columns of text \(town\) need pandas or polars"),
        ],
    )
    def test_what_cannot_be_read_is_said(self, tmp_path, text, error, message):
        path = tmp_path / "shop.csv"
        path.write_text(text)
        with pytest.raises(error, match=message):
            read_domain(path, "y", label_required=True)

"""``shiftlab adapt`` on real files: what is read, predicted, written and said."""

from __future__ import annotations

import csv
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


def test_adapt_chooses_by_itself_and_writes_a_page(tables, tmp_path, capsys, fails):
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
    fails([*to, "--budget", "5"], "--budget are for --method auto")
    fails([*pair, "-o", out, "--budget", "-1"], "budget must be a positive number")


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


def test_schema_alignment_takes_renamed_columns(tables, tmp_path, fails):
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
    fails([*arguments, "coral"], "lacks columns", "SchemaAlignment")
    assert main([str(a) for a in (*arguments, "SchemaAlignment")]) == 0
    truth = pd.read_csv(tables / "target.csv")["bought"]
    predicted = np.array([line["prediction"] for line in _read(out)])
    assert (predicted == truth.to_numpy()).mean() > 0.75


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


def test_method_names_are_the_registry_s():
    for name in ADAPTERS:
        assert resolve_method(name.upper()) == resolve_method(name.lower()) == name


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
def test_damaged_files_are_named(tables, tmp_path, fails, name, content, part):
    path = tmp_path / name
    path.write_bytes(content)
    fails(["diagnose", path, tables / "target.csv"], name, part)


def test_npz_never_unpickles_and_needs_its_arrays(tables, tmp_path, fails):
    path = tmp_path / "objects.npz"
    np.savez(path, X=np.array([{"a": 1}], dtype=object))
    fails(["diagnose", path, tables / "target.npz"], "objects.npz", "allow_pickle")
    np.savez(path, data=np.eye(2))
    fails(["diagnose", path, tables / "target.npz"], "no array X")
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
    fails(arguments, "no array y")
    fails([*arguments, "--label", "kind"], "labels as y, not as 'kind'")


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

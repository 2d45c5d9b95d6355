"""Feature space and label space: what is read off the data."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from shiftlab import Domain
from shiftlab.diagnosis import diagnose
from shiftlab.diagnosis.columns import read_columns
from shiftlab.diagnosis.label_space import compare_label_spaces, read_labels
from shiftlab.diagnosis.schema import compare_schema, scale_change


def _frame(seed, n=300):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, n),
            "income": rng.lognormal(10, 0.5, n),
            "age": rng.integers(18, 80, n),
            "city": rng.choice(["Rome", "Oslo", "Lima"], n),
            "member": rng.random(n) < 0.4,
        }
    )


def _changes(source, target):
    diagnosis = diagnose(source, target, random_state=1, explain=False)
    changes = diagnosis.findings["feature_space"].details["changes"]
    return diagnosis, {c["kind"]: c for c in changes}


def test_same_schema_in_another_order_does_not_differ():
    a = _frame(3)
    diagnosis, changes = _changes(a, _frame(4)[["member", "city", "age", "income", "height"]])
    assert not diagnosis.feature_space_differs
    assert list(changes) == ["reordered"]
    assert diagnosis.kind == "none"


def test_missing_added_renamed_retyped():
    b = _frame(4).rename(columns={"income": "Income_"}).drop(columns="member")
    b["age"] = b["age"].astype(str) + " years"
    b["extra"] = 1.0
    diagnosis, changes = _changes(_frame(3), b)
    assert diagnosis.feature_space_differs
    assert changes["missing"]["columns"] == ("member",)
    assert changes["added"]["columns"] == ("extra",)
    assert changes["renamed"]["columns"] == ("income", "Income_")
    assert changes["type"]["columns"] == ("age",)
    assert {f.feature: f.status for f in diagnosis.features}["age"] == "not_testable"
    assert diagnosis.kind == "none"  # of what is left, nothing moved


def test_rename_by_values_is_found_only_when_unambiguous():
    _, changes = _changes(_frame(3), _frame(4).rename(columns={"income": "zzz"}))
    assert changes["renamed"]["columns"] == ("income", "zzz")
    a = _frame(3)
    b = _frame(4).rename(columns={"income": "zzz"})
    b["qqq"] = b["zzz"]
    _, changes = _changes(a, b)
    assert "renamed" not in changes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v * 1000, "times 1000"),
        (lambda v: v / 1000, "times 0.001"),
        (lambda v: v / 2.54, "cm to inch"),
        (lambda v: v * 1.8 + 32, "Celsius to Fahrenheit"),
    ],
)
def test_change_of_unit(change, words):
    v = np.random.default_rng(0).normal(170, 10, 800)
    w = np.random.default_rng(1).normal(170, 10, 800)
    found = scale_change(v, change(w))
    assert words in found.text
    assert found.known
    # undone, the values are those before the change
    np.testing.assert_allclose(found.undo(change(w)), w, rtol=2e-3)


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: v + 20, lambda v: v * 1.3, lambda v: 2 * (v - 170) + 170]
)
def test_drift_is_no_change_of_unit(change):
    rng = np.random.default_rng(2)
    assert scale_change(rng.normal(170, 10, 800), change(rng.normal(170, 10, 800))) is None


def _schema(source, target, features=None):
    source, target = Domain.of(source), Domain.of(target)
    columns = read_columns(source, target, features, 0)
    finding, left_out = compare_schema(source, target, columns)
    return finding, left_out, columns


def test_column_in_a_known_unit_is_converted_back_and_compared():
    a, b = _frame(3), _frame(4)
    heights = b["height"].to_numpy()
    b["height"] = heights / 100
    diagnosis, changes = _changes(a, b)
    change = changes["scale"]
    assert (change["columns"], change["factor"], change["offset"]) == (("height",), 0.01, 0.0)
    assert change["converted"]
    assert diagnosis.kind == "none"
    assert {f.feature: f.status for f in diagnosis.features}["height"] == "no_evidence"
    _, left_out, columns = _schema(a, b)
    assert left_out == {}
    np.testing.assert_allclose({c.name: c for c in columns.shared}["height"].target, heights)
    assert columns.notes == [
        "Column 'height': the target looks like the source times 0.01; it is compared in the "
        "source's unit."
    ]


def test_a_shift_behind_a_change_of_unit_is_still_found():
    a, b = _frame(3), _frame(4)
    b["height"] = (b["height"] + 8) / 2.54
    diagnosis, changes = _changes(a, b)
    assert changes == {}  # 178 cm in inches: no known factor, so it is taken for a shift
    b["height"] = 1000 * (_frame(4)["height"] + 8)
    diagnosis, changes = _changes(a, b)
    assert changes["scale"]["factor"] == 1000
    assert {f.feature: f.status for f in diagnosis.features}["height"] == "differs"


def test_column_in_an_unknown_unit_is_left_out():
    a, b = _frame(3), _frame(4)
    b["height"] *= 37
    finding, left_out, columns = _schema(a, b)
    change = finding.details["changes"][0]
    assert change["factor"] == pytest.approx(37, rel=0.05)
    assert not change["converted"]
    assert left_out == {"height": "its unit seems to have changed"}
    assert columns.notes == []


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "missing values", "mixed"])
def test_samples_of_one_domain_have_one_feature_space(kind):
    alarms, n = 0, 300
    for seed in range(40):
        r = np.random.default_rng([n, seed])
        pair = []
        for _ in range(2):
            X = r.standard_t(1.5, (n, 6)) if kind == "heavy tails" else r.normal(size=(n, 6))
            if kind == "missing values":
                X[r.random(X.shape) < 0.1] = np.nan
            frame = pd.DataFrame(X)
            if kind == "mixed":
                frame["few"] = r.choice(list("pqr"), n, p=[0.9, 0.08, 0.02])
                frame["many"] = [f"level {v}" for v in r.zipf(1.5, n)]
            pair.append(frame)
        finding, left_out, columns = _schema(*pair)
        alarms += finding.differs or bool(left_out) or bool(columns.notes)
    assert alarms == 0


def test_missingness_counts_only_where_it_is_extreme():
    r = np.random.default_rng(0)
    a, b = _frame(3), _frame(4)
    b.loc[r.random(300) < 0.3, "age"] = np.nan  # for the test of the column
    b.loc[r.random(300) < 0.9, "height"] = np.nan
    finding, left_out, _ = _schema(a, b)
    assert [c["columns"] for c in finding.details["changes"]] == [("height",)]
    assert "missing in 0% of the source's rows and 9" in finding.summary
    assert left_out == {}


def test_column_that_chance_left_empty_is_no_difference():
    a = _frame(3)
    a.loc[::2, "height"] = np.nan
    b = _frame(4)[:4]
    b.loc[:, "height"] = np.nan
    finding, left_out, _ = _schema(a, b)
    assert not finding.differs
    assert "can be chance" in finding.summary
    assert left_out == {"height": "no value in the target"}
    b = _frame(4)
    b["height"] = np.nan
    assert _schema(a, b)[0].differs


def test_features_made_from_x_have_no_units():
    X = np.random.default_rng(0).normal(size=(2, 300, 3))
    finding, left_out, _ = _schema(X[0], 30 * X[1], lambda rows: rows[:, :2])
    assert not finding.differs
    assert left_out == {}
    assert _schema(X[0], 30 * X[1])[0].differs


def test_new_category_counts_and_a_rare_one_may_be_chance():
    a, b = _frame(3), _frame(4)
    b.loc[:60, "city"] = "Kyiv"
    diagnosis, changes = _changes(a, b)
    assert diagnosis.feature_space_differs
    assert "'Kyiv'" in changes["categories"]["text"]
    b = _frame(4)
    b.loc[:1, "city"] = "Kyiv"
    diagnosis, changes = _changes(a, b)
    assert not diagnosis.feature_space_differs
    assert "chance" in changes["categories"]["text"]


def test_thousands_of_rare_categories_are_no_alarm():
    rng = np.random.default_rng(3)
    a, b = (pd.DataFrame({"k": rng.integers(0, 10_000, 8000).astype(str)}) for _ in range(2))
    diagnosis = diagnose(a, b, random_state=0, explain=False)
    assert not diagnosis.feature_space_differs
    assert diagnosis.kind == "none"


def test_polars_against_pandas():
    diagnosis, changes = _changes(_frame(3), pl.DataFrame(_frame(4).to_dict("list")))
    assert changes == {}
    assert diagnosis.kind == "none"


def test_dimension_images_and_sparse():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 4))
    diagnosis, changes = _changes(X, X[:, :3])
    assert diagnosis.kind == "undetermined"
    assert "dimension" in changes
    images = rng.integers(0, 255, (80, 16, 16), dtype=np.uint8)
    diagnosis, changes = _changes(images, images[:, :12, :12])
    assert "16 x 16" in changes["image shape"]["text"]
    a, b = (sp.random(200, 300, 0.05, format="csr", random_state=s) for s in (2, 3))
    diagnosis = diagnose(a, b, random_state=0, explain=False)
    assert not diagnosis.feature_space_differs
    assert diagnosis.kind == "none"
    assert any("300 most used of its 300" in note for note in diagnosis.notes)


def test_one_number_in_two_types_is_one_label():
    X = np.random.default_rng(5).normal(size=(200, 2))
    y = np.arange(200) % 2
    assert not diagnose(
        (X, y), (X, y.astype(float)), random_state=0, explain=False
    ).label_space_differs


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ([0, 1], ["0", "1"], "Convert the target's: y = [int(v) for v in y]"),
        ([0, 1], ["0.0", "1.0"], "Convert the target's: y = [float(v) for v in y]"),
        (["0", "1"], [0, 1], "Convert the target's: y = [str(v) for v in y]"),
        (["0.0", "1.0"], [0, 1], "Convert the source's: y = [float(v) for v in y]"),
        ([True, False], ["True", "False"], "Convert the target's: y = [v == 'True' for v in y]"),
        ([0, 1, 2], ["0", "1"], "Convert the target's: y = [int(v) for v in y]"),
    ],
)
def test_the_same_labels_in_other_types(source, target, words):
    X = np.zeros((60, 1))
    sides = [Domain(X, np.resize(np.array(v), 60)) for v in (source, target)]
    finding = compare_label_spaces(read_labels(*sides), "classification", 0.05)
    assert finding.differs
    assert words in finding.summary
    # the advice is right: after it, no label is on one side only but for those it lacked before
    side, code = finding.details["convert"]["side"], finding.details["convert"]["code"]
    given, wanted = (target, source) if side == "target" else (source, target)
    converted = [eval(code, {"v": v}) for v in given]
    assert set(converted) <= set(wanted)


def test_other_labels_in_other_types_are_not_the_same():
    X = np.zeros((60, 1))
    sides = [Domain(X, np.resize(np.array(v), 60)) for v in ([0, 1], ["a", "1"])]
    finding = compare_label_spaces(read_labels(*sides), "classification", 0.05)
    assert "labels are of different types (numbers, text)" in finding.summary
    assert finding.details["convert"] is None


def test_class_that_chance_left_out_is_no_difference():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(200, 2))
    y = np.r_[np.arange(196) % 2, [2, 2, 2, 2]]
    few = Domain(X, np.arange(200) % 2, labelled=np.arange(200) < 12)
    diagnosis = diagnose((X, y), few, random_state=0, explain=False)
    assert not diagnosis.label_space_differs
    assert diagnosis.findings["label_space"].details["one_side_by_chance"] == [2]


def test_a_column_under_another_name_and_in_another_unit_is_the_same():
    b = _frame(4)
    b["v1"] = b.pop("height") / 2.54
    diagnosis, changes = _changes(_frame(3), b)
    assert changes["renamed"]["columns"] == ("height", "v1")
    assert changes["renamed"]["factor"] == pytest.approx(1 / 2.54)
    assert "seem to be the same in another unit (in to cm)" in changes["renamed"]["text"]
    assert "missing" not in changes
    advice = diagnosis.recommend()[0]
    assert advice.method == "SchemaAlignment"
    names = {"source": _frame(3), "target": b}
    with pytest.warns(UserWarning, match="'height' <- 'v1'"):
        exec(advice.code, names)
    moved = names["adapted"].transform(b)["height"]
    np.testing.assert_allclose(moved, b["v1"] * 2.54)
    # another quantity is not taken for it
    b["v1"] = np.random.default_rng(1).exponential(size=len(b)) - 40
    _, changes = _changes(_frame(3), b)
    assert "renamed" not in changes
    assert changes["missing"]["columns"] == ("height",)


def test_arrays_of_different_widths_name_the_columns_that_look_alike():
    columns = ["income", "age", "height"]
    a, b = (_frame(seed)[columns].to_numpy(dtype=float) for seed in (3, 4))
    diagnosis, changes = _changes(a, b[:, [2, 0]])
    assert "dimension" in changes
    found = diagnosis.findings["feature_space"].details["changes"]
    assert [c["columns"] for c in found[1:]] == [("x0", "x1"), ("x2", "x0")]
    assert diagnosis.recommend()[0].method == "SchemaAlignment"


@pytest.mark.parametrize("known", [False, True])
def test_sides_that_share_nothing_are_for_adapters_between_spaces(known):
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    X, Z = rng.normal(size=(300, 6)) + y[:, None], rng.normal(size=(300, 9)) ** 3 - y[:, None]
    target = Domain(Z, y, labelled=np.arange(300) < (40 if known else 0))
    diagnosis = diagnose((X, y), target, random_state=0, explain=False)
    advice = [r for r in diagnosis.recommend() if r.code.startswith("from shiftlab")]
    methods = [r.method for r in advice]
    assert "SchemaAlignment" not in methods
    assert len(methods) == 2
    assert ("SharedEmbedding" in methods) == known
    for r in advice:
        names = {"source": (X, y), "target": target}
        exec(r.code, names)
        assert names["adapted"].source_.n_rows == 300 + target.n_labelled

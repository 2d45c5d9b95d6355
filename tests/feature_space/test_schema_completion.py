"""SchemaAlignment where columns are missing, added, copied or written in other values."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, RidgeCV

from shiftlab import Domain, SchemaAlignment
from shiftlab.feature_space.assignment import soft_assignment
from shiftlab.feature_space.imputation import impute_column
from shiftlab.feature_space.recoding import match_levels
from shiftlab.feature_space.units import choose_conversion, shared_values


def silent_fit(adapter, source, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        return adapter.fit(source, target)


def table(n, seed):
    """debt follows from age, but its noise grows with rate; load follows from nothing."""
    rng = np.random.default_rng(seed)
    age, rate = rng.gamma(2, 1 / np.sqrt(2), size=n), rng.uniform(size=n)
    debt = -2 * age + np.where(rate > 0.5, 2.0, 0.1) * rng.normal(size=n)
    load = 10 * rng.integers(0, 2, n) + rng.normal(size=n)
    return pd.DataFrame({"age": age, "rate": rate, "debt": debt, "load": load})


def test_imputed_values_and_weights_are_what_the_columns_tell():
    source, truth = table(4000, 0), table(1500, 1)
    adapter = SchemaAlignment(missing="impute").fit(source, truth[["age", "rate"]])
    filled = adapter.transform(truth[["age", "rate"]])
    assert list(filled.columns) == list(source.columns)
    assert adapter.source_.X is source
    assert np.mean((filled["debt"] + 2 * truth["age"]) ** 2) < 0.2
    assert np.mean((filled["load"] - 5) ** 2) < 2.0  # the mean is the best guess
    # u_debt is the conditional variance over the variance, 4 + (4 + 0.01) / 2; u_load is one
    variance = source["debt"].var()
    expected = 1 - (np.where(truth["rate"] > 0.5, 4.0, 0.01) / variance + 1) / 4
    assert np.abs(adapter.target_weight_ - expected).mean() < 0.04
    assert [r.how for r in adapter.report_[2:]] == ["missing in the target, imputed"] * 2


def test_a_missing_category_is_imputed_and_its_weight_counts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    source = pd.DataFrame({"x": x, "sign": np.where(x > 0, "plus", "minus")})
    new = rng.normal(size=500)
    adapter = SchemaAlignment(missing="impute").fit(source, pd.DataFrame({"x": new}))
    filled = adapter.transform(pd.DataFrame({"x": new}))
    assert np.mean(filled["sign"] == np.where(new > 0, "plus", "minus")) > 0.99
    assert adapter.target_weight_.mean() > 0.98
    with pytest.raises(ValueError, match="at least 10 known values; got 9"):
        impute_column(np.zeros((9, 1)), np.arange(9.0), np.array([False]))


def test_arrays_of_different_widths_are_matched_by_what_they_hold_and_imputed():
    source, target = table(3000, 0), table(1000, 1)
    order = ["rate", "age"]
    adapter = silent_fit(
        SchemaAlignment(missing="impute"), source.to_numpy(), target[order].to_numpy()
    )
    assert [r.target for r in adapter.report_] == ["1", "0", None, None]
    filled = adapter.transform(target[order].to_numpy())
    np.testing.assert_array_equal(filled[:, :2], target[["age", "rate"]])
    assert np.mean((filled[:, 2] + 2 * target["age"]) ** 2) < 0.2


def test_a_refit_without_a_missing_column_forgets_the_imputation():
    source, target = table(300, 0), table(200, 1)
    adapter = SchemaAlignment(missing="impute").fit(source, target[["age", "rate"]])
    assert adapter.target_weight_ is not None
    adapter.fit(source, target)
    assert adapter.target_weight_ is None
    assert adapter.transform(target).equals(target)


@pytest.mark.parametrize("missing", ["impute", "drop"])
def test_a_column_that_only_the_target_has_is_used_once_labels_are_known(missing):
    rng = np.random.default_rng(0)
    source, target = table(2000, 0)[["age", "rate", "debt"]], table(1000, 1)
    y = {k: (t["age"] + 3 * t.get("load", 0)).to_numpy() for k, t in (("s", source), ("t", target))}
    visible = rng.random(1000) < 0.2
    given = target[["age", "rate", "load"]]
    domain = Domain(given, y["t"], labelled=visible)
    model = SchemaAlignment(LinearRegression(), missing=missing, added="use")
    model.fit((source, y["s"] + 15), domain)  # the mean of 3 d, which the source does not see
    names = ["age", "rate", *(["debt"] if missing == "impute" else []), "load"]
    assert list(model.source_.X.columns) == names
    assert model.source_.n_rows == 2000 + visible.sum()
    n = len(names)
    # d follows from nothing, so that one column of n is unknown in the source's rows
    np.testing.assert_allclose(model.source_.weight[:2000].mean(), 1 - 1 / n, atol=0.06)
    if missing == "drop":
        assert model.target_weight_ is None
        np.testing.assert_array_equal(model.source_.weight[2000:], 1)
    else:
        np.testing.assert_allclose(model.source_.weight[2000:], model.target_weight_[visible])
    hidden = SchemaAlignment(LinearRegression(), missing=missing).fit((source, y["s"] + 15), given)
    errors = [np.mean((m.predict(given) - y["t"]) ** 2) for m in (model, hidden)]
    assert errors[0] < 0.4 * errors[1]
    # without labels there is nothing to learn the column's use from
    plain = SchemaAlignment(missing=missing, added="use").fit(source, given)
    assert "load" not in plain.source_.feature_names
    assert plain.report_[-1].how == "only in the target, left out"


def test_a_source_without_the_added_column_teaches_while_target_labels_are_few():
    rng = np.random.default_rng(0)
    X, load = rng.normal(size=(600, 15)), rng.normal(size=600)
    y = X @ rng.normal(size=15) + load + 0.3 * rng.normal(size=600)
    real, noise = (pd.DataFrame(rows[:400]) for rows in (X, rng.permuted(X, axis=0)))
    given, truth = pd.DataFrame(X[400:]).assign(load=load[400:]), y[400:]
    for table in (real, noise, given):
        table.columns = [f"column {c}" for c in table.columns]

    def used(few, rows, labels):
        target = Domain(given, truth, labelled=np.arange(200) < few)
        model = SchemaAlignment(RidgeCV(), missing="drop", added="use")
        return model.fit((rows, labels), target).score(given, truth)

    def alone(few):
        return RidgeCV().fit(given[:few], truth[:few]).score(given, truth)

    taught = used(10, real, y[:400])
    assert taught > alone(10) + 0.2
    assert taught > used(10, noise, y[:400]) + 0.5
    assert taught > used(10, real, rng.permutation(y[:400])) + 0.5
    assert used(100, real, y[:400]) < alone(100)  # some labels for each column are enough


def test_copies_in_the_target_are_left_out():
    source, target = table(2000, 0), table(1500, 1)
    target["again"] = target["debt"]
    adapter = SchemaAlignment().fit(source, target[["again", "age", "rate", "debt", "load"]])
    assert adapter.report_[-1].how == "only in the target, left out"
    # where no name helps, either copy is right, and one of them is taken
    renamed = target.set_axis(["v0", "v1", "v2", "v3", "v4"], axis=1)
    adapter = silent_fit(SchemaAlignment(), source, renamed)
    assert [r.target for r in adapter.report_[:4]] == ["v0", "v1", "v2", "v3"]
    assert adapter.report_[-1].how == "copy of 'v2', left out"


def people(n, seed):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n, p=[0.6, 0.4])
    return pd.DataFrame({"sex": sex, "height": rng.normal(np.where(sex == "m", 180, 166), 6)})


def test_words_and_codes_are_matched_by_frequency_and_dependence():
    source, target = people(1000, 0), people(800, 1)
    coded = target.assign(sex=np.where(target["sex"] == "f", 2, 1))
    adapter = SchemaAlignment().fit(source, coded)
    assert adapter.report_[0].categories == {1: "m", 2: "f"}
    pd.testing.assert_frame_equal(adapter.transform(coded), target)
    # words that say nothing and equal shares without another column: open, so left as they are
    even = pd.DataFrame({"sex": ["f", "m"] * 300})
    other = pd.DataFrame({"sex": ["x", "y"] * 300})
    left = SchemaAlignment().fit(even, other)
    assert left.report_[0].categories == {}
    assert "new categories" in left.report_[0].note


def test_levels_are_matched_by_the_columns_that_go_with_them():
    rng = np.random.default_rng(0)
    a = rng.choice(["p", "q", "r"], 900)
    mean = {"p": 0.2, "q": 0.5, "r": 0.8}
    ranks = np.clip([mean[v] for v in a] + 0.1 * rng.normal(size=900), 0, 1)[:, None]
    codes, sure = match_levels(a, np.array([{"p": 7, "q": 5, "r": 6}[v] for v in a]), ranks, ranks)
    assert codes == {7: "p", 5: "q", 6: "r"}
    assert sure > 0.95
    assert match_levels(a, np.array([None] * 5), ranks, ranks[:5]) == ({}, 0.0)
    nothing = np.zeros((900, 0))
    even = np.repeat(["p", "q", "r"], 300)
    assert match_levels(even, even, nothing, nothing)[1] < 0.5


def test_few_numbers_are_brought_back_by_a_line_or_one_by_one():
    rng = np.random.default_rng(0)
    grade = rng.choice([1, 2, 3], 1500, p=[0.5, 0.3, 0.2]).astype(float)
    source = pd.DataFrame({"grade": grade, "x": grade + 0.3 * rng.normal(size=1500)})
    half, target = source[:700], source[700:].reset_index(drop=True)
    for new, line in (({1: 10, 2: 20, 3: 30}, True), ({1: 2, 2: 7, 3: 1}, False)):
        renamed = pd.DataFrame({"x": target["x"], "v": target["grade"].map(new)})
        adapter = silent_fit(SchemaAlignment(), half, renamed)
        record = adapter.report_[0]
        assert (record.source, record.target) == ("grade", "v")
        assert (record.factor, record.offset) == ((pytest.approx(0.1), 0.0) if line else (1, 0))
        assert record.categories == ({} if line else {v: k for k, v in new.items()})
        np.testing.assert_allclose(adapter.transform(renamed)["grade"], target["grade"])


def test_a_unit_is_told_by_rounded_values_where_two_factors_fit():
    rng = np.random.default_rng(0)
    source, target = (np.sort(rng.normal(50, 12, n).round(1)) for n in (400, 300))
    assert shared_values(source, target) > 0.5 > 0.1 > shared_values(source, target * 1.01)
    conversion, _ = choose_conversion("x", "x", source, target / 2.54)
    assert conversion.name == "in to cm"
    # pounds would fit as well, were the values not rounded
    smooth = [np.sort(rng.normal(50, 12, n)) for n in (400, 300)]
    with pytest.raises(ValueError, match=r"ambiguous: (in to cm|kg to lb)"):
        choose_conversion("x", "x", smooth[0], smooth[1] / 2.54)


def test_a_unit_behind_many_zeros_is_reported_and_not_guessed():
    rng = np.random.default_rng(0)
    source, target = (
        np.sort(np.where(rng.random(500) < 0.8, 0.0, rng.gamma(2, size=500))) for _ in range(2)
    )
    assert choose_conversion("x", "x", source, target) == (None, "")
    conversion, note = choose_conversion("x", "x", source, 1000 * target)
    assert conversion is None
    ours, theirs = (int((v > 0).sum()) for v in (source, target))
    expected = f"values other than zero differ (distance 1.00 of {ours} and {theirs})"
    assert note.startswith(expected)
    # a flag that is hardly ever set has one value, and that is the same
    flag = np.sort((rng.random(500) < 0.01).astype(float))
    assert choose_conversion("x", "x", flag, flag[1:]) == (None, "")


def test_probabilities_of_an_assignment_are_those_of_all_assignments():
    """Two rows, two columns: enumerate what the mean field stands for."""
    energy = np.array([[0.0, 9.0], [9.0, 0.0]])
    pairs, sure = soft_assignment(energy, 100.0)
    assert pairs == [(0, 0), (1, 1)]
    # nobody stays alone: doubly stochastic, with cross ratio exp(-1.5 (0 + 0 - 9 - 9))
    np.testing.assert_allclose(sure.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(sure.sum(axis=1), 1, atol=1e-6)
    ratio = sure[0, 1] * sure[1, 0] / (sure[0, 0] * sure[1, 1])
    assert ratio == pytest.approx(np.exp(-27), rel=1e-4)
    assert soft_assignment(np.array([[5.0]]), 4.0)[0] == []

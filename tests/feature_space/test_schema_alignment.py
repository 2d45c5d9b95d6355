"""SchemaAlignment on planted renames, orders, units and categories."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from shiftlab import Domain, SchemaAlignment, to_common_images
from shiftlab.feature_space.matching import name_similarity
from shiftlab.feature_space.units import conversion_by_name, ks_distance


def people(n, seed, library=pd):
    rng = np.random.default_rng(seed)
    return library.DataFrame(
        {
            "height_cm": rng.normal(172, 9, n),
            "income": np.exp(rng.normal(10, 0.6, n)),
            "age": rng.integers(18, 90, n),
            "city": rng.choice(["Oslo", "New York", "Rome"], n, p=[0.6, 0.3, 0.1]),
        }
    )


def quiet_fit(source, target, **parameters):
    """Fit; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return SchemaAlignment(**parameters).fit(source, target)


@pytest.mark.parametrize("library", [pd, pl])
def test_same_schema_is_left_alone(library):
    source, target = people(300, 0, library), people(200, 1, library)
    adapter = quiet_fit(source, target)
    assert adapter.source_.X is source
    assert list(adapter.transform(target).columns) == list(target.columns)
    assert adapter.transform(target).equals(target)
    assert {r.how for r in adapter.report_} == {"same name"}


@pytest.mark.parametrize("library", [pd, pl])
def test_order_case_punctuation_units_and_categories_are_undone(library):
    source, truth = people(300, 0, library), people(200, 1, library)
    cities = [{"Oslo": "oslo", "New York": "NEW-YORK"}.get(c, c) for c in truth["city"]]
    target = library.DataFrame(
        {
            "City": cities,
            "AGE ": truth["age"].to_list(),
            "Height (m)": (np.array(truth["height_cm"]) / 100).tolist(),
            "extra": [0.0] * 200,
            "Income": truth["income"].to_list(),
        }
    )
    adapter = quiet_fit(source, target)
    result = adapter.transform(target)
    assert isinstance(result, library.DataFrame)
    assert list(result.columns) == list(truth.columns)
    for name in truth.columns:
        if name == "city":
            assert list(result[name]) == list(truth[name])
        else:
            np.testing.assert_allclose(np.array(result[name]), np.array(truth[name]), rtol=1e-12)
    found = {r.source: r for r in adapter.report_}
    assert found["height_cm"].factor == pytest.approx(100)
    assert found["city"].categories == {"oslo": "Oslo", "NEW-YORK": "New York"}
    assert found[None].target == "extra"
    assert "'height_cm' <- 'Height (m)': same name, other unit" in adapter.summary()
    # new rows go the same way
    np.testing.assert_allclose(
        np.array(adapter.transform(target[:3])["height_cm"]), np.array(truth["height_cm"])[:3]
    )


def test_temperature_has_an_offset():
    rng = np.random.default_rng(0)
    source = pd.DataFrame({"temp_c": rng.normal(15, 8, 500)})
    celsius = rng.normal(15, 8, 400)
    target = pd.DataFrame({"temp (F)": 1.8 * celsius + 32})
    adapter = quiet_fit(source, target)
    np.testing.assert_allclose(adapter.transform(target)["temp_c"], celsius, atol=1e-9)


def test_unknown_names_are_matched_by_distribution_with_a_warning():
    source, truth = people(1000, 0), people(1000, 1)
    target = truth[["income", "city", "age", "height_cm"]].copy()
    target.columns = ["v1", "v2", "v3", "v4"]
    with pytest.warns(UserWarning, match=r"distributions had to decide.*\n.*'v") as caught:
        adapter = SchemaAlignment().fit(source, target)
    assert len(caught) == 1
    assert {r.source: r.target for r in adapter.report_} == {
        "income": "v1",
        "city": "v2",
        "age": "v3",
        "height_cm": "v4",
    }
    pd.testing.assert_frame_equal(adapter.transform(target), truth)


def test_columns_of_noise_are_left_open():
    target = people(1000, 1).set_axis(["v1", "v2", "v3", "v4"], axis=1)
    for seed in range(5):
        noise = pd.DataFrame(np.random.default_rng(seed).normal(size=(1000, 4)), columns=[*"abcd"])
        with pytest.raises(ValueError, match=r"no sure match for .*\['a', 'b', 'c', 'd'\]"):
            SchemaAlignment().fit(noise, target)


def test_abbreviated_names_break_the_tie_that_distributions_leave():
    rng = np.random.default_rng(1)
    source = pd.DataFrame(
        {"first score": rng.normal(size=300), "second score": rng.normal(size=300)}
    )
    target = pd.DataFrame({"sec_score": rng.normal(size=300), "fir_score": rng.normal(size=300)})
    with pytest.warns(UserWarning, match="first score"):
        adapter = SchemaAlignment().fit(source, target)
    assert [r.target for r in adapter.report_] == ["fir_score", "sec_score"]


def test_ambiguous_columns_are_an_error_that_lists_candidates_and_mapping_decides():
    rng = np.random.default_rng(2)
    source = pd.DataFrame(rng.normal(size=(300, 2)), columns=["x", "y"])
    target = pd.DataFrame(rng.normal(size=(300, 2)), columns=["p", "q"])
    with pytest.raises(ValueError, match=r"'x' could be '[pq]' \(0\.\d\d\), '[pq]'.*mapping="):
        SchemaAlignment().fit(source, target)
    adapter = quiet_fit(source, target, mapping={"p": "y", "q": "x"})
    np.testing.assert_array_equal(adapter.transform(target)["x"], target["q"])
    twice = pd.DataFrame(rng.normal(size=(9, 3)), columns=["A b", "a_b", "x"])
    with pytest.raises(ValueError, match=r"'ab' could be '(A b|a_b)' \(0.\d\d\), '(A b|a_b)'"):
        SchemaAlignment().fit(pd.DataFrame(rng.normal(size=(9, 2)), columns=["ab", "x"]), twice)


def test_missing_columns_are_listed_or_dropped():
    source, target = people(100, 0), people(80, 1).drop(columns=["age", "city"])
    with pytest.raises(ValueError, match=r"no sure match.*\['age', 'city'\].*missing=\"drop\""):
        SchemaAlignment().fit(source, target)
    adapter = quiet_fit((source, np.arange(100)), target, missing="drop")
    assert adapter.source_.feature_names == ("height_cm", "income")
    assert adapter.source_.n_labelled == 100
    with pytest.raises(ValueError, match="shares no column"):
        SchemaAlignment(missing="drop").fit(source[["city"]], pd.DataFrame({"z": np.arange(10.0)}))


def test_units_by_distribution_only_where_it_is_clear():
    rng = np.random.default_rng(3)
    source = pd.DataFrame({"length": rng.normal(50, 8, 500)})
    for factor, converted in ((1000.0, True), (1 / 2.54, True), (7.0, False), (1.3, False)):
        target = pd.DataFrame({"length": factor * rng.normal(50, 8, 500)})
        if converted:
            with pytest.warns(UserWarning, match="unit found by distribution"):
                adapter = SchemaAlignment().fit(source, target)
            assert adapter.report_[0].factor == pytest.approx(1 / factor)
        else:
            adapter = quiet_fit(source, target)
            assert adapter.report_[0].factor == 1.0
            assert "distributions differ" in adapter.report_[0].note
        kept = quiet_fit(source, target, units="keep")
        assert kept.transform(target).equals(target)
    given = quiet_fit(source, target, units={"length": 0.5})
    np.testing.assert_allclose(given.transform(target)["length"], target["length"] / 2)


def test_factors_are_numbers_for_columns_of_numbers_and_these_stay_numbers():
    frame = pd.DataFrame({"length": [1.0, 2.0, 3.0], "sex": ["f", "m", "f"]})
    for factor in (0, np.nan, np.inf, "x", None):
        with pytest.raises(ValueError, match=r"units\['length'\] must be a finite factor"):
            SchemaAlignment(units={"length": factor}).fit(frame, frame)
    with pytest.raises(ValueError, match="units names 'sex', which holds text in the target"):
        SchemaAlignment(units={"sex": 2.0}).fit(frame, frame)
    with pytest.raises(ValueError, match="column 'length' holds text, but held numbers"):
        SchemaAlignment().fit(frame, frame).transform(frame.assign(length="long"))


def test_a_moderate_shift_is_never_taken_for_a_unit():
    rng = np.random.default_rng(4)
    for seed in range(20):
        shift, scale = np.random.default_rng(seed).uniform([-1, 0.5], [1, 2])
        source, target = rng.normal(size=(400, 3)), shift + scale * rng.normal(size=(300, 3))
        adapter = quiet_fit(source, target)
        assert adapter.transform(target) is target


def test_names_that_contradict_the_values_are_an_error():
    rng = np.random.default_rng(5)
    source = pd.DataFrame({"width_cm": rng.normal(50, 5, 300)})
    target = pd.DataFrame({"width_cm": rng.normal(50, 5, 300)}).rename(
        columns={"width_cm": "width_mm"}
    )
    with pytest.raises(ValueError, match=r"mm to cm, but the values agree better without.*units="):
        SchemaAlignment(mapping={"width_mm": "width_cm"}).fit(source, target)


def test_arrays_go_by_position_or_by_their_names():
    rng = np.random.default_rng(6)
    source = rng.normal([10.0, 50.0], [1.0, 5.0], size=(400, 2))
    target = rng.normal([10.0, 50.0], [1.0, 5.0], size=(300, 2)) * [1.0, 1000.0]
    with pytest.warns(UserWarning, match="times 0.001"):
        adapter = SchemaAlignment().fit(source, target)
    np.testing.assert_allclose(adapter.transform(target), target / [1, 1000])
    assert adapter.transform(target.astype(np.float32)).dtype == np.float32
    named = Domain(source, feature_names=["a", "b"])
    swapped = Domain(target[:, ::-1] / [1000, 1], feature_names=["B", "A"])
    adapter = quiet_fit(named, swapped)
    np.testing.assert_allclose(adapter.transform(swapped), swapped.X[:, ::-1])
    with pytest.raises(ValueError, match=r"shares no column"):
        SchemaAlignment().fit(source, np.ones((5, 3)))


def test_estimator_predicts_target_rows_under_their_own_schema():
    source, target = people(500, 0)[["height_cm", "age"]], people(400, 1)[["age", "height_cm"]]
    renamed = pd.DataFrame({"Age": target["age"], "height (in)": target["height_cm"] / 2.54})
    y = source["height_cm"] - source["age"]
    model = quiet_fit((source, y.to_numpy()), renamed, estimator=LinearRegression())
    np.testing.assert_allclose(model.predict(renamed), target["height_cm"] - target["age"])


def test_kinds_that_do_not_match_are_named():
    with pytest.raises(ValueError, match=r"'a' of the source holds numbers, but 'a'.*text"):
        SchemaAlignment().fit(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": ["x", "y"]}))
    with pytest.raises(ValueError, match="source is a data frame but the target is an array"):
        SchemaAlignment().fit(pd.DataFrame({"a": [1.0]}), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"mapping names \['b'\], which the target has not"):
        SchemaAlignment(mapping={"b": "a"}).fit(
            pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [1.0]})
        )
    with pytest.raises(ValueError, match=r"'A ' of column 'a' could be any of \['A', 'a'\]"):
        SchemaAlignment().fit(
            pd.DataFrame({"a": ["A", "a", "b"]}), pd.DataFrame({"a": ["A ", "b", "b"]})
        )


def test_missing_values_pass_through():
    source, target = people(100, 0), people(80, 1)
    target.loc[3, "income"] = np.nan
    target.loc[4, "city"] = None
    result = quiet_fit(source, target).transform(target)
    assert result["income"].isna().sum() == 1
    assert result["city"].isna().sum() == 1


@pytest.mark.parametrize(
    ("source", "target", "factor", "offset"),
    [
        ("w_kg", "w (lb)", 0.45359237, 0.0),
        ("dist km", "Dist_miles", 1.609344, 0.0),
        ("t_hours", "t_min", 1 / 60, 0.0),
        ("x_pct", "x_fraction", 100.0, 0.0),
        ("temp_K", "temp_C", 1.0, 273.15),
    ],
)
def test_unit_table(source, target, factor, offset):
    conversion = conversion_by_name(source, target)
    assert conversion.factor == pytest.approx(factor, rel=1e-12)
    assert conversion.offset == pytest.approx(offset)


def test_no_unit_where_dimensions_differ_or_one_word_is_all():
    assert conversion_by_name("rate_kg", "rate_cm") is None
    assert conversion_by_name("m", "cm") is None


def test_ks_distance_against_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(7)
    a, b = np.sort(rng.integers(0, 9, 50)), np.sort(rng.integers(2, 12, 70))
    assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic)


def test_names_are_compared_by_words():
    assert name_similarity("height", "weight") == 0
    assert name_similarity("Sepal Length (cm)", "sepal_len") == 1
    assert name_similarity("petal length", "sepal length") == 0.5


def test_vitamins_are_not_temperatures():
    rng = np.random.default_rng(8)
    source = pd.DataFrame({"vitamin_c": rng.gamma(3, 20, 300), "age": rng.normal(50, 9, 300)})
    target = pd.DataFrame({"vitamin_k": rng.normal(1e3, 5, 300), "age": rng.normal(50, 9, 300)})
    with pytest.raises(ValueError, match=r"no sure match.*\['vitamin_c'\]"):
        SchemaAlignment().fit(source, target)


def test_against_a_target_with_other_columns():
    source, target = people(200, 0)[["height_cm", "age"]], people(100, 1)[["height_cm", "age"]]
    renamed = target.rename(columns={"age": "AGE"})[["AGE", "height_cm"]]
    y = (source["age"] - source["height_cm"]).to_numpy()
    model = SchemaAlignment(LinearRegression()).against(renamed).fit(source, y)
    np.testing.assert_allclose(model.predict(renamed), target["age"] - target["height_cm"])


def test_images_get_the_size_and_channels_of_the_source():
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    colour = rng.integers(0, 256, (5, 12, 10, 3), dtype=np.uint8)
    for source, target in ((gray, colour), (colour, gray), (gray[..., None], colour)):
        adapter = SchemaAlignment().fit((source, np.arange(len(source)) % 2), target)
        channels = source.shape[3] if source.ndim == 4 else 1
        expected = to_common_images(target, source.shape[1:3], channels)
        np.testing.assert_array_equal(
            adapter.transform(target), expected.reshape(len(target), *source.shape[1:])
        )
        assert "resized" in adapter.summary()
    assert SchemaAlignment().fit(gray, gray[::-1]).report_ == []
    with pytest.raises(ValueError, match="the source holds images but the target columns"):
        SchemaAlignment().fit(gray, np.ones((4, 64)))


@pytest.mark.parametrize(
    ("values", "said"),
    [([[1, 2]] * 60, "type list"), ([1j] * 60, "complex"), ([10**400] * 60, "beyond floats")],
)
def test_a_column_that_cannot_be_matched_is_named(values, said):
    frame = pd.DataFrame({"a": np.arange(60.0), "k": pd.Series(values, dtype=object)})
    with pytest.raises(ValueError, match=rf"column 'k' holds .*{said}"):
        SchemaAlignment().fit(frame, frame.rename(columns={"k": "zzz"}))

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shiftlab import (
    CORAL,
    ClassifierWeighting,
    Domain,
    Pipeline,
    PriorCorrection,
    Resample,
    Transform,
    make_pipeline,
)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 100)
    X = rng.normal(size=(200, 3)) + 2 * y[:, None]
    y_target = np.tile([0, 1, 1, 1], 50)
    X_target = 3 * (rng.normal(size=(200, 3)) + 2 * y_target[:, None]) + 1
    return Domain(X, y), Domain(X_target, y_target)


@pytest.mark.parametrize("on", ["source", "target", "both", "each"])
def test_transform_is_fitted_where_it_is_told(pair, on):
    source, target = pair
    step = Transform(StandardScaler(), on=on).fit(source, target)
    fits = {
        "source": (source.X, source.X),
        "target": (target.X, target.X),
        "both": (np.vstack([source.X, target.X]),) * 2,
        "each": (source.X, target.X),
    }[on]
    assert_allclose(step.source_.X, StandardScaler().fit(fits[0]).transform(source.X))
    assert_allclose(step.transform(target.X), StandardScaler().fit(fits[1]).transform(target.X))


def test_transform_that_needs_labels_gets_the_sources(pair):
    source, target = pair
    step = Transform(SelectKBest(k=2)).fit(source, target)
    assert_array_equal(
        step.transform(target.X), SelectKBest(k=2).fit(*(source.X, source.y)).transform(target.X)
    )


def test_transform_uses_the_weights(pair):
    source, target = pair
    weight = np.where(source.y == 0, 5.0, 1.0)
    step = Transform(StandardScaler()).fit(source.with_(weight=weight), target)
    assert_allclose(step.source_transformer_.mean_, np.average(source.X, axis=0, weights=weight))


def test_steps_by_hand_give_the_same(pair):
    source, target = pair
    pipeline = make_pipeline(StandardScaler(), CORAL(), LogisticRegression()).fit(source, target)
    scaler = StandardScaler().fit(source.X)
    coral = CORAL().fit(scaler.transform(source.X), scaler.transform(target.X))
    model = LogisticRegression().fit(coral.source_.X, source.y)
    rows = coral.transform(scaler.transform(target.X))
    assert_allclose(pipeline.predict_proba(target.X), model.predict_proba(rows))
    assert_allclose(pipeline.transform(target.X), rows)
    assert_allclose(pipeline.source_.X, coral.source_.X)
    assert pipeline.score(target.X, target.y) == model.score(rows, target.y)
    assert_allclose(pipeline.decision_function(target.X), model.decision_function(rows))


def test_weights_reach_the_final_estimator(pair):
    source, target = pair
    pipeline = make_pipeline(ClassifierWeighting(random_state=0), LogisticRegression())
    pipeline.fit(source, target)
    weighting = ClassifierWeighting(random_state=0).fit(source, target)
    model = LogisticRegression().fit(source.X, source.y, sample_weight=weighting.weights_)
    assert_array_equal(pipeline.predict_proba(target.X), model.predict_proba(target.X))


def test_an_estimator_without_weights_gets_one_error_with_two_ways_out(pair):
    source, target = pair
    pipeline = make_pipeline(ClassifierWeighting(random_state=0), KNeighborsClassifier())
    with pytest.raises(ValueError, match=r"takes no sample_weight.*LogisticRegression.*Resample"):
        pipeline.fit(source, target)
    way_out = make_pipeline(
        ClassifierWeighting(random_state=0),
        Resample("weights", random_state=0),
        KNeighborsClassifier(),
    ).fit(source, target)
    assert way_out.source_.weight is None
    assert way_out.predict(target.X).shape == (200,)


def test_resampled_rows_reach_the_final_estimator():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [150, 10])
    X = rng.normal(size=(160, 2)) + y[:, None]
    sampler = RandomOverSampler(random_state=0)
    pipeline = make_pipeline(StandardScaler(), sampler, LogisticRegression()).fit((X, y), X)
    assert np.bincount(pipeline.source_.y).tolist() == [150, 150]
    scaled = StandardScaler().fit_transform(X)
    expected = LogisticRegression().fit(*RandomOverSampler(random_state=0).fit_resample(scaled, y))
    assert_allclose(pipeline.predict_proba(X), expected.predict_proba(scaled))


def test_prior_correction_is_a_last_step(pair):
    source, target = pair
    pipeline = make_pipeline(
        Transform(StandardScaler(), on="each"),
        CORAL(),
        ClassifierWeighting(random_state=0),
        Resample("weights", random_state=0),
        PriorCorrection(LogisticRegression()),
    ).fit(source, target)
    assert pipeline["priorcorrection"].prior_.shape == (2,)
    assert pipeline.classes_.tolist() == [0, 1]
    assert_allclose(pipeline.predict_proba(target.X).sum(axis=1), 1)


def test_frames_with_text_and_missing_values_go_through_encoders():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=60), "city": rng.choice(["Ulm", "Rom"], size=60)})
    frame.loc[3, "age"] = np.nan
    y = np.tile(["no", "yes"], 30)
    encode = make_column_transformer(
        (SimpleImputer(), ["age"]), (OneHotEncoder(sparse_output=False), ["city"])
    )
    pipeline = make_pipeline(encode, CORAL(), LogisticRegression()).fit((frame, y), frame)
    assert set(pipeline.predict(frame)) <= {"no", "yes"}
    assert list(pipeline.feature_names_in_) == ["age", "city"]


def test_hidden_labels_do_not_pass_through_a_pipeline(pair):
    source, target = pair

    def fitted(y):
        return make_pipeline(
            StandardScaler(), CORAL(), ClassifierWeighting(random_state=0), LogisticRegression()
        ).fit(source, target.with_(y=y, labelled=np.arange(200) < 20))

    shuffled = target.y.copy()
    shuffled[20:] = np.random.default_rng(1).permutation(shuffled[20:])
    assert (shuffled != target.y).any()
    assert_array_equal(
        fitted(target.y).predict_proba(target.X), fitted(shuffled).predict_proba(target.X)
    )


def test_a_pipeline_without_an_estimator_transforms(pair):
    source, target = pair
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(source, target)
    assert pipeline.transform(target.X).shape == (200, 2)
    assert not hasattr(pipeline, "predict")
    with pytest.raises(AttributeError, match="predict") as raised:
        _ = pipeline.predict
    assert "end a pipeline with one" in str(raised.value.__cause__)


def test_parameters_clone_and_pickle(pair):
    source, target = pair
    pipeline = make_pipeline(StandardScaler(), CORAL(), LogisticRegression(C=0.5))
    assert pipeline.get_params()["logisticregression__C"] == 0.5
    pipeline.set_params(logisticregression__C=2.0, standardscaler="passthrough")
    pipeline.set_params(standardscaler=StandardScaler(with_mean=False))
    copied = clone(pipeline)
    assert copied["logisticregression"].C == 2.0
    assert not copied["standardscaler"].with_mean
    copied.fit(source, target)
    assert not hasattr(pipeline["logisticregression"], "coef_"), "steps themselves stay unfitted"
    assert copied["logisticregression"].coef_.shape == (1, 3)
    assert copied[1].source_ is not None
    assert len(copied) == 3
    again = pickle.loads(pickle.dumps(copied))
    assert_array_equal(again.predict_proba(target.X), copied.predict_proba(target.X))


@pytest.mark.parametrize("off", ["passthrough", None])
def test_a_step_can_be_switched_off(pair, off):
    source, target = pair
    pipeline = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    pipeline.set_params(standardscaler=off).fit(source, target)
    plain = make_pipeline(CORAL(), LogisticRegression()).fit(source, target)
    assert_array_equal(pipeline.predict_proba(target.X), plain.predict_proba(target.X))
    assert pipeline["standardscaler"] is off or pipeline["standardscaler"] == off


def test_kind_of_the_estimator_is_seen():
    assert is_classifier(make_pipeline(CORAL(), LogisticRegression()))
    assert is_regressor(make_pipeline(CORAL(), Ridge()))
    assert is_regressor(CORAL(Ridge()))


def test_regression(pair):
    source, target = pair
    y = source.X @ [1.0, 2.0, 3.0]
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=1e-8)).fit((source.X, y), target)
    assert pipeline.score(target.X, target.X @ [1.0, 2.0, 3.0]) > 0.999


def test_repeated_steps_get_numbers():
    names = [name for name, _ in make_pipeline(PCA(3), PCA(2), LogisticRegression()).steps]
    assert names == ["pca-1", "pca-2", "logisticregression"]


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([], ValueError, "steps is empty"),
        ([("a", CORAL(Ridge())), ("b", Ridge())], ValueError, "not the last step"),
        ([("a", Ridge()), ("b", Ridge())], TypeError, "step 'a' is"),
        ([("a", 3), ("b", Ridge())], TypeError, "step 'a' is 3"),
        ([("a", PCA()), ("a", Ridge())], ValueError, "not unique"),
    ],
)
def test_bad_steps(pair, steps, error, message):
    with pytest.raises(error, match=message):
        Pipeline(steps).fit(*pair)

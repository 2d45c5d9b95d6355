"""Resample: imposed priors, weights, origins and kinds of rows."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer

from shiftlab import ClassifierWeighting, Domain, PriorCorrection, Resample, make_pipeline
from shiftlab.conditional.samplers import class_counts
from shiftlab.validation import flatten_images


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], [100, 40, 20])
    return rng.normal(size=(160, 3)) + np.repeat([[0.0], [1.0], [2.0]], [100, 40, 20], axis=0), y


PRIOR = {"a": 0.2, "b": 0.5, "c": 0.3}


@pytest.mark.parametrize("sampler", ["over", "under", "smote", "NearMiss", "BorderlineSMOTE"])
def test_prior_is_imposed(source, sampler):
    adapter = Resample(sampler, target_prior=PRIOR, random_state=0).fit(source, source[0])
    np.testing.assert_allclose(adapter.prior_, [0.2, 0.5, 0.3], atol=0.02)
    np.testing.assert_allclose(adapter.source_prior_, [0.625, 0.25, 0.125])
    labels, counts = np.unique(adapter.source_.y, return_counts=True)
    np.testing.assert_allclose(counts / counts.sum(), adapter.prior_)
    np.testing.assert_array_equal(labels, adapter.resampled_classes_)
    if sampler in ("over", "smote"):  # the fewest additions: the most overrepresented class stays
        assert counts.tolist() == [100, 250, 150]
    if sampler == "under":
        assert counts.tolist() == [13, 33, 20]


@pytest.mark.parametrize("sampler", ["over", "under", "smote"])
def test_balanced(source, sampler):
    adapter = Resample(sampler, target_prior="balanced", random_state=0).fit(source, source[0])
    np.testing.assert_allclose(adapter.prior_, 1 / 3)


def test_counts_are_extremal():
    """No smaller (larger) total gives the prior by adding (removing) rows only."""
    counts, prior = np.array([30, 50, 20]), np.array([0.5, 0.25, 0.25])
    over = class_counts(counts, prior, "over-sampling")
    under = class_counts(counts, prior, "under-sampling")
    assert (over >= counts).all()
    assert (over == counts).any()
    assert (under <= counts).all()
    assert (under == counts).any()
    np.testing.assert_allclose(over / over.sum(), prior, atol=0.01)
    np.testing.assert_allclose(under / under.sum(), prior, atol=0.02)


def test_estimated_prior_is_the_targets(source):
    rng = np.random.default_rng(1)
    sizes = [50, 500, 200]
    target = rng.normal(size=(750, 3)) + np.repeat([[0.0], [1.0], [2.0]], sizes, axis=0)
    adapter = Resample("under", target_prior="estimated", random_state=0).fit(source, target)
    np.testing.assert_allclose(adapter.prior_, np.array(sizes) / 750, atol=0.12)


def test_copies_are_copies_and_origin_says_of_what(source):
    X, y = source
    for sampler in ("over", "under", "smote", "smotetomek", "nearmiss", ADASYN()):
        adapter = Resample(sampler, random_state=0).fit(source, X)
        copy = adapter.origin_ >= 0
        np.testing.assert_array_equal(adapter.source_.X[copy], X[adapter.origin_[copy]])
        np.testing.assert_array_equal(adapter.source_.y[copy], y[adapter.origin_[copy]])
        assert (~copy).any() == (sampler not in ("over", "under", "nearmiss"))


def test_share_zero_drops_a_class(source):
    prior = {"a": 0.5, "b": 0.5, "c": 0.0}
    adapter = Resample("under", target_prior=prior, random_state=0).fit(source, source[0])
    np.testing.assert_allclose(adapter.prior_, [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(source[1][adapter.origin_], adapter.source_.y)
    with pytest.raises(ValueError, match="oversampling cannot give a class the share 0"):
        Resample("over", target_prior=prior).fit(source, source[0])


def test_weights_are_carried(source):
    X, y = source
    weight = np.random.default_rng(2).gamma(1.0, size=160) * np.where(y == "a", 5, 1)
    for sampler in ("over", "smote"):
        adapter = Resample(sampler, target_prior=PRIOR, random_state=0)
        adapter.fit(Domain(X, y, weight=weight), X)
        result = adapter.source_
        share = weight[y == "a"].sum() / weight.sum()
        assert adapter.source_prior_[0] == pytest.approx(share)
        np.testing.assert_allclose(adapter.prior_, [0.2, 0.5, 0.3], atol=1e-9)
        for label in "abc":
            inside = result.y == label
            assert result.weight[inside].mean() == pytest.approx(1.0)
            copies = inside & (adapter.origin_ >= 0)
            ratio = result.weight[copies] / weight[adapter.origin_[copies]]
            np.testing.assert_allclose(ratio, ratio[0])
    cleaned = Resample("tomeklinks").fit(Domain(X, y, weight=weight), X)
    np.testing.assert_array_equal(cleaned.source_.weight, weight[cleaned.origin_])


def test_drawing_by_weight(source):
    X, y = source
    weight = np.where(y == "c", 8.0, 1.0)
    draws = np.concatenate(
        [
            Resample("weights", random_state=s).fit(Domain(X, y, weight=weight), X).origin_
            for s in range(50)
        ]
    )
    expected = weight / weight.sum()
    np.testing.assert_allclose((y[draws] == "c").mean(), expected[y == "c"].sum(), atol=0.02)
    adapter = Resample("weights", target_prior=PRIOR, random_state=0)
    adapter.fit(Domain(X, y, weight=weight), X)
    assert adapter.source_.weight is None
    np.testing.assert_allclose(adapter.prior_, [0.2, 0.5, 0.3], atol=0.1)


def test_drawing_by_weight_serves_estimators_without_weights(source):
    rng = np.random.default_rng(3)
    target = rng.normal(size=(100, 3)) + 1
    steps = ClassifierWeighting(random_state=0), KNeighborsClassifier()
    with pytest.raises(ValueError, match=r"Resample\('weights'\)"):
        make_pipeline(*steps).fit(source, target)
    model = make_pipeline(steps[0], Resample("weights", random_state=0), steps[1])
    assert set(model.fit(source, target).predict(target)) <= {"a", "b", "c"}


def test_own_strategy_of_a_sampler_is_kept_and_the_sampler_left_alone(source):
    sampler = RandomOverSampler(sampling_strategy={"c": 60})
    adapter = Resample(sampler, random_state=0).fit(source, source[0])
    assert np.bincount(np.searchsorted(["a", "b", "c"], adapter.source_.y)).tolist() == [
        100,
        40,
        60,
    ]
    assert sampler.random_state is None
    assert not hasattr(sampler, "sample_indices_")


def test_random_state_reaches_the_sampler(source):
    def rows(sampler, seed):
        return Resample(sampler, random_state=seed).fit(source, source[0]).source_.X

    for sampler in ("smote", SMOTEENN(smote=SMOTE())):
        np.testing.assert_array_equal(rows(sampler, 0), rows(sampler, 0))
        assert rows("smote", 0).tolist() != rows("smote", 1).tolist()
    fixed = SMOTE(random_state=5)
    np.testing.assert_array_equal(rows(fixed, 0), rows(fixed, 1))


def test_too_few_rows_for_smote():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(30, 2)), np.repeat(["many", "few"], [27, 3])
    pattern = r"class 'few' has 3 row.*k_neighbors=5.*at least 6.*k_neighbors=2.*'over'"
    for sampler in ("smote", "smotetomek", "svmsmote", SMOTEENN(smote=SMOTE())):
        with pytest.raises(ValueError, match=pattern):
            Resample(sampler).fit((X, y), X)
    assert Resample(SMOTE(k_neighbors=2)).fit((X, y), X).source_.n_rows == 54


def test_bad_input_is_named(source):
    X = source[0]
    with pytest.raises(ValueError, match="sampler='smot' is no sampler"):
        Resample("smot").fit(source, X)
    with pytest.raises(ValueError, match=r"it lacks \['c'\] and has \['d'\]"):
        Resample("over", target_prior={"a": 0.5, "b": 0.2, "d": 0.3}).fit(source, X)
    with pytest.raises(ValueError, match="sum to 1"):
        Resample("over", target_prior={"a": 0.5, "b": 0.2, "c": 0.2}).fit(source, X)
    with pytest.raises(ValueError, match="TomekLinks decides by itself"):
        Resample("tomeklinks", target_prior="balanced").fit(source, X)
    with pytest.raises(ValueError, match="at least 2 classes; got 1 class"):
        Resample("over").fit((X, np.zeros(160)), X)


def test_unlabelled_rows_are_dropped(source):
    X, y = source
    known = np.arange(160) % 2 == 0
    adapter = Resample("over", random_state=0).fit(Domain(X, y, labelled=known), X)
    assert adapter.source_.n_labelled == adapter.source_.n_rows == 150


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_stay_frames(source, library):
    X, y = source
    rng = np.random.default_rng(5)
    numbers = {"u": X[:, 0], "v": X[:, 1], "n": rng.integers(0, 9, size=160)}
    frame = library.DataFrame(numbers)
    plain = Resample("smote", random_state=0).fit((np.column_stack(list(numbers.values())), y), X)
    adapter = Resample("smote", random_state=0).fit((frame, y), frame)
    assert isinstance(adapter.source_.X, library.DataFrame)
    np.testing.assert_allclose(adapter.source_.X.to_numpy(), plain.source_.X)
    mixed = library.DataFrame({**numbers, "colour": rng.choice(["red", "blue"], size=160)})
    copied = Resample("over", random_state=0).fit((mixed, y), mixed)
    assert isinstance(copied.source_.X, library.DataFrame)
    assert copied.source_.n_rows == 300
    made = Resample("smotenc", random_state=0).fit((mixed, y), mixed).source_
    assert isinstance(made.X, library.DataFrame)
    assert made.feature_names == ("u", "v", "n", "colour")
    assert set(made.X["colour"].to_list() if library is pl else made.X["colour"]) == {"red", "blue"}
    assert made.X["colour"].dtype == mixed["colour"].dtype
    assert made.n_rows == 300
    with pytest.raises(ValueError, match="columns 'colour'"):
        Resample("smote").fit((mixed, y), mixed)
    with pytest.raises(ValueError, match=r"0 categorical of 3\. Use SMOTE"):
        Resample("smotenc").fit((frame, y), frame)


def test_sparse_stays(source):
    X, y = source
    made = Resample("smote", random_state=0).fit((sp.csr_matrix(X), y), sp.csr_matrix(X)).source_
    assert made.is_sparse
    dense = Resample("smote", random_state=0).fit((X, y), X).source_.X
    np.testing.assert_allclose(made.X.toarray(), dense, atol=1e-12)


IMAGES = np.random.default_rng(6).integers(0, 256, size=(160, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("sampler", ["over", "under", "weights", "nearmiss", "tomeklinks"])
def test_images_are_copied_and_removed(source, sampler):
    prior = None if sampler == "tomeklinks" else "balanced"
    adapter = Resample(sampler, target_prior=prior, random_state=0).fit((IMAGES, source[1]), IMAGES)
    assert adapter.source_.is_image
    np.testing.assert_array_equal(adapter.source_.X, IMAGES[adapter.origin_])
    if sampler in ("over", "under", "nearmiss"):
        np.testing.assert_allclose(adapter.prior_, 1 / 3)


@pytest.mark.parametrize(
    "sampler",
    ["smote", "adasyn", "smotetomek", "clustercentroids", RandomOverSampler(shrinkage=1.0)],
)
def test_images_are_not_made_up(source, sampler):
    with pytest.raises(ValueError, match="Resample features: make_pipeline"):
        Resample(sampler, random_state=0).fit((IMAGES, source[1]), IMAGES)


def bars(y, seed):
    """Noisy images with a bright bar whose row is the class, 6 x 6."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (len(y), 6, 6), dtype=np.uint8)
    images[np.arange(len(y)), 2 * y] += rng.integers(60, 140, (len(y), 1), dtype=np.uint8)
    return images


def test_copies_of_images_inside_a_correction():
    y = np.repeat([0, 1, 2], [60, 30, 12])
    images, target = bars(y, 2), bars(np.repeat([0, 1, 2], 40), 3)
    balanced = Resample("over", LogisticRegression(max_iter=1000), random_state=0)
    rows = [flatten_images(X) for X in (images, target)]
    model = PriorCorrection(balanced, random_state=0)
    np.testing.assert_allclose(
        model.fit((images, y), target).predict_proba(target),
        model.fit((rows[0], y), rows[1]).predict_proba(rows[1]),
        atol=2e-3,  # float32 in one, float64 in the other
    )


@pytest.mark.parametrize("features", ["means of rows", "network"])
def test_images_are_resampled_in_feature_space(features):
    """Made-up rows lie between features of two rows of their class; the shares are as asked."""
    y = np.repeat([0, 1, 2], [60, 30, 12])
    images, target = bars(y, 0), bars(np.repeat([0, 1, 2], 40), 1)
    if features == "network":
        deep = pytest.importorskip("shiftlab.deep")
        step = deep.train_classifier(images, y, epochs=8, device="cpu", random_state=0)
    else:
        step = FunctionTransformer(lambda X: X.reshape(len(X), 6, 6).mean(axis=2))
    wanted = {0: 0.4, 1: 0.25, 2: 0.35}
    resample = Resample("smote", target_prior=wanted, random_state=0)
    model = make_pipeline(step, resample, LogisticRegression(max_iter=1000))
    model.fit((images, y), target)
    flat = images if features == "network" else flatten_images(images)
    rows, made = step.transform(flat), model.source_
    shares = np.bincount(made.y) / len(made.y)
    np.testing.assert_allclose(shares, [0.4, 0.25, 0.35], atol=0.01)
    origin = model["resample"].origin_
    np.testing.assert_array_equal(made.X[origin >= 0], rows[origin[origin >= 0]])
    assert (origin < 0).sum() > 20
    for x, label in zip(made.X[origin < 0], made.y[origin < 0], strict=True):
        own = rows[y == label]
        # On a segment, the two distances to its ends sum to its length.
        to = np.linalg.norm(own - x, axis=1)
        gaps = to[:, None] + to - np.linalg.norm(own[:, None] - own, axis=2)
        np.fill_diagonal(gaps, np.inf)
        assert gaps.min() < 1e-3 * to.max()
    assert model.score(target, np.repeat([0, 1, 2], 40)) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether the prior is refused is not the question
        corrected = PriorCorrection(model, random_state=0).fit((images, y), target)
    assert corrected.predict_proba(target).shape == (120, 3)


@pytest.mark.parametrize("labels", [[-1, 1], [False, True], [0.0, 1.0], ["x", "y"]])
def test_labels_of_any_type(labels):
    rng = np.random.default_rng(7)
    y = np.array(labels)[np.repeat([0, 1], [40, 10])]
    X = rng.normal(size=(50, 2)) + np.repeat([[0.0], [3.0]], [40, 10], axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Resample("over", LogisticRegression(), target_prior="balanced", random_state=0)
        model.fit((X, y), X)
    assert model.source_.y.dtype == y.dtype
    assert model.score(X, y) > 0.9

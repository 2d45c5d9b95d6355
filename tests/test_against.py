import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline as make_sklearn_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from shiftlab import (
    CORAL,
    ClassifierWeighting,
    Domain,
    PriorCorrection,
    Resample,
    make_pipeline,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.tile(["no", "yes"], 100)
    X = rng.normal(size=(200, 3)) + 1.5 * (y == "yes")[:, None]
    return X, y, 10 + 4 * X[::-1]


def inside(target):
    """A scaler inside, so that the target goes through the same steps."""
    return make_pipeline(StandardScaler(), CORAL(), LogisticRegression()).against(target)


def test_it_is_the_adapter_with_the_target_bound(data):
    X, y, target = data
    bound = inside(target).fit(X, y)
    free = make_pipeline(StandardScaler(), CORAL(), LogisticRegression()).fit((X, y), target)
    assert_array_equal(bound.predict_proba(target), free.predict_proba(target))
    assert bound.classes_.tolist() == ["no", "yes"]
    assert bound.score(target, y[::-1]) == free.score(target, y[::-1])


def test_none_adapts_to_the_training_rows(data):
    X, y, _ = data
    model = ClassifierWeighting(LogisticRegression(), random_state=0).against(None).fit(X, y)
    assert_allclose(model.adapter_.weights_, 1, atol=0.6)


def test_grid_search_reaches_the_steps_inside(data):
    X, y, target = data
    grid = {"adapter__logisticregression__C": [1e-3, 1.0], "adapter__coral__shrinkage": [0.0, 0.5]}
    search = GridSearchCV(inside(target), grid, cv=3).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert (
        search.best_estimator_.adapter_["coral"].shrinkage
        == search.best_params_["adapter__coral__shrinkage"]
    )


def test_cross_validation_stacking_and_calibration(data):
    X, y, target = data
    scores = cross_val_score(inside(target), X, y, cv=4)
    assert scores.shape == (4,)
    assert (scores > 0.5).all()
    stack = StackingClassifier(
        [("adapted", inside(target)), ("tree", DecisionTreeClassifier(max_depth=2))]
    ).fit(X, y)
    assert stack.score(X, y) > 0.7
    calibrated = CalibratedClassifierCV(inside(target), cv=3).fit(X, y)
    assert_allclose(calibrated.predict_proba(target).sum(axis=1), 1)


def test_inside_scikit_learns_own_pipeline(data):
    X, y, target = data
    outer = make_sklearn_pipeline(FunctionTransformer(), inside(target)).fit(X, y)
    assert_array_equal(outer.predict(target), inside(target).fit(X, y).predict(target))


def test_cloning_copies_no_data(data):
    _, _, target = data
    model = inside(Domain(target))
    assert clone(model).target is model.target


def test_kind_follows_the_estimator(data):
    _, _, target = data
    assert is_classifier(inside(target))
    assert is_regressor(CORAL(Ridge()).against(target))


def test_sample_weight_is_the_weight_of_the_source(data):
    X, y, target = data
    weight = np.where(y == "yes", 5.0, 1.0)
    bound = inside(target).fit(X, y, sample_weight=weight)
    free = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    free.fit(Domain(X, y, weight=weight), target)
    assert_array_equal(bound.predict_proba(target), free.predict_proba(target))


def test_images_go_through():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 30)
    images = (rng.integers(0, 100, size=(60, 5, 5)) + 120 * y[:, None, None]).astype(np.uint8)
    model = ClassifierWeighting(LogisticRegression(), random_state=0).against(images)
    assert model.fit(images, y).score(images, y) == 1


def test_something_that_does_not_predict_is_refused(data):
    X, y, target = data
    with pytest.raises(TypeError, match="give CORAL an estimator"):
        CORAL().against(target).fit(X, y)


# Why an adapter with the training rows as its target cannot pass a check of scikit-learn's.
FOLDS = "it is cross-fitted: the folds of a row of weight 2 and of a row that is there twice differ"
DRAWS = (
    "it draws rows at random: one row of weight 2 and two rows of weight 1 are drawn differently"
)
WEIGHT_CHECKS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)
EXPECTED_FAILURES = {
    "ClassifierWeighting": dict.fromkeys(WEIGHT_CHECKS, FOLDS),
    "CORAL": {},
    "Resample": dict.fromkeys(WEIGHT_CHECKS, DRAWS),
    "PriorCorrection": dict.fromkeys(WEIGHT_CHECKS, FOLDS),
}


def expected_failures(estimator):
    return EXPECTED_FAILURES[type(estimator.adapter).__name__]


@parametrize_with_checks(
    [
        ClassifierWeighting(LogisticRegression(), random_state=0).against(None),
        CORAL(LogisticRegression()).against(None),
        Resample("over", LogisticRegression(), random_state=0).against(None),
        PriorCorrection(LogisticRegression(), random_state=0).against(None),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)

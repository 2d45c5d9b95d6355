"""Conformal sets: the definition by naive loops, coverage under known shifts, clear errors."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from shiftlab import ConformalPrediction, Domain, GaussianWeighting
from shiftlab.stats.conformal import conformal_radius, conformal_sets

ALPHA = 0.1


def quantile_with_infinity(scores, weights, extra, alpha):
    """The 1 - alpha quantile of a weighted sample to which infinity is added."""
    total = weights.sum() + extra
    reached = 0.0
    for i in np.argsort(scores):
        reached += weights[i] / total
        if reached >= 1 - alpha - 1e-12:
            return scores[i]
    return np.inf


def test_sets_and_radii_follow_the_definition():
    rng = np.random.default_rng(0)
    scores, weights = rng.random(50).round(1), rng.exponential(size=50)
    target, own = rng.random((20, 3)).round(1), rng.exponential(size=(20, 3)) * 5
    sets = conformal_sets(scores, weights, target, own, ALPHA)
    radius = conformal_radius(scores, weights, own[:, 0], ALPHA)
    for i in range(20):
        for y in range(3):
            edge = quantile_with_infinity(scores, weights, own[i, y], ALPHA)
            assert sets[i, y] == (target[i, y] <= edge)
        assert radius[i] == quantile_with_infinity(scores, weights, own[i, 0], ALPHA)
    assert np.isinf(radius).any()
    assert np.isfinite(radius).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.0}, "alpha must lie between 0 and 1, got 1.0"),
        ({"weights": [1.0]}, r"of one length, got \(3,\) and \(1,\)"),
        ({"weights": [0.0, 0.0, 0.0]}, "not all zero"),
        ({"scores": [1.0, np.nan, 1.0]}, "scores must be finite"),
    ],
)
def test_bad_numbers_are_one_clear_error(change, message):
    given = {
        "scores": [1.0, 2.0, 3.0],
        "weights": [1.0, 1.0, 1.0],
        "target_scores": [[1.0]],
        "target_weights": [1.0],
        "alpha": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        conformal_sets(*(given | change).values())


class ExactRatio(GaussianWeighting):
    """The true ratio of N(1, 1) to N(0, 1) in the first column."""

    def _fit_log_ratio(self, source, target, rng):
        return source.X[:, 0] - 0.5

    def _log_ratio(self, rows):
        return np.asarray(rows.X)[:, 0] - 0.5


def covariate_task(rng, n):
    """Y given X is the same; the target's mean moves to where the classes overlap."""

    def draw(mean):
        X = rng.normal([mean, 0.0], 1.0, size=(n, 2))
        p = 1 / (1 + np.exp(-3 * np.minimum(1.0 - X[:, 0], 1.0) * np.sign(X[:, 1])))
        return X, (rng.random(n) < p).astype(int)

    return draw(0.0), draw(1.0)


def label_task(rng, n):
    """X within classes is the same; the rare class becomes the common one."""

    def draw(share):
        y = (rng.random(n) < share).astype(int)
        return rng.normal(np.column_stack([1.2 * y, 0.0 * y]), 1.0), y

    return draw(0.2), draw(0.7)


def coverage(task, n, draws, **params):
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        source, (X, y) = task(rng, n)
        model = ConformalPrediction(LogisticRegression(), random_state=seed, **params)
        sets = model.fit(source, X).predict_set(X, alpha=ALPHA)
        found.append(sets[np.arange(len(y)), y].mean())
    return np.mean(found)


@pytest.mark.parametrize(
    ("task", "params"),
    [
        (covariate_task, {"weighting": ExactRatio(flatten=1.0)}),
        (label_task, {"shift": "label", "prior": [0.3, 0.7]}),
    ],
)
def test_known_weights_cover_and_no_weights_do_not(task, params):
    # 10 draws of 2,000 rows: a standard error below half a point
    assert coverage(task, 2000, 10, **params) == pytest.approx(1 - ALPHA, abs=0.02)
    assert coverage(task, 2000, 10, shift="none") < 1 - ALPHA - 0.04


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "params"),
    [
        (covariate_task, {"weighting": ExactRatio(flatten=1.0)}),
        (covariate_task, {}),
        (label_task, {"shift": "label", "prior": [0.3, 0.7]}),
        (label_task, {"shift": "label"}),
    ],
)
def test_coverage_is_within_two_points_over_200_draws(task, params):
    assert coverage(task, 2000, 200, **params) == pytest.approx(1 - ALPHA, abs=0.02)


def test_intervals_of_numbers_cover_where_errors_grow():
    covered, plain = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, z = rng.normal(0, 1, (1000, 1)), rng.normal(1, 0.7, (1000, 1))
        y, u = (v[:, 0] + np.exp(v[:, 0]) * rng.normal(size=1000) for v in (x, z))
        for shift, into in (("covariate", covered), ("none", plain)):
            model = ConformalPrediction(LinearRegression(), shift=shift, random_state=0)
            low, high = model.fit((x, y), z).predict_interval(z, alpha=ALPHA).T
            into.append(np.mean((low <= u) & (u <= high)))
    assert np.mean(covered) == pytest.approx(1 - ALPHA, abs=0.03)
    assert np.mean(plain) < 0.8


def test_an_estimated_prior_is_in_the_order_of_the_classes():
    rng = np.random.default_rng(0)
    (X, y), (Z, _) = label_task(rng, 2000)
    names = np.array(["z-often", "a-rare"])
    model = ConformalPrediction(LogisticRegression(), shift="label", random_state=0)
    model.fit((X, names[y]), Z)
    assert model.classes_.tolist() == ["a-rare", "z-often"]
    assert model.prior_ == pytest.approx([0.7, 0.3], abs=0.05)


def test_predictions_are_those_of_the_model():
    rng = np.random.default_rng(0)
    source, (Z, _) = label_task(rng, 300)
    model = ConformalPrediction(LogisticRegression(), shift="none").fit(source, Z)
    plain = LogisticRegression().fit(*source)
    np.testing.assert_array_equal(model.predict_proba(Z), plain.predict_proba(Z))


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        (ConformalPrediction(LinearSVC()), "classes", "LinearSVC|no predict_proba"),
        (ConformalPrediction(LinearRegression(), shift="label"), "numbers", "needs classes"),
        (
            ConformalPrediction(LogisticRegression(), shift="label", prior=[0.5, 0.6]),
            "classes",
            "prior must be 2 shares",
        ),
        (ConformalPrediction(LogisticRegression(), shift="both"), "classes", "'shift' parameter"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(model, source, message):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = X[:, 0] if source == "numbers" else (X[:, 0] > 0).astype(int)
    with pytest.raises(ValueError, match=message):
        model.fit(Domain(X, y), X)


def test_sets_are_for_classes_and_intervals_for_numbers():
    X = np.random.default_rng(0).normal(size=(60, 2))
    classes = ConformalPrediction(LogisticRegression()).fit((X, X[:, 0] > 0), X)
    numbers = ConformalPrediction(LinearRegression()).fit((X, X[:, 0]), X)
    with pytest.raises(ValueError, match="use predict_set for classes"):
        classes.predict_interval(X)
    with pytest.raises(ValueError, match="use predict_interval for numbers"):
        numbers.predict_set(X)

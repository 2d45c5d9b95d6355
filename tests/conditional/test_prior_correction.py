"""PriorCorrection against planted priors and Bayes' rule."""

import warnings

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from shiftlab import CORAL, DeepCORAL, Domain, PriorCorrection, Resample, make_pipeline
from shiftlab.stats.calibration import expected_calibration_error
from shiftlab.stats.priors import em_prior

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def classes_of(prior, n, seed, names=("a", "b", "c")):
    """Gaussian classes with a given prior: the same P(X|Y) whatever the prior."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, size=n, p=prior)
    return MEANS[codes] + rng.normal(size=(n, 2)), np.array(names)[codes]


def true_posterior(X, prior):
    density = np.array([norm.pdf(X - m).prod(1) for m in MEANS]).T * prior
    return density / density.sum(1, keepdims=True)


@pytest.mark.parametrize("method", ["auto", "em", "bbse", "bbse_hard", "rlls", "rlls_hard"])
@pytest.mark.parametrize("planted", [[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.0, 0.5, 0.5]])
def test_planted_prior_is_recovered(method, planted):
    source = classes_of([0.4, 0.3, 0.3], 3000, seed=0)
    X, y = classes_of(planted, 3000, seed=1)
    model = PriorCorrection(LogisticRegression(), method=method, random_state=0).fit(source, X)
    np.testing.assert_allclose(model.prior_, planted, atol=0.08 if "hard" in method else 0.05)
    assert model.prior_.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(model.weights_, model.prior_ / model.source_prior_)
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])
    plain = LogisticRegression().fit(*source)
    assert model.score(X, y) > plain.score(X, y) + 0.01
    before, after = (
        log_loss(y, m.predict_proba(X), labels=["a", "b", "c"]) for m in (plain, model)
    )
    assert after < before - 0.02
    assert np.abs(model.predict_proba(X) - true_posterior(X, np.array(planted))).mean() < 0.03


def test_correction_is_bayes_rule():
    source = classes_of([0.4, 0.3, 0.3], 500, seed=2)
    X, _ = classes_of([0.1, 0.2, 0.7], 500, seed=3)
    model = PriorCorrection(GaussianNB(), calibration="none", random_state=0).fit(source, X)
    moved = model.estimator_.predict_proba(X) * model.prior_ / model.source_prior_
    np.testing.assert_allclose(
        model.predict_proba(X), moved / moved.sum(1, keepdims=True), atol=1e-10
    )
    # Naive Bayes with the estimated prior in the place of its own is the same classifier.
    other = GaussianNB(priors=model.prior_).fit(*source)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-10)


def test_no_shift_keeps_the_source_prior():
    prior = [0.5, 0.3, 0.2]
    source, (X, _) = classes_of(prior, 3000, seed=4), classes_of(prior, 3000, seed=5)
    model = PriorCorrection(LogisticRegression(), random_state=0).fit(source, X)
    np.testing.assert_allclose(model.prior_, model.source_prior_, atol=0.04)


def test_calibration_is_needed_and_reaches_the_posteriors():
    """Ten copies of each column make naive Bayes overconfident."""
    source = classes_of([1 / 3] * 3, 2000, seed=6)
    X, y = classes_of([0.2, 0.1, 0.7], 2000, seed=7)
    source, X = (np.tile(source[0], 10), source[1]), np.tile(X, 10)
    raw, calibrated = (
        PriorCorrection(GaussianNB(), calibration=c, random_state=0).fit(source, X)
        for c in ("none", "auto")
    )
    planted = np.array([0.2, 0.1, 0.7])
    assert calibrated.calibration_.temperature > 4
    assert np.abs(calibrated.prior_ - planted).sum() < np.abs(raw.prior_ - planted).sum() - 0.02
    assert log_loss(y, calibrated.predict_proba(X)) < 0.7 * log_loss(y, raw.predict_proba(X))


def test_undoes_the_miscalibration_of_resampling():
    rng = np.random.default_rng(8)
    y = (rng.random(6000) < 0.08).astype(int)
    X = rng.normal(size=(6000, 1)) + 2.0 * y[:, None]
    test = slice(3000, None)
    model = make_pipeline(
        Resample("over", random_state=0), PriorCorrection(LogisticRegression(), random_state=0)
    ).fit((X[:3000], y[:3000]), X[test])
    resampled = make_pipeline(Resample("over", random_state=0), LogisticRegression())
    resampled.fit((X[:3000], y[:3000]), X[test])
    plain = LogisticRegression().fit(X[:3000], y[:3000])
    losses = [log_loss(y[test], m.predict_proba(X[test])) for m in (model, resampled, plain)]
    assert losses[1] > 1.8 * losses[2]
    assert losses[0] < 1.05 * losses[2]
    np.testing.assert_allclose(model["priorcorrection"].source_prior_, [0.5, 0.5])


def test_source_prior_counts_weights():
    X, y = classes_of([0.4, 0.3, 0.3], 600, seed=9)
    weight = np.where(y == "a", 3.0, 1.0)
    model = PriorCorrection(LogisticRegression(), random_state=0)
    model.fit(Domain(X, y, weight=weight), X)
    share = weight[y == "a"].sum() / weight.sum()
    assert model.source_prior_[0] == pytest.approx(share)
    np.testing.assert_allclose(model.prior_[0], (y == "a").mean(), atol=0.06)


def test_decision_function_agrees_with_probabilities():
    X, y = classes_of([0.4, 0.3, 0.3], 300, seed=10)
    two = y != "c"
    binary = PriorCorrection(LogisticRegression(), random_state=0).fit((X[two], y[two]), X[two])
    p = binary.predict_proba(X)
    np.testing.assert_allclose(binary.decision_function(X), np.log(p[:, 1] / p[:, 0]))
    many = PriorCorrection(LogisticRegression(), random_state=0).fit((X, y), X)
    np.testing.assert_array_equal(
        many.decision_function(X).argmax(1), many.predict_proba(X).argmax(1)
    )


def test_classes_with_few_rows():
    X, y = classes_of([0.5, 0.5, 0.0], 200, seed=11)
    X, y = np.vstack([X, [[0.0, 9.0]]]), np.append(y, "c")
    model = PriorCorrection(LogisticRegression(), random_state=0).fit((X, y), X)
    assert np.isfinite(model.predict_proba(X)).all()
    assert model.prior_[2] < 0.05
    with pytest.raises(ValueError, match=r"at least 2 rows of each class.*\['c'\].*method='em'"):
        PriorCorrection(LogisticRegression(), method="bbse", random_state=0).fit((X, y), X)
    tiny = PriorCorrection(LogisticRegression(), random_state=0)
    tiny.fit((X[:3], np.array([0, 1, 1])), X[:3])
    assert tiny.prior_.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["auto", "em", "bbse", "bbse_hard"])
def test_uninformative_predictions_are_refused(method):
    X, y = classes_of([0.4, 0.3, 0.3], 300, seed=12)
    model = PriorCorrection(DummyClassifier(), method=method, random_state=0)
    with pytest.warns(UserWarning, match=r"keeps the source's prior.*tells? the classes apart"):
        model.fit((X, y), X)
    assert "the classes apart" in model.refused_
    np.testing.assert_array_equal(model.prior_, model.source_prior_)
    np.testing.assert_array_equal(model.weights_, 1.0)


def test_bad_input_is_named():
    X, y = classes_of([0.4, 0.3, 0.3], 50, seed=13)
    with pytest.raises(ValueError, match=r"LinearSVC has no predict_proba.*CalibratedClassifierCV"):
        PriorCorrection(LinearSVC()).fit((X, y), X)
    with pytest.raises(ValueError, match="at least 2 classes; got 1 class"):
        PriorCorrection(LogisticRegression()).fit((X, np.zeros(50)), X)
    with pytest.raises(ValueError, match="'method' parameter"):
        PriorCorrection(LogisticRegression(), method="magic").fit((X, y), X)


def test_a_fitted_model_is_not_fitted_again():
    base = LogisticRegression().fit(*classes_of([0.4, 0.3, 0.3], 800, seed=20))
    coefficients = base.coef_.copy()
    X, y = classes_of([0.1, 0.2, 0.7], 800, seed=21)
    held_out = classes_of([0.5, 0.2, 0.3], 800, seed=22)
    model = PriorCorrection(FrozenEstimator(base), random_state=0).fit(held_out, X)
    np.testing.assert_array_equal(base.coef_, coefficients)
    assert model.estimator_.estimator is base
    np.testing.assert_allclose(model.prior_, [0.1, 0.2, 0.7], atol=0.06)
    assert model.score(X, y) > base.score(X, y) + 0.01
    with pytest.raises(ValueError, match="retrain=True cannot train a FrozenEstimator"):
        PriorCorrection(FrozenEstimator(base), retrain=True).fit(held_out, X)
    known = held_out[1] != "b"
    with pytest.raises(ValueError, match=r"knows the classes \['b'\], of which the source has no"):
        PriorCorrection(FrozenEstimator(base)).fit((held_out[0][known], held_out[1][known]), X)


def test_an_adapter_inside_is_the_pipeline_with_the_correction_last():
    source = classes_of([0.4, 0.3, 0.3], 600, seed=23)
    X, _ = classes_of([0.3, 0.3, 0.4], 600, seed=24)
    X = X * 2.0 + 1.0
    inside = PriorCorrection(CORAL(LogisticRegression(), center=True), random_state=0)
    outside = make_pipeline(
        CORAL(center=True), PriorCorrection(LogisticRegression(), random_state=0)
    )
    np.testing.assert_allclose(
        inside.fit(source, X).predict_proba(X), outside.fit(source, X).predict_proba(X)
    )
    with pytest.raises(ValueError, match="put the correction at the end of the pipeline"):
        PriorCorrection(make_pipeline(CORAL(), LogisticRegression())).fit(source, X)
    scaled = PriorCorrection(make_pipeline(StandardScaler(), LogisticRegression()), random_state=0)
    assert scaled.fit(source, X).predict_proba(X).shape == (600, 3)


@pytest.mark.parametrize("place", ["inside", "before"])
def test_a_deep_adapter_is_corrected(place):
    pytest.importorskip("torch")
    deep = DeepCORAL(epochs=5, random_state=0, device="cpu")
    correction = PriorCorrection(
        deep if place == "inside" else LogisticRegression(), random_state=0
    )
    model = correction if place == "inside" else make_pipeline(deep, correction)
    source = classes_of([0.4, 0.3, 0.3], 600, seed=40)
    X, y = classes_of([0.1, 0.2, 0.7], 600, seed=41)
    model.fit(source, X)
    fitted = model if place == "inside" else model["priorcorrection"]
    assert fitted.refused_ is None
    np.testing.assert_allclose(fitted.prior_, [np.mean(y == name) for name in "abc"], atol=0.07)
    assert model.score(X, y) > deep.fit(source, X).score(X, y) + 0.02


def test_moved_classes_are_refused_and_predictions_keep_the_source_prior():
    source = classes_of([0.4, 0.3, 0.3], 600, seed=25)
    X, _ = classes_of([0.4, 0.3, 0.3], 600, seed=26)
    model = PriorCorrection(LogisticRegression(), random_state=0)
    with pytest.warns(UserWarning, match=r"no change of the class shares explains"):
        model.fit(source, X + np.array([0.0, 3.0]))
    assert "P(X|Y) differs" in model.refused_
    assert model.label_shift_fit_.p_value < 0.01
    np.testing.assert_array_equal(model.prior_, model.source_prior_)


def test_retraining_weights_the_classes():
    source = classes_of([0.4, 0.3, 0.3], 1500, seed=27)
    X, y = classes_of([0.1, 0.0, 0.9], 1500, seed=28)
    model = PriorCorrection(LogisticRegression(), retrain=True, random_state=0).fit(source, X)
    weight = model.weights_[np.searchsorted(model.classes_, source[1])]
    plain = LogisticRegression().fit(*source, sample_weight=weight)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=0.01)
    assert model.score(X, y) > LogisticRegression().fit(*source).score(X, y) + 0.02


def test_interval_is_narrow_with_many_rows_and_always_the_same():
    source = classes_of([0.4, 0.3, 0.3], 400, seed=29)
    widths = []
    for n in (200, 3000):
        X, y = classes_of([0.1, 0.2, 0.7], n, seed=30)
        model = PriorCorrection(LogisticRegression(), random_state=0).fit(source, X)
        low, high = model.prior_interval_.T
        assert (low <= high).all()
        shares = [np.mean(y == name) for name in "abc"]  # by chance not those drawn from
        assert ((low - 0.03 <= shares) & (shares <= high + 0.03)).all()
        widths.append((high - low).mean())
        again = PriorCorrection(LogisticRegression(), random_state=0).fit(source, X)
        np.testing.assert_array_equal(again.prior_interval_, model.prior_interval_)
    assert widths[1] < 0.8 * widths[0]


@pytest.mark.parametrize("names", [("z", "a", "m"), (7, -1, 3), (2.0, 0.0, 1.0)])
def test_labels_in_any_order_and_of_any_type(names):
    source = classes_of([0.4, 0.3, 0.3], 800, seed=31, names=names)
    X, y = classes_of([0.1, 0.2, 0.7], 800, seed=32, names=names)
    model = PriorCorrection(LogisticRegression(), random_state=0).fit(source, X)
    assert model.classes_.tolist() == sorted(names)
    shares = [np.mean(y == name) for name in model.classes_]
    np.testing.assert_allclose(model.prior_, shares, atol=0.05)


def test_a_target_without_a_class_and_with_one_class_only():
    source = classes_of([0.4, 0.3, 0.3], 1500, seed=33)
    X, y = classes_of([0.0, 0.0, 1.0], 800, seed=34)
    model = PriorCorrection(LogisticRegression(), method="em", random_state=0).fit(source, X)
    assert model.prior_[2] > 0.95
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.decision_function(X)).all()
    assert model.score(X, y) > 0.97


def test_calibration_after_smote_is_that_without_it():
    """Expected calibration error of a rare class; the folds are resampled, not what they test."""
    rng = np.random.default_rng(35)
    y = (rng.random(14_000) < 0.07).astype(int)
    X = rng.normal(size=(14_000, 3)) + 1.5 * y[:, None] * [1.0, 0.5, 0.0]
    train, test = slice(0, 4000), slice(4000, None)
    source, target, truth = (X[train], y[train]), X[test], y[test]
    smote = Resample("smote", LogisticRegression(), random_state=0)
    models = {
        "without": LogisticRegression().fit(*source),
        "with": smote.fit(source, target),
        "corrected": PriorCorrection(smote, random_state=0).fit(source, target),
    }
    errors = {
        name: expected_calibration_error(model.predict_proba(target), truth)
        for name, model in models.items()
    }
    assert errors["with"] > 10 * errors["without"]
    assert errors["corrected"] < 1.1 * errors["without"] + 0.002
    last = make_pipeline(
        Resample("smote", random_state=0), PriorCorrection(LogisticRegression(), random_state=0)
    ).fit(source, target)
    assert expected_calibration_error(last.predict_proba(target), truth) < 0.1 * errors["with"]


@pytest.mark.parametrize("method", ["auto", "em"])
def test_a_line_through_islands_knows_no_share(method):
    """A useless classifier of a rare class, however many target rows there are."""
    rng = np.random.default_rng(36)

    def draw(n_usual, n_rare):
        X = rng.uniform(-4, 4, size=(n_usual + n_rare, 2))
        corners = np.array([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])
        X[n_usual:] = corners[rng.integers(0, 4, n_rare)] + 0.5 * rng.normal(size=(n_rare, 2))
        return X, np.repeat([0, 1], [n_usual, n_rare])

    model = PriorCorrection(LogisticRegression(), method=method, random_state=0)
    with pytest.warns(UserWarning, match="keeps the source's prior"):
        model.fit(draw(950, 50), draw(2850, 150)[0])
    np.testing.assert_allclose(model.prior_, [0.95, 0.05])


@pytest.mark.parametrize("method", ["auto", "em", "bbse"])
def test_fifty_thousand_rows_stand_for_more(method):
    """Of 80,000 rows, sorted by class: the estimate is that of all rows but for .002 a share."""
    source = classes_of([0.4, 0.3, 0.3], 1000, seed=38)
    X, y = classes_of([0.1, 0.2, 0.7], 80_000, seed=39)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    model = PriorCorrection(LogisticRegression(), method=method, random_state=0).fit(source, X)
    p = model.calibration_(model.estimator_.predict_proba(X))
    if method != "bbse":
        whole = em_prior(p, model.source_prior_).prior
        np.testing.assert_allclose(model.prior_, whole, atol=0.01)
    np.testing.assert_allclose(model.prior_, [0.1, 0.2, 0.7], atol=0.05)
    assert model.predict_proba(X).shape == (80_000, 3)


def island(seed, at):
    """Move 25 of 100 target rows, all of the first class, to a place of their own."""
    rng = np.random.default_rng(seed)

    def draw():
        y = rng.choice(3, 100, p=[0.5, 0.4, 0.1])
        return np.array([[0.0, 0.0], [3.0, 0.0], [1.5, 2.5]])[y] + rng.normal(size=(100, 2)), y

    source, (Z, hidden) = draw(), draw()
    Z[:25], hidden[:25] = np.array(at) + 0.1 * rng.normal(size=(25, 2)), 0
    return source, Z, hidden


@pytest.mark.parametrize("at", [(0.5, 1.6), (0.0, 3.0)], ids=["between", "beyond"])
def test_an_island_of_target_rows_does_not_lead_the_prior(at):
    """Too few rows for the test of label shift: without a guard the worst seed loses 62 points.

    Maximum likelihood gives a rare class all rows of the island, the mean predictions do not.
    """
    gains, reasons = [], []
    for seed in range(6):
        source, Z, hidden = island(seed, at)
        model = PriorCorrection(GaussianNB(), random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.fit(source, Z)
        gains.append(model.score(Z, hidden) - GaussianNB().fit(*source).score(Z, hidden))
        reasons.append(model.refused_ or "")
    assert sum(map(bool, reasons)) >= 2
    if at == (0.5, 1.6):  # what lies beyond, the test of label shift mostly sees
        assert any("not those that the mean predictions give" in reason for reason in reasons)
    assert min(gains) > -0.08


def test_label_shift_is_tested_with_many_rows_of_poor_predictions():
    """Classes that hardly differ, and rows that belong to none: untested, this cost 84 points."""
    for seed in range(3):
        rng = np.random.default_rng(seed)

        def draw(rng=rng):
            y = (rng.random(4000) < 0.1).astype(int)
            X = rng.normal(size=(4000, 2))
            X[:, 0] += 0.4 * y
            return X, y

        source, (Z, hidden) = draw(), draw()
        Z[:800], hidden[:800] = np.array([2.0, 0.0]) + 0.1 * rng.normal(size=(800, 2)), 0
        model = PriorCorrection(LogisticRegression(), random_state=0)
        with pytest.warns(UserWarning, match="keeps the source's prior"):
            model.fit(source, Z)
        assert model.score(Z, hidden) > 0.9


@pytest.mark.parametrize("method", ["auto", "em", "bbse", "rlls_hard"])
def test_a_target_of_one_row_is_refused(method):
    source = classes_of([0.4, 0.3, 0.3], 300, seed=37)
    model = PriorCorrection(LogisticRegression(), method=method, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(UserWarning, match="the target has 1 row"):
            model.fit(source, np.zeros((1, 2)))
    np.testing.assert_array_equal(model.prior_, model.source_prior_)
    assert model.predict(np.zeros((1, 2))) == ["a"]

"""Densities of each class's predictions: Student's, shrunken, held out, and used where better."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from shiftlab import Domain, PriorCorrection
from shiftlab.conditional.estimation import cross_fit
from shiftlab.stats.class_densities import fit_class_densities, held_out_densities


def predictions(n, seed, prior=(0.5, 0.3, 0.2)):
    """Logits of three classes whose spreads differ, as probabilities."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=prior)
    means = np.array([[3.0, 0, 0], [0, 3, 1], [0, 1.5, 1]])
    logits = means[y] + np.array([0.4, 1.0, 0.4])[y][:, None] * rng.normal(size=(n, 3))
    return softmax(logits, axis=1), y


@pytest.mark.parametrize("weighted", [False, True])
def test_posteriors_are_bayes_rule_with_student_densities(weighted):
    p, y = predictions(200, 0)
    w = np.random.default_rng(1).uniform(0.5, 1.5, 200) if weighted else np.ones(200)
    z = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    mean = np.average(z, axis=0, weights=w)
    z = (z - mean) / np.sqrt(np.average((z - mean) ** 2, axis=0, weights=w))
    covariances = [np.cov(z[y == c].T, bias=True, aweights=w[y == c]) for c in range(3)]
    n = np.array([w[y == c].sum() for c in range(3)])
    within = sum(m * C for m, C in zip(n, covariances, strict=True)) / n.sum()
    joint = []
    for c in range(3):
        pooled = 6 / (6 + n[c])
        scale = 0.95 * ((1 - pooled) * covariances[c] + pooled * within) + 0.05 * np.eye(3)
        apart = z - np.average(z[y == c], axis=0, weights=w[y == c])
        distance = np.einsum("ij,jk,ik->i", apart, np.linalg.inv(scale), apart)
        # The coordinates sum to zero, so that they have two dimensions.
        joint.append(
            np.log(n[c]) - 0.5 * np.linalg.slogdet(scale)[1] - 3.5 * np.log1p(distance / 5)
        )
    fitted = fit_class_densities(p, y, w if weighted else None)
    assert_allclose(fitted(p), softmax(np.array(joint).T, axis=1), rtol=1e-6)


def test_held_out_is_the_loop_over_folds():
    p, y = predictions(120, 2)
    fold = np.arange(120) % 3
    found = held_out_densities(p, y, fold)
    for k in range(3):
        expected = fit_class_densities(p[fold != k], y[fold != k])(p[fold == k])
        assert_allclose(found[fold == k], expected)


def test_they_say_more_than_the_probabilities_do():
    (p, y), (q, z) = predictions(600, 3), predictions(3000, 4)
    posteriors = fit_class_densities(p, y)(q)
    assert (posteriors.argmax(1) == z).mean() > (q.argmax(1) == z).mean() + 0.02
    assert -np.log(posteriors[np.arange(3000), z]).mean() < 0.42


def test_constant_predictions_and_certain_ones_stay_finite():
    y = np.repeat([0, 1, 2], 20)
    assert_allclose(fit_class_densities(np.full((60, 3), 1 / 3), y)(np.full((2, 3), 1 / 3)), 1 / 3)
    certain = np.eye(3)[y]
    found = fit_class_densities(certain, y)(certain)
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == y).all()


def rows(prior, n, seed):
    """Classes that differ in their spread, of which a line knows nothing."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=prior)
    means = np.array([[2.0, 0], [0, 0], [0, 2.0]])
    return means[y] + np.array([0.3, 1.5, 0.3])[y][:, None] * rng.normal(size=(n, 2)), y


def test_the_prior_is_nearer_and_probabilities_stay_calibrated():
    errors, before = [], []
    for seed in range(5):
        source = rows(np.full(3, 1 / 3), 600, seed)
        target, hidden = rows([0.2, 0.2, 0.6], 400, 100 + seed)
        truth = np.bincount(hidden, minlength=3) / 400
        for calibration, into in (("auto", errors), ("bias_corrected", before)):
            model = PriorCorrection(
                LogisticRegression(), calibration=calibration, random_state=0
            ).fit(source, target)
            assert model.refused_ is None
            into.append(np.abs(model.prior_ - truth).sum())
            low, high = model.prior_interval_.T
            assert ((low <= model.prior_) & (model.prior_ <= high)).all()
            raw = model.estimator_.predict_proba(target)
            moved = model.calibration_(raw) * model.weights_
            assert_allclose(model.predict_proba(target), moved / moved.sum(1, keepdims=True))
    assert np.mean(errors) < 0.8 * np.mean(before)


@pytest.mark.parametrize("case", ["two classes", "few rows", "a calibration was asked for"])
def test_where_they_are_not_used(case):
    X, y = rows([0.4, 0.3, 0.3], 30 if case == "few rows" else 800, 5)
    if case == "two classes":
        X, y = X[y < 2], y[y < 2]
    calibration = "temperature" if case == "a calibration was asked for" else "auto"
    rng = np.random.RandomState(0)
    fit = cross_fit(LogisticRegression(), Domain(X, y), Domain(X), calibration, 5, rng)
    assert fit.densities is None
    assert_allclose(fit.posteriors, fit.probabilities)

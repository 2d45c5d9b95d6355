"""Regularised and shrunken priors, and bootstrap intervals, against independent solvers."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from shiftlab import Domain
from shiftlab.conditional.estimation import cross_fit, moment_estimator, probabilities_of
from shiftlab.stats.calibration import (
    calibration_scores,
    expected_calibration_error,
    fit_calibration,
)
from shiftlab.stats.label_shift import (
    confusion_matrix,
    prior_draws,
    rlls_prior,
    shrunken_prior,
    standing_rows,
)
from shiftlab.stats.priors import bbse_prior, em_prior
from shiftlab.supervised import fit_estimator


def mixture(k, n, prior, seed, spread=1.5):
    """Rows of k Gaussian classes: exact posteriors under a uniform source, and labels."""
    rng = np.random.default_rng(seed)
    centres = spread * np.random.default_rng(99).normal(size=(k, 3))
    y = rng.choice(k, n, p=prior)
    x = centres[y] + rng.normal(size=(n, 3))
    like = np.exp(-0.5 * np.square(x[:, None] - centres).sum(-1))
    return like / like.sum(1, keepdims=True), y


def test_confusion_matrix_is_the_loop():
    rng = np.random.default_rng(0)
    p, y, w = rng.dirichlet(np.ones(3), 50), rng.integers(0, 3, 50), rng.random(50)
    naive = np.zeros((3, 3))
    for row, label, weight in zip(p, y, w, strict=True):
        naive[:, label] += weight * row
    np.testing.assert_allclose(confusion_matrix(p, y, w), naive / naive.sum(), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_rlls_minimises_its_objective(seed):
    rng = np.random.default_rng(seed)
    k, n = 4, 300
    given = rng.dirichlet(np.ones(k), k).T + 0.5 * np.eye(k)
    given /= given.sum(0)
    p, q = np.full(k, 1 / k), rng.dirichlet(np.full(k, 0.3))
    C, mu = given * p, given @ q + 0.02 * rng.normal(size=k)
    bound = 2 * np.log(2 * k / 0.05)
    penalty = 3 * 0.01 * (bound / (3 * n) + np.sqrt(bound / n))

    def objective(w):
        return np.linalg.norm(C @ w - mu) + penalty * np.linalg.norm(w - 1)

    found = rlls_prior(C, mu, p, n)
    others = [
        minimize(objective, start, method="SLSQP", bounds=[(0, None)] * k, options={"ftol": 1e-12})
        for start in (np.ones(k), q / p)
    ]
    best = min(others, key=lambda other: other.fun).x
    np.testing.assert_allclose(found, p * best / (p @ best), atol=2e-3)


def test_rlls_without_information_keeps_the_source_prior():
    p = np.array([0.6, 0.4])
    same = np.array([[0.6, 0.6], [0.4, 0.4]])
    np.testing.assert_allclose(rlls_prior(same * p, [0.7, 0.3], p, 100), p, atol=0.02)


def test_rlls_is_bbse_for_many_rows():
    given, p = np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([0.5, 0.5])
    mu = given @ [0.3, 0.7]
    np.testing.assert_allclose(
        rlls_prior(given * p, mu, p, 1e9), bbse_prior(given * p, mu, p), atol=1e-3
    )


def test_em_agrees_with_plain_em_where_classes_overlap():
    posterior, _ = mixture(5, 800, [0.6, 0.2, 0.1, 0.1, 0.0], seed=0, spread=0.5)
    p = np.full(5, 0.2)
    quick = em_prior(posterior, p)
    assert quick.converged
    assert quick.n_iter < 40
    q = p
    for _ in range(10_000):
        moved = posterior * q
        q = (moved / moved.sum(1, keepdims=True)).mean(0)
    likelihoods = [np.log(posterior @ prior / 0.2).mean() for prior in (quick.prior, q)]
    assert likelihoods[0] >= likelihoods[1] - 1e-9


def test_em_weights_are_repeated_rows():
    posterior, _ = mixture(3, 60, [0.5, 0.3, 0.2], seed=1)
    repeats = np.random.default_rng(2).integers(0, 4, 60)
    weighted = em_prior(posterior, [1 / 3] * 3, weight=repeats).prior
    repeated = em_prior(np.repeat(posterior, repeats, 0), [1 / 3] * 3).prior
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)
    with pytest.raises(ValueError, match="weight must hold 60"):
        em_prior(posterior, [1 / 3] * 3, weight=-np.ones(60))


def test_shrinking_helps_where_the_shift_is_weak_and_costs_nothing_where_it_is_strong():
    """Mean L1 error of the shares that the rows have, over 25 samples of 400 rows."""
    p, k = np.full(5, 0.2), 5
    gain = {}
    for alpha in (0.1, 30.0):
        errors = []
        for seed in range(25):
            prior = np.random.default_rng(seed).dirichlet(np.full(k, alpha))
            posterior, y = mixture(k, 400, prior, seed, spread=0.9)
            truth = np.bincount(y, minlength=k) / 400
            plain, shrunk = em_prior(posterior, p).prior, shrunken_prior(posterior, p).prior
            errors.append([np.abs(plain - truth).sum(), np.abs(shrunk - truth).sum()])
        gain[alpha] = np.diff(np.mean(errors, axis=0))[0]
    assert gain[30.0] < -0.03
    assert gain[0.1] < 0.005


def test_shrinking_leaves_certain_rows_alone():
    """Where every row shows its class, the shares are those of the rows."""
    certain = np.eye(3)[np.repeat([0, 1, 2], [5, 30, 65])]
    found = shrunken_prior(certain, [0.5, 0.25, 0.25])
    np.testing.assert_allclose(found.prior, [0.05, 0.30, 0.65], atol=1e-9)
    assert found.converged
    nothing = shrunken_prior(np.full((50, 2), 0.5), [0.5, 0.5])
    np.testing.assert_allclose(nothing.prior, 0.5, atol=1e-9)


def test_many_rows_use_one_strength():
    posterior, _ = mixture(4, 12_000, [0.55, 0.25, 0.15, 0.05], seed=9)
    found = shrunken_prior(posterior, np.full(4, 0.25))
    plain = em_prior(posterior, np.full(4, 0.25)).prior
    assert found.converged
    assert np.abs(found.prior - plain).sum() < 0.01


def test_calibration_scores_are_one_newton_step():
    """Refitting to other counts moves the parameters as the scores say."""
    rng = np.random.default_rng(3)
    posterior, y = mixture(3, 3000, np.full(3, 1 / 3), seed=6)
    fitted = fit_calibration(posterior, y, "bias_corrected")
    calibrated = fitted(posterior)
    scores, curvature = calibration_scores(calibrated, y)
    counts = rng.multinomial(3000, np.full(3000, 1 / 3000)).astype(float)
    moved = -np.linalg.solve(curvature, (counts - 1) @ scores)
    refitted = fit_calibration(calibrated, y, "bias_corrected", counts)
    base = fit_calibration(calibrated, y, "bias_corrected")
    actual = np.append(1 / refitted.temperature - 1 / base.temperature, refitted.bias - base.bias)
    np.testing.assert_allclose(moved, actual, atol=0.15 * np.abs(actual).max())


def test_a_few_rows_stand_for_many():
    """The spread of the estimate is that of all rows, not of those that stand for them."""
    posterior, y = mixture(3, 2000, [0.5, 0.3, 0.2], seed=7)
    rows = np.arange(0, 2000, 4)
    spread = []
    for part, sizes in ((slice(None), None), (rows, (2000, 2000))):
        P, c = posterior[part], y[part]
        draws = prior_draws(None, P, c, P, sizes=sizes, rng=np.random.RandomState(0))
        spread.append(draws[1:].std(0))
    np.testing.assert_allclose(spread[1], spread[0], rtol=0.25)
    assert len(standing_rows(100, np.random.RandomState(0))) == 100
    assert len(standing_rows(20_000, np.random.RandomState(0))) == 5000


def coverage(k, repeats, method=None, n_source=1000, n_target=500, n_draws=300):
    """How often the intervals of the shares hold the prior that rows were drawn from."""
    centres = 1.7 * np.random.default_rng(99).normal(size=(k, 3))
    prior = np.random.default_rng(7).dirichlet(np.full(k, 2.0))
    hit = []
    for repeat in range(repeats):
        rng = np.random.RandomState(repeat)

        def draw(n, p, rng=rng):
            y = rng.choice(k, n, p=p)
            return centres[y] + rng.normal(size=(n, 3)), y

        X, y = draw(n_source, np.full(k, 1 / k))
        Z, _ = draw(n_target, prior)
        source, target = Domain(X, y), Domain(Z)
        fit = cross_fit(LogisticRegression(), source, target, "auto", 5, rng)
        model = fit_estimator(LogisticRegression(), source)
        calibrated = fit.calibration(probabilities_of(model, Z, np.arange(k)))
        solve = None if method is None else moment_estimator(method, n_source)
        draws = prior_draws(
            solve, fit.probabilities, fit.codes, calibrated, n_draws=n_draws, rng=rng
        )
        low, high = np.quantile(draws[1:], [0.025, 0.975], axis=0)
        hit.append((low <= prior) & (prior <= high))
    return np.mean(hit)


@pytest.mark.parametrize("method", [None, "bbse"])
def test_intervals_cover_quickly(method):
    """25 samples of 5 shares: between 86% and all of them, for a level of 95%."""
    assert coverage(5, 25, method, n_source=400, n_target=200, n_draws=150) >= 0.86


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 5, 10])
def test_intervals_cover(k):
    assert 0.92 <= coverage(k, 500) <= 0.98


def test_expected_calibration_error_is_the_loop():
    rng = np.random.default_rng(8)
    p = rng.dirichlet(np.ones(3), 90)
    y = rng.integers(0, 3, 90)
    total = 0.0
    for j in range(3):
        for part in np.array_split(np.argsort(p[:, j], kind="stable"), 15):
            total += len(part) / 90 * abs(p[part, j].mean() - (y[part] == j).mean())
    assert expected_calibration_error(p, y) == pytest.approx(total / 3)

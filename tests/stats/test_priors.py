"""Priors and weights against closed forms, identities and naive solvers."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from shiftlab.stats.priors import (
    bbse_prior,
    em_prior,
    label_counts,
    label_permutation_test,
    reweighted_probabilities,
    total_variation,
)
from shiftlab.stats.weights import effective_sample_size


def test_effective_sample_size_is_the_formula_and_ignores_scale():
    w = np.random.default_rng(0).gamma(1.0, size=50)
    assert effective_sample_size(w) == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert effective_sample_size(w * 1e200) == pytest.approx(effective_sample_size(w))
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7.0)


@pytest.mark.parametrize("bad", [[], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], [[1.0]]])
def test_effective_sample_size_refuses(bad):
    with pytest.raises(ValueError, match="weights must"):
        effective_sample_size(bad)


def test_total_variation_is_the_largest_difference_over_sets():
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.1, 0.5])
    sets = [np.array([b >> i & 1 for i in range(3)], dtype=bool) for b in range(8)]
    assert total_variation(p, q) == pytest.approx(max(p[s].sum() - q[s].sum() for s in sets))


def test_bbse_inverts_an_exact_confusion_matrix():
    rng = np.random.default_rng(1)
    for k in (2, 3, 10):
        given = rng.dirichlet(np.ones(k), size=k).T + 2 * np.eye(k)
        given /= given.sum(axis=0)
        p, q = rng.dirichlet(np.full(k, 3.0)), rng.dirichlet(np.ones(k))
        np.testing.assert_allclose(bbse_prior(given * p, given @ q, p), q, atol=1e-8)


def test_bbse_solves_the_constrained_problem_when_the_free_solution_leaves_the_simplex():
    given = np.array([[0.7, 0.2, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.6]])
    p = np.array([0.3, 0.3, 0.4])
    mu = np.array([0.9, 0.06, 0.04])
    assert np.linalg.solve(given, mu).min() < 0
    found = bbse_prior(given * p, mu, p)
    reference = minimize(
        lambda q: np.sum((given @ q - mu) ** 2),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        options={"ftol": 1e-15},
    ).x
    np.testing.assert_allclose(found, reference, atol=1e-5)
    assert found.sum() == pytest.approx(1.0)
    assert found.min() >= 0


def test_bbse_says_what_is_wrong():
    p = np.array([0.5, 0.5])
    with pytest.raises(ValueError, match="singular"):
        bbse_prior(np.full((2, 2), 0.25), [0.5, 0.5], p)
    with pytest.raises(ValueError, match="joint matrix"):
        bbse_prior(np.array([[0.9, 0.1], [0.1, 0.9]]), [0.5, 0.5], p)
    with pytest.raises(ValueError, match="positive in every class"):
        bbse_prior(np.diag([1.0, 0.0]), [0.5, 0.5], [1.0, 0.0])
    with pytest.raises(ValueError, match="target_prediction_mean must"):
        bbse_prior(np.diag(p), [0.5, 0.6], p)


def test_em_finds_the_likelihood_maximum():
    rng = np.random.default_rng(2)
    posterior = rng.dirichlet([0.6, 0.6, 0.6], size=400)
    p = np.array([0.5, 0.3, 0.2])
    result = em_prior(posterior, p, max_iter=20_000, tol=1e-12)

    def minus_log_likelihood(q):
        return -np.log(posterior @ (q / p)).mean()

    reference = minimize(
        minus_log_likelihood,
        p,
        bounds=[(1e-9, 1)] * 3,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        options={"ftol": 1e-14},
    )
    assert result.converged
    assert minus_log_likelihood(result.prior) <= reference.fun + 1e-9
    np.testing.assert_allclose(result.prior, reference.x, atol=1e-4)


def test_em_recovers_a_planted_prior_from_exact_posteriors():
    rng = np.random.default_rng(3)
    p, q = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    y = rng.choice(2, size=20_000, p=q)
    x = rng.normal(2.0 * y, 1.0)
    like = np.exp(-0.5 * (x[:, None] - np.array([0.0, 2.0])) ** 2)
    posterior = like * p / (like * p).sum(axis=1, keepdims=True)
    result = em_prior(posterior, p)
    np.testing.assert_allclose(result.prior, q, atol=0.015)
    truth = like * q / (like * q).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reweighted_probabilities(posterior, p, q), truth, atol=1e-12)


def test_em_reports_a_run_that_stopped_early():
    posterior = np.random.default_rng(4).dirichlet([1.0, 1.0], size=50)
    result = em_prior(posterior, [0.9, 0.1], max_iter=2)
    assert (result.n_iter, result.converged) == (2, False)


def test_em_refuses_bad_input():
    with pytest.raises(ValueError, match="every row must sum to 1"):
        em_prior([[0.5, 0.6]], [0.5, 0.5])
    with pytest.raises(ValueError, match="source_prior must be positive"):
        em_prior([[0.5, 0.5]], [1.0, 0.0])
    with pytest.raises(ValueError, match="probabilities must be"):
        em_prior(np.zeros((0, 2)), [0.5, 0.5])


def test_reweighting_keeps_a_row_that_the_target_prior_excludes():
    moved = reweighted_probabilities([[1.0, 0.0]], [0.5, 0.5], [0.0, 1.0])
    np.testing.assert_array_equal(moved, [[1.0, 0.0]])


def test_label_test_agrees_with_the_asymptotic_one_and_counts_string_labels():
    classes, a, b = label_counts(np.repeat(["x", "y", "z"], [300, 300, 400]), ["x"] * 330 + ["z"])
    np.testing.assert_array_equal(classes, ["x", "y", "z"])
    np.testing.assert_array_equal(b, [330, 0, 1])
    a, b = np.array([300, 300, 400]), np.array([330, 310, 360])
    statistic, p = label_permutation_test(a, b, n_permutations=20_000, rng=np.random.default_rng(0))
    table = np.stack([a, b])
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    reference = ((table - expected) ** 2 / expected).sum()
    assert statistic == pytest.approx(reference)
    assert p == pytest.approx(chi2.sf(reference, 2), abs=0.012)


def test_label_test_holds_its_level_with_rare_classes():
    rng = np.random.default_rng(5)
    prior = [0.9, 0.08, 0.02]
    rejected = 0
    for _ in range(1000):
        a, b = rng.multinomial(60, prior), rng.multinomial(40, prior)
        rejected += label_permutation_test(a, b, n_permutations=99, rng=rng)[1] <= 0.05
    assert 0.015 <= rejected / 1000 <= 0.07

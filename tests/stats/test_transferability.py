"""Scores of transferability against their published definitions, written as naive loops."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from shiftlab import transferability
from shiftlab.stats.transferability import h_score, leep, logme, nce, transrate


def sample(n=24, d=3, k=3, seed=0, apart=1.5):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return rng.normal(size=(n, d)) + apart * rng.normal(size=(k, d))[y], y


def naive_logme(F, y):
    """Maximise the Gaussian evidence over both precisions, by a general optimiser."""
    n = len(F)
    best = []
    for label in np.unique(y):
        target = (y == label).astype(float)

        def loss(logs, target=target):
            covariance = np.exp(-logs[1]) * np.eye(n) + np.exp(-logs[0]) * F @ F.T
            return -multivariate_normal(np.zeros(n), covariance).logpdf(target) / n

        starts = [(0.0, 0.0), (3.0, 2.0), (-3.0, 2.0), (6.0, 1.0)]
        options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
        found = [minimize(loss, s, method="Nelder-Mead", options=options).fun for s in starts]
        best.append(-min(found))
    return np.mean(best)


@pytest.mark.parametrize(("n", "d"), [(24, 3), (12, 8), (8, 12)])
def test_logme_is_the_maximum_of_the_evidence(n, d):
    F, y = sample(n, d)
    # With n < d the top may lie where there is no noise at all; the ratio's bound costs 1e-8.
    assert logme(F, y) >= naive_logme(F, y) - 1e-7
    if n > d:
        assert logme(F, y) == pytest.approx(naive_logme(F, y), abs=1e-6)


def test_logme_satisfies_the_published_fixed_point():
    """You et al., equations of alpha and beta at the optimum; m and A as published."""
    F, y = sample(60, 4, seed=3)
    n, d = F.shape
    evidences = []
    for label in range(3):
        target = (y == label).astype(float)
        alpha = beta = 1.0
        for _ in range(10_000):
            A = alpha * np.eye(d) + beta * F.T @ F
            m = beta * np.linalg.solve(A, F.T @ target)
            values = beta * np.linalg.eigvalsh(F.T @ F)
            gamma = (values / (alpha + values)).sum()
            alpha = gamma / (m @ m)
            beta = (n - gamma) / ((F @ m - target) ** 2).sum()
        A = alpha * np.eye(d) + beta * F.T @ F
        m = beta * np.linalg.solve(A, F.T @ target)
        evidence = n / 2 * np.log(beta) + d / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
        evidence -= beta / 2 * ((F @ m - target) ** 2).sum() + alpha / 2 * m @ m
        evidence -= 0.5 * np.linalg.slogdet(A)[1]
        evidences.append(evidence / n)
    assert logme(F, y) == pytest.approx(np.mean(evidences), abs=1e-8)


def test_logme_by_hand():
    """One feature that is 1 everywhere, labels half and half."""
    # Along the feature, (1, 1, 1, 1)/2, an indicator has the square 1; 2 - 1 = 1 is left on three
    # axes. Best are a noise of 1/3 there and a variance of 1 along the feature.
    expected = -0.5 * (4 * np.log(2 * np.pi) + 3 * np.log(1 / 3) + 4) / 4
    assert logme(np.ones((4, 1)), [0, 0, 1, 1]) == pytest.approx(expected, abs=1e-9)


def test_logme_does_not_depend_on_scale_and_rotation():
    F, y = sample(40, 5)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert logme(1e4 * F @ turn, y) == pytest.approx(logme(F, y), abs=1e-6)


def test_leep_by_hand():
    # Three rows, two source classes. P(y, z): a: (.8 + .4, .2 + .6)/3, b: (.3, .7)/3.
    theta = [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]
    a_given, b_given = (1.2 / 1.5, 0.8 / 1.5), (0.3 / 1.5, 0.7 / 1.5)
    expected = np.mean(
        [
            np.log(0.8 * a_given[0] + 0.2 * a_given[1]),
            np.log(0.4 * a_given[0] + 0.6 * a_given[1]),
            np.log(0.3 * b_given[0] + 0.7 * b_given[1]),
        ]
    )
    assert leep(theta, ["a", "a", "b"]) == pytest.approx(expected, abs=1e-12)


def test_leep_against_a_naive_loop():
    rng = np.random.default_rng(0)
    theta, y = rng.dirichlet(np.ones(5), size=40), rng.integers(0, 3, 40)
    total = 0.0
    for i in range(40):
        inner = 0.0
        for z in range(5):
            joint = sum(theta[j, z] for j in range(40) if y[j] == y[i]) / 40
            inner += joint / (theta[:, z].sum() / 40) * theta[i, z]
        total += np.log(inner)
    assert leep(theta, y) == pytest.approx(total / 40, abs=1e-12)


def test_nce_by_hand_and_as_a_limit_of_leep():
    z, y = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    expected = (2 * np.log(2 / 3) + np.log(1 / 3)) / 5
    assert nce(z, y) == pytest.approx(expected, abs=1e-12)
    # With all the probability on one class, LEEP is NCE.
    assert leep(np.eye(2)[z], y) == pytest.approx(expected, abs=1e-12)


def test_h_score_against_a_naive_loop_and_a_linear_map():
    F, y = sample(50, 4, seed=2)
    mean = F.mean(axis=0)
    covariance = sum(np.outer(f - mean, f - mean) for f in F) / 50
    between = sum(
        np.outer(F[y == label].mean(axis=0) - mean, F[y == label].mean(axis=0) - mean)
        for label in y
    )
    expected = np.trace(np.linalg.inv(covariance) @ between / 50)
    assert h_score(F, y) == pytest.approx(expected, abs=1e-10)
    mapped = F @ np.random.default_rng(0).normal(size=(4, 4)) + 7.0
    assert h_score(mapped, y) == pytest.approx(expected, abs=1e-8)


def test_h_score_says_nothing_with_fewer_rows_than_columns_and_shrinking_mends_that():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 3
    noise = rng.normal(size=(12, 40))
    good = noise + 4 * rng.normal(size=(3, 40))[y]
    assert h_score(noise, y) == pytest.approx(2.0, abs=1e-8)
    assert h_score(good, y) == pytest.approx(2.0, abs=1e-8)
    assert h_score(good, y, shrink=True) > h_score(noise, y, shrink=True) + 0.3


def test_shrunk_h_score_is_its_formula():
    from sklearn.covariance import LedoitWolf

    F, y = sample(20, 6, seed=4)
    fit = LedoitWolf().fit(F)
    means = np.array([F[y == label].mean(axis=0) for label in y]) - F.mean(axis=0)
    between = means.T @ means / 20
    expected = (1 - fit.shrinkage_) * np.trace(np.linalg.inv(fit.covariance_) @ between)
    assert h_score(F, y, shrink=True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (9, 20)])
def test_transrate_against_a_naive_loop(n, d):
    F, y = sample(n, d, seed=1)
    y = np.where(np.arange(n) < n // 2, 0, y)  # classes of unequal size
    Z = F - F.mean(axis=0)

    def rate(rows):
        return 0.5 * np.log(np.linalg.det(np.eye(d) + rows.T @ rows / (len(rows) * 0.5)))

    expected = rate(Z) - sum(np.mean(y == c) * rate(Z[y == c]) for c in np.unique(y))
    assert transrate(F, y, epsilon=0.5) == pytest.approx(expected, abs=1e-9)


def test_all_scores_rank_better_features_higher():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    noise, centres = rng.normal(size=(300, 5)), rng.normal(size=(3, 5))
    for score in (logme, h_score, transrate):
        values = [score(noise + apart * centres[y], y) for apart in (0.0, 0.5, 1.0, 2.0)]
        assert values == sorted(values), score.__name__


def test_features_need_no_torch():
    code = (
        "import sys, numpy as np\nfrom shiftlab import transferability\n"
        "y = np.arange(20) % 2\n"
        "s = transferability(None, np.random.default_rng(0).normal(size=(20, 2)), y,\n"
        "                    source_proba=np.full((20, 2), .5))\n"
        "assert 'torch' not in sys.modules\nprint(sorted(s))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ["h_score", "h_score_shrunk", "leep", "logme", "nce", "transrate"]
    assert out.stdout.strip() == str(names)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logme(np.zeros(4), [0, 1, 0, 1]), r"features must have shape \(n, d\)"),
        (lambda: logme([[np.nan], [1.0]], [0, 1]), "no NaN"),
        (lambda: h_score(np.zeros((4, 2)), [0, 1]), r"one label a row, shape \(4,\); got \(2,\)"),
        (lambda: transrate(np.zeros((2, 2)), [1, 1]), r"two classes; got only \[1\]"),
        (lambda: transrate(np.eye(2), [0, 1], epsilon=0.0), "epsilon must be a positive"),
        (lambda: leep([[2.0, 1.0]], [0]), "must have probabilities"),
        (lambda: nce([0, 1, 1], [0, 1]), r"source_labels must have one label a row"),
        (lambda: transferability(None, np.eye(2), [0, 1], layer="a"), "needs a backbone"),
        (lambda: transferability(3, np.eye(2), [0, 1]), "must be a TrainedNet"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()

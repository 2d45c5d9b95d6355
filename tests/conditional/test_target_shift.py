"""Weights on Y against known density ratios."""

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.linear_model import LinearRegression, Ridge

from shiftlab import Domain
from shiftlab.conditional.target_shift import TargetShift
from shiftlab.conditional.target_shift_fit import label_basis
from shiftlab.data import make_gaussian_shift


def rows_of(y, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([y, np.sin(3 * y)]) + 0.1 * rng.normal(size=(len(y), 2))


def test_weights_are_the_density_ratio():
    rng = np.random.default_rng(0)
    y, hidden = rng.random(2000), rng.beta(3, 2, 2000)
    adapter = TargetShift(random_state=0).fit((rows_of(y, 1), y), rows_of(hidden, 2))
    truth = beta(3, 2).pdf(y)
    assert np.corrcoef(adapter.weights_, truth)[0, 1] > 0.9
    assert np.abs(adapter.weights_ - truth).mean() < 0.25
    assert adapter.weights_.mean() == pytest.approx(1.0)


def test_a_wrong_linear_model_gains_where_the_target_is():
    """A line through a bent X|Y fits best where the weights are."""
    rng = np.random.default_rng(3)
    y, hidden = rng.random(1500) * 2, rng.beta(8, 1, 1500) * 2
    X, Z = (rows_of(v, s)[:, 1:] + 0.2 * v[:, None] for v, s in ((y, 4), (hidden, 5)))
    plain = LinearRegression().fit(X, y)
    adapted = TargetShift(LinearRegression(), random_state=0).fit((X, y), Z)
    error = [np.mean((model.predict(Z) - hidden) ** 2) for model in (plain, adapted)]
    assert error[1] < 0.8 * error[0]


def test_no_shift_leaves_the_weights_near_one():
    rng = np.random.default_rng(6)
    y, hidden = rng.random((2, 1000))
    adapter = TargetShift(random_state=0).fit((rows_of(y, 7), y), rows_of(hidden, 8))
    assert np.abs(adapter.weights_ - 1).mean() < 0.15


def test_classes_and_several_sources():
    """Pooled sources of different shares: weights times shares are the target's shares."""
    rng = np.random.default_rng(9)

    def draw(prior, n):
        y = rng.choice(3, n, p=prior)
        return np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[y] + rng.normal(size=(n, 2)), y

    sources = [draw([0.7, 0.2, 0.1], 600), draw([0.2, 0.2, 0.6], 300)]
    target, _ = draw([0.1, 0.6, 0.3], 900)
    adapter = TargetShift(random_state=0).fit(sources, target)
    y = adapter.source_.y
    shares = [adapter.weights_[y == c].sum() / len(y) for c in range(3)]
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.05)


def test_own_weights_are_multiplied():
    rng = np.random.default_rng(10)
    y = rng.random(1000)
    X, own = rows_of(y, 11), np.where(y > 0.5, 3.0, 1.0)
    adapter = TargetShift(random_state=0).fit(
        Domain(X, y, weight=own), rows_of(rng.random(1000), 12)
    )
    # The weighted source has too many large values, which the ratio takes back.
    assert np.average(y, weights=adapter.weights_) == pytest.approx(0.5, abs=0.04)


def test_basis_is_a_partition():
    rows = label_basis(np.random.default_rng(13).normal(size=200), 6)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert (rows >= 0).all()
    assert rows.shape == (200, 6)


def test_covariate_shift_is_refused_and_nothing_is_lost():
    """Y is a function of X on both sides; weights on Y would cost R2 of .08 on average."""

    def draw(mean, spread, rng):
        X = np.clip(rng.normal(mean, spread, (600, 2)), -2, 2)
        return X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + 0.3 * rng.normal(size=600)

    for seed in range(3):
        rng = np.random.default_rng(seed)
        source, (Z, _) = draw(0.0, 1.2, rng), draw(0.9, 0.5, rng)
        adapter = TargetShift(Ridge(), random_state=0)
        with pytest.warns(UserWarning, match=r"TargetShift keeps the source's weights.*P\(X\|Y\)"):
            adapter.fit(source, Z)
        assert "no weights on Y explain" in adapter.refused_
        assert adapter.label_shift_fit_.p_value < 0.01
        np.testing.assert_array_equal(adapter.weights_, 1.0)
        np.testing.assert_allclose(adapter.predict(Z), Ridge().fit(*source).predict(Z))


def test_a_refused_source_keeps_its_own_weights():
    source, target = make_gaussian_shift("covariate", random_state=0)
    own = np.random.default_rng(1).choice([1.0, 3.0], source.n_rows)
    with pytest.warns(UserWarning, match="keeps the source's weights"):
        adapter = TargetShift(random_state=0).fit(source.with_(weight=own), target.X)
    np.testing.assert_allclose(adapter.weights_, own / own.mean())


@pytest.mark.filterwarnings("ignore:TargetShift keeps:UserWarning")  # one in 20 by chance
def test_level_of_the_guard_under_target_shift():
    """Its statistic is standard normal or tighter."""
    statistics = []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        y, hidden = rng.random(400), rng.beta(4, 1.5, 400)
        noise = 0.1 if seed % 2 else 0.4  # few bumps can be told apart in the noisier half
        X, Z = (rows_of(v, 200 + seed + 50 * i) for i, v in enumerate((y, hidden)))
        X, Z = (rows + noise * rng.normal(size=rows.shape) for rows in (X, Z))
        adapter = TargetShift(random_state=seed).fit((X, y), Z)
        statistics.append(adapter.label_shift_fit_.statistic)
    assert abs(np.mean(statistics)) < 0.5
    assert 0.4 < np.std(statistics) < 1.2
    assert np.sum(np.array(statistics) > 2.33) <= 1


def test_what_x_does_not_know_cannot_be_tested():
    rng = np.random.default_rng(14)
    X, Z = rng.normal(size=(2, 300, 2))
    adapter = TargetShift(random_state=0).fit((X[:30], rng.random(30)), Z)
    assert adapter.label_shift_fit_ is None  # too few rows
    assert adapter.refused_ is None

"""The map: principal components by hand, the log odds as an axis, and broken input."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from shiftlab.diagnosis.map import draw_map


def points(drawn):
    return np.array([*drawn.source, *drawn.target])


def test_without_scores_the_axes_are_the_principal_components():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    drawn = draw_map(X[:150], X[150:], None, seed=1)
    quartiles = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    Z = np.clip((X - quartiles[1]) / (quartiles[2] - quartiles[0]) * 1.349, -5, 5)
    pca = PCA(2).fit(Z)
    expected = pca.transform(Z)
    for axis in (0, 1):
        sign = np.sign(points(drawn)[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(points(drawn)[:, axis], sign * expected[:, axis], atol=6e-4)
    assert f"show {pca.explained_variance_ratio_.sum():.0%} of the variance" in drawn.note
    assert "150 of 150 source rows and 150 of 150 target rows" in drawn.note


def test_with_scores_the_first_axis_is_the_log_odds_and_the_second_is_free_of_it():
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    T[:, 0] += 2
    X[:, 2] *= 3
    T[:, 2] *= 3
    odds = 2 * X[:, 0] - 2, 2 * T[:, 0] - 2
    drawn = draw_map(X, T, odds, seed=0)
    np.testing.assert_allclose(points(drawn)[:, 0], np.concatenate(odds), atol=6e-4)
    assert abs(np.corrcoef(points(drawn).T)[0, 1]) < 1e-3
    assert "log odds" in drawn.axes[0]
    assert "remains" in drawn.axes[1]
    # the two axes together show at least what the log odds' column alone does: a third
    assert 33 < int(drawn.note.split("show ")[1].split("%")[0]) <= 100


def test_at_most_400_a_side_chosen_at_random_by_the_seed_and_rounded():
    rng = np.random.default_rng(2)
    X, T = rng.normal(size=(2000, 5)), rng.normal(size=(900, 5))
    first, again, other = (draw_map(X, T, None, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other
    assert len(first.source) == len(first.target) == 400
    np.testing.assert_array_equal(points(first), np.round(points(first), 3))


def test_missing_infinite_constant_and_far_values_leave_a_map():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(100, 6))
    X[:, 1] = np.nan
    X[:, 2] = 7.0
    X[::3, 3] = np.nan
    X[0, 4] = np.inf
    X[1, 4] = 1e90
    X[:, 5] = np.arange(100) < 5  # rare indicator: no interquartile range
    drawn = draw_map(X[:50], X[50:], (np.full(50, -np.inf), np.full(50, 1e9)), seed=0)
    assert np.isfinite(points(drawn)).all()
    assert np.ptp(points(drawn)[:, 1]) < 50
    assert set(points(drawn)[:, 0]) == {-10.0, 10.0}
    flat = draw_map(np.ones((20, 2)), np.ones((20, 2)), None, seed=0)
    assert np.array_equal(points(flat), np.zeros((40, 2)))
    one = draw_map(X[:50, :1], X[50:, :1], None, seed=0)
    assert not points(one)[:, 1].any()


def test_what_does_not_fit_is_named():
    X = np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"same columns, got shapes \(5, 2\) and \(5, 1\)"):
        draw_map(X, X[:, :1], None, seed=0)
    with pytest.raises(ValueError, match="matrices with rows"):
        draw_map(X[:, :0], X[:, :0], None, seed=0)
    with pytest.raises(ValueError, match="one number for every row"):
        draw_map(X, X, (np.zeros(4), np.zeros(5)), seed=0)

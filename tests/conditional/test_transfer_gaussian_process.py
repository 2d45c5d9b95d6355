"""The Gaussian process on what the source's model leaves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import Ridge

from shiftlab import Domain, TransferGaussianProcess

KERNEL = 2.0 * RBF(1.5) + WhiteKernel(0.3)


def sample(seed=0, n=200, m=25):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 2)) * [1, 10], rng.normal(size=(m, 2)) * [1, 10]
    y = X @ [1, 0.2] + 0.1 * rng.normal(size=n)
    return X, y, Xt, Xt @ [1, 0.2] + np.sin(2 * Xt[:, 0]) + 1 + 0.1 * rng.normal(size=m)


def test_it_is_scikit_learns_with_the_source_mean_subtracted():
    X, y, Xt, yt = sample()
    model = TransferGaussianProcess(Ridge(), kernel=KERNEL).fit((X, y), (Xt, yt))
    mean, unit = Ridge().fit(X, y), X.std(axis=0)
    process = GaussianProcessRegressor(KERNEL).fit(Xt / unit, yt - mean.predict(Xt))
    expected, deviation = process.predict(X / unit, return_std=True)
    assert_allclose(model.predict(X), mean.predict(X) + expected)
    got, spread = model.estimator_.predict(X, return_std=True)
    assert_allclose(got, model.predict(X))
    assert_allclose(spread, deviation)


def test_the_posterior_by_its_formula():
    X, y, Xt, yt = sample()
    model = TransferGaussianProcess(Ridge(), kernel=KERNEL).fit((X, y), (Xt, yt))
    fitted, unit = model.estimator_.process.kernel_, X.std(axis=0)
    signal = fitted.k1  # without the noise
    A, B = Xt / unit, X[:5] / unit
    mean = model.source_estimator_
    K = fitted(A) + 1e-10 * np.eye(25)
    expected = mean.predict(X[:5]) + signal(B, A) @ np.linalg.solve(K, yt - mean.predict(Xt))
    assert_allclose(model.predict(X[:5]), expected, rtol=1e-6)


def test_far_from_the_labels_it_is_the_source():
    X, y, Xt, yt = sample()
    model = TransferGaussianProcess(Ridge(), kernel=KERNEL).fit((X, y), (Xt, yt))
    far = np.array([[1e4, 0.0], [-1e4, 1e5]])
    assert_allclose(model.predict(far), model.source_estimator_.predict(far))


def test_no_departure_leaves_the_source():
    X, y, Xt, _ = sample()
    mean = Ridge().fit(X, y)
    model = TransferGaussianProcess(Ridge(), random_state=0).fit((X, y), (Xt, mean.predict(Xt)))
    assert_allclose(model.predict(X), mean.predict(X), atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_it_helps_where_the_departure_is_smooth():
    scores = []
    for seed in range(3):
        X, y, Xt, yt = sample(seed, m=300)
        known = np.arange(300) < 25
        model = TransferGaussianProcess(Ridge(), random_state=0)
        model.fit((X, y), Domain(Xt, yt, labelled=known))
        pooled = Ridge().fit(np.r_[X, Xt[known]], np.r_[y, yt[known]])
        alone = GaussianProcessRegressor(1.0 * RBF() + WhiteKernel(), normalize_y=True)
        alone.fit(Xt[known] / X.std(axis=0), yt[known])
        scores.append(
            [
                model.score(Xt, yt),
                pooled.score(Xt, yt),
                alone.score(Xt / X.std(axis=0), yt),
            ]
        )
    ours, pooled, alone = np.mean(scores, axis=0)
    assert ours > pooled + 0.05
    assert ours > alone


def test_less_weight_is_more_noise():
    X, y, Xt, yt = sample()
    wrong = np.where(np.arange(25) == 0, yt + 50, yt)
    model = TransferGaussianProcess(Ridge(), kernel=KERNEL)
    weight = np.where(np.arange(25) == 0, 1e-9, 1.0)
    light = model.fit((X, y), Domain(Xt, wrong, weight=weight)).predict(X)
    assert_allclose(light, model.fit((X, y), (Xt[1:], yt[1:])).predict(X), atol=0.1)
    equal = model.fit((X, y), Domain(Xt, yt, weight=np.full(25, 3.0))).predict(X)
    assert_allclose(equal, model.fit((X, y), (Xt, yt)).predict(X))
    with pytest.raises(ValueError, match="needs numbers as y"):
        model.fit((X, np.repeat("a", 200)), (Xt, np.repeat("a", 25)))

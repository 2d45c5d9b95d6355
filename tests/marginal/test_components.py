"""How many components are kept, and in which units: by held-out source rows alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from shiftlab import GFK, JDA, TCA, Domain, SubspaceAlignment, TransferJointMatching
from shiftlab.marginal.alignment.components import components_to_keep, scale_columns

PROJECTIONS = [TCA, JDA, TransferJointMatching, SubspaceAlignment, GFK]
every_projection = pytest.mark.parametrize("kind", PROJECTIONS, ids=lambda kind: kind.__name__)


def late_signal(n=400, d=120, at=80, seed=0):
    """Columns of falling spread; the label hangs on a weak one."""
    rng = np.random.default_rng(seed)
    spread = 1.05 ** -np.arange(d)
    X = rng.normal(size=(n, d)) * spread
    y = (X[:, at] > 0).astype(int)
    X[:, at] += 3 * spread[at] * np.where(y, 1, -1)
    return X, y


def early_signal(n=400, d=120, seed=0):
    return late_signal(n, d, at=2, seed=seed)


def keep(n_components, scores, y, estimator=None):
    source = Domain(scores, y)
    return components_to_keep(
        n_components, scores.shape[1], lambda rows: scores[rows], source, estimator, "TCA"
    )


@every_projection
def test_more_than_thirty_are_kept_where_the_labels_need_them(kind):
    (X, y), (Xt, yt) = late_signal(seed=0), late_signal(seed=1)
    estimator = LogisticRegression(C=100.0, max_iter=2000)
    adapter = kind(estimator, scale=False).fit((X, y), Xt)
    assert adapter.n_components_ > 30
    few = kind(estimator, scale=False, n_components=30).fit((X, y), Xt)
    assert adapter.score(Xt, yt) > few.score(Xt, yt) + 0.2


@pytest.mark.parametrize("kind", [TCA, JDA, SubspaceAlignment])
def test_thirty_are_kept_where_they_are_enough(kind):
    (X, y), (Xt, _) = early_signal(seed=0), early_signal(seed=1)
    adapter = kind(LogisticRegression(max_iter=2000), scale=False).fit((X, y), Xt)
    assert adapter.n_components_ == 30


def test_as_given_whatever_the_labels_say():
    X, y = late_signal()
    assert keep(7, X, y) == 7
    with pytest.raises(ValueError, match="n_components=500"):
        keep(500, X, y)


def test_without_labels_thirty_or_all():
    X, y = late_signal()
    assert keep(None, X, None) == 30
    assert keep(None, X, np.zeros(len(X))) == 30
    assert keep(None, X[:, :12], y) == 12


def test_a_regression_asks_its_squared_error():
    X, _ = late_signal()
    scores = X * 1.05 ** np.arange(X.shape[1])
    late, early = scores[:, 80] * 5, scores[:, 2] * 5
    for y, expected in ((late, 100), (early, 30)):
        assert keep(None, scores, y, Ridge()) == expected


def test_columns_of_one_unit_keep_their_spread_where_that_predicts():
    """A strong column with the signal among weak ones that are noise: neighbours need it strong."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60)) * np.r_[5.0, np.full(59, 0.5)]
    y = (X[:, 0] > 0).astype(int)
    other = rng.normal(size=(200, 60)) * np.r_[5.0, np.full(59, 0.5)]
    assert not scale_columns("auto", X, other, Domain(X, y), None)
    assert scale_columns(True, X, other, Domain(X, y), None)


def test_columns_are_scaled_where_strength_means_nothing():
    rng = np.random.default_rng(1)
    spread = np.r_[0.01, np.full(39, 100.0)]
    X, other = rng.normal(size=(300, 40)) * spread, rng.normal(size=(200, 40)) * spread
    y = (X[:, 0] > 0).astype(int)
    assert scale_columns("auto", X, other, Domain(X, y), LogisticRegression(max_iter=5000))
    # and without labels, or with few columns, always
    assert scale_columns("auto", X, other, Domain(X), None)
    assert scale_columns("auto", X[:, :5], other[:, :5], Domain(X[:, :5], y), None)


def test_target_labels_decide_nothing():
    (X, y), (Xt, yt) = late_signal(seed=0), late_signal(seed=1)
    adapters = [
        TCA(LogisticRegression(max_iter=2000)).fit((X, y), target)
        for target in (Domain(Xt, yt), Domain(Xt, 1 - yt), Xt)
    ]
    assert len({a.n_components_ for a in adapters}) == 1
    np.testing.assert_array_equal(adapters[0].predict(Xt), adapters[1].predict(Xt))

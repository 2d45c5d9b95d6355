"""Losses of models of fewer rows become those of a model of all rows."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LogisticRegression

from shiftlab import LocationScale
from shiftlab.domain import Domain
from shiftlab.pipeline import make_pipeline
from shiftlab.selection.ground import Ground
from shiftlab.selection.learning_curve import whole_loss


class OffByRows(RegressorMixin, BaseEstimator):
    """Is wrong by one over the root of the rows that it has learnt from, so that a = 0, b = 1."""

    def fit(self, X, y):
        self.n_ = len(y)
        return self

    def predict(self, X):
        return X[:, 0] + self.n_**-0.5


def ground_of(y, estimator, folds, X=None):
    X = y[:, None] if X is None else X
    rng = np.random.RandomState(0)
    return Ground(make_pipeline(estimator), Domain(X, y), Domain(X + 1.0), folds, rng)


@pytest.mark.parametrize("folds", [3, 5, 9])
def test_what_falls_with_the_rows_is_exactly_that_of_all_rows(folds):
    ground = ground_of(np.random.default_rng(0).normal(size=90), OffByRows(), folds)
    fewer = 90 * (1 - 1 / folds)
    seen = ground.scale * ground.held_out_loss(ground.baseline)
    assert seen == pytest.approx(np.full(90, 1 / fewer))
    found = ground.scale * whole_loss(ground, ground.baseline, mapped=False)
    assert found == pytest.approx(np.full(90, 1 / 90))


def test_so_it_is_for_mapped_rows():
    ground = ground_of(np.random.default_rng(0).normal(size=90), OffByRows(), 3)
    # the target is the source one further: the map adds one, and so misses by 1 and 1 / root n
    adapter = make_pipeline(LocationScale(OffByRows()))
    found = ground.scale * whole_loss(ground, adapter, mapped=True).mean()
    # (1 + m**-0.5)**2 is not a + b / m: from 30 and 60 rows it is brought near to that of 90
    few, more, all_ = ((1 + m**-0.5) ** 2 for m in (30, 60, 90))
    assert found == pytest.approx(more - (few - more) / 3)
    assert abs(found - all_) < 0.4 * (more - all_)


def test_with_two_folds_and_with_folds_that_lack_a_class_the_losses_stay():
    y = np.random.default_rng(0).normal(size=90)
    ground = ground_of(y, OffByRows(), 2)
    assert np.array_equal(
        whole_loss(ground, ground.baseline, mapped=False), ground.held_out_loss(ground.baseline)
    )
    few = np.zeros(30)
    few[:2] = 1  # one of three folds has none of the second class
    X = np.random.default_rng(1).normal(size=(30, 2))
    with pytest.warns(UserWarning, match="least populated class"):
        ground = ground_of(few, LogisticRegression(), 3, X)
    assert np.array_equal(
        whole_loss(ground, ground.baseline, mapped=False), ground.held_out_loss(ground.baseline)
    )

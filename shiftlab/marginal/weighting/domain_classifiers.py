"""The short list of domain classifiers, and how one of them is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from shiftlab.domain import Domain
from shiftlab.stats.calibration import log_loss
from shiftlab.supervised import fit_estimator

__all__ = ["candidates", "choose_classifier"]

# Above this many columns the classifiers see principal components.
MOST_COLUMNS = 100
# Up to this many columns squares and products are affordable: 30 columns make 495.
MOST_COLUMNS_SQUARED = 30


def candidates(both: Domain, seed: int) -> dict[str, Any]:
    """Return the domain classifiers that suit the data, the simplest first.

    Parameters
    ----------
    both : Domain
        Source and target rows, stacked.
    seed : int
        Seed of those that are random.

    Returns
    -------
    dict of str to estimator
    """
    reduce = _reduction(both, seed)
    d = both.n_features if not reduce else MOST_COLUMNS
    sparse = both.is_sparse and not reduce
    scale = ("scale", StandardScaler(with_mean=not sparse))

    def chain(*steps: tuple[str, BaseEstimator]) -> Pipeline:
        return Pipeline([*reduce, *steps])

    def logistic(C: float) -> tuple[str, BaseEstimator]:
        return "classify", LogisticRegression(C=C, max_iter=1000)

    found = {
        "none": DummyClassifier(strategy="prior"),
        "linear, strong penalty": chain(scale, logistic(0.01)),
        "linear": chain(scale, logistic(1.0)),
    }
    if d <= MOST_COLUMNS_SQUARED and not sparse:
        squares = ("squares", PolynomialFeatures(2, include_bias=False))
        # Scaled before, so that products are of comparable size, and after, for the solver.
        again = ("scale_again", StandardScaler())
        found["quadratic"] = chain(scale, squares, again, logistic(1.0))
    if not (sparse or reduce):
        # Cutting columns into weighted bins is the slow part where rows have weights.
        trees = HistGradientBoostingClassifier(max_bins=63, random_state=seed)
        found["boosted trees"] = chain(("classify", trees))
    return found


def _reduction(both: Domain, seed: int) -> list[tuple[str, BaseEstimator]]:
    if min(both.n_rows - 1, both.n_features) <= MOST_COLUMNS:
        return []
    if both.is_sparse:
        return [("reduce", TruncatedSVD(MOST_COLUMNS, random_state=seed))]
    return [("reduce", PCA(MOST_COLUMNS, svd_solver="randomized", random_state=seed))]


def choose_classifier(options: dict[str, Any], both: Domain, cv: int) -> str:
    """Return the name of the classifier with the smallest held-out log-loss.

    Parameters
    ----------
    options : dict of str to estimator
        The simplest first: it wins a tie.
    both : Domain
        Rows with the domain as label, 0 or 1.
    cv : int
        Number of folds.

    Returns
    -------
    str
    """
    n_folds = min(cv, int(np.bincount(both.y).min()))
    if n_folds < 2:
        return next(iter(options))
    splits = list(StratifiedKFold(n_folds).split(np.zeros(both.n_rows), both.y))
    losses = {}
    for name, classifier in options.items():
        held_out = np.empty((both.n_rows, 2))
        for train, test in splits:
            fitted = fit_estimator(clone(classifier), both.take(train))
            held_out[test] = fitted.predict_proba(both.X[test])
        losses[name] = log_loss(held_out, both.y, both.weight)
    return min(losses, key=lambda name: losses[name])

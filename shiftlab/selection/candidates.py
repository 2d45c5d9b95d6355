"""What `adapt` tries, by what is there to adapt with."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

from shiftlab.conditional.balanced_weighting import BalancedWeighting
from shiftlab.conditional.prior_correction import PriorCorrection
from shiftlab.conditional.self_training import SelfTraining
from shiftlab.conditional.source_regularized import SourceRegularized
from shiftlab.conditional.tradaboost import TrAdaBoost
from shiftlab.domain import Domain
from shiftlab.marginal.alignment.feature_augmentation import FeatureAugmentation
from shiftlab.marginal.alignment.jda import JDA
from shiftlab.marginal.alignment.linear_transport import LinearTransport
from shiftlab.marginal.alignment.location_scale import LocationScale
from shiftlab.marginal.weighting.classifier import ClassifierWeighting
from shiftlab.selection.consensus import Consensus
from shiftlab.supervised import weight_keyword
from shiftlab.validation import flatten_images

__all__ = ["COMPONENTS", "assumed", "default_estimator", "directions", "from_labels", "unassumed"]

COMPONENTS = 30  # of the projection in the consensus
DRAWN = 2000  # rows of a side, to count the directions in which they vary
PENALTIES = [0.1, 1.0, 10.0, 100.0]
FOLDS = 3
ROWS = 5000  # to choose the penalty on


def default_estimator(source: Domain, task: str, seed: int) -> Any:
    """Return what is trained where nobody says: a linear model, its penalty by cross-validation.

    Parameters
    ----------
    source : Domain
        Labelled rows as numbers.
    task : {"classification", "regression"}
        What is predicted.
    seed : int
        Of the folds.

    Returns
    -------
    LogisticRegression or Ridge
    """
    rows = source.labelled_part()
    if rows.n_rows > ROWS:
        chosen = np.random.RandomState(seed).choice(rows.n_rows, ROWS, replace=False)
        rows = rows.take(np.sort(chosen))
    X, y = flatten_images(rows.X) if rows.is_image else rows.X, np.asarray(rows.y)
    if task == "regression":
        base, grid, scoring = Ridge(), {"alpha": PENALTIES}, "neg_mean_squared_error"
        few = rows.n_rows < FOLDS
    else:
        base, grid = LogisticRegression(max_iter=2000), {"C": [1 / p for p in PENALTIES]}
        scoring = "neg_log_loss"
        few = np.unique(y, return_counts=True)[1].min() < FOLDS
    if few:  # too few rows of a class to choose by
        return base
    splits = (KFold if task == "regression" else StratifiedKFold)(
        FOLDS, shuffle=True, random_state=seed
    )
    search = GridSearchCV(base, grid, scoring=scoring, cv=splits, refit=False).fit(X, y)
    return base.set_params(**search.best_params_)


def assumed(estimator: Any, seed: int) -> dict[str, Any]:
    """Adapters whose gain can be estimated if label shift, covariate shift or a map holds.

    Parameters
    ----------
    estimator : estimator
        Trained inside each.
    seed : int
        Of the adapters.

    Returns
    -------
    dict of str to Adapter
    """
    found: dict[str, Any] = {}
    if is_classifier(estimator) and hasattr(estimator, "predict_proba"):
        found["PriorCorrection"] = PriorCorrection(clone(estimator), random_state=seed)
    found["LocationScale"] = LocationScale(clone(estimator), random_state=seed)
    found["LinearTransport"] = LinearTransport(clone(estimator))
    if weight_keyword(estimator):
        found["ClassifierWeighting"] = ClassifierWeighting(clone(estimator), random_state=seed)
    return found


def from_labels(estimator: Any, seed: int) -> dict[str, Any]:
    """Adapters that learn from labelled target rows.

    Parameters
    ----------
    estimator : estimator
        Trained inside each.
    seed : int
        Of the adapters.

    Returns
    -------
    dict of str to Adapter
    """
    found: dict[str, Any] = {"FeatureAugmentation": FeatureAugmentation(clone(estimator))}
    if isinstance(estimator, (LogisticRegression, LinearRegression, Ridge)):
        found["SourceRegularized"] = SourceRegularized(clone(estimator))
    if weight_keyword(estimator):
        found["BalancedWeighting"] = BalancedWeighting(clone(estimator), random_state=seed)
        if is_classifier(estimator):
            found["TrAdaBoost"] = TrAdaBoost(clone(estimator))
    return found


def directions(source: Domain, target: Domain) -> int:
    """Count the directions in which the rows of both samples vary.

    Parameters
    ----------
    source, target : Domain
        Rows as numbers.

    Returns
    -------
    int
        The rank of at most 2,000 rows of a side, of columns with variance one; nearly collinear
        columns count as one.
    """
    rng = np.random.RandomState(0)
    sides = []
    for domain in (source, target):
        rows = domain.X
        if domain.n_rows > DRAWN:
            rows = rows[np.sort(rng.choice(domain.n_rows, DRAWN, replace=False))]
        rows = rows.toarray() if issparse(rows) else np.asarray(rows)
        sides.append(rows.reshape(len(rows), -1).astype(np.float64))
    both = np.vstack(sides)
    both = both[:, both.std(axis=0) > 0]
    if not both.shape[1]:
        return 0
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    return int(np.linalg.matrix_rank(both, rtol=1e-3))


def unassumed(estimator: Any, seed: int, n_components: int = COMPONENTS) -> dict[str, Any]:
    """Return what has done least harm on real pairs where no assumption stands.

    The mean of self-training and a class-wise aligned projection: they err on different rows, and
    their mean did better than either.

    Parameters
    ----------
    estimator : estimator
        Trained inside.
    seed : int
        Of the adapters.
    n_components : int, default=30
        Of the projection.

    Returns
    -------
    dict of str to Adapter
    """
    if not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        return {}
    models = [
        SelfTraining(clone(estimator), random_state=seed),
        JDA(clone(estimator), n_components=n_components, random_state=seed),
    ]
    return {"Consensus": Consensus(models)}

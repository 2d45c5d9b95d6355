"""Train a scikit-learn estimator on a domain, with its weights."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.pipeline import Pipeline as SklearnPipeline
from sklearn.utils import get_tags

from shiftlab.domain import Domain
from shiftlab.validation import flatten_images

__all__ = ["fit_estimator", "rows_for", "weight_keyword"]


def weight_keyword(estimator: Any) -> str | None:
    """Return the keyword under which ``estimator.fit`` takes row weights, or None.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator, a pipeline of them or a meta-estimator around one.

    Returns
    -------
    str or None
        ``"sample_weight"``, ``"<last step>__sample_weight"`` for a scikit-learn pipeline,
        or None when weights cannot be given.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> weight_keyword(Ridge()), weight_keyword(KNeighborsClassifier())
    ('sample_weight', None)
    """
    if isinstance(estimator, SklearnPipeline):
        name, last = estimator.steps[-1]
        inner = weight_keyword(last)
        return None if inner is None else f"{name}__{inner}"
    parameters = inspect.signature(estimator.fit).parameters
    if "sample_weight" in parameters:
        # Meta-estimators (calibration, bagging, ...) accept the argument and fail later
        # when what they wrap does not.
        inner_estimator = getattr(estimator, "estimator", None)
        if isinstance(inner_estimator, BaseEstimator):
            return "sample_weight" if weight_keyword(inner_estimator) else None
        return "sample_weight"
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        inner_estimator = getattr(estimator, "estimator", None)
        return None if inner_estimator is None else weight_keyword(inner_estimator)
    return None


def rows_for(estimator: Any, X: Any) -> Any:
    """Return ``X`` in the shape the estimator takes: images are flattened unless it takes them."""
    if getattr(X, "ndim", 2) > 2 and not get_tags(estimator).input_tags.three_d_array:
        return flatten_images(X)
    return X


def fit_estimator(estimator: Any, domain: Domain) -> Any:
    """Return a clone of ``estimator`` trained on the labelled rows of ``domain``.

    Parameters
    ----------
    estimator : estimator
        Left as it is.
    domain : Domain
        Training rows; their weights are passed on.

    Returns
    -------
    estimator
        The fitted clone.

    Raises
    ------
    ValueError
        If no row is labelled, there are weights that the estimator cannot take, or all rows are of
        one class and the classifier needs two.
    """
    rows = domain.labelled_part()
    if rows.n_rows == 0:
        raise ValueError(
            f"{type(estimator).__name__} needs a labelled source; got no label. Pass (X, y) or "
            "Domain(X, y) as the source."
        )
    keywords: dict[str, Any] = {}
    if rows.weight is not None:
        keyword = weight_keyword(estimator)
        if keyword is None:
            raise ValueError(
                f"{type(estimator).__name__} takes no sample_weight, so the weights of the "
                "source would be lost. Either use an estimator that takes them "
                "(LogisticRegression, HistGradientBoostingClassifier, Ridge, ...), or put "
                "Resample('weights') before it, which draws rows in proportion to their weights."
            )
        keywords[keyword] = rows.weight
    X = rows_for(estimator, rows.X)
    try:
        return clone(estimator).fit(X, rows.y, **keywords)
    except ValueError as error:
        # Some classifiers do take one class, so that only their refusal tells.
        if is_classifier(estimator) and len(np.unique(rows.y)) == 1:
            raise ValueError(
                f"{type(estimator).__name__} needs at least 2 classes; the source's rows, as they "
                f"are trained on, have 1 class, {rows.y.tolist()[0]!r}"
            ) from error
        raise

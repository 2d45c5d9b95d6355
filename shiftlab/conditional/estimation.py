"""Cross-fitted, calibrated probabilities, and the target prior that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.stats.calibration import CALIBRATIONS, Calibration, select_calibration
from shiftlab.stats.priors import bbse_prior, em_prior
from shiftlab.supervised import fit_estimator, rows_for

__all__ = [
    "CrossFit",
    "class_shares",
    "cross_fit",
    "estimate_prior",
    "probabilities_of",
    "require_probabilities",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Held-out probabilities of a classifier on the source, and their calibration.

    Parameters
    ----------
    probabilities : ndarray of shape (m, k)
        Calibrated probabilities of the rows that were held out once.
    codes : ndarray of shape (m,)
        Their classes, as columns.
    weight : ndarray of shape (m,) or None
        Their weights.
    calibration : Calibration
        The fitted map.
    """

    probabilities: Floats
    codes: NDArray[np.intp]
    weight: Floats | None
    calibration: Calibration


def require_probabilities(estimator: Any, who: str) -> None:
    """Raise ValueError unless ``estimator`` has ``predict_proba``."""
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"{who}: {type(estimator).__name__} has no predict_proba; wrap it in "
            f"CalibratedClassifierCV({type(estimator).__name__}(...)), or use "
            "LogisticRegression"
        )


def probabilities_of(estimator: Any, X: Any, classes: NDArray[Any]) -> Floats:
    """Return ``predict_proba`` with a column for each of ``classes``, zero where unknown."""
    found = np.asarray(estimator.predict_proba(rows_for(estimator, X)), dtype=np.float64)
    if np.array_equal(estimator.classes_, classes):
        return found
    wide = np.zeros((len(found), len(classes)))
    wide[:, np.searchsorted(classes, estimator.classes_)] = found
    return wide


def class_shares(codes: NDArray[np.intp], k: int, weight: Floats | None) -> Floats:
    """Return the (weighted) share of each of ``k`` classes."""
    totals = np.bincount(codes, weights=weight, minlength=k).astype(np.float64)
    return np.asarray(totals / totals.sum())


def _folds(codes: NDArray[np.intp], cv: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Deal the rows of each class into folds; a class's only row is -1, always trained on."""
    fold = np.empty(len(codes), dtype=np.intp)
    start = 0
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        if len(rows) == 1:
            fold[rows] = -1
            continue
        # Going on where the last class stopped keeps the folds equally large.
        fold[rng.permutation(rows)] = (start + np.arange(len(rows))) % cv
        start += len(rows)
    return fold


def cross_fit(
    estimator: Any, source: Domain, calibration: str, cv: int, rng: np.random.RandomState
) -> CrossFit:
    """Predict each source row with a clone that did not train on it, and calibrate.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``; cloned.
    source : Domain
        All rows labelled.
    calibration : {"auto", "none", "temperature", "bias_corrected"}
        Which calibration map.
    cv : int
        Number of folds. A class with fewer rows is held out in fewer folds; a class with one
        row is in every training set and never held out.
    rng : RandomState
        Deals the rows into folds.

    Returns
    -------
    CrossFit
    """
    classes, codes = np.unique(source.y, return_inverse=True)
    fold = _folds(codes, cv, rng)
    # The mean weight is one, so that a penalty counts in rows.
    weight = None if source.weight is None else source.weight / source.weight.mean()
    probabilities = np.empty((len(codes), len(classes)))
    plain = source.with_(weight=None)  # a fold may hold rows of weight zero only
    for k in np.unique(fold[fold >= 0]):
        test = np.flatnonzero(fold == k)
        fitted = fit_estimator(estimator, source.take(fold != k))
        probabilities[test] = probabilities_of(fitted, plain.take(test).X, classes)
    held_out = fold >= 0
    methods: tuple[Any, ...] = (calibration,)
    if calibration == "auto":
        # The bias of a class that is never held out would only be pushed down.
        methods = CALIBRATIONS if held_out.all() else CALIBRATIONS[:2]
    inside = None if weight is None else weight[held_out]
    fitted_map = select_calibration(
        probabilities[held_out], codes[held_out], fold[held_out], methods, inside
    )
    return CrossFit(fitted_map(probabilities[held_out]), codes[held_out], inside, fitted_map)


def estimate_prior(
    method: Literal["em", "bbse"] | str,
    fit: CrossFit,
    source_prior: Floats,
    target_probabilities: Floats,
    classes: NDArray[Any],
) -> Floats:
    """Estimate the target prior from calibrated probabilities of both sides.

    Parameters
    ----------
    method : {"em", "bbse"}
        Maximum likelihood, or the confusion matrix of the probabilities.
    fit : CrossFit
        Held-out probabilities on the source.
    source_prior : ndarray of shape (k,)
        Class shares of the source.
    target_probabilities : ndarray of shape (n, k)
        Calibrated probabilities of the target rows.
    classes : ndarray of shape (k,)
        Labels, for messages.

    Returns
    -------
    ndarray of shape (k,)

    Raises
    ------
    ValueError
        For "bbse", if a class is never held out or the confusion matrix is singular.
    """
    if method == "em":
        return em_prior(target_probabilities, source_prior).prior
    k = len(source_prior)
    counts = np.bincount(fit.codes, minlength=k)
    if (counts == 0).any():
        raise ValueError(
            f"method='bbse' needs at least 2 rows of each class; the source has 1 of "
            f"{classes[counts == 0].tolist()}. Add rows, drop the class, or use method='em'."
        )
    w = np.ones(len(fit.codes)) if fit.weight is None else fit.weight
    joint = np.zeros((k, k))
    np.add.at(joint.T, fit.codes, fit.probabilities * w[:, None])
    prior = joint.sum(axis=0) / joint.sum()
    # A share out of n rows has a standard error of up to 0.5/sqrt(n): a singular value below
    # that cannot be told from zero.
    noise = 0.5 / np.sqrt(counts.min())
    try:
        return bbse_prior(
            joint / joint.sum(), target_probabilities.mean(axis=0), prior, rcond=float(noise)
        )
    except ValueError as error:
        raise ValueError(
            "method='bbse' cannot tell the classes apart with this estimator: its confusion "
            f"matrix on held-out source rows is singular up to sampling noise ({error}). Use a "
            "better estimator, merge classes, or use method='em'."
        ) from error

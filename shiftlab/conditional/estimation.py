"""Cross-fitted, calibrated probabilities, and the target prior that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.frozen import FrozenEstimator

from shiftlab.conditional.label_shift_fit import (
    copies,
    is_label_shift_plausible,
    label_shift_fit,
)
from shiftlab.domain import Domain
from shiftlab.stats.calibration import (
    ALL_CALIBRATIONS,
    CALIBRATIONS,
    Calibration,
    held_out_calibration,
    log_loss,
    select_calibration,
)
from shiftlab.stats.class_densities import fit_class_densities, held_out_densities
from shiftlab.stats.label_fit import LabelFitResult, MixtureMoments, mixture_moments
from shiftlab.stats.label_shift import confusion_matrix, rlls_prior, shrunken_prior
from shiftlab.stats.priors import bbse_prior, em_prior
from shiftlab.supervised import fit_estimator, rows_for

__all__ = [
    "METHODS",
    "CrossFit",
    "PriorEstimate",
    "class_shares",
    "cross_fit",
    "estimate_prior",
    "moment_estimator",
    "predictions_of",
    "probabilities_of",
    "require_probabilities",
]

METHODS = ("auto", "em", "bbse", "bbse_hard", "rlls", "rlls_hard")

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
        Their weights, of mean about one.
    calibration : Calibration
        The fitted map.
    rows : ndarray of shape (m,)
        Which rows of the source they are.
    target_probabilities : ndarray of shape (n, k)
        Calibrated probabilities of the target, each row by one of the models that predicted the
        source rows: on the two sides the same models, none of which trained on what it predicts.
    densities : callable or None
        From the classifier's own probabilities to posteriors by class densities, where these are
        nearer to the held-out labels than calibrated probabilities are.
    posteriors : ndarray of shape (m, k)
        Posteriors of the rows, by densities that were fitted without their fold; the calibrated
        probabilities where there are none.
    """

    probabilities: Floats
    codes: NDArray[np.intp]
    weight: Floats | None
    calibration: Calibration
    rows: NDArray[np.intp]
    target_probabilities: Floats
    densities: Callable[[Floats], Floats] | None
    posteriors: Floats


@dataclass(frozen=True, eq=False)
class PriorEstimate:
    """A target prior, or why there is none.

    Parameters
    ----------
    prior : ndarray of shape (k,)
        Class shares of the target; those of the source if ``refused``.
    refused : str or None
        Why the estimate is not to be trusted.
    strength : float
        Rows that the source's prior counted for, see `shrunken_prior`; 0 for other methods.
    fit : LabelFitResult or None
        The test of label shift, where one could be done.
    posteriors : ndarray of shape (n, k) or None
        Those of the target rows by class densities, if the prior came from them.
    """

    prior: Floats
    refused: str | None = None
    strength: float = 0.0
    fit: LabelFitResult | None = None
    posteriors: Floats | None = None


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
    unknown = np.setdiff1d(estimator.classes_, classes)
    if len(unknown):
        raise ValueError(
            f"{type(estimator).__name__} knows the classes {unknown.tolist()}, of which the source "
            "has no labelled row (or none with a weight), so that nothing is known about their "
            "share; add rows of them"
        )
    wide = np.zeros((len(found), len(classes)))
    wide[:, np.searchsorted(classes, estimator.classes_)] = found
    return wide


def class_shares(codes: NDArray[np.intp], k: int, weight: Floats | None) -> Floats:
    """Return the (weighted) share of each of ``k`` classes."""
    totals = np.bincount(codes, weights=weight, minlength=k).astype(np.float64)
    return np.asarray(totals / totals.sum())


def _folds(
    source: Domain, codes: NDArray[np.intp], cv: int, rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Deal the rows of each class into folds; a class's only row is -1, always trained on.

    Copies of a row, as oversampling makes them, go into one fold: a copy of what was trained on
    is not held out.
    """
    fold = np.empty(len(codes), dtype=np.intp)
    kin = copies(source.X, codes)
    start = 0
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        different, member = np.unique(kin[rows], return_inverse=True)
        n = len(different)
        if n == 1:
            fold[rows] = -1
            continue
        # Going on where the last class stopped keeps the folds equally large.
        fold[rows] = ((start + rng.permutation(n)) % cv)[member]
        start += n
    return fold


def cross_fit(
    estimator: Any,
    source: Domain,
    target: Domain,
    calibration: str,
    cv: int,
    rng: np.random.RandomState,
) -> CrossFit:
    """Predict each source row with a clone that did not train on it, and calibrate.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``; cloned. A ``FrozenEstimator`` is used as it is, and taken not
        to have trained on any row.
    source : Domain
        All rows labelled.
    target : Domain
        Rows to predict with the same clones.
    calibration : str
        Which calibration map; "auto" for the one with the smallest held-out loss.
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
    fold = _folds(source, codes, cv, rng)
    # The mean weight is one, so that a penalty counts in rows.
    weight = None if source.weight is None else source.weight / source.weight.mean()
    probabilities = np.zeros((len(codes), len(classes)))
    predicted = np.zeros((target.n_rows, len(classes)))
    plain = source.with_(weight=None)  # a fold may hold rows of weight zero only
    names = np.unique(fold[fold >= 0])
    part = names[np.arange(target.n_rows) % len(names)] if len(names) else np.empty(0)
    if isinstance(estimator, FrozenEstimator):
        probabilities = probabilities_of(estimator, plain.X, classes)
        predicted = probabilities_of(estimator, target.X, classes)
    else:
        for k in names:
            fitted = fit_estimator(estimator, source.take(fold != k))
            for rows, place, into in (
                (plain, fold == k, probabilities),
                (target, part == k, predicted),
            ):
                if place.any():
                    into[place] = probabilities_of(
                        fitted, rows.take(np.flatnonzero(place)).X, classes
                    )
    held_out = fold >= 0
    methods: tuple[Any, ...] = (calibration,)
    if calibration == "auto":
        # The bias of a class that is never held out would only be pushed down.
        methods = ALL_CALIBRATIONS if held_out.all() else CALIBRATIONS[:2]
    inside = None if weight is None else weight[held_out]
    raw, known, parts = probabilities[held_out], codes[held_out], fold[held_out]
    fitted_map = select_calibration(raw, known, parts, methods, inside)
    calibrated, densities = fitted_map(raw), None
    posteriors = calibrated
    if calibration == "auto":
        densities, posteriors = _densities(raw, fitted_map, known, parts, inside)
    return CrossFit(
        calibrated,
        known,
        inside,
        fitted_map,
        np.flatnonzero(held_out),
        fitted_map(predicted) if len(names) else predicted,
        densities,
        posteriors,
    )


MOST_CLASSES = 30  # densities take n k^3 steps
LEAST_ROWS = 10  # of a class, for a covariance of its own


def _densities(
    raw: Floats,
    calibration: Calibration,
    codes: NDArray[np.intp],
    fold: NDArray[np.intp],
    weight: Floats | None,
) -> tuple[Callable[[Floats], Floats] | None, Floats]:
    """Return calibrated class densities and their held-out posteriors, if these are better.

    Two classes differ in one number, of which a calibration map is the better function: it
    is monotone.
    """
    calibrated, k = calibration(raw), raw.shape[1]
    counts = np.bincount(codes, minlength=k)
    if not 3 <= k <= MOST_CLASSES or counts.min() < LEAST_ROWS:
        return None, calibrated
    held_out = held_out_densities(raw, codes, fold, weight)
    otherwise = held_out_calibration(raw, codes, fold, calibration.method, weight)
    # Densities that are wrong have wrong shares in the source, too; biases mend that.
    mended = select_calibration(held_out, codes, fold, CALIBRATIONS, weight)
    held_out = mended(held_out)
    if log_loss(held_out, codes, weight) >= log_loss(otherwise, codes, weight):
        return None, calibrated
    densities = fit_class_densities(raw, codes, weight)
    return lambda probabilities: mended(densities(probabilities)), held_out


def predictions_of(method: str, probabilities: Floats) -> Floats:
    """Return what a method counts: probabilities, or one-hot predictions for a "hard" one."""
    if not method.endswith("_hard"):
        return probabilities
    return np.asarray(np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)])


def moment_estimator(method: str, n_source: int, rcond: float = 0.0) -> Callable[..., Floats]:
    """Return BBSE or RLLS as a function of confusion matrix, target mean and source prior."""
    if method.startswith("bbse"):
        return partial(bbse_prior, rcond=rcond)
    return partial(rlls_prior, n_source=n_source)


def estimate_prior(
    method: str,
    fit: CrossFit,
    source: Domain,
    source_prior: Floats,
    target: Domain,
    raw: Floats,
    rng: np.random.RandomState,
) -> PriorEstimate:
    """Estimate the target prior, or say why the source's is the better one.

    Parameters
    ----------
    method : {"auto", "em", "bbse", "bbse_hard", "rlls", "rlls_hard"}
        See `PriorCorrection`.
    fit : CrossFit
        Held-out probabilities.
    source : Domain
        All rows labelled.
    source_prior : ndarray of shape (k,)
        Its class shares.
    target : Domain
        The target rows of ``fit.target_probabilities``, for the test of label shift.
    raw : ndarray of shape (n, k)
        Probabilities of all target rows by the model of all source rows, not calibrated.
    rng : RandomState
        For the test of label shift.

    Returns
    -------
    PriorEstimate

    Raises
    ------
    ValueError
        For a method with a confusion matrix, if a class is never held out.
    """
    tested = None
    if len(fit.rows):
        tested = label_shift_fit(
            source.take(fit.rows),
            fit.probabilities,
            fit.codes,
            target,
            fit.target_probabilities,
            rng,
        )
    prior, strength, reason, posteriors = source_prior, 0.0, None, None
    calibrated = fit.calibration(raw)
    if not is_label_shift_plausible(tested):
        assert tested is not None
        reason = (
            "no change of the class shares explains the target's rows (held-out misfit "
            f"{tested.misfit:.3f}, p = {tested.p_value:.1g}), so P(X|Y) differs as well"
        )
    elif len(raw) < 2:
        reason = "the target has 1 row, which says next to nothing about shares"
    elif method in ("auto", "em"):
        moments = _moments(fit)
        reason = _why_not_likelihood(fit, source_prior, moments, calibrated, tested is not None)
        if reason is None:
            posteriors = _nearer(fit, source_prior, moments, raw)
            prior, strength = _by_likelihood(
                method, source_prior, calibrated if posteriors is None else posteriors
            )
    else:
        prior, reason = _by_moments(method, fit, source_prior, source, calibrated)
    if reason is None and _is_unsupported_edge(prior, source_prior, calibrated):
        reason = (
            "the estimate gives a class the share 0, and the target rows are hardly more probable "
            "under it than under the source's shares"
        )
    if reason is not None:
        prior = source_prior
    return PriorEstimate(prior, reason, strength, tested, posteriors)


SINGULAR = 1e4  # a condition number with which classes get the same predictions
UNKNOWN = 0.25  # a standard error of a share with which nothing is known about it
UNTESTED = 0.1  # the same, where label shift could not be tested
APART = 0.1  # a distance of two estimates, below which neither harms much


def _why_not_likelihood(
    fit: CrossFit,
    source_prior: Floats,
    moments: MixtureMoments | None,
    calibrated: Floats,
    tested: bool,
) -> str | None:
    """Return why maximum likelihood is not to be trusted here, or None."""
    error = np.inf if moments is None else float(moments.standard_error.max())
    if moments is None or error > (UNKNOWN if tested else UNTESTED):
        reason = (
            f"a share could be read off the classifier's predictions with a standard error of "
            f"{min(error, 1.0):.2f} at best: it hardly tells the classes apart, or the rows are "
            "too few"
        )
        return reason if tested else f"{reason} (nor can label shift be tested)"
    fitted = em_prior(calibrated, source_prior)
    if not fitted.converged:
        return f"EM has not converged in {fitted.n_iter} steps"
    disagreement = _disagreement(fitted.prior, source_prior, moments)
    if disagreement is None:
        return None
    return (
        "the shares under which the target's rows are most probable are not those that the mean "
        f"predictions give ({disagreement}), so the probabilities are wrong, or rows of a kind "
        "that the source lacks lead them"
    )


def _nearer(
    fit: CrossFit, source_prior: Floats, moments: MixtureMoments | None, raw: Floats
) -> Floats | None:
    """Return posteriors by class densities, where there are any and the moments agree."""
    if fit.densities is None or moments is None:
        return None
    posteriors = fit.densities(raw)
    found = em_prior(posteriors, source_prior)
    agree = _disagreement(found.prior, source_prior, moments) is None
    return posteriors if found.converged and agree else None


def _by_likelihood(method: str, source_prior: Floats, posteriors: Floats) -> tuple[Floats, float]:
    if method == "em":
        return em_prior(posteriors, source_prior).prior, 0.0
    shrunken = shrunken_prior(posteriors, source_prior)
    return shrunken.prior, shrunken.strength


def _moments(fit: CrossFit) -> MixtureMoments | None:
    """Return the prior by moments, or None where the predictions are the same for some classes.

    Its standard errors count the rows of both sides and need no trust in the calibration, which
    can make noise look like knowledge. A class with a single row is left out: it is believed as
    far as its neighbours are.
    """
    k = fit.probabilities.shape[1]
    known = np.flatnonzero(np.bincount(fit.codes, minlength=k) >= 2)
    if len(known) < 2:
        return None
    rows = np.isin(fit.codes, known)
    moments = mixture_moments(
        fit.probabilities[rows][:, known],
        np.searchsorted(known, fit.codes[rows]),
        fit.target_probabilities[:, known],
    )
    if moments.condition > SINGULAR or not np.isfinite(moments.standard_error).all():
        return None
    return moments


def _disagreement(prior: Floats, source_prior: Floats, moments: MixtureMoments) -> str | None:
    """Return how a prior by EM contradicts that by moments, or None if it does not.

    Under label shift both estimate the same, and EM is the more certain one (Hausman's test):
    their difference varies less than the moments do, with whose errors it is compared. What the
    moments contradict less than half as much as the source's prior is no worse than that.
    """
    if len(prior) != len(moments.prior):
        return None
    difference = prior - moments.prior
    apart = 0.5 * np.abs(difference).sum()
    if apart <= max(APART, 0.25 * np.abs(source_prior - moments.prior).sum()):
        return None
    # The k differences sum to zero.
    precision = np.linalg.pinv(moments.covariance, rcond=1e-10, hermitian=True)
    p_value = float(chi2.sf(difference @ precision @ difference, len(prior) - 1))
    return f"a distance of {apart:.2f}, p = {p_value:.1g}" if p_value <= 0.05 else None


def _is_unsupported_edge(prior: Floats, source_prior: Floats, probabilities: Floats) -> bool:
    """Whether a class vanished while the likelihood hardly prefers this prior to the source's."""
    n, k = probabilities.shape
    vanished = (prior < 0.5 / n) & (source_prior * n > 5)
    mixed = probabilities @ (prior / source_prior)
    gain = float(np.log(np.maximum(mixed, 1e-300)).sum())
    return bool(vanished.any() and chi2.sf(2 * gain, k - 1) > 0.05)


def _by_moments(
    method: str, fit: CrossFit, source_prior: Floats, source: Domain, target_probabilities: Floats
) -> tuple[Floats, str | None]:
    k = len(source_prior)
    counts = np.bincount(fit.codes, minlength=k)
    if (counts == 0).any():
        classes = np.unique(source.y)
        raise ValueError(
            f"method={method!r} needs at least 2 rows of each class; the source has 1 of "
            f"{classes[counts == 0].tolist()}. Add rows, drop the class, or use method='em'."
        )
    joint = confusion_matrix(predictions_of(method, fit.probabilities), fit.codes, fit.weight)
    # A share out of n rows has a standard error of up to 0.5/sqrt(n): a singular value below
    # that cannot be told from zero.
    solve = moment_estimator(method, len(fit.codes), float(0.5 / np.sqrt(counts.min())))
    moment = predictions_of(method, target_probabilities).mean(axis=0)
    try:
        return solve(joint, moment, joint.sum(axis=0)), None
    except ValueError as error:
        return source_prior, (
            "the classifier cannot tell the classes apart: its confusion matrix on held-out "
            f"source rows is singular up to sampling noise ({error})"
        )

"""Resample the source to a prior, with imbalanced-learn's samplers or by its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.estimation import (
    class_shares,
    cross_fit,
    estimate_prior,
    probabilities_of,
)
from shiftlab.conditional.samplers import (
    check_neighbours,
    class_counts,
    drive,
    kind_of,
    named_sampler,
    run_sampler,
)
from shiftlab.domain import Domain
from shiftlab.stats.label_shift import standing_rows
from shiftlab.supervised import fit_estimator
from shiftlab.validation import check_memory, check_values, numeric_rows

__all__ = ["Resample"]

Floats = NDArray[np.float64]


class Resample(Adapter):
    r"""Add, remove or draw source rows until the classes have the shares that are wanted.

    Any sampler of imbalanced-learn, driven to a target prior :math:`q`: oversamplers raise
    class :math:`y` to :math:`N q_y` rows with the smallest :math:`N` that removes none,
    undersamplers lower it with the largest :math:`N` that adds none. ``"weights"`` draws
    ``n`` rows with replacement in proportion to their weights (times :math:`q_y / p_y` if a
    prior is given) and returns them without weights, for estimators that take none.

    It helps an estimator that neglects rare classes, and under label shift when the prior is
    the target's. It does not add information, and the probabilities of what is trained on the
    result belong to the imposed prior: put `PriorCorrection` behind it, which reads that prior
    off the rows and undoes the miscalibration.

    Source weights: copies of rows keep their weight, rows that a sampler makes up get the mean
    weight of their class, and weights are scaled to mean one in each class, so that the shares
    of the classes are those of the rows. Cleaning samplers (Tomek links, edited neighbours,
    ...) cannot be driven to a prior and leave the weights of the rows they keep as they are.
    Source rows without a label are dropped; ``group`` is kept where all rows are copies.

    Dense and sparse matrices, data frames and images stay what they are; columns that are
    interpolated become floats. A data frame with text needs "over", "under" or SMOTENC (which
    uses pandas). Images are drawn, copied or removed, but not made up: a mean of two pictures is
    none. Samplers that interpolate refuse them and work on features instead, where neighbours are
    searched and rows are made, behind a trained network or another transformer of images:
    ``make_pipeline(net, Resample("smote"), LogisticRegression())``. Time and memory are the
    sampler's: O(n) for "over", "under" and "weights", O(n d) a query for SMOTE's neighbours.

    Parameters
    ----------
    sampler : str or sampler, default="over"
        "over" (RandomOverSampler), "under" (RandomUnderSampler), "weights", the name of a class
        in ``imblearn.over_sampling``, ``under_sampling`` or ``combine`` in any case, such as
        "smote", or a sampler object, which is cloned.
    estimator : estimator, default=None
        Trained on the resampled source.
    target_prior : None, "balanced", "estimated" or dict, default=None
        Shares of the classes that are wanted. None leaves the choice to the sampler
        (imbalanced-learn balances; "weights" keeps what the weights say). "estimated" takes the
        target's prior as EM finds it with a calibrated logistic regression. A dict gives the
        share of each label of the source; shares sum to one.
    random_state : int, RandomState or None, default=None
        Seed; also of the sampler, where that has none of its own.

    Attributes
    ----------
    source_ : Domain
        The resampled source.
    sampler_ : sampler or str
        The fitted clone, or "weights".
    origin_ : ndarray of shape (n,)
        Source row (among the labelled ones) that each row is a copy of; -1 for a made-up row.
    resampled_classes_ : ndarray of shape (k,)
        Labels of the source, in the order of the priors.
    prior_ : ndarray of shape (k,)
        Imposed shares of the classes, as the (weighted) rows of ``source_`` have them.
    source_prior_ : ndarray of shape (k,)
        (Weighted) shares of the classes before.

    Raises
    ------
    ValueError
        In `fit`, for an unknown name, a prior that does not fit the labels or cannot be reached
        by this sampler, a source with one class, a class with too few rows for SMOTE, or images
        for a sampler that makes rows up.

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, P. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling
    Technique", Journal of Artificial Intelligence Research 2002.

    G. Lemaître, F. Nogueira, C. Aridas, "Imbalanced-learn: A Python Toolbox to Tackle the Curse
    of Imbalanced Datasets in Machine Learning", Journal of Machine Learning Research 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Resample
    >>> X, y = np.arange(100.0).reshape(50, 2), np.repeat(["rare", "usual"], [10, 40])
    >>> adapter = Resample("smote", target_prior={"rare": 0.2, "usual": 0.8}, random_state=0)
    >>> adapter.fit((X, y), X).prior_.tolist()
    [0.2, 0.8]
    >>> Resample("under", random_state=0).fit((X, y), X).source_.n_rows
    20
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="Only the shares of the classes differ, or rare classes are neglected.",
        source_labels=True,
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        cost="the sampler's: O(n) for copies, O(n^2 d) at worst for SMOTE's neighbours",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "sampler": [str, HasMethods(["fit_resample"])],
        "target_prior": [StrOptions({"balanced", "estimated"}), Mapping, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        sampler: Any = "over",
        estimator: Any = None,
        *,
        target_prior: str | Mapping[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.sampler = sampler
        self.estimator = estimator
        self.target_prior = target_prior
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        by_weight = isinstance(self.sampler, str) and self.sampler.lower() == "weights"
        sampler = None if by_weight else self._new_sampler()
        for domain in (source, target):
            check_values(domain, self.estimator, "Resample")
        source = source.labelled_part()
        labels, codes = np.unique(source.y, return_inverse=True)
        if len(labels) < 2 and not by_weight:
            raise ValueError(
                f"Resample needs a source with at least 2 classes; got 1 class, {labels[0]!r}"
            )
        rng = check_random_state(self.random_state)
        self.resampled_classes_ = labels
        self.source_prior_ = class_shares(codes, len(labels), source.weight)
        prior = self._wanted_prior(source, target, labels, rng)
        if sampler is None:
            self.sampler_: Any = "weights"
            self.origin_ = self._draw(source, codes, prior, rng)
            result = source.take(self.origin_).with_(weight=None)
        else:
            result = self._run(sampler, source, codes, prior, rng)
        kept = np.searchsorted(labels, result.y)
        self.prior_ = class_shares(kept, len(labels), result.weight)
        return result

    def _new_sampler(self) -> Any:
        if isinstance(self.sampler, str):
            return named_sampler(self.sampler)
        return clone(self.sampler)

    def _wanted_prior(
        self, source: Domain, target: Domain, labels: NDArray[Any], rng: np.random.RandomState
    ) -> Floats | None:
        if self.target_prior is None:
            return None
        if isinstance(self.target_prior, str):
            if self.target_prior == "balanced":
                return np.full(len(labels), 1 / len(labels))
            return _estimated_prior(source, target, self.source_prior_, rng)
        known = labels.tolist()
        given = dict(self.target_prior)
        missing = [label for label in known if label not in given]
        unknown = [label for label in given if label not in known]
        if missing or unknown:
            raise ValueError(
                f"Resample: target_prior must give a share for each label of the source; it lacks "
                f"{missing} and has {unknown}, which the source has not"
            )
        shares = np.array([float(given[label]) for label in known])
        if not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError(
                f"Resample: target_prior must hold shares >= 0 that sum to 1; got {given}"
            )
        return np.asarray(shares / shares.sum())

    def _draw(
        self,
        source: Domain,
        codes: NDArray[np.intp],
        prior: Floats | None,
        rng: np.random.RandomState,
    ) -> NDArray[np.int64]:
        weight = np.ones(source.n_rows) if source.weight is None else source.weight
        if prior is not None:
            empty = (self.source_prior_ == 0) & (prior > 0)
            if empty.any():
                raise ValueError(
                    "Resample('weights'): all rows of class "
                    f"{self.resampled_classes_[empty].tolist()} have weight zero"
                )
            weight = weight * (prior / np.maximum(self.source_prior_, 1e-300))[codes]
        drawn = rng.choice(source.n_rows, source.n_rows, p=weight / weight.sum())
        return np.asarray(drawn, dtype=np.int64)

    def _run(
        self,
        sampler: Any,
        source: Domain,
        codes: NDArray[np.intp],
        prior: Floats | None,
        rng: np.random.RandomState,
    ) -> Domain:
        rows = np.arange(source.n_rows)
        if prior is not None:
            sampler, rows = self._driven(sampler, source, codes, prior)
        unset = {
            key: rng.randint(2**31 - 1)
            for key, value in sorted(sampler.get_params(deep=True).items())
            if value is None and (key == "random_state" or key.endswith("__random_state"))
        }
        self.sampler_ = sampler.set_params(**unset)
        few = source.take(rows) if len(rows) < source.n_rows else source
        check_neighbours(self.sampler_, few.y, "Resample")
        result, origin = run_sampler(self.sampler_, few, "Resample")
        self.origin_ = np.where(origin >= 0, rows[origin], -1)
        is_copy = self.origin_ >= 0
        changes: dict[str, Any] = {}
        if source.group is not None and is_copy.all():
            changes["group"] = source.group[self.origin_]
        if source.weight is not None:
            kept = np.searchsorted(self.resampled_classes_, result.y)
            weight = np.where(is_copy, source.weight[self.origin_], 0.0)
            if kind_of(self.sampler_) != "clean-sampling":
                weight = _level(weight, kept, is_copy, source.weight, codes)
            changes["weight"] = weight
        return result.with_(**changes)

    def _driven(
        self, sampler: Any, source: Domain, codes: NDArray[np.intp], prior: Floats
    ) -> tuple[Any, NDArray[np.int64]]:
        """Return the sampler set to a prior, and the rows of classes that it keeps at all."""
        kind, name = kind_of(sampler), type(sampler).__name__
        if kind not in ("over-sampling", "under-sampling"):
            raise ValueError(
                f"Resample: {name} decides by itself which rows go and cannot be driven to "
                f"target_prior={self.target_prior!r}; use target_prior=None, or 'over', 'under', "
                "'smote' or 'weights'"
            )
        counts = np.bincount(codes, minlength=len(prior))
        try:
            wanted = class_counts(counts, prior, kind)
        except ValueError as error:
            shares = dict(zip(self.resampled_classes_.tolist(), prior.tolist(), strict=True))
            raise ValueError(f"Resample: {name} cannot reach the prior {shares}: {error}") from None
        if (wanted > 0).sum() < 2:
            raise ValueError("Resample: target_prior leaves a single class to learn from")
        check_memory(
            8.0 * float(wanted.sum()) * source.n_features,
            f"oversampling to {int(wanted.sum())} rows (use 'under' or 'weights' instead)",
        )
        kept = np.flatnonzero(wanted[codes] > 0)
        strategy = {
            label: int(count)
            for label, count in zip(self.resampled_classes_.tolist(), wanted, strict=True)
            if count > 0
        }
        return drive(sampler, strategy), kept


def _level(
    weight: Floats,
    kept: NDArray[np.intp],
    is_copy: NDArray[np.bool_],
    source_weight: Floats,
    codes: NDArray[np.intp],
) -> Floats:
    """Fill in the weights of made-up rows, and scale those of each class to mean one."""
    sums = np.bincount(codes, weights=source_weight)
    means = sums / np.maximum(np.bincount(codes), 1)
    filled = np.where(is_copy, weight, means[kept])
    totals = np.bincount(kept, weights=filled, minlength=len(means))
    sizes = np.bincount(kept, minlength=len(means))
    scale = np.where(totals > 0, sizes / np.where(totals > 0, totals, 1.0), 1.0)
    return np.asarray(filled * scale[kept])


def _estimated_prior(
    source: Domain, target: Domain, source_prior: Floats, rng: np.random.RandomState
) -> Floats:
    """Estimate the target's prior by EM with a calibrated logistic regression."""
    source = source.with_(X=numeric_rows(source, "Resample", sparse=True))
    X = numeric_rows(target, "Resample", sparse=True)
    scaler = StandardScaler(with_mean=not source.is_sparse)
    classifier = make_pipeline(scaler, LogisticRegression(max_iter=1000))
    tested = target.with_(X=X).take(standing_rows(target.n_rows, rng))
    fit = cross_fit(classifier, source, tested, "auto", 5, rng)
    classes = np.unique(source.y)
    fitted = fit_estimator(classifier, source)
    raw = probabilities_of(fitted, X, classes)
    found = estimate_prior("auto", fit, source, source_prior, tested, raw, rng)
    if found.refused is not None:
        warnings.warn(
            f"Resample: target_prior='estimated' keeps the source's prior: {found.refused}",
            UserWarning,
            stacklevel=2,
        )
    return found.prior

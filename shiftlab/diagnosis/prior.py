"""Prior: is Y distributed alike in both domains? With target labels, and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.label_space import Labels
from shiftlab.diagnosis.sample import Sample
from shiftlab.stats.label_fit import mixture_moments
from shiftlab.stats.priors import bbse_prior, label_permutation_test, total_variation
from shiftlab.stats.univariate import continuous_test
from shiftlab.stats.variation import (
    covariance_noise,
    multinomial_noise,
    total_variation_interval,
)

__all__ = [
    "MINIMUM_TV",
    "ClassModel",
    "check_numbers",
    "check_prior",
    "check_prior_without_labels",
    "fit_class_model",
]

Floats = NDArray[np.float64]

MINIMUM_TV = 0.05
FEWEST_PER_CLASS = 10
WORST_CONDITION = 50.0


def check_prior(
    labels: Labels, shared: list[int], n_permutations: int, rng: np.random.Generator
) -> Finding:
    """Permutation chi-square test of the class counts; exact.

    Parameters
    ----------
    labels : Labels
        Labels of both sides.
    shared : list of int
        Codes of the classes to compare.
    n_permutations : int
        Permutations.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Finding
    """
    source, target = (c[shared] for c in labels.counts())
    n_source, n_target = int(source.sum()), int(target.sum())
    if min(n_source, n_target) == 0:
        return Finding.not_testable("prior", "The two sides share no label.")
    statistic, p_value = label_permutation_test(
        source, target, n_permutations=n_permutations, rng=rng
    )
    p, q = source / n_source, target / n_target
    effect = total_variation(p, q)
    interval = total_variation_interval(q - p, *multinomial_noise(p, n_source, q, n_target))
    return Finding(
        "prior",
        "no_evidence",
        f"{effect:.0%} of the labelled rows would have to change class to make the class shares "
        f"equal; {interval.by_chance:.1%} are to be expected where they are.",
        statistic=statistic,
        p_value=p_value,
        effect=effect,
        interval=(interval.low, interval.high),
        minimum_effect=MINIMUM_TV,
        details={
            "effect_name": "total variation distance of the class shares",
            "expected_by_chance": interval.by_chance,
            "test": "permutation chi-square on the labels",
            "n_permutations": n_permutations,
            "classes": [labels.classes[i] for i in shared],
            "source_prior": p,
            "target_prior": q,
            "n_source": n_source,
            "n_target": n_target,
        },
    )


def check_numbers(source: Floats, target: Floats) -> Finding:
    """Kolmogorov-Smirnov test of a regression target.

    Parameters
    ----------
    source, target : ndarray of shape (n,)
        Known targets of both sides.

    Returns
    -------
    Finding
    """
    if min(source.size, target.size) < 2:
        return Finding.not_testable("prior", "One side has fewer than two known values of Y.")
    result = continuous_test(source, target)
    # the distance of two empirical distribution functions is at most this far from the truth
    band = float(np.sqrt(np.log(4 / 0.05) / 2) * (source.size**-0.5 + target.size**-0.5))
    return Finding(
        "prior",
        "no_evidence",
        f"The distributions of Y differ by at most {result.effect:.0%} at any threshold.",
        statistic=result.statistic,
        p_value=result.p_value,
        effect=result.effect,
        interval=(max(0.0, result.effect - band), min(1.0, result.effect + band)),
        minimum_effect=MINIMUM_TV,
        details={
            "effect_name": "Kolmogorov-Smirnov distance of Y",
            "test": result.test,
            **result.details,
        },
    )


@dataclass(frozen=True)
class ClassModel:
    """A source model's class probabilities on rows it did not see.

    ``codes`` are positions in ``kept``, the codes of the classes that the model knows.
    """

    model: Any
    source_learn: Floats
    source: Floats
    target_learn: Floats
    target: Floats
    codes_learn: NDArray[np.intp]
    codes: NDArray[np.intp]
    kept: list[int]
    source_rows: NDArray[np.bool_]
    source_rows_learn: NDArray[np.bool_]


def fit_class_model(sample: Sample, classes: list[Any], *, out_of_fold: bool) -> ClassModel | str:
    """Train a source model on the first half; predict both halves of both sides.

    Parameters
    ----------
    sample : Sample
        Both halves.
    classes : list
        Names of the codes, for messages.
    out_of_fold : bool
        Whether to predict the first half of the source out of fold, too, at the cost of two
        more fits; without it ``source_learn`` is empty.

    Returns
    -------
    ClassModel or str
        Predictions, or the reason why there are none.
    """
    learn, test = sample.learn, sample.test
    y, known = learn.source_y, learn.source_known
    enough = [
        c
        for c in range(sample.n_classes)
        if min((y[known] == c).sum(), (test.source_y[test.source_known] == c).sum())
        >= FEWEST_PER_CLASS
    ]
    few = [classes[c] for c in range(sample.n_classes) if c not in enough]
    if few:
        return (
            f"Each class needs about {2 * FEWEST_PER_CLASS} labelled source rows; too few of "
            + ", ".join(f"'{c}'" for c in few[:5])
            + "."
        )
    if len(enough) < 2:
        return "The source has a single class."
    X, y = learn.source[known], y[known]
    model = sample.new_model().fit(X, y)
    own = np.empty((y.size if out_of_fold else 0, len(enough)))
    fold = sample.rng.permutation(y.size) % 2
    for k in (0, 1) if out_of_fold else ():
        part = sample.new_model().fit(X[fold != k], y[fold != k])
        predicted = np.zeros((int((fold == k).sum()), sample.n_classes))
        predicted[:, part.classes_] = part.predict_proba(X[fold == k])
        own[fold == k] = predicted
    return ClassModel(
        model=model,
        source_learn=own,
        source=model.predict_proba(test.source[test.source_known]),
        target_learn=model.predict_proba(learn.target),
        target=model.predict_proba(test.target),
        codes_learn=y,
        codes=test.source_y[test.source_known],
        kept=enough,
        source_rows=test.source_known,
        source_rows_learn=known,
    )


def check_prior_without_labels(
    model: ClassModel, classes: list[Any], n_permutations: int, rng: np.random.Generator
) -> Finding:
    """Compare what a source model predicts on held-out source rows and on the target.

    The permutation chi-square on the predicted classes is exact under equal X. The effect,
    the target prior by black-box shift estimation, means something under label shift only.

    Parameters
    ----------
    model : ClassModel
        Held-out predictions.
    classes : list
        Names of the classes.
    n_permutations : int
        Permutations.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Finding
    """
    k = model.source.shape[1]
    target = np.vstack([model.target_learn, model.target])
    counts = [
        np.bincount(p.argmax(axis=1), minlength=k).astype(np.int64) for p in (model.source, target)
    ]
    statistic, p_value = label_permutation_test(*counts, n_permutations=n_permutations, rng=rng)
    moments = mixture_moments(model.source, model.codes, target)
    if moments.condition > WORST_CONDITION:
        return Finding.not_testable(
            "prior",
            "A model of the source cannot tell its classes apart well enough to estimate their "
            "shares in the target.",
            condition=moments.condition,
        )
    prior = np.bincount(model.codes, minlength=k) / model.codes.size
    joint = np.stack([model.source[model.codes == j].sum(axis=0) for j in range(k)], axis=1)
    estimate = bbse_prior(joint / model.codes.size, target.mean(axis=0), prior)
    effect = total_variation(prior, estimate)
    own = (np.diag(prior) - np.outer(prior, prior)) / model.codes.size
    noise = covariance_noise(moments.covariance + own)
    interval = total_variation_interval(moments.prior - prior, *noise)
    return Finding(
        "prior",
        "no_evidence",
        f"If only the class shares moved, {effect:.0%} of the rows changed class; estimated "
        "without target labels from the predictions of a source model.",
        statistic=statistic,
        p_value=p_value,
        effect=effect,
        interval=(interval.low, interval.high),
        minimum_effect=MINIMUM_TV,
        details={
            "effect_name": "total variation distance of the class shares (label shift assumed)",
            "expected_by_chance": interval.by_chance,
            "test": "permutation chi-square on the predicted labels of held-out rows",
            "n_permutations": n_permutations,
            "classes": [classes[i] for i in model.kept],
            "source_prior": prior,
            "target_prior": estimate,
            "target_prior_standard_error": moments.standard_error,
            "condition": moments.condition,
            "n_source": model.codes.size,
            "n_target": target.shape[0],
            "assumes": "label shift: X within a class is the same in both",
        },
    )

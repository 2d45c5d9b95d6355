"""Without target labels: could a change of the class shares alone explain the target's X?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.prior import WORST_CONDITION, ClassModel
from shiftlab.diagnosis.sample import Sample
from shiftlab.stats.label_fit import LabelFitResult, label_fit_test, mixture_moments
from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.priors import bbse_prior

__all__ = ["check_label_fit"]

Floats = NDArray[np.float64]


def check_label_fit(sample: Sample, models: tuple[ClassModel, ClassModel]) -> Finding:
    """Test whether the target's X is a mixture of the source's classes.

    On one half: estimate the target prior, weight the source rows to it and learn what still
    tells them from the target. On the other half: test whether that score is higher in the
    target than any mixture of the source classes allows, the mixture being estimated there
    anew. The statistic is the mean of both ways round, whose standard deviation is at most
    one under the null, so comparing it with the standard normal is on the safe side.

    Parameters
    ----------
    sample : Sample
        Both halves.
    models : tuple of (ClassModel, ClassModel)
        Held-out predictions of a source model: trained on the first half, and on the second.

    Returns
    -------
    Finding
    """
    question = "label_fit"
    ways = []
    for way, model in zip((sample, sample.swapped()), models, strict=True):
        result = _one_way(way, model)
        if isinstance(result, str):
            return Finding.not_testable(question, result)
        ways.append(result)
    statistic, misfit, error = np.mean(
        [(r.statistic, r.misfit, r.standard_error) for r, _ in ways], axis=0
    )
    return Finding(
        question,
        "no_evidence",
        "After reweighting the source's classes to fit, the target still differs by "
        f"{misfit:.3f} in the mean score of a classifier (0 = explained).",
        statistic=float(statistic),
        p_value=float(norm.sf(statistic)),
        effect=float(misfit),
        interval=(float(misfit - 1.96 * error), float(misfit + 1.96 * error)),
        minimum_effect=0.02,
        details={
            "effect_name": "mean score of the target less that of the best mixture of classes",
            "test": "held-out mean of a class-corrected score, both ways round, asymptotic",
            "estimated_prior": np.mean([estimate for _, estimate in ways], axis=0),
        },
    )


def _one_way(sample: Sample, model: ClassModel) -> tuple[LabelFitResult, Floats] | str:
    """Learn on the first half, test on the second; the reason where that is impossible."""
    k = model.source.shape[1]
    moments = mixture_moments(model.source, model.codes, model.target)
    if moments.condition > WORST_CONDITION:
        return "A model of the source cannot tell its classes apart well enough."
    prior = np.bincount(model.codes_learn, minlength=k) / model.codes_learn.size
    joint = np.stack(
        [model.source_learn[model.codes_learn == j].sum(axis=0) for j in range(k)], axis=1
    )
    try:
        estimate = bbse_prior(
            joint / model.codes_learn.size, model.target_learn.mean(axis=0), prior
        )
    except ValueError as error:
        return f"No target prior could be estimated: {error}"
    source = sample.learn.source[model.source_rows_learn]
    weight = (estimate / prior)[model.codes_learn]
    X = np.vstack([source, sample.learn.target])
    is_target = np.repeat([False, True], [source.shape[0], sample.learn.target.shape[0]])
    # both sides weigh the same, so that the score is about shape and not about sizes
    balance = np.concatenate(
        [weight / weight.sum(), np.full(sample.learn.target.shape[0], 1 / is_target.sum())]
    )
    scorer = BlendedClassifier(random_state=sample.seed())
    scorer.fit(X, is_target, sample_weight=balance * is_target.size / 2)
    result = label_fit_test(
        scorer.predict_proba(sample.test.source[model.source_rows])[:, 1],
        model.source,
        model.codes,
        scorer.predict_proba(sample.test.target)[:, 1],
        model.target,
    )
    return result, estimate

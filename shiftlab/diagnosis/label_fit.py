"""Without target labels: could a change of the class shares alone explain the target's X?"""

from __future__ import annotations

import numpy as np

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.prior import WORST_CONDITION, ClassModel
from shiftlab.diagnosis.sample import Sample
from shiftlab.stats.label_fit import label_fit_test, mixture_moments
from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.priors import bbse_prior

__all__ = ["check_label_fit"]


def check_label_fit(sample: Sample, model: ClassModel) -> Finding:
    """Test whether the target's X is a mixture of the source's classes.

    On the first half: estimate the target prior, weight the source rows to it and learn
    what still tells them from the target. On the second half: test whether that score is
    higher in the target than any mixture of the source classes allows, the mixture being
    estimated there anew.

    Parameters
    ----------
    sample : Sample
        Both halves.
    model : ClassModel
        Held-out predictions of a source model.

    Returns
    -------
    Finding
    """
    question = "label_fit"
    k = model.source.shape[1]
    moments = mixture_moments(model.source, model.codes, model.target)
    if moments.condition > WORST_CONDITION:
        return Finding.not_testable(
            question, "A model of the source cannot tell its classes apart well enough."
        )
    prior = np.bincount(model.codes_learn, minlength=k) / model.codes_learn.size
    joint = np.stack(
        [model.source_learn[model.codes_learn == j].sum(axis=0) for j in range(k)], axis=1
    )
    try:
        estimate = bbse_prior(
            joint / model.codes_learn.size, model.target_learn.mean(axis=0), prior
        )
    except ValueError as error:
        return Finding.not_testable(question, f"No target prior could be estimated: {error}")
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
    half = 1.96 * result.standard_error
    return Finding(
        question,
        "no_evidence",
        "After reweighting the source's classes to fit, the target still differs by "
        f"{result.misfit:.3f} in the mean score of a classifier (0 = explained).",
        statistic=result.statistic,
        p_value=result.p_value,
        effect=result.misfit,
        interval=(result.misfit - half, result.misfit + half),
        minimum_effect=0.02,
        details={
            "effect_name": "mean score of the target less that of the best mixture of classes",
            "test": "held-out mean of a class-corrected score, one split, asymptotic",
            "estimated_prior": estimate,
        },
    )

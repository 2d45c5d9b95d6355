"""With target labels: Y given X (concept), and X given Y (label shift's assumption)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.marginal import MINIMUM_AUC, DomainModel, stacked, stronger
from shiftlab.diagnosis.sample import Half, Sample
from shiftlab.stats.calibration import fit_calibration
from shiftlab.stats.mmd import kernel_two_sample_test
from shiftlab.stats.permutation import permutation_p_value, rank_permutation_test
from shiftlab.stats.power import class_variance, conditional_power, direction_cost
from shiftlab.stats.residual import merge_rare, residual_covariance_test, residual_product_test
from shiftlab.stats.two_sample import auc_interval

__all__ = [
    "DECENT_POWER",
    "MINIMUM_CHANGE",
    "check_class_conditional",
    "check_conditional",
    "fit_labelled",
]

Floats = NDArray[np.float64]

MINIMUM_CHANGE = 0.05
MINIMUM_SCORE = 0.2
FEWEST = 20  # labelled rows of a half on one side, below which no model is worth fitting
SUPPORT = (0.05, 0.95)
SUPPORT_SHARE = 0.1
# The change of a moderate size whose power says what silence is worth, and the power from which
# silence about one conditional is taken for a hint that the shift is in the other.
EFFECT = {"classification": 0.2, "regression": 0.3}
UNIT = {"classification": "class probability", "regression": "standard deviations of Y"}
MODERATE_AUC = 0.6
MODERATE_SCORE = float(np.sqrt(2) * norm.ppf(MODERATE_AUC))  # distance of normals with that AUC
DECENT_POWER = 0.5
QUESTIONS = 4  # the first step of the correction divides the level by so many
TESTS = 2  # of either conditional, which share the level of the question


@dataclass(frozen=True)
class Labelled:
    """Predictions on the labelled rows of the test half, source rows first.

    ``X`` are the rows, ``domain`` probabilities of the target; ``pooled``, ``by_source`` and
    ``by_target`` the expected response (class probabilities, or numbers as one column) by
    models of both sides, of the source and of the target, all trained on the other half;
    ``response`` the indicators or numbers.
    """

    X: Floats
    is_target: NDArray[np.bool_]
    domain: Floats
    pooled: Floats
    by_source: Floats
    by_target: Floats
    response: Floats
    y: NDArray[Any]
    scale: float


Both = tuple[Labelled, Labelled]


def _labelled(half: Half) -> Half:
    s, t = half.source_known, half.target_known
    return Half(half.source[s], half.target[t], half.source_y[s], half.target_y[t], s[s], t[t])


def _expected(X: Floats, y: NDArray[Any], at: Floats, sample: Sample) -> Floats:
    """Fit on (X, y) and give the expected response at other rows, (n, k)."""
    if sample.task == "regression":
        return np.asarray(sample.new_model().fit(X, y).predict(at), dtype=np.float64)[:, None]
    out = np.zeros((at.shape[0], sample.n_classes))
    if np.unique(y).size == 1:
        out[:, y[0]] = 1.0
        return out
    model = sample.new_model().fit(X, y)
    out[:, model.classes_] = model.predict_proba(at)
    return out


def fit_labelled(sample: Sample, domain: DomainModel) -> Both | str:
    """Fit the models that both questions share on each half, and predict the other half.

    Parameters
    ----------
    sample : Sample
        Both halves.
    domain : DomainModel
        The domain classifier; used again where every row has a label.

    Returns
    -------
    tuple of (Labelled, Labelled) or str
        Predictions for the second half and for the first, or the reason why there are none.
    """
    learn, test = _labelled(sample.learn), _labelled(sample.test)
    fewest = (
        min(len(h.source_y) for h in (learn, test)),
        min(len(h.target_y) for h in (learn, test)),
    )
    if min(fewest) < FEWEST:
        side = "source" if fewest[0] < FEWEST else "target"
        return (
            f"The {side} has too few labelled rows: each half needs {FEWEST}, that is "
            f"{2 * FEWEST} in all."
        )
    for half in (learn, test):
        if np.unique(np.concatenate([half.source_y, half.target_y])).size < 2:
            return "All labelled rows have the same label."
    halves = (sample.learn, sample.test)
    everything = all(h.source_known.all() and h.target_known.all() for h in halves)
    return (
        _predictions(sample, learn, test, domain.test if everything else None),
        _predictions(sample, test, learn, domain.learn if everything else None),
    )


def _predictions(sample: Sample, learn: Half, test: Half, domain: Floats | None) -> Labelled:
    X, is_target_learn = stacked(learn)
    at, is_target = stacked(test)
    if domain is None:
        model = sample.new_domain_classifier().fit(X, is_target_learn)
        domain = np.asarray(model.predict_proba(at)[:, 1], dtype=np.float64)
    pooled_y = np.concatenate([learn.source_y, learn.target_y])
    y = np.concatenate([test.source_y, test.target_y])
    if sample.task == "regression":
        response, scale = y[:, None].astype(np.float64), float(pooled_y.std()) or 1.0
    else:
        response, scale = np.eye(sample.n_classes)[y], 1.0
    return Labelled(
        X=at,
        is_target=is_target,
        domain=domain,
        pooled=_expected(X, pooled_y, at, sample),
        by_source=_expected(learn.source, learn.source_y, at, sample),
        by_target=_expected(learn.target, learn.target_y, at, sample),
        response=response,
        y=y,
        scale=scale,
    )


def _support(fits: Labelled) -> NDArray[np.bool_]:
    """Rows where both domains have rows, with the sizes of the samples taken out."""
    odds = fits.domain / np.maximum(1e-12, 1 - fits.domain)
    odds = odds * (~fits.is_target).sum() / fits.is_target.sum()
    balanced = odds / (1 + odds)
    return np.asarray((balanced > SUPPORT[0]) & (balanced < SUPPORT[1]), dtype=np.bool_)


def _calibrated(fits: Labelled) -> Labelled:
    """Calibrate the probabilities on the rows they are for, by a temperature and biases.

    The tests' bias is the product of the errors of two regressions. Where the truth is flat a
    learner's output is all error, and a fitted temperature removes nearly all of it. Not for
    permutation tests, which must not see these rows' indicators.
    """
    codes = fits.is_target.astype(np.intp)
    both = np.column_stack([1 - fits.domain, fits.domain])
    domain = fit_calibration(both, codes, "bias_corrected")(both)[:, 1]
    if fits.response.shape[1] == 1:
        return replace(fits, domain=domain)
    y = np.asarray(fits.y, dtype=np.intp)
    pooled = fit_calibration(fits.pooled, y, "bias_corrected")(fits.pooled)
    return replace(fits, domain=domain, pooled=pooled)


def check_conditional(both: Both, sample: Sample) -> Finding:
    """Test that Y is independent of the domain given X, on the common support.

    Two generalised covariance measures, twice the smaller p-value: one for a response that is
    higher or lower throughout (residuals of all rows), and one along a direction of change
    that was learnt on the other half, averaged over both ways round. The two ways are nearly
    the same number when nothing changed, so their mean keeps a standard deviation of at most
    one, and comparing it with the standard normal is on the safe side. Both p-values are
    asymptotic and lean on the two regressions being decent; redrawing the domain from its
    estimated probability given X is reported as a second opinion.

    Parameters
    ----------
    both : tuple of (Labelled, Labelled)
        Held-out predictions of both halves.
    sample : Sample
        For the level, and the randomness of the second opinion.

    Returns
    -------
    Finding
    """
    question = "conditional"
    both = _calibrated(both[0]), _calibrated(both[1])
    inside = [_support(fits) for fits in both]
    is_target = np.concatenate([fits.is_target for fits in both])
    kept = np.concatenate(inside)
    share = float(kept[is_target].mean())
    rows = int((kept & is_target).sum()), int((kept & ~is_target).sum())
    if share < SUPPORT_SHARE or min(rows) < FEWEST:
        reason = (
            f"Only {share:.0%} of the target lies where the source has data, so Y at equal X "
            "cannot be compared."
        )
        return Finding.not_testable(question, reason, common_support=share)
    responses = [(f.response - f.pooled)[i] for f, i in zip(both, inside, strict=True)]
    domains = [(f.is_target - f.domain)[i] for f, i in zip(both, inside, strict=True)]
    directions = [(f.by_target - f.by_source)[i] for f, i in zip(both, inside, strict=True)]
    learnt = [
        residual_product_test(*parts)
        for parts in zip(responses, domains, directions, strict=True)
        if parts[1].size >= 2
    ]
    statistic = float(np.mean([result.statistic for result in learnt]))
    p_learnt = float(norm.sf(statistic))
    plain = np.concatenate(responses)
    if plain.shape[1] > 2:
        # a class with a handful of rows on the smaller side has no normal sum
        smaller = min(rows) / sum(rows)
        expected = smaller * np.concatenate([f.response for f in both])[kept].sum(axis=0)
        plain = merge_rare(plain, expected)
    p_plain = residual_covariance_test(plain, np.concatenate(domains))
    scale = both[0].scale
    raw = float(np.mean([result.effect for result in learnt])) / scale
    half_width = 1.96 * float(np.mean([result.standard_error for result in learnt])) / scale
    effect = max(0.0, raw)
    regression = both[0].response.shape[1] == 1
    unit = "standard deviations of Y" if regression else "class probability"
    return Finding(
        question,
        "no_evidence",
        f"Along the direction of change that was learnt, Y moved at equal X by {effect:.2f} "
        f"({unit}), where both have data ({share:.0%} of the target).",
        statistic=statistic,
        p_value=stronger(p_learnt, p_plain),
        effect=effect,
        interval=(max(0.0, raw - half_width), max(0.0, raw + half_width)),
        minimum_effect=MINIMUM_CHANGE,
        details={
            "effect_name": f"change of Y at equal X along the learnt direction ({unit})",
            "test": "generalised covariance measure, plain and along a learnt direction; "
            "cross-fitted, asymptotic",
            "p_plain": p_plain,
            "p_learnt_direction": p_learnt,
            "p_second_opinion": _redrawn_domain(both, inside, sample.rng),
            "power": _power(both, inside, sample),
            "power_for": f"a smooth change of {EFFECT[sample.task]:g} ({UNIT[sample.task]})",
            "common_support": share,
            "n_test_source": rows[1],
            "n_test_target": rows[0],
        },
    )


def _power(both: Both, inside: list[NDArray[np.bool_]], sample: Sample) -> float:
    """Chance to find a moderate change that averages out over X, with the rows there are."""
    values = []
    for fits, kept in zip(both, inside, strict=True):
        information = float((fits.domain * (1 - fits.domain))[kept].sum())
        if sample.task == "regression":
            variance = float(np.square(fits.response - fits.pooled).mean()) / fits.scale**2
        else:
            variance = class_variance(fits.pooled)
        values.append(
            conditional_power(
                EFFECT[sample.task],
                information,
                variance,
                direction_cost(fits.X.shape[1]),
                alpha=sample.alpha / (QUESTIONS * TESTS),
            )
        )
    return float(np.mean(values))


def _power_within(m: Floats, n: Floats, alpha: float) -> float:
    """Chance that the rank test within classes finds an AUC of a moderate size."""
    weight = m * n / (m + n)
    weight = weight / weight.sum()
    sd = float(np.sqrt((np.square(weight) * (m + n + 1) / (12 * m * n)).sum()))
    limit = norm.ppf(1 - alpha / (QUESTIONS * TESTS))
    return float(norm.sf(limit - (MODERATE_AUC - 0.5) / sd))


def _redrawn_domain(
    both: Both, inside: list[NDArray[np.bool_]], rng: np.random.Generator, draws: int = 199
) -> float:
    """Conditional randomisation test of the product along the learnt direction, second half.

    The indicator is drawn anew from its estimated probability given X, everything else kept;
    only as good as that estimate.
    """
    fits, kept = both[0], inside[0]
    direction = (fits.by_target - fits.by_source)[kept]
    along = (direction * (fits.response - fits.pooled)[kept]).sum(axis=1)
    probability = np.clip(fits.domain[kept], 0.0, 1.0)
    drawn = rng.random((draws, probability.size)) < probability
    return permutation_p_value(
        float(along @ (fits.is_target[kept] - probability)), (drawn - probability) @ along
    )


def check_class_conditional(both: Both, sample: Sample) -> Finding:
    """Test that X is independent of the domain within every class.

    A classifier's score, the log odds of the domain given X *and* Y from
    ``P(D | x, y) ~ P(D | x) P(y | x, D)``, on the second half, and a kernel test on all rows;
    both permute the domain indicator inside the classes, which is exact. Twice the smaller
    p-value is the answer's.

    Parameters
    ----------
    both : tuple of (Labelled, Labelled)
        Held-out predictions of both halves.
    sample : Sample
        For the permutations.

    Returns
    -------
    Finding
    """
    question = "class_conditional"
    if sample.task == "regression":
        return _given_number(both, sample)
    fits = both[0]
    rows = np.arange(fits.y.size)
    floor = 0.02
    score = (
        np.log(np.maximum(fits.domain, 1e-6) / np.maximum(1 - fits.domain, 1e-6))
        + np.log(np.maximum(fits.by_target[rows, fits.y], floor))
        - np.log(np.maximum(fits.by_source[rows, fits.y], floor))
    )
    classes = [c for c in np.unique(fits.y) if 0 < fits.is_target[fits.y == c].mean() < 1]
    if not classes:
        return Finding.not_testable(question, "No class has labelled rows on both sides.")
    auc, p_classifier = rank_permutation_test(
        score, fits.is_target, strata=fits.y, n_permutations=sample.n_permutations, rng=sample.rng
    )
    X, is_target, y = (
        np.concatenate([getattr(f, name) for f in both]) for name in ("X", "is_target", "y")
    )
    of_class = [fits.is_target[fits.y == c] for c in classes]
    sizes = np.array([[(~t).sum() for t in of_class], [t.sum() for t in of_class]], dtype=float)
    kernel = kernel_two_sample_test(
        X, is_target, strata=y, n_permutations=sample.n_permutations, rng=sample.rng
    )
    return Finding(
        question,
        "no_evidence",
        f"Within a class, a classifier tells source from target with AUC {auc:.2f}.",
        statistic=auc,
        p_value=stronger(p_classifier, kernel.p_value),
        effect=auc,
        interval=auc_interval(auc, sizes[0], sizes[1]),
        minimum_effect=MINIMUM_AUC,
        details={
            "effect_name": "AUC within classes (0.5 = cannot tell)",
            "test": "classifier two-sample test on one split and a kernel test (MMD) on all rows, "
            "both within classes",
            "p_classifier": p_classifier,
            "p_kernel": kernel.p_value,
            "mmd_squared": kernel.mmd,
            "n_permutations": sample.n_permutations,
            "n_classes": len(classes),
            "power": _power_within(sizes[0], sizes[1], sample.alpha),
            "power_for": f"one with an AUC of {MODERATE_AUC:g} within classes",
        },
    )


def _given_number(both: Both, sample: Sample) -> Finding:
    """X given a numeric Y: is the domain score of (X, Y) independent of the domain given Y?

    The score is again ``P(D | x, y) ~ P(D | x) P(y | x, D)``, with normal errors of one
    variance in the place of class probabilities; X alone would not show a slope that changed
    while X stayed in place. No two rows share a value of Y, so instead of permuting inside
    classes the score and the indicator are both regressed on Y by splines, cross-fitted, and
    their residuals multiplied (generalised covariance measure); the statistic is the mean of
    both ways round.
    """
    results = [_score_given_number(fits, sample) for fits in both]
    statistic, effect, error = np.mean(results, axis=0)
    return Finding(
        "class_conditional",
        "no_evidence",
        "At equal Y, the score that tells source from target differs by "
        f"{effect:.2f} standard deviations.",
        statistic=float(statistic),
        p_value=float(norm.sf(statistic)),
        effect=float(effect),
        interval=(float(effect - 1.96 * error), float(effect + 1.96 * error)),
        minimum_effect=MINIMUM_SCORE,
        details={
            "effect_name": "difference of the domain score at equal Y (standard deviations)",
            "test": "generalised covariance measure of a held-out domain score, asymptotic",
            "power": conditional_power(
                MODERATE_SCORE,
                both[0].is_target.size * float(both[0].is_target.var()),
                1.0,
                0.0,
                alpha=sample.alpha / QUESTIONS,
            ),
            "power_for": f"one of {MODERATE_SCORE:.2g} standard deviations of the score",
        },
    )


def _score_given_number(fits: Labelled, sample: Sample) -> tuple[float, float, float]:
    """Statistic, effect and its standard error on one half."""
    by_source, by_target, seen = (
        a[:, 0] for a in (fits.by_source, fits.by_target, fits.response - fits.pooled)
    )
    nearer_target = (fits.y - by_source) ** 2 - (fits.y - by_target) ** 2
    score = np.log(np.maximum(fits.domain, 1e-3) / np.maximum(1 - fits.domain, 1e-3))
    # Bounded, so that no single row far out decides.
    score = score + np.clip(nearer_target / (2 * max(float(seen.var()), 1e-12)), -5, 5)
    # ranks: knots over the range of a heavy-tailed Y would leave its bulk between two of them
    y = rankdata(fits.y)[:, None] / fits.y.size
    expected = np.empty((2, score.size))
    fold = sample.rng.permutation(score.size) % 2
    for k in (0, 1):
        learn, at = fold != k, fold == k
        for i, response in enumerate((score, fits.is_target.astype(np.float64))):
            # Smooth in the one variable Y; trees are too rough here for the asymptotics.
            model = make_pipeline(SplineTransformer(n_knots=5), Ridge(alpha=1e-3))
            model.fit(y[learn], response[learn])
            expected[i, at] = model.predict(y[at])
    left, domain = score - expected[0], fits.is_target - expected[1]
    result = residual_product_test(left, domain, np.ones(score.size))
    scale = float(left.std()) or 1.0
    return result.statistic, result.effect / scale, result.standard_error / scale

"""With target labels: Y given X (concept), and X given Y (label shift's assumption)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.marginal import MINIMUM_AUC, stacked
from shiftlab.diagnosis.sample import Half, Sample
from shiftlab.stats.learners import BlendedClassifier, BlendedRegressor
from shiftlab.stats.permutation import rank_permutation_test
from shiftlab.stats.residual import residual_product_test

__all__ = ["MINIMUM_CHANGE", "check_class_conditional", "check_conditional", "fit_labelled"]

Floats = NDArray[np.float64]

MINIMUM_CHANGE = 0.05
MINIMUM_SCORE = 0.2
FEWEST = 30  # labelled rows of a half on one side, below which no model is worth fitting
SUPPORT = (0.05, 0.95)
SUPPORT_SHARE = 0.1


@dataclass(frozen=True)
class Labelled:
    """Predictions on the labelled rows of the test half, source rows first.

    ``domain`` are probabilities of the target; ``pooled``, ``by_source`` and ``by_target``
    the expected response (class probabilities, or numbers as one column) by models of both
    sides, of the source and of the target; ``response`` the indicators or numbers.
    """

    is_target: NDArray[np.bool_]
    domain: Floats
    pooled: Floats
    by_source: Floats
    by_target: Floats
    response: Floats
    y: NDArray[Any]
    scale: float


def _labelled(half: Half) -> Half:
    s, t = half.source_known, half.target_known
    return Half(half.source[s], half.target[t], half.source_y[s], half.target_y[t], s[s], t[t])


def _expected(X: Floats, y: NDArray[Any], at: Floats, sample: Sample) -> Floats:
    """Fit on (X, y) and give the expected response at other rows, (n, k)."""
    if sample.task == "regression":
        return BlendedRegressor(random_state=sample.seed()).fit(X, y).predict(at)[:, None]
    model = BlendedClassifier(random_state=sample.seed()).fit(X, y)
    out = np.zeros((at.shape[0], sample.n_classes))
    out[:, model.classes_] = model.predict_proba(at)
    return out


def fit_labelled(sample: Sample) -> Labelled | str:
    """Fit the models that both questions share on one half, and predict the other.

    Parameters
    ----------
    sample : Sample
        Both halves.

    Returns
    -------
    Labelled or str
        Predictions, or the reason why there are none.
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
    pooled_y = np.concatenate([learn.source_y, learn.target_y])
    if np.unique(pooled_y).size < 2:
        return "All labelled rows have the same label."
    X, is_target_learn = stacked(learn)
    at, is_target = stacked(test)
    domain = BlendedClassifier(random_state=sample.seed()).fit(X, is_target_learn)
    y = np.concatenate([test.source_y, test.target_y])
    if sample.task == "regression":
        response, scale = y[:, None].astype(np.float64), float(pooled_y.std())
    else:
        response, scale = np.eye(sample.n_classes)[y], 1.0
    return Labelled(
        is_target=is_target,
        domain=domain.predict_proba(at)[:, 1],
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


def check_conditional(fits: Labelled) -> Finding:
    """Test that Y is independent of the domain given X, on the common support.

    The weighted generalised covariance measure with the direction of change learnt on
    other rows. Its p-value is asymptotic: it leans on the two regressions being decent.

    Parameters
    ----------
    fits : Labelled
        Held-out predictions.

    Returns
    -------
    Finding
    """
    question = "conditional"
    inside = _support(fits)
    share = float(inside[fits.is_target].mean())
    rows = int(inside[fits.is_target].sum()), int(inside[~fits.is_target].sum())
    if share < SUPPORT_SHARE or min(rows) < FEWEST // 2:
        reason = (
            f"Only {share:.0%} of the target lies where the source has data, so Y at equal X "
            "cannot be compared."
        )
        return Finding.not_testable(question, reason, common_support=share)
    result = residual_product_test(
        (fits.response - fits.pooled)[inside],
        (fits.is_target - fits.domain)[inside],
        (fits.by_target - fits.by_source)[inside],
    )
    half_width = 1.96 * result.standard_error
    low, high = (max(0.0, result.effect + s * half_width) / fits.scale for s in (-1, 1))
    effect = max(0.0, result.effect) / fits.scale
    regression = fits.response.shape[1] == 1
    unit = "standard deviations of Y" if regression else "class probability"
    return Finding(
        question,
        "no_evidence",
        f"At equal X, Y moved by about {effect:.2f} ({unit}) along the learnt direction, where "
        f"both have data ({share:.0%} of the target).",
        statistic=result.statistic,
        p_value=result.p_value,
        effect=effect,
        interval=(low, high),
        minimum_effect=MINIMUM_CHANGE,
        details={
            "effect_name": f"change of Y at equal X along the learnt direction ({unit})",
            "test": "weighted generalised covariance measure, one split, asymptotic",
            "common_support": share,
            "n_test_source": rows[1],
            "n_test_target": rows[0],
        },
    )


def check_class_conditional(fits: Labelled, sample: Sample) -> Finding:
    """Test that X is independent of the domain within every class.

    The score is the log odds of the domain given X *and* Y, from
    ``P(D | x, y) ~ P(D | x) P(y | x, D)``; the domain indicator is permuted inside the
    classes, which is exact.

    Parameters
    ----------
    fits : Labelled
        Held-out predictions.
    sample : Sample
        For the permutations.

    Returns
    -------
    Finding
    """
    question = "class_conditional"
    if sample.task == "regression":
        return _given_number(fits, sample)
    rows = np.arange(fits.y.size)
    floor = 0.02
    score = (
        np.log(np.maximum(fits.domain, 1e-6) / np.maximum(1 - fits.domain, 1e-6))
        + np.log(np.maximum(fits.by_target[rows, fits.y], floor))
        - np.log(np.maximum(fits.by_source[rows, fits.y], floor))
    )
    both = [c for c in np.unique(fits.y) if 0 < fits.is_target[fits.y == c].mean() < 1]
    if not both:
        return Finding.not_testable(question, "No class has labelled rows on both sides.")
    auc, p_value = rank_permutation_test(
        score, fits.is_target, strata=fits.y, n_permutations=sample.n_permutations, rng=sample.rng
    )
    low, high = _stratified_interval(auc, fits.is_target, fits.y)
    return Finding(
        question,
        "no_evidence",
        f"Within a class, a classifier tells source from target with AUC {auc:.2f}.",
        statistic=auc,
        p_value=p_value,
        effect=auc,
        interval=(low, high),
        minimum_effect=MINIMUM_AUC,
        details={
            "effect_name": "AUC within classes (0.5 = cannot tell)",
            "test": "classifier two-sample test within classes, one split, permutation",
            "n_permutations": sample.n_permutations,
            "n_classes": len(both),
        },
    )


def _stratified_interval(
    auc: float, is_target: NDArray[np.bool_], strata: NDArray[Any]
) -> tuple[float, float]:
    """Normal interval with Hanley and McNeil's variance in every stratum."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    shares, variances = [], []
    for code in np.unique(strata):
        t = is_target[strata == code]
        m, n = int((~t).sum()), int(t.sum())
        if m and n:
            shares.append(m * n / (m + n))
            first = auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)
            variances.append(first / (m * n))
    w = np.array(shares) / np.sum(shares)
    sd = float(np.sqrt((w**2 * np.array(variances)).sum()))
    return max(0.0, auc - 1.96 * sd), min(1.0, auc + 1.96 * sd)


def _given_number(fits: Labelled, sample: Sample) -> Finding:
    """X given a numeric Y: is the domain score of (X, Y) independent of the domain given Y?

    The score is again ``P(D | x, y) ~ P(D | x) P(y | x, D)``, with normal errors of one
    variance in the place of class probabilities; X alone would not show a slope that changed
    while X stayed in place. No two rows share a value of Y, so instead of permuting inside
    classes the score and the indicator are both regressed on Y by splines, cross-fitted, and
    their residuals multiplied (generalised covariance measure).
    """
    by_source, by_target, seen = (
        a[:, 0] for a in (fits.by_source, fits.by_target, fits.response - fits.pooled)
    )
    nearer_target = (fits.y - by_source) ** 2 - (fits.y - by_target) ** 2
    score = np.log(np.maximum(fits.domain, 1e-3) / np.maximum(1 - fits.domain, 1e-3))
    # Bounded, so that no single row far out decides.
    score = score + np.clip(nearer_target / (2 * max(float(seen.var()), 1e-12)), -5, 5)
    y = fits.y.astype(np.float64)[:, None]
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
    half_width = 1.96 * result.standard_error
    return Finding(
        "class_conditional",
        "no_evidence",
        "At equal Y, the score that tells source from target differs by "
        f"{result.effect / scale:.2f} standard deviations.",
        statistic=result.statistic,
        p_value=result.p_value,
        effect=result.effect / scale,
        interval=((result.effect - half_width) / scale, (result.effect + half_width) / scale),
        minimum_effect=MINIMUM_SCORE,
        details={
            "effect_name": "difference of the domain score at equal Y (standard deviations)",
            "test": "generalised covariance measure of a held-out domain score, asymptotic",
        },
    )

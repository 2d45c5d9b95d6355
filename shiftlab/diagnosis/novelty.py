"""Novelty: does the target hold many rows of a sort that is rare in the source?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest
from sklearn.neighbors import NearestNeighbors

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.marginal import DomainModel
from shiftlab.diagnosis.prior import ClassModel
from shiftlab.diagnosis.sample import Sample

__all__ = ["check_novelty"]

Floats = NDArray[np.float64]

RARE = 0.02  # share of a source class beyond the threshold
FOLD = 4.0  # so many times that share counts as novel: a moderate change of X gives less
NEIGHBOUR = 5
REFERENCE = 2000  # source rows that distances are taken to
FEWEST_OF_CLASS = 20


def check_novelty(sample: Sample, domain: DomainModel, model: ClassModel | None) -> Finding:
    r"""Count target rows that are rarer than 2% of every class of the source.

    Three scores, learnt on one half and used on the other: the domain classifier's probability
    and the distance to the fifth nearest source row (both ways round), and the source model's
    doubt (1 - largest class probability; one way). X and outputs see different things. The
    threshold of a score is the largest over the classes of the conformal quantile

    .. math:: c = \max_j \; s^{j}_{(\lceil (1 - t)(n_j + 1) \rceil)}, \qquad t = 0.02,

    which a mixture of the source's classes exceeds with probability at most t, whatever its
    shares. Classes with fewer than 20 rows to rank are taken together, the smallest first.
    The null hypothesis is a share of at most 4 t, since a moderate covariate shift thickens the
    tails too; the test is the binomial one, three times the smallest p-value. Rare is not
    impossible: a covariate shift that moves much of the target to where the source has few rows
    (U(0, 1) against Beta(20, 1)) looks like a new class far from all others, so a finding makes
    a new class *suspected*.

    Parameters
    ----------
    sample : Sample
        Both halves.
    domain : DomainModel
        Held-out domain probabilities.
    model : ClassModel or None
        Held-out class probabilities of a source model, where there is one.

    Returns
    -------
    Finding

    References
    ----------
    S. Bates, E. Candès, L. Lei, Y. Romano, M. Sesia, "Testing for Outliers with Conformal
    p-values", Annals of Statistics 2023.
    """
    n_source = sample.test.source.shape[0], sample.learn.source.shape[0]
    ways = (sample, sample.swapped())
    scores: dict[str, list[tuple[Floats, Floats]]] = {
        "domain classifier": [
            (p[:n], p[n:]) for p, n in zip((domain.test, domain.learn), n_source, strict=True)
        ],
        "distance to the source": [_distances(way) for way in ways],
    }
    if model is not None and model.source_rows.all():
        doubt = 1 - model.source.max(axis=1), 1 - model.target.max(axis=1)
        scores["doubt of the source model"] = [doubt]
    best, n_best = ("", 1.0, 0.0, RARE), 1
    for name, halves in scores.items():
        beyond = n = 0
        rare = 0.0
        for (of_source, of_target), way in zip(halves, ways, strict=False):
            threshold, share = _threshold(of_source, _classes(way))
            beyond, n = beyond + int((of_target > threshold).sum()), n + of_target.size
            rare = max(rare, share)
        p_value = float(binom.sf(beyond - 1, n, min(1.0, FOLD * rare)))
        if p_value <= best[1]:
            best, n_best = (name, p_value, beyond / n, rare), n
    name, p_value, share, rare = best
    whole = "the source" if sample.task == "regression" else "every class of the source"
    count = round(share * n_best)
    interval = binomtest(count, max(1, n_best)).proportion_ci(0.95, method="wilson")
    return Finding(
        "novelty",
        "no_evidence",
        f"{share:.1%} of the target's rows are of a sort that at most {rare:.1%} of {whole} is "
        f"(by the {name}).",
        statistic=share,
        p_value=min(1.0, len(scores) * p_value),
        effect=share,
        interval=(float(interval.low), float(interval.high)),
        minimum_effect=FOLD * rare,
        details={
            "effect_name": "share of the target of a sort that is rare in every source class",
            "test": "binomial test of conformal exceedances of three scores",
            "score": name,
            "share_of_source": rare,
        },
    )


def _classes(sample: Sample) -> NDArray[np.intp]:
    """Classes of the second half's source rows; one for all where not every label is known."""
    if sample.task == "classification" and sample.test.source_known.all():
        return np.asarray(sample.test.source_y, dtype=np.intp)
    return np.zeros(sample.test.source.shape[0], dtype=np.intp)


def _threshold(scores: Floats, codes: NDArray[np.intp]) -> tuple[float, float]:
    """Largest conformal quantile over the classes, and the share of a class beyond it."""
    found = []
    for group in _groups(codes):
        inside = np.sort(scores[np.isin(codes, group)])
        rank = min(inside.size, int(np.ceil((1 - RARE) * (inside.size + 1))))
        found.append((float(inside[rank - 1]), 1 - rank / (inside.size + 1)))
    return max(value for value, _ in found), max(share for _, share in found)


def _groups(codes: NDArray[np.intp]) -> list[list[int]]:
    """Classes, those with few rows taken together, the smallest first."""
    classes, counts = np.unique(codes, return_counts=True)
    groups: list[list[int]] = [[]]
    rows = 0
    for i in np.argsort(counts, kind="stable"):
        if rows >= FEWEST_OF_CLASS:
            groups.append([])
            rows = 0
        groups[-1].append(int(classes[i]))
        rows += int(counts[i])
    return groups


def _distances(sample: Sample) -> tuple[Floats, Floats]:
    """Distance to the fifth nearest source row of the first half, robustly scaled."""
    known = sample.learn.source[:REFERENCE]
    middle = np.nanmedian(np.where(np.isnan(known).all(axis=0), 0.0, known), axis=0)
    low, high = np.nanquantile(np.where(np.isnan(known), middle, known), [0.1, 0.9], axis=0)
    spread = np.where(high > low, high - low, 1.0)

    def scaled(X: Floats) -> Floats:
        filled = np.where(np.isnan(X), middle, X)
        return np.asarray(np.clip((filled - middle) / spread, -10, 10), dtype=np.float64)

    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOUR, known.shape[0])).fit(scaled(known))
    source, target = (
        neighbours.kneighbors(scaled(X))[0][:, -1] for X in (sample.test.source, sample.test.target)
    )
    return source, target

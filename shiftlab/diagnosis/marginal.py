"""Marginal: is X distributed alike in both domains?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.sample import Half, Sample
from shiftlab.stats.mmd import kernel_two_sample_test
from shiftlab.stats.multiple import holm
from shiftlab.stats.permutation import rank_permutation_test
from shiftlab.stats.two_sample import auc_interval
from shiftlab.stats.weights import effective_sample_size

__all__ = ["MINIMUM_AUC", "DomainModel", "check_marginal", "fit_domain", "stacked", "stronger"]

Floats = NDArray[np.float64]

MINIMUM_AUC = 0.55
TESTS_OF_X = 3


@dataclass(frozen=True)
class DomainModel:
    """A classifier of the domain, and its probabilities of "target" on rows it did not see.

    ``learn`` and ``test`` hold the probabilities of a half's rows, source rows first; those of
    the first half come from a second classifier, trained on the second half.
    """

    model: Any
    learn: Floats
    test: Floats


def stacked(half: Half) -> tuple[Floats, NDArray[np.bool_]]:
    """Both sides of a half as one matrix with the domain indicator."""
    is_target = np.repeat([False, True], [half.source.shape[0], half.target.shape[0]])
    return np.vstack([half.source, half.target]), is_target


def stronger(*p_values: float) -> float:
    """Bonferroni's p-value for the hypothesis that several tests share."""
    return float(holm(np.array(p_values)).min()) if p_values else 1.0


def fit_domain(sample: Sample) -> DomainModel:
    """Train a domain classifier on each half and let it predict the other.

    Parameters
    ----------
    sample : Sample
        Both halves.

    Returns
    -------
    DomainModel
    """
    models = [
        sample.new_domain_classifier().fit(*stacked(half)) for half in (sample.learn, sample.test)
    ]
    predicted = [
        model.predict_proba(stacked(half)[0])[:, 1]
        for model, half in zip(models, (sample.test, sample.learn), strict=True)
    ]
    return DomainModel(models[0], learn=predicted[1], test=predicted[0])


def check_marginal(sample: Sample, domain: DomainModel, p_columns: float) -> Finding:
    """Classifier two-sample test on one split, a kernel test on all rows, and the columns.

    The classifier sees what takes learning, the kernels see small smooth changes with every
    row, and the tests of single columns a change of one among many. Three times the smallest
    p-value is the answer's.

    Parameters
    ----------
    sample : Sample
        Both halves.
    domain : DomainModel
        Held-out probabilities.
    p_columns : float
        P-value of the hypothesis that no single column moved.

    Returns
    -------
    Finding
        Without its adjusted p-value.
    """
    _, is_target = stacked(sample.test)
    scores = domain.test
    auc, p_classifier = rank_permutation_test(
        scores, is_target, n_permutations=sample.n_permutations, rng=sample.rng
    )
    (a, in_a), (b, in_b) = stacked(sample.learn), stacked(sample.test)
    kernel = kernel_two_sample_test(
        np.vstack([a, b]),
        np.concatenate([in_a, in_b]),
        n_permutations=sample.n_permutations,
        rng=sample.rng,
    )
    n_source, n_target = int((~is_target).sum()), int(is_target.sum())
    ratio = scores[~is_target] / np.maximum(1e-3, 1 - scores[~is_target])
    details = {
        "effect_name": "AUC of a classifier that tells source from target (0.5 = cannot)",
        "test": "classifier two-sample test on one split, kernel test (MMD) on all rows, and "
        "tests of single columns",
        "p_classifier": p_classifier,
        "p_kernel": kernel.p_value,
        "p_columns": p_columns,
        "mmd_squared": kernel.mmd,
        "n_permutations": sample.n_permutations,
        "n_test_source": n_source,
        "n_test_target": n_target,
        "effective_sample_share": effective_sample_size(ratio) / n_source,
    }
    return Finding(
        "marginal",
        "no_evidence",
        f"A classifier tells source from target with AUC {auc:.2f} on rows it had not seen.",
        statistic=auc,
        p_value=stronger(p_classifier, kernel.p_value, p_columns),
        effect=auc,
        interval=auc_interval(auc, n_source, n_target),
        minimum_effect=MINIMUM_AUC,
        details=details,
    )

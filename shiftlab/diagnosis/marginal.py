"""Marginal: is X distributed alike in both domains?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.sample import Half, Sample
from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.permutation import rank_permutation_test
from shiftlab.stats.two_sample import auc_interval, detectable_auc
from shiftlab.stats.weights import effective_sample_size

__all__ = ["MINIMUM_AUC", "check_marginal", "stacked"]

Floats = NDArray[np.float64]

MINIMUM_AUC = 0.55


def stacked(half: Half) -> tuple[Floats, NDArray[np.bool_]]:
    """Both sides of a half as one matrix with the domain indicator."""
    is_target = np.repeat([False, True], [half.source.shape[0], half.target.shape[0]])
    return np.vstack([half.source, half.target]), is_target


def check_marginal(sample: Sample) -> Finding:
    """Classifier two-sample test on one split; exact permutation p-value.

    Parameters
    ----------
    sample : Sample
        Both halves.

    Returns
    -------
    Finding
        Without its adjusted p-value.
    """
    model = BlendedClassifier(random_state=sample.seed()).fit(*stacked(sample.learn))
    X, is_target = stacked(sample.test)
    scores = model.predict_proba(X)[:, 1]
    auc, p_value = rank_permutation_test(
        scores, is_target, n_permutations=sample.n_permutations, rng=sample.rng
    )
    n_source, n_target = int((~is_target).sum()), int(is_target.sum())
    ratio = scores[~is_target] / np.maximum(1e-3, 1 - scores[~is_target])
    details = {
        "effect_name": "AUC of a classifier that tells source from target (0.5 = cannot)",
        "test": "classifier two-sample test, one split, permutation",
        "n_permutations": sample.n_permutations,
        "n_test_source": n_source,
        "n_test_target": n_target,
        "detectable_effect": detectable_auc(n_source, n_target),
        "effective_sample_share": effective_sample_size(ratio) / n_source,
    }
    return Finding(
        "marginal",
        "no_evidence",
        f"A classifier tells source from target with AUC {auc:.2f} on rows it had not seen.",
        statistic=auc,
        p_value=p_value,
        effect=auc,
        interval=auc_interval(auc, n_source, n_target),
        minimum_effect=MINIMUM_AUC,
        details=details,
    )

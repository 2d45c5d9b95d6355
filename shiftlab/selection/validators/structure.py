"""Validators by the structure of the target: the way back, clusters, mixtures of rows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from shiftlab.domain import Domain
from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Need, Validator
from shiftlab.validation import numeric_rows

__all__ = ["CircularScore", "ClassClustering", "MixVal"]

MOST_ROWS = 20_000


class CircularScore(Validator):
    """Score on source labels of a model that learnt from the target with the candidate's answers.

    The way back (reverse validation): the target's rows with the labels that the candidate
    gave them become a source, the held-out source rows an unlabelled target, and the same
    method is fitted from one to the other. If the labels were right, it answers the source
    right. Errors that the way back undoes are not seen, and label shift is punished both
    ways. One more fit for each score.

    References
    ----------
    E. Zhong, W. Fan, Q. Yang, O. Verscheure, J. Ren, "Cross Validation Framework to Choose
    amongst Models and Datasets for Transfer Learning", ECML PKDD 2010. L. Bruzzone, M. Marconcini,
    "Domain Adaptation Problems: A DASVM Classification Technique and a Circular Validation
    Strategy", TPAMI 2010.

    Examples
    --------
    >>> from shiftlab import CircularScore
    >>> sorted(CircularScore.needs)
    ['refit', 'source_labels', 'target_rows']
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"source_labels", "target_rows", "refit"})
    tasks = ("classification", "regression")

    def _score(self, trial: Trial) -> float:
        answered = trial.target_prediction
        wanted = np.asarray(trial.source.y)
        if trial.classifies and len(np.unique(answered)) == 1:
            # nothing to learn: the way back knows this one class
            back = np.full(len(wanted), answered[0])
        else:
            labelled = Domain(
                trial.target.X, answered, name="target", feature_names=trial.target.feature_names
            )
            model = clone(trial.unfitted).fit(labelled, trial.source.unlabelled())
            back = np.asarray(model.predict(trial.source.X))
        if trial.classifies:
            return float(np.average(back == wanted, weights=trial.source_weight))
        return -float(np.average(np.square(back - wanted), weights=trial.source_weight))


class ClassClustering(Validator):
    """Agreement of the predicted classes with clusters of the target's mapped rows.

    k-means, with as many clusters as there are predicted classes, on the rows as the model has
    mapped them; adjusted mutual information of the clusters and the predicted classes. High
    where classes are clusters; 0 where the model's boundary cuts through them, or where there
    are none. On at most 20,000 rows.

    Parameters
    ----------
    random_state : int, default=0
        Seed of k-means.

    References
    ----------
    K. Musgrave, S. Belongie, S.-N. Lim, arXiv 2208.07360 (ClassAMI).

    Examples
    --------
    >>> from shiftlab import ClassClustering
    >>> ClassClustering()
    ClassClustering()
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"target_rows", "features"})

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def _score(self, trial: Trial) -> float:
        predicted = trial.target_prediction
        mapped = Domain.of(trial.model.transform(trial.target.X))
        rows = numeric_rows(mapped, type(self).__name__, sparse=True)
        if rows.shape[0] > MOST_ROWS:
            some = np.random.default_rng(self.random_state).choice(rows.shape[0], MOST_ROWS, False)
            rows, predicted = rows[some], predicted[some]
        k = len(np.unique(predicted))
        if k == 1:
            return 0.0  # one class agrees with nothing, by the measure's own convention for chance
        clusters = KMeans(k, n_init=3, random_state=self.random_state).fit_predict(rows)
        return float(adjusted_mutual_info_score(predicted, clusters))


class MixVal(Validator):
    r"""Whether the model answers mixtures of target rows like the row that dominates them.

    Pairs of target rows are mixed, :math:`\lambda x_a + (1 - \lambda) x_b`, half of them with
    the same predicted class (which probes how tight a class is) and half with different ones
    (how far the boundary lies from rows). The score is the mean of the two shares of mixtures
    that get the class of :math:`x_a`. Dense numbers only.

    Parameters
    ----------
    mix : float, default=0.55
        :math:`\lambda`, in (0.5, 1).
    random_state : int, default=0
        Seed of the pairs.

    References
    ----------
    D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang, "Mixed Samples as Probes for
    Unsupervised Model Selection in Domain Adaptation", NeurIPS 2023.

    Examples
    --------
    >>> from shiftlab import MixVal
    >>> MixVal()
    MixVal()
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"target_rows", "features"})

    def __init__(self, mix: float = 0.55, random_state: int = 0) -> None:
        self.mix = mix
        self.random_state = random_state

    def _score(self, trial: Trial) -> float:
        if not 0.5 < self.mix < 1:
            raise ValueError(f"mix must be above 0.5 and below 1, got {self.mix!r}")
        X = trial.target.X
        if trial.target.is_frame or trial.target.is_sparse or trial.target.is_image:
            raise ValueError(
                "MixVal mixes rows of dense numbers; encode the target's columns first"
            )
        answered = trial.target_prediction
        order = np.random.default_rng(self.random_state).permutation(len(X))
        partner = np.roll(order, 1)
        mixed = self.mix * X[order] + (1 - self.mix) * X[partner]
        kept = np.asarray(trial.model.predict(mixed)) == answered[order]
        same = answered[order] == answered[partner]
        return float(np.mean([kept[part].mean() for part in (same, ~same) if part.any()]))

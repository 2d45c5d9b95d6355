"""Validators that estimate the accuracy in the target from confidences."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Need, Validator
from shiftlab.stats.bootstrap import Estimate
from shiftlab.stats.performance import unlabelled_accuracy

__all__ = ["ATC", "DoC", "LabelShiftAdjusted"]


class _EstimatedAccuracy(Validator):
    """What `shiftlab.stats.performance.unlabelled_accuracy` says, by one of its names."""

    needs: ClassVar[frozenset[Need]] = frozenset({"source_labels", "target_rows", "probabilities"})
    estimator_name: ClassVar[str]

    def estimate(self, trial: Trial) -> Estimate:
        """Estimate the accuracy with its 95% bootstrap interval.

        Parameters
        ----------
        trial : Trial
            The candidate and the rows that it is judged on.

        Returns
        -------
        Estimate
        """
        found = unlabelled_accuracy(
            trial.source_probabilities,
            trial.source_codes,
            trial.target_probabilities,
            rng=np.random.default_rng(0),
        )
        if self.estimator_name not in found:
            raise ValueError(
                f"{type(self).__name__} needs held-out source rows of classes that candidate "
                f"{trial.name!r} knows; there are none"
            )
        return found[self.estimator_name]

    def _score(self, trial: Trial) -> float:
        return self.estimate(trial).value


class ATC(_EstimatedAccuracy):
    r"""Average thresholded confidence: an estimate of the accuracy in the target.

    .. math:: P_T(c > t), \qquad P_S(c > t) = \text{accuracy in the source}

    with c the calibrated probability of the predicted class. Assumes that a confident answer
    is right as often in the target. O(200 (n + m)).

    References
    ----------
    S. Garg, S. Balakrishnan, Z. Lipton, B. Neyshabur, H. Sedghi, "Leveraging Unlabeled Data
    to Predict Out-of-Distribution Performance", ICLR 2022.

    Examples
    --------
    >>> from shiftlab import ATC
    >>> ATC()
    ATC()
    """

    estimator_name: ClassVar[str] = "ATC"


class DoC(_EstimatedAccuracy):
    r"""Difference of confidences: an estimate of the accuracy in the target.

    .. math:: a_S + E_T\, c - E_S\, c

    Assumes that the accuracy changes by as much as the mean calibrated confidence c.

    References
    ----------
    D. Guillory, V. Shankar, S. Ebrahimi, T. Darrell, L. Schmidt, "Predicting with Confidence
    on Unseen Distributions", ICCV 2021.

    Examples
    --------
    >>> from shiftlab import DoC
    >>> DoC()
    DoC()
    """

    estimator_name: ClassVar[str] = "DoC"


class LabelShiftAdjusted(_EstimatedAccuracy):
    r"""Accuracy in the target if only the class shares changed.

    .. math:: \sum_y q_y\, P_S(\hat y = y \mid y)

    with the target prior q by expectation maximisation on the calibrated probabilities.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a
    Priori Probabilities", Neural Computation 2002 (for q).

    Examples
    --------
    >>> from shiftlab import LabelShiftAdjusted
    >>> LabelShiftAdjusted()
    LabelShiftAdjusted()
    """

    estimator_name: ClassVar[str] = "label-shift adjusted"

"""Validators by the risk on held-out source rows, plain or weighted to the target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Need, Validator

__all__ = ["DEV", "ImportanceWeightedScore", "SourceScore", "embedded_risk"]

Floats = NDArray[np.float64]
BOTH = ("classification", "regression")


def embedded_risk(loss: ArrayLike, ratio: ArrayLike) -> float:
    r"""Importance-weighted risk with the ratio itself as control variate.

    .. math:: \frac 1 n \sum_i w_i \ell_i + \eta \left( \frac 1 n \sum_i w_i - 1 \right), \qquad
              \eta = -\frac{\mathrm{Cov}(w \ell, w)}{\mathrm{Var}(w)}

    The ratio has mean one in the source, so the second term has mean zero, and :math:`\eta` is
    what leaves the least variance. O(n).

    Parameters
    ----------
    loss, ratio : array-like of shape (n,)
        Losses of source rows, and ``p_T(x) / p_S(x)`` there.

    Returns
    -------
    float

    References
    ----------
    K. You, X. Wang, M. Long, M. Jordan, "Towards Accurate Model Selection in Deep Unsupervised
    Domain Adaptation", ICML 2019.

    Examples
    --------
    >>> embedded_risk([0.0, 1.0], [1.0, 1.0])
    0.5
    """
    w = np.asarray(ratio, dtype=np.float64)
    weighted = w * np.asarray(loss, dtype=np.float64)
    variance = float(np.var(w))
    if variance == 0.0:
        return float(weighted.mean())
    eta = -float(np.mean((weighted - weighted.mean()) * (w - w.mean()))) / variance
    return float(weighted.mean() + eta * (w.mean() - 1.0))


def _as_score(risk: float, trial: Trial) -> float:
    """An accuracy for classes, a negative squared error for numbers."""
    return 1.0 - risk if trial.classifies else -risk


class SourceScore(Validator):
    """Accuracy (classes) or negative squared error (numbers) on held-out source rows.

    It ranks well where the target differs little, and says nothing about what a shift does.
    O(n).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import SourceScore, make_pipeline, validation_scores
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> model = make_pipeline(LogisticRegression())
    >>> scores = validation_scores(model, (X, X[:, 0] > 0), X + 1, SourceScore(), random_state=0)
    >>> bool(scores.mean() > 0.9)
    True
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"source_labels"})
    tasks = BOTH

    def _score(self, trial: Trial) -> float:
        return _as_score(float(np.average(trial.source_loss, weights=trial.source_weight)), trial)


class ImportanceWeightedScore(Validator):
    r"""Held-out source score with rows weighted to the target.

    .. math:: 1 - \frac{\sum_i w_i \ell_i}{\sum_i w_i}, \qquad w_i = \frac{p_T(x_i)}{p_S(x_i)}

    Right for a target whose Y at equal X is the source's, and which has rows only where the
    source has some. Elsewhere it judges a task that is not the target's. O(n), and one fit of
    the weights for all candidates.

    Parameters
    ----------
    weighting : adapter of `shiftlab.marginal.weighting`, default=None
        Estimates the ratio; None is ``ClassifierWeighting(flatten=1.0, random_state=0)``.

    References
    ----------
    M. Sugiyama, M. Krauledat, K.-R. Mueller, "Covariate Shift Adaptation by Importance Weighted
    Cross Validation", JMLR 2007.

    Examples
    --------
    >>> from shiftlab import KLIEP, ImportanceWeightedScore
    >>> sorted(ImportanceWeightedScore(KLIEP()).needs)
    ['ratio', 'source_labels', 'target_rows']
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"source_labels", "target_rows", "ratio"})
    tasks = BOTH

    def __init__(self, weighting: Any = None) -> None:
        self.weighting = weighting

    def _score(self, trial: Trial) -> float:
        assert trial.ratio is not None
        return _as_score(float(np.average(trial.source_loss, weights=trial.ratio)), trial)


class DEV(Validator):
    """Importance-weighted score with a control variate (deep embedded validation).

    See `embedded_risk`. Like `ImportanceWeightedScore` it assumes covariate shift with
    overlap; it varies less from sample to sample where weights vary much. The ratio is of
    the columns that were given, not of learnt features, so that all candidates are judged by
    the same weights.

    Parameters
    ----------
    weighting : adapter of `shiftlab.marginal.weighting`, default=None
        As in `ImportanceWeightedScore`.
    normalize : bool, default=False
        Divide the ratio by its largest value first, which keeps single rows from deciding
        (DEVN). The score is no accuracy then, and only ranks.

    References
    ----------
    K. You, X. Wang, M. Long, M. Jordan, ICML 2019. K. Musgrave, S. Belongie, S.-N. Lim,
    "Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain
    Adaptation", arXiv 2208.07360 (DEVN).

    Examples
    --------
    >>> from shiftlab import DEV
    >>> DEV(normalize=True)
    DEV(normalize=True)
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"source_labels", "target_rows", "ratio"})
    tasks = BOTH

    def __init__(self, weighting: Any = None, normalize: bool = False) -> None:
        self.weighting = weighting
        self.normalize = normalize

    def _score(self, trial: Trial) -> float:
        assert trial.ratio is not None
        ratio = trial.ratio / trial.ratio.max() if self.normalize else trial.ratio
        return _as_score(embedded_risk(trial.source_loss, ratio), trial)

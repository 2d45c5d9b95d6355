"""Validators by what a model says of the target's rows alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, xlogy

from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Need, Validator

__all__ = ["BNM", "SND", "InfoMax", "PredictionEntropy", "neighborhood_density"]

Floats = NDArray[np.float64]
OUTPUTS: frozenset[Need] = frozenset({"target_rows", "probabilities"})
BLOCK = 1000


def _entropy(p: Floats) -> Floats:
    return np.asarray(-xlogy(p, p).sum(axis=-1))


def neighborhood_density(probabilities: ArrayLike, temperature: float = 0.05) -> float:
    r"""Mean entropy of the neighbours' distribution of each row, by likeness of outputs.

    .. math:: -\frac 1 n \sum_i \sum_{j \ne i} q_{ij} \log q_{ij}, \qquad
              q_{ij} \propto \exp(\cos(p_i, p_j) / T)

    O(n^2 k) time; n x 1,000 numbers at a time.

    Parameters
    ----------
    probabilities : array-like of shape (n, k)
        Outputs, n at least 2.
    temperature : float, default=0.05
        T.

    Returns
    -------
    float
        In [0, log(n - 1)].

    References
    ----------
    K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko, "Tune it the Right Way:
    Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density", ICCV 2021.

    Examples
    --------
    >>> round(neighborhood_density([[1, 0], [1, 0], [1, 0]]), 3)  # log 2
    0.693
    """
    p = np.asarray(probabilities, dtype=np.float64)
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    total = 0.0
    for start in range(0, len(unit), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(unit)))
        logits = unit[rows] @ unit.T / temperature
        logits[rows - start, rows] = -np.inf
        logs = logits - logsumexp(logits, axis=1, keepdims=True)
        logs[rows - start, rows] = 0.0  # exp(-inf) times it is nothing
        q = np.exp(logs)
        q[rows - start, rows] = 0.0
        total -= float((q * logs).sum())
    return total / len(unit)


class PredictionEntropy(Validator):
    r"""Negative mean entropy of the target's class probabilities.

    .. math:: \frac 1 m \sum_j \sum_y p_{jy} \log p_{jy}

    It rewards confidence, right or wrong: a model that puts every row in one class with
    certainty has the best score there is. `InfoMax` mends that. O(m k).

    References
    ----------
    P. Morerio, J. Cavazza, V. Murino, "Minimal-Entropy Correlation Alignment for Unsupervised
    Deep Domain Adaptation", ICLR 2018.

    Examples
    --------
    >>> from shiftlab import PredictionEntropy
    >>> sorted(PredictionEntropy.needs)
    ['probabilities', 'target_rows']
    """

    needs: ClassVar[frozenset[Need]] = OUTPUTS

    def _score(self, trial: Trial) -> float:
        return -float(_entropy(trial.target_probabilities).mean())


class InfoMax(Validator):
    r"""Information that the target's rows carry about the predicted class.

    .. math:: H\Big(\frac 1 m \sum_j p_j\Big) - \frac 1 m \sum_j H(p_j)

    Rewards confident rows and many classes. Under label shift the second wish is wrong: a
    model that follows the target's uneven classes scores less. O(m k).

    References
    ----------
    Y. Shi, F. Sha, "Information-Theoretical Learning of Discriminative Clusters for Unsupervised
    Domain Adaptation", ICML 2012.

    Examples
    --------
    >>> from shiftlab import InfoMax
    >>> InfoMax()
    InfoMax()
    """

    needs: ClassVar[frozenset[Need]] = OUTPUTS

    def _score(self, trial: Trial) -> float:
        p = trial.target_probabilities
        return float(_entropy(p.mean(axis=0)) - _entropy(p).mean())


class BNM(Validator):
    r"""Nuclear norm of the matrix of the target's class probabilities.

    .. math:: \frac{\lVert P \rVert_*}{\sqrt{m \min(m, k)}} \in (0, 1]

    One where rows are certain and classes equally frequent. O(m k^2).

    References
    ----------
    S. Cui, S. Wang, J. Zhuo, L. Li, Q. Huang, Q. Tian, "Towards Discriminability and Diversity:
    Batch Nuclear-norm Maximization under Label Insufficient Situations", CVPR 2020.

    Examples
    --------
    >>> from shiftlab import BNM
    >>> BNM()
    BNM()
    """

    needs: ClassVar[frozenset[Need]] = OUTPUTS

    def _score(self, trial: Trial) -> float:
        p = trial.target_probabilities
        return float(np.linalg.norm(p, "nuc") / np.sqrt(len(p) * min(p.shape)))


class SND(Validator):
    """Soft neighbourhood density of the target's class probabilities.

    See `neighborhood_density`. High where rows lie in dense groups of alike outputs; a model that
    answers the same everywhere has the highest. On at most ``max_rows`` target rows.

    Parameters
    ----------
    temperature : float, default=0.05
        Of the likeness.
    max_rows : int, default=5000
        More target rows are drawn from, with a fixed seed.

    References
    ----------
    K. Saito et al., ICCV 2021.

    Examples
    --------
    >>> from shiftlab import SND
    >>> SND(temperature=0.1)
    SND(temperature=0.1)
    """

    needs: ClassVar[frozenset[Need]] = OUTPUTS

    def __init__(self, temperature: float = 0.05, max_rows: int = 5000) -> None:
        self.temperature = temperature
        self.max_rows = max_rows

    def _score(self, trial: Trial) -> float:
        p = trial.target_probabilities
        if len(p) < 2:
            raise ValueError(f"SND needs at least 2 target rows, got {len(p)}")
        if len(p) > self.max_rows:
            p = p[np.random.default_rng(0).choice(len(p), self.max_rows, replace=False)]
        return neighborhood_density(p, self.temperature)

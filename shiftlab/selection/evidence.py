"""What can be known about the gain of one model over another without target labels, or with few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln
from sklearn.metrics import roc_auc_score

from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.two_sample import halves

__all__ = ["Evidence", "label_evidence", "remaining_difference", "win_e_value"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """One estimate of what adapting gains, and whether its assumption stands.

    Parameters
    ----------
    name : str
        "label shift", "covariate shift", "feature map" or "target labels".
    assumes : str
        What has to hold for the estimate.
    plausible : bool
        Whether the rows leave the assumption standing.
    why : str
        What says so.
    gain : float or None, default=None
        Accuracy (or explained variance) gained in the target, as a share; None where it was
        not estimated.
    interval : tuple of (float, float) or None, default=None
        Its 95% interval.
    calibration : tuple of (float, float) or None, default=None
        The 95% interval by which half the Brier score of the probabilities falls.
    """

    name: str
    assumes: str
    plausible: bool
    why: str
    gain: float | None = None
    interval: tuple[float, float] | None = None
    calibration: tuple[float, float] | None = None

    @property
    def shown(self) -> bool:
        """Whether a gain is shown: certain, or expected where the Brier score surely falls.

        The Brier score sees a row move towards its class before it crosses the border: the same
        rows say more by it. By itself it could fall where accuracy does not rise.
        """
        if self.gain is None or self.interval is None:
            return False
        surely = (self.interval, self.calibration or self.interval)
        return self.gain > 0 and max(low for low, _ in surely) > 0

    def sentence(self) -> str:
        """Say what adapting changes, and on which assumption."""
        assert self.gain is not None
        assert self.interval is not None
        low, high = (100 * v for v in self.interval)
        said = (
            f"if {self.assumes}, which stands ({self.why}), adapting changes the score in the "
            f"target by {100 * self.gain:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"
        )
        if self.shown and low <= 0 and self.calibration is not None:
            low, high = self.calibration
            said += f", and half the Brier score falls by {low:.3f} to {high:.3f}"
        return said


def label_evidence(gain: ArrayLike) -> Evidence:
    """Sum up by how much one model was better than another on labelled target rows.

    Parameters
    ----------
    gain : array-like of shape (n,)
        Loss of the source-only model less that of the adapted one.

    Returns
    -------
    Evidence
        Without an interval: few rows are judged by `win_e_value`.

    Examples
    --------
    >>> label_evidence([1, 0, 0, 1, -1]).why
    'of 5 labelled target rows the adapted model alone is better on 2, the source-only model on 1'
    """
    g = np.asarray(gain, dtype=np.float64)
    why = (
        f"of {len(g)} labelled target rows the adapted model alone is better on "
        f"{(g > 0).sum()}, the source-only model on {(g < 0).sum()}"
    )
    return Evidence(
        "target labels", "the labelled rows are drawn at random", True, why, float(g.mean())
    )


def win_e_value(wins: int, losses: int) -> float:
    r"""Evidence that one model is right more often than another, from rows where they differ.

    .. math:: E = 2 \int_{1/2}^1 (2p)^w\, (2(1-p))^l \, dp

    Under "a row on which exactly one is right is not more often the first's" E is a
    non-negative supermartingale of mean at most one, in whatever order rows come: the chance
    that it *ever* reaches :math:`1/\alpha` is at most :math:`\alpha`, so labels may be added
    one by one and looked at each time. O(1).

    Parameters
    ----------
    wins, losses : int
        Rows on which only the first, and only the second, is right.

    Returns
    -------
    float

    References
    ----------
    G. Shafer, "Testing by Betting", JRSS A 2021. A. Ramdas, P. Gruenwald, V. Vovk, G. Shafer,
    "Game-Theoretic Statistics and Safe Anytime-Valid Inference", Statistical Science 2023.

    Examples
    --------
    >>> round(win_e_value(0, 0), 3), round(win_e_value(5, 0), 1), win_e_value(5, 5) < 1
    (1.0, 10.5, True)
    """
    a, b = wins + 1, losses + 1
    upper = 1.0 - float(betainc(a, b, 0.5))
    return float(np.exp((wins + losses + 1) * np.log(2.0) + betaln(a, b)) * upper)


def remaining_difference(
    source: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    random_state: int = 0,
) -> float:
    """AUC by which a classifier still tells the target from the weighted or mapped source.

    It learns on one half of both samples and is scored on the other; the weights count in
    both. About 0.5 where nothing is left.

    Parameters
    ----------
    source : array-like of shape (n, d)
        Source rows.
    target : array-like of shape (m, d)
        Target rows.
    weight : array-like of shape (n,), default=None
        Of the source rows; None is all one.
    random_state : int, default=0
        Seed of the halves and the classifier.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(800, 1)), rng.normal(1, 1, size=(800, 1))
    >>> bool(remaining_difference(x, z) > 0.7)
    True
    >>> bool(remaining_difference(x, z, np.exp(x[:, 0] - 0.5)) < 0.6)
    True
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    w = np.ones(len(a)) if weight is None else np.asarray(weight, dtype=np.float64)
    rng = np.random.default_rng(random_state)
    (a_learn, a_test), (b_learn, b_test) = halves(len(a), rng), halves(len(b), rng)

    def together(rows: NDArray[np.intp], others: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        share = w[rows] / max(float(w[rows].sum()), np.finfo(float).tiny)
        weights = np.append(share, np.full(len(others), 1 / len(others)))
        codes = np.repeat([0.0, 1.0], [len(rows), len(others)])
        return np.vstack([a[rows], b[others]]), codes, weights * len(codes) / 2

    X, codes, weights = together(a_learn, b_learn)
    model = BlendedClassifier(random_state=random_state).fit(X, codes.astype(int), weights)
    X, codes, weights = together(a_test, b_test)
    return float(roc_auc_score(codes, model.predict_proba(X)[:, 1], sample_weight=weights))

"""Target shift: weights that are a function of Y, for regression and for classes."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.contradiction import warn_of_contradictions
from shiftlab.conditional.label_shift_fit import is_label_shift_plausible
from shiftlab.conditional.target_shift_fit import is_scale, label_basis, target_shift_fit
from shiftlab.domain import Domain
from shiftlab.stats.kernels import NystroemMap, median_distance, pooled_spread
from shiftlab.stats.weights import effective_sample_size
from shiftlab.validation import numeric_rows

__all__ = ["TargetShift", "target_shift_weights"]

Floats = NDArray[np.float64]

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def target_shift_weights(
    features: Floats,
    basis: Floats,
    target_features: Floats,
    rng: np.random.RandomState,
    source_weight: Floats | None = None,
) -> Floats:
    r"""Coefficients of weights on Y under which the source's X has the target's mean embedding.

    .. math:: \min_{\alpha \ge 0} \Big\lVert \frac1n \sum_i \Big(\sum_b \alpha_b\, \rho_b(y_i)
              \Big) \phi(x_i) - \frac1m \sum_j \phi(x_j^T) \Big\rVert^2
              + \lambda \sum_b \bar\rho_b\, (\alpha_b - 1)^2

    with features :math:`\phi` of a kernel and functions :math:`\rho_b` of Y. The penalty keeps
    the weights at one where X says little about Y; its size is the one that fits best on rows
    that were left out (two halves). O(n r k) time for r features.

    Parameters
    ----------
    features : ndarray of shape (n, r)
        Of the source rows.
    basis : ndarray of shape (n, k)
        From :func:`label_basis`.
    target_features : ndarray of shape (m, r)
        Of the target rows.
    rng : RandomState
        Deals the rows into halves.
    source_weight : ndarray of shape (n,), default=None
        Weights of the source rows.

    Returns
    -------
    ndarray of shape (k,)
        Scaled so that the weights have mean one.

    References
    ----------
    K. Zhang, B. Schölkopf, K. Muandet, Z. Wang, "Domain Adaptation under Target and
    Conditional Shift", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.RandomState(0)
    >>> x, basis = np.eye(2)[[0, 0, 1, 1] * 50], np.eye(2)[[0, 0, 1, 1] * 50]
    >>> target_shift_weights(x, basis, np.eye(2)[[0, 1, 1, 1] * 50], rng).round(1)
    array([0.5, 1.5])
    """
    n, k = basis.shape
    own = np.ones(n) if source_weight is None else source_weight / source_weight.mean()
    share = own @ basis / n

    def moments(rows: NDArray[Any], target_rows: NDArray[Any]) -> tuple[Floats, Floats]:
        weighted = basis[rows] * own[rows, None]
        return features[rows].T @ weighted / len(rows), target_features[target_rows].mean(axis=0)

    def solve(A: Floats, b: Floats, penalty: float) -> Floats:
        root = np.sqrt(penalty * np.square(A).sum() / k * share)
        found, _ = nnls(np.vstack([A, np.diag(root)]), np.append(b, root))
        total = share @ found
        return np.asarray(found / total) if total > 0 else np.ones(k)

    everything = moments(np.arange(n), np.arange(len(target_features)))
    if min(n, len(target_features)) < 2:
        return solve(*everything, PENALTIES[-1])
    halves = rng.permutation(n) % 2, rng.permutation(len(target_features)) % 2
    parts = [moments(*(np.flatnonzero(half == h) for half in halves)) for h in (0, 1)]
    losses = []
    for penalty in PENALTIES:
        pairs = ((parts[0], parts[1]), (parts[1], parts[0]))
        losses.append(sum(np.sum((C @ solve(A, b, penalty) - d) ** 2) for (A, b), (C, d) in pairs))
    return solve(*everything, PENALTIES[int(np.argmin(losses))])


class TargetShift(Adapter):
    r"""Weight source rows by a density ratio on Y, estimated from the target's X alone.

    .. math:: w(y) = \frac{P_T(y)}{P_S(y)}, \qquad \int w(y)\, P_S(x, y)\, dy = P_T(x)

    The weights are classes' or, for numbers, piecewise linear in Y, and make the mean
    embedding of the source's rows that of the target's, see :func:`target_shift_weights`. It is
    the answer to label shift for a regression target; for classes with a probabilistic classifier
    `PriorCorrection` is usually the sharper one. Several sources are pooled: their P(X|Y) has to
    be the same, their P(Y) need not.

    It helps under target shift, ``P(X|Y)`` the same on both sides and ``P(Y)`` moved: houses of
    the same kinds, more of the dear ones. It harms when ``P(X|Y)`` moved instead: the same houses
    after prices rose. So it refuses, keeps the weights as they came and warns, when no weights on
    Y explain the target's rows (a test with level .01, on at most 2,000 rows of each side).

    Time O(n (m^2 + m k)) with m landmarks and k knots, and about a second for the test; memory
    O(n m).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the weighted source; must take weights.
    n_knots : int, default=8
        Knots of the weights along Y, at its quantiles, if Y has more than 20 different numbers.
    max_weight : float, default=20.0
        Larger weights are cut there.
    n_landmarks : int, default=200
        Landmarks of the kernel.
    random_state : int, RandomState or None, default=None
        Seed of landmarks and halves.

    Attributes
    ----------
    source_ : Domain
        The source with its new weights.
    weights_ : ndarray of shape (n,)
        Weights of the labelled source rows, of mean one.
    effective_sample_size_ : float
        Rows that the weighted source is worth.
    label_shift_fit_ : LabelFitResult or None
        The test that P(X|Y) is the same; None where it could not be done.
    refused_ : str or None
        Why the weights were kept as they came, if they were.

    Raises
    ------
    ValueError
        In `fit`, for a source without labels.

    References
    ----------
    K. Zhang, B. Schölkopf, K. Muandet, Z. Wang, "Domain Adaptation under Target and
    Conditional Shift", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import TargetShift
    >>> rng = np.random.default_rng(0)
    >>> y, hidden = rng.uniform(0, 1, 1000), rng.beta(4, 1, 1000)
    >>> X, Z = (np.column_stack([v, v**2]) + rng.normal(0, 0.1, (1000, 2)) for v in (y, hidden))
    >>> adapter = TargetShift(random_state=0).fit((X, y), Z)
    >>> before, after = y.mean(), np.average(y, weights=adapter.weights_)
    >>> bool(abs(after - hidden.mean()) < 0.2 * abs(before - hidden.mean()))
    True
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="Only the distribution of Y moved: P(X|Y) is the same on both sides.",
        source_labels=True,
        cost="time O(n m (m + k)) with m = 200 landmarks and k = 8 knots, memory O(n m)",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "n_knots": [Interval(Integral, 2, None, closed="left")],
        "max_weight": [Interval(Real, 1, None, closed="neither")],
        "n_landmarks": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_knots: int = 8,
        max_weight: float = 20.0,
        n_landmarks: int = 200,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_knots = n_knots
        self.max_weight = max_weight
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        source = source.labelled_part()
        rng = check_random_state(self.random_state)
        X = numeric_rows(source, "TargetShift").astype(np.float64)
        Z = numeric_rows(target, "TargetShift").astype(np.float64)
        spread = pooled_spread(X, Z)
        X, Z = X / spread, Z / spread
        both = np.vstack([X, Z])
        chosen = rng.choice(len(both), min(self.n_landmarks, len(both)), replace=False)
        embed = NystroemMap(both[chosen], median_distance(both, rng))
        basis = label_basis(source.y, self.n_knots)
        if not is_scale(source.y):
            warn_of_contradictions(source, "TargetShift")
        own = source.weight
        features, target_features = embed(X), embed(Z)

        def weigh(rows: Any, target_rows: Any) -> Floats:
            found = target_shift_weights(
                features[rows],
                basis[rows],
                target_features[target_rows],
                rng,
                None if own is None else own[rows],
            )
            return np.asarray(np.minimum(basis[rows] @ found, self.max_weight))

        ratio = weigh(np.arange(len(X)), np.arange(len(Z)))
        self.refused_: str | None = None
        self.label_shift_fit_ = target_shift_fit(X, source.y, Z, own, weigh, self.n_knots, rng)
        if not is_label_shift_plausible(self.label_shift_fit_):
            assert self.label_shift_fit_ is not None
            self.refused_ = (
                "no weights on Y explain the target's rows (held-out misfit "
                f"{self.label_shift_fit_.misfit:.3f}, p = {self.label_shift_fit_.p_value:.1g}), "
                "so P(X|Y) differs"
            )
            warnings.warn(
                f"TargetShift keeps the source's weights: {self.refused_}",
                UserWarning,
                stacklevel=3,
            )
            ratio = np.ones(len(ratio))
        weights = ratio if own is None else ratio * own
        self.weights_ = weights / weights.mean()
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        return source.with_(weight=self.weights_)

"""Instance pruning: leave out source rows that a model of the target's labels contradicts."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.conditional.estimation import require_probabilities
from shiftlab.conditional.held_out import FEW, dealt_folds, row_losses, unless_better
from shiftlab.conditional.pooling import checked_rows, pool, row_weights
from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for

__all__ = ["InstancePruning", "contradiction"]

Floats = NDArray[np.float64]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, np.inf)  # infinity leaves out the whole source


def contradiction(probabilities: Floats, codes: NDArray[np.intp]) -> Floats:
    r"""Return by how much a model prefers another class to that of a row.

    .. math:: r_i = \log \max_y p(y \mid x_i) - \log p(y_i \mid x_i)

    O(n k).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Of the model.
    codes : ndarray of shape (n,)
        The rows' classes as columns; -1 for a class that the model does not know.

    Returns
    -------
    ndarray of shape (n,)
        Zero where the model agrees, and where it does not know the class.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2]])
    >>> contradiction(p, np.array([0, 1, -1])).round(3).tolist()
    [0.0, 1.386, 0.0]
    """
    logs = np.log(np.maximum(probabilities, 1e-300))
    own = logs[np.arange(len(codes)), codes]
    return np.where(codes < 0, 0.0, logs.max(axis=1) - own)


class InstancePruning(Adapter):
    r"""Train on both sides without the source rows that the target's labels contradict most.

    A classifier :math:`p_T` of the labelled target rows alone looks at every source row,

    .. math:: r_i = \log \max_y p_T(y \mid x_i) - \log p_T(y_i \mid x_i),

    and of the rows with :math:`r_i > 0`, which it would label otherwise, the share ``prune`` with
    the largest :math:`r_i` is left out. What is left, pooled with the labelled target rows, trains
    the estimator. ``prune="auto"`` chooses the share, from none (both pooled) to all contradicted
    rows, or the target alone, by cross-validated log-loss on the labelled target rows; pooling is
    kept unless another choice is better by more than one standard error of the difference.

    It helps when a part of the source says the opposite of the target, and, unlike boosting
    or weighting, with estimators that take no row weights. It cannot say more than the few target
    rows know: source rows that are right where their classifier is wrong are pruned as well. With
    fewer than ten labelled rows "auto" pools. Measured (500 source rows, 40 labelled target rows,
    five columns, ten seeds), with the 40 rows alone, both pooled, and this:

    - three of ten source labels are wrong, nine nearest neighbours: .80, .76, .82
    - half of the source says the opposite, logistic regression: .87, .67, .87
    - the whole source follows another law, logistic regression: .87, .53, .87
    - nothing differs, logistic regression: .87, .91, .91

    Time: two fits of the estimator, with "auto" some ``6 * cv`` more; memory O(n (d + k)).

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`.
    prune : "auto" or float, default="auto"
        Share of the contradicted source rows to leave out, in 0..1.
    cv : int, default=5
        Folds of the labelled target rows, at least 2.
    random_state : int, RandomState or None, default=None
        Seed of the folds. The estimator has its own.

    Attributes
    ----------
    source_ : Domain
        The source rows that are left, and the labelled target rows.
    prune_ : float
        The share that was used; infinite where the whole source was left out.
    contradiction_ : ndarray of shape (n,)
        :math:`r_i` of the labelled source rows that have weight.
    pruned_ : bool ndarray of shape (n,)
        Which of them were left out.
    losses_ : ndarray of shape (6,)
        Mean loss on held-out target rows of the shares 0, .25, .5, .75, 1 and infinity; empty
        where nothing was tried.

    Raises
    ------
    ValueError
        In `fit`, without labelled target rows of two classes, or for an estimator without
        `predict_proba`.

    Warns
    -----
    UserWarning
        When the target alone was best, so that the source did not help, and when "auto" has
        fewer than 10 labelled target rows.

    References
    ----------
    J. Jiang, C. Zhai, "Instance Weighting for Domain Adaptation in NLP", ACL 2007.

    Examples
    --------
    Three of ten source labels are wrong: with the labelled target rows alone, with all rows pooled,
    and pruned. Nearest neighbours take no weights.

    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from shiftlab import Domain, InstancePruning
    >>> rng = np.random.default_rng(0)
    >>> X, Xt = rng.normal(size=(400, 5)), rng.normal(size=(400, 5))
    >>> y, yt = (X[:, 0] > 0) ^ (rng.random(400) < 0.3), Xt[:, 0] > 0
    >>> known, base = np.arange(400) < 40, KNeighborsClassifier(9)
    >>> alone = base.fit(Xt[known], yt[known]).score(Xt[~known], yt[~known])
    >>> pooled = base.fit(np.r_[X, Xt[known]], np.r_[y, yt[known]]).score(Xt[~known], yt[~known])
    >>> model = InstancePruning(base, random_state=0).fit((X, y), Domain(Xt, yt, labelled=known))
    >>> print(f"{alone:.2f} {pooled:.2f} {model.score(Xt[~known], yt[~known]):.2f}")
    0.85 0.79 0.89
    """

    facts: ClassVar[Facts] = Facts(
        handles=("conditional",),
        assumes="A part of the source contradicts the target, and some target labels are known.",
        source_labels=True,
        target_labels="required",
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        cost="two fits of the estimator; with prune='auto' some 6 cv more",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "prune": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        prune: float | str = "auto",
        cv: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.prune = prune
        self.cv = cv
        self.random_state = random_state

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_probabilities(self.estimator, "InstancePruning")
        source = checked_rows(source, target, self.estimator, "InstancePruning")
        both, is_target = pool(source, target, "InstancePruning")
        known = np.unique(both.y[is_target])
        if len(known) < 2:
            raise ValueError(
                "InstancePruning needs labelled target rows of at least 2 classes; got 1 class, "
                f"{known.tolist()[0]!r}. Use BalancedWeighting."
            )
        self.losses_ = np.empty(0)
        self.prune_ = self._chosen(both, is_target) if self.prune == "auto" else float(self.prune)
        score = self._scores(both, is_target)
        kept = _kept(score, is_target, self.prune_)
        self.contradiction_, self.pruned_ = score[~is_target], ~kept[~is_target]
        return both.take(kept)

    def _scores(self, both: Domain, is_target: NDArray[np.bool_]) -> Floats:
        """How much the labelled target rows contradict each row of the source."""
        model = fit_estimator(self.estimator, both.take(is_target))
        rows = np.flatnonzero(~is_target)
        place = np.searchsorted(model.classes_, both.y[rows]).clip(max=len(model.classes_) - 1)
        codes = np.where(model.classes_[place] == both.y[rows], place, -1)
        score = np.zeros(both.n_rows)
        found = model.predict_proba(rows_for(model, both.take(rows).X))
        score[rows] = contradiction(np.asarray(found, dtype=np.float64), codes)
        return score

    def _chosen(self, both: Domain, is_target: NDArray[np.bool_]) -> float:
        m = int(is_target.sum())
        if m < FEW:
            warnings.warn(
                f"InstancePruning(prune='auto') has {m} labelled target rows; fewer than {FEW} "
                "cannot choose, so both sides are pooled. Give a share, or more labels.",
                stacklevel=2,
            )
            return 0.0
        fold = np.full(both.n_rows, -1)
        rng = check_random_state(self.random_state)
        fold[is_target] = dealt_folds(both.y[is_target], self.cv, rng)
        losses = np.zeros((len(SHARES), both.n_rows))
        for k in np.unique(fold[is_target]):
            train, test = both.take(fold != k), both.take(fold == k)
            train_is_target = is_target[fold != k]
            alone = len(np.unique(train.y[train_is_target])) > 1
            score = self._scores(train, train_is_target) if alone else np.zeros(train.n_rows)
            for s, share in enumerate(SHARES):
                if np.isinf(share) and not alone:
                    losses[s, fold == k] = np.inf
                    continue
                model = fit_estimator(
                    self.estimator, train.take(_kept(score, train_is_target, share))
                )
                losses[s, fold == k] = row_losses(model, rows_for(model, test.X), test.y)
        counts = row_weights(both)[is_target]
        counts /= counts.sum()
        losses = losses[:, is_target]
        self.losses_ = losses @ counts
        best = unless_better(losses, counts, 0)
        if np.isinf(SHARES[best]):
            warnings.warn(
                "InstancePruning: the labelled target rows alone predict held-out ones best, so "
                "the source is left out; it does not help here",
                stacklevel=2,
            )
        return SHARES[best]


def _kept(score: Floats, is_target: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Which rows stay when this share of the contradicted ones goes, the worst first."""
    if np.isinf(share):
        return is_target.copy()
    kept = np.ones(len(score), dtype=bool)
    n = round(share * int((score > 0).sum()))
    kept[np.argsort(-score, kind="stable")[:n]] = False
    return kept

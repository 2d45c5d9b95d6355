"""How many labels of the target would settle Y at equal X, and which rows to label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.diagnosis.conditional import (
    EFFECT,
    FEWEST,
    QUESTIONS,
    SUPPORT,
    SUPPORT_SHARE,
    TESTS,
    UNIT,
)
from shiftlab.diagnosis.explanation import LabelPlan
from shiftlab.stats.power import (
    conditional_information,
    conditional_power,
    detectable_change,
    direction_cost,
)

__all__ = ["FewLabels", "LabelSetting", "choose_rows", "plan_labels", "power_of_labels"]

Floats = NDArray[np.float64]

POWER = 0.8
CURVE = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
STRATA = 20
ROWS_WITHOUT_A_PLAN = 200


@dataclass(frozen=True)
class LabelSetting:
    """What the power of a comparison of Y at equal X depends on, beside the labels' number.

    Parameters
    ----------
    balanced_source, balanced_target : ndarray of shape (n_source,) and (n_target,)
        Held-out probabilities that a row is the target's, both sides counting the same.
    variance : float
        Of Y at equal X: :func:`~shiftlab.stats.power.class_variance` of held-out class
        probabilities; in regression the held-out mean squared error over the variance of Y.
    n_source_labels : int
        Source rows with a label.
    alpha : float
        Level of the diagnosis.
    task : {"classification", "regression"}
        What Y is.
    n_columns : int
        Columns of the matrix that the models see; a direction is harder to learn among many.
    """

    balanced_source: Floats
    balanced_target: Floats
    variance: float
    n_source_labels: int
    alpha: float
    task: Literal["classification", "regression"]
    n_columns: int

    @property
    def common_support(self) -> float:
        """Share of the target that lies where the source has rows."""
        b = np.asarray(self.balanced_target)
        return float(((b > SUPPORT[0]) & (b < SUPPORT[1])).mean())

    @property
    def level(self) -> float:
        """Level of the test along the learnt direction, in the least favourable case."""
        return self.alpha / (QUESTIONS * TESTS)

    def information(self, n_labels: int) -> float:
        """Information of one half of the labels; zero where the test would not be made."""
        if min(n_labels, self.n_source_labels) < 2 * FEWEST or self.common_support < SUPPORT_SHARE:
            return 0.0
        return conditional_information(
            self.balanced_source,
            self.balanced_target,
            self.n_source_labels / 2,
            n_labels / 2,
            SUPPORT,
        )

    def power(self, n_labels: int, effect: float) -> float:
        """Probability that a change of this size is found; zero where no test is made."""
        information = self.information(n_labels)
        if information == 0:
            return 0.0
        cost = direction_cost(self.n_columns)
        return conditional_power(effect, information, self.variance, cost, alpha=self.level)

    def power_if_even(self, n_labels: int, effect: float) -> float:
        """Return the power for a change that is the same for all X.

        It is found without a learnt direction, two-sided, by all of the labels; exact for two
        classes and numbers, a little too high for more classes.
        """
        information = 2 * self.information(n_labels)
        if information == 0:
            return 0.0
        return conditional_power(effect, information, self.variance, 0.0, alpha=self.level / 2)


class FewLabels(NamedTuple):
    """What :func:`power_of_labels` returns.

    Attributes
    ----------
    power : float
        Probability that a change of the default size is found.
    detectable : float or None
        Smallest change that is found with probability 0.8; None where no test is made.
    summary : str
        In plain words.
    """

    power: float
    detectable: float | None
    summary: str


def power_of_labels(setting: LabelSetting, n_labels: int) -> FewLabels:
    """Say what some number of target labels can show about Y at equal X.

    Parameters
    ----------
    setting : LabelSetting
        Everything else that it depends on.
    n_labels : int
        Target rows with a label.

    Returns
    -------
    FewLabels

    Examples
    --------
    >>> import numpy as np
    >>> half = np.full(500, 0.5)
    >>> setting = LabelSetting(half, half, 0.3, 500, 0.05, "classification", 5)
    >>> power_of_labels(setting, 10).summary
    '10 labelled rows of the target are too few to compare Y at equal X: it takes 40.'
    """
    information = setting.information(n_labels)
    if information == 0:
        why = _untestable(setting)
        few = (
            f"{n_labels} labelled rows of the target are too few to compare Y at equal X: it "
            f"takes {2 * FEWEST}."
        )
        return FewLabels(0.0, None, why or few)
    effect, unit = EFFECT[setting.task], UNIT[setting.task]
    power = setting.power(n_labels, effect)
    cost = direction_cost(setting.n_columns)
    smallest = detectable_change(
        information, setting.variance, cost, alpha=setting.level, power=POWER
    )
    return FewLabels(
        power,
        smallest,
        f"{n_labels:,} labelled rows of the target find a change of Y at equal X of {effect:g} "
        f"({unit}) with probability {power:.0%}; with probability {POWER:.0%} they find one of "
        f"{smallest:.2f} or more.",
    )


def plan_labels(
    setting: LabelSetting,
    labelled: ArrayLike,
    original_rows: ArrayLike,
    seed: int,
    effect: float | None = None,
) -> LabelPlan:
    r"""Plan how many target rows to label, and which.

    Finds the smallest n whose power (:func:`~shiftlab.stats.power.conditional_power` at the
    level of Holm's first step, with the test's split in halves and the common support
    counted) reaches 0.8, by bisection: power rises with n. It holds for a change that
    averages out over X but is smooth in it, as the learners of the diagnosis must be able to
    learn it: one that alternates many times over the range of a column takes more rows or is
    missed. The summary also says how many labels a change that is the same for all X takes.

    Parameters
    ----------
    setting : LabelSetting
        What the power depends on.
    labelled : array-like of bool, shape (n_target,)
        Which rows of ``setting.balanced_target`` have a label already.
    original_rows : array-like of int, shape (n_target,)
        Position of each of those rows in the target as it was given.
    seed : int
        Of the choice of rows.
    effect : float or None, default=None
        Change to find; None stands for 0.2 in class probability (length of the vector of
        changes), in regression 0.3 standard deviations of Y.

    Returns
    -------
    LabelPlan
        ``n_labels`` counts the labels there are. ``rows`` are new ones: as many as it takes,
        or 200 where no number of labels in this target is enough.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.full(5000, 0.5)
    >>> setting = LabelSetting(half, half, 0.3, 5000, 0.05, "classification", 5)
    >>> plan = plan_labels(setting, np.zeros(5000, dtype=bool), np.arange(5000), seed=0)
    >>> len(plan.rows) == plan.n_labels < 3000
    True
    """
    has_label = np.asarray(labelled, dtype=bool)
    original = np.asarray(original_rows, dtype=np.intp)
    n_target = np.asarray(setting.balanced_target).size
    if has_label.shape != (n_target,) or original.shape != (n_target,):
        raise ValueError(
            f"labelled and original_rows must have one entry for each of the {n_target} target "
            f"rows, got {has_label.size} and {original.size}"
        )
    size = EFFECT[setting.task] if effect is None else effect
    if not size > 0:
        raise ValueError(f"effect must be above 0, got {effect}")
    n_labels = _fewest(setting.power, size, n_target)
    n_known = int(has_label.sum())
    n_more = ROWS_WITHOUT_A_PLAN if n_labels is None else max(0, n_labels - n_known)
    if _untestable(setting):
        n_more = 0
    chosen = choose_rows(setting.balanced_target, has_label, n_more, seed)
    return LabelPlan(
        n_labels=n_labels,
        effect=size,
        power=POWER,
        curve=tuple((n, round(setting.power(n, size), 3)) for n in CURVE),
        rows=tuple(int(row) for row in original[chosen]),
        summary=_summary(setting, size, n_labels, n_known, n_target),
    )


def _fewest(power: Callable[[int, float], float], effect: float, n_target: int) -> int | None:
    low, high = 2 * FEWEST, n_target
    if high < low or power(high, effect) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if power(middle, effect) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


def _untestable(setting: LabelSetting) -> str:
    """Why no number of target labels helps, or nothing."""
    if setting.n_source_labels < 2 * FEWEST:
        return (
            f"The source has {setting.n_source_labels} labelled rows; to compare Y at equal X "
            f"it takes {2 * FEWEST}."
        )
    if setting.common_support < SUPPORT_SHARE:
        return (
            f"Only {setting.common_support:.0%} of the target lies where the source has data, so "
            "no number of labels lets Y at equal X be compared."
        )
    return ""


def _summary(
    setting: LabelSetting, effect: float, n_labels: int | None, n_known: int, n_target: int
) -> str:
    why = _untestable(setting)
    if why:
        return why
    change = f"a change of Y at equal X of {effect:g} ({UNIT[setting.task]})"
    even = _fewest(setting.power_if_even, effect, n_target)
    easier = f" If it is the same for all X, {even:,} are enough." if even else ""
    if n_labels is None:
        power = setting.power(n_target, effect)
        return (
            f"Even with a label for each of its {n_target:,} rows the target would show {change} "
            f"only with probability {power:.0%}, if its sign depends on X.{easier}"
        )
    found = (
        f"{n_labels:,} labelled rows of the target find {change} with probability {POWER:.0%}, "
        f"also where its sign depends on X, as long as it is smooth in X.{easier}"
    )
    if n_known >= n_labels:
        return f"{found} {n_known:,} have a label."
    have = f"{n_known:,} have a label, so label {n_labels - n_known:,} more," if n_known else ""
    order = "in the given order: any first part of it is a balanced random sample of the target."
    return f"{found} {have or 'Label them'} {order}"


def choose_rows(
    balanced_target: ArrayLike, labelled: ArrayLike, n_rows: int, seed: int
) -> NDArray[np.intp]:
    """Choose rows to label, such that every first part of the list is a balanced sample.

    The rows without a label are sorted by the probability of the target into 20 strata of
    equal size; in each round one random row of each stratum is taken, in random order. Each
    row has the same chance to come first, and the first n rows hold n/20 of each stratum, up
    to one row: the spread over X is even without any bias.

    Rows are *not* chosen where a model is least certain. That would serve training;
    but class shares, X within classes and Y at equal X are compared as if labelled rows
    were a random sample of the target, and a choice by uncertainty makes them differ where
    nothing changed. For the same reason rows outside of the common support are
    not left out: they say nothing about Y at equal X, which the plan's number counts in,
    but without them class shares would be those of a part of the target. O(n log n).

    Parameters
    ----------
    balanced_target : array-like of shape (n_target,)
        Probability that a row is the target's, both sides counting the same.
    labelled : array-like of bool, shape (n_target,)
        Rows that have a label and are not chosen.
    n_rows : int
        Rows to choose; fewer if there are not so many.
    seed : int
        The same seed gives the same rows.

    Returns
    -------
    ndarray of int
        Positions in ``balanced_target``, in the order in which to label them.

    References
    ----------
    W. Cochran, "Sampling Techniques", 3rd edition, Wiley 1977, chapter 5.

    Examples
    --------
    >>> import numpy as np
    >>> b = np.linspace(0, 1, 1000)
    >>> rows = choose_rows(b, np.zeros(1000, dtype=bool), 40, seed=0)
    >>> np.bincount((rows // 250)).tolist()
    [10, 10, 10, 10]
    """
    open_rows = np.flatnonzero(~np.asarray(labelled, dtype=bool))
    rng = np.random.default_rng(seed)
    # random order first, so that equal probabilities are in no order of the table
    open_rows = rng.permutation(open_rows)
    b = np.asarray(balanced_target, dtype=np.float64)[open_rows]
    by_size = open_rows[np.argsort(b, kind="stable")]
    strata = [rng.permutation(s) for s in np.array_split(by_size, STRATA)]
    rounds = np.concatenate([np.arange(s.size) for s in strata])
    order = np.argsort(rounds + rng.random(rounds.size), kind="stable")
    return np.concatenate(strata)[order][:n_rows]

"""What explains the verdict: cost, place, rows, and what labels would settle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from shiftlab.diagnosis.findings import plain

__all__ = [
    "AccuracyEstimate",
    "DomainMap",
    "Explanation",
    "LabelPlan",
    "LossDecomposition",
    "Performance",
    "Region",
    "UnlikeRow",
]

Interval = tuple[float, float]


@dataclass(frozen=True)
class AccuracyEstimate:
    """The target's accuracy (or error), estimated without its labels.

    Parameters
    ----------
    method : str
        Name of the estimator.
    estimate : float
        In the unit of ``Performance.metric``.
    interval : tuple of float
        95% bootstrap interval; it counts sampling, not a broken assumption.
    assumes : str
        What must hold for it to be right.
    warning : str, default=""
        Which finding contradicts the assumption, if one does.
    """

    method: str
    estimate: float
    interval: Interval
    assumes: str
    warning: str = ""


@dataclass(frozen=True)
class LossDecomposition:
    """The change of the loss from source to target, split by cause.

    Parameters
    ----------
    total : float
        Mean loss in the target less that in the source.
    x_part : float
        Due to the change of X: both steps, from the source to the shared rows and on to the
        target.
    y_given_x_part : float
        Due to the change of Y at equal X, over the rows that both domains share.
    total_interval, x_interval, y_given_x_interval : tuple of float
        95% bootstrap intervals.
    """

    total: float
    x_part: float
    y_given_x_part: float
    total_interval: Interval
    x_interval: Interval
    y_given_x_interval: Interval


@dataclass(frozen=True)
class Performance:
    """What the shift costs a model of the source.

    Parameters
    ----------
    metric : {"accuracy", "squared error"}
        Unit of all numbers; the squared error is in units of the source's variance of Y.
    source : float
        On held-out rows of the source.
    source_interval : tuple of float
        95%.
    target : float or None
        On the labelled rows of the target; None without any.
    target_interval : tuple of float or None
        95%.
    estimates : tuple of AccuracyEstimate
        The target's value, estimated without its labels.
    decomposition : LossDecomposition or None
        Only with target labels. A drop of accuracy is a positive change of loss.
    summary : str
        In plain words.
    """

    metric: Literal["accuracy", "squared error"]
    source: float
    source_interval: Interval
    target: float | None
    target_interval: Interval | None
    estimates: tuple[AccuracyEstimate, ...]
    decomposition: LossDecomposition | None
    summary: str


@dataclass(frozen=True)
class Region:
    """A part of the space, as a rule, in which the two domains have different shares of rows.

    Parameters
    ----------
    rule : str
        Such as ``age > 52 and city is 'Rome'``.
    source_share, target_share : float
        Share of the held-out rows of either side inside.
    ratio : float
        ``target_share / source_share``; infinite where the source has no row.
    interval : tuple of float
        95% interval of the ratio.
    p_adjusted : float
        Benjamini-Hochberg over the regions.
    status : {"differs", "no_evidence"}
        At the level of the diagnosis.
    """

    rule: str
    source_share: float
    target_share: float
    ratio: float
    interval: Interval
    p_adjusted: float
    status: Literal["differs", "no_evidence"]


@dataclass(frozen=True)
class UnlikeRow:
    """A row of the target that looks least like the source.

    Parameters
    ----------
    row : int
        Position in the target as it was given.
    score : float
        Probability that the row is the target's and not the source's, both counting the same.
    reason : str
        The column that is most unusual, in words.
    """

    row: int
    score: float
    reason: str


@dataclass(frozen=True)
class LabelPlan:
    """How many labels of the target would settle what is open, and which rows to label.

    Parameters
    ----------
    n_labels : int or None
        Fewest labels that find a change of Y at equal X of size ``effect`` with probability
        ``power``; None where the target has too few rows.
    effect : float
        Size of the change that would be found.
    power : float
        Probability.
    curve : tuple of (int, float)
        Power at several numbers of labels.
    rows : tuple of int
        Positions in the target, in the order in which to label them.
    summary : str
        In plain words.
    """

    n_labels: int | None
    effect: float
    power: float
    curve: tuple[tuple[int, float], ...]
    rows: tuple[int, ...]
    summary: str


@dataclass(frozen=True)
class DomainMap:
    """Both domains in two dimensions, a sample of the rows of each.

    Parameters
    ----------
    source, target : tuple of (float, float)
        Points.
    axes : tuple of str
        What the two axes are, in words.
    note : str
        How the map was made and how much of the variance it shows.
    """

    source: tuple[tuple[float, float], ...]
    target: tuple[tuple[float, float], ...]
    axes: tuple[str, str]
    note: str


@dataclass(frozen=True, repr=False)
class Explanation:
    """Everything beside the verdict; a part that could not be made is None or empty.

    Parameters
    ----------
    performance : Performance or None
        What the shift costs.
    regions : tuple of Region
        Where rows moved to and from, those that differ most first.
    unlike : tuple of UnlikeRow
        Rows of the target that look least like the source.
    plan : LabelPlan or None
        Which labels would settle what is open.
    map : DomainMap or None
        Both domains in two dimensions.
    missing : dict of str to str
        Part that could not be made, and why.
    """

    performance: Performance | None = None
    regions: tuple[Region, ...] = ()
    unlike: tuple[UnlikeRow, ...] = ()
    plan: LabelPlan | None = None
    map: DomainMap | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name the parts that there are; all of their numbers would fill screens."""
        parts = [n for n in ("performance", "plan", "map") if getattr(self, n) is not None]
        parts += [f"{len(rows)} {n}" for n in ("regions", "unlike") if (rows := getattr(self, n))]
        return f"Explanation({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values.

        Returns
        -------
        dict
        """
        parts = {name: getattr(self, name) for name in ("performance", "plan", "map")}
        result: dict[str, Any] = plain(
            {name: None if part is None else asdict(part) for name, part in parts.items()}
            | {
                "regions": [asdict(r) for r in self.regions],
                "unlike": [asdict(r) for r in self.unlike],
                "missing": self.missing,
            }
        )
        return result

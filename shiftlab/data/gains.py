"""What each adapter gained or lost on tasks whose shift is known."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from .resources import resource_root

__all__ = ["Gain", "measured_gains"]


@dataclass(frozen=True)
class Gain:
    """What a method did to the accuracy on one kind of shift.

    Parameters
    ----------
    points : float
        Mean gain over source-only on the same draws, in percentage points.
    std : float
        Standard deviation of that gain over the draws, in percentage points.
    n : int
        Number of draws.

    Examples
    --------
    >>> from shiftlab.data import Gain
    >>> Gain(points=-1.5, std=2.0, n=20).clear
    True
    """

    points: float
    std: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the mean gain is more than two standard errors away from zero."""
        return bool(abs(self.points) > 2 * self.std / self.n**0.5)


def measured_gains() -> dict[str, dict[str, Gain]]:
    """Read the map of what helps when from the study ``shift_types``.

    Returns
    -------
    dict of str to dict of str to Gain
        By kind of shift as `make_gaussian_shift` names it ("none", "covariate", "label",
        "location_scale", "concept"), then by method: the name of an adapter's class where
        it was measured at its defaults. A method that failed on any draw is left out.

    Raises
    ------
    FileNotFoundError
        If the installation carries no results of the study.

    Examples
    --------
    >>> from shiftlab.data import measured_gains
    >>> gains = measured_gains()
    >>> gains["location_scale"]["CORAL"].points > gains["covariate"]["CORAL"].points
    True
    """
    path = resource_root("experiments") / "shift_types" / "results.csv"
    found: dict[str, dict[str, Gain]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["gain"] and row["gain_std"] and not int(row["errors"]):
                gain = Gain(float(row["gain"]), float(row["gain_std"]), int(row["seeds"]))
                found.setdefault(row["target"], {})[row["method"]] = gain
    return found

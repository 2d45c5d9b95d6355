"""What has to hold for source rows to speak for the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shiftlab.selection.evidence import Evidence
from shiftlab.stats.bootstrap import Estimate

__all__ = ["Assumption", "unless_refuted"]

Floats = NDArray[np.float64]

TOO_MANY_ERRORS = 1.96  # standard errors by which known labels may be missed more than expected


@dataclass(frozen=True)
class Assumption:
    """What has to hold for held-out source rows to speak for the target.

    Parameters
    ----------
    name : str
        "label shift", "covariate shift" or "feature map".
    assumes : str
        In words.
    plausible : bool
        Whether the rows leave it standing.
    why : str
        What says so.
    """

    name: str
    assumes: str
    plausible: bool
    why: str
    refuted: bool = False

    def evidence(self, found: Estimate | None = None, brier: Estimate | None = None) -> Evidence:
        """Return this with what it estimates: the gain, and that of the Brier score."""
        gain, interval = (None, None) if found is None else (found.value, found.interval)
        calibration = None if brier is None else brier.interval
        return Evidence(
            self.name, self.assumes, self.plausible, self.why, gain, interval, calibration
        )


def unless_refuted(assumption: Assumption, expected: Estimate, met: Floats) -> Assumption:
    """Give up an assumption under which the losses on known labels are far too large.

    One-sided at 2.5%: the expectation has its own error, and that of the labelled rows is the
    larger of what they show and what the expectation says of so few.

    Parameters
    ----------
    assumption : Assumption
        That stands.
    expected : Estimate
        Mean loss in the target under it.
    met : ndarray of shape (n,)
        Losses on labelled target rows.

    Returns
    -------
    Assumption
        The same, or one that does not stand.
    """
    own = (expected.interval[1] - expected.interval[0]) / (2 * 1.96)
    share = float(np.clip(expected.value, 0.0, 1.0))
    spread = max(float(met.std()), (share * (1 - share)) ** 0.5)
    error = (own**2 + spread**2 / len(met)) ** 0.5
    if float(met.mean()) - expected.value <= TOO_MANY_ERRORS * error:
        return assumption
    return Assumption(
        assumption.name,
        assumption.assumes,
        False,
        f"{len(met)} labelled target rows have a loss of {met.mean():.2f}, and it would be "
        f"{expected.value:.2f}",
        refuted=True,
    )

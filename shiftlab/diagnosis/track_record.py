"""What each adapter gained or lost on shifts that are known, for the kinds a verdict allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shiftlab.data import measured_gains
from shiftlab.data.gains import Gain
from shiftlab.diagnosis.findings import Kind

__all__ = ["TrackRecord", "track_record"]

# Which of the study's shifts each verdict may be. Where X moved and label shift is refuted, the
# features may have been transformed or only their distribution moved: nobody can tell.
MAY_BE: dict[Kind, tuple[str, ...]] = {
    "covariate": ("covariate",),
    "label": ("label",),
    "label_compatible": ("label",),
    "not_label": ("covariate", "location_scale"),
    "covariate_or_label": ("covariate", "label"),
}
WORDS = {
    "covariate": "a covariate shift",
    "label": "a label shift",
    "location_scale": "a change of location and scale",
}
HARM = -1.0  # points of accuracy


@dataclass(frozen=True)
class TrackRecord:
    """Mean gains in points of accuracy on the shifts that a verdict allows.

    Parameters
    ----------
    gains : dict of str to Gain
        By shift.
    """

    gains: dict[str, Gain]

    @property
    def mean(self) -> float:
        """Mean over the shifts; 0 where nothing was measured."""
        return sum(g.points for g in self.gains.values()) / max(1, len(self.gains))

    @property
    def harms(self) -> bool:
        """Whether it lost more than a point on one of them."""
        return any(g.points < HARM for g in self.gains.values())

    @property
    def sentence(self) -> str:
        """The gains in words; empty where nothing was measured."""
        if not self.gains:
            return ""
        parts = [f"{_signed(g.points)} points on {WORDS[kind]}" for kind, g in self.gains.items()]
        return f"in the study of known shifts it changed accuracy by {' and '.join(parts)}"


def _signed(points: float) -> str:
    return f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


@cache
def _gains() -> dict[str, dict[str, Gain]]:
    try:
        return measured_gains()
    except FileNotFoundError:
        return {}


def track_record(method: str, kind: Kind) -> TrackRecord:
    """Look up an adapter, at its defaults, in the study of known shifts.

    Parameters
    ----------
    method : str
        Name of its class.
    kind : str
        The verdict.

    Returns
    -------
    TrackRecord
    """
    found = {
        shift: _gains()[shift][method]
        for shift in MAY_BE.get(kind, ())
        if method in _gains().get(shift, {})
    }
    return TrackRecord(found)

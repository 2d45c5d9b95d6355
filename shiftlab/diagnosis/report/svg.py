"""Marks, scales and labels of small SVG plots; text stays text and is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import escape

from shiftlab.diagnosis.report.words import number, shortened, squeezed, tidy

__all__ = ["Plot", "Scale", "ticks"]

MOST_TITLE = 200
TRANSPARENT = 0.55


@dataclass(frozen=True)
class Scale:
    """A linear map of values to places; what lies outside is drawn at the edge.

    Parameters
    ----------
    low, high : float
        Values at the two ends.
    start, end : float
        Their places.

    Examples
    --------
    >>> Scale(0, 10, 100, 200)(5), Scale(0, 10, 100, 200)(12)
    (150.0, 200.0)
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value."""
        width = self.high - self.low
        position = (value - self.low) / width if width > 0 else 0.5
        return self.start + min(1.0, max(0.0, position)) * (self.end - self.start)


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Choose round values between two.

    Parameters
    ----------
    low, high : float
        Ends.
    most : int, default=4
        About how many steps.

    Returns
    -------
    list of float

    Examples
    --------
    >>> ticks(0, 1), ticks(3, 3)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [3])
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * (1 - 1e-9)) * magnitude
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


@dataclass
class Plot:
    """A drawing of a fixed shape that follows the width of the screen.

    Parameters
    ----------
    width, height : float
        Size in units of about a pixel.
    description : str
        Read aloud in the place of the drawing.
    """

    width: float
    height: float
    description: str
    marks: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, content: object, *, anchor: str = "start", kind: str = ""
    ) -> None:
        """Write a text; ``kind`` names a style of the page."""
        look = f' class="sl-{kind}"' if kind else ""
        side = f' text-anchor="{anchor}"' if anchor != "start" else ""
        words = escape(tidy(content))
        self.marks.append(f'<text x="{x:.1f}" y="{y:.1f}"{side}{look}>{words}</text>')

    def name(
        self,
        x: float,
        y: float,
        content: object,
        most: int,
        anchor: str = "end",
        *,
        kind: str = "name",
    ) -> None:
        """Write a name from the data, cut to ``most``; the whole of it shows on pointing."""
        whole, short = shortened(content, MOST_TITLE), squeezed(content, most)
        title = f"<title>{escape(whole)}</title>" if whole != short else ""
        self.marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="sl-{kind}">'
            f"{title}{escape(short)}</text>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> None:
        """Draw a straight line."""
        self.marks.append(f'<path class="sl-{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle; one of hardly any width is still seen."""
        self.marks.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.8, width):.1f}" height="{height:.1f}"'
            f' fill="{colour}"/>'
        )

    def whisker(self, x1: float, x2: float, y: float) -> None:
        """Draw an interval along a row."""
        self.marks.append(
            f'<path class="sl-whisker" d="M{x1:.1f} {y:.1f}H{x2:.1f}'
            f'M{x1:.1f} {y - 2.5:.1f}v5M{x2:.1f} {y - 2.5:.1f}v5"/>'
        )

    def points(
        self,
        places: Iterable[tuple[float, float]],
        colour: str,
        size: float,
        *,
        faint: bool = False,
    ) -> None:
        """Draw round points, all as one path: a few bytes for each."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        opacity = f' stroke-opacity="{TRANSPARENT}"' if faint else ""
        if path:
            self.marks.append(
                f'<path d="{path}" stroke="{colour}" stroke-width="{size:g}"'
                f' stroke-linecap="round"{opacity}/>'
            )

    def crosses(self, places: Iterable[tuple[float, float]], colour: str, size: float) -> None:
        """Draw crosses, told from points in black and white too."""
        half = size / 2
        path = "".join(
            f"M{x - half:.1f} {y - half:.1f}l{size:g} {size:g}m0 {-size:g}l{-size:g} {size:g}"
            for x, y in places
        )
        if path:
            self.marks.append(
                f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.1"/>'
            )

    def steps(self, places: Sequence[tuple[float, float]], bottom: float, colour: str) -> None:
        """Fill what lies under a stair; ``places`` are its corners from left to right."""
        corners = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        left, right = places[0][0], places[-1][0]
        self.marks.append(
            f'<path d="M{left:.1f} {bottom:.1f}L{corners}L{right:.1f} {bottom:.1f}Z"'
            f' fill="{colour}" fill-opacity=".28" stroke="{colour}" stroke-width="1.2"/>'
        )

    def curve(self, places: Iterable[tuple[float, float]], colour: str) -> None:
        """Join points by a line."""
        corners = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self.marks.append(
            f'<path d="M{corners}" fill="none" stroke="{colour}" stroke-width="2"'
            ' stroke-linejoin="round"/>'
        )

    def axis(self, scale: Scale, at: float, to: float, *, upright: bool, percent: bool) -> None:
        """Draw faint lines from ``at`` to ``to`` at round values, with their numbers."""
        for value in ticks(scale.low, scale.high):
            words = f"{value:.0%}" if percent else number(value)
            place = scale(value)
            if upright:
                self.line(at, place, to, place)
                self.text(at - 4, place + 4, words, anchor="end", kind="tick")
            else:
                self.line(place, at, place, to)
                self.text(place, at + 14, words, anchor="middle", kind="tick")

    def __str__(self) -> str:
        """Give the drawing as an element of a page."""
        small = " sl-smallplot" if self.width < 250 else ""
        description = escape(shortened(self.description, MOST_TITLE))
        return (
            f'<svg class="sl-plot{small}" role="img" aria-label="{description}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}">{"".join(self.marks)}</svg>'
        )

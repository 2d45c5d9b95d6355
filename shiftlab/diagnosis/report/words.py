"""How numbers, names and answers are written, on the page and in the terminal."""

from __future__ import annotations

import math
import re
from typing import Any

from rich.cells import cell_len, chop_cells

from shiftlab.diagnosis.explanation import Interval, Performance, Region
from shiftlab.diagnosis.findings import FeatureShift, Finding

__all__ = [
    "answer",
    "changed",
    "judged",
    "measured",
    "measures",
    "moved",
    "number",
    "p_text",
    "p_value",
    "ratio",
    "scalars",
    "share",
    "shortened",
    "span",
    "squeezed",
    "tidy",
]

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# marks that turn the direction of whatever follows them
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# "differs" is no answer to a question that begins with "could" or "does the target hold"
ANSWERS = {
    ("label_fit", "differs"): "no",
    ("label_fit", "no_evidence"): "yes, it could",
    ("novelty", "differs"): "yes",
    ("novelty", "no_evidence"): "none found",
}
# a question without an answer of its own is no failure where one of these says why
SETTLED = {"answered_elsewhere": "answered above", "not_asked": "does not arise"}
SHOWN_ELSEWHERE = {"effect_name", "test", "reason", "assumes", *SETTLED}


def tidy(text: object) -> str:
    """Put a text on one line, without characters that act on what stands around them.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is taken.

    Returns
    -------
    str
        Without control characters, marks of direction and halves of characters.

    Examples
    --------
    >>> tidy("a\\nb \\x1b[31m")
    'a b [31m'
    """
    text = DIRECTIONS.sub("", CONTROLS.sub(" ", str(text)))
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def shortened(text: object, most: int = 28) -> str:
    """Cut a long name.

    Parameters
    ----------
    text : object
        The name.
    most : int, default=28
        Width to keep, in characters of a terminal; wide ones, such as Chinese, count twice.

    Returns
    -------
    str

    Examples
    --------
    >>> shortened("a" * 40, 10)
    'aaaaaaaaa…'
    """
    line = tidy(text) or "(blank)"
    return line if cell_len(line) <= most else chop_cells(line, most - 1)[0] + "…"


def squeezed(text: object, most: int) -> str:
    """Cut a long name in its middle: names of columns often differ at their ends.

    Parameters
    ----------
    text : object
        The name.
    most : int
        Width to keep, as in `shortened`.

    Returns
    -------
    str

    Examples
    --------
    >>> squeezed("thumbnail component 12", 16)
    'thumbnail…ent 12'
    """
    line = tidy(text) or "(blank)"
    if cell_len(line) <= most:
        return line
    tail = (most - 1) * 2 // 5
    end = chop_cells(line[::-1], tail)[0][::-1]
    return f"{chop_cells(line, most - 1 - tail)[0]}…{end}"


def number(value: float) -> str:
    """Write a number with three digits, and large ones in full.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str

    Examples
    --------
    >>> number(0.12345), number(12345.6), number(-0.0), number(3)
    ('0.123', '12,346', '0', '3')
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite"
    if 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value + 0.0:.3g}"  # adding zero turns -0 into 0


def share(value: float) -> str:
    """Write a share in per cent, without calling a few rows none or nearly all all.

    Parameters
    ----------
    value : float
        Between 0 and 1.

    Returns
    -------
    str

    Examples
    --------
    >>> share(0.5), share(0.004), share(0.9997), share(0.0)
    ('50%', '0.4%', '>99.9%', '0%')
    """
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 < value < 1:
        return ">99.9%"
    near_the_end = 0 < value < 0.0995 or 0.9005 < value < 1
    return f"{value:.1%}" if near_the_end else f"{value:.0%}"


def span(interval: Interval, write: Any = number) -> str:
    """Write an interval.

    Parameters
    ----------
    interval : tuple of float
        Lower and upper end.
    write : callable, default=number
        Writes one end.

    Returns
    -------
    str

    Examples
    --------
    >>> span((0.5, 0.75)), span((0.5, 0.75), share)
    ('0.5 to 0.75', '50% to 75%')
    """
    return f"{write(interval[0])} to {write(interval[1])}"


def p_value(value: float) -> str:
    """Write a p-value; what is below 0.001 is told no more exactly.

    Parameters
    ----------
    value : float
        The p-value.

    Returns
    -------
    str

    Examples
    --------
    >>> p_value(0.0123), p_value(1e-9), p_value(1.0)
    ('0.012', '< 0.001', '1')
    """
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def p_text(value: float, name: str = "p") -> str:
    """Write a p-value with its name.

    Parameters
    ----------
    value : float
        The p-value.
    name : str, default="p"
        What to call it.

    Returns
    -------
    str

    Examples
    --------
    >>> p_text(0.2), p_text(1e-9, "raw p")
    ('p = 0.2', 'raw p < 0.001')
    """
    text = p_value(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def ratio(region: Region) -> str:
    """Write how much more often the target's rows fall into a region.

    Parameters
    ----------
    region : Region
        The region.

    Returns
    -------
    str

    Examples
    --------
    >>> ratio(Region("x > 1", 0.1, 0.3, 3.0, (2.0, 4.5), 0.001, "differs"))
    '3 times'
    """
    if region.source_share == 0:
        return "only in the target"
    if region.target_share == 0:
        return "only in the source"
    return f"{number(float(f'{region.ratio:.2g}'))} times"


def answer(finding: Finding) -> str:
    """Give the answer to a question in a word or two.

    Parameters
    ----------
    finding : Finding
        What was found; ``details`` with ``answered_elsewhere`` or ``not_asked`` set mark a
        question that needs no answer of its own.

    Returns
    -------
    str

    Examples
    --------
    >>> answer(Finding("label_fit", "differs", "A change of the shares does not explain X."))
    'no'
    >>> answer(Finding.not_testable("label_fit", "See above.", answered_elsewhere=True))
    'answered above'
    """
    for mark, words in SETTLED.items():
        if finding.details.get(mark):
            return words
    return ANSWERS.get((finding.question, finding.status), finding.answer)


def judged(finding: Finding) -> str:
    """Give the name of the answer's colour: its status, or ``settled``.

    Parameters
    ----------
    finding : Finding
        What was found.

    Returns
    -------
    str
    """
    return "settled" if any(finding.details.get(m) for m in SETTLED) else finding.status


def measures(finding: Finding) -> str:
    """Write effect, interval, test and p-values of an answer in one line.

    Parameters
    ----------
    finding : Finding
        What was found.

    Returns
    -------
    str
        Empty where nothing was measured.
    """
    parts = []
    if finding.effect is not None:
        size = f"{finding.details.get('effect_name', 'effect')}: {number(finding.effect)}"
        if finding.interval is not None:
            size += f", 95% interval {span(finding.interval)}"
        parts.append(size)
        if finding.minimum_effect is not None:
            parts.append(f"{number(finding.minimum_effect)} is usually the least that matters")
    if finding.details.get("test"):
        parts.append(f"test: {finding.details['test']}")
    if finding.p_value is not None:
        parts.append(p_text(finding.p_value, "raw p"))
    if finding.p_adjusted is not None:
        parts.append(p_text(finding.p_adjusted, "corrected p"))
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def scalars(finding: Finding) -> dict[str, str]:
    """Collect the single figures of an answer, for those who want to check it.

    Parameters
    ----------
    finding : Finding
        What was found.

    Returns
    -------
    dict of str to str
        Name in words, value; lists and tables are left to the JSON.
    """
    shown = {} if finding.statistic is None else {"statistic": number(finding.statistic)}
    for name, value in finding.details.items():
        if name in SHOWN_ELSEWHERE or value is None:
            continue
        words = tidy(name.replace("_", " "))
        if isinstance(value, bool):
            shown[words] = "yes" if value else "no"
        elif isinstance(value, str):
            shown[words] = shortened(value, 200)
        elif isinstance(value, (int, float)) or getattr(value, "ndim", 1) == 0:
            plain = float(value)
            shown[words] = p_value(plain) if name.startswith("p_") else number(plain)
    return shown


def measured(performance: Performance, value: float) -> str:
    """Write a value of the performance in its unit.

    Parameters
    ----------
    performance : Performance
        Names the unit.
    value : float
        The value.

    Returns
    -------
    str
    """
    return f"{value:.1%}" if performance.metric == "accuracy" else number(value)


def changed(performance: Performance, value: float) -> str:
    """Write a change of the loss with its sign; for the accuracy in points.

    Parameters
    ----------
    performance : Performance
        Names the unit.
    value : float
        Change of the loss.

    Returns
    -------
    str
    """
    if performance.metric == "accuracy":
        return f"{100 * value + 0.0:+.1f}"
    return f"{value + 0.0:+.3g}"


def moved(record: FeatureShift) -> str:
    """Say in a few words how a column moved.

    Parameters
    ----------
    record : FeatureShift
        The column.

    Returns
    -------
    str
        Its note, its medians or the category that moved most.
    """
    if record.note:
        return tidy(record.note)
    before, after = (record.details.get(f"{s}_median") for s in ("source", "target"))
    if before is not None and after is not None:
        return f"median {number(before)} to {number(after)}"
    shares = record.details.get("shares")
    if shares:
        level = shortened(shares["levels"][0])
        return f"'{level}' {share(shares['source'][0])} to {share(shares['target'][0])}"
    return ""

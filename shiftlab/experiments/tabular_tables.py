"""Tables of a study of tables: every method beside source-only and the joint PCA."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shiftlab.data.gains import Gain
from shiftlab.experiments.tables import markdown_header, mean_and_std
from shiftlab.experiments.tabular import cell_ids
from shiftlab.experiments.tabular_settings import FLOOR, TabularStudy

__all__ = ["Cell", "Summary", "cells_of", "summarise_pairs", "to_csv"]

Pair = tuple[str, str]
_CSV = (
    *("protocol", "base", "method", "source", "target", "mean", "std", "seeds"),
    *("gain", "gain_std", "errors", "message", "warned", "n_test", "settings", "data"),
)


@dataclass(frozen=True)
class Cell:
    """One method on one pair, over seeds.

    Parameters
    ----------
    protocol, base, method, source, target : str
        Which cell.
    mean : float or None
        Mean accuracy over the seeds that succeeded; None where none did.
    std : float or None
        Standard deviation over them; None with fewer than two.
    seeds : int
        How many succeeded.
    errors : int
        How many failed.
    message : str
        What the first failure said.
    warnings : tuple of str
        What was warned of, each once.
    warned : int
        How many seeds had a warning.
    gain : Gain or None
        Over source-only on the same seeds, in points.
    n_test : int
        Rows of the target that count.
    settings : str
        Hash of all that the result depends on, but the data.
    """

    protocol: str
    base: str
    method: str
    source: str
    target: str
    mean: float | None
    std: float | None
    seeds: int
    errors: int
    message: str
    warnings: tuple[str, ...]
    warned: int
    gain: Gain | None
    n_test: int
    settings: str

    @property
    def pair(self) -> Pair:
        """Source and target."""
        return self.source, self.target

    @property
    def whole(self) -> bool:
        """Whether it counts in a mean over pairs: no seed failed."""
        return self.mean is not None and not self.errors


@dataclass(frozen=True)
class Summary:
    """One method over all pairs; pairs on which it failed are left out.

    Parameters
    ----------
    method : str
        Which method.
    pairs : int
        On how many pairs it succeeded.
    mean : float
        Mean accuracy over them.
    gain : float
        Mean difference to source-only on them, in points.
    worst : float
        Smallest difference to source-only, in points.
    control : Gain or None
        Difference to the joint PCA, in points, with its standard deviation over pairs.
    wins : int
        Pairs on which it is ahead of the joint PCA.
    """

    method: str
    pairs: int
    mean: float
    gain: float
    worst: float
    control: Gain | None
    wins: int


def cells_of(study: TabularStudy, rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Average the results of a study over seeds.

    Parameters
    ----------
    study : TabularStudy
        Which results are meant; those of other settings are left out.
    rows : iterable of mapping
        Lines of a results store.

    Returns
    -------
    list of Cell
        In the order of the study's protocols, estimators, methods and pairs.

    Raises
    ------
    ValueError
        If there are no results of this study, or results on different data.
    """
    columns = cell_ids(study)
    found: dict[tuple[str, Pair], dict[int, Mapping[str, Any]]] = {}
    data = set()
    for row in rows:
        pair = (row["source"], row["target"])
        if row["settings"] in columns and pair in study.pairs and row["seed"] < study.seeds:
            found.setdefault((row["settings"], pair), {})[int(row["seed"])] = row
            data.add(row["data"])
    if not found:
        raise ValueError("there are no results of this study yet; run it first")
    if len(data) > 1:
        raise ValueError(
            f"results on different data do not go into one table: {', '.join(sorted(data))}; "
            "choose another folder for each with --out"
        )
    floors = {
        (protocol.name, base.name): settings
        for settings, (protocol, base, method) in columns.items()
        if method.name == FLOOR
    }
    cells = []
    for settings, (protocol, base, method) in columns.items():
        for pair in study.pairs:
            if (settings, pair) not in found:
                continue
            by_seed = found[settings, pair]
            floor = found.get((floors[protocol.name, base.name], pair), {})
            cells.append(_cell((protocol.name, base.name, method.name), pair, by_seed, floor))
    return cells


def _cell(
    names: tuple[str, str, str],
    pair: Pair,
    by_seed: Mapping[int, Mapping[str, Any]],
    floor: Mapping[int, Mapping[str, Any]],
) -> Cell:
    good = {seed: float(r["accuracy"]) for seed, r in by_seed.items() if "error" not in r}
    failed = [r["error"] for r in by_seed.values() if "error" in r]
    mean, std = mean_and_std(list(good.values())) if good else (None, None)
    gains = [
        100 * (accuracy - float(floor[seed]["accuracy"]))
        for seed, accuracy in good.items()
        if seed in floor and "error" not in floor[seed]
    ]
    first = next(iter(by_seed.values()))
    return Cell(
        *names,
        *pair,
        mean=mean,
        std=std,
        seeds=len(good),
        errors=len(failed),
        message=failed[0] if failed else "",
        warnings=tuple(sorted({w for r in by_seed.values() for w in r["warnings"]})),
        warned=sum(bool(r["warnings"]) for r in by_seed.values()),
        gain=_gain(gains),
        n_test=int(first["n_test"]),
        settings=str(first["settings"]),
    )


def _gain(points: Sequence[float]) -> Gain | None:
    if not points:
        return None
    mean, std = mean_and_std(points)
    return Gain(mean, 0.0 if std is None else std, len(points))


def groups(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Separate protocols and estimators."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.protocol, cell.base), []).append(cell)
    return found


def summarise_pairs(cells: Sequence[Cell], control: str | None) -> list[Summary]:
    """Average each method over pairs, and compare it in pairs with the two yardsticks.

    Parameters
    ----------
    cells : sequence of Cell
        Of one protocol and estimator.
    control : str or None
        The joint PCA's name.

    Returns
    -------
    list of Summary
        In the order of the cells; a method that succeeded on no pair is left out.
    """
    by_method: dict[str, dict[Pair, Cell]] = {}
    for cell in cells:
        if cell.whole and cell.gain is not None:
            by_method.setdefault(cell.method, {})[cell.pair] = cell
    yardstick = by_method.get(control or "", {})
    out = []
    for method, found in by_method.items():
        gains = [c.gain.points for c in found.values() if c.gain is not None]
        ahead = [
            100 * (_number(c) - _number(yardstick[pair]))
            for pair, c in found.items()
            if pair in yardstick
        ]
        out.append(
            Summary(
                method,
                pairs=len(found),
                mean=mean_and_std([_number(c) for c in found.values()])[0],
                gain=mean_and_std(gains)[0],
                worst=min(gains),
                control=_gain(ahead),
                wins=sum(a > 0 for a in ahead),
            )
        )
    return out


def _number(cell: Cell) -> float:
    assert cell.mean is not None  # `whole` was asked for
    return cell.mean


def to_csv(cells: Sequence[Cell], data: str) -> str:
    """Write the cells as CSV, one line each.

    Parameters
    ----------
    cells : sequence of Cell
        Results.
    data : str
        Signature of the data.

    Returns
    -------
    str
        Accuracies as shares, gains in points; a field without a number is empty.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for c in cells:
        gain, gain_std = "", ""
        if c.gain is not None:
            gain = f"{c.gain.points:.4f}"
            gain_std = f"{c.gain.std:.4f}" if c.gain.n > 1 else ""
        mean = "" if c.mean is None else f"{c.mean:.6f}"
        std = "" if c.std is None else f"{c.std:.6f}"
        writer.writerow(
            [
                *(c.protocol, c.base, c.method, c.source, c.target, mean, std, c.seeds),
                *(gain, gain_std, c.errors, c.message, c.warned, c.n_test, c.settings, data),
            ]
        )
    return out.getvalue()


def pairs_table(cells: Sequence[Cell], control: str | None) -> str:
    """Write one line a method: mean over pairs and differences to the two yardsticks."""
    total = len({c.pair for c in cells})
    if control not in {c.method for c in cells}:
        control = None
    head = ["method", "mean", "to source-only", "worst pair"]
    if control is not None:
        head += [f"to {control}", "standard deviation", "wins"]
    lines = markdown_header([*head, "pairs"])
    for s in summarise_pairs(cells, control):
        values = [s.method, f"{s.mean:.3f}", f"{s.gain:+.1f}", f"{s.worst:+.1f}"]
        if s.method == FLOOR:
            values[2:4] = ["", ""]
        if control is not None:
            if s.control is None or s.method == control:
                values += ["", "", ""]
            else:
                c = s.control
                spread = f"{c.std:.1f}" if c.n > 1 else ""
                values += [f"{c.points:+.1f}", spread, f"{s.wins} of {c.n}"]
        lines.append("| " + " | ".join([*values, f"{s.pairs} of {total}"]) + " |")
    return "\n".join(lines)


def accuracies_table(cells: Sequence[Cell], *, gains: bool) -> str:
    """Write one line a method and one column a pair.

    Parameters
    ----------
    cells : sequence of Cell
        Of one protocol and estimator.
    gains : bool
        Whether the gain stands beside each accuracy, bold where it is clear.

    Returns
    -------
    str
    """
    pairs = list(dict.fromkeys(c.pair for c in cells))
    found = {(c.method, c.pair): c for c in cells}
    lines = markdown_header(["method", *_short(pairs)])
    for method in dict.fromkeys(c.method for c in cells):
        texts = [_text(found.get((method, pair)), gains=gains) for pair in pairs]
        lines.append("| " + " | ".join([method, *texts]) + " |")
    return "\n".join(lines)


def _text(cell: Cell | None, *, gains: bool) -> str:
    if cell is None:
        return ""
    if not cell.whole or cell.mean is None:
        return "failed"
    if not gains:
        return f"{100 * cell.mean:.1f}"
    if cell.method == FLOOR or cell.gain is None:
        return f"{cell.mean:.3f}"
    points = f"{cell.gain.points:+.1f}"
    return f"{cell.mean:.3f} ({f'**{points}**' if cell.gain.clear else points})"


def _short(pairs: Sequence[Pair]) -> list[str]:
    """Name pairs by the first letters of their domains, or by the target if the source is one."""
    if len({source for source, _ in pairs}) == 1:
        return [target for _, target in pairs]
    return [f"{source[0].upper()}→{target[0].upper()}" for source, target in pairs]

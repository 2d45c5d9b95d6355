"""The schema study: corrupt real tables, and count the columns that are found again.

Run ``python -m shiftlab.experiments.schema`` in a clone; it rewrites ``results.csv`` and the
tables in the README of ``experiments/schema``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from shiftlab.experiments.script import read_settings, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.feature_space.schema_alignment import SchemaAlignment

__all__ = [
    "Corruption",
    "corrupt",
    "distinguishable",
    "main",
    "read_table",
    "run_schema",
    "schema_block",
    "score",
]

Column = NDArray[Any]
FACTORS = tuple(f for x in (1000.0, 100.0, 60.0, 2.54, 0.45359237) for f in (x, 1 / x))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FIELDS = (
    "corruption",
    "table",
    "names",
    "existing",
    "made",
    "right",
    "found",
    "rescaled",
    "undone",
    "unit_open",
    "converted_wrongly",
    "recoded",
    "decoded",
    "decoded_wrongly",
)


@dataclass(frozen=True)
class Corruption:
    """Two halves of a table, the second under another schema, and what was done to it.

    Parameters
    ----------
    source, target : dict of str to ndarray
        Columns.
    origin : dict of str to str
        Target column -> the source's name of the column that it was made from.
    factors : dict of str to float
        Target column -> what its numbers were multiplied by, where they were.
    codes : dict of str to dict
        Target column -> which value stands for which word, where words were replaced.
    """

    source: dict[str, Column]
    target: dict[str, Column]
    origin: dict[str, str]
    factors: dict[str, float]
    codes: dict[str, dict[Any, str]]


def read_table(name: str) -> dict[str, Column]:
    """Return a table of scikit-learn by columns, its label among them.

    Parameters
    ----------
    name : {"iris", "wine", "breast_cancer", "diabetes", "digits"}
        Which.

    Returns
    -------
    dict of str to ndarray
        Numbers, and words.
    """
    given = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**given)
    table: dict[str, Column] = dict(zip(map(str, bunch.feature_names), bunch.data.T, strict=True))
    if name == "diabetes":
        table["sex"] = np.where(table["sex"] == 1, "m", "f")
        table["progression"] = bunch.target
    else:
        table["class"] = np.array([str(bunch.target_names[k]) for k in bunch.target])
    return table


def corrupt(
    table: Mapping[str, Column], settings: Mapping[str, Any], *, anonymous: bool, seed: int
) -> Corruption:
    """Cut a table into two halves and give the second another schema.

    Parameters
    ----------
    table : mapping of str to ndarray of shape (n,)
        Columns.
    settings : mapping
        Shares, as in ``experiments/schema/config.toml``.
    anonymous : bool
        Whether all names are lost.
    seed : int
        Of everything.

    Returns
    -------
    Corruption
    """
    rng = np.random.default_rng(seed)
    names = list(table)
    order = rng.permutation(len(table[names[0]]))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    source = _some(names, settings["source_lacks"], rng)
    made: list[tuple[str, Column, float | None, dict[Any, str] | None]] = []
    for name in _some(names, settings["target_lacks"], rng):
        values, factor, codes = table[name][second], None, None
        if values.dtype.kind == "U":
            if rng.random() < settings["recoded"]:
                values, codes = _recoded(values, rng)
        elif rng.random() < settings["rescaled"]:
            factor = float(rng.choice(FACTORS))
            values = values * factor
        copies = 2 if rng.random() < settings["copied"] else 1
        made += [(name, values, factor, codes)] * copies
    target: dict[str, Column] = {}
    origin, factors, all_codes = {}, {}, {}
    for k, position in enumerate(rng.permutation(len(made))):
        name, values, factor, codes = made[position]
        new = f"v{k}" if anonymous else _renamed(name, k, rng)
        new = f"v{k}" if new in target else new
        target[new], origin[new] = values, name
        if factor is not None:
            factors[new] = factor
        if codes is not None:
            all_codes[new] = codes
    return Corruption({n: table[n][first] for n in source}, target, origin, factors, all_codes)


def _some(names: list[str], lacking: float, rng: np.random.Generator) -> list[str]:
    kept = [name for name in names if rng.random() > lacking]
    return kept if len(kept) > 1 else names


def _recoded(values: Column, rng: np.random.Generator) -> tuple[Column, dict[Any, str]]:
    levels = np.unique(values)
    new = rng.permutation(len(levels))
    if rng.random() < 0.5:
        words = [LETTERS[k] for k in new]
        return np.array(words)[np.searchsorted(levels, values)], dict(
            zip(words, levels.tolist(), strict=True)
        )
    codes = {int(k): str(level) for k, level in zip(new, levels, strict=True)}
    return new[np.searchsorted(levels, values)], codes


def _renamed(name: str, k: int, rng: np.random.Generator) -> str:
    style = rng.choice(["same", "case", "short", "lost"])
    if style == "case":
        return name.upper().replace(" ", "_")
    if style == "short":
        return "_".join(word[:4] for word in name.replace("_", " ").split())
    return name if style == "same" else f"v{k}"


def score(case: Corruption) -> dict[str, int]:
    """Align a corrupted table and count.

    Parameters
    ----------
    case : Corruption
        What to align.

    Returns
    -------
    dict of str to int
        The counts of ``results.csv``.
    """
    import pandas as pd

    counts = dict.fromkeys(FIELDS[3:], 0)
    told = distinguishable(case)
    counts["existing"] = len(told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        model = SchemaAlignment(missing="drop")
        try:
            model.fit(pd.DataFrame(case.source), pd.DataFrame(case.target))
        except ValueError as error:
            if "no sure match" in str(error) or "shares no column" in str(error):
                return counts  # it refuses where it is sure of nothing
            raise
    for record in model.report_:
        if record.source is None or record.target is None:
            continue
        counts["made"] += 1
        origin = case.origin[record.target]
        same = origin in case.source and np.array_equal(
            case.source[origin], case.source[record.source]
        )
        counts["right"] += same  # any assignment among equal columns is right
        counts["found"] += same and record.source in told
        if origin != record.source:
            continue
        factor, codes = case.factors.get(record.target), case.codes.get(record.target)
        converted = record.factor != 1 or record.offset != 0
        if factor is not None:
            counts["rescaled"] += 1
            undone = record.offset == 0 and abs(record.factor * factor - 1) < 1e-6
            counts["undone"] += undone
            counts["unit_open"] += not converted and bool(record.note)
            counts["converted_wrongly"] += converted and not undone
        elif codes is not None:
            counts["recoded"] += 1
            counts["decoded"] += record.categories == codes
            counts["decoded_wrongly"] += bool(record.categories) and record.categories != codes
        else:
            counts["converted_wrongly"] += converted
            counts["decoded_wrongly"] += bool(record.categories)
    return counts


def distinguishable(case: Corruption) -> set[str]:
    """Return the columns of the source that the target has and that something tells apart.

    Parameters
    ----------
    case : Corruption
        A table under two schemas.

    Returns
    -------
    set of str
        Without columns that have one value on either side.
    """
    varies = {o for n, o in case.origin.items() if len(np.unique(case.target[n])) > 1}
    return {name for name in varies & set(case.source) if len(np.unique(case.source[name])) > 1}


def run_schema(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Corrupt, align and count.

    Parameters
    ----------
    settings : mapping
        As in ``experiments/schema/config.toml``.

    Yields
    ------
    dict
        A row of ``results.csv``.
    """
    tables = {name: read_table(name) for name in settings["tables"]}
    for k in range(int(settings["corruptions"])):
        name = settings["tables"][k % len(tables)]
        anonymous = (k // len(tables)) % 2 == 0
        case = corrupt(
            tables[name], settings, anonymous=anonymous, seed=derive_seed("schema", name, k)
        )
        names = "none" if anonymous else "mixed"
        yield {"corruption": k, "table": name, "names": names, **score(case)}


def schema_block(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the results as Markdown.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``results.csv``.

    Returns
    -------
    str
    """
    lines = [
        "| table | names | corruptions | matches that exist | made | right | found |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = {(row["table"], row["names"]): None for row in rows}
    for table, names in [*sorted(groups), ("all", "all")]:
        here = [r for r in rows if table == "all" or (r["table"] == table and r["names"] == names)]
        exist, found = _sum(here, "existing"), _sum(here, "found")
        made, right = _sum(here, "made"), _sum(here, "right")
        lines.append(
            f"| {table} | {names} | {len(here)} | {exist} | {made} | "
            f"{right / max(made, 1):.1%} | {found / max(exist, 1):.1%} |"
        )
    undone, rescaled, noted = (_sum(rows, key) for key in ("undone", "rescaled", "unit_open"))
    decoded, recoded = _sum(rows, "decoded"), _sum(rows, "recoded")
    wrong = _sum(rows, "converted_wrongly")
    silent = rescaled - undone - noted
    lines += [
        "",
        f"Of {rescaled} columns in another unit that were matched rightly, {undone} "
        f"({undone / rescaled:.1%}) were brought back to the source's unit and {noted} were "
        f"reported as different but open; {silent} were left as they are without a word, or "
        "converted wrongly. "
        f"{wrong} columns were converted wrongly, whether in another unit or not. Of {recoded} "
        f"columns in other words or codes {decoded} ({decoded / recoded:.1%}) got all their values "
        f"back, and {_sum(rows, 'decoded_wrongly')} columns were decoded wrongly.",
    ]
    return "\n".join(lines)


def _sum(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(int(row[key]) for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``; None reads it from the process.
    """
    given = study_parser("schema").parse_args(arguments)
    rows = list(run_schema(read_settings(given.folder)))
    write_study(given.folder, FIELDS, rows, schema_block(rows))
    print(schema_block(rows))


if __name__ == "__main__":
    main()

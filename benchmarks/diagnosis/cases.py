"""One diagnosis of one pair whose truth is known: what the level and the power are counted from."""

from __future__ import annotations

import hashlib
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import shiftlab
from shiftlab.data.shifts import make_shift

# name in the tables -> (family, share of missing values)
NULL_DATA = {
    "normal": ("linear", 0.0),
    "heavy_tailed": ("heavy_tailed", 0.0),
    "mixed": ("mixed", 0.0),
    "missing": ("linear", 0.1),
}
FAMILIES = ("linear", "nonlinear", "heavy_tailed", "mixed")
KINDS = ("covariate", "label", "concept", "feature_space", "new_class")
SEVERITIES = (1.0, 0.4)
UNSEEN = "cannot be seen"  # the verdict's words on a change of Y at equal X, without labels

Case = dict[str, Any]


def level_cases(pairs: int, sizes: list[int]) -> list[Case]:
    return [
        _case("level", data, "none", 1.0, n, labels, index)
        for index in range(pairs)
        for n in sizes
        for data in NULL_DATA
        for labels in (True, False)
    ]


def power_cases(seeds: int, n: int) -> list[Case]:
    return [
        _case("power", family, kind, severity, n, labels, index)
        for index in range(seeds)
        for severity in SEVERITIES
        for kind in KINDS
        for family in FAMILIES
        for labels in (True, False)
    ]


def _case(
    part: str, data: str, kind: str, severity: float, n: int, labels: bool, index: int
) -> Case:
    pair = f"{part}|{data}|{kind}|{severity}|{n}|{index}"
    return {
        "key": f"{pair}|{'labels' if labels else 'no labels'}",
        "data": data,
        "kind": kind,
        "severity": severity,
        "n": n,
        "labels": labels,
        "index": index,
        "seed": zlib.crc32(pair.encode()) % 2**31,  # the same pair with and without labels
    }


def code_version() -> str:
    """Eight digits that change with the code that decides."""
    package = Path(shiftlab.__file__).parent
    files = [*package.glob("diagnosis/*.py"), *package.glob("stats/*.py")]
    digest = hashlib.sha256()
    for file in sorted([*files, package / "data" / "shifts.py"]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def run_case(case: Case) -> Case:
    """Diagnose one pair; the row holds what was found, raw p-values and seconds."""
    family, missing = NULL_DATA.get(case["data"], (case["data"], 0.0))
    source, target = make_shift(
        case["kind"],
        family=family,
        n_source=case["n"],
        n_target=case["n"],
        severity=case["severity"],
        missing=missing,
        random_state=case["seed"],
    )
    given = target if case["labels"] else target.unlabelled()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = shiftlab.diagnose(source, given, explain=False, random_state=case["seed"] ^ 1)
    seconds = time.perf_counter() - start
    p_values = {q: f.p_value for q, f in found.findings.items() if f.p_value is not None}
    return case | {
        "verdict": found.kind,
        "feature_space": found.feature_space_differs,
        "label_space": found.label_space_differs,
        "suspected": bool(found.findings["label_space"].details.get("suspected")),
        "says_unseen": UNSEEN in found.verdict,
        "columns": sum(f.status == "differs" for f in found.features),
        "p": {q: float(p) for q, p in p_values.items()},
        "seconds": round(seconds, 3),
    }


def is_alarm(row: Case) -> bool:
    """Whether the verdict says that anything differs."""
    return row["verdict"] != "none" or row["feature_space"] or row["label_space"]


def is_right(row: Case) -> bool:
    """Whether the verdict is the best one that the data allow.

    Without target labels: label shift is kept as possible, covariate shift is not taken for
    label shift, and a concept shift with X in place is said to be invisible. A feature
    space or label space that differs must be reported as such; what is said of the rest is
    counted apart (`rest_is_right`).
    """
    kind = row["kind"]
    if kind == "feature_space":
        return bool(row["feature_space"])
    if kind == "new_class":
        # without labels a new class is no fact: the best answer is the suspicion
        return bool(row["label_space"] if row["labels"] else row["suspected"])
    if row["feature_space"] or row["label_space"]:
        return False
    if row["labels"]:
        return bool(row["verdict"] == kind)
    if kind == "concept":
        return bool(row["verdict"] == "none" and row["says_unseen"])
    return bool(row["verdict"] == {"label": "label_compatible", "covariate": "not_label"}[kind])


def rest_is_right(row: Case) -> bool | None:
    """Whether nothing is said to differ in what both share; None where that is no question."""
    if row["kind"] == "feature_space" or (row["kind"] == "new_class" and row["labels"]):
        return bool(row["verdict"] == "none")
    return None

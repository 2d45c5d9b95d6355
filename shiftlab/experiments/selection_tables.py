"""Tables of the study of choosing, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

__all__ = ["CONTROL", "selection_block"]

Row = Mapping[str, Any]

HARM = 0.01  # below the source-only model
BEST = "best adapter of all (oracle)"
CONTROL = "joint PCA (control)"


def selection_block(rows: Sequence[Row]) -> str:
    """Write what was found.

    Parameters
    ----------
    rows : sequence of mapping
        Lines of the results; see `shiftlab.experiments.selection.judge_case`.

    Returns
    -------
    str
    """
    shifts = [r for r in rows if r["group"] == "shifts"]
    natural = [r for r in rows if r["group"] != "shifts"]
    parts: list[str] = []
    for family in dict.fromkeys(r["source"] for r in shifts):
        parts += _shift_table(family, [r for r in shifts if r["source"] == family])
    if natural:
        parts += _natural_table(natural)
        parts += _validator_table(natural)
    parts += _safe_table(rows)
    parts += _expected_table(rows)
    return "\n".join(parts).rstrip()


def _gain(row: Row, method: str) -> float:
    """Points over the source-only model; NaN where it failed."""
    plain = row["methods"]["source-only"]["accuracy"]
    if method == "adapt":
        return 100 * float(row["adapt"]["accuracy"] - plain)
    value = row["methods"].get(method, {}).get("accuracy")
    return np.nan if value is None else 100 * float(value - plain)


def _methods(rows: Sequence[Row]) -> list[str]:
    return [m for m in dict.fromkeys(m for r in rows for m in r["methods"]) if m != "source-only"]


def _oracle(row: Row) -> float:
    return max(0.0, float(np.nanmax([_gain(row, m) for m in row["methods"] if m != CONTROL])))


def _shift_table(family: str, rows: Sequence[Row]) -> list[str]:
    kinds = list(dict.fromkeys(r["target"] for r in rows))
    by_kind = {k: [r for r in rows if r["target"] == k] for k in kinds}
    seeds = min(len(v) for v in by_kind.values())
    lines = [
        f"### Generated shifts, {family}",
        "",
        f"Gain over the source-only model in points of accuracy, mean over {seeds} seeds (standard "
        "error); `concept` shows 50 target labels.",
        "",
        "| method | " + " | ".join(kinds) + " |",
        "|---|" + "---|" * len(kinds),
    ]
    plain = [
        f"{100 * np.mean([r['methods']['source-only']['accuracy'] for r in by_kind[k]]):.1f}%"
        for k in kinds
    ]
    lines.append("| source-only, accuracy | " + " | ".join(plain) + " |")
    for method in ["adapt", *_methods(rows)]:
        cells = []
        for kind in kinds:
            gains = np.array([_gain(r, method) for r in by_kind[kind]])
            gains = gains[np.isfinite(gains)]
            if not len(gains):
                cells.append("")
                continue
            error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.nan
            cells.append(f"{gains.mean():+.1f} ({error:.1f})")
        name = f"**{method}**" if method == "adapt" else method
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _natural_table(rows: Sequence[Row]) -> list[str]:
    groups = list(dict.fromkeys(r["group"] for r in rows))
    lines = [
        "### Natural domains",
        "",
        "Gain over the source-only model in points of accuracy: mean over the pairs (worst pair).",
        "",
        "| method | "
        + " | ".join(f"{g} ({sum(r['group'] == g for r in rows)})" for g in groups)
        + " | all | below -2 | worst |",
        "|---|" + "---|" * (len(groups) + 3),
    ]
    for method in [BEST, "adapt", *_methods(rows)]:
        per = [(r["group"], _oracle(r) if method == BEST else _gain(r, method)) for r in rows]
        cells = []
        for group in groups:
            gains = np.array([g for name, g in per if name == group and np.isfinite(g)])
            cells.append(f"{gains.mean():+.1f} ({gains.min():+.1f})" if len(gains) else "")
        every = np.array([g for _, g in per if np.isfinite(g)])
        if not len(every):
            continue
        low = int((every < -2).sum())
        cells += [f"{every.mean():+.2f}", f"{low} of {len(every)}", f"{every.min():+.1f}"]
        name = f"**{method}**" if method == "adapt" else method
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _safe_table(rows: Sequence[Row]) -> list[str]:
    """How often an adapter harms alone and inside SafeAdapter, and what SafeAdapter gives up."""
    lines = [
        "### SafeAdapter around each adapter, over all pairs above",
        "",
        "Harm: more than a point below the source-only model. Given up: the adapter's gain in "
        "points where it would have helped and was not used, in the mean over all pairs.",
        "",
        "| adapter | pairs | harms alone | harms inside SafeAdapter | gain alone | gain inside | "
        "given up |",
        "|---|---|---|---|---|---|---|",
    ]
    total: list[tuple[float, float]] = []
    for method in _methods(rows):
        pairs = [
            (_gain(r, method), bool(r["methods"][method]["safe"]))
            for r in rows
            if "safe" in r["methods"].get(method, {})
        ]
        if not pairs:
            continue
        gains = np.array([g for g, _ in pairs])
        used = np.array([u for _, u in pairs])
        safe = np.where(used, gains, 0.0)
        total += list(zip(gains, safe, strict=True))
        lines.append(
            f"| {method} | {len(gains)} | {_share(gains)} | {_share(safe)} | {gains.mean():+.2f} | "
            f"{safe.mean():+.2f} | {np.where(used, 0, np.maximum(gains, 0)).mean():.2f} |"
        )
    every = np.array(total)
    lines.append(
        f"| all | {len(every)} | {_share(every[:, 0])} | {_share(every[:, 1])} | "
        f"{every[:, 0].mean():+.2f} | {every[:, 1].mean():+.2f} | |"
    )
    return [*lines, ""]


def _share(gains: Any) -> str:
    return f"{np.mean(np.asarray(gains) < -100 * HARM):.1%}"


def _validator_table(rows: Sequence[Row]) -> list[str]:
    """Rank correlation of each validator with the truth, and what its first choice loses."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scored = {m: v for m, v in row["methods"].items() if "scores" in v}
        names = {v for m in scored.values() for v in m["scores"]}
        for validator in names:
            models = [m for m in scored if validator in scored[m]["scores"]]
            truth = np.array([scored[m]["accuracy"] for m in models])
            score = np.array([scored[m]["scores"][validator] for m in models])
            if len(models) < 3 or np.ptp(truth) == 0 or np.ptp(score) == 0:
                continue
            into = found.setdefault(validator, {"rank": [], "gap": [], "gain": []})
            into["rank"].append(float(spearmanr(truth, score).statistic))
            chosen = int(score.argmax())
            into["gap"].append(100 * float(truth.max() - truth[chosen]))
            into["gain"].append(_gain(row, models[chosen]))
    if not found:
        return []
    lines = [
        "### Validators on the natural domains",
        "",
        "Spearman correlation of a validator's scores with the candidates' accuracies, what its "
        "first choice loses against the best candidate, and what it gains over source-only (worst "
        "pair), in points; means over the pairs.",
        "",
        "| validator | pairs | rank correlation | gap to the oracle | gain of its choice |",
        "|---|---|---|---|---|",
    ]
    for name, v in sorted(found.items(), key=lambda item: -np.mean(item[1]["rank"])):
        lines.append(
            f"| {name} | {len(v['rank'])} | {np.mean(v['rank']):+.2f} | {np.mean(v['gap']):.1f} | "
            f"{np.mean(v['gain']):+.1f} ({np.min(v['gain']):+.1f}) |"
        )
    return [*lines, ""]


def _expected_table(rows: Sequence[Row]) -> list[str]:
    """How often the 90% interval of the expected accuracy held what came out."""
    lines = [
        "### Expected accuracy",
        "",
        "How often the 90% interval of the expected accuracy held the accuracy that was seen, by "
        "what was assumed. What was seen has a standard error of its own, one to two points in 500 "
        "rows, that the interval does not cover; `tests/selection/test_adapt.py` counts against "
        "5,000 rows.",
        "",
        "| group | assumed | pairs | held | mean difference |",
        "|---|---|---|---|---|",
    ]
    seen: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for row in rows:
        found = row["adapt"]
        group = f"shifts, {row['target']}" if row["group"] == "shifts" else "natural"
        if found["expected"] is None:
            continue
        value, low, high = found["expected"]
        seen.setdefault((group, found["ground"]), []).append(
            (low <= found["accuracy"] <= high, 100 * (value - found["accuracy"]))
        )
    for (group, ground), pairs in seen.items():
        held, off = zip(*pairs, strict=True)
        lines.append(
            f"| {group} | {ground} | {len(pairs)} | {np.mean(held):.0%} | {np.mean(off):+.1f} |"
        )
    return [*lines, ""]

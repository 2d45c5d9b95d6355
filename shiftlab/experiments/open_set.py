"""The open-set study: digits 0 to 4 are known, the target has all ten.

Run ``python -m shiftlab.experiments.open_set`` in a clone; it rewrites ``results.csv`` and the
tables in the README of ``experiments/label_space``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shiftlab.domain import Domain
from shiftlab.experiments.script import collect_rows, read_settings, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.label_space.metrics import OpenSetScores, open_set_scores
from shiftlab.label_space.open_set import ClassDistance, OpenSet, held_out_distances

__all__ = ["main", "open_set_block", "run_open_set", "score_methods"]

UNKNOWN = -1
HINDSIGHT = "confidence, best threshold in hindsight"
FIELDS = ("target", "method", "seed", "os_star", "unk", "h_score", "unknown_share", "n_test")


def score_methods(
    source: Domain, target: Domain, test: Domain, seed: int
) -> dict[str, OpenSetScores]:
    """Score all methods on the features of one network.

    Parameters
    ----------
    source : Domain
        Features and labels of known classes.
    target : Domain
        Features without labels.
    test : Domain
        Features with all labels; the labels are read after the predictions are made, but for
        the method that says "in hindsight".
    seed : int
        Of the folds.

    Returns
    -------
    dict of str to OpenSetScores
    """
    known = np.unique(source.y)
    base = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    plain = base.fit(source.X, source.y)
    answers, confidence = plain.predict(test.X), plain.predict_proba(test.X).max(axis=1)
    held_out = cross_val_predict(base, source.X, source.y, cv=5, method="predict_proba")
    codes = np.searchsorted(known, source.y)
    far = ClassDistance(source.X.astype(np.float64), codes)(test.X.astype(np.float64))
    rng = np.random.RandomState(seed)
    held_far = held_out_distances(source.X.astype(np.float64), codes, 5, rng)

    def rejected(mask: NDArray[np.bool_]) -> OpenSetScores:
        return open_set_scores(test.y, np.where(mask, UNKNOWN, answers), known)

    found = {f"confidence below {level}": rejected(confidence < level) for level in (0.5, 0.9)}
    level = np.quantile(held_out.max(axis=1), 0.05)
    found["confidence below that of 95% of source rows"] = rejected(confidence < level)
    grid = np.quantile(confidence, np.linspace(0, 1, 201))
    found[HINDSIGHT] = max((rejected(confidence < t) for t in grid), key=lambda s: s.h_score)
    found["distance beyond that of 95% of source rows"] = rejected(
        far > np.quantile(held_far, 0.95)
    )
    model = OpenSet(base, unknown_label=UNKNOWN, random_state=seed)
    predicted = model.fit(source, target.unlabelled()).predict(test.X)
    found["OpenSet"] = open_set_scores(test.y, predicted, known)
    return found


def run_open_set(
    settings: Mapping[str, Any], *, root: str | os.PathLike[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Train a network for each seed, and score all methods on every target.

    Parameters
    ----------
    settings : mapping
        As in ``experiments/label_space/config.toml``.
    root : path or None, default=None
        Folder of the digits; None is what ``SHIFTLAB_DATA`` names.

    Yields
    ------
    dict
        A row of ``results.csv``.
    """
    from shiftlab.data import load_digits5
    from shiftlab.deep import train_classifier

    name, n_known = settings["source"], int(settings["known"])
    digits = load_digits5(name, "train", root=root, source="local", exclude_shared=False)
    for seed in range(int(settings["seeds"])):
        rng = np.random.default_rng(derive_seed("draw", "open set", seed))
        order = rng.permutation(np.flatnonzero(digits.y < n_known))
        first, last = int(settings["n_network"]), int(settings["n_network"] + settings["n_source"])
        trained, kept = digits.take(order[:first]), digits.take(order[first:last])
        net = train_classifier(
            trained.X,
            trained.y,
            epochs=int(settings["epochs"]),
            device="cpu",
            random_state=derive_seed("network", seed),
        )
        others = rng.permutation(np.setdiff1d(np.arange(len(digits)), order[:last]))
        source = Domain(net.features(kept.X), kept.y, name="source")
        for target in settings["targets"]:
            if target == name:
                pool = digits.take(others)
            else:
                pool = load_digits5(target, "train", root=root, source="local")
                pool = pool.take(rng.permutation(len(pool)))
            seen = pool.take(np.arange(min(int(settings["n_target"]), len(pool))))
            test = load_digits5(target, "test", root=root, source="local", exclude_shared=False)
            test = test.take(rng.permutation(len(test))[: int(settings["n_test"])])
            scores = score_methods(
                source,
                Domain(net.features(seen.X), name="target"),
                Domain(net.features(test.X), test.y, name="test"),
                derive_seed("folds", seed),
            )
            share = float(np.mean(test.y >= n_known))
            for method, score in scores.items():
                yield {
                    "target": target,
                    "method": method,
                    "seed": seed,
                    "os_star": f"{score.os_star:.4f}",
                    "unk": f"{score.unk:.4f}",
                    "h_score": f"{score.h_score:.4f}",
                    "unknown_share": f"{share:.4f}",
                    "n_test": len(test),
                }


def open_set_block(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the results as Markdown tables.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``results.csv``.

    Returns
    -------
    str
    """
    lines: list[str] = []
    for target in dict.fromkeys(row["target"] for row in rows):
        here = [row for row in rows if row["target"] == target]
        seeds = len({row["seed"] for row in here})
        lines += [
            f"Target {target}, mean over {seeds} {'seed' if seeds == 1 else 'seeds'} "
            "(standard deviation of the H-score):",
            "",
            "| method | OS* | UNK | H-score |",
            "|---|---|---|---|",
        ]
        for method in dict.fromkeys(row["method"] for row in here):
            values = np.array(
                [
                    [float(row[key]) for key in ("os_star", "unk", "h_score")]
                    for row in here
                    if row["method"] == method
                ]
            )
            mean = values.mean(axis=0)
            lines.append(
                f"| {method} | {mean[0]:.3f} | {mean[1]:.3f} | "
                f"{mean[2]:.3f} ({values[:, 2].std():.3f}) |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder`` and ``--root``; None reads them from the process.
    """
    given = study_parser("label_space", data="the digits").parse_args(arguments)
    rows = collect_rows(run_open_set(read_settings(given.folder), root=given.root))
    write_study(given.folder, FIELDS, rows, open_set_block(rows))


if __name__ == "__main__":
    main()

"""The open-set study: what it scores, and what is committed."""

import csv

import numpy as np
import pytest

from shiftlab import Domain
from shiftlab.data import resource_root
from shiftlab.experiments.open_set import HINDSIGHT, main, open_set_block, score_methods

CENTRES = 4 * np.eye(6)


def features(seed, labels):
    return CENTRES[labels] + np.random.default_rng(seed).normal(size=(len(labels), 6))


def test_all_methods_are_scored_on_the_same_rows():
    y, yt = np.tile([0, 1, 2], 60), np.tile(np.arange(6), 60)
    scores = score_methods(
        Domain(features(0, y), y), Domain(features(1, yt)), Domain(features(2, yt), yt), 0
    )
    assert scores["OpenSet"].h_score > 0.8
    thresholds = [n for n in scores if n.startswith("confidence below")]
    assert all(scores[HINDSIGHT].h_score >= scores[n].h_score - 0.02 for n in thresholds)
    for score in scores.values():
        assert 0 <= score.h_score <= 1


def test_the_table_is_the_mean_over_seeds():
    rows = [
        {"target": "usps", "method": "a", "seed": s, "os_star": o, "unk": 0.5, "h_score": h}
        for s, o, h in ((0, 0.8, 0.2), (1, 0.6, 0.4))
    ]
    assert "| a | 0.700 | 0.500 | 0.300 (0.100) |" in open_set_block(rows)


def test_what_is_committed_is_in_the_readme_and_beats_thresholds_on_mnist():
    folder = resource_root("experiments") / "label_space"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert open_set_block(rows) in (folder / "README.md").read_text(encoding="utf-8")

    def mean(method, target):
        return np.mean(
            [
                float(r["h_score"])
                for r in rows
                if r["target"] == target and r["method"].startswith(method)
            ]
        )

    for method in ("confidence below 0.5", "confidence below 0.9", "confidence below that"):
        assert mean("OpenSet", "mnist") > mean(method, "mnist")


@pytest.mark.data
@pytest.mark.slow
def test_a_tiny_study_runs(real_data, tmp_path):
    (tmp_path / "config.toml").write_text(
        'source = "mnist"\ntargets = ["usps"]\nknown = 5\nn_network = 300\nn_source = 300\n'
        "n_target = 300\nn_test = 200\nepochs = 1\nseeds = 1\n"
    )
    (tmp_path / "README.md").write_text(
        "<!-- results: begin -->\n<!-- results: end -->\n", encoding="utf-8"
    )
    main(["--folder", str(tmp_path), "--root", str(real_data)])
    assert "| OpenSet |" in (tmp_path / "README.md").read_text(encoding="utf-8")

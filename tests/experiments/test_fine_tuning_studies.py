"""Studies of few labels, of transferability and off the shelf: tables, order, committed results."""

import csv
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kendalltau

from shiftlab.data import resource_root
from shiftlab.experiments.few_labels import FIELDS, Cell, cells_of, tune_settings
from shiftlab.experiments.few_labels_tables import (
    by_pair,
    correlations,
    draw_curves,
    few_labels_block,
    mean_and_error,
    rule_method,
)
from shiftlab.experiments.off_the_shelf import off_the_shelf_block
from shiftlab.experiments.photos import face_patches, photo_patches
from shiftlab.experiments.script import csv_text
from shiftlab.experiments.transferability import cells_of as transfer_cells
from shiftlab.experiments.transferability import (
    resampled_tau,
    score_correlations,
    transferability_block,
)


def row(source, target, labels, method, accuracy, seed=0, scores=None):
    return {
        "source": source,
        "target": target,
        "labels": labels,
        "method": method,
        "seed": seed,
        "accuracy": accuracy,
        "seconds": 1.0,
        "scores": scores or {},
    }


ROWS = [
    row("a", "b", 5, "linear", 0.6, seed=0, scores={"logme": 1.0}),
    row("a", "b", 5, "linear", 0.8, seed=1, scores={"logme": 1.0}),
    row("c", "b", 5, "linear", 0.5, scores={"logme": 2.0}),
    row("-", "b", 5, "scratch", 0.4),
    row("a", "b", 5, "tuned", 0.9),
    row("c", "b", 5, "tuned", 0.7),
    row("a", "b", 5, "l2-sp", 0.8),
    row("c", "b", 5, "l2-sp", 0.6),
]


def test_means_are_over_seeds_first_and_gains_are_over_scratch_of_the_same_target():
    assert by_pair(ROWS, "linear", 5) == {("a", "b"): pytest.approx(0.7), ("c", "b"): 0.5}
    block = few_labels_block(ROWS, 99)
    assert "8 of 99 cells are finished" in block
    assert "| linear | 0.600 (2) |" in block
    # Gains .3 and .1: mean .2, standard error sqrt(.02) / sqrt(2) = .1.
    assert "| linear | +20.0 ± 10.0 |" in block
    assert "| scratch | 0.400 (1) |" in block


def test_the_rule_is_compared_with_the_best_of_the_grid_on_shared_pairs():
    assert [rule_method(k) for k in (1, 5, 50)] == ["frozen", "l2-sp", "tuned"]
    block = few_labels_block(ROWS, 8)
    assert "| 5 | l2-sp | 0.700 | tuned | 0.800 | 2 | 2 of 5 |" in block
    assert "is 10.0 points below the best of the grid" in block


def test_mean_and_error():
    assert mean_and_error([1.0, 3.0]) == (2.0, pytest.approx(1.0))
    assert np.isnan(mean_and_error([1.0])[1])


def test_correlations_rank_the_sources_within_a_target():
    rows = []
    for t, target in enumerate("xyz"):
        for k, source in enumerate("abcd"):
            agrees = (k + 10 * t) / 40
            rows.append(row(source, target, 5, "linear", 0.5, scores={"good": k, "bad": -k}))
            rows.append(row(source, target, 5, "probe, tuned", agrees))
    assert correlations(rows, 5, "good") == (1.0, 1.0, 1.0, 3)
    assert correlations(rows, 5, "bad") == (-1.0, -1.0, -1.0, 3)
    assert correlations(rows[:8], 5, "good") is None  # one target


def test_cells_come_once_seed_by_seed_and_more_labels_later():
    settings = {"domains": list("abc"), "labels": [1, 5, 500], "seeds": 2}
    cells = cells_of(settings | {"methods": ["linear", "scratch"]})
    assert len({cell.key for cell in cells}) == len(cells) == 2 * 3 * (6 + 3)
    order = [(cell.seed, cell.labels) for cell in cells]
    assert order == sorted(order)
    assert cells[0] == Cell("b", "a", 1, "linear", 0)
    assert {cell.source for cell in cells if cell.method == "scratch"} == {"-"}
    with pytest.raises(ValueError, match="unknown method 'none'"):
        tune_settings("none", 3)


def test_figures_and_files_are_the_same_each_time():
    assert draw_curves(ROWS) == draw_curves(ROWS)
    assert csv_text(FIELDS, ROWS).splitlines()[1] == 'a,b,5,0,linear,0.6000,1.0,"{""logme"": 1.0}"'


def test_tau_of_resamples_is_that_of_the_rows_written_out():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 12)).astype(float)  # with ties
    times = rng.multinomial(12, np.full(12, 1 / 12), size=20)
    expected = [kendalltau(np.repeat(a, t), np.repeat(b, t)).statistic for t in times]
    assert_allclose(resampled_tau(a, b, times), expected, rtol=1e-12)
    assert np.isnan(resampled_tau(np.ones(3), np.arange(3.0), np.ones((1, 3)))).all()


def test_transferability_table_and_correlation():
    rows = [{"tasks": "-", "variant": "scratch", "n": 0, "seed": 0, "accuracy": 0.9, "scores": {}}]
    for n in range(1, 6):
        for variant in ("AnB", "AnB+"):
            scores = {"logme": -n} if variant == "AnB" else {}
            reached = 1 - n / 10 if variant == "AnB" else 0.5 + n / 10
            rows.append(
                {
                    "tasks": "similar",
                    "variant": variant,
                    "n": n,
                    "seed": 0,
                    "accuracy": reached,
                    "scores": scores,
                }
            )
    block = transferability_block(rows, 31)
    assert "from scratch: 0.900." in block
    assert "| similar | AnB | 0.900 | 0.800 | 0.700 | 0.600 | 0.500 |" in block
    assert score_correlations(rows, "logme", "AnB")[0] == pytest.approx(1.0)
    assert score_correlations(rows, "logme", "AnB+")[0] == pytest.approx(-1.0)
    assert len(set(transfer_cells(3))) == 93


def test_photographs_of_both_halves_share_no_pixel_and_are_in_the_packages():
    pytest.importorskip("skimage")
    left, right = photo_patches("left", 3), photo_patches("right", 3)
    assert left.X.shape == (48, 64, 64, 3)
    assert len(np.unique(left.y)) == 16
    assert sorted(left.y) == sorted(right.y)
    known = {patch.tobytes() for patch in left.X}
    assert not known & {patch.tobytes() for patch in right.X}
    again = photo_patches("left", 3)
    assert np.array_equal(left.X, again.X)
    faces = face_patches()
    assert faces.X.shape == (200, 25, 25)
    assert (faces.y == "face").sum() == 100
    with pytest.raises(ValueError, match="larger than half of"):
        photo_patches("left", 1, size=300)


@pytest.mark.parametrize("name", ["few_labels", "transferability", "off_the_shelf"])
def test_what_is_committed_is_in_the_readme(name):
    folder = resource_root("experiments") / name
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    text = (folder / "README.md").read_text(encoding="utf-8")
    for found in rows:
        for field in ("labels", "n", "seed"):
            if field in found:
                found[field] = int(found[field])
        if "scores" in found:
            found["scores"] = json.loads(found["scores"]) if found["scores"] else {}
    total = int(text.split(" cells are finished")[0].split(" of ")[-1])
    if name == "few_labels":
        block = few_labels_block(rows, total)
    elif name == "transferability":
        block = transferability_block(rows, total)
    else:
        block = off_the_shelf_block(rows, total)
    assert block in text


@pytest.mark.data
@pytest.mark.slow
def test_a_tiny_study_of_few_labels_goes_on_where_it_was_stopped(real_data, tmp_path):
    from shiftlab.experiments.few_labels import main

    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "README.md").write_text("<!-- results: begin -->\n<!-- results: end -->\n")
    (folder / "config.toml").write_text(
        'domains = ["mnist", "usps"]\nlabels = [1, 2]\nseeds = 1\nn_source = 60\nn_test = 50\n'
        "size = 28\nchannels = 1\nsource_epochs = 1\nepochs = [1, 2]\nscratch_epochs = [1, 1]\n"
        'methods = ["linear", "frozen", "scratch"]\n'
    )
    given = ["--folder", str(folder), "--out", str(tmp_path / "out"), "--root", str(real_data)]
    main([*given, "--seconds", "0"])
    assert "1 of 12 cells are finished" in (folder / "README.md").read_text()
    main(given)
    first = (folder / "results.csv").read_text()
    assert "12 of 12 cells are finished" in (folder / "README.md").read_text()
    main(given)
    assert (folder / "results.csv").read_text() == first

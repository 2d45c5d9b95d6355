"""The study of spaces that differ: its draws, its controls, and what is committed."""

import csv
import tomllib

import numpy as np
import pytest

from shiftlab import Domain
from shiftlab.data import resource_root
from shiftlab.experiments.heterogeneous import (
    FIELDS,
    METHODS,
    controls,
    describe,
    draw_digits,
    heterogeneous_block,
    main,
)
from shiftlab.experiments.readme import BEGIN, END
from shiftlab.experiments.resume import RESULTS

SETTINGS = {"n_source": 40, "n_target": 60, "labels": 2, "n_paired": 30, "n_test": 50}
SCENARIO = {"source": ["a", "pixels"], "target": ["a", "pixels"]}


def committed():
    folder = resource_root("experiments") / "heterogeneous"
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return folder, list(csv.DictReader(file))


def numbered(n):
    """Images that say which they are, of three classes."""
    X = np.zeros((n, 16, 16), dtype=np.uint8)
    X[:, 0, 0], X[:, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    return Domain(X, np.arange(n) % 3)


def test_no_image_is_used_twice_and_few_labels_are_visible():
    draw = draw_digits(SETTINGS, SCENARIO, {"a": numbered(300)}, 0)
    assert draw.source.n_rows == 40
    assert draw.target.n_labelled == 6
    assert np.unique(draw.target.y[draw.target.labelled], return_counts=True)[1].tolist() == [2] * 3
    # the source's side has a scale of its own, so rows are compared within the target's
    rows = np.concatenate([draw.target.X, draw.paired[1], draw.test.X])
    assert len(np.unique(rows, axis=0)) == 60 + 30 + 50
    assert len(np.unique(draw.paired[0], axis=0)) == 30
    np.testing.assert_allclose(draw.target.X.mean(0), 0, atol=1e-12)
    assert (draw.target.X**2).sum(1).mean() == pytest.approx(1)


def test_controls_keep_all_but_what_the_source_can_teach():
    draw = draw_digits(SETTINGS, SCENARIO, {"a": numbered(300)}, 0)
    found = controls(draw, 1)
    assert found["real"] is draw
    for given in found.values():
        assert given.target is draw.target
        assert given.paired[1] is draw.paired[1]
        assert sorted(given.source.y) == sorted(draw.source.y)
    assert found["shuffled labels"].source.X is draw.source.X
    assert (found["shuffled labels"].source.y != draw.source.y).any()
    noise = found["noise"]
    assert (noise.source.X**2).sum(1).mean() == pytest.approx(1, rel=0.05)
    assert abs(np.corrcoef(noise.source.X.ravel(), draw.source.X.ravel())[0, 1]) < 0.05
    assert not np.allclose(noise.paired[0], draw.paired[0])


def test_a_method_helps_only_where_it_beats_both_controls():
    def rows(method, source, values):
        return [
            {"scenario": "s", "draw": k, "method": method, "source": source, "accuracy": v}
            for k, v in enumerate(values)
        ]

    table = rows("labelled target rows alone, C = 1", "none", [0.5, 0.6])
    table += rows("labelled target rows alone, C = 10", "none", [0.4, 0.5])
    table += rows("labelled target rows, mapped by the pairs", "none", [0.5, 0.5])
    for method in METHODS:
        table += rows(method, "real", [0.7, 0.82])
        good = method == "SharedEmbedding"
        table += rows(method, "noise", [0.5, 0.6] if good else [0.7, 0.8])
        table += rows(method, "shuffled labels", [0.4, 0.5])
    block = heterogeneous_block(table)
    assert "alone: 55.0%" in block
    # 21 points, two standard errors of 0.20 and 0.22: 2 points
    assert "| SharedEmbedding | 76.0% | +21.0 ± 2.0 | 55.0% | 45.0% | +21.0 ± 2.0 | yes |" in block
    assert "| CorrelationMap | 76.0% | +21.0 ± 2.0 | 75.0% | 45.0% | +1.0 ± 2.0 | no |" in block


def test_pixels_and_gradients_have_their_sizes():
    pytest.importorskip("skimage")
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    assert describe(images, "pixels").shape == (3, 256)
    turned = describe(np.ascontiguousarray(images[:, ::-1, ::-1]), "hog")
    assert turned.shape == (3, 288)
    assert not np.allclose(turned, describe(images, "hog"))


def test_features_of_a_network_are_what_its_head_sees():
    torch = pytest.importorskip("torch")
    from shiftlab.deep import TrainedNet
    from shiftlab.deep.backbones import digit_cnn

    torch.manual_seed(0)
    net = TrainedNet(digit_cnn(1, 10), np.arange(10), (16, 16, 1), device="cpu")
    images = np.random.default_rng(0).integers(0, 255, (60, 16, 16), dtype=np.uint8)
    rows = describe(images, "cnn", net)
    assert rows.shape == (60, 128)
    scores = torch.from_numpy(rows).float() @ net.net.head.weight.T + net.net.head.bias
    np.testing.assert_array_equal(scores.argmax(1).numpy(), net.predict(images))
    scenario = {"source": ["a", "cnn"], "target": ["a", "pixels"]}
    draw = draw_digits(SETTINGS, scenario, {"a": numbered(300)}, 0, net)
    assert (draw.source.X.shape, draw.paired[0].shape) == ((40, 128), (30, 128))
    assert draw.target.X.shape == (60, 256)


def test_the_committed_results_are_shown_and_two_methods_help():
    folder, rows = committed()
    settings = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == heterogeneous_block(rows)
    assert tuple(rows[0]) == FIELDS
    assert settings["draws"] == 20
    each = len(METHODS) * 3 + len(settings["penalties"]) + 1
    assert len(rows) == len(settings["scenarios"]) * 20 * each
    for scenario in settings["scenarios"]:
        here = [r for r in rows if r["scenario"] == scenario["name"]]
        assert {int(r["draw"]) for r in here} == set(range(20))
    first = heterogeneous_block([r for r in rows if r["scenario"] == rows[0]["scenario"]])
    assert first.count("| yes |") >= 2


@pytest.mark.data
@pytest.mark.slow
def test_a_tiny_study_runs(real_data, tmp_path):
    (tmp_path / "config.toml").write_text(
        "draws = 2\nn_source = 100\nn_target = 100\nlabels = 2\nn_paired = 50\nn_test = 100\n"
        'penalties = [1.0]\n[[scenarios]]\nname = "s"\nsource = ["usps", "pixels"]\n'
        'target = ["usps", "hog"]\n'
    )
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    given = ["--folder", str(tmp_path), "--out", str(tmp_path / "runs")]
    main(given)
    before = (tmp_path / "results.csv").read_bytes()
    # a run that was stopped goes on to the same results
    lines = (tmp_path / "runs" / RESULTS).read_text().splitlines(keepends=True)
    (tmp_path / "runs" / RESULTS).write_text(lines[0] + lines[1][:99])
    main(given)
    assert (tmp_path / "results.csv").read_bytes() == before
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (2 + 3 * len(METHODS))
    assert "2 draws" in (tmp_path / "README.md").read_text()

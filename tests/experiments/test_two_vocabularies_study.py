"""The study of texts: its controls, its table, and what is committed."""

import csv
import tomllib

import numpy as np
import scipy.sparse as sp

from shiftlab.data import resource_root
from shiftlab.experiments.readme import BEGIN, END
from shiftlab.experiments.two_vocabularies import (
    ALONE,
    CONTROLS,
    FIELDS,
    PIVOTS,
    PLAIN,
    RANDOM,
    SAME,
    _noise,
    two_vocabularies_block,
)


def test_noise_keeps_how_often_a_word_is_used_and_nothing_else():
    X = sp.random(400, 30, 0.2, format="csr", random_state=0)
    noise = _noise(X, np.random.default_rng(0))
    np.testing.assert_allclose(noise.sum(axis=0), X.sum(axis=0))
    same = np.corrcoef(noise.toarray().ravel(), X.toarray().ravel())[0, 1]
    assert abs(same) < 0.05


def test_a_bridge_helps_only_where_it_beats_every_control():
    def rows(method, source, values, table="two vocabularies"):
        return [
            {"table": table, "draw": k, "method": method, "source": source, "accuracy": v}
            for k, v in enumerate(values)
        ]

    table = rows(ALONE, "none", [0.5, 0.6]) + rows(SAME, "none", [0.8, 0.8])
    for method, best in (("good", 0.5), ("false", 0.75)):
        table += rows(method, "real", [0.7, 0.82])
        for source in CONTROLS[1:]:
            table += rows(
                method, source, [best, best + 0.1] if source == "false bridge" else [0, 0]
            )
    for method, values in ((PLAIN, [0.7, 0.8]), (PIVOTS, [0.71, 0.83]), (RANDOM, [0.7, 0.8])):
        table += rows(method, "real", values, "topics")
    block = two_vocabularies_block(table)
    assert "| good | 76.0% | +21.0 ± 2.0 | 0.0% | 0.0% | 55.0% | +21.0 ± 2.0 | yes |" in block
    assert "| false | 76.0% | +21.0 ± 2.0 | 0.0% | 0.0% | 80.0% | -4.0 ± 2.0 | no |" in block
    assert "| mean | 75.0% | 77.0% | 75.0% |" in block
    assert "Pivots over source alone: +2.0 ± 2.0 points." in block


def test_the_committed_results_are_shown():
    folder = resource_root("experiments") / "two_vocabularies"
    settings = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert tuple(rows[0]) == FIELDS
    assert text.split(BEGIN)[1].split(END)[0].strip() == two_vocabularies_block(rows)
    assert len([r for r in rows if r["method"] == ALONE]) == settings["draws"]
    assert len([r for r in rows if r["method"] == PIVOTS]) == 12

"""Studies of tables: honest numbers, no leak, no failure that turns into a number."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from itertools import islice

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

import shiftlab.registry
from shiftlab import CORAL, Adapter, Domain, Facts
from shiftlab.data import make_gaussian_shift, resource_root
from shiftlab.experiments import ResultsStore, TabularStudy, run_tabular, tabular_data
from shiftlab.experiments.readme import BEGIN, END
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.tabular import cell_ids, plan_tabular
from shiftlab.experiments.tabular_data import DATA, PREPARATIONS, DataSet, Pair
from shiftlab.experiments.tabular_report import tabular_block, write_tabular
from shiftlab.experiments.tabular_settings import applies, study_config
from shiftlab.experiments.tabular_tables import cells_of, summarise_pairs, to_csv

STUDIES = ("shift_types", "office_caltech", "amazon_reviews")
CONFIG = """
[study]
data = "shift_types"
pairs = ["source:none", "source:label"]
seeds = 2
registry = false
joint_pca = 2

[quick]
pairs = ["source:none"]
seeds = 1

[protocols.plain]
prepare = "none"

[protocols.plain.bases.LR]
estimator = "LogisticRegression"

[protocols.plain.bases.1-NN]
estimator = "KNeighborsClassifier"
n_neighbors = 1

[protocols.unit]
prepare = "none"
unit_rows = true
methods = ["source-only"]

[protocols.unit.bases.LR]
estimator = "LogisticRegression"
C = 10.0

[[methods]]
name = "CORAL center=True"
adapter = "CORAL"
parameters = { center = true }

[[methods]]
name = "weights"
adapter = "ClassifierWeighting"
parameters = { cv = 2 }

[[methods]]
name = "later"
adapter = "NotYetWritten"
"""


class Fragile(Adapter):
    """Fails on some draws of the source, or predicts nothing finite, or does nothing."""

    facts = Facts(handles=("marginal",), assumes="luck")
    mood = "raise"
    seen: list[Domain] = []  # noqa: RUF012 - a spy

    def _adapt(self, source, target):
        self.seen.append(target)
        if self.mood == "raise" and (source.y == 0).sum() > 255:
            raise ArithmeticError("division by\na cat")
        return source

    def predict(self, X):
        if self.mood == "nan":
            return np.full(len(X), np.nan)
        return super().predict(X)


@pytest.fixture
def fragile(monkeypatch):
    monkeypatch.setattr(Fragile, "seen", [])
    registered = [*shiftlab.registry.list_adapters(), Fragile]
    monkeypatch.setattr(
        "shiftlab.experiments.tabular_settings.list_adapters", lambda: list(registered)
    )
    return Fragile


@pytest.fixture
def config(tmp_path):
    def write(text=CONFIG):
        path = tmp_path / "tiny" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


WITH_FRAGILE = CONFIG + '[[methods]]\nname = "Fragile"\nadapter = "Fragile"\n'


def accuracies(rows):
    return {
        (r["protocol"], r["base"], r["method"], r["target"], r["seed"]): r["accuracy"]
        for r in rows
        if "error" not in r
    }


def test_accuracies_equal_a_naive_computation(config, tmp_path):
    study = TabularStudy.from_toml(config())
    found = accuracies(run_tabular(study, out=tmp_path / "out"))
    assert len(found) == 2 * 2 * (5 + 4 + 1)  # weights stand before LR alone
    assert study.absent == ("later",)
    for kind in ("none", "label"):
        for seed in (0, 1):
            drawn = derive_seed("draw", kind, seed)
            source, target = make_gaussian_shift(kind, random_state=drawn)
            pca = PCA(2).fit(np.vstack([source.X, target.X]))
            bases = {"LR": LogisticRegression(), "1-NN": KNeighborsClassifier(1)}
            for name, base in bases.items():
                folds = derive_seed("method", "folds", kind, seed)
                split = StratifiedKFold(5, shuffle=True, random_state=folds)
                coral = CORAL(base, center=True).fit(source, target.unlabelled())
                reduced = base.fit(pca.transform(source.X), source.y)
                expected = {"joint PCA(2)": reduced.score(pca.transform(target.X), target.y)}
                expected["source-only"] = base.fit(source.X, source.y).score(target.X, target.y)
                expected["CORAL center=True"] = np.mean(coral.predict(target.X) == target.y)
                supervised = cross_val_predict(base, target.X, target.y, cv=split)
                expected["target-supervised"] = np.mean(supervised == target.y)
                for method, accuracy in expected.items():
                    key = ("plain", name, method, kind, seed)
                    assert found[key] == pytest.approx(accuracy), key
            unit = LogisticRegression(C=10).fit(normalize(source.X), source.y)
            accuracy = unit.score(normalize(target.X), target.y)
            assert found["unit", "LR", "source-only", kind, seed] == pytest.approx(accuracy)


def test_methods_see_no_label_of_the_target(config, tmp_path, fragile, monkeypatch):
    study = TabularStudy.from_toml(config(WITH_FRAGILE), methods=["Fragile", "weights"])
    monkeypatch.setattr(fragile, "mood", "calm")
    before = accuracies(run_tabular(study, out=tmp_path / "a"))
    assert fragile.seen
    assert all(target.y is None and target.n_labelled == 0 for target in fragile.seen)

    # Other hidden labels change no prediction, so the agreement with them is what moves.
    load = DATA["shift_types"].load

    def flipped(source, target, seed, root):
        pair = load(source, target, seed, root)
        return Pair(pair.source, pair.target.with_(y=1 - pair.target.y), pair.scored, None)

    tabular_data.prepared_pair.cache_clear()
    other = DataSet(DATA["shift_types"].pairs, flipped, lambda root: "flipped", True)
    monkeypatch.setitem(DATA, "shift_types", other)
    after = accuracies(run_tabular(study, out=tmp_path / "b"))
    tabular_data.prepared_pair.cache_clear()
    assert set(before) == set(after)
    for key, accuracy in before.items():
        if key[2] != "target-supervised":
            assert after[key] == pytest.approx(1 - accuracy), key


def test_a_failure_is_recorded_and_is_no_number(config, tmp_path, fragile):
    study = TabularStudy.from_toml(config(WITH_FRAGILE))
    rows = run_tabular(study, out=tmp_path / "out")
    failed = [r for r in rows if "error" in r]
    assert failed
    assert {r["method"] for r in failed} == {"Fragile"}
    assert {r["error"] for r in failed} == {"ArithmeticError: division by a cat"}
    assert not any("accuracy" in r for r in failed)

    cells = cells_of(study, rows)
    broken = [c for c in cells if c.errors]
    assert broken
    assert not any(c.whole for c in broken)
    block = tabular_block(study, cells, "d")
    assert "nan" not in block.lower()
    assert f"| Fragile | {len(failed)} | ArithmeticError: division by a cat |" in block
    assert "failed" in block
    lines = list(csv.DictReader(io.StringIO(to_csv(cells, "d"))))
    assert sum(int(line["errors"]) for line in lines) == len(failed)
    good = {c.pair for c in cells if c.method == "Fragile" and c.base == "LR" and c.whole}
    summaries = summarise_pairs([c for c in cells if c.base == "LR" and c.protocol == "plain"], "")
    found = {s.method: s for s in summaries}
    assert (found["Fragile"].pairs if good else 0) == len(good)


def test_predictions_that_are_not_finite_are_a_failure(config, tmp_path, fragile, monkeypatch):
    monkeypatch.setattr(fragile, "mood", "nan")
    study = TabularStudy.from_toml(config(WITH_FRAGILE), methods=["Fragile"])
    rows = [r for r in run_tabular(study, out=tmp_path / "out") if r["method"] == "Fragile"]
    assert {r["error"] for r in rows} == {"ValueError: predictions are not finite"}


def test_a_failed_cell_is_tried_again_and_no_other(config, tmp_path, fragile, monkeypatch):
    study = TabularStudy.from_toml(config(WITH_FRAGILE))
    first = run_tabular(study, out=tmp_path / "out")
    failed = {r["key"] for r in first if "error" in r}
    monkeypatch.setattr(fragile, "mood", "calm")
    ran = []

    def watch(steps, tasks, jobs):
        for task, result in steps:
            ran.append(task.name)
            yield task, result

    second = run_tabular(study, out=tmp_path / "out", watch=watch)
    assert set(ran) == failed
    assert not any("error" in r for r in second)
    assert {r["key"] for r in second} == {r["key"] for r in first}
    run_tabular(study, out=tmp_path / "out", watch=watch)
    assert len(ran) == len(failed)


def test_an_interrupted_run_goes_on(config, tmp_path):
    study = TabularStudy.from_toml(config(), methods=["CORAL center=True"])
    whole = run_tabular(study, out=tmp_path / "whole")
    run_after = iter(())

    def stop(steps, tasks, jobs):
        nonlocal run_after
        yield from islice(steps, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tabular(study, out=tmp_path / "cut", watch=stop)
    store = ResultsStore(tmp_path / "cut" / "results.jsonl")
    assert len(store.rows()) == 5
    again = run_tabular(study, out=tmp_path / "cut")
    assert accuracies(again) == accuracies(whole)
    assert len(store.rows()) == len(whole)


def test_a_killed_command_goes_on_with_other_jobs(config, tmp_path):
    path, out = config(), tmp_path / "out"
    command = "import sys; from shiftlab.cli import main; sys.exit(main())"
    arguments = ["study", "run", "shift_types", "--config", str(path), "--out", str(out)]
    start = [sys.executable, "-c", command, *arguments, "--jobs"]
    running = subprocess.Popen([*start, "1"], stderr=subprocess.DEVNULL, env=os.environ)
    file = out / "results.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (file.is_file() and file.stat().st_size > 1000):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = ResultsStore(file).rows()
    study = TabularStudy.from_toml(path)
    rows = run_tabular(study, out=out, jobs=2)
    assert 0 < len(kept) <= len(rows) == len(plan_tabular(study))
    assert accuracies(kept).items() <= accuracies(rows).items()


def test_tables_equal_naive_means_and_paired_differences(config):
    text = CONFIG.replace('["source:none", "source:label"]', '["all"]')
    study = TabularStudy.from_toml(config(text))
    rng = np.random.default_rng(0)
    settings = {(p.name, b.name, m.name): s for s, (p, b, m) in cell_ids(study).items()}
    rows, table = [], {}
    for source, target in study.pairs:
        for (protocol, base, method), hashed in settings.items():
            for seed in (0, 1):
                accuracy = float(rng.uniform(0.3, 0.9))
                table[protocol, base, method, target, seed] = accuracy
                row = {"source": source, "target": target, "method": method, "seed": seed}
                row |= {"accuracy": accuracy, "warnings": [], "n_test": 500, "settings": hashed}
                rows.append({**row, "data": "d", "key": f"{hashed}{target}{seed}"})
    cells = [c for c in cells_of(study, rows) if (c.protocol, c.base) == ("plain", "LR")]
    kinds = [target for _, target in study.pairs]
    value = {
        m: np.array([[table["plain", "LR", m, k, s] for s in (0, 1)] for k in kinds])
        for m in ("source-only", "joint PCA(2)", "weights")
    }
    for cell in cells:
        if cell.method == "weights":
            i = kinds.index(cell.target)
            gains = 100 * (value["weights"][i] - value["source-only"][i])
            assert cell.mean == pytest.approx(value["weights"][i].mean())
            assert cell.std == pytest.approx(value["weights"][i].std(ddof=1))
            assert cell.gain.points == pytest.approx(gains.mean())
            assert cell.gain.std == pytest.approx(gains.std(ddof=1))
    found = {s.method: s for s in summarise_pairs(cells, "joint PCA(2)")}["weights"]
    means = {m: v.mean(axis=1) for m, v in value.items()}
    ahead = 100 * (means["weights"] - means["joint PCA(2)"])
    worst = 100 * (means["weights"] - means["source-only"])
    assert found.mean == pytest.approx(means["weights"].mean())
    assert (found.gain, found.worst) == pytest.approx((worst.mean(), worst.min()))
    assert (found.control.points, found.control.std) == pytest.approx(
        (ahead.mean(), ahead.std(ddof=1))
    )
    assert (found.wins, found.pairs) == ((ahead > 0).sum(), 5)

    mixed = [*rows[:-1], {**rows[-1], "data": "other"}]
    with pytest.raises(ValueError, match="different data"):
        cells_of(study, mixed)
    with pytest.raises(ValueError, match="no results of this study"):
        cells_of(study, [{**row, "settings": "old"} for row in rows])


def test_the_report_fills_a_readme_and_writes_the_numbers(config, tmp_path):
    study = TabularStudy.from_toml(config(), quick=True)
    assert (study.pairs, study.seeds) == ((("source", "none"),), 1)
    rows = run_tabular(study, out=tmp_path / "out")
    whole = TabularStudy.from_toml(config())
    with pytest.raises(FileNotFoundError):
        write_tabular(whole, rows, tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_tabular(whole, rows, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert f"{len(rows)} results, 2 seeds. {3 * len(rows)} of {4 * len(rows)} results" in text
    assert "Not in this version: later." in text
    with (tmp_path / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = 2", "seed = 2"), r"\[study\] has the unknown key seed"),
        (('prepare = "none"', 'prepare = "magic"'), "unknown .*prepare of plain 'magic'"),
        (("center = true", "centre = true"), "gives CORAL the unknown parameter centre"),
        (('name = "weights"', 'name = "source-only"'), "two methods are called source-only"),
        (('estimator = "LogisticRegression"', 'estimator = "SVC"'), "unknown .*'SVC'"),
        (('data = "shift_types"\n', ""), "lacks 'data'"),
        (("source:none", "source:nothing"), "unknown pair 'source:nothing'"),
        (("[study]", "[study"), "no TOML file"),
    ],
)
def test_a_wrong_configuration_is_named(config, change, message):
    with pytest.raises(ValueError, match=message):
        TabularStudy.from_toml(config(CONFIG.replace(*change)))


def test_a_wrong_choice_is_named(config):
    with pytest.raises(ValueError, match=r"unknown method 'coral.*did you mean CORAL center=True"):
        TabularStudy.from_toml(config(), methods=["coral center=True"])
    with pytest.raises(ValueError, match="'later' needs an adapter that this version does not"):
        TabularStudy.from_toml(config(), methods=["later"])
    with pytest.raises(ValueError, match="unknown study 'digit5'; there are amazon_reviews"):
        study_config("digit5")


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_has_every_adapter_that_applies(name):
    study = TabularStudy.from_toml(study_config(name))
    assert study.name == name
    measured = {m.name for m in study.methods if m.adapter is not None and not m.parameters}
    assert {a.__name__ for a in shiftlab.registry.list_adapters() if applies(a)} <= measured
    assert "FineTune" not in measured
    assert "SchemaAlignment" not in measured
    readme = (resource_root("experiments") / name / "README.md").read_text()
    assert BEGIN in readme
    assert END in readme
    # What is committed was measured with the settings that are committed.
    with (resource_root("experiments") / name / "results.csv").open() as file:
        assert {row["settings"] for row in csv.DictReader(file)} <= set(cell_ids(study))


def test_preparations_do_what_they_say():
    rng = np.random.default_rng(0)
    source, target = rng.poisson(1.0, (30, 12)), rng.poisson(2.0, (20, 12))
    source[0], source[:, 3] = 0, 0  # an empty row and a column that is never there
    for X in PREPARATIONS["zscore"](source, target):
        assert np.isfinite(X).all()
        assert np.allclose(X.mean(axis=0), 0)
    assert np.allclose(PREPARATIONS["zscore"](source, target)[1].std(axis=0), 1)
    words = PREPARATIONS["words"](source, target)
    assert np.allclose(words[1].toarray(), normalize(np.log1p(target)))
    assert np.allclose(words[0].toarray()[0], 0)


def test_topics_keep_inner_products(monkeypatch):
    monkeypatch.setattr(tabular_data, "N_TOPICS", 12)
    rng = np.random.default_rng(0)
    source, target = rng.poisson(1.0, (30, 12)), rng.poisson(1.0, (20, 12))
    words = normalize(np.log1p(np.vstack([source, target])))
    topics = np.vstack(PREPARATIONS["svd"](source, target))
    assert np.allclose(topics @ topics.T, words @ words.T)


@pytest.mark.data
def test_real_rows_give_the_known_accuracies(real_data, tmp_path):
    office = TabularStudy.from_toml(
        study_config("office_caltech"), methods=[], pairs=["webcam:dslr", "dslr:webcam"]
    )
    found = {
        (r["protocol"], r["base"], r["source"], r["method"]): round(100 * r["accuracy"], 1)
        for r in run_tabular(office, out=tmp_path / "office", root=real_data)
    }
    assert found["zscore", "1-NN", "webcam", "source-only"] == 59.2
    assert found["zscore", "1-NN", "dslr", "source-only"] == 63.4
    assert found["zscore", "LR", "webcam", "source-only"] == pytest.approx(82.8, abs=0.7)
    assert found["zscore", "LR", "dslr", "joint PCA(20)"] == pytest.approx(77.3, abs=0.7)

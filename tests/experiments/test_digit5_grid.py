"""The grid: no cell lost, repeated, mixed or leaked, whatever stops it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from shiftlab.experiments import METHODS, Digit5Settings, Method, ResultsStore, run_digit5
from shiftlab.experiments.digit5 import RESULTS, adapted_net
from shiftlab.experiments.grid import GridError
from shiftlab.experiments.lock import folder_lock
from shiftlab.experiments.methods import Transfer, few_labels
from shiftlab.experiments.progress import TimeLeft, watch_progress
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.settings import ALL_PAIRS, read_pairs
from shiftlab.experiments.tables import to_csv, with_known


def _cells(rows):
    return [(r["source"], r["target"], r["method"], r["seed"]) for r in rows]


def test_a_grid_has_every_cell_once_with_floor_and_ceiling(tiny, tmp_path):
    rows = run_digit5(tiny.settings(), out=tmp_path, study=tiny.study())
    methods = ("source-only", "slow", "target-supervised")
    pairs = (("mnist", "usps"), ("usps", "mnist"), ("mnist", "svhn"))
    expected = {(*pair, m, s) for pair, m, s in itertools.product(pairs, methods, range(2))}
    assert len(rows) == len(expected)
    assert set(_cells(rows)) == expected
    assert len(list((tmp_path / "nets").iterdir())) == 6  # three domains, two seeds


def test_accuracies_equal_a_naive_computation(tiny, tmp_path):
    settings = tiny.settings(seeds=1)
    rows = run_digit5(settings, out=tmp_path, study=tiny.study())

    def draw(name, split, n):
        everything = tiny.load(name, split, settings, None)
        rng = np.random.RandomState(derive_seed("draw", name, split, 0))
        return everything.take(rng.permutation(len(everything))[:n])

    for row in rows:
        owner = row["target"] if row["method"] == "target-supervised" else row["source"]
        trained_on = draw(owner, "train", 40)
        net = tiny.train(trained_on.X, trained_on.y, settings, 0)
        test = draw(row["target"], "test", 20)
        assert row["accuracy"] == np.mean(net.predict(test.X) == test.y)
        assert (row["n_train_source"], row["n_train_target"], row["n_test"]) == (40, 40, 20)
        assert row["target_stand_in"] is False
        assert row["data"].startswith("mnist=offline,mnist_m=offline")


def test_a_finished_grid_runs_nothing_again(tiny, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TINY_LOG", str(log))
    first = run_digit5(tiny.settings(), out=tmp_path / "out", study=tiny.study())
    ran = log.read_text()
    again = run_digit5(tiny.settings(), out=tmp_path / "out", study=tiny.study())
    assert again == first
    assert log.read_text() == ran


def test_cells_of_a_known_table_are_not_run_again(tiny, tmp_path):
    study, settings = tiny.study(), tiny.settings()
    first = run_digit5(tiny.settings(seeds=1), out=tmp_path / "first", study=study)
    table = tmp_path / "results.csv"
    table.write_text(to_csv(first))
    rest = run_digit5(settings, out=tmp_path / "rest", study=study, known=table)
    assert {row["seed"] for row in rest} == {1}
    whole = run_digit5(settings, out=tmp_path / "whole", study=study)
    together = with_known(rest, table.read_text())
    assert sorted(_cells(together)) == sorted(_cells(whole))
    assert to_csv(together) == to_csv(whole)
    other = tiny.settings(seeds=1, n_test=10)  # nothing of it is known
    assert len(run_digit5(other, out=tmp_path / "rest", study=study, known=table)) == len(first)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        run_digit5(settings, out=tmp_path / "new", study=study, known=tmp_path / "none.csv")
    assert not (tmp_path / "new").exists()


def test_other_settings_do_not_mix(tiny, tmp_path):
    study = tiny.study()
    first = run_digit5(tiny.settings(seeds=1), out=tmp_path, study=study)
    second = run_digit5(tiny.settings(seeds=1, n_test=10), out=tmp_path, study=study)
    assert {r["n_test"] for r in first} == {20}
    assert {r["n_test"] for r in second} == {10}
    assert not {r["key"] for r in first} & {r["key"] for r in second}
    assert len(ResultsStore(tmp_path / RESULTS).rows()) == len(first) + len(second)
    # More seeds and pairs are the same study: what is there counts.
    third = run_digit5(tiny.settings(seeds=2), out=tmp_path, study=study)
    assert {r["key"] for r in first} < {r["key"] for r in third}


def test_the_kind_of_data_is_part_of_a_cell(tiny, tmp_path):
    def describe(settings, root):
        return [tiny.Record(name, kind="local") for name in tiny.SHIFT]

    first = run_digit5(tiny.settings(seeds=1), out=tmp_path, study=tiny.study())
    second = run_digit5(tiny.settings(seeds=1), out=tmp_path, study=tiny.study(describe=describe))
    assert not {r["key"] for r in first} & {r["key"] for r in second}
    assert {r["data"] for r in first}.isdisjoint({r["data"] for r in second})


def test_methods_see_no_target_label_that_is_not_theirs(tiny, tmp_path):
    seen: dict[str, list[Transfer]] = {"none": [], "few": [], "all": []}

    def spy(kind):
        def predict(transfer):
            seen[kind].append(transfer)
            return transfer.net.predict(transfer.test)

        return Method(predict, target_labels=kind)

    methods = {**METHODS, **{kind: spy(kind) for kind in seen}}
    settings = tiny.settings(methods=tuple(seen), pairs="mnist:usps", labels_per_class=3)
    run_digit5(settings, out=tmp_path, study=tiny.study(methods=methods))
    assert all(t.target.y is None for t in seen["none"])
    for transfer in seen["few"]:
        target = transfer.target
        assert [int((target.y[target.labelled] == c).sum()) for c in (0, 1)] == [3, 3]
        assert len(set(target.y[~target.labelled])) == 1  # hidden labels are overwritten
    assert all(t.target.n_labelled == 40 for t in seen["all"])
    fields = {name for transfers in seen.values() for t in transfers for name in vars(t)}
    data = {"source", "target", "test"}
    assert fields == data | {"net", "settings", "seed", "checkpoint", "keep"}


def test_hidden_test_labels_change_nothing_but_the_score(tiny, tmp_path):
    predictions = {}

    def keep(name):
        def predict(transfer):
            predicted = transfer.net.predict(transfer.test)
            predictions.setdefault(name, []).append(predicted)
            return predicted

        return Method(predict)

    def permuted(domain, split, settings, root):
        original = tiny.load(domain, split, settings, root)
        if split == "train":
            return original
        return original.with_(y=np.random.RandomState(0).permutation(original.y))

    for name, load in (("true", tiny.load), ("permuted", permuted)):
        methods = {**METHODS, "slow": keep(name)}
        study = tiny.study(load=load, methods=methods)
        run_digit5(tiny.settings(), out=tmp_path / name, study=study)
    assert len(predictions["true"]) == 6
    for a, b in zip(predictions["true"], predictions["permuted"], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_rest_is_four_sources_at_once(tiny, tmp_path):
    seen = []

    def look(transfer):
        seen.append(transfer)
        return transfer.net.predict(transfer.test)

    study = tiny.study(methods={**tiny.TABLE, "slow": Method(look)})
    settings = tiny.settings(pairs="rest:usps,mnist:usps", seeds=1)
    rows = run_digit5(settings, out=tmp_path, study=study)
    assert [(r["source"], r["source_stand_in"]) for r in rows if r["method"] == "slow"] == [
        ("rest", True),
        ("mnist", False),
    ]
    rest, one = (t.source for t in seen)
    assert sorted(set(rest.group.tolist())) == ["mnist", "mnist_m", "svhn", "synth"]
    assert rest.n_rows == 4 * one.n_rows == 160
    assert_array_equal(rest.X[np.array(rest.group) == "mnist"], one.X)
    # Its network is trained on all of it, and the target's is the target's.
    level = rest.X.mean(axis=(1, 2))
    by_hand = [level[rest.y == c].mean() for c in (0, 1)]
    assert seen[0].net.means == pytest.approx(by_hand)
    ceilings = [r["accuracy"] for r in rows if r["method"] == "target-supervised"]
    assert ceilings[0] == ceilings[1]
    with pytest.raises(ValueError, match="unknown domain 'rest'"):
        read_pairs("mnist:rest")
    with pytest.raises(ValueError, match="rest"):
        read_pairs("rest:rest")


def test_the_draw_depends_on_domain_split_and_seed_alone(tiny, tmp_path):
    images = {}

    def keep(transfer):
        images.setdefault((transfer.test.tobytes()), 0)
        return transfer.net.predict(transfer.test)

    methods = {**METHODS, "slow": Method(keep)}
    settings = tiny.settings(pairs="mnist:svhn,usps:svhn", seeds=2)
    run_digit5(settings, out=tmp_path, study=tiny.study(methods=methods))
    assert len(images) == 2  # two seeds, whatever the source


def test_a_failing_cell_is_named_and_the_finished_ones_are_kept(tiny, tmp_path):
    settings = tiny.settings(methods=("broken",), pairs="mnist:usps", seeds=1)
    with pytest.raises(GridError, match=r"mnist:usps:broken.*ArithmeticError: division by a cat"):
        run_digit5(settings, out=tmp_path, study=tiny.study())
    assert [r["method"] for r in ResultsStore(tmp_path / RESULTS).rows()] == ["source-only"]


def test_an_interrupt_keeps_what_is_finished(tiny, tmp_path):
    settings = tiny.settings(methods=("interrupted",), pairs="mnist:usps", seeds=1)
    with pytest.raises(KeyboardInterrupt):
        run_digit5(settings, out=tmp_path, study=tiny.study())
    assert [r["method"] for r in ResultsStore(tmp_path / RESULTS).rows()] == ["source-only"]


def test_a_damaged_network_is_trained_again(tiny, tmp_path):
    settings = tiny.settings(seeds=1)
    first = run_digit5(settings, out=tmp_path, study=tiny.study())
    for path in (tmp_path / "nets").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    (tmp_path / RESULTS).unlink()
    again = run_digit5(settings, out=tmp_path, study=tiny.study())
    assert [r["accuracy"] for r in again] == [r["accuracy"] for r in first]


def test_two_runs_in_one_folder_are_refused(tiny, tmp_path):
    with (
        folder_lock(tmp_path),
        pytest.raises(GridError, match="another run is writing"),
    ):
        run_digit5(tiny.settings(), out=tmp_path, study=tiny.study())


def test_a_missing_torch_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"torch.*pip install 'shiftlab\[deep\]'"):
        run_digit5(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_method_says_what_is_close(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"'slaw'.*did you mean slow"):
        run_digit5(tiny.settings(methods=("slaw",)), out=tmp_path, study=tiny.study())
    assert not (tmp_path / RESULTS).exists()


_SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import tiny_study as tiny
from shiftlab.experiments import run_digit5
if __name__ == "__main__":
    run_digit5(tiny.settings(), out=sys.argv[1], jobs=int(sys.argv[2]), study=tiny.study())
"""


def _start(script, out, jobs, log, sleep):
    environment = {**os.environ, "TINY_LOG": str(log), "TINY_SLEEP": str(sleep)}
    return subprocess.Popen(
        [sys.executable, str(script), str(out), str(jobs)],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _wait_for_lines(path, count, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.is_file() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not get {count} lines in {seconds} s")


def _ends(group, seconds=10):
    """Whether every process of a group ends in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_goes_on_without_losing_or_repeating_a_cell(tiny, tiny_folder, tmp_path, jobs):
    script, out, log = tmp_path / "run.py", tmp_path / "out", tmp_path / "log"
    script.write_text(_SCRIPT.format(folder=tiny_folder))
    process = _start(script, out, jobs, log, 0.3)
    _wait_for_lines(out / RESULTS, 5)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    # What a kill in the middle of a write leaves behind.
    whole = (out / RESULTS).read_bytes()
    kept = [json.loads(line)["key"] for line in whole.splitlines()]
    assert 5 <= len(kept) < 18
    (out / RESULTS).write_bytes(whole + b'{"accuracy": 0.97, "key": "mni')
    trained = [line for line in log.read_text().splitlines() if line.startswith("train")]

    process = _start(script, out, jobs, log, 0)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    lines = (out / RESULTS).read_bytes().splitlines()
    keys = [json.loads(line)["key"] for line in lines]
    assert keys[: len(kept)] == kept  # nothing lost
    assert len(keys) == len(set(keys)) == 18  # nothing repeated, all done
    ran = [line for line in log.read_text().splitlines() if line.startswith("train")]
    assert len(trained) <= len(ran) == len(set(ran)) == 6  # no network was trained twice


def test_an_interrupt_stops_the_workers_and_keeps_what_is_finished(tiny_folder, tmp_path):
    script, out, log = tmp_path / "run.py", tmp_path / "out", tmp_path / "log"
    script.write_text(_SCRIPT.format(folder=tiny_folder))
    process = _start(script, out, 2, log, 60)
    _wait_for_lines(out / RESULTS, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=20)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "KeyboardInterrupt" in errors.decode()
    assert len(ResultsStore(out / RESULTS).rows()) >= 1
    assert _ends(process.pid)


def test_workers_end_when_their_parent_is_killed(tiny_folder, tmp_path):
    script, out, log = tmp_path / "run.py", tmp_path / "out", tmp_path / "log"
    script.write_text(_SCRIPT.format(folder=tiny_folder))
    process = _start(script, out, 2, log, 0.2)
    _wait_for_lines(out / RESULTS, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert _ends(process.pid)


def test_settings_from_toml_and_their_errors(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[study]\npairs = ["mnist:usps"]\nseeds = 2\nmethods = ["coral"]\n')
    settings = Digit5Settings.from_toml(path, n_train=100)
    assert settings.pairs == (("mnist", "usps"),)
    assert (settings.seeds, settings.n_train) == (2, 100)
    assert settings.methods == ("source-only", "coral", "target-supervised")
    for text, message in (
        ("[study]\nsede = 2\n", "unknown setting sede"),
        ("[study\n", "no TOML"),
        ("seeds = 2\n", r"no table \[study\]"),
        ("[study]\nseeds = 0\n", "seeds must be"),
        ('[study]\nsource_data = "web"\n', "source_data must be one of"),
        ('[study]\npairs = ["mnist:mnist"]\n', "must differ"),
        ('[study]\npairs = ["mnist:imagenet"]\n', "unknown domain 'imagenet'"),
        ('[study]\npairs = ["mnist"]\n', "source:target"),
        ("[study]\npairs = []\n", "no pair"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Digit5Settings.from_toml(path)


def test_the_settings_that_ship_are_the_full_study():
    from shiftlab.data import resource_root

    shipped = Digit5Settings.from_toml(resource_root("experiments") / "digit5" / "config.toml")
    assert (shipped.n_train, shipped.n_test, shipped.seeds) == (5000, 2000, 3)
    assert shipped.pairs == ALL_PAIRS == read_pairs("all")
    assert set(shipped.methods) < set(METHODS)
    assert len(ALL_PAIRS) == 20
    folder = resource_root("experiments") / "digit5"
    headline = Digit5Settings.from_toml(folder / "headline.toml")
    assert set(headline.methods) == set(METHODS)
    assert headline.result() == shipped.result()  # they fill the same tables
    # The usual network goes unnamed: results that are older than the choice still count.
    assert "network" not in shipped.result()
    lenet = folder.with_name("digit5_lenet")
    small, every = (Digit5Settings.from_toml(lenet / f"{n}.toml") for n in ("config", "headline"))
    assert small.result() == every.result() != shipped.result()
    assert small.result()["network"] == small.training()["network"] == "lenet"
    assert set(METHODS) - set(every.methods) >= {"adabn", "tent"}  # they need batch norm
    with pytest.raises(ValueError, match="network must be one of digit_cnn, lenet; got 'vgg'"):
        Digit5Settings(network="vgg")


def test_a_cell_that_was_killed_in_training_goes_on_to_the_same_number(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from shiftlab.deep.snapshot import Snapshot

    settings = Digit5Settings(
        pairs="mnist:usps",
        methods=("dann",),
        seeds=1,
        n_train=64,
        n_test=60,
        epochs=2,
        size=16,
        channels=1,
        source_data="offline",
    )
    whole = run_digit5(settings, out=tmp_path / "whole")
    saves, save = [], Snapshot.save

    def stop(self, *arguments):
        save(self, *arguments)
        saves.append(self.path)
        if len(saves) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        run_digit5(settings, out=tmp_path / "cut")
    assert len(list((tmp_path / "cut" / "snapshots").iterdir())) == 1
    resumed = run_digit5(settings, out=tmp_path / "cut")
    assert len(saves) == 2  # the second epoch alone
    for row, other in zip(resumed, whole, strict=True):
        assert row["predicted"] == other["predicted"]
        hits = [a == b for a, b in zip(row["predicted"], row["wanted"], strict=True)]
        assert row["accuracy"] == np.mean(hits)
        assert row.get("history") == other.get("history")
    assert not list((tmp_path / "cut" / "snapshots").iterdir())

    (dann,) = [row for row in resumed if row["method"] == "dann"]
    assert len(dann["history"]["source_loss"]) == 2
    kept = [adapted_net(tmp_path / name, dann["key"]).read_bytes() for name in ("cut", "whole")]
    assert kept[0] == kept[1]


def test_few_labels_marks_the_first_of_each_class():
    y = np.array([2, 0, 2, 2, 1, 0, 0])
    assert np.flatnonzero(few_labels(y, 2)).tolist() == [0, 1, 2, 4, 5]


def test_seeds_are_the_documented_bits():
    import hashlib

    digest = hashlib.sha256(b"draw/usps/test/1").hexdigest()
    assert derive_seed("draw", "usps", "test", 1) == int(digest[:8], 16) >> 1


def test_time_left_weighs_kinds_by_their_own_times():
    left = TimeLeft(["net"] * 3 + ["cell"] * 10, jobs=2)
    assert left.seconds() == (0.0, False)
    left.done("net", 60.0)
    left.done("net", 40.0)
    assert left.seconds() == (1 * 50 / 2, False)  # no cell has been timed yet
    assert str(left) == "at least 0:25 left"
    left.done("cell", 2.0)
    assert left.seconds() == ((1 * 50 + 9 * 2) / 2, True)
    left.done("net", 90.0)
    assert left.seconds() == (9 * 2 / 2, True)


def test_progress_hands_everything_on_and_tells_a_log(tiny, tmp_path, capsys):
    settings = tiny.settings(pairs="mnist:usps", seeds=1)
    rows = run_digit5(settings, out=tmp_path, study=tiny.study(), watch=watch_progress)
    assert len(rows) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(told) == 5  # two networks, three cells
    assert told[0].startswith("[1/5] network of mnist, seed 0")
    assert told[-1].endswith("0:00 left)")


def test_the_real_methods_run_and_repeat_bit_for_bit(tmp_path):
    pytest.importorskip("torch")
    settings = Digit5Settings(
        pairs="mnist:usps",
        methods=("coral", "finetune"),
        seeds=1,
        n_train=120,
        n_test=60,
        labels_per_class=4,
        epochs=2,
        finetune_epochs=1,
        source_data="offline",
    )
    rows = run_digit5(settings, out=tmp_path)
    assert [r["method"] for r in rows] == ["source-only", "coral", "finetune", "target-supervised"]
    assert len(list((tmp_path / "nets").glob("*.safetensors"))) == 2
    assert {r["n_test"] for r in rows} == {60}
    assert all(r["target_stand_in"] and not r["source_stand_in"] for r in rows)
    (tmp_path / RESULTS).unlink()
    for path in (tmp_path / "nets").glob("usps*"):
        path.unlink()
    again = run_digit5(settings, out=tmp_path)
    assert [r["accuracy"] for r in again] == [r["accuracy"] for r in rows]

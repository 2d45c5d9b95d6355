"""Which networks a Digit-5 study trains, and which its methods start from."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.experiments import METHODS, Digit5Settings, Method, run_digit5
from shiftlab.experiments.digit5 import plan_digit5
from shiftlab.experiments.methods import Transfer
from shiftlab.experiments.tables import to_csv


def test_the_full_study_is_planned_with_one_network_a_domain_and_seed(tiny, tmp_path):
    tasks = plan_digit5(Digit5Settings(), tmp_path, study=tiny.study(methods=METHODS))
    nets, cells = tasks[:15], tasks[15:]
    assert not any(t.needs for t in nets)
    assert len({t.name for t in nets}) == 15
    assert len(cells) == len({t.name for t in cells}) == 20 * 4 * 3
    assert {name for t in cells for name in t.needs} == {t.name for t in nets}
    assert all(len(t.needs) == (METHODS[t.payload.method].net is not None) for t in cells)


def test_no_network_is_trained_for_a_method_that_starts_from_none(tiny, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TINY_LOG", str(log))

    def alone(transfer):
        assert transfer.net is None
        return np.zeros(len(transfer.test), dtype=int)

    methods = {**METHODS, "alone": Method(alone, net=None), "slow": Method(tiny.slow)}
    study = tiny.study(methods=methods)
    known = tmp_path / "known.csv"
    settings = tiny.settings(methods=("slow",), seeds=1, pairs="mnist:usps")
    known.write_text(to_csv(run_digit5(settings, out=tmp_path / "known", study=study)))
    log.unlink()
    settings = tiny.settings(methods=("alone",), seeds=1, pairs="mnist:usps")
    rows = run_digit5(settings, out=tmp_path / "out", study=study, known=known)
    assert [row["method"] for row in rows] == ["alone"]
    assert rows[0]["accuracy"] == 0.5
    assert not log.exists()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.net is None])
def test_a_method_that_starts_from_none_asks_for_none(name, monkeypatch):
    """Its adapter gets the study's network by name, whatever else is at hand."""
    given = []

    def adapted(transfer, adapter, backbone, **settings):
        given.append(backbone)

    monkeypatch.setattr("shiftlab.experiments.methods._adapted", adapted)
    METHODS[name].predict(Transfer(None, None, None, None, Digit5Settings(), 0, None, None))
    assert given == ["digit_cnn"]

"""Loaders of tables and texts: what is there is read, what is wrong or absent is named."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp

from shiftlab.data import (
    AMAZON_REVIEWS,
    OFFICE_CALTECH,
    DataFileError,
    fetch,
    gains,
    load_amazon_reviews,
    load_office_caltech,
    measured_gains,
    read_card,
    resource_root,
)
from shiftlab.data.tables import table_signature


def office(n=6, d=800):
    return {"X": np.arange(n * d).reshape(n, d).astype(np.uint8), "y": np.arange(n) % 3}


def reviews(n=6):
    X = np.zeros((n, 5000), np.uint8)
    X[np.arange(n), np.arange(n)] = 2
    return {"X": X, "y": np.arange(n) % 2, "split": (np.arange(n) > 3).astype(np.uint8)}


@pytest.mark.parametrize("folder", ["office_caltech_surf", "office_caltech", "."])
def test_counts_are_read_as_they_lie(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    np.savez(tmp_path / folder / "dslr.npz", **office())
    domain = load_office_caltech("dslr", tmp_path)
    assert domain.name == "dslr"
    assert domain.X.dtype == np.uint8
    assert np.array_equal(domain.X, office()["X"])
    assert domain.y.tolist() == [0, 1, 2, 0, 1, 2]


def test_reviews_come_whole_or_by_split(tmp_path, monkeypatch):
    np.savez(tmp_path / "books.npz", **reviews())
    monkeypatch.setenv("SHIFTLAB_DATA", str(tmp_path))
    whole, first, second = (load_amazon_reviews("books", split) for split in (None, 0, 1))
    assert sp.issparse(whole.X)
    assert np.array_equal(whole.X.toarray(), reviews()["X"])
    assert whole.group.tolist() == [0, 0, 0, 0, 1, 1]
    assert (len(first), len(second)) == (4, 2)
    assert second.y.tolist() == [0, 1]


def test_absent_data_say_where_they_come_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no dslr\.npz found \(set SHIFTLAB_DATA.*https:"):
        load_office_caltech("dslr")
    with pytest.raises(FileNotFoundError, match=r"books\.npz.*looked in .*amazon_reviews.*https:"):
        load_amazon_reviews("books", root=tmp_path)
    with pytest.raises(ValueError, match=r"cannot be fetched.*README\.md"):
        fetch("office_caltech")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, r"lacks \['y'\]"),
        ({"X": np.zeros((6, 700), np.uint8)}, r"6 x 800.*got X \(6, 700\)"),
        ({"X": np.zeros((6, 800))}, "whole numbers.*float64"),
        ({"y": np.zeros((6, 1))}, r"got X \(6, 800\) uint8, y \(6, 1\)"),
        ({"y": np.array([object()] * 6)}, "allow_pickle=False"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, change, message):
    arrays = {k: v for k, v in {**office(), **change}.items() if v is not None}
    np.savez(tmp_path / "webcam.npz", **arrays)
    with pytest.raises(DataFileError, match=rf"webcam\.npz.*{message}"):
        load_office_caltech("webcam", tmp_path)
    (tmp_path / "webcam.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataFileError, match=r"webcam\.npz is no \.npz file"):
        load_office_caltech("webcam", tmp_path)


def test_a_wrong_name_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"domain must be one of .*'dslr'.*got 'mnist'"):
        load_office_caltech("mnist", tmp_path)
    with pytest.raises(ValueError, match="split must be 0, 1 or None, got 2"):
        load_amazon_reviews("books", 2)


def test_the_signature_is_that_of_the_files(tmp_path):
    for domain in OFFICE_CALTECH:
        np.savez(tmp_path / f"{domain}.npz", **office())
    first = table_signature("office_caltech", tmp_path)
    assert first == table_signature("office_caltech", tmp_path)
    np.savez(tmp_path / "dslr.npz", **office(n=7))
    assert table_signature("office_caltech", tmp_path) != first


@pytest.mark.data
@pytest.mark.parametrize(
    ("collection", "domains"),
    [("office_caltech", OFFICE_CALTECH), ("amazon_reviews", AMAZON_REVIEWS)],
)
def test_the_real_files_are_those_of_the_card(real_data, collection, domains):
    readme = (resource_root("datasets") / collection / "README.md").read_text()
    folder = "office_caltech_surf" if collection == "office_caltech" else collection
    rows = 0
    for domain in domains:
        file = real_data / folder / f"{domain}.npz"
        assert hashlib.sha256(file.read_bytes()).hexdigest() in readme
        if collection == "office_caltech":
            loaded = load_office_caltech(domain, real_data)
            assert loaded.label_set().tolist() == list(range(10))
        else:
            loaded = load_amazon_reviews(domain, root=real_data)
            assert len(load_amazon_reviews(domain, 0, real_data)) == 2000
        rows += len(loaded)
        assert f"{len(loaded):,}" in readme or f"{len(loaded) - 2000:,}" in readme
    card = read_card(collection)
    assert rows == card.n_train + card.n_test


@pytest.mark.data
@pytest.mark.parametrize(
    ("source", "target", "published"),
    [("amazon", "caltech10", 26.0), ("webcam", "dslr", 59.2), ("dslr", "webcam", 63.4)],
)
def test_nearest_neighbours_reach_the_published_accuracy(real_data, source, target, published):
    from sklearn.neighbors import KNeighborsClassifier

    from shiftlab.experiments.tabular_data import PREPARATIONS

    trained, tested = (load_office_caltech(name, real_data) for name in (source, target))
    X, Z = PREPARATIONS["zscore"](trained.X, tested.X)
    accuracy = KNeighborsClassifier(1).fit(X, trained.y).score(Z, tested.y)
    assert round(100 * accuracy, 1) == published


def test_gains_are_read_and_failures_left_out(tmp_path, monkeypatch):
    folder = tmp_path / "shift_types"
    folder.mkdir()
    (folder / "results.csv").write_text(
        "method,target,seeds,gain,gain_std,errors\n"
        "CORAL,label,20,-2.5,1.0,0\nKMM,label,19,1.0,1.0,1\nKMM,none,1,0.5,,0\n"
    )
    monkeypatch.setattr(gains, "resource_root", lambda kind: tmp_path)
    found = measured_gains()
    assert found == {"label": {"CORAL": gains.Gain(-2.5, 1.0, 20)}}
    assert found["label"]["CORAL"].clear
    assert not gains.Gain(0.4, 1.0, 20).clear


def test_the_shipped_gains_know_what_helps_when():
    found = measured_gains()
    assert set(found) == {"none", "covariate", "label", "location_scale", "concept"}
    assert found["label"]["PriorCorrection"].points > 8
    assert found["location_scale"]["CORAL center=True"].points > 15
    assert found["covariate"]["CORAL center=True"].points < -25
    assert not any(gain.points > 2 for name, gain in found["none"].items())

"""The store keeps every finished line and drops a torn one."""

from __future__ import annotations

import json

import pytest

from shiftlab.experiments import ResultsStore
from shiftlab.store import StoreError


def _row(key, accuracy=0.5):
    return {"key": key, "accuracy": accuracy}


def test_rows_come_back_in_order(tmp_path):
    store = ResultsStore(tmp_path / "new" / "results.jsonl")
    assert store.rows() == []
    for key in "cab":
        store.append(_row(key))
    assert [row["key"] for row in store.rows()] == ["c", "a", "b"]


def test_a_line_torn_at_any_byte_is_dropped_and_nothing_else(tmp_path):
    whole = tmp_path / "whole.jsonl"
    store = ResultsStore(whole)
    store.append(_row("first"))
    start = whole.stat().st_size
    store.append(_row("second", 0.25))
    content = whole.read_bytes()
    for cut in range(start + 1, len(content) - 1):
        torn = ResultsStore(tmp_path / "torn.jsonl")
        torn.path.write_bytes(content[:cut])
        assert [row["key"] for row in torn.rows()] == ["first"]
        assert torn.repair() is True
        assert torn.path.read_bytes() == content[:start]
        torn.append(_row("second", 0.25))
        assert torn.path.read_bytes() == content


def test_a_line_that_lacks_only_its_break_is_kept(tmp_path):
    store = ResultsStore(tmp_path / "results.jsonl")
    store.append(_row("first"))
    store.append(_row("second"))
    content = store.path.read_bytes()
    store.path.write_bytes(content[:-1])
    assert store.repair() is False
    assert store.path.read_bytes() == content


def test_a_torn_first_line_leaves_an_empty_file(tmp_path):
    store = ResultsStore(tmp_path / "results.jsonl")
    store.path.write_bytes(b'{"key": "a", "accu')
    assert store.repair() is True
    assert store.path.read_bytes() == b""


def test_foreign_lines_are_an_error_that_names_the_line(tmp_path):
    store = ResultsStore(tmp_path / "results.jsonl")
    store.append(_row("a"))
    with store.path.open("a", encoding="utf-8") as file:
        file.write("not json\n")
    store.append(_row("b"))
    with pytest.raises(StoreError, match="line 2"):
        store.rows()


def test_a_key_counts_once(tmp_path):
    store = ResultsStore(tmp_path / "results.jsonl")
    store.append(_row("a", 0.1))
    store.append(_row("a", 0.9))
    assert [row["accuracy"] for row in store.rows()] == [0.1]


def test_nan_is_refused_and_leaves_no_line(tmp_path):
    store = ResultsStore(tmp_path / "results.jsonl")
    store.append(_row("a"))
    with pytest.raises(ValueError, match="JSON"):
        store.append(_row("b", float("nan")))
    assert [json.loads(line)["key"] for line in store.path.read_text().splitlines()] == ["a"]

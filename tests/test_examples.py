"""The examples of all docstrings are true; those of the adapters are run in test_common.py."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import shiftlab
from shiftlab.registry import ADAPTERS

ROOT = Path(shiftlab.__file__).parent
# Found without an import, so that whoever collects this file does not load torch.
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in sorted(ROOT.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTLAB_DATA", raising=False)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(import_module(name), name):
        if example.name.rsplit(".", 1)[-1] not in ADAPTERS:
            runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_most_modules_have_an_example():
    assert len(MODULES) > 150

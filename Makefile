# Each target works on a fresh clone with only Python 3.11+ and pip: it makes .venv first.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check slow docs bench format clean

demo: $(INSTALLED)
	$(BIN)/shiftlab demo --out runs/demo

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n auto --dist loadfile

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(INSTALLED)
	$(BIN)/pytest -m slow

docs: $(INSTALLED)
	$(BIN)/pdoc --docformat numpy -o docs/_build shiftlab

bench: $(INSTALLED)
	$(BIN)/python benchmarks/run.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# `python3` may be older than 3.11 where a newer one stands beside it.
$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || for p in $(PYTHON) python3.13 python3.12 python3.11; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$p -m venv .venv && break; fi; done
	@test -x $(BIN)/python || { echo "shiftlab needs Python 3.11 or newer; say which: make PYTHON=/path/to/python" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[dev]'
	@touch $(INSTALLED)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache

# The two commands of the README. Everything is made in .venv and build/; nothing else is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := build/demo

.PHONY: help demo test lint types unit wheel bench clean

help:
	@echo "make demo   run an example plan on a scratch repository and show the patches"
	@echo "make test   environment, linters, types, tests, and the built wheel"
	@echo "make bench  measure, as ratios, and print the tables of the README"
	@echo "make clean  remove what these make"

demo:
	@PYTHON="$(PYTHON)" sh examples/demo.sh "$(DEMO)"

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet . --group dev
	@touch $@

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.ready
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks

# What is shipped is what is tested: the wheel is built, installed, and only then do the tests run.
wheel: $(VENV)/.ready
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl

unit: wheel
	$(BIN)/pytest

test: lint types unit

bench: $(VENV)/.ready
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

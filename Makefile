# The README documents `make demo` and `make test`. All files are created in .venv, build/ and dist/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := build/demo
PYTEST ?= --numprocesses auto --dist worksteal

.PHONY: help demo test lint types wheel packages unit counts bench settings clean

help:
	@echo "make demo      run an example plan on a scratch repository and show its patches"
	@echo "make test      run linters, type checks and all tests, against the built wheel"
	@echo "make check     run linters, type checks and the quick tests (a minute); TESTS=tests/containers/git adds more"
	@echo "make dist      build the wheel and the sdist in dist/"
	@echo "make counts    renew the table of imports, git processes and SQL statements, which the tests compare"
	@echo "make bench     run the benchmarks and update the tables of the documentation"
	@echo "make settings  print the table of settings for the README, and renew the schemas"
	@echo "make clean     remove the environment, build files and caches"

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
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.ready
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks docs

# The tests run against the installed wheel, because that is what users install.
wheel: $(VENV)/.ready
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl

# PostgreSQL, a browser, bubblewrap and libfaketime, if this user may install them; otherwise tests are skipped and reported.
packages:
	@sh tests/support/install_test_packages.sh

unit: wheel packages
	$(BIN)/pytest $(PYTEST)

# Two at a time: each of them uses one core.
test:
	@$(MAKE) --no-print-directory --jobs=2 lint types wheel
	@$(MAKE) --no-print-directory --old-file=wheel unit

# What needs no repository and no process of its own, and what TESTS names besides.
check:
	@$(MAKE) --no-print-directory --jobs=2 lint types
	$(BIN)/pytest --numprocesses auto -m "not slow and not browser and not postgres" tests/tasks \
		tests/pipeline/config tests/pipeline/view tests/test_docs.py tests/test_language.py $(TESTS)

dist: $(VENV)/.ready
	rm -rf dist
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist .

counts: $(VENV)/.ready
	$(BIN)/python benchmarks/counts.py --write

bench: wheel
	$(BIN)/python benchmarks/run.py --readme README.md --json build/bench.json
	$(BIN)/python benchmarks/large.py --page docs/large-repositories.md --json build/large.json
	$(BIN)/python benchmarks/load.py --page docs/service.md
	$(BIN)/python benchmarks/dialects.py --page docs/plans-of-others.md

settings: $(VENV)/.ready
	@for name in settings plan; do $(BIN)/patchyard config --schema $$name > docs/schemas/$$name.schema.json; done
	@$(BIN)/python -c "from pipeline.config.settings import SETTINGS; from pipeline.config.table import readme_table; print(readme_table(SETTINGS.values()), end='')"

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

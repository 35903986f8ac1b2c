# Everything starts here. Needs Python 3.11 or newer with venv, and make; nothing else.
#
#   make run        set up what is missing, then serve on http://localhost:8000
#   make test       set up what is missing, then run every check and every test
#   make check      formatting, lint, types, import rules
#   make core       unit tests: every branch of kernel and domains is taken
#   make bench      measure, against pgbench in the same run
#   make lock       choose the newest dependencies that pyproject.toml allows, and pin them
#   make reference  write the pages of docs/reference from the code

PYTHON ?= python3
PYTEST ?= --ignore=tests/unit --numprocesses=2 --dist=loadfile --no-loadscope-reorder
BIN := .venv/bin
# Python keeps what it compiled unless told not to, as in containers; then every start compiles anew.
COMPILE = $(BIN)/python -m compileall -q src
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --upgrade

.PHONY: run test check core pytest bench lock reference
.DELETE_ON_ERROR:

run: .venv/.run
	@$(COMPILE)
	@exec $(BIN)/guilder up

test: check core pytest

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

core: .venv/.dev
	@$(COMPILE) tests
	$(BIN)/coverage run -m pytest -q tests/unit
	$(BIN)/coverage report

pytest: .venv/.dev
	@$(COMPILE) tests
	$(BIN)/pytest $(PYTEST)

bench: .venv/.run
	@$(COMPILE)
	@exec $(BIN)/guilder bench $(BENCH)

reference: .venv/.dev
	$(BIN)/python -m guilder.apps.reference docs/reference

lock: .venv/.dev
	$(PIP) install uv
	$(LOCK) --group build pyproject.toml --output-file requirements.lock
	$(LOCK) --group build --group dev --constraints requirements.lock pyproject.toml \
		--output-file requirements-dev.lock

# A stamp is newer than the lock it was made from, or the lock is installed again.
.venv/.run: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing Guilder's dependencies into .venv"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@echo "Installing what checks and tests need into .venv"
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Guilder needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python lacks venv; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

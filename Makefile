# alphakite: everything one does with a checkout. Needs make and Python 3.11 or newer; all else goes into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev clients demo test lint types bench faults docs requirements clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q install
# Only what the pinned files name, each with the hash of what was tested. Building ours needs nothing from outside.
PINNED := $(PIP) --require-hashes -r
PINNER ?= pip-compile
COMPILE := CUSTOM_COMPILE_COMMAND="make requirements" $(PINNER) -q --upgrade --generate-hashes --strip-extras \
	--allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
DEMO_ARGS ?=
TEST_ARGS ?=
# Most tests wait for processes of their own; more of them than three take each other's time on two cores.
# TEST_ARGS="-n 0": one after the other, for a debugger.
WORKERS ?= 3
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS)
BENCH_ARGS ?=
CLIENTS := $(VENV)/clients
# The hashes say what was tested; where it lies is everyone's own setting.
PLAIN_LOCK := const fs = require("fs"), name = "package-lock.json", lock = JSON.parse(fs.readFileSync(name)); \
	for (const one of Object.values(lock.packages)) { delete one.funding; delete one.resolved } \
	fs.writeFileSync(name, JSON.stringify(lock, null, 2) + "\n")

# A virtual environment holds its own path: one that was moved here from elsewhere is made again.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
$(shell rm -f $(VENV)/.made)
endif

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 20

setup: $(VENV)/.run-installed  ## make .venv/bin/alphakite

setup-dev: $(VENV)/.dev-installed  ## add what tests, checks and bench need

clients: $(CLIENTS)/.installed  ## add other people's programs that some tests run (needs npm; 390 MB)

demo: setup  ## record from a local Schwab, with a live view (DEMO_ARGS="--for 60"); Ctrl-C ends it
	@exec $(BIN)/alphakite demo --data .alphakite/demo $(DEMO_ARGS)

test: setup-dev  ## run the tests (TEST_ARGS="-k journal")
	@$(PYTEST) $(TEST_ARGS)

lint: setup-dev  ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup-dev  ## check the types, strictly
	@$(BIN)/mypy

bench: setup-dev  ## measure, and print figures (BENCH_ARGS)
	@$(BIN)/python -m bench $(BENCH_ARGS)

faults: setup-dev  ## run every fault test, and the long runs of other clients, too
	@$(PYTEST) tests/faults tests/acceptance/test_outside_clients.py -m "slow or not slow" $(TEST_ARGS)

docs: setup-dev  ## write the generated reference pages under docs/reference
	@$(BIN)/python docs/generate.py

requirements:  ## pin the newest versions again (needs pip-tools, PINNER=path, and npm)
	@cd requirements && $(COMPILE) -o run.txt run.in && $(COMPILE) -o dev.txt dev.in
	@cd tests/supabase && rm -f package-lock.json && \
	  npm install --package-lock-only --loglevel=error >/dev/null && node -e '$(PLAIN_LOCK)'

clean:  ## remove .venv and caches; recorded data stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis src/alphakite.egg-info

$(VENV)/.made:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then lacking=$$python; continue; fi; \
	  echo "setup: making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) && echo "$(CURDIR)" > $@; exit $$?; \
	done; \
	if [ -n "$$lacking" ]; then \
	  echo "setup: $$lacking cannot make virtual environments. Next, on Debian or Ubuntu:" >&2; \
	  echo "  apt-get install python3-venv" >&2; \
	else \
	  echo "setup: no Python 3.11 or newer found. Next, on Debian 12 or Ubuntu 24.04 or newer:" >&2; \
	  echo "  apt-get install python3 python3-venv" >&2; \
	fi; exit 1

$(VENV)/.run-installed: $(VENV)/.made requirements/run.txt pyproject.toml
	@echo "setup: installing the pinned packages (about a minute the first time)"
	@$(PINNED) requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "setup: done, $(BIN)/alphakite is ready"

$(VENV)/.dev-installed: $(VENV)/.run-installed requirements/dev.txt
	@echo "setup: installing what the tests and checks need"
	@$(PINNED) requirements/dev.txt
	@touch $@

# Of the packages' own scripts only those run that link PostgreSQL's libraries; elsewhere than on Linux they are absent.
$(CLIENTS)/.installed: $(VENV)/.made $(addprefix tests/supabase/,package.json package-lock.json .npmrc)
	@echo "clients: installing what tests/supabase/package.json names (half a minute)"
	@mkdir -p $(CLIENTS) && cp $(addprefix tests/supabase/,package.json package-lock.json .npmrc) $(CLIENTS)
	@cd $(CLIENTS) && npm ci --loglevel=error >/dev/null && \
	  npm rebuild --ignore-scripts=false --loglevel=error postgres-15 postgres-17 >/dev/null
	@touch $@

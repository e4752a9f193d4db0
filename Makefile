# Needs Python 3.11 or newer and make; everything else goes into .venv.
#
#   make demo       search, train, evaluate, export and use a detector on built-in pictures
#   make test       style, types, the order of rooms, and the quick tests
#   make test-all   the same, with the slow tests and those that kill workers
#   make clean      remove .venv and what tools have left behind; runs/ stays

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

# Two processes with one thread each beat one process with two; Ray's workers pin their own.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$(( n > 8 ? 8 : n )))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

.PHONY: help setup demo test test-all lint clean

help:
	@sed -n '3,6s/^#  //p' Makefile

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/nas demo

test: lint
	$(PYTEST)

test-all: lint
	$(PYTEST) -m ''

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# A change of either file installs again into the same environment; `make clean` starts afresh.
$(STAMP): setup.cfg constraints.txt
	@python=; for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "make: Python 3.11 or newer is needed, and none is on PATH;" \
	    "install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	if [ ! -x $(BIN)/pip ]; then \
	  echo "Making $(VENV) with $$($$python --version)"; \
	  "$$python" -m venv --clear $(VENV) || { echo "make: $$python can't make an environment;" \
	    "on Debian and Ubuntu install its package python3-venv" >&2; exit 1; }; fi
	@echo "Installing what setup.cfg lists into $(VENV) (several minutes the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile \
	  -c constraints.txt -e '.[dev,pretrained,tune]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache \
	  .pytest_cache .ruff_cache
	find nas proxies search_spaces tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Two commands do everything on a machine that has Python (>= 3.11) and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo
SET    ?=
# Nothing is compiled at once: of the libraries' modules few are used, and those are compiled when they first are.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs minimum clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*  ## /make \1: /p' Makefile

demo: $(VENV)/.installed  ## make, judge, filter and write a data set with the embedded model (RUN=folder, SET="--set key=value")
	$(BIN)/terrasynth run demo --out $(RUN) $(SET)

# One process more than there are cores, four at the most (tests/conftest.py), each with one thread: the networks of the tests
# are small. Each process begins with a part of its own, tests of one file in a row, so that what they share is made once.
test: $(VENV)/.installed-test  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/.installed-test  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## build the site in site/, with reference pages made from the code; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: where the index has a CPU build of it, pip takes that one, and a looser request
# the gigabytes of a CUDA build. The default index has CUDA builds alone for Linux.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) -e .
	touch $@

# What `.ci/run` needs, in one go.
$(VENV)/.installed-all: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) -e '.[test,docs]'
	touch $(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-docs $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	touch $@

minimum:  ## try the lowest versions that pyproject.toml allows, in an environment of their own (minutes)
	.ci/minimum

clean:  ## remove what can be made again; runs, data sets and trained models stay
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache

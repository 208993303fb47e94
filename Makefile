# Two commands do everything on a machine that has Python (>= 3.11) and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo
SET    ?=

.PHONY: demo test lint clean

demo: $(VENV)/.installed  ## generate, judge, filter and write a data set with the embedded model
	$(BIN)/terrasynth run demo --out $(RUN) $(SET)

# As many processes as there are cores, up to four, each with one thread: the networks of the tests are small.
test: $(VENV)/.installed-test  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a looser request takes gigabytes of CUDA packages where none are needed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:  ## what can be made again; runs, data sets and trained models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

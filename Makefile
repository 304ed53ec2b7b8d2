# `make demo`: the two-minute tour. `make test`: the whole suite. `make lint`: style and types.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

# Real tables and images, where they are at hand; tests that need them skip otherwise.
BCSEG_REAL_DATA ?= $(abspath $(wildcard ../shared/data))
export BCSEG_REAL_DATA

.PHONY: demo test lint check bench-scores report-picture clean

demo: $(VENV)/.installed
	$(BIN)/bcseg demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bcseg needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A bare server lacks libGL, which opencv-python wants: the headless build is the same module.
define install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '$(1)'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  echo "no libGL here: opencv-python-headless instead of opencv-python"; \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps opencv-python-headless; }
	@touch $@
endef

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(call install,.)

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(call install,.[dev])
	@touch $(VENV)/.installed

# The tables of docs/scores.md: corrupted masks against clean ones. Takes minutes.
bench-scores: $(VENV)/.installed-dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/scores.py --write docs/scores.md

# The picture of docs/report.md, of synthetic pairs. Needs Chromium and chromedriver.
report-picture: $(VENV)/.installed-dev
	$(BIN)/python bench/report_picture.py docs/report.png

clean:
	rm -rf $(VENV) bcseg-demo

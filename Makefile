# `make demo`: the two-minute tour. `make test`: the suite. `make lint`: style and types.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

# Real tables and images, where they are at hand; tests that need them skip otherwise.
BCSEG_REAL_DATA ?= $(abspath $(wildcard ../shared/data))
export BCSEG_REAL_DATA

.PHONY: demo test test-all lint check docs command-pages test-packages readme-picture browser bench-scores \
        bench-review report-picture bench fuzz test-crash test-peers \
        lock audit licences test-minimum test-determinism clean

demo: $(VENV)/.installed
	$(BIN)/bcseg demo

test: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -q -n auto

# The few tests that take half a minute or more, too.
test-all: test
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

# The site of docs/ in site/. A link that leads nowhere fails. (The theme announces its successor.)
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

# docs/commands/, a page a command, from the declarations of its help.
command-pages: $(VENV)/.installed-dev
	$(BIN)/python supply/command_pages.py docs/commands

# The tests that drive a page want a browser. Where it cannot be installed they are skipped, and say so.
browser:
	@command -v chromedriver >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
	    echo "installing chromium for the tests that drive a page"; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq -y --no-install-recommends install chromium chromium-driver >/dev/null; }; } || \
	  echo "no chromium and chromedriver here: the tests that drive a page are skipped"

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

# The picture of the README, of synthetic pairs.
readme-picture: $(VENV)/.installed-dev
	$(BIN)/python bench/readme_picture.py docs/contact-sheet.png

# The picture of docs/report.md, of synthetic pairs. Needs Chromium and chromedriver.
report-picture: $(VENV)/.installed-dev
	$(BIN)/python bench/report_picture.py docs/report.png

# How long a reviewer waits for the next of 100 pairs of full size, in a real browser; with
# PICTURE=docs/review.png, the picture of the page instead. Takes minutes.
bench-review: $(VENV)/.installed-dev browser
	PYTHONPATH=tests $(BIN)/python bench/review.py $(if $(PICTURE),--picture $(PICTURE))

# The tables and plots of docs/performance.md: speed against the bare minimum, on full-size images.
bench: $(VENV)/.installed-dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/performance --write docs/performance.md

# Hostile input for every reader; what it finds lies in fuzz/corpora/findings. CI takes two minutes.
# Only atheris is installed here, as in the extra `fuzz`: the rest would bring opencv-python back.
MINUTES ?= 30
fuzz: $(VENV)/.installed-dev
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3' || \
	  echo "no atheris here: fuzzing without the guide of coverage"
	$(BIN)/python fuzz/run.py --minutes $(MINUTES)

# Real kills at random moments of a run, interrupts, and a fault at every step on the disk. SEED gives
# the same moments again. Takes a quarter of an hour; the suite does a few of each.
KILLS ?= 200
test-crash: $(VENV)/.installed-dev
	$(BIN)/python crash/run.py --kills $(KILLS) $(if $(SEED),--seed $(SEED))

# Supply chain. The lock pins all that development installs, with hashes, for every platform.
UV = $(BIN)/uv
$(UV): | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --extra dev pyproject.toml -o requirements-dev.lock

# Known vulnerabilities of what the lock pins. Says so where no advisory database can be reached.
audit: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python supply/audit.py requirements-dev.lock

licences: $(VENV)/.installed-dev
	$(BIN)/python supply/licences.py docs/licences.md

# The lowest versions that pyproject.toml allows, on the oldest Python; PYTHON names that Python.
test-minimum: $(UV)
	supply/minimum.sh $(UV) $(PYTHON)

# Wheel and sdist, built, installed in clean environments and tried, on this Python and on the newest at
# hand, or NEWEST=python3.14.
test-packages: $(UV) $(VENV)/.installed-dev
	supply/packages.sh $(UV) $(BIN)/python $(NEWEST)

# The same tables and pixels from another Python: make test-determinism PYTHON2=python3.13
PYTHON2 ?= python3.13
test-determinism: $(UV) $(VENV)/.installed-dev
	supply/determinism.sh $(UV) $(BIN)/python $(PYTHON2)

# The frameworks' own checks of what `bcseg export` writes: nnU-Net, MONAI, supervision, mlcroissant, in
# an environment of their own. TORCH names the build: the usual one for GPUs takes gigabytes.
PEERS ?= .venv-peers
TORCH ?= torch
test-peers:
	@$(MAKE) --no-print-directory VENV=$(PEERS) $(PEERS)/.installed-peers
	$(PEERS)/bin/python -m pytest -q -rs tests/peers

$(VENV)/.installed-peers: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(call install,.[peers])

clean:
	rm -rf $(VENV) $(PEERS) bcseg-demo site

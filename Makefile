# `make` lists the targets. All of them install what they need into .venv; PYTHON names the interpreter to use.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install test test-browser fuzz quickstart docs bench bench-gpu lint format wheel constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(INSTALLED) ## install the package, the embedded encoder and the tools into .venv

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Hyper-X needs Python 3.10 or later: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt --editable '.[embedded]' --group dev
	@touch $@

# One thread for each of the test processes: more would only wait for each other.
test: $(INSTALLED) ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# `make test` leaves them out; without a browser they are skipped.
test-browser: $(INSTALLED) ## open pages in headless Chromium (apt-get install chromium)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

# Each reader of files of strangers has its share of MINUTES; what goes wrong is kept in fuzz/.
MINUTES ?= 10
fuzz: $(INSTALLED) ## spoil files for every reader, guided by coverage: make fuzz MINUTES=60 (Linux, Python 3.11 or later)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group fuzz
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py $(MINUTES)

quickstart: $(INSTALLED) ## train on the sample corpus, evaluate, tag a sentence: a few minutes, no network
	. $(BIN)/activate && sh examples/quickstart.sh

docs: $(INSTALLED) ## build the documentation site into site/, broken links and all warnings being errors
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# TREEBANK names the folder of a treebank of Universal Dependencies, such as UD_English-EWT.
bench: $(INSTALLED) ## measure speed and memory: make bench TREEBANK=DATA/ud/UD_English-EWT (under 15 minutes)
	$(BIN)/python benchmarks/speed.py --treebank $(TREEBANK)

bench-gpu: $(INSTALLED) ## measure a training step on a GPU (under 5 minutes, no data, no network)
	$(BIN)/python benchmarks/gpu.py

lint: $(INSTALLED) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(INSTALLED) ## mend what can be mended of the style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: $(INSTALLED) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --build-constraint constraints.txt --wheel-dir dist .

# Versions in the file stay as they are where pyproject.toml still admits them; delete a line to have the newest.
constraints: $(INSTALLED) ## pin again what pyproject.toml asks for
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	cp constraints.txt $(VENV)/constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --all-extras --group browser --group fuzz --group dev --group docs --group build \
		--no-header --no-annotate --output-file $(VENV)/constraints.txt pyproject.toml
	{ grep '^#' constraints.txt; cat $(VENV)/constraints.txt; } > $(VENV)/constraints.new
	mv $(VENV)/constraints.new constraints.txt

clean: ## delete .venv, builds and caches, but no runs
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

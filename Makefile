# `make demo` and `make test` install what they need into .venv; nothing else is asked of the machine but Python 3.11.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test check bench fmt lock clean

demo: $(VENV)/.runtime
	$(BIN)/python -m sidecar demo

test: $(VENV)/.dev
	bash tests/support/install-tools
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --output-format=concise .
	$(BIN)/mypy

bench: $(VENV)/.dev
	bash tests/support/install-tools
	$(BIN)/python bench/run.py $(ARGS)

fmt: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --output-format=concise .

# The locks are made by uv from pyproject.toml; every line has its hashes.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras -o requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --group dev -o requirements-dev.lock pyproject.toml
	echo 'hatchling>=1.27,<2' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate -c requirements-dev.lock -o requirements-build.lock -

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

$(VENV)/.dev: $(VENV)/bin/python requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

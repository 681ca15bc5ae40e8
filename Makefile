# `make demo` and `make test` install what they need into .venv; nothing else is asked of the machine but Python 3.11.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo native test clients fuzz check bench test-alerts schema rules fmt lock sbom audit pins clean

help:            ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

demo: $(VENV)/.runtime ## run a small chat behind a sidecar
	$(BIN)/python -m sidecar demo

native: $(VENV)/.dev ## compile the modules of the hot path to C, beside their sources (a minute; needs a C compiler)
	$(BIN)/python deploy/native.py $(NATIVE)

test: $(VENV)/.dev ## run every test; installs what it needs (ARGS: options of pytest)
	bash tests/support/install-tools
	$(MAKE) --no-print-directory native NATIVE=--optional
	$(MAKE) --no-print-directory clients backends
	bash tests/support/run-all $(ARGS)

# Real clients and servers of the chat protocols, and the fuzzer, apart from all that the project itself needs.
clients: .venv-clients/.installed tests/clients/node/node_modules/.installed ## install the real clients that tests use

# Real chat systems, each in an environment of its own (tests/backends); Open WebUI is left to `backends-all`.
BACKENDS := gradio streamlit chainlit panel nicegui shiny langgraph litellm
backends: $(BACKENDS:%=.venv-backends/%/.installed) ## install the real chat systems that tests use
backends-all: backends .venv-backends/open-webui/.installed ## install Open WebUI as well, and test all chat systems
	$(BIN)/python -m pytest tests/backends $(ARGS)

# Ten minutes in all; `make fuzz FUZZ_SECONDS=600` digs for as long in each target.
FUZZ_SECONDS ?= 150
fuzz: $(VENV)/.dev .venv-clients/.installed ## fuzz each target (FUZZ_SECONDS each)
	set -e; for each in splice sanitize forms audit http1 frames records; do \
		nice $(BIN)/python tests/fuzz/fuzz_$$each.py -max_total_time=$(FUZZ_SECONDS) -verbosity=0; done
	REDACTION_EXAMPLES=20000 nice $(BIN)/python -m pytest -q tests/redaction/test_matcher_layers.py

check: $(VENV)/.dev ## format, lint and types, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --output-format=concise .
	$(BIN)/mypy

bench: native ## measure beside peers
	bash tests/support/install-tools
	$(BIN)/python bench/run.py $(ARGS)

test-alerts: $(VENV)/.dev ## a real Prometheus watches an attack, by the rules' own times: twenty minutes
	bash tests/support/install-tools
	$(BIN)/python -m bench.alerts

schema: $(VENV)/.dev ## write the JSON Schemas of the policy and of the chart's values again
	$(BIN)/python -m sidecar schema > config/policy.schema.json
	$(BIN)/python -m tests.support.chart_schema > deploy/helm/chat-sidecar/values.schema.json

rules:           ## write the PrometheusRule and the chart's rules from deploy/monitoring/alerts.yaml
	tests/support/write-rules

fmt: $(VENV)/.dev ## format, and fix what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --output-format=concise .

# The locks are made by uv from pyproject.toml; every line has its hashes.
lock: ## write the lock files again from pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras -o requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras --group dev -o requirements-dev.lock pyproject.toml
	uv pip compile --python-version 3.11 --generate-hashes --no-annotate -o requirements-clients.lock tests/clients/requirements.in
	for each in $(BACKENDS) open-webui; do \
		uv pip compile --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
		$$(sed -n 's/^# uv: //p' tests/backends/requirements/$$each.in) \
		-o tests/backends/requirements/$$each.lock tests/backends/requirements/$$each.in; done
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-audit.lock requirements-audit.in
	printf 'hatchling>=1.27,<2\nmypy[mypyc]>=2,<3\n' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate -c requirements-dev.lock -o requirements-build.lock -

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps

# The locks are complete: nothing is resolved here. What is imported is compiled when it is imported first.
$(VENV)/.runtime: $(VENV)/bin/python requirements.lock
	$(PIP) --require-hashes -r requirements.lock
	touch $@

# uv installs the rest in a fifth of pip's time; its own lines of the lock are all that pip installs.
$(VENV)/.uv: $(VENV)/bin/python requirements-dev.lock
	sed -n '/^uv==/,/^[^ ]*==/{/^uv==/p;/^ /p}' requirements-dev.lock > $(VENV)/uv.lock
	$(PIP) --require-hashes -r $(VENV)/uv.lock
	touch $@

$(VENV)/.dev: $(VENV)/.uv requirements-dev.lock pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(PIP) --no-build-isolation -e .
	touch $@

define sync
	test -x $(@D)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(@D)
	VIRTUAL_ENV=$(CURDIR)/$(@D) $(BIN)/uv pip sync --quiet --require-hashes $<
	touch $@
endef

.venv-clients/.installed: requirements-clients.lock | $(VENV)/.uv
	$(sync)

.venv-backends/%/.installed: tests/backends/requirements/%.lock | $(VENV)/.uv
	$(sync)

tests/clients/node/node_modules/.installed: tests/clients/node/package-lock.json
	command -v npm >/dev/null || { echo 'npm is not installed: tests of JavaScript clients are skipped' >&2; test -z "$$CI"; }
	! command -v npm >/dev/null || { npm ci --prefix tests/clients/node --ignore-scripts --no-audit --no-fund --silent && touch $@; }

sbom: .venv-audit/.installed ## write dist/sbom.cdx.json (CycloneDX) from the lock of the runtime
	mkdir -p dist
	PYTHONWARNINGS=ignore .venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --short-PURLs --output-reproducible --of JSON -o dist/sbom.cdx.json requirements.lock

audit: .venv-audit/.installed ## ask the registry for known vulnerabilities of what is locked
	.ci/audit

pins: ## list images that are named without a digest; PINS=--require fails where there is one
	.ci/pins $(PINS)

.venv-audit/.installed: requirements-audit.lock | $(VENV)/.uv
	$(sync)

clean: ## remove environments and caches
	rm -rf $(VENV) .venv-audit .venv-clients .venv-backends .fuzz tests/clients/node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

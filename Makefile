# Everything runs in .venv, made on first use from Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint format check conformance interop docs bench mutants soak clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the order service of examples/orders, end to end
	$(BIN)/python -m examples.orders.demo

test: $(READY) ## all tests but the long ones
	$(BIN)/python -m pytest

lint: $(READY) ## formatting, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict src

format: $(READY) ## rewrite the sources as `make lint` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: lint test ## what continuous integration runs

conformance: $(READY) ## the recorded scenarios alone
	$(BIN)/python -m pytest tests/conformance

interop: $(READY) ## other languages' SDKs: all, or LANGUAGES="go java typescript"
	$(BIN)/python -m tests.interop $(LANGUAGES)

docs: $(READY) ## write docs/compatibility.md from the code
	$(BIN)/python -m tools.compatibility

bench: $(READY) ## the figures of benchmarks/README.md, as JSON (about six minutes)
	$(BIN)/python -m benchmarks

mutants: $(READY) ## deliberate faults, each of which must make a test fail; some of them: ONLY="barrier retry"
	$(BIN)/python -m tools.mutants $(ONLY)

soak: $(READY) ## the long tests
	$(BIN)/python -m pytest -m soak --timeout 3600

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perdure needs Python 3.11 or newer: make PYTHON=/path/to/python")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Perdure and its development tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable . --group dev --group orders
	@touch $@

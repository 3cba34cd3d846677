# Two commands are all: `make demo` and `make test`. Each sets itself up from a bare checkout with Python >= 3.11.
PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: docs help setup demo test check benchmark chaos image lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.complete  ## .venv with everything: daemon, training, demo, tests

$(VENV)/.complete: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamwarden needs Python 3.11 or newer; name one with PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing requirements/dev.txt into $(VENV): some minutes, and nothing more is printed meanwhile.'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(DEMO_VENV)/.complete: requirements/demo.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamwarden needs Python 3.11 or newer; name one with PYTHON=…")'
	test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	@echo 'Installing requirements/demo.txt into $(DEMO_VENV): some minutes, and nothing more is printed meanwhile.'
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	touch $@

demo: $(DEMO_VENV)/.complete  ## the whole thing on this machine, on a real embedded Kafka; ends by itself
	$(DEMO_VENV)/bin/python -m deploy.demo

check: setup  ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check  ## everything that CI checks
	$(BIN)/python -m pytest

benchmark: setup  ## drain rate, engine, window recomputation, bytes a stream: ratios in one run
	$(BIN)/python -m tests.benchmarks --out benchmark.json

docs: setup  ## docs/reference, from the code
	$(BIN)/python -m deploy.reference

MINUTES ?= 10
chaos: setup  ## killed, starved and cut off for MINUTES=10, on both stores: the table of faults survived
	$(BIN)/python -m tests.chaos --minutes $(MINUTES)

image:  ## the container image
	docker build -t streamwarden .

lock: setup  ## pin again what pyproject.toml asks for
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra replay --extra training --extra demo --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -c requirements/dev.txt -o requirements/daemon.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/build.in -o requirements/build.txt

clean:  ## what builds and tests left behind
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmark.json

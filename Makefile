# Two commands do it all: `make demo` and `make test`.
# Each sets itself up from a bare checkout with Python 3.11 or newer.
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

# $(call environment,DIRECTORY,LOCK): what the lock file pins, and nothing else
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and $(TOO_OLD))'
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@echo 'Installing $(2) into $(1). This takes some minutes and prints nothing.'
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
	touch $(1)/.complete
endef
TOO_OLD := "streamwarden needs Python 3.11 or newer: name one with PYTHON=..."

$(VENV)/.complete: requirements/dev.txt
	$(call environment,$(VENV),$<)

$(DEMO_VENV)/.complete: requirements/demo.txt
	$(call environment,$(DEMO_VENV),$<)

demo: $(DEMO_VENV)/.complete  ## the whole thing on this machine, on a real embedded Kafka; ends by itself
	$(DEMO_VENV)/bin/python -m deploy.demo

check: setup  ## ruff, mypy (strict) and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Half of the tests' time is waiting for real processes, so two workers share two cores
# well. Torch would start a thread for each core in each of them.
WORKERS ?= 2
test: check  ## everything that CI checks, in WORKERS=2 processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

ROUNDS ?= 5
benchmark: setup  ## speed, memory and recovery, each ROUNDS=5 times: a table, and benchmark.json
	$(BIN)/python -m tests.benchmarks --rounds $(ROUNDS) --out benchmark.json

docs: setup  ## docs/reference, from the code
	$(BIN)/python -m deploy.reference

MINUTES ?= 10
chaos: setup  ## killed, starved and cut off for MINUTES=10, on both stores: the table of faults survived
	$(BIN)/python -m tests.chaos --minutes $(MINUTES)

image:  ## the container image
	docker build -t streamwarden .

PIN := $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

lock: setup  ## pin again what pyproject.toml asks for
	$(PIN) pyproject.toml --extra replay --extra training --extra demo --group dev \
		-o requirements/dev.txt
	$(PIN) pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(PIN) pyproject.toml -c requirements/dev.txt -o requirements/daemon.txt
	$(PIN) requirements/build.in -o requirements/build.txt

clean:  ## what builds and tests left behind
	rm -rf build dist .mypy_cache .import_linter_cache .pytest_cache .ruff_cache .hypothesis benchmark.json

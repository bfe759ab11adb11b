# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
# Without bytecode every start of python would compile all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_JETS ?= 100000 10000 40000
DEMO ?= demo
WORKERS ?= 2
DAILY := not slow and not browser and not peers and not slurm

# uv does not read pip's configuration: hand over what the user gave to pip.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all system lint format prove clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.done ## make the virtual environment and install everything that demo and test need

$(VENV)/.done: pyproject.toml constraints.txt setup/venv.sh
	@setup/venv.sh $(PYTHON) $(VENV)
	@touch $@

demo: setup ## simulate collisions, train a tagger, test it, draw its ROC curves
	@PATH="$(CURDIR)/$(BIN):$$PATH" setup/demo.sh $(DEMO) $(DEMO_JETS)

test: setup lint ## the tests of every day: under 10 minutes, no root
	$(BIN)/python -m pytest -m "$(DAILY)" -n $(WORKERS) --dist loadfile

test-all: setup lint ## adds the slow, browser, peer and Slurm tests
	@benchmarks/peers/setup
	@failed=0; \
	$(BIN)/python -m pytest -m "$(DAILY)" -n $(WORKERS) --dist loadfile || failed=1; \
	$(BIN)/python -m pytest -m "not ($(DAILY))" -n $(WORKERS) --dist loadfile || failed=1; \
	exit $$failed

system: ## what CI needs from the system (apt, as root)
	@setup/system.sh

prove: ## the full counts (20 of each kill, 8 requeues), recorded once in benchmarks/RESULTS.md
	@SALT_KILLS=20 SALT_REQUEUES=8 $(MAKE) --no-print-directory test-all

lint: setup ## style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## mend the style
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove the environments and the demo's output
	rm -rf $(VENV) .peer-venv $(DEMO) .pytest_cache .mypy_cache .ruff_cache

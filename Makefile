PYTHON ?= python3.11
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false
# where it is set, as in many images of containers, each process compiles all that it imports anew
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install search test test-long test-random test-all lint docs bench compare chaos faults schedules mutants lock clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed  ## makes .venv from the lock

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

search: install  ## the main job: a front of the built-in task and model, in minutes
	$(BIN)/prunefront search

# a test at a time goes to whichever process is free; those of a file stay together until the end, for its fixtures.
# Three for two cores: tests of Ray and of kills wait
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

test: install lint  ## ruff, mypy, and the tests, in minutes; the same examples every time
	$(PYTEST)

test-long: install  ## the tests that are long by nature
	$(PYTEST) -m long

test-random: install  ## a random search for examples that break a law
	$(PYTEST) -m hypothesis --hypothesis-profile random

test-all: schedules test-random test-long test  ## all of them

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install  ## the site, in site/: commands' pages from the program, dead links refused
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: install  ## ratios, measured in pairs on this machine
	$(BIN)/python -m tests.benchmarks

chaos: install  ## kills, pauses and SIGTERM on three Ray nodes, ROUNDS=40: nothing may be lost, doubled or left running
	$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),20)

faults: install  ## random schedules of faults in a driver's writes: make faults [SEED=N] [SECONDS=N]
	$(BIN)/python -m tests.faults $(or $(SEED),) $(if $(SEED),$(or $(SECONDS),120))

schedules: install  ## every schedule of one fault in a study of two trials, on all cores: the table of outcomes
	$(BIN)/python -m tests.faults.every

mutants: install  ## protections taken away one by one: which schedule of faults notices
	$(BIN)/python -m tests.faults.mutants

compare: install  ## methods side by side: make compare TASKS="SST-2/task.toml MRPC/task.toml" MODEL=FOLDER [STORE=DIR]
	$(BIN)/python -m tests.benchmarks.comparison $(foreach task,$(TASKS),--task $(task)) --model $(MODEL) \
		--store $(or $(STORE),mlflow_runs/comparison)

lock:  ## pins every version; local suffixes (+cpu) and GPU libraries are left to the machine
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 --editable '.[dev,docs]'
	.venv-lock/bin/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
		| sed -E 's/\+[A-Za-z0-9.]+//' | grep -v -i -E '^(nvidia-|triton)' > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

clean:  ## removes .venv and caches, keeps mlflow_runs
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# Training, sweeps and the dashboard need requirements.lock; tests and extras need requirements-dev.lock, which contains it.
READY := .venv/.ready
READY_ALL := .venv/.ready-all
RUNTIME_EXTRAS := sweeps
EXTRAS := $(RUNTIME_EXTRAS) slurm ray export explain privacy wandb mlflow docs dev
# Two test processes: more only fight over the cores.
TEST_PROCESSES ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

# Installs the lock file that is the first prerequisite. uv installs in seconds what takes pip minutes; pip steps in where
# uv cannot reach the packages. Bytecode is compiled once, at install; some containers forbid Python to write it, which
# doubles every start.
define install_lock
$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --requirement $< \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $<
@touch $@
endef

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python {v[0]}.{v[1]} will not do: make PYTHON=python3.12 install, or any of 3.11 to 3.13")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(install_lock)

$(READY_ALL): requirements-dev.lock $(READY)
	$(install_lock)

# All extras are resolved first: what they forbid must not be chosen for the runtime.
UPGRADE ?= --upgrade
compile_lock = $(BIN)/uv pip compile pyproject.toml --quiet --universal $(UPGRADE) --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: install
install: $(READY) ## Install into .venv what training, sweeps and the dashboard need

.PHONY: install-all
install-all: $(READY_ALL) ## Install the tests' packages and all extras too

.PHONY: lock
lock: $(READY) ## Choose the newest versions pyproject.toml allows; make lock UPGRADE= keeps those that are locked
	$(compile_lock) $(EXTRAS:%=--extra %) --output-file requirements-dev.lock
	$(compile_lock) $(RUNTIME_EXTRAS:%=--extra %) --constraint requirements-dev.lock --output-file requirements.lock

.PHONY: train
train: $(READY) ## Train on MNIST: make train, or make train ARGS="optimizer=sgd seed=3"
	$(BIN)/python -m src.train $(ARGS)

.PHONY: test
test: $(READY_ALL) ## Run all tests except the slow ones
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not slow" $(ARGS)

.PHONY: test-slow
test-slow: $(READY_ALL) ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

.PHONY: lint
lint: $(READY_ALL) ## Check style, types, layers and schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src hydra_plugins/optuna_sweeper.py benchmarks docs/generate.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m src.config.schemas --check

.PHONY: schemas
schemas: $(READY) ## Generate the JSON schemas of settings, after a constructor or conf/ has changed
	$(BIN)/python -m src.config.schemas

.PHONY: docs
docs: $(READY_ALL) ## Build the documentation as a site, in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html

.PHONY: docs-links
docs-links: $(READY_ALL) ## Check the external links of the documentation; needs the network
	$(BIN)/python -m sphinx -b linkcheck -W --keep-going -q docs docs/_build/linkcheck

.PHONY: format
format: $(READY_ALL) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: tensorboard
tensorboard: $(READY) ## Start TensorBoard for all runs, on localhost
	$(BIN)/tensorboard --logdir outputs --host localhost

.PHONY: bench
bench: $(READY) ## Measure the targets: epochs compared with a reference loop, starts, memory
	$(BIN)/python -m benchmarks.goals $(ARGS)

.PHONY: soak
soak: $(READY_ALL) ## Inject faults into runs for half an hour and compare the results
	$(BIN)/python -m tests.helpers.soak --table docs/soak.md $(ARGS)

.PHONY: clean
clean: ## Remove generated files; runs and data stay
	rm -rf .venv .cache .pytest_cache .hypothesis .mypy_cache .ruff_cache docs/_build docs/reference docs/project
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

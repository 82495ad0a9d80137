# One word per job; `make help` lists them. Needs Python 3.11 or newer, make and a package index, nothing else.

PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m
# With the layer's sources: for what runs our code in its own process. The local cloud must see only the built layer.
WITH_CODE := PYTHONPATH=layers/common $(BIN)/python -m
INSTALLED := .venv/installed
STAGE ?=
STACK = oms-$(or $(STAGE),local)

export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.PHONY: help run test up down check format openapi bench replay simulate mutants redrive reconcile customers conformance deploy secrets lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

run: $(INSTALLED)  ## the whole system on this machine, and a story played through it; Ctrl-C stops it
	@$(RUN) local.cloud run

test: check  ## every check and the whole suite, a local cloud included
	@$(RUN) pytest -n 2 --dist loadscope tests/unit tests/component tests/contract
	@$(RUN) pytest tests/simulation tests/e2e

up: $(INSTALLED)  ## the local cloud in the background, nothing played
	@$(RUN) local.cloud up

down: $(INSTALLED)  ## stop it
	@$(RUN) local.cloud down

check: $(INSTALLED)  ## format, lint, types, template, workflow
	@$(BIN)/ruff format --check --quiet . || { echo "make format mends this"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(RUN) mypy
	@$(BIN)/cfn-lint template.yaml
	@$(BIN)/statelint functions/fulfillment/pick_pack_ship.asl.json
	@echo "checked: format, lint, types, template, workflow"

format: $(INSTALLED)  ## mend format and imports
	@$(BIN)/ruff check --quiet --fix --select I . && $(BIN)/ruff format --quiet .

openapi: $(INSTALLED)  ## write docs/openapi.json from the code
	@$(WITH_CODE) local.openapi

bench: $(INSTALLED)  ## measure speed and cost into benchmarks/results.md
	@$(WITH_CODE) benchmarks

replay: $(INSTALLED)  ## real orders through the running cloud: ORDERS=<csv.gz> LIMIT=n CONCURRENCY=n
	@test -n "$(ORDERS)" || { echo "ORDERS=<csv.gz> says which"; exit 2; }
	@$(RUN) local.replay "$(ORDERS)" $(if $(LIMIT),--limit $(LIMIT)) $(if $(CONCURRENCY),--concurrency $(CONCURRENCY))

simulate: $(INSTALLED)  ## faults and interleavings, every run repeatable: SEEDS=n SEED=k
	@$(WITH_CODE) tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED))

mutants: $(INSTALLED)  ## break the code on purpose; the simulation must notice each time
	@$(WITH_CODE) tests.simulation.mutants

redrive: $(INSTALLED)  ## play a dead-letter queue back: QUEUE=<name or all> [STAGE=…]
	@$(RUN) local.redrive --stack $(STACK) "$(or $(QUEUE),list)"

reconcile: $(INSTALLED)  ## read every channel back now, and say what differed and why [STAGE=…]
	@$(RUN) local.reconcile --stack $(STACK)

customers: $(INSTALLED)  ## make all customers' profiles anew from their orders, and say how many differed [STAGE=…]
	@$(RUN) local.customers --stack $(STACK)

conformance: $(INSTALLED)  ## what a channel's adapter must do, run against its simulator: CHANNEL=<name or all>
	@$(WITH_CODE) tests.conformance "$(or $(CHANNEL),all)"

deploy: $(INSTALLED)  ## build for Lambda and deploy to AWS: STAGE=prod [PARAMETERS="AlarmEmail=ops@example.com …"]
	@test -n "$(STAGE)" || { echo "STAGE=<name> says which stack, for example STAGE=prod"; exit 2; }
	@find functions -name __pycache__ -prune -exec rm -r {} +
	PYTHON="$(abspath $(BIN)/python)" LAYER_TARGET=lambda $(BIN)/sam build
	$(BIN)/sam deploy --stack-name $(STACK) --parameter-overrides Stage=$(STAGE) $(PARAMETERS)
	@$(RUN) local.fill_secrets --stack $(STACK) --report

secrets: $(INSTALLED)  ## ask for the secrets that a deployed stack still lacks: STAGE=prod
	@test -n "$(STAGE)" || { echo "STAGE=<name> says which stack"; exit 2; }
	@$(RUN) local.fill_secrets --stack $(STACK)

COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links
lock: $(INSTALLED)  ## pin the requirements anew: UPGRADE=1 takes newer versions
	$(COMPILE) $(if $(UPGRADE),--upgrade) -o requirements-dev.txt requirements-dev.in
	$(COMPILE) $(if $(UPGRADE),--upgrade) -c requirements-dev.txt -o requirements-uv.txt requirements-uv.in
	$(COMPILE) $(if $(UPGRADE),--upgrade) -c requirements-dev.txt -o layers/common/requirements.txt layers/common/requirements.in
	$(COMPILE) $(if $(UPGRADE),--upgrade) -c requirements-dev.txt -o layers/parquet/requirements.txt layers/parquet/requirements.in

clean: down  ## forget everything that was built
	@rm -rf local/.state .aws-sam .mypy_cache .pytest_cache .ruff_cache

# The stamp is newer than the pins: nothing to do. uv installs in seconds what pip takes minutes for.
$(INSTALLED): requirements-uv.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: say which with PYTHON=python3.13"; exit 1; }
	@echo "installing the pinned requirements into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements-dev.txt
	@touch $@

# Pabal: `make up` runs all of it on this machine; `make help` names the rest.

ARGS   ?=
WORKERS ?= 2
SECONDS ?= 60
MINUTES ?= 10
PUSHES  ?= 20000
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: help up test test-compose peers lint format docs bench bench-broker bench-path bench-api bench-push faults fuzz lock audit clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/stack.stamp ## install what is missing, start everything (ARGS="--port-base 21000 --state DIR")
	@exec $(BIN)/pabal up $(ARGS)

test: peers lint ## every check and every test, as CI runs them (ARGS="-k name"; LONG=1: with those that take long; WORKERS=4: files at a time)
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n $(WORKERS) --dist loadfile)

test-compose: .venv/dev.stamp ## build the image, run compose.yaml on the engine that DOCKER_HOST names, kill parts of it: four minutes
	COMPOSE=1 $(BIN)/python -m pytest tests/compose $(ARGS)

peers: # other people's programs that tests talk to
	@bash tests/peers.sh

lint: .venv/dev.stamp ## style, types, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev.stamp ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev.stamp ## write docs/asyncapi.yaml anew, from the topics and envelopes of chat/
	$(BIN)/python -m docs.generate_asyncapi

bench: .venv/dev.stamp ## the broker beside Mosquitto in short, and the whole path (ARGS=…)
	$(BIN)/python -m bench $(ARGS)

bench-broker: .venv/dev.stamp ## the broker beside Mosquitto and amqtt, everything that it does: a quarter of an hour (ARGS=--quick: three minutes)
	$(BIN)/python -m bench.broker $(ARGS)

bench-path: .venv/dev.stamp ## publish to stored to delivered, beside Mosquitto with a plain script: ten minutes (ARGS=--quick: two)
	$(BIN)/python -m bench.path $(ARGS)

bench-api: .venv/dev.stamp ## history, chat list, login and sends over REST at rising rates: twelve minutes (ARGS=--quick: three)
	$(BIN)/python -m bench.api $(ARGS)

bench-push: .venv/dev.stamp ## pushes per second of a worker process, and from stored to pushed: three minutes (ARGS=--quick: one and a half)
	$(BIN)/python -m bench.push $(ARGS)

faults: .venv/dev.stamp ## break everything in a seeded order while people write, and while 20,000 are pushed (FAULTS=link_cut,broker_killed MINUTES=10 PUSHES=20000 SEED=7)
	LONG=1 FAULTS="$(FAULTS)" MINUTES="$(MINUTES)" PUSHES="$(PUSHES)" SEED="$(SEED)" \
	$(BIN)/python -m pytest -q tests/faults/test_schedule.py tests/faults/test_push_faults.py $(ARGS)

fuzz: .venv/fuzz.stamp ## look for bytes that the codec or the broker can't take (SECONDS=60 for each, ARGS=-jobs=2)
	$(BIN)/python tests/fuzz/run.py codec -max_len=4096 -max_total_time=$(SECONDS) $(ARGS)
	$(BIN)/python tests/fuzz/run.py broker -max_len=4096 -max_total_time=$(SECONDS) $(ARGS)

lock: .venv/dev.stamp ## resolve pyproject.toml into requirements/ (ARGS=--upgrade for the newest versions)
	$(COMPILE) --extra stack pyproject.toml -o requirements/stack.txt
	$(COMPILE) --extra tracing -c requirements/stack.txt pyproject.toml -o requirements/image.txt
	echo hatchling | $(COMPILE) -c requirements/stack.txt - -o requirements/build.txt
	$(COMPILE) --extra stack --extra amqtt --extra tracing --extra dev -c requirements/stack.txt pyproject.toml -o requirements/dev.txt

audit: .venv/dev.stamp ## known vulnerabilities in what is locked (asks a service on the network)
	@$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/dev.txt \
	  || { echo 'audit: see above; without a network nothing can be said'; exit 1; }

clean: ## remove what was made: .venv, caches, reports; never ./var, which is your data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov build dist bench/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

COMPILE := $(BIN)/uv pip compile --quiet $(ARGS) --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

# The locked versions, by their hashes, and nothing that is not in the lock (--no-deps): pip's resolver would look at newer
# releases of what is asked for with extras, and refuse them. Then the project itself, as links into this directory.
.venv/stack.stamp: requirements/stack.txt pyproject.toml | .venv/bin/pip
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/stack.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# It contains the other, so that `make up` after `make test` has nothing to do.
.venv/dev.stamp: requirements/dev.txt pyproject.toml | .venv/bin/pip
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch .venv/stack.stamp $@

# atheris is no part of the development tools: it has wheels for some systems and Pythons only (Linux on x86-64 among them).
.venv/fuzz.stamp: requirements/fuzz.txt | .venv/dev.stamp
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/fuzz.txt
	@touch $@

.venv/bin/pip: # what venv makes last, so that an interrupted one is done again
	@test -n "$(PYTHON)" || { echo 'Pabal needs Python 3.11 or later: there is none on PATH (or name it: make PYTHON=…)'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(NO_VENV)
	$(PYTHON) -m venv .venv

# Debian and Ubuntu keep it in a package of its own.
NO_VENV := { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && apt-get install -q -y python3-venv; \
	else echo '$(PYTHON) has no venv module: on Debian and Ubuntu, sudo apt-get install python3-venv'; exit 1; fi; }

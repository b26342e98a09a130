# Two commands matter: `make demo` and `make test`. Both install what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# In how many processes the tests run. Those on servers have servers of their own in each: much of their time is waiting.
TEST_PROCESSES ?= 2

# The tests start hundreds of Python processes; a container that forbids bytecode lets each compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# What `make chaos` does: so much for each of the seeds.
CHAOS_SEEDS      ?= 1 2 3 4 5
CHAOS_COMMANDS   ?= 2200
CHAOS_FAULTS     ?= 70
CHAOS_CLIENTS    ?= 16
CHAOS_AGGREGATES ?= 50

# Which of some 3,000 mutants `make mutate` runs.
MUTANTS     ?= 160
MUTANT_SEED ?= 11

# How long `make fuzz` searches.
FUZZ_S ?= 300

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full stop check coverage test test-pythons chaos fuzz search score mutate bench dashboards docs lock dist clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Oncelog needs Python 3.11 or newer, found %s; try make PYTHON=python3.12" % sys.version.split()[0] or 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/.installed ## a virtual environment with the project and its scripts

demo: setup ## the main job on real input: servers and a worker stay up to look around (WITH=prometheus watches them)
	$(BIN)/python -m stack up $(if $(WITH),--with $(WITH))
	$(BIN)/python -m stack run worker --until worker_ready -- $(BIN)/oncelog-worker
	@eval "$$($(BIN)/python -m stack env)" && $(BIN)/python -m examples.atlas --no-worker $(DEMO)

demo-full: DEMO = --full
demo-full: demo ## the same servers and worker; all subdivisions and airports, 33,344, as bulk commands

example-shop: export ONCELOG_NAMESPACE = shop
example-shop: export ONCELOG_AGGREGATES = $(subst $() ,$(),$(foreach name,customer payment shipment stock,examples.shop.aggregates.$(name):$(name),))
example-shop: setup ## a domain of one's own on real servers: orders within credit, paid, shipped, counted
	$(BIN)/python -m stack up
	@eval "$$($(BIN)/python -m stack env)" && $(BIN)/python -m examples.shop

stop: setup ## end what `make demo` left running
	$(BIN)/python -m stack down

check: setup ## style, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/pytest -q -m 'not integration and not deep' -n $(TEST_PROCESSES)

coverage: setup ## the branches of `oncelog` that the fast tests take, file by file, and their floor
	$(BIN)/pytest -q -m 'not integration and not deep' -n $(TEST_PROCESSES) --cov --cov-report=term:skip-covered

test: check ## everything, on real servers that the tests start themselves
	$(BIN)/pytest -q -m integration -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

# pyenv's interpreters are on the PATH by name only; this lets them start.
test-pythons: export PYENV_VERSION = $(shell pyenv versions --bare 2>/dev/null | paste -sd: -)
test-pythons: setup ## the fast tests on each of Python 3.11 to 3.14 that is here; says which are not
	$(BIN)/pip install --quiet --editable '.[pythons]'
	$(BIN)/nox -- -n $(TEST_PROCESSES)

docs: setup ## the documentation as a site, on http://127.0.0.1:8000, built anew when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

search: setup ## the same as in `check`, searched longer for a story that breaks a promise (an hour and more)
	$(BIN)/pytest -q -m deep tests

fuzz: setup ## inputs searched by coverage that take too long or too much memory to judge (FUZZ_S seconds)
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz -max_total_time=$(FUZZ_S)

chaos: setup ## everything broken while it works, again and again, and what became of the facts (some 50 minutes)
	$(BIN)/python -m tests.chaos --seed $(CHAOS_SEEDS) --commands $(CHAOS_COMMANDS) --faults $(CHAOS_FAULTS) \
		--clients $(CHAOS_CLIENTS) --aggregates $(CHAOS_AGGREGATES)

score: setup ## what the checker catches: planted damage, and broken versions of the system (about a minute)
	$(BIN)/python -m tests.verification.score

mutate: setup ## the code changed on purpose, which tests must notice: all of Lua, a sample of Python (an hour and more)
	$(BIN)/pip install --quiet --editable '.[mutation]'
	$(BIN)/python -m tests.mutation.lua
	$(BIN)/python -m tests.mutation.sample --count $(MUTANTS) --seed $(MUTANT_SEED)

bench: setup ## what a command costs, against the floor and against DBOS on PostgreSQL (some ten minutes)
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.projection
	$(BIN)/python -m benchmarks.judging
	$(BIN)/python -m benchmarks.archive
	$(BIN)/python -m benchmarks.replays
	$(BIN)/python -m benchmarks.unique
	$(BIN)/python -m benchmarks.hot_aggregate
	$(BIN)/python -m benchmarks.own_code
	$(BIN)/python -m benchmarks.own_domain

dashboards: setup ## the JSON of Grafana's dashboards anew, from their code in monitoring/dashboards
	$(BIN)/pip install --quiet --editable '.[monitoring]'
	$(BIN)/python -m monitoring.dashboards

lock: setup ## requirements.lock and the image's locks anew: the newest versions that pyproject.toml allows, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--extra dev --extra demo --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--extra msk --extra otel --constraint requirements.lock --output-file deploy/image/requirements.lock pyproject.toml
	echo hatchling | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --constraint requirements.lock --output-file deploy/image/build.lock -

dist: setup ## wheel and source archive, checked as a user would install them
	$(BIN)/python -m build --quiet
	$(BIN)/pytest -q tests/packaging

clean: ## the virtual environment and what tools left behind
	rm -rf $(VENV) build dist shop.sqlite .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .nox .coverage* mutants

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check \
	--constraint requirements.lock --editable
INSTALLED := pyproject.toml setup.py requirements.lock $(wildcard rnn_core/nn/engines/kernel/*.[ch])
# Many tests wait for servers, so that a core has work for more than one process
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder --durations 25

.PHONY: run test test-all lint up bench gallery lock clean

run: .venv/installed  ## Retrain the default ticker once
	$(BIN)/python -m flows.retrain

test: lint  ## Everything that must pass, but for what takes minutes
	$(PYTEST) --numprocesses 3 -m 'not long'

test-all: lint  ## And what takes minutes: faults, simulated months, each study, a tenth of the honesty benchmark; and the coverage
	$(PYTEST) --numprocesses 3 -m 'not long' --cov --cov-report=
	$(BIN)/coverage report
	! ls rnn_core/nn/engines/kernel/*.so >/dev/null 2>&1 || \
		$(BIN)/coverage report --include='rnn_core/nn/*' --fail-under=100
	$(PYTEST) --numprocesses 3 -m long
	$(BIN)/python -m benchmarks honesty --quick

lint: .venv/installed-dev  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: .venv/installed  ## Start Prefect's server, a worker, the deployments and MLflow's UI (ARGS=--auth: with a password)
	$(BIN)/python -m flows.stack $(ARGS)

bench: .venv/installed-dev  ## Measure speed; `python -m benchmarks peers` and others measure more
	$(BIN)/python -m benchmarks seed-loop torch universe growth

gallery: .venv/installed-dev  ## Run every study and write docs/studies.md and the README's table
	$(BIN)/python -m docs.gallery

lock: .venv/installed-dev  ## Pin the versions that are installed now in requirements.lock
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean:  ## Delete what can be built again; prices and runs stay
	rm -rf .venv build rnn_core/nn/engines/kernel/*.so *.egg-info .coverage .coverage.* .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: $(INSTALLED)
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) .
	touch $@

.venv/installed-dev: $(INSTALLED)
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) '.[dev]'
	touch .venv/installed $@

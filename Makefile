PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-postgres test-long lint benchmark requirements

install: .venv/installed

demo: install
	$(BIN)/pennylane-sync demo

test: .venv/installed-dev lint
	$(BIN)/pytest -n 4 --dist worksteal -m "not long"

# On the Postgres that comes from a wheel, or on the server of the address that the variable holds (docs/postgres.md).
test-postgres: export PENNYLANE_SYNC_TEST_WAREHOUSE ?= postgres
test-postgres: .venv/installed-dev
	$(BIN)/pytest tests/pipelines tests/life tests/cli tests/assets -n 3 --dist worksteal -m "not long"

test-long: .venv/installed-dev
	$(BIN)/pytest tests/long -n 3 --dist worksteal -m long

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy .

# Everything that Pennylane's limit and growing tables decide, one after the other: almost two hours (docs/performance.md).
benchmark: .venv/installed-dev
	$(BIN)/python -m benchmarks --markdown docs/benchmark.md
	$(BIN)/python -m benchmarks.pacing
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.growth 1000 1000000
	$(BIN)/python -m benchmarks.growth --postgres 1000 1000000
	$(BIN)/python -m benchmarks.interrupted
	$(BIN)/python -m benchmarks.overhead --ticks 1 --rotation 0 1500

# Pins what pyproject.toml asks for; the only target that needs uv.
requirements:
	uv pip compile pyproject.toml $(PINS) -o requirements.txt
	uv pip compile pyproject.toml --extra dev -c requirements.txt $(PINS) -o requirements-dev.txt
	uv pip compile pyproject.toml --extra kubernetes -c requirements.txt $(PINS) -o deploy/requirements.txt
PINS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras --no-header --quiet

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 1))' || \
		{ echo "Python 3.11.1 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Everything a user or a developer types. `make run` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help run test check bench bench-policy storm scoreboard storm-core faults plans setup lock clean

help:            ## what can be typed
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 18

run: $(VENV)/run ## the whole loop on the local exchange: watch a drifted portfolio come back to target
	$(BIN)/trimtab demo $(ARGS)

# Most tests of whole processes wait for something, so files run side by side.
TEST := -m pytest -n 3 --dist loadfile

test: $(VENV)/dev ## every test, the storms of the gate included
	$(BIN)/python $(TEST) $(ARGS)

check: $(VENV)/dev ## lint, types, then every test: what the gate runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python $(TEST) $(ARGS)

bench: $(VENV)/dev ## tick to decision and to the wire, beside a bare echo and ccxt.pro; writes bench.json
	$(BIN)/trimtab bench --out bench.json $(ARGS)

bench-policy: $(VENV)/run ## what trading and drift cost in the long run, over the least possible; some minutes
	$(BIN)/trimtab bench policy $(ARGS)

storm: $(VENV)/dev ## the whole campaign, some two hours; writes tests/scoreboard.json. ROWS="S4 S11" MINUTES=10 for less
	$(BIN)/python -m tests.scoreboard run $(ROWS) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

scoreboard: $(VENV)/dev ## what the campaign has found, beside its targets, and the table of faults
	@$(BIN)/python -m tests.scoreboard show

storm-core: $(VENV)/dev ## seeded faults around the core in virtual time; SEED=n repeats one, SEEDS=n runs that many
	$(BIN)/python -m tests.storm $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

faults: $(VENV)/dev ## the 98 faults, one by one; writes tests/faults/faults.json and prints it as a table
	$(BIN)/python -m tests.faults $(ARGS)

plans: $(VENV)/dev ## 100,000 made-up portfolios planned to the end; writes tests/plans/plans.json; some 20 minutes
	$(BIN)/python -m tests.plans $(ARGS)

setup: $(VENV)/dev ## the development environment in .venv

lock:            ## refresh the pinned, hashed requirements (needs uv)
	uv pip compile -q pyproject.toml --group build --universal --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" -o requirements.txt
	uv pip compile -q pyproject.toml --group dev -c requirements.txt --universal --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make lock" -o requirements-dev.txt
	uv pip compile -q requirements-clients.in --no-deps --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" -o requirements-clients.txt

clean:           ## remove the environment and what tools left behind
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The locks are complete, so pip has nothing to resolve: --no-deps installs exactly what they list.
$(VENV)/run: requirements.txt pyproject.toml
	@echo "Setting up $(VENV), once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements-clients.txt $(VENV)/run
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt \
	  -r requirements-clients.txt
	@touch $@

# make demo     three simulated runners and the gateway in this terminal
# make test     lint, types and all tests, as the CI runs them
# make chaos    the gateway under random faults; SEEDS=2000 for a longer run, SEED=17 to replay one
# make lint     ruff, mypy and bandit only
# make format   rewrite the sources in the house's format
#
# make bench    benchmarks with ratios, under ten minutes; ONLY=submissions for one, see bench/run.py
# make load     how it behaves with ten thousand jobs: prints figures, a minute long
# make fuzz     100,000 hostile inputs for what reads foreign input, INPUTS=1000000 for more; some twenty minutes
# make audit    known weaknesses of the packages that are installed, by the public list of them
# make bench-placement  policies over mixed models, in virtual time, as a table; half a minute
# make webhooks runs with webhooks to a receiver that fails, RUNS=10000 of them, a kill -9 in the middle
# make kills    kill -9 of the gateway under load, KILLS=100 times; a few minutes
#
# Each target sets up .venv first. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
PYTEST_ARGS ?= -q -n 2 --dist worksteal

.PHONY: bench-placement help demo test chaos lint format bench load kills fuzz audit chromium clean webhooks
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: $(VENV)/demo.stamp
	@$(BIN)/comfy-gateway demo $(DEMO_ARGS)

test: lint chromium
	$(BIN)/pytest $(PYTEST_ARGS)

chaos: $(VENV)/dev.stamp
	$(BIN)/pytest tests/chaos $(if $(SEED),--seed $(SEED) -s,-q -n 2 --seeds $(or $(SEEDS),200))

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r gateway

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/dev.stamp
	@$(BIN)/python bench/run.py $(BENCH_ARGS) $(ONLY)

load: $(VENV)/dev.stamp
	@$(BIN)/python bench/load.py

bench-placement: $(VENV)/dev.stamp
	@$(BIN)/python bench/placement.py

webhooks: $(VENV)/dev.stamp
	@$(BIN)/python bench/webhooks.py --runs $(or $(RUNS),10000)

kills: $(VENV)/dev.stamp
	@$(BIN)/pytest -q -s tests/integration/test_many_kills.py --kills $(or $(KILLS),100)

fuzz: $(VENV)/dev.stamp
	$(BIN)/pytest -q -s -n 0 --timeout 0 tests/fuzz --inputs $(or $(INPUTS),100000)

audit: $(VENV)/dev.stamp
	$(BIN)/pip-audit --local --skip-editable --progress-spinner off $(AUDIT_ARGS)

chromium:
	@sh .ci/chromium

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/demo.stamp: pyproject.toml $(VENV)/pip.stamp
	@echo "Installing the gateway into $(VENV)"
	@$(PIP) install --editable '.[frontend]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/pip.stamp
	@echo "Installing the gateway and its development tools into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(VENV)/pip.stamp:
	@sh .ci/venv '$(PYTHON)' '$(VENV)'
	@touch $@

# make demo    train on the embedded digits and show what comes out
# make test    run the tests
# make check   formatting, lint and types
# make faults  try every fault as often as docs/reliability.md says, and write what was found into it; half an hour
# Each sets up .venv by itself; all it needs is python3 (3.11 to 3.13), make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test check faults format golden clean

demo: $(VENV)/.installed
	$(BIN)/resnets train digits

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

faults: $(VENV)/.installed-dev
	rm -rf build/faults && mkdir -p build/faults
	FAULTS_FOUND=build/faults $(BIN)/python -m pytest tests/faults --faults -n 2 --dist worksteal
	$(BIN)/python -m tests.faults.report build/faults

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/networks/test_catalog.py tests/commands/test_networks.py --update-golden

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "resnets needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV): a minute or two, and about 2 GB, the first time"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(PIP) --editable '.[cpu]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --upgrade 'pip>=25.1'
	@$(PIP) --group dev
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

# make setup | run | test | bench | reference    all in .venv, from the lock

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SAMPLE := run/sample

.PHONY: setup run test bench lint reference lock clean

setup: $(READY)

$(READY): requirements.lock setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "douane needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY)
	$(BIN)/douane sample --out $(SAMPLE) --events 20000 --devices 4000 --days 4
	$(BIN)/douane quarantine keygen --deployment deploy/local.yaml --out run/quarantine-keys
	$(BIN)/douane ingest --events $(SAMPLE)/events.ndjson --consents $(SAMPLE)/consents.ndjson --deployment deploy/local.yaml
	$(BIN)/douane report --deployment deploy/local.yaml --out run/report.html

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m benchmarks.main_job

reference: $(READY)
	$(BIN)/python -m schemas.reference docs/reference

# For who changes setup.py: writes the lock anew, for all supported versions of Python.
lock:
	uv pip compile setup.py --extra dev --extra gcp --extra kafka --universal --python-version 3.11 --generate-hashes --quiet \
		--no-emit-index-url --no-header --output-file requirements.lock

clean:
	rm -rf run $(VENV) build *.egg-info

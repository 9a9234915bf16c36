# make setup | run | test | bench | reference | scrub-quality    all in .venv, from the lock
# make kafka-test | flink-test | storms          a real broker, a real cluster: Java 17, Maven, unshare
# make fuzz                                      a million mutated lines; FUZZED=N for another number

PYTHON ?= python3
# Compiled once and kept: read from source, Beam and what it imports cost every process seconds.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SAMPLE := run/sample

.PHONY: setup run test kafka-test flink-test storms fuzz bench bench-scale lint reference schema-version scrub-quality lock clean

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

# One more than there are cores: now and then a test waits for the disk, or for a process of its own.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --durations=25 --durations-min=5

# Engines listen on all interfaces: they run in a network that has nothing but its own loopback, and among processes of
# its own, all of which the kernel ends with it. What they need is downloaded before.
ALONE := unshare -rnpf --kill-child --mount-proc sh -c 'ip link set lo up && exec "$$@"' sh
FAULTS ?=
BACKENDS ?=
EVENTS ?=
TIMES ?= 1

kafka-test: $(READY)
	$(BIN)/python -m tests.engines.broker
	DOUANE_ENGINES=1 $(ALONE) $(BIN)/python -m pytest tests/engines --ignore tests/engines/test_flink.py

flink-test: $(READY)
	$(BIN)/python -m tests.engines.fetch
	DOUANE_ENGINES=1 FAULTS=$(FAULTS) BACKENDS=$(BACKENDS) EVENTS=$(EVENTS) $(ALONE) $(BIN)/python -m pytest -s tests/engines/test_flink.py

# What docs/reliability.md tells of faults: storms again and again, a line each in run/storms.jsonl.
storms: $(READY)
	$(BIN)/python -m tests.engines.fetch
	mkdir -p run
	$(ALONE) $(BIN)/python -m tests.engines.storm --times $(TIMES) --results run/storms.jsonl

# What docs/hostile-input.md tells of fuzzing; what fails is left in run/fuzz.
FUZZED ?= 1000000
ENGINE := run/fuzz-engine

fuzz: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade \
		--target $(ENGINE) --requirement tests/fuzz/requirements.txt
	PYTHONPATH=$(ENGINE) $(BIN)/python -m tests.fuzz --lines $(FUZZED)

# Under a quarter of an hour on a machine with two cores that does nothing else.
bench: $(READY)
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.ratios
	$(BIN)/python -m benchmarks.bad_lines
	$(BIN)/python -m benchmarks.scrub
	$(BIN)/python -m benchmarks.cost

# Ten million events in one run: 7 GB of disk for them, and 16 GB of memory.
bench-scale: $(READY)
	$(BIN)/python -m benchmarks.scale

reference: $(READY)
	$(BIN)/python -m schemas.reference docs/reference
	$(BIN)/python -m tests.corpus.page

# For who raises SCHEMA_VERSION in schemas/fields.py: writes down what it is released with.
schema-version: $(READY)
	$(BIN)/python -m schemas.versions

# What docs/free-text.md tells of what the scrubber finds and takes.
scrub-quality: $(READY)
	$(BIN)/python -m tests.scrubbing.measure --write

# For who changes setup.py: writes the lock anew, for all supported versions of Python.
lock:
	uv pip compile setup.py --extra dev --extra gcp --extra kafka --universal --python-version 3.11 --generate-hashes --quiet \
		--no-emit-index-url --no-header --output-file requirements.lock

clean:
	rm -rf run $(VENV) build *.egg-info

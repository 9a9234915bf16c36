"""What every test of an engine gets, and why it is skipped where it cannot run."""

import os

import pytest

from tests.engines.processes import Processes, alone

ASKED = "DOUANE_ENGINES"


def pytest_collection_modifyitems(items):
    """Plain `pytest` starts no broker and no cluster: that takes minutes, downloads, and a network of its own."""
    why = None
    if not os.environ.get(ASKED):
        why = "needs engines: make kafka-test, make flink-test"
    elif not alone():
        why = "engines listen on all interfaces: run it by make kafka-test or make flink-test, in a network of its own"
    for item in items:
        needs_none = getattr(item.module, "WITHOUT_ENGINES", False)
        if why and item.path.parent.name == "engines" and not needs_none:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def processes(tmp_path):
    with Processes(tmp_path / "logs") as processes:
        yield processes


@pytest.fixture
def config(broker, tmp_path):
    """A properties file for the broker of the module."""
    path = tmp_path / "kafka.properties"
    path.write_text(f"bootstrap.servers={broker.bootstrap}\n")
    return str(path)


@pytest.fixture
def reading():
    """Opens readings, and closes them."""
    from pipelines import kafka_reader  # the client is an extra
    from tests.engines.reading import Reading

    opened = []

    def open_(*args, **kwargs):
        kafka_reader._TURNS.clear()  # each stands for a process of its own
        opened.append(Reading(*args, **kwargs))
        return opened[-1]

    yield open_
    for each in opened:
        each.reader.close()

"""The stream on a real cluster, fed by a real broker, is exact when things die (`make flink-test`).

FAULTS, BACKENDS and EVENTS in the environment narrow it: FAULTS=taskmanager BACKENDS=hashmap EVENTS=50000.
"""

import os
import random

import pytest

from tests.engines.faults import FAULTS
from tests.engines.flink import BACKENDS
from tests.engines.storm import storm


def asked(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(None, os.environ.get(name, "").split(","))) or default


@pytest.mark.parametrize("backend", asked("BACKENDS", BACKENDS))
def test_exact_in_a_storm(backend):
    faults, seed = list(asked("FAULTS", FAULTS)), random.randrange(1 << 30)
    random.Random(seed).shuffle(faults)
    done = storm(backend, int(os.environ.get("EVENTS") or 500_000), tuple(faults), seed)
    assert done["exact"], done

"""One device floods a stream, window after window: what others sent is stored as if it had not, and memory is bounded
by the lines of the windows that are open."""

import itertools

import pytest

from tests.invariants.flood import DEVICE, Peak, lines_of
from tests.invariants.runs import Site
from tests.invariants.scripted import MINUTE, script_of, stream
from tests.invariants.test_flood import NO_ROWS, rows
from tests.lines import NOW, entry, event, moment, ndjson

WINDOWS, OTHERS, LINES = 4, 12, 600  # a window: events of as many other devices, and lines of each kind of flood
KINDS = ("alike", "words", "fields")
BYTES_A_LINE, BYTES_A_RUN = 4_000, 14_000_000


def arriving(flooded):
    """Each window's lines, others' before and behind those of the flood, and then the watermark of its end."""
    for window in range(WINDOWS):
        start = window * MINUTE
        flood = [
            lines_of(range(first, first + LINES), kind, moment(NOW + start))
            for kind, first in zip(KINDS, itertools.count(10**6 + window * len(KINDS) * LINES, LINES), strict=False)
        ]
        others = [
            event(window * OTHERS + n, "crash", received=NOW + start + n, device__android_id=device(n))
            for n in range(OTHERS)
        ]
        middle = b"".join(itertools.chain.from_iterable(flood)) if flooded else b""
        yield start, ndjson(*others[::2]) + middle + ndjson(*others[1::2])
        yield window + 1


def device(number):
    return f"{number + 1:x}".rjust(16, "d")


def ran(folder, patch, flooded, keys_of=None):
    """The deployment, after such a stream."""
    site = Site.new(folder / "site", keys_of)
    devices = [DEVICE, *map(device, range(OTHERS))]
    grants = [
        entry(received=NOW - MINUTE, number=number, subject={"type": "device", "value": each})
        for number, each in enumerate(devices)
    ]
    stream(site, script_of(*arriving(flooded)), folder, patch, ndjson(*grants))
    return site


@pytest.mark.clause("1.1-a")
def test_other_devices_output_is_the_same_with_a_flood_and_without(tmp_path, monkeypatch):
    for name in ("calm", "flooded"):
        (tmp_path / name).mkdir()
    calm = ran(tmp_path / "calm", monkeypatch, flooded=False)
    with Peak() as peak:
        site = ran(tmp_path / "flooded", monkeypatch, flooded=True, keys_of=calm)
    assert peak.bytes < BYTES_A_RUN + BYTES_A_LINE * len(KINDS) * LINES
    before, after, compared = calm.datasets(), site.datasets(), 0
    for (region, dataset), table in before.items():
        if dataset not in NO_ROWS:
            assert rows(after[region, dataset], table) == rows(table, table), (region, dataset)
            compared += table.num_rows
    assert compared >= 2 * WINDOWS * OTHERS
    assert after["eu", "operations"].num_rows == WINDOWS * (len(KINDS) * LINES + OTHERS)

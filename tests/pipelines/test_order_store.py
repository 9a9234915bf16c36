import random

import pyarrow as pa
import pytest

from pipelines.order_store import queued
from schemas.consent import Kind
from schemas.orders import QUEUE
from transforms.orders import ORDERS


def row(number, shard=0, window=0, token=1, hold=False, kind=Kind.erase):
    tag = number.to_bytes(16, "big")
    what = {
        "order": tag,
        "token": token and token.to_bytes(16, "big"),
        "by": 0,
        "app": None,
        "event_type": None,
        "until": 5,
    }
    return what | {"epoch": "2026", "hold": hold, "kind": kind, "window": window, "shard": shard}


def made(rows):
    return pa.RecordBatch.from_pylist(rows, schema=ORDERS)


@pytest.mark.clause("5.2-erase")
def test_an_order_is_told_once_a_shard_by_the_first_window_that_knew_it():
    rows = [row(1, window=7), row(1, window=3), row(1, shard=1, window=9), row(2, window=4), row(2, window=4)]
    rows += [row(1, token=2, window=5), row(3, token=None, hold=True, kind=Kind.restrict)]
    found = queued(made(rows))
    assert found.schema.names == QUEUE.names
    told = [(r["order"][-1], r["token"] and r["token"][-1], r["shard"], r["window"]) for r in found.to_pylist()]
    assert told == [(1, 1, 0, 3), (1, 1, 1, 9), (1, 2, 0, 5), (2, 1, 0, 4), (3, None, 0, 0)]
    last = found.to_pylist()[-1]
    assert (last["action"], last["kind"], last["clause"], last["by"]) == ("hold", "restrict", "5.2-restrict", "device")
    shuffled = random.Random(1).sample(rows, len(rows))
    assert queued(made(shuffled)).to_pylist() == found.to_pylist()

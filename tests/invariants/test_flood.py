"""One device floods the entrance: what others sent is stored as if it had not, and memory is bounded by the line."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.datasets import AUDIT, ORDERS_SUFFIX, QUARANTINE, STOPPED_SUFFIX
from tests.invariants.flood import Peak, grant, write
from tests.invariants.runs import ingest

LINES = 10_000
BYTES_A_LINE, BYTES_A_RUN = 4_000, 25_000_000  # of lines of 450 bytes that open nearly all purposes
NO_ROWS = (AUDIT, QUARANTINE)


def rows(table: pa.Table, of: pa.Table) -> list[dict]:
    """The rows of a table whose events another has too, in one order; of a dataset that tells no events apart all."""
    if "event_id" in table.schema.names:
        table = table.filter(pc.is_in(table["event_id"], value_set=of["event_id"].combine_chunks()))
    return sorted(table.to_pylist(), key=repr)


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("kind", ["alike", "words", "fields"])
def test_other_devices_output_is_the_same_with_a_flood_and_without(kind, first_run, sample, site_like_first, tmp_path):
    write(tmp_path / "flood.ndjson", LINES, kind)
    grant(tmp_path / "grant.ndjson")
    site = site_like_first()
    with Peak() as peak:
        run = ingest(site, [sample.events, tmp_path / "flood.ndjson"], [sample.consents, tmp_path / "grant.ndjson"])
    assert run.status == 0
    assert peak.bytes < BYTES_A_RUN + BYTES_A_LINE * LINES
    flooded, before = site.datasets(), first_run.site.datasets()
    compared = 0
    for (region, dataset), table in before.items():
        if dataset not in NO_ROWS and not dataset.endswith((ORDERS_SUFFIX, STOPPED_SUFFIX)):
            assert rows(flooded[region, dataset], table) == rows(table, table), (region, dataset)
            compared += table.num_rows
    assert compared > 900
    assert flooded["eu", "operations"].num_rows == LINES + before["eu", "operations"].num_rows

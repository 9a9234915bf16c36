"""The floor beside which the main job is measured: the least that reading its input and writing its output can cost.

    python -m benchmarks.floor EVENTS DEPLOYMENT OUT

prints one JSON object. Two things are timed, on one core and without threads:

parse   pyarrow.json reads all events, in the job's blocks of 16 MB and with the schema of a line given. What it does
        not know it ignores; nothing is checked, and each block is dropped once it is read, since keeping them all
        takes up to half as long again. The consent ledger is not read at all.
write   pyarrow.parquet writes the same rows that the job has stored, one file a dataset with all its regions in it,
        unencrypted and with the writer's own settings. The rows are read back from the job's stores beforehand, and
        that is not timed. Labels come back as plain text; rows keep the order of the stores, which helps the floor.

So a record that the job stores five times is written five times here too, and what no purpose may have is not written.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from pipelines.blocks import read_blocks, spans
from pipelines.deployment import Deployment, load_deployment
from pipelines.profile import now
from pipelines.stores import open_dataset
from schemas.datasets import AUDIT, ORDERS_SUFFIX, RECEIVED_DATE, STOPPED_SUFFIX
from schemas.fields import EVENT_FIELDS
from schemas.shape import arrow_schema


def parse(events: str) -> tuple[np.ndarray, int]:
    """Seconds (of the wall, of the processor) to read all events, and how many there are."""
    parsing = pa.json.ParseOptions(explicit_schema=arrow_schema(EVENT_FIELDS), unexpected_field_behavior="ignore")
    lines, started = 0, now()
    for span in spans([events]):
        for block in read_blocks(span):
            reading = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            lines += pa.json.read_json(pa.BufferReader(block), reading, parsing).num_rows
    return now() - started, lines


def stored(deployment: Deployment) -> Iterator[tuple[str, pa.Table]]:
    """Each dataset of records that the job has left, of all regions together, with the columns of its files."""
    holding = {region: place.manifest.datasets() for region, place in deployment.regions.items()}
    names = {dataset for datasets in holding.values() for dataset in datasets} - {AUDIT}
    for name in sorted(name for name in names if not name.endswith((ORDERS_SUFFIX, STOPPED_SUFFIX))):
        held = (open_dataset(deployment, region, name) for region, datasets in holding.items() if name in datasets)
        yield name, pa.concat_tables([part.to_table() for part in held]).drop_columns([RECEIVED_DATE])


def write(deployment: Deployment, out: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Seconds (of the wall, of the processor) to write what was stored, and the rows of each dataset."""
    took, rows = np.zeros(2), {}
    for name, table in stored(deployment):
        rows[name] = table.num_rows
        started = now()
        pq.write_table(table, out / f"{name}.parquet")
        took += now() - started
    return took, rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.floor", description="The floor under one run of the main job.")
    for name in ("events", "deployment", "out"):
        parser.add_argument(name)
    given = parser.parse_args()
    pa.set_cpu_count(1)
    parsing, lines = parse(given.events)
    writing, rows = write(load_deployment(given.deployment), Path(given.out))
    steps = {"parse": parsing.tolist(), "write": writing.tolist()}
    print(json.dumps({"seconds": (parsing + writing).tolist(), "steps": steps, "lines": lines, "rows": rows}))


if __name__ == "__main__":
    main()

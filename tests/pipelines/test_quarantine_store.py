"""QuarantineStore: every rejected line once, or counted, in the region it belongs to."""

from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from hypothesis import given

from pipelines.deployment import Deployment, load_deployment, prepare
from pipelines.quarantine_store import QuarantineStore, gathered
from pipelines.stores import open_dataset
from schemas.pack_files import load_pack
from schemas.quarantine import ROWS
from schemas.tallies import Counts
from tests.stranger import deploy
from tests.strategies import few, seeds
from transforms.envelope import create_pair, open_lines, read_private
from transforms.keyring import local_folder
from transforms.quarantine import PUBLIC_KEY, Quarantine, Rejected, place_of
from transforms.verdict import CODE, Reason

WHERE = load_pack().where
EU, US = WHERE.code("eu"), WHERE.code("us")
HOURS = (1_614_592_800_000, 1_614_596_400_000, None)


def line(number: int, country: str = "NL", hour: int | None = None) -> bytes:
    received = "" if hour is None else f'"received_time":"2021-03-01T{10 + HOURS.index(hour)}:30:00Z",'
    return f'{{{received}"n":{number},"account_country":"{country}",'.encode()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    folder = tmp_path_factory.mktemp("deployment")
    made = load_deployment(deploy(folder, ("eu", "us")))
    for place in made.regions.values():
        prepare(place, lambda _: None)
        create_pair(local_folder(place.keys) / PUBLIC_KEY, folder / f"{place.region}.pem")
    return made


def sealed(deployment: Deployment, *blocks: list[bytes], keep: int = 1_000) -> list[Rejected]:
    keys = {EU: deployment.place("eu").keys, US: deployment.place("us").keys}
    quarantine = Quarantine("telemetry", WHERE, keys, EU)
    found = []
    for lines in blocks:
        reasons = [CODE[Reason.NOT_JSON if each.startswith(b'{"n"') else Reason.BAD_TIME] for each in lines]
        found += quarantine.seal(lines, np.array(reasons, np.int8), keep, Counts())
    return found


def opened(rows: pa.Table, deployment: Deployment, region: str = "eu") -> list[bytes]:
    private = read_private(deployment.path.parent / f"{region}.pem")
    return [each for each in open_lines(rows, private, place_of(region, "telemetry")) if each is not None]


def counted(counts: Counts) -> Counter:
    found = Counter()
    for region, rows in counts.tallies():
        for row in rows.to_pylist():
            hour = row["hour"] and int(row["hour"].timestamp() * 1000)
            found[region, row["outcome"], row["reason"], hour] += row["count"]
            assert (row["step"], row["dataset"]) == ("quarantine", "telemetry")
    return found


def test_a_line_of_two_blocks_is_kept_once(deployment):
    parts = [rows for _, rows in sealed(deployment, [line(1), line(2), line(2)], [line(2), line(3)])]
    counts = Counts()
    rows = pa.Table.from_batches([gathered(parts, "eu", counts)])
    lines = dict(zip(opened(rows, deployment), rows["lines"].to_pylist(), strict=True))
    assert lines == {line(1): 1, line(2): 3, line(3): 1}
    assert rows["row_id"].to_pylist() == sorted(rows["row_id"].to_pylist())
    assert counted(counts) == {("eu", "kept", "not_json", None): 3, ("eu", "repeated", "not_json", None): 2}


def test_lines_that_are_not_kept_become_one_row_for_each_reason_and_hour(deployment):
    ten, eleven, _ = HOURS
    block = [line(n, hour=hour) for n, hour in enumerate((ten, ten, eleven, None, None))]
    parts = [rows for _, rows in sealed(deployment, block, block, keep=0)]
    counts = Counts()
    rows = gathered(parts, "eu", counts)
    assert rows.num_rows == 3 and rows.column("row_id").null_count == 3
    assert counted(counts) == {
        ("eu", "sampled", "bad_time", ten): 4,
        ("eu", "sampled", "bad_time", eleven): 2,
        ("eu", "sampled", "not_json", None): 4,
    }
    assert sum(rows.column("lines").to_pylist()) == 10


@few
@given(seeds)
def test_the_order_of_blocks_does_not_show_and_no_line_is_lost(deployment, seed):
    random = np.random.default_rng(seed)
    blocks = [
        [line(n, hour=HOURS[n % 3]) for n in random.integers(0, 12, random.integers(1, 9)).tolist()] for _ in range(4)
    ]
    parts = [rows for _, rows in sealed(deployment, *blocks, keep=int(random.integers(0, 5)))]
    first, second = Counts(), Counts()
    rows = gathered(parts, "eu", first)
    again = gathered([parts[at] for at in random.permutation(len(parts))], "eu", second)
    clear = ["input", "stage", "reason", "clause", "hour", "state", "lines", "row_id", "bytes"]
    assert rows.select(clear).to_pylist() == again.select(clear).to_pylist()
    assert counted(first) == counted(second)
    for reason in ("not_json", "bad_time"):
        total = sum((not each.startswith(b'{"n"')) == (reason == "bad_time") for block in blocks for each in block)
        assert sum(n for (_, _, of, _), n in counted(first).items() if of == reason) == total


@pytest.mark.parametrize("repeated", [0, 2])
def test_it_is_stored_encrypted_in_the_quarantine_of_its_region(deployment, repeated):
    elements = sealed(deployment, [line(1), line(2, "US")], [line(1), line(3)])
    places = {EU: deployment.place("eu"), US: deployment.place("us")}

    def check(tallies):
        found = Counter()
        for region, rows in tallies:
            for row in rows.to_pylist():
                found[region, row["outcome"]] += row["count"]
        stored = {("eu", "rows"): 2, ("us", "rows"): 1}
        assert found == {("eu", "kept"): 2, ("eu", "repeated"): 1, ("us", "kept"): 1} | stored

    options = PipelineOptions(direct_runner_bundle_repeat=repeated)
    with beam.Pipeline(runner="FnApiRunner", options=options) as pipeline:
        rejected = pipeline | beam.Create(elements).with_output_types(Rejected)
        assert_that(rejected | QuarantineStore(places, "abc", "first", "2021-03-01", None), check)
    for region, lines in (("eu", {line(1), line(3)}), ("us", {line(2, "US")})):
        rows = open_dataset(deployment, region, "quarantine").to_table()
        assert set(opened(rows, deployment, region)) == lines
        assert rows.drop_columns(["received_date"]).schema.equals(ROWS)
        files = [path for path in deployment.place(region).quarantine.rglob("*") if path.is_file()]
        assert {path.name.split(".")[0] for path in files} == {"abc-0-0"}


def test_in_a_stream_each_window_has_a_file(deployment, tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu",)))
    prepare(made.place("eu"), lambda _: None)
    first, second = (rows for _, rows in sealed(deployment, [line(1)], [line(1)]))
    stamped = [(0, first), (599, first), (600, second)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rejected = (
            pipeline
            | beam.Create(stamped)
            | beam.MapTuple(lambda at, rows: beam.window.TimestampedValue((EU, rows), at)).with_output_types(Rejected)
        )
        rejected | QuarantineStore({EU: made.place("eu")}, "abc", "first", "2021-03-01", 600_000)  # noqa: B018
    entries = {entry.logical: entry.rows for entry in made.place("eu").manifest.entries("quarantine")}
    assert entries == {"abc-0-0": 1, "abc-600-0": 1}

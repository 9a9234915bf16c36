"""What a run leaves depends on what came in, not on the order, the files, the runner or how often it was tried."""

import gzip
import json
import random
import shutil
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.blocks import input_id
from schemas.datasets import AUDIT
from tests.invariants.runs import LISTS, REGIONS, Site, ingest

WITHDRAWN = "service"


def rows(site: Site) -> dict:
    """Every dataset as columns of values; the audit without the day on which it was written, and without the number of
    pieces that the files were read in; of orders each once, without the tokens, which are those of the epochs that had
    a key by then."""
    return {name: _lasting(name[1], table).to_pydict() for name, table in site.datasets().items()}


def _lasting(dataset: str, table: pa.Table) -> pa.Table:
    if dataset.endswith(LISTS):
        table = table.drop_columns([name for name in ("token", "epoch", "received_date") if name in table.column_names])
        once = table.group_by(table.column_names, use_threads=False).aggregate([])
        return once.sort_by([("order", "ascending"), ("shard", "ascending")])
    return _counted(table) if dataset == AUDIT else table


def _counted(table: pa.Table) -> pa.Table:
    rows = pc.and_(pc.equal(table["step"], "orders"), pc.equal(table["outcome"], "rows"))
    return table.filter(pc.invert(pc.or_(pc.equal(table["outcome"], "spans"), rows))).drop_columns(["received_date"])


def entries(site: Site, of: str = "") -> dict:
    """The manifest's entries of one input, or all, without the input's own id in their names. Lists of orders are left
    out."""
    found = {}
    for region in REGIONS:
        for (dataset, date, logical), what in site.entries(region).items():
            if logical.startswith(of) and not dataset.endswith(LISTS):
                name = logical.partition("-")[2] if of else logical
                found[region, dataset, date if dataset != AUDIT else None, name] = what
    return found


@pytest.fixture(scope="module")
def first_rows(first_run) -> dict:
    """What is compared with, read once: no test changes the first site."""
    return rows(first_run.site)


def test_the_comparison_sees_rows_of_many_datasets(first_rows):
    assert len(first_rows) > 50 and sum(len(next(iter(table.values()))) for table in first_rows.values()) > 500


def test_the_order_of_lines_and_how_they_are_spread_over_files_change_nothing(
    first_run, first_rows, sample, site_like_first, tmp_path
):
    lines, ledger = sample.lines, sample.consents.read_bytes().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    random.Random(2).shuffle(ledger)
    files = [tmp_path / "a.ndjson", tmp_path / "b.ndjson.gz", tmp_path / "c.ndjson", tmp_path / "d.ndjson"]
    files[0].write_bytes(b"".join(lines[:100]))
    files[1].write_bytes(gzip.compress(b"".join(lines[100:600])))
    files[2].write_bytes(b"".join(lines[600:]))
    files[3].write_bytes(b"")
    ledgers = [tmp_path / "x.ndjson", tmp_path / "y.ndjson"]
    ledgers[0].write_bytes(b"".join(ledger[:400]))
    ledgers[1].write_bytes(b"".join(ledger[400:]))

    run = ingest(site_like_first(), files, ledgers)

    assert run.status == 0
    assert rows(run.site) == first_rows
    spread, whole = (
        entries(run.site, input_id(map(str, files))),
        entries(first_run.site, input_id([str(sample.events)])),
    )
    assert {name: what for name, what in spread.items() if name[1] != AUDIT} == {
        name: what for name, what in whole.items() if name[1] != AUDIT
    }
    assert spread.keys() == whole.keys()


def test_a_runner_that_loses_counts_behind_timers_is_refused(sample, site_like_first):
    """Beam's BundleBasedDirectRunner ends a GroupByKey before the timers at the end of the global window fire."""
    run = ingest(site_like_first(), [sample.events], [sample.consents], "--runner=BundleBasedDirectRunner")
    assert run.status == 2


def test_a_second_run_with_every_bundle_tried_twice_replaces_the_first_and_sweeps_what_a_killed_one_left(
    first_run, first_rows, sample, tmp_path
):
    site = first_run.site.copy(tmp_path / "site")
    store = site.place("eu").store
    whole = next(path for path in store.glob("operations/*/*.parquet"))
    killed = whole.with_name(f"{whole.name.partition('.')[0]}.0123456789abcdef.parquet")
    foreign = whole.with_name("00112233445566aa-0-0.0123456789abcdef.parquet")  # of a run that may still go on
    killed.write_bytes(whole.read_bytes()[:1000])
    shutil.copy(whole, foreign)
    assert rows(site) == first_rows, "a file that the manifest does not name is not there"

    run = ingest(site, [sample.events], [sample.consents], "--direct_runner_bundle_repeat=2")

    assert run.status == 0
    assert rows(site) == first_rows
    assert entries(site) == entries(first_run.site)
    assert not killed.exists() and foreign.exists()
    foreign.unlink()
    assert folders(site) == folders(first_run.site)


def folders(site: Site) -> Counter:
    """How many Parquet files are where, but for the lists of orders."""
    files = [path.parent.relative_to(site.folder) for path in site.files() if path.suffix == ".parquet"]
    return Counter(folder for folder in files if not folder.parent.name.endswith(LISTS))


def test_a_run_over_other_files_takes_nothing_away(first_run, other_run):
    before, after = entries(first_run.site), entries(other_run.site)
    assert before.items() <= after.items()
    assert len(after) == 2 * len(before)


@pytest.mark.clause("5.3")
def test_a_withdrawal_that_came_in_since_removes_the_rows_of_that_person_for_that_purpose(
    first_run, first_rows, sample, tmp_path
):
    device = _busiest_device(sample)
    entry = {
        "entry_id": "withdrawn-later",
        "time": "2021-03-09T00:00:00.000Z",
        "received_time": "2021-03-09T00:00:01.000Z",
        "kind": "withdraw",
        "subject": {"type": "device", "value": device},
        "purposes": [WITHDRAWN],
        "residency": {"device_region": "NL"},
    }
    ledger = tmp_path / "longer.ndjson"
    ledger.write_bytes(sample.consents.read_bytes() + json.dumps(entry).encode() + b"\n")
    site = first_run.site.copy(tmp_path / "site")

    run = ingest(site, [sample.events], [ledger])

    assert run.status == 0
    before, after = first_rows, rows(site)
    changed = {name for name in before if before[name] != after.get(name) and name[1] != AUDIT}
    listed = {name for name in changed if name[1].endswith(LISTS)}  # in every region: a stop acts in all
    ((region, dataset),) = changed - listed
    assert dataset == WITHDRAWN and {name for _, name in listed} == {dataset + ending for ending in LISTS}
    kept = set(after.get((region, dataset), {"event_id": []})["event_id"])
    gone = {
        token
        for event, token in zip(
            before[region, dataset]["event_id"], before[region, dataset]["device_android_id"], strict=True
        )
        if event not in kept
    }
    assert len(gone) == 1 and not gone & set(after[region, dataset]["device_android_id"])


def _busiest_device(sample) -> str:
    """The device of which the purpose has most rows, among those that the ledger knows nothing of."""
    ledger = sample.consents.read_text()
    devices = Counter(
        event["device"]["android_id"]
        for event in map(json.loads, sample.lines)
        if event["event_type"] in ("app_lifecycle", "session", "service_activity")
        and event["source"] == "device"
        and event.get("device", {}).get("android_id", ledger[:1]) not in ledger
    )
    return devices.most_common(1)[0][0]

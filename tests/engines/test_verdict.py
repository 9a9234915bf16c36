"""The verdict finds what was done to a store, whatever it was, and nothing in one that was left alone.

No engine is needed: a run over the load's files, of which the rule's answer is known, and then one fault at a time.
"""

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.audit_rows import keep, read_totals
from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.manifest import Entry
from pipelines.stores import commit, open_entries, stage
from schemas.datasets import AUDIT
from schemas.pack_files import load_pack
from schemas.statistics import RELEASES
from schemas.tallies import Counts
from tests.engines import load, verdict
from tests.engines.expected import Expected, expected, of_files
from tests.engines.pack import DAY_MS, HOUR_MS, write_pack
from tests.invariants.runs import Site, ingest

EVENTS = 900
WITHOUT_ENGINES = True  # of all tests in this folder these need none


@dataclass(frozen=True)
class Stored:
    """A run over the load, and what the rule says of it."""

    site: Site
    answer: Expected
    canaries: list[str]

    def verdict(self, **more) -> verdict.Verdict:
        return verdict.judge(load_deployment(self.site.file), self.answer, **more)

    def faults(self) -> dict:
        return self.verdict().faults


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Stored:
    folder = tmp_path_factory.mktemp("exact")
    places = [f"--telemetry-folder={folder / 'telemetry'}", f"--ledger-folder={folder / 'ledger'}"]
    with pytest.MonkeyPatch.context() as patch:
        # By a clock on which it was just noon: two hours before, when statistics close, was the same day.
        clock, day_ns = time.time_ns, DAY_MS * 1_000_000
        since_noon = (clock() - day_ns // 2) % day_ns
        patch.setattr(time, "time_ns", lambda: clock() - since_noon)
        load.main([*places, f"--events={EVENTS}", "--days=1", "--seconds=0", f"--report={folder / 'report.json'}"])
    told = json.loads((folder / "report.json").read_text())
    events, consents = (sorted((folder / name).glob("*.ndjson")) for name in ("telemetry", "ledger"))
    pack = write_pack(folder / "pack", closes=told["ended_ms"] - 2 * HOUR_MS)
    run = ingest(Site.new(folder / "site"), events, consents, f"--policy={pack}")
    assert run.status == 0
    answer = expected(of_files(events, consents), load_pack(str(pack)), None)
    return Stored(run.site, answer, told["canaries"])


@pytest.fixture
def stored(exact, tmp_path) -> Stored:
    """The same in a copy, to be spoilt."""
    return replace(exact, site=exact.site.copy(tmp_path / "site"))


def test_a_run_that_was_left_alone_is_exact(exact):
    found = exact.verdict(canaries=exact.canaries)
    assert found.faults == {}
    assert found.stored == found.expected > EVENTS
    assert verdict.missing(load_deployment(exact.site.file), exact.answer) == 0
    closed = [purpose for purpose, stands in exact.answer.stands.items() if not stands.all()]
    assert len(closed) == len(exact.answer.stands), "the rule must close something of each purpose"
    assert exact.answer.lines["gate", "duplicates"] and exact.answer.lines["telemetry", "quarantined"]


def of(stored: Stored, region: str = "eu", dataset: str = "operations") -> tuple[RegionalPlace, Entry]:
    place = stored.site.place(region)
    return place, max(place.manifest.entries(dataset), key=lambda entry: entry.rows)


def rows_of(place: RegionalPlace, entry: Entry) -> pa.RecordBatch:
    (rows,) = open_entries(place, [entry]).to_table().drop_columns(["received_date"]).combine_chunks().to_batches()
    return rows


def put(place: RegionalPlace, entry: Entry, logical: str, rows: pa.RecordBatch, dataset: str | None = None) -> None:
    commit([stage(place, dataset or entry.dataset, entry.received_date, logical, rows, entry.run)])


def test_a_row_that_is_missing_is_lost(stored):
    place, entry = of(stored)
    put(place, entry, entry.logical, rows_of(place, entry).slice(1))
    verdict.path_of(place, entry).unlink()
    assert stored.faults() == {"lost": 1}


def test_an_entry_that_is_missing_loses_its_rows_and_leaves_its_file(stored):
    place, entry = of(stored)
    found = [path for path in place.manifest_folder.rglob("*.json") if path.stem == entry.logical]
    (path,) = [path for path in found if path.parts[-3] == entry.dataset and path.parts[-2] == entry.received_date]
    path.unlink()
    assert stored.faults() == {"lost": entry.rows, "unnamed": [str(verdict.path_of(place, entry))]}
    assert verdict.missing(load_deployment(stored.site.file), stored.answer) == entry.rows


def test_a_file_that_is_gone_or_damaged_is_unreadable_and_its_rows_are_lost(stored):
    place, entry = of(stored)
    path = verdict.path_of(place, entry)
    path.unlink()
    assert stored.faults() == {"lost": entry.rows, "unreadable": [str(path)]}
    path.write_bytes(b"PAR1")
    assert stored.faults() == {"lost": entry.rows, "unreadable": [str(path)]}


@pytest.mark.parametrize("dataset", ["operations", "research", "device_performance"])
def test_a_row_that_is_there_twice_is_duplicated(stored, dataset):
    place, entry = of(stored, dataset=dataset)
    put(place, entry, f"{entry.logical}-1", rows_of(place, entry).slice(0, 1))
    assert stored.faults() == {"duplicated": 1}


@pytest.mark.parametrize("purpose", ["operations", "research"])
def test_a_row_of_which_the_rule_says_no_is_against_consent(stored, purpose):
    answer, region = stored.answer, list(stored.answer.pack.regions).index("eu")
    numbered = answer.event_type == (0 if purpose == "research" else answer.event_type)  # app_usage
    at = int((answer.stands[purpose] & (answer.region == region) & numbered).argmax())
    closed = answer.stands[purpose].copy()
    closed[at] = False
    spoilt = replace(stored, answer=replace(answer, stands=answer.stands | {purpose: closed}))
    assert spoilt.faults().pop("against_consent") == 1


@pytest.mark.parametrize("dataset", ["operations", "research"])
def test_a_row_of_another_region_is_foreign(stored, dataset):
    place, entry = of(stored, dataset=dataset)
    there = stored.site.place("us")
    put(there, entry, f"{entry.logical}-1", rows_of(place, entry).slice(0, 2))
    assert stored.faults() == {"foreign": 2}


def test_a_row_of_no_record_is_unknown(stored):
    place, entry = of(stored)
    rows = rows_of(place, entry).slice(0, 1)
    rows = rows.set_column(rows.schema.get_field_index("event_id"), "event_id", pa.array([bytes(16)], pa.binary(16)))
    put(place, entry, f"{entry.logical}-1", rows)
    assert stored.faults() == {"unknown": 1}


def test_files_that_nothing_names_are_found(stored):
    place = stored.site.place("eu")
    left = [
        place.store / "operations/received_date=2026-01-01/orphan.parquet",
        place.store / "operations/.left.part",
        place.quarantine / "received_date=2026-01-01/orphan.parquet",
        place.statistics / "day=2026-01-01/.release.parquet.00.part",
        place.manifest_folder / "operations/2026-01-01/.left.json.00.part",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
    assert stored.faults() == {"unnamed": sorted(map(str, left))}


def test_a_release_that_was_made_again_or_has_gone_is_told(stored):
    deployment = load_deployment(stored.site.file)
    before = verdict.released(deployment)
    first, second, *_ = (Path(path) for path in before)
    assert stored.verdict(releases=before).faults == {}
    first.write_bytes(second.read_bytes() + b" ")
    shutil.rmtree(second.parent)
    told = stored.verdict(releases=before).faults["statistics"]
    assert sorted(told) == sorted(f"{path} was made, and has changed or gone" for path in (first, second))


def test_of_a_stream_each_day_that_is_due_is_released_and_no_other(stored):
    """The stores are a bounded run's: held against a stream that has ended none of its days, and then all of them."""
    stream = replace(stored, answer=replace(stored.answer, window_ms=600_000))
    made = {(region, day) for region in stored.answer.pack.regions for day in days(stored.site.place(region))}
    assert made < set(stream.answer.days)
    told = stream.verdict(watermark=1 << 62).faults["statistics"]
    assert sum("which is due" in line for line in told) == len(set(stream.answer.days) - made)
    assert not any("which is due" in line for line in stream.verdict(watermark=0).faults.get("statistics", ()))
    day, region = 1, "eu"
    path = stored.site.place(region).statistics / "day=1970-01-02/release.parquet"
    path.parent.mkdir()
    shutil.copy(next(iter(stored.site.place(region).statistics.glob(RELEASES))), path)
    told = stream.verdict(watermark=0).faults["statistics"]
    assert f"{region} has a release of 1970-01-02, of which nothing counts" in told and day not in made


def days(place: RegionalPlace) -> list[int]:
    return list(verdict.days_of(place))


MORE = [
    ("telemetry", "lines", {}),
    ("gate", "duplicates", {}),
    ("gate", "opened", {"event_type": "session", "purpose": "security"}),
    ("store", "stored", {"event_type": "session", "purpose": "security", "dataset": "security"}),
    ("statistics", "counted", {"event_type": "session", "purpose": "statistics"}),
    ("ledger", "entries", {}),
    ("store", "foreign", {"dataset": "security"}),
    ("audit", "unreconciled", {"reason": "judged = opened + refused"}),
]


def test_each_count_that_is_not_the_rules_is_told(stored):
    place = stored.site.place("eu")
    run = next(entry.run for entry in place.manifest.entries(AUDIT))
    for step, outcome, words in MORE:
        counts = Counts()
        counts.add(step, outcome, 1, **words)
        ((_, rows),) = counts.tallies()
        keep(place, "2026-01-01", "more-0-0", pa.Table.from_batches([rows]), run)
        totals = read_totals(load_deployment(stored.site.file).regions.values())
        assert verdict.miscounted(totals, stored.answer), (step, outcome)
    assert "audit" in stored.faults()


def test_a_value_that_identifies_is_found_wherever_it_lies(stored, tmp_path):
    values = {kind_of(value): value for value in stored.canaries}
    assert values.keys() == {"email", "account", "imei", "device"}
    left = []
    for kind, value in values.items():
        state, note = tmp_path / kind, stored.site.place("eu").store / f"operations/{kind}"
        state.write_bytes(bytes(1 << 20) + value.encode().hex().encode())
        note.write_text(f"failed for {value}")
        left += [state, note]
    found = stored.verdict(canaries=stored.canaries, search=[tmp_path])
    assert found.leaked == sorted(map(str, left))


def kind_of(value: str) -> str:
    if "@" in value:
        return "email"
    if value.startswith("u-"):
        return "account"
    return "imei" if len(value) == 15 else "device"

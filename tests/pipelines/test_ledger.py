"""Snapshots of a ledger: a job that starts from one decides as a job that reads the ledger itself."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest

from pipelines import ingest as ingesting
from pipelines import job, ledger, read, replay, snapshots
from pipelines.stores import open_dataset
from schemas.consent import SEALED_LEDGER
from schemas.datasets import AUDIT, LEDGER, LEDGER_IDS, LEDGER_SNAPSHOT, ORDERS_SUFFIX, QUARANTINE, STOPPED_SUFFIX
from schemas.pack_files import DEFAULT_PACK, SHIPPED
from schemas.tallies import COUNTS
from tests.invariants.crowd import Crowd, write_pack
from tests.invariants.needles import Needles
from tests.invariants.runs import REGIONS, Site, ingest
from tests.lines import NOW, entry, event, moment, ndjson
from tests.stranger import Outcome, command

pytestmark = pytest.mark.clause("5.3")

MIDDLE, END = "2021-03-01T00:02:00Z", "2026-06-01T00:00:00Z"
NOT_DATA = (AUDIT, QUARANTINE, LEDGER, LEDGER_IDS, LEDGER_SNAPSHOT)


def snapshot(site: Site, *consents: Path, as_of: str = END, **flags: object) -> Outcome:
    named = [f"--{name}={value}" for name, value in flags.items()]
    given = [f"--consents={path}" for path in consents]
    return command(ledger, "snapshot", *given, f"--as-of={as_of}", f"--deployment={site.file}", *named)


# --- the same results


@dataclass(frozen=True)
class People:
    """Records and entries of made-up people, the entries also as of a time and the rest, and a place with keys."""

    site: Site
    pack: Path
    events: Path
    consents: Path
    rest: Path
    values: set[bytes]

    def run(self, site: Site, *consents: Path, **flags: str) -> tuple[dict, Counter]:
        """What a run stored, and what it counted apart from how it came to know the ledger."""
        named = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        with mock.patch.object(job, "_BYTES_A_SHARD", self.events.stat().st_size // 3):
            assert ingest(site, [self.events], consents, f"--policy={self.pack}", *named).status == 0
        held = site.datasets()
        return {name: in_order(rows) for name, rows in held.items() if holds_records(name[1])}, counted(held)


def holds_records(dataset: str) -> bool:
    """Whether its rows follow from the input alone: those of orders also tell which tokens there were to name."""
    return dataset not in NOT_DATA and not dataset.endswith((ORDERS_SUFFIX, STOPPED_SUFFIX))


def in_order(rows: pa.Table) -> list[str]:
    return sorted(json.dumps(row, default=str) for row in rows.to_pylist())


def counted(held: dict) -> Counter:
    found: Counter = Counter()
    for region in REGIONS:
        for row in held.get((region, AUDIT), SEALED_LEDGER.empty_table()).to_pylist():
            if row["step"] in ("ledger", "snapshot", "quarantine") or row["outcome"] in ("known", "unknown"):
                continue
            found[region, *(row[name] for name in COUNTS.names[:-1])] += row["count"]
    return found


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> People:
    folder = tmp_path_factory.mktemp("people")
    crowd = Crowd(seed=23, people=50)
    events, consents = crowd.write(folder)
    rest = folder / "rest.ndjson"
    later = [entry["line"] for entry in crowd.entries if entry["line"]["received_time"] > MIDDLE.replace("Z", ".000Z")]
    rest.write_bytes(ndjson(*later))
    values = {entry["subject"][1].encode() for entry in crowd.entries}
    values |= {entry["entry_id"].encode() for entry in crowd.entries if len(entry["entry_id"]) >= 6}
    values |= {bytes.fromhex(value.decode()) for value in values if len(value) == 16 and b"-" not in value}
    return People(Site.new(folder / "site"), write_pack(folder / "pack"), events, consents, rest, values)


@pytest.fixture(scope="module")
def expected(people, tmp_path_factory):
    """Of the whole ledger, read as it is; the keys are made here."""
    return people.run(people.site, people.consents)


@pytest.fixture(scope="module")
def kept(people, expected, tmp_path_factory) -> Site:
    """A place with the same keys that holds a snapshot of the middle and one of the end, and no records."""
    site = Site.new(tmp_path_factory.mktemp("kept") / "site", keys_of=people.site)
    for name, as_of in (("middle", MIDDLE), ("end", END)):
        made = snapshot(site, people.consents, as_of=as_of, name=name, policy=people.pack)
        assert made.status == 0, made.err
    return site


@pytest.mark.parametrize(("name", "beside"), [("middle", "consents"), ("middle", "rest"), ("end", None)])
def test_a_job_decides_as_with_the_whole_ledger(people, expected, kept, tmp_path, name, beside):
    site = kept.copy(tmp_path / "site")
    consents = [getattr(people, beside)] if beside else []
    rows, counts = people.run(site, *consents, consent_snapshot=name)
    assert rows == expected[0]
    assert counts == expected[1]
    for region in REGIONS:
        (part,) = site.place(region).manifest.of(LEDGER, f"snapshot-{name}.*")
        steps = in_audit(site, region)
        assert steps["snapshot", "entries", name] == part.rows > 0
        assert steps["gate", "known", ""] == steps["ledger", "sent", ""] > part.rows


def in_audit(site: Site, region: str) -> Counter:
    """How many by step, outcome and reason."""
    found: Counter = Counter()
    for row in open_dataset(site.file, region, AUDIT).to_table().to_pylist():
        found[row["step"], row["outcome"], row["reason"]] += row["count"]
    return found


def test_the_comparison_can_fail(people, expected, kept, tmp_path):
    rows, counts = people.run(kept.copy(tmp_path / "site"), consent_snapshot="middle")
    assert rows != expected[0] and counts != expected[1]
    assert sum(map(len, expected[0].values())) > 50


# --- lines that do not read

DEVICE = "1f3a5c7e9b0d2468"
HERE, THERE = {"account_country": "NL"}, {"account_country": "IN"}
GARBLED = entry("withdrew", number=7, residency={})
CORRECTION = entry("grant", number=7, residency=HERE)
HOMELESS_CORRECTION = entry("grant", number=7, residency={})
OTHERS_CORRECTION = entry("grant", number=7, subject={"type": "account", "value": "acct-1"}, residency=HERE)


@pytest.fixture
def served(tmp_path):
    """Rows of the contract purpose by region of one device seen in two, by what a snapshot holds and what comes
    beside it."""

    def run(before: list[dict], after: list[dict]) -> tuple[int, dict[str, int]]:
        events = [event(n, residency=where, device__android_id=DEVICE) for n, where in enumerate((HERE, HERE, THERE))]
        paths = [tmp_path / name for name in ("events.ndjson", "before.ndjson", "after.ndjson")]
        for path, lines in zip(paths, (events, before, after), strict=True):
            path.write_bytes(ndjson(*lines))
        site = Site.new(tmp_path / "site")
        made = snapshot(site, paths[1], as_of=moment(NOW), name="kept")
        status = ingest(site, paths[:1], paths[2:], "--consent-snapshot=kept").status
        assert made.status == status
        return status, {region: open_dataset(site.file, region, "service").count_rows() for region in ("eu", "in")}

    return run


def test_such_a_line_restricts_its_subject_in_every_region(served):
    assert served([GARBLED], []) == (0, {"eu": 0, "in": 0})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([GARBLED], [CORRECTION], id="after"),
        pytest.param([CORRECTION], [GARBLED], id="before"),
        pytest.param([GARBLED, CORRECTION], [], id="in it"),
        pytest.param([], [GARBLED, CORRECTION], id="beside it"),
        pytest.param([GARBLED], [OTHERS_CORRECTION], id="of another"),
        pytest.param([HOMELESS_CORRECTION], [GARBLED], id="that acts nowhere"),
    ],
)
def test_until_it_is_corrected(served, before, after):
    assert served(before, after) == (0, {"eu": 2, "in": 1})


def test_a_line_that_names_nobody_is_told_by_the_snapshot_and_by_every_job_that_starts_from_it(served):
    assert served([entry("grant", subject={"type": "device", "value": "?"})], []) == (3, {"eu": 2, "in": 1})


# --- what is kept


def test_what_is_printed(people, tmp_path):
    site = Site.new(tmp_path / "site")
    made = snapshot(site, people.consents, as_of=MIDDLE, policy=people.pack)
    title, _, head, *rest = made.out.splitlines()
    name = title.split()[1].rstrip(":")
    assert name.startswith("20210301T000200Z-") and MIDDLE[:-1] in title
    assert head.split() == ["region", "entries", "stops", "unreadable"]
    for region in REGIONS:
        (line,) = (line.split() for line in rest if line.split()[:1] == [region])
        (found,) = site.place(region).manifest.of(LEDGER, f"snapshot-{name}.*")
        assert int(line[1].replace(",", "")) == found.rows >= int(line[2]) > int(line[3]) > 0
    lines = {words[0]: int(words[1]) for words in map(str.split, rest) if len(words) > 1 and words[1].isdigit()}
    assert lines["lines"] == lines["rejected"] + lines["entries"] + int(made.out.split("dated ahead")[1].split()[0])
    assert lines["unknown_value"] == lines["rejected"] and 0 < lines["later"] < lines["entries"]
    assert made.out.endswith(f"--consent-snapshot {name} ...\n")


@pytest.mark.clause("1.1-a")
def test_no_byte_of_it_identifies_anybody(people, kept):
    needles = Needles(value for value in people.values if len(value) >= 6)
    assert len(needles) > 200
    assert needles.found(people.consents.read_bytes()), "a control: they can be found"
    for path in kept.files():
        assert not needles.found(path.read_bytes()), path
    for (region, dataset), rows in kept.datasets().items():
        assert not needles.found(b"".join(bytes(str(row), "utf-8") for row in rows.to_pylist())), (region, dataset)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        assert not needles.found(sink.getvalue().to_pybytes()), (region, dataset)


@pytest.mark.clause("4.1-b")
def test_who_holds_the_keys_of_another_dataset_does_not_open_it(kept, tmp_path):
    site = kept.copy(tmp_path / "site")
    wrapping = site.folder / "keys" / "eu" / "wrapping"
    (wrapping / f"dataset-{LEDGER}.key").rename(tmp_path / "elsewhere")
    wanted = ["--deployment", site.file, "--region", "eu", "--out", tmp_path / "out.jsonl"]
    refused = command(read, *wanted, "--dataset", LEDGER)
    assert refused.status == 2 and f"dataset-{LEDGER}" in refused.err
    assert command(read, *wanted, "--dataset", LEDGER_SNAPSHOT).status == 0


@pytest.mark.clause("6-dc")
def test_a_permission_is_kept_in_its_region_alone_and_a_stop_in_every_one(tmp_path):
    (tmp_path / "consents.ndjson").write_bytes(
        ndjson(entry("grant", residency=HERE), entry("withdraw", number=1, residency=HERE))
    )
    site = Site.new(tmp_path / "site")
    assert snapshot(site, tmp_path / "consents.ndjson", as_of=moment(NOW)).status == 0
    rows = {region: open_dataset(site.file, region, LEDGER).count_rows() for region in REGIONS}
    assert rows == dict.fromkeys(REGIONS, 1) | {"eu": 2}


# --- again, and what goes wrong


@pytest.fixture
def small(tmp_path):
    """A ledger of two entries, the second received an hour after the first, one event of its device, and a place."""
    first, second = entry("grant", number=1, residency=HERE), entry("withdraw", received=NOW + 3_600_000, number=2)
    (tmp_path / "consents.ndjson").write_bytes(ndjson(first, second))
    (tmp_path / "events.ndjson").write_bytes(ndjson(event(1)))
    return Site.new(tmp_path / "site"), tmp_path / "consents.ndjson", tmp_path / "events.ndjson"


def started_from(site: Site, events: Path) -> int:
    """How many entries of `eu` a job started from."""
    assert ingest(site, [events], [], "--consent-snapshot=kept").status == 0
    return in_audit(site, "eu")["snapshot", "entries", "kept"]


def test_a_second_one_of_its_name_takes_its_place(small):
    site, consents, events = small
    for as_of in (moment(NOW), moment(NOW + 86_400_000)):
        made = snapshot(site, consents, as_of=as_of, name="kept")
        assert made.status == 0 and "now it is not" not in made.err
    assert started_from(site, events) == 2
    files = [path for path in site.files() if path.match("stores/eu/ledger*/*/*")]
    assert len(files) == 2, "its entries and what it is; nothing of the one before"
    assert open_dataset(site.file, "eu", LEDGER).count_rows() == 2


def broken_off(before: int):
    """Commits so many times, and then no more."""
    done, times = snapshots.commit, count()

    def commit(staged):
        if next(times) == before:
            raise KeyboardInterrupt
        done(staged)

    return commit


def test_one_that_breaks_off_leaves_the_one_before(small):
    """Wherever it breaks off before it is named; after that the new one counts."""
    site, consents, events = small
    assert snapshot(site, consents, as_of=moment(NOW), name="kept").status == 0
    for before, known in ((1, 1), (2, 2)):
        with mock.patch.object(snapshots, "commit", broken_off(before)):
            assert snapshot(site, consents, as_of=moment(NOW + 7_200_000), name="kept").status == 130
        assert started_from(site, events) == known
    assert snapshot(site, consents, as_of=moment(NOW + 7_200_000), name="kept").status == 0
    assert open_dataset(site.file, "eu", LEDGER).count_rows() == 2, "what was left is cleared away"


def test_one_for_fewer_regions_says_so(small):
    site, consents, events = small
    assert snapshot(site, consents, name="kept").status == 0
    made = snapshot(site, consents, name="kept", cell="eu")
    assert made.status == 0 and "was for cn, in, ru, sg, us too" in made.err
    refused = refusal(site, events)
    assert "in region cn is not there" in refused
    assert ingest(site, [events], [], "--consent-snapshot=kept", "--cell=eu").status == 0


def refusal(site: Site, events: Path, *flags: str, name: str = "kept", status: int = 2) -> str:
    """What a job that cannot start says, in one line."""
    outcome = command(
        ingesting, f"--events={events}", f"--consent-snapshot={name}", f"--deployment={site.file}", *flags
    )
    assert outcome.status == status, outcome.err
    (message,) = outcome.errors
    return message


def test_a_job_starts_from_none_that_is_not_there_or_was_made_for_another(small):
    site, consents, events = small
    assert "region eu has no snapshot kept; it has none" in refusal(site, events)
    assert snapshot(site, consents, name="other").status == 0
    assert "it has other" in refusal(site, events)
    assert snapshot(site, consents, name="kept", cell="us").status == 0
    assert "was made with us as the region of arrival, this job has eu" in refusal(site, events)
    assert snapshot(site, consents, name="kept").status == 0
    assert "whose regions or purposes are not this one's" in refusal(site, events, f"--policy={other_purposes(site)}")


def other_purposes(site: Site) -> Path:
    """The shipped pack without some purpose."""
    folder = shutil.copytree(SHIPPED / DEFAULT_PACK, site.folder / "other")
    (folder / "purposes.yaml").write_text((folder / "purposes.yaml").read_text().replace("legal:", "lawful:"))
    return folder


def test_nor_from_one_that_was_erased_or_damaged(small):
    site, consents, events = small
    assert snapshot(site, consents, name="kept").status == 0
    (part,) = (path for path in site.files() if path.match("us/ledger/*/*.parquet"))
    content = part.read_bytes()
    part.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert "make the snapshot again" in refusal(site, events, status=4)
    part.unlink()
    assert "make the snapshot again" in refusal(site, events, status=4)
    manifest = site.place("us").manifest
    (found,) = manifest.of(LEDGER, "snapshot-kept.*")
    manifest.put(snapshots.Entry(LEDGER, found.received_date, found.logical, rows=0, erased=True))
    assert "in region us was erased" in refusal(site, events)
    assert snapshot(site, consents, name="kept").status == 0
    assert ingest(site, [events], [], "--consent-snapshot=kept").status == 0


def test_a_replay_may_start_from_one(small):
    with pytest.raises(SystemExit), mock.patch("sys.stdout"):
        replay.main(["--help"])
    site, consents, _ = small
    assert snapshot(site, consents, name="kept").status == 0
    given = ["--private-keys=.", f"--deployment={site.file}", "--consent-snapshot=kept"]
    assert "has no quarantine key" in command(replay, *given).err


@pytest.mark.parametrize("as_of", ["2021-03-01", "2021-03-01T00:00:00", "yesterday", "0001-01-01T00:00:00+10:00"])
def test_a_time_without_its_offset_is_refused(as_of, capsys):
    with pytest.raises(SystemExit):
        ledger.main(["snapshot", "--consents=x", "--deployment=x", f"--as-of={as_of}"])
    assert "write a time as 2021-03-01T00:00:00Z" in capsys.readouterr().err


def test_a_time_is_told_in_utc_to_the_millisecond():
    assert ledger.moment("2021-03-01T02:00:00.123999+02:00") == datetime(2021, 3, 1, 0, 0, 0, 123_000, UTC)


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "-a", "a*", "a" * 81])
def test_a_name_is_plain(name, capsys):
    with pytest.raises(SystemExit):
        ledger.main(["snapshot", "--consents=x", "--deployment=x", f"--as-of={END}", f"--name={name}"])
    assert "use letters, digits, - and _" in capsys.readouterr().err


def test_a_ledger_that_breaks_off_keeps_nothing(small, tmp_path):
    site, _, _ = small
    (tmp_path / "broken.ndjson.gz").write_bytes(b"\x1f\x8b\x08\x00")
    made = snapshot(site, tmp_path / "broken.ndjson.gz", name="kept")
    assert (made.status, made.out) == (4, "") and "cannot be read to its end" in made.err
    assert not [path for path in site.files() if path.name.startswith("snapshot-")]

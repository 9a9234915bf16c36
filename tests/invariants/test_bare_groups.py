"""A crash group is told by its name where many devices share it, in what is released, and stands nowhere else."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ingest, report, statistics
from schemas.pack_files import load_pack
from schemas.statistics import RELEASE
from tests.invariants.needles import content
from tests.invariants.runs import Site
from tests.stranger import command, entry, event, ndjson

pytestmark = [pytest.mark.clause("1.1.2-log"), pytest.mark.clause("1.1.4-b"), pytest.mark.clause("2-analytics")]

DAY = "2021-03-01"
MANY, FEW = 1_500, load_pack().statistics.least_devices - 1
LOGCAT = "03-01 09:59:59.123  1234  1250 E AndroidRuntime: "
BELL = "java.lang.IllegalStateException: seen by {}\n\tat com.example.bell.Tower.ring(Tower.java:{})"
GROUP = "java.lang.IllegalStateException at com.example.bell.Tower.ring"
HUSH = "java.lang.IllegalStateException: of {}\n\tat com.example.den.Fox.hush(Fox.java:{})"
NO_FORMAT = "a kingfisher sat on the roof"
AS_A_FRAME = f"java.lang.Error: x\n  #00 pc 00aee48  /data/app/libbell.so ({NO_FORMAT})"
NAMES = (b"Tower.ring", b"Fox.hush", b"kingfisher")


def crash(number: int, device: int, trace: str) -> dict:
    return event(number, "crash", device={"android_id": f"{device:016x}"}, crash={"trace": trace})


def crashes() -> list[dict]:
    """Of many devices one crash each, half of them by way of logcat, and one text, half of them written as a frame;
    of a few another crash."""
    told = [BELL.format(f"witness{n}", n) for n in range(1, MANY + 1)]
    told[::2] = [LOGCAT + trace.replace("\n", "\n" + LOGCAT) for trace in told[::2]]
    told += [NO_FORMAT, AS_A_FRAME] * (MANY // 2) + [HUSH.format(f"witness{n}", n) for n in range(1, FEW + 1)]
    devices = [*range(1, MANY + 1)] * 2 + [*range(1, FEW + 1)]
    return [crash(number, *each) for number, each in enumerate(zip(devices, told, strict=True), 1)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over these crashes, of which some devices give the text to the User Experience Programme."""
    folder = tmp_path_factory.mktemp("crashes")
    site, events, ledger = Site.new(folder / "site"), folder / "events.ndjson", folder / "ledger.ndjson"
    cut = json.dumps(crash(9_999, 1, HUSH.format("x", 1))).encode()[:-20]
    events.write_bytes(ndjson(*crashes()) + cut + b"\n")
    ledger.write_bytes(ndjson(*(entry(n, "grant", f"{n:016x}", purposes=["user_experience"]) for n in (1, 2, 3))))
    arguments = (f"--events={events}", f"--consents={ledger}", f"--deployment={site.file}")
    outcome = command(ingest, *arguments, f"--complete-through={DAY}")
    assert outcome.status == 0, outcome.err
    return site, outcome


def shown(site: Site, *arguments: str) -> str:
    outcome = command(statistics, f"--deployment={site.file}", "--region=eu", f"--day={DAY}", *arguments)
    assert outcome.status == 0, outcome.err
    return outcome.out


def test_a_group_of_many_devices_is_shown_by_its_name_and_no_other(run):
    site, _ = run
    rows = [row for row in json.loads(shown(site, "--json")) if row["table"] == "crashes"]
    groups = {row["group"]["crash.trace"]: row for row in rows}
    assert groups.keys() == {GROUP, None}  # of a text there is no group, whatever it is written as
    exact, interval = MANY, groups[GROUP]["interval"]
    assert abs(groups[GROUP]["value"] - exact) < 10 * interval  # noise goes beyond that once in e^30
    assert GROUP in shown(site, "--table=crashes")


def test_in_a_release_no_group_of_few_devices_and_no_text_stands(run):
    site, _ = run
    file = site.place("eu").statistics / RELEASE.format(day=DAY)
    told = content(pq.ParquetFile(file).read())
    assert GROUP.encode() in told
    assert not [word for word in (*NAMES[1:], b"witness", b"Tower.java", b"seen by") if word in told]


def test_outside_of_releases_no_group_stands_by_its_name(run, tmp_path):
    site, outcome = run
    page = tmp_path / "report.html"
    assert command(report, f"--deployment={site.file}", f"--out={page}").status == 0
    held = site.datasets()
    assert held["eu", "operations"]["crash_trace"].null_count == 0  # a control: it is there, under a key
    released = site.place("eu").statistics
    left = {str(path): path.read_bytes() for path in site.files() if not path.is_relative_to(released)}
    left |= {"out": outcome.out.encode(), "err": outcome.err.encode(), "report": page.read_bytes()}
    left |= {f"{region}/{name}": content(table) for (region, name), table in held.items() if name != "user_experience"}
    assert len(left) > 10
    assert not [(where, name) for where, found in left.items() for name in NAMES if name in found]


def test_the_one_dataset_of_texts_holds_no_bare_group(run):
    site, _ = run
    held = content(site.datasets()["eu", "user_experience"])
    assert b"com.example.bell.Tower.ring(" in held and GROUP.encode() not in held


def test_devices_of_one_group_share_a_fingerprint_and_a_text_in_no_format_has_one_too(run):
    site, _ = run
    fingerprints: pa.ChunkedArray = site.datasets()["eu", "operations"]["crash_trace"]
    counts = sorted(each["counts"] for each in fingerprints.value_counts().to_pylist())
    assert counts == [FEW, MANY // 2, MANY // 2, MANY]

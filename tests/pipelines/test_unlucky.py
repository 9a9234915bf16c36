"""Unlucky runs: whatever breaks, one message says so, readers see what they saw before, and the next run makes good.

docs/faults.md is the table of what is shown here.
"""

import errno
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from pipelines import ingest, running, whole
from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.manifest import Manifest
from pipelines.stores import commit, open_dataset, stage
from schemas.datasets import AUDIT
from schemas.statistics import RELEASES
from tests.stranger import DEVICE, Outcome, command, deploy, event, ndjson
from transforms import border

ROOT = Path(ingest.__file__).parents[1]
CANARY = "4f1d-canary@example.org"
GOOD = [event(n, stray=CANARY) for n in range(1, 4)]
BAD = b'{"' + CANARY.encode() + b"\n"
RELEASED = ("--complete-through", "2021-03-01")


@dataclass(frozen=True)
class Site:
    """A cell of eu below a folder."""

    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "in" / "events.ndjson"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.ndjson"

    @property
    def place(self) -> RegionalPlace:
        return load_deployment(self.folder / "deployment.yaml").place("eu")

    def copy(self, folder: Path) -> "Site":
        shutil.copytree(self.folder, folder)
        return Site(folder)

    def give(self, content: bytes, name: str = "events.ndjson") -> Path:
        self.events.parent.mkdir(exist_ok=True)
        path = self.events.parent / name
        path.write_bytes(content)
        return path

    def arguments(self, *more: object) -> list[str]:
        given = ("--events", self.events.parent, "--consents", self.ledger, "--cell", "eu", *RELEASED)
        return [str(each) for each in (*given, "--deployment", self.folder / "deployment.yaml", *more)]

    def run(self, *more: object) -> Outcome:
        return command(ingest, *self.arguments(*more))

    def seen(self) -> dict[str, list]:
        """All that a reader can find: the rows of every dataset, and the days of which there are statistics."""
        held = {}
        for dataset in set(self.place.manifest.datasets()) - {AUDIT}:
            if any(entry.file for entry in self.place.manifest.entries(dataset)):
                rows = open_dataset(self.folder / "deployment.yaml", "eu", dataset).to_table().to_pylist()
                held[dataset] = sorted(map(str, rows))
        return held | {"statistics": sorted(path.parent.name for path in self.place.statistics.glob(RELEASES))}

    def files(self) -> set[Path]:
        """Every file but the input, hidden ones too."""
        return {path for part in ("stores", "keys") for path in (self.folder / part).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Site:
    """A run that ended well, over other input than the tests give: its rows must be there whatever comes after."""
    site = Site(tmp_path_factory.mktemp("unlucky") / "stored")
    deploy(site.folder, ("eu",))
    site.ledger.touch()
    times = {"event_time": "2021-02-27T10:00:00Z", "received_time": "2021-02-27T10:00:05Z"}
    site.give(ndjson(event(900, **times), event(901, **times)))
    assert site.run().status == 0
    assert site.seen()["statistics"] == ["day=2021-02-27"]
    site.events.unlink()
    return site


@pytest.fixture(scope="module")
def lucky(stored, tmp_path_factory) -> dict:
    """What there is to see if nothing goes wrong with GOOD."""
    site = stored.copy(tmp_path_factory.mktemp("lucky") / "site")
    site.give(ndjson(*GOOD))
    assert site.run().status == 0
    assert len(site.seen()["service"]) == 5 and site.seen()["statistics"] == ["day=2021-02-27", "day=2021-03-01"]
    return site.seen()


@pytest.fixture
def site(stored, tmp_path) -> Site:
    site = stored.copy(tmp_path / "site")
    site.give(ndjson(*GOOD))
    return site


def wrong(outcome: Outcome, status: int) -> str:
    """The one message."""
    assert outcome.status == status, outcome.err
    assert outcome.out == "" and "Traceback" not in outcome.err
    assert CANARY not in outcome.err and DEVICE not in outcome.err
    (line,) = outcome.errors
    return line


def instead(what: object, name: str, act: Callable, after: int = 0):
    """`name` of `what`, but that after so many calls `act` comes first, each time."""
    plain, calls = getattr(what, name), [0]

    def patched(*given, **named):
        calls[0] += 1
        if calls[0] > after:
            act(*given)
        return plain(*given, **named)

    return mock.patch.object(what, name, patched)


def refuse(number: int) -> Callable:
    def act(*_) -> None:
        raise OSError(number, os.strerror(number))

    return act


def half_written(path: Path, content: bytes) -> None:
    path.parent.joinpath(path.name).open("wb").write(bytes(content)[: len(content) // 2])
    refuse(errno.EDQUOT)()


def quote(*_) -> None:
    raise ValueError(CANARY)


FAULTS = {
    "disk full": (lambda: instead(Path, "write_bytes", refuse(errno.ENOSPC), after=1), 2, "No space left on device"),
    "quota, in a file": (lambda: instead(Path, "write_bytes", half_written, after=1), 2, "Disk quota exceeded"),
    "disk fails": (lambda: instead(os, "fsync", refuse(errno.EIO), after=9), 2, "Input/output error): make room"),
    "manifest refuses": (
        lambda: instead(os, "rename", refuse(errno.EACCES)),
        2,
        "/.published cannot be written",
    ),
    "our own fault": (
        lambda: instead(border, "decode_events", quote),
        1,
        "failed: ValueError at ",
    ),
    "interrupted": (lambda: mock.patch.object(whole, "retire", side_effect=KeyboardInterrupt), 130, "interrupted"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_leaves_nothing_and_the_next_run_all(site, lucky, fault):
    before, files = site.seen(), site.files()
    breaks, status, says = FAULTS[fault]
    with breaks():
        assert says in wrong(site.run(), status)
    assert site.seen() == before
    assert not [path for path in site.files() - files if path.suffix not in (".key", ".wrapped")]
    if fault == "disk full":
        assert site.run().status == 0
        assert site.seen() == lucky


def test_where_one_region_refuses_none_is_shown(tmp_path):
    site = Site(tmp_path / "site")
    deploy(site.folder)
    site.ledger.touch()
    site.give(ndjson(*GOOD, event(9, region="us")))

    def refused(path: Path, _) -> None:
        if "us" in path.parts:
            refuse(errno.EACCES)()

    with instead(Path, "write_bytes", refused):
        assert "stores/us/" in wrong(site.run("--cell", "all"), 2)
    assert site.seen() == {"statistics": []} and not list(site.folder.rglob("*.parquet"))


def test_a_keystore_that_is_gone_in_the_midst_is_not_made_anew(site, lucky, tmp_path):
    before, keys = site.seen(), site.folder / "keys/eu"

    def lose(*_) -> None:
        if not (tmp_path / "lost").exists():
            shutil.move(keys, tmp_path / "lost")

    with instead(sys.modules["pipelines.sinks"], "stage", lose):
        assert f"no keystore at {keys}" in wrong(site.run(), 2)
    assert not list(keys.rglob("*.key")) and not list(keys.rglob("*.wrapped"))
    shutil.rmtree(keys, ignore_errors=True)
    shutil.move(tmp_path / "lost", keys)
    assert site.seen() == before
    assert site.run().status == 0 and site.seen() == lucky


def test_a_second_run_that_fails_leaves_what_the_first_one_stored(site, lucky):
    """Over the same input, where the second would take the place of the first."""
    assert site.run().status == 0
    days = {path: path.read_bytes() for path in site.place.statistics.glob(RELEASES)}
    with instead(Manifest, "publish", refuse(errno.EIO)):
        site.run("--policy", "2021-01-15")
    assert site.seen() == lucky
    assert days == {path: path.read_bytes() for path in site.place.statistics.glob(RELEASES)}


class TestInputs:
    def test_bad_lines_alone_a_line_of_16_mb_and_blanks(self, site):
        """A good line beside them comes out; an input of nothing else is no error."""
        before = site.seen()["service"]
        site.events.unlink()
        site.give(BAD * 50 + b"\n" + BAD.rstrip(), "bad.ndjson")
        site.give(b"x" * (16 << 20), "no-end.ndjson")
        site.give(b'{"a":"' + b"x" * (16 << 20) + b'"}\n' + ndjson(event(1)), "long.ndjson")
        site.give(b"", "empty.ndjson")
        site.give(b"\n \r\n\n\t\n", "blank.jsonl")
        site.give(gzip.compress(b"\0" * (1 << 26)), "bomb.json.gz")
        outcome = site.run("--json")
        assert outcome.status == 0, outcome.err
        lines = outcome.counts.by("outcome", step="telemetry")
        assert (lines["lines"], lines["quarantined"], lines["decoded"]) == (60, 54, 1)
        reasons = outcome.counts.by("reason", step="telemetry", outcome="quarantined")
        assert reasons["too_long"] == 3 and lines["blank"] == 5
        assert len(site.seen()["service"]) == len(before) + 1
        assert CANARY not in outcome.out + outcome.err

    def test_one_line_in_20_000(self, site):
        good = [ndjson(event(n, device={"android_id": f"{n:016x}"})) for n in range(1, 20_000)]
        site.give(b"".join([*good[:12_345], BAD, *good[12_345:]]))
        outcome = site.run("--json")
        assert outcome.status == 0, outcome.err
        lines = outcome.counts.by("outcome", step="telemetry")
        assert (lines["lines"], lines["quarantined"], lines["decoded"]) == (20_000, 1, 19_999)

    @pytest.mark.parametrize("fault", ["grows", "is replaced", "is cut", "vanishes"])
    def test_a_file_that_is_not_what_it_was(self, site, fault):
        before, path = site.seen(), site.events

        def spoil(*_) -> None:
            if fault == "grows":
                path.open("ab").write(ndjson(event(50)))
            elif fault == "is replaced":
                site.give(path.read_bytes().replace(b"browser", b"gallery"), ".new").replace(path)
            elif fault == "is cut":
                os.truncate(path, 10)
            else:
                path.unlink()

        with instead(sys.modules["pipelines.progress"], "read_blocks", spoil):
            line = wrong(site.run(), 4)
        assert ("inputs broke off" if fault in ("is cut", "vanishes") else f"{path} changed") in line
        assert site.seen() == before

    def test_a_ledger_that_grows_may_hold_a_stop(self, site):
        with instead(whole, "retire", lambda *_: site.ledger.write_bytes(b"\n")):
            assert f"{site.ledger} changed while it was read" in wrong(site.run(), 4)

    def test_the_same_file_twice_and_a_copy_of_it(self, site, lucky):
        shutil.copy(site.events, site.events.with_name("copy.ndjson"))
        outcome = site.run("--events", site.events, site.events, "--json")
        assert outcome.counts.sum(step="gate", outcome="duplicates") == 3
        assert site.seen()["service"] == lucky["service"]


def test_links_and_pipes(tmp_path):
    """A folder is searched through its links, once; what is wrong with one is told before anything runs."""
    site = Site(tmp_path / "site")
    deploy(site.folder, ("eu",))
    site.ledger.touch()
    site.give(ndjson(*GOOD))
    inside = site.events.parent
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.ndjson").write_bytes(ndjson(event(70)))
    (elsewhere / "back").symlink_to(inside)
    (inside / "there").symlink_to(elsewhere)
    (inside / "loop").symlink_to(inside)
    os.mkfifo(inside / "pipe.ndjson")
    outcome = site.run("--json")
    assert outcome.status == 0, outcome.err
    assert outcome.counts.sum(step="telemetry", outcome="lines") == 4
    for target in ("nothing", "itself.ndjson"):
        link = inside / "itself.ndjson"
        link.symlink_to(target)
        assert f"{link} is a link that leads nowhere" in wrong(site.run(), 4)
        assert f"{link} is a link that leads nowhere" in wrong(site.run("--events", link), 4)
        link.unlink()


KILLED = """
import os, sys
from pipelines import ingest, manifest, sinks, whole
where, name = {"writing": (sinks, "commit"), "published": (whole, "_settle"), "settling": (os, "replace")}[sys.argv[1]]
plain = getattr(where, name)
def killed(*given):
    if sys.argv[1] == "writing" or manifest.PUBLISHED in str(given[0]) or getattr(given[0], "manifest", None) \\
            and given[0].manifest.published():
        if sys.argv[1] == "settling":
            plain(*given)
        os.kill(os.getpid(), 9)
    return plain(*given)
setattr(where, name, killed)
ingest.main(sys.argv[2:])
"""


@pytest.mark.parametrize("moment", ["writing", "published", "settling"])
def test_killed_and_run_again(site, lucky, moment):
    before = site.seen()
    given = [sys.executable, "-c", KILLED, moment, *site.arguments()]
    ran = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    shown = site.seen()
    days = shown.pop("statistics")
    expected = dict(before if moment == "writing" else lucky)
    assert set(days) <= set(expected.pop("statistics"))  # a day that was published is put in its place when settled
    assert shown == expected
    assert site.run().status == 0
    assert site.seen() == lucky
    left = [path for path in site.files() if {".pending", ".published", ".running"} & set(path.parts)]
    assert not left
    named = {each.file for name in site.place.manifest.datasets() for each in site.place.manifest.entries(name)}
    assert {path.name for path in site.place.store.rglob("received_date=*/*.parquet")} == named - {None}


@pytest.mark.parametrize("moment", ["retire", "_publish", "sweep"])
def test_two_runs_at_once_over_the_same_input(site, lucky, moment):
    """The second says at once what is the matter, and harms nothing of the first."""
    said = []
    with once(whole, moment, lambda *_: said.append(wrong(site.run(), 2))):
        assert site.run().status == 0
    assert "another run over the same input is at work in region eu" in said[0] and "let it end" in said[0]
    assert site.seen() == lucky
    assert not [path for path in site.files() if ".running" in path.parts]


def test_a_second_run_in_another_process_and_one_over_other_input(site, lucky):
    """The lock is seen by every process, and is about one input alone."""
    given = [sys.executable, "-m", "pipelines.ingest", *site.arguments()]
    ran, other = [], []

    def meanwhile(*_) -> None:
        ran.append(subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=300))
        other.append(site.run("--events", site.folder / "other.ndjson").status)

    (site.folder / "other.ndjson").write_bytes(ndjson(event(77)))
    with once(whole, "retire", meanwhile):
        assert site.run().status == 0
    (ended,) = ran
    assert "is at work in region eu" in wrong(Outcome(ended.returncode, ended.stdout, ended.stderr), 2)
    assert other == [0] and len(site.seen()["service"]) == len(lucky["service"]) + len(GOOD) + 1  # files are added up


@pytest.fixture
def no_locks(monkeypatch):
    """A file system whose locks do not reach from one machine to another."""
    monkeypatch.setattr(running.fcntl, "flock", lambda *_: None)


@pytest.mark.parametrize("moment", ["_settle", "withdraw", "sweep"])
@pytest.mark.usefixtures("no_locks")
def test_two_runs_at_once_that_do_not_see_each_other(site, lucky, moment):
    """One shows what it stored while the other, which has done so, tidies up what others have left."""
    publish, statuses = whole._publish, []

    def tidied_meanwhile(*given) -> None:
        with mock.patch.object(whole, "_publish", publish), once(whole, moment, lambda *_: publish(*given)):
            statuses.append(site.run().status)

    with mock.patch.object(whole, "_publish", tidied_meanwhile):
        statuses.append(site.run().status)
    assert statuses == [0, 0]
    assert site.seen() == lucky


@pytest.mark.parametrize(("moment", "status"), [("retire", 3), ("with_manifests", 3), ("identities", 0)])
@pytest.mark.usefixtures("no_locks")
def test_a_run_that_another_over_the_same_input_overtakes(site, lucky, moment, status):
    """What it has put is taken back by then: it shows nothing more, and takes nothing away."""
    with once(whole, moment, lambda *_: site.run()):
        assert site.run().status == status
    assert site.seen() == lucky


def once(what: object, name: str, act: Callable):
    """`name` of `what`, but that `act` comes before the first call."""
    left = [act]
    return instead(what, name, lambda *given: left.pop()(*given) if left else None)


def test_readers_see_all_of_a_run_or_nothing_while_it_is_shown(site):
    """Ten entries that belong together are read at every step on the way."""
    place, attempt = site.place, Manifest(site.place.manifest_folder, "abc-1")
    for number in range(10):
        put = [stage(place, "legal", "2021-03-01", f"abc-0-{number}", _one(number), "1")]
        commit(put)
    for entry in list(place.manifest.entries("legal")):
        assert attempt.put(entry.__class__(**{**vars(entry), "run": "2"}))
    seen = []

    def look(*_) -> None:
        seen.append({entry.run for entry in place.manifest.entries("legal")})

    with instead(os, "replace", look), instead(os, "rename", look), instead(shutil, "rmtree", look):
        look()
        attempt.publish()
        look()
        place.manifest.settle(lambda _: None)
        look()
    assert [*map(sorted, seen)] == [["1"]] * 2 + [["2"]] * (len(seen) - 2) and len(seen) > 12


def _one(number: int):
    import pyarrow as pa

    return pa.record_batch({"event_type": pa.array(["session"]).dictionary_encode(), "n": pa.array([number])})


def _in_namespace(*script: str) -> subprocess.CompletedProcess:
    """A shell that may mount, and whose mounts end with it."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not there: no file system of one's own can be made")
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    if probe.returncode:
        pytest.skip("this machine lets nobody mount in a namespace of his own")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-ec", "\n".join(script)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


class TestRealDisks:
    def ingest(self, site: Site) -> str:
        return " ".join([sys.executable, "-m", "pipelines.ingest", *site.arguments("--json")])

    def test_a_store_on_a_disk_that_is_full(self, site):
        before = site.seen()
        service = site.folder / "stores/eu/service"
        ran = _in_namespace(
            f"mount -t tmpfs -o size=4k none {service}",
            f"head -c 4096 /dev/zero > {service}/full || true",
            self.ingest(site),
        )
        line = wrong(Outcome(ran.returncode, ran.stdout, ran.stderr), 2)
        assert "No space left on device" in line and str(service) in line
        assert site.seen() == before

    def test_a_store_that_is_read_only(self, site):
        before = site.seen()
        service = site.folder / "stores/eu/service"
        ran = _in_namespace(
            f"mount --bind {service} {service}", f"mount -o remount,bind,ro {service}", self.ingest(site)
        )
        assert "Read-only file system" in wrong(Outcome(ran.returncode, ran.stdout, ran.stderr), 2)
        assert site.seen() == before

    def test_no_room_for_temporary_files_is_needed(self, site, lucky):
        ran = _in_namespace(
            "mount -t tmpfs -o size=4k,ro none /mnt", f"TMPDIR=/mnt TMP=/mnt TEMP=/mnt {self.ingest(site)}"
        )
        assert ran.returncode == 0, ran.stderr
        assert site.seen() == lucky


class TestPermissions:
    """As somebody to whom permissions apply: to root, without the two capabilities that pass them over."""

    def ingest(self, site: Site, *more: object) -> Outcome:
        return self.command("pipelines.ingest", *site.arguments(*more))

    def command(self, module: str, *given: object) -> Outcome:
        lowered = []
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("nothing is forbidden to root, and setpriv is not there")
            less = "-dac_override,-dac_read_search"
            lowered = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"]
        arguments = [*lowered, sys.executable, "-m", module, *map(str, given)]
        ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
        return Outcome(ran.returncode, ran.stdout, ran.stderr)

    @pytest.fixture
    def closed(self):
        """Takes a path's permissions away until the test is over."""
        modes: dict[Path, int] = {}

        def close(path: Path, mode: int = 0) -> None:
            modes[path] = path.stat().st_mode
            path.chmod(mode)

        yield close
        for path, mode in modes.items():
            path.chmod(mode)

    @pytest.mark.parametrize("given", ["", "**/*.ndjson", "*/*.ndjson"])
    def test_a_folder_on_the_way_that_may_not_be_listed(self, site, closed, given):
        """Its files would be missing without a word."""
        inside = site.events.parent / "more"
        inside.mkdir()
        (site.events.parent / "open").mkdir()
        shutil.copy(site.events, site.events.parent / "open/a.ndjson")
        closed(inside)
        line = wrong(self.ingest(site, "--events", site.events.parent / given), 4)
        assert re.search(rf"{inside}/? cannot be listed: check its permissions", line)

    def test_a_file_that_may_not_be_read(self, site, closed):
        closed(site.events)
        assert f"{site.events} cannot be read: check its permissions" in wrong(self.ingest(site), 4)

    @pytest.mark.parametrize("folder", ["keys/eu/manifest", "stores/eu/service", "stores/eu/statistics"])
    def test_a_folder_that_may_not_be_written(self, site, closed, folder):
        before = site.seen()
        for path in (site.folder / folder, *(site.folder / folder).rglob("*")):
            if path.is_dir():
                closed(path, 0o500)
        assert "Permission denied" in wrong(self.ingest(site), 2)
        assert site.seen() == before

    @pytest.mark.clause("5.3")
    def test_what_names_stopped_rows_is_not_passed_over(self, site, closed):
        """A list that cannot be listed is not an empty one."""
        (site.place.manifest_folder / "service_stopped").mkdir(exist_ok=True)
        closed(site.place.manifest_folder / "service_stopped")
        given = ("--deployment", site.folder / "deployment.yaml", "--region", "eu", "--dataset", "service")
        outcome = self.command("pipelines.read", *given, "--out", site.folder / "out.jsonl")
        wrong(outcome, 4)
        assert not (site.folder / "out.jsonl").exists()

"""Nothing that identifies somebody is in any byte that a run leaves, and nothing that would join its datasets."""

import base64
import bz2
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from pipelines.job import plan
from pipelines.options import parse
from pipelines.progress import read_span
from pipelines.quarantine import main as quarantine
from pipelines.sample import Sample, write_sample
from schemas.datasets import AUDIT, QUARANTINE, RECEIVED_DATE
from schemas.tallies import COUNTS
from tests.invariants.needles import Needles, as_bytes, content, spellings
from tests.invariants.planted import Planted
from tests.invariants.runs import REGIONS, ROOT, Site
from transforms.border import REGISTER, Border
from transforms.exchange import IDS
from transforms.ipc import to_ipc
from transforms.keyring import open_keyring
from transforms.locks import Locks
from transforms.quarantine import REJECTED
from transforms.tallies import TALLIES

pytestmark = [
    pytest.mark.clause("1.1-a"),
    pytest.mark.clause("1.1.1"),
    pytest.mark.clause("2-log"),
    pytest.mark.clause("6-cn"),
]


@dataclass(frozen=True)
class Dirty:
    """A run over a sample and what was planted, in a process that was watched."""

    site: Site
    folder: Path  # beside the site: input, temporary folder, log, metrics, pipeline
    process: subprocess.CompletedProcess
    values: set[bytes] = field(repr=False)

    @cached_property
    def held(self) -> dict[tuple[str, str], pa.Table]:
        """All that can be read back, by (region, dataset)."""
        return self.site.datasets()

    @cached_property
    def needles(self) -> Needles:
        return Needles(self.values)

    def left(self) -> Iterator[tuple[str, bytes]]:
        """(where, bytes) of all that the run left, as it is and read back with the keys; columns sealed for a reader
        stay sealed."""
        for path in [*self.site.files(), *(self.folder / "left").rglob("*"), *(self.folder / "tmp").rglob("*")]:
            yield str(path.relative_to(self.folder)), b"" if path.is_dir() else path.read_bytes()
        yield "stdout", self.process.stdout
        yield "stderr", self.process.stderr
        for (region, dataset), table in self.held.items():
            yield f"{region}/{dataset}", content(table)
        for path in self.folder.rglob("*"):
            yield "a name", str(path.relative_to(self.folder)).encode()


@pytest.fixture(scope="module")
def dirty(tmp_path_factory) -> Dirty:
    folder = tmp_path_factory.mktemp("dirty")
    inputs = folder / "input"
    made = Sample(events=700, devices=150, entries=450, days=1, start=date(2021, 3, 1), seed=5, bad_share=0.05)
    (events, consents), canaries = write_sample(made, inputs)
    canaries.write(inputs / "canaries.json")
    planted = Planted(seed=3)
    more_events, more_consents = planted.write(inputs)
    listed = json.loads((inputs / "canaries.json").read_text())["canaries"]
    texts = {canary["value"] for canary in listed} | planted.values
    for part in ("left", "tmp"):
        (folder / part).mkdir()
    site = Site.new(folder / "site")
    assert quarantine(["keygen", f"--deployment={site.file}", f"--out={tmp_path_factory.mktemp('private')}"]) == 0
    arguments = [f"--events={events}", f"--events={more_events}", f"--consents={consents}"]
    arguments += [f"--consents={more_consents}", f"--deployment={site.file}"]
    process = subprocess.run(
        [sys.executable, "-m", "tests.invariants.watched", str(folder / "left"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "tmp")},
        cwd=folder / "tmp",
        capture_output=True,
        timeout=300,
    )
    return Dirty(site, folder, process, {text.encode() for text in texts} | set(as_bytes(texts)))


def unwrapped(pipeline: bytes) -> bytes:
    """A pipeline with what is packed in it: functions are base64 of bz2, coders base64 of zlib."""
    found = [pipeline]
    for packed in re.findall(rb"[A-Za-z0-9+/]{32,}={0,2}", pipeline):
        raw = base64.b64decode(packed[: len(packed) // 4 * 4])
        for unpack in (bz2.decompress, zlib.decompress):
            try:
                found.append(unpack(raw))
            except (OSError, ValueError, zlib.error):
                continue
    return b"\n".join(found)


def test_the_search_finds_a_value_in_every_spelling_wherever_it_stands():
    value = b"pietje.puk@mail.example.com"
    needles = Needles([value, bytes.fromhex("9774d56d682e549c"), *(b"other%d" % n for n in range(1000))])
    text = value.decode()
    written = [
        value,
        value.hex().encode(),
        value.hex().upper().encode(),
        *(base64.b64encode(b"x" * before + value + b"yz") for before in range(6)),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
    ]
    for spelling in written:
        for before in (b"", b"\0\0\0", b"pietje.p"):
            assert needles.found(before + spelling + b"tail") == {value}
            assert needles.found(before + spelling) == {value}
    assert needles.found(b"id " + bytes.fromhex("9774d56d682e549c")) == {bytes.fromhex("9774d56d682e549c")}
    assert needles.found(b"pietje.puk@mail.example.co and other") == set()
    assert len(spellings(value)) == 8


def test_the_search_finds_a_value_that_is_planted_in_a_stored_row(dirty):
    needles, value = dirty.needles, min(dirty.values)
    (name, table), *_ = dirty.held.items()
    leak = table.append_column("leak", pa.array([value.hex()] * table.num_rows))
    assert needles.found(content(leak)) == {value}
    packed = base64.b64encode(bz2.compress(b"a pickle with " + value + b" in it" * 9))
    assert needles.found(unwrapped(b"payload " + packed + b" tail")) == {value}


def test_the_run_went_well_and_everything_was_planted(dirty):
    assert dirty.process.returncode == 3  # for the ledger lines that name nobody
    assert b"Traceback" not in dirty.process.stderr
    assert len(dirty.values) > 5000
    heard = {name: (dirty.folder / "left" / name).stat().st_size for name in ("log", "metrics", "pipeline", "written")}
    assert min(heard.values()) > 10_000
    held = dirty.held
    assert {region for region, _ in held} == set(REGIONS)
    assert held["eu", "user_experience"].num_rows > 30
    traces = [held[region, "user_experience"]["crash_trace"].drop_null().to_pylist() for region in REGIONS]
    assert any("<EMAIL>" in trace for trace in chain(*traces))


def test_no_value_is_in_any_byte_that_the_run_left(dirty):
    hits = {where: dirty.needles.found(left) for where, left in dirty.left()}
    assert len(hits) > 300
    assert {where: found for where, found in hits.items() if found} == {}


def test_no_value_and_no_key_is_in_the_pipeline_that_a_runner_gets(dirty):
    pipeline = unwrapped((dirty.folder / "left" / "pipeline").read_bytes())
    assert b"transforms.border" in pipeline, "what is packed was unpacked"
    keys = set()
    for region in REGIONS:
        folder = dirty.site.folder / "keys" / region
        keys |= {path.read_bytes() for path in (folder / "wrapping").glob("*.key")}
        keys |= {secret for _, secret in secrets_of(folder)}
    assert len(keys) > 100
    assert Needles(dirty.values | keys).found(pipeline) == set()


def secrets_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(name, secret) of all that a keystore wraps, opened with whichever of its keys fits."""
    wrapping = [AESGCM(path.read_bytes()) for path in (folder / "wrapping").glob("*.key")]
    for path in (folder / "secrets").rglob("*.wrapped"):
        name, wrapped = str(path.relative_to(folder / "secrets")).removesuffix(".wrapped"), path.read_bytes()
        for key in wrapping:
            try:
                yield name, key.decrypt(wrapped[:12], wrapped[12:], name.encode())
            except InvalidTag:
                continue


def test_the_run_wrote_nowhere_but_to_its_stores_and_keystores(dirty):
    written = {Path(line) for line in (dirty.folder / "left" / "written").read_text().splitlines()}
    places = [dirty.site.folder / part for part in ("stores", "keys")] + [dirty.folder / "left"]
    assert len(written) > 300
    strange = {path for path in written if not any(place in path.parents for place in places)}
    trial = re.compile("[a-z0-9_]{8}")  # Python's `tempfile` tries a folder out before it first names it
    assert not {path for path in strange if not (path.parent.name == "tmp" and trial.fullmatch(path.name))}
    assert list((dirty.folder / "tmp").iterdir()) == []


@pytest.mark.clause("2-analytics")
@pytest.mark.clause("1.1.4-c")
def test_no_sealed_value_is_in_any_store(dirty):
    """The border's tags are the same in all purposes: a dataset that held one could be joined with another by it."""
    lines = [path.read_bytes().splitlines() for path in (dirty.folder / "input").glob("*events*")]
    tags = set()
    for region in REGIONS:
        keyring = open_keyring(dirty.site.place(region).keys)
        for event in map(json.loads, filter(is_whole, (line for some in lines for line in some))):
            for kind, value in identifiers(event):
                tag = CMAC(AES(keyring.secret(f"seal/{kind}", "border")))
                tag.update(value)
                tags.add(tag.finalize())
    assert len(tags) > 5000
    needles = Needles(tags)
    hits = {where: needles.found(left) for where, left in dirty.left()}
    assert {where: found for where, found in hits.items() if found} == {}


def is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def identifiers(event: dict) -> Iterator[tuple[str, bytes]]:
    """The identifiers of an event in their canonical bytes."""
    device = event.get("device") or {}
    for kind, text, width in (
        ("event_id", event.get("event_id"), 16),
        ("android_id", device.get("android_id"), 8),
        ("gaid", device.get("gaid"), 16),
        ("oaid", device.get("oaid"), 16),
    ):
        if isinstance(text, str) and re.fullmatch("[0-9a-f-]+", text) and len(text.replace("-", "")) == 2 * width:
            yield kind, bytes.fromhex(text.replace("-", ""))
    if isinstance(event.get("account_id"), str):
        yield "account_id", event["account_id"].encode()


def test_the_tags_that_are_looked_for_are_those_that_cross_the_border(dirty, crossed):
    """A control of the test above, which would prove nothing about tags that nobody makes."""
    keyring = open_keyring(dirty.site.place("eu").keys)
    event = json.loads((dirty.folder / "input" / "planted.ndjson").read_bytes().splitlines()[0])
    for kind, value in identifiers(event):
        if kind in ("event_id", "android_id", "account_id"):
            tag = CMAC(AES(keyring.secret(f"seal/{kind}", "border")))
            tag.update(value)
            found = tag.finalize()
            assert found in crossed.opened, kind
            assert found not in crossed.seen, "whoever keeps what a runner moves must not join people by it"


@dataclass(frozen=True)
class Crossed:
    """All that leaves the border: as a shuffle, a state or a checkpoint holds it, and with its locks opened."""

    seen: bytes
    opened: bytes


@pytest.fixture(scope="module")
def crossed(dirty, tmp_path_factory) -> Crossed:
    inputs, folder = dirty.folder / "input", tmp_path_factory.mktemp("crossed")
    events, consents = (sorted(map(str, inputs.glob(which))) for which in ("*ed.ndjson", "*ledger.ndjson"))
    arguments = [f"--events={path}" for path in events] + [f"--consents={path}" for path in consents]
    job = plan(parse([*arguments, f"--deployment={dirty.site.file}"]), say=lambda _: None)

    def keep(element) -> None:
        where, what = element
        seen = opened = what[2] if isinstance(what, tuple) else repr(where).encode() + to_ipc(what)
        if isinstance(what, tuple):
            key = job.arrival_code * job.partition.shards if what[0] == IDS else where
            opened = Locks(job.keys, job.partition.shards).unlock(key, what[0], seen)
        for name, part in (("seen", seen), ("opened", opened)):
            with open(folder / name, "ab") as file:
                file.write(part)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        for name, ledger, paths in (("Telemetry", False, events), ("Ledger", True, consents)):
            spans = pipeline | f"{name}Spans" >> beam.Create([(path, 0, os.path.getsize(path)) for path in paths])
            border = Border(ledger, read_span, job.editions, job.keys, job.partition, job.arrival_code)
            sealed = spans | f"{name}Border" >> border
            sealed.pieces | f"{name}Pieces" >> beam.Map(keep)  # noqa: B018
            sealed[TALLIES] | f"{name}Tallies" >> beam.Map(keep)  # noqa: B018
            sealed[REJECTED] | f"{name}Rejected" >> beam.Map(keep)  # noqa: B018
            sealed[REGISTER] | f"{name}Register" >> beam.Map(keep)  # noqa: B018
    return Crossed((folder / "seen").read_bytes(), (folder / "opened").read_bytes())


def test_no_value_crosses_the_border(dirty, crossed):
    assert len(crossed.seen) > 100_000 and len(crossed.opened) > 100_000
    assert dirty.needles.found(crossed.opened) == set()


def test_the_audit_is_about_counts_alone(dirty):
    for (_, dataset), table in dirty.held.items():
        if dataset == AUDIT:
            assert set(table.schema.names) == {*COUNTS.names, "clause", RECEIVED_DATE}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("audit --by=hour,step,outcome,reason,event_type,purpose,dataset", id="audit"),
        pytest.param("quarantine list", id="quarantine list"),
        pytest.param("report --out={}", id="report"),
    ],
)
def test_nothing_that_is_shown_of_a_run_holds_a_value(dirty, command, tmp_path):
    shown = tmp_path / "shown"
    arguments = command.format(shown).split()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments, f"--deployment={dirty.site.file}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == (3 if command.startswith("audit") else 0), done.stderr.decode()
    content = done.stdout + done.stderr + (shown.read_bytes() if shown.exists() else b"")
    assert len(content) > 100 and dirty.needles.found(content) == set()


def test_rejected_lines_were_kept(dirty):
    """A control: nothing of them could be found if nothing of them were there."""
    rows = pa.concat_tables(table for (_, name), table in dirty.held.items() if name == QUARANTINE)
    assert pc.sum(pc.is_valid(rows["payload"])).as_py() > 30

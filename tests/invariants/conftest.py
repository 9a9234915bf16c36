import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.sample import Sample, write_sample
from schemas.pack_files import load_pack
from schemas.policy import Pack
from tests.invariants.crowd import Crowd, write_pack
from tests.invariants.runs import Run, Site, ingest
from tests.invariants.smallmaker import Small, lived

TIMES = 4


@dataclass(frozen=True)
class Input:
    """Telemetry and a ledger."""

    events: Path
    consents: Path

    @property
    def lines(self) -> list[bytes]:
        return self.events.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Input:
    """A day of a small fleet, all lines good."""
    made = Sample(events=900, devices=200, entries=600, days=1, start=date(2021, 3, 1), seed=7, bad_share=0)
    (events, consents), _ = write_sample(made, tmp_path_factory.mktemp("sample"))
    return Input(events, consents)


@pytest.fixture(scope="session")
def larger(sample, tmp_path_factory) -> Input:
    """The sample several times over under new ids: more rows, but no new region, label, reason or date among them."""
    folder = tmp_path_factory.mktemp("larger")
    larger = Input(folder / "events.ndjson", folder / "consents.ndjson")
    _repeat(sample.events, larger.events, b"event_id")
    _repeat(sample.consents, larger.consents, b"entry_id")
    return larger


def _repeat(source: Path, target: Path, id_: bytes) -> None:
    first_digit = re.compile(b'("%s":")([0-9a-f])' % id_)
    content = source.read_bytes()
    with open(target, "wb") as file:
        for turn in range(TIMES):
            file.write(first_digit.sub(lambda found, t=turn: found[1] + b"%x" % (int(found[2], 16) ^ t), content))


@pytest.fixture(scope="session")
def first_run(sample, tmp_path_factory) -> Run:
    """The sample in a fresh deployment. Shared: a test that goes on from here copies its site."""
    run = ingest(Site.new(tmp_path_factory.mktemp("first") / "site"), [sample.events], [sample.consents], profiled=True)
    assert run.status == 0
    return run


@pytest.fixture(scope="session")
def other_run(first_run, larger, tmp_path_factory) -> Run:
    """The larger input in a copy of the first deployment, beside what the first run left."""
    site = first_run.site.copy(tmp_path_factory.mktemp("other") / "site")
    run = ingest(site, [larger.events], [larger.consents], profiled=True)
    assert run.status == 0
    return run


@pytest.fixture
def site_like_first(first_run, tmp_path) -> Callable[[], Site]:
    """An empty deployment with the first one's keys, so that it makes the same tokens."""
    return lambda: Site.new(tmp_path / "site", keys_of=first_run.site)


@dataclass(frozen=True)
class Judged:
    """A run over made-up people whose every record can be told apart in every dataset."""

    run: Run
    crowd: Crowd
    pack: Pack
    held: dict[tuple[str, str], pa.Table]


@pytest.fixture(scope="session")
def judged(tmp_path_factory) -> Judged:
    """180 people, about 800 records and as many entries, under the shipped policy with a label in each dataset."""
    folder = tmp_path_factory.mktemp("judged")
    pack, crowd = write_pack(folder / "pack"), Crowd(seed=11, people=180)
    events, consents = crowd.write(folder)
    run = ingest(Site.new(folder / "site"), [events], [consents], f"--policy={pack}")
    assert run.status == 0
    return Judged(run, crowd, load_pack(str(pack)), run.site.datasets())


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Small:
    """Two runs under the pack of another maker. Shared: nobody changes it."""
    return lived(tmp_path_factory.mktemp("small"))

"""Whatever `check` passes, the job builds; and no run of it leaves an identifier that the pack does not allow."""

import shutil
import tempfile
from datetime import date
from pathlib import Path

import apache_beam as beam
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.job import build, plan
from pipelines.options import parse
from schemas.checks import findings
from schemas.datasets import datasets
from schemas.fields import EVENT_FIELDS, EVENT_TYPES, Handling
from schemas.pack_files import OVERLAYS, load_pack, pack_content
from schemas.policy import Form, Pack
from tests.invariants.needles import Needles
from tests.invariants.runs import REGIONS, Site, ingest
from tests.invariants.test_leak import content
from tests.lines import EXAMPLES, NOW, entry, full_event, ndjson
from tests.pack_mutants import changed, parts

COUNTRY = {"cn": "CN", "in": "IN", "ru": "RU", "eu": "NL", "us": "US", "sg": "SG"}
IDENTIFIERS = [value for kind, value in EXAMPLES.items() if kind != "event_id"]
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def packs(draw) -> dict:
    """The shipped pack with a few of its rules left out or loosened, one after the other, where `check` has nothing to
    say against it."""
    made = pack_content()
    for _ in range(draw(st.integers(1, 6))):
        options = list(changed(made, *draw(st.sampled_from(list(parts(made, ()))))))
        candidate = draw(st.sampled_from(options))[1]
        if passes(candidate):
            made = candidate
    assume(made != pack_content())
    return made


def passes(made: dict) -> bool:
    try:
        return not any(findings(Pack.model_validate(made), date.today()))
    except ValidationError:
        return False


def write(made: dict, folder: Path) -> Path:
    """The pack's files."""
    overlays = {within: made.get(key, {}) for within, key in OVERLAYS.items()}
    base = {key: value for key, value in made.items() if key not in OVERLAYS.values()}
    (folder / "pack.yaml").write_text(yaml.safe_dump(base))
    for within, files in overlays.items():
        (folder / within).mkdir()
        for name, part in files.items():
            (folder / within / f"{name}.yaml").write_text(yaml.safe_dump(part))
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> tuple[Path, Path]:
    """Full events of all types and regions, with everything granted."""
    folder = tmp_path_factory.mktemp("inputs")
    events, entries = [], []
    for region in REGIONS:
        residency = {"account_country": COUNTRY[region]}
        entries.append(entry(number=len(entries), received=NOW - 1000, residency=residency))
        entries.append(entry(number=len(entries), received=NOW - 900, residency=residency, app="word-of-an-app"))
        for event_type in EVENT_TYPES:
            more = {"residency": residency, "app__package": "word-of-an-app"}
            events.append(full_event(event_type, len(events), **more))
    (folder / "events.ndjson").write_bytes(ndjson(*events))
    (folder / "consents.ndjson").write_bytes(ndjson(*entries))
    return folder / "events.ndjson", folder / "consents.ndjson"


@pytest.fixture
def folder():
    """Anew for each example."""
    made = []

    def new() -> Path:
        made.append(Path(tempfile.mkdtemp()))
        return made[-1]

    yield new
    for each in made:
        shutil.rmtree(each)


@pytest.mark.clause("1.1-a")
@given(made=packs())
@settings(SLOW, max_examples=12)
def test_what_check_passes_is_built(made, inputs, folder):
    site = Site.new(folder() / "site")
    policy = write(made, folder())
    assert load_pack(str(policy)) == Pack.model_validate(made)
    flags = [f"--events={inputs[0]}", f"--consents={inputs[1]}", f"--policy={policy}", f"--deployment={site.file}"]
    job = plan(parse(flags), say=lambda message: None)
    build(beam.Pipeline(), job)


@pytest.mark.clause("1.1-a")
@pytest.mark.clause("1.1.1")
@given(made=packs())
@settings(SLOW, max_examples=4)
def test_no_run_leaves_what_the_pack_does_not_allow(made, inputs, folder):
    site, policy = Site.new(folder() / "site"), write(made, folder())
    assert ingest(site, inputs[:1], inputs[1:], f"--policy={policy}").status == 0
    pack, needles = load_pack(str(policy)), Needles(value.encode() for value in [*IDENTIFIERS, "203.0.113.77"])
    for path in site.files():
        assert not needles.found(path.read_bytes()), path
    known = datasets(pack)
    for (region, name), table in site.datasets().items():
        assert not needles.found(content(table)), (region, name)
        if name in known:
            of = pack.purposes[known[name].purpose]
            allowed = {path for paths in of.events.values() for path in paths}
            held = {field.path for field in EVENT_FIELDS if field.column in table.column_names}
            assert held - {"event_type", "event_time"} <= allowed
            for field in EVENT_FIELDS:
                if field.path in held and field.handling is Handling.IDENTIFIER:
                    assert of.columns[field.path].form in (Form.TOKEN, Form.SEALED)

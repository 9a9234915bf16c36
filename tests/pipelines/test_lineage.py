"""A stream keeps its name, its run and its windows for as long as it lives, however often it is stopped and started."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipelines import job as jobs
from pipelines import lineage as lineages
from pipelines.errors import ConfigurationError, InputError
from pipelines.lineage import Lineage
from pipelines.options import parse
from schemas.pack_files import DEFAULT_PACK
from tests.editions import OLD, old, write_edition
from tests.invariants.runs import Site

INPUTS = ["--events", "watch:/in", "--consents", "watch:/ledger"]
GOES_ON = ["--runner=FlinkRunner", "--savepoint_path=/savepoints/1"]


@pytest.fixture
def site(tmp_path):
    return Site.new(tmp_path / "site")


def plan(site, *flags, name="fleet", inputs=INPUTS):
    options = parse([*inputs, "--deployment", str(site.file), "--job_name", name, *flags])
    return jobs.plan(options, say=lambda message: None)


def started(site, *flags, **more) -> Lineage:
    """The lineage of a stream that has been started for the first time."""
    job = plan(site, *flags, **more)
    lineages.start(job.arrival, job.lineage)
    return job.lineage


def test_a_stream_that_goes_on_is_the_same(site):
    first = started(site, "--shards=3", "--window-seconds=2.5")
    assert (first.shards, first.window_ms) == (3, 2500)
    job = plan(site, *GOES_ON)
    assert job.lineage == first
    assert (job.input_id, job.run, job.started) == (first.input_id, first.run, first.started)
    assert (job.partition.shards, job.partition.window_ms) == (3, 2500)
    assert plan(site, *GOES_ON, "--shards", "3", "--window-seconds", "2.5").lineage == first
    assert plan(site, "--runner=DataflowRunner", "--update").lineage == first


def test_a_stream_that_goes_on_may_have_a_newer_policy(site, tmp_path):
    write_edition(tmp_path / "old", OLD, old)
    first = started(site, "--policy", str(tmp_path / "old"))
    job = plan(site, *GOES_ON, "--policy", DEFAULT_PACK, str(tmp_path / "old"))
    assert job.lineage == first and job.pack.version == DEFAULT_PACK


def test_defaults(site):
    lineage = plan(site).lineage
    assert (lineage.shards, lineage.window_ms) == (1, 600_000)


def test_a_name_is_a_stream(site):
    one, other = started(site), started(site, name="other")
    assert one.input_id != other.input_id and one.run != other.run
    assert one.input_id == plan(Site.new(site.folder / "elsewhere")).input_id


def test_a_name_that_is_taken(site):
    first = started(site)
    with pytest.raises(
        ConfigurationError, match=f"fleet was started on {first.started}: .*--savepoint_path.*remove .*fleet.json"
    ):
        plan(site)
    with pytest.raises(ConfigurationError, match="fleet was started"):
        lineages.start(jobs.plan(parse(_given(site)), say=lambda m: None).arrival, replace(first, run="another"))


def _given(site):
    return [*INPUTS, "--deployment", str(site.file), "--job_name", "free"]


def test_of_two_starts_at_once_one_wins(site):
    planned = [plan(site) for _ in range(8)]

    def attempt(job):
        try:
            lineages.start(job.arrival, job.lineage)
        except ConfigurationError:
            return None
        return job.run

    with ThreadPoolExecutor(8) as threads:
        (won,) = [run for run in threads.map(attempt, planned) if run]
    assert plan(site, *GOES_ON).run == won
    assert [path.name for path in lineages.path_of(planned[0].arrival, "x").parent.iterdir()] == ["fleet.json"]


def test_a_name_that_no_runner_took_on_is_free_again(site, monkeypatch):
    def unreachable(self):
        raise RuntimeError("no such cluster")

    job = plan(site)
    monkeypatch.setattr(jobs, "build", lambda pipeline, job: None)
    monkeypatch.setattr(jobs.beam.Pipeline, "run", unreachable)
    with pytest.raises(RuntimeError):
        jobs.submit(job, ["--runner=FnApiRunner"])
    assert plan(site).lineage.run != job.run
    started(site)
    with pytest.raises(RuntimeError):
        jobs.submit(plan(site, *GOES_ON), ["--runner=FnApiRunner"])
    with pytest.raises(ConfigurationError):  # one that went on keeps its name
        plan(site)


class Pipeline:
    """Stands in for one of Beam's that is taken on."""

    def __init__(self, options):
        pass

    def run(self):
        return None


def test_a_job_that_is_only_built_takes_no_name(site, monkeypatch):
    monkeypatch.setattr(jobs, "build", lambda pipeline, job: None)
    monkeypatch.setattr(jobs.beam, "Pipeline", Pipeline)
    jobs.submit(plan(site), ["--runner=DataflowRunner", "--dry_run=true"])
    plan(site)
    jobs.submit(plan(site), ["--runner=FnApiRunner"])
    with pytest.raises(ConfigurationError):
        plan(site)


def test_a_jar_is_a_start_and_then_goes_on(site):
    jar = ["--runner=FlinkRunner", "--output_executable_path=/job.jar"]
    first = started(site, *jar)
    assert plan(site, *jar).lineage == first


@pytest.mark.parametrize(
    ("flags", "inputs", "said"),
    [
        (["--shards=2"], INPUTS, "--shards 1, and its state is kept so: --shards 2"),
        (["--window-seconds=60"], INPUTS, "--window-seconds 600, and its state is kept so: --window-seconds 60 "),
        (["--cell=eu"], INPUTS, "--cell all, and its state is kept so: --cell eu"),
        ([], ["--events", "watch:/other", *INPUTS[2:]], "--events watch:/in, and its state is kept so"),
        ([], [*INPUTS[:2], "--no-ledger"], "--consents watch:/ledger, and its state is kept so: --consents none"),
    ],
)
def test_what_a_stream_keeps(site, flags, inputs, said):
    started(site)
    with pytest.raises(ConfigurationError, match=said):
        plan(site, *GOES_ON, *flags, inputs=inputs)


def test_going_on_with_what_was_never_started(site):
    with pytest.raises(ConfigurationError, match="no stream fleet was started in this deployment"):
        plan(site, *GOES_ON)


@pytest.mark.parametrize("name", ["Fleet", "9", "a_b", "a-", "../a", "a" * 64])
def test_names_that_not_every_runner_takes(site, name):
    with pytest.raises(ConfigurationError, match="use lower-case letters"):
        plan(site, name=name)


def test_without_a_name(site):
    with pytest.raises(ConfigurationError, match="needs --job_name"):
        jobs.plan(parse([*INPUTS, "--deployment", str(site.file)]), say=lambda message: None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}'])
def test_a_damaged_record(site, content):
    job = plan(site)
    lineages.start(job.arrival, job.lineage)
    path = lineages.path_of(job.arrival, "fleet")
    path.write_text(content)
    with pytest.raises(InputError, match="fleet.json is damaged"):
        plan(site, *GOES_ON)
    held = {"format": 1, **job.lineage.__dict__}
    path.write_text(json.dumps(held | {"unknown": 1}))
    with pytest.raises(InputError):
        plan(site)

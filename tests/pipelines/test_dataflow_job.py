"""The whole job as Dataflow would be sent it, a cell at a time: built by `ingest`'s own code, without a cloud."""

import base64
import json
import re

import pytest

from tests.dataflow import IMAGE, submitted, words
from tests.invariants.runs import Site

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs Google's libraries: pip install 'douane[gcp]'")

from apache_beam.portability.common_urns import primitives  # noqa: E402

CELLS = {"in": "asia-south1", "eu": "europe-west3", "us": "us-central1", "sg": "asia-southeast1"}
CANARY = "k4f1d0c7e9b2a6835"
BYTES = bytes(range(200, 232))  # a key that was planted
# Coders that Beam makes up where it is told no type: they pickle what they do not know.
PICKLING = {"FastPrimitivesCoder", "PickleCoder", "CloudpickleCoder", "DillCoder", "DeterministicFastPrimitivesCoder"}
# Steps that give nothing out, so that no type says what.
SILENT = {("RegionalAudit/Write", "None")}
# Of Beam's own, pickled by value; they hold nothing of ours.
BY_VALUE = re.compile(r".*/(FlatMap\(<lambda at core\.py:\d+>\)|Map\(decode\)|MaybeReshuffle/.*)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A deployment with something planted wherever a job must not take anything from."""
    folder = tmp_path_factory.mktemp("dataflow")
    site = Site.new(folder / "site")
    inputs = {}
    for name in ("events", "consents"):
        inputs[name] = folder / f"{name}.ndjson"
        inputs[name].write_text(json.dumps({"event_id": CANARY}) + "\n")
    return site, [f"--{name}={path}" for name, path in inputs.items()] + ["--streaming"]


@pytest.fixture(scope="module")
def jobs(site):
    deployment, inputs = site
    plant(deployment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOUANE_PASSWORD", CANARY)
        return {cell: submitted(deployment, cell, *inputs) for cell in CELLS}


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


@pytest.fixture
def job(jobs, cell):
    return jobs[cell]


def plant(site):
    """Keys of our choice in keystores that exist already: they are made by the first look at a deployment."""
    from pipelines.deployment import load_deployment, prepare

    for place in load_deployment(site.file).regions.values():
        prepare(place, say=lambda message: None)
        keys = site.folder / "keys" / place.region
        for path in ("wrapping/border.key", "secrets/seal/imei.wrapped", f"{place.region}.pem"):
            (keys / path).parent.mkdir(parents=True, exist_ok=True)
            (keys / path).write_bytes(BYTES)


@pytest.mark.clause("6-dc")
def test_it_runs_where_its_cell_lives(job, cell):
    region, environment = CELLS[cell], job.environment
    (pool,) = environment.worker_pools
    assert environment.worker_region == region and not environment.worker_zone
    assert pool.ip_configuration.name == "WORKER_IP_PRIVATE"
    assert pool.subnetwork == f"regions/{region}/subnetworks/douane"
    assert environment.service_kms_key_name.startswith(f"projects/project/locations/{region}/")
    assert environment.service_account_email == f"douane-{cell}@project.iam.gserviceaccount.com"
    assert environment.temp_storage_prefix.startswith(f"storage.googleapis.com/douane-{cell}/")
    assert job.options["job_name"] == f"douane-{cell}"


def test_it_streams_on_runner_v2_with_our_image_alone(job):
    environment = job.environment
    (pool,) = environment.worker_pools
    assert {"use_runner_v2", "enable_streaming_engine"} <= set(environment.experiments)
    assert environment.version["job_type"] == "FNAPI_STREAMING"
    assert [image.container_image for image in pool.sdk_harness_container_images] == [IMAGE]
    assert not pool.packages


def test_nothing_is_staged_with_it_and_no_element_is_sampled(job):
    assert not any(each.dependencies for each in job.pipeline.components.environments.values())
    assert job.options["save_main_session"] is False
    assert "disable_always_on_exception_sampling" in job.environment.experiments


def test_what_carries_data_has_a_coder_that_knows_it(job):
    coders = job.coders()
    assert {place for place, names in coders.items() if names & PICKLING} == SILENT
    known = {name for names in coders.values() for name in names if not name.startswith("beam:")}
    assert known - PICKLING == {"RecordBatchCoder"}
    assert all(name.startswith("beam:coder:") for names in job.states().values() for name in names)


def test_our_functions_are_pickled_by_name(job):
    functions = job.functions()
    by_value = {label for label, pickled in functions.items() if "_make_function" in words(pickled)}
    assert all(BY_VALUE.fullmatch(label) for label in by_value), by_value
    assert len(functions) > len(by_value) > 0
    assert not [label for label, pickled in functions.items() if "__main__" in words(pickled)]


@pytest.mark.clause("4.1-b")
def test_neither_a_key_nor_a_secret_nor_a_line_is_in_it(job, cell, site):
    sent = list(job.everything())
    for planted in (CANARY.encode(), BYTES):
        for form in (planted, planted.hex().encode(), base64.b64encode(planted).rstrip(b"=")[:20]):
            assert not any(form in content for content in sent)
    assert any(f"local:{site[0].folder}/keys/{cell}".encode() in content for content in sent)  # what is packed is seen


@pytest.mark.clause("6-dc")
def test_it_knows_the_place_of_no_other_cell(job, cell, site):
    sent = b"\n".join(job.everything())
    for other in ("cn", "in", "ru", "eu", "us", "sg"):
        assert (f"{site[0].folder}/keys/{other}".encode() in sent) == (other == cell)


def test_every_step_has_a_name_of_its_own(job):
    labels = job.labels()
    assert len(labels) == len(set(labels))
    assert not [label for label in labels if re.search(r"0x[0-9a-f]+|<.* object", label)]


def test_raw_lines_pass_no_exchange(job):
    """From where telemetry is read or named to the border there are only steps that are fused."""
    steps = job.steps
    made_by = {output: label for label, step in steps.items() for output in step.outputs.values()}
    border = next(label for label in steps if label.startswith("TelemetryBorder/"))
    (source,) = steps[border].inputs.values()
    assert made_by[source].startswith("Telemetry/")
    assert steps[border].spec.urn == primitives.PAR_DO.urn


def test_built_again_it_is_the_same_to_an_update(jobs, site):
    """`--update` goes by labels, coders and names of states."""
    deployment, inputs = site
    first, again = jobs["eu"], submitted(deployment, "eu", *inputs)
    assert again.labels() == first.labels()
    assert again.coders() == first.coders() and again.states() == first.states()

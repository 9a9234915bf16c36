"""The whole job as Dataflow would be sent it, a cell at a time: built by `ingest`'s own code, without a cloud."""

import base64
import json
import re

import pytest

from pipelines import ingest
from pipelines.deployment import load_deployment, prepare
from tests.dataflow import IMAGE, cloud_flags, payload_of, submitted, words
from tests.invariants.runs import Site

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs Google's libraries: pip install 'douane[gcp]'")

from apache_beam.portability.api import beam_runner_api_pb2  # noqa: E402
from apache_beam.portability.common_urns import primitives  # noqa: E402

CELLS = {"in": "asia-south1", "eu": "europe-west3", "us": "us-central1", "sg": "asia-southeast1"}
CANARY = "k4f1d0c7e9b2a6835"
BYTES = bytes(range(200, 232))  # a key that was planted
# Coders that Beam makes up where it is told no type: they pickle what they do not know.
PICKLING = {"FastPrimitivesCoder", "PickleCoder", "CloudpickleCoder", "DillCoder", "DeterministicFastPrimitivesCoder"}
# What they may stand on: a step that gives nothing out, and the source itself, that a worker is to open.
NO_DATA = re.compile(r"RegionalAudit/Write|Ledger/\w+/Create/Map\(decode\)")
# Beam's own Create, which Beam pickles by value. It holds paths, or a source.
CREATED = re.compile(r"(Telemetry|Ledger)/(Spans|\w+/Create)/(FlatMap\(<lambda at core.py:\d+>\)|Map\(decode\))")
SUBSCRIPTION = "projects/project/subscriptions/telemetry"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A deployment with keys of our choice in its keystores, as if they had been made before."""
    site = Site.new(tmp_path_factory.mktemp("dataflow") / "site")
    for place in load_deployment(site.file).regions.values():
        prepare(place, say=lambda message: None)
        keys = site.folder / "keys" / place.region
        for path in ("wrapping/border.key", "secrets/seal/imei.wrapped", f"{place.region}.pem"):
            (keys / path).parent.mkdir(parents=True, exist_ok=True)
            (keys / path).write_bytes(BYTES)
    return site


@pytest.fixture(scope="module")
def stream(site):
    """The inputs of a job without an end, as they are on Dataflow. Workers read the properties; the job must not."""
    properties = site.folder / "kafka.properties"
    properties.write_text(f"sasl.password={CANARY}\nssl.key.password=${{DOUANE_PASSWORD}}\n")
    return [f"--events=pubsub:{SUBSCRIPTION}", "--consents=kafka:ledger", f"--kafka_config_file={properties}"]


@pytest.fixture(scope="module")
def files(site):
    """The inputs of a run over files."""
    named = []
    for option in ("events", "consents"):
        path = site.folder / f"{option}.ndjson"
        path.write_text(json.dumps({"event_id": CANARY}) + "\n")
        named.append(f"--{option}={path}")
    return named


@pytest.fixture(scope="module")
def jobs(site, stream, files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOUANE_PASSWORD", CANARY)
        streams = {cell: submitted(site, cell, *stream) for cell in CELLS}
        return streams | {"eu over files": submitted(site, "eu", *files)}


@pytest.fixture(params=[*CELLS, "eu over files"])
def name(request):
    return request.param


@pytest.fixture
def cell(name):
    return name.partition(" ")[0]


@pytest.fixture
def job(jobs, name):
    return jobs[name]


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


def test_it_runs_on_runner_v2_with_our_image_alone(job, name):
    environment = job.environment
    (pool,) = environment.worker_pools
    assert "use_runner_v2" in environment.experiments
    assert ("enable_streaming_engine" in environment.experiments) == (name in CELLS)
    assert environment.version["job_type"] == ("FNAPI_STREAMING" if name in CELLS else "FNAPI_BATCH")
    assert [image.container_image for image in pool.sdk_harness_container_images] == [IMAGE]
    assert not pool.packages


def test_nothing_is_staged_with_it_and_no_element_is_sampled(job):
    assert not any(each.dependencies for each in job.pipeline.components.environments.values())
    assert job.options["save_main_session"] is False
    assert "disable_always_on_exception_sampling" in job.environment.experiments


def test_what_carries_data_has_a_coder_that_knows_it(job):
    coders = job.coders()
    assert not [label for (label, _), names in coders.items() if names & PICKLING and not NO_DATA.fullmatch(label)]
    known = {name for names in coders.values() for name in names if not name.startswith("beam:")}
    assert {"RecordBatchCoder"} <= known - PICKLING <= {"RecordBatchCoder", "ListCoder", "TupleCoder", "VarIntCoder"}
    held = job.states()
    assert held and all(name.startswith("beam:coder:") for names in held.values() for name in names)


def test_our_functions_are_pickled_by_name(job):
    functions = job.functions()
    by_value = {label for label, pickled in functions.items() if "_make_function" in words(pickled)}
    assert not [label for label in by_value if not CREATED.fullmatch(label)]
    assert not [label for label, pickled in functions.items() if "__main__" in words(pickled)]


@pytest.mark.clause("4.1-b")
def test_neither_a_key_nor_a_secret_nor_a_line_is_in_it(job, cell, site):
    sent = list(job.everything())
    for planted in (CANARY.encode(), BYTES):
        for form in (planted, planted.hex().encode(), base64.b64encode(planted).rstrip(b"=")[:20]):
            assert not any(form in content for content in sent)
    assert any(f"local:{site.folder}/keys/{cell}".encode() in content for content in sent)  # what is packed is seen


@pytest.mark.clause("6-dc")
def test_it_knows_the_place_of_no_other_cell(job, cell, site):
    sent = b"\n".join(job.everything())
    for other in ("cn", "in", "ru", "eu", "us", "sg"):
        assert (f"{site.folder}/keys/{other}".encode() in sent) == (other == cell)


def test_every_step_has_a_name_of_its_own(job):
    labels = job.labels()
    assert len(labels) == len(set(labels))
    assert not [label for label in labels if re.search(r"0x[0-9a-f]+|<.* object", label)]


@pytest.mark.clause("4.1-b")
@pytest.mark.parametrize(
    "border, way",
    [
        ("TelemetryBorder", ["Telemetry/Gather", "Telemetry/Messages/ParDo(_AddMetricsPassThrough)"]),
        ("LedgerBorder", ["Ledger/Kafka/ReadUnbounded"]),
    ],
)
def test_raw_lines_pass_no_exchange(jobs, border, way):
    """From the source to the border there are steps alone that a runner fuses, and none of them holds state."""
    steps = jobs["eu"].steps
    made_by = {output: label for label, step in steps.items() for output in step.outputs.values()}
    label, passed = f"{border}/Seal/ParDo(_{border})", []
    for _ in way:
        (source,) = steps[label].inputs.values()
        passed.append(label := made_by[source])
        assert steps[label].spec.urn == primitives.PAR_DO.urn and not payload_of(steps[label]).state_specs
    assert passed == way


def test_pub_sub_is_asked_for_messages_alone(jobs):
    """No attribute names a message, since Dataflow would exchange messages by it; none tells a time."""
    read = jobs["eu"].steps["Telemetry/Messages/Read"]
    assert read.spec.urn == "beam:transform:pubsub_read:v1"
    assert beam_runner_api_pb2.PubSubReadPayload.FromString(read.spec.payload) == beam_runner_api_pb2.PubSubReadPayload(
        subscription=SUBSCRIPTION
    )


def test_built_again_it_is_the_same_to_an_update(jobs, site, stream):
    """`--update` goes by labels, coders and names of states."""
    first, again = jobs["eu"], submitted(site, "eu", *stream)
    assert again.labels() == first.labels()
    assert again.coders() == first.coders() and again.states() == first.states()


@pytest.mark.parametrize("inputs", ["stream", "files"])
def test_a_job_that_is_only_built_leaves_what_is_stored(request, site, inputs, monkeypatch, capsys):
    """A run that ended would take the place of an earlier one over the same files; a stream would take its name."""
    monkeypatch.setattr("pipelines.stores.retire", lambda *_: pytest.fail("files of an earlier run were retired"))
    given = [*request.getfixturevalue(inputs), f"--deployment={site.file}", "--cell=eu", *cloud_flags("eu")]
    before = site.files()
    assert ingest.main(given) == 0
    assert "is built, and not sent" in capsys.readouterr().err
    assert site.files() == before

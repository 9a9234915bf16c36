"""The job as Dataflow would be sent it, built without a cloud; and what is packed in it."""

import base64
import binascii
import bz2
import json
import pickletools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.portability.common_urns import primitives
from google.protobuf import wrappers_pb2

from pipelines.job import plan, submit
from pipelines.options import parse
from pipelines.runners import fit
from schemas.clouds import google_regions
from schemas.pack_files import load_pack
from tests.invariants.runs import Site

IMAGE = "europe-west3-docker.pkg.dev/project/douane/worker:1"
_PACKED = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_PICKLED = "beam:coder:pickled_python:v1"


def cloud_flags(cell: str, region: str | None = None) -> list[str]:
    """Beam's flags for a cell, all that a job of ours needs."""
    region = region or google_regions(load_pack().regions[cell].data_centre)[0]
    return [
        "--runner=DataflowRunner",
        "--dry_run=True",
        "--no_auth",
        "--project=project",
        f"--region={region}",
        f"--job_name=douane-{cell}",
        f"--temp_location=gs://douane-{cell}/temp",
        f"--dataflow_kms_key=projects/project/locations/{region}/keyRings/{cell}/cryptoKeys/dataflow",
        f"--service_account_email=douane-{cell}@project.iam.gserviceaccount.com",
        f"--subnetwork=regions/{region}/subnetworks/douane",
        f"--sdk_container_image={IMAGE}",
    ]


def submitted(site: Site, cell: str, *inputs: str) -> "Submitted":
    """What `ingest` would submit for a cell, by its own code, up to where the cloud would be asked."""
    options = parse([*inputs, f"--deployment={site.file}", f"--cell={cell}", *cloud_flags(cell)])
    flags = fit(options.beam, options.cell, options.streams, options.policy)
    return Submitted(submit(plan(options, say=lambda message: None), flags).job)


@dataclass(frozen=True)
class Submitted:
    """A job of Dataflow: the pipeline as a proto, and the environment that it asks for."""

    job: object

    @property
    def pipeline(self) -> beam_runner_api_pb2.Pipeline:
        return self.job.proto_pipeline

    @cached_property
    def environment(self):
        from apache_beam.runners.dataflow.internal import apiclient

        return apiclient.Environment(
            packages=[],
            options=self.job.options,
            environment_version=apiclient._FNAPI_ENVIRONMENT_MAJOR_VERSION,
            proto_pipeline_staged_url="gs://bucket/pipeline.pb",
            proto_pipeline=self.pipeline,
        ).proto

    @property
    def options(self) -> dict:
        """The options that go to workers, in clear."""
        return dict(self.environment.sdk_pipeline_options["options"])

    @cached_property
    def steps(self) -> dict:
        """The transforms that are not made of others, by label."""
        transforms = self.pipeline.components.transforms.values()
        return {each.unique_name: each for each in transforms if not each.subtransforms}

    def labels(self) -> list[str]:
        return sorted(each.unique_name for each in self.pipeline.components.transforms.values())

    def coders(self) -> dict[tuple[str, str], set[str]]:
        """The coders of what each step gives out, by (label, tag): standard ones by URN, pickled ones by class."""
        ids = self.pipeline.components.pcollections
        return {
            (label, tag): set(self._names(ids[collection].coder_id))
            for label, step in self.steps.items()
            for tag, collection in step.outputs.items()
        }

    def _names(self, coder_id: str) -> Iterator[str]:
        coder = self.pipeline.components.coders[coder_id]
        if coder.spec.urn == _PICKLED:
            yield from pickled_coders(coder.spec.payload)
        else:
            yield coder.spec.urn
        for component in coder.component_coder_ids:
            yield from self._names(component)

    def functions(self) -> dict[str, bytes]:
        """The pickled DoFn of each step that has one."""
        return {
            label: bz2.decompress(base64.b64decode(payload_of(step).do_fn.payload))
            for label, step in self.steps.items()
            if step.spec.urn == primitives.PAR_DO.urn
        }

    def states(self) -> dict[tuple[str, str], set[str]]:
        """The coders of what each step holds in state, by (label, state)."""
        return {
            (label, name): set(self._names(getattr(spec, spec.WhichOneof("spec")).element_coder_id))
            if spec.WhichOneof("spec") == "bag_spec"
            else set(self._names(spec.read_modify_write_spec.coder_id))
            for label, step in self.steps.items()
            if step.spec.urn == primitives.PAR_DO.urn
            for name, spec in payload_of(step).state_specs.items()
        }

    def everything(self) -> Iterator[bytes]:
        """All bytes that are sent, as they are and unpacked as often as they were packed."""
        sent = [self.pipeline.SerializeToString(), type(self.environment).serialize(self.environment)]
        sent.append(json.dumps(self.options, default=str).encode())
        for content in sent:
            yield from unpacked(content)


def payload_of(step) -> beam_runner_api_pb2.ParDoPayload:
    return beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload)


def pickled_coders(payload: bytes) -> set[str]:
    """The classes of a coder that Beam has pickled and of those in it. Its own stands before what is pickled."""
    name, _, packed = wrappers_pb2.BytesValue.FromString(payload).value.partition(b"$")
    return {name.decode(), *(word for word in words(_decompressed(base64.b64decode(packed))) if word.endswith("Coder"))}


def unpacked(content: bytes) -> Iterator[bytes]:
    """Some bytes, and all that is in them as base64, compressed or not, to any depth."""
    yield content
    for found in _PACKED.finditer(content):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                inner = decode(found[0] + b"=" * (-len(found[0]) % 4))
            except (binascii.Error, ValueError):
                continue
            yield from unpacked(_decompressed(inner))


def _decompressed(content: bytes) -> bytes:
    for decompress, errors in ((bz2.decompress, (OSError, ValueError)), (zlib.decompress, zlib.error)):
        try:
            return decompress(content)
        except errors:
            continue
    return content


def words(pickled: bytes) -> set[str]:
    """The texts of a pickle: names of modules, of classes, of functions, and what it holds."""
    return {text for _, text, _ in pickletools.genops(pickled) if isinstance(text, str)}


def secrets_of(folder: Path) -> dict[str, bytes]:
    """The content of every key file and wrapped secret below a folder, by path."""
    kept = {str(path): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".key", ".wrapped", ".pem")}
    return {path: content for path, content in kept.items() if len(content) >= 16}

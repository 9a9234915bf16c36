"""What a job on Google's Dataflow must be told, and what it must not.

A cell is processed where it lives (clauses 6-dc to 6-in): its workers, their key and their network are in a Google
region of its data centre, and no worker has a public address. What Beam would do by itself and must not is turned off:
to pickle the globals of the program into a bucket, to list the packages of this machine there, to look for defaults
over the network, and to keep the element at which a function failed, which may be a raw line.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from pipelines.errors import ConfigurationError
from schemas.clouds import google_regions
from schemas.editions import load_editions
from schemas.policy import EVERY_REGION, Pack

RUNNER = "DataflowRunner"

_NEEDED = {
    "region": "the Google region of the cell",
    "project": "or Beam asks the network for one",
    "temp_location": "a gs:// folder in that region, or Beam makes a bucket of its own",
    "job_name": "a stream is updated by its name; one that Beam makes up is new each time",
    "dataflow_kms_key": "state, the exchange and disks are encrypted under a key of the cell",
    "service_account_email": "one with the rights of this cell alone; the default one has those of the project",
    "sdk_container_image": "an image with douane in it; workers without a public address install nothing",
}
_REFUSED = {
    "save_main_session": "it stages the globals of the program, pickled, in a bucket; leave it out",
    "use_public_ips": "workers of a cell have private addresses only; leave it out",
    "setup_file": "it is installed on workers by no lock; build it into --sdk_container_image",
    "requirements_file": "it is installed on workers by no lock; build it into --sdk_container_image",
    "extra_packages": "they are installed on workers by no lock; build them into --sdk_container_image",
}
# By a part of the word: either option may be given as one word of a list.
_REFUSED_WORDS = {
    "at_least_once": "pieces of state would come twice; leave it out for exactly-once",
    "data_sampling": "it shows elements, raw lines among them, outside the cell's stores; leave it out",
    "enable_always_on_exception_sampling": "it keeps the element that failed, maybe a raw line; leave it out",
}
_SET = (
    "--no_save_main_session",
    "--no_use_public_ips",
    "--sdk_location=container",
    "--experiments=disable_always_on_exception_sampling",
    "--experiments=disable_logging_submission_environment",
)
_KEY = re.compile(r"projects/[^/]+/locations/(?P<region>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_SUBNETWORK = re.compile(r"(?:https://.*/)?(?:projects/[^/]+/)?regions/(?P<region>[^/]+)/subnetworks/[^/]+")
_ZONE = re.compile(r"(?P<region>.+)-[a-z]")


def checked(flags: Sequence[str], cell: str, policy: Sequence[str]) -> tuple[str, ...]:
    """The flags of a cell's job under some policy packs, with those that it needs besides. Raises `PackError`, and
    `ConfigurationError` where they would take data out of the cell's data centre, show it, or lose it. What only the
    cloud knows, it cannot check: where buckets lie, and what the service account may do."""
    from apache_beam.options.pipeline_options import PipelineOptions

    if find_spec("google") is None or find_spec("google.cloud.dataflow_v1beta3") is None:
        raise ConfigurationError(f"--runner={RUNNER} needs Google's libraries: pip install 'douane[gcp]'")
    told = PipelineOptions(list(flags)).get_all_options()
    regions = _regions_of(cell, load_editions(policy).newest)
    if missing := next((name for name in _NEEDED if not told[name]), None):
        raise ConfigurationError(f"--runner={RUNNER} needs --{missing}: {_NEEDED[missing]}")
    if told["region"] not in regions:
        raise ConfigurationError(f"--region={told['region']} is not where {cell} lives; use {' or '.join(regions)}")
    _refuse(told)
    _check_places(told)
    if not _true(told["dry_run"]):
        raise ConfigurationError(
            f"--runner={RUNNER}: stores, keys and manifests are local paths as yet, which no worker there shares; "
            "--dry_run builds the job, and FlinkRunner runs it"
        )
    return *flags, *_SET, *(() if told["worker_zone"] else (f"--worker_region={told['region']}",))


def _regions_of(cell: str, pack: Pack) -> tuple[str, ...]:
    if cell == EVERY_REGION:
        raise ConfigurationError(f"--cell {cell}: a job on {RUNNER} runs in one region; name the one that it serves")
    if cell not in pack.regions:
        raise ConfigurationError(f"--cell {cell}: regions of the policy are {', '.join(pack.regions)}")
    country = pack.regions[cell].data_centre
    if regions := google_regions(country):
        return regions
    raise ConfigurationError(
        f"--cell {cell}: no region of Google Cloud is known in {country}, where it lives; run this cell on Flink"
    )


def _refuse(told: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED.items():
        if told[name]:
            raise ConfigurationError(f"--{name} on {RUNNER}: {reason}")
    words = [*(told["experiments"] or ()), *(told["dataflow_service_options"] or ())]
    for refused, reason in _REFUSED_WORDS.items():
        if any(refused in word for word in words):
            raise ConfigurationError(f"{refused} on {RUNNER}: {reason}")


def _check_places(told: Mapping[str, Any]) -> None:
    """Whatever names a place names the one of the job."""
    region = told["region"]
    named = [("dataflow_kms_key", _KEY, "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY")]
    named += [("subnetwork", _SUBNETWORK, "regions/REGION/subnetworks/NAME")]
    named += [("worker_zone", _ZONE, "REGION-a"), ("zone", _ZONE, "REGION-a")]
    for option, form, written in named:
        found = form.fullmatch(told[option] or "")
        if told[option] and (found is None or found["region"] != region):
            raise ConfigurationError(f"--{option} must lie in {region}: write it as {written}")
    if told["worker_region"] not in (None, region):
        raise ConfigurationError(f"--worker_region={told['worker_region']} is not --region={region}; leave it out")
    for option in ("temp_location", "staging_location"):
        if not (told[option] or "gs://").startswith("gs://"):
            raise ConfigurationError(f"--{option} must be a gs:// folder in {region}")


def _true(value: object) -> bool:
    """Beam takes any word for `--dry_run`."""
    return str(value).lower() in ("true", "1", "yes")

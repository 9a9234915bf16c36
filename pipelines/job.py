"""The main job: what is checked before it is built, and how its steps are joined.

events ─ Border ─┐
                 ├─ ConsentGate ─ ForPurpose ─ Pseudonymise ─ RegionalStore
ledger ─ Border ─┘         every step ─ tallies ─ RegionalAudit
"""

import logging
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from pipelines.audit import RegionalAudit
from pipelines.blocks import expand, input_id, spans
from pipelines.deployment import Deployment, RegionalPlace, load_deployment, prepare
from pipelines.errors import ConfigurationError
from pipelines.options import DEFAULT_RUNNER, WINDOW_MS, IngestOptions
from pipelines.progress import read_span
from pipelines.sinks import RegionalStore
from schemas.policy import Pack, in_one_line, load_pack
from transforms.border import Border
from transforms.consent_gate import ConsentGate
from transforms.exchange import TALLIES
from transforms.for_purpose import ForPurpose
from transforms.pseudonymise import Pseudonymise
from transforms.seal import Partition

# Few, large keys: a firing and its files cost milliseconds before the first row, whatever they hold. A region gets one
# shard for each so many bytes of input, which follows from the input alone, so that a second run names the same files.
_BYTES_A_SHARD = 1 << 30
_COMPRESSED = 8  # how much larger telemetry is than its compressed form
SPAN = tuple[str, int, int]  # (path, start, end; -1 is the end of a compressed file)


@dataclass(frozen=True)
class Job:
    """A job that is ready to be built: everything has been checked, and every keystore is there."""

    pack: Pack
    places: Mapping[int, RegionalPlace]  # by region code: the regions that this cell serves
    arrival: RegionalPlace  # where what has no region is accounted for
    events: tuple[str, ...]
    consents: tuple[str, ...]
    with_ledger: bool
    input_id: str
    run: str  # names this run; what earlier runs over the same input left is told by it
    partition: Partition
    deployment: str

    @property
    def keys(self) -> dict[int, str]:
        return {code: place.keys for code, place in self.places.items()}


def plan(options: IngestOptions, say: Callable[[str], None]) -> Job:
    """Checks what can be wrong before anything runs. Raises `ConfigurationError`, `PackError` or `InputError`."""
    pack = load_pack(options.policy)
    deployment = load_deployment(options.deployment)
    places = _served(options.cell, pack, deployment)
    events = expand(options.events)
    consents = expand(options.consents) if options.consents else []
    for place in places.values():
        prepare(place, say)
    streaming = PipelineOptions(list(options.beam)).view_as(StandardOptions).streaming
    return Job(
        pack=pack,
        places=places,
        arrival=next((p for p in places.values() if p.region == deployment.arrival), next(iter(places.values()))),
        events=tuple(events),
        consents=tuple(consents),
        with_ledger=options.with_ledger,
        input_id=input_id(events),
        run=secrets.token_hex(8),
        partition=Partition(_shards(events), WINDOW_MS if streaming else None),
        deployment=options.deployment,
    )


def _served(cell: str, pack: Pack, deployment: Deployment) -> dict[int, RegionalPlace]:
    names = pack.where.regions if cell == "all" else (cell,)
    if unknown := sorted(set(names) - set(pack.where.regions)):
        raise ConfigurationError(
            f"--cell {cell}: no region {unknown[0]!r} in the policy; use all or {pack.where.regions}"
        )
    if missing := sorted(set(names) - set(deployment.regions)):
        raise ConfigurationError(
            f"{deployment.path}: regions lacks {', '.join(missing)}, where the policy sends records"
        )
    return {pack.where.code(name): deployment.regions[name] for name in names}


def _shards(paths: Sequence[str]) -> int:
    sizes = (os.path.getsize(path) * (_COMPRESSED if path.endswith((".gz", ".zst")) else 1) for path in paths)
    return max(1, math.ceil(sum(sizes) / _BYTES_A_SHARD))


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds the whole job to a pipeline."""
    telemetry = pipeline | "Telemetry" >> _Crossing(False, job.events, job)
    ledger = pipeline | "Ledger" >> _Crossing(True, job.consents, job)
    pieces = (telemetry.pieces, ledger.pieces) | "Exchange" >> beam.Flatten()
    judged = pieces | "ConsentGate" >> ConsentGate(job.pack, job.partition, job.with_ledger)
    rows = judged.judged | "ForPurpose" >> ForPurpose(job.pack)
    rows = rows | "Pseudonymise" >> Pseudonymise(job.pack, job.keys)
    stored = rows | "RegionalStore" >> RegionalStore(job.places, job.input_id, job.run)
    tallies = (telemetry[TALLIES], ledger[TALLIES], judged[TALLIES], stored) | "Tallies" >> beam.Flatten()
    tallies | "RegionalAudit" >> RegionalAudit(tuple(job.places.values()), job.arrival, job.input_id, job.run)  # noqa: B018


@dataclass
class _Crossing(beam.PTransform):
    """Files -> sealed pieces. What crosses the shuffle between them is where to read, never what was read."""

    ledger: bool
    paths: tuple[str, ...]
    job: Job

    def expand(self, pbegin):
        pieces = [(span.path, span.start, -1 if span.end is None else span.end) for span in spans(self.paths)]
        read = pbegin | "Spans" >> beam.Create(pieces, reshuffle=True).with_output_types(SPAN)
        return read | "Border" >> Border(self.ledger, read_span, self.job.pack, self.job.keys, self.job.partition)


def run(job: Job, flags: Sequence[str]) -> bool:
    """Builds the job and runs it to its end. False if the runner has only taken it on."""
    options = PipelineOptions(list(flags))
    if options.view_as(StandardOptions).runner == DEFAULT_RUNNER:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # a failure is told once, by the command
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise ConfigurationError(f"Beam refuses these options: {in_one_line(error)}") from None
    build(pipeline, job)
    state = pipeline.run().wait_until_finish()
    return state in (None, PipelineState.DONE)

"""The main job: what is checked before it is built, and how its steps are joined.

events ─ Border ──────────────┐
                              ├─ ConsentGate ─┬─ ForPurpose ─ Pseudonymise ─ RegionalStore
ledger ─ Border ┬─────────────┤               ├─ OrderStore
 FromSnapshot ──┴─ EntryIds ──┘               └─ Statistics ─ StatisticsStore
     rejected lines ─ QuarantineStore        every step ─ tallies ─ RegionalAudit
"""

import logging
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines import lineage as lineages
from pipelines.arrivals import read_arrived
from pipelines.audit_store import RegionalAudit
from pipelines.blocks import State, expand, input_id, spans, states
from pipelines.command import without_words
from pipelines.deployment import Deployment, RegionalPlace, load_deployment, prepare
from pipelines.errors import ConfigurationError
from pipelines.lineage import Lineage
from pipelines.options import WINDOW_MS, IngestOptions
from pipelines.order_store import OrderStore
from pipelines.progress import read_span
from pipelines.quarantine_store import QuarantineStore
from pipelines.runners import ELSEWHERE, goes_on, makes_jar, reach, tries_only
from pipelines.sinks import RegionalStore, today
from pipelines.snapshots import Snapshot, find, read
from pipelines.sources import Streams, reading
from pipelines.statistics_store import StatisticsStore
from schemas.editions import Editions, load_editions, newest_of
from schemas.pack_files import DEFAULT_PACK
from schemas.policy import EVERY_REGION, Pack
from schemas.yaml_files import in_one_line
from transforms.border import REGISTER, Border, Read
from transforms.consent_gate import STOPPING, ConsentGate
from transforms.entry_ids import EntryIds
from transforms.for_purpose import ForPurpose
from transforms.pseudonymise import Pseudonymise
from transforms.quarantine import REJECTED
from transforms.seal import Partition
from transforms.snapshot import FromSnapshot, terms
from transforms.statistics import DAYS, Statistics
from transforms.tallies import TALLIES

# Few, large keys: a firing and its files cost milliseconds before the first row, whatever they hold. A region gets one
# shard for each so many bytes of input, which follows from the input alone, so that a second run names the same files.
_BYTES_A_SHARD = 1 << 30
_COMPRESSED = 8  # how much larger telemetry is than its compressed form
SPAN = tuple[str, int, int]  # (path, start, end; -1 is the end of a compressed file)


@dataclass(frozen=True)
class Job:
    """A job that is ready to be built: everything has been checked, and every keystore is there."""

    editions: Editions
    places: Mapping[int, RegionalPlace]  # by region code: the regions that this cell serves
    arrival: RegionalPlace  # where what has no region is accounted for
    events: tuple[str, ...]
    spans: tuple[SPAN, ...]  # where telemetry is read
    consents: tuple[str, ...]
    snapshot: Snapshot | None  # a ledger that was kept, to start from
    with_ledger: bool
    input_id: str
    run: str  # names this run; what earlier runs over the same input left is told by it
    partition: Partition
    deployment: str
    policy: str  # the pack of the newest edition, as it was named
    started: str  # the day of the first start: the date of what has no time of its own
    streams: Streams | None = None  # inputs without an end, in place of files
    lineage: Lineage | None = None  # of a job over these
    complete_through: date | None = None  # the last day whose statistics are released; None: as receipts tell
    read: Read = read_span  # what a span of telemetry holds
    inputs: tuple[State, ...] = ()  # the files as they were when the job was planned

    @property
    def pack(self) -> Pack:
        """The newest edition."""
        return self.editions.newest

    @property
    def keys(self) -> dict[int, str]:
        return {code: place.keys for code, place in self.places.items()}

    @property
    def given(self) -> dict[str, int]:
        """How many spans of each input there are to read."""
        parts = len(self.places) if self.snapshot else 0
        return {"telemetry": len(self.spans), "ledger": len(spans_of(self.consents)), "snapshot": parts}

    @property
    def where(self) -> str:
        """The flags by which other commands find what the job did."""
        own = "" if self.policy == DEFAULT_PACK else f" --policy {self.policy}"
        return f"--deployment {self.deployment}{own}"

    @property
    def arrival_code(self) -> int:
        return self.pack.where.code(self.arrival.region)


def plan(options: IngestOptions, say: Callable[[str], None]) -> Job:
    """Checks what can be wrong before anything runs. Raises `ConfigurationError`, `PackError` or `InputError`."""
    editions = load_editions(options.policy)
    deployment = load_deployment(options.deployment)
    places = served(options.cell, editions.newest, deployment)
    arrival = arrival_of(places, deployment)
    events = expand(options.events)
    consents = expand(options.consents) if options.consents else []
    inputs = states((*events, *consents))  # before anything of them is read
    for place in places.values():
        prepare(place, say)
    snapshot = _found(options.consent_snapshot, editions, places, arrival, say) if options.consent_snapshot else None
    if options.streams:
        return _stream(options, editions, places, arrival, snapshot, say)
    streaming = PipelineOptions(list(options.beam)).view_as(StandardOptions).streaming
    return Job(
        editions=editions,
        places=places,
        arrival=arrival,
        events=tuple(events),
        spans=spans_of(events),
        consents=tuple(consents),
        snapshot=snapshot,
        with_ledger=options.with_ledger,
        input_id=input_id(events),
        run=secrets.token_hex(8),
        partition=Partition(_shards(events), WINDOW_MS if streaming else None),
        deployment=options.deployment,
        policy=newest_of(options.policy),
        started=today(),
        complete_through=options.complete_through,
        inputs=inputs,
    )


def _stream(
    options: IngestOptions,
    editions: Editions,
    places: Mapping[int, RegionalPlace],
    arrival: RegionalPlace,
    snapshot: Snapshot | None,
    say: Callable[[str], None],
) -> Job:
    """A job over inputs without an end: the first start of a lineage, or one that goes on."""
    lineage = _lineage(options, arrival)
    say(f"stream {lineage.name}: run {lineage.run}, started on {lineage.started}")
    return Job(
        editions=editions,
        places=places,
        arrival=arrival,
        events=(),
        spans=(),
        consents=(),
        snapshot=snapshot,
        with_ledger=options.with_ledger,
        input_id=lineage.input_id,
        run=lineage.run,
        partition=Partition(lineage.shards, lineage.window_ms),
        deployment=options.deployment,
        policy=newest_of(options.policy),
        started=lineage.started,
        streams=options.streams,
        lineage=lineage,
    )


def _lineage(options: IngestOptions, arrival: RegionalPlace) -> Lineage:
    streams, window = options.streams, options.window_seconds
    given = {
        "shards": options.shards,
        "window_ms": None if window is None else round(window * 1000),
        "cell": options.cell,
        "events": str(streams.telemetry),
        "consents": str(streams.ledger) if streams.ledger else None,
        "kafka_config_file": streams.config_file,
    }
    name = lineages.checked_name(PipelineOptions(list(options.beam)).view_as(GoogleCloudOptions).job_name)
    if goes_on(options.beam) or (makes_jar(options.beam) and lineages.read(arrival, name)):
        return lineages.going_on(arrival, name, given)
    lineages.check_free(arrival, name)
    return lineages.new(name, **given | {"shards": options.shards or 1, "window_ms": given["window_ms"] or WINDOW_MS})


def _found(
    name: str,
    editions: Editions,
    places: Mapping[int, RegionalPlace],
    arrival: RegionalPlace,
    say: Callable[[str], None],
) -> Snapshot:
    snapshot = find(name, arrival, list(places.values()), terms(editions))
    say(f"starting from the ledger as of {snapshot.as_of.isoformat()}: of what came later --consents must tell")
    return snapshot


def served(cell: str, pack: Pack, deployment: Deployment) -> dict[int, RegionalPlace]:
    """The regions of a cell, by region code. Raises `ConfigurationError` for one that is not there."""
    names = pack.where.regions if cell == EVERY_REGION else (cell,)
    if unknown := sorted(set(names) - set(pack.where.regions)):
        raise ConfigurationError(
            f"--cell {cell}: no region {unknown[0]!r} in the policy; use all or {pack.where.regions}"
        )
    if missing := sorted(set(names) - set(deployment.regions)):
        raise ConfigurationError(
            f"{deployment.path}: regions lacks {', '.join(missing)}, where the policy sends records"
        )
    return {pack.where.code(name): deployment.regions[name] for name in names}


def arrival_of(places: Mapping[int, RegionalPlace], deployment: Deployment) -> RegionalPlace:
    """Of the regions that are served the one where what has no region is accounted for."""
    return next((p for p in places.values() if p.region == deployment.arrival), next(iter(places.values())))


def _shards(paths: Sequence[str]) -> int:
    sizes = (os.path.getsize(path) * (_COMPRESSED if path.endswith((".gz", ".zst")) else 1) for path in paths)
    return max(1, math.ceil(sum(sizes) / _BYTES_A_SHARD))


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds the whole job to a pipeline."""
    telemetry = pipeline | "Telemetry" >> _input(job, ledger=False) | "TelemetryBorder" >> _border(job, ledger=False)
    ledger = pipeline | "Ledger" >> _input(job, ledger=True) | "LedgerBorder" >> _border(job, ledger=True)
    known = [ledger]
    if job.snapshot:
        known.append(pipeline | "Snapshot" >> _from_snapshot(job, job.snapshot))
    registers = [each[REGISTER] for each in known] | "Register" >> beam.Flatten()
    elsewhere = registers | "EntryIds" >> EntryIds(job.keys, job.arrival_code, job.partition)
    pieces = [telemetry.pieces, elsewhere, *(each.pieces for each in known)]
    rejected = (telemetry[REJECTED], ledger[REJECTED]) | "Rejected" >> beam.Flatten()
    gate = ConsentGate(job.editions, job.keys, job.partition, job.with_ledger)
    judged = pieces | "Exchange" >> beam.Flatten() | "ConsentGate" >> gate
    rows = judged.judged | "ForPurpose" >> ForPurpose(job.editions)
    rows = rows | "Pseudonymise" >> Pseudonymise(job.pack, job.keys)
    stored = rows | "RegionalStore" >> RegionalStore(job.places, job.input_id, job.run, fresh=job.streams is not None)
    window_ms = job.partition.window_ms
    orders = OrderStore(job.editions, job.places, job.input_id, job.run, job.started, job.partition)
    listed = judged[STOPPING] | "OrderStore" >> orders
    kept = rejected | "QuarantineStore" >> QuarantineStore(job.places, job.input_id, job.run, job.started, window_ms)
    told = [telemetry[TALLIES], *(each[TALLIES] for each in known), judged[TALLIES], stored, listed, kept]
    if job.pack.statistics:
        statistics = Statistics(job.editions, job.keys, job.partition, job.complete_through)
        counted = judged.judged | "Statistics" >> statistics
        released = counted[DAYS] | "StatisticsStore" >> StatisticsStore(job.places, job.pack, job.run)
        told += [counted[TALLIES], released]
    places = tuple(job.places.values())
    audit = RegionalAudit(places, job.arrival, job.pack, job.input_id, job.run, job.started, window_ms)
    _ = told | "Tallies" >> beam.Flatten() | "RegionalAudit" >> audit


def _input(job: Job, ledger: bool) -> beam.PTransform:
    if job.streams is None:
        return _Spans(spans_of(job.consents) if ledger else job.spans)
    source = job.streams.ledger if ledger else job.streams.telemetry
    return reading(source, ledger, job.streams.config_file) if source else _Spans(())


def _border(job: Job, ledger: bool) -> Border:
    files = read_span if ledger else job.read
    read = files if job.streams is None else read_arrived
    return Border(ledger, read, job.editions, job.keys, job.partition, job.arrival_code)


def spans_of(paths: Sequence[str]) -> tuple[SPAN, ...]:
    """Where files are to be read, in pieces. Raises `InputError`."""
    return tuple((span.path, span.start, -1 if span.end is None else span.end) for span in spans(paths))


def _from_snapshot(job: Job, snapshot: Snapshot) -> FromSnapshot:
    regions = {code: place.region for code, place in job.places.items()}
    part = partial(_part, job.places, snapshot)
    return FromSnapshot(snapshot.name, part, regions, job.keys, job.arrival_code, snapshot.nobody, job.partition)


def _part(places: Mapping[int, RegionalPlace], snapshot: Snapshot, dataset: str, region: int) -> Iterator:
    return read(places[region], dataset, snapshot)


@dataclass
class _Spans(beam.PTransform):
    """Where to read. That alone crosses the shuffle before the border, never what was read."""

    spans: tuple[SPAN, ...]

    def expand(self, pbegin):
        return pbegin | "Spans" >> beam.Create(self.spans, reshuffle=True).with_output_types(SPAN)


def run(job: Job, flags: Sequence[str]) -> bool:
    """Builds the job and runs it to its end. False if the runner has only taken it on."""
    state = submit(job, flags).wait_until_finish()
    return state in (None, PipelineState.DONE)


def submit(job: Job, flags: Sequence[str]) -> PipelineResult:
    """Builds the job and hands it to the runner. A stream that starts takes its name for good, but where no runner took
    the job on."""
    options = PipelineOptions(list(flags))
    runner = options.view_as(StandardOptions).runner
    _hush(runner)
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise ConfigurationError(f"Beam refuses these options: {in_one_line(error)}") from None
    build(pipeline, job)
    reach(flags)
    if job.lineage is None or tries_only(flags) or lineages.read(job.arrival, job.lineage.name) == job.lineage:
        return _handed_over(pipeline, runner)
    lineages.start(job.arrival, job.lineage)
    try:
        return _handed_over(pipeline, runner)
    except Exception:
        lineages.withdraw(job.arrival, job.lineage)
        raise


def _hush(runner: str | None) -> None:
    """A failure is told once, by the command: what runners and engines say of it themselves may quote a record."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    if runner in ELSEWHERE:
        from apache_beam.runners.portability.portable_runner import MESSAGE_LOG_LEVELS  # theirs alone

        MESSAGE_LOG_LEVELS.update(dict.fromkeys(MESSAGE_LOG_LEVELS, logging.DEBUG))


def _handed_over(pipeline: beam.Pipeline, runner: str | None) -> PipelineResult:
    """What it means that a runner elsewhere does not take a job on, in one line: each has its own exceptions for it."""
    try:
        return pipeline.run()
    except Exception as error:
        if runner not in ELSEWHERE:
            raise
        raise ConfigurationError(f"--runner={runner} does not take the job on: {without_words(error)}") from None

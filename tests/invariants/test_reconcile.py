"""Nothing is lost and nothing creeps in without being told: a run that goes wrong in any step does not add up.

Each fault is put into one step of the real job, as a mistake in it would be: it takes a row away, or brings one, and
says nothing.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from pipelines.audit_rows import counted_runs, read_totals
from pipelines.sample import Sample, write_sample
from schemas.consent import CLAUSE_OF_REASON
from schemas.datasets import AUDIT, QUARANTINE, RECEIVED_DATE
from schemas.fields import EVENT_FIELDS, EVENT_TYPES
from schemas.pack_files import load_pack
from schemas.quarantine import CLAUSE_OF_FAULT
from schemas.tallies import summed
from tests.invariants.conftest import Input
from tests.invariants.runs import REGIONS, Run, Site, ingest
from tests.stranger import event, ndjson
from transforms.consent import Verdict
from transforms.reconcile import (
    CANDIDATES,
    COUNTED,
    DECODED,
    ENTRIES,
    LINES,
    NAMED,
    QUARANTINED,
    READ,
    RELEASED,
    SENT,
    STORED,
)

pytestmark = pytest.mark.clause("4.1-c")
PACK = load_pack()


@pytest.fixture(scope="session")
def spoilt_sample(tmp_path_factory) -> Input:
    """A day of a small fleet, in which 2 % of the lines are bad; some are blank, some come twice, one is nowhere."""
    made = Sample(events=700, devices=150, entries=300, days=1, start=date(2021, 3, 1), seed=3, bad_share=0.02)
    (events, consents), _ = write_sample(made, tmp_path_factory.mktemp("spoilt"))
    lines = events.read_bytes().splitlines(keepends=True)
    nowhere = ndjson(event(1, residency={}))
    events.write_bytes(b"".join([*lines, b"\n", nowhere, *lines[:7], b"  \n"]))
    entries = consents.read_bytes().splitlines(keepends=True)
    bad = entries[0].replace(b'"time"', b'"tme"', 1)
    consents.write_bytes(b"".join([*entries, bad, bad, b"\n"]))
    return Input(events, consents)


@pytest.fixture(scope="module")
def few(spoilt_sample, tmp_path_factory) -> Input:
    """So little that one fault after the other can be tried: some events of each kind, and bad lines of both inputs."""
    folder = tmp_path_factory.mktemp("few")
    lines, entries = spoilt_sample.lines, spoilt_sample.consents.read_bytes().splitlines(keepends=True)
    made = Input(folder / "events.ndjson", folder / "consents.ndjson")
    bad = [b"no json\n", b'{"event_type": "crash"}\n', b"\n"]
    located = [line for line in lines[:300] if b'"session"' in line or b'"crash"' in line or b'"activation"' in line]
    made.events.write_bytes(b"".join([*located[:60], *bad]))
    made.consents.write_bytes(b"".join([*entries[:20], *entries[-3:]]))
    return made


@pytest.fixture
def run(few, first_site, tmp_path) -> Callable[..., Run]:
    def ended(*flags: str) -> Run:
        return ingest(Site.new(tmp_path / "site", keys_of=first_site), [few.events], [few.consents], *flags)

    return ended


@pytest.fixture(scope="module")
def first_site(few, tmp_path_factory) -> Site:
    """Where the same input has been run without a fault; its keys are used again, since making them takes long."""
    sound = ingest(Site.new(tmp_path_factory.mktemp("sound") / "site"), [few.events], [few.consents])
    assert sound.status == 0
    return sound.site


# --- faults ---


def _less(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(min(1, batch.num_rows))


def _short(decoded, *arrays: str):
    """Decoded lines without the first good one."""
    columns = {path: column.slice(1) for path, column in decoded.columns.items()}
    return replace(decoded, columns=columns, **{name: getattr(decoded, name)[1:] for name in arrays})


def decode_drops_a_row(original):
    return lambda *given: _short(original(*given), "line", "event_time", "received_time", "event_type")


def decode_of_the_ledger_drops_a_row(original):
    return lambda *given: _short(original(*given), "line", "time", "received_time", "kind")


def locate_loses_a_row(original):
    def located(self, columns, counts):
        codes = original(self, columns, counts).copy()
        codes[np.flatnonzero(codes >= 0)[:1]] = -1
        return codes

    return located


def seal_drops_a_row(original):
    def sealed(self, *given):
        made = original(self, *given)
        made.batch, made.key, made.window = _less(made.batch), made.key[1:], made.window[1:]
        return made

    return sealed


def _of_telemetry(batch: pa.RecordBatch) -> bool:
    return "event_id" in batch.schema.names


def the_exchange_loses_a_piece(original):
    def fewer(batch, *given):
        return list(original(batch, *given))[1 if _of_telemetry(batch) else 0 :]

    return fewer


def the_exchange_loses_a_piece_of_the_ledger(original):
    def fewer(batch, *given):
        return list(original(batch, *given))[0 if _of_telemetry(batch) else 1 :]

    return fewer


def the_exchange_brings_a_piece_twice(original):
    def more(*given):
        found = original(*given)
        return found + found[:1]

    return more


def the_state_loses_a_piece(original):
    return lambda *given: original(*given)[1:]


def deduplication_drops_too_much(original):
    def fewer(*given):
        kept, marks, repeated = original(*given)
        return kept[1:], marks[1:], repeated

    return fewer


def the_gate_forgets_to_say_why(original):
    def judged(records, *given):
        verdict = original(records, *given)
        opened = verdict.open.copy()
        opened[:1] = 0
        return Verdict(opened, verdict.reasons)

    return judged


def the_gate_does_not_pass_on_what_it_opened(original):
    def judged(self, *given):
        batch, verdict = original(self, *given)
        masks = batch.column("stands").to_numpy().copy()
        masks[:1] = 0
        return _standing(batch, masks), verdict

    return judged


def _standing(batch: pa.RecordBatch, masks: np.ndarray) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index("stands"), "stands", pa.array(masks))


def the_gate_passes_on_what_it_refused(original):
    def judged(self, *given):
        batch, verdict = original(self, *given)
        everything = np.full(batch.num_rows, (1 << len(PACK.purposes)) - 1, np.uint64)
        return _standing(batch, everything), verdict

    return judged


def what_was_stopped_goes_on(original):
    """The gate says of one record that it was stopped, and hands it on all the same."""

    def tallied(self, batch, verdict, counts):
        stands = verdict.stands.copy()
        stands[:1] = 0
        return original(self, batch, replace(verdict, stands=stands), counts)

    return tallied


def a_row_is_dropped(original):
    return lambda *given: _less(original(*given))


def a_day_is_not_stored(original):
    return lambda *given: list(original(*given))[1:]


def a_file_holds_fewer_rows(original):
    return lambda place, dataset, day, logical, rows, run: original(place, dataset, day, logical, _less(rows), run)


def a_file_holds_none(original):
    return lambda place, dataset, day, logical, rows, run: original(place, dataset, day, logical, rows.slice(0, 0), run)


def nothing_is_put_in_the_manifest(original):
    return lambda staged: None


def nothing_is_quarantined(original):
    return lambda *given: iter(())


def a_block_is_not_quarantined(original):
    return lambda parts, *given: original([_less(part) if len(part) > 1 else part for part in parts], *given)


def statistics_leave_a_record_out(original):
    return lambda *given: original(*given)[1:]


def statistics_lose_a_day(original):
    def fewer(parts):
        return original(list(parts)[1:] or [(0, counts) for _, counts in parts])

    return fewer


def reading_loses_a_span(original):
    def process(border, element, timestamp=beam.DoFn.TimestampParam):
        return original(border, element, timestamp) if border.step == "ledger" else iter(())

    return process


def a_region_is_not_audited(original):
    def kept(place, *given):
        return None if place.region == REGIONS[0] else original(place, *given)

    return kept


def nothing_is_audited(original):
    return lambda *given: None


FAULTS = [
    (decode_drops_a_row, "transforms.border.decode_events", LINES),
    (decode_of_the_ledger_drops_a_row, "transforms.border.decode_ledger", ENTRIES),
    (locate_loses_a_row, "transforms.border._Border._located", LINES),
    (seal_drops_a_row, "transforms.border.EventSealer.seal", LINES),
    (the_exchange_loses_a_piece, "transforms.border.pieces", DECODED),
    (the_exchange_loses_a_piece_of_the_ledger, "transforms.border.pieces", SENT),
    (the_exchange_brings_a_piece_twice, "transforms.consent_gate._taken", DECODED),
    (the_state_loses_a_piece, "transforms.consent_gate._taken", DECODED),
    (deduplication_drops_too_much, "transforms.consent_gate.deduplicate", DECODED),
    (the_gate_forgets_to_say_why, "transforms.gate.judge", CANDIDATES),
    (the_gate_does_not_pass_on_what_it_opened, "transforms.gate.Gate.judge", STORED),
    (the_gate_passes_on_what_it_refused, "transforms.gate.Gate.judge", STORED),
    (what_was_stopped_goes_on, "transforms.gate.Gate.tally", STORED),
    (a_row_is_dropped, "transforms.for_purpose.for_purpose", STORED),
    (a_row_is_dropped, "transforms.pseudonymise.pseudonymise", STORED),
    (a_day_is_not_stored, "pipelines.sinks.by_date", STORED),
    (a_file_holds_fewer_rows, "pipelines.sinks.stage", NAMED),
    (a_file_holds_none, "pipelines.sinks.stage", NAMED),
    (nothing_is_put_in_the_manifest, "pipelines.sinks.commit", NAMED),
    (nothing_is_quarantined, "transforms.border.Quarantine.seal", QUARANTINED),
    (a_block_is_not_quarantined, "pipelines.quarantine_store.gathered", QUARANTINED),
    (a_file_holds_fewer_rows, "pipelines.quarantine_store.stage", NAMED),
    (nothing_is_put_in_the_manifest, "pipelines.quarantine_store.commit", NAMED),
    (reading_loses_a_span, "transforms.border._Border.process", READ),
    (statistics_leave_a_record_out, "transforms.statistics.counted_rows", COUNTED),
    (statistics_lose_a_day, "transforms.statistics._sum", RELEASED),
    (a_region_is_not_audited, "pipelines.audit_store.keep", LINES),
    (nothing_is_audited, "pipelines.audit_store.keep", NAMED),
]


@pytest.mark.parametrize(("fault", "place", "identity"), FAULTS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_a_fault_in_any_step_is_told_by_its_identity(run, monkeypatch, capsys, fault, place, identity):
    monkeypatch.setattr(place, fault(_found(place)))
    assert run().status == 3
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert identity in said


def _found(place: str):
    found = __import__(place.split(".")[0])
    for name in place.split(".")[1:]:
        found = getattr(found, name)
    return found


def test_without_a_fault_everything_is_accounted_for(run):
    assert run().status == 0


# --- order and repetition ---


def _counted(site: Site) -> pa.Table:
    totals = read_totals([site.place(region) for region in REGIONS])
    return summed(totals.table.drop_columns(["run", RECEIVED_DATE]))


@pytest.mark.parametrize("seed", [1, 2])
def test_totals_do_not_depend_on_the_order_of_lines_or_on_repeated_bundles(spoilt_sample, tmp_path, spoilt_run, seed):
    shuffled = Input(tmp_path / "events.ndjson", tmp_path / "consents.ndjson")
    draw = random.Random(seed)
    for name in ("events", "consents"):
        lines = getattr(spoilt_sample, name).read_bytes().splitlines(keepends=True)
        getattr(shuffled, name).write_bytes(b"".join(draw.sample(lines, len(lines))))
    site = Site.new(tmp_path / "site", keys_of=spoilt_run)
    run = ingest(site, [shuffled.events], [shuffled.consents], "--direct_runner_bundle_repeat=2")
    assert run.status == 0
    assert _counted(site).equals(_counted(spoilt_run))


@pytest.fixture(scope="module")
def spoilt_run(spoilt_sample, tmp_path_factory) -> Site:
    run = ingest(
        Site.new(tmp_path_factory.mktemp("in_order") / "site"), [spoilt_sample.events], [spoilt_sample.consents]
    )
    assert run.status == 0
    return run.site


def test_the_sample_has_something_of_everything(spoilt_run):
    (run,) = counted_runs([spoilt_run.place(region) for region in REGIONS])
    assert run.bounded
    totals = read_totals([spoilt_run.place(region) for region in REGIONS])
    found = totals.by(("step", "outcome"))
    assert len(totals.by("reason", step="telemetry", outcome="quarantined")) > 5
    assert found["telemetry", "quarantined"] > 0.015 * found["telemetry", "lines"]
    for step, outcomes in {
        "telemetry": ("blank", "unlocatable", "decoded"),
        "ledger": ("blank", "quarantined", "entries"),
        "gate": ("duplicates", "judged", "opened", "refused"),
        "store": ("stored",),
        "statistics": ("counted",),
    }.items():
        assert all(found[step, outcome] for outcome in outcomes), step


# --- metrics ---


def _metrics(monkeypatch, run: Callable[[], Run]) -> Iterator[str]:
    """The names of what Beam measured for us."""
    results, original = [], beam.Pipeline.run

    def kept(pipeline, *given, **more):
        results.append(original(pipeline, *given, **more))
        return results[-1]

    monkeypatch.setattr(beam.Pipeline, "run", kept)
    assert run().status == 0
    for each in (each for kind in results[0].metrics().query().values() for each in kind):
        assert each.key.metric.namespace in ("douane", "__main__") or not each.key.metric.namespace.startswith("douane")
        if each.key.metric.namespace == "douane":
            yield each.key.metric.name


def test_metrics_name_their_step_and_nothing_finer(run, monkeypatch):
    names = set(_metrics(monkeypatch, run))
    assert {"telemetry_lines", "telemetry_quarantined", "ledger_entries", "gate_refused", "store_stored"} <= names
    steps = {"telemetry", "ledger", "quarantine", "gate", "store", "statistics"}
    fine = {*CLAUSE_OF_REASON, *CLAUSE_OF_FAULT, *PACK.purposes, *PACK.regions, *EVENT_TYPES, AUDIT, QUARANTINE}
    fine |= {field.path for field in EVENT_FIELDS} | {field.column for field in EVENT_FIELDS}
    for name in names:
        step, _, outcome = name.partition("_")
        assert step in steps and outcome and outcome not in fine
        assert not [word for word in fine if outcome.startswith(f"{word}_") or outcome.endswith(f"_{word}")]

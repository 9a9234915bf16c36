"""After the orders are carried out a stream's stores equal those of a bounded run over the same input (section 6 of the
design). Readers carry orders out at once, so what they read of a stream is what they read of a run."""

import random
from collections import Counter

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream

from pipelines.order_store import OrderStore
from pipelines.sinks import RegionalStore
from pipelines.stores import open_dataset
from schemas.consent import STOPS, Kind
from schemas.datasets import datasets
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from tests.gated import BASE, EU, PACK, SHARDS, Entry, Record, at, piece, sealed
from tests.invariants.runs import Site
from transforms.consent_gate import STOPPING, ConsentGate
from transforms.exchange import Piece
from transforms.for_purpose import ForPurpose
from transforms.generalise import MILLISECONDS
from transforms.keyring import create_keystore
from transforms.pseudonymise import Pseudonymise, Tokens, epoch_of
from transforms.seal import Partition

DATASETS = datasets(PACK)
PEOPLE, WINDOWS = 8, 5
HOUR, DAY = 3_600_000, 86_400_000  # a window is a day
START = 27 * DAY  # the windows span the end of a month, where an epoch ends
KINDS = sorted(kind.name for kind in STOPS) + ["grant"] * 6 + ["adult", "lift_objection", "lift_restriction"]


class Person:
    """A device or two and an account under a key of their own: records and entries, on clocks that tie and meet."""

    def __init__(self, seed, number):
        draw = random.Random(f"{seed} {number}")
        pick, key = draw.choice, EU * SHARDS + number
        device, account = (("device", 10 * number + 1), ("device", 10 * number + 2)), ("account", 10 * number + 3)
        clock = [START + w * DAY + hour * HOUR for w in range(WINDOWS) for hour in (0, 1, 5, 23)]
        self.records = []
        for place in range(10):
            received = pick(clock)
            of = pick([device[0], device[0], device[0], device[1], ("device", None)])
            self.records.append(
                Record(
                    id=number * 1_000 + place,
                    received_time=received,
                    event_time=pick([then for then in clock if then <= received]) + pick([0, 1, 60_000]),
                    device=of[1],
                    account=pick([None, account[1]]),
                    event_type=draw.randrange(len(EVENT_TYPES)),
                    app=pick([None, "map", "mail"]),
                    fault=draw.random() < 0.1,
                    key=key,
                )
            )
        self.entries = [
            Entry(number * 1_000 + place, "grant", START, subject=subject, key=key)
            for place, subject in enumerate((*device, account))
        ]
        self.entries += [self._entry(draw, number, place, key, (*device, account), clock) for place in range(3, 7)]

    def _entry(self, draw, number, place, key, subjects, clock):
        received = draw.choice(clock)
        return Entry(
            id=number * 1_000 + place,
            kind=draw.choice(KINDS),
            received_time=received,
            time=draw.choice([then for then in clock if then <= received]),
            subject=draw.choice([subjects[0], *subjects]),
            purposes=draw.choice([frozenset({"*"}), frozenset(draw.sample(list(PACK.purposes), 8))]),
            app=draw.choice([None, None, "map", "mail"]),
            guardian=draw.random() < 0.2,
            key=key,
        )


def pieces(things, keys, partition, draw):
    """The things in pieces of one key and, of records, one window."""
    groups = {}
    for thing in draw.sample(things, len(things)):
        window = thing.received_time // DAY if isinstance(thing, Record) else draw.randrange(2)
        groups.setdefault((thing.key, window), []).append(thing)
    return [piece(group, keys, partition) for group in groups.values()]


def script(people, keys, partition, seed):
    """What arrives on both inputs: a day's pieces, then the watermark of that day; one input far ahead of the other."""
    draw, steps = random.Random(seed), test_stream.TestStream(output_tags={"telemetry", "ledger"})
    parts = {"telemetry": "records", "ledger": "entries"}
    days = {
        tag: [
            [t for p in people for t in getattr(p, part) if t.received_time // DAY == START // DAY + day]
            for day in range(WINDOWS)
        ]
        for tag, part in parts.items()
    }
    turns = draw.sample(["telemetry", "ledger"] * WINDOWS, 2 * WINDOWS)
    gone = Counter()
    for tag in turns:
        day = gone[tag]
        gone[tag] += 1
        if days[tag][day]:
            steps.add_elements(pieces(days[tag][day], keys, partition, draw), tag=tag)
        steps.advance_watermark_to(at(START + (day + 1) * DAY), tag=tag)
    for tag in parts:
        steps.advance_watermark_to(at(1_000 * DAY), tag=tag)
        steps.advance_watermark_to_infinity(tag=tag)
    return steps


def store(arrived, site, partition, run):
    """From pieces to the files of both stores, as the job joins its steps."""
    place = site.place("eu")
    keys, places = {EU: place.keys}, {EU: place}
    judged = arrived | ConsentGate(Editions((PACK,)), keys, partition, with_ledger=True)
    rows = judged.judged | ForPurpose(Editions((PACK,))) | Pseudonymise(PACK, keys)
    rows | RegionalStore(places, "input", run)  # noqa: B018
    judged[STOPPING] | OrderStore(Editions((PACK,)), places, "input", run, "1970-01-01", partition)  # noqa: B018


def held(site, people):
    """How often each record's row is read from each dataset, and what is in it."""
    tokens, found = Tokens(PACK, {EU: site.place("eu").keys}), {}
    everyone = [record for person in people for record in person.records]
    for name, dataset in DATASETS.items():
        purpose = PACK.purposes[dataset.purpose]
        if not purpose.subject:
            continue
        of_token = {}
        for record in everyone:
            epoch = epoch_of(BASE + record.received_time, purpose.token_epoch)
            cipher = tokens.cipher(EU, dataset.purpose, "event_id", epoch)
            of_token[cipher.tag(pa.array([sealed(record.id)], pa.binary(16)))[0].as_py()] = record
        for row in open_dataset(site.file, "eu", name).to_table().to_pylist():
            record = of_token[row["event_id"]]
            assert (name, record.id) not in found
            found[name, record.id] = record, row
    return found


def excused(dataset, record, person):
    """Why a row that a run keeps may be missing from a stream: what an order cannot tell, it takes."""
    purpose = PACK.purposes[dataset.purpose]
    own = [e for e in person.entries if e.subject in (("device", record.device), ("account", record.account))]
    unit = MILLISECONDS[purpose.event_time]
    if any(e.kind == "erase" and e.time // unit == record.time // unit for e in own):
        return "the unit of an erasure"
    if any(e.kind == "minor" for e in own) and any(e.guardian for e in own):
        return "a guardian's grant before a minor"
    if "app_package" not in dataset.schema.names and any(e.app for e in own if Kind[e.kind] in STOPS):
        return "an application that the dataset does not tell"
    return None


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("seed", [1])
def test_a_stream_is_read_as_a_run(tmp_path, seed):
    people = [Person(seed, number) for number in range(PEOPLE)]
    run = Site.new(tmp_path / "run")
    create_keystore(run.place("eu").keys, "eu")
    keys = {EU: run.place("eu").keys}
    bounded, stream = Partition(SHARDS, None), Partition(SHARDS, DAY)
    everything = [thing for person in people for thing in (*person.records, *person.entries)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        parts = {type_: [t for t in everything if isinstance(t, type_)] for type_ in (Record, Entry)}
        draw = random.Random(seed)
        all_ = [each.value for part in parts.values() for each in pieces(part, keys, bounded, draw)]
        store(pipeline | beam.Create(all_).with_output_types(Piece), run, bounded, "run")
    site = Site.new(tmp_path / "stream", keys_of=run)
    options = PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])
    with beam.Pipeline(options=options) as pipeline:
        inputs = pipeline | script(people, keys, stream, seed)
        typed = [inputs[tag] | tag >> beam.Map(same).with_output_types(Piece) for tag in ("telemetry", "ledger")]
        store(typed | beam.Flatten(), site, stream, "stream")

    of_run, of_stream = held(run, people), held(site, people)
    assert len(of_run) > 60
    stored = sum(e.rows for name in DATASETS for e in site.place("eu").manifest.entries(name))
    subjectless = sum(
        e.rows
        for name, each in DATASETS.items()
        if not PACK.purposes[each.purpose].subject
        for e in site.place("eu").manifest.entries(name)
    )
    assert stored - subjectless > len(of_stream), "orders must take something out, or nothing is shown"
    for key, (_, row) in of_stream.items():
        assert key in of_run and row == of_run[key][1]
    missing = of_run.keys() - of_stream.keys()
    for name, number in missing:
        record = of_run[name, number][0]
        assert excused(DATASETS[name], record, people[number // 1_000]), (name, record)
    assert len(missing) < len(of_run) / 4


@pytest.mark.clause("5.3")
def test_a_stop_that_came_in_one_block_with_years_before_it_finds_rows_that_wait_for_their_first_key(tmp_path):
    """A ledger's history is one block, stamped with its first entry. What it stops may yet be judged without knowing of
    it, in an epoch that nobody has a key of when the history is read."""
    stopped = START + 8 * DAY  # in the month after the records'
    records = [Record(each, START + DAY + HOUR, device=1, event_type=each) for each in range(len(EVENT_TYPES))]
    ledger = [Entry(1, "grant", 0), Entry(2, "withdraw", stopped)]
    site, partition = Site.new(tmp_path / "stream"), Partition(SHARDS, DAY)
    create_keystore(site.place("eu").keys, "eu")
    keys, draw = {EU: site.place("eu").keys}, random.Random(1)
    steps = test_stream.TestStream(output_tags={"telemetry", "ledger"})
    steps.add_elements([piece(ledger, keys, partition)], tag="ledger")
    steps.advance_watermark_to(at(stopped + DAY), tag="ledger")
    for day in range(0, 10):
        if day == 1:
            steps.add_elements(pieces(records, keys, partition, draw), tag="telemetry")
        steps.advance_watermark_to(at(START + day * DAY + 2 * HOUR), tag="telemetry")
    for tag in ("telemetry", "ledger"):
        steps.advance_watermark_to(at(1_000 * DAY), tag=tag)
        steps.advance_watermark_to_infinity(tag=tag)
    with beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])) as pipeline:
        inputs = pipeline | steps
        typed = [inputs[tag] | tag >> beam.Map(same).with_output_types(Piece) for tag in ("telemetry", "ledger")]
        store(typed | beam.Flatten(), site, partition, "stream")
    manifest = site.place("eu").manifest
    assert sum(entry.rows for entry in manifest.entries("personalised_ads")), "without rows nothing is shown"
    assert open_dataset(site.file, "eu", "personalised_ads").count_rows() == 0


def same(element):
    return element

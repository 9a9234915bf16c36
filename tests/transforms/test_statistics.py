"""Statistics in time: what is released of a run and of a stream, what is late, and that both come to the same."""

from collections import Counter
from datetime import date

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import layout
from schemas.pack_files import load_pack
from tests.crowds import DAY_MS, crowd, with_tables
from tests.lines import keystores
from transforms.cmac import ColumnCmac
from transforms.contributions import bound, contributions, counted, counted_rows
from transforms.exchange import Judged
from transforms.keyring import BORDER, open_keyring
from transforms.seal import Partition
from transforms.statistics import DAYS, Statistics, _Contribute, over
from transforms.tallies import TALLIES

PACK = with_tables(load_pack(), groups_per_device=3, events_per_group=2)
PLAN = layout(PACK)
RULES = PACK.statistics
EU, US = PACK.where.code("eu"), PACK.where.code("us")
GRACE = RULES.grace_hours * 3_600_000
DAY0 = 20_000
HOUR = 3_600_000
WINDOW = 6 * HOUR  # six hours, so that a stream of days has few
BOUNDED, STREAM = Partition(4, None), Partition(4, WINDOW)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {EU: "eu", US: "us"})


def records(event_times, received=None, seed=0, devices=4, shard=0):
    """Records of those times; `received` is one time for all, by default an hour after each. Devices of
    two shards are never the same."""
    draw = np.random.default_rng(seed)
    received = [time + HOUR for time in event_times] if received is None else [received] * len(event_times)
    ids = [bytes([10 * shard + number]) * 16 for number in draw.integers(1, devices + 1, len(event_times))]
    head = {"event_time": event_times, "received_time": received, "device": ids}
    return crowd(PACK, len(event_times), seed, **head)


def spread(day, rows=30, seed=0):
    """Times all over a day."""
    return (np.random.default_rng(seed).integers(0, DAY_MS, rows) + day * DAY_MS).tolist()


def expected(keys, region, *shards):
    """Counts of one region and day, as a bag: of each shard's records at once."""
    cipher = ColumnCmac(open_keyring(keys[region]).secret("statistics/bound", BORDER))
    found = Counter()
    for batch in shards:
        whole = bound(
            contributions(batch, Editions((PACK,)).of("eu"), PLAN, cipher), tuple(RULES.tables.values()), cipher
        )
        for row in counted(whole, PACK).to_pylist():
            found.update(measures(row))
    return found


def measures(row):
    words = tuple(value for name, value in row.items() if name not in ("devices", "events"))
    return {(words, "devices"): row["devices"], (words, "events"): row["events"]}


# --- running ---

_KEPT = {}  # what the matchers saw: they are pickled, and so can carry nothing back themselves


def _keep_days(actual):
    for key, (count, batch) in actual:
        found = Counter()
        for row in batch.to_pylist():
            found.update(measures(row))
        assert key not in _KEPT["days"]
        _KEPT["days"][key] = count, found


def _keep_tallies(actual):
    for region, rows in actual:
        for row in rows.to_pylist():
            hour = row["hour"] and int(row["hour"].timestamp() * 1000)
            _KEPT["tallies"][region, row["outcome"], row["event_type"], row["purpose"], hour] += row["count"]
            assert row["step"] == "statistics"


def kept(statistics):
    _KEPT.update(days={}, tallies=Counter())
    assert_that(statistics[DAYS], _keep_days, label="days")
    assert_that(statistics[TALLIES], _keep_tallies, label="tallies")


def run(keys, lots, complete_through=None):
    """Runs a bounded job -> ({(region, day): (records, counts)}, tallies)."""
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        judged = pipeline | beam.Create(lots).with_output_types(Judged)
        kept(judged | Statistics(Editions((PACK,)), keys, BOUNDED, complete_through))
    return _KEPT["days"], _KEPT["tallies"]


def _same(element):
    return element


def stream(keys, *steps):
    """Runs a stream. A step is a lot, or a time to which the watermark goes on. A lot is stamped as the gate stamps it:
    with the end of its window."""
    script = test_stream.TestStream()
    for step in steps:
        if isinstance(step, int):
            script.advance_watermark_to(Timestamp(micros=step * 1000))
        else:
            end = STREAM.end(step[0][2])
            script.add_elements([TimestampedValue(step, end)])
    script.advance_watermark_to_infinity()
    with beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])) as pipeline:
        judged = pipeline | script | beam.Map(_same).with_output_types(Judged)
        kept(judged | Statistics(Editions((PACK,)), keys, STREAM))
    return _KEPT["days"], _KEPT["tallies"]


def lot(batch, region=EU, shard=0, window=None):
    return (region, shard, int(batch["received_time"][0].as_py() // WINDOW) if window is None else window), batch


def of_outcome(tallies, outcome, region="eu"):
    return sum(n for (where, what, *_), n in tallies.items() if (where, what) == (region, outcome))


def number_of(*batches):
    return sum(len(counted_rows(batch, PACK)) for batch in batches)


# --- a bounded run ---


def _at_end(day):
    """One record, received when that day is over."""
    return records([over(day, RULES) - HOUR], received=over(day, RULES), seed=9, shard=3)


@pytest.mark.clause("1.1.4-b")
def test_a_run_releases_the_days_whose_grace_has_passed(keys):
    first = records(spread(DAY0), seed=1)
    edge = records([over(DAY0, RULES) - 5 * HOUR], received=over(DAY0, RULES), seed=2)
    batch = pa.concat_batches([b for b in _plain(first, edge)])
    days, tallies = run(keys, [lot(batch, window=0)])
    assert days == {(EU, DAY0): (number_of(first), expected(keys, EU, first))}
    assert of_outcome(tallies, "incomplete") == number_of(edge)


def test_a_millisecond_earlier_the_day_is_incomplete(keys):
    first, edge = records(spread(DAY0), seed=1), records(spread(DAY0), received=over(DAY0, RULES) - 1, seed=2)
    batch = pa.concat_batches(_plain(first, edge))
    days, tallies = run(keys, [lot(batch, window=0)])
    assert not days and of_outcome(tallies, "incomplete") == number_of(batch)


def test_a_day_before_the_first_receipt_belongs_to_another_input(keys):
    stragglers = records(spread(DAY0), received=(DAY0 + 1) * DAY_MS, seed=1)
    batch = pa.concat_batches(_plain(stragglers, records(spread(DAY0 + 1), seed=2), _at_end(DAY0 + 1)))
    days, tallies = run(keys, [lot(batch, window=0)])
    assert set(days) == {(EU, DAY0 + 1)}
    assert of_outcome(tallies, "incomplete") == number_of(stragglers, _at_end(DAY0 + 1))


def test_the_greatest_receipt_is_that_of_the_region_and_of_all_its_records(keys):
    early, other = records(spread(DAY0), seed=1), records(spread(DAY0), seed=2)
    late = records([over(DAY0, RULES)], received=over(DAY0, RULES), seed=3, shard=1)
    late = late.set_column(late.schema.get_field_index("stands"), "stands", pa.array([0], pa.uint64()))
    lots = [lot(early, window=0), lot(late, shard=1, window=0), lot(other, US, window=0)]
    days, tallies = run(keys, lots)
    assert days == {(EU, DAY0): (number_of(early), expected(keys, EU, early))}
    assert of_outcome(tallies, "incomplete", "us") == number_of(other)


def test_shards_add_up(keys):
    shards = [records(spread(DAY0, seed=n), seed=n, shard=n) for n in range(3)]
    lots = [lot(batch, shard=n, window=0) for n, batch in enumerate([*shards, _at_end(DAY0)])]
    days, _ = run(keys, lots)
    assert days == {(EU, DAY0): (number_of(*shards), expected(keys, EU, *shards))}


def test_complete_through_decides_alone(keys):
    batches = [records(spread(DAY0 + n), seed=n) for n in range(4)]
    whole = pa.concat_batches(_plain(*batches))
    through = date.fromordinal(date(1970, 1, 1).toordinal() + DAY0 + 2)
    days, tallies = run(keys, [lot(whole, window=0)], through)
    assert {day for _, day in days} == {DAY0, DAY0 + 1, DAY0 + 2}
    assert of_outcome(tallies, "incomplete") == number_of(batches[3])


def test_every_record_that_the_gate_opened_is_counted_once_by_hour_and_event_type(keys):
    batch = pa.concat_batches(_plain(*(records(spread(DAY0 + n), seed=n) for n in range(2))))
    closed = np.arange(batch.num_rows) % 3 == 0
    mask = np.where(closed, 0, batch["stands"].to_numpy()).astype(np.uint64)
    batch = batch.set_column(batch.schema.get_field_index("stands"), "stands", pa.array(mask))
    _, tallies = run(keys, [lot(batch, window=0)])
    purpose = PACK.purposes[RULES.purpose]
    found = Counter(
        ("eu", "counted", event, RULES.purpose, row["received_time"] // HOUR * HOUR)
        for row, shut in zip(batch.to_pylist(), closed, strict=True)
        if not shut and (event := EVENT_TYPES[row["event_type"]]) in purpose.events
    )
    assert {key: n for key, n in tallies.items() if key[1] == "counted"} == found


def test_nothing_judged_is_nothing_released(keys):
    assert run(keys, [lot(records([]), window=0)]) == ({}, {})


def _plain(*batches):
    """Batches of one schema with the words of all in each dictionary, so that they can be joined."""
    columns = []
    for at in range(batches[0].num_columns):
        column = pa.chunked_array([batch.column(at) for batch in batches])
        columns.append(column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column)
    return pa.table(columns, names=batches[0].schema.names).to_batches()


# --- a stream ---


@pytest.mark.clause("1.1.4-b")
def test_a_stream_releases_a_day_once_when_its_grace_has_passed(keys):
    morning, noon = (
        records(spread(DAY0, 12, n), DAY0 * DAY_MS + at, seed=n) for n, at in ((1, WINDOW), (2, 2 * WINDOW))
    )
    after = records(spread(DAY0, 9, 3), over(DAY0, RULES) - 1, seed=3)  # the last window before the end
    tomorrow = records(spread(DAY0 + 1, 9, 4), over(DAY0, RULES) - 1, seed=4)
    whole = pa.concat_batches(_plain(morning, noon, after))
    ends = over(DAY0, RULES), over(DAY0 + 1, RULES)
    steps = [lot(morning), lot(noon), ends[0] - 1, lot(tomorrow), lot(after), *ends, ends[1] + WINDOW]
    days, tallies = stream(keys, *steps)
    assert days == {
        (EU, DAY0): (number_of(whole), expected(keys, EU, whole)),
        (EU, DAY0 + 1): (number_of(tomorrow), expected(keys, EU, tomorrow)),
    }
    assert of_outcome(tallies, "counted") == number_of(whole, tomorrow)


def test_nothing_is_released_before_its_time(keys):
    batch = records(spread(DAY0, 20, 1), DAY0 * DAY_MS + WINDOW, seed=1)
    days, tallies = stream(keys, lot(batch), over(DAY0, RULES))
    assert not days and of_outcome(tallies, "counted") == number_of(batch)


@pytest.mark.clause("1.1.4-b")
def test_what_waits_in_state_for_the_end_of_a_day_is_locked(keys):
    step = _Contribute(Editions((PACK,)), keys, STREAM)
    step.setup()
    batch = records(spread(DAY0), seed=1)
    outputs = step.process(lot(batch, window=(DAY0 + 1) * DAY_MS // WINDOW))
    held = b"".join(pairs + groups for _, (_, pairs, groups) in (out for out in outputs if isinstance(out, tuple)))
    (names,) = (batch.column(place) for source, place in PLAN.places.items() if source.form == "bare")
    words = {word.encode() for word in names.dictionary.to_pylist()}
    assert held and words and not [word for word in words if word in held]


def test_what_comes_after_the_grace_is_late_and_goes_no_further(keys):
    early = records(spread(DAY0, 20, 1), DAY0 * DAY_MS + WINDOW, seed=1)
    end = over(DAY0, RULES)
    late = records(spread(DAY0, 20, 2), end, seed=2)
    both = [lot(early), end + 1, lot(late), end + 2 * WINDOW]
    days, tallies = stream(keys, *both)
    assert days == {(EU, DAY0): (number_of(early), expected(keys, EU, early))}
    assert of_outcome(tallies, "late") == number_of(late)


def test_lateness_is_told_by_the_window_and_not_by_how_far_the_stream_has_come(keys):
    """The last window in time ends with the grace; what the next one brings is late even if it comes first."""
    end = over(DAY0, RULES)
    in_time, late = records(spread(DAY0, 9, 1), end - 1, seed=1), records(spread(DAY0, 9, 2), end, seed=2)
    days, tallies = stream(keys, lot(late), lot(in_time), end, end + WINDOW, end + 2 * WINDOW)
    assert days == {(EU, DAY0): (number_of(in_time), expected(keys, EU, in_time))}
    assert of_outcome(tallies, "late") == number_of(late)


def test_shards_of_a_stream_add_up_to_one_release(keys):
    shards = [records(spread(DAY0, 20, n), DAY0 * DAY_MS + WINDOW, seed=n, shard=n) for n in range(3)]
    other = records(spread(DAY0, 20, 5), DAY0 * DAY_MS + WINDOW, seed=5)
    steps = [*(lot(batch, shard=n) for n, batch in enumerate(shards)), lot(other, US)]
    days, _ = stream(keys, *steps, over(DAY0, RULES), over(DAY0, RULES) + WINDOW)
    assert days == {
        (EU, DAY0): (number_of(*shards), expected(keys, EU, *shards)),
        (US, DAY0): (number_of(other), expected(keys, US, other)),
    }


def test_a_stream_comes_to_the_same_as_a_run_over_the_same_records(keys):
    batches = [
        records(spread(DAY0 + n % 2, 25, n), (DAY0 + 2) * DAY_MS + n * WINDOW, seed=n, devices=3) for n in range(4)
    ]
    ends = [over(DAY0 + n, RULES) for n in (0, 1)]
    streamed, _ = stream(keys, *map(lot, batches), ends[0], ends[1], ends[1] + WINDOW)
    whole = pa.concat_batches(_plain(*batches))
    through = date.fromordinal(date(1970, 1, 1).toordinal() + DAY0 + 1)
    ran, _ = run(keys, [lot(whole, window=0)], through)
    assert streamed == ran and len(ran) == 2

"""What each device adds to a day: against slow references, in any order, and what one device can change."""

import re
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from schemas.editions import Editions
from schemas.fields import EVENT_FIELD, EVENT_TYPES
from schemas.layout import SERVICE, Source, counted_source, layout
from schemas.pack_files import DEFAULT_PACK, load_pack
from schemas.policy import Form
from tests.crowds import DAY_MS, crowd, with_tables
from tests.editions import edition
from tests.strategies import few, seeds
from transforms import contributions as module
from transforms.cmac import ColumnCmac
from transforms.contributions import Contributions, added, bound, contributions, counted, counted_rows, merged

PACK = with_tables(load_pack(), groups_per_device=2, events_per_group=2)
PLAN = layout(PACK)
VARIANTS = Editions((PACK,)).of("eu")
RULES = PACK.statistics
PURPOSE = PACK.purposes[RULES.purpose]
TABLES = dict(RULES.tables)
KEY = bytes(range(32))
CIPHER = ColumnCmac(KEY)


def of(batch, cipher=CIPHER):
    return contributions(batch, VARIANTS, PLAN, cipher)


def bounded(whole, cipher=CIPHER):
    return bound(whole, tuple(TABLES.values()), cipher)


def pairs(whole):
    """{(device word, day, table, words): events}; no pair stands twice."""
    columns = [EVENT_FIELD[path].column for path in RULES.fields]
    groups = [
        (row["day"], list(TABLES)[row["table"]], tuple(row[name] for name in columns))
        for row in whole.groups.to_pylist()
    ]
    found = {}
    for device, group, events in zip(whole.device.tolist(), whole.group.tolist(), whole.events.tolist(), strict=True):
        assert (device, *groups[group]) not in found
        found[device, *groups[group]] = events
    return found


def word(record, path):
    if path == "event_type":
        return EVENT_TYPES[record["event_type"]]
    value = record[PLAN.places[counted_source(PACK, path)]]
    if value is not None and PURPOSE.columns[path].form is Form.MAJOR:
        match = re.match(r"[^\W\d_]{0,3}(\d{1,9})", value)
        return match and match[1]
    return value


def expected(batch):
    """The pairs of a batch, record by record."""
    found = Counter()
    for record in batch.to_pylist():
        event = EVENT_TYPES[record["event_type"]]
        bit = 1 << list(PACK.purposes).index(RULES.purpose)
        if not record["stands"] & bit or record["device"] is None or event not in PURPOSE.events:
            continue
        device, day = int.from_bytes(record["device"][:8], "little"), record["event_time"] // DAY_MS
        for name, table in TABLES.items():
            if all(path in ("event_type", *PURPOSE.events[event]) for path in table.by):
                words = tuple(word(record, path) if path in table.by else None for path in RULES.fields)
                found[device, day, name, words] += 1
    return found


def mac(message):
    keyed = CMAC(AES(KEY))
    keyed.update(message)
    return keyed.finalize()[:8]


def expected_bound(found):
    """Of each (device, day, table) the groups whose hash is smallest, one by one."""
    cells = defaultdict(list)
    for device, day, name, words in found:
        named = "\x1f".join([str(day), str(list(TABLES).index(name)), *("\x00" if w is None else w for w in words)])
        block = mac(device.to_bytes(8, "little") + mac(named.encode()))
        cells[device, day, name].append((int.from_bytes(block, "little"), words))
    return {
        (*cell, words): min(found[(*cell, words)], TABLES[cell[2]].events_per_group or 1)
        for cell, groups in cells.items()
        for _, words in sorted(groups)[: TABLES[cell[2]].groups_per_device]
    }


def split(batch, cuts):
    edges = [0, *sorted(cut % (batch.num_rows + 1) for cut in cuts), batch.num_rows]
    return [batch.slice(start, stop - start) for start, stop in zip(edges, edges[1:], strict=False)]


# --- what is counted ---


@few
@given(seeds, st.integers(0, 60), st.integers(1, 6))
def test_each_record_adds_to_each_table_that_sees_it(seed, rows, devices):
    batch = crowd(PACK, rows, seed, devices)
    assert pairs(of(batch)) == expected(batch)


@pytest.mark.clause("5.3")
def test_what_is_closed_or_of_nobody_adds_nothing():
    batch = crowd(PACK, 200, 1)
    bit = np.uint64(1 << list(PACK.purposes).index(RULES.purpose))
    mask = batch["stands"].to_numpy() & ~bit
    closed = batch.set_column(batch.schema.get_field_index("stands"), "stands", pa.array(mask))
    assert not len(of(closed)) and not len(counted_rows(closed, PACK))
    assert not len(of(crowd(PACK, 200, 1, device=[None] * 200)))
    assert len(of(batch))


def test_many_words_come_to_the_same(monkeypatch):
    batch = crowd(PACK, 300, 2)
    usual = pairs(of(batch))
    monkeypatch.setattr(module, "_LOOKUP", 3)
    assert pairs(of(batch)) == usual


@pytest.mark.clause("0-b")
def test_a_record_counts_by_no_field_that_an_overlay_leaves_out_and_as_coarse_as_it_says():
    said = {"clause": "0-b", "columns": {"app.version": "absent", "device.model": "major"}}
    overlay = {"clause": "0-b", "purposes": {"statistics": said}}
    apart = edition(DEFAULT_PACK, lambda rules: rules.update(by_service={"notes": overlay}))
    here = edition(DEFAULT_PACK, lambda rules: rules.update(by_region={"eu": overlay}))
    batch = crowd(apart, 120, 9)
    plan = layout(apart)
    place = batch.schema.get_field_index(plan.places[SERVICE])
    services = np.resize(["notes", "browser", "browser"], batch.num_rows)
    batch = batch.set_column(place, batch.schema.names[place], pa.array(services).dictionary_encode())
    mixed = contributions(batch, Editions((apart,)).of("eu"), plan, CIPHER)
    notes, others = (batch.filter(pa.array(services == name)) for name in ("notes", "browser"))
    narrow = contributions(notes, Editions((here,)).of("eu"), plan, CIPHER)
    usual = contributions(others, Editions((load_pack(),)).of("eu"), plan, CIPHER)
    assert pairs(mixed) == Counter(pairs(narrow)) + Counter(pairs(usual))
    tables, models = {name for _, _, name, _ in pairs(narrow)}, {words[3] for *_, words in pairs(narrow)}
    assert tables == {"active", "usage", "models", "crashes"}
    assert {name for _, _, name, _ in pairs(usual)} == {*tables, "versions"}
    assert models - {None} and all(word.isdigit() for word in models - {None})


# --- bounds ---


@few
@given(seeds, st.integers(0, 120), st.integers(1, 4))
def test_bounds_are_those_of_the_slow_reference(seed, rows, devices):
    batch = crowd(PACK, rows, seed, devices)
    assert pairs(bounded(of(batch))) == expected_bound(expected(batch))


@few
@given(seeds, st.lists(st.integers(0, 1000), max_size=4), st.booleans())
def test_neither_order_nor_batches_matter(seed, cuts, first):
    """Whole, in parts, and in parts that were bounded before: the same."""
    batch = crowd(PACK, 90, seed, 2)
    shuffled = batch.take(pa.array(np.random.default_rng(seed).permutation(90)))
    parts = [bounded(of(part)) if first else of(part) for part in split(shuffled, cuts)]
    assert pairs(bounded(merged(parts))) == pairs(bounded(of(batch)))
    if not first:
        assert pairs(merged(parts)) == pairs(of(batch))


@pytest.mark.clause("1.1.4-b")
@few
@given(seeds, st.integers(1, 3))
def test_one_device_changes_a_day_by_no_more_than_the_pack_declares(seed, number):
    """The premise of the guarantee: neighbours differ in all that one device did on one day."""
    batch = crowd(PACK, 150, seed, 3)
    days = sorted(set((batch["event_time"].to_numpy() // DAY_MS).tolist()))
    device, day = bytes([number]) * 16, days[seed % len(days)]
    theirs = [r["device"] == device and r["event_time"] // DAY_MS == day for r in batch.to_pylist()]
    without = batch.filter(pa.array([not mine for mine in theirs]))
    ours, others = (exact(bounded(of(each))) for each in (batch, without))
    moved = Counter()
    for group in ours.keys() | others.keys():
        changes = [abs(a - b) for a, b in zip(ours[group], others[group], strict=True)]
        if any(changes):
            assert group[0] == day
        for measure, change in zip(("devices", "events"), changes, strict=True):
            moved[group[1], measure] += change
    for (name, measure), change in moved.items():
        assert change <= TABLES[name].sensitivity(measure)


def exact(whole):
    """{(day, table, words): (devices, events)}, added up one by one."""
    found = defaultdict(lambda: (0, 0))
    for (_, *group), events in pairs(whole).items():
        devices, total = found[tuple(group)]
        found[tuple(group)] = devices + 1, total + events
    return found


def test_bounds_bind():
    whole = of(crowd(PACK, 400, 3, 2))
    assert len(bounded(whole)) < len(whole) and bounded(whole).events.max() < whole.events.max()


def test_what_one_device_leaves_is_bounded_however_many_words_it_sends():
    """Groups in which nobody is left do not wait for the end of the day."""

    def left(rows):
        words = {PLAN.places[Source("device.model", "plain")]: [f"M-{number}" for number in range(rows)]}
        found = bounded(of(crowd(PACK, rows, 5, device=[b"1" * 16] * rows, **words)))
        assert sorted(set(found.group.tolist())) == list(range(found.groups.num_rows))
        return sum(map(len, found.to_bytes()))

    assert left(8_000) < 1.2 * left(800)


def test_which_groups_count_is_the_secret_of_a_key_and_another_for_each_device_and_day():
    batch = crowd(PACK, 2_000, 4, 12)
    one, other = (bounded(of(batch, cipher), cipher) for cipher in (CIPHER, ColumnCmac(bytes(32))))
    assert pairs(one).keys() != pairs(other).keys()
    chosen = defaultdict(set)
    for device, day, name, words in pairs(one):
        if name == "usage":
            chosen[device, day].add(words)
    assert len({frozenset(words) for words in chosen.values()}) > len(chosen) * 0.9


# --- in pieces ---


def test_a_day_apart_is_what_it_is_in_the_whole():
    whole = of(crowd(PACK, 200, 5))
    days = {key[1] for key in pairs(whole)}
    apart = [pairs(whole.of_day(day)) for day in days]
    assert len(days) > 2 and {key: n for part in apart for key, n in part.items()} == pairs(whole)
    assert all({key[1] for key in part} == {day} for day, part in zip(days, apart, strict=True))
    assert not len(whole.of_day(0))


def test_contributions_survive_as_bytes():
    whole = of(crowd(PACK, 50, 6))
    again = Contributions.from_bytes(*whole.to_bytes())
    assert pairs(again) == pairs(whole) and again.groups.equals(whole.groups)


def test_no_records_are_no_contributions():
    nothing = of(crowd(PACK, 0, 0))
    assert not len(nothing) and not len(bounded(nothing)) and not len(bounded(merged([nothing, nothing])))
    assert not counted(nothing, PACK).num_rows
    something = of(crowd(PACK, 40, 7))
    assert pairs(merged([nothing, something])) == pairs(something)


@pytest.mark.clause("1.1.4-c")
def test_no_device_is_named_in_what_is_counted():
    counts = counted(bounded(of(crowd(PACK, 60, 8))), PACK)
    columns = [EVENT_FIELD[path].column for path in RULES.fields]
    assert counts.schema.names == ["table", *columns, "devices", "events"]


@few
@given(seeds)
def test_counts_of_shards_add_up(seed):
    """Shards share no device."""
    shards = [crowd(PACK, 70, seed + n, 4) for n in (0, 1)]
    ids = [None if d is None else bytes([d[0] + 100]) * 16 for d in shards[1]["device"].to_pylist()]
    shards[1] = crowd(PACK, 70, seed + 1, 4, device=ids)
    day = int(shards[0]["event_time"][0].as_py() // DAY_MS)
    apart = [bounded(of(shard)).of_day(day) for shard in shards]
    total = added([counted(each, PACK) for each in apart])
    columns = [EVENT_FIELD[path].column for path in RULES.fields]
    found = {
        (day, row["table"], tuple(row[name] for name in columns)): (row["devices"], row["events"])
        for row in total.to_pylist()
    }
    assert len(found) == total.num_rows
    assert found == exact(merged(apart))

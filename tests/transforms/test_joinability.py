"""The measure against one that looks at every two rows, and what the datasets hold against what a purpose gets."""

from collections import Counter
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.datasets import DatasetColumn
from schemas.fields import EVENT_FIELD
from schemas.joinability import Pair, Shared, pairs
from schemas.pack_files import load_pack
from schemas.policy import Form
from tests.strategies import unhurried
from transforms.joinability import Coarser, Holding, codes_of, compare, once

PACK = load_pack()
DAY = 86_400_000
codes = st.integers(0, 3)


@unhurried
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(codes, min_size=width, max_size=width), min_size=1)))
def test_once_is_what_no_other_row_has(rows):
    counts = Counter(map(tuple, rows))
    found = once([np.array(column, np.int64) for column in zip(*rows, strict=True)])
    assert found.tolist() == [counts[tuple(row)] == 1 for row in rows]


def test_once_of_no_rows_is_none():
    assert once([np.empty(0, np.int64)] * 2).tolist() == []


def test_equal_values_have_equal_codes_and_null_has_none():
    for values in (["b", None, "a", "b"], [2, None, 1, 2], [0.5, None, 0.0, 0.5]):
        for column in (pa.array(values), pa.array(values).dictionary_encode()):
            first, null, second, again = codes_of(column).tolist()
            assert null == 0 and first == again and len({first, null, second}) == 3


# --- two purposes ---


def column(path, form=Form.PLAIN, step=None, words=None, events=(0,)):
    return DatasetColumn(EVENT_FIELD[path], form, step, "listed" if words else None, words, frozenset(events), None)


MS, APP = "app_usage.foreground_ms", "app.package"
APPS, NEST = ("mail", "map", "chat"), {"plain": None, "two": ("map", "mail"), "one": ("map",)}
record = st.fixed_dictionaries(
    {
        "region": st.integers(0, 1),
        "event_type": st.integers(0, 1),
        "received": st.integers(0, 2 * DAY),
        MS: st.none() | st.integers(0, 40),
        APP: st.none() | st.sampled_from(APPS),
        "in": st.sampled_from([(True, True), (True, True), (True, False), (False, True), (False, False)]),
    }
)


def held(value, column):
    """How a purpose holds a value, said plainly."""
    if value is not None and column.step:
        return int(value // column.step * column.step)
    if value is not None and column.words:
        return value if value in column.words else "<OTHER>"
    return value


def holding(records, side, columns, unit):
    rows = [(number, each) for number, each in enumerate(records) if each["in"][side]]

    def of(path):
        stands = (each[path] if each["event_type"] in columns[path].events else None for _, each in rows)
        return [held(value, columns[path]) for value in stands]

    times = [each["received"] // unit * unit for _, each in rows]
    return Holding(
        pa.table(
            {
                "record": pa.array([number for number, _ in rows], pa.int64()),
                "region": pa.array([each["region"] for _, each in rows], pa.int8()),
                "event_type": pa.array([each["event_type"] for _, each in rows], pa.int8()),
                "received_date": pa.array([each["received"] // DAY for _, each in rows], pa.int64()),
                "event_time": pa.array(times, pa.timestamp("ms", tz="UTC")),
                "app_usage_foreground_ms": pa.array(of(MS), pa.int64()),
                "app_package": pa.array(of(APP), pa.string()).dictionary_encode(),
            }
        )
    )


def slowly(records, sides, units, without=()):
    """Every record's two rows beside all the others', as who has both datasets would look for them."""

    def shown(each, unit):
        values = [each["region"], each["event_type"], each["received"] // DAY, each["received"] // max(*units, unit)]
        for path in {MS, APP} - set(without):
            both = each["event_type"] in sides[0][path].events & sides[1][path].events
            value = each[path] if both else None
            for side in sides:
                value = held(value, side[path])
            values.append(value)
        return values

    keys = [shown(each, DAY if "event_time" in without else 0) for each in records]
    among = [[key for key, each in zip(keys, records, strict=True) if each["in"][side]] for side in (0, 1)]
    both = [key for key, each in zip(keys, records, strict=True) if all(each["in"])]
    return len(both), sum(all(rows.count(key) == 1 for rows in among) for key in both)


@pytest.mark.clause("2-analytics")
@unhurried
@given(
    st.lists(record, min_size=1, max_size=25),
    st.tuples(*[st.sampled_from([None, 5, 10, 20])] * 2),
    st.tuples(*[st.sampled_from(list(NEST.values()))] * 2),
    st.tuples(*[st.sampled_from(["hour", "day"])] * 2),
    st.tuples(*[st.sampled_from([(0,), (0, 1)])] * 2),
)
def test_the_measure_is_that_of_who_compares_every_two_rows(records, steps, words, units, events):
    sides = [
        {
            MS: column(MS, Form.BUCKET if steps[side] else Form.PLAIN, steps[side], events=events[side]),
            APP: column(APP, Form.LISTED if words[side] else Form.PLAIN, words=words[side]),
        }
        for side in (0, 1)
    ]
    shared = tuple(Shared((sides[0][p], sides[1][p]), sides[0][p].events & sides[1][p].events) for p in (MS, APP))
    width = [{"hour": 3_600_000, "day": DAY}[unit] for unit in units]
    holdings = {name: holding(records, side, sides[side], width[side]) for side, name in enumerate(("one", "other"))}
    (found,) = compare([Pair(("one", "other"), shared, units)], holdings, 0)
    assert (found.both, found.singled_out) == slowly(records, sides, width)
    if found.singled_out:
        told = found.generalise
        assert told.singled_out == slowly(records, sides, width, (told.path,))[1]
        candidates = [MS, APP, *(["event_time"] if units == ("hour", "hour") else [])]
        assert told.singled_out == min(slowly(records, sides, width, (path,))[1] for path in candidates)


def test_forms_of_which_neither_follows_from_the_other_are_compared_as_they_are():
    """Buckets of 4 and of 10 have no common form but one of 20: more is counted, never less."""
    four, ten = column(MS, Form.BUCKET, 4), column(MS, Form.BUCKET, 10)
    assert Shared((four, ten), frozenset({0})).cut_to == (four, ten)
    assert Shared((four, ten), frozenset({0})).coarser == (0, 1)
    some, others = column(APP, Form.LISTED, words=("map",)), column(APP, Form.LISTED, words=("mail",))
    assert Shared((some, others), frozenset({0})).cut_to == (some, others)


@pytest.mark.parametrize(
    ("one", "other", "coarser"),
    [
        (column(MS), column(MS, Form.BUCKET, 10), 1),
        (column(MS, Form.BUCKET, 20), column(MS, Form.BUCKET, 10), 0),
        (column("app.version", Form.MAJOR), column("app.version"), 0),
        (column(APP), column(APP, Form.LISTED, words=("map",)), 1),
        (column(APP, Form.LISTED, words=("map",)), column(APP, Form.LISTED, words=("mail", "map")), 0),
    ],
)
def test_values_are_compared_in_the_coarser_form(one, other, coarser):
    shared = Shared((one, other), frozenset({0}))
    assert shared.cut_to == ((one, other)[coarser],) * 2 and shared.coarser == (coarser,)


@pytest.mark.clause("2-log")
def test_what_is_keyed_by_the_purpose_is_never_compared():
    keyed = {Form.TOKEN, Form.SEALED, Form.FINGERPRINT}
    forms = {each.form for pair in pairs(PACK) for shared in pair.shared for each in shared.columns}
    assert forms and not forms & keyed


def test_every_two_stored_purposes_of_one_event_type_are_a_pair():
    stored = {name: purpose.events.keys() for name, purpose in PACK.purposes.items() if purpose.stored}
    wanted = {(a, b) for a in stored for b in stored if a != b and stored[a] & stored[b]}
    assert set(chain.from_iterable((p.purposes, p.purposes[::-1]) for p in pairs(PACK))) == wanted


@pytest.mark.clause("2-analytics")
def test_an_exact_measure_in_both_is_named():
    records = [
        {"region": 0, "event_type": 0, "received": 0, MS: number, APP: APPS[number % 3], "in": (True, True)}
        for number in range(30)
    ]
    sides = {MS: column(MS), APP: column(APP)}
    shared = tuple(Shared((sides[path],) * 2, frozenset({0})) for path in (MS, APP))
    holdings = {name: holding(records, 0, sides, DAY) for name in ("one", "other")}
    (found,) = compare([Pair(("one", "other"), shared, ("day", "day"))], holdings, 5)
    assert found.percent == 100 and found.generalise == Coarser(MS, ("one", "other"), 0)

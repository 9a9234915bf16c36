import math
import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import label_columns, unhurried, words
from transforms.generalise import bucket, compact, cut_time, listed, major

UNITS = {"second": "minute hour day", "minute": "hour day", "hour": "day", "day": ""}
FIELDS = {"second": {"microsecond": 0}}
FIELDS["minute"] = FIELDS["second"] | {"second": 0}
FIELDS["hour"] = FIELDS["minute"] | {"minute": 0}
FIELDS["day"] = FIELDS["hour"] | {"hour": 0}
milliseconds = st.integers(0, 7_258_118_399_999)  # 1970 to 2199


@unhurried
@given(st.lists(milliseconds), st.sampled_from(list(UNITS)))
def test_times_are_cut_as_a_calendar_would(times, unit):
    expected = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time)).replace(**FIELDS[unit]) for time in times
    ]
    found = cut_time(pa.array(times, pa.int64()), unit)
    assert found.type == pa.timestamp("ms", tz="UTC")
    assert found.to_pylist() == expected


@unhurried
@given(milliseconds)
def test_a_coarser_unit_tells_no_more_than_a_finer_one(time):
    for unit, coarser in UNITS.items():
        cut = cut_time(pa.array([time]), unit).cast(pa.int64())
        for each in coarser.split():
            assert cut_time(cut, each) == cut_time(pa.array([time]), each)


@unhurried
@given(st.lists(st.none() | st.integers(-(10**9), 10**9)), st.sampled_from([2, 5, 10, 256, 600_000]))
def test_whole_numbers_are_cut_down_to_a_multiple(values, step):
    found = bucket(pa.array(values, pa.int64()), step)
    assert found.type == pa.int64()
    assert found.to_pylist() == [None if value is None else value // step * step for value in values]


@unhurried
@given(st.lists(st.none() | st.floats(-180, 180)), st.sampled_from([0.01, 2, 5]))
def test_measures_are_cut_down_to_a_multiple(values, step):
    found = bucket(pa.array(values, pa.float64()), step)
    for value, cut in zip(values, found.to_pylist(), strict=True):
        assert (value is None) == (cut is None)
        if value is not None:
            assert math.isclose(cut / step, round(cut / step), abs_tol=1e-6)
            assert -1e-9 <= value - cut <= step + 1e-9


@pytest.mark.parametrize("value", [0.29, 0.57, 0.58])
def test_a_multiple_of_the_step_stays(value):
    assert bucket(pa.array([value]), 0.01).to_pylist() == [value]


@unhurried
@given(st.lists(st.none() | st.from_regex(r"[VvRr]{0,4}\d{0,11}(\.\d+)*[a-z ]?", fullmatch=True) | st.text()))
def test_versions_are_cut_to_their_first_number(versions):
    found = major(pa.array(versions, pa.string()))
    for version, cut in zip(versions, found.to_pylist(), strict=True):
        match = re.match(r"[^\W\d_]{0,3}([0-9]{1,9})", version or "")
        assert cut == (match and match[1])


def test_two_patch_levels_are_one_version():
    assert major(pa.array(["14.0.3.0.TKBEUXM", "14", "V14.0", "beta"])).to_pylist() == ["14", "14", "14", None]


@unhurried
@given(label_columns, st.sets(words, min_size=1))
def test_words_that_are_not_listed_become_one(column, kept):
    found = listed(column, sorted(kept)).to_pylist()
    assert found == [word if word in kept or word is None else "<OTHER>" for word in column.to_pylist()]


@unhurried
@given(label_columns, st.data())
def test_a_compact_dictionary_holds_the_words_in_use_once_and_sorted(column, data):
    encoded = column.dictionary_encode()
    start = data.draw(st.integers(0, len(column)))
    part = encoded.slice(start, data.draw(st.integers(0, len(column) - start)))
    found = compact(part)
    values = part.to_pylist()
    assert found.to_pylist() == values
    assert found.dictionary.to_pylist() == sorted({value for value in values if value is not None}, key=str.encode)


@unhurried
@given(label_columns)
def test_replaced_words_merge_and_what_they_replace_is_gone(column):
    encoded = column.dictionary_encode()
    mapping = {"alpha": "one", "beta": "one", "14.0.3": "14"}
    words = pa.array([mapping.get(word) for word in encoded.dictionary.to_pylist()], pa.string())
    found = compact(encoded, words)
    assert found.to_pylist() == [mapping.get(value) for value in column.to_pylist()]
    assert found.dictionary.to_pylist() == sorted(set(found.to_pylist()) - {None})

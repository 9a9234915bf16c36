"""Times of RFC 3339 against `datetime`."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.times import parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30))
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)
fractions = st.text("0123456789", max_size=9)


def milliseconds(moment):
    return (moment - EPOCH) // timedelta(milliseconds=1)


@st.composite
def written(draw):
    """A time as somebody may write it, and its milliseconds."""
    moment, minutes, fraction = draw(moments).replace(microsecond=0), draw(offsets), draw(fractions)
    zone = draw(st.sampled_from(["Z", "z", "offset"]))
    if zone == "offset":
        sign = draw(st.sampled_from("+-")) if minutes == 0 else "+-"[minutes < 0]
        zone = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    else:
        moment = moment.replace(tzinfo=UTC)
    text = moment.strftime(f"{moment.year:04}-%m-%d{draw(st.sampled_from('Tt'))}%H:%M:%S")
    return text + (f".{fraction}" if fraction else "") + zone, milliseconds(moment) + int((fraction + "000")[:3])


@settings(deadline=None)
@given(st.lists(written(), max_size=8))
def test_every_form(times):
    got, valid = parse_times(pa.array([text for text, _ in times], pa.string()))
    assert valid.all() and got.tolist() == [expected for _, expected in times]


@settings(deadline=None)
@given(st.lists(st.one_of(written().map(lambda t: t[0]), st.none(), st.text(max_size=30)), max_size=8))
def test_neighbours_change_nothing(texts):
    got, valid = parse_times(pa.array(texts, pa.string()))
    alone = [parse_times(pa.array([text], pa.string())) for text in texts]
    assert got.tolist() == [ms[0] for ms, _ in alone] and valid.tolist() == [ok[0] for _, ok in alone]


def test_every_day_from_the_first_to_the_last():
    days = np.arange("1970-01-01", "2200-01-01", dtype="datetime64[D]")
    got, valid = parse_times(pa.array(np.char.add(days.astype(str), "T23:59:59.999Z").tolist()))
    assert valid.all() and np.array_equal(got, (days.astype(np.int64) + 1) * 86_400_000 - 1)


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999Z",
        "2200-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00+00:01",
        "2199-12-31T23:59:59-00:01",
        "2023-02-29T00:00:00.000Z",
        "2100-02-29T00:00:00.000Z",
        "2024-04-31T00:00:00.000Z",
        "2024-00-01T00:00:00.000Z",
        "2024-13-01T00:00:00.000Z",
        "2024-01-00T00:00:00.000Z",
        "2024-01-01T24:00:00.000Z",
        "2024-01-01T23:60:00.000Z",
        "2024-12-31T23:59:60.000Z",
        "2024-01-01T00:00:00.000",
        "2024-01-01 00:00:00.000Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00:00,000Z",
        "2024-01-01T00:00:00+0000",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+00:60",
        "2024-01-01T00:00:00.000Z\n",
        " 2024-01-01T00:00:00.00Z",
        "2024-1-01T00:00:00.0000Z",
        "２０２４-01-01T00:00:00Z",
        "/024-01-01T00:00:00.000Z",
        ":024-01-01T00:00:00.000Z",
        "",
        "now",
        None,
    ],
)
def test_no_time(text):
    got, valid = parse_times(pa.array([text, "2024-02-29T00:00:00.001Z"], pa.string()))
    assert valid.tolist() == [False, True] and got.tolist() == [0, 1_709_164_800_001]


def test_part_of_a_column():
    column = pa.array(["x", "2024-02-29T00:00:00.001Z", None, "2024-02-29T00:00:00.002Z"])
    assert parse_times(column.slice(1))[0].tolist() == [1_709_164_800_001, 0, 1_709_164_800_002]
    assert parse_times(column.slice(3))[0].tolist() == [1_709_164_800_002]
    assert parse_times(pa.array([None, None], pa.string()))[1].tolist() == [False, False]

"""Counts: gathered without loss, given once, and the same whatever order they came in."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tallies import COUNTS, HOUR_MS, Counts, Totals, summed
from tests.strategies import few
from tests.tallied import plain, totals

WORDS = ("reason", "event_type", "purpose", "dataset")
_word = st.sampled_from(["", "a", "b"])
_counted = st.lists(
    st.tuples(
        st.sampled_from(["", "eu", "us"]),
        st.sampled_from(["gate", "store"]),
        st.sampled_from(["opened", "refused"]),
        st.integers(0, 3),
        st.fixed_dictionaries({word: _word for word in WORDS}),
        st.sampled_from([None, 0, HOUR_MS]),
    ),
    max_size=20,
)


def gathered(counted):
    counts = Counts()
    for region, step, outcome, count, words, hour in counted:
        counts.add(step, outcome, count, region=region, hour=hour, **words)
    return counts


@few
@given(_counted)
def test_all_that_was_added_comes_out_once_a_region(counted):
    tallies = list(gathered(counted).tallies())
    assert len({region for region, _ in tallies}) == len(tallies)
    expected = Counter()
    for region, step, outcome, count, words, hour in counted:
        expected[region, step, outcome, *(words[name] for name in WORDS), hour] += count
    found = Counter()
    for region, rows in tallies:
        assert rows.schema.equals(COUNTS) and rows.num_rows
        for row in rows.to_pylist():
            hour = row["hour"] and int(row["hour"].timestamp() * 1000)
            found[region, row["step"], row["outcome"], *(row[name] for name in WORDS), hour] += row["count"]
            assert row["count"] > 0
    assert found == +expected


@few
@given(_counted)
def test_totals_are_those_of_the_tallies(counted):
    counts, expected = gathered(counted), Counter()
    counts.add_hours("gate", "judged", np.array([2, 0, 3]), np.arange(3) * HOUR_MS, region="eu")
    for _, rows in counts.tallies():
        for row in rows.to_pylist():
            expected[row["step"], row["outcome"]] += row["count"]
    assert counts.totals() == expected


def test_nothing_counted_is_no_tally():
    counts = Counts()
    counts.add("gate", "opened", 0, region="eu")
    counts.add_hours("gate", "judged", np.empty(0, np.int64), np.empty(0, np.int64), region="eu")
    counts.add_hours("gate", "judged", np.zeros(2, np.int64), np.array([0, HOUR_MS]), region="eu")
    assert not list(counts.tallies())


def test_rows_that_were_counted_by_column_stand_beside_single_ones():
    counts = Counts()
    hours = np.array([0, HOUR_MS])
    counts.add_hours("gate", "judged", np.array([2, 0]), hours, region="eu", event_type="crash")
    counts.add_hours("gate", "judged", np.array([1, 2]), hours, region="eu", event_type="push")
    counts.add("gate", "duplicates", 1, region="eu")
    counts.add("telemetry", "lines", 6)
    assert plain(counts.tallies()) == {
        ("eu", "gate", "judged", "crash"): 2,
        ("eu", "gate", "judged", "push"): 3,
        ("eu", "gate", "duplicates"): 1,
        ("telemetry", "lines"): 6,
    }
    assert all(rows.schema.equals(COUNTS) for _, rows in counts.tallies())


def test_a_word_that_is_no_column_is_refused():
    with pytest.raises(TypeError, match="no column colour"):
        Counts().add("gate", "judged", 1, colour="red")


def test_a_numpy_count_is_taken_as_a_number():
    counts = Counts()
    counts.add("gate", "judged", np.array([True, True]).sum())
    counts.add("gate", "judged", np.int64(2))
    assert plain(counts.tallies()) == {("gate", "judged"): 4}


@few
@given(_counted, st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order_or_on_how_counts_were_cut(counted, draw):
    whole = totals(gathered(counted).tallies()).table
    shuffled = draw.sample(counted, len(counted))
    cut = draw.randrange(len(shuffled) + 1)
    parts = chain(gathered(shuffled[:cut]).tallies(), gathered(shuffled[cut:]).tallies())
    assert totals(parts).table.equals(whole)


@few
@given(_counted)
def test_totals_by_a_column_add_up_to_the_sum(counted):
    found = totals(gathered(counted).tallies())
    everything = sum(count for _, _, _, count, _, _ in counted)
    assert found.sum() == found.by("region").total() == found.by(("step", "reason")).total() == everything
    for region, count in found.by("region", step="gate").items():
        assert count == found.sum(region=region, step="gate")
        assert count == found.by(("reason", "hour"), region=region, step="gate").total()


def test_totals_of_nothing():
    none = Totals(COUNTS.empty_table())
    assert none.sum(step="gate") == 0 and none.by("step") == {} and none.by(("step", "hour")) == {}
    assert not len(summed(COUNTS.empty_table()))

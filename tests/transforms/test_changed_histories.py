"""What a change of the history may change in the verdicts, on random histories.

Losing a permission opens nothing, nor does losing what corrects a line that could not be read. Losing a stop opens, of
course: a line that cannot be read stands in for it. And losing one of several contents of an id may open, since the
others no longer contradict it.
"""

import random

import pyarrow as pa
import pytest

from schemas.consent import FUTURE_LIMIT, PERMISSIONS, STOPS
from tests.agreement import MODES, crowd_of, reasons_of
from tests.histories import TERMS, Histories, rows, sealed
from transforms.consent import judge
from transforms.ledger import Ledger

PEOPLE = 400
LINE = {"kind": "unreadable", "time": 0, "received_time": 0}  # what is left of an entry that does not read


def opened(people, stops_known):
    """The masks of open purposes of their records."""
    records = [one for theirs, _ in people for one in theirs]
    entries = [each for _, theirs in people for each in theirs]
    return judge(rows(records), Ledger.build(sealed(entries), TERMS), TERMS, stops_known).open


def after(change, stops_known, before=lambda entries, random: entries):
    """(open, open where `change` makes the entries other ones) of each record of people with an id for each entry,
    after `before` was done to them."""
    histories = Histories(21)
    people = [histories.person(unique_ids=True) for _ in range(PEOPLE)]
    people = [(records, before(entries, histories.random)) for records, entries in people]
    changed = [(records, change(entries, histories.random)) for records, entries in people]
    return opened(people, stops_known), opened(changed, stops_known)


def only_closes(before, now):
    assert not (now & ~before).any()
    assert (before & ~now).any()


def kinds(members):
    return {kind.name for kind in members}


def without(lost):
    """Leaves out one entry, the first for which `lost` holds among all of them."""

    def change(entries, _):
        one = next((each for each in entries if lost(each, entries)), None)
        return [each for each in entries if each is not one]

    return change


@pytest.mark.parametrize("stops_known", MODES)
@pytest.mark.parametrize("kind", sorted(kinds(PERMISSIONS)))
def test_losing_a_permission_of_any_kind_opens_nothing(kind, stops_known):
    only_closes(*after(without(lambda each, _: each["kind"] == kind), stops_known))


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("stops_known", MODES)
@pytest.mark.parametrize("kind", sorted(kinds(STOPS)))
def test_a_stop_that_became_unreadable_opens_nothing(kind, stops_known):
    def broken(entries, _):
        return [each | LINE if each["kind"] == kind else each for each in entries]

    only_closes(*after(broken, stops_known))


@pytest.mark.parametrize("stops_known", MODES)
def test_a_permission_that_became_unreadable_opens_nothing(stops_known):
    def broken(entries, random):
        one = random.choice(entries) if entries else None
        return [each | LINE if each is one and each["kind"] in kinds(PERMISSIONS) else each for each in entries]

    only_closes(*after(broken, stops_known))


@pytest.mark.parametrize("stops_known", MODES)
def test_losing_what_corrects_a_line_opens_nothing(stops_known):
    def with_a_line(entries, random):
        one = random.choice(entries) if entries else None
        return [*entries, one | LINE] if entries else entries

    def corrects(one, entries):
        return one["kind"] != "unreadable" and one["entry_id"] == entries[-1]["entry_id"]

    only_closes(*after(without(corrects), stops_known, before=with_a_line))


@pytest.mark.parametrize("stops_known", MODES)
def test_a_further_content_of_an_id_opens_nothing(stops_known):
    """Save that it corrects a line that could not be read, or stands in for a permission that was dated too far ahead
    to be one: those are left out here."""

    def counting(entries, _):
        return [e for e in entries if e["kind"] != "unreadable" and e["time"] <= e["received_time"] + FUTURE_LIMIT]

    def with_another(entries, random):
        again = [Histories(random.random()).variant(each) for each in entries[:2]]
        return entries + counting(again, random)

    only_closes(*after(with_another, stops_known, before=counting))


@pytest.mark.parametrize("stops_known", MODES)
def test_entries_about_others_change_nothing(stops_known):
    """Not the masks and not the reasons, whatever stands twice in anybody's own history."""
    histories = Histories(24)
    people = [histories.person() for _ in range(PEOPLE)]
    strangers = [each for _ in range(PEOPLE) for each in histories.person()[1]]
    records = [one for theirs, _ in people for one in theirs]
    entries = [each for _, theirs in people for each in theirs]
    found = []
    for some in (entries, entries + strangers):
        histories.random.shuffle(some)
        verdict = judge(rows(records), Ledger.build(sealed(some), TERMS), TERMS, stops_known)
        found.append(reasons_of(verdict, len(records)))
    assert found[0] == found[1]


@pytest.mark.parametrize("stops_known", MODES)
def test_records_and_a_ledger_in_pieces_have_the_verdicts_of_the_whole(stops_known):
    crowd, entries = crowd_of(25, PEOPLE)
    records = [one for theirs, _ in crowd for one in theirs]
    cuts = sorted(random.Random(25).sample(range(len(entries)), 9))
    pieces = [sealed(entries[low:high]) for low, high in zip([0, *cuts], [*cuts, None], strict=True)]
    held = Ledger.build(pa.Table.from_batches(pieces[::-1]), TERMS)
    whole = judge(rows(records), Ledger.build(sealed(entries), TERMS), TERMS, stops_known)
    parts = []
    for some in (records[::3], records[1::3], records[2::3]):
        parts.append(reasons_of(judge(rows(some), held, TERMS, stops_known), len(some)))
    expected = reasons_of(whole, len(records))
    assert parts == [expected[::3], expected[1::3], expected[2::3]]

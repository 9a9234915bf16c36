"""What a stream keeps of a ledger decides as the whole ledger would: found by subject, and compacted."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.consent import SEALED_LEDGER, Kind
from tests.transforms.test_consent import PURPOSES, TERMS, Histories, entry, record, rows, same, sealed
from transforms.consent import judge
from transforms.held_ledger import HeldLedger
from transforms.ipc import from_ipc, to_ipc
from transforms.ledger import Ledger


def spread(number):
    """Sealed ids and subjects are told apart by their first bytes, which small numbers have in common."""
    return None if number is None else number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128


def of(entries):
    """The entries as the border would seal them."""
    return sealed(
        [
            e | {"entry_id": spread(e["entry_id"]), "subject": (e["subject"][0], spread(e["subject"][1]))}
            for e in entries
        ]
    )


def of_records(records):
    return rows([r | {"device": spread(r["device"]), "account": spread(r["account"])} for r in records])


def verdict(records, entries, stops_known="received"):
    return judge(records, Ledger.build(entries, TERMS), TERMS, stops_known)


def agrees(held, entries, records, before=10**15):
    """The held ledger decides these records, in both modes, as all entries received before then."""
    plain = of_records(records)
    known = of([e for e in entries if e["received_time"] < before])
    about = held.about(plain.device, plain.account, before)
    return all(same(verdict(plain, known, mode), verdict(plain, about, mode)) for mode in ("all", "received"))


def held_of(entries):
    return HeldLedger.empty().merged([of(entries)])


def by_kind(batch):
    return sorted(zip(batch["kind"].to_pylist(), batch["received_time"].to_pylist(), strict=True))


def nobody(id, received):
    return entry("lift_restriction", 1, received, of=("device", 0), id=id, purposes=())


class Stream(Histories):
    """A ledger that grows and is compacted at growing horizons, and records that may still come.

    Later versions are of any id but those of `fixed`, which the caller chooses; all other entries have new ids.
    """

    KINDS = Histories.KINDS + ["withdraw"] * 3 + ["object"] * 2

    def __init__(self, seed, people=60):
        super().__init__(seed)
        self.people = [[next(self.numbers) for _ in range(3)] for _ in range(people)]
        self.entries, self.held, self.horizon, self.went = [], HeldLedger.empty(), 0, set()
        self.oldest = self.random.choice((0, 1, 3, 10**6))

    def subjects(self, person):
        return [("device", person[0]), ("device", person[1]), ("account", person[2])]

    def from_now_on(self):
        return self.horizon + self.random.randrange(9 - self.horizon if self.horizon < 8 else 2)

    def arrivals(self, fixed):
        new = []
        for person in self.people:
            ids = [next(self.numbers) for _ in range(2)]
            new += [self.entry(self.subjects(person), ids) for _ in range(self.random.randrange(7))]
        new += [self.variant(each) for each in self.random.sample(new, len(new) // 6)]
        new = [self.dated(each) for each in new]
        old = [each for each in self.entries if each["entry_id"] not in fixed]
        again = self.random.sample(old, len(old) // 3)
        new += [self.dated(self.variant(each)) for each in again]
        new += [nobody(each["entry_id"], self.from_now_on()) for each in again[: len(again) // 6]]
        new += self.random.sample(self.entries, len(self.entries) // 5)
        return new

    def dated(self, one):
        if one["kind"] == "unreadable" and self.random.random() < 0.5:
            return one | {"time": 0, "received_time": 0}
        return one | {"received_time": self.from_now_on()}

    def grow(self, fixed):
        new = self.arrivals(fixed)
        self.entries += new
        self.random.shuffle(new)
        cuts = sorted(self.random.randrange(len(new) + 1) for _ in range(3))
        parts = [of(new[low:high]) for low, high in zip([0, *cuts], [*cuts, len(new)], strict=True)]
        self.held = self.held.merged(parts[:2]).merged(parts[2:])

    def compact(self):
        self.horizon += self.random.randrange(1, 4)
        before = self.of_held()
        self.held = self.held.compacted(self.horizon, self.oldest)
        self.went |= {kind for _, kind in before - self.of_held()}

    def of_held(self):
        """(sealed id, kind) of what is held."""
        rows = self.held.rows
        kinds = [Kind(kind).name for kind in rows["kind"].to_pylist()]
        return set(zip(rows["entry_id"].to_pylist(), kinds, strict=True))

    def records(self):
        pick, records = self.random.choice, []
        for person in self.people:
            for _ in range(4):
                event = self.horizon - self.oldest + self.random.randrange(6) if self.oldest < 9 else self.clock()
                device, account = pick((None, *person[:2], person[0])), pick((None, person[2]))
                app = pick((None, "map", "mail", "other"))
                records.append(record(event, self.from_now_on(), device=device, account=account, app=app))
        return records

    def kept(self, *kinds):
        """The ids that entries of these kinds still have."""
        ids = {id for id, kind in self.of_held() if kind in kinds}
        return {e["entry_id"] for e in self.entries if spread(e["entry_id"]).to_bytes(16, "big") in ids}


@pytest.mark.clause("5.1")
@pytest.mark.parametrize("seed", range(12))
def test_compaction_changes_no_verdict_and_no_reason(seed):
    stream = Stream(seed)
    for _ in range(4):
        stream.grow(stream.kept("grant", "lift_objection", "lift_restriction"))
        assert agrees(stream.held, stream.entries, stream.records(), stream.horizon + 1 + seed % 5)
        stream.compact()
        assert agrees(stream.held, stream.entries, stream.records())
    assert len(stream.went) >= 4


@pytest.mark.clause("5.1")
@pytest.mark.parametrize("seed", range(100, 106))
def test_no_later_version_of_anything_opens_what_the_whole_ledger_would_not(seed):
    stream = Stream(seed)
    for _ in range(4):
        stream.grow(fixed=())
        stream.compact()
        plain = of_records(stream.records())
        held = stream.held.about(plain.device, plain.account, 10**15)
        for mode in ("all", "received"):
            whole, kept = (verdict(plain, entries, mode).open for entries in (of(stream.entries), held))
            assert not (kept & ~whole).any()


OTHER = ("device", 2)
OF_ACCOUNT = ("account", 1)


@pytest.mark.parametrize(
    ("one", "other", "goes"),
    [  # rule 1
        (entry("withdraw", 5, purposes=("research",)), entry("withdraw", 5, 6), True),
        (entry("object", 5, purposes=("push",)), entry("object", 6, purposes=("push", "research")), True),
        (entry("object", 5), entry("object", 6, purposes=PURPOSES), False),
        (entry("object", 5, purposes=("push", "research")), entry("object", 6, purposes=("push",)), False),
        (entry("withdraw", 5), entry("object", 6), False),
        (entry("withdraw", 5), entry("withdraw", 6, of=OTHER), False),
        (entry("withdraw", 5), entry("withdraw", 6, of=OF_ACCOUNT), False),
        (entry("withdraw", 5, 7), entry("withdraw", 6, 6), False),
        (entry("withdraw", 9, 6), entry("withdraw", 8, 7), True),
        (entry("withdraw", 5, app="map"), entry("withdraw", 6, app="map"), True),
        (entry("withdraw", 5, app="map"), entry("withdraw", 6), True),
        (entry("withdraw", 5), entry("withdraw", 6, app="map"), False),
        (entry("restrict", 5), entry("restrict", 6, purposes=("push",), app="map"), True),
        (entry("minor", 5), entry("minor", 6), True),
        (entry("erase", 5), entry("erase", 6), True),
        (entry("close", 5), entry("close", 6), True),
        (entry("unreadable", 5), entry("unreadable", 6), False),
        # rule 2
        (entry("grant", 5, purposes=("push",)), entry("grant", 6), True),
        (entry("lift_objection", 5), entry("lift_objection", 6), True),
        (entry("lift_restriction", 5), entry("lift_restriction", 6), True),
        (entry("adult", 5), entry("adult", 6), False),
        (entry("grant", 5), entry("grant", 81), False),
        (entry("grant", 5), entry("grant", 80), True),
        (entry("grant", 5, app="map"), entry("grant", 6), False),
        (entry("grant", 5, app="map"), entry("grant", 6, app="map"), True),
        (entry("grant", 5), entry("grant", 6, version="2021-01-15"), True),
        (entry("grant", 5, version="2021-01-15"), entry("grant", 6), False),
        (entry("grant", 5, version="2021-01-15"), entry("grant", 6, version="2021-01-14"), False),
        (entry("grant", 5, guardian=True), entry("grant", 6), False),
        (entry("grant", 5, guardian=True), entry("grant", 6, guardian=True), True),
        (entry("grant", 5), entry("grant", 6, guardian=True), True),
        # rule 3
        (entry("grant", 5, 6, version="2021-01-15", guardian=True), entry("withdraw", 5, 7), True),
        (entry("lift_objection", 5, app="map"), entry("withdraw", 6), True),
        (entry("grant", 5, app="map"), entry("withdraw", 6, app="map"), False),
        (entry("grant", 6, 5), entry("withdraw", 5, 6), False),
        (entry("grant", 5), entry("withdraw", 6, purposes=("push",)), False),
        (entry("grant", 5), entry("object", 6), False),
        (entry("grant", 5), entry("withdraw", 6, 100), False),
        (entry("adult", 5), entry("withdraw", 6), False),
        # 4 and 5
        (entry("unreadable", 5, id=1), entry("object", 6, id=1), True),
        (entry("unreadable", 5, id=1), entry("object", 6, 100, id=1), False),
        (entry("grant", 9, id=1), entry("object", 6, id=1), True),
        (entry("grant", 9, id=1), entry("object", 6, 100, id=1), False),
        (nobody(1, 9), entry("object", 6, id=1), True),
        (nobody(1, 9), entry("object", 6, 100, id=1), False),
        # a restriction is back when its lift turns out to be contradicted
        (entry("restrict", 5), entry("lift_restriction", 6), False),
    ],
)
def test_what_goes_and_what_stays(one, other, goes):
    held = held_of([other, one]).compacted(100, 20)
    left = [other] if goes else [one, other]
    assert by_kind(held.rows) == by_kind(of(left))
    assert held.spent.tolist() == [] if not goes or one["entry_id"] == other["entry_id"] else len(held.spent) == 1


def test_marks_and_contradicted_permissions_go_and_are_remembered():
    entries = [nobody(1, 9), entry("grant", 1, id=2), entry("grant", 1, id=2, app="map"), entry("grant", 1, id=3)]
    held = held_of(entries).compacted(100, 20)
    assert held.rows.num_rows == 1
    assert len(held.spent) == 2
    again = [entry("grant", 120, id=id) for id in (1, 2)] + [entry("unreadable", 0, id=id) for id in (1, 2)]
    assert held.merged([of(again)]).rows.num_rows == 1
    assert held.merged([of([entry("object", 120, id=1)])]).rows.num_rows == 2


def test_nothing_goes_whose_id_has_a_version_that_is_not_settled():
    entries = [entry("object", 5, id=1), entry("object", 6), entry("grant", 7, 130, id=1)]
    assert held_of(entries).compacted(100, 20).rows.num_rows == 3
    assert held_of(entries[:2]).compacted(100, 20).rows.num_rows == 1


def test_a_permission_that_stood_in_for_others_takes_them_along_when_it_is_contradicted():
    held = held_of([entry("grant", 1), entry("grant", 2, id=1)]).compacted(100, 20)
    later = [entry("object", 120, id=1, purposes=("push",))]
    plain = of_records([record(200)])
    (open_,) = verdict(plain, held.merged([of(later)]).about(plain.device, plain.account, 300)).open.tolist()
    assert open_ & TERMS.mask(["research"]) == 0


def test_a_ledger_that_was_written_down_is_the_same_when_opened_again():
    stream = Stream(5)
    for _ in range(2):
        stream.grow(stream.kept("grant", "lift_objection", "lift_restriction"))
        stream.compact()
    again = HeldLedger(from_ipc(to_ipc(stream.held.rows)), stream.held.spent)
    assert again.rows.equals(stream.held.rows)
    stream.held = again
    stream.grow(stream.kept("grant", "lift_objection", "lift_restriction"))
    assert agrees(stream.held, stream.entries, stream.records())


def test_order_and_repetition_of_what_comes_make_no_difference():
    histories = Histories(3)
    entries = [each for _ in range(50) for each in histories.person()[1] if each["time"] < 300_000]
    held = held_of(entries)
    again = held.merged([of(entries[::-1]), of([]), of(entries[:9])])
    assert again.rows.num_rows == held.rows.num_rows == len({tuple(e.values()) for e in entries})
    assert sorted(map(str, again.rows.to_pylist())) == sorted(map(str, held.rows.to_pylist()))


def test_labels_of_any_width_are_taken_and_words_of_nobody_are_let_go():
    batch = of([entry("grant", 1, app="map", id=1), entry("grant", 1, app="mail", id=2), entry("object", 2, id=2)])
    at = batch.schema.get_field_index("app")
    narrow = batch.set_column(at, "app", batch["app"].cast(pa.dictionary(pa.int16(), pa.string())))
    held = HeldLedger.empty().merged([narrow, of([entry("minor", 1)])]).compacted(100, 20)
    assert held.rows.schema.equals(SEALED_LEDGER)
    assert held.rows["app"].dictionary.to_pylist() == ["map"]


def test_only_what_bears_on_the_records_is_opened():
    entries = [entry("grant", 1, of=("device", n)) for n in range(1, 200)] + [entry("minor", 3, of=OF_ACCOUNT)]
    held = held_of(entries)
    plain = of_records([record(100, device=7, account=1), record(100, device=None, account=1000)])
    assert held.about(plain.device, plain.account, 100).num_rows == 3  # a device and an account of the same bytes
    assert held.about(plain.device, plain.account, 2).num_rows == 2
    assert held.about(plain.device, plain.account, 1).num_rows == 0
    assert HeldLedger.empty().about(plain.device, plain.account, 100).num_rows == 0


def test_subjects_that_begin_alike_are_told_apart():
    entries = [entry("grant", 1, of=("device", 5)), entry("withdraw", 2, of=("device", 6))]
    entries = [each | {"entry_id": spread(each["entry_id"])} for each in entries]
    held = HeldLedger.empty().merged([sealed(entries)]).compacted(100, 20)
    assert held.rows.num_rows == 2
    plain = rows([record(100, device=5), record(100, device=6)])
    granted = verdict(plain, held.about(plain.device, plain.account, 100)).open & TERMS.mask(["research"])
    assert granted.astype(bool).tolist() == [True, False]


def test_more_purposes_than_bits_are_told_apart():
    names = [f"p{n}" for n in range(70)]
    for one, other, left in ((names[65], names[66], 2), (names[66], names[66], 2), (names[65], "*", 1), ("*", "*", 1)):
        entries = [entry("object", 1, purposes=names[:60]), *(entry("object", 3, purposes=(n,)) for n in names)]
        extra = [entry("withdraw", 1, purposes=(one,)), entry("withdraw", 2, purposes=(other,))]
        held = held_of(entries + extra).compacted(100, 20)
        assert (np.asarray(held.rows["kind"]) == Kind.withdraw).sum() == left


def test_rows_that_are_no_sorted_ledger_are_refused():
    batch = of([entry("grant", 1, of=("device", n)) for n in (2, 1)])
    with pytest.raises(ValueError, match="not sorted"):
        HeldLedger(batch, np.empty(0, np.uint64))
    with pytest.raises(ValueError, match="schema"):
        HeldLedger(batch.drop_columns(["guardian"]), np.empty(0, np.uint64))


def test_nothing_of_a_person_is_in_its_repr():
    assert "secret" not in repr(held_of([entry("grant", 1, app="secret.app")]))

"""Orders: which stop asks what of which dataset, in words that no two datasets share."""

import gc
import weakref
from datetime import date
from functools import cache

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from schemas.consent import SEALED_LEDGER, Kind, SubjectType
from schemas.datasets import datasets
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.orders import effect
from schemas.pack_files import DEFAULT_PACK, load_pack
from schemas.policy import Basis
from tests.editions import edition
from tests.lines import keystores
from transforms import orders as orders_module
from transforms.cmac import ColumnCmac
from transforms.exchange import ORDERED, WAITING, Judged
from transforms.ipc import from_ipc, to_buffer
from transforms.keyring import open_keyring
from transforms.locks import Locks
from transforms.orders import ORDERS, Known, LockStops, Orders, Owner, by_owners, legible, orders, owners, touching
from transforms.seal import Partition

PACK = load_pack()
DATASETS = datasets(PACK)
OWNERS = {name: Owner(dataset, PACK, None) for name, dataset in DATASETS.items()}
EU, HOUR, DAY = PACK.where.code("eu"), 3_600_000, 86_400_000
NOW = 20_000 * DAY + 5 * HOUR + 61_234
DEVICE, ACCOUNT = SubjectType.device, SubjectType.account


def stop(kind, number=1, subject=b"s" * 16, type_=DEVICE, purposes="*", app=None, time=NOW, received=NOW, entry=None):
    return {
        "entry_id": (entry or number).to_bytes(16, "big"),
        "subject": subject,
        "subject_type": type_,
        "kind": Kind[kind],
        "purposes": purposes,
        "app": app,
        "policy_version": None,
        "guardian": False,
        "time": time,
        "received_time": received,
    }


def stops(*rows):
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SEALED_LEDGER]
    return pa.RecordBatch.from_arrays(columns, schema=SEALED_LEDGER)


def asked(dataset, *rows, region="eu"):
    return touching(legible(stops(*rows)), OWNERS[dataset], region).to_pylist()


@cache
def cipher(text):
    return ColumnCmac(text.encode().ljust(32, b"."))


@pytest.mark.clause("5.2-restrict")
@pytest.mark.clause("5.2-hold")
@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    ("kind", "type_", "consent", "contract", "legal"),
    [
        # what is asked, and whether only of events up to the stop
        ("withdraw", DEVICE, ("erase", False), ("erase", False), ("hold", False)),
        ("object", ACCOUNT, ("erase", False), ("erase", False), ("hold", False)),
        ("restrict", DEVICE, ("hold", False), ("hold", False), ("hold", False)),
        ("erase", ACCOUNT, ("erase", False), ("erase", True), ("hold", True)),
        ("minor", DEVICE, ("erase", False), None, None),
        ("close", DEVICE, None, None, None),
        ("close", ACCOUNT, None, None, None),
        ("unreadable", DEVICE, None, None, None),
        ("grant", DEVICE, None, None, None),
        ("adult", DEVICE, None, None, None),
    ],
)
def test_what_a_kind_asks_by_the_basis_of_the_purpose(kind, type_, consent, contract, legal):
    purpose = PACK.purposes["service"]
    found = [effect(Kind[kind], type_, purpose, b) for b in (Basis.CONSENT, Basis.CONTRACT, Basis.LEGAL_OBLIGATION)]
    assert found == [consent, contract, legal]


@pytest.mark.clause("5.4")
def test_close_and_minor_go_by_what_the_purpose_says_of_them():
    account, minors = PACK.purposes["support"], PACK.purposes["promotion"]
    assert effect(Kind.close, ACCOUNT, account, Basis.CONTRACT) == ("erase", False)
    assert effect(Kind.close, DEVICE, account, Basis.CONTRACT) is None
    assert effect(Kind.minor, DEVICE, minors, Basis.OPT_OUT) == ("erase", False)


@pytest.mark.clause("5.2-erase")
def test_an_erasure_takes_the_whole_unit_in_which_it_lies():
    early = stop("erase", 2, time=NOW - 10 * HOUR)
    ends = {"operations": HOUR, "security": 60_000, "legal": DAY}  # what the pack cuts their times to
    for name, unit in ends.items():
        rows = asked(name, stop("erase"), early, stop("erase", 3, time=NOW + 10 * HOUR))
        ahead = [at // unit * unit + unit - 1 for at in (NOW, NOW - 10 * HOUR, NOW)]
        assert [row["until"] for row in rows if row["event_type"] is None] == ahead
    assert [row["until"] for row in asked("user_experience", stop("erase"))] == [None]


@pytest.mark.clause("1.1.2-loc")
def test_an_application_is_named_where_consent_is_by_application():
    mine = stop("withdraw", purposes="location_services,operations", app="map")
    assert [row["app"] for row in asked("location_services", mine)] == ["map"]
    assert [row["app"] for row in asked("operations", mine)] == [None]
    assert [row["app"] for row in asked("location_services", stop("erase", app="map"))] == [None]
    assert asked("service", mine) == []


@pytest.mark.clause("1.1.2-loc")
def test_a_stop_of_a_gate_reaches_the_datasets_whose_columns_wait_for_it():
    found = {name for name in DATASETS if asked(name, stop("withdraw", purposes="location_services"))}
    assert found == {"location_services", *(name for name in DATASETS if name.endswith("_sensitive"))}


def test_bases_are_those_of_the_region():
    """Legitimate interest is none in cn, so it is consent there, and an erasure has no end."""
    assert [row["until"] is None for row in asked("operations", stop("erase"), region="cn")] == [True]
    of_all = (row for row in asked("operations", stop("erase"), region="eu") if row["event_type"] is None)
    assert [row["until"] is None for row in of_all] == [False]


def test_an_entry_is_one_order_and_another_content_another():
    same = stop("withdraw")
    batch = stops(
        same,
        dict(same),
        stop("withdraw", entry=2),
        stop("withdraw", subject=b"t" * 16),
        stop("withdraw", type_=ACCOUNT),
        stop("object"),
        stop("withdraw", app="map"),
        stop("withdraw", time=NOW - 1),
        stop("withdraw", time=NOW + 1),  # dated ahead: it counts from its receipt
    )
    found = legible(batch).column("name").to_pylist()
    assert found[0] == found[1] == found[-1] and len(set(found)) == len(found) - 2


def test_there_is_a_row_for_each_epoch_and_one_without_a_token_where_there_is_none():
    batch = legible(stops(stop("erase", 1), stop("object", 2, b"a" * 16, ACCOUNT), stop("close", 3)))
    found = touching(batch, OWNERS["operations"], "eu")
    ciphers = {DEVICE: {"2025": cipher("25"), "2026": cipher("26")}, ACCOUNT: {}}
    shards = pa.array([7] * 3, pa.int32())
    rows = orders(batch.append_column("shard", shards), found, cipher("id"), ciphers, 40)
    assert rows.schema == ORDERS
    tags = {
        epoch: cipher(key).tag(batch.column("subject"))[0].as_py() for epoch, key in (("2025", "25"), ("2026", "26"))
    }
    ids = cipher("id").tag(batch.column("name")).to_pylist()
    told = {
        (r["order"], r["epoch"], r["token"], r["by"], r["kind"], r["hold"], r["shard"], r["window"])
        for r in rows.to_pylist()
    }
    assert told == {
        (ids[0], "2025", tags["2025"], DEVICE, Kind.erase, False, 7, 40),
        (ids[0], "2026", tags["2026"], DEVICE, Kind.erase, False, 7, 40),
        (ids[1], None, None, ACCOUNT, Kind.object, False, 7, 40),
    }


def test_what_was_asked_of_a_dataset_goes_with_it():
    """A worker makes the step anew whenever it has been idle for a minute: what it remembers must not add up."""
    owner = Owner(DATASETS["operations"], PACK, None)
    assert touching(legible(stops(stop("withdraw"))), owner, "eu").num_rows
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.fixture
def uris(tmp_path):
    return keystores(tmp_path, {EU: "eu"})


def run(uris, window_ms, lots, check):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        partition = Partition(1, window_ms)
        orders_of = Orders(Editions((PACK,)), uris, partition)
        stops = pipeline | beam.Create(lots).with_output_types(Judged) | LockStops(uris, partition)
        made = stops | beam.MapTuple(_alone).with_output_types(Known) | orders_of
        assert_that(made | beam.ParDo(_Open(uris)), check)


def _alone(region, stops):
    return (region, 0), [stops]


class _Open(beam.DoFn):
    """What OrderStore reads."""

    def __init__(self, uris):
        self._uris = uris

    def process(self, element):
        (region, name, _), locked = element
        yield (region, name), from_ipc(Locks(self._uris, 1).unlock(region, ORDERED, locked))


@pytest.mark.clause("5.2-erase")
def test_a_run_names_the_epochs_that_have_keys_and_makes_none(uris):
    ring = open_keyring(uris[EU])
    for epoch in ("2019", "2025"):
        ring.secret(f"token/operations/{epoch}/android_id", "purpose-operations")
    before = ring.held("token")

    def told(actual):
        found = dict(actual)
        assert {name for _, name in found} == {n for n, d in DATASETS.items() if PACK.purposes[d.purpose].subject}
        assert found[EU, "operations"].column("epoch").to_pylist() == ["2019", "2025"]
        assert found[EU, "service"].column("epoch").to_pylist() == [None]
        owners = {}
        for (_, name), rows in actual:
            assert owners.setdefault(rows.column("order")[0].as_py(), name) == name

    run(uris, None, [((EU, 0, 0), stops(stop("object")))], told)
    assert ring.held("token") == before


@pytest.mark.clause("5.2-erase")
def test_a_stream_names_also_the_epochs_whose_rows_may_still_be_waiting(uris):
    """In the first window of a year nothing has been stored yet, and rows of the year before may be on their way."""
    new_year = 18_628 * DAY  # 2021-01-01

    def told(actual):
        found = dict(actual)
        assert found[EU, "operations"].column("epoch").to_pylist() == ["2020", "2021"]
        assert found[EU, "personalised_ads"].column("epoch").to_pylist() == ["2020-12", "2021-01"]
        assert found[EU, "operations"].column("token").null_count == 0

    window = new_year // 600_000
    run(uris, 600_000, [((EU, 0, window), stops(stop("object", received=new_year, time=new_year)))], told)


def test_so_many_stops_that_one_array_does_not_hold_them_make_the_same_orders(uris, monkeypatch):
    """A stop of an account is told by every shard, and a bounded run asks about all of them at once."""
    lots = [((EU, 0, 0), stops(stop("object", n), stop("erase", n + 10, subject=bytes([n]) * 16))) for n in range(1, 6)]
    found = []
    for most in (orders_module._AT_ONCE, 4, 1):
        monkeypatch.setattr(orders_module, "_AT_ONCE", most)
        step = orders_module._Orders(Editions((PACK,)), uris, Partition(1, None))
        step.setup()
        locks, seen = Locks(uris, 1), []

        def watched(rows, seen=seen):
            seen.append(rows.num_rows)
            return legible(rows)

        parts = [(0, 0, locks.lock(EU, WAITING, to_buffer(rows))) for _, rows in lots]
        monkeypatch.setattr(orders_module, "legible", watched)
        made = {name: locked for (_, name, _), locked in step.process(((EU, 0), parts))}
        opened = {name: from_ipc(locks.unlock(EU, ORDERED, locked)).to_pylist() for name, locked in made.items()}
        found.append({name: sorted(rows, key=str) for name, rows in opened.items()})
        assert seen == {1: [2] * 5, 4: [4, 4, 2]}.get(most, [10])
    assert found[0] == found[1] == found[2]


@pytest.mark.clause("9")
def test_a_stop_reaches_what_was_stored_under_an_earlier_edition():
    """Its own terms hold for rows of its time: a purpose that was given up since, and a basis that was consent."""
    kept = {name: own for name, own in PACK.purposes.items() if name != "promotion"}
    relaxed = kept["user_experience"].model_copy(update={"basis": {"default": Basis.LEGITIMATE_INTEREST}})
    update = {"version": "2025-06-01", "effective": date(2025, 6, 1), "purposes": kept | {"user_experience": relaxed}}
    editions = Editions((PACK, PACK.model_copy(update=update)))
    last = 1_748_736_000_000 - 1  # of 2025-05-31
    given = legible(stops(stop("minor"), stop("withdraw")))
    found = {
        name: by_owners(given, owners(editions, "eu")[name], "eu").to_pylist()
        for name in ("promotion", "user_experience")
    }
    assert {(row["row"], row["until"]) for row in found["promotion"]} == {(0, last), (1, last)}
    of_both = {(row["row"], row["until"]) for row in found["user_experience"]}
    assert of_both == {(0, last), (1, last), (1, None)}  # the minor's of before; the withdrawal's, whenever
    alone = by_owners(given, owners(Editions((editions.newest,)), "eu")["user_experience"], "eu").to_pylist()
    assert [(row["row"], row["until"]) for row in alone] == [(1, None)]


# --- overlays, and what is collected ---


def owned(region="eu", **sections):
    """The owners of each dataset under the shipped pack with these sections."""
    pack = edition(DEFAULT_PACK, lambda rules: rules.update({"collection": []} | sections))
    return lambda name, *rows: by_owners(
        legible(stops(*rows)), owners(Editions((pack,)), region)[name], region
    ).to_pylist()


@pytest.mark.clause("0-b")
def test_an_overlay_of_the_region_or_of_any_service_decides_what_a_stop_asks():
    by_consent = {"clause": "6-cn", "purposes": {"operations": {"clause": "6-cn", "basis": "consent"}}}
    minors = {"clause": "7", "purposes": {"operations": {"clause": "7", "minors": "excluded"}}}
    assert [row["until"] for row in owned(by_region={"eu": by_consent})("operations", stop("erase"))] == [None]
    assert owned(by_region={"us": by_consent})("operations", stop("erase"))[0]["until"] is not None
    assert not owned()("operations", stop("minor"))
    assert len(owned(by_service={"notes": minors})("operations", stop("minor"))) == 1


@pytest.mark.clause("5.2-erase")
def test_an_order_reaches_a_row_whose_time_an_overlay_has_cut_coarser():
    by_day = {"clause": "6-cn", "purposes": {"operations": {"clause": "6-cn", "event_time": "day"}}}
    for kind in ({"by_region": {"eu": by_day}}, {"by_service": {"notes": by_day}}, {}):
        for event_time in (NOW, NOW - DAY, NOW - 5 * HOUR):
            stored = event_time // DAY * DAY
            assert all(row["until"] >= max(stored, event_time) for row in owned(**kind)("operations", stop("erase")))
            assert owned(**kind)("operations", stop("erase"))


@pytest.mark.clause("1.2-uep")
def test_who_leaves_a_programme_takes_along_what_it_admitted():
    rule = {
        "clause": "1.2-uep",
        "events": ["page_view", "crash"],
        "regions": ["eu"],
        "admitted_by": ["user_experience"],
    }
    left, of_types = (
        stop("withdraw", purposes="user_experience"),
        {EVENT_TYPES.index("page_view"), EVENT_TYPES.index("crash")},
    )
    under = owned(collection=[rule])
    assert {row["event_type"] for row in under("operations", left)} == of_types
    assert {row["event_type"] for row in under("user_experience", left)} == {None}
    assert under("legal", left) == under("support", left) == owned("us", collection=[rule])("operations", left) == []
    assert {row["event_type"] for row in under("operations", stop("withdraw", purposes="operations"))} == {None}
    assert [row["event_type"] for row in under("operations", stop("withdraw"))] == [None]  # all rows, once
    erased = {row["event_type"]: row["until"] for row in under("operations", stop("erase"))}
    assert erased.keys() == {None, *of_types} and [time for time in erased.values() if time] == [erased[None]]

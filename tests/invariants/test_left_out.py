"""A stop takes effect in what is stored already as soon as a run has known it: readers leave the rows out, before any
job has rewritten a file (5.3, 5.2-erase, 5.2-restrict, 5.4, 7)."""

from collections import Counter

import duckdb
import pyarrow.acero as acero
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from pipelines import read
from pipelines.audit_rows import read_totals
from pipelines.stores import open_dataset
from schemas.datasets import ORDERS_SUFFIX, STOPPED_SUFFIX, datasets
from schemas.pack_files import load_pack
from tests.invariants.runs import Site, ingest
from tests.lines import ANDROID_ID, NOW, entry, event, ndjson

OTHER, ACCOUNT = "2f3a5c7e9b0d2469", "acct-6200114873"
DAY, HOUR = 86_400_000, 3_600_000
GRANT = [entry("grant", NOW - 9 * DAY, number=n, subject=s) for n, s in enumerate((
    {"type": "device", "value": ANDROID_ID},
    {"type": "device", "value": OTHER},
    {"type": "account", "value": ACCOUNT},
))]  # fmt: skip
MAP, MAIL = ({"package": f"com.example.{name}", "version": "1"} for name in ("map", "mail"))
GRANT += [
    entry(
        "grant", NOW - 9 * DAY, number=10 + n, purposes=["location_services"], app=app["package"], subject=s["subject"]
    )
    for n, (app, s) in enumerate((app, s) for app in (MAP, MAIL) for s in GRANT[:2])
]


def crash(number, at, device=ANDROID_ID, **more):
    return event(number, "crash", NOW + at, device__android_id=device, crash__signal="SIGSEGV", app=MAP, **more)


def location(number, at, app, device=ANDROID_ID):
    where = {"latitude": 52.1, "longitude": 4.3, "city_code": "NL-HAG"}
    return event(number, "location", NOW + at, device__android_id=device, app=app, location=where)


EVENTS = [
    crash(1, 0),
    crash(2, 5 * HOUR, account_id=ACCOUNT),
    crash(3, 5 * HOUR, OTHER),
    crash(4, 5 * HOUR, OTHER, account_id=ACCOUNT),
    location(5, 0, MAP),
    location(6, 0, MAIL),
    location(7, 0, MAP, OTHER),
    event(
        8, "session", NOW, device__android_id=ANDROID_ID, account_id=ACCOUNT, session__duration_ms=1, session__events=2
    ),
]
LATEST = 200  # the hour of another device's one event, which is all that a later run reads
LATER = [crash(90, LATEST * HOUR, "3f3a5c7e9b0d246a")]


class Stored:
    """What a site holds; a run stores events under a ledger."""

    def __init__(self, folder, site=None):
        self.folder, self.site, self.runs = folder, site or Site.new(folder / "site"), 0

    def run(self, events, ledger):
        self.runs += 1
        paths = [self.folder / f"{name}-{self.runs}.ndjson" for name in ("events", "consents")]
        for path, lines in zip(paths, (events, ledger), strict=True):
            path.write_bytes(ndjson(*lines))
        assert ingest(self.site, paths[:1], paths[1:]).status == 0
        return self

    def rows(self, dataset) -> Counter:
        """How many rows there are by hour of the event, however they are read."""
        held = open_dataset(self.site.file, "eu", dataset)
        table = held.to_table()
        assert held.count_rows() == len(table) == sum(batch.num_rows for batch in held.to_batches())
        assert held.head(1_000).equals(table) and held.scanner().to_table().equals(table)
        connection = duckdb.connect()
        connection.register("held", held)
        assert connection.sql("SELECT count(*), count(event_time) FROM held").fetchall() == [(len(table), len(table))]
        out = self.folder / "out.jsonl"
        arguments = ["--deployment", self.site.file, "--region", "eu", "--dataset", dataset, "--out", out]
        assert read.main([str(each) for each in arguments]) == 0
        assert len(out.read_text().splitlines()) == len(table)
        hours = (pc.cast(table["event_time"], "int64").to_numpy() - NOW) // HOUR
        return Counter(hours[hours < LATEST].tolist())


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Site:
    """The events, stored under the grants alone."""
    return Stored(tmp_path_factory.mktemp("once")).run(EVENTS, GRANT).site


@pytest.fixture(scope="module")
def stopped(once, tmp_path_factory) -> Stored:
    """The same, after a run that knew of two stops."""
    folder = tmp_path_factory.mktemp("stopped")
    ledger = [*GRANT, stop("object"), stop("erase", number=73, subject=GRANT[2]["subject"])]
    return Stored(folder, once.copy(folder / "site")).run(LATER, ledger)


@pytest.fixture
def stored(once, tmp_path) -> Stored:
    return Stored(tmp_path, once.copy(tmp_path / "site"))


def stop(kind, at=6 * HOUR, number=70, **more):
    return entry(kind, NOW + at, number=number, **more)


@pytest.mark.clause("5.3")
def test_without_a_stop_everything_is_there_and_a_run_that_is_repeated_changes_nothing(stored):
    before = stored.rows("operations")
    assert before == {0: 1, 5: 3}
    assert stored.run(LATER, GRANT).rows("operations") == before
    for _ in range(2):
        assert stored.run(LATER, [*GRANT, stop("withdraw")]).rows("operations") == {5: 2}


@pytest.mark.clause("5.3")
def test_a_run_over_the_same_input_that_has_lost_a_stop_brings_nobody_back(stored):
    before = stored.run(LATER, [*GRANT, stop("withdraw")]).rows("operations")
    assert before == {5: 2}
    assert stored.run(LATER, GRANT).rows("operations") == before
    held = stored.site.place("eu").manifest
    assert any(entry.rows for entry in held.entries("operations" + ORDERS_SUFFIX)), "the queue still asks for erasure"


CASES = {  # a stop of a device of its own, or of an account that is seen on it, and the hours whose rows stay
    "withdraw": (dict(kind="withdraw", purposes=["operations"]), ()),
    "object": (dict(kind="object"), ()),
    "restrict": (dict(kind="restrict"), ()),
    "of another purpose": (dict(kind="withdraw", purposes=["promotion"]), (0, 5)),
    "erase: what was before it": (dict(kind="erase", at=HOUR), (5,)),
    "erase: the whole unit in which it lies": (dict(kind="erase", at=5 * HOUR + 1), ()),
    "close, of a device": (dict(kind="close"), (0, 5)),
    "minor, where minors are included": (dict(kind="minor"), (0, 5)),
    "of the account": (dict(kind="object", subject="account"), (0,)),
    "of another account": (dict(kind="object", subject="stranger"), (0, 5)),
}


@pytest.mark.clause("5.3")
def test_a_stop_that_a_later_run_knows_takes_rows_out_at_once(tmp_path):
    events, ledger, there, stay = [], [], Counter(), Counter()
    for place, (what, hours) in enumerate(CASES.values()):
        device, account, base = f"4f3a5c7e9b0d{place:04x}", f"acct-{place}", 10 * place * HOUR
        events += [crash(100 + place, base, device), crash(200 + place, base + 5 * HOUR, device, account_id=account)]
        subject = {"device": device, "account": account, "stranger": "acct-none"}[what.get("subject", "device")]
        about = {"type": "device" if subject == device else "account", "value": subject}
        ledger.append(stop(**what | {"at": base + what.get("at", 6 * HOUR), "number": place, "subject": about}))
        there.update(10 * place + hour for hour in (0, 5))
        stay.update(10 * place + hour for hour in hours)
    stored, later = Stored(tmp_path), [crash(90, LATEST * HOUR, "3f3a5c7e9b0d246a")]
    assert stored.run(events, []).rows("operations") == there
    assert stored.run(later, ledger).rows("operations") == stay


@pytest.mark.clause("5.4")
def test_close_takes_what_needs_the_account(stored):
    ticket = event(30, "crash", NOW, account_id=ACCOUNT, crash__signal="SIGSEGV")
    needs = {n for n, p in load_pack().purposes.items() if "account" in p.subject and p.stored}
    stored.run([ticket, *EVENTS], GRANT)
    before = {name: stored.rows(name) for name in needs | {"operations"}}
    assert any(before[name] for name in needs)
    stored.run(LATER, [*GRANT, stop("close", subject={"type": "account", "value": ACCOUNT})])
    assert {name: stored.rows(name) for name in before} == dict.fromkeys(needs, {}) | {
        "operations": before["operations"]
    }


@pytest.mark.clause("7")
def test_a_minor_leaves_what_excludes_minors_and_what_rests_on_consent(stored):
    pack = load_pack()
    names = [name for name, each in datasets(pack).items() if pack.purposes[each.purpose].subject]
    before = {name: stored.rows(name).total() for name in names}
    stored.run(LATER, [*GRANT, stop("minor")])
    for name in names:
        purpose = datasets(pack)[name].purpose
        leaves = pack.purposes[purpose].minors == "excluded" or pack.basis(purpose, "eu") == "consent"
        assert leaves <= (stored.rows(name).total() < before[name] or not before[name])
        assert leaves or stored.rows(name).total() >= before[name]
    assert before["user_experience"] and before["operations"]


@pytest.mark.clause("1.1.2-loc")
def test_an_application_is_stopped_alone(stored):
    whole = {"location_services": 3, "location_services_sensitive": 3}
    assert {name: stored.rows(name).total() for name in whole} == whole
    stored.run(LATER, [*GRANT, stop("withdraw", purposes=["location_services"], app="com.example.map")])
    assert stored.rows("location_services").total() == 2
    # Without the application's column nothing can be told apart, and so nothing of the subject stays.
    assert stored.rows("location_services_sensitive").total() == 1


@pytest.mark.clause("5.3")
def test_what_a_grant_opened_after_a_stop_that_was_known_stays(tmp_path):
    ledger = [*GRANT, stop("withdraw", at=HOUR), entry("grant", NOW + 2 * HOUR, number=71)]
    stored = Stored(tmp_path).run(EVENTS, ledger)
    before = stored.rows("operations")
    assert before == {5: 3}
    stored.run(LATER, ledger)
    assert stored.rows("operations") == before


@pytest.mark.clause("5.3")
def test_what_was_stored_without_knowing_goes_and_what_knew_stays(tmp_path):
    """Two runs over the same events hold them twice: each file goes by what its own judge knew."""
    stop_, again = stop("withdraw", at=HOUR), entry("grant", NOW + 2 * HOUR, number=71)
    stored = Stored(tmp_path).run(EVENTS, [*GRANT, again]).run([*EVENTS, *LATER], [*GRANT, stop_, again])
    assert stored.rows("operations") == {5: 2 + 3}


@pytest.mark.clause("4.1-c")
def test_orders_are_counted_and_add_up(stored):
    stored.run(LATER, [*GRANT, stop("object"), stop("restrict", number=72), stop("erase", number=73)])
    place = stored.site.place("eu")
    totals = read_totals([place])
    assert totals.by(("outcome", "reason", "clause"), step="orders", dataset="legal") == {
        ("held", "object", "5.2-object"): 1,
        ("held", "restrict", "5.2-restrict"): 1,
        ("held", "erase", "5.2-erase"): 1,
    }
    assert totals.by(("outcome", "reason"), step="orders", dataset="push") == {
        ("ordered", "object"): 1,
        ("held", "restrict"): 1,
        ("ordered", "erase"): 1,
    }
    names = {name for name in place.manifest.datasets() if name.endswith((ORDERS_SUFFIX, STOPPED_SUFFIX))}
    with_subject = {n for n, d in datasets(load_pack()).items() if load_pack().purposes[d.purpose].subject}
    assert names == {name + suffix for name in with_subject for suffix in (ORDERS_SUFFIX, STOPPED_SUFFIX)}


@pytest.mark.clause("5.2-erase")
def test_two_queues_share_neither_an_order_nor_a_token(stopped):
    seen = {}
    for name, dataset in datasets(load_pack()).items():
        if load_pack().purposes[dataset.purpose].subject:
            rows = open_dataset(stopped.site.file, "eu", name + ORDERS_SUFFIX).to_table()
            assert len(set(rows["order"].to_pylist())) == 2
            for column in ("order", "token"):
                for value in set(rows[column].to_pylist()) - {None}:
                    owner = (dataset.purpose if column == "token" else name), column
                    assert seen.setdefault(value, owner) == owner
    assert seen


@pytest.mark.clause("4.1-b")
def test_what_goes_round_the_filter_raises(stopped):
    held = open_dataset(stopped.site.file, "eu", "operations")
    rows = held.to_table()
    assert not any(name.endswith("_handle") or name.startswith("_") for name in held.schema.names)
    assert rows.schema.equals(held.schema)
    filtered = held.filter(ds.field("event_type") == "crash")
    assert filtered.to_table().equals(rows) and filtered.count_rows() == len(rows)
    assert ds.Scanner.from_dataset(held).count_rows() == len(rows) == ds.Scanner.from_dataset(filtered).count_rows()
    ds.write_dataset(held, stopped.folder / "copy", format="parquet")
    assert ds.dataset(stopped.folder / "copy").count_rows() == len(rows)
    assert held.take(list(range(len(rows)))).equals(rows)
    other = ds.dataset(rows)
    for round_ in (
        lambda: list(held.get_fragments()),
        lambda: list(held.get_fragments(filter=ds.field("event_type") == "crash")),
        lambda: held.sort_by("event_time"),
        lambda: held.join(other, "event_time"),
        lambda: other.join(held, "event_time"),
        lambda: held.join_asof(other, on="event_time", by=[], tolerance=0),
        lambda: ds.dataset([held]),
        lambda: ds.UnionDataset(held.schema, [held]),
        lambda: held.replace_schema(held.schema),
        lambda: held.__reduce__(),
        lambda: acero.Declaration("scan", acero.ScanNodeOptions(held)).to_table(),
        lambda: acero.Declaration("scan", acero.ScanNodeOptions(held, columns=["event_id"])).to_table(),
        lambda: acero.Declaration("scan", acero.ScanNodeOptions(held, columns=None, filter=None)).to_table(),
    ):
        with pytest.raises((ValueError, TypeError)):
            round_()

"""Which rows readers leave out: against what the definition says, row by row, whatever orders and files there are."""

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.deployment import load_deployment, prepare
from pipelines.errors import InputError
from pipelines.manifest import Entry
from pipelines.stopped import lot, touching
from pipelines.stores import commit, open_dataset, stage
from schemas.datasets import EVENT_TIME
from schemas.orders import STOPPED
from tests.stranger import deploy
from transforms.handles import handles
from transforms.keyring import KeyUnavailable, LocalKeyService, open_keyring

DAY, DATASET = "2021-03-01", "operations"


def block(number):
    return number.to_bytes(16, "big")


@pytest.fixture
def eu(tmp_path):
    place = load_deployment(deploy(tmp_path, ("eu",))).place("eu")
    prepare(place, lambda _: None)
    return place


def opened(place):
    return open_dataset(place.store.parents[1] / "deployment.yaml", "eu", DATASET)


def rows_of(records):
    """Rows of a dataset that has the device's token and a handle of the account's."""
    names = ("event", "device", "account", "time", "app")
    event, device, account, time, app = ([r[name] for r in records] for name in names)
    types = [r.get("type", "crash") for r in records]
    ids = pa.array([block(e) for e in event], pa.binary(16))
    accounts = pa.array([None if a is None else block(a) for a in account], pa.binary(16))
    return pa.record_batch(
        {
            "event_type": pa.array(types),
            "event_time": pa.array(time, pa.int64()).cast(pa.timestamp("ms")).cast(EVENT_TIME),
            "event_id": ids,
            "device_android_id": pa.array([block(d) for d in device], pa.binary(16)),
            "app_package": pa.array(app, pa.string()),
            "account_handle": handles(accounts, ids),
        }
    )


def listed(orders):
    columns = [pa.array([row[field.name] for row in orders], field.type) for field in STOPPED]
    return pa.RecordBatch.from_arrays(columns, schema=STOPPED)


def order(number, token, by="device", app=None, until=None, window=0, shard=0, event_type=None):
    what = {"order": block(number), "token": None if token is None else block(token)}
    return what | {"by": by, "app": app, "event_type": event_type, "until": until, "window": window, "shard": shard}


class History:
    """Lineages with files and lists, made at random."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.files, self.lists, number = {}, {}, 0
        events = iter(range(10_000))
        for lineage in ("aa-1", "b", "c"):
            for shard in range(draw.randrange(1, 3)):
                for window in range(draw.randrange(1, 5)):
                    self.files[lineage, window, shard] = [
                        {
                            "event": next(events),
                            "device": draw.randrange(8),
                            "account": draw.choice([None, 20, 21, 22]),
                            "time": draw.randrange(100),
                            "app": draw.choice([None, "map", "mail"]),
                            "type": draw.choice(["crash", "page_view"]),
                        }
                        for _ in range(6)
                    ]
            self.lists[lineage] = []
        for number in range(draw.randrange(1, 9)):
            by = draw.choice(["device", "device", "account"])
            token = draw.choice([None, 20, 21, 23] if by == "account" else [None, *range(9)])
            what = order(number, token, by, draw.choice([None, None, "map"]), draw.choice([None, None, 50]))
            what["event_type"] = draw.choice([None, None, "page_view"])
            for lineage in draw.sample(list(self.lists), draw.randrange(1, 4)):
                for _ in range(draw.randrange(1, 3)):
                    self.lists[lineage].append(what | {"window": draw.randrange(6), "shard": draw.randrange(3)})

    def write(self, place):
        for (lineage, window, shard), records in self.files.items():
            commit([stage(place, DATASET, DAY, f"{lineage}-{window}-{shard}", rows_of(records), "run")])
        for lineage, orders in self.lists.items():
            commit([stage(place, f"{DATASET}_stopped", DAY, f"{lineage}-0-0", listed(orders), "run")])

    def left(self):
        """The events that stay, by the definition."""
        orders = [(lineage, row) for lineage, rows in self.lists.items() for row in rows]

        def knew(at, number):
            lineage, window, shard = at
            own = (r for name, r in orders if name == lineage and r["shard"] == shard and r["order"] == number)
            return any(row["window"] <= window for row in own)

        def stopped(record, at):
            for _, row in orders:
                if row["token"] != (record[row["by"]] is not None and block(record[row["by"]])):
                    continue
                in_app = row["app"] is None or record["app"] in (None, row["app"])
                in_time = row["until"] is None or record["time"] <= row["until"]
                of_type = row["event_type"] in (None, record["type"])
                if in_app and in_time and of_type and not knew(at, row["order"]):
                    return True
            return False

        return sorted(r["event"] for at, records in self.files.items() for r in records if not stopped(r, at))


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("seed", range(12))
def test_rows_are_left_out_as_the_definition_says(eu, seed):
    history = History(seed)
    history.write(eu)
    dataset = opened(eu)
    assert sorted(int.from_bytes(e, "big") for e in dataset.to_table()["event_id"].to_pylist()) == history.left()
    assert dataset.count_rows() == len(history.left())
    assert "account_handle" not in dataset.schema.names


def test_the_lot_is_read_from_the_right_of_the_name():
    entry = Entry(DATASET, DAY, "in-put-17-3", 1, "run")
    assert lot(entry) == ("in-put run", 3, 17)
    assert lot(replace(entry, run="other"))[0] != lot(entry)[0]


@pytest.mark.clause("5.3")
def test_what_another_run_over_the_same_input_knew_excuses_nothing(eu):
    """A run that broke off has left its list beside the files of the run before."""
    record = {"event": 1, "device": 2, "account": None, "time": 0, "app": None}
    commit([stage(eu, DATASET, DAY, "a-0-0", rows_of([record]), "before")])
    commit([stage(eu, f"{DATASET}_stopped", DAY, "a-0-0", listed([order(1, 2)]), "after")])
    assert opened(eu).count_rows() == 0
    commit([stage(eu, DATASET, DAY, "a-0-0", rows_of([record]), "after")])
    assert opened(eu).count_rows() == 1


@pytest.mark.clause("5.3")
def test_a_list_of_before_orders_named_event_types_is_about_all(eu):
    record = {"event": 1, "device": 2, "account": None, "time": 0, "app": None}
    commit([stage(eu, DATASET, DAY, "a-0-0", rows_of([record]), "run")])
    commit([stage(eu, f"{DATASET}_stopped", DAY, "b-0-0", listed([order(1, 2)]).drop_columns(["event_type"]), "run")])
    assert opened(eu).count_rows() == 0


@pytest.mark.clause("5.3")
def test_a_damaged_list_is_no_empty_list(eu):
    record = {"event": 1, "device": 2, "account": None, "time": 0, "app": None}
    commit([stage(eu, DATASET, DAY, "a-0-0", rows_of([record]), "run")])
    commit([stage(eu, f"{DATASET}_stopped", DAY, "b-0-0", listed([order(1, 5)]), "run")])
    assert opened(eu).count_rows() == 1
    (path,) = (eu.store / f"{DATASET}_stopped").rglob("*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with pytest.raises(OSError):
        opened(eu)
    path.unlink()
    with pytest.raises(OSError):
        opened(eu)


@pytest.mark.clause("5.3")
def test_a_touched_file_without_what_orders_look_for_is_not_read(eu):
    rows = rows_of([{"event": 1, "device": 2, "account": None, "time": 0, "app": None}])
    commit([stage(eu, DATASET, DAY, "a-0-0", rows.drop_columns(["account_handle"]), "run")])
    commit([stage(eu, f"{DATASET}_stopped", DAY, "b-0-0", listed([order(1, 5)]), "run")])
    assert opened(eu).count_rows() == 1
    commit([stage(eu, f"{DATASET}_stopped", DAY, "b-0-0", listed([order(1, 5, "account")]), "run")])
    with pytest.raises(InputError, match="no column account"):
        opened(eu)


@pytest.mark.clause("4.1-b")
@pytest.mark.parametrize("lost, opens", [(DATASET, f"{DATASET}_orders"), (f"{DATASET}_orders", DATASET)])
def test_the_queue_and_the_dataset_have_keys_of_their_own(eu, lost, opens):
    record = {"event": 1, "device": 2, "account": None, "time": 0, "app": None}
    commit([stage(eu, DATASET, DAY, "a-0-0", rows_of([record]), "run")])
    for suffix in ("_stopped", "_orders"):
        commit([stage(eu, DATASET + suffix, DAY, "b-0-0", listed([order(1, 5)]), "run")])
    LocalKeyService(eu.manifest_folder.parent / "wrapping").destroy(f"dataset-{lost}")
    open_keyring.cache_clear()
    where = eu.store.parents[1] / "deployment.yaml"
    assert open_dataset(where, "eu", opens).count_rows() == 1
    with pytest.raises(KeyUnavailable):
        open_dataset(where, "eu", lost)
    assert not (eu.manifest_folder.parent / "wrapping" / f"dataset-{DATASET}_stopped.key").exists()


def test_orders_that_the_same_lots_knew_are_one_group():
    lots = [("a", 0, window) for window in range(100)] + [("b", 0, 0)]
    rows = [order(number, number, window=number % 3 * 40) for number in range(3_000)]
    table = pa.Table.from_batches([listed(rows)])
    found = touching(table, pa.array(["a"] * len(rows)).dictionary_encode(), lots)
    assert len(found.what) == 3_000
    of = {
        token: group
        for token, group in zip(found.what["token"].to_pylist(), found.what["group"].to_pylist(), strict=True)
    }
    for number in range(3):
        touched = found.files[of[block(number)]]
        assert np.flatnonzero(touched).tolist() == [*range(number * 40), 100]

import json

import pyarrow as pa
import pytest

from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.errors import ConfigurationError, InputError
from pipelines.replay_plans import Plan, finish, plan_file, plans, put_plan, replaying, settled
from schemas.quarantine import MENDED
from tests.stranger import deploy

IDS = [f"{number:032x}" for number in (3, 1, 2)]
NOTHING = pa.RecordBatch.from_pylist([], MENDED)
MENDED_ROW = {
    "row_id": bytes(16),
    "bytes": 256,
    "key_id": bytes(8),
    "sealed_key": b"key",
    "nonce": bytes(12),
    "payload": b"sealed",
}


@pytest.fixture
def place(tmp_path) -> RegionalPlace:
    return load_deployment(deploy(tmp_path, ("eu",))).place("eu")


def test_a_batch_is_named_after_its_rows_and_its_receipt():
    plan = Plan.of(IDS, NOTHING, received_ms=7)
    assert plan == Plan.of(IDS[::-1], NOTHING, received_ms=7)
    assert plan.row_ids == tuple(sorted(IDS))
    assert len(plan.batch) == 16
    assert len({plan.batch, Plan.of(IDS[:2], NOTHING, 7).batch, Plan.of(IDS, NOTHING, 8).batch}) == 3


def test_a_plan_comes_back_with_what_was_mended(place):
    mended = pa.RecordBatch.from_pylist([MENDED_ROW], MENDED)
    plan = Plan.of(IDS, mended, received_ms=7)
    put_plan(place, plan)
    (again,) = plans(place)
    assert again == plan
    assert again.mended_rows.to_batches() == [mended]
    assert len(Plan.of(IDS, NOTHING, 7).mended_rows) == 0


def test_only_a_finished_plan_settles_its_rows(place):
    plan = Plan.of(IDS, pa.RecordBatch.from_pylist([MENDED_ROW], MENDED), received_ms=7)
    put_plan(place, plan)
    assert settled(place) == set()
    finish(place, plan, rejected_again={IDS[0]})
    assert settled(place) == {bytes.fromhex(row_id) for row_id in IDS[1:]}
    (done,) = plans(place)
    assert done.done and not done.mended and done.batch == plan.batch


def test_plans_stand_in_the_order_of_their_receipt(place):
    for received in (9, 7, 8):
        put_plan(place, Plan.of(IDS, NOTHING, received))
    assert [plan.received_ms for plan in plans(place)] == [7, 8, 9]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format":2}', b'{"format":1,"batch":"x"}'])
def test_a_damaged_plan_is_told_and_not_taken_for_none(place, content):
    path = plan_file(place, "damaged")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged.json is damaged"):
        settled(place)


def test_two_replays_of_a_region_do_not_run_at_once(place):
    with replaying(place), pytest.raises(ConfigurationError, match="another replay is going on"), replaying(place):
        pass
    with replaying(place):
        pass


def test_a_plan_holds_no_more_than_it_must(place):
    put_plan(place, Plan.of(IDS, NOTHING, received_ms=7))
    content = json.loads(plan_file(place, next(plans(place)).batch).read_bytes())
    assert content.keys() == {"format", "batch", "received_ms", "row_ids", "mended", "done"}

"""A whole run under two editions of the policy: what is stored of a record tells which was in force at its time."""

import json
from datetime import UTC, datetime

import pytest

from pipelines import explain, ingest
from pipelines.stores import open_dataset
from schemas.pack_files import DEFAULT_PACK
from tests.editions import OLD, old, write_edition
from tests.stranger import DEVICE, HANDSETS, Prepared, command, deploy, entry, event, ndjson

pytestmark = pytest.mark.clause("9")
OTHER = next(device for device in HANDSETS if device != DEVICE)
LAST, FIRST = "2021-01-14T23:59:59.999Z", "2021-01-15T00:00:00.000Z"  # moments of the older and of the newest edition
TRACE = "java.lang.IllegalStateException: no view"


def _events():
    of_type = {
        "session": {"session": {"duration_ms": 61_000, "events": 137}},
        "app_usage": {"app_usage": {"foreground_ms": 6_420_000, "launches": 3}},
        "page_view": {"page_view": {"page": "settings", "duration_ms": 1_000}},
        "crash": {"crash": {"signal": "SIGSEGV", "exception": "Illegal", "trace": TRACE}},
        "activation": {"activation": {"outcome": "succeeded"}},
        "push_interaction": {"push_interaction": {"action": "shown", "notice": "system"}},
    }
    made = []
    for event_type, measures in of_type.items():
        for device, (imei, *_) in HANDSETS.items():
            whose = {"device": {"android_id": device, "imei": imei, "model": "M1"}}
            for moment in (LAST, FIRST):
                times = {"event_time": moment, "received_time": "2021-01-15T06:00:00.000Z"}
                made.append(event(len(made) + 1, event_type, **measures, **whose, **times))
    early = {"event_time": "2020-05-31T23:59:59.999Z", "received_time": "2020-06-01T00:00:00.000Z"}
    return [*made, event(len(made) + 1, **early)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Prepared:
    """Records of two devices, one of which has consented to everything, about midnight of the newest edition's day."""
    folder = tmp_path_factory.mktemp("editions")
    long_ago = "2020-05-01T00:00:00.000Z"
    (folder / "events.ndjson").write_bytes(ndjson(*_events()))
    (folder / "consents.ndjson").write_bytes(ndjson(entry(1, "grant", time=long_ago, received_time=long_ago)))
    write_edition(folder / "old", OLD, old)
    given = ("--events", folder / "events.ndjson", "--consents", folder / "consents.ndjson", "--json")
    policy = ("--policy", DEFAULT_PACK, folder / "old")
    outcome = command(ingest, *given, *policy, "--deployment", deploy(folder))
    assert outcome.status == 0, outcome.err
    return Prepared(folder, outcome)


def rows(ran, dataset, event_type):
    table = open_dataset(ran.deployment, "eu", dataset).to_table()
    return [row for row in table.to_pylist() if row["event_type"] == event_type]


def by_edition(ran, dataset, event_type, column):
    """What stands in a column of the rows of either edition."""
    change = datetime(2021, 1, 15, tzinfo=UTC)
    found = [(row["event_time"] < change, row[column]) for row in rows(ran, dataset, event_type)]
    return tuple([value for old_, value in found if old_ == which] for which in (True, False))


def test_a_purpose_that_came_later_has_no_row_of_before(ran):
    before, after = by_edition(ran, "push", "push_interaction", "device_android_id")
    assert (len(before), len(after)) == (0, 2)


def test_an_event_type_that_a_purpose_was_not_given_has_no_row_of_before(ran):
    before, after = by_edition(ran, "operations", "page_view", "page_view_duration_ms")
    assert (before, after) == ([], [0])  # page views are the programme's own, and one of the two is in it


def test_where_consent_was_the_basis_only_who_gave_it_has_a_row_of_before(ran):
    before, after = by_edition(ran, "operations", "app_usage", "device_android_id")
    assert (len(before), len(set(after))) == (1, 2)


def test_a_number_is_as_coarse_as_both_make_it(ran):
    before, after = by_edition(ran, "operations", "app_usage", "app_usage_foreground_ms")
    assert (before, after) == ([3_600_000], [3_600_000] * 2)  # 6,420,000 is 5,400,000 in buckets of 2,700,000


def test_a_time_is_as_coarse_as_both_make_it(ran):
    assert sorted({row["event_time"].isoformat()[:16] for row in rows(ran, "security", "session")}) == [
        "2021-01-14T23:00",
        "2021-01-15T00:00",
    ]


def test_a_column_that_was_not_listed_is_null_before(ran):
    assert by_edition(ran, "service", "session", "session_events") == ([None, None], [100, 100])
    assert by_edition(ran, "service", "session", "service") == ([None, None], ["<OTHER>", "<OTHER>"])


def test_a_form_that_was_stricter_leaves_nothing_before(ran):
    before, after = by_edition(ran, "activation", "activation", "device_imei")
    assert before == [None, None] and len(set(after)) == 2 and None not in after
    assert by_edition(ran, "user_experience", "crash", "crash_trace") == ([None], [TRACE])
    before, after = by_edition(ran, "user_experience", "crash", "crash_exception")
    assert before == after == ["Illegal"]


def test_before_the_first_edition_nothing_is_stored(ran):
    refused = ran.outcome.counts.by(("purpose", "reason"), step="gate", outcome="refused", event_type="session")
    assert {purpose for (purpose, reason) in refused if reason == "no_policy"} == {name for name, _ in refused if name}
    assert all(row["event_time"].year == 2021 for row in rows(ran, "service", "session"))


@pytest.mark.parametrize(
    ("line", "told", "outcome"),
    [
        (1, "at that time edition 2020-06-01 was in force, which has to allow it as well", "service: open"),
        (2, None, "service: open"),
        (21, "at that time edition 2020-06-01 was in force", "push: closed: no_basis (1.2-consented)"),
        (25, "at that time no edition of the policy was in force", "service: closed: no_policy (9)"),
    ],
)
def test_an_explanation_names_the_edition(ran, line, told, outcome):
    given = ("--event", f"{ran.folder / 'events.ndjson'}:{line}", "--deployment", ran.deployment, "--policy")
    explained = command(explain, *given, ran.folder / "old", DEFAULT_PACK, "--consents", ran.folder / "consents.ndjson")
    assert explained.status == 0, explained.err
    assert outcome in explained.out
    assert told in explained.out if told else "at that time" not in explained.out


def test_an_explanation_says_which_columns_were_not_allowed_then(ran):
    given = ("--event", f"{ran.folder / 'events.ndjson'}:1", "--deployment", ran.deployment, "--policy")
    explained = command(explain, *given, ran.folder / "old", DEFAULT_PACK, "--no-ledger", "--json")
    told = {field["path"]: field["datasets"] for field in json.loads(explained.out)["fields"]}
    why = {each["dataset"]: (each["why_not"], each["clause"]) for each in told["service"]}
    assert why["service"] == ("not allowed by the edition of its time", "9") and why["security"][0] == "no_basis"
    assert {each["dataset"]: each["why_not"] for each in told["device.android_id"]}["service"] is None


def test_packs_that_do_not_go_together_are_told_in_one_line(ran, tmp_path):
    for twice in ((DEFAULT_PACK, DEFAULT_PACK), (ran.folder / "old", ran.folder / "old")):
        given = ("--events", ran.folder / "events.ndjson", "--no-ledger", "--deployment", ran.deployment)
        outcome = command(ingest, *given, "--policy", *twice)
        assert outcome.status == 2 and "name one only, or give each its own" in outcome.errors[0]

"""What is said of one event: every way in which a line can end, every reason, every form of a field, every chain."""

from dataclasses import asdict

import pytest

from schemas.apart import OTHER
from schemas.consent import CLAUSE_OF_REASON
from schemas.editions import Editions
from schemas.explanation import Did
from schemas.fields import EVENT_FIELD, EVENT_TYPES
from schemas.pack_files import DEFAULT_PACK, load_pack
from schemas.quarantine import CLAUSE_OF_FAULT
from tests.editions import edition
from tests.lines import ANDROID_ID, EXAMPLES, NOW, entry, event, full_event, keystores, ndjson
from transforms.decode import decode_ledger
from transforms.entries import LIMIT, about, ids_of, joined, sharing_ids
from transforms.explain import Explainer

PACK = load_pack()
DEVICE = {"device__android_id": ANDROID_ID}
ACCOUNT = {"type": "account", "value": EXAMPLES["account_id"]}
ZEROED = "00000000-0000-0000-0000-000000000000"
DAY = 86_400_000
MAP, MAIL = "com.example.map", "com.example.mail"


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    served = {PACK.where.code(region): region for region in ("eu", "us", "in")}
    return Explainer(Editions((PACK,)), keystores(tmp_path_factory.mktemp("keys"), served))


@pytest.fixture(scope="module")
def explain(explainer):
    """Explains an event (a dict, or the bytes of a line) given ledger entries; None for no ledger."""

    def explain_(one, entries=()):
        found = explainer.read(one if isinstance(one, bytes) else ndjson(one))
        if entries is None or not found.good:
            return explainer.explain(found, None)
        block = entries if isinstance(entries, bytes) else ndjson(*entries)
        whole = decode_ledger(block)
        own = about(whole, found.subjects)
        return explainer.explain(found, joined([own, sharing_ids(whole, ids_of(own), found.subjects)]))

    return explain_


def purpose(told, name):
    (found,) = [each for each in told.purposes if each.purpose == name]
    return found


def field(told, path):
    (found,) = [each for each in told.fields if each.path == path]
    return found


def chain(told, name):
    """entry id -> what it did, with the ids of the entries that it concerns."""
    ids = {each.number: each.entry_id for each in told.entries}
    return {
        ids[link.entry]: [(did.what, *(ids[number] for number in did.entries)) for did in link.did]
        for link in purpose(told, name).chain
    }


def entries(*kinds, **more):
    """Entries of those kinds, an hour apart and long before the events, with ids `entry-0` and so on."""
    return [entry(kind, NOW - DAY + place * 3_600_000, number=place, **more) for place, kind in enumerate(kinds)]


# --- lines ---


@pytest.mark.parametrize(
    ("line", "outcome", "stage", "reason"),
    [
        (b" \r\n", "blank", None, None),
        (b'{"event_id": \n', "rejected", "decode", "not_json"),
        (ndjson(event(event_type="no_such")), "rejected", "decode", "unknown_event_type"),
        (ndjson(event(time=NOW + DAY)), "rejected", "decode", "future_event"),
        (ndjson(event() | {"event_id": "not-a-uuid"}), "rejected", "seal", "bad_event_id"),
        (ndjson(event() | {"residency": {"account_country": "ZZ"}}), "unlocatable", "locate", "no_usable_signal"),
        (ndjson(event() | {"residency": {"account_country": "CN"}}), "foreign", "locate", "not_served"),
        (ndjson(event()), "accepted", None, None),
    ],
)
def test_what_becomes_of_a_line(explain, line, outcome, stage, reason):
    told = explain(line)
    assert (told.line.outcome, told.line.stage, told.line.reason) == (outcome, stage, reason)
    assert bool(told.line.clause) == bool(reason)
    assert told.line.clause == CLAUSE_OF_FAULT.get(reason, told.line.clause)
    assert bool(told.purposes) == bool(told.rows) == (outcome == "accepted" and bool(told.rows))
    if outcome in ("unlocatable", "foreign") or reason == "bad_event_id":
        assert {each.outcome for each in told.fields} == {"not kept"}


@pytest.mark.clause("6-in")
@pytest.mark.parametrize(
    ("residency", "region", "conflict", "decides", "said"),
    [
        ({"account_country": "NL"}, "eu", False, "account_country", ["NL"]),
        ({"account_country": "US", "device_region": "IN"}, "in", True, "device_region", ["US", "IN"]),
        ({"account_country": "Atlantis", "sim_mcc": 310}, "us", False, "sim_mcc", ["At… (8 characters)", "310"]),
        ({"account_country": "ZZ"}, None, False, None, ["… (2 characters)"]),
    ],
)
def test_region_and_signals(explain, residency, region, conflict, decides, said):
    place = explain(event() | {"residency": residency}).place
    assert (place.region, place.conflict) == (region, conflict)
    assert [signal.said for signal in place.signals] == said
    assert [signal.signal for signal in place.signals if signal.decides] == ([decides] if decides else [])
    assert all((signal.region is None) == ("characters" in signal.said) for signal in place.signals)


# --- purposes: each reason, and the entries behind it ---

GRANT = entries("grant")
BEFORE = 1_609_459_200_000  # 2021-01-01, before the shipped edition
REASONS = [
    ("no_policy", "service", event(received=BEFORE, **DEVICE), (), {}),
    ("no_basis", "user_experience", event(**DEVICE), None, {}),
    ("no_subject", "service", event(), (), {}),
    ("source_not_admitted", "service", event(source="partner", **DEVICE), (), {}),
    (
        "opted_out",
        "personalised_ads",
        event(event_type="ad_interaction", device__gaid=ZEROED, **DEVICE),
        GRANT,
        {"entry-0": [("does not suffice",)]},
    ),
    (
        "not_for_purpose",
        "promotion",
        event(event_type="push_interaction", push_interaction__notice="system", **DEVICE),
        GRANT,
        {"entry-0": [("does not suffice",)]},
    ),
    ("restricted", "service", event(**DEVICE), entries("restrict"), {"entry-0": [("closes",)]}),
    (
        "erased",
        "service",
        event(**DEVICE, time=NOW - DAY - 1),
        entries("erase"),
        {"entry-0": [("closes",)]},
    ),
    (
        "closed",
        "support",
        event(event_type="crash", account_id=EXAMPLES["account_id"]),
        entries("close", subject=ACCOUNT),
        {"entry-0": [("closes",)]},
    ),
    (
        "minor",
        "personalised_ads",
        event(event_type="ad_interaction", **DEVICE),
        entries("grant", "minor"),
        {"entry-0": [("overruled by", "entry-1")], "entry-1": [("closes",), ("overrules", "entry-0")]},
    ),
    (
        "withdrawn",
        "user_experience",
        event(**DEVICE),
        entries("grant", "withdraw"),
        {"entry-0": [("overruled by", "entry-1")], "entry-1": [("closes",), ("overrules", "entry-0")]},
    ),
    (
        "objected",
        "security",
        event(**DEVICE),
        entries("object", "withdraw", purposes=["security"])[:1],
        {"entry-0": [("closes",)]},
    ),
    (
        "old_policy_version",
        "personalisation",
        event(event_type="service_activity", **DEVICE),
        entries("grant", policy_version="2020-01-01"),
        {"entry-0": [("does not suffice",)]},
    ),
    (
        "app_not_granted",
        "location_services",
        event(event_type="location", app__package=MAP, **DEVICE),
        entries("grant", app=MAIL),
        {"entry-0": [("other application",)]},
    ),
    ("no_grant", "user_experience", event(**DEVICE), (), {}),
]


# Under overlays and rules of collection: with the clause of what closes.
NARROWED = [
    ("no_service", "0-b", "service", event(**DEVICE) | {"service": "somebody@example.org"}, "changes nothing"),
    ("closed_here", "1.2-local", "service", event(**DEVICE) | {"service": "notes"}, "changes nothing"),
    ("closed_here", "6-eea", "push", event(event_type="push_interaction", **DEVICE), "changes nothing"),
    ("not_collected", "2-log", "statistics", event(event_type="page_view", **DEVICE), "other purpose"),
]


def test_every_reason_is_among_them():
    assert {reason for reason, *_ in (*REASONS, *NARROWED)} == set(CLAUSE_OF_REASON)


def narrowed(rules):
    rules["by_region"] = {"eu": {"clause": "6-eea", "closed": ["push"], "purposes": {"operations": WITHOUT_MODEL}}}
    rules["by_service"] = {"notes": {"clause": "1.2-local", "closed": "all"}}
    rules["collection"] = [
        {"clause": "2-log", "events": ["page_view"], "regions": ["eu"], "admitted_by": ["user_experience"]}
    ]


WITHOUT_MODEL = {"clause": "6-eea", "basis": "consent", "columns": {"device.model": "absent"}}


@pytest.fixture(scope="module")
def explain_narrowed(tmp_path_factory):
    keys = keystores(tmp_path_factory.mktemp("narrowed"), {PACK.where.code("eu"): "eu"})
    explainer = Explainer(Editions((edition(DEFAULT_PACK, narrowed),)), keys)

    def explain_(one, entries):
        found = explainer.read(ndjson(one))
        return explainer.explain(found, about(decode_ledger(ndjson(*entries)), found.subjects))

    return explain_


@pytest.mark.clause("0-b")
@pytest.mark.parametrize(("reason", "clause", "name", "one", "did"), NARROWED)
def test_what_an_overlay_or_a_rule_of_collection_closes_is_told_with_its_clause(
    explain_narrowed, reason, clause, name, one, did
):
    given = entries("restrict") if did == "changes nothing" else entries("object", purposes=["personalised_ads"])
    told = explain_narrowed(one, given)
    found = purpose(told, name)
    assert (found.outcome, found.outcome_clause) == (reason, clause)
    assert chain(told, name) == {"entry-0": [(did,)]}
    stored = [each for fate in told.fields for each in fate.datasets if each.dataset == name]
    assert all((each.stored, each.why_not, each.clause) == (None, reason, clause) for each in stored)


@pytest.mark.clause("0-b")
def test_a_column_that_an_overlay_leaves_out_is_told(explain_narrowed):
    told = explain_narrowed(event(event_type="crash", device__model="M2011K2C", **DEVICE), GRANT)
    assert (purpose(told, "operations").outcome, purpose(told, "operations").basis) == ("open", "consent")
    by_dataset = {each.dataset: each for each in field(told, "device.model").datasets}
    assert by_dataset["operations"].why_not == "not allowed in its region, or for its service"
    assert (by_dataset["operations"].clause, by_dataset["operations"].stored) == ("0-b", None)
    assert by_dataset["user_experience"].stored == "M2011K2C" and told.rows["operations"]["device_model"] is None


@pytest.mark.parametrize(("reason", "name", "one", "given", "expected"), REASONS, ids=[r for r, *_ in REASONS])
def test_a_purpose_that_stays_closed(explain, reason, name, one, given, expected):
    told = explain(one, given)
    found = purpose(told, name)
    assert (found.outcome, found.outcome_clause) == (reason, CLAUSE_OF_REASON[reason])
    assert found.basis == PACK.basis(name, "eu")
    assert chain(told, name) == expected
    assert all(each.chain is not None for each in told.purposes)  # the rule, asked again, comes to the gate's verdict
    assert name not in told.rows
    stored = [each for fate in told.fields for each in fate.datasets if each.dataset == name]
    assert all((each.stored, each.why_not, each.clause) == (None, reason, found.outcome_clause) for each in stored)


@pytest.mark.clause("5.1")
@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("user_experience", entries("grant"), {"entry-0": [("opens",)]}),
        ("user_experience", entries("grant", "grant"), {"entry-0": [("opens too",)], "entry-1": [("opens",)]}),
        (
            "user_experience",
            entries("withdraw", "grant"),
            {"entry-0": [("lifted by", "entry-1")], "entry-1": [("opens",), ("lifts", "entry-0")]},
        ),
        (
            "service",
            entries("restrict", "lift_restriction", "grant"),
            {
                "entry-0": [("lifted by", "entry-1")],
                "entry-1": [("lifts", "entry-0")],
                "entry-2": [("changes nothing",)],
            },
        ),
        (
            "user_experience",
            entries("grant", "minor", "adult", "grant"),
            {
                "entry-0": [("overruled by", "entry-1")],
                "entry-1": [("lifted by", "entry-2")],
                "entry-2": [("lifts", "entry-1")],
                "entry-3": [("opens",)],
            },
        ),
        (
            "user_experience",
            entries("grant", "erase", "grant"),
            {
                "entry-0": [("overruled by", "entry-1")],
                "entry-1": [("overrules", "entry-0")],
                "entry-2": [("opens",)],
            },
        ),
        ("service", entries("withdraw", purposes=["security"]), {"entry-0": [("other purpose",)]}),
        ("service", [entry("grant", NOW + 1, NOW - DAY)], {"entry-0": [("not yet known",)]}),
        ("service", [entry("grant", NOW, NOW - 1)], {"entry-0": [("given after the event",)]}),
    ],
)
def test_a_purpose_that_opens(explain, name, given, expected):
    told = explain(event(**DEVICE, time=NOW - 2), given)
    assert (purpose(told, name).outcome, chain(told, name)) == ("open", expected)
    assert name in told.rows


def test_a_grant_for_all_applications_opens_no_location(explain):
    one = event(event_type="location", app__package=MAP, location__latitude=52.25, **DEVICE)
    told = explain(one, entries("grant"))
    assert chain(told, "location_services") == {"entry-0": [("names no application",)]}
    granted = explain(one, entries("grant", app=MAP))
    assert chain(granted, "location_services") == {"entry-0": [("opens",)]}
    assert granted.rows["location_services_sensitive"]["location_latitude"] == 52.25


@pytest.mark.clause("1.1.2-loc")
def test_exact_location_behind_a_gate_that_is_closed(explain):
    one = event(event_type="activation", location__cell_id=4711, **DEVICE)
    told = explain(one)
    (cell,) = field(told, "location.cell_id").datasets
    assert (cell.dataset, cell.stored) == ("activation_sensitive", None)
    assert (cell.why_not, cell.clause) == ("location_services is closed", "1.1.2-loc")
    assert "activation" in told.rows and "activation_sensitive" not in told.rows


def test_a_line_that_does_not_read_closes_until_it_is_corrected(explain):
    broken = (
        b'{"entry_id": "entry-0", "kind": "gr", "subject": {"type": "device", "value": "%s"}}\n' % ANDROID_ID.encode()
    )
    told = explain(event(**DEVICE), broken)
    assert purpose(told, "service").outcome == "restricted"
    assert chain(told, "service") == {"entry-0": [("closes",)]}
    assert (told.entries[0].kind, told.entries[0].time, told.entries[0].region) == ("unreadable", None, "everywhere")

    elsewhere = entry("grant", NOW - DAY, residency={"account_country": "US"})
    told = explain(event(**DEVICE), broken + ndjson(elsewhere))
    first, second = told.entries
    assert (first.kind, second.kind, second.region) == ("unreadable", "grant", "us")
    assert purpose(told, "service").outcome == "open"
    assert purpose(told, "user_experience").outcome == "no_grant"
    did = {link.entry: link.did for link in purpose(told, "service").chain}
    assert did == {1: (Did("corrected by", (2,)),), 2: (Did("lifts", (1,)),)}


def test_two_contents_of_one_id(explain):
    other = {"type": "device", "value": "2f3a5c7e9b0d2469"}
    contents = [entry("grant", NOW - DAY), entry("grant", NOW - DAY, subject=other)]
    told = explain(event(**DEVICE), contents)
    assert purpose(told, "user_experience").outcome == "no_grant"
    links = purpose(told, "user_experience").chain
    other = next(link.entry for link in links if "else" in link.did[0].what)
    assert {link.did for link in links} == {
        (Did("about somebody else"),),
        (Did("overruled by", (other,)),),
    }


def test_a_permission_of_another_region_is_shown_and_does_nothing(explain):
    told = explain(event(**DEVICE), entries("grant", residency={"account_country": "US"}))
    (shown,) = told.entries
    assert (shown.region, shown.purposes) == ("us", None)
    assert chain(told, "user_experience") == {}
    nowhere = explain(event(**DEVICE), entries("grant", residency={}))
    assert nowhere.entries[0].region is None


def test_entries_about_others_are_not_shown(explain):
    others = entries("grant", "restrict", subject={"type": "device", "value": "2f3a5c7e9b0d2469"})
    same_bytes = entries("restrict", subject={"type": "account", "value": ANDROID_ID})
    told = explain(event(**DEVICE), [*others, *same_bytes])
    assert told.entries == () and purpose(told, "service").outcome == "open"


def test_a_subject_that_nobody_can_read_is_told(explain):
    told = explain(event(**DEVICE), entries("restrict", subject={"type": "device", "value": "nobody"}))
    assert told.nobody == 1


def many(kind, count, first=1, **more):
    """Entries of one kind that came after those of `entries`."""
    return [entry(kind, NOW - 3_600_000 + n, number=first + n, **more) for n in range(count)]


@pytest.mark.parametrize("first", ["restrict", "grant"])
def test_of_very_many_entries_the_stops_and_the_latest_are_looked_at(explain, first):
    told = explain(event(**DEVICE), entries(first) + many("grant", 2 * LIMIT))
    assert len(told.entries) == LIMIT and told.further_entries == LIMIT + 1
    assert (told.entries[0].entry_id == "entry-0") == (first == "restrict")
    assert told.entries[-1].entry_id == f"entry-{2 * LIMIT}"
    found = purpose(told, "user_experience")
    assert found.outcome == ("restricted" if first == "restrict" else "open")
    deciding = {link.entry: link.did[0].what for link in found.chain if link.did[0].what in ("opens", "closes")}
    assert deciding == ({1: "closes"} if first == "restrict" else {LIMIT: "opens"})


def test_very_many_stops_leave_places_to_permissions(explain):
    stops = many("withdraw", 2 * LIMIT, purposes=["promotion"])
    told = explain(event(**DEVICE), entries("grant") + stops)
    assert told.entries[0].entry_id == "entry-0" and len(told.entries) == LIMIT
    assert purpose(told, "user_experience").outcome == "open"
    assert chain(told, "user_experience")["entry-0"] == [("opens",)]


def test_a_verdict_of_entries_that_are_not_looked_at_has_no_chain(explain):
    stops = many("withdraw", 2 * LIMIT, purposes=["promotion"])
    told = explain(event(**DEVICE), entries("restrict") + stops)
    found = purpose(told, "service")
    assert (found.outcome, found.chain) == ("restricted", None)
    assert told.further_entries == LIMIT + 1


def test_what_the_ledger_repeats_is_shown_once(explain):
    broken = b'{"entry_id": "entry-9", "subject": {"type": "device", "value": "%s"}}\n' % ANDROID_ID.encode()
    given = ndjson(*entries("grant"), *entries("grant", purposes=["service"])) + broken
    told = explain(event(**DEVICE), given * (2 * LIMIT))
    assert [each.kind for each in told.entries] == ["unreadable", "grant", "grant"] and told.further_entries == 0
    once = explain(event(**DEVICE), given)
    assert (told.entries, told.purposes) == (once.entries, once.purposes)


# --- fields ---


@pytest.mark.clause("0-a")
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_field_is_told_with_its_category_and_what_became_of_it(explain, event_type):
    one = full_event(event_type)
    told = explain(one, entries("grant"))
    described = {each.path: each for each in told.fields}
    paths = {f"{name}.{leaf}" for name, inner in one.items() if isinstance(inner, dict) for leaf in inner}
    assert set(described) == paths | {name for name, value in one.items() if not isinstance(value, dict)}
    for path, fate in described.items():
        assert (fate.category, fate.sensitivity) == (EVENT_FIELD[path].category, EVENT_FIELD[path].sensitivity)
        assert fate.clause and fate.outcome
    for dataset, row in told.rows.items():
        held = {
            fate.path.replace(".", "_"): each.stored
            for fate in told.fields
            for each in fate.datasets
            if each.dataset == dataset and each.why_not is None
        }
        present = {name: value for name, value in row.items() if value is not None}
        assert held.items() <= present.items()
        assert set(present) - set(held) == {"event_type", "event_time", "received_date"}


@pytest.mark.clause("1.1-a")
def test_forms_of_a_field(explain):
    text = "call 490154203237518 or mail jane@example.org"
    one = event(
        event_type="crash",
        ip="203.0.113.77",
        crash__exception=text,
        app__package=MAP,
        app__version="12.4.0",
        device__model="not\x07plain",
        device__imei=EXAMPLES["imei"],
        account_id="no\x07account",
        stray=1,
        device__stray=2,
        **DEVICE,
    )
    told = explain(one, entries("grant"))
    outcomes = {fate.path: fate.outcome for fate in told.fields}
    assert outcomes["ip"] == outcomes["device.imei"] == "left behind"
    assert outcomes["device.model"] == outcomes["account_id"] == "malformed"
    assert outcomes["crash.exception"] == "scrubbed" and outcomes["device.android_id"] == "sealed"
    assert field(told, "crash.exception").recognisers == {"email": 1, "imei": 1}
    assert field(told, "crash.exception").shown == "call <IMEI> or mail <EMAIL>"
    assert told.unknown == {"*": 1, "device.*": 1}
    shown = str(asdict(told))
    assert EXAMPLES["imei"] not in shown and "jane" not in shown
    assert ANDROID_ID not in shown and "203.0.113.77" not in shown
    assert MAP in shown and MAP not in repr(told) and "<EMAIL>" not in repr(told)

    session = explain(event(ip="203.0.113.77", session__duration_ms=61_000, **DEVICE), entries("grant"))
    assert (field(session, "ip").outcome, field(session, "ip").shown) == ("cut to its network", "203.0.113.0/24")
    forms = {each.dataset: (each.form, each.stored) for each in field(session, "session.duration_ms").datasets}
    assert forms == {"research": ("bucket 3600000", 0), "user_experience": ("plain", 61_000)}

    rare = explain(event(event_type="crash", device__model="M2", **DEVICE), entries("grant"))
    listed = {each.dataset: (each.form, each.stored) for each in field(rare, "device.model").datasets}
    assert listed["user_experience"] == ("listed common_models", OTHER)

    activation = explain(event(event_type="activation", device__imei=EXAMPLES["imei"], **DEVICE))
    assert field(activation, "device.imei").outcome == "sealed, reversibly"
    ads = explain(event(event_type="ad_interaction", device__gaid=ZEROED, **DEVICE))
    assert (field(ads, "device.gaid").outcome, field(ads, "device.gaid").clause) == (
        "says that there is none",
        "2-adcookie",
    )

"""What an identifier that is none does to a record: whole decisions, from the line to what is stored of it."""

import pytest

from schemas.editions import Editions
from schemas.fields import EVENT_FIELD, Handling
from schemas.pack_files import load_pack
from tests.lines import ANDROID_ID, EXAMPLES, NOW, entry, full_event, keystores, ndjson
from transforms.decode import decode_ledger
from transforms.explain import Explainer

PACK = load_pack()
ZEROED = "00000000-0000-0000-0000-000000000000"
TYPES = ("activation", "ad_interaction", "crash", "push_interaction", "session")
SUBJECTLESS = {name for name, purpose in PACK.purposes.items() if not purpose.subject}
GRANTS = [
    entry("grant", NOW - 1, number=number, subject={"type": type_, "value": value})
    for number, (type_, value) in enumerate((("device", ANDROID_ID), ("account", EXAMPLES["account_id"])))
]


@pytest.fixture(scope="module")
def explain(tmp_path_factory):
    """Explains an event of `eu`, whose device and account granted all there is."""
    explainer = Explainer(Editions((PACK,)), keystores(tmp_path_factory.mktemp("keys"), {PACK.where.code("eu"): "eu"}))
    ledger = decode_ledger(ndjson(*GRANTS))
    return lambda event: explainer.explain(explainer.read(ndjson(event)), ledger)


def opened(told):
    return {each.purpose for each in told.purposes if each.outcome == "open"}


def held(told):
    """The paths of which something is stored."""
    return {each.path for each in told.fields if any(dataset.stored is not None for dataset in each.datasets)}


@pytest.fixture(scope="module")
def sound(explain):
    """Of an event of each type in which nothing is wrong."""
    found = {event_type: explain(full_event(event_type)) for event_type in TYPES}
    assert SUBJECTLESS and set().union(*map(opened, found.values())) > {
        "research",
        "support",
        "activation",
        "personalised_ads",
    }
    return found


@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    "fault",
    [
        {"device__android_id": "not hexadecimal"},
        {"device__android_id": ANDROID_ID[:-1]},
        {"device__android_id": "9774d56d682e549c"},
        {"device__android_id": ""},
        {"device__android_id": None},  # and identifiers of the device beside it
        {"account_id": "with a space"},
        {"account_id": ""},
    ],
    ids=str,
)
def test_with_an_invalid_subject_nothing_opens_that_needs_any(explain, sound, fault):
    for event_type in ("activation", "crash", "session"):
        told = explain(full_event(event_type, **fault))
        assert opened(told) == opened(sound[event_type]) & SUBJECTLESS
        kept = {EVENT_FIELD[path] for path in held(told)}
        assert not {field.path for field in kept if field.handling in (Handling.IDENTIFIER, Handling.ADDRESS)} - {
            "event_id"
        }
        assert not {field.path for field in kept if field.handling is Handling.TEXT}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("device.imei", "490154203237519"),
        ("device.imsi", "001010123456789"),
        ("device.mac", "ff:ff:ff:ff:ff:ff"),
        ("device.oaid", "7d3f1c52"),
        ("device.gaid", "{38400000-8cf0-11bd-b23e-10b96e40000d}"),
        ("device.fcm_token", "short"),
        ("device.space_id", "two words"),
        ("device.serial", "?"),
        ("device.meid", "99000012345678"),
        ("ip", "300.1.1.1"),
    ],
)
def test_a_malformed_identifier_is_rejected_alone(explain, sound, path, value):
    for event_type in ("activation", "ad_interaction", "push_interaction"):
        told = explain(full_event(event_type, **{path.replace(".", "__"): value}))
        assert opened(told) == opened(sound[event_type])
        assert held(told) == held(sound[event_type]) - {path}
        (fate,) = [each.outcome for each in told.fields if each.path == path]
        (before,) = [each.outcome for each in sound[event_type].fields if each.path == path]
        assert fate == ("left behind" if before == "left behind" else "malformed")


@pytest.mark.clause("2-adcookie")
@pytest.mark.parametrize("zeros", [ZEROED, ZEROED.replace("-", ""), f"{{{ZEROED}}}", f" {ZEROED}", "0", ""])
@pytest.mark.parametrize("path", ["gaid", "oaid"])
def test_a_zeroed_advertising_id_closes_advertising_for_its_record_although_it_is_granted(explain, sound, path, zeros):
    for event_type in ("ad_interaction", "crash"):
        told = explain(full_event(event_type, **{f"device__{path}": zeros}))
        assert opened(told) == opened(sound[event_type]) - {"personalised_ads"}
        ads = [each.outcome for each in told.purposes if each.purpose == "personalised_ads"]
        assert ads == (["opted_out"] if "personalised_ads" in opened(sound[event_type]) else ads)


@pytest.mark.parametrize("path", ["vaid", "aaid"])
def test_other_identifiers_of_zeros_say_nothing_of_advertising(explain, sound, path):
    told = explain(full_event("ad_interaction", **{f"device__{path}": ZEROED}))
    assert opened(told) == opened(sound["ad_interaction"])

"""The table of recognisers: what each finds and leaves, and that a hint misses nothing that its pattern finds."""

import re
from random import Random

import pyarrow as pa
import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from schemas.clauses import clauses
from schemas.recogniser import (
    BEYOND_ASCII,
    LOOSELY,
    NOTHING,
    PRINTED,
    SENTENCE,
    Recogniser,
    named_shape,
    named_text,
    whole_words,
)
from schemas.recognisers import LABEL_RECOGNISERS, RECOGNISERS
from schemas.recognisers_numbers import NATIONAL_FORMS, form_pattern
from tests.strategies import few
from transforms.scrub import Scrubber
from transforms.validators import VALIDATORS

SCRUBBER = Scrubber()
ALL = {(recogniser.name, recogniser.pattern): recogniser for recogniser in RECOGNISERS + LABEL_RECOGNISERS}.values()
each_recogniser = pytest.mark.parametrize("recogniser", ALL, ids=lambda recogniser: recogniser.name)
each_example = pytest.mark.parametrize(
    ("recogniser", "example"), [(each, example) for each in RECOGNISERS for example in each.examples]
)


def scrub(*texts, scrubber=SCRUBBER):
    scrubbed, hits = scrubber.scrub(pa.array(texts, pa.string()))
    return scrubbed.to_pylist(), hits


@pytest.mark.clause("1.1.2-log")
@each_example
def test_an_example_is_found_by_its_recogniser_alone(recogniser, example):
    (scrubbed,), hits = scrub(example)
    assert hits == {recogniser.name: scrubbed.count(f"<{recogniser.tag}>")}


def test_counter_examples_are_left_by_all():
    texts = sorted({example for each in RECOGNISERS for example in each.counter_examples})
    assert scrub(*texts) == (texts, {})


@each_recogniser
def test_a_recogniser_alone_finds_its_examples_and_leaves_its_counter_examples(recogniser):
    alone = Scrubber((recogniser,))
    assert all(hits for _, hits in (scrub(example, scrubber=alone) for example in recogniser.examples))
    assert scrub(*recogniser.counter_examples, scrubber=alone) == (list(recogniser.counter_examples), {})


def test_names_are_unique_and_what_they_refer_to_exists():
    for table in (RECOGNISERS, LABEL_RECOGNISERS):
        for recogniser in table:
            assert recogniser.replacement.count(f"<{recogniser.tag}>") == 1
            assert recogniser.clause in clauses()
            assert recogniser.validator is None or recogniser.validator in VALIDATORS
            assert recogniser.examples and recogniser.counter_examples
    assert len({recogniser.name for recogniser in RECOGNISERS}) == len(RECOGNISERS)
    assert set(VALIDATORS) == {each.validator for each in RECOGNISERS} - {None}


@each_recogniser
def test_all_patterns_are_of_re2(recogniser):
    for pattern in (recogniser.pattern, recogniser.hint, recogniser.accept or "", recogniser.refuse or ""):
        re2.compile(pattern)


def python_pattern(pattern: str) -> re.Pattern:
    """The same pattern for Python, which draws texts by it; of the signs beyond ASCII, two."""
    return re.compile(pattern.replace(BEYOND_ASCII, "é词"), re.ASCII)


@each_recogniser
@few
@given(st.data())
def test_a_hint_occurs_wherever_a_recogniser_finds_something(recogniser, data):
    drawn = data.draw(st.from_regex(python_pattern(recogniser.accept or recogniser.pattern)))
    text = drawn.encode(errors="replace").decode()
    if any(passes(recogniser, found[0]) for found in re2.finditer(recogniser.pattern, text)):
        assert re2.search(recogniser.hint, text)


def passes(recogniser: Recogniser, candidate: str) -> bool:
    if recogniser.refuse and re2.fullmatch(recogniser.refuse, candidate):
        return False
    if recogniser.accept and not re2.fullmatch(recogniser.accept, candidate):
        return False
    return not recogniser.validator or bool(VALIDATORS[recogniser.validator](pa.array([candidate]))[0])


@given(st.text("0123456789Aa", max_size=12))
def test_a_form_is_what_its_signs_say(text):
    for form in NATIONAL_FORMS:
        signs = {"9": "0123456789", "A": "Aa", "*": "0123456789Aa"}
        fits = len(text) == len(form) and all(
            sign in signs.get(expected, expected) for sign, expected in zip(text, form, strict=True)
        )
        assert bool(re.fullmatch(form_pattern(form), text)) == fits


# How a key and a value are written together: {key} and {value} stand for them.
WRITTEN = [
    "{key}={value}",
    "{key}: {value}",
    "{key} = {value}, next=1",
    "x {key}:={value}",
    "{key} => {value}",
    "{key} -> {value}",
    "{key}={{{value}}}",
    "({key}={value})",
    "[{key}]: [{value}]",
    "[ro.{key}]: [{value}]",
    '{{"{key}":"{value}"}}',
    '{{"{key}" : "{value}","n":1}}',
    "{{'{key}': '{value}'}}",
    "{{'{key}': b'{value}'}}",
    r"{{\"{key}\":\"{value}\"}}",
    r"\\\"{key}\\\":\\\"{value}\\\"",
    "&quot;{key}&quot;:&quot;{value}&quot;",
    "%22{key}%22%3A%22{value}%22",
    "{key}%3D{value}",
    "{key}：{value}",
    "my_{key}_value={value}",
    "device.{key}={value}",
    "<user.{key}>{value}</user.{key}>",
    '<string name="{key}">{value}</string>',
    '<item name="{key}" value="{value}" />',
    "{key}[0]={value}",
    "{key}1={value}",
]
KEYS = ["imei", "IMEI", "deviceImei", "serial_no", "android-id", "androidId", "ANDROID_ID", "android.id", "api_key"]
KEYS += ["apiKey", "refreshToken", "X-CSRF-Token", "client_secret", "password", "userPassword", "PWD", "bssid"]
VALUES = {"bssid": "02005e105f00"}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_names_its_value_however_they_are_written(key):
    value = VALUES.get(key, "4f9A01c27d3e")
    texts = [written.format(key=key, value=value) for written in WRITTEN]
    scrubbed, _ = scrub(*texts)
    assert [text for text in scrubbed if value in text] == []
    heads = [text.partition(value)[0] for text in texts]
    assert [text[: len(head)] for text, head in zip(scrubbed, heads, strict=True)] == heads


EMPTY = ["null", "None", "true", "-1", "0", "<redacted>", "***", '""', "%s", "${token}", "N/A"]


@pytest.mark.parametrize("key", KEYS)
def test_a_value_that_tells_nothing_stays(key):
    forms = ("{key}={value}", "{key}: {value}", '"{key}":{value},', "{key}={value}, n=1", "[{key}={value}]")
    texts = [form.format(key=key, value=value) for form in forms for value in EMPTY]
    assert scrub(*texts) == (texts, {})


@pytest.mark.parametrize(
    "text",
    [
        "token: Token{1f3a ActivityRecord{2b u0 com.example/.Main}}",
        "session=CameraCaptureSession@1f3a9c",
        "auth: SIMPLE, session: STATE_IDLE, credential: FillCredential(1)",
        "user: com.example.app.UserService.start:1611, user={id: 12}",
        "account=UserAccount[3]",
        "session: Session::open(0x12)",
        "sid=u:r:untrusted_app:s0:c123,c256",
        "<bsn></bsn><password></password><token/><imei></imei>",
        "getDeviceId: imei=null",
    ],
)
def test_what_a_program_prints_of_itself_stays(text):
    assert scrub(text) == ([text], {})


def test_words_of_a_sentence_behind_a_colon_stay_and_are_a_value_behind_a_sign():
    assert scrub("session: closing", "token: expired") == (["session: closing", "token: expired"], {})
    assert scrub("session=closing") == (["session=<SECRET>"], {"secret": 1})


@pytest.mark.parametrize("pattern", [NOTHING, SENTENCE])
def test_words_that_tell_nothing_are_whole_words(pattern):
    assert not re2.fullmatch(pattern, "nullable1") and not re2.fullmatch(pattern, "hunter2")


def test_a_short_key_is_a_word_of_its_own():
    key = re2.compile(whole_words("mac|sid"))
    assert all(key.search(text) for text in ("mac", "wifi_mac", "wifiMac", "MAC", "x-sid"))
    assert not any(key.search(text) for text in ("machine"[1:], "tmac", "inside", "besides"))


# Other words around the one that names the value, and signs or capitals between them.
NAMED = {
    "national_id": ("123456782", ["client_bsn", "bsnNummer", "patient.bsn.value", "BSN-nr", "bsn_2", "hashedBsnOld"]),
    "device_id": ("262019876543210", ["imsi_1", "simImsi", "imsi_sub0", "sub.imsi.raw", "IMSI-nr", "imsiOfSlot"]),
    "passport": ("AB1234567", ["passportNumber", "passport_no", "traveller_passport_nr", "PASSPORT-NUMBER"]),
}


@pytest.mark.parametrize("named", NAMED)
def test_a_word_names_a_value_wherever_it_stands_in_a_key(named):
    value, keys = NAMED[named]
    texts = [written.format(key=key, value=value) for written in WRITTEN for key in keys]
    assert [text for text in scrub(*texts)[0] if value in text] == []


def test_what_a_key_measures_is_no_value():
    texts = [f"bsn{what}=1700000000" for what in ("_checked_at", "CheckedAt", "_count", "Length", "_time", "Timestamp")]
    assert scrub(*texts) == (texts, {})


def recognised(recogniser: Recogniser, text: str) -> str:
    return scrub(text, scrubber=Scrubber((recogniser,)))[0][0]


def test_a_named_shape_leaves_other_shapes_and_what_follows():
    common = {"name": "n", "clause": "1.1.1", "examples": ("",), "counter_examples": ("",)}
    shape = named_shape(keys="key", tag="T", start="[0-9]", shape="[0-9]{4}", loosely=LOOSELY, **common)
    assert (
        recognised(shape, 'key=1234, key "1234", key is 1234, key: abc') == 'key=<T>, key "<T>", key is <T>, key: abc'
    )
    text = named_text(keys="key", tag="T", refuse=rf"keep|{PRINTED}", **common)
    assert recognised(text, "key=keep key=null key=gone key='a b' key=Some{x}") == (
        "key=keep key=null key=<T> key='<T>' key=Some{x}"
    )


LABELS = [
    "Redmi Note 12 Pro 5G",
    "SM-G991B/DS",
    "2201117TG",
    "V14.0.3.0.TKBEUXM",
    "TKQ1.221114.001",
    "8.20.1.0",
    "1.2.3",
]
LABELS += [
    "com.example.app",
    "23.45.23 (190400-580326705)",
    "user",
    "Mi 11",
    "RMX3370_11_A.12",
    "Pixel 7 Pro",
    "4.19.157",
]
LABELS += ["HUAWEI P30 lite", "arm64-v8a", "CPH2415 13.1.0.501(EX01)", "moto g(60)", "14 (API 34)", "20230707-1234"]


def test_models_and_versions_stay_as_labels():
    assert scrub(*LABELS, scrubber=Scrubber(LABEL_RECOGNISERS)) == (LABELS, {})


def test_numbers_that_are_alone_count_and_those_in_a_row_do_not():
    rng = Random(5)
    rows = [" ".join(str(rng.randrange(10 ** rng.randrange(1, 7))) for _ in range(9)) for _ in range(400)]
    scrubbed, _ = scrub(*rows)
    assert sum(map(str.__ne__, rows, scrubbed)) <= 4

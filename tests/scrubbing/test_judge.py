"""The judge: it sees every value that is left, in every disguise, and every word that is lost."""

from functools import cache

import pytest

from tests.scrubbing.disguises import DISGUISES
from tests.scrubbing.judge import lines_lost, remains, undone
from tests.scrubbing.measure import Sizes, with_values
from tests.scrubbing.texts import Labelled, Part, Role, clean, words

KEPT, COARSE, SECRET = Role.KEPT, Role.COARSE, Role.SECRET


@cache
def cases():
    return with_values(7, Sizes(labelled=4, plain=2, disguised=2))


def case(before: str, secret: str, after: str = "", plain: str = "") -> Labelled:
    return Labelled((Part(KEPT, before), Part(SECRET, secret), Part(KEPT, after)), (plain or secret,))


def test_who_scrubs_nothing_finds_nothing():
    seen = [each for each in cases() if not remains(each.text, each.text.text)]
    assert [(each.kind, each.how, each.text) for each in seen] == []


def test_who_takes_the_values_and_nothing_else_finds_all_and_loses_nothing():
    left = [each for each in cases() if remains(each.text, each.text.only(KEPT, COARSE))]
    lost = [each for each in cases() if lines_lost(each.text, each.text.only(KEPT))]
    assert [(each.kind, each.how, each.text) for each in left + lost] == []


def test_who_takes_everything_loses_every_line_that_has_a_word():
    assert all(lines_lost(each.text, "<REMOVED>") for each in cases() if words(each.text.only(KEPT)))


@pytest.mark.parametrize(
    ("scrubbed", "left"),
    [
        ("imei=490154203237518 read", True),
        ("imei=<IMEI> read", False),
        ("imei=<IMEI>37518 read", False),
        ("imei=<IMEI>237518 read", True),
        ("imei=4901<IMEI> read", False),
        ("imei=490-15.4<IMEI> read", True),
        ("imei=４９０１５４<IMEI> read", True),
        ("imei=\u0664\u0669\u0660\u0661\u0665\u0664 read", True),
        ("imei=49\u200b01\u00ad54 read", True),
        ("imei=%34%39%30%31%35%34 read", True),
        ("imei=%2534%2539%2530154 read", True),
        (r"imei=\u0034\x390154 read", True),
        ("imei=&#52;&#x39;0154 read", True),
        ("imei=NDkwMTU0MjAzMjM3NTE4 read", True),
        ("imei=4901\n54<IMEI> read", True),
        ("imei=490<IMEI>154 read", False),
    ],
)
def test_a_value_is_gone_when_no_six_characters_of_it_can_be_read(scrubbed, left):
    assert remains(case("imei=", "490154203237518", " read"), scrubbed) is left


def test_a_short_value_has_to_go_whole():
    assert remains(case("user ", "bob", " left"), "user bob left")
    assert not remains(case("user ", "bob", " left"), "user b left")


def test_what_the_text_around_says_as_well_tells_nothing_of_the_value():
    mail = case("at example.org: ", "jo.visser@example.org", " unknown")
    assert not remains(mail, "at example.org: <EMAIL> unknown")
    assert remains(mail, "at example.org: jo.visser@<HOST> unknown")


def test_base64_of_a_value_has_to_go_as_well():
    hidden = Labelled((Part(KEPT, "imei="), Part(SECRET, "NDkwMTU0")), ("490154", "NDkwMTU0"))
    assert remains(hidden, "imei=NDkwMTU0") and not remains(hidden, "imei=<IMEI>")


@pytest.mark.parametrize("name", [name for name in DISGUISES if name not in ("base64", "base64url")])
def test_every_disguise_hides_something_and_can_be_undone(name):
    mine = [each.text for each in cases() if each.how == name]
    assert mine and all(undone(text.secrets[0]) in undone(text.only(SECRET)) for text in mine if len(text.secrets) == 1)
    assert any(text.secrets[0] not in text.text for text in mine)


@pytest.mark.parametrize(
    ("scrubbed", "lost"),
    [
        ("10-17 W Sync: gave up\n\tat a.B.c(B.kt:12)", []),
        ("<TIME> W Sync: gave up\n\tat a.B.c(B.kt:12)", []),
        ("<TIME> W <USER>: gave up\n\tat a.B.c(B.kt:12)", [0]),
        ("10-17 W Sync: gave up\n\tat a.B.c(B.kt:<PORT>)", [1]),
        ("10-17 W up gave Sync\n\tat a.B.c(B.kt:12)", [0]),
        ("10-17 W Sync: gave\n\tat a.B.c(B.kt)", [0, 1]),
        ("10-17 W Sync: gave up at a.B.c(B.kt:12)", []),
        ("10-17 W Sync: gave up at a.B.c(B.kt)", [1]),
        ("<REMOVED>", [0, 1]),
    ],
)
def test_a_line_is_lost_with_any_of_its_words(scrubbed, lost):
    assert lines_lost(clean("‹10-17› W Sync: gave up\n\tat a.B.c(B.kt:12)"), scrubbed) == lost


def test_what_stands_in_the_place_of_a_value_may_go_from_a_clean_text():
    assert clean("imei=«imei|null» slot=‹0›").text == "imei=null slot=0"
    assert lines_lost(clean("imei=«imei|null» slot=‹0›"), "imei=<IMEI> slot=<N>") == []

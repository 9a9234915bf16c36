"""Values that are disguised, or broken by the end of a line: what is left of the text is all but the value."""

import pyarrow as pa
import pytest

from transforms.scrub import Scrubber

SCRUBBER = Scrubber()

# (text, what is left of it)
DISGUISED = [
    (r"user (Some One <o\x27neil\x40example\x2ecom>) left", "user (Some One <<EMAIL>>) left"),
    (r"mailto:\u0022ada\u0020l\u0022\u0040example\u002eorg bounced", "mailto:<EMAIL> bounced"),
    ("sync of ＂ａｄａ ｌ＂＠ｅｘａｍｐｌｅ．ｏｒｇ failed", "sync of <EMAIL> failed"),
    ("to &#1072;&#1076;&#1072;&#64;&#252;ber&#46;example now", "to <EMAIL> now"),
    ("E-Mail=0L/QvtGH0YLQsEBtYWlsLnJ1", "E-Mail=<EMAIL>"),
    ("<userEmail>YWRhQGV4YW1wbGUub3Jn</userEmail>", "<userEmail><EMAIL></userEmail>"),
    ("fix 52.379189%2C%204.899431 at noon", "fix <LOCATION> at noon"),
    (r"fix \u002d33\u002e379189\u002c\u0020\u002d70\u002e899431 at noon", "fix <LOCATION> at noon"),
    ("geo:-19.751412%2C79.815712 not handled", "geo:<LOCATION> not handled"),
    ("LinkAddresses: [ ۱۹۲.۱۶۸.۱۰۰.۲۲۰/24 ]", "LinkAddresses: [ <IP>/24 ]"),
    (r"called \u002B31\u002020\u0020794\u00200800 twice", "called <PHONE> twice"),
    (
        "verify(eyJhbGciOiJIUzI1NiIs\u200dInR5cCI6IkpXVCJ9.eyJzdWIiOiI5MDUzIn0.QAE8aSmNa5Th1\u2060wDkQsnuo) failed",
        "verify(<SECRET>) failed",
    ),
]

# What has digits and signs in it, on a line that has a disguise in it as well.
CLEAN = [
    "10-17 09:31:07.801 24499 24499 F DEBUG   : 'google/panther/panther:14/UP1A.231105.003/11010452:user'",
    "buffered to /var/cache/nginx/proxy_temp/7/01/0000000017 while reading upstream",
    r"{\u0022state\u0022: \u0022open\u0022, \u0022tries\u0022: 3}",
]


def scrub(text: str) -> str:
    return SCRUBBER.scrub(pa.array([text]))[0].to_pylist()[0]


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize(("text", "left"), DISGUISED)
def test_a_disguised_value_goes_and_the_text_around_it_stays(text, left):
    assert scrub(text) == left


@pytest.mark.parametrize("text", CLEAN)
def test_a_clean_text_keeps_its_signs(text):
    assert scrub(text) == text

"""Values that are disguised, or broken by the end of a line: what is left of the text is all but the value."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.disguises import undisguised
from transforms.scrub import Scrubber

SCRUBBER = Scrubber()

# (text, what is left of it)
DISGUISED = [
    (r"user (Some One <o\x27neil\x40example\x2ecom>) left", "user (<USER> <<EMAIL>>) left"),
    (r"mailto:\u0022ada\u0020l\u0022\u0040example\u002eorg bounced", "mailto:<EMAIL> bounced"),
    ("sync of ＂ａｄａ ｌ＂＠ｅｘａｍｐｌｅ．ｏｒｇ failed", "sync of <EMAIL> failed"),
    ("to &#1072;&#1076;&#1072;&#64;&#252;ber&#46;example now", "to <EMAIL> now"),
    ("E-Mail=0L/QvtGH0YLQsEBtYWlsLnJ1", "E-Mail=<EMAIL>"),
    ("<userEmail>YWRhQGV4YW1wbGUub3Jn</userEmail>", "<userEmail><EMAIL></userEmail>"),
    ("fix 52.379189%2C%204.899431 at noon", "fix <LOCATION> at noon"),
    (r"fix \u002d33\u002e379189\u002c\u0020\u002d70\u002e899431 at noon", "fix <LOCATION> at noon"),
    ("geo:-19.751412%2C79.815712 not handled", "geo:<LOCATION> not handled"),
    ("LinkAddresses: [ ۱۹۲.۱۶۸.۱۰۰.۲۲۰/24 ]", "LinkAddresses: [ <IP>/24 ]"),
    ("<btName>Ada&#39;s&#32;Buds</btName>", "<btName><NAME></btName>"),
    ("SSID: Thuis&#x2d;5G, rssi: -61", "SSID: <SSID>, rssi: -61"),
    ("account %2522ada%2520l%2522%2540example.org unknown", "account <EMAIL> unknown"),
    ("mail_to=ada%2540%25D1%2581%25D1%2582%25D1%2583.%25D1%2580%25D1%2584 bounced", "mail_to=<EMAIL> bounced"),
    ("to ＋３１ （２０） ７９４０８００ now", "to <PHONE> now"),
    ('{\\"email\\":\\"0L/QvtGH0YLQsEBtYWlsLnJ1\\"}', '{\\"email\\":\\"<EMAIL>\\"}'),
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

# (text, what is left of it): of the second line all but its part of the value
WRAPPED = [
    (
        "sync of ada\\\n.l@example.org/com.android.contacts took 812 ms",
        "sync of <EMAIL>\n/com.android.contacts took 812 ms",
    ),
    ("GET /v2/notes/C470E427-5127-436E-A97\\\n3-0FA78A42F610 404", "GET /v2/notes/<UUID>\n 404"),
    ('{"mac":"2E-22-07-0B\n    -C0-F0","n":1}', '{"mac":"<MAC>\n    ","n":1}'),
    (
        "authenticate with C7:A9:AB:F9:38\n10-17 09:31:07.123 24313 24377 D Sync    : :DA (try 1/3)",
        "authenticate with <MAC>\n10-17 09:31:07.123 24313 24377 D Sync    : (try 1/3)",
    ),
    ("http://192.\\\n0.2.17:8080/status refused", "http://<IP>\n:8080/status refused"),
    ("slack: xoxp-1234567890\n\t34-663896766900-UQoT1OuOJUv6 invalid_auth", "slack: <SECRET>\n\tinvalid_auth"),
    ("DNS server fe80::e0c\n    9:6f37:cd67:d36e%wlan0 is down", "DNS server <IP>\n    is down"),
    ("oauth refused AIza4dQmCBMwdD5RHo38HyYLZZxbDcPwl\nOSeGdb now", "oauth refused <SECRET>\nnow"),
    ("AccessKeyId: AKIAC5HRXGKZVT=\nMJRMPO rotated", "AccessKeyId: <SECRET>\nrotated"),
    (
        "-----BEGIN PRIVATE KEY-----\nV6iXmYieRNDHFywSKqf2rAZSMuGb7PMr4qRImYoLlPPW6volHD4SxhoiI8a/Vs6M\nMUvEeBjz",
        "-----BEGIN PRIVATE KEY-----\n<SECRET>\n",
    ),
    ("level 4096\nfrom=2a02:a44:cd23\n  :e726:f387:1a8b:e0d5:a80c up", "level 4096\nfrom=<IP>\n  up"),
    ("card 4111 1111 \n1111 1111 declined", "card <CARD>\ndeclined"),
    ("kyc for 2341 =\n2341 2346 rejected", "kyc for <NATIONAL_ID>\nrejected"),
    ("holder 2341-2\\\n341-2346 moved", "holder <NATIONAL_ID>\nmoved"),
    ("cliente RSS M\\\nRA 85T10 A562S sconosciuto", "cliente <NATIONAL_ID>\nsconosciuto"),
    (
        "cliente RSSMRA85\n10-17 09:31:07.123 24313 24377 D Sync    : T10A562S nuovo",
        "cliente <NATIONAL_ID>\n10-17 09:31:07.123 24313 24377 D Sync    : nuovo",
    ),
    ("refund to NL91 ABN\n\tA 0417 1643 00 is late", "refund to <IBAN>\n\tis late"),
    ("bankAccount='NL91 \n    ABNA 0417 1643 00' n=4", "bankAccount='<IBAN>\n    ' n=4"),
    ("associated with 0200.5e10.\n    00af as ap", "associated with <MAC>\n    as ap"),
    ("dhcp: lease for EE-AF-\n55-30-E4-A8 expires", "dhcp: lease for <MAC>\nexpires"),
    ("sms to +31\n (0)20 794 0800 not sent", "sms to <PHONE>\n not sent"),
    ("mail for ada@über-\nmut.example bounced", "mail for <EMAIL>\nbounced"),
    ("userEmail=ada@post.\n    example.museum n=4", "userEmail=<EMAIL>\n    n=4"),
    ("prefix from 2001:db8:=\ne58f:369c:: lost", "prefix from <IP>\nlost"),
    (
        "jwt: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P\niVDyH0) refused",
        "jwt: <SECRET>\n) refused",
    ),
    (
        f"push to 7kRl-SOSzPTBa79c3In2Gj:APA\n    91b{'tPPupvRftBzQrE08yRLSxn' * 6}_x failed",
        "push to <TOKEN>\n    failed",
    ),
    ("Maps key AIzaJuozNltE=\nI8_vH_Stc28zdMVz2ppv0MVLffx refused", "Maps key <SECRET>\nrefused"),
    ("clone with ghp_wE=\nRnlqODAhBdZMsEU2TOmTljQ6U40O8vMgP6 now", "clone with <SECRET>\nnow"),
]

ENDS = (
    "no account for ada@example.org",
    "no account for ada@example.org.",
    "imei=490154203237518",
    "token=dGVzdDEyMzQ1Ng==",
)
ENDS += ("getDeviceId: imei=null", "mutexes=", "last account: none")
ENDS += ("from 192.0.2.17", "bssid 00:00:5e:00:53:af", "id 123e4567-e89b-12d3-a456-426614174000", "password: hunter2!")
NEXT = (
    "\tat com.example.notes.Main.run(Main.java:31)",
    "Caused by: java.io.IOException: 5 more",
    "10-17 09:31:24.640   901   951 W AudioTrack: restartIfDisabled(112): releaseBuffer() disabled",
    "10-17 09:31:19.224 24313 24377 D OkHttp  : content-type: application/json; charset=utf-8",
    "  generated_by: notes 7",
    "state=3 retry=2",
    "[ 3211.001355] Call trace:",
    "#00 pc 00000000000aee48  /system/lib64/libc.so",
    "FATAL signal 11 (SIGSEGV)",
    "http2 stream 17 was closed",
    "2026-10-17 was the last day",
    "/system/bin/app_process64 exited",
    "com.example.notes.Sync2 is late",
    "uploadState: 17",
    "7 of 9 done",
    "x0  0000000000000000  x1  0000007fd5a0a2c8",
    "--> POST https://api.example.com/v2/notes",
    "E/AndroidRuntime(24313): FATAL EXCEPTION: main",
    "*** *** ***",
)


def scrub(text: str) -> str:
    return SCRUBBER.scrub(pa.array([text]))[0].to_pylist()[0]


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize(("text", "left"), DISGUISED)
def test_a_disguised_value_goes_and_the_text_around_it_stays(text, left):
    assert scrub(text) == left


@pytest.mark.parametrize("text", CLEAN)
def test_a_clean_text_keeps_its_signs(text):
    assert scrub(text) == text


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize(("text", "left"), WRAPPED)
def test_a_value_that_goes_over_the_end_of_a_line_goes_alone(text, left):
    assert scrub(text) == left


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("behind", NEXT)
def test_a_value_at_the_end_of_its_line_leaves_the_next_line_alone(end, behind):
    assert scrub(f"{end}\n{behind}").split("\n")[1] == behind


ROWS = [
    "panther:14/UP1A.231105.003/11010452:user \u200b",
    "49 01 54 20 32 37 51 8",
    r"niss\\n85073003328 x\\\/y",
    "IMEI=NDkwMTU0MjAzMjM3NTE4",
    "a [at] b",
    "plain",
]


@given(st.lists(st.sampled_from(ROWS), max_size=9))
def test_a_row_is_undisguised_as_if_it_stood_alone(rows):
    alone = [undisguised(pa.array([row]))[0].as_py() for row in rows]
    assert undisguised(pa.array(rows, pa.string())).to_pylist() == alone


def test_a_sign_that_is_escaped_twice_is_bare_in_few_rows_as_in_many():
    row = r"niss\\n85073003328"
    assert undisguised(pa.array([row])).to_pylist() == ["niss 85073003328"]
    assert undisguised(pa.array([row] * 500)).to_pylist() == ["niss 85073003328"] * 500

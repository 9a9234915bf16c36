"""Values as they are written by accident or on purpose so that a simple pattern does not know them.

Each disguise is a function of a value as it is written; it may use ‹ and › as the corpora do.
"""

import base64
import re
from collections.abc import Callable
from random import Random
from urllib.parse import quote

from tests.scrubbing.people import PEOPLE

Disguise = Callable[[Random, str], str]

_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
CONTINUED = "D Sync    : "  # ends what a log puts before each line
_WRAPS = ("\n", "\\\n", "=\n", "\n    ", "\n\t", f"\n‹10-17 09:31:07.123 24313 24377 {CONTINUED}›")


def _digits_from(zero: str) -> Disguise:
    table = {ord("0") + value: ord(zero) + value for value in range(10)}
    return lambda _, value: value.translate(table)


def separators(rng: Random, value: str) -> str:
    """Groups of two to five digits; what tells a number of another country from one of one's own stays before them."""
    head, sign = value[: value.find("+") + 1], rng.choice("- .")
    plain = re.sub(r"\D", "", value)
    groups = []
    while plain:
        size = rng.randint(2, 5)
        groups.append(plain[:size])
        plain = plain[size:]
    return head + sign.join(groups)


def full_width(_: Random, value: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in value)


def zero_width(rng: Random, value: str) -> str:
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(1, len(value) - 1)
        value = value[:place] + rng.choice(_ZERO_WIDTH) + value[place:]
    return value


def percent(rng: Random, value: str) -> str:
    """All that a URL has to escape, or each byte."""
    escaped = quote(value, safe="")
    if escaped == value or rng.random() < 0.5:
        escaped = "".join(f"%{byte:02{rng.choice('xX')}}" for byte in value.encode())
    return escaped


def percent_twice(rng: Random, value: str) -> str:
    return percent(rng, value).replace("%", "%25")


def _escaped(rng: Random, value: str, escape: Callable[[int], str]) -> str:
    """What is neither letter nor digit, or each character."""
    every = rng.random() < 0.5 or value.isalnum()
    return "".join(escape(ord(character)) if every or not character.isalnum() else character for character in value)


def unicode_escape(rng: Random, value: str) -> str:
    return _escaped(rng, value, rng.choice((r"\u{:04x}", r"\u{:04X}")).format)


def hex_escape(rng: Random, value: str) -> str:
    return _escaped(rng, value, lambda code: rf"\x{code:02x}" if code < 256 else rf"\u{code:04x}")


def html_escape(rng: Random, value: str) -> str:
    return _escaped(rng, value, rng.choice(("&#{:d};", "&#x{:x};")).format)


def in_base64(_: Random, value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def in_base64url(_: Random, value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).rstrip(b"=").decode()


def other_case(rng: Random, value: str) -> str:
    return rng.choice((value.upper, value.lower, value.swapcase))()


def wrapped(rng: Random, value: str) -> str:
    place = rng.randint(3, len(value) - 3)
    return value[:place] + rng.choice(_WRAPS) + value[place:]


_LETTERED = {"it_codice_fiscale", "es_dni", "es_nie", "ie_pps", "fi_hetu"}
_NUMBERS = {"phone", "imei", "imeisv", "imsi", "iccid", "card", *PEOPLE} - _LETTERED
_SHAPES = {"email", "mac", "ipv4", "ipv6", "uuid", "iban", *_LETTERED}
_WITHOUT_KEY = {"ipv4", "ipv6"}
_HEX = {"meid", "android_id", "long_hex"}
_OPAQUE = {"jwt", "fcm_token", "gcp", "github", "slack", "aws"}
_ESCAPED = _NUMBERS | _SHAPES | _HEX | {"ssid", "bluetooth_name", "passport", "secret", "serial", "coordinates"}

# disguise: (how, the kinds that it is for)
DISGUISES: dict[str, tuple[Disguise, set[str]]] = {
    "separators": (separators, _NUMBERS - {"cn_id"}),  # its last place may be a letter
    "full width": (full_width, _NUMBERS | _SHAPES | _HEX),
    "Arabic digits": (_digits_from("\u0660"), _NUMBERS | {"ipv4"}),
    "Persian digits": (_digits_from("\u06f0"), _NUMBERS | {"ipv4"}),
    "Devanagari digits": (_digits_from("\u0966"), _NUMBERS | {"ipv4"}),
    "zero-width characters": (zero_width, _NUMBERS | _SHAPES | _HEX | _OPAQUE),
    "percent escapes": (percent, _ESCAPED),
    "percent escapes, twice": (percent_twice, _ESCAPED),
    r"\u escapes": (unicode_escape, _ESCAPED),
    r"\x escapes": (hex_escape, _ESCAPED),
    "HTML escapes": (html_escape, _ESCAPED),
    "base64": (in_base64, (_NUMBERS | _SHAPES | _HEX) - _WITHOUT_KEY),
    "base64url": (in_base64url, (_NUMBERS | _SHAPES | _HEX) - _WITHOUT_KEY),
    "other case": (other_case, {"email", "mac", "ipv6", "uuid", "iban", "it_codice_fiscale", "es_dni", *_HEX}),
    "wrapped line": (wrapped, _NUMBERS | _SHAPES | _HEX | _OPAQUE),
}


def disguised(rng: Random, value: str, disguise: str) -> str:
    """The value as the disguise has it; what stands between ‹ and › is left as it is."""
    how, _ = DISGUISES[disguise]
    parts = re.split(r"(‹[^›]*›)", value)
    return "".join(part if place % 2 or not part else how(rng, part) for place, part in enumerate(parts))


def needs_key(kind: str, disguise: str | None) -> bool:
    """Whether the disguised value says nothing without its key: a person's number has one punctuated form, no other."""
    return disguise in ("base64", "base64url") or (disguise == "separators" and kind in PEOPLE)

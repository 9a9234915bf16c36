"""What is left of a value, and what was lost of a text. Neither knows anything of how the scrubber works."""

import base64
import binascii
import html
import re
import unicodedata
from urllib.parse import unquote

from tests.scrubbing.disguises import CONTINUED
from tests.scrubbing.texts import TAG, Labelled, Role, words

LONGEST_REST = 5  # characters of a value that may be left in a row

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_CONTINUED = re.compile(f"\n.*{CONTINUED}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_FOLDED = re.compile(r"[\W_]+")


def undone(text: str) -> str:
    """The text without its disguises: small letters and ASCII digits alone, in a row."""
    text = _CONTINUED.sub("", text)
    for _ in range(2):
        text = html.unescape(unquote(_ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)))
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in text if c.isprintable())
    return _FOLDED.sub("", text)


def _decoded(text: str) -> str:
    """What may be base64 in the text, read as such."""
    found = []
    for token in _BASE64.findall(text):
        try:
            found.append(base64.urlsafe_b64decode(token.replace("+", "-").replace("/", "_") + "=" * (-len(token) % 4)))
        except binascii.Error:
            continue
    return " ".join(token.decode("utf-8", "ignore") for token in found)


def remains(case: Labelled, scrubbed: str) -> bool:
    """Whether any value of the case can still be read: whole, or six characters of it in a row, also once disguises
    are undone. Characters that the text around a value has as well say nothing."""
    around = undone(case.only(Role.KEPT, Role.COARSE))
    left = undone(_apart(scrubbed)) + undone(_decoded(scrubbed))
    return any(_left_of(undone(secret), left, around) for secret in case.secrets)


def _apart(scrubbed: str) -> str:
    """With a letter for each tag: what stands before one and what stands after it are not in a row."""
    return TAG.sub("ʘ", scrubbed)


def _left_of(secret: str, left: str, around: str) -> bool:
    size = min(len(secret), LONGEST_REST + 1)
    pieces = {secret[place : place + size] for place in range(len(secret) - size + 1)}
    return any(piece in left and piece not in around for piece in pieces)


def lines_lost(case: Labelled, scrubbed: str) -> list[int]:
    """The lines of the text that no longer have all of their clean words, in order. Where a value took the end of its
    line along, what follows is read on as one; a loss counts for all lines after it then."""
    kept, found = case.only(Role.KEPT).split("\n"), scrubbed.split("\n")
    left = [iter(words(line)) for line in found]
    if len(kept) != len(found):
        left = [iter(words(scrubbed))] * len(kept)
    return [place for place, line in enumerate(kept) if not all(word in left[place] for word in words(line))]

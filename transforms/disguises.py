r"""Texts without what hides a value from a pattern: escapes, foreign digits, invisible signs, separators, base64.

What comes out is there to be searched, not to be kept: other things than values change as well (a path loses its
escapes). Whoever finds no more in it than in the text as it was goes on with that one.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.pieces import in_pieces, put_together
from transforms.warm import found, joined, replaced

_HEX = "[0-9A-Fa-f]"

# What values are made of. What may end one, such as a blank or a quote, stays escaped: behind it the value goes on.
_MATERIAL = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@.+-_:=/?!#$*^~"
_BLANKS, _DASHES, _DOTS = "\u00a0\u2007\u202f\u3000", "\u2010\u2011\u2012\u2013\u2212", "\u3002\uff61"
_LETTERS = [sign for sign in map(chr, range(0xC0, 0xA000)) if sign.isalpha()]  # names are spelt with
_FULL_WIDTH = 0xFEE0  # from a sign of ASCII to the same in full width


def _foreign() -> Iterator[tuple[str, str]]:
    """Characters beyond ASCII that look like some of ASCII, or like nothing, with what they stand for."""
    for sign in map(chr, range(0x80, 0x20000)):
        category = unicodedata.category(sign)
        if category == "Nd":
            yield sign, str(unicodedata.decimal(sign))
        elif category == "Cf":
            yield sign, ""
    yield from ((chr(ord(sign) + _FULL_WIDTH), sign) for sign in _MATERIAL)
    for signs, plain in ((_BLANKS, " "), (_DASHES, "-"), (_DOTS, ".")):
        yield from ((sign, plain) for sign in signs)


def _escaped(sign: str) -> tuple[str, str, str]:
    """The ways to escape a sign, in the form that `_one_form` brings them to."""
    return f"u{ord(sign):x}", f"#{ord(sign)}", "".join(f"%{byte:02x}" for byte in sign.encode())


def _ranges(signs: Iterable[str]) -> str:
    """The inside of a class of characters."""
    codes = sorted(map(ord, signs))
    runs = [list(run) for _, run in groupby(enumerate(codes), lambda numbered: numbered[1] - numbered[0])]
    return "".join(rf"\x{{{run[0][1]:x}}}-\x{{{run[-1][1]:x}}}" for run in runs)


_FOREIGN = dict(_foreign())


@cache
def _stand_for() -> dict[str, str]:
    """What each sign in disguise stands for. A hundred thousand of them, so not before the first is met."""
    plain = _FOREIGN | {r"\n": " ", r"\r": " ", r"\t": " ", r"\/": "/"}
    for sign, stands_for in [*_FOREIGN.items(), *((sign, sign) for sign in [*_MATERIAL, *_LETTERS])]:
        plain |= dict.fromkeys(_escaped(sign), stands_for)
    return plain


_PERCENT = "%(?:25)*"
_ESCAPES = (
    # the longer first: the beginning of one that is escaped twice is an escaped percent sign
    rf"{_PERCENT}[C-Fc-f]{_HEX}(?:{_PERCENT}[89ABab]{_HEX}){{1,3}}|{_PERCENT}[2-7]{_HEX}"
    rf"|\\+(?:u{_HEX}{{4}}|u\{{{_HEX}{{2,6}}\}}|U{_HEX}{{8}}|x{_HEX}{{2}}|[nrt/])"
    rf"|&(?:amp;)*#(?:[0-9]{{2,6}}|[xX]{_HEX}{{2,6}});"
)
_DISGUISED_SIGNS = rf"[{_ranges(_FOREIGN)}]|{_ESCAPES}"
_ONE_FORM = (
    (r"%(?:25)+", "%"),
    (r"^(?:\\+(?:u\{?|x)|&(?:amp;)*#x)0*", "u"),
    (r"^&(?:amp;)*#0*", "#"),
    (r"^\\+", r"\\"),
    (r"[;}]$", ""),
)

# What stands between groups of digits ends most values, but not one of digits.
_ESCAPED_AS = rf"(?:{_PERCENT}|\\+(?:u(?:00|\{{)|x)|&(?:amp;)*#x)(?i:code)[;}}]?|&(?:amp;)*#number;"
_BETWEEN = {
    _ESCAPED_AS.replace("code", f"{ord(sign):x}").replace("number", f"{ord(sign)}")
    + rf"|\x{{{ord(sign) + _FULL_WIDTH:x}}}": sign
    for sign in " ,()"
}
_ANY_BETWEEN = "|".join(_BETWEEN)

# Digits with a sign between some of them, as many as an identifier has.
_BY = "(?:[ ._/,|*-]| - )"
_BROKEN_NUMBER = (
    # a time with the numbers of processes behind it, and a path, are matched to be left alone
    rf"\b(?:(?:[0-9]{{4}}[/.-])?[0-9]{{2}}[/.-][0-9]{{2}}[ T])?[0-9]{{1,2}}:[0-9]{{2}}:[0-9]{{2}}[.,][0-9]{{3,9}}"
    r"(?: {1,6}[0-9]{1,5}\b){0,3}|[A-Za-z_]/[0-9/]+"
    rf"|\+?\b[0-9]+(?:{_BY}[0-9]+){{2,}}\b"
)
# Neither is an address of the internet a number, nor is a place.
_NO_NUMBER = (
    r"[A-Za-z_:]|^(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:/[0-9]{1,3})?$|^[0-9]{1,3}\.[0-9]{4,}[,/ -][0-9]{1,3}\.[0-9]{4,}$"
)
_NUMBER = r"^(?:[0-9]{13,20}|\+[0-9]{8,15})$"
# Thirteen digits or more in short groups, with no part of a word before them.
_BROKEN_NUMBER_HINT = (
    rf"(?:^|[^\w.:/-])(?:[0-9]{{1,3}}{_BY}[0-9](?:{_BY}?[0-9]){{9}}|[0-9]{{4,6}}{_BY}[0-9]{{4,6}}{_BY}[0-9]{{3}}"
    rf"|[0-9]{{4,6}}{_BY}[0-9]{{1,3}}{_BY}[0-9](?:{_BY}?[0-9]){{4}})|\+[0-9]{{1,3}}[_/,|*.][0-9]{{1,4}}[_/,|*.]"
)
# The same of a UUID, an Android ID, a MAC address and a bank account; runs are matched whole, and judged then.
_BANK = r"[A-Z]{2}[0-9]{2}(?:[._-][0-9A-Z]{1,4}){3,8}"
_BROKEN_UUID = rf"{_HEX}{{8}}(?:[ _:.]{_HEX}{{4}}){{3}}[ _:.]{_HEX}{{12}}"
_BROKEN_ID = rf"\b(?:{_BROKEN_UUID}|{_HEX}{{4}}(?:[ _.-]{_HEX}{{4}})+|{_HEX}{{2}}(?:[_.]{_HEX}{{2}})+|{_BANK})\b"
_ID = rf"^(?:{_BROKEN_UUID}|{_HEX}{{4}}(?:[ _.-]{_HEX}{{4}}){{3}}|{_HEX}{{2}}(?:[_.]{_HEX}{{2}}){{5}}|{_BANK})$"
_UUID = rf"^({_HEX}{{8}})({_HEX}{{4}})({_HEX}{{4}})({_HEX}{{4}})({_HEX}{{12}})$"
_MAC = "^" + rf"({_HEX}{{2}})" * 6 + "$"

_SPELT = r" ?[\[({<] ?(?i:at|@|dot|\.) ?[\])}>] ?|\w @ \w"

# Three printable signs of ASCII in base64, where each place allows for a part of the alphabet only. What other text
# looks like only tells what comes out of it: printable ASCII, or an address.
_THREE = r"[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][\w+/-]"
_ENCODED = r"(?:[\w+/-]{4}){3,}(?:[\w+/-]{2,3}={0,2})?"
_LETTER = r"[!-~]|[\xc3-\xdf][\x80-\xbf]|[\xe1-\xec][\x80-\xbf]{2}"
_TEXT = rf"^(?:[ -~]+|(?:{_LETTER})+@(?:{_LETTER})+)$"
_SIXES = np.zeros(256, np.uint32)
_SIXES[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")] = range(64)
_SIXES[list(b"-_")] = 62, 63


def _plain(signs: pa.StringArray) -> pa.StringArray:
    distinct, stand_for = signs.dictionary_encode(), _stand_for()
    forms = zip(_one_form(distinct.dictionary).to_pylist(), distinct.dictionary.to_pylist(), strict=True)
    return pa.array([stand_for.get(form, sign) for form, sign in forms], pa.string()).take(distinct.indices)


def _one_form(signs: pa.StringArray) -> pa.StringArray:
    signs = pc.ascii_lower(signs)
    for pattern, replacement in _ONE_FORM:
        signs = replaced(signs, pattern, replacement)
    return signs


def _between(escaped: pa.StringArray) -> pa.StringArray:
    for pattern, sign in _BETWEEN.items():
        escaped = replaced(escaped, pattern, sign)
    return escaped


def _sign(spelt: pa.StringArray) -> pa.StringArray:
    dot = replaced(spelt, r"^ ?[\[({<] ?(?i:dot|\.).*", ".")
    return replaced(replaced(dot, r"^ ?[\[({<].*", "@"), " @ ", "@")


def _number(broken: pa.StringArray) -> pa.StringArray:
    whole = replaced(broken, "[^0-9+]", "")
    number = pc.and_not(pc.match_substring_regex(whole, _NUMBER), pc.match_substring_regex(broken, _NO_NUMBER))
    return pc.if_else(number, whole, broken)


def _id(broken: pa.StringArray) -> pa.StringArray:
    whole = replaced(broken, "[^0-9A-Za-z]", "")
    for pattern, written in ((_UUID, r"\1-\2-\3-\4-\5"), (_MAC, r"\1:\2:\3:\4:\5:\6")):
        whole = replaced(whole, pattern, written)
    return pc.if_else(pc.match_substring_regex(broken, _ID), whole, broken)


def _decoded(tokens: pa.StringArray) -> pa.StringArray:
    encoded = np.asarray(pc.match_substring_regex(tokens, f"^{_ENCODED}$"))
    decoded = _from_base64(tokens.filter(pa.array(encoded)))
    text = np.asarray(pc.match_substring_regex(decoded, _TEXT))
    encoded[encoded] = text
    return pc.replace_with_mask(tokens, pa.array(encoded), decoded.filter(pa.array(text)).cast(pa.string()))


def _from_base64(tokens: pa.StringArray) -> pa.BinaryArray:
    """What each token of signs of base64 stands for, in one calculation over all of them."""
    bare = pc.ascii_rtrim(tokens, characters="=")
    missing = -pc.binary_length(bare).to_numpy() % 4
    fours = pc.binary_join_element_wise(bare, pa.array(["", "A", "AA", "AAA"]).take(pa.array(missing)), "")
    numbers = _SIXES[np.frombuffer(joined(fours, ""), np.uint8)].reshape(-1, 4)
    threes = numbers @ np.array([1 << 18, 1 << 12, 1 << 6, 1], np.uint32)
    text = np.ascontiguousarray(threes.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:])
    ends = np.append(0, np.cumsum(pc.binary_length(fours).to_numpy() // 4 * 3)).astype(np.int32)
    padded = pa.Array.from_buffers(pa.binary(), len(tokens), [None, pa.py_buffer(ends), pa.py_buffer(text)])
    return pc.replace_substring_regex(padded, r"\x00{1,3}$", "")


class _Disguise:
    """What a pattern matches, and what it stands for. A row without `hint` is left alone."""

    def __init__(self, pattern: str, plain: Callable[[pa.StringArray], pa.StringArray], hint: str | None = None):
        self._pattern, self._plain = f"(?:{pattern})", plain
        self.hint = hint or pattern

    def off(self, rows: pa.StringArray) -> pa.StringArray:
        hidden = found(rows, self.hint)
        if not hidden.any():
            return rows
        pieces, matches = in_pieces(rows.filter(pa.array(hidden)), self._pattern)
        plain = self._plain(pieces.values.filter(matches))
        bare = put_together(pieces, pc.replace_with_mask(pieces.values, matches, plain))
        return pc.replace_with_mask(rows, pa.array(hidden), bare)


_DISGUISES = (
    _Disguise(_DISGUISED_SIGNS, _plain),
    _Disguise(rf"[\w)](?:{_ANY_BETWEEN})+|(?:{_ANY_BETWEEN})+\w", _between),
    _Disguise(_SPELT, _sign),
    _Disguise(_BROKEN_NUMBER, _number, hint=_BROKEN_NUMBER_HINT),
    _Disguise(
        _BROKEN_ID,
        _id,
        hint=rf"{_HEX}{{4}}[ _:.]{_HEX}{{4}}[ _:.]{_HEX}{{4}}[ _:.]|{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}\b"
        rf"|{_HEX}{{2}}(?:[_.]{_HEX}{{2}}){{5}}|[A-Z]{{2}}[0-9]{{2}}[._-][0-9A-Z]{{1,4}}[._-][0-9A-Z]{{1,4}}[._-]",
    ),
    # A token with dots in it is no value in base64 but a credential, and found as it stands.
    _Disguise(
        rf"{_ENCODED}(?:\.[\w+/-]+)*",
        _decoded,
        hint=rf"[=:> [(][\\\"'[(]{{0,3}}(?:{_THREE}){{3}}"
        rf"|(?i:mail)\w*[\\\"'\]]{{0,3}} {{0,2}}[=:> ][ \\\"'[]{{0,3}}[\w+/-]{{12}}",
    ),
)
HINTS = tuple(disguise.hint for disguise in _DISGUISES)
"""What occurs in every row that `undisguised` changes to any purpose."""
REST = rf">[ ._/,|*-]{{1,3}}(?:[0-9]|{_HEX}{{4}}\b)|[0-9][ ._/,|*-]{{1,3}}<"
"""What is left beside a tag of a value that was broken."""


def spelt_out(rows: pa.StringArray) -> pa.StringArray:
    """The rows, of which none is null, with what escapes and foreign signs stand for, and all else as it was."""
    for disguise in _DISGUISES[:3]:
        rows = disguise.off(rows)
    return rows


def undisguised(rows: pa.StringArray) -> pa.StringArray:
    """The rows, of which none is null, as a pattern would have to see them.

    Escapes and foreign signs give way to what they stand for, a number or an address that is broken by signs is whole,
    and tokens that are base64 of printable ASCII are decoded. That takes one layer off: what was hidden twice over is
    hidden once then.
    """
    for disguise in _DISGUISES:
        rows = disguise.off(rows)
    return rows

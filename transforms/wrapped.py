"""Values that run over the end of a line: where one may, and what stands there once the lines are joined.

Lines are joined at a token: a value breaks in its middle, so the first line ends in a sign that values are made of, and
so begins the second one behind its indentation or the prefix of a log. What follows the token stays where it is.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.sieve import joined, starts

_HEX = "[0-9A-Fa-f]"
_DATE = r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{3,6}(?:[+-][0-9]{4})?"
# What logcat writes before each line, in its formats threadtime, time and brief.
LOG_PREFIX = rf"(?:{_DATE} +(?:[0-9]+ +){{1,3}}[A-Z] [^:\n]+: |(?:{_DATE} +)?[A-Z]/[^(\n]+\( *[0-9]+\): )"
_LEAD = rf"[ \t]*(?:{LOG_PREFIX})?(?:[>|] )?"
_BREAK = r"[\\=]?\r?"  # a line may say that it goes on

HINTS = tuple(
    pattern.replace("h", _HEX).replace("~", rf"{_BREAK}\n{_LEAD}")
    for pattern in (
        r"@[\w-]*~[\w-]*\.\w|@[\w.-]*\.~\w",
        r"[0-9]{7}~(?:[0-9]{3}|[0-9]{1,2}(?:[^0-9-]|$))|[0-9]~[0-9]{7}",  # not before a date
        r"[0-9][ -][0-9]{4,6}[ -]?~[0-9]|[0-9][ -]?~[0-9]{4,6} [0-9]{4,6}",
        r"h{8}~(?:h{3}|h{1,2}(?:[^0-9A-Za-z-]|$))|h~h{8}|h{8}-h{4}(?:h|-)*~(?:h|-)|(?:h|-)~(?:h|-)*h{4}-h{12}",
        r"h[:-]h{2}[:-]h{0,2}~h{0,2}[:-]?h|h~h{0,2}:h{2}:h",
        r"[0-9]\.[0-9]{0,3}\.?~\.?[0-9]{1,3}\.[0-9]|[0-9]\.[0-9]{1,3}\.[0-9]{0,3}~\.?[0-9]",
    )
)
"""What occurs where a shape goes on in the next line though neither line alone has the hint of it."""

# The first token of a line; if it ends in a digit, with the groups of digits behind it.
_HEAD = rf"^(?P<lead>{_LEAD})(?P<token>[^\s<>]*[0-9](?:[ -]\(?[0-9]+\)?)+|[^\s<>]+)(?P<rest>.*)$"
# How a line begins that goes on with nothing: a frame, a cause, a date.
_BEGINNING = r"^(?:at|Caused|Suppressed:|[.-]+|[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{2}-[0-9]{2} [0-9]{2})$"
_OPAQUE = r"[0-9@_+/=%\"]"  # in a token that is no word
# The rest of a secret or a number; neither a pair nor a register.
_FRAGMENT = r"^(?:[\w+/%.-]*[0-9+/%][\w+/%.-]+|[\w+/%.-]{2,}[0-9+/%])={0,2}[\"'),;\]}]*$|^[^\s\"=]*\"[),;\]}]*$"
_SAYS_SO = r"([0-9@%+/][^\s=]*)=$|\\$"  # behind a key it is no sign of a break
_INDENTED, _NEAR = 64, 24  # bytes

_BLANK, _VALUE, _TELLS, _ADDRESS, _BREAKS = 1, 2, 4, 8, 16


def _kinds() -> np.ndarray:
    """By byte, what it is: a blank, of what values are made, what words have not, of an address, or says that a line
    goes on."""
    kinds = np.zeros(256, np.uint8)
    kinds[[byte for byte in range(256) if chr(byte).isalnum() or byte >= 0x80]] = _VALUE
    for kind, signs in ((_BLANK, b" \t\r"), (_VALUE, b"@%+-_.:=/"), (_TELLS, b'0123456789@_+/=%"')):
        kinds[list(signs)] |= kind
    kinds[ord("@")] |= _ADDRESS
    kinds[list(b"\\=")] |= _VALUE | _BREAKS
    return kinds


_KINDS = _kinds()


@dataclass(frozen=True, repr=False)
class Joints:
    """Runs of lines that may share a value: the first line of each, and the tokens of the lines behind it.

    By run: the number of the `first` line, that line `joined` with the tokens, whether it ends with a key and is `open`
    to anything, whether a sign or the token says that it `goes_on`, and how many bytes of it are `lost`. By token: the
    `run`, the `line`, the `token`, and what `remains` of its line without it.
    """

    first: np.ndarray
    joined: pa.StringArray
    open: np.ndarray
    goes_on: np.ndarray
    lost: np.ndarray
    run: np.ndarray
    line: np.ndarray
    token: pa.StringArray
    remains: pa.StringArray


def joints(offsets: np.ndarray, row: np.ndarray, rows: pa.StringArray, doubtful: np.ndarray) -> Joints:
    """Where lines may be joined.

    Text i has the lines from `offsets[i]` to `offsets[i + 1]`, and line j is `rows[row[j]]`; `doubtful` says by row
    whether anything in it looks like a value.
    """
    at = _candidates(offsets, row, rows, doubtful)
    before, behind = (rows.take(pa.array(row[lines])) for lines in (at, at + 1))
    ended = pc.ascii_rtrim(before, " \t\r")
    stripped = pc.replace_substring_regex(ended, _SAYS_SO, r"\1")
    broken = pc.not_equal(ended, stripped)
    lead, token, rest = pc.extract_regex(behind, _HEAD).flatten()
    opaque = pc.match_substring_regex(token, _OPAQUE)
    goes_on = pc.or_(pc.or_(opaque, broken), pc.match_substring_regex(ended, r"@\S*$"))
    kept = np.asarray(pc.and_not(goes_on, pc.match_substring_regex(token, _BEGINNING)).fill_null(False))

    at, opaque, broken = at[kept], np.asarray(opaque)[kept], np.asarray(broken)[kept]
    before, stripped, lead, token, rest = (
        column.filter(pa.array(kept)) for column in (before, stripped, lead, token, rest)
    )
    rest = pc.ascii_ltrim(rest, " \t")
    # A line that is one opaque token goes on with what is before it, and the next one may go on with both.
    whole_line = np.asarray(pc.equal(rest, ""))
    chained = (np.diff(at, prepend=-2) == 1) & np.append(False, whole_line)[:-1] & opaque
    begin = np.flatnonzero(~chained)
    tokens = pa.ListArray.from_arrays(pa.array(np.append(begin, len(at)), pa.int32()), token)
    stripped = stripped.take(pa.array(begin))
    return Joints(
        first=at[begin],
        joined=pc.binary_join_element_wise(stripped, pc.binary_join(tokens, ""), ""),
        open=np.asarray(pc.match_substring_regex(stripped, "[:=]$")),
        goes_on=broken[begin] | np.asarray(pc.match_substring_regex(token.take(pa.array(begin)), _FRAGMENT)),
        lost=(pc.binary_length(before).to_numpy()[begin] - pc.binary_length(stripped).to_numpy()),
        run=np.cumsum(~chained) - 1,
        line=at + 1,
        token=token,
        remains=pc.binary_join_element_wise(lead, rest, ""),
    )


def _candidates(offsets: np.ndarray, row: np.ndarray, rows: pa.StringArray, doubtful: np.ndarray) -> np.ndarray:
    """The lines behind which a value may go on in the next, and a few more."""
    if len(row) < len(offsets):
        return np.zeros(0, np.int64)
    text = np.append(np.frombuffer(joined(rows), np.uint8), np.full(8, ord("\n"), np.uint8))
    begin, end = _content(text, rows)
    last = _KINDS[text[end - 1]]
    ends = (last & _VALUE > 0) & (end > begin)
    frame = (text[begin] == ord("a")) & (text[begin + 1] == ord("t")) & (text[begin + 2] == ord(" "))
    begins = (_KINDS[text[begin]] & _VALUE > 0) & ~frame
    may = ends[row[:-1]] & begins[row[1:]]
    may[offsets[1:-1] - 1] = False  # the next line is another text's
    at = np.flatnonzero(may)
    left, right = row[at], row[at + 1]
    tail = _kinds_of(text, np.maximum(end[left] - _NEAR, begin[left]), end[left])
    head = _kinds_of(text, begin[right], np.minimum(begin[right] + _NEAR, end[right]))
    near = (head & _TELLS > 0) & ((tail & _TELLS > 0) | doubtful[left] | doubtful[right])
    return at[near | (tail & _ADDRESS > 0) | (last[left] & _BREAKS > 0)]


def _content(text: np.ndarray, rows: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row begins behind its indentation and what a log writes before it, and where it ends."""
    begin = starts(rows)
    end = begin + pc.binary_length(rows).to_numpy()
    for _ in range(_INDENTED):
        indented = _KINDS[text[begin]] & _BLANK
        if not indented.any():
            break
        begin = begin + indented
    dated = (text[begin + 2] == ord("-")) & (text[begin + 5] == ord(" "))
    logged = np.flatnonzero(dated | (text[begin + 4] == ord("-")) | (text[begin + 1] == ord("/")))
    if len(logged):
        messages = np.append(np.flatnonzero((text[:-1] == ord(":")) & (text[1:] == ord(" "))) + 2, len(text))
        message = messages[np.searchsorted(messages, begin[logged] + 2)]
        begin[logged] = np.where(message < end[logged], message, begin[logged])
    return begin, np.maximum(end - (_KINDS[text[end - 1]] & _BLANK), begin)


def _kinds_of(text: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The kinds of the bytes from `begin` to `end`, which is at most `_NEAR` behind it; all of them in one number."""
    places = np.minimum(begin[:, None] + np.arange(_NEAR), end[:, None] - 1)
    return np.bitwise_or.reduce(_KINDS[text[places]], axis=1)

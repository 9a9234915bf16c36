"""Values that run over the end of a line: where one may, and what stands there once the lines are joined.

Lines are joined at a token: a value breaks in its middle, so the first line ends in a sign that values are made of, and
so begins the second one behind its indentation or the prefix of a log. What follows the token stays where it is.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.warm import joined, starts

_HEX = "[0-9A-Fa-f]"
_DATE = r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{3,6}(?:[+-][0-9]{4})?"
# What logcat writes before each line, in its formats threadtime, time and brief.
_LOG_PREFIX = rf"(?:{_DATE} +(?:[0-9]+ +){{1,3}}[A-Z] [^:\n]+: |(?:{_DATE} +)?[A-Z]/[^(\n]+\( *[0-9]+\): )"
_LEAD = rf"[ \t]*(?:{_LOG_PREFIX}[ \t]*)?(?:[>|] )?"
_BREAK = r"[\\=]?\r?"  # a line may say that it goes on

# A digit, and as many more as a count behind it says.
_DIGITS = r"[0-9](?:[ ./()-]{0,2}[0-9])"
# No date or time of the next line.
_NO_DATE = r"(?:[^0-9: T./()-]|$|[ ./()-]{1,2}(?:[^0-9 ./()-]|$))"

# A number that may go on in the next line, which is no date and no time, a line that says that it goes on, and a key.
_GOES_ON = (
    rf"[0-9][ /-]?[\\=]?\r?\n[ \t]*(?:{_LOG_PREFIX})?[0-9]{{1,6}}(?:[^0-9:.-]|-[A-Za-z0-9]\b|-[0-9]{{3}}|$)",
    r"\w[\\=]\r?\n[ \t]*[\w-]",
    r"\b(?:A[KS]IA|AIza|gh[pousr]_|GOCSPX-)[\w-]*\r?\n.",
)

HINTS = (
    tuple(
        pattern.replace("#", _DIGITS).replace("!", _NO_DATE).replace("h", _HEX).replace("~", rf" ?{_BREAK}\n{_LEAD} ?")
        for pattern in (
            r"@[\w\x{80}-\x{10FFFF}-]*~[\w\x{80}-\x{10FFFF}-]*\.[\w\x{80}-\x{10FFFF}]|@[^\s<>]*\.~\w",
            # a number, of which few digits may stand on one side
            r"[0-9][./()-]{0,2}~[./()-]{0,2}#{5,}!|#{2,}[./()-]{0,2}~[./()-]{0,2}#{2,}!|#{3,}[./()-]{0,2}~[./()-]{0,2}#{0,2}!",
            r"h{8}~(?:h{3}|h{1,2}(?:[^0-9A-Za-z-]|$))|h~h{8}|h{8}-h{4}(?:h|-)*~(?:h|-)|(?:h|-)~(?:h|-)*h{4}-h{12}",
            r"h[:-]h{2}[:-]h{0,2}~h{0,2}[:-]?h|h[:_-]?~h{0,2}[:_-]h{2}[:_-]h|:h{1,4}:h{0,4}~:?h{0,4}:",
            r"\bh{4}\.h{0,4}\.?h{0,4}~\.?h{1,4}\b|h~h{0,3}\.?h{4}\.h{4}\b",
            r"[0-9]\.[0-9]{0,3}\.?~\.?[0-9]{1,3}\.[0-9]|[0-9]\.[0-9]{1,3}\.[0-9]{0,3}~\.?[0-9]"
            r"|[0-9]~\.[0-9]{1,3}\.[0-9]",
            # accounts, keys, and numbers with letters in them, at the beginning of each
            r"\b[A-Za-z]{2}[0-9](?:[ .-]?[0-9A-Za-z]){0,9}~[0-9A-Z]{2}|:APA(?:9|91[\w-]*)?~[\w-]{8}|\bAIza[\w-]{0,9}~\w"
            r"|\bA[KS]IA[0-9A-Z]{0,15}~[0-9A-Z]|\bg\x68[pousr]_\w{0,9}~\w|\beyJ\w{0,9}~\w",
            r"(?i:\b[A-Z]{3}[ -]?[A-Z]{3}[ -]?[0-9]{1,2}[0-9A-Z -]{0,9}~[0-9A-Z]+ ?[0-9A-Z]*\b"
            r"|[A-Z]~[A-Z]{0,2}[ -]?[0-9]{2}[A-Z][0-9]{2}[ -]?[A-Z][0-9])",
            r"[^\s=]\\\r?\n|[0-9@%+/][\w.:/@-]* ?=\r?\n",
        )
    )
    + _GOES_ON
)
"""What occurs where a shape goes on in the next line though neither line alone has the hint of it."""

# The first token of a line, with the groups of digits, or of an account, behind it.
_HEAD = (
    rf"^(?P<lead>{_LEAD})(?P<token>[0-9A-Z]{{1,5}}(?: [0-9A-Z]{{4,5}}\b)+(?: [0-9A-Z]{{1,4}}\b)?[^\s<>]*"
    r"|[^\s<>]*[0-9](?:[ -]\(?[0-9]+\)?)+[^\s<>]*|[^\s<>]+)(?P<rest>.*)$"
)
# How a line begins that goes on with nothing: a frame, a cause, a date.
_BEGINNING = r"^(?:at|Caused|Suppressed:|[.-]+|[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{2}-[0-9]{2} [0-9]{2})$"
_TELLS_NOTHING = r"[:=] ?(?i:null|nil|none|true|false|unknown|undefined|empty)$"
_PAIR = r"^[A-Za-z_][\w.-]{2,}[\"']?(?:=[^=]|:$)"
# In a token that is no word, and the end of an address or a key.
_OPAQUE = rf"[0-9@_+/=%\"]|^[:-]{_HEX}{{1,2}}\b|^[A-Z]{{4,}}\W*$"
# The rest of a secret or a number, and what may close it; neither a pair nor a register.
_FRAGMENT = (
    r"^[0-9A-Z]{1,4}(?: [0-9A-Z]{4})+\b|^[0-9]{1,6}(?:[ -][0-9]{1,6})+(?:[^\w:.-]|$)|^[^\s\"=]*\"[),;\]}]*$"
    rf"|^(?:[\w+/%.-]*[0-9+/%][\w+/%.-]+|[\w+/%.-]{{2,}}[0-9+/%]"
    rf"|{_HEX}{{0,4}}(?:[:-]{{1,2}}{_HEX}{{1,4}})+(?:::)?(?:%\w+)?)={{0,2}}"
    r"(?:[\"'),;\]}&<\\].*)?$"
)
# A word with a number (http2), a path, the name of a class, an address, a share, a version.
_WORD = (
    r"^(?:[A-Z]?[a-z]+|[A-Z]{2,})[0-9]{1,2}\b|^/[a-z]|^[a-z_]{3,}/[a-z]|^[a-z]+\.[A-Za-z]|^0x|^[0-9.]+%(?:[^0-9]|$)|^0\.[0-9]\."
    rf"|^{_HEX}+'{_HEX}"
)
# Behind a key it is no sign of a break.
_SAYS_SO = r"([0-9@%+/][^\s=]* ?|[=('\"] ?[\w.+-]+|\b[0-9A-Z]{2,} ?|\b(?:eyJ|gh[pousr]_|github_pat_|AIza)[\w-]*)=$|\\$"
# The beginning of a key whose length is known, of an address, and a full line of a private key.
_UNFINISHED = (
    r"\b(?:A[KS]IA[0-9A-Z]{0,15}|AIza[\w-]{0,34}|gh[pousr]_\w{0,35}|github_pat_\w{0,81}|GOCSPX-[\w-]{0,27}"
    r"|[\w-]:APA9?|APA91[\w-]{0,134}|xox[a-z]-(?:[0-9]+-)*[0-9A-Za-z]{0,23}|hooks\.slack\.com/services/\w+(?:/\w*(?:/\w{0,23})?)?"
    r"|(?i:secret_?access_?key|aws_?secret\w*)[\"':= ]{1,5}[\w+/]{1,39}"
    r"|eyJ[\w-]+(?:\.[\w-]*(?:\.[\w-]{0,42})?)?)$"
    r"|^[ \t]*(?:[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70}|[A-Za-z0-9+/]{76})$"
)
_ADDRESS_BEGUN = r"[^\s@]@(?:[^\s.@0-9][^\s.@]*\.?|\S*\.\w)$"
_REST_OF_ADDRESS = r"^[^\s.:/\"',;]*\.[^\s:/]*"
_OF_A_KEY = r"^[\w+/-]{2,}={0,2}(?:\W|$)"
_AT_A_BLANK = r"(?:^|\t|    ) $|:  $"  # an indentation, and a blank of the value
_INDENTED, _NEAR, _LAST = 64, 24, 3  # bytes

_BLANK, _VALUE, _TELLS, _ADDRESS, _BREAKS, _CAPITAL = 1, 2, 4, 8, 16, 32


def _kinds() -> np.ndarray:
    """By byte, what it is: a blank, of what values are made, what words have not, of an address, says that a line goes
    on, or a capital."""
    kinds = np.zeros(256, np.uint8)
    kinds[[byte for byte in range(256) if chr(byte).isalnum() or byte >= 0x80]] = _VALUE
    for kind, signs in ((_BLANK, b" \t\r"), (_VALUE, b"@%+-_.:=/("), (_TELLS, b'0123456789@_+/=%"')):
        kinds[list(signs)] |= kind
    kinds[ord("@")] |= _ADDRESS
    kinds[list(b"\\=")] |= _VALUE | _BREAKS
    kinds[ord("A") : ord("Z") + 1] |= _CAPITAL
    return kinds


_KINDS = _kinds()


@dataclass(frozen=True, repr=False)
class Joints:
    """Runs of lines that may share a value: the first line of each, and the tokens of the lines behind it.

    Runs overlap; of those with the same first line the longest stands first. By run: the number of the `first` line,
    that line `joined` with the tokens, whether it ends with a key and is `open` to anything, whether a sign or the
    token says that it `goes_on`, and how many bytes of it are `lost`. By token: the `run`, the `line`, the `token`, and
    what stands before it (`lead`) and behind it (`rest`) in its line.
    """

    first: np.ndarray
    joined: pa.StringArray
    open: np.ndarray
    goes_on: np.ndarray
    lost: np.ndarray
    run: np.ndarray
    line: np.ndarray
    token: pa.StringArray
    lead: pa.StringArray
    rest: pa.StringArray

    def over(self, first: np.ndarray, ended: np.ndarray, tokens: np.ndarray, joined: np.ndarray) -> np.ndarray:
        """By run, whether a value goes over the ends of its lines: what is left joined is less than what is left apart.

        Given are the bytes that are left of each `first` line, whether that `ended` with a value, and the bytes that
        are left of the `tokens` and of what is `joined`.
        """
        if not len(self.first):
            return np.zeros(0, bool)
        begin = np.searchsorted(self.run, np.arange(len(self.first)))
        all_tokens = np.add.reduceat(tokens, begin)
        over = (joined < first - self.lost + all_tokens) & (self.goes_on | ~(ended | self.open))
        # A token may be a value where it stands alone, and none in its line.
        over |= (joined == first - self.lost) & (joined > 0) & self.goes_on & ended
        # A longer run has to be worth it, beside what its first token alone does, and what the rest does by itself.
        longer = np.flatnonzero(np.diff(begin, append=len(self.run)) > 1)
        over[longer] &= joined[longer] < (joined[longer + 1] + all_tokens[longer] - tokens[begin[longer]])
        longest = longer[self.first[longer + 2] == self.line[begin[longer]]]
        indented = pc.binary_length(self.lead).to_numpy()[begin[longest]]
        over[longest] &= joined[longest] < (first - self.lost)[longest] + joined[longest + 2] - indented
        chosen = np.flatnonzero(over)
        over[chosen[1:]] &= self.first[chosen[1:]] != self.first[chosen[:-1]]
        # A line can move once: what begins where another one is to move waits for its turn.
        return over & ~np.isin(self.first, self.line[over[self.run]])


def joints(offsets: np.ndarray, row: np.ndarray, rows: pa.StringArray, doubtful: np.ndarray) -> Joints:
    """Where lines may be joined.

    Text i has the lines from `offsets[i]` to `offsets[i + 1]`, and line j is `rows[row[j]]`; `doubtful` says by row
    whether anything in it looks like a value.
    """
    at = _candidates(offsets, row, rows, doubtful)
    before, behind = (rows.take(pa.array(row[lines])) for lines in (at, at + 1))
    ended = pc.ascii_rtrim(before, " \t\r")
    stripped = pc.replace_substring_regex(ended, _SAYS_SO, r"\1")
    lead, token, rest = pc.extract_regex(behind, _HEAD).flatten()
    opaque = pc.match_substring_regex(token, _OPAQUE)
    fragment = pc.and_not(pc.match_substring_regex(token, _FRAGMENT), pc.match_substring_regex(token, _WORD))
    # The sign at the end of a line may as well be that of base64.
    said = pc.and_(pc.not_equal(ended, stripped), pc.or_(fragment, pc.ends_with(ended, "\\")))
    said = pc.or_(said, pc.and_(pc.not_equal(ended, stripped), pc.match_substring_regex(stripped, r"@[^\s=]*$")))
    unfinished = pc.and_(pc.match_substring_regex(stripped, _UNFINISHED), pc.match_substring_regex(token, _OF_A_KEY))
    address = pc.and_(
        pc.match_substring_regex(stripped, _ADDRESS_BEGUN), pc.match_substring_regex(token, _REST_OF_ADDRESS)
    )
    said = pc.or_(pc.or_(said, unfinished), address)
    goes_on = pc.or_(pc.or_(opaque, said), pc.match_substring_regex(ended, r"@\S*$"))
    kept = pc.and_not(goes_on, pc.match_substring_regex(token, f"{_BEGINNING}|{_PAIR}"))
    kept = pc.and_not(kept, pc.match_substring_regex(stripped, _TELLS_NOTHING))
    kept = np.asarray(kept.fill_null(False))

    at, opaque, goes_on = at[kept], np.asarray(opaque)[kept], np.asarray(pc.or_(fragment, said))[kept]
    before, stripped, lead, token, rest = (
        column.filter(pa.array(kept)) for column in (before, stripped, lead, token, rest)
    )
    # A value of several groups may break between two of them.
    blank = pc.or_(pc.ends_with(before, " "), pc.match_substring_regex(lead, _AT_A_BLANK))
    lost = pc.binary_length(before).to_numpy() - pc.binary_length(stripped).to_numpy()
    stripped = pc.binary_join_element_wise(stripped, pc.if_else(blank, " ", ""), "")
    # A line that is one opaque token goes on with what is before it, and the next one may go on with both.
    whole_line = np.asarray(pc.equal(pc.ascii_trim_whitespace(rest), ""))
    chained = (np.diff(at, prepend=-2) == 1) & np.append(False, whole_line)[:-1] & opaque
    start, size = _runs(chained)
    of = np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())  # the token of each place in a run
    tokens = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(size)), pa.int32()), token.take(pa.array(of)))
    stripped = stripped.take(pa.array(start))
    return Joints(
        first=at[start],
        joined=pc.binary_join_element_wise(stripped, pc.binary_join(tokens, ""), ""),
        open=np.asarray(pc.match_substring_regex(stripped, "[:=] ?$")),
        goes_on=goes_on[start],
        lost=lost[start],
        run=np.repeat(np.arange(len(start)), size),
        line=at[of] + 1,
        token=tokens.values,
        lead=lead.take(pa.array(of)),
        rest=rest.take(pa.array(of)),
    )


def _runs(chained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first token and the number of tokens of each run: every token alone, and before it, if it is the first or the
    second of its chain, the same with all that follow."""
    places = np.arange(len(chained))
    begin = np.maximum.accumulate(np.where(chained, 0, places))
    ends = np.append(np.flatnonzero(~chained), len(chained))
    end = ends[np.searchsorted(ends, places, side="right")]
    longer = (places - begin < 2) & (end - places > 1)
    start = np.repeat(places, 1 + longer)
    alone = np.append(False, start[1:] == start[:-1]) | ~longer[start]
    return start, np.where(alone, 1, end[start] - start)


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
    capital = _kinds_of(text, np.maximum(end[left] - _LAST, begin[left]), end[left]) & _CAPITAL > 0
    near = (head & _TELLS > 0) & ((tail & _TELLS > 0) | capital | doubtful[left] | doubtful[right])
    return at[near | doubtful[left] | (tail & _ADDRESS > 0) | (last[left] & _BREAKS > 0)]


def _content(text: np.ndarray, rows: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row begins behind its indentation and what a log writes before it, and where it ends."""
    begin = starts(rows)
    end = begin + pc.binary_length(rows).to_numpy()
    begin = _indented(text, begin)
    dated = (text[begin + 2] == ord("-")) & (text[begin + 5] == ord(" "))
    logged = np.flatnonzero(dated | (text[begin + 4] == ord("-")) | (text[begin + 1] == ord("/")))
    if len(logged):
        messages = np.append(np.flatnonzero((text[:-1] == ord(":")) & (text[1:] == ord(" "))) + 2, len(text))
        message = messages[np.searchsorted(messages, begin[logged] + 2)]
        begin[logged] = _indented(text, np.where(message < end[logged], message, begin[logged]))
    return begin, np.maximum(end - (_KINDS[text[end - 1]] & _BLANK), begin)


def _indented(text: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Where the blanks end that begin at each place."""
    for _ in range(_INDENTED):
        indented = _KINDS[text[begin]] & _BLANK
        if not indented.any():
            break
        begin = begin + indented
    return begin


def _kinds_of(text: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The kinds of the bytes from `begin` to `end`, which is at most `_NEAR` behind it; all of them in one number."""
    places = np.minimum(begin[:, None] + np.arange(_NEAR), end[:, None] - 1)
    return np.bitwise_or.reduce(_KINDS[text[places]], axis=1)

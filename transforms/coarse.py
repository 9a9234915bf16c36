r"""Free text made coarse: times to the day or the hour, absolute addresses to `<ADDR>`, ids of processes to ordinals.

They are about nobody by themselves, but the same exact time or address in two datasets joins their rows, and a process
id singles out a run. What a trace is read for stays: frames, modules with offsets, small addresses, signals, durations.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.pieces import EDGE, in_pieces, put_together
from transforms.sieve import Lines, Sieve
from transforms.warm import joined, matched, occurs, replaced

UNITS = {"day": 86_400, "hour": 3_600}  # in seconds
_HEX = "[0-9A-Fa-f]"
_TOGETHER = 10  # patterns that are looked for together


@dataclass(frozen=True)
class _Rule:
    """What a pattern matches gives way to `coarse`, unless `kept` matches all of it."""

    pattern: str
    coarse: str
    kept: str | None = None

    def apply(self, texts: pa.StringArray) -> pa.StringArray:
        accepts = None if self.kept is None else lambda found: ~matched(found, self.kept)
        return replaced(texts, self.pattern, self.coarse, accepts)


_MINUTES = r":[0-9]{2}(?::[0-9]{2})?(?:[.,:][0-9]{1,9})?(?: ?[AaPp][Mm]\b)?"
_ZONE = r"(?: ?(?:(?:Z|GMT|UTC|[CE]ES?T|[ECMP][SD]T|MSK|IST|BST)\b(?:[+-][0-9]{2}:?[0-9]{2})?|[+-][0-9]{2}:?[0-9]{2}))?"
# What follows a time at once goes with it, so that it does not become the time of that date.
_CLOCK = rf"([0-9]{{1,2}}){_MINUTES}(?:{_ZONE}[ T]+[0-9]{{1,2}}{_MINUTES})*"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# The groups are the date, the hour, and a year that stands behind.
_MOMENTS = (
    rf"\b([0-9]{{4}}[-/.][0-9]{{2}}[-/.][0-9]{{2}})[T _]{_CLOCK}{_ZONE}()",
    r"((?:\b|_)20[0-9]{2}[01][0-9][0-3][0-9])[T_-]([0-2][0-9])[0-5][0-9][0-5][0-9](?:[._,]?[0-9]+)*Z?()",
    r"((?:\b|_)20[0-9]{2}[.-][0-9]{2}[.-][0-9]{2})[_-]([0-9]{2})[.-][0-9]{2}[.-][0-9]{2}(?:[:.-][0-9]{1,9})?()\b",
    r"\b([01][0-9][0-3][0-9])/([0-2][0-9])[0-5][0-9][0-5][0-9](?:\.[0-9]{3,6})?()\b",
    rf"\b([0-9]{{2}}-[0-9]{{2}}) {_CLOCK}()",
    rf"\b([0-9]{{1,2}}/{_MONTH}/[0-9]{{4}}):{_CLOCK}{_ZONE}()",
    rf"\b([0-9]{{1,2}}[ -]{_MONTH}[ -][0-9]{{4}}),? {_CLOCK}{_ZONE}()",
    rf"\b([0-9]{{1,2}}[./][0-9]{{1,2}}[./][0-9]{{4}}),? {_CLOCK}{_ZONE}()",
    rf"\b({_MONTH} +[0-9]{{1,2}}(?:, [0-9]{{4}})?),? {_CLOCK}{_ZONE}((?: [0-9]{{4}}\b)?)",
)
_OTHER_TIMES = (
    _Rule(r"(^|[^\w:.])[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)? ?[AaPp]\.?[Mm]\b", r"\1<TIME>"),
    # More pairs than a time has are the fingerprint of a certificate.
    _Rule(
        rf"(^|[^\w:.])[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,9}})?((?::{_HEX}{{2}})*)\b",
        r"\1<TIME>\2",
        kept=rf"[^0-9]?[0-9]{{2}}(?::{_HEX}{{2}}){{6,}}",
    ),
    _Rule(r"(\[) *[0-9]+\.[0-9]{6}(\])", r"\1<TIME>\2"),  # since the kernel started
)
_USER = _Rule(r"(\b[Uu]ser )[0-9]{4,7}\b", r"\1<UID>")  # below are those who share a phone

_REGISTER = r"x[0-9]{1,2}|r[0-9]{1,2}|lr|sp|pc|fp|ip|sl|pst|cpsr|[re](?:ax|bx|cx|dx|si|di|bp|sp|ip)"
_POINTER = r"(?:fault )?addr(?:ess)?|at|ptr|pointer|self|this|obj(?:ect)?|handle|near|stack|native\w*|from|to|lock"
# Five digits or more that count: below 0x10000 somebody followed a null pointer. A frame's counter counts in a module.
_ADDRESSES = (
    # What memory held says more than where it was.
    _Rule(rf"^( +){_HEX}{{8,16}}(?: {_HEX}{{8,16}})+(?:  .*)?$", r"\1<ADDR>"),
    _Rule(rf"(<anonymous:|_base: |_instructions: ){_HEX}{{8,16}}\b", r"\1<ADDR>"),
    _Rule(
        rf"((?:#[0-9]+ +)?\b(?:{_REGISTER})[ :=]+)(?:0x{_HEX}{{1,16}}|{_HEX}{{16}}|{_HEX}{{8}})\b",
        r"\1<ADDR>",
        kept=rf"#.*[ x](?:0{{8}})?{_HEX}{{1,8}}|.*[ :=x]0*{_HEX}{{0,4}}|pc: 0x{_HEX}{{1,7}}",
    ),
    _Rule(rf"<0x{_HEX}{{6,16}}>", "<ADDR>"),
    _Rule(rf"(\b(?i:{_POINTER})[\"']?[ =:(]{{1,3}})0x0*[1-9A-Fa-f]{_HEX}{{4,15}}\b", r"\1<ADDR>"),
    _Rule(rf"\b0x0*[1-9A-Fa-f]{_HEX}{{8,15}}\b", "<ADDR>"),
    _Rule(
        rf"\b(?:0000[1-9A-Fa-f]{_HEX}{{11}}|00000[1-9A-Fa-f]{_HEX}{{10}}|000000[1-9A-Fa-f]{_HEX}{{9}}"
        rf"|0000000[1-9A-Fa-f]{_HEX}{{8}}|b4000{_HEX}{{11}}|ffff{_HEX}{{12}}|{_HEX}{{8}}'{_HEX}{{8}})\b",
        "<ADDR>",
    ),
    _Rule(rf"(?m)^(\s*){_HEX}{{8,16}}-{_HEX}{{8,16}}( [r-][w-][xp-])", r"\1<ADDR>-<ADDR>\2"),
    # Behind capitals is a build, V@0615.50 or GIT@1a2b3c4; arrays are named by one.
    _Rule(r"([a-z0-9_$][A-Z]{0,9}@|[\])}>;]@|\[[BCDFIJSZ]@)[0-9a-f]{4,8}\b", r"\1<ADDR>"),
    _Rule(r"(\b[A-Z]\w*\{)[0-9a-f]{5,8}\b", r"\1<ADDR>"),
)

# Seconds, milli-, micro- or nanoseconds since 1970 behind a key, and how long something has been running.
_EPOCH = (
    r"(?:(?:(?i:time(?:[_.-]?(?:stamp|millis|ms))?|date|created|updated|modified|expir(?:es|y|ed|ation)|when|since)"
    r"(?i:[_.-]?(?:at|on|ms|millis|utc))?|\b(?:ts|at|now))\\*[\"']?\]?[ ]?[=:][ ]?\[?\\*[\"']?|\baudit\()"
    r"1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]+)?\b"
)
_UPTIME = (
    r"\b(?i:up[ -]?time|(?:elapsed[ -]?)?real[ -]?time)(?:Millis)?[\"']?[=:] ?[0-9]{1,15}(?:\.[0-9]+)? ?(?:m?s)?\b"
)
_NUMBER = r"^(?P<before>.*[^0-9])(?P<whole>[0-9]+)(?:\.[0-9]+)?(?P<unit> ?[ms]{0,2})$"

# Ids of processes, threads and users, marked by ^ in what they are rewritten to.
_LINE = r"(?m)^((?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}(?: (?:[0-9]{2}h|[0-9:.,]+(?:[+-][0-9]{4})?))? +)"
_ID = (
    r"(?:\w*_)?(?:[Pp]{1,2}id|P?PID|[Tt]id|TID|[Uu]id|UID|[Ee]uid|[Gg]id|[Tt]gid|LWP|lwp|appid)"
    r"|[Tt]hread[ _]?[Ii]d"
    r"|[a-z]\w*[a-z](?:Pid|Tid|Uid|Gid)"
)
_BEHIND = r"(?:\\*[\"']?(?: ?[=:] ?| #?)\\*[\"']?|_)"
_IDS = (
    (rf"{_LINE}([0-9]+)( +)([0-9]+)( +)([0-9]+)( [VDIWEFAS] )", r"\1^\2^\3^\4^\5^\6^\7"),
    (rf"{_LINE}([0-9]+)( +)([0-9]+)( [VDIWEFAS] )", r"\1^\2^\3^\4^\5"),
    (r"(?m)(^(?:[0-9-]+ (?:[0-9:.,]+h? )?)?[VDIWEF]/[^(\n]+\( *)([0-9]+)(\))", r"\1^\2^\3"),
    (rf"\b((?:{_ID}){_BEHIND})([0-9]+(?::[0-9]+)*)\b", r"\1^\2^"),
    (r"(\bam_proc_start: \[[0-9]+,)([0-9]+)(,)([0-9]+)(,)", r"\1^\2^\3^\4^\5"),
    (r"(\bam_(?:proc|kill|anr)\w*: \[[0-9]+,)([0-9]+)(,)", r"\1^\2^\3"),
    (r"(\bam_(?:crash|wtf): \[)([0-9]+)(,)", r"\1^\2^\3"),
    (r"((?:\b(?:by thread|child process)|----- end) )([0-9]+)\b", r"\1^\2^"),
    # Lines are sieved as they came, so an address counts here before and after.
    (r"(\{(?:<ADDR>|[0-9a-f]{5,8}) )([0-9]+)(:)", r"\1^\2^\3"),
    (r"(\b[Pp]rocess )([0-9]+)( (?:exited|died|has|was|is)\b)", r"\1^\2^\3"),
    (r"(\b[Bb]inder: )([0-9]+)(:)([0-9]+)\b", r"\1^\2^\3^\4^"),
    (r"(\[anon:stack_and_tls:|/proc/|/task/)([0-9]+)\b", r"\1^\2^"),
    (r"(\] )([0-9]+)(#)([0-9]+)(: )", r"\1^\2^\3^\4^\5"),  # nginx
    (r"(^==)([0-9]+)(==)", r"\1^\2^\3"),  # sanitizers
    (r"(\b[0-9]\|[\w.]+\|-?[0-9]+\|[^|\s]*\|)([0-9]+)\b", r"\1^\2^"),  # a notification
    (r"(\b(?:[Kk]ill(?:ing)?|behalf of) '[^']*' \()([0-9]+)(\))", r"\1^\2^\3"),
    (r"\b(pool-)([0-9]+)(-thread-)([0-9]+)\b", r"\1^\2^\3^\4^"),
    (r"\b((?:[Tt]hread|Binder|AsyncTask)(?:[:-]| #))([0-9]+)", r"\1^\2^"),
    (r"\b((?:main|zygote|zygote64|system_server)\()([0-9]+)(\))", r"\1^\2^\3"),
    (r"(\[)([0-9]+)(:)([0-9]+)([:\]])", r"\1^\2^\3^\4^\5"),
    (r"\b((?i:kill(?:ing|ed)?|process|proc|died) )([0-9]+)(:[a-z])", r"\1^\2^\3"),
    (r"\b(u[0-9]+_?a)([0-9]+)\b", r"\1^\2^"),
)
# An id that runs into a month or the like, which its ordinal may make a date of.
_DATED = rf"{EDGE}[0-9]+{EDGE}(?:[ /-]{_MONTH}|[./-][0-9])"


@cache
def _rules(unit: str) -> tuple[tuple[_Rule, ...], Sieve]:
    """What is applied from top to bottom, and the sieve of all that `coarsen` looks for."""
    moment = r"\1\3" if unit == "day" else r"\1 \2h\3"
    rules = (*(_Rule(pattern, moment) for pattern in _MOMENTS), *_OTHER_TIMES, _USER, *_ADDRESSES)
    patterns = [EDGE, *(rule.pattern for rule in rules), _EPOCH, _UPTIME, *(pattern for pattern, _ in _IDS)]
    return rules, Sieve([patterns[start : start + _TOGETHER] for start in range(0, len(patterns), _TOGETHER)])


def coarsen(texts: pa.StringArray, unit: str = "day") -> pa.StringArray:
    """The texts, null where null, with times cut to the `unit` (`day` or `hour`), a time without its date to `<TIME>`,
    addresses from 0x10000 on to `<ADDR>`, and ids of processes, threads and users to ordinals: the first in a text is
    1, and the same number is the same ordinal.

    Each text is treated alone, in linear time, and coarsening a second time changes nothing. Offsets into modules,
    versions and what is as long as a hash stay. Raises `KeyError` for another unit.
    """
    seconds, (rules, sieve) = UNITS[unit], _rules(unit)
    present = texts.drop_null()
    if not len(present):
        return texts
    lines = Lines.of(present, sieve.flags)
    doubtful = lines.doubtful()
    if not doubtful.any():
        return texts
    lines = lines.only(doubtful)
    marked = _marked(lines.rows, lines.needs, seconds, rules)
    whole = pa.ListArray.from_arrays(pa.array(lines.offsets, pa.int32()), marked.take(pa.array(lines.row)))
    numbered = _numbered(pc.binary_join(whole, "\n"))
    if occurs(joined(marked), _DATED) and not numbered.equals(present.filter(pa.array(doubtful))):
        numbered = coarsen(numbered, unit)
    coarse = pc.replace_with_mask(present, doubtful, numbered)
    return pc.replace_with_mask(texts, texts.is_valid(), coarse)


def _marked(lines: pa.StringArray, needs: np.ndarray, seconds: int, rules: tuple[_Rule, ...]) -> pa.StringArray:
    """The lines made coarse, but for ids, which stand between marks; `needs` is what the sieve says of them."""
    steps = [
        _Rule(EDGE, " ").apply,
        *(rule.apply for rule in rules),
        *(lambda found, pattern=pattern: _floored(found, pattern, seconds) for pattern in (_EPOCH, _UPTIME)),
        *(_Rule(pattern, marked.replace("^", EDGE)).apply for pattern, marked in _IDS),
    ]
    for number, step in enumerate(steps):
        flagged = needs[number // _TOGETHER]
        if flagged.any():
            lines = pc.replace_with_mask(lines, flagged, step(lines.filter(pa.array(flagged))))
    return lines


def _floored(texts: pa.StringArray, pattern: str, seconds: int) -> pa.StringArray:
    """The texts with the numbers that the pattern ends in cut to whole units; behind them may stand `s` or `ms`."""
    pieces, matches = in_pieces(texts, pattern)
    before, whole, rest = pc.extract_regex(pieces.values.filter(matches), _NUMBER).flatten()
    digits = pc.binary_length(whole).to_numpy().astype(np.int64)
    # Ten digits are seconds since 1970, thirteen milliseconds, and so on; fewer are seconds only if the text says so.
    scale = np.where(digits < 10, 1000, 10 ** np.clip(digits - 10, 0, 9))
    scale = np.where(np.asarray(pc.equal(pc.utf8_trim_whitespace(rest), "s")), 1, scale)
    number = whole.cast(pa.int64()).to_numpy()
    floored = pa.array(number - number % (seconds * scale)).cast(pa.string())
    written = pc.binary_join_element_wise(before, floored, rest, "")
    return put_together(pieces, pc.replace_with_mask(pieces.values, matches, written))


def _numbered(texts: pa.StringArray) -> pa.StringArray:
    """The texts with ordinals for the numbers between marks, which go."""
    pieces = pc.split_pattern(texts, EDGE)
    offsets = pieces.offsets.to_numpy()
    text = np.repeat(np.arange(len(texts)), np.diff(offsets))
    ids = np.flatnonzero((np.arange(len(text)) - offsets[text]) % 2)
    numbers = pieces.values.take(pa.array(ids))
    codes = numbers.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, first, which = np.unique(text[ids] * (len(ids) + 1) + codes, return_index=True, return_inverse=True)
    ordinal = np.empty(len(first), np.int64)
    ordinal[np.argsort(first)] = _counted(text[ids][np.sort(first)])
    written = pa.array(ordinal[which]).cast(pa.string())
    return put_together(pieces, pc.replace_with_mask(pieces.values, _mask(ids, len(text)), written))


def _counted(groups: np.ndarray) -> np.ndarray:
    """1, 2, 3 ... within each run of equal numbers."""
    begin = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(begin, np.diff(np.append(begin, len(groups)))) + 1


def _mask(places: np.ndarray, length: int) -> np.ndarray:
    mask = np.zeros(length, bool)
    mask[places] = True
    return mask

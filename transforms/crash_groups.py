r"""What crashes have in common: a key of the scrubbed trace that is the same on every device (1.1.2-log).

    java.lang.RuntimeException           the class of the exception, or the signal, or ANR
    java.lang.NullPointerException       the class of its root cause, if that is another
    com.example.Sync.run                 the application's frames, from the top, each once, eight at most
    libsync.so sync::Queue::pop(int)

What differs between devices, installs or builds of one source stays out: messages, files and lines, addresses and
offsets, numbers of lambdas, anonymous classes and accessors, folders, other threads, suppressed exceptions. Where no
frame is the application's, the topmost count. A text without anything of that kind is its own key.

A bare group is such a key on one line, for people to read:

    java.lang.RuntimeException caused by java.lang.NullPointerException at com.example.Sync.run < libsync.so pop(int)
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MOST_FRAMES = 8
_LONGEST = 1_000  # characters of a bare group: symbols of templates have no end

# A line that opens a trace, and one that opens the trace of a cause: of the first, and the last, the class counts.
# Outside ASCII every character counts as a letter: RE2 takes milliseconds to compile what is one, in every call.
_LETTER = r"A-Za-z_$\x{80}-\x{10FFFF}"
_CLASS = (
    rf"(?:[{_LETTER}][{_LETTER}0-9]*\.)+[A-Z][{_LETTER}0-9]*|[A-Z]\w*(?:Error|Exception)"
    r"|[a-z]{1,2}(?:\.[a-z]{1,2}){1,3}"
)
_HEAD = rf"^(?:Exception in thread \"[^\"]*\" |Uncaught |Fatal Exception: )?(?P<name>{_CLASS})(?::|$)"
_CAUSE = rf"^Caused by: (?P<name>{_CLASS})(?::|$)"
_SIGNAL = r"^(?:Fatal )?signal [0-9]+ \((?P<name>SIG[A-Z0-9]+)\)"
_MAIN, _ANR = r'^"main" ', "ANR"
# What stands below is no part of what failed: another thread, or a suppressed exception.
_ASIDE = r'^"[^"]*" |^--- --- ---|^\s+Suppressed: '

# A frame is a name and a place in source: a line of a message may begin with `at`, too.
_JAVA = rf"^\s*at (?:[\w.@]*//?)?(?P<name>[{_LETTER}][{_LETTER}0-9<>/-]*(?:\.[{_LETTER}0-9<>/-]+)+)\(-\)$"
_NATIVE = (
    r"^\s*(?:native: )?#[0-9]+\s+pc\s+\S+\s+(?:(?:[^\s\[<]|<[A-Z]+>)*[/!])?(?P<file>\[[^\]]*\]|<|[^\s/!]+)\S*"
    r"(?:\s+\((?:offset|deleted)[^)]*\))*(?:\s+\((?P<name>.*?)(?:\+(?:0x)?[0-9a-f]+)?\))??"
    r"(?:\s+\(BuildId: [^)]*\))?\s*$"
)
_CLOSURE = r"<anonymous closure>|<fn>"
_DART_NAME = (
    rf"(?:new |\[tear-off\] )?(?:[\w$&@|#:]+|{_CLOSURE})"
    rf"(?:\.(?:[\w$&@|#:]+=?|{_CLOSURE}|\[\]=?|[=<>~+*/%^-]+))*"
)
_DART = rf"^#[0-9]+\s+(?P<name>{_DART_NAME}) \((?P<file>(?:package|dart):[^\s:()]+)[:0-9]*\)"
_FOLDER = r"(?:address at )?(?:[^()?]*[/\\])?"
_SCRIPT = r"\.(?:[cm]?[jt]sx?|(?:js)?bundle|html?|vue)"
_SCRIPT_FILE = rf"[^()\s/\\]+?{_SCRIPT}"
_SCRIPT_NAME = r"(?:[gs]et )?[\w$.<>#]+(?: \[as [\w$.<>]+\])?"
_QUERY = r"(?:[?;#][^()\s]*?)?"
_SCRIPT_CALL = (
    rf"^\s*at (?:async |new )?(?P<name>{_SCRIPT_NAME}) \({_FOLDER}"
    rf"(?P<file>{_SCRIPT_FILE}|[^()\s/\\?0-9][^()\s/\\?]*?){_QUERY}:[0-9]+:[0-9]+\)$"
)
_SCRIPT_LINE = rf"^\s*at (?:async )?{_FOLDER}(?P<file>{_SCRIPT_FILE})(?P<name>){_QUERY}(?::[0-9]+){{1,2}}$"

# Frames of the platform; an application of the maker may be com.android.browser.
_PLATFORM = (
    r"^\s*at (?:[\w.@]*//?)?(?:javax?|jdk|sun|com\.sun|android|androidx|kotlinx?|dalvik|libcore|_COROUTINE"
    r"|com\.android\.(?:internal|okhttp|org)|org\.(?:json|xml|w3c|apache\.harmony))\."
    r"|#[0-9]+\s+pc\s+\S+\s+(?:/(?:system|system_ext|apex|vendor|product|odm)/|\[|<)"
    r"|#[0-9]+\s+pc\s+\S+\s+(?:\S*[/!])?lib(?:c|c\+\+|m|dl|log|art|utils|binder|hwui|gui|android_runtime)\.so\b"
    r"|\((?:dart:|package:flutter/)|\bnode_modules[/\\]|\(?node:internal"
)
_APPLICATION = r"\s/(?:system|system_ext|vendor|product|odm)/(?:priv-)?app/"

# What a bare group may hold of a frame. A frame can be a line that a person wrote, so no two words stand side by side
# but those of a language: `unsigned long`, `char const*`, `T as core::fmt::Display`, `virtual thunk to A::b()`.
_SYMBOL_PART = (
    r"[\w$~.:(){}<>\[\]&*#?-]|operator(?:[=!<>+*/%^&|~-]+|\"\" ?_\w+)|\boperator [\w:]+[(<*&\[]|'lambda[0-9]*'|@plt"
    r"|\b(?:const|volatile|unsigned|signed|void|bool|int|char|mut|dyn) |\blong (?:long|int|double)\b"
    r"| (?:const|volatile|restrict)\b| &&?| >| \([\w:]*[*&]+\)|[>)*&] \w+(?:<|::)|::(?:type|string|size_t) |\) -> "
    r"| as \w+::|\(anonymous namespace\)|(?:non-)?virtual thunk to | \[clone [\w.]+\]"
)
_SYMBOL = rf"(?:{_SYMBOL_PART})+(?:[(<](?:{_SYMBOL_PART}|, ?)*)?"
_MODULE = (
    r"[\w.+~$-]+\.(?:so[.0-9]*|odex|oat|vdex|dex|apk|jar|art)|(?:app_process|linker|dalvikvm)(?:32|64)?"
    r"|(?:memfd:)?(?:dalvik-)?(?:jit-cache|jit-code-cache|zygote-cache)|(?:[\w.-]+@)+classes\.v?dex|\[[\w.:-]+\]|<"
)
_SCRIPT_PLACE = rf"[\w.+~$-]+{_SCRIPT}|<[a-z]+>|native|eval|node:\w+"
_TOLD = (
    rf"[{_LETTER}0-9<>/.-]+|(?:{_MODULE}) (?:{_SYMBOL})?|(?:package|dart):[\w./-]+ {_DART_NAME}"
    rf"|(?:{_SCRIPT_PLACE}) (?:{_SCRIPT_NAME})?"
)

# What logcat writes before each line; a coarse one has lost its time, or its minutes.
_DATE = r"(?:(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}(?: [0-9:.,+-]+h?)?|<TIME>|[0-9]+[:.][0-9:.]+h?) +"
_PROCESS = r"(?:u[0-9]+_[a-z]+[0-9]+ +)?(?:[0-9]+ +){1,3}"
_LOGGED = (
    rf"^(?:{_DATE}{_PROCESS}[VDIWEFA] .+?: |(?:{_DATE})?[VDIWEFA]/[^(]+?(?:\( *[0-9]+\))?: "
    r"|[VDIWEFA]\( *[0-9]+: *[0-9]+\) )"
)
# Where the line of a frame is in its source, if that is known: a file, or what stands for one.
_AT = (
    r"[^()\s]*:-?[0-9]+|[^()]+\.(?:java|kts?|scala|groovy|clj|aj)(?::-?[0-9]+)?|Native [Mm]ethod|Compiled Code"
    r"|[Uu]nknown [Ss]ource(?::-?[0-9]+)?|SourceFile|ProGuard|PG|null|<[a-z]+>|lambda|unavailable|[RD]8\$\$\w+"
    r"|(?:r8-map-id|chromium)-[^()\s]+|go/retraceme [^()\s]+|:?[\w.]+@[^()]+\([^()]*\)(?::-?[0-9]+)?"
)
# What follows: the archive, how often the frame repeats, or that it was inlined.
_AFTER = r"(?: ?~?\[[^\]]*\])?(?: \{[0-9,]+\})?(?: \(inlined\)| <[0-9]+ more>)?"
# What lines of one place have of their own: when they were logged, file and line, or an address.
_OWN = (
    (_LOGGED, ""),
    (rf"^(\s*at \S+?\()(?:{_AT})\){_AFTER}$", r"\1-)"),
    (r"^(\s*#[0-9]+ pc )[0-9a-f]+ ", r"\1- "),
)

_BEFORE = " \t\r\n\ufeff"  # stands before a trace, and is none of it

# The numbers that compilers give, which change with any line of source.
_NUMBERS = (
    (r"-?\$\$Lambda[^.]*", "$$Lambda"),
    (r"(\$_?|#)[0-9]+", r"\1"),
    (r"(ExternalSynthetic\w*?|Proxy|MethodAccessor|ConstructorAccessor)[0-9]+", r"\1"),
    (r"\.(?:llvm|cfi)[.0-9]*", ""),
    (r"\[stack:[0-9]+\]", "[stack]"),
)


@dataclass(frozen=True, repr=False)
class _Lines:
    """What distinct lines are: null, or false, where they are not that."""

    head: pa.StringArray  # the class or signal of a crash
    cause: pa.StringArray  # the class of a cause
    frame: pa.StringArray
    application: np.ndarray  # of a frame: it is no frame of the platform
    opens: np.ndarray  # what follows belongs to what failed
    aside: np.ndarray  # what follows does not


def crash_groups(traces: pa.StringArray, exceptions: pa.StringArray) -> pa.StringArray:
    """The key of each scrubbed trace, null where null. Where a trace names no class, that of the exception beside it
    counts.

    A key is made of names in source code, but of a text in no known format it is that text: it is no more public than
    the trace, and goes into a dataset only under a key of its purpose.
    """
    lists = pc.split_pattern(pc.utf8_ltrim(traces, _BEFORE), "\n")
    distinct = pc.utf8_rtrim_whitespace(lists.flatten()).dictionary_encode()  # of CRLF, too
    for own, common in _OWN:  # first, since it leaves few lines to look at
        distinct = _replaced(distinct, own, common)
    lines, codes = _looked_at(distinct.dictionary), distinct.indices.to_numpy()
    text = np.repeat(np.arange(len(traces)), pc.list_value_length(lists).fill_null(0).to_numpy())
    failed = _failed(lines, codes, text)
    codes, text = codes[failed], text[failed]
    head = pc.coalesce(_first(lines.head, codes, text, len(traces)), _head(exceptions))
    root = _first(lines.cause, codes[::-1], text[::-1], len(traces))
    root = pc.if_else(pc.equal(root, head).fill_null(False), None, root)
    parts = (head, root, _frames(lines, codes, text, len(traces)))
    key = pc.binary_join_element_wise(*(part.fill_null("") for part in parts), "\n")
    return pc.if_else(traces.is_valid(), pc.if_else(pc.equal(key, "\n\n"), traces, key), None)


def bare_groups(keys: pa.StringArray, traces: pa.StringArray) -> pa.StringArray:
    """The keys of these traces as people read them. Null where a trace names no frame, where it is its own key, where
    something in the key does not print, and where a frame is not of the shape that its language gives it: of what
    somebody may have written in words nothing is told (1.1.4-b)."""
    parts = pc.extract_regex(keys, r"(?s)^(?P<head>[^\n]*)\n(?P<root>[^\n]*)\n(?P<frames>.+)$")
    head, root, frames = (pc.struct_field(parts, name) for name in ("head", "root", "frames"))
    root = pc.if_else(pc.equal(root, ""), "", pc.binary_join_element_wise(" caused by ", root, ""))
    crash = pc.utf8_ltrim_whitespace(pc.binary_join_element_wise(head, root, ""))
    at = pc.if_else(pc.equal(crash, ""), "", " at ")
    where = pc.replace_substring(pc.replace_substring(frames, " \n", "\n"), "\n", " < ")  # a frame may lack a name
    where = pc.utf8_rtrim_whitespace(where)
    bare = pc.utf8_slice_codeunits(pc.binary_join_element_wise(crash, at, where, ""), 0, _LONGEST)
    told = pc.match_substring_regex(frames, rf"^(?:(?:{_TOLD})(?:\n|$))+$")
    told = pc.and_(told, pc.and_(pc.not_equal(keys, traces), pc.utf8_is_printable(bare)))
    return pc.if_else(told, bare, None)


def _replaced(lines: pa.DictionaryArray, pattern: str, by: str) -> pa.DictionaryArray:
    """The lines with what is replaced in them, each once more."""
    again = pc.replace_substring_regex(lines.dictionary, pattern, by).dictionary_encode()
    return pa.DictionaryArray.from_arrays(again.indices.take(lines.indices), again.dictionary)


def _looked_at(lines: pa.StringArray) -> _Lines:
    main, cause = _matches(lines, _MAIN), _named(lines, _CAUSE)
    return _Lines(
        head=pc.if_else(pa.array(main), _ANR, _head(lines)),
        cause=cause,
        frame=_frame(lines),
        application=~_matches(lines, _PLATFORM) | _matches(lines, _APPLICATION),
        opens=main | _valid(cause),
        aside=_matches(lines, _ASIDE) & ~main,
    )


def _head(lines: pa.StringArray) -> pa.StringArray:
    return pc.coalesce(_named(lines, _HEAD), _named(lines, _SIGNAL))


def _frame(lines: pa.StringArray) -> pa.StringArray:
    """Where a frame is, as far as it is the same in all builds of one source."""
    frames = _named(lines, _JAVA)
    for pattern in (_NATIVE, _DART, _SCRIPT_CALL, _SCRIPT_LINE):
        parts = pc.extract_regex(lines, pattern)
        place = pc.binary_join_element_wise(pc.struct_field(parts, "file"), pc.struct_field(parts, "name"), " ")
        frames = pc.coalesce(frames, place)
    for number, name in _NUMBERS:
        frames = pc.replace_substring_regex(frames, number, name)
    return frames


def _failed(lines: _Lines, codes: np.ndarray, text: np.ndarray) -> np.ndarray:
    """The lines that tell of what failed: those of a text up to a line that leads aside, and on from one that leads
    back."""
    place = np.arange(len(codes))
    turns = lines.opens[codes] | lines.aside[codes]
    last = np.maximum.accumulate(np.where(turns, place, -1))
    own = last >= np.searchsorted(text, text)  # the turn is one of this text
    return ~(own & lines.aside[codes[last]])


def _first(names: pa.StringArray, codes: np.ndarray, text: np.ndarray, texts: int) -> pa.StringArray:
    """The first name of each text, null where it has none."""
    named = np.flatnonzero(_valid(names)[codes])
    having, first = np.unique(text[named], return_index=True)
    index = np.full(texts, -1, np.int64)
    index[having] = codes[named[first]]
    return names.take(pa.array(index, mask=index < 0))


def _frames(lines: _Lines, codes: np.ndarray, text: np.ndarray, texts: int) -> pa.StringArray:
    """The frames of each text that count, a line each; null where there is none."""
    framed = _valid(lines.frame)[codes]
    codes, text = codes[framed], text[framed]
    own = lines.application[codes]
    counts = own | (np.bincount(text[own], minlength=texts)[text] == 0)
    frames = lines.frame.dictionary_encode()  # lines differ where frames do not
    code, text = frames.indices.take(pa.array(codes[counts])).to_numpy(), text[counts]
    _, first = np.unique(text * len(lines.frame) + code, return_index=True)
    first.sort()
    code, text = code[first], text[first]
    top = np.arange(len(text)) - np.searchsorted(text, text) < _MOST_FRAMES
    number = np.bincount(text[top], minlength=texts)
    names = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(number)), pa.int32()), frames.dictionary.take(pa.array(code[top]))
    )
    return pc.if_else(pa.array(number > 0), pc.binary_join(names, "\n"), None)


def _named(lines: pa.StringArray, pattern: str) -> pa.StringArray:
    return pc.struct_field(pc.extract_regex(lines, pattern), "name")


def _matches(lines: pa.StringArray, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False)


def _valid(values: pa.Array) -> np.ndarray:
    return values.is_valid().to_numpy(zero_copy_only=False)

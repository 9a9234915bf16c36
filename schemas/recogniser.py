r"""What a recogniser is, and the patterns that several of them share.

A pattern is RE2 syntax, so it is linear in the text and knows no lookaround. Four conventions make up for that:

- A run of digits or octets is matched *whole* (`[0-9]{15,}`), together with a word before it that says what it is, and
  `accept` and `refuse` then judge the candidate: a hash of 40 digits is not an IMEI with 25 digits left over, and what
  `version` stands before is no address.
- What has to stand around a value is part of the pattern, in groups that the replacement keeps.
- The bytes \x01 to \x04 are marks of the engine. A value may not begin with one, so what has been replaced once is
  left alone.
- `hint` is a cheaper pattern that occurs wherever something passes; a text without any hint is clean.

The values in the examples are test numbers and reserved names.
"""

from dataclasses import dataclass

MARKS = r"\x01-\x04"
BEYOND_ASCII = r"\x{80}-\x{10FFFF}"


@dataclass(frozen=True)
class Recogniser:
    """One kind of identifying text, and what takes its place.

    `replacement` holds `<tag>` once and may keep groups of the pattern (`\\1`). A candidate is replaced only if it
    passes what is given of these: `accept` and `refuse` (RE2, matched against the whole candidate) and `validator` (a
    name in `transforms.validators`). `inside`, what does not pass is looked into behind its first group: the value of a
    pair may begin with a pair. `clause` is the duty that forbids the value to pass. An example has values of
    this kind in it and of no other, a counter-example looks like one and is clean.
    """

    name: str
    tag: str
    pattern: str
    replacement: str
    clause: str
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]
    hint: str
    accept: str | None = None
    refuse: str | None = None
    validator: str | None = None
    inside: bool = False

    @property
    def example(self) -> str:
        return self.examples[0]

    @property
    def counter_example(self) -> str:
        return self.counter_examples[0]


def whole_words(words: str) -> str:
    """Short keys, which would be found inside of other words (`mac` in `machine`): alone, after `_`, or as `aMac`."""
    camel = "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in words.split("|"))
    return rf"(?:\b|_|%[0-9A-F]{{2}})(?i:{words})|[a-z](?:{camel})"


_WORD_SIGN = rf"\s,;&|\"'(){{}}\[\]<>{MARKS}"
# Of HTML, with what ends a word without it: what stands for a quote or a blank is part of the value.
ENTITY = r"&(?:amp;)*#[0-9A-Za-z]{1,7};"
WORD = rf"(?:[^=:\\{_WORD_SIGN}]|{ENTITY})(?:[^{_WORD_SIGN}]|{ENTITY})*"

# What may follow a word that names a value: deviceImei1, imei[0], token_md5, ro.serialno
_WORD_SUFFIX = (
    r"(?i:[_ .-]?(?:id|no|nr|num|nummer|number|name|code|hash|md5|sha1|sha256|value|str|raw|hex|dec|new|old|prod|dev"
    r"|confirm(?:ation)?|repeat|post)){0,2}"
)
# A key is a run of words, and for a value of a shape of its own one word may name it wherever it stands: cnp_client,
# tajSzam, numero.cpr.paciente. The next word begins behind a sign or with one capital, so that PANEL is no PAN.
# No more of it than need be, or the first digits behind it would count as part of the key.
_MORE_WORDS = rf"(?:[_.-][\w{BEYOND_ASCII}.-]*?|[A-Z][a-z][\w{BEYOND_ASCII}.-]*?)??(?:\[[0-9]+\])?"
# What such a key names then is not the value, but how large it is, or when it was.
_MEASURES = (
    r"(?:(?i:time|stamp|millis|nanos|count|size|length|len|version|offset|date|elapsed|duration|expire[sd]?|ttl|index)"
    r"|[_.-](?:at|ts|ms|ns|len|ptr|x|y)|At|Ts|Ms|Ns|Ptr|X|Y)"
)
_SUFFIX = rf"{_WORD_SUFFIX}(?: ?[0-9]|_[0-9]|\[[0-9]\]|\([0-9]\))??"
_SIGN = r"(?:[=-]>|==?|:=?|：|＝|%3[AaDd])"
_QUOTE = r"(?:\\*[\"']|%22|&quot;)"
# Closing quote and bracket of the key and a sign, plain or escaped; or the markup between an element and its text.
SEPARATOR = (
    rf"(?:(?:{_QUOTE}|\(\))?\]?[ \t]*{_SIGN}[ \t]*(?:%22|&quot;)?"
    rf"|[\"']?[ \t]?/?>|</(?:key|name)>[ \t]*<(?:string|value)>|[\"'][ \t]{{1,3}}(?:android:)?value[ \t]?=[ \t]?)"
)
# What people write between a word and its number in a sentence: nothing; small words; whose it is, or which.
LOOSELY = (
    r"[ \t]+(?:(?:(?i:is|was|set|changed|found|got|equals|return(?:s|ed)|to|from|of|for|nr|no|num(?:ber|mer|ero)?|code)"
    r"\b\.?:?[ \t]*){1,2}|[№#:][ \t]?|n[°º.][ \t]?)?"
)
_LETTERS = rf"[A-Za-z{BEYOND_ASCII}]+"
# Between a key and digits that are one word: pesel_44051401359, imei-490154203237518.
JOINED = r"[#/_.-]"
OF_SOMEBODY = rf"{LOOSELY}|{JOINED}?|[ \t]{_LETTERS}[ \t]|(?:[ \t]{_LETTERS}){{1,2}}\.?[ \t]?[:=][ \t]{{0,2}}"
OF_A_SLOT = (
    rf"{LOOSELY}|{JOINED}?|[ \t](?i:(?:of|for|in|on)[ \t])?(?i:slot|sim|sub(?:[_ ]?id)?|phone|subscription|modem)"
    r"[ \t#]{0,2}[0-9](?:[ \t]is|[ \t]?[:=]|,)?[ \t]{1,2}"
)
# How a separator begins, which is enough to look closer.
SEPARATOR_HINT = rf"(?:{_QUOTE}|\(\))?\]?[ \t]*(?:[=:>：＝]|->|/>|%3|android:|value|</(?:key|name)>)"
OPENING = r"(?:\\+[\"']|[bu]?[\"']|[(\[{<]){0,2}"

# A name may hold blanks: it ends before a sign, or before the next key.
NAME = rf"(?:[^\s\"',;=:\[\](){{}}<>&{MARKS}]|{ENTITY}|&)(?:[^,;&\]}}\n]|{ENTITY}|&[^#])*?"
NAME_END = r"\s[\w.-]+[=:]|[,;\]}]|&(?:amp;)?[\w.-]+=|</|$"
# How people's names are written: words with a capital and small words between them, words of an alphabet without
# capitals, or signs of which each is a word.
_CAPITALS = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽŁŃŅŇŌŎŐŒŔŖŘŚŜŞŠŢŤŨŪŬŮŰŲŴŶŸŹŻŽȘȚΆ-ΫЀ-Я"
_NAME_WORD = rf"[{_CAPITALS}][A-Za-z{BEYOND_ASCII}'’.-]*"
_NEXT = rf" (?:(?:van|von|de|der|den|del|della|di|da|dos|la|le|bin|ibn|al|el|ter|ten|zu) ){{0,2}}{_NAME_WORD}"
_UNCASED = "[֐-ჿ]+"
PERSON = rf"(?:{_NAME_WORD}(?:{_NEXT}){{0,3}}|{_UNCASED}(?: {_UNCASED})?|[぀-鿿가-힣·]{{2,8}})"
FULL_NAME = rf"(?:{_NAME_WORD}(?:{_NEXT}){{1,3}}|{_UNCASED} {_UNCASED})"

# What stands behind a key and tells nothing about anybody, and how a sentence about it goes on.
NOTHING = (
    r"(?i:null|nil|none|undefined|empty|unset|unknown|unspecified|n/?a|nan|true|false|yes|no|on|off|enabled|disabled"
    r"|default|redacted|hidden|masked|filtered|[*•xX]{2,}|[*.?-]+|%[0-9$]*[sdxl@]+|\$\{?\w+\}?|-1|0|0x0+)"
)
SENTENCE = (
    r"(?i:ok(?:ay)?|is|was|not|must|missing|(?:in)?valid|(?:in)?correct|wrong|expired|required|optional|present|absent"
    r"|removed|success(?:ful)?|fail(?:ed|ure|s)?|error|changed|updated|changing|updating)"
)
# What a program prints of itself: objects (Token{1f3a ActivityRecord{...}}, BinderProxy@1f3a), the first field of one,
# enums, and classes by their full names.
PRINTED = (
    r"[\w.$]*[A-Za-z$](?:@[0-9a-f]{1,8}| ?[\[{(])|\w+:|[A-Z]+(?:_[A-Z]+)+"
    r"|[A-Za-z_]\w*(?:::~?[A-Za-z_]\w*)+"  # a name of C++ or Rust
    r"|u:(?:object_)?r:[\w:.,-]+"  # a context of SELinux
    r"|(?:com|org|net|io|androidx?|javax?|kotlinx?|dalvik|libcore|miuix?)\.[\w.$]+(?::[0-9]+)?"
)
# What is left of the signs around a value that is replaced already.
_SIGNS_LEFT = r"[bu][\"']?|%22|&quot;"
_PRINTING = r"(?:\{|\[|\(| \{)?"


def head(keys: str) -> str:
    """A key with all that stands between it and its value."""
    return rf"(?:{keys}){_SUFFIX}{SEPARATOR}"


def named_text(
    *, keys: str, tag: str, bare: str = WORD, end: str = _PRINTING, refuse: str = "", sentence: str = SENTENCE, **more
) -> Recogniser:
    """Any text behind a key that names it: `key=value`, `"key": "value"`, also escaped or as XML. The key stays.

    `bare` is what counts as the value when it stands without quotes, and `end` what may follow it, which stays too.
    Refused are values that tell nothing, those in `refuse`, and behind a colon and a blank the words in `sentence`.
    """
    values = [
        rf"(\\+[\"'])[^\"'\\\n{MARKS}][^\"'\\\n]*",  # JSON inside of JSON
        rf"([bu]?\")(?:[^\"\\\n{MARKS}]|\\.)(?:[^\"\\\n]|\\.)*",
        rf"([bu]?')[^'\n{MARKS}][^'\n]*",
        rf"([(\[{{<]{{0,2}})(?:{bare})({end})",
    ]
    return Recogniser(
        tag=tag,
        inside=True,
        pattern=rf"({head(keys)})(?:{'|'.join(values)})",
        replacement=rf"\1\2\3\4\5<{tag}>\6",
        hint=rf"(?:{keys}){_SUFFIX}{SEPARATOR_HINT}",
        refuse=rf"(?:{keys}){_SUFFIX}[\"']?[ \t]?/?><.*"  # an element without a text
        rf"|{head(keys)}{OPENING}(?:(?:(?:\w+=)?{NOTHING}\)?|{_SIGNS_LEFT}{'|' + refuse if refuse else ''})(?:{end}))"
        rf"|(?:{keys}){_SUFFIX}: (?:{sentence})(?:{end})",
        **more,
    )


def named_shape(
    *,
    keys: str,
    tag: str,
    shape: str,
    start: str = "",
    loosely: str = "",
    anywhere: bool = False,
    refuse: str = "",
    **more,
) -> Recogniser:
    """A value of one shape behind a key that names it. The key stays.

    `start` is how such a value begins; without it the key alone is the hint, which is for keys that are rare.
    `loosely` is what may stand between them for a sign. `anywhere`, other words may follow the one that names it.
    """
    words = rf"{_SUFFIX}{_MORE_WORDS}" if anywhere else _SUFFIX
    loose = rf"|{words if anywhere else _WORD_SUFFIX}(?:{loosely})" if loosely else ""
    key = rf"(?:{keys})(?:{words}{SEPARATOR}{loose}){OPENING}"
    measures = rf"(?:{keys})[\w.-]*{_MEASURES}(?:{SEPARATOR}|[ \t]).*" if anywhere else ""
    return Recogniser(
        tag=tag,
        pattern=rf"({key})(?:{shape})",
        replacement=rf"\1<{tag}>",
        hint=rf"{key}(?:{start})" if start else keys,
        refuse="|".join(filter(None, (refuse, measures))) or None,
        **more,
    )

r"""What identifies somebody in free text: one table, applied from top to bottom.

A pattern is RE2 syntax, so it is linear in the text and knows no lookaround. Three conventions keep the table small:

- A run of digits or octets is matched *whole* (`[0-9]{15,}`), and `accept` then judges the candidate. That replaces
  lookaround: a hash of 40 digits is not an IMEI with 25 digits left over.
- The bytes \x01 to \x04 are marks of the engine. A value may not begin with one, so what has been replaced once is
  left alone.
- `hint` is a cheaper pattern that occurs wherever `pattern` does; a text without any hint is clean.

The values in the examples are test numbers and reserved names.
"""

from dataclasses import dataclass

MARKS = r"\x01-\x04"


@dataclass(frozen=True)
class Recogniser:
    """One kind of identifying text, and what takes its place.

    `replacement` holds `<tag>` once and may keep groups of the pattern (`\\1`). With `accept` (RE2, matched against the
    whole candidate) or `validator` (the name of a checksum) only the candidates that pass are replaced, and nothing of
    a candidate is kept. `clause` is the duty that forbids the value to pass.
    """

    name: str
    tag: str
    pattern: str
    replacement: str
    clause: str
    example: str
    counter_example: str
    hint: str
    accept: str | None = None
    validator: str | None = None


def _whole_words(words: str) -> str:
    """Short keys, which would be found inside of other words (`mac` in `machine`): alone, after `_`, or as `aMac`."""
    camel = "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in words.split("|"))
    return rf"(?:\b|_)(?i:{words})|[a-z](?:{camel})"


# The keys that name an identifier or a secret, by recogniser.
_KEYS = {
    "header": r"\b(?i:(?:set-)?cookie2?|(?:proxy-)?authorization|x-(?:api-key|auth-token|forwarded-for|real-ip))",
    "password": r"(?i:passw(?:or)?d|pass(?:phrase|code)|pwd)",
    "secret": r"(?i:token|secret|session|jwt|credentials?|csrf|xsrf"
    r"|(?:api|access|auth|private|client|signing|master)[_ -]?key)|" + _whole_words("auth|otp|pin|sid"),
    "device_id": r"(?i:imei|imsi|iccid|serial|oaid|gaid|aaid|vaid|udid|idfa"
    r"|(?:android|device|space|instance|install(?:ation)?|advertising)[_ -]?id)|" + _whole_words("meid|ad[_-]?id"),
    "mac_pair": _whole_words("bssid|mac(?:[_ -]?addr(?:ess)?)?"),
    "ssid": _whole_words("ssid"),
    "phone_pair": r"(?i:phone|msisdn|whatsapp)|" + _whole_words("tel|mobile|cell|sms|caller|callee"),
    "email_pair": r"(?i:e-?mail(?:[_ -]?addr(?:ess)?)?)",
    "user": r"(?i:(?:nick|full|first|last|display|sur|given|family)[_ -]?name|account[ ]?\{[ ]?name)|"
    + _whole_words("user|account|login"),
    "location_pair": r"(?i:latitude|longitude|cell[_ -]?id|lat[_ ]?ln?g|coordinates?)|"
    + _whole_words("lat|lon|lng|geo|lac|location"),
}
_SUFFIX = r"(?i:[_ .-]?(?:id|no|num|number|name|hash|md5|sha1|sha256|value|[0-9]))?"
# Closing quote and bracket, then the separator, plain or percent-encoded.
_SEPARATOR = r"(?:\\*[\"']|%22)?\]?[ \t]{0,3}(?:=>?|:|%3[AaDd])[ \t]{0,3}(?:%22)?"
_WORD = rf"[^\s,;&|\"'(){{}}\[\]<>{MARKS}]+"


def _pair(name: str, tag: str, clause: str, example: str, counter_example: str, bare: str = _WORD) -> Recogniser:
    """A value behind a key that names what it is: `key=value`, `"key": "value"`, also escaped. The key stays.

    `bare` is what counts as the value when it stands without quotes.
    """
    key = rf"(?:{_KEYS[name]}){_SUFFIX}{_SEPARATOR}"
    values = [
        rf"(\\+[\"'])[^\"'\\\n{MARKS}][^\"'\\\n]*",  # JSON inside of JSON
        rf"(\")(?:[^\"\\\n{MARKS}]|\\.)(?:[^\"\\\n]|\\.)*",
        rf"(')[^'\n{MARKS}][^'\n]*",
        rf"([(\[{{<]{{0,2}})(?:{bare})",
    ]
    return Recogniser(
        name=name,
        tag=tag,
        pattern=rf"({key})(?:{'|'.join(values)})",
        replacement=rf"\1\2\3\4\5<{tag}>",
        clause=clause,
        example=example,
        counter_example=counter_example,
        hint=rf"{key}[^\s{MARKS}]",
    )


# The pairs go first: a key tells more than the shape of a value, and the value may hold blanks that a shape would not.
_PAIRS = (
    _pair(
        "header",
        "SECRET",
        "1.1.2-log",
        example="Cookie: sid=31d4d96e407aad42; theme=dark",
        counter_example="Content-Type: text/html; charset=utf-8",
        bare=rf"[^\s\"'{MARKS}][^\n]*",
    ),
    _pair(
        "password",
        "PASSWORD",
        "1.1.1",
        example="login failed, password=correct;horse",
        counter_example="PasswordFragment.kt:31",
        bare=rf"[^\s\"'{MARKS}]\S*",
    ),
    _pair(
        "secret",
        "SECRET",
        "1.1.1",
        example='{"refresh_token":"1/fFAGRNJru1FTz70BzhT3Zg"}',
        counter_example="TokenRefresher.refresh(TokenRefresher.java:88)",
    ),
    _pair(
        "device_id",
        "DEVICE_ID",
        "1.1.2-dev",
        example="android_id=9774d56d682e549c state=bound",
        counter_example="stream classdesc serialVersionUID = 42, local class serialVersionUID = 43",
    ),
    _pair(
        "mac_pair",
        "MAC",
        "1.1.2-dev",
        example="wlan0 mac=02005e105f00 up",
        counter_example="machine=arm64 macro:7",
    ),
    _pair(
        "ssid",
        "SSID",
        "1.1.2-loc",
        example='SSID: "Jansen thuis", rssi: -61',
        counter_example="reading the SSID is not permitted",
        bare=rf"[^\s\"',;<>{MARKS}][^,;\n]*",
    ),
    _pair(
        "phone_pair",
        "PHONE",
        "1.1.1",
        example="dialling, phone: 06 1234 5678",
        counter_example="mobile: CONNECTED",
        bare=r"[+(]?[0-9](?:[ ().-]{0,2}[0-9]){4,}",
    ),
    _pair(
        "email_pair",
        "EMAIL",
        "1.1.1",
        example="email=bob@intranet",
        counter_example="EmailComposer.send(EmailComposer.kt:12)",
    ),
    _pair(
        "user",
        "USER",
        "1.1.1",
        example="userName: Ada Lovelace signed in",
        counter_example="UserManager.getUsers(UserManager.java:402)",
        bare=rf"[A-Z][\w'.-]*(?: [A-Z][\w'.-]*){{1,3}}|{_WORD}",
    ),
    _pair(
        "location_pair",
        "LOCATION",
        "1.1.2-loc",
        example="fix at lat=52.379",
        counter_example="latency=12 platform=sm8550",
        bare=rf"-?[0-9]+(?:\.[0-9]+)?(?:[,;] ?-?[0-9]+\.[0-9]+)?|{_WORD}",
    ),
)

_HEX2 = r"[0-9A-Fa-f]{2}"
_HEX4 = r"[0-9A-Fa-f]{1,4}"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_LETTER = r"A-Za-z\x{80}-\x{10FFFF}"
_LABEL = rf"[0-9]*[{_LETTER}][\w{_LETTER}-]*\."

# Sixteen hexadecimal digits, the first four of them not all zero, and a letter at the earliest at place k.
_NOT_ZEROS = "|".join(rf"0{{{zeros}}}[1-9A-Fa-f][0-9A-Fa-f]{{{3 - zeros}}}" for zeros in range(4))
_NOT_ZEROS_DECIMAL = "|".join(rf"0{{{zeros}}}[1-9][0-9]{{{3 - zeros}}}" for zeros in range(4))
_HEX_ID = "|".join(
    [rf"[0-9]{{{k}}}[A-Fa-f][0-9A-Fa-f]{{{15 - k}}}" for k in range(4)]
    + [rf"(?:{_NOT_ZEROS_DECIMAL})[0-9]{{{k - 4}}}[A-Fa-f][0-9A-Fa-f]{{{15 - k}}}" for k in range(4, 16)]
)

_SHAPES = (
    Recogniser(
        name="jwt",
        tag="SECRET",
        pattern=r"eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?",
        replacement="<SECRET>",
        clause="1.1.1",
        example="got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        counter_example="heyJude.play(Song.java:3)",
        hint=r"eyJ[\w-]{8}",
    ),
    Recogniser(
        name="bearer",
        tag="SECRET",
        # base64 has a digit, a sign or a capital inside; "basic authentication" has not
        pattern=r"\b((?i:bearer|basic)[ \t]+)[A-Za-z]*(?:[0-9+/=_~]|[a-z][A-Z])[\w.~+/=-]*",
        replacement=r"\1<SECRET>",
        clause="1.1.1",
        example="sent Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        counter_example="the server asked for basic authentication",
        hint=r"\b(?i:bearer|basic)[ \t]+[A-Za-z0-9]",
    ),
    Recogniser(
        name="provider_key",
        tag="SECRET",
        pattern=r"\b(?:A(?:KIA|SIA|IDA|ROA)[0-9A-Z]{16}|gh[pousr]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
        r"|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}|[rs]k_live_\w{16,})",
        replacement="<SECRET>",
        clause="1.1.1",
        example="uploading with AKIAIOSFODNN7EXAMPLE",
        counter_example="AKIA is a prefix",
        hint=r"\b(?:A(?:KIA|SIA|IDA|ROA)[0-9A-Z]{16}|gh[pousr]_\w{9}|github_pat_|glpat-|xox[abeoprs]-|AIza[\w-]{9}|ya29\."
        r"|[rs]k_live_)",
    ),
    Recogniser(
        name="url_user",
        tag="USER",
        pattern=rf"(://)[^\s/?#\"'{MARKS}][^\s/?#\"']*@",
        replacement=r"\1<USER>@",
        clause="1.1.1",
        example="GET https://bob:hunter2@example.com/feed",
        counter_example="GET https://example.com/@bob",
        hint=rf"://[^\s/?#\"'{MARKS}][^\s/?#\"']*@",
    ),
    Recogniser(
        name="url_query",
        tag="VALUE",
        pattern=rf"([?&][\w.~%\[\]-]+=)[^\s&#\"'{MARKS}][^\s&#\"']*",
        replacement=r"\1<VALUE>",
        clause="1.1.2-log",
        example="https://example.com/search?q=flat+feet&page=2",
        counter_example="https://example.com/search?help",
        hint=rf"[?&][\w.~%\[\]-]+=[^\s&#\"'{MARKS}]",
    ),
    Recogniser(
        name="email",
        tag="EMAIL",
        # A label of digits alone is a domain in China (163.com) and a version of a HAL (composer@2.1-service.rc).
        pattern=rf"[^\s@<>\"'(),:;\[\]\\{{}}=&?/|{MARKS}]+(?:@|%40)"
        rf"(?:[0-9]+\.(?:{_LABEL})*|[0-9-]*(?:{_LABEL})+)[{_LETTER}]{{2,24}}",
        replacement="<EMAIL>",
        clause="1.1.1",
        example="no such address: a.b+c@mail.example.org",
        counter_example="android.hardware.graphics.mapper@2.0-impl.so",
        hint=rf"(?:@|%40)[\w{_LETTER}-]+\.[0-9]*[{_LETTER}]",
    ),
    Recogniser(
        name="coordinates",
        tag="LOCATION",
        pattern=r"-?[0-9]{1,3}\.[0-9]{4,} ?[,;] ?-?[0-9]{1,3}\.[0-9]{4,}",
        replacement="<LOCATION>",
        clause="1.1.2-loc",
        example="Location[gps 52.379189,4.899431 hAcc=20]",
        counter_example="RectF(0.0, 63.0, 1080.0, 2205.0)",
        hint=r"\.[0-9]{4,} ?[,;] ?-?[0-9]{1,3}\.",
    ),
    Recogniser(
        name="uuid",
        tag="UUID",
        pattern=r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
        replacement="<UUID>",
        clause="1.1.2-app",
        example="instance 123e4567-e89b-12d3-a456-426614174000",
        counter_example="BuildId: 2f9a1c0d8b7e6f5a4b3c2d1e0f9a8b7c",
        hint=r"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-",
    ),
    Recogniser(
        name="mac",
        tag="MAC",
        # six octets or eight; a longer run is the fingerprint of a certificate, four digits at its front a date
        pattern=rf"(?:[0-9]{{2}})?{_HEX2}(?:[:-]{_HEX2}){{5,}}",
        accept=rf"{_HEX2}(?:[:-]{_HEX2}){{5}}(?:(?:[:-]{_HEX2}){{2}})?",
        replacement="<MAC>",
        clause="1.1.2-dev",
        example="associated with 00:00:5e:00:53:af",
        counter_example="backup-2026-01-02-03-04-05.tar",
        hint=rf"[:-]{_HEX2}[:-]{_HEX2}[:-]{_HEX2}[:-]",
    ),
    Recogniser(
        name="ipv6",
        tag="IP",
        pattern=rf"(?:\b(?:{_HEX4}:){{7,}}{_HEX4}\b|\b(?:{_HEX4}:){{1,6}}(?::{_HEX4}){{0,5}}:(?:{_IPV4}|{_HEX4})\b"
        rf"|\b(?:{_HEX4}:){{1,7}}:\B|\B::(?:{_HEX4}:){{0,6}}(?:{_IPV4}|{_HEX4})\b)(?:%\w+)?",
        # more than eight groups are the fingerprint of a certificate
        accept=rf".*::.*|(?:{_HEX4}:){{7}}{_HEX4}(?:%\w+)?",
        replacement="<IP>",
        clause="1.1.2-log",
        example="connect to [2001:db8::ff00:42:8329]:443",
        counter_example="art::Thread::Run and std::vector at 12:34:56",
        hint=rf"\b{_HEX4}::(?:{_HEX4}\b|\B)|:{_HEX4}:{_HEX4}:|:{_HEX4}::|\B::[0-9A-Fa-f]",
    ),
    Recogniser(
        name="ipv4",
        tag="IP",
        # What says version is part of the candidate, and so are the parts beyond a port: `accept` keeps both.
        pattern=r"(?:(?i:version\w{0,6}|\bver|\bv)['\"]?[ \t:=/(]{0,3}['\"]?"
        r"|\b(?i:chrom(?:e|ium)|webview|crosswalk|opr|edg[a-z]{0,3}|samsungbrowser)/)?"
        r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:\.[0-9]+)*(?:\.[A-Z]{6,8}\b)?",
        accept=rf"{_IPV4}(?:\.[0-9]{{1,5}})?",
        replacement="<IP>",
        clause="1.1.2-log",
        example="failed to connect to api.example.com/192.0.2.17 (port 443)",
        counter_example="MIUI V14.0.3.0.TKBEUXM, Chrome/120.0.0.0, versionName=1.2.3.4, OID 1.3.6.1.4.1.11129",
        hint=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    ),
    Recogniser(
        name="card",
        tag="CARD",
        pattern=r"[0-9]{14,}|[0-9]{4}(?:[ -][0-9]{4}){3}|3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}",
        # Visa, Mastercard, Maestro, Mir, Amex, Diners, JCB, UnionPay, Discover, RuPay: first digits and length
        accept=r"(?:4[0-9]|5[0-8]|2[2-7]|35|6[0-9]|8[12])[0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[0-9]{0,3}"
        r"|3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}|3[0689][0-9]{12}",
        validator="luhn",
        replacement="<CARD>",
        clause="1.1.1",
        example="charge 4111 1111 1111 1111 declined",
        counter_example="uptime 1700000000000000 us, order 4111111111111112",
        hint=r"(?:\b|[A-Za-z_])[2-68][0-9]{13}|[0-9][ -][0-9]{4}[ -][0-9]{4}[ -][0-9]|[0-9][ -][0-9]{6}[ -][0-9]{5}",
    ),
    Recogniser(
        name="imei",
        tag="IMEI",
        pattern=r"[0-9]{15,}|[0-9]{2}[ -][0-9]{6}[ -][0-9]{6}[ -][0-9]|[0-9]{6}-[0-9]{2}-[0-9]{6}-[0-9]",
        accept=r"[0-9]{15}|[0-9]+(?:[ -][0-9]+){3}",
        validator="luhn",
        replacement="<IMEI>",
        clause="1.1.2-dev",
        example="slot0:490154203237518",
        counter_example="elapsed 490154203237519 ns, pc 0000000000123456",
        hint=r"(?:\b|[A-Za-z_])[0-9]{15}(?:\b|[A-Za-z_])|[0-9][ -][0-9]{6}[ -][0-9]|[0-9]-[0-9]{2}-[0-9]{6}-[0-9]",
    ),
    Recogniser(
        name="phone",
        tag="PHONE",
        # E.164, 8 to 15 digits; behind a word, a bracket or a plus it is an offset into a symbol or a sum
        pattern=r"(^|[^\w)+]|\btel:|\bsms:|\bsmsto:)(?:\+|%2B)[1-9](?:[ .()-]{0,2}[0-9]){7,14}",
        replacement=r"\1<PHONE>",
        clause="1.1.1",
        example="call +31 (0)20 794 0800 ended",
        counter_example="libc.so (abort+12345678), zone +0200",
        hint=r"(?:\+|%2B)[1-9][0-9 .()-]{7}",
    ),
    Recogniser(
        name="bare_id",
        tag="ID",
        pattern=r"\b[0-9A-Fa-f]{16,}\b",
        replacement="<ID>",
        clause="1.1.2-dev",
        example="bound to 1f3a5c7e9b0d2468",
        counter_example="#00 pc 00000000000412ab  /system/lib64/libc.so",
        hint=rf"\b(?:{_NOT_ZEROS})[0-9A-Fa-f]{{12}}\b",
        # as long as an Android ID, with a letter, and no address: those begin with zeros, or with 0x
        accept=_HEX_ID,
    ),
    Recogniser(
        name="user_path",
        tag="USER",
        # /data/user/0/<package> names an application, not a person: it stays
        pattern=rf"(/home/|/Users/|/storage/emulated/)[^\s/\"':,;)\]{MARKS}]+"
        rf"|(\b[A-Za-z]:[\\/]{{1,4}}Users[\\/]{{1,4}})[^\\/:*?\"<>|\n{MARKS}]+",
        replacement=r"\1\2<USER>",
        clause="1.1.1",
        example="open /storage/emulated/10/DCIM and /home/jansen/x",
        counter_example="/data/user/0/com.example.app/files/cache.db",
        hint=rf"(?:/home/|/Users/|/storage/emulated/|[A-Za-z]:[\\/]{{1,4}}Users[\\/])[^{MARKS}]",
    ),
)

RECOGNISERS: tuple[Recogniser, ...] = _PAIRS + _SHAPES

# In a label there is no key beside a value, and no stack to keep: whatever is as long as an identifier goes. Four
# numbers between dots are a version there, where in a text they would be an address.
LABEL_RECOGNISERS: tuple[Recogniser, ...] = (
    *(recogniser for recogniser in RECOGNISERS if recogniser.name != "ipv4"),
    Recogniser(
        name="long_hex",
        tag="ID",
        pattern=r"\b[0-9A-Fa-f]{12,}\b",
        replacement="<ID>",
        clause="1.1-a",
        example="build 001010123456789",
        counter_example="build 20210301",
        hint=r"[0-9A-Fa-f]{12}",
        accept=r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32,}|[0-9]{14,15}",
    ),
    Recogniser(
        name="push_token",
        tag="TOKEN",
        pattern=r"[\w-]{4,}:[\w-]{20,}",
        replacement="<TOKEN>",
        clause="1.1-a",
        example="dGVzdA:APA91bExampleOnly_0123456789",
        counter_example="android:library",
        hint=r":[\w-]{20}",
    ),
)

"""Recognisers of addresses by their shape: of people, machines and places."""

from schemas.recogniser import BEYOND_ASCII, MARKS, Recogniser

_HEX2 = r"[0-9A-Fa-f]{2}"
_HEX4 = r"[0-9A-Fa-f]{1,4}"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_LETTER = rf"A-Za-z{BEYOND_ASCII}"
_LABEL = rf"[0-9]*[{_LETTER}][\w{_LETTER}-]*\."
_NOT_ZEROS = "|".join(rf"0{{{zeros}}}[1-9A-Fa-f][0-9A-Fa-f]{{{3 - zeros}}}" for zeros in range(4))
_DECIMAL = r"[-+]?[0-9]{1,3}\.[0-9]"
_DEGREES = r"(?:°|º|&deg;|%C2%B0)"
# What stands in the part of an address before its @ and would end it, unless it is escaped.
_ESCAPED = r"\\+(?:x|u00)2[1-9A-Fa-f]|&(?:amp;)*#(?:x2[1-9A-Fa-f]|3[3-9]|4[0-7]);"
_LOCAL = rf"(?:[^\s@<>\"'(),:;\[\]\\{{}}=&?/|{MARKS}]|{_ESCAPED})+"
_QUOTED = rf"[^\"@\s:;=,{MARKS}]"
_QUOTE_ESCAPED = r"(?:＂|%(?:25)*22|\\+(?:x|u00)22|&quot;|&(?:amp;)*#(?:x22|34);)"
_QUOTED_ESCAPED = rf"(?:[\w.+ '-]|%(?:25)*20|{_ESCAPED}|\\+(?:x|u00)20|&(?:amp;)*#(?:x20|32);)+"
# Protocols whose addresses say who logs in, and where: the machine tells of nobody.
_PROTOCOLS = (
    r"(?i:(?:https?|wss?|s?ftps?|ssh|git|svn|rtm?sps?|imaps?|smtps?|pops?3?s?|rediss?|amqps?|mqtts?|postgres(?:ql)?"
    r"|mysql"
    r"|mongodb|ldaps?|smb|cifs|nfs|vnc|rdp|socks[45]?h?|telnet|jdbc|file)(?:\+[a-z]+)?)"
)
_ANGLE = rf"[0-9]{{1,3}}(?:\.[0-9]+)? ?{_DEGREES}(?: ?[0-9.]{{1,8}} ?['′’](?: ?[0-9.]{{1,8}} ?(?:\"|″|”|''))?)?"

_URLS = (
    Recogniser(
        name="url_account",
        tag="EMAIL",
        clause="1.1.1",
        # The whole authority is an account where the scheme is none that logs in to a machine.
        pattern=rf"(\b[A-Za-z][\w+.-]*://)(?:[0-9]{{4}}"
        rf"|[0-9]{{0,3}}[^\s/?#\"'<>:@0-9{MARKS}])[^\s/?#\"'<>:@{MARKS}]*(?:@|%40)"
        rf"[^\s/?#\"'<>:@,;)\]}}{MARKS}]+",
        replacement=r"\1<EMAIL>",
        examples=("query content://bob@example.org/items/17", "calendar://li.wei@example.org/primary not found"),
        counter_examples=("content://10@media/external/images", "content://com.android.calendar/events/3"),
        hint=rf"://[^\s/?#\"'<>:@{MARKS}]+(?:@|%40)",
        refuse=rf"{_PROTOCOLS}://.*",
    ),
    Recogniser(
        name="url_user",
        tag="USER",
        clause="1.1.1",
        # three digits or fewer are the number of a profile: content://10@media
        pattern=rf"(://)(?:[0-9]{{4}}|[0-9]{{0,3}}[^\s/?#\"'@0-9{MARKS}])[^\s/?#\"']*@",
        replacement=r"\1<USER>@",
        examples=("GET https://bob:hunter2@example.com/feed",),
        counter_examples=("GET https://example.com/@bob", "content://10@media/external/images"),
        hint=rf"://[^\s/?#\"'{MARKS}][^\s/?#\"']*@",
    ),
    Recogniser(
        name="url_query",
        tag="VALUE",
        clause="1.1.2-log",
        # Colons and digits at the end are line and column of a script, of which a frame tells.
        pattern=rf"([?&][\w.~%\[\]-]+=)[^\s&#\"'<>:{MARKS}][^\s&#\"'<>:]*"
        r"(?::[^\s&#\"'<>:]*[^\s&#\"'<>:0-9)][^\s&#\"'<>:]*|:[0-9]{8,})*",
        replacement=r"\1<VALUE>",
        examples=("https://example.com/search?q=flat+feet&page=2", "/feed?since=12:30Z HTTP/1.1"),
        counter_examples=("https://example.com/search?help", "index.bundle?:12:30"),
        hint=rf"[?&][\w.~%\[\]-]+=[^\s&#\"'<>:{MARKS}]",
    ),
    Recogniser(
        name="url_fragment",
        tag="VALUE",
        clause="1.1.2-log",
        # intent://...#Intent;component=...;end tells of programs
        pattern=rf"(://(?:[^\s\"'<>#]*[^\s\"'<>#&])?#)(?:[^\s\"'<>#I{MARKS}]|I[^\s\"'<>#n])[^\s\"'<>]*",
        replacement=r"\1<VALUE>",
        examples=("https://example.com/profile#ada-lovelace",),
        counter_examples=("https://example.com/profile#", "intent://scan/#Intent;end", "http://example.com&#58;80/a"),
        hint=rf"://(?:[^\s\"'<>#]*[^\s\"'<>#&])?#[^\s\"'<>#{MARKS}]",
    ),
    Recogniser(
        name="email",
        tag="EMAIL",
        clause="1.1.1",
        # What is in quotes may be taken already, by its key.
        # A label of digits alone is a domain in China (163.com), and a version of an interface (composer@2.1-service).
        pattern=rf"(?:{_LOCAL}(?:'{_LOCAL})*|\"{_QUOTED}[^\"@\n:;=,]*\"|\"[<\x01]USER[>\x02]\""
        rf"|{_QUOTE_ESCAPED}{_QUOTED_ESCAPED}{_QUOTE_ESCAPED})"
        rf"(?:@|%40)(?:(?:[0-9]+\.(?:{_LABEL})*|[0-9-]*(?:{_LABEL})+)"
        rf"(?:(?i:xn--)[A-Za-z0-9-]{{2,59}}|[{_LETTER}]{{2,24}})|\[{_IPV4}\])",
        replacement="<EMAIL>",
        examples=(
            "no such address: a.b+c@mail.example.org",
            "li.wei%40163.com",
            "пётр@пример.рф",
            '"j doe"@example.org',
            "o'neil@example.org",
            r"<o\x27neil@example.org>",
            r"mailto:\u0022j\u0020doe\u0022@example.org",
            "sync of &#x22;j&#x20;doe&#x22;@example.org",
            '"<USER>"@example.org',
        ),
        counter_examples=(
            "android.hardware.graphics.mapper@2.0-impl.so",
            "ViewRootImpl@4f2a1c9.onDraw",
            "render@index.bundle:12",
        ),
        hint=rf"(?:@|%40)(?:[\w{_LETTER}-]+\.[0-9]*[{_LETTER}]|\[)",
        # the method of an object that is named by its number, and the function of a script
        refuse=r".*@[a-f]{0,7}[0-9][0-9a-f]{3,7}\.(?:[a-z]+[A-Z][A-Za-z]*|[A-Z][a-z]+|[a-z]{5,})"
        r"|.*@.*\.(?i:(?:js)?bundle|[cm]?jsx?|tsx?|hbc|html?|vue|wasm)",
    ),
    Recogniser(
        name="content_account",
        tag="EMAIL",
        clause="1.1.1",
        pattern=rf"(content://[^\s\"'/]+/(?:[^\s\"'/]+/)*)[^\s\"'/@{MARKS}]+(?:@|%40)[^\s\"'/?#]+",
        replacement=r"\1<EMAIL>",
        examples=("content://com.android.calendar/events/bob@work/3",),
        counter_examples=("content://com.android.calendar/events/3",),
        hint=r"content://[^\s\"'/]+/[^\s\"']*(?:@|%40)",
    ),
)

_PLACES = (
    Recogniser(
        name="coordinates",
        tag="LOCATION",
        clause="1.1.2-loc",
        # Two numbers, in a row by themselves: three and more are a vector, and both below one are no land.
        # What draws has pairs, too: `accept` keeps them.
        pattern=rf"(?:\b(?i:translate|scale|size|offset|pivot|rect|bounds|range|velocity|scroll|touch)[ =]?\()?"
        rf"(Location\[\w+ |(?i:latlng|geopoint|point)[ (:\[=]{{1,3}})?"
        rf"(?:{_DECIMAL}[0-9]*\**(?:(?: ?[,;/] ?| ){_DECIMAL}[0-9]*\**)+|-?[0-9]+,[0-9]{{4,}},-?[0-9]+,[0-9]{{4,}}"
        rf"|(?:[NS] ?)?{_ANGLE} ?[NSns]?[,;]? ?(?:[EWO] ?)?{_ANGLE}(?: ?[EWOew]\b)?"
        r"|\b[0-9]{4}\.[0-9]+,[NS],[0-9]{5}\.[0-9]+,[EW]\b)",
        accept=r"(?:Location|(?i:latlng|geopoint|point)).*|.*(?:°|º|&deg;|%C2%B0).*|.*,[EW]"
        r"|[-+]?[1-9][0-9]{0,2}\.[0-9]{4,} ?[,;/] ?[-+]?[0-9]{1,3}\.[0-9]{4,}"
        r"|[-+]?[0-9]{1,3}\.[0-9]{4,} ?[,;/] ?[-+]?[1-9][0-9]{0,2}\.[0-9]{4,}"
        r"|[-+]?[1-9][0-9]{0,2}\.[0-9]{5,} [-+]?[1-9][0-9]{0,2}\.[0-9]{5,}",
        replacement=r"\1<LOCATION>",
        examples=(
            "Location[gps 52.379189,4.899431 hAcc=20]",
            "52°22'44.4\"N 4°53'57.9\"E",
            "LatLng(52.1, 4.2)",
            "$GPGGA,123519,5222.038,N,00453.000,E,1,08",
        ),
        counter_examples=("RectF(0.0, 63.0, 1080.0, 2205.0)", "[0.70711,0.00000,0.70711]", "(0.12345, 0.67890)"),
        hint=rf"\.[0-9]{{4,}} ?[ ,;/] ?[-+]?[0-9]{{1,3}}\.[0-9]{{4}}|Location\[\w+ [-0-9]|(?i:latlng"
        rf"|point)[ (:\[=]{{1,3}}[-+0-9]"
        rf"|{_DEGREES} ?[0-9NS]|[0-9],[NS],[0-9]{{5}}\.",
    ),
)

MACHINES: tuple[Recogniser, ...] = (
    Recogniser(
        name="uuid",
        tag="UUID",
        clause="1.1.2-app",
        pattern=r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
        replacement="<UUID>",
        examples=("instance 123e4567-e89b-12d3-a456-426614174000", "urn:uuid:123e4567-e89b-12d3-a456-426614174000"),
        counter_examples=("BuildId: 2f9a1c0d8b7e6f5a4b3c2d1e0f9a8b7c", "0000110b-0000-1000-8000-00805f9b34fb"),
        hint=r"-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-",
        # numbers that Bluetooth assigns to services, and the one that stands for none
        refuse=r"(?i:[0-9a-f]{8}-0000-1000-8000-00805f9b34fb)|[0-]+",
    ),
    Recogniser(
        name="mac",
        tag="MAC",
        clause="1.1.2-dev",
        # six octets or eight; a longer run is the fingerprint of a certificate, four digits at its front a date
        pattern=rf"(?:[0-9]{{2}})?(?:{_HEX2}|[Xx*]{{2}})(?:[:_-](?:{_HEX2}|[Xx*]{{2}})){{5,}}"
        r"|\b[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4})+\b",
        accept=rf"(?:{_HEX2}|[Xx*]{{2}})(?:[:_-](?:{_HEX2}"
        rf"|[Xx*]{{2}})){{3}}(?:[:_-]{_HEX2}){{2}}(?:(?:[:_-]{_HEX2}){{2}})?"
        r"|(?:[0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4}",
        # versions and dates
        refuse=r"[0-9._]+",
        replacement="<MAC>",
        examples=("associated with 00:00:5e:00:53:af", "dev_00_00_5E_00_53_AF", "0200.5e10.00af", "XX:XX:XX:XX:53:AF"),
        counter_examples=("backup-2026-01-02-03-04-05.tar", "version 2026.0101.1200", "XX:XX:XX:XX:XX:XX"),
        hint=rf"(?:[:_-](?:{_HEX2}|[Xx*]{{2}})){{5}}|\.[0-9A-Fa-f]{{4}}\.[0-9A-Fa-f]{{4}}\b",
    ),
    Recogniser(
        name="ipv6",
        tag="IP",
        clause="1.1.2-log",
        pattern=rf"\b\w+::(?:\w+::)*\w+\(|\b\w+::\w+(?:::\w+)+|(?:\b(?:{_HEX4}:){{7,}}{_HEX4}\b"
        rf"|\b(?:{_HEX4}:){{6}}{_IPV4}\b"
        rf"|\b(?:{_HEX4}:){{1,6}}(?::{_HEX4}){{0,5}}:(?:{_IPV4}|{_HEX4})\b"
        rf"|\b(?:{_HEX4}:){{1,7}}:\B|\B::(?:{_HEX4}:){{0,6}}(?:{_IPV4}|{_HEX4})\b)(?:%\w+)?",
        # more than eight groups are the fingerprint of a certificate
        # ... and a ninth is a port, where it stands without brackets
        accept=rf".*::.*|(?:{_HEX4}:){{7}}{_HEX4}(?:%\w+|:[0-9]{{2,4}})?|(?:{_HEX4}:){{6}}[0-9.]+(?:%\w+)?",
        # the loopback, and the names of C++
        refuse=r"::1|[A-Fa-f:]+|.*::.*(?:::|\().*",
        replacement="<IP>",
        examples=(
            "connect to [2001:db8::ff00:42:8329]:443",
            "from fe80::1ff:fe23:4567:890a%wlan0",
            "::ffff:192.0.2.1",
            "example.com/2001:db8:0:1:1ff:fe23:4567:890a:443",
        ),
        counter_examples=(
            "art::Thread::Run and std::vector at 12:34:56",
            "cafe::babe::add",
            "[::1]:8080",
            "a::b::c::d86() a::d8(1)",
        ),
        hint=rf"[0-9A-Fa-f]::(?:{_HEX4}\b|\B)|:{_HEX4}:{_HEX4}:|:{_HEX4}::|\B::[0-9A-Fa-f]",
    ),
    Recogniser(
        name="ipv4",
        tag="IP",
        clause="1.1.2-log",
        # What says version is part of the candidate, and so are the parts beyond a port: `accept` keeps both.
        pattern=r"(?:(?i:version\w{0,6}|\bver|\bv|\brelease|\bbuild|\bsdk|\bfirmware|\brom|\bdriver|\bmiui|\bapi)"
        r"['\"]?[ \t:=/(_-]{0,3}['\"]?|~|\bv[0-9]+ \(|\bso\."
        r"|\b(?i:chrom(?:e|ium)|webview|crosswalk|opr|edg[a-z]{0,3}|samsungbrowser)/)?"
        r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[-T_ .])?[0-9]+(?:\.[0-9]+){3,}"
        r"(?:\.[A-Z]{6,8}\b| ?\([0-9]{6,}\)|[.@-](?:jar|aar|apk|so|tar|zip)\b"
        r"| \((?:Linux|Android|Windows|iP|Mac|X11|compatible))?"
        r"|\bip(?:-[0-9]{1,3}){4}\b",
        accept=rf"{_IPV4}(?:\.[0-9]{{3,5}})?|(?:[0-9]{{3}}\.){{3}}[0-9]{{3}}|ip-[0-9-]+",
        refuse=r"127\.0\.0\.1|0\.0\.0\.0|255\.(?:255|0\.0)\..*",
        replacement="<IP>",
        examples=("failed to connect to api.example.com/192.0.2.17 (port 443)", "host ip-10-0-3-17 is down"),
        counter_examples=(
            "MIUI V14.0.3.0.TKBEUXM, Chrome/120.0.0.0, versionName=1.2.3.4, OID 1.3.6.1.4.1.11129",
            "notes 8.20.1.0 (820100), libfoo.so.6.37.3.2, com.example:notes:4.6.3.8@aar, v820100 (8.20.1.0)",
            "driver-8.0.11.1.jar, 2005-06-03-15.49.36.156884, localhost/127.0.0.1:8081",
        ),
        hint=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|\bip-[0-9]+-[0-9]+-",
    ),
    Recogniser(
        name="bare_id",
        tag="ID",
        clause="1.1.2-dev",
        # As long as an Android ID, with a letter, and no address (those begin with zeros, or with 0x), nor what a
        # build, or a content that is kept, is known by.
        pattern=r"(?:(?i:build[_ .-]?id|commit|revision|hash|sha[0-9-]*|digest|checksum|crc[0-9]*|rev|addr(?:ess)?"
        r"|e-?tag|if-(?:none-)?match|cache|hit|miss(?:ed)?|shader|program|pipeline|profile|blob|object|chunk|block"
        r"|fingerprint|signature|version|(?:trace|span|request|correlation)[_ .-]?(?:id)?"
        r"|pc|lr|sp|x[0-9]{1,2})(?:[ _](?i:key|hash|hit|miss))?['\"]?[ :=(]{1,4}(?:W/)?['\"]?)?"
        r"\b[0-9A-Fa-f]{16,}\b(?:\.[a-z]\w{1,7}\b)?",
        accept=r"[0-9A-Fa-f]{16}",
        refuse=r"0000.*|[0-9]+|b4000.*",
        replacement="<ID>",
        examples=("bound to 1f3a5c7e9b0d2468",),
        counter_examples=(
            "#00 pc 00000000000412ab  /system/lib64/libc.so",
            "(BuildId: 1f3a5c7e9b0d2468)",
            'etag "1f3a5c7e9b0d2468"',
        ),
        hint=rf"\b(?:{_NOT_ZEROS})[0-9A-Fa-f]{{12}}\b",
    ),
)

ADDRESSES: tuple[Recogniser, ...] = _URLS + _PLACES

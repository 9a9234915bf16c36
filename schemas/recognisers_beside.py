"""Recognisers of what tells of a person, or opens something, because of what is found beside it.

A tag stands between marks while the engine works, and as it is in a text that was scrubbed before.
"""

from schemas.recogniser import FULL_NAME, MARKS, PERSON, Recogniser

_OPEN, _CLOSE = r"[<\x01]", r"[>\x02]"
_PERSON = rf"{_OPEN}(?:EMAIL|PHONE|USER|NATIONAL_ID|PASSPORT|CARD|IBAN|IMEI|DEVICE_ID|BIRTH_DATE){_CLOSE}"
_MAC, _IP = rf"{_OPEN}MAC{_CLOSE}", rf"{_OPEN}IP{_CLOSE}"
# In the same object, and not far.
_NEAR = rf"[^{{}}\n<>{MARKS}]{{0,60}}?"
_KEY = r"(?:\b|_)(?i:name|called)"
_QUOTED = rf"(?:\"[^\"\n{MARKS}]+|'[^'\n{MARKS}]+)"
_TELLS_NOTHING = r".*[=: ][\"']?(?i:null|none|unknown|empty|true|false)(?:[\"',;].*)?"

BESIDE: tuple[Recogniser, ...] = (
    Recogniser(
        name="named_beside",
        tag="USER",
        clause="1.1.1",
        pattern=rf"({_PERSON}{_NEAR}{_KEY}(?:[\"']?[=:] ?|[ \t]))(?:{PERSON}|{_QUOTED})"
        rf"|({_KEY}[\"']?(?:[=:] ?|[ \t]))(?:{PERSON}|{_QUOTED})([\"']?[,; ] ?{_NEAR}{_PERSON})",
        replacement=r"\1\2<USER>\3",
        refuse=rf"{_TELLS_NOTHING}|.*name=.* value=.*",
        examples=("{name=Ada, mail=<EMAIL>}", "ring <PHONE>, name: Ada"),
        counter_examples=("{name=null, mail=<EMAIL>}", "to <EMAIL>, name=12"),
        hint=rf"{_PERSON}[^\n]*{_KEY}|{_KEY}[^\n]*{_PERSON}",
    ),
    Recogniser(
        name="person_beside",
        tag="USER",
        clause="1.1.1",
        # whose mailbox it is, what stands in the next column, who a server has let in
        pattern=rf"(?:{FULL_NAME})([\"']? ?(?:[,;|\t] ?[\"'<]?|[\"'<])(?:(?:sips?|tel):)?{_PERSON})"
        rf"|(\")[^\"\n<>:={MARKS}]+(\" <(?:(?:sips?|tel):)?{_PERSON})"
        rf"|(=\([\"']?){PERSON}([\"']?, ?[\"']?{_PERSON})"
        rf"|({_IP} (?:[^\s{MARKS}]+ )?)[^\s\"'\[{MARKS}-][^\s\"'\[]*( \[[0-9])"
        rf"|\b[\w.-]+(@{_IP})",
        replacement=r"\2\4\6<USER>\1\3\5\7\8",
        examples=("Ada Lovelace <<EMAIL>>", '"Lovelace, Ada" <<EMAIL>>', "<IP> - ada [10/Oct/2023]", "ssh ada@<IP>"),
        counter_examples=("<IP> - - [10/Oct/2023]", "sent to <EMAIL>", "http://<IP>/a"),
        hint=rf"[A-Za-z\x{{80}}-\x{{10FFFF}}.'’-][\"']? ?(?:[,;|\t] ?[\"'<]?|[\"'<])(?:(?:sips?|tel):)?{_PERSON}"
        rf"|\" <(?:(?:sips?|tel):)?{_PERSON}"
        rf"|{_IP} [^\n]*\[[0-9]|@{_IP}",
    ),
    Recogniser(
        name="device_beside",
        tag="NAME",
        clause="1.1.2-dev",
        pattern=rf"({_MAC},? ?{_NEAR}\bname(?:[=:] ?|[ \t]))[\"']?[^\s\"',;=:\[\](){{}}<>&{MARKS}][^,;\"\n{MARKS}]*"
        rf"|(: )[^\s:,{MARKS}]+( : {_MAC})|(\")[^\"\n{MARKS}]+(\" \(?{_MAC})"
        rf"|(\bname[=:] ?)[^\s\"',;={{}}<>{MARKS}][^,;\"\n{MARKS}]*(, ?{_NEAR}{_MAC})"
        rf"|(\bname[=: ] ?)[^\s\"',;={{}}<>{MARKS}][^,;=\"\n{MARKS}]*( (?:for|of|at) {_MAC})",
        replacement=r"\1\2\4\6\8<NAME>\3\5\7\9",
        refuse=_TELLS_NOTHING,
        examples=("adv from <MAC> name=oortjes van Rik", "name:tv 2, address:<MAC>", '"oortjes" (<MAC>) is on'),
        counter_examples=("adv from <MAC> name=null", "<MAC> is up"),
        hint=rf"{_MAC}[^\n]*\bname| : {_MAC}|\" \(?{_MAC}|\bname[^\n]*{_MAC}",
    ),
    Recogniser(
        name="code_beside",
        tag="SECRET",
        clause="1.1.1",
        pattern=rf"({_PERSON}{_NEAR}\bcode[\"']?[=:] ?[\"']?)[0-9]{{4,8}}\b"
        rf"|({_PERSON} code )[0-9]{{5,8}}\b"
        rf"|(\bcode[\"']?[=:] ?[\"']?)[0-9]{{4,8}}([\"']?[,;&] ?{_NEAR}{_PERSON})",
        replacement=r"\1\2\3<SECRET>\4",
        examples=('{"phone":"<PHONE>","code":"482913"}',),
        counter_examples=('{"phone":"<PHONE>","code":404}', '{"code":"100230"}'),
        hint=rf"{_PERSON}[^\n]*\bcode|\bcode[^\n]*{_PERSON}",
    ),
)

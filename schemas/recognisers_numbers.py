"""Recognisers of numbers that are issued to people and devices, by their form and check digit.

One random number in ten passes a check digit. So only IMEI and card numbers of a known brand count as bare digits, and
what has letters or a date at fixed places; other numbers count behind a key, or as people write them on paper.
"""

from schemas.recogniser import OF_SOMEBODY, Recogniser, named_shape

# What stands before a time, a counter or a size, and behind it.
_COUNTED = (
    r"(?:(?i:time(?:stamp)?|nanos?|ns|us|micros|millis|vsync(?:[_.-]?id)?|when|elapsed|uptime|deadline|ticks?|cycles?"
    r"|clock|now|expires?|duration|frame[_.-]?id|size|bytes|offset|seq(?:uence)?|token_bucket)['\"]?[ :=]{1,3})?"
)
_UNIT = r"(?: ?(?:ns|us|µs|ms|nanos\w*|micros\w*|bytes|[KMG]?B|ticks|cycles)\b)?"

# How national numbers are written on paper: 9 for a digit, A for a letter, * for either, and who issues them. A
# validator of `transforms.validators` asks the modules of python-stdnum that are named.
NATIONAL_FORMS: dict[str, tuple[str, ...]] = {
    "9999 9999 9999": ("in_.aadhaar",),
    "9999-9999-9999": ("in_.aadhaar",),
    "9999 999999": ("at.vnr",),
    "99.99.99-999.99": ("be.nn", "be.bis"),
    "999999/9999": ("cz.rc", "sk.rc"),
    "999999-9999": ("dk.cpr", "se.personnummer", "is_.kennitala"),
    "999999+9999": ("se.personnummer",),
    "99999999-9999": ("se.personnummer",),
    "999999-99999": ("lv.pvn", "no.fodselsnummer"),
    "999999 99999": ("no.fodselsnummer",),
    "999999-999*": ("fi.hetu",),
    "999999A999*": ("fi.hetu",),
    "999999+999*": ("fi.hetu",),
    "9 99 99 99 999 999 99": ("fr.nir",),
    "9 99 99 9A 999 999 99": ("fr.nir",),
    "99 999 999 999": ("de.idnr",),
    "99/999/999/999": ("de.idnr",),
    "9999.99.999": ("nl.bsn",),
    "99999999-A": ("es.dni",),
    "99.999.999-A": ("es.dni",),
    "A-9999999-A": ("es.nie",),
    "999-999-99-99": ("pl.nip",),
    "999-99-99-999": ("pl.nip",),
    "99999999 9 **9": ("pt.cc",),
    "999-99-9999": ("us.ssn", "us.itin"),
    "99 99 99 999 99": ("be.nn", "be.bis"),
    "99 99 99-999 99": ("be.nn", "be.bis"),
    "999.999.999-99": ("br.cpf",),
    "756.9999.9999.99": ("ch.ssn",),
    "99.999.999-9": ("cl.rut",),
    "999999-9999999": ("kr.rrn",),
    "99-99999999-9": ("ar.cuit",),
}
_FORM_SIGNS = {"9": "[0-9]", "A": "[A-Za-z]", "*": "[0-9A-Za-z]", ".": r"\.", "+": r"\+"}

# A number in a row of numbers is none of these. Before it stands no digit, or one that belongs to another word.
_ALONE = r"(^[^\w.,/+-]?|[^0-9][^\w.,/+-]|[A-Za-z\"'\]][:=])"


def form_pattern(form: str) -> str:
    """The pattern of a form, for RE2 and for Python."""
    return "".join(_FORM_SIGNS.get(sign, sign) for sign in form)


_FORMS = "|".join(map(form_pattern, NATIONAL_FORMS))


_CARD = (
    # Visa, Mastercard, Amex, Diners, Discover, JCB, Mir, UnionPay, RuPay, Maestro: first digits and length
    r"4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|220[0-4][0-9]{12,15}|62[0-9]{14,17}|(?:60|8[12])[0-9]{14}|508[5-9][0-9]{12}"
    r"|(?:50(?:18|20|38)|5[6-8][0-9]{2}|63(?:04|90)|67[0-9]{2})[0-9]{8,15}"
)

# Telephone numbers with the 0, 06 or 8 of a trunk call, an area in brackets, or the hyphens of their country ...
_SIGNED = (
    r"0[1-9](?:[.-][0-9]{2}){4}|(?:\(0(?:6 )?[ -]?[1-9][0-9]{0,4}\) ?-?|0-?[1-9][0-9]{0,4} ?[/-] ?)"
    r"[0-9]{2,9}(?:[ .-][0-9]{2,4}){0,4}"
    r"|\(8[ -]?[0-9]{1,3}\) ?[0-9]{2,6}(?:[ -]?[0-9]{2,5}){0,2}"
    r"|(?:1[ -])?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[.-][0-9]{4}"
    r"|[2-9][0-9]{2}-[0-9]{3}-[0-9]{3}"
    r"|(?:8[ -]?)?\([3489][0-9]{2}\)[ -]?[0-9]{3}[ -][0-9]{2}[ -]?[0-9]{2}"
    r"|(?:8-)?[3489][0-9]{2}[ -][0-9]{3}-[0-9]{2}-[0-9]{2}|1[3-9][0-9]-[0-9]{4}-[0-9]{4}"
    r"|0?[6-9][0-9]{4}-[0-9]{5}|[279][0-9]-[0-9]{6}"
)
# ... and in groups. Bytes beside them are part of the candidate: four of eight in a dump are no number.
_SPACED = (
    r"(?:[0-9A-Fa-f]{2} ){0,3}[0-9]{2}(?: [0-9]{2}){3,4}(?: [0-9A-Fa-f]{2})*\b"
    r"|0 ?[1-9][0-9]{0,3} [0-9]{2,9}(?: [0-9]{2,4}){0,4}|1[3-9][0-9] [0-9]{4} [0-9]{4}|0?[6-9][0-9]{4} [0-9]{5}"
    r"|(?:8 )?[3489][0-9]{2} [0-9]{3} [0-9]{2} ?[0-9]{2}|[1-9][0-9]{1,2}(?: [0-9]{2,4}){2,3}"
    r"|[2579][0-9]{3} [0-9]{4}|2[0-9]{3} [0-9]{6}|[279][0-9] [0-9]{6}"
)

# By how many signs follow the check digits of an IBAN: the countries with that (ISO 13616, the registry of SWIFT). The
# length is what ends one, since groups may have any signs between them, and words follow.
_BANKS = {
    11: "NO",
    12: "BE",
    14: "DK|FI|FK|FO|GL|NL|SD",
    15: "MK|SI",
    16: "AT|BA|EE|KZ|LT|LU|MN|XK",
    17: "CH|HR|LI|LV",
    18: "BG|BH|CR|DE|GB|GE|IE|ME|RS|VA",
    19: "AE|GI|IL|IQ|OM|SO|TL",
    20: "AD|CZ|ES|MD|PK|RO|SA|SE|SK|TN|VG",
    21: "LY|PT|ST",
    22: "IS|TR",
    23: "BI|DJ|FR|GR|IT|MC|MR|SM",
    24: "AL|AZ|BY|CY|DO|GT|HN|HU|LB|NI|PL|SV",
    25: "BR|EG|PS|QA|UA",
    26: "JO|KW|MU|YE",
    27: "MT|SC",
    28: "LC",
    29: "RU",
}
_IBANS = "|".join(rf"(?:{countries})[0-9]{{2}}(?:[ .-]?[0-9A-Z]){{{size}}}" for size, countries in _BANKS.items())

# Accounts are told before anything else: of one in groups, a key may take the first alone.
ACCOUNTS: tuple[Recogniser, ...] = (
    Recogniser(
        name="iban",
        tag="IBAN",
        clause="1.1.1",
        pattern=rf"\b(?i:{_IBANS})\b",
        replacement="<IBAN>",
        examples=(
            "refund to NL91 ABNA 0417 1643 00 is pending",
            "DE89370400440532013000",
            "from nl91 abna 0417 1643 00",
            "DE89.370400440532.013000",
        ),
        counter_examples=("refund to NL92ABNA0417164300", "ab12cd34ef56ab12cd34ef56ab12cd34"),
        hint=rf"\b(?i:(?:{'|'.join(_BANKS.values())})[0-9]{{2}}(?:[ .-]?[0-9A-Z]){{8}})",
        validator="iban",
    ),
    named_shape(
        name="iban_pair",
        tag="IBAN",
        clause="1.1.1",
        keys=r"(?i:iban|bank[_ .-]?(?:account|konto|rekening)|kontonummer|rekeningnummer|账号|счет)",
        anywhere=True,
        loosely=OF_SOMEBODY,
        start=r"[A-Za-z]{2}[0-9]{2}(?:[ .-]?[0-9A-Za-z]){4}",
        # mistyped, or broken by other signs
        shape=r"[A-Z]{2}[0-9]{2}(?:[ .-]?[0-9A-Z]){9,28}[0-9]\b|[a-z]{2}[0-9]{2}(?:[ .-]?[0-9a-z]){9,28}[0-9]\b",
        examples=("iban=NL92ABNA0417164300", '"bankAccount": "DE88 3704 0044 0532 0130 00"'),
        counter_examples=("iban=null", "IbanFragment.kt:31"),
    ),
)

NUMBERS: tuple[Recogniser, ...] = (
    Recogniser(
        name="cn_resident",
        tag="NATIONAL_ID",
        clause="1.1.1",
        # province, year, month and day stand at fixed places: this one counts without a key
        pattern=r"\b[1-8][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]\b",
        accept=r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]).*",
        validator="iso7064_11_2",
        replacement="<NATIONAL_ID>",
        examples=("holder 11010519491231002X",),
        counter_examples=("holder 110105194912310021", "sequence 991231199912319990"),
        hint=r"\b[1-8][0-9]{16}[0-9Xx]\b",
    ),
    Recogniser(
        name="codice_fiscale",
        tag="NATIONAL_ID",
        clause="1.1.1",
        pattern=r"\b(?i:[A-Z]{3}[ -]?[A-Z]{3}[ -]?[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[ -]?"
        r"[A-Z][0-9L-NP-V]{3}[A-Z])\b",
        validator="codice_fiscale",
        replacement="<NATIONAL_ID>",
        examples=("cliente RSSMRA85T10A562S", "cliente rss mra 85t10 a562s"),
        counter_examples=("cliente RSSMRA85T10A562T",),
        # some of the digits may be letters, where two people would have the same
        hint=r"(?i:[A-Z]{3}[ -]?[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[ -]?[A-Z][0-9L-NP-V]{3}[A-Z])\b",
    ),
    Recogniser(
        name="snils",
        tag="NATIONAL_ID",
        clause="1.1.1",
        pattern=r"\b[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}\b",
        validator="snils",
        replacement="<NATIONAL_ID>",
        examples=("страховой 112-233-445 95",),
        counter_examples=("страховой 112-233-445 96",),
        hint=r"\b[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}\b",
    ),
    Recogniser(
        name="national_form",
        tag="NATIONAL_ID",
        clause="1.1.1",
        pattern=rf"{_ALONE}(?:{_FORMS})($|[^\w/+-](?:$|[^0-9]))",
        validator="national_form",
        replacement=r"\1<NATIONAL_ID>\2",
        examples=(
            "kyc for 2341 2341 2346",
            "holder 85.07.30-033.28",
            "kortti 131052-308T",
            "titular 54362315-k",
            "n° 2 95 10 99 126 111 93",
        ),
        counter_examples=("order 2341 2341 2345", "85.07.30-033.29", "rows 131052-308S", "took 123456-7890"),
        hint=rf"\b(?:{_FORMS})\b",
    ),
    Recogniser(
        name="card",
        tag="CARD",
        clause="1.1.1",
        pattern=rf"{_COUNTED}(?:[0-9]{{12,}}{_UNIT}|\b[0-9]{{4}}(?:[ -][0-9]{{4}}){{3}}(?:[ -][0-9]{{1,3}})?\b"
        r"|\b3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}\b)",
        accept=rf"{_CARD}|(?:[2-6]|8[12])[0-9]{{2,3}}(?:[ -][0-9]{{4}}){{3}}(?:[ -][0-9]{{1,3}})?"
        r"|3[0-9]{3}[ -][0-9]+[ -][0-9]+",
        validator="luhn",
        replacement="<CARD>",
        examples=("charge 4111 1111 1111 1111 declined", "card:371449635398431"),
        counter_examples=("uptime 1700000000000000 us, order 4111111111111112", "blk_6952295868487656571"),
        hint=r"(?:\b|[A-Za-z_])[2-68][0-9]{11}|[0-9][ -][0-9]{4}[ -][0-9]{4}[ -][0-9]|[0-9][ -][0-9]{6}[ -][0-9]{4}",
    ),
    Recogniser(
        name="imei",
        tag="IMEI",
        clause="1.1.2-dev",
        # AA-BBBBBB-CCCCCC-D and AA-BBBBBB-CCCCCC-EE, where EE is the version of the software
        pattern=rf"{_COUNTED}(?:[0-9]{{15,}}{_UNIT}|\b"
        r"(?:[0-9]{2}[ /-][0-9]{6}[ /-][0-9]{6}[ /-][0-9]{1,2}\b"
        r"|[0-9]{6}[ /-][0-9]{2}[ /-][0-9]{6}[ /-][0-9]{1,2}\b))",
        accept=r"[0-9]{15}|[0-9]+(?:[ /-][0-9]+){2}[ /-][0-9]|[0-9]+(?:[/-][0-9]+){3}",
        validator="imei",
        replacement="<IMEI>",
        examples=("slot0:490154203237518", "35-209900-176148-1 and 35-209900-176148-23"),
        counter_examples=("elapsed 490154203237518 ns, pc 0000000000123456", "vsync=490154203237518"),
        hint=r"(?:\b|[A-Za-z_])[0-9]{15}(?:\b|[A-Za-z_])|[0-9][ /-][0-9]{6}[ /-][0-9]"
        r"|[0-9][ /-][0-9]{2}[ /-][0-9]{6}[ /-]",
    ),
    Recogniser(
        name="iccid",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        # 89 stands for telecommunication; behind its key a number counts in any form
        pattern=rf"{_COUNTED}\b[0-9]{{19,}}\b{_UNIT}",
        accept=r"89[0-9]{17}",
        validator="luhn",
        replacement="<DEVICE_ID>",
        examples=("SIM 8931086112345678906 was changed",),
        counter_examples=("SIM 8931086112345678903 was changed", "elapsed 8931086112345678906 ns"),
        hint=r"\b89[0-9]{17}\b",
    ),
    Recogniser(
        name="phone",
        tag="PHONE",
        clause="1.1.1",
        # E.164, 8 to 15 digits; behind a word, a bracket or a plus it is an offset into a symbol or a sum
        pattern=r"(^|[^\w.)+]|\b(?i:tel|sms|smsto|mmsto|callto|whatsapp):|\bATDT?)"
        r"(?:(?:\+|%2B)[1-9](?:[ ./()-]{0,2}[0-9]){6,14}"
        r"|00[ -]?[1-9][0-9]{0,2}[ -](?:[ ./()-]{0,2}[0-9]){6,12})($|[^\w])",
        validator="international_phone",
        replacement=r"\1<PHONE>\2",
        examples=("call +31 (0)20 794 0800 ended", "to %2B8613812345678", "ring 0049 30 123456"),
        counter_examples=("libc.so (abort+12345678), zone +0200", "drift +12345678901ns", "+999 12345678"),
        hint=r"(?:\+|%2B)[1-9][0-9 ./()-]{6}|(?:\b|ATDT?)00[ -]?[1-9][0-9]{0,2}[ -](?:[ ./()-]{0,2}[0-9]){6}",
    ),
    Recogniser(
        name="national_phone",
        tag="PHONE",
        clause="1.1.1",
        pattern=rf"{_ALONE}(?:{_SPACED})($|[^\w./:-](?:$|[^0-9])|[.:](?:\s|$))"
        rf"|(^|[^\w.,:/+-]|[A-Za-z\"'\]][:=])(?:{_SIGNED})($|[^\w./:-]|[.:](?:\s|$))",
        # too short with its 0, a date, bytes of a dump
        refuse=r"[^0-9]*0(?:[^0-9]*[0-9]){1,6}[^0-9]*|[^0-9(]{0,2}(?:[0-3]?[0-9][./-][01]?[0-9][./-](?:19"
        r"|20)[0-9]{2}.*)"
        r"|.?.?(?:[A-Fa-f][0-9A-Fa-f]|[0-9][A-Fa-f]) [0-9].*|.*[0-9] (?:[A-Fa-f][0-9A-Fa-f]|[0-9][A-Fa-f]).*",
        validator="national_phone",
        replacement=r"\1\3<PHONE>\2\4",
        examples=("ring 06-12345678", "(415) 555-0132 busy", "8 (912) 345-67-89", "138 1234 5678", "98765 43210"),
        counter_examples=(
            "05-11-2026 14",
            "at 01 0000",
            "dump 01 23 45 67 89 ab cd",
            "took 12 34 ms",
            "1234-5678/com.example",
        ),
        hint=r"\b0(?:6 )?[ -]?[1-9](?:\)?[ /-]{0,3}[0-9]){6}|\(0(?:6 )?[ -]?[1-9][0-9]{0,4}\) ?-?[0-9]{2}"
        r"|\b0-?[1-9][0-9]{0,4} ?[/-] ?[0-9][0-9 -]{1,14}\.[0-9]"
        r"|\(8[ -]?[0-9]{1,3}\) ?[0-9]|\b[0-9]{2}(?:[ .-][0-9]{2}){3}\b"
        r"|\b[2-9][0-9]{2}(?:\)[ .-]?|[ .-])[0-9]{3}[ .-][0-9]{2,4}\b|\b1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}\b"
        r"|\b0?[6-9][0-9]{4}[ -][0-9]{5}\b|\b[1-9][0-9]{1,2}(?: [0-9]{2,4}){2}\b"
        r"|\b[2579][0-9]{3} [0-9]{4}\b|\b[279][0-9](?:(?:[0-9]{2})? |-)[0-9]{6}\b",
    ),
)

"""Numbers of people, made by their countries' rules; whom they might belong to nobody knows.

A maker returns a number in its plain form. `WRITTEN` has masks in which people write it: one that is punctuated may
stand without a key; a number without a mask counts behind its key alone.
"""

from collections.abc import Callable
from random import Random

from tests.scrubbing import checkdigits
from tests.scrubbing.checkdigits import LETTERS, luhn, weighted
from tests.scrubbing.drawing import Maker, digits


def checked(make: Callable[[Random], str | None]) -> Maker:
    """Draws until the rule allows the number: some have no check digit."""

    def draw(rng: Random) -> str:
        return next(number for number in iter(lambda: make(rng), "") if number)

    return draw


def _day(rng: Random, form: str) -> str:
    """A date of birth from 1950 to 1999, in letters of `form`: y(yyy), m, d."""
    year, month, day = rng.randint(1950, 1999), rng.randint(1, 12), rng.randint(1, 28)
    return (
        form.replace("yyyy", str(year))
        .replace("yy", f"{year % 100:02}")
        .replace("mm", f"{month:02}")
        .replace("dd", f"{day:02}")
    )


def _mod_11(body: str, weights) -> str | None:
    value = -weighted(body, weights) % 11
    return None if value == 10 else str(value)


def _ended(body: str, check: str | None) -> str | None:
    return None if check is None else body + check


def _at_svnr(rng: Random) -> str | None:
    serial, day = str(rng.randint(100, 999)), _day(rng, "ddmmyy")
    check = weighted(serial + day, (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11
    return None if check == 10 else f"{serial}{check}{day}"


def _be_rrn(rng: Random) -> str:
    body = _day(rng, "yymmdd") + f"{rng.randint(1, 997):03}"
    return f"{body}{97 - int(body) % 97:02}"


def _bg_egn(rng: Random) -> str:
    body = _day(rng, "yymmdd") + digits(rng, 3)
    return body + str(weighted(body, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10)


def _cn_id(rng: Random) -> str:
    body = rng.choice(("110101", "310101", "310104", "120101")) + _day(rng, "yyyymmdd") + digits(rng, 3)
    return body + checkdigits.mod_11_2(body)


def _cz_rc(rng: Random) -> str | None:
    body = _day(rng, "yymmdd") + digits(rng, 3)
    check = int(body) % 11
    return None if check == 10 else f"{body}{check}"


def _de_idnr(rng: Random) -> str:
    chosen = rng.sample("0123456789", 9)
    body = chosen + [rng.choice(chosen)]
    rng.shuffle(body)
    if body[0] == "0" or any(a == b for a, b in zip(body, body[1:], strict=False)):
        return _de_idnr(rng)
    return "".join(body) + checkdigits.mod_11_10("".join(body))


def _dk_cpr(rng: Random) -> str | None:
    body = _day(rng, "ddmmyy") + str(rng.randint(0, 3)) + digits(rng, 2)
    return _ended(body, _mod_11(body, (4, 3, 2, 7, 6, 5, 4, 3, 2)))


def _born_in_the_nineties(rng: Random) -> str:
    body = rng.choice("34") + _day(rng, "yymmdd") + digits(rng, 3)
    return body + checkdigits.baltic(body)


def _es_dni(rng: Random) -> str:
    body = str(rng.randint(10_000_000, 99_999_999))
    return body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]


def _es_nie(rng: Random) -> str:
    first, body = rng.randint(0, 2), digits(rng, 7)
    return "XYZ"[first] + body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{first}{body}") % 23]


def _fi_hetu(rng: Random) -> str:
    day, serial = _day(rng, "ddmmyy"), f"{rng.randint(2, 899):03}"
    return f"{day}-{serial}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(day + serial) % 31]


def _fr_nir(rng: Random) -> str:
    body = (
        rng.choice("12")
        + _day(rng, "yymm")
        + f"{rng.randint(21, 95):02}{rng.randint(1, 600):03}{rng.randint(1, 900):03}"
    )
    return f"{body}{97 - int(body) % 97:02}"


def _gr_amka(rng: Random) -> str:
    body = _day(rng, "ddmmyy") + digits(rng, 4)
    return body + luhn(body)


def _hr_oib(rng: Random) -> str:
    body = digits(rng, 10)
    return body + checkdigits.mod_11_10(body)


def _hu_taj(rng: Random) -> str:
    body = digits(rng, 8)
    return body + str(weighted(body, (3, 7) * 4) % 10)


def _ie_pps(rng: Random) -> str:
    body, last = digits(rng, 7), rng.choice("AB")
    total = weighted(body, (8, 7, 6, 5, 4, 3, 2)) + 9 * (LETTERS.index(last) + 1)
    return body + "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] + last


def _is_kennitala(rng: Random) -> str | None:
    body = _day(rng, "ddmmyy") + f"{rng.randint(20, 99)}"
    body = _ended(body, _mod_11(body, (3, 2, 7, 6, 5, 4, 3, 2)))
    return body and body + "9"


def _it_cf(rng: Random) -> str:
    name = "".join(rng.choices("BCDFGLMNPRSTV", k=6))
    day = f"{rng.randint(50, 99)}{rng.choice('ABCDEHLMPRST')}{rng.randint(1, 28) + rng.choice((0, 40)):02}"
    body = name + day + rng.choice(("F205", "H501", "L219", "A562", "D612"))
    return body + checkdigits.codice_fiscale(body)


def _lv_pk(rng: Random) -> str:
    body = _day(rng, "ddmmyy") + "1" + digits(rng, 3)
    return body + str((1 + weighted(body, (10, 5, 8, 4, 2, 1, 6, 3, 7, 9))) % 11 % 10)


def _nl_bsn(rng: Random) -> str | None:
    body = str(rng.randint(10_000_000, 99_999_999))
    check = weighted(body, range(9, 1, -1)) % 11
    return None if check == 10 else f"{body}{check}"


def _no_fnr(rng: Random) -> str | None:
    body = _day(rng, "ddmmyy") + f"{rng.randint(0, 499):03}"
    body = _ended(body, _mod_11(body, (3, 7, 6, 1, 8, 9, 4, 5, 2)))
    return body and _ended(body, _mod_11(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)))


def _pl_pesel(rng: Random) -> str:
    body = _day(rng, "yymmdd") + digits(rng, 4)
    return body + str(-weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def _pt_nif(rng: Random) -> str:
    body = rng.choice("12") + digits(rng, 7)
    check = -weighted(body, range(9, 1, -1)) % 11
    return f"{body}{check if check < 10 else 0}"


def _ro_cnp(rng: Random) -> str:
    body = rng.choice("12") + _day(rng, "yymmdd") + f"{rng.randint(1, 40):02}{rng.randint(1, 999):03}"
    check = weighted(body, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return f"{body}{check if check < 10 else 1}"


def _ru_inn(rng: Random) -> str:
    body = f"{rng.randint(1, 79):02}" + digits(rng, 8)
    body += str(weighted(body, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)
    return body + str(weighted(body, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)


def _ru_snils(rng: Random) -> str:
    body = str(rng.randint(100_000_000, 999_999_999))
    return f"{body}{weighted(body, range(9, 0, -1)) % 101 % 100:02}"


def _se_personnummer(rng: Random) -> str:
    body = _day(rng, "yymmdd") + digits(rng, 3)
    return body + luhn(body)


def _si_emso(rng: Random) -> str | None:
    body = _day(rng, "ddmm9yy") + "50" + digits(rng, 3)
    return _ended(body, _mod_11(body, (7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)))


def _aadhaar(rng: Random) -> str:
    body = rng.choice("23456789") + digits(rng, 10)
    return body + checkdigits.verhoeff(body)


PEOPLE: dict[str, Maker] = {
    "aadhaar": _aadhaar,
    "cn_id": _cn_id,
    "snils": _ru_snils,
    "inn": _ru_inn,
    "at_svnr": checked(_at_svnr),
    "be_rijksregister": _be_rrn,
    "bg_egn": _bg_egn,
    "cz_rodne_cislo": checked(_cz_rc),
    "de_steuer_id": _de_idnr,
    "dk_cpr": checked(_dk_cpr),
    "ee_isikukood": _born_in_the_nineties,
    "es_dni": _es_dni,
    "es_nie": _es_nie,
    "fi_hetu": _fi_hetu,
    "fr_nir": _fr_nir,
    "gr_amka": _gr_amka,
    "hr_oib": _hr_oib,
    "hu_taj": _hu_taj,
    "ie_pps": _ie_pps,
    "is_kennitala": checked(_is_kennitala),
    "it_codice_fiscale": _it_cf,
    "lt_asmens_kodas": _born_in_the_nineties,
    "lv_personas_kods": _lv_pk,
    "nl_bsn": checked(_nl_bsn),
    "no_fodselsnummer": checked(_no_fnr),
    "pl_pesel": _pl_pesel,
    "pt_nif": _pt_nif,
    "ro_cnp": _ro_cnp,
    "se_personnummer": _se_personnummer,
    "si_emso": checked(_si_emso),
}

# How a number is written where it stands alone: each # takes the next character. (A Finnish one has its sign anyway.)
WRITTEN: dict[str, tuple[str, ...]] = {
    "aadhaar": ("#### #### ####", "####-####-####"),
    "snils": ("###-###-### ##", "###-###-###-##"),
    "at_svnr": ("#### ######",),
    "be_rijksregister": ("##.##.##-###.##", "## ## ## ### ##"),
    "cz_rodne_cislo": ("######/####",),
    "de_steuer_id": ("## ### ### ###",),
    "dk_cpr": ("######-####",),
    "es_dni": ("########-#", "##.###.###-#"),
    "es_nie": ("#-#######-#",),
    "fi_hetu": ("###########",),
    "fr_nir": ("# ## ## ## ### ### ##",),
    "is_kennitala": ("######-####",),
    "it_codice_fiscale": ("################", "### ### ##### #####"),
    "lv_personas_kods": ("######-#####",),
    "nl_bsn": ("####.##.###",),
    "no_fodselsnummer": ("###### #####",),
    "se_personnummer": ("######-####", "19######-####"),
}


def fill(mask: str, number: str) -> str:
    """The number written as in the mask."""
    characters = iter(number)
    return "".join(next(characters) if place == "#" else place for place in mask)

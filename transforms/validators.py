"""Checks that patterns cannot express, on candidates that a pattern has found: check digits, and numbering plans.

Each takes a column of candidates as they stand in a text, with blanks and signs, and tells which of them pass. Those
that occur often are columnar; the others ask a library about each distinct candidate.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from schemas.recognisers_numbers import NATIONAL_FORMS, form_pattern
from transforms.phones import is_international, is_national

_LONGEST_NUMBER = 19
_ISSUERS = ("cz.rc", "sk.rc", "ee.ik", "lt.asmens", "is_.kennitala", "be.nn")


def luhn(numbers: pa.StringArray) -> np.ndarray:
    """Which of the texts, of 19 digits at most, end in their check digit (ISO/IEC 7812-1, annex B); others aside."""
    digits = pc.replace_substring_regex(numbers, r"[^0-9]", "")
    padded = pc.utf8_lpad(digits, _LONGEST_NUMBER, "0").cast(pa.binary(_LONGEST_NUMBER))
    values = np.frombuffer(padded.buffers()[1], np.uint8).reshape(-1, _LONGEST_NUMBER) - ord("0")
    doubled = values[:, -2::-2] * 2
    total = values[:, ::-2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
    return total % 10 == 0


def imei(numbers: pa.StringArray) -> np.ndarray:
    """Which are an IMEI by the check digit, or have the 16 digits of an IMEISV, without one (3GPP TS 23.003, 6.2)."""
    digits = pc.replace_substring_regex(numbers, r"[^0-9]", "")
    return luhn(numbers) | (pc.utf8_length(digits).to_numpy(zero_copy_only=False) == 16)


def is_snils(candidate: str) -> bool:
    """Whether the last two of eleven digits are the remainder of the weighted sum of the others by 101."""
    digits = [int(sign) for sign in candidate if sign.isdigit()]
    return sum(digit * (9 - place) for place, digit in enumerate(digits[:9])) % 101 % 100 == digits[9] * 10 + digits[10]


def is_national_form(candidate: str) -> bool:
    """Whether one of those who issue numbers written like this one would have issued it."""
    issuers_by_form, forms = _issuers_by_form()
    written = (issuers_by_form[form] for form in forms.Match(candidate) or ())
    return any(_issued(issuer, pattern.search(candidate)[0]) for pattern, issuers in written for issuer in issuers)


def is_national_number(candidate: str) -> bool:
    """Whether the digits at the end, behind a key, are a number of one of those whose forms have no other signs."""
    number = re.search("[0-9 ./-]+$", candidate)[0].strip()
    written = {number, re.sub("[^0-9]", "", number)}
    return any(_issued(issuer, way) for issuer in _ISSUERS for way in written)


def _issued(issuer: str, number: str) -> bool:
    plain = re.sub("[ ./]", "", number).upper()
    # Denmark issues numbers without a check digit, too. Those are a date and a time as well, so they need a key.
    undated = issuer != "dk.cpr" or _stdnum(issuer).checksum(plain.replace("-", "")) == 0
    return undated and _stdnum(issuer).is_valid(plain)


@cache
def _issuers_by_form() -> tuple[list[tuple[re.Pattern, tuple[str, ...]]], re2.Set]:
    """The forms with those who issue them, and what tells at once which of the forms are in a text."""
    alone, together = [], re2.Set.SearchSet()
    for form, issuers in NATIONAL_FORMS.items():
        pattern = form_pattern(form)
        alone.append((re.compile(rf"(?<![0-9A-Za-z]){pattern}(?![0-9A-Za-z])"), issuers))
        together.Add(rf"(?:^|[^0-9A-Za-z]){pattern}(?:[^0-9A-Za-z]|$)")
    together.Compile()
    return alone, together


@cache
def _stdnum(name: str):
    return import_module(f"stdnum.{name}")


def _by_stdnum(name: str) -> Callable[[pa.StringArray], np.ndarray]:
    return _each(lambda candidate: _stdnum(name).is_valid(candidate))


def _each(judge: Callable[[str], bool]) -> Callable[[pa.StringArray], np.ndarray]:
    def judged(candidates: pa.StringArray) -> np.ndarray:
        return np.fromiter(map(judge, candidates.to_pylist()), bool, len(candidates))

    return judged


VALIDATORS: dict[str, Callable[[pa.StringArray], np.ndarray]] = {
    "luhn": luhn,
    "imei": imei,
    # Accounts have check digits of their countries inside, too, which not all banks keep to.
    "iban": _each(lambda candidate: _stdnum("iban").is_valid(candidate, check_country=False)),
    "iso7064_11_2": _by_stdnum("iso7064.mod_11_2"),
    "codice_fiscale": _by_stdnum("it.codicefiscale"),
    "snils": _each(is_snils),
    "national_number": _each(is_national_number),
    "national_form": _each(is_national_form),
    "international_phone": _each(is_international),
    "national_phone": _each(is_national),
}

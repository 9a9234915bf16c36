"""Check digits and numbering plans: each validator against the rule written out, or the library it stands for."""

from itertools import product
from random import Random

import phonenumbers
import pyarrow as pa
import pytest
import stdnum.iso7064.mod_11_2
import stdnum.luhn
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from schemas.recognisers_numbers import NATIONAL_FORMS
from transforms.phones import is_international, is_national
from transforms.validators import VALIDATORS, luhn

EEA = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IS IE IT LV LI LT LU MT NL NO PL PT RO SK SI ES SE"
REGIONS = ["CN", "IN", "RU", "US", *EEA.split()]


# Of forms that the patterns find; a validator is not asked about others.
CANDIDATES = {
    "snils": ["112-233-445 95", "112-233-445 96"],
    "iban": ["NL91 ABNA 0417 1643 00", "NL92 ABNA 0417 1643 00"],
    "national_form": ["1234.56.782", "1234.56.783"],
    "international_phone": ["+31 20 794 0800", "+999 12345678"],
    "national_phone": ["06-12345678", "09 1"],
}


def valid(name, *candidates):
    return VALIDATORS[name](pa.array(candidates, pa.string())).tolist()


def digits(rng, form="9" * 12):
    return "".join(rng.choice({"9": "0123456789", "A": "ABCXZ", "*": "0123456789TU"}.get(sign, sign)) for sign in form)


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_a_validator_judges_each_of_none_one_and_many(name):
    candidates = CANDIDATES.get(name, ["490154203237518", "490154203237519", "110105194912310021"])
    together = valid(name, *candidates)
    assert together == [each for candidate in candidates for each in valid(name, candidate)]
    assert valid(name) == []


@given(st.text(alphabet="0123456789 -", max_size=19))
@example("0000000000000000000")
def test_luhn_agrees_with_the_library(number):
    plain = "".join(filter(str.isdigit, number))
    assert luhn(pa.array([number]))[0] == (not plain or stdnum.luhn.is_valid(plain))


def test_an_imei_has_a_check_digit_and_with_a_version_none():
    assert valid("imei", "490154203237518", "490154203237519", "49-015420-323751-8") == [True, False, True]
    assert valid("imei", "49-015420-323751-01", "49-015420-323751-99") == [True, True]


@given(st.integers(0, 999_999_999))
def test_snils_is_the_rule_written_out(number):
    text = f"{number:09d}"
    total = sum((9 - place) * int(digit) for place, digit in enumerate(text))
    check = total if total < 100 else 0 if total in (100, 101) else total % 101 % 100
    written = f"{text[:3]}-{text[3:6]}-{text[6:]} {check:02d}"
    wrong = f"{written[:-2]}{(check + 1) % 100:02d}"
    assert valid("snils", written, wrong) == [True, False]


@pytest.mark.parametrize("form", NATIONAL_FORMS)
def test_a_national_number_of_each_form_is_known_by_its_check_digits(form):
    rng = Random(form)
    drawn = (digits(rng, form) for _ in range(200_000))
    number = next(each for each in drawn if valid("national_form", each)[0])
    assert valid("national_form", f" {number})", f"x={number}.") == [True, True]
    others = {
        number[:place] + digit + number[place + 1 :] for place, digit in product(range(len(number)), "0123456789")
    }
    similar = [
        other
        for other in others
        if other != number and all(a.isdigit() == b.isdigit() for a, b in zip(other, number, strict=True))
    ]
    # The number of an American says where and when it was issued, and has no check digit.
    assert form == "999-99-9999" or sum(valid("national_form", *similar)) < len(similar) / 3


def test_a_form_within_a_longer_number_is_none():
    assert valid("national_form", "1131052-308T", "131052-308TX", "131052-308T") == [False, False, True]


@given(st.integers(0, 10**17 - 1))
def test_resident_identity_agrees_with_the_library(number):
    for sign in "0123456789X":
        text = f"{number:017d}{sign}"
        assert valid("iso7064_11_2", text) == [stdnum.iso7064.mod_11_2.is_valid(text)]


@given(st.integers(1, 9), st.text("0123456789", min_size=6, max_size=14))
@example(5, "70300000000000")  # Colombia, behind the sign of a carrier
@example(5, "4011153000000")  # Argentina, where the plan puts digits in the place of those of a mobile
def test_a_number_with_its_country_is_one_if_its_length_is_possible(first, rest):
    number = f"+{first}{rest}"
    try:
        reason = phonenumbers.is_possible_number_with_reason(phonenumbers.parse(number))
        possible = reason == phonenumbers.ValidationResult.IS_POSSIBLE
    except phonenumbers.NumberParseException:
        possible = False
    # The library takes an Italian 0 or a prefix away before it counts.
    assert is_international(number) or not possible


def test_signs_of_a_number_with_its_country_do_not_count():
    written = ["+31 (0)20 794 0800", "%2B31207940800", "0031 20 7940800", "+31-20/794.0800"]
    assert all(map(is_international, written))
    assert not any(map(is_international, ["+999 12345678", "+31 20", "+1234567", "+12345678901234"]))


def numbers(region, rng, many=12):
    """Valid fixed and mobile numbers of the region, near the examples of the library."""
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
        number = phonenumbers.example_number_for_type(region, kind)
        significant = phonenumbers.national_significant_number(number)
        for _ in range(many):
            tail = rng.randrange(1, 5)
            drawn = significant[:-tail] + digits(rng, "9" * tail)
            other = phonenumbers.parse(f"+{number.country_code}{drawn}")
            if phonenumbers.is_valid_number_for_region(other, region):
                yield other


@pytest.mark.parametrize("region", REGIONS)
def test_national_numbers_are_known_as_the_library_writes_them(region):
    rng = Random(region)
    found = list(numbers(region, rng))
    assert len(found) >= 12
    for number in found:
        assert is_national(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))


def test_digits_that_are_no_number_anywhere_are_none():
    rng = Random(1)
    for _ in range(300):
        written = f"0{rng.randrange(10, 100)} {rng.randrange(10**6, 10**7)}"
        parsed = [phonenumbers.parse(written, region) for region in REGIONS]
        known = any(map(phonenumbers.is_valid_number_for_region, parsed, REGIONS))
        assert is_national(written) or not known
    assert not any(map(is_national, ["000 1234567", "2400 1080 1", "1234 56789 1234"]))


def test_groups_are_those_of_the_country_unless_a_trunk_call_is_told():
    assert is_national("612 34 56 78") and not is_national("61 234 56 78 9")
    assert is_national("06 12 34 56 78") and is_national("06 1234 5678") and is_national("06-12345678")

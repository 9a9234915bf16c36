import re
from pathlib import Path

import pytest

import schemas.countries
from schemas.countries import countries, country_of_mcc, invert

TABLE = Path(schemas.countries.__file__).with_name("countries.yaml")


def test_every_line_is_one_country_in_order():
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    written = [re.fullmatch(r'"?([A-Z]{2})"?: \[(\d{3}(?:, \d{3})*)?\]', line)[1] for line in lines]
    assert written == sorted(countries())  # a key written twice would be lost in silence
    assert len(written) == 249


def test_norway_is_not_false():
    assert "NO" in countries()
    assert all(isinstance(country, str) for country in countries())


@pytest.mark.parametrize("code", ["ZZ", "XX", "XK", "UK", "EU", "AN", "SU", "CS", "TP"])
def test_reserved_user_assigned_and_former_codes_are_no_countries(code):
    assert code not in countries()


@pytest.mark.parametrize(
    ("country", "mccs"),
    [
        ("CN", {460, 461}),
        ("HK", {454}),
        ("MO", {455}),
        ("TW", {466}),
        ("IN", {404, 405, 406}),
        ("RU", {250}),
        ("US", {310, 311, 312, 313, 314, 315, 316}),
        ("SG", {525}),
        ("DE", {262}),
        ("FR", {208}),
        ("GB", {234, 235}),
        ("AE", {424, 430, 431}),
        ("JP", {440, 441}),
        ("GP", {340}),
        ("MQ", set()),
        ("AQ", set()),
    ],
)
def test_mobile_country_codes(country, mccs):
    assert {mcc for mcc, owner in country_of_mcc().items() if owner == country} == mccs


def test_all_assigned_codes_are_there_and_no_others():
    assert len(country_of_mcc()) == 236
    assert all(200 <= mcc <= 799 for mcc in country_of_mcc())
    assert set(country_of_mcc().values()) <= countries()
    assert not {1, 221, 289, 901, 999} & country_of_mcc().keys()


def test_a_code_of_two_countries_is_refused():
    with pytest.raises(ValueError, match="262 is given to DE and FR"):
        invert({"DE": [262], "FR": [208, 262]})


@pytest.mark.parametrize("mcc", [1, 199, 800, 901])
def test_a_code_that_is_not_geographic_is_refused(mcc):
    with pytest.raises(ValueError, match=f"{mcc} of DE is not geographic"):
        invert({"DE": [mcc]})


def test_the_table_cannot_be_changed_by_a_reader():
    with pytest.raises(TypeError):
        country_of_mcc()[460] = "US"

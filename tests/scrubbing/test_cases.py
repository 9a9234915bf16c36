"""The corpora: as large and as varied as they have to be, and right by the rules of those who issue the numbers."""

import importlib
from random import Random

import pytest

from tests.scrubbing import devices
from tests.scrubbing.cases import clean_traces, contexts, negatives, positives
from tests.scrubbing.people import PEOPLE
from tests.scrubbing.texts import Role, parse, traces
from tests.scrubbing.values import KINDS

# What python-stdnum calls the numbers that it knows.
STDNUM = {
    "aadhaar": "in_.aadhaar",
    "cn_id": "cn.ric",
    "inn": "ru.inn",
    "at_svnr": "at.vnr",
    "be_rijksregister": "be.nn",
    "bg_egn": "bg.egn",
    "cz_rodne_cislo": "cz.rc",
    "de_steuer_id": "de.idnr",
    "dk_cpr": "dk.cpr",
    "ee_isikukood": "ee.ik",
    "es_dni": "es.dni",
    "es_nie": "es.nie",
    "fi_hetu": "fi.hetu",
    "fr_nir": "fr.nir",
    "gr_amka": "gr.amka",
    "hr_oib": "hr.oib",
    "ie_pps": "ie.pps",
    "is_kennitala": "is_.kennitala",
    "it_codice_fiscale": "it.codicefiscale",
    "lt_asmens_kodas": "lt.asmens",
    "nl_bsn": "nl.bsn",
    "no_fodselsnummer": "no.fodselsnummer",
    "pl_pesel": "pl.pesel",
    "pt_nif": "pt.nif",
    "ro_cnp": "ro.cnp",
    "se_personnummer": "se.personnummer",
    "si_emso": "si.emso",
}


def test_there_are_three_hundred_different_traces_and_lines():
    assert len(set(traces())) == len(traces()) >= 300


def test_values_have_places_in_the_traces_of_kinds_that_there_are():
    kinds = [part.kind for trace in traces() for part in parse(trace) if part.role is Role.PLACE]
    assert len(kinds) >= 50 and set(kinds) <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_forty_cases_and_forty_look_alikes(kind):
    found = positives(kind, Random(kind), 40), negatives(kind, Random(kind), 40)
    assert [len({case.text for case in cases}) for cases in found] == [40, 40]
    assert all(secret for case in found[0] for secret in case.secrets) and not any(case.secrets for case in found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_stands_in_contexts_that_differ(kind):
    where = contexts()[kind]
    assert len({*where.keyed, *where.alone}) >= 4 and len(set(where.negatives)) >= 8


def test_clean_traces_hold_no_sign_of_the_corpora():
    assert not [case.text for case in clean_traces() if set("«»‹›") & set(case.text)]


@pytest.mark.parametrize("kind", STDNUM)
def test_numbers_of_people_are_valid(kind):
    rules = pytest.importorskip(f"stdnum.{STDNUM[kind]}")
    rng = Random(3)
    assert [number for number in (PEOPLE[kind](rng) for _ in range(100)) if not rules.is_valid(number)] == []


@pytest.mark.parametrize(("make", "rule"), [("imei", "imei"), ("imsi", "imsi"), ("meid", "meid"), ("iccid", "luhn")])
def test_numbers_of_devices_are_valid(make, rule):
    rules = pytest.importorskip(f"stdnum.{rule}")
    rng = Random(3)
    assert [n for n in (getattr(devices, make)(rng) for _ in range(100)) if not rules.is_valid(n)] == []


def test_phone_numbers_are_valid():
    phonenumbers = pytest.importorskip("phonenumbers")
    rng = Random(3)
    for country, place in devices.phones().items():
        for form in place["forms"]:
            number = phonenumbers.parse(devices.numbered(rng, form), country)
            assert phonenumbers.is_valid_number(number), (country, form)
    abroad = [devices.international(rng) for _ in range(300)]
    read = [
        phonenumbers.parse(number.removeprefix("‹tel:›").replace("00", "+", number.startswith("00")))
        for number in abroad
    ]
    assert all(map(phonenumbers.is_valid_number, read))


def test_the_rules_that_no_library_knows_agree_with_published_examples():
    assert importlib.import_module("tests.scrubbing.checkdigits").weighted("112233445", range(9, 0, -1)) % 101 == 95

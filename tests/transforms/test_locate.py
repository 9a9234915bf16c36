import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.countries import countries, country_of_mcc
from schemas.pack_files import load_pack
from schemas.regions import SIGNALS, Residency
from transforms.locate import UNLOCATABLE, locate

EEA = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()  # noqa: SIM905
RULES = Residency.of(
    SIGNALS,
    {"cn": ["CN"], "in": ["IN"], "ru": ["RU"], "eu": EEA, "us": ["US"], "sg": "rest"},
    localising=["in", "cn", "ru", "eu"],
)
NO_REST = Residency.of(["sim_mcc", "account_country"], {"us": ["US"], "eu": EEA, "cn": ["CN"]}, ["cn"])


def columns(account=(), device=(), sim=()):
    """Columns of equal length: what is not given is null."""
    rows = max(len(account), len(device), len(sim))
    pad = [[*values, *[None] * (rows - len(values))] for values in (account, device, sim)]
    return dict(zip(SIGNALS, map(pa.array, pad, (pa.string(), pa.string(), pa.int64())), strict=True))


def names(codes, rules=RULES):
    return [None if code == UNLOCATABLE else rules.regions[code] for code in codes.tolist()]


def regions_of(**signals):
    return names(locate(columns(**signals), RULES)[0])


@pytest.mark.clause("6-cn")
def test_the_mainland_is_not_hong_kong_macao_or_taiwan():
    assert regions_of(account=["CN", "HK", "MO", "TW"]) == ["cn", "sg", "sg", "sg"]
    assert regions_of(sim=[460, 461, 454, 455, 466]) == ["cn", "cn", "sg", "sg", "sg"]


@pytest.mark.clause("6-ru")
def test_russia():
    assert regions_of(account=["RU"]) == regions_of(sim=[250]) == ["ru"]


@pytest.mark.clause("6-in")
def test_india():
    assert regions_of(device=["IN"] * 3) == regions_of(sim=[404, 405, 406]) == ["in"] * 3


@pytest.mark.clause("6-eea")
def test_iceland_liechtenstein_and_norway_are_eea_but_switzerland_and_the_united_kingdom_are_not():
    assert regions_of(account=["IS", "LI", "NO", "DE", "CH", "GB"]) == ["eu"] * 4 + ["sg"] * 2
    assert regions_of(sim=[274, 295, 242, 262, 228, 234, 235]) == ["eu"] * 4 + ["sg"] * 3


@pytest.mark.clause("6-dc")
def test_every_country_has_one_centre():
    everywhere = sorted(countries())
    assert regions_of(device=everywhere) == [RULES.region_of_country[country] for country in everywhere]
    assert regions_of(sim=list(country_of_mcc())) == [RULES.region_of_country[c] for c in country_of_mcc().values()]


@pytest.mark.clause("6-dc")
@pytest.mark.parametrize(
    "value", ["ZZ", "XX", "XK", "UK", "EU", "", "C", "cn", "Cn", "CHN", "CN ", " CN", "C\0", "China", "460", "é", "中"]
)
def test_what_is_not_exactly_a_country_is_no_signal(value):
    assert regions_of(account=[value]) == [None]
    assert regions_of(account=[value], device=["US"]) == ["us"]


@pytest.mark.clause("6-dc")
def test_a_value_may_not_borrow_letters_from_its_neighbour():
    assert regions_of(account=["C", "N", "", "CN", "US"[:1], "S"]) == [None, None, None, "cn", None, None]


@pytest.mark.clause("6-dc")
@pytest.mark.parametrize("mcc", [0, 1, 199, 201, 221, 800, 901, 999, 1000, 1460, -460, -1, 2**63 - 1, -(2**63)])
def test_a_test_international_or_impossible_mobile_country_code_is_no_signal(mcc):
    assert regions_of(sim=[mcc]) == [None]


@pytest.mark.parametrize(
    ("text", "region"), [("460", "cn"), ("262", "eu"), (" 460", None), ("46", None), ("0460", None), ("901", None)]
)
def test_a_mobile_country_code_may_be_text_of_three_digits(text, region):
    assert names(locate({"sim_mcc": pa.array([text, None])}, RULES)[0]) == [region, None]


@pytest.mark.parametrize(
    ("account", "device", "sim", "region", "conflict"),
    [
        ("US", None, None, "us", False),
        ("FR", "DE", 274, "eu", False),  # different countries, one region
        ("US", "SG", 525, "us", True),  # none localises: the first counts
        ("US", "SG", 250, "ru", True),  # the last signal, but the only one that localises
        ("US", "DE", 460, "cn", True),
        ("DE", "RU", 460, "cn", True),
        ("CN", "RU", 404, "in", True),
        ("HK", "CN", None, "cn", True),
        ("ZZ", "US", 901, "us", False),  # unusable signals do not conflict
        ("ZZ", "zz", 1, None, False),
    ],
)
@pytest.mark.clause("6-dc")
def test_signals_that_conflict(account, device, sim, region, conflict):
    codes, conflicts = locate(columns([account], [device], [sim]), RULES)
    assert (names(codes), conflicts.tolist()) == ([region], [conflict])


def test_the_order_of_signals_is_the_packs():
    given_signals = columns(account=["US", "CN", None], sim=[262, 262, 525])
    codes, conflicts = locate(given_signals, NO_REST)
    assert names(codes, NO_REST) == ["eu", "cn", None]  # Singapore has no region here
    assert conflicts.tolist() == [True, True, False]


def test_types_missing_columns_and_empty_batches():
    codes, conflicts = locate(columns(account=["CN"]), RULES)
    assert (codes.dtype, conflicts.dtype) == (np.int8, np.bool_)
    assert names(locate({"account_country": None, "device_region": pa.array(["RU"])}, RULES)[0]) == ["ru"]
    assert [len(part) for part in locate(columns(), RULES)] == [0, 0]
    for type_ in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        part = pa.array(["US", "CN", None, "zz"], type_).slice(1)
        assert names(locate({"account_country": part}, RULES)[0]) == ["cn", None, None]


@pytest.mark.clause("6-dc")
def test_the_examples_of_the_reference_page_are_true():
    page = (Path(__file__).parents[2] / "docs/reference/regions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`[^|]+`) \| (country|none) \|", page, re.M)
    tried = [
        (signal, value, names)
        for signals, values, names in rows
        for signal in re.findall("`(.+?)`", signals)
        for value in re.findall("`(.+?)`", values)
    ]
    assert len(tried) > 40 and {names for *_, names in tried} == {"country", "none"}
    for signal, value, names in tried:
        column = pa.array([int(value) if signal == "sim_mcc" else value])
        assert (locate({signal: column}, RULES)[0][0] != UNLOCATABLE) == (names == "country"), (signal, value)


@pytest.mark.clause("6-eea")
def test_areas_that_share_a_mobile_country_code_go_where_it_stands():
    shared = {340: "GP", 362: "CW", 425: "IL", 647: "RE"}
    assert {mcc: country_of_mcc()[mcc] for mcc in shared} == shared
    pack = load_pack().where
    codes, _ = locate({"sim_mcc": pa.array(list(shared))}, pack)
    assert names(codes, pack) == ["eu", "sg", "sg", "eu"]


def test_columns_that_give_no_number_of_rows_are_refused():
    with pytest.raises(ValueError, match="at least one column of account_country, device_region, sim_mcc"):
        locate({"account_country": None}, RULES)
    with pytest.raises(ValueError, match="all of one length"):
        locate({"account_country": pa.array(["CN"]), "device_region": pa.array(["CN", "CN"])}, RULES)


def test_bytes_under_a_null_are_not_read():
    hidden = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.array(["CN", "US"]).buffers()[1], pa.py_buffer(b"CNUS")]
    )
    assert hidden.to_pylist() == [None, "US"]
    assert names(locate({"account_country": hidden}, RULES)[0]) == [None, "us"]


def slow_locate(row, rules):
    """One row by the words of the rule."""
    usable = []
    for signal in rules.signals:
        value = row[signal]
        country = country_of_mcc().get(value) if signal == "sim_mcc" else value
        if country in rules.region_of_country:
            usable.append(rules.region_of_country[country])
    if len(set(usable)) > 1:
        for region in rules.localising:
            if region in usable:
                return region, True
    return (usable[0] if usable else None), len(set(usable)) > 1


country_values = st.none() | st.sampled_from(["CN", "IN", "RU", "DE", "US", "HK", "ZZ", "cn", ""]) | st.text(max_size=3)
mcc_values = st.none() | st.sampled_from([460, 404, 250, 262, 310, 454, 901]) | st.integers(-(2**63), 2**63 - 1)
rows_of_signals = st.lists(st.tuples(country_values, country_values, mcc_values), max_size=40)


@given(rows=rows_of_signals, cut=st.integers(0, 40), rules=st.sampled_from([RULES, NO_REST]))
def test_agrees_with_the_rule_row_by_row_and_in_any_slice(rows, cut, rules):
    table = columns(*zip(*rows, strict=True)) if rows else columns()
    codes, conflicts = locate({name: column.slice(cut) for name, column in table.items()}, rules)
    expected = [slow_locate(dict(zip(SIGNALS, row, strict=True)), rules) for row in rows[cut:]]
    assert list(zip(names(codes, rules), conflicts.tolist(), strict=True)) == expected

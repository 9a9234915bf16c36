import pickle

import pytest

from schemas.countries import countries
from schemas.regions import SIGNALS, Residency


def test_rest_takes_the_countries_that_no_region_names():
    rules = Residency.of(SIGNALS, {"sg": "rest", "eu": ["DE", "NO"], "cn": ["CN"]}, ["cn", "eu"])
    assert rules.region_of_country.keys() == countries()
    assert [c for c, region in rules.region_of_country.items() if region != "sg"] == ["DE", "NO", "CN"]
    assert rules.regions == ("sg", "eu", "cn")
    assert [rules.code(region) for region in rules.regions] == [0, 1, 2]


def test_without_rest_other_countries_have_no_region():
    assert Residency.of(SIGNALS, {"eu": ["DE"]}, []).region_of_country == {"DE": "eu"}


@pytest.mark.parametrize(
    ("signals", "regions", "localising", "message"),
    [
        ([], {"eu": ["DE"]}, [], "no signals: name at least one"),
        (["ip"], {"eu": ["DE"]}, [], "unknown signal 'ip': use account_country, device_region, sim_mcc"),
        (["sim_mcc", "sim_mcc"], {"eu": ["DE"]}, [], "signal 'sim_mcc' is named twice"),
        (["sim_mcc"], {"eu": ["DE"]}, ["cn"], "unknown localising region 'cn': use eu"),
        (["sim_mcc"], {"eu": ["DE"]}, ["eu", "eu"], "localising region 'eu' is named twice"),
        (["sim_mcc"], {"eu": ["DE"], "us": ["US", "DE"]}, [], "country DE is in regions eu and us"),
        (["sim_mcc"], {"eu": ["DE", "DE"]}, [], "country DE is in regions eu and eu"),
        (["sim_mcc"], {"eu": ["UK"]}, [], "region eu lists 'UK': use officially assigned"),
        (["sim_mcc"], {"eu": ["de"]}, [], "region eu lists 'de'"),
        (["sim_mcc"], {"eu": ["DE", False]}, [], "region eu lists False, not a country code: quote it"),
        (["sim_mcc"], {"eu": "rest", "sg": "rest"}, [], 'regions eu and sg are all "rest"'),
        (["sim_mcc"], {"eu": [], "sg": "rest"}, [], "region eu has no countries"),
    ],
)
def test_wrong_rules_say_what_to_change(signals, regions, localising, message):
    with pytest.raises(ValueError, match=message):
        Residency.of(signals, regions, localising)


def test_equal_rules_are_equal_and_survive_a_pickle():
    def rules(eu):
        return Residency.of(SIGNALS, {"eu": eu, "sg": "rest"}, ["eu"])

    assert rules(["DE"]) == pickle.loads(pickle.dumps(rules(["DE"])))
    assert hash(rules(["DE"])) == hash(pickle.loads(pickle.dumps(rules(["DE"]))))
    assert rules(["DE"]) != rules(["FR"])

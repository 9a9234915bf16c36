"""The countries of ISO 3166-1 and the mobile country codes that ITU-T E.212 assigns to them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

_TABLE = Path(__file__).with_name("countries.yaml")


@cache
def countries() -> frozenset[str]:
    """Every officially assigned alpha-2 code of ISO 3166-1; ZZ and XK (user-assigned), UK and EU (reserved) are not."""
    return frozenset(_table())


@cache
def country_of_mcc() -> Mapping[int, str]:
    """The country to which each geographic mobile country code belongs; test and international codes have none.

    Raises ValueError if the table names a code twice or one outside of E.212's geographic range, 200 to 799.
    """
    return MappingProxyType(invert(_table()))


@cache
def subscriber_mccs() -> frozenset[int]:
    """Every mobile country code that a subscriber can have: those of countries, Kosovo's (221), which ISO 3166-1 does
    not list, and that of networks in no one country (901). Not tests (001) and not private networks (999)."""
    return frozenset({*country_of_mcc(), 221, 901})


def invert(mccs_of_country: Mapping[str, list[int]]) -> dict[int, str]:
    """Mobile country code to country. Raises ValueError if that is not a function, or a code is not geographic."""
    country_of: dict[int, str] = {}
    for country, mccs in mccs_of_country.items():
        for mcc in mccs:
            if not 200 <= mcc <= 799:
                raise ValueError(f"mobile country code {mcc} of {country} is not geographic: use 200 to 799")
            if mcc in country_of:
                raise ValueError(f"mobile country code {mcc} is given to {country_of[mcc]} and {country}: keep one")
            country_of[mcc] = country
    return country_of


@cache
def _table() -> dict[str, list[int]]:
    return yaml.load(_TABLE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)

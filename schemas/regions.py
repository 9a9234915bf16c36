"""Residency as data: which signals say where a record belongs, and which countries make a region."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.countries import countries
from schemas.model import Misfit

SIGNALS = ("account_country", "device_region", "sim_mcc")


@dataclass(frozen=True)
class Residency:
    """Rules of residency, checked by `Residency.of`.

    A country that is missing from `region_of_country` has no region: a record that points there only is not locatable.
    """

    signals: tuple[str, ...]  # the first usable one decides
    region_of_country: Mapping[str, str] = field(hash=False)  # a dict has no hash; it still counts for equality
    localising: tuple[str, ...]  # regions that win a conflict of signals, strongest first
    regions: tuple[str, ...]  # a region's code is its index here

    @classmethod
    def of(
        cls,
        signals: Iterable[str],
        regions: Mapping[str, Iterable[str] | Literal["rest"]],
        localising: Iterable[str],
    ) -> "Residency":
        """The rules of a policy pack, or a ValueError that says what to change in it.

        `regions` gives each region its countries (ISO 3166-1 alpha-2); "rest" is all that no other region names.
        """
        signals, localising = tuple(signals), tuple(localising)
        if not signals:
            raise Misfit("residency has no signals: name at least one", "residency", "signals")
        _check_names("signals", "signal", signals, SIGNALS)
        _check_names("localising", "localising region", localising, regions)
        return cls(signals, _region_of_country(regions), localising, tuple(regions))

    def code(self, region: str) -> int:
        """The number that stands for a region in a column of region codes. Raises ValueError for an unknown region."""
        return self.regions.index(region)


def _check_names(key: str, what: str, names: tuple[str, ...], known: Iterable[str]) -> None:
    for position, name in enumerate(names):
        if name not in known:
            raise Misfit(f"unknown {what} {name!r}: use {', '.join(known)}", "residency", key, position)
        if name in names[:position]:
            raise Misfit(f"{what} {name!r} is named twice: keep one", "residency", key, position)


def _region_of_country(regions: Mapping[str, Iterable[str] | Literal["rest"]]) -> dict[str, str]:
    region_of: dict[str, str] = {}
    rest: list[str] = []
    for region, members in regions.items():
        if members == "rest":
            rest.append(region)
            continue
        for country in members:
            _check_country(country, region)
            if country in region_of:
                what = f"country {country} is in regions {region_of[country]} and {region}: keep one"
                raise Misfit(what, "regions", region, "countries")
            region_of[country] = region
    if len(rest) > 1:
        what = f'regions {" and ".join(rest)} are all "rest": leave one, list the countries of the others'
        raise Misfit(what, "regions", rest[-1], "countries")
    for region in rest:
        region_of |= dict.fromkeys(sorted(countries() - region_of.keys()), region)
    if empty := regions.keys() - set(region_of.values()):
        raise Misfit(
            f"region {min(empty)} has no countries: list some, or remove it", "regions", min(empty), "countries"
        )
    return region_of


def _check_country(country: object, region: str) -> None:
    if not isinstance(country, str):
        what = f'region {region} lists {country!r}, not a country code: quote it (YAML reads NO as "false")'
        raise Misfit(what, "regions", region, "countries")
    if country not in countries():
        what = f"region {region} lists {country!r}: use officially assigned ISO 3166-1 alpha-2 codes"
        raise Misfit(what, "regions", region, "countries")

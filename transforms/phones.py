"""Telephone numbers by the tables of `phonenumbers`: which digits are a number somewhere, and how they are grouped.

The library reads one number at a time, in a tenth of a millisecond. Its tables are regular expressions, so here RE2
matches them all at once; they are loaded and compiled when the first candidate comes.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

import re2

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata

# Where numbers count without a country code.
_REGIONS = (
    *("CN", "IN", "RU", "US", "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU"),
    *("IS", "IE", "IT", "LV", "LI", "LT", "LU", "MT", "NL", "NO", "PL", "PT", "RO", "SK", "SI", "ES", "SE"),
)
_GROUP = re.compile(r"\(((?:[^()]|\(\?:[^()]*\))*)\)")


def is_international(candidate: str) -> bool:
    """Whether a text with the digits of a number in it, country code first, has a code and a length that exist."""
    digits = re.sub(r"\(0\)|%2B|[^0-9]", "", candidate).removeprefix("00")
    return any(_is_possible(plan, digits[n:]) for n in (1, 2, 3) for plan in _plans().get(digits[:n], ()))


def _is_possible(plan: "PhoneMetadata", rest: str) -> bool:
    # Some write what a trunk call begins with behind the code.
    written = {rest, rest.removeprefix("1" if plan.country_code == 1 else "0"), _without_trunk(plan, rest)}
    return any(len(number) in plan.general_desc.possible_length for number in written)


def _without_trunk(plan: "PhoneMetadata", rest: str) -> str:
    """Digits without what a call within the country begins with, be it a carrier, as the plan takes it away."""
    trunk = re.match(plan.national_prefix_for_parsing or "", rest)
    if not trunk:
        return rest
    rule = plan.national_prefix_transform_rule if trunk.lastindex else None
    return (trunk.expand(rule) if rule else "") + rest[trunk.end() :]


def is_national(candidate: str) -> bool:
    """Whether the digits are a number in some region, grouped as is done there or with the 0 of a trunk call."""
    groups = re.findall(r"[0-9]+", candidate)
    regions = _numbers().Match("".join(groups)) or ()
    if groups[0].startswith("0"):
        return bool(regions)
    return not set(regions).isdisjoint(_groupings().Match("-".join(groups)) or ())


@cache
def _plans() -> dict[str, list["PhoneMetadata"]]:
    """The numbering plans by country code: of the regions that share it."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {
        str(code): [_metadata(region, code) for region in regions]
        for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()
    }


def _metadata(region: str, code: int = 0) -> "PhoneMetadata":
    from phonenumbers import PhoneMetadata

    return PhoneMetadata.metadata_for_region_or_calling_code(code, region)


def _trunk(metadata: "PhoneMetadata") -> str:
    """What a call within the country begins with, and where it has changed what it began with, as a pattern."""
    both = metadata.national_prefix_for_parsing or ""
    return both if re.fullmatch(r"\[[0-9]+\]", both) else metadata.national_prefix or ""


@cache
def _numbers() -> re2.Set:
    """By region the digits of its numbers, with what a trunk call begins with or without."""
    numbers = re2.Set.FullMatchSet()
    for metadata in map(_metadata, _REGIONS):
        kinds = (metadata.fixed_line, metadata.mobile, metadata.toll_free, metadata.voip, metadata.uan)
        kinds += (metadata.personal_number, metadata.shared_cost, metadata.premium_rate)
        patterns = "|".join(kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern)
        numbers.Add(f"(?:{_trunk(metadata)})?(?:{patterns})")
    numbers.Compile()
    return numbers


@cache
def _groupings() -> re2.Set:
    """By region the groups in which its numbers are written, with a hyphen between them."""
    groupings = re2.Set.FullMatchSet()
    for metadata in map(_metadata, _REGIONS):
        written = {"-".join(_GROUP.findall(form.pattern)) for form in metadata.number_format}
        prefix = _trunk(metadata)
        groupings.Add(f"(?:{prefix}-?)?(?:{'|'.join(sorted(written))})")
    groupings.Compile()
    return groupings

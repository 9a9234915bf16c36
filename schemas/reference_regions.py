"""The reference page of regions: which records live where, and what the law of each makes of the purposes."""

from collections.abc import Iterator

from schemas.difference import narrowed
from schemas.markdown import bullets, joined, table
from schemas.policy import Pack

_COUNTRIES, _NETWORKS = "`account_country`, `device_region`", "`sim_mcc`"
_SAID = (  # examples are tried on `transforms.locate`
    (_COUNTRIES, "`NL` `HK` `AX`", "country", "assigned by ISO 3166-1 alpha-2"),
    (_COUNTRIES, "`ZZ` `XX` `QM` `XK` `A1` `T1`", "none", "a placeholder, or left to its users by ISO"),
    (_COUNTRIES, "`EU` `UK` `SU`", "none", "reserved: a union, another name, a country of the past"),
    (
        _COUNTRIES,
        "`nl` `Nl` `NLD` `Netherlands` `528` `001` `NL-NH` `-`",
        "none",
        "not exactly a code (nor is the empty text); none is guessed",
    ),
    (_NETWORKS, "`204` `460`", "country", "assigned by ITU-T E.212, quoted or not"),
    (_NETWORKS, "`340` `362` `425` `647`", "country", "shared by several areas: taken for GP, CW, IL and RE"),
    (_NETWORKS, "`0` `1` `999` `-1`", "none", "a test, a private network, no network"),
    (_NETWORKS, "`901` `221`", "none", "of no one country, or of one without an ISO code"),
    (_NETWORKS, "`46` `1460` `800`", "none", "no mobile country code of a country"),
)


def regions_page(pack: Pack, made: str) -> str:
    """The text of the page; `made` says how it was made."""
    residency = pack.residency
    parts = [
        "# Regions",
        made,
        "Where a record may live, by the signals that it carries (" + residency.clause + "):",
        bullets(
            "The signals are asked in this order, and the first usable one decides: "
            + ", ".join(f"`residency.{signal}`" for signal in residency.signals)
            + ".",
            "Where they name different regions, the first of these that is named wins: "
            + ", ".join(residency.localising)
            + ".",
            "A record without a usable signal is counted and not kept.",
            "A signal is usable if it names a country that has a region here. What is no text, or in `sim_mcc` no "
            "number, is a fault of form: that line is quarantined.",
        ),
        table(("signal", "that says", "names", "since it is"), _SAID),
        table(
            ("region", "clause", "data centre", "legal bases that its law knows", "purposes that fall back to consent"),
            (
                [name, region.clause, region.data_centre, ", ".join(region.bases), _fallen(pack, name)]
                for name, region in pack.regions.items()
            ),
        ),
    ]
    members = pack.where.region_of_country
    for name in pack.regions:
        countries = sorted(country for country, region in members.items() if region == name)
        rest = " (every country that no other region names)" if pack.regions[name].countries == "rest" else ""
        parts += [f"## {name}", f"{len(countries)} of ISO 3166-1{rest}: {' '.join(countries)}"]
        parts += _narrowed(pack, name)
    return joined(parts)


def _fallen(pack: Pack, region: str) -> str:
    declared = {name: p.basis.get(region, p.basis["default"]) for name, p in pack.purposes.items()}
    return ", ".join(name for name, basis in declared.items() if pack.basis(name, region) is not basis) or "none"


def _narrowed(pack: Pack, region: str) -> Iterator[str]:
    """What the overlays of the region, and of services in it, narrow."""
    for service in (None, *pack.by_service):
        said = [f"{each.about} {each.what}" for each in narrowed(pack, service, region)]
        if said:
            yield f"For service `{service}` also:" if service else "Narrower than the base here:"
            yield bullets(*said)

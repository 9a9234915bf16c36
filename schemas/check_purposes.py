"""Rules about a purpose as a whole: its legal bases, its class, whom it is closed to, how long it keeps."""

from collections.abc import Iterator
from datetime import date

from schemas.datasets import Dataset, datasets
from schemas.findings import Finding
from schemas.overlays import PurposeOverlay
from schemas.policy import Basis, Pack
from schemas.yaml_files import Place

_CLAUSE_OF_BASIS = {Basis.LEGITIMATE_INTEREST: "1.2-ops", Basis.OPT_OUT: "1.2-promo"}


def class_too_low(pack: Pack, today: date) -> Iterator[Finding]:
    """No dataset has a lower class than its columns (1.1.4-d): a row about a subject is personal. Of a purpose without
    a subject its model sees to the columns; of one that is only counted no row is kept, and its release is noisy."""
    for name, purpose in pack.purposes.items():
        if purpose.stored and purpose.subject and purpose.holds == "non_personal":
            yield Finding(
                "class_too_low",
                ("purposes", name, "holds"),
                "1.1.4-d",
                f"{name} promises rows about nobody, and each is about a subject ({', '.join(purpose.subject)})",
                "write `holds: personal`, or `subject: []`",
            )


def profiling_of_minors(pack: Pack, today: date) -> Iterator[Finding]:
    """Profiling is closed to minors, whatever they agree to (7)."""
    for name, purpose in pack.purposes.items():
        if purpose.profiling and purpose.minors != "excluded":
            message = f"{name} is profiling, and minors are included"
            yield Finding("profiling_of_minors", ("purposes", name, "minors"), "7", message, "write `minors: excluded`")


def basis_unknown_to_law(pack: Pack, today: date) -> Iterator[Finding]:
    """A basis that is said of a region by name is one that its law knows (1.2-ops, 1.2-promo). A `default` may be of
    another kind: it falls back to consent there."""
    for name, purpose in pack.purposes.items():
        for region in purpose.basis.keys() & pack.regions.keys():
            basis, known = purpose.basis[region], pack.regions[region].bases
            if basis not in known:
                yield Finding(
                    "basis_unknown_to_law",
                    ("purposes", name, "basis", region),
                    _CLAUSE_OF_BASIS.get(basis, "1.2-consented"),
                    f"{name} stands on {basis} in {region}, whose law has no such basis",
                    f"use one of {', '.join(known)}",
                )


def nobody_can_consent(pack: Pack, today: date) -> Iterator[Finding]:
    """Where a purpose needs consent, there is somebody to give it (1.2-consented)."""
    for name, purpose in pack.purposes.items():
        needing = [region for region in pack.regions if pack.basis(name, region) is Basis.CONSENT]
        if needing and not purpose.grantors:
            yield Finding(
                "nobody_can_consent",
                ("purposes", name, "basis"),
                "1.2-consented",
                f"{name} stands on consent in {', '.join(needing)}, and nobody can give it",
                "name whose grant counts in `granted_by`",
            )
    for place, name, said in _said_of_purposes(pack):
        if said.basis and not pack.purposes[name].grantors:
            message = f"{name} needs consent there, and nobody can give it"
            remedy = f"name whose grant counts in `granted_by` of {name}, or close it"
            yield Finding("nobody_can_consent", (*place, "basis"), said.clause, message, remedy)


def version_unfit(pack: Pack, today: date) -> Iterator[Finding]:
    """A purpose asks for no edition that nobody can have agreed to yet (9), nor does an overlay of it."""
    base = ((("purposes", name), name, rules) for name, rules in pack.purposes.items())
    for place, name, rules in (*base, *_said_of_purposes(pack)):
        least = rules.minimum_policy_version
        if least and least > pack.version:
            message = f"{name} asks for consent under {least}, and this pack is of {pack.version}"
            where = (*place, "minimum_policy_version")
            yield Finding("version_unfit", where, "9", message, "name this edition or an older one")


def _said_of_purposes(pack: Pack) -> Iterator[tuple[Place, str, PurposeOverlay]]:
    """What overlays say of each purpose, with its place."""
    for kind, overlays in (("by_region", pack.by_region), ("by_service", pack.by_service)):
        for at, overlay in overlays.items():
            for name, said in overlay.purposes.items():
                yield (kind, at, "purposes", name), name, said


def retention_too_long(pack: Pack, today: date) -> Iterator[Finding]:
    """No dataset is kept for longer than a region allows for what it holds there (4.4-a)."""
    exceeded: dict[str, list[tuple[int, str, int, str]]] = {}
    for region, rules in pack.regions.items():
        held = pack.effective_for(None, region)
        for dataset in datasets(held).values():
            if dataset.purpose in held.closed:
                continue
            categories = {column.field.category for column in dataset.columns}
            days = held.retention_days(dataset.purpose, categories)
            exceeded.setdefault(dataset.name, []).extend(
                (limit, category, days, region)
                for category, limit in rules.longest_days.items()
                if limit < days and (category == "any" or category in categories)
            )
    for name, found in exceeded.items():
        if found:
            yield _too_long(pack, datasets(pack)[name], found)


def _too_long(pack: Pack, dataset: Dataset, exceeded: list[tuple[int, str, int, str]]) -> Finding:
    """The strictest of the limits that a dataset exceeds, with the regions that share it."""
    limit, category, days, _ = strictest = min(exceeded, key=lambda each: each[:3])
    regions = [each[3] for each in exceeded if each[:3] == strictest[:3]]
    of = "" if category == "any" else f" for {category}"
    place = _said_at(pack, dataset, days, regions[0])
    whole = category == "any" or place[0] == "by_region"  # an overlay says one retention for all
    return Finding(
        "retention_too_long",
        place,
        "4.4-a",
        f"{dataset.name} is kept for {days} days, and the longest{of} is {limit} in {', '.join(regions)}",
        f"write `retention_days: {limit}`" if whole else f"write `retention: {{{category}: {limit}}}`",
    )


def _said_at(pack: Pack, dataset: Dataset, days: int, region: str) -> Place:
    """Where the days are said that a dataset is kept for in a region."""
    own = ("purposes", dataset.purpose)
    overlay = pack.by_region.get(region)
    if overlay and dataset.purpose in overlay.purposes and overlay.purposes[dataset.purpose].retention_days == days:
        return ("by_region", region, *own, "retention_days")
    retention = pack.purposes[dataset.purpose].retention
    held = {column.field.category for column in dataset.columns}
    given = [("retention", category) for category in retention if category in held and retention[category] == days]
    return (*own, *(given or [("retention_days",)])[0])

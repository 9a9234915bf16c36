"""Rules about a purpose as a whole: its legal bases, its class, whom it is closed to, how long it keeps."""

from collections.abc import Iterator
from datetime import date

from schemas.datasets import datasets
from schemas.findings import Finding
from schemas.policy import Basis, Pack

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


def version_unfit(pack: Pack, today: date) -> Iterator[Finding]:
    """Editions are compared as dates, and a purpose asks for none that nobody can have agreed to yet (9)."""
    rule, remedy = "version_unfit", 'write a date such as "2021-01-15"'
    if not _is_date(pack.version):
        yield Finding(rule, ("version",), "9", f"version {pack.version!r} is no date", remedy)
    for name, purpose in pack.purposes.items():
        least = purpose.minimum_policy_version
        place = ("purposes", name, "minimum_policy_version")
        if least and not _is_date(least):
            yield Finding(rule, place, "9", f"minimum_policy_version {least!r} is no date", remedy)
        elif least and least > pack.version:
            message = f"{name} asks for consent under {least}, and this pack is of {pack.version}"
            yield Finding(rule, place, "9", message, "name this edition or an older one")


def _is_date(word: str) -> bool:
    try:
        return date.fromisoformat(word).isoformat() == word
    except ValueError:
        return False


def retention_too_long(pack: Pack, today: date) -> Iterator[Finding]:
    """No dataset is kept for longer than a region allows for what it holds (4.4-a)."""
    for dataset in datasets(pack).values():
        purpose, held = pack.purposes[dataset.purpose], {column.field.category for column in dataset.columns}
        days = pack.retention_days(dataset.purpose, held)
        exceeded = [
            (limit, category, region)
            for region, rules in pack.regions.items()
            for category, limit in rules.longest_days.items()
            if limit < days and (category == "any" or category in held)
        ]
        if not exceeded:
            continue
        limit, category, _ = min(exceeded)
        regions = ", ".join(region for *least, region in exceeded if least == [limit, category])
        given = [("retention", each) for each in purpose.retention if each in held and purpose.retention[each] == days]
        of = "" if category == "any" else f" for {category}"
        yield Finding(
            "retention_too_long",
            ("purposes", dataset.purpose, *(given or [("retention_days",)])[0]),
            "4.4-a",
            f"{dataset.name} is kept for {days} days, and the longest{of} is {limit} in {regions}",
            f"write `retention_days: {limit}`" if category == "any" else f"write `retention: {{{category}: {limit}}}`",
        )

"""Rules about what may leave a region, the company or a service, and about what must never come."""

from collections.abc import Iterator
from datetime import date

from schemas.check_identifiers import without_consent
from schemas.fields import EVENT_FIELD, EVENT_FIELDS
from schemas.findings import Finding
from schemas.policy import Pack
from schemas.sharing import Recipient, TransferGrant
from schemas.yaml_files import Place


def _ways(pack: Pack) -> Iterator[tuple[Place, str, TransferGrant | Recipient]]:
    """Every way out, to another region or to somebody else, with its place and the clause that asks for its entry."""
    for number, grant in enumerate(pack.transfers.grants):
        yield ("transfers", "grants", number), "6-grant", grant
    for number, entry in enumerate(pack.recipients.entries):
        yield ("recipients", "entries", number), "3.1-recipient", entry


def way_to_nowhere(pack: Pack, today: date) -> Iterator[Finding]:
    """A way names regions and a purpose of the pack, and leads elsewhere (6-grant, 3.1-recipient)."""
    for place, clause, way in _ways(pack):
        named = [("purpose", way.purpose, pack.purposes)]
        if isinstance(way, TransferGrant):
            named += [("from", way.origin, pack.regions), ("to", way.to, pack.regions)]
        else:
            named += [("region", way.region, pack.regions)]
        for key, name, known in named:
            if name not in known:
                what = "purpose" if key == "purpose" else "region"
                yield Finding(
                    "way_to_nowhere", (*place, key), clause, f"{name!r} is no {what} of this pack", "name one"
                )
        if isinstance(way, TransferGrant) and way.origin == way.to:
            yield Finding("way_to_nowhere", (*place, "to"), clause, f"it leads from {way.to} to itself", "drop it")


def way_without_instrument(pack: Pack, today: date) -> Iterator[Finding]:
    """Nothing leaves without a legal instrument, named, and an end (6-grant, 3.1-recipient)."""
    for place, clause, way in _ways(pack):
        if not (way.instrument or "").strip():
            message = f"{way.purpose} may leave and no legal instrument is named"
            yield Finding(
                "way_without_instrument", place, clause, message, "name it in `instrument`, or drop the entry"
            )
        if way.until is None:
            message = f"{way.purpose} may leave for ever"
            yield Finding("way_without_instrument", place, clause, message, "name the last day in `until`")


def way_past_its_date(pack: Pack, today: date) -> Iterator[Finding]:
    """Nothing leaves after the last day of the instrument (6-grant, 3.1-recipient)."""
    for place, clause, way in _ways(pack):
        if way.until and way.until < today:
            message = f"{way.purpose} might leave until {way.until}, which is past"
            yield Finding(
                "way_past_its_date", (*place, "until"), clause, message, "renew the instrument, or drop the entry"
            )


def way_for_nothing(pack: Pack, today: date) -> Iterator[Finding]:
    """Only what is necessary leaves: what a purpose stores, in categories that it holds, and that is said once
    (3.1-recipient, 6-grant)."""
    said: list[TransferGrant | Recipient] = []
    for place, clause, way in _ways(pack):
        if way in said:
            yield Finding("way_for_nothing", place, clause, "the same stands before it", "drop it")
        said.append(way)
        purpose = pack.purposes.get(way.purpose)
        if purpose is None:
            continue
        held = {EVENT_FIELD[path].category for path in purpose.columns} if purpose.stored else set()
        for number, category in enumerate(way.categories):
            if category not in held:
                message = f"{way.purpose} stores nothing of {category}"
                yield Finding("way_for_nothing", (*place, "categories", number), clause, message, "drop it")


def transfer_never(pack: Pack, today: date) -> Iterator[Finding]:
    """There is no grant out of a region whose law knows no exception (6-in)."""
    for number, grant in enumerate(pack.transfers.grants):
        region = pack.regions.get(grant.origin)
        if region and region.transfers == "never":
            place = ("transfers", "grants", number, "from")
            message = f"nothing leaves {grant.origin}, by no grant (`transfers: never`)"
            yield Finding("transfer_never", place, region.clause, message, "drop the grant")


def stored_abroad(pack: Pack, today: date) -> Iterator[Finding]:
    """What a region claims for itself stays there: its data centre is in one of its countries (6-cn, 6-in, 6-ru), and
    one that nothing may leave loses no record whose signals differ to another region."""
    claiming = pack.residency.localising
    for name, region in pack.regions.items():
        never = region.transfers == "never"
        if (never or name in claiming) and pack.where.region_of_country.get(region.data_centre) != name:
            message = f"what {name} claims is stored in {region.data_centre}, which is no country of it"
            place = ("regions", name, "data_centre")
            yield Finding("stored_abroad", place, region.clause, message, "name a country that it serves")
        if never and name not in claiming:
            message = f"nothing may leave {name}, and where signals differ its records go to another region"
            place = ("residency", "localising")
            yield Finding("stored_abroad", place, region.clause, message, f"name {name} there as well")


def combination_without_control(pack: Pack, today: date) -> Iterator[Finding]:
    """Services are combined only under a control of its own that people have: a purpose on consent (1.2-combine)."""
    rule, clause = "combination_without_control", "1.2-combine"
    for number, entry in enumerate(pack.combinations.entries):
        place = ("combinations", "entries", number, "control")
        if entry.control not in pack.purposes:
            yield Finding(rule, place, clause, f"{entry.control!r} is no purpose of this pack", "name one on consent")
        elif others := without_consent(pack, entry.control):
            message = f"{entry.control} is not on consent in {', '.join(others)}"
            yield Finding(rule, place, clause, message, "name a purpose that is on consent everywhere")
        elif entry.control in entry.purposes:
            message = f"{entry.control} is combined itself: who wants it could not refuse the combination"
            yield Finding(rule, place, clause, message, "name a purpose of its own")


def combination_of_nothing(pack: Pack, today: date) -> Iterator[Finding]:
    """What is combined is of several services, in purposes whose rows are about somebody (1.2-combine)."""
    rule, clause = "combination_of_nothing", "1.2-combine"
    for number, entry in enumerate(pack.combinations.entries):
        place = ("combinations", "entries", number)
        if len(set(entry.services)) < len(entry.services):
            yield Finding(rule, (*place, "services"), clause, "it names a service twice", "name each once")
        for position, name in enumerate(entry.purposes):
            purpose = pack.purposes.get(name)
            if purpose is None:
                message, remedy = f"{name!r} is no purpose of this pack", "name one"
            elif not (purpose.stored and purpose.subject):
                message, remedy = f"{name} stores no rows about anybody", "drop it"
            else:
                continue
            yield Finding(rule, (*place, "purposes", position), clause, message, remedy)


def not_admitted_is_a_field(pack: Pack, today: date) -> Iterator[Finding]:
    """What must not come is no field of an event, and no object that holds one (1.1.1)."""
    taken: set[str] = set()
    for number, entry in enumerate(pack.not_admitted):
        for position, name in enumerate(entry.fields):
            place = ("not_admitted", number, "fields", position)
            carried = [f.path for f in EVENT_FIELDS if f.path == name or f.path.startswith(f"{name}.")]
            if carried:
                message = f"{name} must not come, and {carried[0]} is a field of an event"
                yield Finding("not_admitted_is_a_field", place, entry.clause, message, "drop one of both")
            if name in taken:
                message = f"{name} is said twice"
                yield Finding("not_admitted_is_a_field", place, entry.clause, message, "keep one")
            taken.add(name)

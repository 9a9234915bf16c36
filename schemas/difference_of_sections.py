"""What a change opens and closes beside purposes: entries of which each lets something through, or keeps it back."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from schemas.difference_of_purposes import CLOSES, OPENS, Said
from schemas.policy import Pack
from schemas.words import listed
from schemas.yaml_files import Place


def of_sections(old: Pack, new: Pack) -> Iterator[tuple[Said, str | None]]:
    """What is said of entries, each with the one region where that holds, if it does so in one."""
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    common = old.regions.keys() & new.regions.keys()
    for place, (appears, describe, *keys) in _SECTIONS.items():
        before, after = ([*_entries(_at(content, place), keys)] for content in (was, now))
        disappears = CLOSES if appears == OPENS else OPENS
        for kind, one, other, word in ((appears, after, before, "now"), (disappears, before, after, "no longer")):
            for entry in one:
                if entry not in other:
                    about, what = describe(entry, word)
                    region = entry["regions"] if "regions" in keys else None
                    if region and region not in common:
                        about, region = f"{about} in {region}", None
                    yield Said(kind, about, what, (place,)), region


def _entries(entries: list[dict], keys: list[str]) -> Iterator[dict]:
    """The entries, each word of these lists in one of its own: of a list that grows only what is new is told."""
    for entry in entries:
        for words in product(*(entry[key] for key in keys)):
            yield entry | dict(zip(keys, words, strict=True))


def of_regions(old: Pack, new: Pack) -> Iterator[Said]:
    """Regions that come and go, and whether rows may leave one."""
    for kind, one, other, verb in ((OPENS, new, old, "is new, and takes"), (CLOSES, old, new, "is gone, and takes no")):
        for name in one.regions.keys() - other.regions.keys():
            yield Said(kind, f"region {name}", f"{verb} records", (("regions", name),))
    for name in old.regions.keys() & new.regions.keys():
        if old.regions[name].transfers != new.regions[name].transfers:
            free = new.regions[name].transfers == "granted"
            what = "may now leave it under a grant" if free else "may leave it under no grant any more"
            yield Said(OPENS if free else CLOSES, f"rows of {name}", what, (("regions", name, "transfers"),))


def of_tables(old: Pack, new: Pack) -> Iterator[Said]:
    """Tables of statistics that come and go."""
    was, now = (pack.statistics.tables if pack.statistics else {} for pack in (old, new))
    for kind, one, other, verb in ((OPENS, now, was, "is new, and counts"), (CLOSES, was, now, "is gone; it counted")):
        for name, table in one.items():
            if name not in other:
                by = f"by {listed(f'`{path}`' for path in table.by)}" if table.by else "in all"
                what = f"{verb} {listed(table.measures)} {by}"
                yield Said(kind, f"statistics table {name}", what, (("statistics", "tables", name),))


def _at(content: Any, place: Place) -> list[dict]:
    for key in place:
        content = content.get(key) or {}
    return list(content)


def _grant(entry: dict, now: str) -> tuple[str, str]:
    where = f"from {entry['origin']} to {entry['to']}"
    return f"rows of {entry['purpose']}", f"may {now} go {where} ({_terms(entry)})"


def _recipient(entry: dict, now: str) -> tuple[str, str]:
    who = f"{entry['name']} ({entry['kind']}) in {entry['region']}"
    return who, f"{now} receives rows of {entry['purpose']} ({_terms(entry)})"


def _terms(entry: dict) -> str:
    until = f"until {entry['until']}" if entry["until"] else "without end"
    return f"{listed(entry['categories'])}; {entry['instrument'] or 'no instrument'}, {until}; {entry['clause']}"


def _combination(entry: dict, now: str) -> tuple[str, str]:
    what = f"are {now} combined for {listed(entry['purposes'])} where {entry['control']} is open ({entry['clause']})"
    return f"services {listed(entry['services'])}", what


def _gate(entry: dict, now: str) -> tuple[str, str]:
    return f"columns of {entry['categories']}", f"{now} wait for {entry['purpose']} ({entry['clause']})"


def _collection(entry: dict, now: str) -> tuple[str, str]:
    what = f"{now} serves only what needs no consent unless {listed(entry['admitted_by'], 'or')} is open"
    return entry["events"], f"{what} ({entry['clause']})"


def _kept_out(entry: dict, now: str) -> tuple[str, str]:
    return f"`{entry['fields']}`", f"{now} stays out: {entry['what']} ({entry['clause']})"


def _together(entry: dict, now: str) -> tuple[str, str]:
    what = f"may {now} single out more than the bound in common: {entry['why']} ({entry['clause']})"
    return f"rows of {listed(entry['purposes'])}", what


# Of each section what an entry that appears does, how it is told, and lists of which each word is told by itself.
_SECTIONS = {
    ("transfers", "grants"): (OPENS, _grant),
    ("recipients", "entries"): (OPENS, _recipient),
    ("combinations", "entries"): (OPENS, _combination),
    ("gates",): (CLOSES, _gate, "categories"),
    ("collection",): (CLOSES, _collection, "events", "regions"),
    ("not_admitted",): (CLOSES, _kept_out, "fields"),
    ("apart", "together"): (OPENS, _together),
}

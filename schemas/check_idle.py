"""Rules against rules that nothing can trigger: what a pack says does something, or who reads it trusts in nothing."""

from collections.abc import Iterable, Iterator
from datetime import date

from schemas.datasets import SUBJECT_FIELD
from schemas.fields import EVENT_FIELD
from schemas.findings import Finding
from schemas.overlays import PurposeOverlay, left_of
from schemas.policy import WITHOUT_LEDGER, Basis, Form, Pack, Purpose


def _purpose_finding(rule: str, key: tuple[str | int, ...], of: tuple[str, Purpose], message: str) -> Finding:
    name, purpose = of
    return Finding(rule, ("purposes", name, *key), purpose.clause, message, "drop it")


def idle_gate(pack: Pack, today: date) -> Iterator[Finding]:
    """A gate shuts columns of others than its own purpose, and columns that no gate before it shuts (1.1-b)."""
    shut: set[str] = set()
    for number, gate in enumerate(pack.gates):
        others = (purpose for name, purpose in pack.purposes.items() if name != gate.purpose)
        held = {EVENT_FIELD[path].category for purpose in others for path in purpose.columns}
        for position, category in enumerate(gate.categories):
            if category in shut:
                message = f"{category} stands behind a gate before this one"
            elif category not in held:
                message = f"no other purpose holds a column of {category}"
            else:
                message = None
            if message:
                yield Finding("idle_gate", ("gates", number, "categories", position), gate.clause, message, "drop it")
            shut.add(category)


def idle_basis(pack: Pack, today: date) -> Iterator[Finding]:
    """A basis that is said of a region differs from what holds there without it (1.2-consented)."""
    for name, purpose in pack.purposes.items():
        for region in sorted(purpose.basis.keys() & pack.regions.keys()):
            known, said, default = pack.regions[region].bases, purpose.basis[region], purpose.basis["default"]
            if said in known and said == (default if default in known else Basis.CONSENT):
                message = f"{name} stands on {said} in {region} without it as well"
                yield _purpose_finding("idle_basis", ("basis", region), (name, purpose), message)


def idle_identifiers(pack: Pack, today: date) -> Iterator[Finding]:
    """An identifier that is named is held, and in that form (1.1-a)."""
    for name, purpose in pack.purposes.items():
        for category, form in purpose.identifiers.items():
            held = {each.form for path, each in purpose.columns.items() if EVENT_FIELD[path].category is category}
            if form not in held:
                message = f"{name} holds no {category} as {form}"
                yield _purpose_finding("idle_identifiers", ("identifiers", category), (name, purpose), message)


def idle_retention(pack: Pack, today: date) -> Iterator[Finding]:
    """A retention by category is of one that the purpose holds, and shorter than that of the whole (4.4-a)."""
    for name, purpose in pack.purposes.items():
        held = {EVENT_FIELD[path].category for path in purpose.columns}
        for category, days in purpose.retention.items():
            if category not in held:
                message = f"{name} holds no column of {category}"
            elif days >= purpose.retention_days:
                message = f"{days} days is no less than the {purpose.retention_days} of retention_days"
            else:
                continue
            yield _purpose_finding("idle_retention", ("retention", category), (name, purpose), message)


def idle_minimum_version(pack: Pack, today: date) -> Iterator[Finding]:
    """A least edition of a consent is asked for where consent is (9)."""
    for name, purpose in pack.purposes.items():
        if purpose.minimum_policy_version and not _on_consent(pack, name):
            key, message = ("minimum_policy_version",), f"{name} stands on consent in no region"
            yield _purpose_finding("idle_minimum_version", key, (name, purpose), message)


def idle_grantors(pack: Pack, today: date) -> Iterator[Finding]:
    """Whose grant counts is said where consent is needed, and is not just the subject's own (1.2-consented)."""
    for name, purpose in pack.purposes.items():
        if purpose.granted_by and not _on_consent(pack, name):
            message = f"{name} stands on consent in no region"
        elif purpose.granted_by and set(purpose.granted_by) == set(purpose.subject):
            message = f"the grant of its {' and its '.join(purpose.subject)} counts without it as well"
        else:
            continue
        yield _purpose_finding("idle_grantors", ("granted_by",), (name, purpose), message)


def _on_consent(pack: Pack, name: str) -> bool:
    return any(pack.basis(name, region) is Basis.CONSENT for region in pack.regions)


def idle_token_epoch(pack: Pack, today: date) -> Iterator[Finding]:
    """A pseudonym's life is said where there are pseudonyms (2-log)."""
    for name, purpose in pack.purposes.items():
        keyed = any(column.form in (Form.TOKEN, Form.FINGERPRINT) for column in purpose.columns.values())
        if "token_epoch" in purpose.model_fields_set and not (keyed or purpose.subject):
            key, message = ("token_epoch",), f"{name} holds no token and no fingerprint"
            yield _purpose_finding("idle_token_epoch", key, (name, purpose), message)


def idle_condition(pack: Pack, today: date) -> Iterator[Finding]:
    """What keeps a record out names words, each once, and what lets it in names a sender, each once (1.1-b, 1.1.3)."""
    for name, purpose in pack.purposes.items():
        listed = [(("unless", path), words) for path, words in purpose.unless.items()]
        for key, words in [*listed, (("sources",), purpose.sources)]:
            if not words:
                message = f"{'.'.join(key)} names nothing"
            elif len(set(words)) < len(words):
                message = f"{'.'.join(key)} names one thing twice"
            else:
                continue
            yield Finding("idle_condition", ("purposes", name, *key), purpose.clause, message, "name each word once")


def idle_collection(pack: Pack, today: date) -> Iterator[Finding]:
    """What a rule of collection waits for can be closed: a purpose on contract or a legal obligation opens for
    everybody, and would admit every record (1.2-uep)."""
    for number, rule in enumerate(pack.collection):
        for position, name in enumerate(rule.admitted_by):
            if open_in := [region for region in rule.regions if pack.basis(name, region) in WITHOUT_LEDGER]:
                place = ("collection", number, "admitted_by", position)
                message = f"{name} needs no word from anybody in {', '.join(open_in)}, so that all is collected"
                yield Finding("idle_collection", place, rule.clause, message, "name a purpose that people can refuse")


def idle_pair(pack: Pack, today: date) -> Iterator[Finding]:
    """Two purposes that may be together are two of the pack that receive an event type in common, said once
    (2-analytics)."""
    said: set[frozenset[str]] = set()
    for number, pair in enumerate(pack.apart.together if pack.apart else ()):
        both = frozenset(pair.purposes)
        if unknown := sorted(both - pack.purposes.keys()):
            message, remedy = f"{unknown[0]!r} is no purpose of this pack", "name one"
        elif len(both) < 2:
            message, remedy = f"it names {pair.purposes[0]} twice", "name another, or drop it"
        elif both in said or not set.intersection(*(set(pack.purposes[name].events) for name in both)):
            message = f"{' and '.join(pair.purposes)} have no event type in common, or stand in a pair before this one"
            remedy = "drop it"
        else:
            said.add(both)
            continue
        yield Finding("idle_pair", ("apart", "together", number, "purposes"), pair.clause, message, remedy)


def idle_overlay(pack: Pack, today: date) -> Iterator[Finding]:
    """What an overlay says of a purpose narrows it (0-b): else who reads it trusts in what the base may give up."""
    for kind, overlays in (("by_region", pack.by_region), ("by_service", pack.by_service)):
        for name, overlay in overlays.items():
            regions = [name] if kind == "by_region" else pack.regions
            for purpose, said in overlay.purposes.items():
                for key, part in _parts(said):
                    if _narrows_nothing(pack, purpose, part, regions):
                        place = (kind, name, "purposes", purpose, *key)
                        message = f"{purpose} is so without it as well"
                        yield Finding("idle_overlay", place, said.clause, message, "drop it")


def _parts(said: PurposeOverlay) -> Iterator[tuple[tuple[str, ...], PurposeOverlay]]:
    """Each single thing that an overlay says of a purpose, with its place: as if it said nothing else."""
    for key in sorted(said.model_fields_set - {"clause"}):
        value = getattr(said, key)
        for inner in value if isinstance(value, dict) else [None]:
            one = value if inner is None else {inner: value[inner]}
            place = (key,) if inner is None else (key, inner)
            yield place, PurposeOverlay.model_construct(clause=said.clause, **{key: one})


def _narrows_nothing(pack: Pack, purpose: str, said: PurposeOverlay, regions: Iterable[str]) -> bool:
    if said.basis:
        return all(pack.basis(purpose, region) is Basis.CONSENT for region in regions)
    if said.minimum_policy_version and not any(_consent_in(pack, purpose, region) for region in regions):
        return True
    base = pack.purposes[purpose]
    return left_of(base, said).model_dump() == base.model_dump()


def _consent_in(pack: Pack, purpose: str, region: str) -> bool:
    """Whether a purpose is on consent in a region for some service."""
    overlays = [pack.by_region.get(region), *pack.by_service.values()]
    asked = any(each and purpose in each.purposes and each.purposes[purpose].basis for each in overlays)
    return asked or pack.basis(purpose, region) is Basis.CONSENT


def idle_purpose(pack: Pack, today: date) -> Iterator[Finding]:
    """A purpose receives events, or something else hangs on whether it is open (1.1-a)."""
    needed = {gate.purpose for gate in pack.gates} | {entry.control for entry in pack.combinations.entries}
    needed |= {name for rule in pack.collection for name in rule.admitted_by}
    for name, purpose in pack.purposes.items():
        if not purpose.events and name not in needed:
            message = f"{name} receives nothing, and nothing hangs on it"
            yield _purpose_finding("idle_purpose", (), (name, purpose), message)


def idle_counted_column(pack: Pack, today: date) -> Iterator[Finding]:
    """A purpose that is only counted has its subjects' tokens and what it is counted by, nothing else (1.1.4-c)."""
    for name, purpose in pack.purposes.items():
        if purpose.stored or pack.statistics is None:
            continue
        used = {*pack.statistics.fields, *(SUBJECT_FIELD[subject].path for subject in purpose.subject)}
        for path in purpose.columns:
            if path not in used:
                message = f"{name} is only counted, and no table counts by {path}"
                yield _purpose_finding("idle_counted_column", ("columns", path), (name, purpose), message)


def idle_list(pack: Pack, today: date) -> Iterator[Finding]:
    """A list of words is one that some column keeps the words of (2-log, 2-analytics)."""
    used = {column.among for purpose in pack.purposes.values() for column in purpose.columns.values()}
    for name, words in pack.lists.items():
        if name not in used:
            message = f"no column keeps the words of {name}"
            yield Finding("idle_list", ("lists", name), words.clause, message, "drop it")

"""What a change opens, closes or changes for one purpose, in plain words: each rule of it, as it was and as it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from schemas.policy import LESS_AND_MORE, Basis, Column, Form, Purpose
from schemas.words import form_in_words, listed
from schemas.yaml_files import Place

Kind = Literal["opens", "closes", "changes"]
OPENS, CLOSES, CHANGES = "opens", "closes", "changes"


@dataclass(frozen=True)
class Said:
    """One thing that a change does: to what, and which parts of a pack say so."""

    kind: Kind
    about: str
    what: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class InForce:
    """A purpose as it is in force in a region."""

    name: str
    rules: Purpose
    basis: Basis


Found = Iterator[tuple[Kind, str]]

# What a record needs before it may serve a purpose, from much to little.
_NEEDS = {
    Basis.CONSENT: 0,
    Basis.OPT_OUT: 1,
    Basis.LEGITIMATE_INTEREST: 1,
    Basis.CONTRACT: 2,
    Basis.LEGAL_OBLIGATION: 2,
}
_UNITS = ("day", "hour", "minute", "second")
_EPOCHS = ("month", "year", "forever")
_FINER = LESS_AND_MORE | {(form, Form.PLAIN) for form in Form if form is not Form.PLAIN}


def began(of: InForce) -> Said:
    """A purpose that was not there."""
    received = "; ".join(f"{event} ({_columns(of.rules, event)})" for event in of.rules.events)
    what = f"is new, on {_words(of.basis)}: {of.rules.title}. It receives {received}"
    return Said(OPENS, of.name, what, (("purposes", of.name),))


def ended(name: str) -> Said:
    """A purpose that is not there any more."""
    return Said(CLOSES, name, "is gone, and receives nothing", (("purposes", name),))


def differences(was: InForce, now: InForce) -> Iterator[Said]:
    """What is different for a purpose that is there before and after."""
    for field, find in _FIELDS.items():
        for kind, what in find(was, now):
            yield Said(kind, now.name, what, (("purposes", now.name, field),))
    yield from _received(was, now)


def _words(word: object) -> str:
    return str(word).replace("_", " ")


def more(was: float, now: float) -> Kind:
    """What it is that a number grew which opens the more, the larger it is."""
    return OPENS if now > was else CLOSES if now < was else CHANGES


# --- the rules ---


def _basis(was: InForce, now: InForce) -> Found:
    if was.basis is not now.basis:
        kind = more(_NEEDS[was.basis], _NEEDS[now.basis])
        yield kind, f"now stands on {_words(now.basis)} instead of {_words(was.basis)}"


def _subject(was: InForce, now: InForce) -> Found:
    for subject in _lost(was.rules.subject, now.rules.subject):
        yield OPENS, f"no longer needs a record with a valid {subject}"
    for subject in _lost(now.rules.subject, was.rules.subject):
        yield CLOSES, f"now needs a record with a valid {subject}"


def _granted_by(was: InForce, now: InForce) -> Found:
    for subject in _lost(now.rules.grantors, was.rules.grantors):
        yield OPENS, f"now opens by a grant of the {subject} as well"
    for subject in _lost(was.rules.grantors, now.rules.grantors):
        yield CLOSES, f"no longer opens by a grant of the {subject}"


def _minors(was: InForce, now: InForce) -> Found:
    if was.rules.minors != now.rules.minors:
        out = now.rules.minors == "excluded"
        yield (CLOSES, "now leaves minors out") if out else (OPENS, "now takes minors in")


def _minimum_policy_version(was: InForce, now: InForce) -> Found:
    before, after = was.rules.minimum_policy_version, now.rules.minimum_policy_version
    if before != after:
        kind = CLOSES if (after or "") > (before or "") else OPENS
        least = f"a consent under edition {after} or a later one" if after else "a consent under any edition"
        yield kind, f"now asks for {least}"


def _per_application(was: InForce, now: InForce) -> Found:
    if was.rules.per_application != now.rules.per_application:
        each = now.rules.per_application
        yield (
            (CLOSES, "now asks for a grant for each application")
            if each
            else (
                OPENS,
                "now opens by one grant for all applications",
            )
        )


def _sources(was: InForce, now: InForce) -> Found:
    for source in _lost(now.rules.sources, was.rules.sources):
        yield OPENS, f"is now also fed by what {source} sent"
    for source in _lost(was.rules.sources, now.rules.sources):
        yield CLOSES, f"is no longer fed by what {source} sent"


def _unless(was: InForce, now: InForce) -> Found:
    before, after = ([(p, word) for p, words in of.rules.unless.items() for word in words] for of in (was, now))
    for path, word in _lost(after, before):
        yield CLOSES, f"now keeps out records whose `{path}` is {word}"
    for path, word in _lost(before, after):
        yield OPENS, f"no longer keeps out records whose `{path}` is {word}"


def _zeroed_closes(was: InForce, now: InForce) -> Found:
    if was.rules.zeroed_closes != now.rules.zeroed_closes:
        out = now.rules.zeroed_closes
        said = f"{'now' if out else 'no longer'} keeps out records with a zeroed advertising id"
        yield (CLOSES if out else OPENS), said


def _event_time(was: InForce, now: InForce) -> Found:
    before, after = was.rules.event_time, now.rules.event_time
    if before != after:
        yield more(_UNITS.index(before), _UNITS.index(after)), f"keeps times to the {after} instead of the {before}"


def _token_epoch(was: InForce, now: InForce) -> Found:
    before, after = was.rules.token_epoch, now.rules.token_epoch
    if before != after:
        kind = more(_EPOCHS.index(before), _EPOCHS.index(after))
        yield kind, f"changes its pseudonyms {_every(after)} instead of {_every(before)}"


def _every(epoch: str) -> str:
    return "never" if epoch == "forever" else f"every {epoch}"


def _retention_days(was: InForce, now: InForce) -> Found:
    before, after = was.rules.retention_days, now.rules.retention_days
    if before != after:
        yield more(before, after), f"keeps rows {after} days instead of {before}"


def _retention(was: InForce, now: InForce) -> Found:
    categories = dict.fromkeys((*was.rules.retention, *now.rules.retention))
    for category in categories:
        before, after = (of.rules.retention.get(category, of.rules.retention_days) for of in (was, now))
        if before != after:
            yield more(before, after), f"keeps rows with {_words(category)} {after} days instead of {before}"


def _profiling(was: InForce, now: InForce) -> Found:
    if was.rules.profiling != now.rules.profiling:
        yield CHANGES, f"{'now' if now.rules.profiling else 'no longer'} counts as profiling"


def _holds(was: InForce, now: InForce) -> Found:
    if was.rules.holds != now.rules.holds:
        nobody = now.rules.holds == "non_personal"
        yield CHANGES, f"{'now' if nobody else 'no longer'} promises rows that are about nobody"


def _stored(was: InForce, now: InForce) -> Found:
    if was.rules.stored != now.rules.stored:
        stored = now.rules.stored
        yield (OPENS, "now stores its records") if stored else (CLOSES, "now only counts its records")


_FIELDS: dict[str, Callable[[InForce, InForce], Found]] = {
    "basis": _basis,
    "subject": _subject,
    "granted_by": _granted_by,
    "minors": _minors,
    "per_application": _per_application,
    "minimum_policy_version": _minimum_policy_version,
    "sources": _sources,
    "unless": _unless,
    "zeroed_closes": _zeroed_closes,
    "event_time": _event_time,
    "token_epoch": _token_epoch,
    "retention_days": _retention_days,
    "retention": _retention,
    "profiling": _profiling,
    "holds": _holds,
    "stored": _stored,
}

# --- what it receives ---


def _received(was: InForce, now: InForce) -> Iterator[Said]:
    place = ("purposes", now.name)
    for event in _lost(now.rules.events, was.rules.events):
        yield _of_event(OPENS, now, event, f"now also receives {event} ({_columns(now.rules, event)})")
    for event in _lost(was.rules.events, now.rules.events):
        yield _of_event(CLOSES, was, event, f"no longer receives {event}")
    both = [event for event in now.rules.events if event in was.rules.events]
    yield from _paths(OPENS, was.rules, now, both, "now also receives")
    yield from _paths(CLOSES, now.rules, was, both, "no longer receives")
    for path, column in now.rules.columns.items():
        before = was.rules.columns.get(path, column)
        if before != column:
            what = f"receives `{path}` as {form_in_words(column)} instead of {form_in_words(before)}"
            yield Said(_finer(before, column), now.name, what, ((*place, "columns", path),))


def _of_event(kind: Kind, of: InForce, event: str, what: str) -> Said:
    place = ("purposes", of.name)
    columns = tuple((*place, "columns", path) for path in of.rules.events[event])
    return Said(kind, of.name, what, ((*place, "events", event), *columns))


def _paths(kind: Kind, other: Purpose, of: InForce, events: list[str], verb: str) -> Iterator[Said]:
    """The fields that one side has on an event type and the other has not."""
    found: dict[str, list[str]] = {}
    for event in events:
        for path in _lost(of.rules.events[event], other.events[event]):
            found.setdefault(path, []).append(event)
    place = ("purposes", of.name)
    for path, on in found.items():
        some = f" of {listed(on)}" if len(on) < len(of.rules.events) else ""
        what = f"{verb} `{path}` ({form_in_words(of.rules.columns[path])}){some}"
        yield Said(kind, of.name, what, ((*place, "columns", path), *((*place, "events", event) for event in on)))


def _columns(rules: Purpose, event: str) -> str:
    return ", ".join(f"`{path}` {form_in_words(rules.columns[path])}" for path in rules.events[event]) or "no fields"


def _finer(was: Column, now: Column) -> Kind:
    if was.form is now.form:
        return more(-(was.step or 0), -(now.step or 0))
    if (was.form, now.form) in _FINER:
        return OPENS
    return CLOSES if (now.form, was.form) in _FINER else CHANGES


def _lost(of: object, without: object) -> list:
    """What one has and the other has not, in the order of the one."""
    return [each for each in of if each not in without]

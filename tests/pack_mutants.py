"""Removes each rule of a policy pack in turn, and looks whether anything is decided otherwise.

`python -m tests.pack_mutants [PACK]` makes all of them and prints who survives: a rule without which the table of
decisions (`tests.decisions`) is the same is no rule, or the table does not look there. It takes minutes; a handful is
tried by `tests/test_pack_mutants.py`. What cannot be left out is made as loose as it can be said instead.
"""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.checks import findings
from schemas.pack_files import DEFAULT_PACK, pack_content
from schemas.policy import Pack
from tests.decisions import Decisions, Lines, Table
from tests.lines import keystores

# Words that name or explain, and decide nothing.
_NAMES = {"clause", "title", "version", "effective", "what", "how", "module", "description"}
# What a word or number that must be there is loosened to.
_LOOSER: dict[str, tuple] = {
    "event_time": ("second",),
    "minors": ("included",),
    "retention_days": (3650,),
    "token_epoch": ("forever",),
    "basis": ("contract",),
    "columns": ("plain", "text", "sealed"),
    "countries": (["ZW"],),
    "future_minutes": (60,),
    "oldest_days": (3000,),
    "text_bytes": (1 << 20,),
    "text_time": ("hour",),
    "ipv4_prefix": (16,),
    "ipv6_prefix": (32,),
    "quarantine_percent": (100,),
    "epsilon": (10,),
    "delta": (1e-6,),
    "grace_hours": (0,),
    "least_devices": (2,),
    "groups_per_device": (16,),
    "events_per_group": (100_000,),
    "longest_days": (36_500,),
}
# Survivors, by a pattern of their names, and why that is right.
REASONS = {
    r"purposes\.\w+\.(profiling|holds)$": "a promise of the pack about itself, to which `check` holds it",
    r"purposes\.statistics\.(event_time|retention_days) = ": "of rows, and what is only counted has none",
    r"regions\.\w+\.longest_days(\.\w+)?": "a bound on the pack's own retention, which `check` holds",
    r"not_admitted": "what must stay unknown: `check` holds that no field is made of it",
    r"held_by_code|not_yet": "where a duty is held that no rule expresses; `check --coverage` reads it",
    r"apart": "a bound on what a sample may show; `check --joinability` holds the pack to it",
    r"purposes\.\w+\.identifiers": "what the clause names; `check` holds the columns to it",
    r"regions\.\w+\.(transfers|data_centre)": "where nothing may leave, and where a job may run",
}


@dataclass(frozen=True)
class Mutant:
    """A pack without one rule: which, and what is left."""

    name: str
    content: dict


def mutants(content: dict) -> Iterator[Mutant]:
    """Every pack that lacks one rule of this one."""
    for place, value in parts(content, ()):
        name = ".".join(map(str, place))
        for how, without in changed(content, place, value):
            yield Mutant(f"{name}{how}", without)


def parts(value: Any, place: tuple) -> Iterator[tuple[tuple, Any]]:
    """Each part of a content below the top, with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key not in _NAMES:
            if place:
                yield (*place, key), inner
            yield from parts(inner, (*place, key))


def changed(content: dict, place: tuple, value: Any) -> Iterator[tuple[str, dict]]:
    """The content without one of its parts, or with a looser word there; and what to call that."""
    without = deepcopy(content)
    *outer, last = place
    del _at(without, outer)[last]
    if len(place) == 4 and place[0] == "purposes" and place[2] == "columns":
        _unlist(without["purposes"][place[1]], last)
    yield "", without
    rule = next((key for key in reversed(place) if key in _LOOSER), None)
    if rule is None or isinstance(value, dict) and set(value) - {"bucket", "listed"}:
        return
    for looser in _LOOSER[rule]:
        if looser != value and rule in place[-2:]:
            without = deepcopy(content)
            _at(without, outer)[last] = looser
            yield f" = {looser}", without


def _at(content: Any, place: Iterable) -> Any:
    for key in place:
        content = content[key]
    return content


def _unlist(purpose: dict, path: str) -> None:
    """Leaves a column out of the allow-lists too, which may not name what is not described."""
    purpose["events"] = {event: [each for each in paths if each != path] for event, paths in purpose["events"].items()}


def fate(mutant: Mutant, decisions: Decisions, table: Table) -> str:
    """`refused` when it is checked, `decided` otherwise than the table says, or `survived`."""
    try:
        pack = Pack.model_validate(mutant.content)
    except ValidationError:
        return "refused"
    if any(findings(pack, date.today())):
        return "refused"
    return "survived" if decisions.of(pack) == table else "decided"


def reason(name: str) -> str | None:
    """Why a survivor may survive."""
    return next((why for pattern, why in REASONS.items() if re.match(pattern, name)), None)


def decisions_of(pack: Pack, folder: Path) -> Decisions:
    """What makes tables for a pack and its mutants, with new keys in the folder."""
    uris = keystores(folder, dict(enumerate(pack.regions)))
    services = ("browser", *sorted(getattr(pack, "by_service", {})))
    return Decisions(Lines(pack, services), {name: uris[code] for code, name in enumerate(pack.regions)})


def main(argv: list[str] | None = None) -> int:
    """Tries every mutant; returns 1 if one survives without a reason."""
    name = (argv or sys.argv[1:] or [DEFAULT_PACK])[0]
    content = pack_content(name)
    pack = Pack.model_validate(content)
    fates, unexplained = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        decisions = decisions_of(pack, Path(folder))
        table = decisions.of(pack)
        every = list(mutants(content))
        for number, mutant in enumerate(every, 1):
            end = fate(mutant, decisions, table)
            fates[end] += 1
            if end == "survived":
                why = reason(mutant.name)
                unexplained += [] if why else [mutant.name]
                print(f"survived: {mutant.name}" + (f" ({why})" if why else ""))
            if sys.stderr.isatty() or number % 100 == 0:
                print(f"{number} of {len(every)}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
    print(", ".join(f"{count} {end}" for end, count in fates.items()) + f"; {len(unexplained)} without a reason")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

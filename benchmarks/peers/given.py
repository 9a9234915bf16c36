"""What the peers are given: rules as JSON, which say what the policy pack says, and a sample that they can get right.

Two things of an ordinary sample nobody gets right in a day, and the sample has them taken out of it:

- free text comes as the job's scrubber leaves it: the peers look for a few patterns and find nothing, the job looks for
  all that it knows of and finds nothing either;
- a ledger entry is received a second after its time. So of two entries the later one is later on both clocks, and an
  as-of join finds the permission that counts.

Lines are plain JSON in the order of the sample, events as long as they were but for what was scrubbed.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from benchmarks.main_job import say
from schemas.countries import country_of_mcc
from schemas.datasets import datasets
from schemas.fields import EVENT_FIELDS, EVENT_TYPES, LEDGER_FIELDS, Handling, Sensitivity
from schemas.pack_files import load_pack
from schemas.policy import WITHOUT_LEDGER, Pack
from transforms.texts import Texts

_TEXTS = [field.path.split(".") for field in EVENT_FIELDS if field.handling is Handling.TEXT]
_LINES = 50_000
_SECOND = timedelta(seconds=1)


def given(events: Path, consents: Path) -> Path:
    """The folder of what the peers are given, made beside the sample when it is first needed: events.ndjson,
    consents.ndjson, rules.json."""
    folder = events.parent / "for-peers"
    if not folder.exists():
        say("making the sample for the peers")
        made = folder.with_suffix(".part")
        made.mkdir(exist_ok=True)
        pack = load_pack()
        _write(made / "events.ndjson", _scrubbed(events, Texts(pack.limits)))
        _write(made / "consents.ndjson", map(_of_one_clock, map(msgspec.json.decode, _lines(consents))))
        (made / "rules.json").write_text(json.dumps(rules(pack)))
        made.rename(folder)
    return folder


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines


def _some(items: Iterable) -> Iterator[list]:
    items = iter(items)
    while some := list(islice(items, _LINES)):
        yield some


def _write(path: Path, lines: Iterable[dict]) -> None:
    with path.open("wb") as out:
        for some in _some(lines):
            out.write(msgspec.json.Encoder().encode_lines(some))


def _scrubbed(events: Path, texts: Texts) -> Iterator[dict]:
    for some in _some(map(msgspec.json.decode, _lines(events))):
        places = [(line[head], leaf) for line in some for head, leaf in _TEXTS if leaf in line.get(head, ())]
        clean, _ = texts.clean(pa.array([of[leaf] for of, leaf in places], pa.string()))
        for (of, leaf), text in zip(places, clean.to_pylist(), strict=True):
            of[leaf] = text
        yield from some


def _of_one_clock(entry: dict) -> dict:
    received = datetime.fromisoformat(entry["time"]) + _SECOND
    return entry | {"received_time": received.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def rules(pack: Pack) -> dict[str, Any]:
    """The pack as plain data, overlays resolved. Overlays of services are looked at as far as they close everything.

    purposes  {name: {bases {region: basis}, needs, grantors, minors_excluded, per_application, minimum, sources
               {region: [..]}, unless, zeroed_closes, spared [regions], collected_with {event type: [purposes]}, events,
               epoch, unit}}
    datasets  {name: {purpose, sensitive, columns: [{name, path, kind, form, step, words, events, gate, exact}]}}
    """
    countries = pack.where.region_of_country
    return {
        "event_fields": {field.path: field.type for field in EVENT_FIELDS},
        "ledger_fields": {field.path: field.type for field in LEDGER_FIELDS},
        "regions": list(pack.regions),
        "localising": list(pack.where.localising),
        "region_of_country": dict(countries),
        "region_of_mcc": {mcc: countries[name] for mcc, name in country_of_mcc().items() if name in countries},
        "closed_services": [name for name, overlay in pack.by_service.items() if overlay.closed == "all"],
        "device_identifiers": [
            f.path for f in EVENT_FIELDS if f.handling is Handling.IDENTIFIER and f.path.startswith("device.")
        ],
        "absent": {
            "oaid": "00000000-0000-0000-0000-000000000000",
            "gaid": "00000000-0000-0000-0000-000000000000",
            "mac": "02:00:00:00:00:00",
        },
        "ipv4_prefix": pack.limits.ipv4_prefix,
        "ipv6_prefix": pack.limits.ipv6_prefix,
        "purposes": {name: _purpose(pack, name) for name in pack.purposes if pack.purposes[name].stored},
        "datasets": {name: _dataset(dataset) for name, dataset in datasets(pack).items()},
    }


def _purpose(pack: Pack, name: str) -> dict[str, Any]:
    purpose = pack.purposes[name]
    bases = {region: str(pack.basis(name, region)) for region in pack.regions}
    spared = {str(basis) for basis in WITHOUT_LEDGER}
    return {
        "bases": bases,
        "needs": list(purpose.subject),
        "grantors": list(purpose.grantors),
        "minors_excluded": purpose.minors == "excluded",
        "per_application": purpose.per_application,
        "minimum": purpose.minimum_policy_version,
        "sources": {region: list(pack.effective_for(None, region).purposes[name].sources) for region in pack.regions},
        "unless": {path: list(words) for path, words in purpose.unless.items()},
        "zeroed_closes": purpose.zeroed_closes,
        "spared": [region for region, basis in bases.items() if basis in spared],
        "collected_with": {event: list(rule.admitted_by) for rule in pack.collection for event in rule.events},
        "events": list(purpose.events),
        "epoch": purpose.token_epoch,
        "unit": purpose.event_time,
    }


def _dataset(dataset) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "path": column.field.path,
            "type": column.field.type,
            "kind": column.field.kind or "text",
            "form": str(column.form),
            "step": column.step,
            "words": column.words,
            "events": [EVENT_TYPES[code] for code in sorted(column.events)],
            "gate": column.gate,
            "sensitive": column.field.sensitivity is Sensitivity.SENSITIVE,
        }
        for column in dataset.columns
    ]
    return {"purpose": dataset.purpose, "sensitive": dataset.sensitive, "columns": columns}

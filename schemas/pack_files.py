"""The files of a policy pack, and how they become one `Pack`.

A pack is a folder. The YAML files in it together make the base, each top-level key in one of them; `regions/NAME.yaml`
and `services/NAME.yaml` hold the overlays of a region and of a service (0-b). What is wrong with a pack is told with
file and line when it is loaded: whoever holds a `Pack` from here holds one that passes all checks.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.checks import findings
from schemas.fields import EVENT_FIELD
from schemas.findings import Finding, PackError
from schemas.policy import Pack
from schemas.shipped import DEFAULT_PACK, SHIPPED
from schemas.yaml_files import Place, YamlFault, faults_of, read_document, shown

_MOST_MISFITS = 100  # that are told at once: a file of another kind has thousands
OVERLAYS = {"regions": "by_region", "services": "by_service"}  # folder -> the pack's field


@dataclass
class Sources:
    """What a pack's files hold, joined, and where each part of it stands."""

    content: dict[str, Any] = field(default_factory=dict)
    at: dict[Place, str] = field(default_factory=dict)  # file and line

    def placed(self, finding: Finding) -> Finding:
        """The finding with its file and line: of its place, or of the nearest part around it that stands in a file."""
        place = finding.place
        while place and place not in self.at:
            place = place[:-1]
        return replace(finding, at=self.at.get(place, ""))

    def clause(self, place: Place) -> str:
        """The clause of the innermost part around a place that names one."""
        found, part = "", self.content
        for key in place:
            part = part.get(key) if isinstance(part, dict) else _item(part, key)
            if isinstance(part, dict):
                found = str(part.get("clause") or found)
        return found


def _item(part: Any, key: str | int) -> Any:
    return part[key] if isinstance(part, list) and isinstance(key, int) and key < len(part) else None


def load_pack(name: str = DEFAULT_PACK, today: date | None = None) -> Pack:
    """Reads a shipped pack by its version, or a pack's folder by its path, and checks it as of a day.

    Raises `PackError`, with all that was found.
    """
    pack, found = check_pack(name, today)
    if pack is None or found:
        raise PackError(f"policy pack {name!r}: {'; '.join(map(str, found))}", found)
    return pack


def check_pack(name: str = DEFAULT_PACK, today: date | None = None) -> tuple[Pack | None, tuple[Finding, ...]]:
    """The pack, where it can be made at all, and everything that is wrong with it. Raises `PackError` for a folder that
    is not there, or has no YAML files."""
    sources = Sources()
    try:
        sources = read_sources(name)
        pack = Pack.model_validate(sources.content)
    except YamlFault as fault:
        return None, (Finding("yaml", (), "", fault.message, "", fault.at),)
    except OSError as error:
        return None, (Finding("yaml", (), "", f"cannot be read: {error.strerror}", "mend it", str(error.filename)),)
    except ValidationError as error:
        return None, tuple(map(sources.placed, islice(_misfits(error, sources), _MOST_MISFITS)))
    return pack, tuple(map(sources.placed, findings(pack, today or date.today())))


def pack_content(name: str = DEFAULT_PACK) -> dict[str, Any]:
    """What a pack's files hold, joined, before any of it is checked. Raises `PackError`, `YamlFault` or `OSError`."""
    return read_sources(name).content


def read_sources(name: str) -> Sources:
    """The same, with where each part stands. Raises likewise."""
    folder = SHIPPED / name if name and (SHIPPED / name).is_dir() else Path(name)
    files = _files(folder) if folder.is_dir() else {}
    if not files:
        shipped = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()))
        raise PackError(f"policy pack {name!r}: no such folder with YAML files; shipped packs: {shipped}")
    sources = Sources()
    for file in files.values():
        _join(sources, file)
    for within, key in OVERLAYS.items():
        if not os.path.lexists(folder / within):
            continue
        for name, file in _files(folder / within, f"{within}/").items():
            document = read_document(file, name)
            sources.content.setdefault(key, {})[file.stem] = document.content
            _place(sources, name, document.lines, (key, file.stem))
    return sources


def _files(folder: Path, within: str = "") -> dict[str, Path]:
    """The YAML files of a folder, by the names that faults call them. One that would be passed over is refused: an
    overlay that nobody reads closes nothing."""
    found = {}
    for path in sorted(folder.iterdir()):
        name = within + path.name
        if path.suffix == ".yaml":
            found[name] = path
        elif path.suffix.lower() in (".yml", ".yaml"):
            raise YamlFault(name, "files of a pack end in .yaml, and no other is read; rename it")
        elif name not in OVERLAYS and path.is_dir() and any(path.glob("*.y*ml")):
            raise YamlFault(name, f"folders of a pack are {' and '.join(OVERLAYS)}, and no other is read; move it")
    return found


def _join(sources: Sources, file: Path) -> None:
    document = read_document(file, file.name)
    if not isinstance(document.content, dict):
        raise YamlFault(file.name, "expected a mapping at the top; write keys such as `purposes:`")
    if own := sorted(set(OVERLAYS.values()) & set(document.content)):
        raise YamlFault(file.name, f"{own[0]} is made of the files in {'/ and '.join(OVERLAYS)}/; put it there")
    if twice := sorted(map(str, set(sources.content) & set(document.content))):
        raise YamlFault(file.name, f"{twice} stand in another file of the pack already; keep one")
    sources.content |= document.content
    _place(sources, file.name, document.lines, ())


def _place(sources: Sources, file: str, lines: Mapping[Place, int], prefix: Place) -> None:
    sources.at |= {(*prefix, *place): f"{file}:{line}" for place, line in lines.items() if prefix or place}


def _misfits(error: ValidationError, sources: Sources) -> Iterator[Finding]:
    """What does not fit the models, as findings."""
    for place, message in faults_of(error):
        yield Finding("form", place, sources.clause(place), message, _remedy(place, message))


def _remedy(place: Place, message: str) -> str:
    if message == "Field required":
        return "add it"
    unknown = message.endswith("is no field of an event")
    if unknown or message == "Extra inputs are not permitted":
        near = difflib.get_close_matches(shown(place[-1]), EVENT_FIELD if unknown else _words(), n=1)
        return f"did you mean {near[0]!r}?" if near else "remove it, or correct its spelling"
    if message == "Input should be a valid string":
        return "put it in quotes"
    if message == "Input should be a valid number":
        return "write digits without quotes; 1e-8 is text in YAML, and 1.0e-8 a number"
    return ""


@cache
def _words() -> frozenset[str]:
    """Every key that some model of a pack has."""

    def keys(schema: Any) -> Iterable[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {})
            schema = schema.values()
        if not isinstance(schema, str | int | float | bool | None):
            for part in schema:
                yield from keys(part)

    return frozenset(keys(Pack.model_json_schema()))

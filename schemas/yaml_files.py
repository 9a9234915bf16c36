"""How the project's own YAML is read: strictly, in bounded time, and so that a fault can be shown where it stands.

YAML that a person writes by hand needs none of what makes YAML dangerous. So a file has one document of bounded size
and depth, copies by alias included, no tags, and a key stands in a mapping once.
"""

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 32
_MAX_PARTS = 50_000  # with what stands behind aliases
_ENDLESS = f"more than {_MAX_DEPTH} levels deep, or {_MAX_PARTS:,} parts, with what stands behind aliases; shorten it"
_MAX_SHOWN = 60  # of a word that is shown as it was written

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE, _WORD = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
# YAML 1.1 has more: 030 is 24 there, 1:30 is 90, 1_0 is 10.
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?(e[-+][0-9]{1,3})?|[-+]?\.(inf|nan)", re.IGNORECASE)

Place = tuple[str | int, ...]  # the keys and indices on the way to a part of a document


class YamlFault(ValueError):
    """A file that cannot be read. The message names it, where possible with the line, and says what to change."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(f"{at}: {message}")
        self.at, self.message = at, message


@dataclass(frozen=True)
class Document:
    """What one file holds, and on which line each part of it begins (from 1)."""

    content: Any
    lines: Mapping[Place, int]


class _Loader(yaml.CSafeLoader):
    """Tells of a number or a date that is none where it stands, before time is spent on it."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and not _DECIMAL.fullmatch(node.value):
            message = f"{shown(node.value)} is read as a number; write it in decimal digits, or put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        try:
            return super().construct_object(node, deep)
        except ValueError:
            message = f"{shown(node.value)} is read as a date and is none; correct it, or put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None


def read_yaml(path: Path) -> Any:
    """The content of a file with one YAML document. Raises `YamlFault` or `OSError`."""
    return read_document(path, path.name).content


def read_document(path: Path, name: str) -> Document:
    """Reads one YAML document, which faults call `name`. Raises `YamlFault` or `OSError`."""
    text = _text(path, name)
    try:
        _check_events(name, text)
        loader = _Loader(text)
        node = loader.get_single_node()
        lines = _bounded(name, _lines(name, node, ())) if node else {(): 1}
        return Document(loader.construct_document(node) if node else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fault(name, mark, " ".join((error.problem or error.context or "not YAML").split())) from None
    except ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise YamlFault(f"{name}:{line}", f"{error.reason}; remove what is no text") from None
    except yaml.YAMLError as error:
        raise YamlFault(name, in_one_line(error)) from None


def _text(path: Path, name: str) -> str:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
        raise YamlFault(name, "not a file with text; put one there")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YamlFault(name, f"larger than {MAX_BYTES // 1024} KiB, which no file written by hand is; split it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlFault(f"{name}:{line}", "not UTF-8; save it as UTF-8") from None


def _check_events(name: str, text: str) -> None:
    """Refuses what nests without end, and what no file here needs, before anything is built of it."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or number > _MAX_PARTS:
            raise _fault(name, event.start_mark, _ENDLESS)
        if documents > 1:
            raise _fault(name, event.start_mark, "a second document begins; keep one in a file")
        if getattr(event, "tag", None):
            raise _fault(name, event.start_mark, "tags are not read here; write the value without `!`")


def _bounded(name: str, lines: Iterator[tuple[Place, int]]) -> dict[Place, int]:
    found = {}
    for place, line in lines:
        if len(found) >= _MAX_PARTS or len(place) > _MAX_DEPTH:
            raise YamlFault(f"{name}:{line}", _ENDLESS)
        found[place] = line
    return found


def _lines(name: str, node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, each in enumerate(node.value):
            yield from _lines(name, each, (*place, index))
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault(name, key.start_mark, "a key must be one word")
        if key.tag == _MERGE:
            raise _fault(name, key.start_mark, "`<<` is not read here; write it out")
        if key.tag != _WORD:  # the document would hold another key than the one that stands here
            raise _fault(name, key.start_mark, f"key {shown(key.value)!r} is read as no word; put it in quotes")
        if key.value in seen:
            raise _fault(name, key.start_mark, f"key {shown(key.value)!r} given twice; keep one")
        seen.add(key.value)
        inner = (*place, key.value)
        yield from _lines(name, value, inner)
        yield inner, key.start_mark.line + 1


def _fault(name: str, mark: yaml.Mark | None, message: str) -> YamlFault:
    return YamlFault(f"{name}:{mark.line + 1}" if mark else name, message)


def in_one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def shown(word: object) -> str:
    """A word as it was written, in bounded length."""
    word = str(word)
    return word if len(word) <= _MAX_SHOWN else word[:_MAX_SHOWN] + "..."


# What a model says of a wrong type, in the words of who writes YAML.
_EXPECTED = {
    "model_type": "a mapping of keys is expected here",
    "dict_type": "a mapping of keys is expected here",
    "tuple_type": "a list is expected here",
    "too_short": "at least {min_length} must stand here",
    "date_from_datetime_parsing": "a day is expected here, such as 2021-01-15",
    "date_from_datetime_inexact": "a day is expected here, such as 2021-01-15",
}
_NOTHING = "nothing stands here; write a value, or drop the key"


def faults_of(error: ValidationError) -> Iterator[tuple[Place, str]]:
    """What a model finds wrong with a content: the place and the message of each fault. What is wrong with a whole
    because a part of it is wrong is not told, nor a second thing that a part might have been instead."""
    found: dict[Place, str] = {}
    names: set[Place] = set()
    for fault in error.errors(include_url=False):
        for place, message in _told(fault):
            found.setdefault(place, message)
            if "[key]" in fault["loc"]:
                names.add(place)
    around = {place[:length] for place in found for length in range(len(place))} - names
    yield from ((place, message) for place, message in found.items() if place not in around)


def _told(fault: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Where one error of a model stands, and what it says; what a validator found in several places, at each."""
    place, context = (*filter(_is_key, fault["loc"]),), fault.get("ctx", {})
    if fault["input"] is None:
        yield place, _NOTHING
    elif fault["type"] in _EXPECTED:
        yield place, _EXPECTED[fault["type"]].format(**context)
    elif each := getattr(context.get("error"), "each", ()):
        yield from (((*place, *within), message) for within, message in each)
    else:
        yield place, fault["msg"].removeprefix("Value error, ")


def _is_key(part: str | int) -> bool:
    """Whether a part of a model's place stands in the file: where there is a choice, the model names what it tried."""
    return not isinstance(part, str) or not part.endswith("]")


def explain(error: ValidationError, whole: str) -> str:
    """The same in one line; `whole` is what a fault of the whole is about."""
    return "; ".join(f"{'.'.join(map(str, place)) or whole}: {message}" for place, message in faults_of(error))

"""How the project's own YAML is read: strictly, in bounded time, and so that a fault can be shown where it stands.

YAML that a person writes by hand needs none of what makes YAML dangerous. So a file has one document of bounded size
and depth, copies by alias included, and a key stands in a mapping once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 32
_MAX_PARTS = 50_000  # with what stands behind aliases

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


def read_yaml(path: Path) -> Any:
    """The content of a file with one YAML document. Raises `YamlFault` or `OSError`."""
    return read_document(path).content


def read_document(path: Path) -> Document:
    """Reads one YAML document. Raises `YamlFault` or `OSError`."""
    text = _text(path)
    try:
        _check_depth(path, text)
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        lines = _bounded(path, _lines(path, node, ())) if node else {}
        return Document(loader.construct_document(node) if node else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fault(path, mark, " ".join((error.problem or error.context or "not YAML").split())) from None
    except YamlFault:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise YamlFault(path.name, in_one_line(error)) from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YamlFault(path.name, f"larger than {MAX_BYTES // 1024} KiB, which no file written by hand is; split it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlFault(f"{path.name}:{line}", "not UTF-8; save it as UTF-8") from None


def _check_depth(path: Path, text: str) -> None:
    """Refuses what nests without end, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _fault(path, event.start_mark, f"more than {_MAX_DEPTH} levels deep; nothing here is")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _bounded(path: Path, lines: Iterator[tuple[Place, int]]) -> dict[Place, int]:
    found = {}
    for place, line in lines:
        if len(found) >= _MAX_PARTS or len(place) > _MAX_DEPTH:
            raise YamlFault(f"{path.name}:{line}", "aliases multiply what it holds without end; write it out")
        found[place] = line
    return found


def _lines(path: Path, node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, each in enumerate(node.value):
            yield from _lines(path, each, (*place, index))
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault(path, key.start_mark, "a key must be one word")
        if key.tag == "tag:yaml.org,2002:merge":
            raise _fault(path, key.start_mark, "`<<` is not read here; write it out")
        if key.value in seen:
            raise _fault(path, key.start_mark, f"key {key.value!r} given twice; keep one")
        seen.add(key.value)
        inner = (*place, key.value)
        yield from _lines(path, value, inner)
        yield inner, key.start_mark.line + 1


def _fault(path: Path, mark: yaml.Mark | None, message: str) -> YamlFault:
    return YamlFault(f"{path.name}:{mark.line + 1}" if mark else path.name, message)


def in_one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def faults_of(error: ValidationError) -> Iterator[tuple[Place, str]]:
    """What a model finds wrong with a content: the place and the message of each fault."""
    for fault in error.errors():
        yield fault["loc"], fault["msg"].removeprefix("Value error, ")


def explain(error: ValidationError, whole: str) -> str:
    """The same in one line; `whole` is what a fault of the whole is about."""
    return "; ".join(f"{'.'.join(map(str, place)) or whole}: {message}" for place, message in faults_of(error))

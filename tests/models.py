"""The models of a policy pack, walked: every model that a pack can hold, and every part of one pack."""

from collections.abc import Iterator
from typing import Any, get_args

from schemas.model import Model
from schemas.policy import Pack

Path = tuple[str | int, ...]


def models() -> set[type[Model]]:
    """Every model that stands somewhere in a pack."""
    found: set[type[Model]] = set()

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, Model) and annotation not in found:
            found.add(annotation)
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for part in get_args(annotation):
            visit(part)

    visit(Pack)
    return found


def parts(part: Any, path: Path = ()) -> Iterator[tuple[Path, Model]]:
    """Every model in a part of a pack, with the way to it."""
    if isinstance(part, Model):
        yield path, part
        for name in type(part).model_fields:
            yield from parts(getattr(part, name), (*path, name))
    elif isinstance(part, dict):
        for key, inner in part.items():
            yield from parts(inner, (*path, key))
    elif isinstance(part, tuple):
        for index, inner in enumerate(part):
            yield from parts(inner, (*path, index))


def put(part: Any, path: Path, value: Any) -> Any:
    """The part with another value at the end of a way. Nothing is checked."""
    if not path:
        return value
    key, *rest = path
    if isinstance(part, Model):
        return part.model_copy(update={key: put(getattr(part, key), rest, value)})
    if isinstance(part, dict):
        return part | {key: put(part[key], rest, value)}
    return tuple(put(each, rest, value) if index == key else each for index, each in enumerate(part))

"""What goes wrong on a worker is told by its kind and its place, never in its own words.

A library's exception may quote what it choked on, and a runner writes down whatever a step raises. So what leaves a
step is an exception of ours, whose words we chose, one of the operating system, or a `StepFailed`.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from traceback import walk_tb
from types import TracebackType

_OURS = ("schemas", "transforms", "pipelines")


class StepFailed(Exception):
    """A step met what it cannot go on from. Its message names the type of what was raised, and the lines of ours that
    led there."""


def discreet(step: Callable) -> Callable[..., Iterator]:
    """For what a runner calls with elements: the same outputs, and no failure with a value of a record in its words,
    its cause or its context (1.1.1)."""

    @wraps(step)
    def guarded(*args, **kwargs) -> Iterator:
        try:
            yield from step(*args, **kwargs) or ()
            return
        except Exception as error:
            failure = error if _speaks_of_no_record(error) else StepFailed(_told(error))
        # Here and not above, where what was caught would become its context.
        failure.__cause__ = failure.__context__ = None
        raise failure

    return guarded


def _speaks_of_no_record(error: Exception) -> bool:
    ours = type(error).__module__.partition(".")[0] in _OURS
    return ours or (isinstance(error, OSError) and error.errno is not None)


def _told(error: Exception) -> str:
    return f"{type(error).__name__} at {', '.join(_places(error.__traceback__))}"


def _places(raised: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(raised):
        module = frame.f_globals.get("__name__", "")
        if module.startswith(tuple(f"{package}." for package in _OURS)) and module != __name__:
            yield f"{module}:{line}"

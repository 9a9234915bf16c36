"""What a step raises, as whoever reads a runner's log sees it."""

import logging
import traceback

import apache_beam as beam
import pyarrow as pa
import pytest

from transforms.discreet import StepFailed, discreet
from transforms.keyring import KeyUnavailable

CANARY = "4f1d-canary@example.org"


def _number(value):
    try:
        return int(value)
    except ValueError as error:
        raise RuntimeError("and then") from error


def _known(value):
    try:
        return int(value)
    except ValueError:
        return {}["known"]


def _system(value):
    raise OSError(f"not a gzipped file ({value})")


def _ours(value):
    try:
        return int(value)
    except ValueError:
        raise KeyUnavailable("the key of eu is gone: bring it back") from None


FAILING = {
    "arrow": lambda value: pa.array([value]).cast(pa.int64()),
    "key": lambda value: {}[value],
    "codec": lambda value: (value.encode() + b"\xff").decode(),
    "chained": _number,
    "in passing": _known,
    "system": _system,
    "ours": _ours,
}
HOW = ("arrow", "key", "codec", "chained", "in passing", "system")


@discreet
def step(how, values):
    for value in values:
        yield value
        FAILING[how](value)


def raised(how):
    with pytest.raises(Exception) as caught:
        list(step(how, [CANARY]))
    return caught.value


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize("how", [*HOW, "ours"])
def test_no_failure_holds_a_value(how):
    error = raised(how)
    assert error.__cause__ is error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.args)
    assert "canary" not in shown


@pytest.mark.parametrize("how", HOW)
def test_a_failure_names_a_type(how):
    names = {"arrow": "ArrowInvalid", "key": "KeyError", "codec": "UnicodeDecodeError", "chained": "RuntimeError"}
    names |= {"in passing": "KeyError", "system": "OSError"}
    error = raised(how)
    assert type(error) is StepFailed and str(error).startswith(names[how])


def test_a_failure_names_the_lines_of_ours_that_led_to_it():
    @discreet
    def sealing():
        from transforms.canonical import canonical

        yield canonical("imei", pa.array([1]))

    with pytest.raises(StepFailed, match=r"^TypeError at transforms\.canonical:\d+$"):
        list(sealing())


def test_what_we_say_ourselves_and_what_the_system_says_stays():
    with pytest.raises(KeyUnavailable, match="the key of eu is gone"):
        list(step("ours", [CANARY]))

    @discreet
    def reading():
        open("/nowhere/at-all")  # noqa: SIM115

    with pytest.raises(FileNotFoundError, match="/nowhere/at-all"):
        list(reading())


def test_outputs_are_the_same_and_those_before_a_failure_came_out():
    assert list(discreet(lambda: iter("ab"))()) == ["a", "b"]
    assert list(discreet(lambda: None)()) == []
    outputs = step("key", [CANARY])
    assert next(outputs) == CANARY


class _Failing(beam.DoFn):
    @discreet
    def process(self, element, timestamp=beam.DoFn.TimestampParam):
        yield from step.__wrapped__(element, [CANARY])


@pytest.mark.parametrize("how", HOW)
def test_a_runner_has_nothing_else_to_write_down(how, caplog, capfd):
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception) as caught, beam.Pipeline("FnApiRunner") as pipeline:
        pipeline | beam.Create([how]) | beam.ParDo(_Failing())  # noqa: B018
    written = caplog.text + "".join(capfd.readouterr()) + "".join(traceback.format_exception(caught.value))
    assert "StepFailed" in written and "[while running" in written
    assert "canary" not in written

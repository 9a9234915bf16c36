"""A stateful DoFn run by hand: its state lies open, timers fire when they are told to, and a bundle can be tried again.

It does what a runner does for one worker that holds many keys, and no more.
"""

import copy
import inspect

import apache_beam as beam
from apache_beam.transforms.core import _DoFnParam, _StateDoFnParam, _TimerDoFnParam
from apache_beam.utils.timestamp import Timestamp


class Bag:
    def __init__(self):
        self.held = []

    def add(self, value):
        self.held.append(value)

    def read(self):
        return list(self.held)

    def write(self, value):
        self.held = [value]

    def clear(self):
        self.held = []


class Value(Bag):
    reads = 0

    def read(self):
        self.reads += 1
        return self.held[0] if self.held else None


class Timer:
    def __init__(self):
        self.set_for = {}  # by tag

    def set(self, moment, dynamic_timer_tag=""):
        self.set_for[dynamic_timer_tag] = Timestamp.of(moment)


class Keyed:
    """Runs `process` and one event-time timer's method of a DoFn. Outputs are gathered as they come."""

    def __init__(self, dofn, timer, method):
        self.dofn, self._timer, self._method = dofn, timer, getattr(dofn, method)
        self.states = {}  # (key, name of the state) -> Bag, Value or Timer
        self.outputs = []
        dofn.setup()

    def element(self, element, moment=None):
        """One element, (key, value), arrives."""
        known = {beam.DoFn.TimestampParam: moment}
        self._take(self.dofn.process(element, **self._given(self.dofn.process, element[0], known)))

    def advance(self, moment):
        """The watermark goes on: fires what is due, in the order of time."""
        while due := self._due(moment):
            _, key, tag = min(due)
            del self.states[key, self._timer].set_for[tag]
            known = {beam.DoFn.KeyParam: key, beam.DoFn.DynamicTimerTagParam: tag}
            self._take(self._method(**self._given(self._method, key, known)))

    def attempt(self):
        """What a bundle changes from here on, to be undone."""
        return copy.deepcopy(self.states), len(self.outputs)

    def roll_back(self, attempt):
        self.states = copy.deepcopy(attempt[0])
        del self.outputs[attempt[1] :]

    def of(self, key, name):
        """The state of that name."""
        return self.states[key, name]

    def _due(self, moment):
        timers = [(key, timer) for (key, name), timer in self.states.items() if name == self._timer]
        return [(at, key, tag) for key, timer in timers for tag, at in timer.set_for.items() if at <= moment]

    def _given(self, method, key, known):
        given = {}
        for name, parameter in inspect.signature(method).parameters.items():
            asked = parameter.default
            if isinstance(asked, _StateDoFnParam):
                made = Bag if "Bag" in type(asked.state_spec).__name__ else Value
                given[name] = self.states.setdefault((key, asked.state_spec.name), made())
            elif isinstance(asked, _TimerDoFnParam):
                given[name] = self.states.setdefault((key, asked.timer_spec.name), Timer())
            elif isinstance(asked, _DoFnParam):
                given[name] = known[asked]
        return given

    def _take(self, outputs):
        self.outputs += list(outputs or ())

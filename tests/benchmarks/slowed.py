"""Runs the guard of the steps' shares as it is, then with a step that takes three times as long: `slowed.py WORK STEP`.

prints one JSON object: what the guard finds in either.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks import guard
from pipelines.profile import STEPS


def slow(function):
    """The function, busy for twice as long again: to call it again takes less, since what it needs is in the cache."""

    def slowed(*args, **kwargs):
        started = time.process_time()
        result = function(*args, **kwargs)
        took = time.process_time() - started
        while time.process_time() < started + 3 * took:
            pass
        return result

    return slowed


def slow_down(step: str) -> None:
    """From now on the step's functions take three times as long, at the places where clocks are put around them."""
    for place in STEPS[step]:
        module, _, name = place.partition(":")
        owner = importlib.import_module(module)
        setattr(owner, name, slow(getattr(owner, name)))


def main() -> None:
    work, step = Path(sys.argv[1]), sys.argv[2]
    status = guard.main(["--work", str(work)])
    slow_down(step)
    inputs = work / "sample/events.ndjson", work / "sample/consents.ndjson"
    found = guard.grown(guard.shares([guard.run(*inputs, work / "run")]), json.loads(guard.SHARES.read_text()))
    print(json.dumps({"status": status, "slowed": found}))


if __name__ == "__main__":
    main()

"""Fuzzes what reads strangers' bytes, guided by the code that they reach: `make fuzz`.

Each target runs in a process of its own under Atheris. An input is a block of lines, each of which `tests.fuzz.mutate`
makes worse; a block that reaches new code is worked on further. What fails is left in run/fuzz, and the status is 1.
"""

import argparse
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from tests.fuzz.mutate import worse

LINES = 64  # in a block: what goes on around a call costs more than a line in it
# How the lines are dealt out: by what can go wrong in a line, and what one costs.
SHARES = {"events": 40, "ledger": 15, "identifiers": 10, "times": 10, "rejected": 10, "files": 10, "texts": 5}
WORK = Path("run/fuzz")


def main() -> int:
    """Runs every target, or as a child the one that is named."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument(
        "--lines", type=int, default=1_000_000, help="over all targets, those to start from included"
    )
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--target", choices=SHARES, help="this one alone, in this process")
    options = arguments.parse_args()
    if options.target:
        _fuzz(options.target, options.lines, options.seed)
        return 0
    if find_spec("atheris") is None:
        arguments.error("Atheris is not installed here: `make fuzz` sees to it")
    print(f"{'target':<14}{'blocks':>10}{'lines':>12}{'code reached':>14}{'seconds':>10}")
    failed = [_report(target, options.lines * share // 100, options.seed) for target, share in SHARES.items()]
    return int(any(failed))


def _report(target: str, lines: int, seed: int) -> bool:
    """A line of the table; whether the target failed."""
    child = [sys.executable, "-m", "tests.fuzz", f"--target={target}", f"--lines={lines}", f"--seed={seed}"]
    WORK.mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    with open(WORK / f"{target}.log", "w+") as log:
        status = subprocess.run(child, stdout=log, stderr=log).returncode
        log.seek(0)
        said = log.read()
    blocks = int((re.findall(r"stat::number_of_executed_units: (\d+)", said) or ["0"])[-1])
    reached = (re.findall(r"\bft: (\d+)", said) or ["0"])[-1]
    print(f"{target:<14}{blocks:>10,}{blocks * LINES:>12,}{reached:>14}{perf_counter() - start:>10.0f}", flush=True)
    if status:
        print(f"  it failed: see {WORK}/{target}.log, and {WORK}/{target}-* for the input")
    return status != 0


def _fuzz(target: str, lines: int, seed: int) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris  # only here: nothing else needs it

    with atheris.instrument_imports(include=["transforms", "pipelines.blocks", "json"]):
        from tests.fuzz.seeds import seeds_of
        from tests.fuzz.targets import TARGETS

    seeds = seeds_of(target)

    def mutated(data: bytes, max_size: int, number: int) -> bytes:
        draw, own = random.Random(number), data.split(b"\n")
        made = [worse(draw, draw.choice(own), seeds) for _ in range(LINES)]
        return b"\n".join(made)[:max_size]

    start = WORK / target
    start.mkdir(parents=True, exist_ok=True)
    for at in range(0, len(seeds), LINES):
        (start / f"seed-{at}").write_bytes(b"\n".join(seeds[at : at + LINES]))
    given = [sys.argv[0], str(start), f"-runs={-(-lines // LINES)}", f"-seed={seed}", "-max_len=300000", "-timeout=60"]
    given += ["-print_final_stats=1", f"-artifact_prefix={WORK}/{target}-"]
    atheris.Setup(given, TARGETS[target], custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

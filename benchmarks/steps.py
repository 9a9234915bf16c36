"""One run of the main job in this process, and where its time goes.

    python -m benchmarks.steps EVENTS CONSENTS DEPLOYMENT [--profile FILE] [--plain] [flags of ingest]

prints one JSON object. What runs is `douane ingest --profile` itself (see `pipelines.profile`), from its plan to counts
that add up. What it imports is imported before. With --plain what is stored is not encrypted, to tell what that costs:
here alone, since the product has no such switch.
"""

import argparse
import contextlib
import cProfile
import io
import json
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from unittest.mock import patch

import pyarrow.parquet.encryption as pe

from pipelines import ingest
from pipelines.profile import Profile
from schemas.datasets import AUDIT


def measure(
    events: str,
    consents: str,
    deployment: str,
    profile: str | None = None,
    plain: bool = False,
    flags: Sequence[str] = (),
) -> dict:
    """Runs the job once, with more flags of `ingest`. Raises RuntimeError if it does not end well: what failed is not
    measured."""
    with Profile():  # imports all that it puts clocks around
        pass
    summary = io.StringIO()
    profiler = cProfile.Profile() if profile else contextlib.nullcontext()
    arguments = ["--events", events, "--consents", consents, "--deployment", deployment, "--json", "--profile"]
    with contextlib.redirect_stdout(summary), _unencrypted() if plain else contextlib.nullcontext(), profiler:
        status = ingest.main([*arguments, *flags])
    if status:
        raise RuntimeError(f"the job ended with status {status}")
    if isinstance(profiler, cProfile.Profile):
        profiler.dump_stats(profile)
    told = json.loads(summary.getvalue())
    steps = told["profile"]["steps"]
    return {
        "seconds": told["profile"]["seconds"],
        "steps": {step: each["seconds"] for step, each in steps.items()},
        "calls": {step: each["calls"] for step, each in steps.items() if each["calls"]},
        "lines": told["profile"]["lines"],
        "rows": _stored(told["counts"]),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def _unencrypted() -> contextlib.AbstractContextManager:
    """While this holds, what is stored is not encrypted; but for the counts, which the run reads again."""
    encrypted = pe.create_encryption_properties

    def properties(key: bytes, aad_prefix: bytes, **more: object) -> object:
        _, dataset, *_ = aad_prefix.decode().split("/")
        return encrypted(key, aad_prefix=aad_prefix, **more) if dataset == AUDIT else None

    return patch.object(pe, "create_encryption_properties", properties)


def _stored(counts: list[dict]) -> dict[str, int]:
    rows: Counter = Counter()
    for row in counts:
        if (row["step"], row["outcome"]) == ("store", "stored"):
            rows[row["dataset"]] += row["count"]
    return dict(sorted(rows.items()))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.steps", description="One timed run of the main job.")
    for name in ("events", "consents", "deployment"):
        parser.add_argument(name)
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--plain", action="store_true")
    given, flags = parser.parse_known_args()
    print(json.dumps(measure(**vars(given), flags=flags)))


if __name__ == "__main__":
    main()

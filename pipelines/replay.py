"""`douane quarantine replay`: rejected telemetry through the whole main job again, received now.

What has been withdrawn or erased since does not come back: the job decides with the ledger of today. The rows of each
region are a batch of their own, planned durably before anything is sent (pipelines/replay_plans.py); a row that was
sent, and not rejected again, is never sent once more.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.command import OK, UNRECONCILED, guarded, parser
from pipelines.errors import ConfigurationError
from pipelines.options import IngestOptions, parse_job

if TYPE_CHECKING:
    from pipelines.deployment import RegionalPlace
    from pipelines.job import Job
    from pipelines.replay_plans import Plan

_TOLD = ("lines", "decoded", "quarantined", "unlocatable", "foreign")


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 configuration, 3 does not reconcile, 4 input unreadable."""
    return guarded("quarantine replay", lambda: _replay(*_parsed(argv)))


def _parsed(argv: list[str] | None):
    arguments = parser("quarantine replay", "Send rejected telemetry through the main job again, as received now.")
    arguments.add_argument("--private-keys", required=True, metavar="DIR", help="where the private halves are")
    arguments.add_argument("--region", action="append", help="only this region; may be given again (default: all)")
    arguments.add_argument("--reason", help="only lines that were rejected for this")
    mended = "what `open` wrote, its lines mended: these are sent, and no others"
    arguments.add_argument("--mended", metavar="FILE.jsonl", help=mended)
    ours, options = parse_job(arguments, argv)
    if not options.with_ledger:
        raise ConfigurationError("--no-ledger: only the ledger of today tells who has left since; give --consents")
    return ours, options


def _replay(ours, options: IngestOptions) -> int:
    from pipelines.job import plan
    from pipelines.quarantined import read_mended

    job = plan(options, say=_say)
    _check(job)
    served = {place.region: place for place in job.places.values()}
    if unknown := sorted(set(ours.region or ()) - set(served)):
        raise ConfigurationError(f"--region {unknown[0]}: this cell serves {', '.join(served)}")
    mended = read_mended(Path(ours.mended)) if ours.mended else None
    if mended and (unknown := _unknown(mended, served.values())):
        _say(f"{unknown:,} lines of {ours.mended} are none that wait here: they are not sent")
    outcomes = [_replay_region(job, served[name], ours, options, mended) for name in ours.region or served]
    if options.json:
        print(json.dumps([told for _, batches in outcomes for told in batches], indent=2))
    return max(status for status, _ in outcomes)


def _unknown(mended: Mapping[str, bytes], places) -> int:
    from pipelines.quarantined import waiting

    known = {row_id.hex() for place in places for row_id in waiting(place)["row_id"].to_pylist()}
    return len(mended.keys() - known)


def _check(job: "Job") -> None:
    from transforms.quarantine import recipient

    if job.partition.window_ms is not None:
        raise ConfigurationError("--streaming: a replay is a bounded run")
    for place in job.places.values():
        if recipient(place.keys) is None:
            lost = "what is rejected again could not be kept; make a key with `douane quarantine keygen`"
            raise ConfigurationError(f"region {place.region} has no quarantine key: {lost}")


def _replay_region(job: "Job", place: "RegionalPlace", ours, options: IngestOptions, mended) -> tuple[int, list[dict]]:
    """The exit status, and what is to be told of each batch."""
    from pipelines.quarantined import private_key_file
    from pipelines.replay_plans import replaying

    private = private_key_file(ours.private_keys, place.region).resolve()
    told: list[dict] = []
    with replaying(place):
        for plan in _plans(job, place, ours.reason, private, mended):
            status, batch = _send(job, place, plan, private, options)
            told.append(batch)
            if status:
                return status, told
    if not told:
        _say(f"{place.region}: nothing to send")
    return OK, told


def _plans(job: "Job", place: "RegionalPlace", reason: str | None, private: Path, mended) -> Iterator["Plan"]:
    """What an earlier replay left unfinished, and then what waits now."""
    from pipelines.replay_plans import plans, put_plan

    for plan in [plan for plan in plans(place) if not plan.done]:
        _say(f"{place.region}: an earlier replay broke off: finishing its batch {plan.batch} first")
        yield plan
    plan = _new_plan(job, place, reason, private, mended)
    if plan is not None:
        put_plan(place, plan)
        yield plan


def _new_plan(
    job: "Job", place: "RegionalPlace", reason: str | None, private: Path, mended: Mapping[str, bytes] | None
) -> "Plan | None":
    import pyarrow.compute as pc

    from pipelines.quarantined import reachable, row_ids, seal_mended, waiting
    from pipelines.replay_plans import Plan

    rows = waiting(place, reason)
    if of_ledger := int(pc.sum(pc.equal(rows["input"], "ledger")).as_py() or 0):
        advice = "are not sent: open them, mend them, and add them to the ledger"
        _say(f"{place.region}: {of_ledger:,} rejected ledger lines {advice}")
    rows = rows.filter(pc.equal(rows["input"], "telemetry"))
    if mended is not None:
        rows = rows.filter(pc.is_in(rows["row_id"], value_set=row_ids(map(bytes.fromhex, mended))))
    if not len(rows):
        return None
    rows, _ = reachable(rows, place.region, private.parent, _say)
    ids = [row_id.hex() for row_id in rows["row_id"].to_pylist()]
    lines = {row_id: mended[row_id] for row_id in ids} if mended else {}
    sealed = seal_mended(lines, place, job.pack.where, [place.region for place in job.places.values()])
    return Plan.of(ids, sealed, received_ms=time.time_ns() // 1_000_000)


def _send(job: "Job", place: "RegionalPlace", plan: "Plan", private: Path, options: IngestOptions) -> tuple[int, dict]:
    """Sends a batch, and marks its plan as done if every line of it is accounted for."""
    from pipelines.quarantined import drop_repeated, parts, read_again, rejected_in
    from pipelines.replay_plans import finish, plan_file
    from pipelines.whole import carry_out
    from transforms.reconcile import faults

    file = str(plan_file(place, plan.batch))
    read = partial(read_again, deployment=os.path.abspath(job.deployment), region=place.region, private=str(private))
    spans = tuple((file, start, end) for start, end in parts(plan, place))
    batch = replace(job, input_id=plan.batch, run=secrets.token_hex(8), spans=spans, read=read)
    totals = carry_out(batch, options.beam)
    places = list(job.places.values())
    found = faults(totals, job.pack)
    told = {"region": place.region, "batch": plan.batch, "run": batch.run, "faults": found}
    told |= {outcome: totals.sum(step="telemetry", outcome=outcome) for outcome in _TOLD}
    _tell(told)
    if found:
        return UNRECONCILED, told
    again = {row_id for each in places for row_id in rejected_in(each, plan.batch)}
    for each in places:
        drop_repeated(each, plan.batch, batch.run)
    finish(place, plan, again)
    return OK, told


def _tell(told: dict) -> None:
    _say(
        f"{told['region']}: {told['lines']:,} lines sent as batch {told['batch']}: {told['decoded']:,} decoded, "
        f"{told['quarantined']:,} rejected again, {told['unlocatable']:,} without a region"
    )
    for fault in told["faults"]:
        _say(f"does not reconcile: {fault}")


def _say(message: str) -> None:
    print(f"douane: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

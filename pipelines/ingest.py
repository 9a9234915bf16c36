"""`douane ingest`: the main job. Telemetry and a consent ledger in, encrypted regional datasets out."""

import sys
from contextlib import nullcontext

from pipelines.command import OK, UNRECONCILED, guarded, say
from pipelines.options import IngestOptions, parse


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 a fault of the program, 2 configuration, or a store that
    refuses, 3 does not reconcile, 4 input unreadable, 130 interrupted. But for 0 and 3 nothing is stored. Of a stream 0
    when it was stopped, 1 when it failed, 130 when this command was interrupted and the stream goes on."""
    return guarded("ingest", lambda: _ingest(parse(argv)))


def _ingest(options: IngestOptions) -> int:
    # Here and not above: they import Beam, which takes most of a second, and `--help` has no need of it.
    from pipelines import job as jobs
    from pipelines import profile as profiles
    from pipelines.memory import hold_on, passed_by
    from pipelines.progress import Progress
    from pipelines.runners import fit, tries_only
    from pipelines.summary import print_summary
    from pipelines.whole import carry_out
    from transforms import reconcile

    flags = fit(options.beam, options.cell, options.streams, options.policy)
    if options.profile:
        profiles.check(flags)
    with profiles.Profile() if options.profile else nullcontext() as profile:
        job = jobs.plan(options, say=say)
        if job.lineage:
            from pipelines.following import follow

            return follow(job, flags)
        if tries_only(flags):
            jobs.submit(job, flags)
            say("the job is built, and not sent")
            return OK
        hold_on()
        with passed_by(), Progress(job.events + job.consents):
            totals = carry_out(job, flags)
        faults = reconcile.faults(totals, job.pack)
    print_summary(job, totals, options.json, profile)
    return UNRECONCILED if faults else OK


if __name__ == "__main__":
    sys.exit(main())

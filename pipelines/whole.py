"""A bounded run is seen whole or not at all (ADR 18).

While it runs, what it stores waits apart in the manifests and among the statistics, under the name of its attempt. When
it has ended, every input was read to its end and is what it was, and the counts add up, all of it is shown: in each
region at one moment. What ends otherwise, a killed process too, leaves readers with what they saw before; what it wrote
is taken away at once, or by the next run over the same input, or by `douane sweep`.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pipelines import job as jobs
from pipelines.audit_rows import read_totals, with_manifests
from pipelines.blocks import check_unchanged
from pipelines.command import say
from pipelines.deployment import RegionalPlace
from pipelines.errors import ConfigurationError, InputError
from pipelines.running import alone
from pipelines.statistics_store import place_releases, withdraw
from pipelines.stores import discard, retire, sweep
from transforms.reconcile import identities

if TYPE_CHECKING:
    from pipelines.job import Job
    from schemas.tallies import Totals

_AGAIN = "nothing is stored; mend them or leave them out, and run again"
_ENDED_EARLY = "the job was ended before its end: nothing is stored; use a runner that this command waits for"


def carry_out(job: "Job", flags: Sequence[str]) -> "Totals":
    """Runs a bounded job to its end and shows what it stored in place of what earlier runs over its input left: its
    counts. Where an identity does not hold nothing is shown. Raises `InputError` for inputs that broke off or changed,
    `StoreError` for a store that refuses, or where another run over the same input is at work, and `ConfigurationError`
    where the runner ended the job early: readers see then what they saw before."""
    with alone(job.places.values(), job.input_id):
        return _carry_out(job, flags)


def _carry_out(job: "Job", flags: Sequence[str]) -> "Totals":
    attempt = f"{job.input_id}-{job.run}"
    places = {code: replace(place, attempt=attempt) for code, place in job.places.items()}
    shown = False
    try:
        if not jobs.run(replace(job, places=places), flags):
            raise ConfigurationError(_ENDED_EARLY)
        for place in places.values():
            retire(place, job.input_id, job.run)
        totals = with_manifests(read_totals(places.values(), job.run), places.values(), job.run, job.given)
        if broken := totals.sum(outcome="input_unreadable"):
            raise InputError(f"{broken:,} inputs broke off: {_AGAIN}")
        check_unchanged(job.inputs)
        if all(identity.holds for identity in identities(totals, job.pack)):
            _publish(places.values(), job.input_id)
            shown = True
        else:
            say("the counts do not add up, so rows may be missing: nothing is stored")
        return totals
    finally:
        if not shown:
            _take_back(job)


def _take_back(job: "Job") -> None:
    for place in job.places.values():
        with suppress(OSError):  # what stays is seen by nobody, and swept later
            withdraw(place, math.inf, prefix=f"{job.input_id}-")
            discard(place, job.run)


def _publish(places: Iterable[RegionalPlace], input_id: str) -> None:
    for place in places:
        _settle(place)  # what an earlier run, killed right here, had published
    for place in places:
        place.manifest.publish()
    for place in places:
        with suppress(OSError):  # all is seen by now; the next run settles it, and `douane sweep` sweeps
            withdraw(place, math.inf, prefix=f"{input_id}-")  # first: nobody may still publish what is swept
            _settle(place)
            sweep(place, input_id)


def _settle(place: RegionalPlace) -> None:
    place.manifest.settle(partial(place_releases, place))

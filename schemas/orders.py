"""Orders: what a stop asks of what is stored already (5.2-erase, 5.2-restrict, 5.3, 5.4, 7).

Each dataset D of a purpose with a subject has two lists. `D_orders` is its queue, for the erasure role alone: which
rows are to go, or to be held, because of which kind of stop. `D_stopped` is what a reader of D needs to leave the same
rows out until that is done. No order, and no token, is in the lists of two datasets.
"""

from collections.abc import Iterator
from itertools import product

import pyarrow as pa

from schemas.consent import ABOUT_PURPOSES, Kind, SubjectType
from schemas.datasets import TOKEN, Dataset
from schemas.policy import WITHOUT_LEDGER, Basis, Pack, Purpose

ERASE, HOLD = "erase", "hold"

# The rows of D that hold the token in the column of `by`, or a handle made with it, were received in the epoch, are of
# the application and the event type and not later than `until`. Null is all: of applications, of event types, of times.
# A null token: no key of any epoch has made one yet, so no row can hold it.
_WHICH = [
    pa.field("order", TOKEN, nullable=False),  # the same for every row of one stop; known to this dataset alone
    pa.field("token", TOKEN),
    pa.field("by", pa.string(), nullable=False),  # whose token: device or account
    pa.field("app", pa.string()),
    pa.field("event_type", pa.string()),
    pa.field("until", pa.int64()),  # ms since the epoch, compared with the stored event_time
]
_KNOWN = [  # the first lot of the shard whose records were judged knowing the stop: from there on rows may stay
    pa.field("window", pa.int64(), nullable=False),
    pa.field("shard", pa.int32(), nullable=False),
]
_WHY = [
    pa.field("epoch", pa.string()),
    pa.field("action", pa.string(), nullable=False),  # ERASE or HOLD
    pa.field("kind", pa.string(), nullable=False),
    pa.field("clause", pa.string(), nullable=False),
]
STOPPED = pa.schema(_WHICH + _KNOWN)
QUEUE = pa.schema(_WHICH + _WHY + _KNOWN)

CLAUSE_OF_STOP = {
    "withdraw": "5.3",
    "object": "5.2-object",
    "restrict": "5.2-restrict",
    "minor": "7",
    "erase": "5.2-erase",
    "close": "5.4",
}


def effect(kind: Kind, subject: SubjectType, purpose: Purpose, basis: Basis) -> tuple[str, bool] | None:
    """What a stop that is about the purpose asks of the rows of its subject: ERASE or HOLD, and whether of those alone
    whose event is not later than the stop. None where it asks nothing.

    What the law demands to keep is held, not erased (5.2-hold).
    """
    action = HOLD if kind is Kind.restrict or basis is Basis.LEGAL_OBLIGATION else ERASE
    asks = {
        Kind.withdraw: True,
        Kind.object: True,
        Kind.restrict: True,
        Kind.erase: True,
        Kind.close: subject is SubjectType.account and "account" in purpose.subject,
        Kind.minor: purpose.minors == "excluded" or basis is Basis.CONSENT,
    }
    until = kind is Kind.erase and basis is not Basis.CONSENT
    return (action, until) if asks.get(kind) else None


def serving(dataset: Dataset) -> tuple[str, ...]:
    """The purposes whose stops reach a dataset: its own, and those that columns of it wait for."""
    gates = (column.gate for column in dataset.columns if column.gate is not None)
    return tuple(dict.fromkeys((dataset.purpose, *gates)))


def admitting(dataset: Dataset, pack: Pack, region: str) -> Iterator[tuple[str, str]]:
    """(purpose, event type) by which rows of a dataset were collected (1.2-uep): a stop of the purpose reaches them, if
    not all that they serve rests on contract or a legal obligation. Those whose stops reach all rows are left out."""
    served = serving(dataset)
    if all(pack.basis(name, region) in WITHOUT_LEDGER for name in served):
        return
    events = pack.purposes[dataset.purpose].events
    for rule in pack.collection:
        if region in rule.regions:
            named = (name for name in rule.admitted_by if name in pack.purposes and name not in served)
            yield from product(named, (event for event in rule.events if event in events))


def scoped(kind: Kind, purpose: Purpose) -> bool:
    """Whether a stop of that kind can be about one application alone."""
    return purpose.per_application and kind in ABOUT_PURPOSES

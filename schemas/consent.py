"""Words of the consent ledger, the shape of a sealed ledger batch, and what a region's policy asks of consent.

A *stop* closes something for a subject, a *permission* opens something or lifts a stop. What they mean for a
record is the rule of consent, in `transforms.consent`; here is only what they are called and how they are kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum

import pyarrow as pa


class Kind(IntEnum):
    """What an entry does, by the word that the ledger uses for it.

    The codes live in state and in savepoints: add codes, never renumber them. `unreadable` is not a word of the
    ledger: it stands for a rejected line whose subject could be read, and acts as a `restrict` that nothing lifts
    until a valid entry of the same `entry_id` is known.
    """

    withdraw = 1
    object = 2
    restrict = 3
    minor = 4
    erase = 5
    close = 6
    unreadable = 7
    grant = 17
    lift_objection = 18
    lift_restriction = 19
    adult = 20


class SubjectType(IntEnum):
    """Whom an entry is about; the codes live in state like those of `Kind`."""

    device = 0
    account = 1


STOPS = frozenset({Kind.withdraw, Kind.object, Kind.restrict, Kind.minor, Kind.erase, Kind.close})
PERMISSIONS = frozenset({Kind.grant, Kind.lift_objection, Kind.lift_restriction, Kind.adult})

# The kinds whose purposes and application mean something; the others concern the subject as a whole.
ABOUT_PURPOSES = frozenset({Kind.withdraw, Kind.object, Kind.grant, Kind.lift_objection})

# A permission dated further than this after its receipt is rejected (milliseconds).
FUTURE_LIMIT = 5 * 60 * 1000

EVERY_PURPOSE = "*"
NOBODY = bytes(16)  # no subject's tag: an entry that only bears its id, to correct one

SEALED_LEDGER = pa.schema(
    [
        pa.field("entry_id", pa.binary(16), nullable=False),
        pa.field("subject", pa.binary(16), nullable=False),
        pa.field("subject_type", pa.int8(), nullable=False),  # SubjectType
        pa.field("kind", pa.int8(), nullable=False),  # Kind
        # sorted names joined by commas, or EVERY_PURPOSE
        pa.field("purposes", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("app", pa.dictionary(pa.int32(), pa.string())),
        pa.field("policy_version", pa.dictionary(pa.int32(), pa.string())),
        pa.field("guardian", pa.bool_(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # ms since the epoch: when the person did it
        pa.field("received_time", pa.int64(), nullable=False),  # ms since the epoch: when the edge got it
    ]
)


@dataclass(frozen=True)
class Terms:
    """What the policy pack says for one region. Bit i of every mask stands for `purposes[i]`.

    `closed` has no legal basis here; `consent` has consent as its basis; `needs_*` must have that subject on the
    record; `*_grants` accept the grant of that subject where consent is the basis; `minors_excluded` is shut for
    minors; `per_application` is decided for the record's application alone. `minimum_versions` maps a purpose to
    the least policy version (an ISO date) that a grant must name (clause 9).
    """

    purposes: tuple[str, ...]
    consent: int = 0
    needs_device: int = 0
    needs_account: int = 0
    device_grants: int = 0
    account_grants: int = 0
    minors_excluded: int = 0
    per_application: int = 0
    closed: int = 0
    minimum_versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.purposes) > 64 or len(set(self.purposes)) < len(self.purposes):
            raise ValueError("a region has at most 64 purposes, each named once")
        masks = [getattr(self, each.name) for each in fields(self) if each.type is int]
        if any(mask & ~self.every for mask in masks) or not self.minimum_versions.keys() <= set(self.purposes):
            raise ValueError("a mask or a minimum version is about a purpose that the terms do not list")

    @property
    def every(self) -> int:
        """The mask of all purposes."""
        return (1 << len(self.purposes)) - 1

    def mask(self, names: Iterable[str]) -> int:
        """The mask of these purposes; a name that the terms do not list is left out."""
        return sum(1 << self.purposes.index(name) for name in set(names) & set(self.purposes))

    def about(self, names: str) -> int:
        """The mask of a ledger entry's purposes, as `SEALED_LEDGER` writes them."""
        return self.every if names == EVERY_PURPOSE else self.mask(names.split(","))

    def admitting(self, version: str | None) -> int:
        """The mask of purposes for which a grant under this policy version, or under none, is new enough."""
        least = self.minimum_versions.items()
        return self.every & ~self.mask(name for name, date in least if version is None or version < date)


# The clause under which a purpose stays closed, by the reason that the gate gives.
CLAUSE_OF_REASON = {
    "no_policy": "9",
    "no_service": "0-b",
    "closed_here": "0-b",
    "no_basis": "1.2-consented",
    "no_subject": "1.1-a",
    "source_not_admitted": "1.1.3",
    "not_for_purpose": "1.1-b",
    "not_collected": "1.2-uep",
    "opted_out": "2-adcookie",
    "restricted": "5.2-restrict",
    "erased": "5.2-erase",
    "closed": "5.4",
    "minor": "7",
    "withdrawn": "5.3",
    "objected": "5.2-object",
    "old_policy_version": "9",
    "app_not_granted": "1.1.2-loc",
    "no_grant": "1.2-consented",
}

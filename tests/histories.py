"""People with random histories of consent, small policies that between them use every term, and both as the gate has
them. Records, entries and policies are the dicts of `tests.oracle`."""

import random
from itertools import count

import numpy as np
import pyarrow as pa

from schemas.consent import SEALED_LEDGER, Kind, SubjectType, Terms
from transforms.consent import Records

BOTH = frozenset({"device", "account"})
PLAIN = {
    "closed": False,
    "consent": False,
    "needs": frozenset({"device"}),
    "grants": frozenset(),
    "minors_excluded": False,
    "per_application": False,
    "minimum": None,
}
POLICIES = {
    "support": PLAIN | {"needs": frozenset({"account"})},
    "operations": PLAIN,
    "promotion": PLAIN | {"minors_excluded": True},
    "legal": PLAIN | {"needs": frozenset()},
    "find_device": PLAIN | {"per_application": True},
    "research": PLAIN | {"consent": True, "grants": BOTH},
    "push": PLAIN | {"consent": True, "grants": frozenset({"account"}), "needs": BOTH, "minors_excluded": True},
    "user_experience": PLAIN | {"consent": True, "grants": frozenset({"device"}), "minimum": "2021-01-15"},
    "location_services": PLAIN | {"consent": True, "grants": BOTH, "per_application": True},
    "statistics": PLAIN | {"consent": True, "grants": BOTH, "needs": frozenset()},
    "personalised_ads": PLAIN | {"closed": True},
}
PURPOSES = tuple(POLICIES)


def terms_of(policies):
    def mask(holds):
        return sum(1 << bit for bit, policy in enumerate(policies.values()) if holds(policy))

    return Terms(
        tuple(policies),
        consent=mask(lambda policy: policy["consent"]),
        needs_device=mask(lambda policy: "device" in policy["needs"]),
        needs_account=mask(lambda policy: "account" in policy["needs"]),
        device_grants=mask(lambda policy: "device" in policy["grants"]),
        account_grants=mask(lambda policy: "account" in policy["grants"]),
        minors_excluded=mask(lambda policy: policy["minors_excluded"]),
        per_application=mask(lambda policy: policy["per_application"]),
        closed=mask(lambda policy: policy["closed"]),
        minimum_versions={name: policy["minimum"] for name, policy in policies.items() if policy["minimum"]},
    )


TERMS = terms_of(POLICIES)


def entry(kind, time, received=None, *, of=("device", 1), id=None, purposes=("*",), app=None, version=None, guardian=0):
    return {
        "entry_id": next(IDS) if id is None else id,
        "subject": of,
        "kind": kind,
        "purposes": frozenset(purposes),
        "app": app,
        "policy_version": version,
        "guardian": bool(guardian),
        "time": time,
        "received_time": time if received is None else received,
    }


IDS = count(1 << 40)


def record(event, received=None, *, device=1, account=None, app=None, fault=False):
    received = event if received is None else received
    return {
        "device": device,
        "account": account,
        "fault": fault,
        "app": app,
        "event_time": event,
        "received_time": received,
    }


def binary(numbers):
    return pa.array([None if n is None else n.to_bytes(16, "big") for n in numbers], pa.binary(16))


def sealed(entries):
    columns = [
        binary([e["entry_id"] for e in entries]),
        binary([e["subject"][1] for e in entries]),
        [SubjectType[e["subject"][0]] for e in entries],
        [Kind[e["kind"]] for e in entries],
        [",".join(sorted(e["purposes"])) for e in entries],
        *([e[name] for e in entries] for name in ("app", "policy_version", "guardian", "time", "received_time")),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SEALED_LEDGER, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SEALED_LEDGER)


def rows(records):
    return Records(
        device=binary([r["device"] for r in records]),
        account=binary([r["account"] for r in records]),
        subject_fault=np.array([r["fault"] for r in records], bool),
        event_time=pa.array([r["event_time"] for r in records], pa.int64()),
        received_time=pa.array([r["received_time"] for r in records], pa.int64()),
        app=pa.array([r["app"] for r in records], pa.string()),
    )


def named(mask, purposes=PURPOSES):
    return {name for bit, name in enumerate(purposes) if mask >> bit & 1}


class Histories:
    """Random histories of a person: up to two devices and an account, few clock values so that they tie, and for some
    people few kinds and little else, so that what takes several entries happens."""

    KINDS = [kind.name for kind in Kind] + ["grant"] * 6 + ["adult", "minor", "lift_objection"]
    FEW_KINDS = (
        ["grant", "grant", "minor", "adult"],
        ["grant", "grant", "withdraw", "object", "erase"],
        ["restrict", "lift_restriction", "object", "withdraw", "lift_objection", "lift_objection", "unreadable"],
    )

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = count(1)
        self.kinds = self.KINDS

    def clock(self):
        return self.random.randrange(1, 9)

    def entry(self, subjects, ids):
        pick = self.random.choice
        time = self.clock() if self.random.random() < 0.9 else pick((300_000, 300_001, 300_004, 600_000))
        return entry(
            pick(self.kinds),
            time,
            self.clock(),
            of=pick(subjects),
            id=pick(ids) if self.random.random() < 0.25 else next(self.numbers),
            purposes=("*",) if self.random.random() < 0.4 else self.random.sample(PURPOSES, 4),
            app=pick((None, None, "map", "mail")),
            version=pick((None, "2020-01-01", "2021-01-15", "2022-02-02")),
            guardian=self.random.random() < 0.2,
        )

    def variant(self, original):
        """The entry again, with nothing or something of its content changed."""
        return original | self.random.choice(
            (
                {},
                {"time": self.clock()},
                {"received_time": self.clock()},
                {"purposes": frozenset(self.random.sample(PURPOSES, 6))},
                {"policy_version": "2020-06-06"},
                {"guardian": not original["guardian"]},
                {"app": "mail"},
                {"kind": self.random.choice(self.KINDS)},
            )
        )

    def person(self, unique_ids=False):
        """-> (records, entries)"""
        pick = self.random.choice
        devices = [next(self.numbers), next(self.numbers)]
        account = pick((next(self.numbers), next(self.numbers), devices[0]))
        subjects = [("device", devices[0]), ("device", devices[1]), ("account", account)]
        self.kinds = pick((self.KINDS, self.KINDS, *self.FEW_KINDS))
        if self.kinds is not self.KINDS:
            subjects = subjects[::2]
        ids = [next(self.numbers) for _ in range(2)]
        entries = [self.entry(subjects, ids) for _ in range(self.random.randrange(9))]
        self.kinds = self.KINDS
        if unique_ids:
            entries = [each | {"entry_id": next(self.numbers)} for each in entries]
        else:
            entries += [self.variant(pick(entries)) for _ in range(self.random.randrange(4)) if entries]
        records = [
            record(
                self.random.choice((self.clock(), self.clock(), 700_000)),
                self.random.choice((self.clock(), self.clock(), 700_000)),
                device=pick((None, *devices, devices[0])),
                account=pick((None, account)),
                app=pick((None, "map", "mail", "other")),
                fault=self.random.random() < 0.05,
            )
            for _ in range(6)
        ]
        return records, entries

"""The rule of consent written three times, on random histories: the gate, `decide` and the oracle.

The normal test run takes a slice of it; `python -m tests.agreement --decisions 1000000` as many as are asked for.
"""

import argparse
import random
from collections import Counter
from time import perf_counter

from schemas.consent import Kind, SubjectType
from tests import oracle
from tests.histories import POLICIES, PURPOSES, Histories, rows, sealed, terms_of
from transforms.acts import Entry
from transforms.consent import Verdict, judge
from transforms.decision import Record, decide
from transforms.ledger import Ledger

MODES = ("all", "received")
_PEOPLE = 100  # who are judged together
_ANYBODY = [frozenset(types) for types in ((), ("device",), ("account",), ("device", "account"))]


def as_record(one):
    """A record as `decide` has it."""
    return Record(**one)


def as_entry(one):
    """A ledger entry as `decide` has it."""
    content = {name: value for name, value in one.items() if name not in ("subject", "kind")}
    type_, value = one["subject"]
    return Entry(subject_type=SubjectType[type_], subject=value, kind=Kind[one["kind"]], **content)


def any_policies(seed):
    """Policies of the same names, with each term at random."""
    pick = random.Random(seed).choice
    return {
        name: {
            "closed": pick((False,) * 29 + (True,)),
            "consent": pick((False, True)),
            "needs": pick(_ANYBODY + _ANYBODY[:2]),
            "grants": pick(_ANYBODY),
            "minors_excluded": pick((False, True)),
            "per_application": pick((False, False, True)),
            "minimum": pick((None, "2021-01-15")),
        }
        for name in PURPOSES
    }


def reasons_of(verdict: Verdict, records: int):
    """A verdict of the gate as one dict a record, from purpose to reason; None for what is open."""
    found = [dict.fromkeys(PURPOSES) for _ in range(records)]
    for reason, masks in verdict.reasons.items():
        for one, mask in zip(found, masks.tolist(), strict=True):
            one.update((name, reason) for bit, name in enumerate(PURPOSES) if mask >> bit & 1)
    for one, mask in zip(found, verdict.open.tolist(), strict=True):
        assert mask == sum(1 << bit for bit, name in enumerate(PURPOSES) if one[name] is None)
    return found


def crowd_of(seed, people):
    """-> people as (records, entries), and the entries of all of them in any order"""
    histories = Histories(seed)
    crowd = [histories.person() for _ in range(people)]
    entries = [each for _, theirs in crowd for each in theirs]
    histories.random.shuffle(entries)
    return crowd, entries


def agree(seed, people, stops_known, policies=POLICIES):
    """Decide everything for a crowd three times over. Returns how often each reason was given, None for open; raises
    AssertionError with the case where two of them differ."""
    crowd, ledger = crowd_of(seed, people)
    terms, records = terms_of(policies), [one for theirs, _ in crowd for one in theirs]
    verdict = judge(rows(records), Ledger.build(sealed(ledger), terms), terms, stops_known)
    by_gate = iter(reasons_of(verdict, len(records)))
    given = Counter()
    for their_records, theirs in crowd:
        asked = [as_entry(each) for each in theirs]
        for one in their_records:
            found, made = next(by_gate), as_record(one)
            for purpose in PURPOSES:
                decision = decide(made, purpose, asked, terms, stops_known)
                opened = oracle.decide(one, purpose, theirs, policies[purpose], stops_known == "all")
                three = (found[purpose], decision.reason, opened, decision.outcome)
                expected = (decision.reason, decision.reason, decision.reason is None, "open" if opened else "closed")
                assert three == expected, (three, stops_known, purpose, policies[purpose], one, theirs)
                given[decision.reason] += 1
    return given


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--decisions", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    start, given, seed = perf_counter(), Counter(), options.seed
    while given.total() < options.decisions:
        policies = POLICIES if seed % 3 == 0 else any_policies(seed)
        given += agree(seed, _PEOPLE, MODES[seed % 2], policies)
        seed += 1
    print(f"{given.total():,} decisions in {perf_counter() - start:,.0f} s: gate, decide and oracle agree")
    for reason, times in given.most_common():
        print(f"  {reason or 'open':<20}{times:>12,}")


if __name__ == "__main__":
    main()

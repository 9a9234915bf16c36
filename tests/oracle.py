"""The rule of consent for one record and one purpose, written from its text: slow, and meant to be read.

A record has `device`, `account` (None where absent), `fault`, `app`, `event_time`, `received_time`. An entry has the
fields of the ledger, with `subject` = (type, value) and `purposes` = a set of names or {"*"}. A policy of a purpose has
`closed`, `consent`, `needs`, `grants` (sets of subject types), `minors_excluded`, `per_application`, `minimum`.
"""

from itertools import groupby

from tests.overlays import laid_over, sayings, untold

STOPS = ("withdraw", "object", "restrict", "minor", "erase", "close")
CLOCKS = ("time", "received_time")


def reconciled(entries):
    """What counts of a ledger, each as its list of versions: one for a stop, one or more for a permission."""
    entries = [e for e in entries if e["kind"] in (*STOPS, "unreadable") or e["time"] <= e["received_time"] + 300_000]
    for _, same in groupby(sorted(entries, key=lambda e: e["entry_id"]), key=lambda e: e["entry_id"]):
        same = list(same)
        valid = [e for e in same if e["kind"] != "unreadable"]
        stops = [e for e in valid if e["kind"] in STOPS]
        corrected = min((e["received_time"] for e in valid), default=float("inf"))
        yield from ([e | {"corrected": corrected}] for e in same if e["kind"] == "unreadable")
        yield from ([e | {"time": min(e["time"], e["received_time"])}] for e in stops)
        if valid and not stops and len({(e["subject"], e["kind"], e["app"]) for e in valid}) == 1:
            yield valid


def later(one, other):
    return all(a[clock] > b[clock] for a in one for b in other for clock in CLOCKS)


def decide(record, purpose, entries, policy, bounded):
    """True if the purpose is open for the record."""
    event, receipt = record["event_time"], record["received_time"]
    subjects = {(type_, record[type_]) for type_ in ("device", "account") if record[type_] is not None}

    def known(entry):
        if entry[0]["kind"] == "unreadable" and (bounded or entry[0]["received_time"] <= receipt):
            return entry[0]["corrected"] == float("inf") if bounded else receipt < entry[0]["corrected"]
        if entry[0]["kind"] in STOPS and bounded:
            return True
        return all(version["received_time"] <= receipt for version in entry)

    def of(*kinds):
        return [e for e in reconciled(entries) if e[0]["kind"] in kinds and e[0]["subject"] in subjects and known(e)]

    def about(*kinds):  # those of these kinds that are about the purpose, and about the application where that matters
        named = [e for e in of(*kinds) if all({purpose, "*"} & version["purposes"] for version in e)]
        its_own = [e for e in named if e[0]["app"] is not None and e[0]["app"] == record["app"]]
        anywhere = [e for e in named if e[0]["kind"] in STOPS and (e[0]["app"] is None or record["app"] is None)]
        return its_own + anywhere if policy["per_application"] else named

    def lifts(permission, stop):
        return later(permission, stop) and all(version["time"] <= event for version in permission)

    def lifted(stop, permissions):
        return any(lifts(permission, stop) for permission in permissions)

    def suffices(grant):
        new = policy["minimum"] is None or all((v["policy_version"] or "") >= policy["minimum"] for v in grant)
        started = all(version["time"] <= event for version in grant)
        lifts_all = all(lifts(grant, stop) for stop in about("withdraw", "object") + of("erase"))
        of_age = all(any(lifts(a, minor) and later(grant, a) for a in of("adult")) for minor in of("minor"))
        guardian = all(version["guardian"] for version in grant)
        return grant[0]["subject"][0] in policy["grants"] and new and started and lifts_all and (of_age or guardian)

    has = set() if record["fault"] else {type_ for type_, _ in subjects}
    closes = [e for e in of("close") if e[0]["subject"][0] == "account"]
    objections, permissions = about("withdraw", "object"), about("grant", "lift_objection")
    return not (
        policy["closed"]
        or not policy["needs"] <= has
        or of("unreadable")
        or any(not lifted(stop, of("lift_restriction")) for stop in of("restrict"))  # 1
        or any(stop[0]["time"] >= event for stop in of("erase"))  # 2
        or ("account" in policy["needs"] and closes)  # 3
        or (policy["minors_excluded"] and any(not lifted(stop, of("adult")) for stop in of("minor")))  # 4
        or (policy["consent"] and not any(suffices(grant) for grant in about("grant")))  # 5
        or (not policy["consent"] and any(not lifted(stop, permissions) for stop in objections))  # 6
    )


def policy_of(purpose, region, service, pack):
    """A purpose of a pack as `decide` has it: the strictest of what its base and its overlays say."""
    base, said = pack.purposes[purpose], sayings(pack, region, service, purpose)
    minima = [each.minimum_policy_version for each in (base, *said)]
    return {
        "closed": False,
        "consent": basis_of(purpose, region, service, pack) == "consent",
        "needs": set(base.subject),
        "grants": set(base.granted_by or base.subject),
        "minors_excluded": base.minors == "excluded" or any(each.minors for each in said),
        "per_application": base.per_application,
        "minimum": max(filter(None, minima), default=None),
    }


def basis_of(purpose, region, service, pack):
    declared = pack.purposes[purpose].basis
    declared = declared.get(region, declared["default"])
    by_overlay = any(each.basis for each in sayings(pack, region, service, purpose))
    return "consent" if by_overlay or declared not in pack.regions[region].bases else declared


def admitted(purpose, event_type, source, notice, region, service, pack):
    """True if such a record may serve the purpose if it is open, whoever it is about: nothing of the pack or of its
    overlays keeps it out. `notice` is the word of its push_interaction, None if it has none."""
    over, said = laid_over(pack, region, service), sayings(pack, region, service, purpose)
    both = (pack.purposes[purpose], *said)
    return not (
        untold(service, pack)
        or any(each.closed == "all" or purpose in each.closed for each in over)
        or any(event_type in each.without_events for each in said)
        or any(each.sources is not None and source not in each.sources for each in both)
        or any(notice in each.unless.get("push_interaction.notice", ()) for each in both)
    )


def collected(purpose, event_type, region, pack, opened, service=None):
    """True if a record of that event type is collected for the purpose there, given which purposes are `opened` for it.
    A rule spares what rests on contract or a legal obligation; for all else one of its purposes has to be open."""
    rules = [rule for rule in pack.collection if event_type in rule.events and region in rule.regions]
    admits = all(any(opened(each) for each in rule.admitted_by) for rule in rules)
    return admits or basis_of(purpose, region, service, pack) in ("contract", "legal_obligation")

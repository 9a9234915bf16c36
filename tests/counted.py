"""The counts of a run that nobody has to make: as many records as a test wants, all of them accounted for."""

from collections.abc import Mapping

from pipelines.audit_rows import CountedRun
from pipelines.digest import Digest, digest
from schemas.consent import CLAUSE_OF_REASON
from schemas.fields import EVENT_TYPES
from schemas.pack_files import load_pack
from schemas.tallies import Counts, Totals
from tests.stranger import REGIONS
from tests.tallied import totals

PACK = load_pack()
RUN = CountedRun("0123456789abcdef", "fedcba9876543210", REGIONS, ("2021-03-05",), True)
HOUR = 1_614_556_800_000  # 2021-03-01T00:00Z
_REASONS = tuple(CLAUSE_OF_REASON)


def counted(records: Mapping[str, int], quarantined: int = 3, lost: int = 0) -> Totals:
    """So many records of each event type in each region. A third of the decisions is refused, each purpose for a reason
    of its own; `lost` lines are nowhere."""
    counts = Counts()
    for region, count in records.items():
        for event_type in EVENT_TYPES:
            _judge(counts, region, event_type, count)
    decoded = len(EVENT_TYPES) * sum(records.values())
    counts.add("telemetry", "lines", decoded + quarantined + lost)
    counts.add("telemetry", "quarantined", quarantined, reason="not_json")
    counts.add("quarantine", "kept", quarantined, region="eu", reason="not_json", dataset="telemetry")
    counts.add("fields", "carried", 9, reason="device.imei")
    counts.add("fields", "sealed", 4, reason="device.imei")
    counts.add("fields", "malformed", 2, reason="device.imei")
    counts.add("fields", "carried", 7, reason="crash.trace")
    counts.add("text", "scrubbed", 5, reason="email", event_type="crash")
    return totals((region or "eu", rows) for region, rows in counts.tallies())


def _judge(counts: Counts, region: str, event_type: str, count: int) -> None:
    at = {"region": region, "event_type": event_type, "hour": HOUR}
    counts.add("telemetry", "decoded", count, **at)
    counts.add("gate", "judged", count, **at)
    for place, (name, purpose) in enumerate(PACK.purposes.items()):
        if event_type in purpose.events:
            opened = count - count // 3
            counts.add("gate", "opened", opened, purpose=name, **at)
            counts.add("gate", "refused", count // 3, purpose=name, reason=_REASONS[place % len(_REASONS)], **at)
            if purpose.stored:
                counts.add("store", "stored", opened, purpose=name, dataset=name, region=region, event_type=event_type)
            else:
                counts.add("statistics", "counted", opened, purpose=name, **at)
                counts.add("statistics", "released", opened, purpose=name, region=region)


def digested(found: Totals, ended: bool = True) -> Digest:
    return digest(found, PACK, RUN, {"eu": ["2021-02-27"]}, ended)

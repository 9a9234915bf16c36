"""What is kept of a line that was rejected for its form.

In the clear: which step rejected it, why and under which clause, the hour of its receipt, and a class of its size.
Nothing else that the line brought. The line itself is sealed to a key that the pipeline does not have, or not kept.
"""

import pyarrow as pa

from schemas.tallies import HOUR

INPUTS = ("telemetry", "ledger")
ROW_ID = pa.binary(16)

# What became of a line; the first three stand in the column `state` of a row.
KEPT = "kept"  # the line is in it, sealed
SAMPLED = "sampled"  # too many at once: only how many
NO_KEY = "no_key"  # its region has no public key to seal them to: only how many
REPEATED = "repeated"  # counted only: a line that is kept already
REPLAYED = "replayed"  # listed only: a kept line that was sent again, and not rejected again

# A line as transforms/envelope.py seals it.
ENVELOPE = pa.schema(
    [
        pa.field("bytes", pa.int32()),  # the class of size that the line was padded to
        pa.field("key_id", pa.binary(8)),  # of the public key that it is sealed to
        pa.field("sealed_key", pa.binary()),  # the content key of its batch
        pa.field("nonce", pa.binary(12)),
        pa.field("payload", pa.binary()),
    ]
)

# A row of state `kept` is one distinct line; any other counts the lines of one (stage, reason, hour), and is null from
# `row_id` on.
ROWS = pa.schema(
    [
        pa.field("input", pa.string()),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("clause", pa.string()),
        pa.field("hour", HOUR),  # of receipt; null where it could not be read
        pa.field("state", pa.string()),
        pa.field("lines", pa.int64()),  # how many lines the row stands for
        pa.field("row_id", ROW_ID),  # a keyed MAC of the line
        *ENVELOPE,
    ]
)

# What may be read without the line: all that stands in the clear.
CLEAR = pa.schema([field for field in ROWS if field.name not in ("sealed_key", "nonce", "payload")])

# Lines that were mended, as a replay keeps them until it is done.
MENDED = pa.schema([ROWS.field("row_id"), *ENVELOPE])

_UNREADABLE = "1.1-a"  # of what cannot be read nobody can say that a purpose needs it
_UNDATED = "5.3"  # consent is judged at the time of the event: without one that can be believed it cannot be

CLAUSE_OF_FAULT = {
    "too_long": _UNREADABLE,
    "not_utf8": _UNREADABLE,
    "not_json": _UNREADABLE,
    "too_deep": _UNREADABLE,
    "duplicate_key": _UNREADABLE,
    "bad_number": _UNREADABLE,
    "nul_character": _UNREADABLE,
    "not_an_object": _UNREADABLE,
    "wrong_type": _UNREADABLE,
    "missing_field": _UNREADABLE,
    "unknown_event_type": _UNREADABLE,
    "unknown_schema_version": "0-a",  # its fields have no category
    "unknown_value": _UNREADABLE,
    "bad_time": _UNDATED,
    "future_event": _UNDATED,
    "too_old": "4.4-a",
    "out_of_range": _UNREADABLE,
    "bad_event_id": _UNREADABLE,
    "bad_subject": "5.3",  # whom the entry would have stopped
}
_FOUND_WHILE_SEALING = ("bad_event_id", "bad_subject")


def stage_of(reason: str) -> str:
    """The step that finds this fault."""
    return "seal" if reason in _FOUND_WHILE_SEALING else "decode"

"""What mutation starts from: good lines of every form, and the corpus."""

from schemas.consent import Kind
from schemas.fields import EVENT_TYPES
from tests.corpus.files import LEDGER, cases
from tests.lines import EXAMPLES, entry, full_event, ndjson

_TIMES = (b"2026-01-01T00:00:00.000Z", b"2026-01-01t00:00:00.123456789+14:00", b"1970-01-01T00:00:00Z")
_LONGEST = 4_000  # of a seed: longer ones only cost time
_TEXTS = (
    b"java.lang.IllegalStateException: no session for a.b@example.com at 198.51.100.7:443",
    b"at com.example.Main.run(Main.java:12) imei=352099001761481 password=hunter2 /home/somebody/x",
    b"GET https://example.com/path?q=1&token=eyJhbGciOiJIUzI1NiJ9.e30.abcdefgh +31612345678",
)


def seeds_of(target: str) -> list[bytes]:
    """Lines for a target."""
    if target == "identifiers":
        return [example.encode() for example in EXAMPLES.values()]
    if target == "times":
        return list(_TIMES)
    if target == "texts":
        return list(_TEXTS)
    if target == "ledger":
        good = [ndjson(entry(kind.name, number=kind)).strip() for kind in Kind if kind is not Kind.unreadable]
    else:
        good = [ndjson(full_event(name, number)).strip() for number, name in enumerate(EVENT_TYPES)]
    plain = [case for case in cases() if not case.generated and case.file.endswith(".ndjson")]
    mine = [case for case in plain if (case.input == LEDGER) == (target == "ledger")]
    return good + [line for case in mine for line in case.content.split(b"\n") if line and len(line) < _LONGEST]

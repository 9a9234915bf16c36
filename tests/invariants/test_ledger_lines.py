"""A ledger line that does not read must open nothing, wherever its subject is, until an entry of its id corrects it
(section 6 of the design)."""

from collections import Counter

import pytest

from pipelines.stores import open_dataset
from tests.invariants.runs import Site, ingest
from tests.lines import NOW, entry, event, ndjson

HERE, THERE = {"account_country": "NL"}, {"account_country": "IN"}
DEVICE = "1f3a5c7e9b0d2468"
GARBLED = ndjson(entry("withdrew", number=7, residency={}))


def _rows(folder, event_type: str, dataset: str, ledger: bytes) -> tuple[int, Counter]:
    """The exit status, and the stored rows by region: one device is seen twice in `eu` and once in `in`."""
    places = enumerate((HERE, HERE, THERE))
    events = [event(n, event_type, residency=where, device__android_id=DEVICE) for n, where in places]
    (folder / "events.ndjson").write_bytes(ndjson(*events))
    (folder / "consents.ndjson").write_bytes(ledger)
    site = Site(folder / "site") if (folder / "site").exists() else Site.new(folder / "site")
    status = ingest(site, [folder / "events.ndjson"], [folder / "consents.ndjson"]).status
    return status, Counter({region: open_dataset(site.file, region, dataset).count_rows() for region in ("eu", "in")})


@pytest.fixture
def served(tmp_path):
    """Stored rows of the contract purpose."""
    return lambda *ledger: _rows(tmp_path, "session", "service", b"".join(ledger))


@pytest.fixture
def granted(tmp_path):
    """Stored rows of a purpose that rests on consent."""
    return lambda *ledger: _rows(tmp_path, "crash", "user_experience", ndjson(*ledger))


@pytest.mark.clause("5.3")
def test_it_restricts_its_subject_in_every_region(served):
    assert served() == (0, Counter(eu=2, **{"in": 1}))
    assert served(GARBLED) == (0, Counter(eu=0, **{"in": 0}))


@pytest.mark.parametrize(
    "correction",
    [
        pytest.param(entry("grant", number=7, residency=HERE), id="a grant of one region"),
        pytest.param(entry("grant", number=7, residency={}), id="a grant without a region"),
        pytest.param(entry("object", number=7, purposes=["promotion"], residency=HERE), id="a stop"),
        pytest.param(
            entry("grant", number=7, subject={"type": "account", "value": "acct-1"}, residency=HERE), id="of another"
        ),
    ],
)
def test_a_valid_entry_of_its_id_corrects_it_in_every_region(served, correction):
    assert served(GARBLED, ndjson(correction)) == (0, Counter(eu=2, **{"in": 1}))
    assert served(ndjson(correction), GARBLED, GARBLED) == (0, Counter(eu=2, **{"in": 1}))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(entry("grant", number=8, residency=HERE), id="of another id"),
        pytest.param(entry("granted", number=7, residency=HERE), id="that does not read either"),
        pytest.param(entry("grant", time=NOW + 900_000, number=7, residency=HERE), id="dated ahead"),
    ],
)
def test_nothing_else_corrects_it(served, other):
    assert served(GARBLED, ndjson(other)) == (0, Counter(eu=0, **{"in": 0}))


@pytest.mark.clause("5.3")
def test_permissions_of_one_id_that_lie_apart_count_nowhere(granted):
    """A run reconciles too: what stands for an entry elsewhere is not counted as one."""
    mine, theirs, someone = (
        entry(subject={"type": "device", "value": device}, residency=where)
        for device, where in ((DEVICE, HERE), (DEVICE, THERE), ("00ff00ff00ff00ff", THERE))
    )
    assert granted(mine, theirs | {"entry_id": "another"}) == (0, Counter(eu=2, **{"in": 1}))
    assert granted(mine, theirs) == (0, Counter(eu=0, **{"in": 0}))
    assert granted(mine, someone) == (0, Counter(eu=0, **{"in": 0}))
    assert granted(mine, mine) == (0, Counter(eu=2, **{"in": 0}))

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


@pytest.fixture
def served(tmp_path):
    """Stored rows of the contract purpose by region, for one device that is seen in two regions."""

    def run(*ledger: bytes) -> tuple[int, Counter]:
        events = [event(n, residency=where, device__android_id=DEVICE) for n, where in enumerate((HERE, HERE, THERE))]
        (tmp_path / "events.ndjson").write_bytes(ndjson(*events))
        (tmp_path / "consents.ndjson").write_bytes(b"".join(ledger))
        site = Site(tmp_path / "site") if (tmp_path / "site").exists() else Site.new(tmp_path / "site")
        status = ingest(site, [tmp_path / "events.ndjson"], [tmp_path / "consents.ndjson"]).status
        rows = {region: open_dataset(site.file, region, "service").count_rows() for region in ("eu", "in")}
        return status, Counter(rows)

    return run


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

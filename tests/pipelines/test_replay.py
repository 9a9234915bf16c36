"""`douane quarantine replay`: mended lines come in once, received now, and nobody who has left comes back."""

import json
import pickle
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from pipelines import ingest, job, quarantine, replay_plans
from pipelines.deployment import load_deployment
from pipelines.replay_plans import plans
from tests.stranger import DEVICE, Outcome, command, deploy, entry, event, ndjson
from transforms import reconcile

NOW = datetime.now(UTC).replace(microsecond=0)
LATELY = {"event_time": (NOW - timedelta(hours=2)).isoformat(), "received_time": (NOW - timedelta(hours=1)).isoformat()}
LEFT = "2f3a5c7e9b0d2469"  # a device
CANARY = "490154203237518"


def bad(number: int, device: str = DEVICE, region: str = "eu") -> dict:
    return event(number, region=region, device={"android_id": device, "imei": CANARY}, **LATELY, schema_version="one")


BAD = [bad(2), bad(3, LEFT), bad(4, region="ru")]
GRANTS = [entry(n, "grant", device) for n, device in enumerate((DEVICE, LEFT))]
NOT_JSON = b'{"account_country":"DE"' + CANARY.encode()


class Site:
    """A deployment with what was rejected in it, and the private keys beside."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.deployment = folder, folder / "deployment.yaml"
        self.consents = folder / "consents.ndjson"

    def copy(self, folder: Path) -> "Site":
        shutil.copytree(self.folder, folder)
        return Site(folder)

    def command(self, name: str, *arguments: object) -> Outcome:
        return command(quarantine, name, "--deployment", self.deployment, *arguments)

    def replay(self, *arguments: object, ledger: list[dict] = GRANTS) -> Outcome:
        self.consents.write_bytes(ndjson(*ledger))
        keys = ("--private-keys", self.folder / "private", "--consents", self.consents)
        return self.command("replay", *keys, *arguments)

    def mended(self, *mend: tuple[bytes, bytes]) -> Path:
        """What `open` writes, in every line the same replaced."""
        out = self.folder / "mended.jsonl"
        assert self.command("open", "--private-keys", self.folder / "private", "--out", out).status == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        for row in lines:
            for old, new in mend or ((b'"one"', b"1"),):
                row["line"] = row["line"].replace(old.decode(), new.decode())
        out.write_text("".join(json.dumps(row) + "\n" for row in lines))
        return out

    def states(self) -> Counter:
        listed = json.loads(self.command("list", "--json").out)
        return Counter({(row["region"], row["input"], row["reason"], row["state"]): row["rows"] for row in listed})

    def stored(self) -> dict[tuple[str, str, str, str], int]:
        """(region, dataset, day of receipt, logical file) -> rows, of records and rejected lines."""
        found = {}
        for place in load_deployment(self.deployment).regions.values():
            for dataset in set(place.manifest.datasets()) - {"audit"}:
                for each in place.manifest.entries(dataset):
                    if each.rows:
                        found[place.region, dataset, each.received_date, each.logical] = each.rows
        return found

    def rows(self, region: str, dataset: str) -> int:
        return sum(n for (where, of, _, _), n in self.stored().items() if (where, of) == (region, dataset))

    def plans(self, region: str = "eu") -> list:
        return list(plans(load_deployment(self.deployment).place(region)))


@pytest.fixture(scope="module")
def rejected(tmp_path_factory) -> Site:
    """One good event of a device that has granted everything, four bad lines, and a bad line of the ledger."""
    site = Site(tmp_path_factory.mktemp("site") / "rejected")
    deploy(site.folder, arrival="eu")
    assert site.command("keygen", "--out", site.folder / "private").status == 0
    events = site.folder / "events.ndjson"
    good = event(1, **LATELY)
    events.write_bytes(ndjson(good, *BAD) + NOT_JSON + b"\n")
    bad_entry = entry(9, "grant", "0123456789abcdef") | {"time": 5}
    site.consents.write_bytes(ndjson(*GRANTS, bad_entry))
    given = ("--events", events, "--consents", site.consents, "--deployment", site.deployment)
    outcome = command(ingest, *given)
    assert outcome.status == 0, outcome.err
    events.unlink()
    return site


@pytest.fixture
def site(rejected, tmp_path) -> Site:
    return rejected.copy(tmp_path / "site")


@pytest.fixture(scope="module")
def replayed(rejected, tmp_path_factory) -> tuple[Site, Outcome]:
    site = rejected.copy(tmp_path_factory.mktemp("replayed") / "site")
    outcome = site.replay("--mended", site.mended(), "--json")
    assert outcome.status == 0, outcome.err
    return site, outcome


def test_mended_lines_come_in_and_are_received_now(rejected, replayed):
    site, outcome = replayed
    assert rejected.rows("eu", "service") == 1 and rejected.rows("ru", "service") == 0
    assert site.rows("eu", "service") == 3 and site.rows("ru", "service") == 1
    batches = {told["region"]: told for told in json.loads(outcome.out)}
    assert batches["eu"]["lines"] == 3 and batches["eu"]["decoded"] == 2 and batches["eu"]["quarantined"] == 1
    assert batches["ru"]["lines"] == batches["ru"]["decoded"] == 1
    today = {date for (_, dataset, date, logical) in site.stored() if logical.startswith(batches["eu"]["batch"])}
    assert today <= {(datetime.now(UTC) - timedelta(days=n)).date().isoformat() for n in (0, 1)}


def test_what_was_sent_is_settled_and_what_was_rejected_again_waits(replayed):
    site, _ = replayed
    assert site.states() == {
        ("eu", "telemetry", "wrong_type", "replayed"): 2,
        ("ru", "telemetry", "wrong_type", "replayed"): 1,
        ("eu", "telemetry", "not_json", "kept"): 1,
        ("eu", "ledger", "wrong_type", "kept"): 1,
    }


def test_a_second_replay_changes_nothing(replayed, tmp_path):
    site = replayed[0].copy(tmp_path / "site")
    before = site.stored()
    again = site.replay("--mended", site.folder / "mended.jsonl", "--json")
    assert again.status == 0, again.err
    assert [told["lines"] for told in json.loads(again.out)] == [1]  # what is no JSON, still
    assert site.stored() == before
    assert site.states() == replayed[0].states()
    everything = site.replay()
    assert everything.status == 0 and site.stored() == before


def test_lines_that_were_not_mended_are_rejected_again_and_kept_once(site):
    before, states = site.stored(), site.states()
    outcome = site.replay("--region", "eu", "--reason", "wrong_type", "--json")
    assert outcome.status == 0, outcome.err
    (told,) = json.loads(outcome.out)
    assert (told["lines"], told["quarantined"]) == (2, 2)
    assert site.stored() == before and site.states() == states


def test_a_line_that_was_mended_badly_waits_as_what_it_is_now(site):
    outcome = site.replay("--region", "eu", "--mended", site.mended((b'"one"', b'"two"')))
    assert outcome.status == 0, outcome.err
    states = site.states()
    assert states["eu", "telemetry", "wrong_type", "replayed"] == states["eu", "telemetry", "wrong_type", "kept"] == 2
    out = site.folder / "again.jsonl"
    site.command("open", "--private-keys", site.folder / "private", "--region", "eu", "--out", out)
    assert out.read_text().count('\\"two\\"') == 2 and '\\"one\\"' not in out.read_text()


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("stop", ["withdraw", "erase"])
def test_who_has_left_since_does_not_come_back(site, replayed, stop):
    since = {"time": NOW.isoformat(), "received_time": NOW.isoformat()}
    ledger = [*GRANTS, entry(7, stop, LEFT, **since)]
    outcome = site.replay("--region", "eu", "--mended", site.mended(), ledger=ledger)
    assert outcome.status == 0, outcome.err
    stayed = replayed[0]
    assert stayed.rows("eu", "user_experience") == 3  # of three records, all with a grant
    assert site.rows("eu", "user_experience") == 2


@pytest.mark.parametrize("breaks", [(job, "run"), (replay_plans, "finish")], ids=["before", "after"])
def test_a_replay_that_broke_off_is_finished_first_under_the_same_names(site, breaks):
    mended = site.mended()
    where, what = breaks
    with mock.patch.object(where, what, side_effect=KeyboardInterrupt):
        assert site.replay("--region", "eu", "--mended", mended).status == 130
    (left,) = site.plans()
    assert not left.done
    mended.unlink()  # the plan has all that it takes
    outcome = site.replay("--region", "eu", "--reason", "wrong_type", "--json")
    assert outcome.status == 0, outcome.err
    (told,) = json.loads(outcome.out)
    assert told["batch"] == left.batch and told["decoded"] == 2
    assert site.rows("eu", "service") == 3
    (done,) = site.plans()
    assert done.done and (done.batch, done.received_ms) == (left.batch, left.received_ms)


def test_what_does_not_add_up_is_not_settled(site):
    with mock.patch.object(reconcile, "faults", return_value=["a fault"]):
        outcome = site.replay("--region", "ru", "--mended", site.mended())
    assert outcome.status == 3 and "does not reconcile: a fault" in outcome.err
    (left,) = site.plans("ru")
    assert not left.done and site.states()["ru", "telemetry", "wrong_type", "kept"] == 1


@pytest.mark.clause("1.1.1")
def test_no_line_is_in_the_pipeline_or_in_any_file(site):
    mended = site.mended()
    built = []
    with mock.patch.object(job, "build", side_effect=lambda _, job: built.append(job)):
        site.replay("--mended", mended)
    mended.unlink()
    for described in built:
        assert CANARY.encode() not in pickle.dumps(described)
    assert built and not [
        path for path in site.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


def test_lines_of_the_ledger_are_not_sent_but_advised_upon(replayed):
    _, outcome = replayed
    assert "eu: 1 rejected ledger lines are not sent: open them, mend them, and add them to the ledger" in outcome.err


def test_in_another_region_nothing_is_sent(site):
    before = site.stored()
    outcome = site.replay("--region", "us")
    assert outcome.status == 0 and "us: nothing to send" in outcome.err and site.stored() == before


class TestRefused:
    def replay(self, site: Site, *arguments: object) -> str:
        before = site.stored()
        outcome = site.replay(*arguments)
        assert outcome.status in (2, 4) and site.stored() == before and not site.plans()
        assert CANARY not in outcome.err
        (error,) = outcome.errors
        return error

    def test_without_a_quarantine_key(self, site):
        (site.folder / "keys/us/quarantine.pub").unlink()
        assert "region us has no quarantine key" in self.replay(site)

    def test_with_the_private_key_of_somebody_else(self, site):
        shutil.copy(site.folder / "private/us.pem", site.folder / "private/eu.pem")
        assert "opens none of the lines of eu" in self.replay(site, "--region", "eu")

    def test_without_the_ledger_of_today(self, site):
        outcome = site.command("replay", "--private-keys", site.folder / "private", "--no-ledger")
        assert outcome.status == 2 and "give --consents" in outcome.err

    def test_in_a_stream(self, site):
        assert "a replay is a bounded run" in self.replay(site, "--streaming")

    def test_in_a_region_of_another_cell(self, site):
        assert "this cell serves ru" in self.replay(site, "--cell", "ru", "--region", "eu")

    def test_lines_mended_into_another_cell(self, site):
        mended = site.mended((b'"DE"', b'"RU"'), (b'"one"', b"1"))
        said = self.replay(site, "--cell", "eu", "--mended", mended)
        assert "mended lines belong to regions that this cell does not serve" in said

    @pytest.mark.parametrize(
        "row",
        [
            b"no json " + CANARY.encode(),
            b'"row_id"',
            b'{"row_id":"00","line":"{}"}',
            b'{"row_id":7,"line":"{}"}',
            b'{"row_id":"%s","line":"{}\\n{}"}' % (b"00" * 16),
            b'{"row_id":"%s","line":"\\ud800"}' % (b"00" * 16),
            b'{"row_id":"%s","line":{}}' % (b"00" * 16),
        ],
    )
    def test_a_file_that_holds_no_mended_lines(self, site, row):
        path = site.folder / "mended.jsonl"
        path.write_bytes(b'{"row_id":"%s","line":"{}"}\n' % (b"00" * 16) + row)
        assert "mended.jsonl, line 2: give what `open` wrote" in self.replay(site, "--mended", path)

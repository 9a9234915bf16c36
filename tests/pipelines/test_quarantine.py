"""`douane quarantine`: keys, the list, and what is opened for whom."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from pipelines import ingest, quarantine
from pipelines.audit_rows import read_totals
from pipelines.deployment import load_deployment, prepare
from tests.stranger import Prepared, command, deploy, event, ndjson
from transforms.quarantine import PUBLIC_KEY

CANARY = "490154203237518"
NOT_JSON = f'{{"device":{{"imei":"{CANARY}"}},"account_country":"DE"'.encode()
WRONG_TYPE = json.dumps(event(2, schema_version="one", device={"imei": CANARY})).encode()
OF_RUSSIA = json.dumps(event(3, region="ru", event_time=f"{CANARY}")).encode()
NOWHERE = b"\xff\xfe" + CANARY.encode()
LEDGER = b'{"entry_id":"e","subject":{"type":"device","value":"1f3a5c7e9b0d2468"},"residency":{"account_country":"DE"}}'


def keygen(folder: Path, *more: str):
    return command(quarantine, "keygen", "--deployment", folder / "deployment.yaml", "--out", folder / "private", *more)


@pytest.fixture(scope="module")
def rejected(tmp_path_factory) -> Prepared:
    """A good event and four bad lines, and a ledger with a bad one, in a deployment whose regions have keys."""
    folder = tmp_path_factory.mktemp("rejected")
    deployment = deploy(folder, arrival="eu")
    assert keygen(folder).status == 0
    events, consents = folder / "events.ndjson", folder / "consents.ndjson"
    events.write_bytes(ndjson(event(1)) + b"\n".join([NOT_JSON, WRONG_TYPE, OF_RUSSIA, NOWHERE, NOT_JSON]))
    consents.write_bytes(LEDGER)
    outcome = command(ingest, "--events", events, "--consents", consents, "--deployment", deployment, "--json")
    assert outcome.status == 0, outcome.err
    events.unlink()
    consents.unlink()
    return Prepared(folder, outcome)


def opened(prepared: Prepared, *more: str, keys: Path | None = None):
    out = prepared.folder / "opened.jsonl"
    keys = keys or prepared.folder / "private"
    outcome = command(
        quarantine, "open", "--deployment", prepared.deployment, "--private-keys", keys, "--out", out, *more
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    out.unlink(missing_ok=True)
    return outcome, lines


def raw(row: dict) -> bytes:
    return row["line"].encode(errors="surrogateescape")


class TestKeygen:
    def test_each_region_has_a_pair_whose_private_half_is_elsewhere(self, rejected):
        for place in load_deployment(rejected.deployment).regions.values():
            private = rejected.folder / "private" / f"{place.region}.pem"
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
            assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
            assert (Path(place.keys.removeprefix("local:")) / PUBLIC_KEY).exists()

    def test_a_key_that_is_there_stays(self, tmp_path):
        deploy(tmp_path, ("eu", "us"))
        assert keygen(tmp_path, "--region", "eu").status == 0
        before = (tmp_path / "keys/eu" / PUBLIC_KEY).read_bytes()
        again = keygen(tmp_path)
        assert again.status == 0 and "eu: has a key already" in again.out and "us.pem opens" in again.out
        assert (tmp_path / "keys/eu" / PUBLIC_KEY).read_bytes() == before
        assert "Take" not in keygen(tmp_path).out

    @pytest.mark.parametrize("folder", ["keys/eu", "keys/eu/private", "stores/us", "stores/us/quarantine/private"])
    def test_private_keys_do_not_go_where_the_pipeline_reads(self, tmp_path, folder):
        deploy(tmp_path, ("eu", "us"))
        outcome = command(
            quarantine, "keygen", "--deployment", tmp_path / "deployment.yaml", "--out", tmp_path / folder
        )
        assert outcome.status == 2 and "keep private keys apart" in outcome.err
        assert not list(tmp_path.rglob("*.pem"))


class TestList:
    def test_counts_by_region_and_reason_without_private_keys(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        shutil.rmtree(copy.folder / "private")
        listed = json.loads(command(quarantine, "list", "--deployment", copy.deployment, "--json").out)
        found = {
            (r["region"], r["input"], r["stage"], r["reason"], r["state"]): (r["rows"], r["lines"]) for r in listed
        }
        assert found == {
            ("eu", "telemetry", "decode", "not_json", "kept"): (1, 2),
            ("eu", "telemetry", "decode", "wrong_type", "kept"): (1, 1),
            ("eu", "telemetry", "decode", "not_utf8", "kept"): (1, 1),
            ("ru", "telemetry", "decode", "bad_time", "kept"): (1, 1),
            ("eu", "ledger", "decode", "missing_field", "kept"): (1, 1),
        }
        assert {r["clause"] for r in listed} == {"1.1-a", "5.3"}

    def test_for_people_one_region(self, rejected):
        out = command(quarantine, "list", "--deployment", rejected.deployment, "--region", "ru").out.splitlines()
        assert [line.split() for line in out[1:-1]] == [
            ["ru", "telemetry", "decode", "bad_time", "5.3", "kept", "1", "1"]
        ]

    def test_nothing_rejected(self, tmp_path):
        deployment = deploy(tmp_path, ("eu",))
        prepare(load_deployment(deployment).place("eu"), lambda _: None)
        outcome = command(quarantine, "list", "--deployment", deployment, "--json")
        assert (outcome.status, json.loads(outcome.out)) == (0, [])

    def test_who_has_no_keys_is_told_so(self, tmp_path):
        outcome = command(quarantine, "list", "--deployment", deploy(tmp_path, ("eu",)))
        assert outcome.status == 2 and "no keystore" in outcome.err


class TestOpen:
    def test_who_has_the_private_keys_gets_the_lines_back(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        outcome, lines = opened(copy)
        assert outcome.status == 0, outcome.err
        assert {(row["region"], row["input"], row["reason"], raw(row)) for row in lines} == {
            ("eu", "telemetry", "not_json", NOT_JSON),
            ("eu", "telemetry", "wrong_type", WRONG_TYPE),
            ("eu", "telemetry", "not_utf8", NOWHERE),
            ("ru", "telemetry", "bad_time", OF_RUSSIA),
            ("eu", "ledger", "missing_field", LEDGER),
        }

    def test_only_what_is_asked_for(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        _, (row,) = opened(copy, "--region", "eu", "--reason", "wrong_type")
        assert raw(row) == WRONG_TYPE
        assert opened(copy, "--row-id", row["row_id"])[1] == [row]

    def test_every_opening_leaves_a_row_in_the_audit_of_the_region(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        opened(copy)
        places = load_deployment(copy.deployment).regions.values()
        assert read_totals(places).by("region", step="access", outcome="opened") == {"eu": 4, "ru": 1}

    def test_the_file_is_its_owners_alone_and_no_file_is_replaced(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        out = copy.folder / "opened.jsonl"
        keys = ("--private-keys", copy.folder / "private")
        give = ("open", "--deployment", copy.deployment, *keys, "--out", out)
        assert command(quarantine, *give).status == 0
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        before = out.read_bytes()
        again = command(quarantine, *give)
        assert again.status == 2 and "exists: move it away" in again.err and out.read_bytes() == before

    def test_another_key_opens_nothing(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        deploy(tmp_path / "other")
        assert keygen(tmp_path / "other").status == 0
        outcome, lines = opened(copy, keys=tmp_path / "other" / "private")
        assert outcome.status == 2 and not lines
        assert "opens none of the lines of ru: they were sealed to another key" in outcome.err

    def test_without_the_private_key_of_a_region_nothing_is_opened(self, rejected, tmp_path):
        copy = rejected.copy(tmp_path / "copy")
        (copy.folder / "private" / "ru.pem").unlink()
        outcome, lines = opened(copy)
        assert outcome.status == 2 and not lines and "ru.pem cannot be read" in outcome.err
        assert len(opened(copy, "--region", "eu")[1]) == 4

    @pytest.mark.parametrize(
        ("more", "said"),
        [(("--row-id", "xyz"), "hexadecimal"), (("--region", "mars"), "no region 'mars'")],
    )
    def test_what_is_wrong_is_said(self, rejected, more, said):
        outcome, lines = opened(rejected, *more)
        assert outcome.status == 2 and said in outcome.err and not lines


@pytest.mark.clause("1.1.1")
@pytest.mark.clause("6-ru")
def test_nothing_that_a_rejected_line_brought_is_in_any_file(rejected):
    files = [path for path in rejected.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert CANARY.encode() not in content, path
        assert b"account_country" not in content, path
    assert CANARY not in rejected.outcome.out + rejected.outcome.err


def test_help_names_the_commands():
    outcome = command(quarantine, "--help")
    assert outcome.status == 0
    assert all(f"\n    {name} " in outcome.out for name in ("keygen", "list", "open", "replay"))

"""`douane check`: what it prints, its exit status, and that the main job is held to the same."""

import json
import shutil

import pytest

from pipelines import check, ingest
from schemas.pack_files import SHIPPED
from tests.stranger import REGIONS, deploy


@pytest.fixture
def ran(capsys):
    """Runs a command; its exit status, and the lines on standard output and on standard error."""

    def run(command, *arguments):
        status = command.main([*map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return run


@pytest.fixture
def broken(tmp_path):
    """The shipped pack with two faults that only rules over the whole see."""
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    rules = (pack / "purposes.yaml").read_text()
    rules = rules.replace("    identifiers: {resettable_identifier: sealed}\n", "")
    (pack / "purposes.yaml").write_text(
        rules.replace("    profiling: true\n    minors: excluded", "    profiling: true\n    minors: included", 1)
    )
    return pack


FAULTS = [
    "purposes.yaml:{}: purposes.push.columns.device.fcm_token: [1.2-push] push holds device.fcm_token (sealed), and "
    "`identifiers` does not name resettable_identifier; drop it, or name it there if 1.2-push does",
    "purposes.yaml:{}: purposes.promotion.minors: [7] promotion is profiling, and minors are included; "
    "write `minors: excluded`",
]


def faults(pack):
    lines = (pack / "purposes.yaml").read_text().splitlines()
    numbers = [lines.index("      device.fcm_token: sealed"), lines.index("    profiling: true") + 1]
    return [fault.format(number + 1) for fault, number in zip(FAULTS, numbers, strict=True)]


def test_the_shipped_pack_needs_no_change(ran):
    assert ran(check) == (0, ["policy pack 2021-01-15: 17 purposes in 6 regions, nothing to change"], [])


def test_each_fault_is_a_line(ran, broken):
    assert ran(check, broken) == (2, faults(broken), [f"2 to change in policy pack {broken}"])


def test_the_same_as_json(ran, broken):
    status, printed, errors = ran(check, broken, "--json")
    told = json.loads("\n".join(printed))
    assert (status, errors, told["pack"]) == (2, [], str(broken))
    assert told["findings"][1] == {
        "rule": "profiling_of_minors",
        "place": "purposes.promotion.minors",
        "clause": "7",
        "message": "promotion is profiling, and minors are included",
        "remedy": "write `minors: excluded`",
        "at": faults(broken)[1].partition(": ")[0],
    }
    status, printed, _ = ran(check, "--json")
    assert (status, json.loads("\n".join(printed))) == (0, {"pack": "2021-01-15", "findings": []})


def test_a_file_that_cannot_be_read_is_a_fault(ran, broken):
    (broken / "sharing.yaml").write_text("transfers: }")
    status, printed, _ = ran(check, broken)
    assert (status, len(printed)) == (2, 1) and printed[0].startswith("sharing.yaml:1: did not find")


def test_a_pack_that_is_not_there(ran, tmp_path):
    status, printed, errors = ran(check, tmp_path / "none")
    assert (status, printed) == (2, [])
    assert errors == [
        f"douane check: policy pack '{tmp_path / 'none'}': no such folder with YAML files; shipped packs: 2021-01-15"
    ]
    status, printed, errors = ran(check, tmp_path / "none", "--json")
    (found,) = json.loads("\n".join(printed))["findings"]
    assert (status, found["rule"], errors) == (2, "pack", [])
    assert found["message"].endswith("shipped packs: 2021-01-15") and found["remedy"]


@pytest.mark.clause("6-dc")
def test_a_deployment_is_held_to_the_pack(ran, tmp_path):
    assert ran(check, "--deployment", deploy(tmp_path / "whole"))[0] == 0
    path = deploy(tmp_path / "part", regions=[region for region in REGIONS if region != "ru"])
    status, printed, _ = ran(check, "--deployment", path)
    assert (status, printed) == (
        2,
        [f"regions.ru: [6-dc] deployment {path} has no place for ru; give it a store and keys of its own"],
    )


@pytest.mark.clause("6-cn")
def test_two_regions_that_share_a_store_or_keys(ran, tmp_path):
    path = tmp_path / "deployment.yaml"
    for shared in ({"store": "cn", "keys": "local:k/eu"}, {"store": "eu", "keys": "local:k/cn"}):
        path.write_text(json.dumps({"regions": {"cn": {"store": "cn", "keys": "local:k/cn"}, "eu": shared}}))
        status, printed, _ = ran(check, "--json", "--deployment", path)
        (found,) = json.loads("\n".join(printed))["findings"]
        assert (status, found["rule"], found["clause"]) == (2, "deployment", "6-dc")
        assert found["message"].startswith(f"deployment {path}: regions cn and eu share ")


def test_the_main_job_is_held_to_the_same(ran, tmp_path, broken):
    """Before anything is read or written: neither the events nor the ledger are there."""
    given = ["--events", tmp_path / "none", "--consents", tmp_path / "none", "--deployment", deploy(tmp_path)]
    before = sorted(tmp_path.rglob("*"))
    status, printed, errors = ran(ingest, *given, "--policy", broken)
    assert (status, printed, errors) == (
        2,
        [],
        [f"douane ingest: policy pack '{broken}': {'; '.join(faults(broken))}"],
    )
    assert sorted(tmp_path.rglob("*")) == before

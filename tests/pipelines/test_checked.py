"""What `douane check` tells beside faults: the policy in force, coverage and differences, as text and as JSON."""

import json
import shutil

import pytest

from pipelines import check
from pipelines.checked import coverage_lines, effective_lines
from schemas import coverage
from schemas.clauses import clauses
from schemas.in_force import told
from schemas.pack_files import DEFAULT_PACK, SHIPPED, load_pack

PACK = load_pack()


@pytest.fixture
def run(capsys):
    """Runs the command: its status, and what it printed."""

    def run(*arguments):
        status = check.main([*map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def edited(tmp_path):
    """A copy of the shipped pack with one replacement."""

    def edit(file, old, new):
        folder = tmp_path / "edited"
        shutil.copytree(SHIPPED / DEFAULT_PACK, folder)
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return folder

    return edit


# --- --effective ---


@pytest.mark.parametrize("region", PACK.regions)
@pytest.mark.parametrize("width", [80, 200])
def test_the_policy_in_force_keeps_to_the_terminal(region, width):
    lines = effective_lines(told(PACK, None, region), width)
    assert all(len(line) <= width for line in lines)
    starts = {line.split()[0] for line in lines if line.startswith("  ")}
    assert starts >= set(PACK.purposes)


def test_the_policy_in_force_as_json(run):
    status, out, _ = run("--effective", "--region", "cn", "--json")
    held = json.loads(out)
    assert (status, held["region"], held["service"]) == (0, "cn", None)
    purposes = {each["purpose"]: each for each in held["purposes"]}
    assert list(purposes) == list(PACK.purposes)
    assert {name: each["basis"] for name, each in purposes.items()} == {n: str(PACK.basis(n, "cn")) for n in purposes}
    assert purposes["service"]["events"]["session"]["session.events"] == "bucket of 100"
    assert (
        purposes["promotion"]["granted_by"] == ["device", "account"]
        and purposes["promotion"]["opens"] == "after a grant"
    )


def test_a_region_that_is_not_there_names_those_that_are(run):
    status, out, err = run("--effective", "--region", "br")
    assert (status, out) == (2, "")
    assert f"no region 'br'; it has {', '.join(PACK.regions)}" in err


def test_a_service_without_a_policy_of_its_own_follows_the_base(run):
    status, out, _ = run("--effective", "--region", "eu", "--service", "nothing.of.that.name")
    assert status == 0
    assert "for service nothing.of.that.name, which has no policy of its own and follows the base" in out
    assert "for every service without a policy of its own" in run("--effective", "--region", "eu")[1]


# --- --coverage ---


def test_coverage_of_the_shipped_pack_passes(run):
    status, out, err = run("--coverage")
    assert (status, err) == (0, "")
    told_of = {line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")}
    assert told_of >= set(clauses())
    missing = {each.clause for each in PACK.not_yet}
    assert out.endswith(
        f"{len(clauses())} clauses, of which {len(missing)} are not built yet, wholly or in part; 0 to change\n"
    )


def test_coverage_as_json(run):
    status, out, _ = run("--coverage", "--json")
    held = json.loads(out)
    assert (status, held["tests"], held["findings"]) == (0, True, [])
    assert [each["clause"] for each in held["clauses"]] == list(clauses())
    assert any(each["not_yet"] for each in held["clauses"]) and all(each["duty"] for each in held["clauses"])


def test_a_clause_that_is_not_in_the_list_fails(run, edited):
    pack = edited("purposes.yaml", "clause: 1.2-push", "clause: 1.2-pull")
    status, out, _ = run("--coverage", pack)
    assert status == 2
    assert "[1.2-pull] purposes.push cites a clause that is not in the list" in out
    assert json.loads(run("--coverage", pack, "--json")[1])["findings"][0]["clause"] == "1.2-pull"


def test_without_a_folder_of_tests_it_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr(check, "markers", lambda: coverage.markers(tmp_path / "tests"))
    status, out, _ = run("--coverage")
    assert status == 0 and "There is no folder of tests beside the package" in out and "test_" not in out


@pytest.mark.parametrize("width", [80, 200])
def test_coverage_keeps_to_the_terminal(width):
    proven = (*coverage.markers(), coverage.Cited("", "tests/test_x.py::marked", "tests/test_x.py:7"))
    rows, _ = coverage.coverage(PACK, (), proven)
    lines = coverage_lines(rows, proven, width)
    assert all(len(line) <= width for line in lines)
    assert "not listed, since they compute their clause" in " ".join(lines) and "tests/test_x.py:7" in lines[-1]


# --- --diff ---


def test_a_difference_is_grouped_and_is_no_failure(run, edited):
    new = edited("purposes.yaml", "retention_days: 90", "retention_days: 30")
    status, out, err = run("--diff", DEFAULT_PACK, new)
    assert (status, err) == (0, "")
    assert "\nOPENS: 0\n\nCLOSES: 1\n  - security keeps rows 30 days instead of 90\n\nCHANGES: 0\n" in out
    held = json.loads(run("--diff", new, DEFAULT_PACK, "--json")[1])
    assert (held["old"], held["new"], held["closes"], held["changes"]) == (str(new), DEFAULT_PACK, [], [])
    (change,) = held["opens"]
    assert change == {
        "about": "security", "what": "keeps rows 90 days instead of 30", "regions": [], "service": None, "but_for": [],
        "text": "security keeps rows 90 days instead of 30",
    }  # fmt: skip


def test_no_difference(run):
    assert run("--diff", DEFAULT_PACK, DEFAULT_PACK)[:2] == (0, "policy packs 2021-01-15 and 2021-01-15 say the same\n")


def test_a_pack_that_cannot_be_made_is_told_first(run, edited):
    broken = edited("purposes.yaml", "retention_days: 90", "retention_days: none")
    for arguments in (
        ("--diff", DEFAULT_PACK, broken),
        ("--coverage", broken),
        ("--effective", "--region", "eu", broken),
    ):
        status, out, _ = run(*arguments)
        assert status == 2 and out.startswith("purposes.yaml:") and "retention_days" in out


# --- flags ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["--effective"],
        ["--region", "eu"],
        ["--service", "news"],
        ["--coverage", "--region", "eu"],
        ["--coverage", "--effective", "--region", "eu"],
        ["--coverage", "--diff", "a", "b"],
        ["--diff", "a"],
        ["--diff", "a", "b", "c"],
        ["--cover"],
    ],
)
def test_flags_that_do_not_go_together(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        check.main(arguments)
    assert error.value.code == 2 and "usage: douane check" in capsys.readouterr().err

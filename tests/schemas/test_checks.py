"""Each rule over packs finds its fault, says it in one message with file, line and clause, and nothing else."""

import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from schemas import check_identifiers
from schemas.check_purposes import retention_too_long
from schemas.checks import RULES, findings
from schemas.fields import EVENT_FIELDS
from schemas.findings import Finding, PackError
from schemas.overlays import Overlay
from schemas.pack_files import SHIPPED, check_pack, load_pack
from tests.editions import bare
from tests.models import put

GOOD = SHIPPED / "2021-01-15"
TODAY = date(2024, 2, 29)
CATALOGUE = yaml.safe_load(Path(__file__).with_name("broken_packs.yaml").read_text(encoding="utf-8"))
BROKEN = [(rule, each) for rule, packs in CATALOGUE.items() for each in packs]
NAMES = {rule.__name__ for rule in RULES}


def edited(folder: Path, broken: dict) -> Path:
    """The shipped pack with the catalogue's fault."""
    shutil.copytree(GOOD, folder)
    file = folder / broken["file"]
    text = file.read_text(encoding="utf-8")
    start = text.index(broken.get("after", ""))
    kept, changed = text[:start], text[start:]
    for old, new in broken["edits"]:
        assert old in changed, old
        changed = changed.replace(old, new, 1)
    file.write_text(kept + changed, encoding="utf-8")
    for name, whole in broken.get("also", {}).items():
        (folder / name).write_text(whole, encoding="utf-8")
    return folder


def said(folder: Path, broken: dict) -> str:
    """The message that the catalogue expects, with its line."""
    if "line" not in broken:
        return broken["said"]
    file, behind = broken.get("told_in", (broken["file"], broken.get("after", "")))
    text = (folder / file).read_text(encoding="utf-8")
    found = text.index(broken["line"], text.index(behind))
    return broken["said"].replace("{at}", f"{file}:{text.count(chr(10), 0, found) + 1}")


def marked(number: int, rule: str, broken: dict):
    """One case, which proves the clause that its message names."""
    clause = re.search(r": \[([^]]+)\] ", broken["said"])
    marks = [pytest.mark.clause(clause[1])] if rule in NAMES else []
    return pytest.param(rule, broken, id=f"{number}-{rule}", marks=marks)


@pytest.mark.parametrize("rule, broken", [marked(number, *each) for number, each in enumerate(BROKEN)])
def test_a_fault_gets_one_message(tmp_path, rule, broken):
    pack = edited(tmp_path / "pack", broken)
    _, found = check_pack(str(pack), TODAY)
    assert [str(each) for each in found] == [said(pack, broken)]
    assert found[0].rule == rule


def test_the_shipped_pack_has_no_fault():
    assert check_pack(today=TODAY)[1] == ()


def test_the_catalogue_is_large_and_no_rule_is_without_a_broken_pack():
    assert len(BROKEN) >= 70
    untold = NAMES - CATALOGUE.keys()
    assert untold == {"field_without_category"}  # no pack can break it


def test_every_fault_of_a_rule_has_a_clause_and_says_what_to_change():
    assert all(re.search(r": \[\d[^]]*\] .*; .", broken["said"]) for rule, broken in BROKEN if rule in NAMES)


@pytest.mark.clause("0-a")
@pytest.mark.parametrize("lacking", [{"category": None}, {"category": "whatever"}, {"sensitivity": None}])
def test_a_field_without_category_or_sensitivity(monkeypatch, lacking):
    wrong = replace(EVENT_FIELDS[6], **lacking)
    monkeypatch.setattr(check_identifiers, "EVENT_FIELDS", (*EVENT_FIELDS[:6], wrong))
    (found,) = check_pack(today=TODAY)[1]
    assert str(found) == (
        "pack: [0-a] the field service lacks a data category or a sensitivity; give it both in schemas/fields.py"
    )


@pytest.mark.clause("4.4-a")
def test_a_region_that_keeps_less_is_judged_by_what_it_keeps():
    pack = load_pack()

    def told(days: int) -> list[Finding]:
        """Of promotion, which is kept for 180 days, and for 90 in ru, where no more than that is allowed."""
        limited = put(pack, ("regions", "ru", "longest_days"), {"any": days})
        return [each for each in retention_too_long(limited, TODAY) if "promotion" in each.place]

    assert (pack.purposes["promotion"].retention_days, told(90)) == (180, [])
    (found,) = told(89)
    assert found.place == ("by_region", "ru", "purposes", "promotion", "retention_days")
    assert found.remedy == "write `retention_days: 89`"
    pack = bare()
    (found,) = told(90)
    assert found.place == ("purposes", "promotion", "retention_days")
    pack = put(load_pack(), ("by_region", "ru"), Overlay(clause="6-ru", closed=("promotion",)))
    assert told(1) == []


@pytest.mark.clause("3.2")
def test_a_grant_holds_until_the_end_of_its_last_day(tmp_path):
    lapsing = next(each for each in CATALOGUE["way_past_its_date"] if "2021-06-30" in each["said"])
    pack = str(edited(tmp_path / "pack", lapsing))
    assert check_pack(pack, date(2021, 6, 30))[1] == ()
    assert [each.rule for each in check_pack(pack, date(2021, 7, 1))[1]] == ["way_past_its_date"]
    with pytest.raises(PackError, match="is past"):
        load_pack(pack)


def test_rules_do_not_depend_on_each_other():
    pack = load_pack()
    assert [*findings(pack, TODAY)] == []
    for rule in RULES:
        assert [*rule(pack, TODAY)] == []


def test_a_message_is_one_line_that_no_terminal_acts_on():
    told = str(Finding("form", ("purposes", "x\x1b[2J\n" + "y" * 500), "1.1-a", "wrong\nhere", "mend\tit"))
    assert told.isprintable() and len(told) < 200

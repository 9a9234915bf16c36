"""What a pack says is held by code is held by a module that is there; what it cannot say at all."""

import sys
from datetime import date
from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.held_by_code import HeldByCode, without_module
from schemas.pack_files import load_pack
from schemas.sharing import Recipient

PACK = load_pack()
TODAY = date(2021, 3, 1)


def held_by(module):
    return PACK.model_copy(update={"held_by_code": (HeldByCode(clause="0-a", module=module, how="somehow"),)})


def test_every_module_of_the_shipped_pack_is_there():
    assert PACK.held_by_code and not list(without_module(PACK, TODAY))


def test_a_module_that_is_not_there_is_a_finding():
    (finding,) = without_module(held_by("transforms.magic"), TODAY)
    assert finding.place == ("held_by_code", 0, "module") and finding.clause == "0-a"
    assert "transforms.magic is no module" in finding.message and "not_yet" in finding.remedy


def test_looking_for_a_module_imports_none():
    sys.modules.pop("pipelines.sweep", None)
    assert not list(without_module(held_by("pipelines.sweep"), TODAY))
    assert "pipelines.sweep" not in sys.modules


@pytest.mark.parametrize("module", ["os.path", "schemas", "schemas.fields.x", "docs/dataflow.md", "schemas.Fields", ""])
def test_only_modules_of_the_project_hold_anything(module):
    with pytest.raises(ValidationError):
        held_by(module)


@pytest.mark.clause("3-sale")
@pytest.mark.clause("8-attribution")
def test_there_is_no_kind_of_recipient_to_whom_data_is_sold():
    assert set(get_args(Recipient.model_fields["kind"].annotation)) == {"group", "processor", "named_by_person"}

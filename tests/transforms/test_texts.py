"""Free text at the border: scrubbed, coarse, and never longer than the pack says."""

import pyarrow as pa
import pytest

from schemas.pack_files import pack_content
from schemas.policy import Pack
from transforms.texts import Texts


def limits(**own):
    return Pack.model_validate(pack_content()).limits.model_copy(update=own)


@pytest.mark.clause("1.1.2-log")
@pytest.mark.parametrize(("unit", "left"), [("day", "2026-10-17"), ("hour", "2026-10-17 09h")])
def test_a_text_is_scrubbed_and_its_times_are_cut_to_the_unit_of_the_pack(unit, left):
    text, found = Texts(limits(text_time=unit)).clean(pa.array(["2026-10-17 09:31:07.123 by a@b.cc", None]))
    assert text.to_pylist() == [f"{left} by <EMAIL>", None]
    assert [(each.name, each.rows.tolist()) for each in found] == [("email", [0])]


def test_texts_that_repeat_are_each_told_of():
    mail, clean = "a@b.cc and c@d.ee", "nothing"
    text, found = Texts(limits()).clean(pa.array([clean, mail, None, mail, clean]))
    assert text.to_pylist() == [clean, "<EMAIL> and <EMAIL>", None, "<EMAIL> and <EMAIL>", clean]
    assert [(each.name, each.rows.tolist(), each.counts.tolist()) for each in found] == [("email", [1, 3], [2, 2])]
    assert Texts(limits()).clean(pa.array([None, None], pa.string()))[0].null_count == 2


def test_what_coarse_tags_make_too_long_is_cut_and_counted():
    text, found = Texts(limits(text_bytes=40)).clean(pa.array([None, "Foo@4f2a " * 4, "Foo"]))
    assert all(each is None or len(each) <= 40 for each in text.to_pylist())
    assert text.to_pylist()[::2] == [None, "Foo"]
    assert [(each.name, each.rows.tolist()) for each in found] == [("cut", [1])]

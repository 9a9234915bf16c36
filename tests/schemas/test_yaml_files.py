"""YAML that is hostile, or no YAML at all, gets a clear error in under a second."""

import os
import shutil
import time
from pathlib import Path

import pytest

from schemas.pack_files import SHIPPED, check_pack, load_pack
from schemas.yaml_files import YamlFault, read_document

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
ENDLESS = ":1: more than 32 levels deep, or 50,000 parts, with what stands behind aliases; shorten it"
HOSTILE = {
    "anchors that multiply": (BOMB, ENDLESS),
    "an alias to itself": ("a: &x [*x]\n", ENDLESS),
    "a mapping in itself": ("a: &x {b: *x}\n", ENDLESS),
    "an alias to nothing": ("a: *x\n", ":1: found undefined alias"),
    "an anchor as a key": ("? &x [a]\n: b\n", ":1: a key must be one word"),
    "a merge": ("a: &x {b: 1}\nc: {<<: *x}\n", ":2: `<<` is not read here; write it out"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", ":3: key 'a' given twice; keep one"),
    "a long key twice": (
        f"? {'k' * 9000}\n: 1\n? {'k' * 9000}\n: 2\n",
        f":3: key '{'k' * 60}...' given twice; keep one",
    ),
    "an object": (
        "a: !!python/object/apply:os.system [true]\n",
        ":1: tags are not read here; write the value without `!`",
    ),
    "a tag": ("a: 1\nb: !!timestamp x\n", ":2: tags are not read here; write the value without `!`"),
    "an empty number": ('a: !!int ""\n', ":1: tags are not read here; write the value without `!`"),
    "a tag of its own": ("a: !mine {b: 1}\n", ":1: tags are not read here; write the value without `!`"),
    "brackets": ("a: " + "[" * 100_000, ENDLESS),
    "braces": ("{a: " * 50_000, ENDLESS),
    "dashes": ("- " * 100_000, ENDLESS),
    "two documents": ("a: 1\n---\nb: 2\n", ":2: a second document begins; keep one in a file"),
    "a NUL": ("a: 1\nb: \0\n", ":2: control characters are not allowed; remove what is no text"),
    "an escape of a terminal": ("a: \x1b[2J\n", ":1: control characters are not allowed; remove what is no text"),
    "bytes that are no text": (b"a: 1\nb: \xff\n", ":2: not UTF-8; save it as UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), ":1: not UTF-8; save it as UTF-8"),
    "a tab": ("a:\n\t- 1\n", ":2: found character that cannot start any token"),
    "an open quote": ('a: "b\n' + "c: 1\n" * 1000, ":1002: found unexpected end of stream"),
    "a number without end": (f"a: 1\nb: {'9' * 5000}\n", f":2: {'9' * 60}... is read as a number; write it in decimal"),
    "sixties without end": (
        "a: 1" + ":30" * 60_000,
        ":1: 1:30:30:30",
    ),
    "sixties that overflow": (
        "a: 1" + ":30" * 500 + ".5",
        ":1: 1:30:30:30",
    ),
    "a number that is another": (
        "a: 030\n",
        ":1: 030 is read as a number; write it in decimal digits, or put it in quotes",
    ),
    "minutes": ("a: 1:30\n", ":1: 1:30 is read as a number; write it in decimal digits, or put it in quotes"),
    "a day that is none": ("a: 1\nb: 2021-02-30\n", ":2: 2021-02-30 is read as a date and is none; correct it, or put"),
    "a zone that is none": ("a: 2021-01-15T10:00:00+99:99\n", ":1: 2021-01-15T10:00:00+99:99 is read as a date and is"),
    "a number as a key": ("a: 1\n1: 2\n", ":2: key '1' is read as no word; put it in quotes"),
    "no as a key": ("a: {no: 2}\n", ":1: key 'no' is read as no word; put it in quotes"),
    "many parts": ("a: [" + "0," * 60_000 + "]\n", ENDLESS),
}


@pytest.fixture
def quick():
    began = time.process_time()
    yield
    assert time.process_time() - began < 3  # what is not refused in time takes minutes


@pytest.mark.parametrize("content, said", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_where_it_stands(tmp_path, quick, content, said):
    file = tmp_path / "policy.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(YamlFault) as refusal:
        read_document(file, "policy.yaml")
    assert str(refusal.value).startswith("policy.yaml" + said)
    assert len(str(refusal.value)) < 300
    _, (found,) = check_pack(str(tmp_path))
    assert found.rule == "yaml" and str(found).startswith("policy.yaml" + said)


def test_a_hundred_megabytes(tmp_path, quick):
    with (tmp_path / "policy.yaml").open("wb") as file:
        file.truncate(100 << 20)
    _, (found,) = check_pack(str(tmp_path))
    assert str(found) == "policy.yaml: larger than 256 KiB, which no file written by hand is; split it"


def test_what_is_no_file(tmp_path, quick):
    """Nobody writes into the pipe: it would be waited for without end."""
    pipe, folder, link = (tmp_path / name for name in ("pipe", "folder", "link"))
    for each in (pipe, folder, link):
        each.mkdir()
    os.mkfifo(pipe / "policy.yaml")
    (folder / "policy.yaml").mkdir()
    (link / "policy.yaml").symlink_to("/dev/zero")
    for each in (pipe, folder, link):
        _, (found,) = check_pack(str(each))
        assert str(found) == "policy.yaml: not a file with text; put one there"


@pytest.mark.clause("0-b")
@pytest.mark.parametrize(
    "stray, said",
    [
        ("services/shop.yml", "files of a pack end in .yaml, and no other is read; rename it"),
        ("purposes.YAML", "files of a pack end in .yaml, and no other is read; rename it"),
        ("service/shop.yaml", "folders of a pack are regions and services, and no other is read; move it"),
        ("regions/more/cn.yml", "folders of a pack are regions and services, and no other is read; move it"),
    ],
)
def test_an_overlay_that_nobody_would_read_is_refused(tmp_path, stray, said):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / stray).parent.mkdir(exist_ok=True)
    (pack / stray).write_text("clause: 0-b\nclosed: all\n")
    _, (found,) = check_pack(str(pack))
    assert str(found) == f"{stray if 'files' in said else Path(stray).parent}: {said}"


def test_what_cannot_be_opened_is_a_fault(tmp_path):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / "more.yaml").symlink_to("/nowhere/at/all")
    _, (found,) = check_pack(str(pack))
    assert str(found) == f"{pack / 'more.yaml'}: cannot be read: No such file or directory; mend it"
    (pack / "more.yaml").unlink()
    shutil.rmtree(pack / "regions")
    (pack / "regions").write_text("no folder")
    _, (found,) = check_pack(str(pack))
    assert str(found) == f"{pack / 'regions'}: cannot be read: Not a directory; mend it"


def test_an_empty_overlay_is_told_with_its_file(tmp_path):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / "regions" / "ru.yaml").write_text("")
    _, (found,) = check_pack(str(pack))
    assert str(found) == "regions/ru.yaml:1: by_region.ru: nothing stands here; write a value, or drop the key"


def test_a_byte_order_mark_does_no_harm(tmp_path):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    for file in pack.glob("*.yaml"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_pack(str(pack)) == load_pack()


WRONG_TYPES = {
    "a list for a mapping": ("[a, b]", "expected a mapping at the top"),
    "nothing": ("# only a remark", "expected a mapping at the top"),
    "a word for a mapping": ("limits: many", "limits: a mapping of keys is expected here"),
    "a list for purposes": ("purposes: [push]", "purposes: a mapping of keys is expected here"),
    "a mapping for a list": ("gates: {a: 1}", "gates: a list is expected here"),
    "numbers as keys": ("purposes: {1: {}}", "key '1' is read as no word; put it in quotes"),
    "a path as a name": ("purposes: {../../etc: {}}", "purposes.../../etc: String should match pattern"),
    "a huge whole number": (f"limits: {{oldest_days: 1{'0' * 20}}}", "limits.oldest_days: Input should be less than"),
    "a number with a power": ("statistics: {delta: 1e-8}", "a valid number; write digits without quotes; 1e-8 is text"),
    "a number in quotes, of two kinds": (
        "statistics: {grace_hours: '4'}",
        "statistics.grace_hours: Input should be a valid",
    ),
    "nothing for a number": (
        "limits: {text_bytes: }",
        "limits.text_bytes: nothing stands here; write a value, or drop",
    ),
    "nothing for a clause": (
        "limits: {clause: }",
        "limits.clause: nothing stands here; write a value, or drop the key",
    ),
    "a number for a day": ("effective: 20210115", "effective: a day is expected here, such as 2021-01-15"),
    "infinity": ("statistics: {epsilon: .inf}", "statistics.epsilon: Input should be a finite number"),
    "yes for a number": ("limits: {text_bytes: yes}", "limits.text_bytes: Input should be a valid integer"),
    "a day for a number": ("limits: {text_bytes: 2021-01-15}", "limits.text_bytes: Input should be a valid integer"),
    "minutes for a number": ('limits: {text_bytes: "8"}', "limits.text_bytes: Input should be a valid integer"),
}


@pytest.mark.parametrize("content, said", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_told_with_its_place(tmp_path, quick, content, said):
    (tmp_path / "policy.yaml").write_text(content)
    _, found = check_pack(str(tmp_path))
    assert any(said in str(each) and str(each).startswith("policy.yaml") for each in found)


def test_thousands_of_faults_are_not_all_told(tmp_path, quick):
    names = [f"n{number}" for number in range(10_000)]
    (tmp_path / "policy.yaml").write_text("\n".join(f"{name}: 1" for name in names))
    _, found = check_pack(str(tmp_path))
    assert len(found) == 100


def test_an_overlay_that_cannot_be_read_is_told_from_others_of_its_name(tmp_path):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / "services" / "cn.yaml").write_text("a: [")
    (pack / "regions" / "cn.yaml").write_text("a: [\n\n  }")
    _, (found,) = check_pack(str(pack))
    assert found.at == "regions/cn.yaml:3"
    Path(pack / "regions" / "cn.yaml").unlink()
    _, (found,) = check_pack(str(pack))
    assert found.at.startswith("services/cn.yaml:")


def test_each_fault_of_an_overlay_is_told_where_it_stands(tmp_path):
    """Also of a service with dots in its name."""
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / "services" / "com.shop.app.yaml").write_text(
        "clause: 0-b\n"
        "purposes:\n"
        "  security:\n"
        "    clause: 0-b\n"
        "    columns:\n"
        "      ip: absent\n"
        "      device.model: absent\n"
        "    event_time: second\n"
    )
    _, found = check_pack(str(pack))
    assert [(each.at, each.message.partition(",")[0]) for each in found] == [
        ("services/com.shop.app.yaml:7", "the base does not give the purpose this field"),
        ("services/com.shop.app.yaml:8", "second is wider than the base's minute"),
    ]


@pytest.mark.parametrize(
    "said",
    ["retention_days: yes", "retention_days: '30'", "columns: {ip: {bucket: yes}}", "columns: {ip: {bucket: 5, x: 1}}"],
)
def test_what_an_overlay_says_is_of_the_right_type(tmp_path, said):
    pack = shutil.copytree(SHIPPED / "2021-01-15", tmp_path / "pack")
    (pack / "regions" / "cn.yaml").write_text(f"clause: 6-cn\npurposes:\n  security: {{clause: 6-cn, {said}}}\n")
    _, (found,) = check_pack(str(pack))
    assert (found.rule, found.at, found.clause) == ("form", "regions/cn.yaml:3", "6-cn")

"""Files to spans to blocks: every line once, whatever the cuts; and clear errors for what cannot be read."""

import gzip
import os
import random
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import blocks
from pipelines.blocks import Span, check_unchanged, expand, input_id, read_blocks, spans, states
from pipelines.errors import InputError
from schemas.shape import MAX_LINE_BYTES
from transforms.block import few_lines

PACK = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


def lines_of(paths):
    return [
        line for span in spans(paths) for block in read_blocks(span) for line in block.split(b"\n")[: _whole(block)]
    ]


def _whole(block):
    return -1 if block.endswith(b"\n") else None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"\r")), max_size=20),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_any_cut_yields_the_same_lines(tmp_path_factory, lines, end, block_bytes, search_bytes):
    text = b"".join(line + b"\n" for line in lines)
    text = text if end else text.removesuffix(b"\n")
    path = tmp_path_factory.mktemp("cut") / "a.ndjson"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        patch.setattr(blocks, "_SEARCH_BYTES", search_bytes)
        pieces = [block for span in spans([str(path)]) for block in read_blocks(span)]
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("block_bytes", [7, 1000, 1 << 24])
def test_compressed(tmp_path, monkeypatch, suffix, block_bytes):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    first, second = b'{"a":1}\r\n{"b"', b":2}\n\n{}" + random.Random(1).randbytes(5000).replace(b"\n", b"")
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(PACK[suffix](first) + PACK[suffix](b"") + PACK[suffix](second))
    assert lines_of([str(path)]) == (first + second).split(b"\n")
    path.write_bytes(b"")
    assert lines_of([str(path)]) == []


@pytest.mark.parametrize("suffix", PACK)
def test_truncated_and_corrupt(tmp_path, suffix):
    lines = [b'{"n":%d,"x":"%s"}' % (i, random.Random(i).randbytes(200).hex().encode()) for i in range(3000)]
    packed = PACK[suffix](b"\n".join(lines) + b"\n")
    path = tmp_path / f"canary.ndjson{suffix}"
    for damaged in (packed[: len(packed) // 2], packed[:-1], packed + b"garbage"):
        path.write_bytes(damaged)
        found = []
        with pytest.raises(InputError, match=str(path)) as caught:
            for block in read_blocks(Span(str(path), 0, None)):
                assert block.endswith(b"\n")
                found += block.splitlines()
        assert found == lines[: len(found)] and len(found) > 500
        assert caught.value.__cause__ is None and "{" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", *PACK])
def test_a_line_that_never_ends(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 17)
    text = b"first\n" + b"x" * (1 << 20) + b"\nlast"
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(PACK.get(suffix, bytes)(text))
    first, long, last = lines_of([str(path)])
    assert (first, last) == (b"first", b"last")
    assert MAX_LINE_BYTES < len(long) <= 1 << 20 and set(long) == {ord("x")}
    if not suffix:
        assert len(long) <= 1 << 17


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_does_not_fill_the_memory(tmp_path, suffix):
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(PACK[suffix](b"\0" * (1 << 26)))
    with path.open("rb") as file:
        assert max(map(len, blocks._members(file, blocks._decompressor(str(path))))) <= 1 << 25
    (block,) = read_blocks(Span(str(path), 0, None))
    assert MAX_LINE_BYTES < len(block) <= 3 * blocks.BLOCK_BYTES


@pytest.mark.parametrize("suffix", ["", *PACK])
def test_a_bomb_of_blank_lines_does_not_fill_the_memory(tmp_path, suffix):
    """Wherever lines are sought each takes eight bytes or more, which is ten times the block that they stand in."""
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(PACK.get(suffix, bytes)(b"\n" * (1 << 26)))
    found = 0
    tracemalloc.start()
    try:
        for span in spans([str(path)]):
            found += sum(part.count(b"\n") for block in read_blocks(span) for part in few_lines(block))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == 1 << 26
    assert peak < 5 * blocks.BLOCK_BYTES


def test_empty_file(tmp_path):
    path = tmp_path / "a.ndjson"
    path.touch()
    assert spans([str(path)]) == []


def test_a_file_that_is_cut_short_or_gone(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"{}\n" * 10)
    (span,) = spans([str(path)])
    path.write_bytes(b"{}\n" * 5 + b"{")
    found = []
    with pytest.raises(InputError, match="a.ndjson"):
        found.extend(read_blocks(span))
    path.unlink()
    for use in (lambda: list(read_blocks(span)), lambda: spans([str(path)]), lambda: input_id([str(path)])):
        with pytest.raises(InputError, match="a.ndjson"):
            use()


def test_a_file_that_grows(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"1\n2\n3")
    (span,) = spans([str(path)])
    path.write_bytes(b"1\n2\n33\n4\n")
    assert b"".join(read_blocks(span)) == b"1\n2\n33\n"


def test_whether_a_file_is_what_it_was(tmp_path):
    path, other = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    for each in (path, other):
        each.write_bytes(b"{}\n")
    before = states([str(path)])
    check_unchanged(before)
    path.unlink()
    check_unchanged(before)  # it was read, or the reading would have failed
    os.rename(other, path)
    for spoil in (lambda: None, lambda: path.write_bytes(b"{ }\n"), lambda: os.utime(path, ns=(1, 1))):
        spoil()
        with pytest.raises(InputError, match="a.ndjson changed while it was read"):
            check_unchanged(before)
        before = states([str(path)])


def test_expand(tmp_path, monkeypatch):
    for name in ("b.ndjson", "a.jsonl.gz", "deep/c.json.zst", "deep/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert expand(["."]) == expand([".", "b.ndjson", "./b.ndjson"]) == ["a.jsonl.gz", "b.ndjson", "deep/c.json.zst"]
    assert expand(["deep/*"]) == ["deep/c.json.zst", "deep/notes.txt"]
    assert expand(["**/*.zst"]) == ["deep/c.json.zst"]
    (tmp_path / "empty").mkdir()
    for pattern in ("missing.ndjson", "*.csv", "empty"):
        with pytest.raises(InputError, match="stands for no file"):
            expand([pattern])


def test_unreadable(tmp_path, monkeypatch):
    path = tmp_path / "a.ndjson"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    for pattern in (path, tmp_path):
        with pytest.raises(InputError, match="permissions"):
            expand([str(pattern)])


def test_what_is_no_regular_file(tmp_path):
    """Of a pipe neither the size nor the same bytes twice can be had; one in a folder is none of its files."""
    pipe = tmp_path / "pipe.ndjson"
    os.mkfifo(pipe)
    for pattern in (pipe, tmp_path / "p*"):
        with pytest.raises(InputError, match=f"{pipe} is no regular file: write what it gives to a file first"):
            expand([str(pattern)])
    (tmp_path / "a.ndjson").touch()
    assert expand([str(tmp_path)]) == [str(tmp_path / "a.ndjson")]


def test_input_id(tmp_path):
    def written(*contents):
        folder = tmp_path / str(len(os.listdir(tmp_path)))
        folder.mkdir()
        for i, content in enumerate(contents):
            (folder / f"{i}.ndjson").write_bytes(content)
        return input_id([str(path) for path in sorted(folder.iterdir())])

    big = b"x" * (40 << 20)
    ids = [
        written(),
        written(b"a"),
        written(b"a", b"a"),
        written(b"a", b"b"),
        written(big),
        written(big[:-1] + b"y"),
        written(b"y" + big[1:]),
        written(big[: 16 << 20] + b"y" + big[(16 << 20) + 1 :]),
        written(big + b"x"),
    ]
    assert len(set(ids)) == len(ids) and all(len(i) == 16 and int(i, 16) >= 0 for i in ids)
    assert written(b"b", b"a") == ids[3]

import json
import os
import random

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from pipelines import watch
from pipelines.errors import InputError
from pipelines.watch import MARKER, Position, PositionCoder, Reader, ReadWatched, Watched
from tests.folders import Feeder

NOW = 1_763_877_204_000


@pytest.fixture
def feeder(tmp_path):
    return Feeder(tmp_path / "in")


def lines(first: int, count: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % n for n in range(first, first + count))


def reader(feeder, position=None, **options) -> Reader:
    return Watched(str(feeder.folder), **options).create_reader(None, position)


def rest(reader: Reader) -> list[bytes]:
    found = []
    while reader.advance():
        found.append(reader.get_current()[0])
    return found


def watermark(reader: Reader) -> int | None:
    at = reader.get_watermark()
    return None if at == MIN_TIMESTAMP else at.micros // 1000


def test_nothing_opens_without_a_marker(feeder):
    feeder.put(lines(0, 3), NOW)
    read = reader(feeder)
    assert not read.start()
    assert read.get_watermark() == MIN_TIMESTAMP
    feeder.promise(NOW + 1)
    assert rest(read) == [lines(0, 3)]
    assert watermark(read) == NOW + 1


def test_only_what_the_marker_covers_is_read_in_the_order_of_names(feeder):
    for at in (3, 1, 2, 5):
        feeder.put(lines(at, 1), NOW + at)
    feeder.promise(NOW + 3)
    read = reader(feeder)
    assert rest(read) == [lines(1, 1), lines(2, 1)]
    assert watermark(read) == NOW + 3
    feeder.put(lines(4, 1), NOW + 4)
    feeder.promise(NOW + 6)
    assert rest(read) == [lines(at, 1) for at in (3, 4, 5)]
    assert watermark(read) == NOW + 6


def test_within_a_backlog_the_watermark_goes_from_file_to_file_and_never_past_what_is_to_come(feeder):
    for at in range(4):
        feeder.put(lines(at, 1), NOW + 10 * at)
    feeder.promise(NOW + 100)
    read, seen = reader(feeder), []
    while read.advance():
        assert read.get_current_timestamp() == Timestamp(micros=(NOW + 10 * len(seen)) * 1000)
        seen.append(watermark(read) - NOW)
    assert seen == [0, 10, 20, 30]
    assert watermark(read) == NOW + 100


@pytest.mark.parametrize("ending", [".ndjson", ".jsonl.gz", ".json.zst"])
def test_it_goes_on_from_any_position_with_the_same_elements(feeder, monkeypatch, ending):
    monkeypatch.setattr(watch, "ARRIVED_BYTES", 100)
    chance = random.Random(1)
    for at in range(6):
        feeder.put(lines(at * 1000, chance.randrange(60))[: None if at % 2 else -1], NOW + at, ending=ending)
    feeder.promise(NOW + 6)
    read, coder = reader(feeder), PositionCoder()
    all_of_it, positions = [], [Position()]
    while read.advance():
        all_of_it.append((read.get_current(), read.get_current_timestamp()))
        positions.append(read.get_checkpoint_mark())
    assert len(all_of_it) > 10
    assert max(len(block) for (block, _), _ in all_of_it) <= 100
    for number, position in enumerate(positions):
        assert coder.decode(coder.encode(position)) == position
        read = reader(feeder, coder.decode(coder.encode(position)))
        found = []
        while read.advance():
            found.append((read.get_current(), read.get_current_timestamp()))
        assert found == all_of_it[number:]


def test_a_position_is_small_whatever_lies_in_the_folder(feeder):
    for at in range(1000):
        feeder.put(lines(at, 1), NOW + at)
    feeder.promise(NOW + 1000)
    read = reader(feeder)
    assert len(rest(read)) == 1000
    assert len(PositionCoder().encode(read.get_checkpoint_mark())) < 300


def test_another_size_of_elements_loses_and_repeats_nothing(feeder, monkeypatch):
    feeder.put(lines(0, 100)[:-1], NOW)
    feeder.promise(NOW + 1)
    monkeypatch.setattr(watch, "ARRIVED_BYTES", 100)
    read = reader(feeder)
    read.start()
    first = read.get_current()[0]
    for size in (7, 333, 10_000):
        monkeypatch.setattr(watch, "ARRIVED_BYTES", size)
        assert first + b"".join(rest(reader(feeder, read.get_checkpoint_mark()))) == lines(0, 100)[:-1]


def test_a_line_that_is_longer_than_an_element_comes_whole(feeder, monkeypatch):
    monkeypatch.setattr(watch, "ARRIVED_BYTES", 10)
    content = [b"a\n", b"b" * 50 + b"\n", b"c\n", b"d" * 30]
    feeder.put(b"".join(content), NOW)
    feeder.promise(NOW + 1)
    assert rest(reader(feeder)) == content


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b'{"low_watermark_ms": 1}', b'{"low_watermark_ms": true, "files": 0}',
     b'{"low_watermark_ms": 1e13, "files": 0}', b'{"low_watermark_ms": -1, "files": 0}', b"\xff"],
)  # fmt: skip
def test_a_marker_that_does_not_read_moves_nothing(feeder, caplog, content):
    feeder.put(lines(0, 1), NOW)
    feeder.promise(NOW + 1)
    read = reader(feeder)
    assert len(rest(read)) == 1
    feeder.put(lines(1, 1), NOW + 1)
    (feeder.folder / MARKER).write_bytes(content)
    assert rest(read) == rest(read) == []
    assert watermark(read) == NOW + 1
    assert len([each for each in caplog.records if "does not read" in each.message]) == 1
    feeder.promise(NOW + 2)
    assert rest(read) == [lines(1, 1)]


@pytest.mark.parametrize("again", [False, True], ids=["same reader", "started again"])
def test_a_marker_that_goes_back_moves_nothing(feeder, caplog, again):
    feeder.put(lines(0, 1), NOW)
    feeder.promise(NOW + 9)
    read = reader(feeder)
    assert len(rest(read)) == 1
    feeder.promise(NOW + 5)
    if again:
        read = reader(feeder, read.get_checkpoint_mark())
    assert rest(read) == []
    assert watermark(read) == NOW + 9
    assert "went back" in caplog.text


def test_a_marker_that_is_gone_moves_nothing(feeder):
    feeder.put(lines(0, 1), NOW)
    feeder.promise(NOW + 9)
    read = reader(feeder)
    assert len(rest(read)) == 1
    (feeder.folder / MARKER).unlink()
    for each in (read, reader(feeder, read.get_checkpoint_mark())):
        assert rest(each) == []
        assert watermark(each) == NOW + 9


def test_files_that_were_read_may_be_removed(feeder):
    first = feeder.put(lines(0, 1), NOW)
    feeder.promise(NOW + 1)
    read = reader(feeder)
    assert len(rest(read)) == 1
    first.unlink()
    feeder.put(lines(1, 1), NOW + 1)
    feeder.promise(NOW + 2)
    assert rest(reader(feeder, read.get_checkpoint_mark())) == rest(read) == [lines(1, 1)]


def test_a_file_that_was_removed_before_it_was_read_stops_everything(feeder, caplog):
    """Of a ledger it is not known what it would have stopped."""
    feeder.put(lines(0, 1), NOW).unlink()
    feeder.put(lines(1, 1), NOW + 1)
    feeder.promise(NOW + 2)
    read = reader(feeder)
    assert rest(read) == rest(read) == []
    assert watermark(read) is None
    assert len([each for each in caplog.records if "2 files" in each.message]) == 1
    feeder.put(lines(0, 1), NOW, name="0")  # brought back
    assert rest(read) == [lines(0, 1), lines(1, 1)]


def test_a_file_that_comes_after_its_time_stops_everything(feeder, caplog):
    feeder.put(lines(0, 1), NOW + 5)
    feeder.promise(NOW + 6)
    read = reader(feeder)
    assert len(rest(read)) == 1
    feeder.put(lines(1, 1), NOW + 2)
    feeder.promise(NOW + 7)
    for each in (read, reader(feeder, read.get_checkpoint_mark())):
        assert rest(each) == []
    assert watermark(read) == NOW + 6
    assert "came after its time" in caplog.text


def test_a_file_that_vanishes_or_changes_while_it_is_read_fails_the_bundle(feeder, monkeypatch):
    monkeypatch.setattr(watch, "ARRIVED_BYTES", 10)
    for change in (os.unlink, lambda path: path.write_bytes(lines(50, 50))):
        path = feeder.put(lines(0, 50), NOW)
        feeder.promise(NOW + 1)
        read = reader(feeder)
        read.start()
        change(path)
        os.path.exists(path) and os.utime(path, ns=(1, 1))
        with pytest.raises(InputError, match=path.name):
            rest(read)
        with pytest.raises(InputError, match=path.name):
            reader(feeder, read.get_checkpoint_mark())
        feeder = Feeder(feeder.folder.with_name("again"))


def test_a_file_that_is_cut_short_fails_the_bundle_after_what_could_be_read(feeder):
    path = feeder.put(lines(0, 50_000), NOW, ending=".ndjson.gz")
    path.write_bytes(path.read_bytes()[:-1000])
    feeder.promise(NOW + 1)
    with pytest.raises(InputError, match="send it again"):
        rest(reader(feeder))


def test_what_is_no_input_is_not_looked_at_and_a_name_without_a_time_is_refused(feeder):
    for name in (".1763877204000-a.ndjson", "_1763877204000-a.ndjson", "1763877204000-a.tmp", "notes.txt"):
        (feeder.folder / name).write_bytes(b"no\n")
    feeder.promise(NOW + 1)
    assert rest(reader(feeder)) == []
    (feeder.folder / "late.ndjson").write_bytes(b"no\n")
    with pytest.raises(InputError, match="not named with a time"):
        rest(reader(feeder))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        Watched(str(tmp_path / "nowhere")).create_reader(None, None).start()


def test_splits_share_the_files_and_each_sees_that_one_is_missing(feeder):
    for at in range(20):
        feeder.put(lines(at, 1), NOW + at)
    feeder.promise(NOW + 20)
    shares = [source.create_reader(None, None) for source in Watched(str(feeder.folder), splits=3).split(20)]
    found = [rest(read) for read in shares]
    assert sorted(map(len, found)) == [6, 7, 7]
    assert sorted(block for blocks in found for block in blocks) == sorted(lines(at, 1) for at in range(20))
    assert {watermark(read) for read in shares} == {NOW + 20}
    feeder.put(lines(0, 1), NOW + 20).unlink()
    feeder.promise(NOW + 21)
    assert [rest(read) for read in shares] == [[], [], []]
    assert {watermark(read) for read in shares} == {NOW + 20}


@pytest.mark.parametrize("splits", [1, 3])
def test_a_pipeline_reads_it_all_once_and_ends_where_the_marker_does(feeder, monkeypatch, splits):
    monkeypatch.setattr(watch, "ARRIVED_BYTES", 200)
    for at in range(10):
        feeder.put(lines(100 * at, 50), NOW + at, ending=random.Random(at).choice([".ndjson", ".ndjson.zst"]))
    feeder.promise(NOW + 10)
    wanted = [n for at in range(10) for n in range(100 * at, 100 * at + 50)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadWatched(str(feeder.folder), splits, stop_at_end=True)
        numbers = read | beam.FlatMap(lambda element: [json.loads(line)["n"] for line in element[0].splitlines()])
        assert_that(numbers, equal_to(wanted))


def test_with_an_end_the_watermark_goes_to_the_end(feeder):
    feeder.put(lines(0, 1), NOW)
    read = reader(feeder, stop_at_end=True)
    assert not read.start()
    assert read.get_watermark() == MIN_TIMESTAMP
    feeder.promise(NOW + 1)
    assert len(rest(read)) == 1
    assert read.get_watermark() == MAX_TIMESTAMP

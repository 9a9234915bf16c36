"""Strict reading of lines, against a table of verdicts and a slow reader that looks at one line at a time."""

import json
import math
import time
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.fields import EVENT_FIELDS, LEDGER_FIELDS
from schemas.shape import MAX_LINE_BYTES
from transforms import block as block_of_lines
from transforms import by_type, lines
from transforms.arrow_json import ArrowJson
from transforms.block import line_at, line_ends
from transforms.lines import Habits, parse
from transforms.verdict import REASONS, Reason

GOOD = [
    b'{"event_id":"a","device":{"imei":"1","model":"m"},"session":{"events":3}}',
    b"{}",
    b' \t{"event_id":"spaced"} ',
    b'{"event_id":"carriage return"}\r',
    b'{"ip":\r"inner carriage return"}',
    b'\xef\xbb\xbf{"event_id":"byte order mark"}',
    b'{"\\u0065vent_id":"escaped key"}',
    b'{"event_id":"\\ud83d\\ude00 pair \xf0\x9f\x98\x80 \\n \\" \\\\u0000"}',
    b'{"event_id":"braces }{ ][ in text","ip":"{"}',
    b'{"event_id":"NaN","ip":": NaN, Infinity"}',
    b'{"device":null,"location":{}}',
    b'{"location":{"latitude":5,"longitude":1e-400,"cell_id":-0}}',
    b'{"location":{"mcc":"0460","mnc":"01","city_code":110000}}',
    b'{"location":{"mcc":460,"mnc":null},"crash":{"signal":11}}',
    b'{"crash":{"signal":"11","trace":"\\"mcc\\":\\"460\\", \\"signal\\": 11, "}}',
    b'{"crash":{"signal":true}}',
    b'{"residency":{"sim_mcc":"000"}}',
    b'{"session":{"events":9223372036854775807}}',
    b'{"event_id":"unknown","gpu":"x"}',
    b'{"gpu":7,"device":{"foldable":true,"hinge":{"a":[1]},"nothing":null}}',
    b'{"gpu":[1,"mixed",{"a":null}],"device":{"foldable":"yes"}}',
    b'{"":1,"x":{"mcc":"460","signal":false}}',
    b'{"x":1' + b"0" * 5000 + b"}",
    b'{"x":' + b"[" * 30 + b"]" * 30 + b"}",
    b'{"x":0.00e310,"y":0.01e309,"z":1e-999}',
    b'{"ip":"' + b"[" * 100 + b'","x":1}',
    b'{"event_id":"' + b"a" * (MAX_LINE_BYTES - 15) + b'"}',
    '{"event_id":"中文"}'.encode(),
    '{"event_id":"中文","x":"中"}'.encode(),
    b'{"event_type":"crash","crash":{"signal":11},"location":{"mcc":"460"}}',
    b'{"event_id":"1", "event_type": "session", "session": {"events": 3}}',
    b'{"event_type":"session","crash":{"signal":"6"},"gpu":1}',
    b'{"ip":"\\"event_type\\":\\"crash\\"","event_type":"page_view","page_view":{"duration_ms":5}}',
    b'{"event_type":"location","location":{"latitude":5,"beacon":1},"app_usage":null}',
    b'{"residency":{"sim_mcc":"0000000000000000000000204"}}',
]
BAD = [
    (b'{"event_type":"crash","crash":{},"crash":{}}', "duplicate_key"),
    (b'{"event_type":"crash","event_type":"session"}', "duplicate_key"),
    (b'{"event_type":"crash","session":{"events":1.5}}', "wrong_type"),
    (b'{"event_type":"crash"', "not_json"),
    (b'{"event_id":"' + b"a" * (MAX_LINE_BYTES - 14) + b'"}', "too_long"),
    (b'{"event_id":"' + b"a" * (MAX_LINE_BYTES - 15) + b'"}\r', "too_long"),
    (b" " * (MAX_LINE_BYTES + 1), "too_long"),
    (b'{"event_id":"\xff"}', "not_utf8"),
    (b'{"event_id":"\xed\xa0\x80"}', "not_utf8"),
    (b'{"event_id":"\xc0\xaf"}', "not_utf8"),
    (b'{"x":"\xff"}', "not_utf8"),
    (b'{"\xff":1}', "not_utf8"),
    (b'{"event_id":"\\ud800"}', "not_utf8"),
    (b'{"event_id":"\\udc00\\ud800"}', "not_utf8"),
    (b'{"x":{"\\udc00":1}}', "not_utf8"),
    (b'{"event_id":"a"', "not_json"),
    (b'{"event_id":"a}', "not_json"),
    (b'{"event_id":}', "not_json"),
    (b'{"event_id" "a"}', "not_json"),
    (b'{"event_id":"a",}', "not_json"),
    (b'{,"event_id":"a"}', "not_json"),
    (b'{"event_id":"a"},', "not_json"),
    (b'{"event_id":"a"}{"event_id":"b"}', "not_json"),
    (b'{"event_id":"a"} {"event_id":"b"}', "not_json"),
    (b'{"event_id":"a"}\x00{"event_id":"b"}', "not_json"),
    (b'{"event_id":"a"}\x00}', "not_json"),
    (b"}{", "not_json"),
    (b"{", "not_json"),
    (b"{{}}", "not_json"),
    (b'{"device":{"imei":"a"}', "not_json"),
    (b'{"ip":["a"}', "not_json"),
    (b"{'event_id':'a'}", "not_json"),
    (b"{event_id:1}", "not_json"),
    (b'{"event_id":"a"}//c}', "not_json"),
    (b'{/*c*/"event_id":"a"}', "not_json"),
    (b'{"event_id":"\\x41"}', "not_json"),
    (b'{"event_id":"\\u12g4"}', "not_json"),
    (b'{"event_id":"a\x00b"}', "not_json"),
    (b'{"event_id":"a\x01b"}', "not_json"),
    (b'{"event_id":"a\tb"}', "not_json"),
    (b'{"event_id":"a"}\x0b', "not_json"),
    (b"\x0c{}", "not_json"),
    (b'{"session":{"events":01}}', "not_json"),
    (b'{"session":{"events":+1}}', "not_json"),
    (b'{"session":{"events":1.}}', "not_json"),
    (b'{"session":{"events":- 1}}', "not_json"),
    (b'{"session":{"events":0x1}}', "not_json"),
    (b'{"crash":{"signal":007}}', "not_json"),
    (b'{"location":{"latitude":.5}}', "not_json"),
    (b'{"location":{"latitude":1e}}', "not_json"),
    (b'{"device":Null}', "not_json"),
    (b'{"x":undefined}', "not_json"),
    (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not_json"),
    (b"\xfe\xff\x00{\x00}", "not_utf8"),
    (b"plain text", "not_json"),
    (b'{"x":' + b"[" * 32 + b"]" * 32 + b"}", "too_deep"),
    (b'{"x":' + b'{"a":' * 6000 + b"1" + b"}" * 6000 + b"}", "too_deep"),
    (b'{"x":' + b"[" * 30000 + b"]" * 30000 + b"}", "too_deep"),
    (b"[" * 60000, "too_deep"),
    (b'{"event_id":"a","event_id":"b"}', "duplicate_key"),
    (b'{"event_id":"a","\\u0065vent_id":"a"}', "duplicate_key"),
    (b'{"event_id":null,"event_id":"a"}', "duplicate_key"),
    (b'{"device":{},"device":{}}', "duplicate_key"),
    (b'{"device":{"imei":"a","imei":"a"}}', "duplicate_key"),
    (b'{"x":1,"x":1}', "duplicate_key"),
    (b'{"x":[{"a":1,"a":2}]}', "duplicate_key"),
    (b'{"location":{"latitude":NaN}}', "bad_number"),
    (b'{"location":{"latitude":-Infinity}}', "bad_number"),
    (b'{"location":{"latitude":1e999}}', "bad_number"),
    (b'{"location":{"latitude":1' + b"0" * 400 + b"}}", "bad_number"),
    (b'{"session":{"events":9223372036854775808}}', "bad_number"),
    (b'{"session":{"events":' + b"9" * 5000 + b"}}", "bad_number"),
    (b'{"session":{"events":NaN}}', "bad_number"),
    (b'{"x":NaN}', "bad_number"),
    (b'{"x":[1, -Infinity]}', "bad_number"),
    (b'{"x":1e999}', "bad_number"),
    (b'{"x":-10e308}', "bad_number"),
    (b'{"x":0e309}', "bad_number"),
    (b'{"x":0.00e+0311}', "bad_number"),
    (b'{"x":0e' + b"9" * 5000 + b"}", "bad_number"),
    (b'{"x":{"a":[1e400]}}', "bad_number"),
    (b'{"event_id":"\\u0000"}', "nul_character"),
    (b'{"x":"a\\u0000"}', "nul_character"),
    (b'{"x":[{"a\\u0000":1}]}', "nul_character"),
    (b"[]", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"1", "not_an_object"),
    (b"null", "not_an_object"),
    (b'[{"event_id":"a"}]', "not_an_object"),
    (b'{"event_id":1}', "wrong_type"),
    (b'{"event_id":true}', "wrong_type"),
    (b'{"event_id":["a"]}', "wrong_type"),
    (b'{"event_id":{}}', "wrong_type"),
    (b'{"device":[]}', "wrong_type"),
    (b'{"device":"a"}', "wrong_type"),
    (b'{"session":{"events":"3"}}', "wrong_type"),
    (b'{"session":{"events":1.5}}', "wrong_type"),
    (b'{"session":{"events":1.0}}', "wrong_type"),
    (b'{"session":{"events":1e3}}', "wrong_type"),
    (b'{"session":{"events":true}}', "wrong_type"),
    (b'{"location":{"latitude":"5"}}', "wrong_type"),
    (b'{"location":{"mcc":"0460"110000}}', "not_json"),
    (b'{"location":{"mcc":"460".5}}', "not_json"),
    (b'{"location":{"mcc":"4x0"}}', "wrong_type"),
    (b'{"location":{"mcc":true}}', "wrong_type"),
    (b'{"crash":{"signal":1.5}}', "wrong_type"),
    (b'{"residency":{"sim_mcc":["460"]}}', "wrong_type"),
]
ALL = [(line, None) for line in GOOD] + BAD
BLANK = [b"", b" ", b"\t\r", b"\r"]


def verdicts(parsed):
    """Reason (None for good) by line number; blank lines are absent."""
    rejected = zip(parsed.faults.line, parsed.faults.reason, strict=True)
    return {int(line): REASONS[code].value for line, code in rejected} | {int(line): None for line in parsed.line}


def rows(parsed):
    return list(zip(*(column.to_pylist() for column in parsed.columns.values()), strict=True))


ALONE = [parse(line, EVENT_FIELDS) for line, _ in ALL]


@pytest.mark.parametrize("i", range(len(ALL)), ids=lambda i: repr(ALL[i][0][:40]))
def test_a_line_alone(i):
    parsed = ALONE[i]
    assert verdicts(parsed) == {0: ALL[i][1]}
    assert (parsed.lines, parsed.blank) == (1, 0)


def strict(line):
    """Whether a line is good, and its leaves, as JSON's definition and the table of fields say; one line at a time."""
    try:
        value = json.loads(
            line.removeprefix(b"\xef\xbb\xbf").decode().strip(" \t\r"), object_pairs_hook=list, parse_int=str
        )
    except (ValueError, RecursionError):
        return None
    return value


def test_good_lines_hold_what_json_says():
    for (line, reason), parsed in zip(ALL, ALONE, strict=True):
        if reason:
            continue
        value = dict(strict(line))
        for field, column in parsed.columns.items():
            parent, _, leaf = field.rpartition(".")
            said = (dict(value.get(parent) or []) if parent else value).get(leaf)
            (got,) = column.to_pylist()
            if isinstance(got, int | float) and said is not None:
                assert math.isclose(float(said), got)
            elif got is None or said is None:
                assert got is said
            else:
                assert got in (said, "true")


mixes = st.lists(st.one_of(st.integers(0, len(GOOD) - 1), st.integers(0, len(ALL) - 1), st.just(-1)), max_size=40)


@settings(max_examples=250, deadline=None)
@given(
    mixes, st.integers(1, 7), st.integers(1, 4), st.booleans(), st.booleans(), st.sampled_from([1, 100]), st.booleans()
)
def test_neighbours_change_nothing(mix, piece, sifted, crlf, end, fewest, spoilt):
    text = [BLANK[k % len(BLANK)] if i < 0 else ALL[i][0] for k, i in enumerate(mix)]
    # A CR more would make a line that is exactly as long as a line may be too long.
    ending = b"\r\n" if crlf and all(len(line) < MAX_LINE_BYTES for line in text) else b"\n"
    block = ending.join(text) + (ending if end and text else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_PIECE_LINES", piece)
        patch.setattr(lines, "_NAMED_LINES", sifted)
        patch.setattr(by_type, "_FEWEST", fewest)
        parsed = parse(block, EVENT_FIELDS, Habits(spoilt=spoilt))
    assert verdicts(parsed) == {k: ALL[i][1] for k, i in enumerate(mix) if i >= 0}
    in_order = [row for _, row in sorted(zip(parsed.line.tolist(), rows(parsed), strict=True), key=itemgetter(0))]
    assert in_order == [row for i in mix if i >= 0 for row in rows(ALONE[i])]
    unknown = {}
    for i in mix:
        for parent, count in ALONE[i].unknown.items() if i >= 0 else ():
            unknown[parent] = unknown.get(parent, 0) + count
    assert parsed.unknown == unknown
    assert parsed.lines == parsed.blank + len(parsed.faults.line) + len(parsed.line)
    assert parsed.lines == block.count(b"\n") + (not block.endswith(b"\n") and block != b"")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([line for line, _ in ALL if len(line) < 200]), st.data())
def test_mutated_lines(noise, line, data):
    """Whatever is spliced into a line: no crash, the neighbours stay, and what passes is one object of JSON."""
    at = data.draw(st.integers(0, len(line)))
    cut = data.draw(st.integers(at, len(line)))
    line = line[:at] + noise.replace(b"\n", b"")[: data.draw(st.integers(0, 6))] + line[cut:]
    if not line.strip(b" \t\r"):
        return
    parsed = parse(GOOD[0] + b"\n" + line + b"\n" + GOOD[18] + b"\n", EVENT_FIELDS)
    found = verdicts(parsed)
    assert found[0] is None and found[2] is None and set(found) == {0, 1, 2}
    alone = parse(line, EVENT_FIELDS)
    assert verdicts(alone) == {0: found[1]}
    if found[1] is None:
        value = strict(line)
        assert isinstance(value, list) and len(dict(value)) == len(value)
        assert rows(parsed)[1] == rows(alone)[0]


def test_unknown_fields_are_counted_by_path():
    parsed = parse(b"\n".join(GOOD[18:21] + [b'{"gpu":null}']), EVENT_FIELDS)
    assert parsed.unknown == {"*": 3, "device.*": 3}


@pytest.mark.parametrize("noise", [b"", b"not json", b'{"event_id":"\\u0000"}', b'{"ip":1,"ip":1}'])
def test_of_an_unknown_name_only_words_of_our_own_are_told(noise):
    """The name may be somebody's: whoever reads counts must not meet it, whichever way the line was read."""
    line = b'{"imei":"1","jane@example.com":1,"device":{"package":"p","+31 6 5550 0199":1,"hinge":{"imei":"1"}}}'
    parsed = parse(b"\n".join([line, noise, line]), EVENT_FIELDS)
    assert parsed.unknown == {"imei": 2, "*": 2, "device.package": 2, "device.*": 4}


FLOOD = 900  # lines, each of which brings forty names that no other has


def _new_names(i: int, names: int) -> bytes:
    return b'{"event_id":"a",%s}' % b",".join(b'"n%d":1' % (names * i + j) for j in range(names))


def test_a_flood_of_unknown_names_is_counted_too():
    parsed = parse(b"\n".join(_new_names(i, 40) for i in range(FLOOD)), EVENT_FIELDS)
    assert (len(parsed.line), parsed.unknown) == (FLOOD, {"*": 40 * FLOOD})


def test_however_many_names_there_are_memory_is_bounded():
    """Names that never come again, block by block, and as many in one line as a line can hold: nothing of them is
    kept, and what stands beside them is read as ever."""
    good, habits = GOOD[0], lines.Habits()
    longest = b'{"event_id":"a"%s}' % b"".join(b',"%x":1' % i for i in range(7_200))
    assert 60_000 < len(longest) < MAX_LINE_BYTES
    kept = []
    for block in range(6):
        flood = [_new_names(1_000 * block + i, 40) for i in range(100)]
        parsed = parse(b"\n".join([good, *flood, longest.replace(b"a", b"%d" % block, 1), good]), EVENT_FIELDS, habits)
        assert parsed.unknown == {"*": 100 * 40 + 7_200} and len(parsed.line) == 103
        assert rows(parsed)[0] == rows(parsed)[-1] == rows(ALONE[0])[0]
        del parsed
        kept.append(pa.total_allocated_bytes())
        assert habits.expected is None or len(habits.expected) < 400
    assert kept[-1] - kept[0] < 1 << 20


@pytest.mark.parametrize("within", [b"[" * 33, b'{"a":' * 33])
def test_a_string_that_never_ends_is_not_read_once_for_each_quote_in_it(within):
    began = time.process_time()
    parsed = parse(within + b'"' + b'\\"' * 30_000, EVENT_FIELDS)
    assert parsed.faults.counts() == {"too_deep": 1}
    assert time.process_time() - began < 2


def test_one_bad_line_among_many():
    good = b'{"event_id":"a","ip":"b"}'
    block = b"\n".join([good] * 5_000 + [b'{"event_id":}'] + [good] * 5_000)
    parsed = parse(block, EVENT_FIELDS)
    assert list(parsed.faults.line) == [5_000] and parsed.faults.counts() == {"not_json": 1}
    assert np.array_equal(parsed.line, np.delete(np.arange(10_001), 5_000))


@pytest.mark.parametrize("block", [b"", b"\n", b"\r\n \n\t"])
def test_nothing_but_blank_lines(block):
    parsed = parse(block, EVENT_FIELDS)
    assert (parsed.blank, len(parsed.line), len(parsed.columns)) == (parsed.lines, 0, len(EVENT_FIELDS))


def test_guardian_is_read_quoted_or_bare():
    block = b'{"guardian":true}\n{"guardian":false}\n{"guardian":"ref"}\n{"guardian":12}\n{"guardian":[]}'
    parsed = parse(block, LEDGER_FIELDS)
    assert parsed.columns["guardian"].to_pylist() == ["true", None, "ref", "12"]
    assert parsed.faults.counts() == {Reason.WRONG_TYPE: 1}


@pytest.mark.parametrize("fields", [EVENT_FIELDS, LEDGER_FIELDS])
def test_what_is_read_leniently_is_named_once(fields):
    """Keys are rewritten wherever they stand, so no two known fields may share one that is lenient."""
    keys = [field.path.rpartition(".")[2] for field in fields]
    assert all(keys.count(field.path.rpartition(".")[2]) == 1 for field in fields if field.lenient)


def test_lenient_fields_cost_no_sifting(monkeypatch):
    """That pyarrow.json complains in the words that the reader waits for."""
    sifted = []
    monkeypatch.setattr(lines, "refused", lambda found, _: sifted.extend(found) or iter(()))
    parsed = parse(b"\n".join(GOOD[12:14] + GOOD[15:17] + GOOD[18:19]), EVENT_FIELDS)
    assert len(parsed.line) == 5 and not sifted
    assert parsed.columns["location.mcc"].to_pylist()[:2] == [460, 460]
    assert parsed.columns["crash.signal"].to_pylist()[1:3] == ["11", "true"]


def judged(monkeypatch, first, second):
    """How many lines of the second block are judged one by one, by a reader that has learned of the first."""
    count, verdict, habits = [], lines.Judge.verdict, lines.Habits()
    parse(first, EVENT_FIELDS, habits)
    monkeypatch.setattr(lines.Judge, "verdict", lambda *given: count.append(1) or verdict(*given))
    assert len(parse(second, EVENT_FIELDS, habits).line) == 800
    return len(count)


@pytest.mark.parametrize(
    ("once", "later"),
    [(b"1", b"1.5"), (b"[]", b'["a"]'), (b"[1]", b"[1.5]"), (b'["2021-01-01"]', b'["a"]'), (b'{"a":[]}', b'{"a":[1]}')],
)
def test_a_looser_type_in_an_unknown_field_costs_no_judging(monkeypatch, once, later):
    first, second = (b'{"gpu":%s}\n' % value * 400 for value in (once, later))
    assert not judged(monkeypatch, first, first + second)


@pytest.mark.parametrize("odd", [b'"a"', b"true", b"[1]", b'{"a":1}'])
def test_of_two_types_in_an_unknown_field_the_lines_of_the_rarer_are_judged(monkeypatch, odd):
    usual = b'{"gpu":1}\n'
    block = usual * 380 + (b'{"gpu":%s}\n' % odd + 9 * usual) * 40 + 20 * usual
    assert 40 <= judged(monkeypatch, usual * 400, block) <= 50
    monkeypatch.undo()
    assert parse(block, EVENT_FIELDS).unknown == {"*": 800}


def test_a_type_that_was_learnt_of_few_lines_is_learnt_anew(monkeypatch):
    habits, usual = Habits(), b'{"gpu":1}\n' * 800
    parse(b'{"gpu":"a"}\n', EVENT_FIELDS, habits)
    parse(usual, EVENT_FIELDS, habits)
    monkeypatch.setattr(lines.Judge, "verdict", None)
    assert parse(usual, EVENT_FIELDS, habits).unknown == {"*": 800}


def test_lines_with_an_object_of_another_event_type_cost_their_own_judgement_alone(monkeypatch):
    count, verdict = [], lines.Judge.verdict
    monkeypatch.setattr(lines.Judge, "verdict", lambda *given: count.append(1) or verdict(*given))
    usual = b'{"event_type":"session","session":{"events":3}}\n'
    strange = b'{"event_type":"session","session":{"events":4},"crash":{"signal":"6"}}\n'
    parsed = parse((strange + 99 * usual) * 30, EVENT_FIELDS)
    assert len(count) == 30 and len(parsed.line) == 3_000 and (np.diff(parsed.line) > 0).all()
    assert parsed.columns["crash.signal"].to_pylist() == (["6"] + 99 * [None]) * 30
    assert parsed.columns["session.events"].to_pylist() == ([4] + 99 * [3]) * 30


KEYS = ["a\nb", "a/b", "中", "x" * 60, "x" * 9_000, "(", ") changed from string to ", "\\E", ""]


@pytest.mark.parametrize("name", KEYS, ids=lambda name: name[:9])
def test_whatever_a_key_is_called_what_is_wrong_with_it_is_found(name):
    key, good = json.dumps(name).encode(), b'{"event_id":"a"}'
    twice, others = b"{%s:1,%s:2}" % (key, key), [b"{%s:%s}" % (key, value) for value in (b"1", b'"a"', b"[1]")]
    parsed = parse(b"\n".join([good, twice, *others, good]), EVENT_FIELDS)
    assert verdicts(parsed) == {0: None, 1: "duplicate_key"} | dict.fromkeys(range(2, 6))


@pytest.mark.parametrize(
    "faults",
    [
        [b'{"event_id":"\\u0000"}'],
        [b'{"x":NaN}', b'{"x":[1,{"a":-Infinity}]}'],
        [b'{"x":' + b"[" * 40 + b"]" * 40 + b"}"],
        [b'{"event_id":"a\x01b"}', b'{"event_id":"\xff"}', b'{"source":17}'],
        [b'{"session":{"events":1.0}}', b'{"ip":1,"ip":1}'],
    ],
)
def test_where_a_hundredth_of_the_lines_is_bad_few_good_ones_are_judged(monkeypatch, faults):
    count, verdict = [], lines.Judge.verdict
    monkeypatch.setattr(lines.Judge, "verdict", lambda *given: count.append(1) or verdict(*given))
    good = [b'{"event_id":"%d","ip":"b","x":1.5}' % number for number in range(99)]
    block = b"\n".join(line for number in range(40) for line in [*good, faults[number % len(faults)]])
    for habits in (Habits(), Habits(spoilt=True)):
        count.clear()
        parsed = parse(block, EVENT_FIELDS, habits)
        assert len(parsed.faults.line) == 40 and len(parsed.line) == 3_960
        assert 40 <= len(count) <= 80


def test_a_key_that_many_lines_repeat_costs_few_readings(monkeypatch):
    """Each line that repeats it is found at once; and any number of different ones costs no more than a judgement."""
    read, readings = ArrowJson.read, []
    monkeypatch.setattr(ArrowJson, "read", lambda *given: readings.append(1) or read(*given))
    good, twice = b'{"event_id":"a","ip":"b"}', b'{"event_id":"a","ip":"b","ip":"c"}'
    parsed = parse(b"\n".join([good, twice, good] * 500), EVENT_FIELDS)
    assert parsed.faults.counts() == {"duplicate_key": 500} and len(parsed.line) == 1_000
    assert len(readings) <= 4
    names = [field.path for field in EVENT_FIELDS if "." not in field.path and field.type == "string"]
    parsed = parse(b"\n".join(b'{"%s":"a","%s":"a"}' % (2 * (name.encode(),)) for name in names), EVENT_FIELDS)
    assert parsed.faults.counts() == {"duplicate_key": len(names)} and len(names) > 5


NUMBERS = st.tuples(
    st.sampled_from(["0", "-0", "1", "12", "9" * 25]),
    st.one_of(st.just(""), st.integers(1, 30).map(lambda n: "." + "0" * n), st.just(".0015"), st.just("." + "7" * 25)),
    st.sampled_from(["", "e", "E+", "e-", "e00"]),
    st.sampled_from([0, 5, 290, 307, 308, 309, 310, 311, 330, 400, 10**12]),
)


@settings(max_examples=300)
@given(NUMBERS)
def test_a_number_is_refused_where_pyarrow_json_would_refuse_it(parts):
    """Else a good line beside it could only be had by reading every line alone."""
    whole, fraction, sign, exponent = parts
    number = (whole + fraction + (f"{sign}{exponent}" if sign else "")).encode()
    options = pa.json.ParseOptions(explicit_schema=pa.schema([("a", pa.string())]), unexpected_field_behavior="ignore")
    try:
        pa.json.read_json(pa.BufferReader(b'{"x":%s}' % number), parse_options=options)
        readable = True
    except pa.ArrowInvalid:
        readable = False
    judged_good = lines.Judge(EVENT_FIELDS).verdict(b'{"x":%s}' % number)[0] is None
    assert judged_good == (readable and (sign == "" or math.isfinite(float(number))))


def test_line_at():
    none = np.array([], np.int64)
    for block in (b"a\nbb\n\nccc", b"a\nbb\n\nccc\n"):
        ends = line_ends(block)
        assert line_at(block, ends, np.array([0, 1, 2, 3])) == [b"a", b"bb", b"", b"ccc"]
        assert line_at(block, ends, np.array([3, 1])) == [b"ccc", b"bb"] and line_at(block, ends, none) == []
    assert line_at(b"", line_ends(b""), none) == [] and line_at(b"\n", line_ends(b"\n"), np.array([0])) == [b""]


@given(st.integers(0, 9), st.booleans())
def test_no_part_of_a_block_has_too_many_lines(count, end):
    block = b"\n".join([b"{}"] * count) + b"\n" * end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_of_lines, "MOST_LINES", 3)
        parts = list(block_of_lines.few_lines(block))
    assert b"".join(parts) == block
    assert all(len(part.splitlines()) == 3 for part in parts[:-1]) and len(parts[-1].splitlines()) <= 3


def test_no_value_in_what_is_shown():
    parsed = parse(b'{"event_id":"canary"}\n{"event_id":"canary"', EVENT_FIELDS)
    assert "canary" not in repr(parsed) + repr(parsed.faults)


@settings(max_examples=150, deadline=None)
@given(st.lists(mixes, max_size=5))
def test_what_earlier_blocks_have_taught_changes_nothing(blocks):
    habits = lines.Habits()
    for mix in blocks:
        block = b"\n".join(ALL[i][0] if i >= 0 else b"" for i in mix)
        parsed, alone = parse(block, EVENT_FIELDS, habits), parse(block, EVENT_FIELDS)
        assert (verdicts(parsed), rows(parsed), parsed.unknown) == (verdicts(alone), rows(alone), alone.unknown)

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schemas.pack_files import load_pack
from schemas.quarantine import ROWS
from schemas.shape import MAX_LINE_BYTES
from schemas.tallies import Counts
from tests.lines import event, keystores
from tests.strategies import few, seeds, unhurried
from transforms import quarantine
from transforms.envelope import create_pair, open_lines, read_private
from transforms.keyring import KeyUnavailable, local_folder, open_keyring
from transforms.locate import locate
from transforms.quarantine import PUBLIC_KEY, Quarantine, hours, locate_lines, place_of, row_id, sample
from transforms.verdict import CODE, Reason

WHERE = load_pack().where
RULES = st.sampled_from([WHERE, *(replace(WHERE, signals=(signal,)) for signal in WHERE.signals)])
REGIONS = WHERE.regions
EU, US, CN, RU = (WHERE.code(name) for name in ("eu", "us", "cn", "ru"))
NOT_JSON, WRONG_TYPE = CODE[Reason.NOT_JSON], CODE[Reason.WRONG_TYPE]
KEY = bytes(range(32))


SIGNALS = {
    "account_country": ('"RU"', '"US"', '"ru"', "null", "7", '["CN"]', '"\\u0052U"', '"U'),
    "sim_mcc": ("460", '"250"', '"0460"', "460.0", "-1", "true", "0", "9" * 30),
    "device_region": ('"IN"', '""', '" IN"', "{}"),
    "residency": ('{"account_country":"CN"}', "{}", "null", "{", '"sim_mcc=404"'),
    "note": ('"sim_mcc=404"', '{"device_region":"IN"}', "NaN"),
    "\\u0061ccount_country": ('"CN"',),
}
PIECES = ["},", *(f'"{name}":{value},' for name, values in SIGNALS.items() for value in values)]
NOISE = [b"", b"\xff", b"}", b"\\x41", b"\\u00e9", b"\x01"]


def residing(**signals) -> bytes:
    return json.dumps({"residency": signals}).encode()


def broken(number: int, country: str = "NL") -> bytes:
    return b'{"n":%d,"account_country":"%s",' % (number, country.encode())


class Regions:
    """Keystores of regions, some of which can seal, and the private halves of those."""

    def __init__(self, folder: Path, sealing: tuple[int, ...] = (EU, US), mute: tuple[int, ...] = ()) -> None:
        self.keys = keystores(folder, {code: REGIONS[code] for code in sealing + mute})
        self.private = {}
        for code in sealing:
            private = folder / "private" / f"{REGIONS[code]}.pem"
            create_pair(local_folder(self.keys[code]) / PUBLIC_KEY, private)
            self.private[code] = read_private(private)

    def seal(self, lines: list[bytes], keep: int = 1_000, reasons: list[int] | None = None) -> "Sealed":
        codes = np.array([NOT_JSON] * len(lines) if reasons is None else reasons, np.int8)
        counts = Counts()
        sealed = Quarantine("telemetry", WHERE, self.keys, EU).seal(lines, codes, keep, counts)
        return Sealed(self, dict(sealed), counts)


class Sealed:
    def __init__(self, regions: Regions, rows: dict[int, pa.RecordBatch], counts: Counts) -> None:
        self.regions, self.rows = regions, rows
        self.counted = Counter()
        for region, tally in counts.tallies():
            for row in tally.to_pylist():
                self.counted[region, row["step"], row["outcome"], row["reason"], row["dataset"]] += row["count"]

    def lines(self, region: int) -> list[bytes]:
        """The lines that were kept, in the order of their rows."""
        rows = pa.Table.from_batches([self.rows[region]])
        opened = open_lines(rows, self.regions.private[region], place_of(REGIONS[region], "telemetry"))
        return [line for line in opened if line is not None]

    def states(self, region: int) -> Counter:
        states = Counter()
        for row in self.rows[region].to_pylist():
            states[row["state"]] += row["lines"]
        return states


@pytest.fixture(scope="module")
def regions(tmp_path_factory) -> Regions:
    return Regions(tmp_path_factory.mktemp("regions"))


class TestLocating:
    @pytest.mark.parametrize(
        ("line", "region"),
        [
            (residing(account_country="NL"), "eu"),
            (residing(account_country="US", sim_mcc=460), "cn"),
            (residing(sim_mcc="250"), "ru"),
            (residing(sim_mcc="0250"), "ru"),
            (residing(device_region="HK"), "sg"),
            (b'\xef\xbb\xbf{"residency":{"account_country":"US"}}', "us"),
            (b'{"residency":{"account_country":"US"},"n":NaN}', "us"),
            (b'{"residency":{"account_country":"US"', "us"),
            (b'{"residency":{"account_country": "US", "sim_mcc": 460', "cn"),
            (b"{'residency':{'account_country':'RU'}}", "ru"),
            (b'"{\\"account_country\\":\\"IN\\"}"', "in"),
            (b'\xff\xfe{"account_country":"US"}', "us"),
            (b'{"account_country":"US"}', "us"),
            (b'[{"residency":{"account_country":"US"}}]', "us"),
            (b'{"residency":"sim_mcc=404"}', "in"),
            (b'{"residency":{"account_country":"US"},"residency":"account_country: RU"}', "ru"),
            (b'{"residency":{"account_country":"US"},"note":{"account_country":"RU"}}', "us"),
        ],
    )
    def test_a_line_is_located_by_what_looks_like_a_signal(self, line, region):
        assert REGIONS[locate_lines([line], WHERE)[0]] == region

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"{}",
            b"[]",
            b"7",
            b"not a line",
            b'{"residency":null}',
            b'{"residency":{"account_country":7,"device_region":true,"sim_mcc":[]}}',
            b'{"residency":{"account_country":"\\ud800"}}',
            b'{"residency":{"account_country":"nl"}}',
            b'{"account_country":"USA"}',
            b'{"sim_mcc":' + b"9" * 5_000 + b"}",
            b"[" * 50_000,
        ],
    )
    def test_a_line_without_a_signal_has_no_region(self, line):
        assert locate_lines([line], WHERE).tolist() == [-1]

    @pytest.mark.clause("6-cn")
    @pytest.mark.clause("6-ru")
    @pytest.mark.parametrize(
        "line",
        [
            b'{"residency":{"account_country":"US","account_country":"RU"}}',
            b'{"residency":{"account_country":"RU","account_country":"US"}}',
            b'{"residency":{"account_country":"US"},"residency":{"account_country":"RU"}}',
            b'{"residency":{"account_country":"US"},"residency":{"sim_mcc":250}}',
            b'{"account_country":"US","account_country":"RU",',
            b'{"residency":{"account_country":["RU"]}}',
            b'{"residency":{"account_country":{"code":"RU"}}}',
            b'{"residency":{"account_country":"US","device_region":["RU"]}}',
            b'{"residency":{"account_country":"US","sim_mcc":250.0}}',
            b'{"residency":{"sim_mcc":"250.0"}}',
            b'{"account_country":"","account_country":"SG","account_country":"RU","account_country":"US"',
        ],
    )
    def test_of_several_values_the_localising_region_wins(self, line):
        assert REGIONS[locate_lines([line], WHERE)[0]] == "ru"

    @unhurried
    @given(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "account_country": st.sampled_from(["NL", "CN", "RU", "IN", "US", "SG", "HK", "xx", ""]),
                    "device_region": st.sampled_from(["NL", "CN", "RU", "IN", "US", "SG", "TW", "ZZ"]),
                    "sim_mcc": st.sampled_from([204, 460, 250, 404, 310, 525, 454, 0, 999]),
                },
            ),
            min_size=1,
            max_size=20,
        )
    )
    def test_a_residency_in_order_is_located_as_any_record_is(self, residencies):
        columns = {
            "account_country": pa.array([each.get("account_country") for each in residencies], pa.string()),
            "device_region": pa.array([each.get("device_region") for each in residencies], pa.string()),
            "sim_mcc": pa.array([each.get("sim_mcc") for each in residencies], pa.int64()),
        }
        expected = locate(columns, WHERE)[0].tolist()
        assert locate_lines([residing(**each) for each in residencies], WHERE).tolist() == expected

    @unhurried
    @given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.sampled_from(NOISE), RULES)
    def test_a_line_in_order_is_located_as_by_the_slow_reader(self, members, noise, where):
        members = members.rstrip(",").encode()
        lines = [b"{%s%s}" % (members, noise), b'{"residency":{%s},"x":"%s"}' % (members, noise)]
        fast = locate_lines(lines, where).tolist()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quarantine, "_in_order", lambda *_: None)
            assert locate_lines(lines, where).tolist() == fast

    @pytest.mark.parametrize("signal", WHERE.signals)
    def test_a_signal_that_the_pack_does_not_go_by_counts_for_nothing_however_often_it_is_named(self, signal):
        where = replace(WHERE, signals=(signal,))
        members = b'"account_country":"CN","account_country":"RU","device_region":"CN","device_region":"RU"'
        line = b'{"residency":{%s,"sim_mcc":460,"sim_mcc":250}}' % members
        assert locate_lines([line], where).tolist() == [where.code("cn")]

    def test_a_line_as_devices_send_it_is_located_fast(self, monkeypatch):
        monkeypatch.setattr(quarantine, "_signals", None)
        faults = [{}, {"source": 17}, {"x": "\n"}, {"residency": {"account_country": "NL", "sim_mcc": 204}}]
        lines = [json.dumps(event(number) | fault).encode() for number, fault in enumerate(faults)]
        assert {REGIONS[code] for code in locate_lines(lines, WHERE)} == {"eu"}

    @unhurried
    @given(st.lists(st.binary(max_size=80), max_size=5))
    def test_it_raises_for_no_line(self, lines):
        assert len(locate_lines(lines, WHERE)) == len(hours(lines)) == len(lines)


def test_hours_of_receipt():
    lines = [
        b'{"received_time":"2021-03-01T10:59:59.999Z"}',
        b'{"received_time" : "2021-03-01T11:59:59+01:00", cut short',
        b'{"received_time":"2021-02-30T10:00:00.000Z"}',
        b'{"received_time":17}',
        b"",
    ]
    ten = 1_614_592_800_000
    assert hours(lines) == [ten, ten, None, None, None]


def test_who_makes_up_hours_makes_up_no_rows():
    made_up = [b'{"received_time":"%d-01-01T%02d:00:00Z"}' % (1970 + n // 24, n % 24) for n in range(3_000)]
    often = b'{"received_time":"2199-12-31T23:00:00Z"}'
    told = hours([*made_up, often, often])
    assert told[-1] == told[-2] is not None
    assert len(set(told) - {None}) == 1_000 and told.count(None) == 2_001


class TestRowIds:
    @pytest.mark.parametrize("line", [b"line\r", b" line", b"line \t", b"\xef\xbb\xbfline", b"\xef\xbb\xbf line\r"])
    def test_what_surrounds_a_line_does_not_count(self, line):
        assert row_id(line, KEY, "telemetry") == row_id(b"line", KEY, "telemetry")

    def test_a_line_of_telemetry_is_not_the_same_line_of_the_ledger(self):
        assert row_id(b"line", KEY, "telemetry") != row_id(b"line", KEY, "ledger")

    def test_they_are_keyed(self):
        assert row_id(b"line", KEY, "telemetry") != row_id(b"line", bytes(32), "telemetry")
        assert row_id(b"line", KEY, "telemetry") != row_id(b"lines", KEY, "telemetry")

    @unhurried
    @given(st.integers(MAX_LINE_BYTES - 2, MAX_LINE_BYTES + 4), st.sampled_from([b"", b"\r", b" "]))
    def test_what_is_kept_of_a_line_has_its_id(self, length, end):
        line = b"x" * length + end
        assert row_id(line[: MAX_LINE_BYTES + 1], KEY, "telemetry") == row_id(line, KEY, "telemetry")


@unhurried
@given(st.lists(st.binary(min_size=2, max_size=2), unique=True, max_size=30), st.integers(0, 30), st.randoms())
def test_a_sample_follows_from_the_rows_and_not_from_their_order(rows, keep, random):
    shuffled = random.sample(rows, len(rows))
    assert set(sample(shuffled, keep)) == set(sample(rows, keep)) == set(sorted(rows)[:keep])


class TestSealing:
    def test_rows_hold_what_may_be_known_and_the_line_sealed(self, regions):
        line = json.dumps(event(received=1_614_592_805_000) | {"schema_version": "one"}).encode()
        sealed = regions.seal([line], reasons=[WRONG_TYPE])
        (row,) = sealed.rows[EU].to_pylist()
        assert sealed.rows[EU].schema.equals(ROWS)
        assert sealed.lines(EU) == [line]
        told = {name: row[name] for name in ("input", "stage", "reason", "clause", "state", "lines", "bytes")}
        assert told == {
            "input": "telemetry",
            "stage": "decode",
            "reason": "wrong_type",
            "clause": "1.1-a",
            "state": "kept",
            "lines": 1,
            "bytes": 512,
        }
        assert row["hour"].isoformat() == "2021-03-01T10:00:00+00:00"

    @pytest.mark.clause("6-cn")
    @pytest.mark.clause("6-ru")
    def test_each_region_has_its_own_lines_and_arrival_those_of_nowhere(self, regions):
        sealed = regions.seal([broken(1, "NL"), broken(2, "US"), b"nothing known"])
        assert set(sealed.lines(EU)) == {broken(1, "NL"), b"nothing known"}
        assert sealed.lines(US) == [broken(2, "US")]

    def test_what_belongs_elsewhere_is_counted_and_not_kept(self, regions):
        sealed = regions.seal([broken(1, "CN"), broken(2, "RU"), broken(3)], reasons=[NOT_JSON, WRONG_TYPE, NOT_JSON])
        assert sealed.lines(EU) == [broken(3)] and set(sealed.rows) == {EU}
        assert sealed.counted == {
            ("", "quarantine", "foreign", "not_json", "telemetry"): 1,
            ("", "quarantine", "foreign", "wrong_type", "telemetry"): 1,
        }

    def test_equal_lines_are_one_row_that_says_how_many(self, regions):
        sealed = regions.seal([broken(1), broken(2), broken(1) + b"\r", b" " + broken(1)])
        lines = dict(zip(sealed.lines(EU), sealed.rows[EU].column("lines").to_pylist(), strict=True))
        assert lines == {broken(1): 3, broken(2): 1}

    def test_of_a_line_that_is_too_long_so_much_is_kept_that_it_is_too_long_again(self, regions):
        (line,) = regions.seal([b"x" * (5 * MAX_LINE_BYTES)], reasons=[CODE[Reason.TOO_LONG]]).lines(EU)
        assert line == b"x" * (MAX_LINE_BYTES + 1)

    def test_no_fault_no_row(self, regions):
        assert not regions.seal([]).rows

    def test_without_a_public_key_a_region_keeps_counts(self, tmp_path):
        sealed = Regions(tmp_path, sealing=(US,), mute=(EU,)).seal([broken(1), broken(2), broken(1), broken(3, "US")])
        (row,) = sealed.rows[EU].to_pylist()
        assert (row["state"], row["lines"]) == ("no_key", 3)
        assert [name for name, value in row.items() if value is None] == ["hour", *ROWS.names[-6:]]
        assert sealed.lines(US) == [broken(3, "US")]

    def test_a_damaged_public_key_is_told_and_not_taken_for_none(self, tmp_path):
        regions = Regions(tmp_path, sealing=(EU,))
        (local_folder(regions.keys[EU]) / PUBLIC_KEY).write_bytes(b"")
        with pytest.raises(KeyUnavailable, match="quarantine.pub holds no X25519 key"):
            regions.seal([broken(1)])

    @few
    @given(st.integers(0, 30), seeds)
    def test_beyond_the_limit_lines_are_counted_exactly_whatever_their_order(self, keep, seed):
        regions = self.regions
        random = np.random.default_rng(seed)
        lines = [broken(n, ("NL", "US", "CN")[n % 3]) for n in random.integers(0, 30, 40).tolist()]
        first, second = (
            regions.seal(lines, keep),
            regions.seal(random.permutation(np.array(lines, object)).tolist(), keep),
        )
        distinct = {line for line in lines if b'"CN"' not in line}
        kept = [line for region in first.rows for line in first.lines(region)]
        assert len(kept) == min(keep, len(distinct)) and set(kept) <= distinct
        assert set(kept) == {line for region in second.rows for line in second.lines(region)}
        for region, country in ((EU, b"NL"), (US, b"US")):
            total = sum(country in line for line in lines)
            assert (sum(first.states(region).values()) if region in first.rows else 0) == total
        assert all(rows.num_rows <= keep + 1 for rows in first.rows.values())

    @pytest.fixture(autouse=True)
    def _shared(self, regions):
        type(self).regions = regions


@pytest.mark.clause("4.1-b")
def test_no_key_that_the_pipeline_holds_opens_a_line(regions):
    """Every secret and every wrapping key of the region is tried, as the private half and as the content key."""
    sealed = regions.seal([broken(1)])
    rows = pa.Table.from_batches([sealed.rows[EU]])
    folder = local_folder(regions.keys[EU])
    ring = open_keyring(regions.keys[EU])
    for kind in ("imei", "android_id"):
        ring.secret(f"seal/{kind}", "border")
    held = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    held += [
        ring.secret(str(path.relative_to(folder / "secrets").with_suffix("")), "border")
        for path in (folder / "secrets").rglob("*.wrapped")
    ]
    tried = 0
    for material in held:
        for start in range(len(material) - 31):
            private = X25519PrivateKey.from_private_bytes(material[start : start + 32])
            with pytest.raises(KeyUnavailable):
                open_lines(rows, private, place_of("eu", "telemetry"))
            tried += 1
    assert tried > 10 and sealed.lines(EU) == [broken(1)]

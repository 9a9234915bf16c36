"""A pack measured on a sample: what the shipped one shows, and what is said of one that is wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.check import main
from pipelines.errors import InputError
from pipelines.joinability import advice, as_json, as_text, measure
from pipelines.sample import Sample, write_sample
from schemas.pack_files import load_pack
from tests.editions import edition
from tests.lines import NOW, event, ndjson
from transforms.block import MOST_LINES
from transforms.decode import decode_events

PACK = load_pack()


def silent(_):
    pass


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    (events, _), _ = write_sample(Sample(), tmp_path_factory.mktemp("sample"), "zst")
    return [str(events)]


@pytest.fixture(scope="module")
def shipped(sample):
    return measure(PACK, sample, silent)


@pytest.mark.clause("2-analytics")
@pytest.mark.clause("2-log")
@pytest.mark.clause("1.1.4-c")
def test_the_shipped_pack_keeps_its_datasets_apart(shipped):
    assert shipped.above == () and len(shipped.judged) >= 15
    assert 19_000 < shipped.records < 20_000


def test_the_command_prints_it_and_its_status_tells(sample, shipped, capsys):
    assert main(["--joinability", *sample]) == 0
    assert capsys.readouterr().out.splitlines() == list(as_text(shipped))


def test_a_pair_of_which_the_sample_holds_little_is_told_and_not_judged(shipped):
    told = list(as_text(shipped))
    few = [pair for pair in shipped.pairs if pair not in shipped.judged and PACK.apart.keeps(*pair.purposes)]
    assert few and all(pair.both < PACK.apart.least_records for pair in few)
    assert sum("too few to judge" in line for line in told) == len(few)


def test_a_pair_that_is_not_kept_apart_is_measured_and_not_held_to_it(shipped):
    told = [line for line in as_text(shipped) if "not kept apart" in line]
    together = [pair for pair in shipped.pairs if not PACK.apart.keeps(*pair.purposes)]
    assert len(told) == len(together) == len(PACK.apart.together)
    assert all(pair.percent > PACK.apart.singled_out_percent and pair not in shipped.above for pair in together)


@pytest.mark.clause("2-analytics")
def test_an_exact_measure_in_two_datasets_fails_and_is_named(sample):
    def exact(rules):
        rules["purposes"]["research"]["columns"]["session.duration_ms"] = "plain"

    report = measure(edition("2021-03-01", exact), sample, silent)
    (pair,) = report.above
    assert pair.purposes == ("research", "user_experience") and pair.percent > 20
    assert pair.generalise.path == "session.duration_ms"
    assert "generalise session.duration_ms of research or user_experience (without it" in advice(pair)
    assert advice(pair) in as_text(report)


def test_a_pack_is_measured_as_if_it_had_always_been_in_force(sample, shipped):
    assert measure(edition("2030-01-01"), sample, silent).pairs == shipped.pairs


def test_json_holds_what_the_table_holds(shipped):
    told = json.loads(as_json(shipped))
    assert told["apart"] == PACK.apart.model_dump(mode="json")
    assert len(told["pairs"]) == len(shipped.pairs)
    assert sum(pair["judged"] for pair in told["pairs"]) == len(shipped.judged)


def one_purpose_more(rules):
    """`second` receives what `service` does of an application's life, and both show what happened to it, and when."""
    service = rules["purposes"]["service"]
    events = {"app_lifecycle": ["event_id", "app_lifecycle.state"]}
    columns = {"event_id": "token", "app_lifecycle.state": "plain"}
    only = service | {"event_time": "second", "events": events, "columns": columns}
    gates, apart = [], {"clause": "2-log", "singled_out_percent": 1, "least_records": 1}
    rules |= {"purposes": {"first": only, "second": only}, "gates": gates, "apart": apart}
    rules |= {"collection": [], "by_region": {}, "by_service": {}}
    del rules["statistics"], rules["lists"]


@pytest.fixture
def small():
    return edition("2021-03-01", one_purpose_more)


def lines(tmp_path, *events):
    path = tmp_path / "events.ndjson"
    path.write_bytes(ndjson(*events))
    return [str(path)]


def lifecycle(number, state="install", **more):
    return event(number, "app_lifecycle", device__android_id="1f3a5c7e9b0d2468", app_lifecycle__state=state, **more)


def test_a_repetition_is_one_record(tmp_path, small):
    report = measure(small, lines(tmp_path, lifecycle(1), lifecycle(1), lifecycle(2, "remove")), silent)
    assert (report.records, report.pairs[0].both, report.pairs[0].singled_out) == (2, 2, 2)


def test_rows_of_two_regions_are_never_compared(tmp_path, small):
    abroad = lifecycle(2, residency={"account_country": "SG"})
    report = measure(small, lines(tmp_path, lifecycle(1), abroad), silent)
    assert (report.pairs[0].both, report.pairs[0].singled_out) == (2, 2)
    report = measure(small, lines(tmp_path, lifecycle(1), lifecycle(2)), silent)
    assert (report.pairs[0].both, report.pairs[0].singled_out) == (2, 0)


def test_a_record_that_a_purpose_may_not_have_is_not_held(tmp_path, small):
    nobodys = event(2, "app_lifecycle", app_lifecycle__state="install")
    report = measure(small, lines(tmp_path, lifecycle(1), nobodys), silent)
    assert report.records == 2 and report.pairs[0].rows == (1, 1)


def test_times_are_compared_as_both_show_them(tmp_path, small):
    times = [NOW, NOW + 400, NOW + 1_000]
    report = measure(small, lines(tmp_path, *(lifecycle(n, received=at) for n, at in enumerate(times))), silent)
    assert report.pairs[0].singled_out == 1 and report.above[0].generalise.path == "event_time"


def test_a_flood_of_short_lines_is_read_as_the_border_reads_it(tmp_path, small, monkeypatch):
    """A line costs a thousand bytes of memory, however short it is."""
    (path,), decoded = lines(tmp_path, lifecycle(1)), []
    Path(path).write_bytes(b"\n" * (MOST_LINES + 2) + Path(path).read_bytes())

    def counted(block, *given):
        decoded.append(block.count(b"\n"))
        return decode_events(block, *given)

    monkeypatch.setattr("transforms.consented.decode_events", counted)
    assert measure(small, [path], silent).records == 1
    assert sum(decoded) > MOST_LINES >= max(decoded)


@pytest.mark.parametrize("few", [[], [event(1)], [{"event_id": "no"}]])
def test_a_sample_that_shows_nothing_does_not_pass(tmp_path, few):
    with pytest.raises(InputError, match="the sample "):
        measure(PACK, lines(tmp_path, *few), silent)


def test_nothing_of_a_record_is_told(tmp_path, small):
    given = lifecycle(1, service="unheard-of-service", app__package="com.unheard.of")
    report = measure(small, lines(tmp_path, given), silent)
    told = as_json(report) + "\n".join(as_text(report))
    assert "unheard" not in told and "1f3a5c7e9b0d2468" not in told and "install" not in told


@pytest.mark.clause("2-analytics")
def test_of_the_purposes_that_receive_an_event_type_one_at_most_has_fine_times():
    fine = Counter(
        event_type
        for purpose in PACK.purposes.values()
        if purpose.stored and purpose.event_time != "day"
        for event_type in purpose.events
    )
    # No record opens both of these: what is a promotion is kept out of one, what is a system notice out of the other.
    assert {event_type for event_type, many in fine.items() if many > 1} <= {"push_interaction"}

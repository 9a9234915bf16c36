"""`douane explain` says what the job does: it is held against a whole run, row by row and count by count."""

import gzip
import io
import json
import sys
from collections import Counter
from datetime import date, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest

from pipelines import audit_rows, explain
from pipelines.audit_rows import read_totals
from pipelines.deployment import load_deployment, prepare
from pipelines.errors import StoreError
from pipelines.job import plan, run
from pipelines.options import parse
from pipelines.sample import Sample, write_sample
from pipelines.stores import open_dataset, open_entries
from schemas.datasets import AUDIT, datasets
from tests.invariants.crowd import Crowd, write_pack
from tests.stranger import DEVICE, REGIONS, command, deploy, entry, event, ndjson
from transforms.block import MOST_LINES
from transforms.decode import decode_ledger
from transforms.entries import LIMIT, about, ids_of, joined, latest, sharing_ids
from transforms.explain import Explainer


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run over a sample and over some records of people with histories of every kind, and the explanation of each
    that is no repetition."""
    folder = tmp_path_factory.mktemp("ran")
    crowd = Crowd(seed=4, people=120)
    crowd.records = [*{record["id"]: record for record in crowd.records}.values()][::7]
    made = Sample(events=45, devices=12, entries=60, days=1, start=date(2021, 3, 1), seed=4, bad_share=0.05)
    inputs = [crowd.write(folder), write_sample(made, folder / "sample")[0]]
    events, consents = (b"".join(path.read_bytes() for path in paths) for paths in zip(*inputs, strict=True))
    (folder / "events.ndjson").write_bytes(events)
    (folder / "consents.ndjson").write_bytes(consents)
    pack, deployment = write_pack(folder / "pack"), deploy(folder)
    given = [f"--events={folder}/events.ndjson", f"--consents={folder}/consents.ndjson", f"--policy={pack}"]
    options = parse([*given, f"--deployment={deployment}"])
    job = plan(options, say=lambda _: None)
    assert run(job, options.beam)
    explainer, ledger = Explainer(job.editions, job.keys), decode_ledger(consents)
    found_, ledgers, told, seen = [], [], [], set()
    for line in events.splitlines():
        found = explainer.read(line)
        if found.good and (id_ := found.decoded.columns["event_id"][0].as_py()) not in seen:
            seen.add(id_)
            own = about(ledger, found.subjects)
            others = sharing_ids(ledger, ids_of(own), found.subjects)
            found_.append(found)
            ledgers.append(joined([own, others]))
            told.append(explainer.explain(found, ledgers[-1]))

    def outcome(found, ledger, name):
        return next(each.outcome for each in explainer.explain(found, ledger).purposes if each.purpose == name)

    return SimpleNamespace(job=job, told=told, events=found_, ledgers=ledgers, outcome=outcome, deployment=deployment)


def in_words(row):
    return tuple((name, _word(value)) for name, value in sorted(row.items()))


def _word(value):
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.clause("4.1-c")
def test_its_rows_are_those_that_the_job_stores(ran):
    expected = Counter(
        (told.place.region, dataset, in_words(row)) for told in ran.told for dataset, row in told.rows.items()
    )
    stored = Counter(
        (region, dataset, in_words(row))
        for region in REGIONS
        for dataset in sorted(
            set(datasets(ran.job.pack)) & set(load_deployment(ran.deployment).place(region).manifest.datasets())
        )
        for row in open_dataset(ran.deployment, region, dataset).to_table().to_pylist()
    )
    assert len(ran.told) > 80 and sum(stored.values()) > 60
    assert expected == stored


@pytest.mark.clause("5.3")
def test_its_verdicts_are_those_that_the_gate_counts(ran):
    said = Counter(
        (told.place.region, told.event["event_type"], purpose.purpose, purpose.outcome)
        for told in ran.told
        for purpose in told.purposes
    )
    rows = read_totals(ran.job.places.values(), ran.job.run).table.to_pylist()
    counted = Counter()
    for row in rows:
        if row["step"] == "gate" and row["outcome"] in ("opened", "refused"):
            counted[row["region"], row["event_type"], row["purpose"], row["reason"] or "open"] += row["count"]
    assert said == counted
    assert {outcome for *_, outcome in said} >= {
        *("open", "no_subject", "restricted", "erased", "minor", "withdrawn", "objected", "no_grant"),
        "source_not_admitted",
    }


def test_what_the_chain_says_holds(ran):
    """Each purpose that a consent opens names the grant, each that a stop closes names the stop; and an entry that
    does not count is never said to decide."""
    closing = {"restricted", "erased", "closed", "withdrawn", "objected"}
    seen = Counter()
    for told in ran.told:
        for purpose in told.purposes:
            did = Counter(did.what for link in purpose.chain for did in link.did)
            seen.update(did)
            if purpose.outcome == "open":
                assert did["closes"] == did["does not suffice"] == did["closes too"] == 0
                assert did["opens"] == (purpose.basis == "consent")
            else:
                assert did["opens"] == did["opens too"] == 0
            if purpose.outcome in closing:
                assert did["closes"] == 1
            for link in purpose.chain:
                assert len(link.did) == len({each.what for each in link.did})
                assert all(0 < number <= len(told.entries) for each in link.did for number in each.entries)
    assert {"opens", "opens too", "closes", "closes too", "lifts", "lifted by", "overruled by", "overrules"} <= set(
        seen
    )
    assert {"not yet known", "given after the event", "other purpose", "other application"} <= set(seen)
    assert {"changes nothing", "does not suffice"} <= set(seen)


def test_the_entries_that_decide_are_enough_and_none_of_them_is_too_many(ran):
    deciding = {"opens", "closes", "does not suffice"}
    asked = 0
    for told, found, ledger in zip(ran.told, ran.events, ran.ledgers, strict=True):
        parts, _ = latest(ledger, LIMIT)
        for purpose in told.purposes:
            numbers = [link.entry for link in purpose.chain if deciding & {did.what for did in link.did}]
            if asked < 15 and numbers and purpose.outcome not in ("opted_out", "not_for_purpose"):
                asked += 1
                kept = joined([parts[number - 1] for number in numbers])
                assert ran.outcome(found, kept, purpose.purpose) == purpose.outcome
                if len(numbers) == 1:
                    nothing = about(kept, {type_: pa.scalar(None, pa.binary()) for type_ in ("device", "account")})
                    assert ran.outcome(found, nothing, purpose.purpose) != purpose.outcome
    assert asked == 15


# --- the command ---


@pytest.fixture
def site(tmp_path):
    """Two events, a ledger and a deployment of eu and us with keystores."""
    deployment = deploy(tmp_path, ("eu", "us"), arrival="us")
    for place in load_deployment(deployment).regions.values():
        prepare(place, lambda _: None)
    events, consents = tmp_path / "events.ndjson", tmp_path / "consents.ndjson"
    events.write_bytes(ndjson(event(1), event(2, "crash", crash={"trace": "from 203.0.113.77"})) + b"no json")
    consents.write_bytes(ndjson(entry(1, "grant"), entry(2, "grant", "2f3a5c7e9b0d2469")))
    return SimpleNamespace(folder=tmp_path, deployment=deployment, events=events, consents=consents)


@pytest.fixture
def run_explain(site):
    def run_(where, *more, ledger=True):
        given = ("--consents", site.consents) if ledger else ("--no-ledger",)
        return command(explain, "--event", where, *given, "--deployment", site.deployment, *more)

    return run_


def accesses(site, region):
    """How often the audit of a region tells of an explanation."""
    place = load_deployment(site.deployment).place(region)
    entries = [each for each in place.manifest.entries(AUDIT) if each.file]
    rows = open_entries(place, entries).to_table().to_pylist() if entries else []
    return sum(row["count"] for row in rows if (row["step"], row["outcome"]) == ("access", "explained"))


def test_text_and_json_tell_the_same(site, run_explain):
    text, data = run_explain(f"{site.events}:2"), run_explain(f"{site.events}:2", "--json")
    assert (text.status, text.err, data.status) == (0, "", 0)
    told = json.loads(data.out)
    assert told["line"]["outcome"] == "accepted" and told["event"]["event_type"] == "crash"
    for purpose in told["purposes"]:
        assert (
            f"  {purpose['purpose']}: {'open' if purpose['outcome'] == 'open' else 'closed: ' + purpose['outcome']}"
            in text.out
        )
    for dataset, row in told["rows"].items():
        assert f"  {dataset}\n" in text.out
        assert all(str(value) in text.out for value in row.values() if value is not None)
    assert "from <IP>" in text.out and "scrubbed of ipv4 1 (1.1.1)" in text.out
    assert "#1  grant  device" in text.out and "id entry-1" in text.out and "entry-2" not in text.out
    assert "#1 opens" in text.out


def test_no_value_makes_a_line_or_a_colour_of_its_own(site, run_explain):
    """The ledger's ids and the event's signals are text of others; JSON escapes them by itself."""
    forged = "x\x1b[31m\nPurposes: FORGED\u2028\u202e"
    site.consents.write_bytes(ndjson(entry(1, "grant", entry_id=forged)))
    signals = {"account_country": "\x1b\nForged", "device_region": "DE"}
    site.events.write_bytes(ndjson(event(1, residency=signals)))
    text = run_explain(site.events)
    assert text.status == 0 and "id x\\x1b[31m\\nPurposes: FORGED\\u2028\\u202e" in text.out
    assert "\\x1b\\n… (8 characters)" in text.out
    assert all(line.isprintable() for line in text.out.split("\n"))
    told = json.loads(run_explain(site.events, "--json").out)
    assert [each["entry_id"] for each in told["entries"]] == [forged]


def test_one_of_a_thing_is_told_as_one(site, run_explain):
    nobody = {"type": "device", "value": "nobody"}
    site.consents.write_bytes(ndjson(entry(1, "restrict", subject=nobody)))
    site.events.write_bytes(ndjson(event(1, stray=1, residency={"account_country": "1", "device_region": "DE"})))
    text = run_explain(site.events).out
    assert "*: 1 unknown field dropped (1.1-a)" in text
    assert "… (1 character)" in text
    assert "1 line of the ledger with no subject" in text


def test_a_line_that_no_region_may_have(site, run_explain):
    site.events.write_bytes(ndjson(event(1, residency={"account_country": "ZZ"})))
    verdict = run_explain(site.events).out.splitlines()[0]
    assert verdict.endswith("it is counted and not kept (no_usable_signal, 6-dc)")


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_raw_identifiers_are_not_echoed(site, run_explain, more):
    outcome = run_explain(f"{site.events}:2", *more)
    assert outcome.status == 0 and "(16 characters)" in outcome.out
    assert DEVICE not in outcome.out and "203.0.113.77" not in outcome.out


@pytest.mark.clause("4.1-c")
def test_it_leaves_a_row_in_the_audit_of_the_region(site, run_explain):
    assert run_explain(site.events).status == 0
    assert (accesses(site, "eu"), accesses(site, "us")) == (1, 0)
    rejected = run_explain(f"{site.events}:3")
    assert rejected.status == 0 and "rejected by decode: not_json (1.1-a)" in rejected.out
    assert (accesses(site, "eu"), accesses(site, "us")) == (1, 1)  # us is where it arrived


@pytest.mark.clause("4.1-c")
def test_nothing_is_shown_without_a_trace(site, run_explain, monkeypatch):
    def refuse(*_, **__):
        raise StoreError("the audit cannot be written")

    monkeypatch.setattr(audit_rows, "note_access", refuse)
    outcome = run_explain(site.events)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.errors == ["douane explain: the audit cannot be written"]


@pytest.mark.parametrize("where", ["events.ndjson:4", "events.ndjson:0", "none.ndjson", "none.ndjson:1", "*.ndjson:1"])
def test_there_is_no_such_line(site, run_explain, where):
    outcome = run_explain(site.folder / where)
    assert (outcome.status, outcome.out) == (4, "")
    assert len(outcome.errors) == 1 and "Traceback" not in outcome.err
    assert accesses(site, "eu") == accesses(site, "us") == 0


def test_from_standard_input_and_compressed(site, run_explain, monkeypatch):
    for content, status in ((ndjson(event(1)), 0), (b"", 4)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert run_explain("-").status == status
    monkeypatch.undo()
    packed = site.folder / "more.ndjson.gz"
    packed.write_bytes(gzip.compress(ndjson(event(1), event(2, region="us"))))
    assert "  us (6-dc)" in run_explain(f"{packed}:2").out


def test_without_a_ledger(site, run_explain):
    told = json.loads(run_explain(site.events, "--json", ledger=False).out)
    outcomes = {purpose["purpose"]: purpose["outcome"] for purpose in told["purposes"]}
    assert outcomes["service"] == "open" and outcomes["user_experience"] == "no_basis"


def test_a_region_that_is_not_served(site, run_explain):
    site.events.write_bytes(ndjson(event(1, region="cn")))
    outcome = run_explain(site.events)
    assert outcome.status == 0 and "a region that this deployment does not serve" in outcome.out
    assert "not kept (6-cn)" in outcome.out and accesses(site, "us") == 1


@pytest.mark.parametrize("given", [(), ("--no-ledger", "--consents", "x"), ("--consents",)])
def test_what_is_wrong_with_the_options(site, given):
    outcome = command(explain, "--event", site.events, "--deployment", site.deployment, *given)
    assert (outcome.status, outcome.out) == (2, "")


def test_keys_that_are_not_there_are_not_made(site, run_explain):
    deployment = deploy(site.folder / "other", ("eu", "us"))
    outcome = command(explain, "--event", site.events, "--no-ledger", "--deployment", deployment)
    assert (outcome.status, outcome.out) == (2, "")
    assert "no keystore" in outcome.err and not list((site.folder / "other").glob("keys/*"))


def test_entries_of_others_with_the_same_id_are_found_in_any_block(site, run_explain, monkeypatch):
    """A correction anywhere in the ledger counts, written in whatever way."""
    monkeypatch.setattr("pipelines.blocks.BLOCK_BYTES", 256)
    broken = b'{"entry_id": "entry-9", "subject": {"type": "device", "value": "%s"}}\n' % DEVICE.encode()
    fill = ndjson(*(entry(n, "grant", "2f3a5c7e9b0d2469") for n in range(20, 40)))
    fixed = ndjson(entry(9, "grant", "3f3a5c7e9b0d2469")).replace(b"entry-9", b"entry\\u002d9")
    for content, expected in ((broken + fill, "restricted"), (broken + fill + fixed, "open")):
        site.consents.write_bytes(content)
        told = json.loads(run_explain(site.events, "--json").out)
        assert {purpose["outcome"] for purpose in told["purposes"] if purpose["purpose"] == "service"} == {expected}


def test_a_flood_of_short_lines_is_read_as_the_border_reads_it(site, run_explain, monkeypatch):
    """A line costs a thousand bytes of memory, however short it is."""
    blank, decoded = b"\n" * (MOST_LINES + 2), []
    site.events.write_bytes(blank + site.events.read_bytes())
    site.consents.write_bytes(blank + site.consents.read_bytes())

    def counted(block, *given):
        decoded.append(block.count(b"\n"))
        return decode_ledger(block, *given)

    monkeypatch.setattr("transforms.decode.decode_ledger", counted)
    outcome = run_explain(f"{site.events}:{MOST_LINES + 3}")
    assert outcome.status == 0 and "#1  grant" in outcome.out
    assert sum(decoded) > MOST_LINES >= max(decoded)

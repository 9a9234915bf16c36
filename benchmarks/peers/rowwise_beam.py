"""The job's work as Beam is usually written: a dict a record, a DoFn a step, `json.loads` and `hmac` for each.

    python -m benchmarks.peers.rowwise_beam GIVEN OUT

Reads, writes and prints what `polars_script.py` does, with the limits of that, on FnApiRunner in the environment of the
project. The ledger is a side input, a dict of each subject's entries.
"""

import hmac
import json
import logging
import math
import re
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.parquetio import WriteToParquet
from apache_beam.options.pipeline_options import PipelineOptions

STEPS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
EPOCHS = {"month": "%Y-%m", "year": "%Y", "forever": "forever"}
NUMBERS = {"int64": pa.int64(), "float64": pa.float64()}
HASHED = ("token", "sealed", "fingerprint")
SUSPICIOUS = re.compile(
    r"@[a-z0-9-]+\.[a-z]|\b[0-9]{15}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
    r"|\beyJ[A-Za-z0-9_-]{10}|(?i:password|secret|api_?key)[=:]"
)
TEXTS = (("crash", "exception"), ("crash", "trace"), ("page_view", "page"), ("network_request", "host"))


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def value_of(event, path):
    head, _, leaf = path.partition(".")
    found = event.get(head)
    return found.get(leaf) if leaf and found is not None else found


def region_of(event, rules):
    """The region that the signals name; where they differ a localising one wins."""
    home = event.get("residency") or {}
    countries = rules["region_of_country"]
    named = [countries.get(home.get("account_country")), countries.get(home.get("device_region"))]
    named.append(rules["region_of_mcc"].get(str(home.get("sim_mcc"))))
    for region in rules["localising"]:
        if region in named:
            return region
    return next((region for region in named if region), None)


class Read(beam.DoFn):
    """A line -> its record as a dict, unless it lies nowhere."""

    def __init__(self, rules):
        self.rules = rules

    def process(self, line):
        event = json.loads(line)
        event["region"] = region_of(event, self.rules)
        if event["region"] is None or event["service"] in self.rules["closed_services"]:
            return
        event["happened"] = milliseconds(event["event_time"])
        event["received"] = milliseconds(event["received_time"])
        for head, leaf in TEXTS:
            if leaf in event.get(head, ()):
                event[head][leaf] = SUSPICIOUS.sub("<REMOVED>", event[head][leaf])
        device = event.setdefault("device", {})
        event["nameless"] = "android_id" not in device and any(
            value_of(event, path) is not None for path in self.rules["device_identifiers"]
        )
        absent = self.rules["absent"]
        event["zeroed"] = any(device.get(kind) == absent[kind] for kind in ("oaid", "gaid"))
        for kind, nothing in absent.items():
            if device.get(kind) == nothing:
                del device[kind]
        yield event


def identity(event):
    subject = event["device"].get("android_id") or event.get("account_id") or ""
    return (event["region"], subject, event["event_id"]), event


class First(beam.DoFn):
    """Of the records of one identity the first received."""

    def process(self, element):
        _, events = element
        yield min(events, key=lambda event: event["received"])


class ReadEntry(beam.DoFn):
    """A line of the ledger -> (whom it is about, the entry)."""

    def __init__(self, rules):
        self.rules = rules

    def process(self, line):
        entry = json.loads(line)
        entry["time"] = milliseconds(entry["time"])
        entry["region"] = region_of(entry, self.rules)
        yield (entry["subject"]["type"], entry["subject"]["value"]), entry


class Judge(beam.DoFn):
    """A record -> itself with the purposes that are open for it."""

    def __init__(self, rules):
        self.rules = rules

    def setup(self):
        self.asked = defaultdict(set)
        for name, of in self.rules["purposes"].items():
            for event in of["events"]:
                self.asked[event].add(name)
            for event, needed in of["collected_with"].items():
                self.asked[event].update(needed)
        for dataset in self.rules["datasets"].values():
            for column in dataset["columns"]:
                for event in column["events"] if column["gate"] else ():
                    self.asked[event].add(column["gate"])

    def process(self, event, ledger):
        device, account = event["device"].get("android_id"), event.get("account_id")
        entries = [e for who in (("device", device), ("account", account)) for e in ledger.get(who, ())]
        latest = min(event["happened"], event["received"] - 1_000)
        entries = [e for e in entries if is_stop(e) or (e["time"] <= latest and e["region"] == event["region"])]
        opened = {name for name in self.asked[event["event_type"]] if self.is_open(event, name, entries)}
        event["open"] = {name for name in opened if self.is_collected(event, name, opened)}
        yield event

    def is_collected(self, event, name, opened):
        of = self.rules["purposes"][name]
        needed = of["collected_with"].get(event["event_type"])
        return not needed or event["region"] in of["spared"] or not opened.isdisjoint(needed)

    def is_open(self, event, name, entries):
        of = self.rules["purposes"][name]
        if event["source"] not in of["sources"][event["region"]] or (of["zeroed_closes"] and event["zeroed"]):
            return False
        if any(value_of(event, path) in words for path, words in of["unless"].items()):
            return False
        has = {"device": "android_id" in event["device"], "account": "account_id" in event}
        if not all(has[subject] for subject in of["needs"]) or (of["needs"] and event["nameless"]):
            return False

        def times(*kinds):
            return [e["time"] for e in entries if e["kind"] in kinds]

        restricted, adult, minor = times("restrict"), times("adult"), times("minor")
        if restricted and max(restricted) >= max(times("lift_restriction"), default=0):
            return False
        erased = max(times("erase"), default=0)
        if erased >= event["happened"] or ("account" in of["needs"] and times("close")):
            return False
        underage = minor and max(minor) >= max(adult, default=0)
        if underage and of["minors_excluded"]:
            return False
        about = [e for e in entries if name in e.get("purposes", ()) or "*" in e.get("purposes", ())]
        if of["per_application"]:
            app = value_of(event, "app.package")
            about = [e for e in about if is_about(e, app)]
        objected = max((e["time"] for e in about if e["kind"] in ("withdraw", "object")), default=0)
        if of["bases"][event["region"]] != "consent":
            lifts = (e["time"] for e in about if e["kind"] in ("grant", "lift_objection"))
            return not objected or max(lifts, default=0) > objected
        return any(
            grant["kind"] == "grant"
            and grant["subject"]["type"] in of["grantors"]
            and (not of["minimum"] or grant.get("policy_version", "") >= of["minimum"])
            and grant["time"] > max(objected, erased)
            and (not minor or grant.get("guardian") or (not underage and grant["time"] > max(adult)))
            for grant in about
        )


def is_stop(entry):
    return entry["kind"] in ("withdraw", "object", "restrict", "minor", "erase", "close")


def is_about(entry, app):
    """Whether an entry about one application, or about all, is about this one."""
    own = entry.get("app")
    return (own is not None and own == app) or (is_stop(entry) and (own is None or app is None))


class Rows(beam.DoFn):
    """A record -> a row for each dataset of a purpose that is open, tagged with the dataset's name."""

    def __init__(self, rules):
        self.rules = rules

    def process(self, event):
        for name, dataset in self.rules["datasets"].items():
            of = self.rules["purposes"][dataset["purpose"]]
            if dataset["purpose"] not in event["open"] or event["event_type"] not in of["events"]:
                continue
            step = STEPS[of["unit"]]
            row = {"region": event["region"], "event_type": event["event_type"]}
            row["event_time"] = event["happened"] // step * step
            for column in dataset["columns"]:
                stands = event["event_type"] in column["events"]
                stands = stands and (not column["gate"] or column["gate"] in event["open"])
                value = value_of(event, column["path"]) if stands else None
                row[column["name"]] = None if value is None else formed(value, column, event, dataset["purpose"], of)
            if dataset["sensitive"] and all(row[c["name"]] is None for c in dataset["columns"] if c["sensitive"]):
                continue
            yield beam.pvalue.TaggedOutput(name, row)


def formed(value, column, event, purpose, of):
    """A column of a dataset from the field that it comes from."""
    match column["form"]:
        case form if form in HASHED:
            epoch = datetime.fromtimestamp(event["received"] / 1000, UTC).strftime(EPOCHS[of["epoch"]])
            message = f"{event['region']}/{epoch}/{column['kind']}/{value}"
            return hmac.digest(f"benchmark/{purpose}".encode(), message.encode(), "sha256")[:16]
        case "bucket":
            cut = round(math.floor(round(value / column["step"], 9)) * column["step"], 9)
            return int(cut) if column["type"] == "int64" else float(cut)
        case "major":
            found = re.match(r"[^\W\d_]{0,3}([0-9]{1,9})", value)
            return found and found[1]
        case "listed":
            return value if value in column["words"] else "<OTHER>"
        case "network":
            if "." in value:
                return value.rpartition(".")[0] + ".0/24"
            return ":".join(value.split(":")[:3]) + "::/48"
    return float(value) if column["type"] == "float64" else value


def schema_of(dataset):
    fields = [("region", pa.string()), ("event_type", pa.string()), ("event_time", pa.int64())]
    for column in dataset["columns"]:
        type_ = pa.binary() if column["form"] in HASHED else NUMBERS.get(column["type"], pa.string())
        fields.append((column["name"], type_))
    return pa.schema(fields)


def run(folder: Path, out: Path) -> None:
    rules = json.loads((folder / "rules.json").read_text())
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        ledger = pipeline | "Ledger" >> beam.io.ReadFromText(str(folder / "consents.ndjson"))
        ledger = ledger | beam.ParDo(ReadEntry(rules)) | beam.GroupByKey()
        ledger = ledger | beam.MapTuple(lambda who, entries: (who, list(entries)))
        records = pipeline | "Events" >> beam.io.ReadFromText(str(folder / "events.ndjson"))
        records = records | beam.ParDo(Read(rules)) | beam.Map(identity) | "Once" >> beam.GroupByKey()
        records = records | beam.ParDo(First()) | beam.ParDo(Judge(rules), beam.pvalue.AsDict(ledger))
        rows = records | beam.ParDo(Rows(rules)).with_outputs(*rules["datasets"])
        for name, dataset in rules["datasets"].items():
            at = str(out / name)
            _ = rows[name] | f"Write {name}" >> WriteToParquet(
                at, schema_of(dataset), file_name_suffix=".parquet", num_shards=1, shard_name_template=""
            )


def main() -> None:
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    started = time.perf_counter(), time.process_time()
    run(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"seconds": [time.perf_counter() - started[0], time.process_time() - started[1]]}))


if __name__ == "__main__":
    main()

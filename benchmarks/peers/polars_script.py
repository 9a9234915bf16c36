"""The job's work as a script in polars: as-of joins for consent, the HMAC of polars-hash for pseudonyms.

    PYTHON benchmarks/peers/polars_script.py GIVEN OUT

reads what `benchmarks.peers.given` made, writes one plain Parquet file a dataset and prints JSON: seconds of (the wall,
the processor). It runs in an environment of its own (requirements.txt beside it). All is held in memory. What it does
not do: no state and no windows, so nothing of it could run on a stream; no encryption; no line is checked, rejected or
sealed, one that is wrong ends the script; no overlays but what the rules resolve; no statistics, orders or audit.
"""

import json
import sys
import time
from functools import reduce
from pathlib import Path

import polars as pl
import polars_hash  # noqa: F401 - it registers `chash`, which makes pseudonyms

TYPES = {"string": pl.String, "int64": pl.Int64, "float64": pl.Float64, "list<string>": pl.List(pl.String)}
STEPS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
EPOCHS = {"month": "%Y-%m", "year": "%Y"}
STOPS = ("withdraw", "object")
SUSPICIOUS = (
    r"@[a-z0-9-]+\.[a-z]|\b[0-9]{15}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
    r"|\beyJ[A-Za-z0-9_-]{10}|(?i:password|secret|api_?key)[=:]"
)
SUBJECTS = ("device", "account")


def read(path: Path, fields: dict[str, str]) -> pl.DataFrame:
    """One column for each leaf, under its path."""
    nested: dict = {}
    for name, type_ in fields.items():
        *parents, leaf = name.split(".")
        reduce(lambda node, parent: node.setdefault(parent, {}), parents, nested)[leaf] = TYPES[type_]

    def dtype(node):
        return pl.Struct({name: dtype(child) for name, child in node.items()}) if isinstance(node, dict) else node

    lines = pl.scan_ndjson(path, schema={name: dtype(node) for name, node in nested.items()})
    leaves = (
        pl.col(path_.split(".")[0]).struct.field(path_.split(".")[1]).alias(path_) if "." in path_ else pl.col(path_)
        for path_ in fields
    )
    return lines.select(leaves).collect()


def milliseconds(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="ms").dt.epoch("ms")


def located(rules: dict) -> pl.Expr:
    """The region that the signals name; where they differ a localising one wins."""
    signals = [
        pl.col(f"residency.{name}").replace_strict(rules["region_of_country"], default=None, return_dtype=pl.String)
        for name in ("account_country", "device_region")
    ]
    mccs = {int(mcc): region for mcc, region in rules["region_of_mcc"].items()}
    signals.append(pl.col("residency.sim_mcc").replace_strict(mccs, default=None, return_dtype=pl.String))
    winners = [
        pl.when(pl.any_horizontal(s == name for s in signals)).then(pl.lit(name)) for name in rules["localising"]
    ]
    return pl.coalesce(*winners, *signals)


def records(folder: Path, rules: dict) -> pl.DataFrame:
    """Every record once, the first received of each; `t` is by when a permission must have been given."""
    frame = read(folder / "events.ndjson", rules["event_fields"])
    received, happened = milliseconds("received_time"), milliseconds("event_time")
    frame = frame.with_columns(
        region=located(rules),
        received=received,
        happened=happened,
        device=pl.col("device.android_id"),
        account=pl.col("account_id"),
    ).filter(pl.col("region").is_not_null())
    names = [name for name in rules["device_identifiers"] if name != "device.android_id"]
    zeroed = [pl.col(f"device.{name}") == rules["absent"][name] for name in ("oaid", "gaid")]
    frame = frame.with_columns(
        t=pl.min_horizontal("happened", pl.col("received") - 1_000),
        nameless=pl.col("device").is_null() & pl.any_horizontal(pl.col(name).is_not_null() for name in names),
        zeroed=pl.any_horizontal(zeroed).fill_null(False),
        unserved=pl.col("service").is_in(rules["closed_services"]),
    )
    gone = {f"device.{kind}": nothing for kind, nothing in rules["absent"].items()}
    frame = frame.with_columns(
        pl.when(pl.col(name) != nothing).then(pl.col(name)).alias(name) for name, nothing in gone.items()
    )
    texts = ("crash.exception", "crash.trace", "page_view.page", "network_request.host")
    frame = frame.with_columns(
        pl.when(pl.col(name).str.contains(SUSPICIOUS))
        .then(pl.col(name).str.replace_all(SUSPICIOUS, "<REMOVED>"))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )
    frame = frame.with_columns(subject=pl.coalesce("device", "account", pl.lit("")))
    return frame.sort("received").unique(["region", "subject", "event_id"], keep="first").sort("t").with_row_index()


def ledger(folder: Path, rules: dict) -> pl.DataFrame:
    frame = read(folder / "consents.ndjson", rules["ledger_fields"])
    return frame.select(
        "kind",
        "purposes",
        "app",
        "policy_version",
        type="subject.type",
        value="subject.value",
        guardian=pl.col("guardian").is_not_null(),
        time=milliseconds("time"),
        region=located(rules),
    ).sort("time")


class Consent:
    """The rule of consent over all records at once. Every column that is added is the latest time of something."""

    def __init__(self, entries: pl.DataFrame, frame: pl.DataFrame, rules: dict) -> None:
        self._entries, self._rules = entries, rules
        for kind in ("restrict", "erase", "minor", "close"):
            frame = self._stopped(frame, entries.filter(pl.col("kind") == kind), kind)
        for kind, stop in (("lift_restriction", "restrict"), ("adult", "minor")):
            about = frame.filter(pl.col(stop).is_not_null()).select("index", "t", "region", *SUBJECTS)
            about = self._permitted(about, entries.filter(pl.col("kind") == kind), kind)
            frame = frame.join(about.select("index", kind), on="index", how="left", maintain_order="left")
        self.frame = frame.with_columns(
            shut=_not_after("lift_restriction", "restrict")
            | (pl.col("erase") >= pl.col("happened")).fill_null(False)
            | pl.col("unserved"),
            underage=_not_after("adult", "minor"),
        )

    def _stopped(self, frame: pl.DataFrame, stops: pl.DataFrame, name: str) -> pl.DataFrame:
        """The latest of these stops about either subject, whenever it came."""
        for subject in SUBJECTS:
            latest = (
                stops.filter(pl.col("type") == subject)
                .group_by("value")
                .agg(pl.col("time").max().alias(subject + name))
            )
            frame = frame.join(latest, left_on=subject, right_on="value", how="left", maintain_order="left")
        return self._either(frame, name)

    def _permitted(self, frame: pl.DataFrame, permissions: pl.DataFrame, name: str, by: tuple = ()) -> pl.DataFrame:
        """The latest of these permissions that was given in time to either subject. `frame` is sorted by `t`."""
        for subject in SUBJECTS:
            own = permissions.filter(pl.col("type") == subject)
            own = own.select(pl.col("value").alias(subject), "region", *by, "time")
            own = own.with_columns(pl.col("time").alias(subject + name))
            keys = [subject, "region", *by]
            frame = frame.join_asof(own, left_on="t", right_on="time", by=keys, check_sortedness=False).drop(
                "time", strict=False
            )
        return self._either(frame, name)

    def _either(self, frame: pl.DataFrame, name: str) -> pl.DataFrame:
        both = [subject + name for subject in SUBJECTS]
        return frame.with_columns(pl.max_horizontal(both).alias(name)).drop(both)

    def open(self, name: str, events: list[str]) -> pl.DataFrame:
        """The numbers of the records of these event types for which a purpose is open."""
        of = self._rules["purposes"][name]
        frame = self.frame.filter(pl.col("event_type").is_in(events) & ~pl.col("shut") & self._admitted(of))
        frame = frame.select("index", "t", "region", *SUBJECTS, "app.package", "underage", "erase", "minor", "adult")
        entries = self._entries.filter(pl.col("purposes").list.contains(name) | pl.col("purposes").list.contains("*"))
        by = ("app",) if of["per_application"] else ()
        frame = frame.with_columns(app=pl.col("app.package"))
        frame = self._objected(frame, entries.filter(pl.col("kind").is_in(STOPS)), bool(by))
        consenting = pl.col("region").is_in([r for r, basis in of["bases"].items() if basis == "consent"])
        others = frame.filter(~consenting & pl.col("objected").is_null()).select("index")
        lifting = frame.filter(~consenting & pl.col("objected").is_not_null())
        grants = entries.filter(pl.col("kind") == "grant")
        permissions = entries.filter(pl.col("kind").is_in(("grant", "lift_objection")))
        lifting = self._permitted(lifting, permissions, "lifted", by).filter(pl.col("lifted") > pl.col("objected"))
        return pl.concat([others, lifting.select("index"), self._granted(frame.filter(consenting), grants, of, by)])

    def _admitted(self, of: dict) -> pl.Expr:
        """What the record itself must be like, whoever consents."""
        sources = [(pl.col("region") == r) & pl.col("source").is_in(admitted) for r, admitted in of["sources"].items()]
        admitted = pl.any_horizontal(sources)
        for path, words in of["unless"].items():
            admitted &= ~pl.col(path).is_in(words).fill_null(False)
        if of["zeroed_closes"]:
            admitted &= ~pl.col("zeroed")
        for subject in of["needs"]:
            admitted &= pl.col(subject).is_not_null() & ~pl.col("nameless")
        if "account" in of["needs"]:
            admitted &= pl.col("close").is_null()
        if of["minors_excluded"]:
            admitted &= ~pl.col("underage")
        return admitted

    def _objected(self, frame: pl.DataFrame, stops: pl.DataFrame, by_application: bool) -> pl.DataFrame:
        if not by_application:
            return self._stopped(frame, stops, "objected")
        for subject in SUBJECTS:
            own = stops.filter(pl.col("type") == subject).rename({"value": subject})
            latest = pl.col("time").max()
            everywhere = own.filter(pl.col("app").is_null()).group_by(subject).agg(latest.alias("1"))
            here = own.filter(pl.col("app").is_not_null()).group_by(subject, "app").agg(latest.alias("2"))
            any_of_them = own.group_by(subject).agg(latest.alias("3"))
            for stopped, on in ((everywhere, [subject]), (here, [subject, "app"]), (any_of_them, [subject])):
                frame = frame.join(stopped, on=on, how="left", maintain_order="left")
            unknown = pl.when(pl.col("app").is_null()).then(pl.col("3"))
            frame = frame.with_columns(pl.max_horizontal("1", "2", unknown).alias(subject + "objected")).drop(
                "1", "2", "3"
            )
        return self._either(frame, "objected")

    def _granted(self, frame: pl.DataFrame, grants: pl.DataFrame, of: dict, by: tuple) -> pl.DataFrame:
        grants = grants.filter(pl.col("type").is_in(of["grantors"]))
        if of["minimum"]:
            grants = grants.filter(pl.col("policy_version") >= of["minimum"])
        frame = self._permitted(frame, grants, "granted", by)
        frame = self._permitted(frame, grants.filter("guardian"), "guarded", by)
        stopped = pl.max_horizontal("objected", "erase").fill_null(-1)
        of_age = pl.col("minor").is_null() | (~pl.col("underage") & (pl.col("granted") > pl.col("adult")))
        return frame.filter(
            ((pl.col("granted") > stopped) & of_age) | (pl.col("guarded") > stopped).fill_null(False)
        ).select("index")


def _not_after(lift: str, stop: str) -> pl.Expr:
    return pl.col(stop).is_not_null() & ~(pl.col(lift) > pl.col(stop)).fill_null(False)


def formed(column: dict, purpose: str, epoch: str) -> pl.Expr:
    """A column of a dataset from the field that it comes from."""
    value = pl.col(column["path"])
    match column["form"]:
        case "token" | "sealed" | "fingerprint":
            label = pl.lit(epoch) if epoch == "forever" else pl.from_epoch("received", "ms").dt.strftime(EPOCHS[epoch])
            message = pl.concat_str("region", label, pl.lit(column["kind"]), value, separator="/")
            hashed = message.chash.hmac_sha256(key=f"benchmark/{purpose}")  # the name space of polars-hash
            return hashed.str.head(32).str.decode("hex")
        case "bucket":
            cut = ((value / column["step"]).round(9).floor() * column["step"]).round(9)
            return cut.cast(TYPES[column["type"]])
        case "major":
            return value.str.extract(r"^\p{L}{0,3}([0-9]{1,9})")
        case "listed":
            return pl.when(value.is_in(column["words"]) | value.is_null()).then(value).otherwise(pl.lit("<OTHER>"))
        case "network":
            four = value.str.extract(r"^([0-9]+\.[0-9]+\.[0-9]+)\.[0-9]+$") + ".0/24"
            six = value.str.extract(r"^([0-9a-f]+:[0-9a-f]+:[0-9a-f]+):") + "::/48"
            return pl.coalesce(four, six)
    return value


def write(name: str, dataset: dict, frame: pl.DataFrame, opened: dict[str, pl.Series], rules: dict, out: Path) -> int:
    """Writes a dataset; its rows."""
    of = rules["purposes"][dataset["purpose"]]
    rows = frame.join(opened[dataset["purpose"]], on="index", how="semi").filter(
        pl.col("event_type").is_in(of["events"])
    )
    for gate in sorted({column["gate"] for column in dataset["columns"] if column["gate"]}):
        rows = rows.with_columns(pl.col("index").is_in(opened[gate]["index"].implode()).alias(f"gate {gate}"))
    columns = {
        "region": pl.col("region"),
        "event_type": pl.col("event_type"),
        "event_time": pl.from_epoch(pl.col("happened") // STEPS[of["unit"]] * STEPS[of["unit"]], "ms"),
    }
    for column in dataset["columns"]:
        stands = pl.col("event_type").is_in(column["events"])
        if column["gate"]:
            stands &= pl.col(f"gate {column['gate']}")
        columns[column["name"]] = pl.when(stands).then(formed(column, dataset["purpose"], of["epoch"]))
    rows = rows.select(**columns)
    if dataset["sensitive"]:
        rows = rows.filter(
            pl.any_horizontal(pl.col(c["name"]).is_not_null() for c in dataset["columns"] if c["sensitive"])
        )
    if rows.height:
        rows.write_parquet(out / f"{name}.parquet")
    return rows.height


def run(folder: Path, out: Path) -> dict[str, int]:
    rules = json.loads((folder / "rules.json").read_text())
    consent = Consent(ledger(folder, rules), records(folder, rules), rules)
    asked: dict[str, set[str]] = {name: set(of["events"]) for name, of in rules["purposes"].items()}
    for dataset in rules["datasets"].values():
        for column in dataset["columns"]:
            if column["gate"]:
                asked[column["gate"]] |= set(column["events"])
    for of in rules["purposes"].values():
        for event, needed in of["collected_with"].items():
            for name in needed:
                asked[name].add(event)
    opened = {name: consent.open(name, sorted(events)) for name, events in asked.items()}
    opened = {name: collected(consent.frame, opened, name, rules) for name in opened}
    return {name: write(name, of, consent.frame, opened, rules, out) for name, of in rules["datasets"].items()}


def collected(frame: pl.DataFrame, opened: dict[str, pl.DataFrame], name: str, rules: dict) -> pl.DataFrame:
    """Without the records that are not collected unless one of some purposes is open for them."""
    of, rows = rules["purposes"][name], opened[name]
    for event, needed in of["collected_with"].items():
        about = (pl.col("event_type") == event) & ~pl.col("region").is_in(of["spared"])
        bound = frame.filter(about).select("index")
        admitted = pl.concat([opened[each] for each in needed])
        rows = rows.join(bound.join(admitted, on="index", how="anti"), on="index", how="anti")
    return rows


def main() -> None:
    started = time.perf_counter(), time.process_time()
    rows = run(Path(sys.argv[1]), Path(sys.argv[2]))
    seconds = [time.perf_counter() - started[0], time.process_time() - started[1]]
    print(json.dumps({"seconds": seconds, "rows": {name: count for name, count in rows.items() if count}}))


if __name__ == "__main__":
    main()

"""The job's work as SQL in DuckDB: ASOF joins for consent, HMAC-SHA256 made of its sha256.

    PYTHON benchmarks/peers/duckdb_script.py GIVEN OUT

Reads, writes and prints what `polars_script.py` does, in the same environment and with the same limits: no state, no
encryption, no line checked or rejected, no overlays but what the rules resolve, no statistics, orders or audit.
"""

import hashlib
import json
import sys
import time
from functools import reduce
from pathlib import Path

import duckdb

TYPES = {"string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE", "list<string>": "VARCHAR[]"}
STEPS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
EPOCHS = {"month": "%Y-%m", "year": "%Y"}
SUSPICIOUS = (
    r"@[a-z0-9-]+\.[a-z]|\b[0-9]{15}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
    r"|\beyJ[A-Za-z0-9_-]{10}|(?i:password|secret|api_?key)[=:]"
)
TEXTS = ("crash.exception", "crash.trace", "page_view.page", "network_request.host")

RECORDS = """
CREATE TABLE records AS
WITH lines AS (
    SELECT {leaves}, epoch_ms("event_time"::TIMESTAMP) AS happened, epoch_ms("received_time"::TIMESTAMP) AS received
    FROM read_json('{events}', format = 'newline_delimited', columns = {columns})
), located AS (
    SELECT lines.*, {region} AS region
    FROM lines
    LEFT JOIN countries a ON a.name = "residency.account_country"
    LEFT JOIN countries d ON d.name = "residency.device_region"
    LEFT JOIN mccs s ON s.mcc = "residency.sim_mcc"
), once AS (
    SELECT * FROM located WHERE region IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY region, coalesce("device.android_id", "account_id", ''), "event_id" ORDER BY received
    ) = 1
)
SELECT row_number() OVER () AS index, * EXCLUDE ("device.android_id", {texts}),
    "device.android_id" AS device, "device.android_id", "account_id" AS account,
    least(happened, received - 1000) AS t,
    "device.android_id" IS NULL AND coalesce({identifiers}) IS NOT NULL AS nameless,
    coalesce("device.oaid" = '{oaid}', FALSE) OR coalesce("device.gaid" = '{gaid}', FALSE) AS zeroed,
    {scrubbed}
FROM once WHERE "service" NOT IN ({closed})
"""

ENTRIES = """
CREATE TABLE entries AS
SELECT kind, purposes, app, policy_version, "subject.type" AS type, "subject.value" AS value,
    guardian IS NOT NULL AS guardian, epoch_ms("time"::TIMESTAMP) AS time, {region} AS region
FROM (SELECT {leaves} FROM read_json('{consents}', format = 'newline_delimited', columns = {columns}))
LEFT JOIN countries a ON a.name = "residency.account_country"
LEFT JOIN countries d ON d.name = "residency.device_region"
LEFT JOIN mccs s ON s.mcc = "residency.sim_mcc"
"""

# A stop acts in every region and whenever it came; a permission in its own, once it was given.
STATES = """
CREATE TABLE stops AS SELECT type, value,
    max(time) FILTER (kind = 'restrict') AS restricted, max(time) FILTER (kind = 'erase') AS erased,
    max(time) FILTER (kind = 'minor') AS minor, max(time) FILTER (kind = 'close') AS closed
FROM entries WHERE kind IN ('restrict', 'erase', 'minor', 'close') GROUP BY ALL;
CREATE TABLE stopped AS
SELECT r.index, greatest(d.restricted, a.restricted) AS restricted, greatest(d.erased, a.erased) AS erased,
    greatest(d.minor, a.minor) AS minor, a.closed, r.t, r.region, r.device, r.account, r.happened
FROM records r
LEFT JOIN stops d ON d.type = 'device' AND d.value = r.device
LEFT JOIN stops a ON a.type = 'account' AND a.value = r.account
WHERE d.value IS NOT NULL OR a.value IS NOT NULL;
CREATE TABLE states AS
SELECT s.index, s.erased, s.minor, s.closed, greatest(d2.time, a2.time) AS adult,
    s.restricted IS NOT NULL AND NOT coalesce(greatest(d1.time, a1.time) > s.restricted, FALSE)
        OR coalesce(s.erased >= s.happened, FALSE) AS shut,
    s.minor IS NOT NULL AND NOT coalesce(greatest(d2.time, a2.time) > s.minor, FALSE) AS underage
FROM stopped s
ASOF LEFT JOIN (FROM entries WHERE kind = 'lift_restriction' AND type = 'device') d1
    ON s.device = d1.value AND s.region = d1.region AND s.t >= d1.time
ASOF LEFT JOIN (FROM entries WHERE kind = 'lift_restriction' AND type = 'account') a1
    ON s.account = a1.value AND s.region = a1.region AND s.t >= a1.time
ASOF LEFT JOIN (FROM entries WHERE kind = 'adult' AND type = 'device') d2
    ON s.device = d2.value AND s.region = d2.region AND s.t >= d2.time
ASOF LEFT JOIN (FROM entries WHERE kind = 'adult' AND type = 'account') a2
    ON s.account = a2.value AND s.region = a2.region AND s.t >= a2.time
"""

# By purpose from here on; `place` is the application where consent is given by application, else nothing.
ABOUT = """
CREATE TABLE about AS
SELECT e.kind, e.type, e.value, e.app, e.guardian, e.time, e.region, p.name AS purpose,
    coalesce(p.minimum <= e.policy_version, p.minimum IS NULL) AS suffices, if(p.per_application, e.app, '') AS place,
    list_contains(p.grantors, e.type) AS grants
FROM entries e JOIN purposes p ON list_contains(e.purposes, p.name) OR list_contains(e.purposes, '*')
WHERE e.kind IN ('grant', 'lift_objection', 'withdraw', 'object');
CREATE TABLE objections AS
SELECT purpose, type, value, app, max(time) AS time FROM about WHERE kind IN ('withdraw', 'object') GROUP BY ALL;
CREATE TABLE candidates AS
SELECT r.index, r.region, r.event_type, r.device, r.account, r.t, r."app.package" AS app, p.name AS purpose,
    if(p.per_application, r."app.package", '') AS place, p.per_application, b.consent,
    s.erased, s.minor, s.adult, coalesce(s.underage, FALSE) AS underage
FROM records r JOIN asked USING (event_type) JOIN purposes p ON p.name = asked.purpose
JOIN bases b ON b.purpose = p.name AND b.region = r.region
JOIN sources o ON o.purpose = p.name AND o.region = r.region AND o.source = r.source
LEFT JOIN states s ON s.index = r.index
WHERE NOT coalesce(s.shut, FALSE) AND NOT (p.zeroed_closes AND r.zeroed)
    AND (NOT list_contains(p.needs, 'device') OR r.device IS NOT NULL)
    AND (NOT list_contains(p.needs, 'account') OR r.account IS NOT NULL AND s.closed IS NULL)
    AND (len(p.needs) = 0 OR NOT r.nameless) AND NOT (p.minors_excluded AND coalesce(s.underage, FALSE))
    {unless};
CREATE TABLE objected AS
SELECT c.index, c.purpose, max(o.time) AS objected FROM candidates c JOIN objections o ON o.purpose = c.purpose
    AND ((o.type = 'device' AND o.value = c.device) OR (o.type = 'account' AND o.value = c.account))
WHERE NOT c.per_application OR o.app IS NULL OR c.app IS NULL OR o.app = c.app GROUP BY ALL;
"""

OPEN = """
CREATE TABLE asking AS
SELECT c.*, o.objected FROM candidates c LEFT JOIN objected o USING (index, purpose)
WHERE c.consent OR o.objected IS NOT NULL;
CREATE TABLE opened AS
SELECT index, purpose FROM candidates LEFT JOIN objected USING (index, purpose)
WHERE NOT consent AND objected IS NULL
UNION ALL
SELECT index, purpose FROM (
    SELECT c.*, greatest(d.time, a.time) AS lifted FROM asking c
    {lifted}
    WHERE NOT c.consent
) WHERE lifted > objected
UNION ALL
SELECT index, purpose FROM (
    SELECT c.*, coalesce(greatest(c.objected, c.erased), -1) AS stopped,
        greatest(d.time, a.time) AS granted, greatest(dg.time, ag.time) AS guarded
    FROM asking c
    {granted}
    {guarded}
    WHERE c.consent
) WHERE (granted > stopped AND (minor IS NULL OR (NOT underage AND granted > adult))) OR guarded > stopped
"""

COLLECTED = """
DELETE FROM opened USING records r WHERE opened.index = r.index AND r.event_type = '{event}'
    AND (opened.purpose, r.region) NOT IN (SELECT (purpose, region) FROM bases WHERE spared)
    AND r.index NOT IN (SELECT index FROM opened WHERE purpose IN ({admitted}))
"""


def asof(alias: str, subject: str, which: str) -> str:
    return (
        f"ASOF LEFT JOIN (FROM about WHERE type = '{subject}' AND {which}) {alias} ON c.{subject} = {alias}.value AND "
        f"c.region = {alias}.region AND c.purpose = {alias}.purpose AND c.place = {alias}.place AND c.t >= {alias}.time"
    )


def quoted(words) -> str:
    return ", ".join("'" + word.replace("'", "''") + "'" for word in words)


def columns_of(fields: dict[str, str]) -> tuple[str, str]:
    """(what read_json is told, the leaves under their paths)"""
    nested: dict = {}
    for name, type_ in fields.items():
        *parents, leaf = name.split(".")
        reduce(lambda node, parent: node.setdefault(parent, {}), parents, nested)[leaf] = TYPES[type_]

    def dtype(node):
        inner = ", ".join(f'"{name}" {dtype(child)}' for name, child in node.items()) if isinstance(node, dict) else ""
        return f"STRUCT({inner})" if inner else node

    told = "{" + ", ".join(f"'{name}': '{dtype(node)}'" for name, node in nested.items()) + "}"
    leaves = (f'"{name.replace(".", chr(34) + "." + chr(34))}" AS "{name}"' for name in fields)
    return told, ", ".join(leaves)


def region(rules: dict) -> str:
    named = (f"WHEN '{name}' IN (a.region, d.region, s.region) THEN '{name}'" for name in rules["localising"])
    return f"CASE {' '.join(named)} ELSE coalesce(a.region, d.region, s.region) END"


def prepare(db: duckdb.DuckDBPyConnection, rules: dict) -> None:
    """The rules as tables."""
    db.execute("CREATE TABLE countries (name VARCHAR, region VARCHAR)")
    db.executemany("INSERT INTO countries VALUES (?, ?)", list(rules["region_of_country"].items()))
    db.execute("CREATE TABLE mccs (mcc BIGINT, region VARCHAR)")
    db.executemany("INSERT INTO mccs VALUES (?, ?)", [(int(m), r) for m, r in rules["region_of_mcc"].items()])
    db.execute(
        "CREATE TABLE purposes (name VARCHAR, needs VARCHAR[], grantors VARCHAR[], minors_excluded BOOL, "
        "per_application BOOL, minimum VARCHAR, zeroed_closes BOOL)"
    )
    db.execute("CREATE TABLE bases (purpose VARCHAR, region VARCHAR, consent BOOL, spared BOOL)")
    db.execute("CREATE TABLE sources (purpose VARCHAR, region VARCHAR, source VARCHAR)")
    db.execute("CREATE TABLE asked (purpose VARCHAR, event_type VARCHAR)")
    keys = ("needs", "grantors", "minors_excluded", "per_application", "minimum", "zeroed_closes")
    asked = {(name, event) for name, of in rules["purposes"].items() for event in of["events"]}
    for name, of in rules["purposes"].items():
        db.execute("INSERT INTO purposes VALUES (?, ?, ?, ?, ?, ?, ?)", [name, *(of[key] for key in keys)])
        for place, basis in of["bases"].items():
            db.execute(
                "INSERT INTO bases VALUES (?, ?, ?, ?)", [name, place, basis == "consent", place in of["spared"]]
            )
            for source in of["sources"][place]:
                db.execute("INSERT INTO sources VALUES (?, ?, ?)", [name, place, source])
        asked |= {(each, event) for event, needed in of["collected_with"].items() for each in needed}
    for dataset in rules["datasets"].values():
        asked |= {(c["gate"], event) for c in dataset["columns"] if c["gate"] for event in c["events"]}
    db.executemany("INSERT INTO asked VALUES (?, ?)", sorted(asked))
    db.execute(
        "CREATE MACRO hmac(inner_pad, outer_pad, message) AS "
        "unhex(sha256(outer_pad || unhex(sha256(inner_pad || encode(message))))[1:32])"
    )


def pads(secret: str) -> tuple[str, str]:
    key = secret.encode()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return tuple(f"unhex('{bytes(byte ^ pad for byte in key).hex()}')" for pad in (0x36, 0x5C))


def formed(column: dict, purpose: str, epoch: str, gone: dict[str, str]) -> str:
    """A column of a dataset from the field that it comes from."""
    value = f'"{column["path"]}"'
    if column["kind"] in gone:
        value = f"nullif({value}, '{gone[column['kind']]}')"
    match column["form"]:
        case "token" | "sealed" | "fingerprint":
            label = "'forever'" if epoch == "forever" else f"strftime(make_timestamp_ms(received), '{EPOCHS[epoch]}')"
            inner, outer = pads(f"benchmark/{purpose}")
            return f"hmac({inner}, {outer}, region || '/' || {label} || '/{column['kind']}/' || {value})"
        case "bucket":
            step = column["step"]
            return f"round(floor(round({value} / {step}::DOUBLE, 9)) * {step}, 9)::{TYPES[column['type']]}"
        case "major":
            return f"nullif(regexp_extract({value}, '^\\p{{L}}{{0,3}}([0-9]{{1,9}})', 1), '')"
        case "listed":
            return f"if({value} IN ({quoted(column['words'])}) OR {value} IS NULL, {value}, '<OTHER>')"
        case "network":
            four = f"nullif(regexp_extract({value}, '^([0-9]+\\.[0-9]+\\.[0-9]+)\\.[0-9]+$', 1), '') || '.0/24'"
            six = f"nullif(regexp_extract({value}, '^([0-9a-f]+:[0-9a-f]+:[0-9a-f]+):', 1), '') || '::/48'"
            return f"coalesce({four}, {six})"
    return value


def selected(name: str, rules: dict) -> str:
    """The rows of a dataset."""
    dataset = rules["datasets"][name]
    purpose = dataset["purpose"]
    of = rules["purposes"][purpose]
    gates = sorted({column["gate"] for column in dataset["columns"] if column["gate"]})
    unit = STEPS[of["unit"]]
    columns = [f"make_timestamp_ms(happened // {unit} * {unit}) AS event_time"]
    for column in dataset["columns"]:
        stands = f"event_type IN ({quoted(column['events'])})"
        if column["gate"]:
            stands += f" AND g{gates.index(column['gate'])}.index IS NOT NULL"
        columns.append(
            f'if({stands}, {formed(column, purpose, of["epoch"], rules["absent"])}, NULL) AS "{column["name"]}"'
        )
    joins = " ".join(
        f"LEFT JOIN (SELECT index FROM opened WHERE purpose = '{gate}') g{at} ON g{at}.index = records.index"
        for at, gate in enumerate(gates)
    )
    rows = (
        f"SELECT region, event_type, {', '.join(columns)} FROM records {joins} WHERE event_type IN "
        f"({quoted(of['events'])}) AND records.index IN (SELECT index FROM opened WHERE purpose = '{purpose}')"
    )
    if not dataset["sensitive"]:
        return rows
    apart = ", ".join(f'"{column["name"]}"::VARCHAR' for column in dataset["columns"] if column["sensitive"])
    return f"FROM ({rows}) WHERE coalesce({apart}) IS NOT NULL"


def run(folder: Path, out: Path) -> dict[str, int]:
    rules = json.loads((folder / "rules.json").read_text())
    db = duckdb.connect(config={"threads": 1})
    prepare(db, rules)
    columns, leaves = columns_of(rules["event_fields"])
    others = (name for name in rules["device_identifiers"] if name != "device.android_id")
    db.execute(
        RECORDS.format(
            leaves=leaves,
            events=folder / "events.ndjson",
            columns=columns,
            region=region(rules),
            texts=", ".join(f'"{name}"' for name in TEXTS),
            identifiers=", ".join(f'"{name}"' for name in others),
            **{kind: rules["absent"][kind] for kind in ("oaid", "gaid")},
            scrubbed=", ".join(
                f"if(regexp_matches(\"{name}\", '{SUSPICIOUS}'), regexp_replace(\"{name}\", '{SUSPICIOUS}', "
                f"'<REMOVED>', 'g'), \"{name}\") AS \"{name}\""
                for name in TEXTS
            ),
            closed=quoted(rules["closed_services"]),
        )
    )
    columns, leaves = columns_of(rules["ledger_fields"])
    db.execute(
        ENTRIES.format(leaves=leaves, consents=folder / "consents.ndjson", columns=columns, region=region(rules))
    )
    db.execute(STATES)
    unless = (
        f"AND NOT (p.name = '{name}' AND coalesce(r.\"{path}\" IN ({quoted(words)}), FALSE))"
        for name, of in rules["purposes"].items()
        for path, words in of["unless"].items()
    )
    db.execute(ABOUT.format(unless="\n    ".join(unless)))
    grant, lifts = "kind = 'grant' AND grants AND suffices", "kind IN ('grant', 'lift_objection')"
    both = (("d", "device"), ("a", "account"))
    db.execute(
        OPEN.format(
            lifted="\n    ".join(asof(alias, subject, lifts) for alias, subject in both),
            granted="\n    ".join(asof(alias, subject, grant) for alias, subject in both),
            guarded="\n    ".join(asof(alias + "g", subject, f"{grant} AND guardian") for alias, subject in both),
        )
    )
    bound = {(event, tuple(by)) for of in rules["purposes"].values() for event, by in of["collected_with"].items()}
    for event, admitted in sorted(bound):
        db.execute(COLLECTED.format(event=event, admitted=quoted(admitted)))
    return {name: write(db, name, rules, out) for name in rules["datasets"]}


def write(db: duckdb.DuckDBPyConnection, name: str, rules: dict, out: Path) -> int:
    return db.execute(f"COPY ({selected(name, rules)}) TO '{out / name}.parquet' (FORMAT parquet)").fetchone()[0]


def main() -> None:
    started = time.perf_counter(), time.process_time()
    rows = run(Path(sys.argv[1]), Path(sys.argv[2]))
    seconds = [time.perf_counter() - started[0], time.process_time() - started[1]]
    print(json.dumps({"seconds": seconds, "rows": {name: count for name, count in rows.items() if count}}))


if __name__ == "__main__":
    main()

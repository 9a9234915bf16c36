"""`douane ingest` on a stranger's own files: what comes of them, and what he is told when something is wrong."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from pipelines import ingest
from pipelines.deployment import load_deployment
from pipelines.stores import open_dataset
from schemas.datasets import AUDIT, QUARANTINE
from schemas.pack_files import DEFAULT_PACK, SHIPPED, load_pack
from schemas.policy import WITHOUT_LEDGER
from tests.stranger import DEVICE, REGIONS, Outcome, command, deploy, entry, event, ndjson

OTHER = "2f3a5c7e9b0d2469"
_WHAT = ("outcome", "reason", "event_type", "purpose", "dataset")
COUNTED = (AUDIT, QUARANTINE)  # datasets that hold no records
CANARY = "4f1d-canary@example.org"


@pytest.fixture
def run(tmp_path):
    """Runs the job over `events`, in the test's own deployment unless another is given."""

    def ingest_(events, *more, deployment=None):
        where = deployment or deploy(tmp_path)
        return command(ingest, "--events", events, "--deployment", where, *more)

    return ingest_


def wrong(outcome, status):
    """The one line that says what is wrong."""
    assert outcome.status == status, outcome.err
    assert outcome.out == "" and "Traceback" not in outcome.err
    (line,) = outcome.errors
    assert outcome.err.rstrip().endswith(line)
    return line


def stored(deployment, region, dataset):
    return open_dataset(deployment, region, dataset).count_rows()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class TestInputs:
    def test_files_folders_globs_and_compressed_ones(self, tmp_path, run):
        """Nothing is read twice, nothing is lost, and what cannot be used is counted."""
        write(tmp_path / "in/a.ndjson", ndjson(event(1), event(2, region="us", stray={"deep": CANARY})))
        write(tmp_path / "in/deep/b.jsonl.gz", gzip.compress(ndjson(event(3)) + b"\r\n" + ndjson(event(3))))
        write(tmp_path / "in/deep/c.json.zst", zstandard.compress(ndjson(event(4, region="in")).rstrip(b"\n")))
        write(tmp_path / "in/empty.ndjson", b"")
        write(tmp_path / "in/notes.txt", b"not telemetry")
        nowhere = event(6, residency={})
        bad = ndjson(event(7, event_type="no_such"), event(8, service=5), nowhere) + f'{{"{CANARY}'.encode()
        write(tmp_path / "other-1.ndjson", ndjson(event(5)) + bad)
        outcome = run(tmp_path / "in", "--events", tmp_path / "other-*.ndjson", "--no-ledger", "--json")
        assert outcome.status == 0, outcome.err
        found = outcome.counts
        lines = found.by("outcome", step="telemetry")
        assert lines["lines"] == 11 and lines["blank"] == lines["unlocatable"] == 1
        assert found.sum(step="gate", outcome="duplicates") == 1 and found.sum(step="gate", outcome="judged") == 5
        assert lines["quarantined"] == found.sum(step="quarantine", dataset="telemetry") == 3
        assert json.loads(outcome.out)["faults"] == []
        assert CANARY not in outcome.out + outcome.err

        deployment = tmp_path / "deployment.yaml"
        assert stored(deployment, "eu", "service") == 3 and stored(deployment, "us", "service") == 1
        pack = load_pack()
        assert outcome.opened == {"service"}
        assert all(pack.basis(name, region) in WITHOUT_LEDGER for name in outcome.opened for region in REGIONS)

    def test_a_file_without_a_line(self, tmp_path, run):
        outcome = run(write(tmp_path / "empty.ndjson", b""), "--no-ledger", "--json")
        assert outcome.status == 0, outcome.err
        assert json.loads(outcome.out)["faults"] == []
        assert outcome.counts.sum(step="telemetry", outcome="lines") == 0

    def test_where_an_input_breaks_off_nothing_is_stored_and_all_is_once_it_is_mended(self, tmp_path, run):
        """What came before the break would stand beside the same lines of the mended file: it is other input."""
        whole = gzip.compress(ndjson(*(event(n, app__package=os.urandom(30).hex()) for n in range(1, 200))))
        cut = write(tmp_path / "in/cut.ndjson.gz", whole[: len(whole) // 2])
        packed = zstandard.compress(ndjson(event(500)))
        broken = write(tmp_path / "in/broken.ndjson.zst", packed[:-5] + b"\0\0\0\0\0")
        write(tmp_path / "in/fine.ndjson", ndjson(event(1000)))
        outcome = run(tmp_path / "in", "--no-ledger", "--json")
        assert outcome.status == 4 and outcome.out == ""
        assert outcome.errors == [
            "douane ingest: 2 inputs broke off: nothing is stored; mend them or leave them out, and run again"
        ]
        assert not load_deployment(tmp_path / "deployment.yaml").place("eu").manifest.datasets()
        cut.write_bytes(whole)
        broken.write_bytes(packed)
        assert run(tmp_path / "in", "--no-ledger").status == 0
        assert stored(tmp_path / "deployment.yaml", "eu", "service") == 201

    @pytest.mark.parametrize("flag", ["--events", "--consents"])
    def test_missing(self, tmp_path, run, flag):
        there = write(tmp_path / "there.ndjson", b"")
        given = [tmp_path / "none.ndjson"] if flag == "--events" else [there, flag, tmp_path / "none.ndjson"]
        more = ["--consents", there] if flag == "--events" else []
        line = wrong(run(*given, *more), 4)
        assert f"{tmp_path / 'none.ndjson'} stands for no file" in line
        assert not (tmp_path / "keys").exists()  # nothing was made for a run that cannot be

    def test_a_folder_without_telemetry(self, tmp_path, run):
        write(tmp_path / "in/notes.txt", b"")
        assert f"{tmp_path / 'in'} stands for no file" in wrong(run(tmp_path / "in", "--no-ledger"), 4)

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
    def test_what_may_not_be_read(self, tmp_path, run):
        file = write(tmp_path / "in/a.ndjson", ndjson(event()))
        file.chmod(0)
        assert f"{file} cannot be read: check its permissions" in wrong(run(file, "--no-ledger"), 4)
        file.parent.chmod(0)
        assert "check its permissions" in wrong(run(file.parent, "--no-ledger"), 4)
        file.parent.chmod(0o700)


class TestLedger:
    @pytest.mark.clause("5.3")
    def test_a_line_that_cannot_be_read_restricts_whom_it_names(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", ndjson(event(1), event(2, device={"android_id": OTHER})))
        garbled = entry(3, "withdrew", OTHER)
        consents = write(tmp_path / "c.ndjson", ndjson(entry(1, "grant"), entry(2, "grant", OTHER), garbled))
        outcome = run(events, "--consents", consents, "--json")
        assert outcome.status == 0, outcome.err
        for purpose in ("service", "user_experience"):  # whatever the basis
            decided = outcome.counts.by(("outcome", "reason"), step="gate", purpose=purpose)
            assert decided == {("opened", ""): 1, ("refused", "restricted"): 1}
        assert DEVICE not in outcome.out + outcome.err and OTHER not in outcome.out + outcome.err

    @pytest.mark.clause("5.3")
    def test_a_line_about_nobody_fails_the_run(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", ndjson(event()))
        consents = write(
            tmp_path / "c.ndjson", ndjson(entry(1, "grant")) + b'{"entry_id": "4f1d-canary", "kind": "er\n'
        )
        outcome = run(events, "--consents", consents)
        assert outcome.status == 3
        assert "1 ledger lines name no subject that can be read" in outcome.out
        assert "4f1d" not in outcome.out + outcome.err

    @pytest.mark.clause("5.3")
    def test_a_ledger_that_breaks_off_opens_nothing(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", ndjson(event()))
        whole = gzip.compress(ndjson(*(entry(n, "grant", os.urandom(8).hex()) for n in range(1000)), entry(0, "grant")))
        outcome = run(events, "--consents", write(tmp_path / "c.ndjson.gz", whole[: len(whole) // 2]), "--json")
        assert outcome.status == 4 and outcome.out == ""
        assert f"{tmp_path / 'c.ndjson.gz'} cannot be read to its end" in outcome.errors[-1]
        assert not list(tmp_path.glob("stores/**/*.parquet"))

    def test_a_ledger_that_breaks_off_is_told_in_one_line(self, tmp_path, run):
        cut = write(tmp_path / "c.ndjson.gz", gzip.compress(ndjson(entry(1, "grant")))[:-10])
        line = wrong(run(write(tmp_path / "e.ndjson", ndjson(event())), "--consents", cut), 4)
        assert line.endswith("send it again")

    def test_a_pipe_is_refused_before_it_is_opened(self, tmp_path):
        """In a process of its own: to open it would wait for ever."""
        events, pipe = write(tmp_path / "e.ndjson", ndjson(event())), tmp_path / "ledger"
        os.mkfifo(pipe)
        given = ("--events", events, "--consents", pipe, "--deployment", deploy(tmp_path))
        root = Path(ingest.__file__).parents[1]
        ran = subprocess.run(
            [sys.executable, "-m", "pipelines.ingest", *map(str, given)],
            capture_output=True,
            text=True,
            cwd=root,
            timeout=300,
        )
        assert "is no regular file" in wrong(Outcome(ran.returncode, ran.stdout, ran.stderr), 4)
        assert not (tmp_path / "keys").exists()

    @pytest.mark.clause("5.3")
    def test_an_empty_ledger_grants_nothing(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", ndjson(event()))
        outcome = run(events, "--consents", write(tmp_path / "c.ndjson", b""), "--json")
        assert outcome.status == 0, outcome.err
        assert outcome.opened == {"service", "security", "research", "statistics"}
        assert outcome.counts.sum(step="gate", purpose="user_experience", reason="no_grant") == 1


class TestCells:
    @pytest.mark.clause("6-dc")
    def test_a_cell_serves_its_region_alone(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", ndjson(event(1, region="ru"), event(2), event(3, region="cn")))
        outcome = run(events, "--no-ledger", "--cell", "ru", "--json", deployment=deploy(tmp_path, ("ru",)))
        assert outcome.status == 0, outcome.err
        assert outcome.counts.sum(step="telemetry", outcome="foreign") == 2
        assert outcome.counts.sum(step="gate", outcome="judged") == 1
        assert sorted(path.name for path in (tmp_path / "stores").iterdir()) == ["ru"]
        assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["ru"]

    def test_an_unknown_cell(self, tmp_path, run):
        line = wrong(run(write(tmp_path / "e.ndjson", b""), "--no-ledger", "--cell", "atlantis"), 2)
        assert "--cell atlantis: no region 'atlantis' in the policy" in line


class TestRunsOverTheSameInput:
    """A run takes the place of what earlier ones over the same input left, however they were run."""

    @pytest.fixture
    def events(self, tmp_path):
        """Records of a day in eu, one in cn, one that was sent twice, and lines that come to nothing."""
        of_eu = [event(n, received_time=f"2021-03-01T{10 + n}:00:05.000Z") for n in range(1, 7)]
        lost = ndjson(event(9, residency={}), event(10, event_type="none"))
        return write(tmp_path / "in/e.ndjson", ndjson(*of_eu, of_eu[0], event(8, region="cn")) + lost + b"\n")

    @pytest.fixture
    def run(self, run, tmp_path):
        def ended_well(events, *more):
            outcome = run(events, "--no-ledger", "--json", *more)
            assert outcome.status == 0, outcome.err
            assert json.loads(outcome.out)["faults"] == []
            return outcome

        return ended_well

    def test_bounded_and_streaming(self, tmp_path, events, run):
        """Their files have other names, one for each window."""
        outcomes, held, names = [], [], []
        for more in ([], ["--streaming"], []):
            outcomes.append(run(events, *more))
            rows, files = _everything(load_deployment(tmp_path / "deployment.yaml"))
            held.append({name: _by_id(table) for name, table in rows.items() if name[1] not in COUNTED})
            names.append(
                {(region, dataset, logical) for region, dataset, _, logical, _ in files if dataset not in COUNTED}
            )
        assert len(held[0]["eu", "service"]) == 6 and len(held[0]["cn", "service"]) == 1
        assert held[0] == held[1] == held[2]
        assert names[0] == names[2] and not names[0] & names[1] and len(names[1]) > len(names[0])
        totals = [outcome.counts.by(("step", "region", *_WHAT)) for outcome in outcomes]
        # The audit's own rows are one a file, of which a stream has more.
        counts = [{key: count for key, count in found.items() if key[0] != "audit"} for found in totals]
        assert counts[0] == counts[1] == counts[2]
        assert _files(tmp_path) == _named(tmp_path)

    @pytest.mark.clause("6-eea")
    def test_a_country_that_went_to_another_region(self, tmp_path, events, run):
        pack = tmp_path / "pack"
        shutil.copytree(SHIPPED / DEFAULT_PACK, pack)
        residency = (pack / "residency.yaml").read_text()
        for old, new in (
            ("CZ, DE, DK", "CZ, DK"),
            ("[US, ", "[US, DE, "),
            ("data_centre: DE", "data_centre: FR"),
        ):
            assert residency.count(old) == 1
            residency = residency.replace(old, new)
        (pack / "residency.yaml").write_text(residency)

        run(events, "--policy", pack)
        deployment = load_deployment(tmp_path / "deployment.yaml")
        assert stored(deployment, "us", "service") == 6 and stored(deployment, "eu", "service") == 0
        outcome = run(events)
        assert outcome.counts.sum(step="store", outcome="stored", dataset="service") == 7
        rows, _ = _everything(deployment)
        of_records = {name for name in rows if name[1] not in COUNTED}
        assert of_records and {region for region, _ in of_records} == {"eu", "cn"}
        assert stored(deployment, "us", "service") == 0 and stored(deployment, "eu", "service") == 6
        assert _files(tmp_path) == _named(tmp_path)

    def test_one_cell_and_then_all(self, tmp_path, events, run):
        """The cell of ru counts all lines and keeps none; what it counted must not be added to what all count."""
        alone = run(events, "--cell", "ru")
        lines = alone.counts.by("outcome", step="telemetry")
        assert (lines["lines"], lines["foreign"]) == (11, 8)
        every = run(events)
        lines = every.counts.by("outcome", step="telemetry")
        assert (lines["lines"], lines["foreign"]) == (11, 0)
        assert every.counts.sum(step="gate", outcome="judged") == 7
        assert every.counts.sum(step="store", outcome="stored", dataset="service") == 7
        rows, _ = _everything(load_deployment(tmp_path / "deployment.yaml"))
        audited = [row for (_, dataset), table in rows.items() if dataset == "audit" for row in table]
        assert sum(row["count"] for row in audited if (row["step"], row["outcome"]) == ("telemetry", "lines")) == 11

    @pytest.mark.clause("6-dc")
    def test_all_and_then_one_cell(self, tmp_path, events, run):
        """A cell touches nothing of what is another's."""
        run(events)
        before, _ = _everything(load_deployment(tmp_path / "deployment.yaml"))
        alone = run(events, "--cell", "eu")
        assert alone.counts.sum(step="telemetry", outcome="lines") == 11
        assert alone.counts.sum(step="gate", outcome="judged") == 6
        after, _ = _everything(load_deployment(tmp_path / "deployment.yaml"))
        assert {name: table for name, table in after.items() if name[0] != "eu"} == {
            name: table for name, table in before.items() if name[0] != "eu"
        }
        assert _by_id(after["eu", "service"]) == _by_id(before["eu", "service"])


class TestDeployments:
    def test_without_one(self, tmp_path, run):
        line = wrong(run(tmp_path / "e.ndjson", "--no-ledger", deployment=tmp_path / "none.yaml"), 2)
        assert f"deployment {tmp_path / 'none.yaml'}: No such file" in line

    @pytest.mark.clause("6-dc")
    def test_one_that_lacks_a_region(self, tmp_path, run):
        events = write(tmp_path / "e.ndjson", b"")
        line = wrong(run(events, "--no-ledger", deployment=deploy(tmp_path, REGIONS[:4])), 2)
        assert "regions lacks sg, us, where the policy sends records" in line
        line = wrong(run(events, "--no-ledger", "--cell", "us", deployment=deploy(tmp_path, ("eu",))), 2)
        assert "regions lacks us" in line

    def test_data_without_their_keystore(self, prepared, tmp_path, run):
        spoilt = prepared.copy(tmp_path / "copy")
        shutil.rmtree(spoilt.folder / "keys/ru")
        line = wrong(run(spoilt.folder / "events.ndjson", "--no-ledger", deployment=spoilt.deployment), 2)
        assert "region ru: no keystore at" in line and "bring the keystore back" in line

    def test_a_store_that_cannot_be_written(self, tmp_path, run):
        write(tmp_path / "stores", b"a file where a folder is needed")
        wrong(run(write(tmp_path / "e.ndjson", ndjson(event())), "--no-ledger"), 2)

    def test_an_unknown_policy(self, tmp_path, run):
        line = wrong(run(write(tmp_path / "e.ndjson", b""), "--no-ledger", "--policy", "1999-01-01"), 2)
        assert "policy pack '1999-01-01': no such folder with YAML files; shipped packs: 2021-01-15" in line


def test_a_repeated_run_in_words(prepared, tmp_path):
    """The same input again, every bundle twice: the same rows, the same counts, and a summary that a person reads."""
    again = prepared.copy(tmp_path / "copy")
    deployment = load_deployment(again.deployment)
    before = _everything(deployment)
    given = ("--events", again.folder / "events.ndjson", "--consents", again.folder / "consents.ndjson")
    flags = ("--deployment", again.deployment, "--job_name=again", "--direct_runner_bundle_repeat=2")
    outcome = command(ingest, *given, *flags)
    assert outcome.status == 0, outcome.err
    assert _everything(deployment) == before
    for said in (
        "lines                      17  of telemetry",
        "1.2-activation",
        "Every line is accounted for",
        f"douane read --deployment {again.deployment} --region eu --dataset ",
    ):
        assert said in outcome.out
    assert "eu: 7 records" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120 + len(str(again.folder))
    assert "made a new keystore" not in outcome.err


def _by_id(rows):
    return sorted(rows, key=lambda row: row["event_id"])


def _files(folder):
    """The names of the files that are there ..."""
    return {path.name for path in folder.glob("stores/**/*.parquet")}


def _named(folder):
    """... and of those that a manifest names."""
    manifests = [place.manifest for place in load_deployment(folder / "deployment.yaml").regions.values()]
    return {entry.file for held in manifests for name in held.datasets() for entry in held.entries(name)} - {None}


def _everything(deployment):
    """The rows of every dataset, and which logical files hold them."""
    rows, files = {}, set()
    for region, place in deployment.regions.items():
        for dataset in place.manifest.datasets():
            entries = [entry for entry in place.manifest.entries(dataset) if entry.file]
            files |= {(region, dataset, entry.received_date, entry.logical, entry.digest) for entry in entries}
            if entries:
                rows[region, dataset] = open_dataset(deployment, region, dataset).to_table().to_pylist()
    return rows, files

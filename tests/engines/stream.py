"""A stream as its user runs it: a deployment, `douane ingest` on a cluster, and what can be seen of it."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pipelines.deployment import Deployment, load_deployment
from tests.engines.flink import ROOT, Cluster
from tests.engines.processes import Ended, Process, Processes

REGIONS = ("cn", "in", "ru", "eu", "us", "sg")
_DOUANE = [sys.executable, "-m", "pipelines"]


@dataclass
class Stream:
    """One stream on one cluster, its stores in `folder`. `policy` may be changed between a stop and the next start."""

    folder: Path
    processes: Processes
    cluster: Cluster
    inputs: list[str]  # options that name them
    policy: Path
    window_seconds: int
    name: str = "storm"
    job: str = ""  # Flink's id of the job that runs
    submissions: int = 0
    ingest: Process | None = None  # the command that follows the job

    def __post_init__(self) -> None:
        places = {region: self._place(region) for region in REGIONS}
        self.deployment_file = self.folder / "deployment.yaml"
        self.deployment_file.write_text(json.dumps({"arrival": "eu", "regions": places}))  # JSON is YAML
        self.command("quarantine", "keygen", "--out", str(self.folder / "quarantine-keys"))

    @property
    def stores(self) -> Path:
        return self.folder / "stores"

    def _place(self, region: str) -> dict[str, str]:
        folders = {name: str(self.stores / name / region) for name in ("store", "statistics", "quarantine", "inbox")}
        return folders | {"keys": f"local:{self.stores / 'keys' / region}"}

    @property
    def deployment(self) -> Deployment:
        return load_deployment(str(self.deployment_file))

    def command(self, *words: str, seconds: float = 120) -> str:
        """Runs a command of douane on this deployment to its end; what it wrote. Raises `Ended` if it fails."""
        run = self.processes.start(words[0], [*_DOUANE, *words, "--deployment", str(self.deployment_file)], cwd=ROOT)
        if run.wait(seconds):
            raise Ended(f"{words}: {run.text()[-3000:]}")
        return run.text()

    def start(self, state: str | None = None) -> str:
        """Submits the job, anew or to go on from a savepoint or checkpoint; Flink's id of it, once all of it runs."""
        command = [*_DOUANE, "ingest", "--deployment", str(self.deployment_file), "--policy", str(self.policy)]
        command += [*self.inputs, f"--job_name={self.name}", f"--window-seconds={self.window_seconds}", "--shards=1"]
        command += [*self.cluster.arguments, "--checkpointing_interval=2000"]
        command += [f"--savepoint_path={state}"] if state else []
        self.submissions += 1
        self.ingest = self.processes.start(f"ingest-{self.submissions}", command, cwd=ROOT)
        self.job = self.cluster.wait_for_job(submitting=self.ingest)
        return self.job

    def stop(self) -> str:
        """Stops the job with a savepoint; where that lies. The command that followed it must say that all is well."""
        savepoint = self.cluster.stop(self.job)
        if status := self.ingest.wait(60):
            raise Ended(f"ingest ended with status {status}: {self.ingest.text()[-3000:]}")
        return savepoint

    def rows(self) -> int:
        """How many rows of datasets the manifests of all regions name now."""
        manifests = [place.manifest for place in self.deployment.regions.values()]
        return sum(entry.rows for held in manifests for name in held.datasets() for entry in held.entries(name))

    def entries(self) -> int:
        """How many files the manifests of all regions name now: cheap, and it grows with every window."""
        folders = [place.manifest_folder for place in self.deployment.regions.values()]
        return sum(len(names) for folder in folders for _, _, names in os.walk(folder))

"""The job under the pack of another maker, which shares no name with the shipped one: two regions, three purposes, an
overlay of each kind and a rule of collection."""

import json
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from pipelines import quarantine
from pipelines.audit_rows import read_totals
from pipelines.sample import Sample, write_sample
from schemas.pack_files import load_pack
from schemas.policy import Pack
from schemas.tallies import Totals
from tests.invariants.crowd import Crowd, write_pack
from tests.invariants.needles import Needles, as_bytes
from tests.invariants.runs import ROOT, Site, ingest
from tests.stranger import Outcome, command

SMALLMAKER = ROOT / "tests" / "data" / "packs" / "smallmaker"
SHIPPED, SMALL = load_pack(), load_pack(str(SMALLMAKER))
# By the rules of that pack: the SIM comes first, an account's country says nothing, and the south wins a conflict.
HOMES = (
    ("north", {"sim_mcc": 240}),
    ("north", {"device_region": "NO"}),
    ("north", {"sim_mcc": 204, "device_region": "US"}),
    ("north", {"account_country": "BR", "sim_mcc": 244}),
    ("south", {"sim_mcc": 724}),
    ("south", {"sim_mcc": 240, "device_region": "MX"}),
    ("south", {"account_country": "NL", "device_region": "IN"}),
)
NOWHERE = {"account_country": "NL", "device_region": "US"}
DAY = "2021-03-01"


@dataclass(frozen=True)
class Small:
    """A deployment of that maker after two runs: over people whose every record can be told apart, and over a sample
    whose identifying values are known."""

    folder: Path
    site: Site
    pack: Pack  # with a label in each dataset
    crowd: Crowd
    first: dict[tuple[str, str], pa.Table] = field(repr=False)  # what the first run stored
    counted: Totals = field(repr=False)  # and what it counted
    values: set[bytes] = field(repr=False)

    @property
    def policy(self) -> str:
        return f"--policy={self.folder / 'pack'}"

    @cached_property
    def needles(self) -> Needles:
        return Needles(self.values)

    def ask(self, module, *arguments: object) -> Outcome:
        return command(module, *arguments, f"--deployment={self.site.file}")

    @cached_property
    def opened(self) -> dict[str, list[dict]]:
        """Of the first run the records for which each purpose is open by the rule."""
        return {name: list(self.crowd.opened(name, self.pack)) for name in self.pack.purposes}

    def received(self, purpose: str) -> list[dict]:
        """Of these the ones that the purpose receives."""
        return [record for record in self.opened[purpose] if record["type"] in self.pack.purposes[purpose].events]


def lived(folder: Path) -> Small:
    """Both runs, in an empty folder."""
    policy = f"--policy={write_pack(folder / 'pack', SMALLMAKER)}"
    pack = load_pack(str(folder / "pack"))
    crowd = Crowd(seed=31, people=240, pack=pack, homes=HOMES)
    events, consents = crowd.write(folder)
    site = Site.new(folder / "site", regions=pack.regions, arrival="south")
    assert ingest(site, [events], [consents], policy, f"--complete-through={DAY}").status == 0
    first, counted = site.datasets(), read_totals([site.place(region) for region in pack.regions])

    private = folder / "private"
    assert command(quarantine, "keygen", f"--deployment={site.file}", f"--out={private}").status == 0
    made = Sample(events=700, devices=150, entries=450, days=1, start=date(2021, 3, 2), seed=9, bad_share=0.03)
    (more, entries), canaries = write_sample(made, folder / "sample")
    canaries.write(folder / "canaries.json")
    assert ingest(site, [more], [entries], policy).status == 0
    listed = json.loads((folder / "canaries.json").read_text())["canaries"]
    texts = {canary["value"] for canary in listed} | {record["id"] for record in crowd.records}
    texts |= {value for record in crowd.records for value in (record["device"], record["account"]) if value}
    values = {text.encode() for text in texts} | set(as_bytes(texts))
    return Small(folder, site, pack, crowd, first, counted, values)

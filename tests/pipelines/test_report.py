"""The report: one page that stands alone, says what the summary says, and says it first if a run does not reconcile."""

import inspect
import json
import os
import re
import shutil
import stat
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from pipelines import audit, figures, ingest, report
from pipelines import page as page_module
from pipelines.page import _PAGES, GROUPS, MEANING, percent, render
from schemas.consent import CLAUSE_OF_REASON
from schemas.pack_files import DEFAULT_PACK, SHIPPED
from tests.counted import counted, digested
from tests.stranger import command, event, ndjson

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page as far as a test looks at it; complains of elements that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.open += [tag] * (tag not in VOID)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def row(self, first: str) -> bool:
        return re.search(rf"\b{re.escape(first)}\b", self.text) is not None


def page(found) -> Page:
    return Page(render(found, ["2021-03-05"]))


def put(prepared, folder, *more):
    out = folder / "page.html"
    return command(report, "--deployment", prepared.deployment, "--out", out, *more), out


@pytest.mark.clause("4.1-c")
def test_a_run_on_one_page(prepared, tmp_path):
    done, out = put(prepared, tmp_path)
    assert (done.status, done.out.splitlines()[-1]) == (0, str(out))
    shown, data = Page(out.read_text()), json.loads(prepared.outcome.out)
    assert data["run"] in shown.text and data["input"] in shown.text
    assert "Every line is accounted for" in shown.text
    for purpose in data["purposes"].values():
        assert purpose["title"] in shown.text and purpose["clause"] in shown.text
    told = re.sub(r"\s+", " ", shown.text)
    for name, region in data["by_region"].items():
        share = percent(region["judged"], data["came_in"]["telemetry"]["judged"])
        assert f"{name}{region['judged']}{share}{region['opened']}{region['refused']}{region['stored']}" in told
    for dataset in data["by_region"]["eu"]["datasets"]:
        assert shown.row(dataset)


def test_the_page_stands_alone(prepared, tmp_path):
    _, out = put(prepared, tmp_path)
    html = out.read_text()
    shown = Page(html)
    assert not {tag for tag, _ in shown.tags} & {"script", "link", "img", "iframe", "object", "form", "a"}
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import|src=", html)
    assert len(set(shown.ids)) == len(shown.ids)
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert sum('role="img"' in picture for picture in pictures) == 2
    for picture in pictures:
        ET.fromstring(picture)


def test_only_its_owner_reads_the_page(prepared, tmp_path):
    (tmp_path / "page.html").touch(mode=0o666)
    done, out = put(prepared, tmp_path)
    assert done.status == 0 and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]


def test_what_was_found_in_texts_is_told_by_event_type():
    shown = page(digested(counted({"eu": 3}))).text
    assert re.search(r"Recogniser, in crash\s*Finds\s*email\s*5\b", shown)


def test_what_only_some_counts_hold_is_said():
    ended, going_on = page(digested(counted({"eu": 3}))).text, page(digested(counted({"eu": 3}), ended=False)).text
    assert "Among the lines: 0 with signals that named several regions" in ended
    assert "Rows stored are here those of each purpose's own dataset" in ended
    assert "or the event is unlocatable or foreign and goes no further" in ended
    assert "unless a later run is given the whole day again" in ended and "nobody to see" not in ended
    assert "for nobody to see" in going_on and "given the whole day" not in going_on


def test_the_overlays_in_force_are_named():
    text = " ".join(page(digested(counted({"eu": 3}))).text.split())
    assert "Narrowed for regions cn, eu, in, ru, sg, us" in text.replace("regionscn", "regions cn")
    assert "Narrowed for services notes" in text.replace("servicesnotes", "services notes")


def test_the_page_names_a_command_for_its_counts(prepared, tmp_path):
    _, out = put(prepared, tmp_path)
    words = re.search(r"douane (audit --run \w+ --json)", Page(out.read_text()).text)[1].split()
    told = command(audit, *words[1:], "--deployment", prepared.deployment, "--by", "step,outcome,dataset")
    run = json.loads(prepared.outcome.out)
    assert [each["run"] for each in json.loads(told.out)["runs"]] == [run["run"]]
    lines = [n["count"] for n in json.loads(told.out)["counts"] if (n["step"], n["outcome"]) == ("telemetry", "lines")]
    assert lines == [run["came_in"]["telemetry"]["lines"]]


def test_every_style_has_something_to_style():
    css = (_PAGES / "report.css").read_text()
    classes = set(re.findall(r"\.([a-z]\w*)", re.sub(r"/\*.*?\*/|\{[^{}]*\}", "{", css, flags=re.DOTALL)))
    written = (_PAGES / "report.html.j2").read_text() + "".join(map(inspect.getsource, (page_module, figures)))
    assert {"scroll", "kept", "title"} <= classes
    assert {name for name in classes if not re.search(rf'["\s]{name}["\s]', written)} == set()


def test_by_default_the_page_is_named_after_the_latest_run(prepared, tmp_path, monkeypatch):
    later, monday = prepared.copy(tmp_path / "copy"), event(99)
    (tmp_path / "more.ndjson").write_bytes(ndjson(monday))
    more = ("--events", tmp_path / "more.ndjson", "--no-ledger", "--deployment", later.deployment, "--json")
    second, first = (json.loads(o)["run"] for o in (command(ingest, *more).out, prepared.outcome.out))
    monkeypatch.chdir(tmp_path)
    done = command(report, "--deployment", later.deployment)
    assert done.out.splitlines()[-1] == f"report-{second}.html"
    assert second in (tmp_path / f"report-{second}.html").read_text()
    for path in later.folder.glob("stores/*/audit/*/*"):  # the order in which they were stored, the other way round
        moment = path.stat().st_mtime
        os.utime(path, (2e9 - moment, 2e9 - moment))
    assert command(report, "--deployment", later.deployment).out.splitlines()[-1] == f"report-{first}.html"
    assert command(report, second, "--deployment", later.deployment).out.splitlines()[-1] == f"report-{second}.html"


def test_what_is_wrong_is_told_in_one_line_and_leaves_no_page(prepared, tmp_path):
    unknown, out = put(prepared, tmp_path, "nosuchrun")
    known = json.loads(prepared.outcome.out)["run"]
    assert unknown.status == 2
    assert unknown.errors == [
        f"douane report: no run nosuchrun has left counts in this deployment; the latest are {known}"
    ]
    assert not out.exists()
    (tmp_path / "file").write_text("")
    done = command(report, "--deployment", prepared.deployment, "--out", tmp_path / "file" / "page.html")
    assert done.status == 2 and len(done.errors) == 1


def test_another_policy_is_refused(prepared, tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    for path in (_PAGES.parents[1] / "schemas" / "packs" / "2021-01-15").glob("*.yaml"):
        text = path.read_text()
        (pack / path.name).write_text(re.sub(r"^  push:", "  notices:", text, flags=re.MULTILINE))
    done, out = put(prepared, tmp_path, "--policy", pack)
    assert (done.status, out.exists()) == (2, False)
    assert "it has no purpose 'push'" in done.errors[0]


def test_another_edition_of_the_policy_is_refused(prepared, tmp_path):
    pack = shutil.copytree(SHIPPED / DEFAULT_PACK, tmp_path / "pack")
    edition = pack / "policy.yaml"
    edition.write_text(edition.read_text().replace('version: "2021-01-15"', 'version: "2022-02-02"'))
    done, out = put(prepared, tmp_path, "--policy", pack)
    assert (done.status, out.exists()) == (2, False)
    assert "is edition 2022-02-02, but run" in done.errors[0] and "decided under 2021-01-15" in done.errors[0]


def test_a_run_that_does_not_reconcile_says_so_first():
    found = digested(counted({"eu": 3}, lost=5))
    shown = page(found)
    assert "This run does not account for everything" in shown.text and "is accounted for" not in shown.text
    assert shown.text.index(found.faults[0]) < shown.text.index("What came in")
    assert ("p", {"class": "verdict broken", "role": "alert"}) in shown.tags
    assert "5 not accounted for" in shown.text


def test_many_faults_are_all_there():
    found = digested(counted({"eu": 3, "us": 3}))
    found.faults.extend(f"fault number {n}" for n in range(40))
    assert all(f"fault number {n}" in page(found).text for n in range(40))


@pytest.mark.parametrize(
    "records",
    [{}, {"eu": 1}, {"cn": 10**10, "eu": 1, "sg": 1}, dict.fromkeys(("cn", "in", "ru", "eu", "us", "sg"), 12345)],
    ids=["nothing", "one", "skew", "even"],
)
def test_every_size_of_run_has_a_page(records):
    found = digested(counted(records, quarantined=0 if not records else 1))
    shown = page(found)
    assert found.reconciles and f"{found.came_in['telemetry']['judged']:,}" in shown.text
    assert ("Few records came in here: eu" in shown.text) == (records.get("eu", 0) == 1)


def test_a_stream_is_not_said_to_be_complete():
    shown = page(digested(counted({"eu": 3}), ended=False))
    assert "Every closed window adds up" in shown.text and "Every line is accounted for" not in shown.text


def test_a_run_of_nothing_claims_nothing():
    shown = page(digested(counted({}, quarantined=0)))
    assert "Nothing came in" in shown.text and "accounted for" not in shown.text


def test_what_a_deployment_names_is_escaped():
    found = digested(counted({"eu": 3}))
    found.by_region["<script>alert(1)</script>"] = found.by_region["eu"]
    html = render(found, ["2021-03-05"])
    assert "<script" not in html and "&lt;script&gt;" in html


def test_every_reason_has_a_meaning_and_a_colour():
    assert MEANING.keys() == CLAUSE_OF_REASON.keys()
    grouped = [reason for _, reasons in GROUPS.values() for reason in reasons]
    assert sorted(grouped) == sorted(CLAUSE_OF_REASON)


@pytest.mark.parametrize(
    ("count", "whole", "said"),
    [(0, 0, "–"), (0, 5, "–"), (5, 5, "100.0 %"), (99_999, 100_000, "99.9 %"), (1, 10**6, "<0.1 %"), (1, 8, "12.5 %")],
)
def test_a_share_is_all_or_nothing_only_if_it_is(count, whole, said):
    assert percent(count, whole) == said


def lightness(colour: str) -> float:
    """L* of sRGB, 0 black to 100 white: what is left of a colour for who sees no hue, and on a grey printer."""
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    y = sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * y ** (1 / 3) - 16


def test_shades_keep_apart_without_hue():
    palettes = re.findall(r":root \{(.*?)\}", (_PAGES / "report.css").read_text(), re.DOTALL)
    assert len(palettes) == 3  # light, dark, print
    for palette in palettes:
        colour = dict(re.findall(r"--(\w+): (#\w{6})", palette))
        greys = sorted([lightness(colour[tone]) for tone in GROUPS] + [lightness(colour["page"])])
        assert all(b - a >= 10 for a, b in zip(greys, greys[1:], strict=False))
        text = abs(lightness(colour["ink"]) - lightness(colour["page"]))
        assert text > 75 and abs(lightness(colour["soft"]) - lightness(colour["page"])) > 45

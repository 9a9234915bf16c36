import shutil

import pytest
import yaml
from pydantic import ValidationError

from schemas.countries import countries
from schemas.datasets import datasets
from schemas.fields import EVENT_TYPES
from schemas.findings import PackError
from schemas.layout import layout
from schemas.pack_files import SHIPPED, load_pack
from schemas.policy import WITHOUT_LEDGER, Basis, Pack
from tests.editions import bare

REGIONS = ("cn", "in", "ru", "eu", "us", "sg")
PURPOSES = set(
    "service activation sim_diagnostics security support promotion research device_performance operations legal "  # noqa: SIM905
    "user_experience location_services find_device push personalisation personalised_ads statistics".split()
)
GOOD = SHIPPED / "2021-01-15"


@pytest.fixture(scope="module")
def pack():
    return load_pack()


@pytest.mark.clause("6-dc")
def test_the_shipped_pack_loads_by_name_and_by_path(pack):
    assert pack == load_pack("2021-01-15") == load_pack(str(GOOD))
    assert pack.version == "2021-01-15"
    assert set(pack.purposes) == PURPOSES and set(pack.where.regions) == set(REGIONS)


def test_every_event_type_serves_a_purpose(pack):
    assert {event for purpose in pack.purposes.values() for event in purpose.events} == set(EVENT_TYPES)


@pytest.mark.clause("1.2-ops")
@pytest.mark.parametrize("region", ["cn", "in"])
def test_legitimate_interest_and_opt_out_are_consent_in_china_and_india(pack, region):
    for name in pack.purposes:
        assert pack.basis(name, region) in (Basis.CONTRACT, Basis.LEGAL_OBLIGATION, Basis.CONSENT)
    assert pack.basis("operations", region) is Basis.CONSENT
    assert pack.basis("operations", "eu") is Basis.LEGITIMATE_INTEREST


@pytest.mark.clause("1.2-promo")
def test_a_region_may_have_a_basis_of_its_own(pack):
    bases = {region: pack.basis("promotion", region) for region in REGIONS}
    assert bases == dict.fromkeys(REGIONS, Basis.CONSENT) | {"us": Basis.OPT_OUT}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("with_ledger", [True, False])
def test_the_terms_of_a_region_say_what_the_pack_says(pack, region, with_ledger):
    terms = pack.terms(region, with_ledger)
    assert terms.purposes == tuple(pack.purposes)
    for bit, (name, purpose) in enumerate(pack.purposes.items()):
        basis, grantors = pack.basis(name, region), purpose.granted_by or purpose.subject
        expected = {
            "consent": basis is Basis.CONSENT,
            "needs_device": "device" in purpose.subject,
            "needs_account": "account" in purpose.subject,
            "device_grants": "device" in grantors,
            "account_grants": "account" in grantors,
            "minors_excluded": purpose.minors == "excluded",
            "per_application": purpose.per_application,
            "closed": not with_ledger and basis not in WITHOUT_LEDGER,
        }
        assert {mask: bool(getattr(terms, mask) >> bit & 1) for mask in expected} == expected
        assert terms.minimum_versions.get(name) == purpose.minimum_policy_version


@pytest.mark.clause("7")
def test_minors_get_no_marketing_no_advertising_and_no_profiling(pack):
    excluded = {name for name, purpose in pack.purposes.items() if purpose.minors == "excluded"}
    assert excluded >= {"promotion", "personalisation", "personalised_ads"}


@pytest.mark.clause("1.1.2-loc")
def test_location_is_granted_application_by_application(pack):
    assert pack.purposes["location_services"].per_application
    assert {gate.purpose for gate in pack.gates} == {"location_services"}


@pytest.mark.clause("1.1.3")
def test_partners_feed_advertising_only(pack):
    assert [name for name, purpose in pack.purposes.items() if "partner" in purpose.sources] == ["personalised_ads"]


@pytest.mark.clause("2-log")
def test_everything_that_opens_without_consent_has_a_limit_and_a_clause(pack):
    for purpose in pack.purposes.values():
        assert purpose.retention_days > 0 and purpose.clause and purpose.title


# --- packs that are wrong ---


@pytest.fixture
def edited(tmp_path):
    """Loads a copy of the good pack after a replacement in one of its files, which must be there to be made."""

    def load(file, old, new):
        folder = tmp_path / "pack"
        shutil.copytree(GOOD, folder)
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return load_pack(str(folder))

    return load


POLICY, PLACES, RULES = "policy.yaml", "residency.yaml", "purposes.yaml"


@pytest.mark.parametrize(
    "file, old, new, place, remedy",
    [
        # the limits
        (POLICY, "future_minutes: 5", "future_minutes: -5", "limits.future_minutes", "greater than or equal to 0"),
        (POLICY, "oldest_days: 30", "oldest_days: 0", "limits.oldest_days", "greater than 0"),
        (POLICY, "ipv4_prefix: 24", "ipv4_prefix: 25", "limits.ipv4_prefix", "8, 16 or 24"),
        (POLICY, "ipv6_prefix: 48", "ipv6_prefix: 64", "limits.ipv6_prefix", "16, 32 or 48"),
        (POLICY, "text_bytes: 8192", "text_bytes: 8192\n  text_time: minute", "limits.text_time", "'hour' or 'day'"),
        (POLICY, "text_bytes: 8192", "text_byte: 8192", "limits.text_byte", "not permitted"),
        (POLICY, "effective: 2021-01-15", "effective: some day", "effective", "a day is expected"),
        # gates
        (POLICY, "purpose: location_services", "purpose: locations", "gates.0.purpose", "'locations' is no purpose"),
        (POLICY, "categories: [exact_location]", "categories: [exact]", "gates.0.categories.0", "exact_location"),
        # regions
        (PLACES, '"NO"', "NO", "regions.eu.countries", "valid string"),
        (PLACES, '"NO"', "QQ", "QQ", "ISO 3166-1"),
        (PLACES, '"NO"', "CN", "country CN", "keep one"),
        (PLACES, "countries: [US,", "countries: [us,", "region us", "ISO 3166-1"),
        (PLACES, "countries: [RU]", "countries: rest", "ru and sg", "leave one"),
        (PLACES, "countries: [RU]", "countries: []", "region ru", "no countries"),
        (PLACES, "localising: [in,", "localising: [india,", "localising region 'india'", "use cn, in, ru"),
        (PLACES, "sim_mcc]", "sim]", "unknown signal 'sim'", "account_country, device_region, sim_mcc"),
        (PLACES, "[account_country, device_region, sim_mcc]", "[]", "signals", "at least one"),
        (PLACES, "bases: [contract, legal_obligation, consent]", "bases: [contract]", "regions.cn", "hold `consent`"),
        (PLACES, "bases: [contract,", "bases: [contracts,", "regions.cn.bases.0", "'contract'"),
        (PLACES, "data_centre: CN", "data_centre: XK", "regions.cn", "ISO 3166-1"),
        (PLACES, "data_centre: CN", "data_centre: NO", "regions.cn.data_centre", "valid string"),
        (PLACES, "    data_centre: CN\n", "", "regions.cn.data_centre", "required"),
        (PLACES, "  us:", "  all:", "regions.all", "name it otherwise"),
        # purposes
        (RULES, "basis: {default: contract}", "basis: {eu: contract}", "purposes.service", "needs a `default`"),
        (RULES, "basis: {default: contract}", "basis: {default: contract, de: consent}", "purposes.service", "['de']"),
        (RULES, "basis: {default: contract}", "basis: {default: whim}", "purposes.service.basis.default", "'contract'"),
        (RULES, "subject: [device]", "subject: [person]", "purposes.service.subject.0", "'device' or 'account'"),
        (RULES, "minors: included", "minors: welcome", "purposes.service.minors", "'included' or 'excluded'"),
        (RULES, "event_time: minute", "event_time: exact", "purposes.security.event_time", "'minute'"),
        (RULES, "retention_days: 365", "retention_days: 0", "purposes.service.retention_days", "greater than 0"),
        (RULES, "    retention_days: 365\n", "", "purposes.service.retention_days", "required"),
        (RULES, "account_id: token", "account_id: plain", "purposes.service", "possible: sealed, token"),
        (RULES, "ip: network", "ip: plain", "purposes.security", "possible: network"),
        (RULES, "crash.exception: text", "crash.exception: plain", "user_experience", "possible: fingerprint, text"),
        (RULES, "{bucket: 100}", "{bucket: 0}", "purposes.service.columns.session.events.step", "greater than 0"),
        (RULES, "{bucket: 100}", "bucket", "purposes.service.columns.session.events", "{bucket: STEP}"),
        (RULES, "event_id: token", "event_id: {form: token, step: 2}", "columns.event_id", "take no step"),
        (RULES, "event_id: token", "event_id: {form: token, among: apps}", "columns.event_id", "take no list"),
        (RULES, "{listed: common_services}", "listed", "purposes.service.columns.service", "{listed: NAME}"),
        (RULES, "{listed: common_services}", "{listed: some}", "purposes.service.columns.service", "'some' is no list"),
        (RULES, "{bucket: 100}", "{listed: common_services}", "session.events cannot go as", "bucket, plain"),
        # what keeps datasets apart
        (POLICY, "[weather2, finddevice]", "[]", "lists.common_services.words", "at least 1 must stand"),
        (POLICY, "[weather2, finddevice]", "[weather2, weather2]", "lists.common_services.words", "listed twice"),
        (POLICY, "singled_out_percent: 5", "singled_out_percent: 105", "apart.singled_out_percent", "equal to 100"),
        (POLICY, "least_records: 1000", "least_records: 0", "apart.least_records", "greater than 0"),
        (RULES, "service: plain", "servise: plain", "purposes.security", "'servise', which is no field"),
        (
            RULES,
            "device.os_version: major\n",
            "device.os_version: major\n      source: plain\n",
            "service",
            "never reaches",
        ),
        (RULES, "session: [event_id,", "session: [ip, event_id,", "purposes.service", "['ip']"),
        (
            RULES,
            "account_id: token\n",
            "account_id: token\n      ip: network\n",
            "purposes.service",
            "no event type lists",
        ),
        (RULES, "session: [event_id,", "sesion: [event_id,", "purposes.service.events.sesion", "'session'"),
        (RULES, "session: [event_id,", "session: [app_lifecycle.state, event_id,", "events.session", "does not carry"),
        (RULES, "subject: [device]", "subject: []", "purposes.service", "without a subject may hold no identifier"),
        (RULES, "sources: [device, web, partner]", "sources: [broker]", "personalised_ads.sources.0", "'partner'"),
        (RULES, "token_epoch: month", "token_epoch: week", "personalised_ads.token_epoch", "'month'"),
        (
            RULES,
            "    stored: false",
            "    shared_with: advertisers",
            "purposes.statistics.shared_with",
            "not permitted",
        ),
        # files
        (RULES, "purposes:\n", "regions: {}\npurposes:\n", "residency.yaml", "another file"),
        (RULES, "purposes:\n", "limit: 3\npurposes:\n", "limit", "not permitted"),
        (POLICY, 'version: "2021-01-15"', "", "version", "required"),
        # what names an edition, a dataset and a folder
        (POLICY, 'version: "2021-01-15"', "version: edition-9", "version", "is no date; write one such as"),
        (RULES, '_version: "2021-01-15"', "_version: 2021", "personalisation.minimum_policy_version", "valid string"),
        (RULES, "  legal:", "  audit:", "purposes ['audit']", "other datasets"),
        (RULES, "  legal:", "  inbox:", "purposes ['inbox']", "other datasets"),
        (RULES, "    stored: false\n", "", "statistics.columns.crash.trace", "or `stored: false`"),
        (RULES, "crash.trace: fingerprint", "crash.trace: group", "no dataset holds the group", "write `fingerprint`"),
        (RULES, "crash.exception: text", "crash.exception: group", "user_experience", "possible: fingerprint, text"),
    ],
)
def test_a_wrong_pack_says_where_and_what_in_one_message(edited, tmp_path, file, old, new, place, remedy):
    with pytest.raises(PackError) as refusal:
        edited(file, old, new)
    message = str(refusal.value)
    assert str(tmp_path / "pack") in message
    assert place in message and remedy in message
    assert refusal.value.__cause__ is None and refusal.value.__context__ is None


def test_what_is_no_yaml_is_told_by_file_and_line(edited):
    with pytest.raises(PackError, match=r"purposes\.yaml:\d+: did not find expected"):
        edited(RULES, "purposes:\n", "purposes: [\n")


@pytest.mark.parametrize(
    "file, old, new",
    [
        (POLICY, "  text_bytes: 8192", "  text_bytes: 8192\n  text_bytes: 100000"),
        (RULES, "  service:\n", "  legal: {}\n  service:\n"),
        (RULES, "    stored: false", "    stored: false\n    stored: true"),
        (PLACES, "    clause: 6-cn", "    clause: 6-cn\n    clause: 6-dc"),
    ],
)
def test_a_key_given_twice_is_refused_and_located(edited, file, old, new):
    with pytest.raises(PackError, match=r"\.yaml:\d+: key .* given twice"):
        edited(file, old, new)


def test_several_faults_are_told_at_once(edited):
    with pytest.raises(PackError, match="limits.oldest_days.*; .*limits.text_bytes"):
        edited(
            POLICY,
            "oldest_days: 30        # a phone that was offline longer uploads nothing that is kept\n  text_bytes: 8192",
            "oldest_days: 0\n  text_bytes: 0",
        )


@pytest.mark.parametrize("name", ["2020-01-01", "", "/nowhere/at/all"])
def test_a_pack_that_is_not_there_names_those_that_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackError, match="shipped packs: 2021-01-15"):
        load_pack(name)


@pytest.mark.parametrize(
    "content", [b"- a list\n", b"just words\n", b"\xff\xfe\x00", b"a: &x [*x]\n", b"!!python/object:os.system {}\n"]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "policy.yaml").write_bytes(content)
    with pytest.raises(PackError):
        load_pack(str(tmp_path))


def test_a_pack_has_as_many_regions_as_their_codes_can_tell_apart():
    content = bare().model_dump(mode="json")
    region = content["regions"]["cn"]
    few, many = ({**content, "purposes": {}, "gates": [], "statistics": None} for _ in range(2))
    codes = sorted(countries())
    for pack_, number in ((few, 127), (many, 128)):
        pack_["residency"] |= {"localising": []}
        pack_["regions"] = {f"r{n}": region | {"countries": [codes[n]]} for n in range(number)}
    assert len(Pack.model_validate(few).where.regions) == 127
    with pytest.raises(ValidationError, match="127 regions at most"):
        Pack.model_validate(many)


@pytest.mark.clause("0-b")
def test_another_pack_gives_another_job_and_no_rule_is_in_the_code(tmp_path):
    """A pack of one purpose: its datasets and its layout are what it says, and nothing of the shipped one remains."""
    shutil.copytree(GOOD, tmp_path / "pack", ignore=shutil.ignore_patterns("statistics.yaml", "regions", "services"))
    rules = yaml.safe_load((GOOD / RULES).read_text(encoding="utf-8"))["purposes"]
    kept = {name: rules[name] for name in ("location_services", "find_device", "legal")}
    (tmp_path / "pack" / RULES).write_text(yaml.safe_dump({"purposes": kept}), encoding="utf-8")
    rest = yaml.safe_load((GOOD / POLICY).read_text(encoding="utf-8")) | {"collection": []}
    rest["apart"]["together"] = [pair for pair in rest["apart"]["together"] if set(pair["purposes"]) <= set(kept)]
    rest["lists"] = {"common_outcomes": rest["lists"]["common_outcomes"]}
    (tmp_path / "pack" / POLICY).write_text(yaml.safe_dump(rest), encoding="utf-8")
    pack = load_pack(str(tmp_path / "pack"))
    places = ("location_services", "find_device")
    assert set(datasets(pack)) == {*places, *(f"{name}_sensitive" for name in places), "legal"}
    assert {source.path for source in layout(pack).places} == {p for rule in kept.values() for p in rule["columns"]}
    assert pack.terms("eu").purposes == ("find_device", "legal", "location_services")

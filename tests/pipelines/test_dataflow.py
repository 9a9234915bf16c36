"""What a job on Dataflow must be told, and what is refused (clauses 6-dc to 6-in)."""

import pytest

from pipelines.dataflow import checked
from pipelines.errors import ConfigurationError
from schemas.clouds import google_regions
from schemas.pack_files import DEFAULT_PACK, load_pack
from tests.dataflow import cloud_flags

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs Google's libraries: pip install 'douane[gcp]'")

SHIPPED = (DEFAULT_PACK,)
ELSEWHERE = "europe-west2"  # London


def refusal(flags, cell="eu"):
    with pytest.raises(ConfigurationError) as refused:
        checked(flags, cell, SHIPPED)
    return str(refused.value)


def without(option):
    return [flag for flag in cloud_flags("eu") if not flag.startswith(f"--{option}")]


def regions_of(cell):
    return google_regions(load_pack().regions[cell].data_centre)


def test_every_region_of_the_pack_says_where_it_may_run():
    regions = {region: regions_of(region) for region in load_pack().regions}
    assert {region for region, named in regions.items() if not named} == {"cn", "ru"}
    everywhere = [name for named in regions.values() for name in named]
    assert len(everywhere) == len(set(everywhere))
    assert google_regions("AQ") == ()


@pytest.mark.clause("6-dc")
@pytest.mark.parametrize("cell", ["in", "eu", "us", "sg"])
def test_a_cell_runs_in_any_google_region_of_its_data_centre_and_in_no_other(cell):
    for region in regions_of(cell):
        assert f"--worker_region={region}" in checked(cloud_flags(cell, region), cell, SHIPPED)
    for other in {"in", "eu", "us", "sg"} - {cell}:
        for region in (*regions_of(other), ELSEWHERE, "asia-east1", "asia-east2"):
            assert f"is not where {cell} lives" in refusal(cloud_flags(cell, region), cell)


@pytest.mark.parametrize(
    "cell",
    [pytest.param("cn", marks=pytest.mark.clause("6-cn")), pytest.param("ru", marks=pytest.mark.clause("6-ru"))],
)
def test_a_cell_where_google_has_no_region_is_sent_to_flink(cell):
    assert "where it lives; run this cell on Flink" in refusal(cloud_flags(cell, "asia-east2"), cell)


def test_all_cells_are_not_one_job():
    assert "name the one that it serves" in refusal(cloud_flags("eu"), "all")


@pytest.mark.parametrize(
    "option",
    [
        *("region", "project", "temp_location", "job_name", "dataflow_kms_key", "service_account_email"),
        "sdk_container_image",
    ],
)
def test_what_is_missing_is_asked_for(option):
    assert f"needs --{option}" in refusal(without(option))


@pytest.mark.parametrize(
    "flag, reason",
    [
        ("--save_main_session", "pickled"),
        ("--use_public_ips", "private addresses"),
        ("--setup_file=setup.py", "no lock"),
        ("--requirements_file=requirements.txt", "no lock"),
        ("--extra_package=a.tar.gz", "no lock"),
        ("--dataflow_service_options=streaming_mode_at_least_once", "twice"),
        ("--experiments=streaming_mode_at_least_once", "twice"),
        ("--experiments=enable_data_sampling", "raw lines"),
        ("--dataflow_service_option=enable_data_sampling", "raw lines"),
        ("--experiment=enable_always_on_exception_sampling", "raw line"),
        (f"--worker_region={ELSEWHERE}", "is not --region"),
        (f"--worker_zone={ELSEWHERE}-a", "must lie in europe-west3"),
        (f"--zone={ELSEWHERE}-a", "must lie in europe-west3"),
        (f"--subnetwork=regions/{ELSEWHERE}/subnetworks/s", "must lie in europe-west3"),
        ("--subnetwork=s", "must lie in europe-west3"),
        ("--dataflow_kms_key=projects/p/locations/europe/keyRings/r/cryptoKeys/k", "must lie in europe-west3"),
        ("--dataflow_kms_key=projects/p/locations/global/keyRings/r/cryptoKeys/k", "must lie in europe-west3"),
        ("--dataflow_kms_key=europe-west3", "must lie in europe-west3"),
        ("--temp_location=/tmp/here", "gs://"),
        ("--staging_location=/tmp/here", "gs://"),
    ],
)
def test_what_takes_data_out_or_shows_it_is_refused(flag, reason):
    assert reason in refusal([*cloud_flags("eu"), flag])


@pytest.mark.parametrize(
    "flag",
    [
        "--worker_region=europe-west3",
        "--worker_zone=europe-west3-a",
        "--subnetwork=https://www.googleapis.com/compute/v1/projects/p/regions/europe-west3/subnetworks/s",
        "--staging_location=gs://douane-eu/staging",
        "--experiments=use_multiple_sdk_containers",
        "--update",
        "--max_num_workers=8",
    ],
)
def test_what_does_no_harm_is_left_as_it_is(flag):
    flags = [*cloud_flags("eu"), flag]
    added = checked(flags, "eu", SHIPPED)
    assert added[: len(flags)] == tuple(flags)
    assert not {"--worker_zone=europe-west3-a", "--worker_region=europe-west3"} <= set(added)  # Beam takes one of them


def test_nothing_is_submitted_while_stores_and_keys_are_local():
    for flags in (without("dry_run"), [*without("dry_run"), "--dry_run=False"]):
        assert "local paths" in refusal(flags)


def test_without_googles_libraries_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pipelines.dataflow.find_spec", lambda name: None)
    assert "douane[gcp]" in refusal(cloud_flags("eu"))

"""A deployment that would mix two regions, or lose what they hold, is refused before anything runs."""

import json
import pickle
import shutil

import pytest

from pipelines.deployment import load_deployment, prepare
from pipelines.errors import ConfigurationError
from tests.stranger import REGIONS, deploy
from transforms.keyring import KeyUnavailable, open_keyring, region_of_keystore


def written(tmp_path, regions, **more):
    path = tmp_path / "deployment.yaml"
    path.write_text(json.dumps({"regions": regions, **more}))
    return path


def place(name, **changes):
    return {"store": f"stores/{name}", "keys": f"local:keys/{name}"} | changes


def refused(path):
    """The one line by which a deployment is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load_deployment(path)
    message = str(caught.value)
    assert message.startswith(f"deployment {path}: ") and "\n" not in message
    return message


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    path = deploy(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    deployment = load_deployment("here/deployment.yaml")
    assert tuple(deployment.regions) == REGIONS
    eu = deployment.place("eu")
    assert eu.store == tmp_path / "here/stores/eu"
    assert eu.keys == f"local:{tmp_path / 'here/keys/eu'}"
    assert eu.manifest_folder == tmp_path / "here/keys/eu/manifest"
    assert load_deployment(path).regions == deployment.regions


def test_file_uris_absolute_paths_and_a_manifest_of_its_own(tmp_path):
    store, keys = tmp_path / "far/store", tmp_path / "far/keys"
    path = written(tmp_path, {"eu": {"store": f"file://{store}", "keys": f"local:{keys}", "manifest": "m"}})
    eu = load_deployment(path).place("eu")
    assert (eu.store, eu.keys, eu.manifest_folder) == (store, f"local:{keys}", tmp_path / "m")


def test_arrival_is_the_first_region_unless_named(tmp_path):
    assert load_deployment(deploy(tmp_path)).arrival == "cn"
    assert load_deployment(deploy(tmp_path, arrival="eu")).arrival == "eu"
    assert "arrival is 'de', which is none of its regions" in refused(deploy(tmp_path, arrival="de"))


def test_an_unknown_region(tmp_path):
    with pytest.raises(ConfigurationError, match="no region 'de'; it has cn, in, ru, eu, us, sg"):
        load_deployment(deploy(tmp_path)).place("de")


@pytest.mark.clause("6-dc")
@pytest.mark.parametrize(
    "us",
    [
        place("eu"),
        place("us", store="stores/eu"),
        place("us", store="stores/eu/us"),
        place("us", store="stores"),
        place("us", keys="local:keys/eu"),
        place("us", keys="local:keys/eu/us"),
        place("us", keys="local:stores/eu/keys"),
        place("us", store="keys/eu/secrets"),
        place("us", store="stores/../stores/./eu"),
    ],
)
def test_regions_do_not_share(tmp_path, us):
    assert "regions eu and us share" in refused(written(tmp_path, {"eu": place("eu"), "us": us}))


@pytest.mark.clause("6-dc")
def test_regions_do_not_share_by_a_link(tmp_path):
    (tmp_path / "stores/eu").mkdir(parents=True)
    (tmp_path / "stores/us").symlink_to("eu")
    assert "regions eu and us share" in refused(written(tmp_path, {"eu": place("eu"), "us": place("us")}))


@pytest.mark.clause("6-dc")
def test_regions_do_not_share_a_manifest(tmp_path):
    regions = {name: place(name, manifest="manifest") for name in ("eu", "us")}
    assert "regions eu and us share" in refused(written(tmp_path, regions))


@pytest.mark.parametrize("keys", ["local:stores/eu", "local:stores/eu/keys"])
def test_keys_do_not_lie_in_the_store(tmp_path, keys):
    message = refused(written(tmp_path, {"eu": place("eu", keys=keys)}))
    assert "region eu keeps its keys in its store" in message and "keep them apart" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"statistics": "keys/eu/statistics"},
        {"quarantine": "keys/eu/manifest/quarantine"},
        {"statistics": "apart", "quarantine": "apart/quarantine"},
        {"statistics": "stores/eu/operations"},
        {"inbox": "stores"},
    ],
)
def test_what_is_no_dataset_lies_apart(tmp_path, changes):
    assert "region eu has" in refused(written(tmp_path, {"eu": place("eu", **changes)}))


@pytest.mark.parametrize("changes", [{"manifest": "stores/eu/manifest"}, {"store": "keys/eu/store"}])
def test_wrapped_keys_do_not_lie_beside_the_files(tmp_path, changes):
    assert "keep them apart" in refused(written(tmp_path, {"eu": place("eu", **changes)}))


@pytest.mark.parametrize("keys", ["aws-kms:alias/eu", "keys/eu", "local:", "/keys"])
def test_only_local_keys(tmp_path, keys):
    message = refused(written(tmp_path, {"eu": place("eu", keys=keys)}))
    assert f"keys {keys!r}: only local:PATH is available" in message


def test_only_local_stores(tmp_path):
    message = refused(written(tmp_path, {"eu": place("eu", store="gs://bucket/eu")}))
    assert "regions.eu.store: only local paths are available" in message


@pytest.mark.parametrize("content", ["regions: {}", "regions: {eu: {store: s, keys: 'local:k'}"])
def test_no_regions_or_no_yaml(tmp_path, content):
    path = tmp_path / "deployment.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError):
        load_deployment(path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("regions: {eu: {store: s, keys: 'local:k', sotre: x}}", "sotre"),
        ("regions: {eu: {store: s}}", "keys"),
        ("regions: {no: {store: s, keys: 'local:k'}}", "put it in quotes"),
        ("regions: [eu]", "regions"),
        ("regoins: {}", "regoins"),
        ("", "regions"),
        ("regions: {eu: {store: s, keys: 'local:k'}, eu: {store: t, keys: 'local:l'}}", "given twice"),
        ("regions: {eu: {store: s", "deployment.yaml:2:"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_in_one_line(tmp_path, content, named):
    path = tmp_path / "deployment.yaml"
    path.write_text(content)
    assert named in refused(path)


def test_a_file_that_cannot_be_read(tmp_path):
    assert "No such file" in refused(tmp_path / "none.yaml")
    assert "not a file with text" in refused(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(tmp_path / "binary.yaml")


def test_loading_touches_nothing(tmp_path):
    path = deploy(tmp_path)
    load_deployment(path)
    assert list(tmp_path.iterdir()) == [path]


class TestPrepare:
    def test_makes_a_keystore_once_and_says_so(self, tmp_path):
        eu, said = load_deployment(deploy(tmp_path)).place("eu"), []
        prepare(eu, said.append)
        prepare(eu, said.append)
        assert region_of_keystore(eu.keys) == "eu"
        assert len(said) == 1 and "made a new keystore for eu" in said[0] and "back it up" in said[0]

    def test_is_readable_by_its_owner_only(self, tmp_path):
        eu = load_deployment(deploy(tmp_path)).place("eu")
        prepare(eu, lambda _: None)
        eu.keyring().secret("seal/imei", "border")
        modes = {path.stat().st_mode & 0o77 for path in (tmp_path / "keys/eu").rglob("*") if path.is_file()}
        assert modes == {0}

    @pytest.mark.clause("6-dc")
    def test_refuses_the_keystore_of_another_region(self, tmp_path):
        deployment = load_deployment(deploy(tmp_path))
        prepare(deployment.place("us"), lambda _: None)
        (tmp_path / "keys/us").rename(tmp_path / "keys/eu")
        with pytest.raises(ConfigurationError, match="region eu: the keystore at .* belongs to region us"):
            prepare(deployment.place("eu"), lambda _: None)

    @pytest.mark.parametrize(
        "left", ["stores/eu/service/received_date=2021-03-01/a.parquet", "keys/eu/manifest/s/d/a.json"]
    )
    def test_refuses_a_new_keystore_over_old_data(self, tmp_path, left):
        eu = load_deployment(deploy(tmp_path)).place("eu")
        (tmp_path / left).parent.mkdir(parents=True)
        (tmp_path / left).write_bytes(b"data")
        with pytest.raises(ConfigurationError, match="region eu: no keystore at .* bring the keystore back"):
            prepare(eu, lambda _: None)
        assert region_of_keystore(eu.keys) is None

    def test_refuses_to_go_on_without_the_key_of_a_dataset(self, prepared, tmp_path):
        spoilt = prepared.copy(tmp_path / "copy")
        (spoilt.folder / "keys/eu/wrapping/dataset-service.key").unlink()
        with pytest.raises(ConfigurationError, match="region eu: the key of dataset service is missing"):
            prepare(load_deployment(spoilt.deployment).place("eu"), lambda _: None)

    def test_no_keystore_no_keyring(self, tmp_path):
        with pytest.raises(KeyUnavailable, match="no keystore at"):
            load_deployment(deploy(tmp_path)).place("eu").keyring()

    def test_a_place_travels_without_key_material(self, tmp_path):
        eu = load_deployment(deploy(tmp_path)).place("eu")
        prepare(eu, lambda _: None)
        keyring = eu.keyring()
        secret = keyring.secret("seal/imei", "border")
        assert secret not in pickle.dumps(eu)
        with pytest.raises(TypeError, match="does not pickle"):
            pickle.dumps(keyring)
        shutil.rmtree(tmp_path / "keys")
        open_keyring.cache_clear()
        with pytest.raises(KeyUnavailable):
            pickle.loads(pickle.dumps(eu)).keyring()

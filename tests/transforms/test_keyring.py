import os
import pickle
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transforms import keyring as keyring_module
from transforms.keyring import (
    Keyring,
    KeyUnavailable,
    LocalKeyService,
    create_keystore,
    create_once,
    has_wrapping_key,
    local_folder,
    open_keyring,
    region_of_keystore,
)


def keyring(folder: Path) -> Keyring:
    """As another process would open it: nothing is remembered from before."""
    create_keystore(f"local:{folder}", "eu")
    return Keyring(LocalKeyService(folder / "wrapping"), folder / "secrets")


def test_a_secret_is_made_once_and_read_by_everybody_after(tmp_path):
    first = keyring(tmp_path).secret("seal/imei", "border")
    assert len(first) == 32
    assert keyring(tmp_path).secret("seal/imei", "border") == first


def test_secrets_are_random_and_as_long_as_asked(tmp_path):
    ring = keyring(tmp_path)
    made = {ring.secret(name, "border") for name in ("seal/imei", "seal/imsi", "token/push/2021/imei")}
    made.add(keyring(tmp_path / "elsewhere").secret("seal/imei", "border"))
    assert len(made) == 4
    assert len(ring.secret("reversible/push/fcm_token", "dataset-push", 64)) == 64


def test_several_at_once_are_those_that_are_asked_for_one_by_one(tmp_path, monkeypatch):
    was = keyring(tmp_path).secret("seal/imei", "border")
    names = {"seal/imei": "border", "seal/imsi": "border", "orders/push": "dataset-push_orders"}
    ring, together = keyring(tmp_path), threading.Barrier(2)
    made = []

    def waiting(path, content):
        made.append(path.stem)
        if path.suffix == ".wrapped":
            together.wait(timeout=30)  # each of the two that are new waits for the other
        create_once(path, content)

    monkeypatch.setattr("transforms.keyring.create_once", waiting)
    ring.make(names)
    monkeypatch.setattr("transforms.keyring.create_once", lambda *_: pytest.fail("it was there"))
    ring.make(names)
    monkeypatch.undo()
    assert sorted(made) == ["dataset-push_orders", "imsi", "push"]
    assert ring.secret("seal/imei", "border") == was
    found = [keyring(tmp_path).secret(*each) for each in names.items()]
    assert found == [ring.secret(*each) for each in names.items()] and len(set(found)) == 3


def test_who_asks_at_once_gets_the_same(tmp_path):
    keyring(tmp_path).secret("seal/mac", "border")  # the wrapping key is there
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda name: keyring(tmp_path).secret(name, "border"), ["seal/imei"] * 32)
    assert len(set(found)) == 1


def test_who_asks_at_once_for_the_first_key_of_all_gets_the_same(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda name: keyring(tmp_path).secret(name, "border"), ["seal/imei"] * 32)
    assert len(set(found)) == 1


def test_no_secret_lies_about_in_the_clear_or_for_others_to_read(tmp_path):
    secret = keyring(tmp_path).secret("seal/imei", "border")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3  # the description, the wrapping key and the wrapped secret: no attempt is left behind
    assert not any(secret in path.read_bytes() for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


@pytest.mark.clause("5.2-erase")
def test_destroying_a_wrapping_key_ends_what_it_wrapped_and_nothing_else(tmp_path):
    ring = keyring(tmp_path)
    lost, kept = ring.secret("token/push/2021/imei", "purpose-push"), ring.secret("seal/imei", "border")
    data_key, wrapped = ring.new_data_key("push", "push/one")
    assert ring.data_key("push", wrapped, "push/one") == data_key
    LocalKeyService(tmp_path / "wrapping").destroy("purpose-push")
    LocalKeyService(tmp_path / "wrapping").destroy("dataset-push")
    ring = keyring(tmp_path)
    with pytest.raises(KeyUnavailable, match="purpose-push") as refusal:
        ring.secret("token/push/2021/imei", "purpose-push")
    assert lost.hex() not in str(refusal.value) and repr(lost) not in str(refusal.value)
    with pytest.raises(KeyUnavailable, match="dataset-push"):
        ring.data_key("push", wrapped, "push/one")
    assert ring.secret("seal/imei", "border") == kept
    assert not (tmp_path / "wrapping" / "purpose-push.key").exists()  # to look for a key makes none


@pytest.mark.clause("5.2-erase")
def test_a_key_whose_destruction_is_cut_short_is_no_key_any_more(tmp_path, monkeypatch):
    keyring(tmp_path).secret("seal/imei", "border")
    with monkeypatch.context() as patch:
        patch.setattr(keyring_module, "open", _failing, raising=False)
        with pytest.raises(OSError, match="power"):
            LocalKeyService(tmp_path / "wrapping").destroy("border")
    assert not has_wrapping_key(f"local:{tmp_path}", "border")
    with pytest.raises(KeyUnavailable, match="border"):
        keyring(tmp_path).secret("seal/imei", "border")


def _failing(*_):
    raise OSError("power")


@pytest.mark.clause("5.2-erase")
def test_of_a_destroyed_key_nothing_is_left(tmp_path, monkeypatch):
    """Not even the bytes on the disk, as far as a file system tells: they are overwritten where they are."""
    keyring(tmp_path).secret("seal/imei", "border")
    path = tmp_path / "wrapping" / "border.key"
    (tmp_path / "link").hardlink_to(path)
    key = path.read_bytes()
    synced = _synced(monkeypatch)
    LocalKeyService(tmp_path / "wrapping").destroy("border")
    assert not list((tmp_path / "wrapping").iterdir())
    left = (tmp_path / "link").read_bytes()
    assert len(left) == len(key) and left != key
    assert len(synced) == 2 and synced[-1] == tmp_path / "wrapping"
    with pytest.raises(FileNotFoundError):
        LocalKeyService(tmp_path / "wrapping").destroy("border")
    assert not list((tmp_path / "wrapping").iterdir())  # nothing was made to be destroyed


def test_a_file_its_name_and_those_of_new_folders_are_made_durable(tmp_path, monkeypatch):
    synced = _synced(monkeypatch)
    create_once(tmp_path / "a" / "b" / "file", b"first")
    *folders, file, folder = synced
    assert folders == [tmp_path, tmp_path / "a"]
    assert file.parent == folder == tmp_path / "a" / "b"
    create_once(tmp_path / "a" / "b" / "file", b"second")
    assert synced[-1] == folder  # whoever was faster may not have got so far


def test_a_folder_that_cannot_be_made_is_told_as_a_key_that_cannot_be_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(KeyUnavailable, match="no key can be kept there"):
        create_once(tmp_path / "a" / "file", b"first")


def _synced(monkeypatch):
    """What is synced from here on."""
    paths, sync = [], os.fsync

    def watched(descriptor):
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return paths


def test_a_wrapping_key_that_was_replaced_opens_nothing(tmp_path):
    keyring(tmp_path).secret("seal/imei", "border")
    (tmp_path / "wrapping" / "border.key").write_bytes(bytes(32))
    with pytest.raises(KeyUnavailable, match="border"):
        keyring(tmp_path).secret("seal/imei", "border")


def test_a_secret_cannot_stand_in_for_another(tmp_path):
    ring = keyring(tmp_path)
    ring.secret("seal/imei", "border"), ring.secret("seal/imsi", "border")
    secrets = tmp_path / "secrets" / "seal"
    (secrets / "imsi.wrapped").write_bytes((secrets / "imei.wrapped").read_bytes())
    with pytest.raises(KeyUnavailable):
        keyring(tmp_path).secret("seal/imsi", "border")


def test_a_data_key_opens_under_its_own_dataset_and_file_only(tmp_path):
    ring = keyring(tmp_path)
    key, wrapped = ring.new_data_key("push", "push/one")
    ring.new_data_key("legal", "legal/one")
    assert key.hex() not in wrapped
    for dataset, context in (("push", "push/two"), ("legal", "push/one"), ("service", "push/one")):
        with pytest.raises(KeyUnavailable):
            ring.data_key(dataset, wrapped, context)


def test_a_damaged_secret_is_told_as_unavailable(tmp_path):
    keyring(tmp_path).secret("seal/imei", "border")
    (tmp_path / "secrets" / "seal" / "imei.wrapped").write_bytes(b"")
    with pytest.raises(KeyUnavailable):
        keyring(tmp_path).secret("seal/imei", "border")


@pytest.mark.parametrize("made", [keyring, lambda folder: LocalKeyService(folder)])
def test_key_material_does_not_pickle(tmp_path, made):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(made(tmp_path))


def test_what_is_in_place_stays(tmp_path):
    create_once(tmp_path / "a" / "file", b"first")
    create_once(tmp_path / "a" / "file", b"second")
    assert (tmp_path / "a" / "file").read_bytes() == b"first"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_a_keystore_belongs_to_a_region(tmp_path):
    uri = f"local:{tmp_path}"
    assert region_of_keystore(uri) is None
    with pytest.raises(KeyUnavailable, match="no keystore"):
        open_keyring(uri)
    create_keystore(uri, "in")
    create_keystore(uri, "us")
    assert region_of_keystore(uri) == "in"
    assert not has_wrapping_key(uri, "border")
    open_keyring(uri).secret("seal/imei", "border")
    assert has_wrapping_key(uri, "border")


@pytest.mark.parametrize("uri", ["", "local:", "/a/folder", "aws-kms:key", "file:/a"])
def test_keys_elsewhere_are_refused(uri):
    with pytest.raises(ValueError, match="local:PATH"):
        local_folder(uri)

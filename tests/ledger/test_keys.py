"""Keys: private on disk, never printed, readable after a rotation."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest
from ledger_builder import ORIGIN, Chance

from nestaudience.errors import NeedsFix
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.keys import KeyRing, KeyUse, SecretKey, create_keys, keys_from_text, load_keys, new_keys, rotate_key

RING = new_keys(Chance("keys"))


def secrets_of(ring: KeyRing) -> set[bytes]:
    return {key.reveal() for use in KeyUse for key in ring.all_of(use)}


def code_of(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(NeedsFix) as caught:
        call(*arguments)
    assert caught.value.__context__ is None
    return caught.value.code


def test_a_new_file_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "private" / "keys.json"
    ring = create_keys(path, os.urandom)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = load_keys(path)
    assert secrets_of(again) == secrets_of(ring)
    assert again.key_ids() == ring.key_ids()
    assert len(secrets_of(ring)) == 6
    assert secrets_of(keys_from_text(path.read_text())) == secrets_of(ring)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "private" / "keys.json"
    create_keys(path, os.urandom)
    before = path.read_bytes()
    assert code_of(create_keys, path, os.urandom) == "keys_exist"
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o602])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "private" / "keys.json"
    create_keys(path, os.urandom)
    path.chmod(mode)
    assert code_of(load_keys, path) == "keys_readable_by_others"


def test_places_that_cannot_hold_keys(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert code_of(create_keys, tmp_path / "open" / "keys.json", os.urandom) == "keys_directory_open"
    (tmp_path / "file").write_text("")
    assert code_of(create_keys, tmp_path / "file" / "keys.json", os.urandom) in {"keys_unwritable", "keys_exist"}
    assert code_of(load_keys, tmp_path / "none.json") == "keys_missing"


def malformed() -> list[str]:
    good = json.loads(RING.to_text())
    bad = ["", "[]", "null", "{", '"x"', "{}", RING.to_text() + "x"]
    bad += [json.dumps(good | {key: value}) for key in ("index", "signing", "master") for value in ("", "00", "G" * 64, 1, None)]
    bad += [
        json.dumps(good | change) for change in ({"format": "other"}, {"more": 1}, {"retired": []}, {"retired": {"index": "x"}})
    ]
    bad += [json.dumps(good | change) for change in ({"retired": {"signing": ["1" * 64]}}, {"retired_signing_public": ["00"]})]
    bad += [json.dumps(good | {"retired": {"other": ["1" * 64]}}), json.dumps(good | {"index": good["seal"]})]
    bad += [json.dumps({key: value for key, value in good.items() if key != use.value}) for use in KeyUse]
    return bad


@pytest.mark.parametrize("text", malformed())
def test_malformed_keys(text: str, tmp_path: Path) -> None:
    with pytest.raises(NeedsFix) as caught:
        keys_from_text(text)
    assert caught.value.code == "keys_malformed"
    assert caught.value.__context__ is None
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    assert code_of(load_keys, path) == "keys_malformed"
    path.write_bytes(b"\xff\xfe")
    assert code_of(load_keys, path) == "keys_malformed"


def test_keys_do_not_print_copy_or_pickle() -> None:
    shown = f"{RING} {RING!r} {RING.index} {RING.index!r} {RING.signing!s:>10} {[RING.seal]}"
    for secret in secrets_of(RING):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    for value in (RING, RING.master):
        for escape in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled"):
                escape(value)


def test_a_key_id_tells_use_and_key_apart() -> None:
    value = bytes(range(32))
    ids = {SecretKey(use, value).key_id for use in KeyUse}
    assert len(ids) == len(KeyUse)
    # SHA-256 of "nestaudience/index", a zero byte and the key, first 8 characters, computed with sha256sum.
    assert SecretKey(KeyUse.INDEX, value).key_id == "9e3b706d"
    with pytest.raises(ValueError, match="32 bytes"):
        SecretKey(KeyUse.INDEX, b"short")


@pytest.mark.parametrize("use", [use for use in KeyUse if use is not KeyUse.SIGNING])
def test_a_rotated_key_still_reads(use: KeyUse, tmp_path: Path) -> None:
    path = tmp_path / "private" / "keys.json"
    first = create_keys(path, os.urandom)
    second = rotate_key(path, use, os.urandom)
    third = rotate_key(path, use, os.urandom)
    ids = [key.key_id for key in load_keys(path).all_of(use)]
    assert ids == [third.current(use).key_id, second.current(use).key_id, first.current(use).key_id]
    assert len(set(ids)) == 3
    found = load_keys(path).by_id(use, first.current(use).key_id)
    assert found is not None
    assert found.reveal() == first.current(use).reveal()
    assert load_keys(path).by_id(use, "00000000") is None
    for other in KeyUse:
        if other is not use:
            assert [key.key_id for key in third.all_of(other)] == [first.current(other).key_id]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_rotated_signing_key_leaves_its_public_half_only(tmp_path: Path) -> None:
    path = tmp_path / "private" / "keys.json"
    first = create_keys(path, os.urandom)
    second = rotate_key(path, KeyUse.SIGNING, os.urandom)
    text = path.read_text()
    assert first.signing.reveal().hex() not in text
    assert second.vkeys(ORIGIN) == load_keys(path).vkeys(ORIGIN)
    assert second.vkeys(ORIGIN)[1:] == first.vkeys(ORIGIN)
    signature = first.signing_key().sign(b"old")
    assert Verifier.parse(second.vkeys(ORIGIN)[1]).signed("old", signature)
    second.older_signing_keys()[0].verify(signature, b"old")


def test_a_ring_cannot_be_built_wrong() -> None:
    keys = {use.value: RING.current(use) for use in KeyUse}
    with pytest.raises(ValueError, match="another key's place"):
        KeyRing(**(keys | {"index": RING.seal}))
    with pytest.raises(ValueError, match="share"):
        KeyRing(**keys, retired=(RING.index,))
    with pytest.raises(ValueError, match="public half"):
        KeyRing(**keys, retired=(SecretKey(KeyUse.SIGNING, bytes(32)),))

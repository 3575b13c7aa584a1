"""The scanner finds what is planted, in every form that it claims to read. Without this, a clean report would mean nothing."""

import gzip
import hashlib
import json
import pickle
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import COVERINGS, Needles, found_in, found_in_file, found_in_folder, google_form

TYPED = "Kåre.Kanarie+x7q@Gmail.com"
PLANTED = Needles.of(TYPED)
FORMS = {
    "as typed": TYPED.encode(),
    "small letters": TYPED.lower().encode(),
    "Google's form": "kårekanarie@gmail.com".encode(),
    "UTF-16": TYPED.encode("utf-16"),
    "UTF-16, big-endian": TYPED.encode("utf-16-be"),
    "digest": hashlib.sha256("kårekanarie@gmail.com".encode()).digest(),
    "Meta's digest": hashlib.sha256(TYPED.lower().encode()).digest(),
    "digest in hex": hashlib.sha256(TYPED.lower().encode()).hexdigest().encode(),
    "digest in HEX": hashlib.sha256(TYPED.lower().encode()).hexdigest().upper().encode(),
}
AROUND = b"a line before; 0123456789 abcdef ", b" and \x00\xff one after"


def test_the_forms_are_those_of_the_rules() -> None:
    assert google_form(" A.B+c@GoogleMail.com ") == "ab@googlemail.com"
    assert google_form("A.B+c@example.se") == "a.b+c@example.se"


@pytest.mark.parametrize("covering", COVERINGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_planted_person_is_found(form: str, covering: str) -> None:
    data = AROUND[0] + COVERINGS[covering](AROUND[0] + FORMS[form] + AROUND[1]) + AROUND[1]
    assert found_in(data, PLANTED.everything)


@given(
    st.sampled_from(sorted(FORMS)), st.lists(st.sampled_from(sorted(COVERINGS)), min_size=2, max_size=3), st.binary(max_size=40)
)
@settings(max_examples=60, deadline=None)
def test_a_planted_person_is_found_under_several_coverings(form: str, coverings: list[str], noise: bytes) -> None:
    data = noise + FORMS[form] + noise
    for name in coverings:
        data = COVERINGS[name](data)
    assert found_in(data, PLANTED.everything)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_read_without_being_run(protocol: int) -> None:
    error = ValueError({"who": [TYPED], "n": 3})
    assert found_in(pickle.dumps(error, protocol), PLANTED.addresses)
    assert found_in(b"HEADER" + pickle.dumps(FORMS["digest"], max(protocol, 2)), PLANTED.digests)


def test_a_person_in_json_is_found() -> None:
    assert found_in(json.dumps({"email": TYPED}).encode(), PLANTED.addresses)


def test_a_database_is_read_whole(tmp_path: Path) -> None:
    """A value that is cut over pages, one that was deleted, and one that stands in the write-ahead log only."""
    cut, deleted, logged = "cut.kanarie@a.example", "gone.kanarie@a.example", "fresh.kanarie@a.example"
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE t (v)")
    for shift in range(400):  # one of these crosses the end of a page
        connection.execute("INSERT INTO t VALUES (?)", ["x" * (4000 + shift) + cut + "y" * 6000])
    connection.execute("PRAGMA secure_delete = off")
    connection.execute("INSERT INTO t VALUES (?)", [deleted.encode()])
    connection.execute("INSERT INTO t VALUES ('somebody after it')")
    connection.execute("DELETE FROM t WHERE v = ?", [deleted.encode()])
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("INSERT INTO t VALUES (?)", [logged.encode("utf-16")])
    found = found_in_file(path, Needles.of(cut, deleted, logged).everything)
    connection.close()
    assert found == {f"address of {who}" for who in (cut, deleted, logged)}


def test_a_secret_is_found_as_text_and_as_bytes() -> None:
    key = bytes(range(32)).hex()
    planted = Needles.of(secrets={"token": "EAAB-token-9x", "key": key})
    assert found_in(b"GET /v26.0/1?access_token=EAAB-token-9x HTTP/1.1", planted.everything) == {"secret token"}
    for written in (key.encode(), bytes(range(32)), gzip.compress(bytes(range(32)))):
        assert found_in(b"x" + written, planted.secrets) == {"secret key"}
    assert found_in(b"the token has a name", planted.everything) == set()


def test_a_person_in_a_page_is_found() -> None:
    assert found_in(TYPED.replace("@", "&#64;").replace("+", "&#x2b;").encode(), PLANTED.addresses)


def test_a_folder_is_read_but_for_what_is_left_out(tmp_path: Path) -> None:
    for name in ("store.sqlite", "store.sqlite-wal", "deep/er/file", f"{TYPED}.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FORMS["digest"])
    report = found_in_folder(tmp_path, PLANTED.everything, but=[tmp_path / "store.sqlite"])
    assert set(report) == {"deep/er/file", f"{TYPED}.txt"}


def test_nobody_is_found_where_nobody_is() -> None:
    data = b"".join(covering(b"Kanarie x7q gmail.com " + bytes(range(256)) * 20) for covering in COVERINGS.values())
    assert found_in(data, PLANTED.everything) == set()

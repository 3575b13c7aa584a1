"""Tokens and hashed columns: what they are, what keeps them apart, and that neither gives away what it was made of."""

import copy
import hashlib
import hmac
import logging
import pickle
from dataclasses import FrozenInstanceError, replace

import pyarrow as pa
import pytest

from nestaudience.hashing.addresses import normalise
from nestaudience.hashing.columns import HashedColumns, hash_addresses
from nestaudience.hashing.digests import Addresses, Digests
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens
from nestaudience.vocabulary import Recipient

GOOGLE, META = Recipient.GOOGLE, Recipient.META
KEY = b"an index key of thirty-two bytes"
TOKENS = Tokens(KEY)


def token(label: bytes, value: bytes) -> bytes:
    return hmac.digest(KEY, label + value, "sha256")[:16]


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def hashed(*texts: str | None, recipients: tuple[Recipient, ...] = tuple(Recipient)) -> HashedColumns:
    return hash_addresses(Addresses(pa.array(texts, pa.string())), TOKENS, recipients)


def test_tokens_are_labelled_hmacs() -> None:
    ids = pa.array(["1", None, "anna@example.se"])
    digest = sha256("anna@example.se")
    assert TOKENS.of_accounts(ids).to_pylist() == [token(b"account|", b"1"), None, token(b"account|", b"anna@example.se")]
    assert TOKENS.of_people(ids).to_pylist() == [token(b"person|", b"1"), None, token(b"person|", b"anna@example.se")]
    for recipient, label in ((GOOGLE, b"digest|google|"), (META, b"digest|meta|")):
        made = TOKENS.of_digests(Digests(pa.array([digest, None], pa.binary(32)), recipient))
        assert made.to_pylist() == [token(label, digest), None]
        assert made.type == TOKEN_TYPE


def test_kinds_recipients_and_keys_are_kept_apart() -> None:
    text, digest = pa.array(["anna@example.se"]), pa.array([sha256("anna@example.se")], pa.binary(32))
    made = [
        made.to_pylist()[0]
        for tokens in (TOKENS, Tokens(b"x" * 32))
        for made in (
            tokens.of_accounts(text),
            tokens.of_people(text),
            tokens.of_digests(Digests(digest, GOOGLE)),
            tokens.of_digests(Digests(digest, META)),
        )
    ]
    assert len(set(made)) == len(made)


def test_tokens_need_a_long_key_and_text() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")
    for column in (pa.array([1]), pa.array([b"x"]), pa.array(["x"], pa.large_string())):
        with pytest.raises(TypeError):
            TOKENS.of_accounts(column)


def test_a_batch_of_addresses() -> None:
    columns = hashed("Ann.A+x@GoogleMail.com", "anna@gmail.com", None, "not an address", "+x@gmail.com", "Åsa@example.se")
    assert columns.digests[META].column.to_pylist() == [
        sha256("ann.a+x@googlemail.com"),
        sha256("anna@gmail.com"),
        None,
        None,
        sha256("+x@gmail.com"),
        sha256("åsa@example.se"),
    ]
    assert columns.digests[GOOGLE].column.to_pylist() == [
        sha256("anna@googlemail.com"),
        sha256("anna@gmail.com"),
        None,
        None,
        None,
        sha256("åsa@example.se"),
    ]
    people = columns.person_token.to_pylist()
    anna = token(b"person|", b"anna@gmail.com")
    assert people == [anna, anna, None, None, token(b"person|", b"+x@gmail.com"), token(b"person|", "åsa@example.se".encode())]
    assert columns.unusable[META].to_pylist() == [False, False, False, True, False, False]
    assert columns.unusable[GOOGLE].to_pylist() == [False, False, False, True, True, False]
    assert columns.digest_token[GOOGLE].to_pylist()[0] == token(b"digest|google|", sha256("anna@googlemail.com"))
    assert len(columns) == 6


def test_only_the_recipients_that_were_asked_for() -> None:
    columns = hashed("anna@example.se", recipients=(META,))
    assert set(columns.digests) == set(columns.digest_token) == set(columns.unusable) == {META}
    assert hashed(recipients=()).digests == {}


def test_an_empty_batch_has_empty_columns_of_the_right_types() -> None:
    columns = hashed()
    assert len(columns) == 0
    assert columns.person_token.type == columns.digest_token[META].type == TOKEN_TYPE
    assert columns.digests[GOOGLE].column.type == pa.binary(32)


def test_hashed_columns_cannot_be_built_wrong() -> None:
    columns, longer = hashed("anna@example.se"), hashed("anna@example.se", None)
    with pytest.raises(ValueError, match="same recipients"):
        replace(columns, unusable={})
    with pytest.raises(ValueError, match="own recipient"):
        replace(columns, digests={GOOGLE: columns.digests[META], META: columns.digests[GOOGLE]})
    with pytest.raises(ValueError, match="one entry"):
        replace(columns, digests=longer.digests)
    with pytest.raises(ValueError, match="one entry"):
        replace(columns, person_token=longer.person_token)
    with pytest.raises(TypeError, match="16 bytes"):
        replace(columns, person_token=pa.array([b"x" * 32], pa.binary(32)))
    with pytest.raises(FrozenInstanceError):
        columns.digests = {}  # type: ignore[misc]


def test_nothing_here_prints_pickles_or_copies_what_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    text = "anna@example.se"
    columns = hashed(text)
    sealed = (
        Addresses(pa.array([text])),
        normalise(Addresses(pa.array([text]))),
        columns.digests[META],
        columns,
        TOKENS,
    )
    secrets = ["anna", "example", sha256(text).hex(), sha256(text).hex().upper(), KEY.decode(), KEY.hex()]
    secrets += [bytes(value).hex() for value in (columns.person_token[0].as_py(), columns.digest_token[META][0].as_py())]
    for thing in sealed:
        with caplog.at_level(logging.DEBUG):
            logging.getLogger("canary").info("%s %r", thing, thing)
        for shown in (str(thing), repr(thing), f"{thing}", f"{thing!r}", f"{[thing]}", caplog.text):
            assert not any(secret in shown or secret.upper() in shown for secret in secrets)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(thing, protocol)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)
    assert not hasattr(TOKENS, "__dict__")

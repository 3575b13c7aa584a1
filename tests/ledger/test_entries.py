"""Entries: canonical bytes, UUIDv7, and the guard that keeps people out."""

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_builder import context

from nestaudience.errors import MustStop
from nestaudience.ledger.entries import DIGEST_FIELDS, EntryType, Value, canonical, decode, encode, milliseconds, utc_text, uuid7

AT = datetime(2026, 3, 1, 2, 30, 0, 123_987, tzinfo=UTC)
DIGEST = sha256(b"anna").hexdigest()
whole = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | whole | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def encoded(fields: dict[str, Value], entry_type: EntryType = EntryType.FUNNEL) -> bytes:
    return encode(entry_type, context(), fields, index=7, at=AT, entry_id=uuid7(AT, bytes(10)), nonce=bytes(range(32)))


def refused(fields: dict[str, object]) -> MustStop:
    with pytest.raises(MustStop) as caught:
        encoded(fields)  # type: ignore[arg-type]
    assert caught.value.__context__ is None
    return caught.value


def test_the_bytes_of_an_entry_are_what_a_reader_sees() -> None:
    body = encoded({"b": [1, True, "å"], "a": {"z": -1, "y": ""}})
    config, nonce = sha256(b"config").hexdigest(), bytes(range(32)).hex()
    header = (
        f'{{"actor":"service","at":"2026-03-01T02:30:00.123Z","commit":"0123456789ab","config_digest":"{config}","controller":"bok",'
        '"fields":{"a":{"y":"","z":-1},"b":[1,true,"å"]},"id":"019ca73b-30bb-7000-8000-000000000000","index":7,'
        f'"nonce":"{nonce}","policy_version":"2026-01","run_id":"run-1","run_kind":"nightly","software_version":"0.1.0",'
        '"type":"funnel","version":1}'
    )
    assert body.decode() == header
    assert decode(body) == json.loads(header)


@given(values)
def test_canonical_bytes_read_back_and_are_one(value: Value) -> None:
    body = canonical(value)
    assert json.loads(body) == value
    assert canonical(json.loads(body)) == body
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == body


@pytest.mark.parametrize(
    "value",
    [1.0, 0.0, None, b"x", float("nan"), 2**53, -(2**53), {1: "x"}, {None: 1}, {"a": {"b": [None]}}, "\ud800", {1, 2}, object()],
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(MustStop) as caught:
        canonical(value)  # type: ignore[arg-type]
    assert caught.value.code == "entry_not_canonical"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "value",
    [
        "anna@example.se",
        "@",
        "x" * 5000,
        "192.0.2.7",
        "2001:db8::1",
        DIGEST,
        DIGEST.upper(),
        f"got {DIGEST}.",
        f"{DIGEST}, {DIGEST}",
    ],
)
def test_what_looks_like_a_person_is_refused_wherever_it_stands(value: str) -> None:
    places: list[dict[str, object]] = [{"code": value}, {"codes": ["ok", value]}, {"a": {"b": [{"c": value}]}}, {value: 1}]
    places.append({"membership_root": {"other": value}})
    for fields in places:
        error = refused(fields)
        assert error.code == "entry_refused"
        assert value not in str(error)


def test_the_guard_names_type_and_field() -> None:
    assert refused({"outer": {"inner_field": DIGEST}}).where == "funnel.inner_field"


def test_digests_stand_where_they_may() -> None:
    for name in DIGEST_FIELDS:
        assert decode(encoded({name: DIGEST}))["fields"] == {name: DIGEST}
    assert decode(encoded({"root": [DIGEST, DIGEST]}))["fields"]["root"] == [DIGEST, DIGEST]
    assert refused({"root": "anna@example.se"}).code == "entry_refused"
    for harmless in (DIGEST[:63], DIGEST + "0", DIGEST[:32], "Google Ireland Ltd", "0.1.0", "1234567890", "2026-03-01"):
        assert decode(encoded({"code": harmless}))["fields"] == {"code": harmless}


def test_the_header_is_guarded_too() -> None:
    body = context()
    with pytest.raises(MustStop, match=r"funnel\.actor"):
        encode(
            EntryType.FUNNEL,
            type(body)("r", body.run_kind, "", "p", "s", "c", "", "anna@example.se"),
            {},
            index=0,
            at=AT,
            entry_id="x",
            nonce=bytes(32),
        )


def test_entries_need_an_index_and_a_nonce() -> None:
    for index, nonce in ((-1, bytes(32)), (0, bytes(31))):
        with pytest.raises(ValueError, match="nonce of 32 bytes"):
            encode(EntryType.HEARTBEAT, context(), {}, index=index, at=AT, entry_id="x", nonce=nonce)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"fields":[]}',
        b'{"fields":{"a":1.5}}',
        b'{"fields":{"a":null}}',
        b'{"fields":{"a":NaN}}',
        b'{"fields":{"a":1e400}}',
        b'{"fields":{"a":9007199254740992}}',
        b'{"fields":{"a":1,"a":2}}',
        b'{"fields":{},"fields":{}}',
        b'{"fields":{"a":"\\ud800"}}',
        b'{"fields":{}}x',
        b'{"fields":{"a":' + b"[" * 100_000,
        b'{"fields":{"a":' + b"1" * 10_000 + b"}}",
    ],
)
def test_bytes_that_are_no_entry(body: bytes) -> None:
    with pytest.raises(MustStop) as caught:
        decode(body)
    assert caught.value.code == "entry_malformed"
    assert caught.value.__context__ is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1)), st.binary(min_size=10, max_size=10), st.integers(-14, 14))  # noqa: DTZ001
def test_uuid7_holds_its_time_and_its_chance(moment: datetime, chance: bytes, hours: int) -> None:
    at = moment.replace(tzinfo=UTC)
    text = uuid7(at, chance)
    value = uuid.UUID(text)
    assert str(value) == text
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == milliseconds(at) == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    drawn = int.from_bytes(chance, "big")
    assert value.int >> 64 & 0xFFF == drawn >> 62 & 0xFFF
    assert value.int & (1 << 62) - 1 == drawn & (1 << 62) - 1
    assert uuid7(at.astimezone(timezone(timedelta(hours=hours))), chance) == text


def test_uuid7_golden() -> None:
    # The example of RFC 9562, appendix A.6.
    chance = (0xCC3 << 62 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert uuid7(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC), chance) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    with pytest.raises(ValueError, match="ten random bytes"):
        uuid7(AT, bytes(9))


def test_times_are_utc_and_cut_to_milliseconds() -> None:
    assert utc_text(AT) == "2026-03-01T02:30:00.123Z"
    assert utc_text(datetime(2026, 3, 1, 3, 30, tzinfo=timezone(timedelta(hours=1)))) == "2026-03-01T02:30:00.000Z"
    for call in (utc_text, milliseconds):
        with pytest.raises(ValueError, match="zone"):
            call(datetime(2026, 3, 1))  # noqa: DTZ001

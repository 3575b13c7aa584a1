"""Entries of the transfer log: their types, their canonical bytes, and the guard that keeps people out of them.

An entry is canonical JSON: strings, whole numbers, booleans, lists and objects; keys sorted, no spaces, UTF-8. Its bytes are
made once, stored and hashed as they are, and never made again to check them. This module stores nothing and hashes nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

from nestaudience.errors import MustStop
from nestaudience.vocabulary import RunKind

VERSION: Final = 1
Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]
"""What a field may hold; refused: floats, null, bytes, keys that are no strings, whole numbers beyond 2**53 - 1."""

_LARGEST: Final = (1 << 53) - 1
_DIGEST: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FIELD_LENGTH: Final = 4096


class EntryType(StrEnum):
    """What an entry records. A reader passes over types that it does not know; it still hashes them."""

    RUN_STARTED = "run_started"
    RUN_FINISHED = "run_finished"
    SNAPSHOT = "snapshot"
    FUNNEL = "funnel"
    TRANSFER_INTENT = "transfer_intent"
    BATCH = "batch"
    BATCH_RESULT = "batch_result"
    PLATFORM_STATUS = "platform_status"
    TRANSFER_FINISHED = "transfer_finished"
    LATE_BLOCK = "late_block"
    REMOVAL_TIMES = "removal_times"
    ACCESS = "access"
    ERASURE = "erasure"
    RECTIFICATION = "rectification"
    LOOKUP = "lookup"
    SUPPRESSION = "suppression"
    SWEEP = "sweep"
    CONFIG_CHANGED = "config_changed"
    BINDING_CHANGED = "binding_changed"
    APPROVAL = "approval"
    RELEASE = "release"
    GATE = "gate"
    KEY_EVENT = "key_event"
    ANCHOR = "anchor"
    HEARTBEAT = "heartbeat"
    REDACTION = "redaction"
    INCIDENT = "incident"
    LIST_CREATED = "list_created"
    LIST_DELETED = "list_deleted"
    LIST_FACTS = "list_facts"
    LEDGER_CREATED = "ledger_created"
    LEDGER_MIGRATED = "ledger_migrated"
    EPOCH_OPENED = "epoch_opened"
    RETENTION = "retention"


DIGEST_FIELDS: Final = frozenset(
    {
        "chain_digest",
        "config_digest",
        "contract_digest",
        "dpia_digest",
        "head_root",
        "input_digest",
        "membership_root",
        "new_digest",
        "noes_digest",
        "nonce",
        "old_digest",
        "payload_commitment",
        "plan_digest",
        "query_digest",
        "receipt_digest",
        "redacted_leaf",
        "request_digest",
        "root",
        "rules_digest",
        "text_digest",
    }
)
"""Fields that may hold 64 hexadecimal characters. None of them is ever computed from one person's address alone."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every entry says of where it comes from. An empty controller means the whole group."""

    run_id: str
    run_kind: RunKind
    controller: str
    policy_version: str
    software_version: str
    commit: str
    config_digest: str
    actor: str


def encode(
    entry_type: EntryType,
    context: Context,
    fields: Mapping[str, Value],
    *,
    index: int,
    at: datetime,
    entry_id: str,
    nonce: bytes,
) -> bytes:
    """The bytes of one entry. `at` is a time with a zone, `nonce` 32 random bytes, `entry_id` a UUIDv7.

    Raises `MustStop`: `entry_not_canonical` (a float, null or other value that has no canonical form) or `entry_refused` (a
    field that looks like an address, an IP address, or a digest in a field that may hold none). The message names type and
    field, never a value.
    """
    if len(nonce) != 32 or index < 0:
        raise ValueError("an entry has an index and a nonce of 32 bytes")
    header: dict[str, Value] = {
        "version": VERSION,
        "index": index,
        "type": entry_type.value,
        "id": entry_id,
        "at": utc_text(at),
        "nonce": nonce.hex(),
        "run_id": context.run_id,
        "run_kind": context.run_kind.value,
        "controller": context.controller,
        "policy_version": context.policy_version,
        "software_version": context.software_version,
        "commit": context.commit,
        "config_digest": context.config_digest,
        "actor": context.actor,
        "fields": dict(fields),
    }
    _guard(header, entry_type.value, "")
    return canonical(header)


def canonical(value: Value) -> bytes:
    """The canonical JSON of a value. Raises `MustStop`: `entry_not_canonical`."""
    if not _is_canonical(value):
        raise MustStop("entry_not_canonical", "an entry", "use text, whole numbers, booleans, lists and objects only")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def decode(body: bytes) -> dict[str, Any]:
    """An entry's bytes as a dict: the header of `encode`, and `fields`. Raises `MustStop`: `entry_malformed`.

    Refused are bytes that are no UTF-8 JSON object, floats, null, and a key that stands twice in one object.
    """
    entry: object = None
    try:
        entry = json.loads(body.decode(), parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("fields"), dict) or not _is_canonical(entry):
        raise MustStop("entry_malformed", "an entry", "run `nestaudience audit verify`; the entry's bytes are not an entry")
    return entry


def uuid7(at: datetime, randomness: bytes) -> str:
    """A UUIDv7 in text form from a time with a zone and ten random bytes.

    Form: https://www.rfc-editor.org/rfc/rfc9562#section-5.7.
    """
    if len(randomness) != 10:
        raise ValueError("a UUIDv7 takes ten random bytes")
    chance = int.from_bytes(randomness, "big")
    value = milliseconds(at) << 80 | 0x7 << 76 | (chance >> 62 & 0xFFF) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def utc_text(at: datetime) -> str:
    """A time as it stands in entries: UTC, milliseconds cut off, `Z`. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time needs a zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970 in UTC. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time needs a zone")
    span = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (span.days * 86_400 + span.seconds) * 1000 + span.microseconds // 1000


def _guard(value: object, entry_type: str, field: str) -> None:
    """Refuse what looks like a person. A list's values are judged by the field that holds the list."""
    if isinstance(value, str):
        if _looks_personal(value) or (field not in DIGEST_FIELDS and _DIGEST.search(value)):
            where = f"{entry_type}.{field}" if field else entry_type
            raise MustStop("entry_refused", where, "entries hold codes, counts and roots; keep people's data out of them")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _guard(key, entry_type, "")
            _guard(item, entry_type, str(key))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            _guard(item, entry_type, field)


def _looks_personal(text: str) -> bool:
    if "@" in text or len(text) > _FIELD_LENGTH:
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_canonical(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or not _SURROGATE.search(value)
    if isinstance(value, int):
        return -_LARGEST <= value <= _LARGEST
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_canonical(key) and _is_canonical(item) for key, item in value.items())
    return isinstance(value, list | tuple) and all(_is_canonical(item) for item in value)


def _plain(value: object) -> object:
    """A mapping that is no dict, as a dict."""
    return dict(value) if isinstance(value, Mapping) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("a key stands twice")
    return entry


def _refuse(text: str) -> object:
    raise ValueError("not a whole number")

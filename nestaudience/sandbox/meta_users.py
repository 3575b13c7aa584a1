"""The local `/users` and `/usersofanyaudience`: who joins, who leaves, and the counts of an upload session, by the documented rules.

Form fields in, the answer's fields or a `Refusal` out; it knows no transport. It takes e-mail digests only, in both shapes that Meta
documents; `usersreplace`, other identifiers and value-based lists are outside the sandbox and refused.

https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences (read 2026-11).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from nestaudience.sandbox import meta_refusals as refuse
from nestaudience.sandbox.meta_refusals import Refusal
from nestaudience.sandbox.meta_state import FLAGGED, REPLACING, Change, MetaAccount, MetaList, MetaState, Session

MOST_ROWS: Final = 10_000
MOST_OPTED_OUT: Final = 200
MOST_SAMPLES: Final = 100
WINDOW: Final = timedelta(minutes=90)
LARGEST_ID: Final = 2**63 - 1
SINGLE_KEY, MULTI_KEY = "FILE_IMPORTED.HASHES_OR_USER_IDS", "FILE_IMPORTED.MULTI_HASHES"
"""The two shapes, by the names in which Meta complains of them."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a payload: how many, the digests among them, and the place and value of the first that are none."""

    shape: str
    received: int
    digests: list[str] = field(repr=False)
    invalid: int
    samples: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """The session object of a request: which session, which batch of it, and whether that is the last."""

    session_id: int | None
    number: int
    last: bool


def change_members(
    state: MetaState, account_id: str, remote: MetaList, fields: Mapping[str, str], *, addition: bool, apply_after: timedelta
) -> dict[str, Any] | Refusal:
    """Add the rows of a payload to a list, or take them off it: checks everything, answers with counts, applies when it is due."""
    account = state.accounts[account_id]
    standing = _standing(account, remote)
    if standing is not None:
        return standing
    rows, batch = _rows(fields.get("payload")), _batch(fields.get("session"))
    if isinstance(rows, Refusal):
        return rows
    if isinstance(batch, Refusal):
        return batch
    if remote.shape not in {None, rows.shape}:
        return refuse.other_shape()
    session = _session(state, account_id, remote.list_id, batch, addition=addition)
    if isinstance(session, Refusal):
        return session
    if not addition and _leaves_too_few(state, account, remote, rows):
        return refuse.too_small()
    if _taken(state, account_id, session, batch, rows):
        if addition:
            remote.shape = rows.shape
        remote.last_invalid_share = rows.invalid / rows.received
        state.accept(Change(account_id, remote.list_id, addition, rows.digests, state.clock.now() + apply_after))
    return {"audience_id": remote.list_id, **_counts(session, rows)}


def opt_out(state: MetaState, account_id: str, fields: Mapping[str, str], apply_after: timedelta) -> dict[str, Any] | Refusal:
    """Take the rows of a payload off every list of the account. It keeps nobody from being added later."""
    account = state.accounts[account_id]
    if account.business_id is None:
        return refuse.no_business()
    if not account.tos_accepted:
        return refuse.terms_missing()
    rows, batch = _rows(fields.get("payload"), MOST_OPTED_OUT), _batch(fields.get("session"))
    if isinstance(rows, Refusal):
        return rows
    if isinstance(batch, Refusal):
        return batch
    session = _session(state, account_id, None, batch, addition=False)
    if isinstance(session, Refusal):
        return session
    if _taken(state, account_id, session, batch, rows):
        state.accept(Change(account_id, None, addition=False, members=rows.digests, due=state.clock.now() + apply_after))
    return {"account_id": account_id, **_counts(session, rows)}


def _standing(account: MetaAccount, remote: MetaList) -> Refusal | None:
    """Why nobody may change this list now, whatever the request says."""
    if not account.tos_accepted:
        return refuse.terms_missing()
    if remote.subtype != "CUSTOM":
        return refuse.invalid()
    if remote.status == FLAGGED:
        return refuse.flagged()
    return refuse.update_in_progress() if remote.status == REPLACING else None


def _rows(text: str | None, most: int = MOST_ROWS) -> Rows | Refusal:
    """A payload; one row that does not match the schema refuses all of them, a wrong digest refuses nothing."""
    payload = _parsed(text)
    if not isinstance(payload, dict):
        return refuse.invalid()
    schema, data, raw = payload.get("schema"), payload.get("data"), payload.get("is_raw", False)
    if not isinstance(data, list) or not 1 <= len(data) <= most:
        return refuse.invalid()
    if schema == "EMAIL_SHA256":
        shape, nested = SINGLE_KEY, isinstance(data[0], list)
    elif schema == ["EMAIL"] and raw is True:
        shape, nested = MULTI_KEY, True
    else:
        return refuse.invalid()
    values = _unwrapped(data) if nested else data
    if values is None or not all(type(value) is str for value in values):
        return refuse.invalid()
    match = _DIGEST.fullmatch
    digests = [value for value in values if match(value)]
    samples: dict[str, str] = {}
    if len(digests) < len(values):
        wrong = [(str(place), value) for place, value in enumerate(values) if not match(value)]
        samples = dict(wrong[:MOST_SAMPLES])
    return Rows(shape, len(values), digests, len(values) - len(digests), samples)


def _unwrapped(data: list[Any]) -> list[Any] | None:
    """The only value of each row, or None when a row has none or several."""
    if not all(type(row) is list and len(row) == 1 for row in data):
        return None
    return [row[0] for row in data]


def _batch(text: str | None) -> Upload | Refusal:
    """The session of a request; none at all is a session of its own."""
    if text is None:
        return Upload(None, 1, last=True)
    given = _parsed(text)
    if not isinstance(given, dict):
        return refuse.invalid()
    session_id, number, last = given.get("session_id"), given.get("batch_seq"), given.get("last_batch_flag", False)
    if type(session_id) is not int or not 1 <= session_id <= LARGEST_ID:
        return refuse.invalid()
    if type(number) is not int or number < 1 or type(last) is not bool:
        return refuse.invalid()
    return Upload(session_id, number, last)


def _session(state: MetaState, account_id: str, list_id: str | None, batch: Upload, *, addition: bool) -> Session | Refusal:
    """The session that a batch belongs to; its first batch must have number 1. An id serves one list and one direction."""
    if batch.session_id is None:
        return Session(state.own_session_id(), list_id, addition, state.clock.now())
    session = state.sessions.get((account_id, batch.session_id))
    if session is None:
        if batch.number != 1:
            return refuse.invalid()
        return Session(batch.session_id, list_id, addition, state.clock.now())
    return session if (session.list_id, session.addition) == (list_id, addition) else refuse.invalid()


def _taken(state: MetaState, account_id: str, session: Session, batch: Upload, rows: Rows) -> bool:
    """Count a batch in. False when its session has ended: then it is discarded, silently.

    A session ends 90 minutes after its first batch, and after its last one for batches that it has not had.
    """
    state.sessions[account_id, session.session_id] = session
    late = state.clock.now() - session.started >= WINDOW
    if late or (session.finished is not None and batch.number not in session.batches):
        return False
    session.batches.add(batch.number)
    session.received += rows.received
    session.invalid += rows.invalid
    if batch.last and session.finished is None:
        session.finished = state.clock.now()
    return True


def _leaves_too_few(state: MetaState, account: MetaAccount, remote: MetaList, rows: Rows) -> bool:
    own = remote.refuse_small_removals_below
    fewest = account.refuse_small_removals_below if own is None else own
    if fewest <= 0:
        return False
    held = remote.current(state.clock.now())
    left = len(held.difference(rows.digests))
    return left < len(held) and left < fewest


def _counts(session: Session, rows: Rows) -> dict[str, Any]:
    """Counts of the whole session so far; samples of this request. An empty map goes out as an empty array, as in PHP."""
    return {
        "session_id": str(session.session_id),
        "num_received": session.received,
        "num_invalid_entries": session.invalid,
        "invalid_entry_samples": rows.samples or [],
    }


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None

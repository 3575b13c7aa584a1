"""What the ledger remembers between runs: remote lists, batches and their states, who is on which list, salts, accepted configurations.

State lives in the batch, not in the person: before a request its batch is `prepared`, and only an answer changes that. We may remember
too much, never too little. It sends nothing and decides nothing about people; what an answer means for a batch is decided in `delivery`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.bulk import Bulk
from nestaudience.ledger.engine import read, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.schema import ACCEPTED_CONFIG, BATCH, MEMBERSHIP, PERSON, REMOTE_LIST
from nestaudience.vocabulary import AudienceKey, Operation

SILENCE: Final = timedelta(hours=48)
"""After so long without a result, a request counts as `possible` again."""

TOKEN: Final = pa.binary(16)


@dataclass(frozen=True, slots=True)
class RemoteList:
    """One bound remote list. `login_account` is None without a manager account."""

    list_no: int
    audience: AudienceKey
    controller: str
    segment: str
    recipient: str
    destination: str
    ad_account: str
    login_account: str | None
    code: str
    list_id: str
    data_inputs: tuple[str, ...]
    state: str
    membership_days: int


@dataclass(frozen=True, slots=True)
class SentBatch:
    """One request as remembered. Times are UTC text, empty until known."""

    batch_no: int
    batch_id: bytes
    transfer_id: str
    list_no: int
    operation: Operation
    people: int
    state: str
    sent_at: str
    settled_at: str
    request_id: str
    rejected: int
    attempt: int


HELD_FIELDS: Final = pa.schema(
    [
        ("member_id", pa.int64()),
        ("list_no", pa.int64()),
        ("account_token", TOKEN),
        ("person_token", TOKEN),
        ("digest_token", TOKEN),
        ("sealed_digest", pa.binary(32)),
        ("batch_id", TOKEN),
        ("seal_key", pa.string()),
        ("position", pa.int64()),
        ("confirmed", pa.int64()),
        ("in_flight", pa.int64()),
        ("removing", pa.int64()),
        ("owed", pa.int64()),
    ]
)
"""One row a membership that may be on its list; flags are 0 or 1. `removing`: a removal is under way or waits for an earlier addition;
`owed`: a removal was tried and must be tried again."""

_HELD: Final = """
WITH added AS (SELECT *, CASE WHEN settled_at <> '' THEN settled_at ELSE {later} END AS certain_at FROM batch WHERE operation = 'add')
SELECT m.member_id, m.list_no, m.account_token, m.person_token, m.digest_token, m.sealed_digest, a.batch_id, a.seal_key, m.position,
       CAST(a.state IN ('confirmed', 'partly') AND m.batch_removed IS NULL AND NOT (a.state = 'partly' AND a.attempt < 2) AS INTEGER),
       CAST(a.state = 'accepted' AND a.sent_at > '{silent}' AND m.batch_removed IS NULL AS INTEGER),
       CAST(coalesce((r.state = 'accepted' AND r.sent_at > '{silent}') OR (r.state = 'confirmed' AND '{now}' < a.certain_at), 0) AS INTEGER),
       CAST(m.batch_removed IS NOT NULL AS INTEGER)
FROM membership m JOIN added a ON a.batch_no = m.batch_added LEFT JOIN batch r ON r.batch_no = m.batch_removed
WHERE a.state NOT IN ('refused', 'lapsed') AND NOT coalesce(r.state = 'lapsed' OR (r.state = 'confirmed' AND r.sent_at >= a.certain_at), 0)
"""

_GONE: Final = """
DELETE FROM membership WHERE member_id IN (
  SELECT m.member_id FROM membership m JOIN batch a ON a.batch_no = m.batch_added LEFT JOIN batch r ON r.batch_no = m.batch_removed
  WHERE a.state IN ('refused', 'lapsed') OR r.state = 'lapsed'
     OR (r.state = 'confirmed' AND r.sent_at >= CASE WHEN a.settled_at <> '' THEN a.settled_at ELSE {later} END))
"""


class Memory:
    """The operational half of the ledger. Reads may run at any time; writes belong to the holder of the writer's lease."""

    def __init__(self, engine: Engine, bulk: Bulk) -> None:
        self.engine = engine
        self._bulk = bulk

    # -- remote lists

    def lists(self) -> tuple[RemoteList, ...]:
        """Every list that was ever bound, in order."""
        rows = read(self.engine, lambda c: c.execute(sa.select(REMOTE_LIST).order_by(REMOTE_LIST.c.list_no)).all())
        return tuple(_remote_list(row) for row in rows)

    def bind(self, connection: Connection, values: dict[str, Any]) -> None:
        """Bind an audience to its list, in the transaction of the entry that says so."""
        connection.execute(sa.insert(REMOTE_LIST), values)

    def set_list_state(self, connection: Connection, list_no: int, state: str) -> None:
        """Say that a list is open, gone, retiring or closed."""
        connection.execute(sa.update(REMOTE_LIST).where(REMOTE_LIST.c.list_no == list_no).values(state=state))

    def lapse_list(self, connection: Connection, list_no: int) -> None:
        """A list is proven gone: whoever was on it is on it no longer."""
        connection.execute(sa.update(BATCH).where(BATCH.c.list_no == list_no).values(state="lapsed"))

    # -- batches

    def batches(self, states: frozenset[str]) -> tuple[SentBatch, ...]:
        """Batches in these states, in order."""
        query = sa.select(BATCH).where(BATCH.c.state.in_(states)).order_by(BATCH.c.batch_no)
        return tuple(_sent_batch(row) for row in read(self.engine, lambda c: c.execute(query).all()))

    def next_batch_no(self) -> int:
        """The number of the next batch; numbers that a crash left on rows without a batch are passed over."""
        query = sa.text(
            "SELECT max(coalesce((SELECT max(batch_no) FROM batch), 0), coalesce((SELECT max(batch_added) FROM membership), 0)) + 1"
        )
        return int(read(self.engine, lambda c: c.execute(query).scalar_one()))

    def add_members(self, rows: pa.Table) -> None:
        """Append membership rows. They count from the moment in which their batch does."""
        self._bulk.append(MEMBERSHIP.name, rows)

    def prepare_batch(self, connection: Connection, values: dict[str, Any]) -> None:
        """Remember a batch as perhaps sent, in the transaction of its batch entry."""
        connection.execute(sa.insert(BATCH), values)

    def mark_removed(self, connection: Connection, member_ids: list[int], batch_no: int) -> None:
        """These memberships are being removed by this batch."""
        statement = "UPDATE membership SET batch_removed = :batch WHERE member_id IN (SELECT value FROM json_each(:ids))"
        connection.execute(sa.text(statement), {"batch": batch_no, "ids": json.dumps(member_ids)})

    def set_batch(self, connection: Connection, batch_no: int, values: dict[str, Any]) -> None:
        """Write what an answer says, in the transaction of its entry."""
        connection.execute(sa.update(BATCH).where(BATCH.c.batch_no == batch_no).values(**values))

    # -- memberships

    def held(self, now: datetime) -> Iterator[pa.RecordBatch]:
        """Every membership that may be on its list, with its state at this moment: `HELD_FIELDS`."""
        return self._bulk.read(
            _HELD.format(now=utc_text(now), silent=utc_text(now - SILENCE), later=_plus_silence("sent_at")), HELD_FIELDS
        )

    def forget_gone(self, now: datetime) -> int:
        """Drop rows whose removal is confirmed, and rows of batches that had no effect; how many."""
        del now
        statement = _GONE.format(later=_plus_silence("a.sent_at"))
        return int(write(self.engine, lambda c: c.execute(sa.text(statement)).rowcount))

    def sizes(self, now: datetime) -> dict[int, int]:
        """List number -> how many distinct digests it may hold."""
        held = _HELD.format(now=utc_text(now), silent=utc_text(now - SILENCE), later=_plus_silence("sent_at"))
        query = f"SELECT list_no, count(DISTINCT digest_token) FROM ({held}) GROUP BY list_no"  # noqa: S608 (no value from outside)
        return {int(row[0]): int(row[1]) for row in read(self.engine, lambda c: c.execute(sa.text(query)).all())}

    # -- persons

    def persons(self) -> pa.Table:
        """Every person's salt: `person_no` int64, `person_token` and `salt` fixed binary."""
        schema = pa.schema([("person_no", pa.int64()), ("person_token", TOKEN), ("salt", pa.binary(32))])
        query = "SELECT person_no, person_token, salt FROM person ORDER BY person_no"
        return pa.Table.from_batches(self._bulk.read(query, schema), schema)

    def add_persons(self, tokens: pa.Array, randomness: Callable[[int], bytes]) -> pa.Array:
        """Give new persons a salt each, durably; the salts, in order."""
        raw = np.frombuffer(randomness(32 * len(tokens)), dtype=np.uint8)
        salts = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(tokens), [None, pa.py_buffer(raw.tobytes())])
        if len(tokens):
            self._bulk.append(PERSON.name, pa.table({"person_token": tokens.cast(pa.binary()), "salt": salts.cast(pa.binary())}))
        return salts

    # -- configuration

    def accepted_config(self) -> str | None:
        """The text of the last configuration that had no problem."""
        query = sa.select(ACCEPTED_CONFIG.c.document).order_by(ACCEPTED_CONFIG.c.config_no.desc()).limit(1)
        return read(self.engine, lambda c: c.execute(query).scalar_one_or_none())

    def accept_config(self, connection: Connection, digest: str, document: str, at: datetime) -> None:
        """Keep a configuration as the last accepted one."""
        connection.execute(sa.insert(ACCEPTED_CONFIG), {"digest": digest, "document": document, "accepted_at": utc_text(at)})


def _plus_silence(column: str) -> str:
    """SQL: this time, and 48 hours, in the same text form."""
    return f"strftime('%Y-%m-%dT%H:%M:%S', {column}, '+48 hours') || substr({column}, 20)"


def _remote_list(row: Any) -> RemoteList:
    values = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)
    values["login_account"] = values["login_account"] or None
    values["data_inputs"] = tuple(values["data_inputs"].split())
    return RemoteList(**values)


def _sent_batch(row: Any) -> SentBatch:
    values = {name: value for name, value in row._mapping.items() if name in SentBatch.__dataclass_fields__}  # noqa: SLF001
    return SentBatch(**{**values, "operation": Operation(values["operation"])})

"""What the ledger remembers between runs: remote lists, batches and their states, who is on which list, salts, accepted configurations.

State lives in the batch, not in the person: before a request its batch is `prepared`, and only an answer changes that. We may remember
too much, never too little. It sends nothing and decides nothing about people; what an answer means for a batch is decided in `delivery`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop
from nestaudience.ledger.bulk import insert_packed, packed_bytes, read_pages
from nestaudience.ledger.engine import read, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.memberships import HELD_FIELDS as HELD_FIELDS
from nestaudience.ledger.memberships import (
    SEALED_FIELDS,
    SILENT_HOURS,
    STATED_BY,
    TOKEN,
    UNANSWERED,
    States,
    held_pages,
    held_query,
    rows_query,
    whole_pages,
)
from nestaudience.ledger.memberships import SILENCE as SILENCE
from nestaudience.ledger.memberships import Touched as Touched
from nestaudience.ledger.memory_rows import AddedBy as AddedBy  # handed on: whoever asks memory has their types
from nestaudience.ledger.memory_rows import OpenBatch as OpenBatch
from nestaudience.ledger.memory_rows import RemoteList as RemoteList
from nestaudience.ledger.memory_rows import SentBatch as SentBatch
from nestaudience.ledger.memory_rows import remote_list_of, sent_batch_of
from nestaudience.ledger.memory_rows import sent_through as sent_through
from nestaudience.ledger.schema import ACCEPTED_CONFIG, BATCH, MEMBERSHIP, PERSON, REMOTE_LIST
from nestaudience.ledger.spelling import spelling_of
from nestaudience.vocabulary import Operation

TRIED_AGAIN: Final = 0
"""`attempt` of a batch that was accepted in part and whose people were sent once more. What became of the second try stands in its own batch."""
SWEPT: Final = -1
"""`attempt` of a removal that names nobody: a sweep of whoever was last added before a moment. It has entries of its own in the log."""
RECOVERING: Final = "recovering"
"""The state of a list that may hold people whom a restored ledger does not know."""
PROBING: Final = "probing"
"""The state of a list whose first fill is not over: a probe goes first, the rest after its clean result."""

PERSON_FIELDS: Final = pa.schema([("person_token", TOKEN), ("salt", pa.binary(32))])
_LAST_PERSON: Final = sa.select(sa.func.coalesce(sa.func.max(PERSON.c.person_no), 0))

_OPEN: Final = """
WITH doubt AS MATERIALIZED (
  SELECT DISTINCT m.list_no, m.digest_token FROM membership m JOIN batch a ON a.batch_no = m.batch_added
  WHERE m.batch_removed IS NOT NULL OR a.state NOT IN ('confirmed', 'partly', 'refused', 'lapsed'))
SELECT d.list_no, b.batch_no, b.batch_id, b.operation, b.state, b.sent_at, count(*)
FROM (SELECT h.list_no, h.digest_token, max(coalesce(h.batch_removed, h.batch_added)) AS latest, max(CASE WHEN h.confirmed THEN 1 ELSE 0 END) AS sure
      FROM ({held}) h WHERE NOT h.gone GROUP BY h.list_no, h.digest_token) d
JOIN batch b ON b.batch_no = d.latest
WHERE b.operation = 'remove' OR d.sure = 0
GROUP BY d.list_no, b.batch_no ORDER BY b.batch_no
"""

_IN_DOUBT: Final = "(list_no, digest_token) IN (SELECT list_no, digest_token FROM doubt)"

_GONE: Final = """
DELETE FROM membership WHERE member_id IN (
  WITH lost AS MATERIALIZED (SELECT list_no, batch_no, transfer_id FROM batch
                             WHERE operation = 'remove' AND state IN ('prepared', 'unknown') AND sent_at > '{silent}')
  SELECT m.member_id FROM membership m JOIN batch a ON a.batch_no = m.batch_added LEFT JOIN batch r ON r.batch_no = m.batch_removed
  WHERE (a.state IN ('refused', 'lapsed') OR r.state = 'lapsed'
     OR (r.state = 'confirmed' AND r.sent_at >= CASE WHEN a.settled_at <> '' THEN a.settled_at ELSE {later} END)) AND NOT ({unanswered}))
"""


class Memory:
    """The operational half of the ledger. Reads may run at any time; writes belong to the holder of the writer's lease."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sql = spelling_of(engine)

    # -- remote lists

    def lists(self) -> tuple[RemoteList, ...]:
        """Every list that was ever bound, in order."""
        rows = read(self.engine, lambda c: c.execute(sa.select(REMOTE_LIST).order_by(REMOTE_LIST.c.list_no)).all())
        return tuple(remote_list_of(row) for row in rows)

    def bind(self, connection: Connection, values: dict[str, Any]) -> None:
        """Bind an audience to its list, in the transaction of the entry that says so."""
        former = REMOTE_LIST.c.audience.concat("#").concat(
            sa.cast(REMOTE_LIST.c.list_no, sa.Text)
        )  # a list that is gone keeps its history
        connection.execute(sa.update(REMOTE_LIST).where(REMOTE_LIST.c.audience == values["audience"]).values(audience=former))
        connection.execute(sa.insert(REMOTE_LIST), values)

    def set_list_state(self, connection: Connection, list_no: int, state: str) -> None:
        """Say that a list is probing, open, gone, retiring, closed or recovering."""
        connection.execute(sa.update(REMOTE_LIST).where(REMOTE_LIST.c.list_no == list_no).values(state=state))

    def lapse_list(self, connection: Connection, list_no: int) -> None:
        """A list is proven gone: whoever was on it is on it no longer."""
        connection.execute(sa.update(BATCH).where(BATCH.c.list_no == list_no).values(state="lapsed"))

    def mark_recovering(self, connection: Connection, unknown: Iterable[dict[str, Any]], succeeded: Iterable[int] = ()) -> None:
        """The ledger is behind its head: every list that may have got people since is to be deleted. `unknown` are bindings for audiences of
        which the ledger knows no list, while the platform may have one; `succeeded` are lists that may have a successor by now.
        """
        used = sa.or_(REMOTE_LIST.c.state.in_(("open", PROBING)), REMOTE_LIST.c.list_no.in_(list(succeeded)))
        connection.execute(sa.update(REMOTE_LIST).where(used).values(state=RECOVERING))
        for values in unknown:
            self.bind(connection, values)

    def unbind(self, connection: Connection, list_no: int) -> None:
        """A list is deleted, and its audience begins anew: whoever was on it is on it no longer."""
        mine = REMOTE_LIST.c.list_no == list_no
        former = REMOTE_LIST.c.audience.concat("#").concat(sa.cast(REMOTE_LIST.c.list_no, sa.Text))
        connection.execute(sa.update(REMOTE_LIST).where(mine).values(audience=former, state="closed"))
        self.lapse_list(connection, list_no)

    # -- batches

    def batches(self, states: frozenset[str]) -> tuple[SentBatch, ...]:
        """Batches in these states, in order."""
        query = sa.select(BATCH).where(BATCH.c.state.in_(states)).order_by(BATCH.c.batch_no)
        return tuple(sent_batch_of(row) for row in read(self.engine, lambda c: c.execute(query).all()))

    def additions_of(self, transfer_ids: Iterable[str]) -> frozenset[int]:
        """The numbers of the batches by which these transfers added people."""
        adds = sa.select(BATCH.c.batch_no).where(
            BATCH.c.operation == Operation.ADD.value, BATCH.c.transfer_id.in_(list(transfer_ids))
        )
        return frozenset(read(self.engine, lambda c: c.execute(adds).scalars().all()))

    def additions_to(self, list_nos: Iterable[int]) -> tuple[SentBatch, ...]:
        """Every batch by which somebody was added to these lists, in order."""
        query = sa.select(BATCH).where(BATCH.c.operation == Operation.ADD.value, BATCH.c.list_no.in_(list(list_nos)))
        rows = read(self.engine, lambda c: c.execute(query.order_by(BATCH.c.batch_no)).all())
        return tuple(sent_batch_of(row) for row in rows)

    def ever_filled(self) -> frozenset[int]:
        """Lists to which somebody was ever sent, unless every request was refused."""
        query = sa.select(BATCH.c.list_no).distinct().where(BATCH.c.operation == Operation.ADD.value, BATCH.c.state != "refused")
        return frozenset(read(self.engine, lambda c: c.execute(query).scalars().all()))

    def requests_since(self, destination: str, since: datetime) -> int:
        """How many requests about people went through a destination since then (UTC), whatever became of them. One that was not accepted counts for
        the destination with which its list began.
        """
        lists = sa.select(REMOTE_LIST.c.list_no).where(REMOTE_LIST.c.destination == destination)
        unnamed = sa.and_(BATCH.c.list_no.in_(lists), ~BATCH.c.request_id.contains(" "))
        went = sa.or_(BATCH.c.request_id.startswith(f"{destination} ", autoescape=True), unnamed)
        query = sa.select(sa.func.count()).where(went, BATCH.c.sent_at > utc_text(since))
        return int(read(self.engine, lambda c: c.execute(query).scalar_one()))

    def removal_refused(self, list_no: int) -> bool:
        """True when the last removal that was sent to a list was refused: whoever is owed there was perhaps never taken."""
        mine = sa.and_(BATCH.c.list_no == list_no, BATCH.c.operation == Operation.REMOVE.value, BATCH.c.attempt != SWEPT)
        query = sa.select(BATCH.c.state).where(mine).order_by(BATCH.c.batch_no.desc()).limit(1)
        return read(self.engine, lambda c: c.execute(query).scalar_one_or_none()) == "refused"

    def batch_keys(self, only: Iterable[int] | None = None) -> dict[int, tuple[bytes, str]]:
        """Batch number -> batch id and the id of the key that sealed its digests; of these batches, or of all."""
        query = sa.select(BATCH.c.batch_no, BATCH.c.batch_id, BATCH.c.seal_key).where(BATCH.c.operation == Operation.ADD.value)
        if only is not None:
            query = query.where(BATCH.c.batch_no.in_(list(only)))
        return {row[0]: (row[1], row[2]) for row in read(self.engine, lambda c: c.execute(query).all())}

    def additions_with_keys(self) -> tuple[AddedBy, ...]:
        """Every addition with the keys by which it was written, in order."""
        columns = (BATCH.c[name] for name in AddedBy.__dataclass_fields__)
        query = sa.select(*columns).where(BATCH.c.operation == Operation.ADD.value).order_by(BATCH.c.batch_no)
        return tuple(AddedBy(*row) for row in read(self.engine, lambda c: c.execute(query).all()))

    def add_members(self, connection: Connection, list_no: int, batch_no: int, columns: Mapping[str, pa.Array]) -> int:
        """Append membership rows in the transaction of their batch entry, and say the row id of the first.

        `columns`: `account_token`, `person_token`, `digest_token` (16 bytes) and `sealed_digest` (32), in the batch's order.
        """
        count = len(columns["sealed_digest"])
        insert_packed(
            connection,
            MEMBERSHIP.name,
            count,
            packed=columns,
            constants={"list_no": list_no, "batch_added": batch_no},
            position="position",
        )
        return int(connection.execute(sa.select(sa.func.max(MEMBERSHIP.c.member_id))).scalar_one()) - count + 1

    def prepare_batch(self, connection: Connection, values: dict[str, Any]) -> int:
        """Remember a batch as perhaps sent, in the transaction of its batch entry; its number, the next one unless `values` name it."""
        following = sa.select(sa.func.coalesce(sa.func.max(BATCH.c.batch_no), 0) + 1)
        number = int(values["batch_no"] if "batch_no" in values else connection.execute(following).scalar_one())
        connection.execute(sa.insert(BATCH), {**values, "batch_no": number})
        return number

    def mark_removed(self, connection: Connection, member_ids: list[int], batch_no: int) -> None:
        """These memberships are being removed by this batch."""
        statement = f"UPDATE membership SET batch_removed = :batch WHERE member_id IN ({self._sql.numbers('ids')})"  # noqa: S608 (ours)
        connection.execute(sa.text(statement), {"batch": batch_no, "ids": json.dumps(member_ids)})

    def mark_older(self, connection: Connection, list_no: int, batch_no: int, as_of: str) -> None:
        """Memberships of this list that were sent before a moment (UTC text), and whose people were not sent after it, are being removed by this
        batch, unless another one removes them already.
        """
        sent = "SELECT batch_no FROM batch WHERE list_no = :list AND operation = 'add' AND sent_at"
        statement = f"""UPDATE membership SET batch_removed = :batch
            WHERE list_no = :list AND batch_removed IS NULL AND batch_added IN ({sent} < :as_of) AND digest_token NOT IN (
                SELECT digest_token FROM membership WHERE list_no = :list AND batch_added IN ({sent} >= :as_of))"""  # noqa: S608 (ours)
        connection.execute(sa.text(statement), {"list": list_no, "batch": batch_no, "as_of": as_of})

    def set_batch(self, connection: Connection, batch_no: int, values: dict[str, Any]) -> None:
        """Write what an answer says, in the transaction of its entry."""
        connection.execute(sa.update(BATCH).where(BATCH.c.batch_no == batch_no).values(**values))

    def tried_again(self, batch_no: int) -> None:
        """The people of a batch that was accepted in part were sent once more: from now on the second try speaks for them, and this batch says
        only that they may be there.
        """
        write(self.engine, lambda c: c.execute(sa.update(BATCH).where(BATCH.c.batch_no == batch_no).values(attempt=TRIED_AGAIN)))

    # -- memberships

    def held(self, now: datetime, news: Mapping[int, str] | None = None, touched: Touched | None = None) -> pa.Table:
        """Every membership that may be on its list, with its state at this moment: `HELD_FIELDS`, in append order.

        `news` are batch states that are known and not written yet (a plan writes nothing). `touched` keeps the rows of these accounts and persons,
        and those whose removal was asked for before.
        """
        return pa.Table.from_batches(self.held_pages(now, news, touched), HELD_FIELDS)

    def held_pages(
        self, now: datetime, news: Mapping[int, str] | None = None, touched: Touched | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The same, a page at a time: all of them would take 160 bytes each."""
        return held_pages(self.engine, now, news, touched)

    def whole_pages(self, now: datetime) -> Iterator[pa.RecordBatch]:
        """The memberships that may be on their lists, a page at a time, with their places and sealed digests: `WHOLE_FIELDS`."""
        return whole_pages(self.engine, now)

    def sealed(self, member_ids: pa.Array) -> pa.Table:
        """The sealed digests of these memberships (int64, each once), in their order: `SEALED_FIELDS`.

        Raises `MustStop`: `ledger_inconsistent` when one is not there.
        """
        query = f"SELECT {', '.join(SEALED_FIELDS.names)} FROM membership WHERE member_id IN ({self._sql.numbers('ids')})"  # noqa: S608 (ours)
        binaries = {"digest_token": 16, "sealed_digest": 32}
        pages = read_pages(
            self.engine, query, "member_id", ("batch_added", "position"), binaries, {"ids": json.dumps(member_ids.to_pylist())}
        )
        batches = [
            pa.record_batch([page.numbers.get(name, page.binaries.get(name)) for name in SEALED_FIELDS.names], SEALED_FIELDS)
            for page in pages
        ]
        rows = pa.Table.from_batches(batches, SEALED_FIELDS)
        if rows.num_rows != len(member_ids):
            raise MustStop("ledger_inconsistent", "the ledger", "a membership is gone; run `nestaudience audit verify`")
        return rows.take(pc.index_in(member_ids, value_set=rows.column("member_id").combine_chunks()))

    def forget_gone(self, now: datetime) -> int:
        """Drop rows whose removal is confirmed, and rows of batches that had no effect; how many. While a lost removal may act, its people stay."""
        statement = _GONE.format(
            later=self._sql.later("a.sent_at", SILENT_HOURS), silent=utc_text(now - SILENCE), unanswered=UNANSWERED
        )
        return int(write(self.engine, lambda c: c.execute(sa.text(statement)).rowcount))

    def sizes(self, now: datetime) -> dict[int, int]:
        """List number -> how many distinct digests it may hold."""
        found: dict[int, list[np.ndarray]] = {}
        states = States(self.engine, now, {})
        for page in read_pages(self.engine, rows_query(("digest_token",)), "member_id", STATED_BY, {"digest_token": 16}):
            halves = np.frombuffer(packed_bytes(page.binaries["digest_token"]), np.uint64).reshape(-1, 2)
            stated = states.of(page)
            there = (stated["held"] == 1) & (stated["gone"] == 0)
            for list_no in np.unique(page.numbers["list_no"]):
                found.setdefault(int(list_no), []).append(halves[there & (page.numbers["list_no"] == list_no)])
        found = {list_no: parts for list_no, parts in found.items() if any(len(part) for part in parts)}
        return {list_no: _distinct(np.concatenate(parts)) for list_no, parts in found.items()}

    def holds_anybody(self, list_no: int) -> bool:
        """True when some membership of this list is remembered; cheap where there is one."""
        query = sa.select(sa.exists().where(MEMBERSHIP.c.list_no == list_no))
        return bool(read(self.engine, lambda c: c.execute(query).scalar_one()))

    def open_batches(self, now: datetime) -> tuple[OpenBatch, ...]:
        """The requests that leave somebody uncertain at this moment, in order: in flight, unknown, or a removal that is not done."""
        statement = _OPEN.format(held=held_query(self._sql, now, {}, among=_IN_DOUBT))
        rows = read(self.engine, lambda c: c.execute(sa.text(statement)).all())
        return tuple(OpenBatch(row[0], row[1], row[2], Operation(row[3]), *row[4:]) for row in rows)

    # -- persons

    def persons(self, only: pa.Array | None = None) -> pa.Table:
        """Every person's salt, or those of these tokens, in append order: `person_token` binary[16], `salt` binary[32]."""
        query = "SELECT person_no, person_token, salt FROM person"
        if only is None:
            return self._persons(query, {})
        return self._persons(f"{query} WHERE person_token IN ({self._sql.tokens('persons')})", {"persons": packed_bytes(only)})

    def _persons(self, query: str, values: dict[str, object]) -> pa.Table:
        pages = read_pages(self.engine, query, "person_no", (), {"person_token": 16, "salt": 32}, values)
        batches = [pa.record_batch([page.binaries[name] for name in PERSON_FIELDS.names], PERSON_FIELDS) for page in pages]
        return pa.Table.from_batches(batches, PERSON_FIELDS)

    def last_person(self) -> int:
        """The row number of the person who got a salt last; 0 for nobody. Others may follow at any time."""
        return int(read(self.engine, lambda c: c.execute(_LAST_PERSON).scalar_one()))

    def add_persons(self, tokens: pa.Array, randomness: Callable[[int], bytes], after: int) -> tuple[pa.Table, int]:
        """Give each of these persons a salt, durably, who got none since row `after`: whoever calls knows everybody up to there. Every row since
        then, whoever wrote it, as `persons` gives them, and the number of the last one.
        """

        def work(connection: Connection) -> tuple[pa.Table, int]:
            others = self._persons("SELECT person_no, person_token, salt FROM person WHERE person_no > :since", {"since": after})
            fresh = tokens.filter(pc.invert(pc.is_in(tokens, others.column("person_token").combine_chunks())))
            content = randomness(32 * len(fresh))
            salts = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(fresh), [None, pa.py_buffer(content)])
            columns = {"person_token": fresh, "salt": salts}
            insert_packed(connection, PERSON.name, len(fresh), packed=columns, constants={})
            last = int(connection.execute(_LAST_PERSON).scalar_one())
            return pa.concat_tables([others, pa.table(columns, schema=PERSON_FIELDS)]), last

        return write(self.engine, work)

    # -- configuration

    def accepted_config(self) -> str | None:
        """The text of the last configuration that had no problem."""
        query = sa.select(ACCEPTED_CONFIG.c.document).order_by(ACCEPTED_CONFIG.c.config_no.desc()).limit(1)
        return read(self.engine, lambda c: c.execute(query).scalar_one_or_none())

    def accept_config(self, connection: Connection, digest: str, document: str, at: datetime) -> None:
        """Keep a configuration as the last accepted one."""
        connection.execute(sa.insert(ACCEPTED_CONFIG), {"digest": digest, "document": document, "accepted_at": utc_text(at)})


def _distinct(tokens: np.ndarray) -> int:
    """How many different rows an array of tokens in two halves has: sorting numbers is a fraction of what SQL needs to count blobs."""
    ordered = tokens[np.lexsort((tokens[:, 1], tokens[:, 0]))]
    return 1 + int(np.count_nonzero((ordered[1:] != ordered[:-1]).any(axis=1)))

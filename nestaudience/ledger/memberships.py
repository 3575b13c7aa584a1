"""Memberships as they stand at a moment: the SQL that says it, and the pages by which many are read.

State lives in the batches: how a membership stands follows from its list, the batch that added it and the one that removes it. It writes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from nestaudience.ledger.bulk import Page, packed_bytes, read_pages
from nestaudience.ledger.engine import read
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.spelling import Spelling, spelling_of

SILENT_HOURS: Final = "48"
SILENCE: Final = timedelta(hours=int(SILENT_HOURS))
"""After so long without a result, a request counts as `possible` again."""

TOKEN: Final = pa.binary(16)

_NUMBERS: Final = ("member_id", "list_no", "batch_added")
_TOKENS: Final = ("account_token", "person_token", "digest_token")
_FLAGS: Final = ("confirmed", "in_flight", "removing", "owed", "unanswered", "again")
HELD_FIELDS: Final = pa.schema([(name, pa.int64()) for name in (*_NUMBERS, *_FLAGS)] + [(name, TOKEN) for name in _TOKENS])
"""One row a membership that may be on its list; flags are 0 or 1. `confirmed`: accepted in full, or in part at the second try, and not yet due
for a refresh (two thirds of the list's duration, or some nights earlier by the batch's number); `removing`: a removal is under way or waits
for an earlier addition; `owed`: a removal was tried and must be tried again; `unanswered`: one of which nobody knows what became of it may
still act, so that an addition waits; `again`: the row's batch, when it was accepted in part at the first try, else 0. The row of somebody who
is gone stays, `removing` and not `owed`, while `unanswered`.
"""

SEALED_FIELDS: Final = pa.schema(
    [(name, pa.int64()) for name in ("member_id", "batch_added", "position")]
    + [("digest_token", TOKEN), ("sealed_digest", pa.binary(32))]
)
"""What opening a digest takes, one row a membership."""

WHOLE_FIELDS: Final = pa.schema(
    [(name, pa.int64()) for name in (*_NUMBERS, "position")]
    + [(name, TOKEN) for name in _TOKENS]
    + [("sealed_digest", pa.binary(32))]
)
"""One row a membership that may be on its list, with everything that can be compared with the log."""

HELD: Final = """
WITH news (news_no, news_state) AS (VALUES {news}), given (list_no, batch_added, removed) AS (VALUES {given}),
known AS (SELECT batch_no, list_no, transfer_id, operation, sent_at, attempt, coalesce(news_state, state) AS state,
                 CASE WHEN news_state <> 'unknown' THEN '{now}' ELSE settled_at END AS settled_at
          FROM batch LEFT JOIN news ON news_no = batch_no),
added AS (SELECT *, CASE WHEN settled_at <> '' THEN settled_at ELSE {later} END AS certain_at FROM known WHERE operation = 'add'),
lost AS MATERIALIZED (SELECT list_no, batch_no, transfer_id FROM known
                      WHERE operation = 'remove' AND state IN ('prepared', 'unknown') AND sent_at > '{silent}'),
judged AS (
SELECT m.*,
       (a.state = 'confirmed' OR (a.state = 'partly' AND a.attempt > 1)) AND m.batch_removed IS NULL AND a.sent_at > {due} AS confirmed,
       a.state = 'accepted' AND a.sent_at > '{silent}' AND m.batch_removed IS NULL AS in_flight,
       coalesce((r.state = 'accepted' AND r.sent_at > '{silent}') OR (r.state = 'confirmed' AND '{now}' < a.certain_at), false) AS on_its_way,
       m.batch_removed IS NOT NULL AS asked,
       {unanswered} AS unanswered,
       a.state IN ('refused', 'lapsed')
       OR coalesce(r.state = 'lapsed' OR (r.state = 'confirmed' AND r.sent_at >= a.certain_at), false) AS gone,
       CASE WHEN a.state = 'partly' AND a.attempt = 1 AND m.batch_removed IS NULL THEN m.batch_added ELSE 0 END AS again
FROM ({members}) m JOIN added a ON a.batch_no = m.batch_added JOIN remote_list l ON l.list_no = m.list_no
LEFT JOIN known r ON r.batch_no = m.batch_removed)
SELECT m.*, on_its_way OR gone AS removing, asked AND NOT gone AS owed FROM judged m WHERE (unanswered OR NOT gone)
"""

UNANSWERED: Final = """m.batch_removed IS NOT NULL AND EXISTS (
         SELECT 1 FROM lost u WHERE u.list_no = m.list_no AND u.batch_no > m.batch_added
         AND (u.batch_no = m.batch_removed OR (u.batch_no < m.batch_removed AND u.transfer_id <> r.transfer_id)))"""
"""A row remembers its last removal only: every lost one between its addition and that one may have named it; but one transfer names nobody twice."""

STATED_BY: Final = ("list_no", "batch_added", "removed")
"""What a membership's state follows from; `removed` is -1 without a removal."""
_TOUCHED: Final = "batch_removed IS NOT NULL OR account_token IN ({accounts}) OR person_token IN ({persons})"


@dataclass(frozen=True, slots=True)
class Touched:
    """Accounts and persons whom something new may concern, by token (`fixed_size_binary[16]`)."""

    accounts: pa.Array
    persons: pa.Array

    def values(self) -> dict[str, object]:
        """The tokens as statements take them."""
        return {"accounts": packed_bytes(self.accounts), "persons": packed_bytes(self.persons)}


def rows_query(columns: Iterable[str]) -> str:
    """Every membership with these columns of its own, beside what its state follows from."""
    return f"SELECT member_id, list_no, batch_added, coalesce(batch_removed, -1) AS removed, {', '.join(columns)} FROM membership"  # noqa: S608 (ours)


def held_pages(
    engine: Engine, now: datetime, news: Mapping[int, str] | None = None, touched: Touched | None = None
) -> Iterator[pa.RecordBatch]:
    """What `Memory.held` says, a page at a time."""
    only, values = "", {}
    if touched is not None:
        sql = spelling_of(engine)
        only = " WHERE " + _TOUCHED.format(accounts=sql.tokens("accounts"), persons=sql.tokens("persons"))
        values = touched.values()
    return _stated(engine, States(engine, now, news or {}), HELD_FIELDS, (), only, values)


def whole_pages(engine: Engine, now: datetime) -> Iterator[pa.RecordBatch]:
    """The memberships that may be on their lists at this moment, in append order, a page at a time: `WHOLE_FIELDS`."""
    return _stated(engine, States(engine, now, {}), WHOLE_FIELDS, ("position",), "", {})


def _stated(
    engine: Engine, states: "States", fields: pa.Schema, numbers: tuple[str, ...], only: str, values: Mapping[str, object]
) -> Iterator[pa.RecordBatch]:
    """These fields of the memberships that count, a page at a time; `numbers` are those that only this schema has."""
    binaries = {field.name: field.type.byte_width for field in fields if pa.types.is_fixed_size_binary(field.type)}
    query = rows_query((*numbers, *binaries)) + only
    for page in read_pages(engine, query, "member_id", (*STATED_BY, *numbers), binaries, values):
        columns = {**page.numbers, **page.binaries, **states.of(page)}
        rows = pa.record_batch([columns[name] for name in fields.names], fields)
        yield rows if columns["held"].all() else rows.filter(pa.array(columns["held"] == 1))


class States:
    """How memberships stand at a moment: the same for all that one batch added to a list and one batch removes, so the ledger is asked once for
    each such group.
    """

    MOST: Final = 2_000
    NAMES: Final = (*_FLAGS, "gone", "held")

    def __init__(self, engine: Engine, now: datetime, news: Mapping[int, str]) -> None:
        self._engine, self._now, self._news = engine, now, news
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def of(self, page: Page) -> dict[str, np.ndarray]:
        """`HELD_FIELDS`' flags of a page's rows, and `gone`; `held` is 0 for a row that does not count any more, whose other flags mean nothing."""
        columns = [page.numbers[name] for name in STATED_BY]
        change = np.zeros(page.rows, dtype=bool)
        change[0] = True
        for column in columns:
            change[1:] |= column[1:] != column[:-1]
        starts = np.flatnonzero(change)
        groups = list(zip(*(column[starts].tolist() for column in columns), strict=True))
        new = list(dict.fromkeys(group for group in groups if group not in self._known))
        for first in range(0, len(new), self.MOST):
            self._ask(new[first : first + self.MOST])
        stated = np.array([self._known[group] for group in groups], dtype=np.int64)
        whole = np.repeat(stated, np.diff(np.append(starts, page.rows)), axis=0)
        return {name: np.ascontiguousarray(whole[:, place]) for place, name in enumerate(self.NAMES)}

    def _ask(self, groups: list[tuple[int, ...]]) -> None:
        held = held_query(spelling_of(self._engine), self._now, self._news, groups)
        query = f"SELECT list_no, batch_added, removed, {', '.join(_FLAGS)}, gone FROM ({held}) h"  # noqa: S608 (ours)
        self._known |= dict.fromkeys(groups, (0,) * len(self.NAMES))
        for row in read(self._engine, lambda c: c.execute(sa.text(query)).all()):
            self._known[tuple(row[:3])] = (*row[3:], 1)


def held_query(
    sql: Spelling, now: datetime, news: Mapping[int, str], groups: Sequence[tuple[int, ...]] = (), among: str = "true"
) -> str:
    """The state of every membership for which a condition holds, or of these groups: list, adding batch, removing batch or -1."""
    given = ", ".join(f"({a:d}, {b:d}, {c:d})" for a, b, c in groups) or "(-1, -1, -1)"
    members = "SELECT *, nullif(removed, -1) AS batch_removed FROM given" if groups else f"SELECT * FROM membership WHERE {among}"  # noqa: S608 (ours)
    rows = ", ".join(f"({number:d}, '{state}')" for number, state in news.items()) or "(-1, NULL)"
    at = utc_text(now)
    # Two thirds of a day are 16 hours. A fill of many batches is refreshed over several nights before, by the batch's number: a sixth of the days.
    nights = "CASE WHEN l.membership_days < 12 THEN 1 ELSE l.membership_days / 6 END"
    due = sql.later(f"'{at}'", f"24 * (m.batch_added % ({nights})) - l.membership_days * 16")
    silent, later = utc_text(now - SILENCE), sql.later("sent_at", SILENT_HOURS)
    return HELD.format(
        news=rows, now=at, silent=silent, later=later, due=due, unanswered=UNANSWERED, given=given, members=members
    )

"""The last look: at most a minute before a request, its people are screened again by key, and new noes of others are taken in.

It reads a fresh snapshot of the store: the accounts of the batch, whoever said a new no since the run began, and the people of this list
whom such a no reaches. It answers who may still be sent, and who must leave at once. It sends nothing and writes nothing.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.port import CustomerStore, Snapshot
from nestaudience.delivery.fresh import NOBODY, OVERLAP, Fresh, read_fresh
from nestaudience.errors import NeedsFix
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, ask, fetch, open_engine, tokens_to_uuid
from nestaudience.screening.intake import Intake
from nestaudience.screening.rules import AudienceRule, Rules
from nestaudience.screening.screen import HELD_SCHEMA, Known, Screened, screen
from nestaudience.vocabulary import NO_MASK


@dataclass(frozen=True, slots=True)
class Look:
    """`at`: when the store was read (UTC). `keep`: one boolean a row of the batch, in its order. `leaving`: people of this list who must leave
    now: `digest` uuid, `held_nos` list<int64> (held before the run), `row_no` int64 and `member_ids` list<int64> (sent in it), `person_token` uuid.
    """

    at: datetime
    keep: pa.BooleanArray
    leaving: pa.Table


class LastLook:
    """Looks again, for one run. `screened` is the run's own screening; its engine holds `held` and `sent`."""

    def __init__(
        self,
        store: CustomerStore,
        screened: Screened,
        rules: Rules,
        tokens: Tokens,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._screened = screened
        self._rules = rules
        self._tokens = tokens
        self._clock = clock
        self._since = screened.now - OVERLAP
        self._stack = ExitStack()
        self._engine = self._stack.enter_context(open_engine(EngineLimits(memory="512MB", threads=1)))
        ask(
            screened.connection,
            "CREATE TABLE IF NOT EXISTS sent (audience_no INTEGER, digest UUID, account_token UUID, person_token UUID, row_no BIGINT, "
            "member_id BIGINT)",
        )

    def close(self) -> None:
        """Release the engine."""
        self._stack.close()

    def at_batch(self, audience: AudienceRule, rows: pa.Table) -> Look:
        """Look at a batch of additions: `rows` as `Delta.additions` gives them; no rows looks at the list alone."""
        at = self._clock()
        ids = self._screened.people.account_ids.take(rows.column("row_no").combine_chunks()) if rows.num_rows else NOBODY
        with self._store.snapshot(live=True) as snapshot:
            if any(not (problem.is_warning or problem.is_about_status) for problem in snapshot.problems):
                raise NeedsFix(
                    "feed_incomplete", "the last look", "a view or column went missing during the run; mend it, then run again"
                )
            fresh = read_fresh(snapshot, self._tokens, self._since, at)
            touched = self._touched(audience, fresh)
            touched_ids = self._screened.people.account_ids.take(touched.column("account_row").combine_chunks().drop_null())
            everyone = pc.unique(pa.concat_arrays([ids, fresh.account_ids, touched_ids]))
            if not len(everyone) and not fresh.rights:
                return Look(at, pa.array([], pa.bool_()), touched.slice(0, 0))
            again = screen(
                self._engine,
                lambda intake: self._read(intake, snapshot, everyone, audience, fresh, at),
                rules=self._rules,
                audiences=[audience],
                tokens=self._tokens,
                now=at,
                held=[_as_held(touched)],
                known=self._known(rows, touched),
            )
        return Look(at, _kept(again.connection, rows), _leaving(again.connection, audience, touched))

    def _read(
        self, intake: Intake, snapshot: Snapshot, ids: pa.Array, audience: AudienceRule, fresh: Fresh, at: datetime
    ) -> None:
        segments = frozenset({(str(audience.controller), str(audience.segment))})
        intake.accounts(snapshot.read(ACCOUNT, accounts=ids, now=at))
        intake.consents(snapshot.read(CONSENT_EVENT, accounts=ids))
        intake.rights(chain(snapshot.read(RIGHTS_EVENT, accounts=ids), fresh.rights))
        intake.members(snapshot.read(SEGMENT_MEMBER, accounts=ids, segments=segments))

    def _touched(self, audience: AudienceRule, fresh: Fresh) -> pa.Table:
        """People on this list, held before or sent in this run, whom something new may reach."""
        engine = self._screened.connection
        engine.register("fresh_account", pa.table({"token": tokens_to_uuid(fresh.account_tokens)}))
        engine.register("fresh_person", pa.table({"token": tokens_to_uuid(fresh.person_tokens)}))
        table = fetch(
            engine,
            """WITH on_list AS (
                   SELECT digest, held_no, NULL::BIGINT AS row_no, NULL::BIGINT AS member_id, account_token, person_token
                   FROM held WHERE audience_no = $audience AND NOT removing
                   UNION ALL SELECT digest, NULL, row_no, member_id, account_token, person_token FROM sent WHERE audience_no = $audience)
               SELECT l.*, s.row_no AS account_row FROM on_list l LEFT JOIN subject s ON s.own AND s.account_token = l.account_token
               WHERE l.account_token IN (SELECT token FROM fresh_account) OR l.person_token IN (SELECT token FROM fresh_person)""",
            {"audience": self._screened.number(audience.key)},
        )
        engine.unregister("fresh_account")
        engine.unregister("fresh_person")
        return table

    def _known(self, rows: pa.Table, touched: pa.Table) -> Known:
        """What the run's own screening knows of the people at hand."""
        engine = self._screened.connection
        people = pa.concat_tables([t.select(["account_token", "person_token"]) for t in (rows, touched)])
        engine.register("at_hand", people)
        noes = fetch(
            engine,
            "SELECT * FROM no_event WHERE person_token IN (SELECT person_token FROM at_hand) OR account_token IN (SELECT account_token FROM at_hand)",
        )
        blocking = fetch(
            engine,
            "SELECT DISTINCT person_token, account_token FROM subject WHERE own AND blocking AND person_token IN (SELECT person_token FROM at_hand)",
        )
        engine.unregister("at_hand")
        return Known(noes, blocking)


def _as_held(touched: pa.Table) -> pa.Table:
    """The touched as the small screening's own list: whoever has no account any more is judged by what was said of her."""
    columns = {name: touched.column(name) for name in ("account_token", "person_token", "digest")}
    columns |= {"audience_no": pa.array([0] * touched.num_rows, pa.int32()), "held_no": touched.column("held_no")}
    flags = pa.array([False] * touched.num_rows, pa.bool_())
    columns["again"] = pa.array([0] * touched.num_rows, pa.int64())
    return pa.table([columns.get(name, flags) for name in HELD_SCHEMA.names], schema=HELD_SCHEMA)


def _kept(engine: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.BooleanArray:
    """Rows whose account is still eligible, with the same digest."""
    if not rows.num_rows:
        return pa.array([], pa.bool_())
    engine.register("batch_row", rows.append_column("place", pa.array(range(rows.num_rows), pa.int64())))
    kept = fetch(
        engine,
        """SELECT c.mask IS NOT NULL AND c.mask = 0 AND c.digest = b.digest AS keep FROM batch_row b
           LEFT JOIN candidate c ON c.account_token = b.account_token ORDER BY b.place""",
    )
    engine.unregister("batch_row")
    return pc.fill_null(kept.column("keep").combine_chunks(), fill_value=False)


def _leaving(engine: duckdb.DuckDBPyConnection, audience: AudienceRule, touched: pa.Table) -> pa.Table:
    """Those of the touched who must leave: a no of their own or of their address, or a changed address; one row a digest."""
    engine.register("touched", touched)
    leaving = fetch(
        engine,
        """WITH judged AS (
               SELECT t.*, CASE WHEN $recipient = 'google' THEN a.google ELSE a.meta END
                           | flag($orders, a.analysis) AS mask,
                      NOT a.gone AND coalesce(CASE WHEN $recipient = 'google' THEN a.digest_google ELSE a.digest_meta END <> t.digest, false) AS moved
               FROM touched t LEFT JOIN answer a ON a.account_token = t.account_token AND a.controller = $controller),
           staying AS (SELECT DISTINCT digest FROM candidate WHERE mask = 0)
           SELECT digest, list(held_no ORDER BY held_no) FILTER (held_no IS NOT NULL) AS held_nos, max(row_no) AS row_no,
                  list(member_id ORDER BY member_id) FILTER (member_id IS NOT NULL) AS member_ids, any_value(person_token) AS person_token
           FROM judged WHERE (mask & $noes::UBIGINT) > 0 OR moved
           GROUP BY digest HAVING digest NOT IN (SELECT digest FROM staying WHERE digest IS NOT NULL) ORDER BY digest""",
        {
            "recipient": audience.recipient.value,
            "orders": audience.uses_orders,
            "controller": str(audience.controller),
            "noes": NO_MASK,
        },
    )
    engine.unregister("touched")
    return leaving

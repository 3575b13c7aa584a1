"""Screening: for every account and recipient, eligible or refused with all its reasons. A function of what it is given.

The order:
  (1) the rules become macros, variables and small tables                 engine.prepare
  (2) the store's sheets stream in; addresses become digests and tokens   intake, 01_*.sql
  (3) accounts that others ask for, or that are gone, become subjects     02_subjects.sql
      remembered noes get the tokens of tonight                           02_recall.sql
  (4) the noes of the whole group, those that memory adds,                03_noes.sql, 03_recalled.sql
      and whom they reach                                                 03_reached.sql
  (5) consent, by grant, against what stands against it                   04_consent.sql
  (6) objections, restrictions, erasures, closures                        05_rights.sql
  (7) the answer for each subject; the candidates of each audience        06_answer.sql

It reads no clock, sends nothing, and remembers nothing between runs: what memory knows is given to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import ask, fetch, prepare, run_file, uuid_to_tokens
from nestaudience.screening.intake import Intake, People, Progress
from nestaudience.screening.recall import ALIAS_SCHEMA, REMEMBERED_SCHEMA, Recall
from nestaudience.screening.rules import AudienceRule, Funnel, Rules
from nestaudience.vocabulary import AudienceKey, Reason, reasons_in

_PACKAGE: Final = "nestaudience.screening"
_RECALLED: Final = "03_recalled.sql"
_STEPS: Final = (
    *("02_subjects.sql", "02_recall.sql", "03_noes.sql", _RECALLED, "03_reached.sql"),
    *("04_consent.sql", "05_rights.sql", "06_answer.sql"),
)

HELD_SCHEMA: Final = pa.schema(
    [
        ("audience_no", pa.int32()),
        ("held_no", pa.int64()),
        ("account_token", pa.uuid()),
        ("person_token", pa.uuid()),
        ("digest", pa.uuid()),
        ("confirmed", pa.bool_()),
        ("in_flight", pa.bool_()),
        ("removing", pa.bool_()),
        ("owed", pa.bool_()),
        ("unanswered", pa.bool_()),
        ("again", pa.int64()),
    ]
)
"""What the lists are held to hold, flags as in the ledger's `HELD_FIELDS`. `held_no` is the row's id in the ledger; `in_flight`: added, not yet
answered; `removing`: a removal is under way; `owed`: one was tried and must be tried again; `unanswered`: a lost one may still act; `again`: the
batch that is tried once more, or 0."""

KNOWN_NO_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("account_token", pa.uuid()),
        ("person_token", pa.uuid()),
        ("controller", pa.string()),
        ("bits", pa.uint8()),
        ("occurred", pa.timestamp("us")),
        ("recorded", pa.timestamp("us")),
        ("source", pa.uint64()),
        ("seq", pa.int64()),
        ("remembered", pa.bool_()),
        ("unclocked", pa.bool_()),
        ("lifted", pa.timestamp("us")),
    ]
)
_SOURCE_SCHEMA: Final = pa.schema([("name", pa.string())])
_LABELS: Final = (
    "CREATE OR REPLACE TABLE source_name AS SELECT number_of(name) AS source, left(sha256('source' || name), 16) AS label FROM source;"
    "DROP TABLE source"
)
"""A source by its number here, and by a label that stays the same: a cut SHA-256, because its name may be free text."""
KNOWN_BLOCKING_SCHEMA: Final = pa.schema([("person_token", pa.uuid()), ("account_token", pa.uuid())])


@dataclass(frozen=True, slots=True)
class Known:
    """Noes and blocking people that an earlier screening found; a later, smaller look judges by them as well."""

    noes: pa.Table
    blocking: pa.Table


@dataclass(frozen=True, slots=True)
class Screened:
    """The answers, in the engine's tables `answer` and `candidate`, and the people by row number. Made by `screen` only."""

    connection: duckdb.DuckDBPyConnection
    audiences: tuple[AudienceRule, ...]
    people: People
    counts: dict[str, int]
    now: datetime

    def funnel(self, key: AudienceKey) -> Funnel:
        """Candidates of an audience, how many are eligible, and how many are refused by primary reason, in the reasons' order."""
        counted = "SELECT mask, count(*) FROM candidate WHERE audience_no = $audience GROUP BY mask"
        rows = ask(self.connection, counted, {"audience": self.number(key)})
        by_primary: dict[Reason, int] = {}
        eligible = 0
        for mask, count in rows:
            if mask == 0:
                eligible += count
            else:
                primary = reasons_in(mask)[0]
                by_primary[primary] = by_primary.get(primary, 0) + count
        refused = {reason.value: by_primary[reason] for reason in Reason if reason in by_primary}
        return Funnel(sum(count for _, count in rows), eligible, refused)

    def candidates(self, key: AudienceKey) -> pa.Table:
        """Every candidate of an audience, by token: `account_token` (uuid), `mask` (uint64; 0 is eligible; bits as `Reason.bit`)."""
        return fetch(
            self.connection,
            "SELECT account_token, mask FROM candidate WHERE audience_no = $audience ORDER BY account_token",
            {"audience": self.number(key)},
        )

    def malformed(self) -> dict[str, dict[str, int]]:
        """View -> controller -> accounts with a value that does not parse, is outside its set, or is null where none is allowed."""
        found: dict[str, dict[str, int]] = {}
        for view, table in (
            ("account", "subject"),
            ("consent_event", "consent"),
            ("rights_event", "rights"),
            ("segment_member", "member"),
        ):
            rows = ask(
                self.connection,
                f"SELECT coalesce(controller, ''), count(DISTINCT account_token) FROM {table} WHERE bad GROUP BY 1",  # noqa: S608 (ours)
            )
            found[view] = dict(sorted(rows))
        return found

    def accounts(self) -> dict[str, int]:
        """Controller -> how many accounts it has."""
        return dict(
            ask(self.connection, "SELECT coalesce(controller, ''), count(*) FROM subject WHERE own GROUP BY 1 ORDER BY 1")
        )

    def number(self, key: AudienceKey) -> int:
        """The audience's number in the engine."""
        return next(n for n, audience in enumerate(self.audiences) if audience.key == key)

    def new_noes(self, months: int) -> pa.Table:
        """The noes that the store shows and memory does not have: `token` is the address by the key that writes, null where no address is known. A
        withdrawal recorded more than so many months ago is left out: no consent that it could outdo is still valid.
        """
        return fetch(
            self.connection,
            """WITH address AS (
                   SELECT person_token, any_value(kept_token) AS token
                   FROM (SELECT person_token, kept_token FROM subject WHERE own
                         UNION ALL SELECT address_token, kept_token FROM rights)
                   WHERE person_token IN (SELECT person_token FROM no_event) GROUP BY person_token)
               SELECT n.kind, a.token, n.account_token, kept_controller(n.controller) AS controller, n.bits, n.source, n.seq,
                      CASE WHEN isfinite(n.occurred) THEN n.occurred END AS occurred, CASE WHEN isfinite(n.recorded) THEN n.recorded END AS recorded
               FROM no_event n LEFT JOIN address a ON a.person_token = n.person_token
               WHERE NOT n.remembered AND n.kind <> 'closed' AND (n.account_token IS NOT NULL OR a.token IS NOT NULL)
               AND (NOT of_consent(n.kind)
                    OR NOT isfinite(n.recorded) OR n.recorded + to_months($months) >= getvariable('now'))
               AND NOT EXISTS (SELECT 1 FROM recalled m WHERE same_no(m, n) AND (n.person_token IS NULL OR m.person_token = n.person_token))
               ORDER BY ALL""",
            {"months": months},
        )

    def erased_persons(self) -> pa.Array:
        """The persons of whom the store shows an erasure, by token (`fixed_size_binary[16]`): by her address where it is read, else as the lists have
        her account.
        """
        rows = fetch(
            self.connection,
            """SELECT person_token FROM no_event WHERE kind = 'erased' AND NOT remembered AND person_token IS NOT NULL
               UNION SELECT s.person_token FROM subject s JOIN no_event n ON n.account_token = s.account_token
               WHERE n.kind = 'erased' AND NOT n.remembered AND s.person_token IS NOT NULL""",
        )
        return uuid_to_tokens(rows.column("person_token"))

    def known(self) -> Known:
        """What a later look at a few accounts needs of this one: every no and every blocking person with an address."""
        noes = fetch(self.connection, "SELECT * FROM no_event")
        blocking = fetch(
            self.connection,
            "SELECT DISTINCT person_token, account_token FROM subject WHERE own AND blocking AND person_token IS NOT NULL",
        )
        return Known(noes, blocking)


def screen(
    connection: duckdb.DuckDBPyConnection,
    read: Callable[[Intake], None],
    *,
    rules: Rules,
    audiences: Iterable[AudienceRule],
    tokens: Tokens,
    now: datetime,
    held: Iterable[pa.Table] = (),
    known: Known | None = None,
    recall: Recall | None = None,
    progress: Progress = lambda view, rows: None,
) -> Screened:
    """Judge everybody whom `read` brings in, at this moment (UTC). `held`: tables in the form of `HELD_SCHEMA`; `recall`: the noes that memory keeps.

    Raises what `read` raises, and `MustStop` when the engine fails.
    """
    wanted = tuple(audiences)
    prepare(connection, rules, wanted, now)
    run_file(connection, _PACKAGE, "01_tables.sql")
    for page in held:
        _register(connection, "held", page, HELD_SCHEMA, into="held")
    _register(connection, "known_no", known.noes if known else None, KNOWN_NO_SCHEMA)
    _register(connection, "known_blocking", known.blocking if known else None, KNOWN_BLOCKING_SCHEMA)
    _register(connection, "remembered", recall.rows if recall else None, REMEMBERED_SCHEMA)
    intake = Intake(connection, tokens, rules.recipients, progress, recall)
    read(intake)
    ask(connection, "SET VARIABLE read_whole = $whole", {"whole": intake.whole})
    _register(connection, "source", intake.sources(), _SOURCE_SCHEMA)
    ask(connection, _LABELS)
    _register(connection, "older_alias", intake.aliases.table(), ALIAS_SCHEMA)
    people = intake.people()
    older = (known.noes.num_rows if known else 0) + (recall.rows.num_rows if recall else 0)
    for step in _STEPS:
        if older or step != _RECALLED:
            run_file(connection, _PACKAGE, step)
    return Screened(connection, wanted, people, dict(intake.counts), now)


def _register(
    connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table | None, schema: pa.Schema, into: str | None = None
) -> None:
    """Hand a table to the engine, empty when there is none. `into` fills a table that is already there."""
    content: Any = table if table is not None else schema.empty_table()
    connection.register(f"{name}_given", content)
    if into:
        ask(connection, f"INSERT INTO {into} SELECT * FROM {name}_given")  # noqa: S608 (names are ours)
    else:
        ask(connection, f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {name}_given")  # noqa: S608
    connection.unregister(f"{name}_given")

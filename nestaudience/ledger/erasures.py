"""Erasures that are not over: whose removal is awaited, whose salt waits for its day, and what a legal hold keeps. Rows go with the salt.

A person stands here as a token of the index key. It decides nothing: when a removal is confirmed, and when a salt is due, others say.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.bulk import packed_bytes
from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import ERASURE, PERSON
from nestaudience.ledger.spelling import spelling_of


@dataclass(frozen=True, slots=True)
class Erasure:
    """One person's erasure under way. `case_id` is empty for one that the store shows; times are UTC text, `receipt_at` empty until then;
    `hold_case`: the case that keeps her salt, empty for none.
    """

    person_token: bytes = field(repr=False)
    case_id: str
    asked_at: str
    receipt_at: str
    hold_case: str


def erasures(engine: Engine) -> tuple[Erasure, ...]:
    """All that are not over, in the order in which they began."""
    columns = (ERASURE.c.person_token, ERASURE.c.case_id, ERASURE.c.asked_at, ERASURE.c.receipt_at, ERASURE.c.hold_case)
    rows = read(engine, lambda c: c.execute(sa.select(*columns).order_by(ERASURE.c.erasure_no)).all())
    return tuple(Erasure(*row) for row in rows)


def begin(connection: Connection, tokens: pa.Array, case_id: str, at: str, *, known_only: bool) -> int:
    """Erasures of these persons (`fixed_size_binary[16]`) begin, but for those that are under way; how many. `known_only`: those who have a salt,
    and so were in a request: nothing else is left of the others.
    """
    known = "WHERE t IN (SELECT person_token FROM person)" if known_only else "WHERE true"
    statement = (
        f"WITH given (t) AS ({spelling_of(connection).tokens('tokens')}) "  # noqa: S608 (ours)
        "INSERT INTO erasure (person_token, case_id, asked_at, receipt_at, hold_case) SELECT DISTINCT t, :case_id, :at, '', '' "
        f"FROM given {known} AND t NOT IN (SELECT person_token FROM erasure)"
    )
    values = {"tokens": packed_bytes(tokens), "case_id": case_id, "at": at}
    return int(connection.execute(sa.text(statement), values).rowcount)


def confirm(connection: Connection, tokens: list[bytes], at: str) -> None:
    """Their removal is confirmed everywhere: from now on the days count. One that was confirmed before keeps its day."""
    mine = sa.and_(ERASURE.c.person_token.in_(tokens), ERASURE.c.receipt_at == "")
    connection.execute(sa.update(ERASURE).where(mine).values(receipt_at=at))


def hold(connection: Connection, tokens: list[bytes], case_id: str) -> int:
    """Keep their salts for this case; an empty one lets them go. How many erasures that concerns."""
    return int(
        connection.execute(sa.update(ERASURE).where(ERASURE.c.person_token.in_(tokens)).values(hold_case=case_id)).rowcount
    )


def destroy(connection: Connection, tokens: list[bytes]) -> int:
    """Destroy these persons' salts and end their erasures; how many salts.

    The ledger is opened with `secure_delete`: what they leave in the file is overwritten.
    """
    gone = int(connection.execute(sa.delete(PERSON).where(PERSON.c.person_token.in_(tokens))).rowcount)
    connection.execute(sa.delete(ERASURE).where(ERASURE.c.person_token.in_(tokens)))
    return gone


def wipe_journal(engine: Engine) -> None:
    """SQLite: write everything into the file itself and cut its journal off, so that no older page is left beside it. What PostgreSQL keeps of a
    deleted row, and for how long, is the server's own business (ADR 0014).
    """
    if spelling_of(engine).postgres:
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

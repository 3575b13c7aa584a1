"""Which of the ledger's rows stand under the index key, by which they are joined: the key that cannot be changed beneath them.

It counts nothing and names nobody.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import BATCH, ERASURE, MEMBERSHIP, PERSON, SUPPRESSION

_TABLES: Final = (BATCH, ERASURE, MEMBERSHIP, PERSON, SUPPRESSION)


def under_index(engine: Engine) -> tuple[str, ...]:
    """The names of the tables in which rows have tokens of the index key, or name it. Raises `MustStop`: `ledger_unavailable`."""

    def work(connection: Connection) -> tuple[str, ...]:
        return tuple(t.name for t in _TABLES if connection.execute(sa.select(sa.literal(1)).select_from(t).limit(1)).first())

    return read(engine, work)

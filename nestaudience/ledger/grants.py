"""What the role under which the program runs may do with a ledger on PostgreSQL, as SQL for the owner of its schema.

Evidence it may add and read; it may change what the ledger remembers, and no table's form. It grants nothing itself.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import (
    ACCEPTED_CONFIG,
    BATCH,
    BATCH_LEAVES,
    CHECKPOINT,
    ERASURE,
    LEASE,
    LOG_ENTRY,
    MEMBERSHIP,
    META,
    PERSON,
    REMOTE_LIST,
    SUPPRESSION,
    TOLD_ALERT,
)
from nestaudience.ledger.spelling import spelling_of

RIGHTS: Final = {
    LOG_ENTRY.name: "SELECT, INSERT",
    CHECKPOINT.name: "SELECT, INSERT",
    BATCH_LEAVES.name: "SELECT, INSERT",
    ACCEPTED_CONFIG.name: "SELECT, INSERT",
    META.name: "SELECT, INSERT, DELETE",
    PERSON.name: "SELECT, INSERT, DELETE",
    SUPPRESSION.name: "SELECT, INSERT, DELETE",
    REMOTE_LIST.name: "SELECT, INSERT, UPDATE",
    BATCH.name: "SELECT, INSERT, UPDATE",
    MEMBERSHIP.name: "SELECT, INSERT, UPDATE, DELETE",
    ERASURE.name: "SELECT, INSERT, UPDATE, DELETE",
    TOLD_ALERT.name: "SELECT, INSERT, UPDATE, DELETE",
    LEASE.name: "SELECT, INSERT, UPDATE, DELETE",
    "alembic_version": "SELECT",
}
"""Table -> what the program does with it."""

_EVIDENCE: Final = (LOG_ENTRY.name, CHECKPOINT.name, BATCH_LEAVES.name)


def may_change_evidence(engine: Engine) -> bool:
    """True when whoever is connected has a right on PostgreSQL by which evidence can be changed: its owner, and every superuser. False for a file.

    Raises `MustStop`: `ledger_unavailable`.
    """
    if not spelling_of(engine).postgres:
        return False
    query = (
        "SELECT bool_or(has_table_privilege(t, 'UPDATE, DELETE, TRUNCATE, TRIGGER')) "  # noqa: S608 (ours)
        f"FROM unnest(ARRAY[{', '.join(repr(name) for name in _EVIDENCE)}]) t"
    )
    return bool(read(engine, lambda connection: connection.execute(sa.text(query)).scalar_one()))


def grants(schema: str, role: str) -> str:
    """The statements that give a role exactly these rights, whatever it had before. Both names are plain lower-case ones."""
    tables = [f"GRANT {rights} ON {schema}.{table} TO {role};" for table, rights in RIGHTS.items()]
    first = [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}, PUBLIC;",
        f"REVOKE ALL ON SCHEMA {schema} FROM {role}, PUBLIC;",
        f"GRANT USAGE ON SCHEMA {schema} TO {role};",
    ]
    return "\n".join(["BEGIN;", *first, *tables, "COMMIT;"]) + "\n"

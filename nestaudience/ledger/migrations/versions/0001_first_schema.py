"""The first schema: the transfer log, its checkpoints, membership leaves, and what the ledger was born with.

Triggers refuse every change and removal of evidence, and every entry that is not the next one; `INSERT OR REPLACE` deletes
without calling a delete trigger, so the insert triggers refuse what is already there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the triggers."""
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "log_entry",
        sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "batch_leaves",
        sa.Column("batch_id", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
    )
    for table in ("log_entry", "checkpoint", "batch_leaves"):
        _refuse(table, "update", "")
        _refuse(table, "delete", "")
    _refuse("log_entry", "insert", "WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM log_entry)")
    _refuse("checkpoint", "insert", "WHEN EXISTS (SELECT 1 FROM checkpoint WHERE size = NEW.size)")
    _refuse("batch_leaves", "insert", "WHEN EXISTS (SELECT 1 FROM batch_leaves WHERE batch_id = NEW.batch_id)")


def downgrade() -> None:
    """Evidence is not taken down."""
    raise RuntimeError("the first schema has no way back")


def _refuse(table: str, action: str, condition: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )

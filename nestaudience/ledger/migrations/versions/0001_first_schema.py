"""The first schema: the transfer log, its checkpoints, membership leaves, and what the ledger was born with.

Triggers refuse every change and removal of evidence, and every entry that is not the next one.
"""

import sqlalchemy as sa
from alembic import op

from nestaudience.ledger.column_types import TEXT, WHOLE
from nestaudience.ledger.migrations.append_only import append_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the triggers."""
    op.create_table(
        "meta",
        sa.Column("key", TEXT, primary_key=True, nullable=False),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_table(
        "log_entry",
        sa.Column("idx", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("note", TEXT, nullable=False),
    )
    op.create_table(
        "batch_leaves",
        sa.Column("batch_id", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
    )
    append_only("log_entry", "NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM log_entry)")
    append_only("checkpoint", "EXISTS (SELECT 1 FROM checkpoint WHERE size = NEW.size)")
    append_only("batch_leaves", "EXISTS (SELECT 1 FROM batch_leaves WHERE batch_id = NEW.batch_id)")


def downgrade() -> None:
    """Evidence is not taken down."""
    raise RuntimeError("the first schema has no way back")

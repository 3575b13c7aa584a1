"""Which alerts were told, and when."""

import sqlalchemy as sa
from alembic import op

from nestaudience.ledger.column_types import TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "told_alert",
        sa.Column("key", TEXT, primary_key=True, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("first_at", TEXT, nullable=False),
        sa.Column("last_told_at", TEXT, nullable=False),
        sa.Column("failed_at", TEXT, nullable=False),
        sa.Column("failure", TEXT, nullable=False),
        sa.Column("cleared_at", TEXT, nullable=False),
    )


def downgrade() -> None:
    """What people were told is not forgotten."""
    raise RuntimeError("there is no way back")

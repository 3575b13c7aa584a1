"""Which alerts were told, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "told_alert",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("first_at", sa.Text, nullable=False),
        sa.Column("last_told_at", sa.Text, nullable=False),
        sa.Column("failed_at", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("cleared_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """What people were told is not forgotten."""
    raise RuntimeError("there is no way back")

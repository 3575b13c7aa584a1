"""Erasures under way: whose salt is to be destroyed, and since when everybody confirmed that she is gone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table of erasures that are not over."""
    op.create_table(
        "erasure",
        sa.Column("erasure_no", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("case_id", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Text, nullable=False),
        sa.Column("receipt_at", sa.Text, nullable=False),
        sa.Column("hold_case", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """What was asked for is not forgotten."""
    raise RuntimeError("there is no way back")

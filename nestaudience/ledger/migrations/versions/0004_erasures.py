"""Erasures under way: whose salt is to be destroyed, and since when everybody confirmed that she is gone."""

import sqlalchemy as sa
from alembic import op

from nestaudience.ledger.column_types import TEXT, numbered

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table of erasures that are not over."""
    op.create_table(
        "erasure",
        numbered("erasure_no"),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("case_id", TEXT, nullable=False),
        sa.Column("asked_at", TEXT, nullable=False),
        sa.Column("receipt_at", TEXT, nullable=False),
        sa.Column("hold_case", TEXT, nullable=False),
    )


def downgrade() -> None:
    """What was asked for is not forgotten."""
    raise RuntimeError("there is no way back")

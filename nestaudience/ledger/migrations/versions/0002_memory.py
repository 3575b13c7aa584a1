"""What the ledger remembers between runs: remote lists, batches, memberships, persons, suppression, accepted configurations, leases."""

import sqlalchemy as sa
from alembic import op

from nestaudience.ledger.column_types import TEXT, WHOLE, numbered

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; none has an index beyond its key, because rows are written in bulk and read in whole."""
    op.create_table(
        "remote_list",
        numbered("list_no"),
        sa.Column("audience", TEXT, nullable=False, unique=True),
        sa.Column("controller", TEXT, nullable=False),
        sa.Column("segment", TEXT, nullable=False),
        sa.Column("recipient", TEXT, nullable=False),
        sa.Column("destination", TEXT, nullable=False),
        sa.Column("ad_account", TEXT, nullable=False),
        sa.Column("login_account", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("list_id", TEXT, nullable=False),
        sa.Column("data_inputs", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("membership_days", WHOLE, nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("batch_no", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("batch_id", sa.LargeBinary, nullable=False),
        sa.Column("transfer_id", TEXT, nullable=False),
        sa.Column("list_no", WHOLE, nullable=False),
        sa.Column("operation", TEXT, nullable=False),
        sa.Column("people", WHOLE, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("sent_at", TEXT, nullable=False),
        sa.Column("settled_at", TEXT, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("rejected", WHOLE, nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("index_key", TEXT, nullable=False),
        sa.Column("seal_key", TEXT, nullable=False),
        sa.Column("master_key", TEXT, nullable=False),
    )
    op.create_table(
        "membership",
        numbered("member_id"),
        sa.Column("list_no", WHOLE, nullable=False),
        sa.Column("batch_added", WHOLE, nullable=False),
        sa.Column("position", WHOLE, nullable=False),
        sa.Column("batch_removed", WHOLE),
        sa.Column("account_token", sa.LargeBinary, nullable=False),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("digest_token", sa.LargeBinary, nullable=False),
        sa.Column("sealed_digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "person",
        numbered("person_no"),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "suppression",
        numbered("suppression_no"),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("account_token", sa.LargeBinary),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("recipient", TEXT, nullable=False),
        sa.Column("controller", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("source_seq", WHOLE),
        sa.Column("occurred_at", TEXT),
        sa.Column("recorded_at", TEXT),
        sa.Column("first_seen_at", TEXT, nullable=False),
        sa.Column("case_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
    )
    op.create_table(
        "accepted_config",
        numbered("config_no"),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("document", TEXT, nullable=False),
        sa.Column("accepted_at", TEXT, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("process", TEXT, nullable=False),
        sa.Column("renewed_at", TEXT, nullable=False),
    )


def downgrade() -> None:
    """Memory is not taken down."""
    raise RuntimeError("memory has no way back")

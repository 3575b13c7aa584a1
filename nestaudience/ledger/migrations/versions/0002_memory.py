"""What the ledger remembers between runs: remote lists, batches, memberships, persons, suppression, accepted configurations, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; none has an index beyond its key, because rows are written in bulk and read in whole."""
    op.create_table(
        "remote_list",
        sa.Column("list_no", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("audience", sa.Text, nullable=False, unique=True),
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("ad_account", sa.Text, nullable=False),
        sa.Column("login_account", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("list_id", sa.Text, nullable=False),
        sa.Column("data_inputs", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("membership_days", sa.Integer, nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("batch_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("batch_id", sa.LargeBinary, nullable=False),
        sa.Column("transfer_id", sa.Text, nullable=False),
        sa.Column("list_no", sa.Integer, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("people", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("sent_at", sa.Text, nullable=False),
        sa.Column("settled_at", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("index_key", sa.Text, nullable=False),
        sa.Column("seal_key", sa.Text, nullable=False),
        sa.Column("master_key", sa.Text, nullable=False),
    )
    op.create_table(
        "membership",
        sa.Column("member_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("list_no", sa.Integer, nullable=False),
        sa.Column("batch_added", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("batch_removed", sa.Integer),
        sa.Column("account_token", sa.LargeBinary, nullable=False),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("digest_token", sa.LargeBinary, nullable=False),
        sa.Column("sealed_digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "person",
        sa.Column("person_no", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("person_token", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "suppression",
        sa.Column("suppression_no", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("account_token", sa.LargeBinary),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_seq", sa.Integer),
        sa.Column("occurred_at", sa.Text),
        sa.Column("recorded_at", sa.Text),
        sa.Column("first_seen_at", sa.Text, nullable=False),
        sa.Column("case_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
    )
    op.create_table(
        "accepted_config",
        sa.Column("config_no", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("accepted_at", sa.Text, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("renewed_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Memory is not taken down."""
    raise RuntimeError("memory has no way back")

"""The tables of the ledger's database, in one MetaData.

Describes tables and nothing else: the migrations create them (with the triggers that keep evidence append-only), and a test holds
that both agree. Times are UTC text in ISO 8601 with milliseconds and `Z`; digests, roots and ids are raw bytes.
"""

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()

META: Final = sa.Table(
    "meta",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
)
"""What the ledger was born with: `environment`, `origin`, `created_at`, `created_by` (software version); and `epoch` once it was recovered."""

LOG_ENTRY: Final = sa.Table(
    "log_entry",
    METADATA,
    sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
"""The transfer log: the entry's bytes as hashed, and SHA-256(0x00 || bytes). Indices run from 0 without a gap."""

CHECKPOINT: Final = sa.Table(
    "checkpoint",
    METADATA,
    sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
)
"""Signed checkpoints, as text, by the number of entries they cover."""

BATCH_LEAVES: Final = sa.Table(
    "batch_leaves",
    METADATA,
    sa.Column("batch_id", sa.LargeBinary, primary_key=True, nullable=False),
    sa.Column("leaves", sa.LargeBinary, nullable=False),
)
"""The sorted 32-byte membership leaves of one batch, one after the other; the batch id has 16 bytes."""

REMOTE_LIST: Final = sa.Table(
    "remote_list",
    METADATA,
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
"""Audience -> remote list, once bound. `state` is `open`, `probing` (its first fill is not over), `gone` (proven), `retiring`, `closed`, or
`recovering`: there may be people on it whom a restored ledger does not know, and it is deleted before anybody joins (`list_id` is empty where no
list is known). `data_inputs` words joined by spaces; `login_account` is empty without a manager account."""

BATCH: Final = sa.Table(
    "batch",
    METADATA,
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
"""The state of one request, and so of everybody in it: `prepared` (perhaps sent), `accepted`, `confirmed`, `partly`, `refused`, `unknown`,
`lapsed`. Times are UTC text; `settled_at` and `request_id` are empty until known; `request_id` is the transport's name, a space and the platform's
own id, in older rows the id alone. Key columns hold key ids."""

MEMBERSHIP: Final = sa.Table(
    "membership",
    METADATA,
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
"""Who must be assumed to be on a list, in append order, without an index. State stands in the batches; a row whose `batch_added` has no batch
was never sent."""

PERSON: Final = sa.Table(
    "person",
    METADATA,
    sa.Column("person_no", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("person_token", sa.LargeBinary, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
)
"""Each person's random salt. Destroying it turns the person's leaves into random bytes."""

ERASURE: Final = sa.Table(
    "erasure",
    METADATA,
    sa.Column("erasure_no", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("person_token", sa.LargeBinary, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Text, nullable=False),
    sa.Column("receipt_at", sa.Text, nullable=False),
    sa.Column("hold_case", sa.Text, nullable=False),
)
"""Erasures that are not over, by the token of the index key: since when, when everybody had confirmed (empty until then), and the case of a legal
hold on the salt. Rows go with the salt."""

SUPPRESSION: Final = sa.Table(
    "suppression",
    METADATA,
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
"""Remembered noes, by a token of their own key, with everything that they are judged by."""

ACCEPTED_CONFIG: Final = sa.Table(
    "accepted_config",
    METADATA,
    sa.Column("config_no", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("accepted_at", sa.Text, nullable=False),
)
"""Configurations without a problem, in the order in which runs first used them. The last one serves removals when the file is wrong."""

TOLD_ALERT: Final = sa.Table(
    "told_alert",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("first_at", sa.Text, nullable=False),
    sa.Column("last_told_at", sa.Text, nullable=False),
    sa.Column("failed_at", sa.Text, nullable=False),
    sa.Column("failure", sa.Text, nullable=False),
    sa.Column("cleared_at", sa.Text, nullable=False),
)
"""Alerts that stood at some time. `first_at`: first noticed; `last_told_at`, `cleared_at`: empty until then; `failed_at` and `failure` (a code):
the last try, when it failed."""

LEASE: Final = sa.Table(
    "lease",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("renewed_at", sa.Text, nullable=False),
)
"""Who works on what: one lease a remote list, and one for the writer. Prefect's limits are courtesy; this is the lock."""

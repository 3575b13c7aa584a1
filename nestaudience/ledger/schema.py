"""The tables of the ledger's database, in one MetaData.

Describes tables and nothing else: the migrations create them (with the triggers that keep evidence append-only), and a test holds
that both agree. Times are UTC text in ISO 8601 with milliseconds and `Z`; digests, roots and ids are raw bytes.
"""

from typing import Final

import sqlalchemy as sa

from nestaudience.ledger.column_types import TEXT, WHOLE, numbered

METADATA: Final = sa.MetaData()

META: Final = sa.Table(
    "meta",
    METADATA,
    sa.Column("key", TEXT, primary_key=True, nullable=False),
    sa.Column("value", TEXT, nullable=False),
)
"""What the ledger was born with: `environment`, `origin`, `created_at`, `created_by` (software version); and `epoch` once it was recovered."""

LOG_ENTRY: Final = sa.Table(
    "log_entry",
    METADATA,
    sa.Column("idx", WHOLE, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
"""The transfer log: the entry's bytes as hashed, and SHA-256(0x00 || bytes). Indices run from 0 without a gap."""

CHECKPOINT: Final = sa.Table(
    "checkpoint",
    METADATA,
    sa.Column("size", WHOLE, primary_key=True, autoincrement=False),
    sa.Column("note", TEXT, nullable=False),
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
"""Audience -> remote list, once bound. `state` is `open`, `probing` (its first fill is not over), `gone` (proven), `retiring`, `closed`, or
`recovering`: there may be people on it whom a restored ledger does not know, and it is deleted before anybody joins (`list_id` is empty where no
list is known). `data_inputs` words joined by spaces; `login_account` is empty without a manager account."""

BATCH: Final = sa.Table(
    "batch",
    METADATA,
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
"""The state of one request, and so of everybody in it: `prepared` (perhaps sent), `accepted`, `confirmed`, `partly`, `refused`, `unknown`,
`lapsed`. Times are UTC text; `settled_at` and `request_id` are empty until known; `request_id` is the transport's name, a space and the platform's
own id, in older rows the id alone. Key columns hold key ids."""

MEMBERSHIP: Final = sa.Table(
    "membership",
    METADATA,
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
"""Who must be assumed to be on a list, in append order, without an index. State stands in the batches; a row whose `batch_added` has no batch
was never sent."""

PERSON: Final = sa.Table(
    "person",
    METADATA,
    numbered("person_no"),
    sa.Column("person_token", sa.LargeBinary, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
)
"""Each person's random salt. Destroying it turns the person's leaves into random bytes."""

ERASURE: Final = sa.Table(
    "erasure",
    METADATA,
    numbered("erasure_no"),
    sa.Column("person_token", sa.LargeBinary, nullable=False),
    sa.Column("case_id", TEXT, nullable=False),
    sa.Column("asked_at", TEXT, nullable=False),
    sa.Column("receipt_at", TEXT, nullable=False),
    sa.Column("hold_case", TEXT, nullable=False),
)
"""Erasures that are not over, by the token of the index key: since when, when everybody had confirmed (empty until then), and the case of a legal
hold on the salt. Rows go with the salt."""

SUPPRESSION: Final = sa.Table(
    "suppression",
    METADATA,
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
"""Remembered noes, by a token of their own key, with everything that they are judged by."""

ACCEPTED_CONFIG: Final = sa.Table(
    "accepted_config",
    METADATA,
    numbered("config_no"),
    sa.Column("digest", TEXT, nullable=False),
    sa.Column("document", TEXT, nullable=False),
    sa.Column("accepted_at", TEXT, nullable=False),
)
"""Configurations without a problem, in the order in which runs first used them. The last one serves removals when the file is wrong."""

TOLD_ALERT: Final = sa.Table(
    "told_alert",
    METADATA,
    sa.Column("key", TEXT, primary_key=True, nullable=False),
    sa.Column("code", TEXT, nullable=False),
    sa.Column("first_at", TEXT, nullable=False),
    sa.Column("last_told_at", TEXT, nullable=False),
    sa.Column("failed_at", TEXT, nullable=False),
    sa.Column("failure", TEXT, nullable=False),
    sa.Column("cleared_at", TEXT, nullable=False),
)
"""Alerts that stood at some time. `first_at`: first noticed; `last_told_at`, `cleared_at`: empty until then; `failed_at` and `failure` (a code):
the last try, when it failed."""

LEASE: Final = sa.Table(
    "lease",
    METADATA,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("owner", TEXT, nullable=False),
    sa.Column("process", TEXT, nullable=False),
    sa.Column("renewed_at", TEXT, nullable=False),
)
"""Who works on what: one lease a remote list, and one for the writer. Prefect's limits are courtesy; this is the lock."""

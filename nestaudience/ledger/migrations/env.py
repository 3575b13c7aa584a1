"""Alembic's environment: runs the migrations on the connection that the program passes in `attributes`.

It opens no database, reads no ini file and configures no logging. The caller owns the transaction.
"""

from alembic import context

from nestaudience.ledger.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()

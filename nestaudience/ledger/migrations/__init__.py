"""The ledger's schema, step by step. Run by `nestaudience.ledger.engine`, never from a command line of Alembic's."""

"""The kinds of columns that the ledger's tables have, for either database. Text is compared by its bytes on both."""

from typing import Final

import sqlalchemy as sa

WHOLE: Final = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
"""A whole number of up to 64 bits."""
TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Words, and times, which are compared as text."""


def numbered(name: str) -> "sa.Column[int]":
    """A primary key that the database numbers itself, upwards."""
    return sa.Column(name, WHOLE, sa.Identity(), primary_key=True, autoincrement=True)

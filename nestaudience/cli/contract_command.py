"""The command that prints the contract of the customer store as SQL to start from. It opens nothing."""

from enum import StrEnum
from typing import Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import Json, guarded


class Dialect(StrEnum):
    """The dialects in which the contract can be printed."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"


def contract(
    dialect: Annotated[Dialect, typer.Option(help="The database that the SQL is for.")] = Dialect.POSTGRES,
    as_json: Json = False,
) -> None:
    """Print the views that a customer store must have, an append-only log of consents, and a role that reads the views, as SQL."""
    with guarded(as_json):
        from nestaudience.customers.ddl import parts, script

        if as_json:
            output.as_json({"dialect": dialect.value, "parts": [part.as_dict() for part in parts(dialect.value)]})
        else:
            output.say(script(dialect.value).rstrip())

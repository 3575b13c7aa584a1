"""What every command takes and how every command ends: the configuration's place, JSON or not, and errors by remedy.

It runs no command and opens nothing. Imports stay light here: `--help` must not wait for a library that it does not use.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from nestaudience.cli.output import failed
from nestaudience.errors import MustStop, NestAudienceError
from nestaudience.vocabulary import Cause

DEFAULT_CONFIG: Final = Path("nestaudience.toml")
"""Where a command looks for its configuration: in the current folder."""

Config = Annotated[
    Path,
    typer.Option("--config", envvar="NESTAUDIENCE_CONFIG", help="The configuration file.", dir_okay=False, show_default=True),
]
"""Use as `config: Config = DEFAULT_CONFIG`."""

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
"""Use as `json: Json = False`."""

Why = Annotated[Cause, typer.Option("--reason", help="Why, as a code; `other_see_case` needs a case.")]
Case = Annotated[str, typer.Option("--case", help="Number of the case in which the reason is written down.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def clock() -> datetime:
    """The machine's time, in UTC: what commands pass on wherever a clock is asked for."""
    return datetime.now(UTC)


@contextmanager
def guarded(json: bool) -> Iterator[None]:
    """Run a command's body; an error of ours becomes its message and its exit code (`typer.Exit`).

    Anything else that escapes is a defect: it is named by its type only, because its text could hold a value.
    """
    error: NestAudienceError | None = None
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except NestAudienceError as known:
        error = known.with_traceback(None)
    except Exception as unknown:  # noqa: BLE001 (the edge of the program)
        place = unknown.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = "" if place is None else f" in {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
        error = MustStop("defect", type(unknown).__name__ + line, "report it with the version and the command")
    if error is not None:
        raise typer.Exit(failed([error], as_json_document=json))

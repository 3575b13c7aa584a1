"""Which alerts stand, when people were told of each, and what went wrong in telling.

It decides nothing: what stands is found in `alerts`, and what is told in `watching`. Its rows are no evidence and no memory of people, so they are
written without the writer's lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.engine import read, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.schema import TOLD_ALERT

INCIDENT: Final = "incident"
"""The code of an alert that is told once and never stands."""


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """One alert as remembered. Times are UTC text, empty for never; `failure` is the code of the last try, when it failed."""

    key: str
    code: str
    first_at: str
    last_told_at: str
    failed_at: str
    failure: str
    cleared_at: str


class ToldAlerts:
    """The memory of telling. Reads and writes raise `MustStop` as the ledger does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, ToldAlert]:
        """Key -> every alert that ever stood, ended ones included."""
        rows = read(self._engine, lambda c: c.execute(sa.select(TOLD_ALERT).order_by(TOLD_ALERT.c.key)).all())
        return {row.key: ToldAlert(*row) for row in rows}

    def stand(self, standing: Mapping[str, str], now: datetime) -> dict[str, ToldAlert]:
        """Take down which alerts (key -> code) stand now. Others have ended; one that comes back counts as new. All rows."""
        at = utc_text(now)

        def work(connection: Connection) -> None:
            known = {row.key: row.cleared_at for row in connection.execute(sa.select(TOLD_ALERT.c.key, TOLD_ALERT.c.cleared_at))}
            ended = [key for key, cleared in known.items() if not cleared and key not in standing]
            connection.execute(sa.update(TOLD_ALERT).where(TOLD_ALERT.c.key.in_(ended)).values(cleared_at=at))
            fresh = [key for key in standing if known.get(key, "before")]
            connection.execute(sa.delete(TOLD_ALERT).where(TOLD_ALERT.c.key.in_(fresh)))
            for key in fresh:
                empty = dict.fromkeys(("last_told_at", "failed_at", "failure", "cleared_at"), "")
                connection.execute(sa.insert(TOLD_ALERT), {"key": key, "code": standing[key], "first_at": at, **empty})

        write(self._engine, work)
        return self.all()

    def told(self, keys: list[str], now: datetime) -> None:
        """People were told of these."""
        self._set(keys, {"last_told_at": utc_text(now), "failed_at": "", "failure": ""})

    def not_told(self, keys: list[str], failure: str, now: datetime) -> None:
        """Nobody could be told of these: the code of what went wrong."""
        self._set(keys, {"failed_at": utc_text(now), "failure": failure})

    def forget_ended(self, before: datetime) -> int:
        """Forget alerts that ended before then (UTC); how many. Of an incident the row stays: without it, it would be told again."""
        old = sa.and_(TOLD_ALERT.c.cleared_at != "", TOLD_ALERT.c.cleared_at < utc_text(before), TOLD_ALERT.c.code != INCIDENT)
        return int(write(self._engine, lambda c: c.execute(sa.delete(TOLD_ALERT).where(old)).rowcount))

    def _set(self, keys: list[str], values: dict[str, str]) -> None:
        if keys:
            write(self._engine, lambda c: c.execute(sa.update(TOLD_ALERT).where(TOLD_ALERT.c.key.in_(keys)).values(**values)))

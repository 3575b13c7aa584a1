"""Who should be on each list, straight from the store's rows, by nothing but the reference and hashlib.

    wanted = wanted_lists(world.store, settings, now)     # audience key -> digests

It shares no code with the system but the words of `vocabulary` and the tables of rules: rows are read with the standard library from a copy of the
file (never the file itself: two SQLite libraries in one process drop each other's locks), judged row by row, and hashed one by one.
"""

import hashlib
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from nestaudience.config.settings import Settings
from nestaudience.vocabulary import AudienceKey
from tests.reference.decide import decide
from tests.reference.rows import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER, Row, World
from tests.reference.values import canonical, form_at

_VIEWS: Final = {
    "account": ACCOUNT,
    "consent_event": CONSENT_EVENT,
    "rights_event": RIGHTS_EVENT,
    "segment_member": SEGMENT_MEMBER,
}
_AT_ONCE: Final = 60
"""Families of one address that are judged together: nothing crosses from one address to another but through an account."""


def rows_of(store: Path) -> World:
    """Every row of the four views as text."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(store, Path(folder) / "copy.sqlite")
        with closing(sqlite3.connect(copy)) as connection:
            found: dict[str, tuple[Row, ...]] = {}
            for view, columns in _VIEWS.items():
                texts = ", ".join(f"CAST({column} AS TEXT)" for column in columns)
                rows = connection.execute(f"SELECT {texts} FROM {view}").fetchall()
                found[view] = tuple(dict(zip(columns, row, strict=True)) for row in rows)
    return World(**found)


def wanted_lists(store: Path, settings: Settings, now: datetime) -> dict[AudienceKey, frozenset[str]]:
    """Audience -> the digests (lower-case hex, in its recipient's form) that its list should hold when a night has run at `now`."""
    world = rows_of(store)
    address = {row["account_id"]: row["email"] for row in world.account}
    wanted: dict[AudienceKey, set[str]] = {key: set() for key in settings.audiences}
    for part in parts_of(world):
        for key, audience in settings.audiences.items():
            for account_id, reasons in decide(part, settings.rules(), audience.rule, now).items():
                if not reasons:
                    wanted[key].add(
                        hashlib.sha256(str(form_at(audience.recipient.key, address[account_id])).encode()).hexdigest()
                    )
    return {key: frozenset(digests) for key, digests in wanted.items()}


def parts_of(world: World) -> list[World]:
    """The world in parts that say nothing about each other: accounts of one canonical address, with their events, stay together.

    The reference looks through every event for every candidate; whole, thousands of accounts would take it minutes.
    """
    family: dict[str | None, str] = {
        row["account_id"]: canonical(row["email"]) or f"account {row['account_id']}" for row in world.account
    }

    def of(row: Row) -> str:
        if row["account_id"] is None:
            return canonical(row["email"]) or "nobody"
        return family.get(row["account_id"], f"account {row['account_id']}")

    members: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for view in _VIEWS:
        for row in getattr(world, view):
            members[of(row)][view].append(row)
    names = sorted(members)
    return [
        World(**{view: tuple(row for name in names[first : first + _AT_ONCE] for row in members[name][view]) for view in _VIEWS})
        for first in range(0, len(names), _AT_ONCE)
    ]

"""Remembered noes that leave this machine beside the checkpoint, so that a ledger that was restored from a backup can take back what it lacks.

One file a run, numbered by the last no that it holds, never written over: a JSON array a line, with tokens as in the table. Without the keys
nobody can tell whom it speaks of; it has no address and no digest. It decides nothing about people.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import NeedsFix
from nestaudience.ledger.bulk import PAGE
from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import SUPPRESSION

_TOKENS: Final = ("token", "account_token")
_COLUMNS: Final = tuple(column.name for column in SUPPRESSION.columns if column.name != "suppression_no")
_CELLS: Final = ", ".join(f"hex({name})" if name in _TOKENS else name for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class Written:
    """What left: noes up to this number; `digest` is the file's SHA-256 in lower-case hex, empty when there was nothing new."""

    until: int
    noes: int
    digest: str


def write_new(engine: Engine, directory: Path, after: int) -> Written:
    """Write the noes with a number greater than `after` into a file of their own. Raises `NeedsFix`: `anchor_unwritable`."""
    digest, until, noes = sha256(), after, 0
    for last, count, text in _pages(engine, after):
        digest.update(text)
        until, noes = last, noes + count
    if not noes:
        return Written(until, 0, "")
    name, failed = f"noes-{until:012d}", False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for place in (directory / f"{name}.jsonl", directory / f"{name}-{digest.hexdigest()[:8]}.jsonl"):
            if _put(place, digest.hexdigest(), (text for _, _, text in _pages(engine, after, until))):
                break
    except OSError:
        failed = True
    if failed:
        raise NeedsFix(
            "anchor_unwritable", "ledger.anchor_directory", "make it writable; tonight's noes did not leave this machine"
        )
    return Written(until, noes, digest.hexdigest())


def lacking(engine: Engine, directory: Path) -> list[dict[str, Any]]:
    """The rows of a directory's files that the ledger does not have, each once, in the order of the files.

    Raises `NeedsFix`: `anchor_unreadable` for a file that cannot be read, or a line that is none of ours. A last line without its end is left
    out: that file was cut off, and the next run wrote all of it again.
    """
    known = {line for _, _, text in _pages(engine, 0) for line in text.splitlines()}
    found: list[dict[str, Any]] = []
    broken = False
    try:
        for file in sorted(directory.glob("noes-*.jsonl")):
            for line in file.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n") and line[:-1] not in known:
                    known.add(line[:-1])
                    found.append(_row(line))
    except (OSError, ValueError, TypeError):
        broken = True
    if broken:
        raise NeedsFix("anchor_unreadable", "ledger.anchor_directory", "put a whole copy of its files back: noes stand in them")
    return found


def take_back(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Remember rows as `lacking` gives them, in the transaction of the entry that counts them."""
    waiting = iter(rows)
    while some := list(islice(waiting, 10_000)):
        connection.execute(sa.insert(SUPPRESSION), some)


def _pages(engine: Engine, after: int, until: int = 1 << 62) -> Iterator[tuple[int, int, bytes]]:
    """Last number, rows, and lines of each stretch of rows."""
    statement = sa.text(
        f"SELECT max(no), count(*), group_concat(line, char(10)) FROM (SELECT suppression_no AS no, json_array({_CELLS}) AS line "  # noqa: S608 (ours)
        f"FROM suppression WHERE suppression_no > :after AND suppression_no <= :until ORDER BY suppression_no LIMIT {PAGE})"
    )
    while True:
        values = {"after": after, "until": until}
        row = read(engine, lambda connection, values=values: connection.execute(statement, values).one())  # type: ignore[misc]
        if not row[1]:
            return
        after = row[0]
        yield after, row[1], str(row[2]).encode() + b"\n"


def _put(place: Path, digest: str, parts: Iterable[bytes]) -> bool:
    """True when the file has this content now."""
    try:
        with place.open("xb") as file:
            file.writelines(parts)
    except FileExistsError:
        return sha256(place.read_bytes()).hexdigest() == digest
    return True


def _row(line: bytes) -> dict[str, Any]:
    row = dict(zip(_COLUMNS, json.loads(line), strict=True))
    return row | {name: bytes.fromhex(row[name]) for name in _TOKENS}

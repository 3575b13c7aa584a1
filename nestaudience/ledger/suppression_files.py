"""Remembered noes that leave this machine beside the checkpoint, so that a ledger that was restored from a backup can take back what it lacks.

One file a run, numbered by the last no that it holds, never written over: a JSON array a line, with tokens as in the table, and a last line
`["end", after, until, noes, mac]`. The mac is HMAC-SHA256 under the suppression key over everything before it: the anchors' entries of the nights
that a backup lost are lost with them, so a file has to speak for itself. Without the keys nobody can tell whom it speaks of; it has no address and
no digest. That the newest files of a directory are gone altogether cannot be seen here. It decides nothing about people.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import NeedsFix
from nestaudience.ledger.bulk import PAGE
from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import SUPPRESSION
from nestaudience.ledger.spelling import spelling_of

_TOKENS: Final = ("token", "account_token")
_COLUMNS: Final = tuple(column.name for column in SUPPRESSION.columns if column.name != "suppression_no")


@dataclass(frozen=True, slots=True)
class Written:
    """What left: noes up to this number; `digest` is the file's SHA-256 in lower-case hex, empty when there was nothing new."""

    until: int
    noes: int
    digest: str


def write_new(engine: Engine, directory: Path, after: int, key: bytes) -> Written:
    """Write the noes with a number greater than `after` into a file of their own, with a mac under this key. Raises `NeedsFix`:
    `anchor_unwritable`.
    """
    digest, mac, until, noes = sha256(), _mac(key), after, 0
    for last, count, text in _pages(engine, after):
        digest.update(text)
        mac.update(text)
        until, noes = last, noes + count
    if not noes:
        return Written(until, 0, "")
    end = _end(mac, after, until, noes)
    digest.update(end)
    name, failed = f"noes-{until:012d}", False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for place in (directory / f"{name}.jsonl", directory / f"{name}-{digest.hexdigest()[:8]}.jsonl"):
            if _put(place, digest.hexdigest(), chain((text for _, _, text in _pages(engine, after, until)), (end,))):
                break
    except OSError:
        failed = True
    if failed:
        raise NeedsFix(
            "anchor_unwritable", "ledger.anchor_directory", "make it writable; tonight's noes did not leave this machine"
        )
    return Written(until, noes, digest.hexdigest())


def lacking(engine: Engine, directory: Path, keys: Sequence[bytes]) -> list[dict[str, Any]]:
    """The rows of a directory's files that the ledger does not have, each once, in the order of the files. `keys`: every suppression key.

    Raises `NeedsFix`: `anchor_unreadable` for a file that cannot be read or was changed, and for noes of which no whole file is left: one that was
    cut off, unless another holds the same (the next run wrote all of it again), and one that is missing between two others.
    """
    known = {line for _, _, text in _pages(engine, 0) for line in text.splitlines()}
    found: list[dict[str, Any]] = []
    reached, promised, broken = _last(engine), 0, False
    try:
        for file in sorted(directory.glob("noes-*.jsonl")):
            promised = max(promised, int(file.stem.split("-")[1]))
            whole = _opened(file.read_bytes(), keys)
            if whole is None:
                continue
            after, until, lines = whole
            broken = broken or after > reached
            reached = max(reached, until)
            fresh = [line for line in dict.fromkeys(lines) if line not in known]
            known.update(fresh)
            found += [_row(line) for line in fresh]
    except (OSError, ValueError, TypeError):
        broken = True
    if broken or promised > reached:
        raise NeedsFix(
            "anchor_unreadable",
            "ledger.anchor_directory",
            "put a whole copy of its noes-*.jsonl files back: noes stand in them; without one, move what is broken away and say so in a case",
        )
    return found


def take_back(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Remember rows as `lacking` gives them, in the transaction of the entry that counts them."""
    waiting = iter(rows)
    while some := list(islice(waiting, 10_000)):
        connection.execute(sa.insert(SUPPRESSION), some)


def _pages(engine: Engine, after: int, until: int = 1 << 62) -> Iterator[tuple[int, int, bytes]]:
    """Last number, rows, and lines of each stretch of rows."""
    sql = spelling_of(engine)
    line = sql.json_line({name: name in _TOKENS for name in _COLUMNS})
    statement = sa.text(
        f"SELECT max(no), count(*), {sql.lines('line', 'no')} FROM (SELECT suppression_no AS no, {line} AS line "  # noqa: S608 (ours)
        f"FROM suppression WHERE suppression_no > :after AND suppression_no <= :until ORDER BY suppression_no LIMIT {PAGE}) page"
    )
    while True:
        values = {"after": after, "until": until}
        row = read(engine, lambda connection, values=values: connection.execute(statement, values).one())  # type: ignore[misc]
        if not row[1]:
            return
        after = row[0]
        yield after, row[1], str(row[2]).encode() + b"\n"


def _opened(content: bytes, keys: Sequence[bytes]) -> tuple[int, int, list[bytes]] | None:
    """What a whole file holds: after which number, up to which, and its lines; None for one that was cut off. Raises `ValueError` for one that was
    changed, or that none of these keys made.
    """
    *lines, last = content.splitlines(keepends=True) or [b""]
    if not last.startswith(b'["end"') or not last.endswith(b"\n"):
        return None
    _, after, until, noes, _ = json.loads(last)
    body = b"".join(lines)
    if not any(hmac.compare_digest(_end(_mac(key, body), after, until, noes), last) for key in keys):
        raise ValueError("not a file of ours")
    return after, until, [line[:-1] for line in lines]


def _mac(key: bytes, content: bytes = b"") -> hmac.HMAC:
    return hmac.new(key, b"noes that leave|" + content, "sha256")


def _end(mac: hmac.HMAC, after: int, until: int, noes: int) -> bytes:
    words = ["end", after, until, noes]
    mac.update(json.dumps(words).encode())
    return json.dumps([*words, mac.hexdigest()]).encode() + b"\n"


def _last(engine: Engine) -> int:
    """Up to which number the ledger has its noes itself."""
    query = sa.select(sa.func.coalesce(sa.func.max(SUPPRESSION.c.suppression_no), 0))
    return int(read(engine, lambda c: c.execute(query).scalar_one()))


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

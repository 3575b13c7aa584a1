"""Looks for given people in anything that was written: text, databases, compressed, encoded and pickled data, one inside the other.

    people = Needles.of("Karin.Kanarie@gmail.com", ...)
    found_in(Path("ledger").read_bytes(), people)   # {"address of Karin...", ...}; empty when nobody is in it

Nothing that is read is executed: pickles are taken apart by their opcodes. SQLite files are read twice, as bytes (deleted rows and free
pages stay in them) and cell by cell (a long value is cut over pages). The test of this file plants people in every form it can read.
"""

import base64
import binascii
import bz2
import gzip
import hashlib
import html
import io
import lzma
import pickletools
import re
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pyarrow as pa

DEPTH: Final = 5
"""How many coverings are taken off, one after the other."""
LARGEST: Final = 64 * 1024 * 1024
"""No more than so many bytes are unpacked from one place."""


class Wanted:
    """Bytes to look for -> what it would mean to find them; all at once, however many there are."""

    def __init__(self, meanings: dict[bytes, str]) -> None:
        assert all(len(needle) >= 8 for needle in meanings), "what is too short is found everywhere"
        self._first, self._second = np.zeros(65536, bool), np.zeros(65536, bool)
        self._by_start: dict[bytes, list[tuple[bytes, str]]] = {}
        for needle, meaning in meanings.items():
            self._first[int.from_bytes(needle[:2], "big")] = self._second[int.from_bytes(needle[2:4], "big")] = True
            self._by_start.setdefault(needle[:4], []).append((needle, meaning))

    def standing_in(self, piece: bytes) -> set[str]:
        """What stands in these bytes in the open."""
        if len(piece) < 8:
            return set()
        letters = np.frombuffer(piece, np.uint8)
        pairs = letters[:-1].astype(np.uint16) << 8 | letters[1:]
        places = np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]]).tolist()
        return {
            meaning
            for place in places
            for needle, meaning in self._by_start.get(piece[place : place + 4], ())
            if piece.startswith(needle, place)
        }


@dataclass(frozen=True)
class Needles:
    """People to look for, by their addresses, by their digests, or by either; and secrets."""

    addresses: Wanted
    digests: Wanted
    secrets: Wanted
    everything: Wanted

    @classmethod
    def of(cls, *addresses: str, secrets: Mapping[str, str] | None = None) -> "Needles":
        """`secrets`: name -> text, and the bytes as well where it is hexadecimal.

        Of people every form of these addresses: as typed, in small letters, by Google's rule; the local part alone; and their digests.

        The rules are written down here once more, on purpose: the test must not trust the package for what it looks for.
        """
        texts: dict[bytes, str] = {}
        digests: dict[bytes, str] = {}
        hidden: dict[bytes, str] = {}
        for name, text in (secrets or {}).items():
            hidden |= {text.encode(charset): f"secret {name}" for charset in ("utf-8", "utf-16-le")}
            if re.fullmatch(r"(?:[0-9a-f]{2}){16,}", text):
                hidden[bytes.fromhex(text)] = f"secret {name}"
        for typed in addresses:
            for form in {typed, typed.strip(), typed.strip().lower(), google_form(typed)}:
                for part in (form, form.strip().partition("@")[0]):
                    for charset in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
                        texts[part.encode(charset)] = f"address of {typed}"
            for form in {typed.strip().lower(), google_form(typed)}:
                digest = hashlib.sha256(form.encode()).digest()
                for text in (digest.hex(), digest.hex().upper()):
                    digests |= {text.encode(charset): f"digest of {typed}" for charset in ("utf-8", "utf-16-le")}
                digests[digest] = f"digest of {typed}"
        return cls(Wanted(texts), Wanted(digests), Wanted(hidden), Wanted(texts | digests | hidden))


def google_form(typed: str) -> str:
    """The address by Google's rule, for addresses that have nothing odd about them."""
    local, _, domain = typed.strip().lower().partition("@")
    return (
        f"{local.partition('+')[0].replace('.', '')}@{domain}"
        if domain in {"gmail.com", "googlemail.com"}
        else f"{local}@{domain}"
    )


def found_in(data: bytes, wanted: Wanted) -> set[str]:
    """What stands in these bytes, in the open or under up to `DEPTH` coverings."""
    seen: set[bytes] = set()
    found: set[str] = set()
    todo = [(data, 0)]
    while todo:
        piece, depth = todo.pop()
        found |= wanted.standing_in(piece)
        if depth < DEPTH:
            for inner in _uncovered(piece):
                mark = hashlib.blake2b(inner, digest_size=16).digest()
                if len(inner) >= 8 and mark not in seen:
                    seen.add(mark)
                    todo.append((inner, depth + 1))
    return found


def found_in_file(path: Path, wanted: Wanted) -> set[str]:
    """What stands in a file, its name included. A SQLite file's cells are read as well, with what its write-ahead log holds."""
    data = path.read_bytes()
    found = found_in(data, wanted) | found_in(path.name.encode(), wanted)
    if data.startswith(b"SQLite format 3\0"):
        found |= found_in("\n".join(_cells(path)).encode("utf-8", "surrogateescape"), wanted)
    return found


def found_in_folder(folder: Path, wanted: Wanted, *, but: Iterable[Path] = ()) -> dict[str, set[str]]:
    """File -> what stands in it, for every file below a folder but those that are named (files, or folders with all they hold)."""
    left_out = [path.resolve() for path in but]
    report = {}
    for path in sorted(folder.rglob("*")):
        here = path.resolve()
        if path.is_file() and not any(
            here == out or out in here.parents or here.name.startswith(out.name + "-") for out in left_out
        ):
            found = found_in_file(path, wanted)
            if found:
                report[str(path.relative_to(folder))] = found
    return report


def _cells(path: Path) -> Iterator[str]:
    """Every text and every blob (as base64) of a SQLite file, from a copy, so that nobody's lock is touched."""
    with TemporaryDirectory() as place:
        copy = Path(place) / path.name
        for ending in ("", "-wal"):
            if path.with_name(path.name + ending).exists():
                shutil.copy(path.with_name(path.name + ending), copy.with_name(copy.name + ending))
        connection = sqlite3.connect(copy)
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                quoted = table.replace('"', '""')
                try:
                    rows = connection.execute(f'SELECT * FROM "{quoted}"')
                except sqlite3.OperationalError:  # a virtual table of a module that is not here; its content lies in other tables
                    continue
                for row in rows:
                    for cell in row:
                        if isinstance(cell, bytes):
                            yield base64.b64encode(cell).decode()
                        elif isinstance(cell, str):
                            yield cell
        finally:
            connection.close()


def _uncovered(data: bytes) -> Iterator[bytes]:
    for take_off in (_base64, _hex, _zipped, _packed, _zstandard, _pickled, _escaped):
        yield from take_off(data)


_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _base64(data: bytes) -> Iterator[bytes]:
    """All runs in either alphabet, from each of the four places at which a group may begin."""
    runs = {run.translate(_TO_STANDARD) for run in _BASE64.findall(data)}
    for start in range(4):
        yield b"\n".join(
            binascii.a2b_base64(run[start : start + (len(run) - start) // 4 * 4] + _ending(run[start:])) for run in runs
        )


def _ending(text: bytes) -> bytes:
    """The last group of a run, filled up; a single letter means nothing."""
    rest = text[len(text) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _hex(data: bytes) -> Iterator[bytes]:
    """All runs, from each of the two places at which a byte may begin."""
    runs = set(_HEX.findall(data))
    for start in range(2):
        yield b"\n".join(binascii.unhexlify(run[start : start + (len(run) - start) // 2 * 2]) for run in runs)


_ZIPPED: Final = re.compile(rb"(?=(\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]))", re.DOTALL)


def _zipped(data: bytes) -> Iterator[bytes]:
    """gzip and zlib, wherever a header of theirs stands; what was unpacked before an error counts."""
    view = memoryview(data)  # a slice of bytes would be a copy of all that follows
    for place in _ZIPPED.finditer(data):
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            yield unpack.decompress(view[place.start() :], LARGEST)
        except zlib.error:
            continue


_PACKED: Final = re.compile(rb"(?=(BZh[1-9]1AY&SY|\xfd7zXZ\x00))", re.DOTALL)


def _packed(data: bytes) -> Iterator[bytes]:
    """bzip2 and xz, wherever a header of theirs stands."""
    for place in _PACKED.finditer(data):
        unpack = bz2.BZ2Decompressor() if place[1].startswith(b"BZh") else lzma.LZMADecompressor()
        try:
            yield unpack.decompress(data[place.start() :], LARGEST)
        except (OSError, lzma.LZMAError):
            continue


_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


def _zstandard(data: bytes) -> Iterator[bytes]:
    """Zstandard frames: what DuckDB writes when it spills."""
    place = data.find(_ZSTANDARD)
    while place >= 0:
        frame = data[place : _end_of_frame(data, place)]
        try:
            with pa.CompressedInputStream(io.BytesIO(frame), "zstd") as stream:
                yield stream.read(LARGEST)
        except (OSError, pa.ArrowException):
            pass
        place = data.find(_ZSTANDARD, place + 4)


def _end_of_frame(data: bytes, start: int) -> int:
    """Where a frame ends: the decoder refuses what follows it. RFC 8878, section 3.1.1 (https://www.rfc-editor.org/rfc/rfc8878)."""
    flags = data[start + 4] if start + 4 < len(data) else 0
    single = flags >> 5 & 1
    size_field = (1 if single else 0, 2, 4, 8)[flags >> 6]
    at = start + 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + size_field
    last = False
    while not last and at + 3 <= len(data):
        header = int.from_bytes(data[at : at + 3], "little")
        last = bool(header & 1)
        at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
    return at + (4 if flags & 4 else 0)


_PICKLE: Final = re.compile(rb"(?=\x80[\x02-\x05])", re.DOTALL)


def _pickled(data: bytes) -> Iterator[bytes]:
    """The texts and bytes in pickles, from their opcodes; the first protocols have no mark, so the beginning is tried as well."""
    stream = io.BytesIO(data)
    for start in {0, *(place.start() for place in _PICKLE.finditer(data))}:
        parts = []
        stream.seek(start)
        try:
            for _, argument, _ in pickletools.genops(stream):
                if isinstance(argument, str):
                    parts.append(argument.encode("utf-8", "surrogatepass"))
                    parts.append(argument.encode("latin-1", "replace"))
                elif isinstance(argument, bytes | bytearray):
                    parts.append(bytes(argument))
        except Exception:  # noqa: BLE001, S110 (any bytes may stand here; what came before counts)
            pass
        if parts:
            yield b"\n".join(parts)


_BACKSLASHED: Final = re.compile(rb"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|\\([nrt\\'\"/])")
_ENTITY: Final = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-z]{2,8});")
_NUMBERED: Final = (re.compile(rb"%([0-9A-Fa-f]{2})"), re.compile(rb"=([0-9A-F]{2})"))
_SHORT: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _escaped(data: bytes) -> Iterator[bytes]:
    """What JSON and Python, HTML, URLs, and mail write for a character; each by itself, because they would spoil one another."""

    def plain(hit: re.Match[bytes]) -> bytes:
        if hit[1]:
            return chr(int(hit[1], 16)).encode("utf-8", "surrogatepass")
        return bytes([int(hit[2], 16)]) if hit[2] else _SHORT.get(hit[3], hit[3])

    if _BACKSLASHED.search(data):
        yield _BACKSLASHED.sub(plain, data)
    if _ENTITY.search(data):
        yield html.unescape(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    for numbered in _NUMBERED:
        if numbered.search(data):
            yield numbered.sub(lambda hit: bytes([int(hit[1], 16)]), data)


COVERINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": lambda data: data,
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 in a line": lambda data: b'{"data": "x' + base64.b64encode(b"ab" + data).rstrip(b"=") + b'"}',
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: b"0x" + data.hex().upper().encode(),
    "gzip": gzip.compress,
    "zlib": lambda data: b"..." + zlib.compress(data) + b"...",
    "zlib, fast": lambda data: zlib.compress(data, 1),
    "zstandard": lambda data: b"...." + bytes(pa.compress(data, "zstd", asbytes=True)),
    "bzip2": lambda data: b"..." + bz2.compress(data) + b"...",
    "xz": lambda data: b"..." + lzma.compress(data) + b"...",
    "URL": lambda data: "".join(f"%{byte:02X}" for byte in data).encode(),
    "Python": lambda data: repr(data).encode(),
}
"""Coverings that `found_in` takes off, by name: for its own test."""

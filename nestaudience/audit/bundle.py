"""The bundle that an auditor takes away: the evidence as bytes, the frames as files, a verifier, and a signed manifest.

An export reads. It writes no entry into the log: an auditor may have a copy that nobody may write, and an entry would make every bundle older than
its log. The log is always whole, because a part of it proves nothing; a period chooses rows of frames.

Layout (all text UTF-8):

    README.txt               what this is, in Swedish and English
    verify.py                the second verifier, to be read and run without this package
    verifier-keys.txt        the log's public keys, one a line, current first
    log/entries.jsonl        one line an entry: its bytes as they were hashed; an empty line where bytes were taken out
    log/leaves.bin           32 bytes an entry: its leaf hash as kept
    log/checkpoints.jsonl    one line a checkpoint: {"size": entries, "note": the signed text}
    log/membership.bin       one record a request: id (16 bytes), count (8 bytes, big-endian), count x 32 bytes of sorted leaves
    frames/NAME.csv|parquet|json, columns.json
    manifest.json            every other file with size and SHA-256
    manifest.note            the log's signature over SHA-256(manifest.json), under the name ORIGIN/bundle

The evidence streams; a frame is as large in memory as its rows.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import pandas as pd

from nestaudience.audit.catalogue import FRAMES
from nestaudience.audit.columns import ALL, Filters
from nestaudience.audit.files import columns_document, document, small_transfers, suppressed, write_csv, write_json, write_parquet
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.entries import EntryType, utc_text
from nestaudience.ledger.keys import sync_directory, vkey
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.merkle import HASH_SIZE

FORMAT: Final = "nestaudience-bundle/1"
Note = Callable[[str, str, int], None]
"""Told of progress: step, what, how many more."""

_BLOCK: Final = 1 << 20
_ID_SIZE: Final = 16
_README: Final = """\
Revisionspaket ur överföringsloggen {origin}
Skapat {at} av nestaudience {version}. Loggen har {entries} poster.

Så här granskar du det: läs verify.py (en fil, kräver Python 3.11 och paketet cryptography) och kör
    python verify.py DENNA-MAPP --public-key NYCKEL-SOM-DU-REDAN-HAR --checkpoint KONTROLLPUNKT-SOM-DU-SPARAT
Jämför verifier-keys.txt med den nyckel du redan har: kopian här skrevs av den som gjorde paketet.
Mappen log/ är bevisningen, byte för byte och hel. Mappen frames/ är till för läsning: där anges inga antal personer mellan 1 och 9
(cellen är tom och kolumnen under_10 säger vilken), och det som skulle röja dem är avrundat till tiotal (kolumnen in_tens säger vad).
Period för frames/: {period}. Kolumnernas betydelse: columns.json.
I CSV-filerna står en apostrof före text som ett kalkylblad annars skulle räkna på eller avrunda. Tider är UTC.

Bundle from the transfer log {origin}
Made {at} by nestaudience {version}. The log has {entries} entries.

How to examine it: read verify.py (one file; it needs Python 3.11 and the package cryptography) and run
    python verify.py THIS-FOLDER --public-key A-KEY-THAT-YOU-HOLD --checkpoint A-CHECKPOINT-THAT-YOU-KEPT
Compare verifier-keys.txt with the key that you already hold: this copy was written by whoever made the bundle.
log/ is the evidence, byte for byte and whole. frames/ is for reading: it names no count of people between 1 and 9 (the cell is
empty, and the column under_10 says which), and what would give one away is rounded to tens (the column in_tens says what).
Period of frames/: {period}. What the columns mean: columns.json.
In CSV files an apostrophe stands before text that a spreadsheet would calculate or round. Times are UTC.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: where, how many entries and requests, how many files and bytes, and the manifest's SHA-256 (hexadecimal)."""

    path: Path
    entries: int
    batches: int
    files: int
    size: int
    manifest: str
    keys: tuple[str, ...]


def export(
    reader: LogReader,
    signer: Signer,
    out: Path,
    *,
    now: datetime,
    version: str,
    filters: Filters = ALL,
    note: Note = lambda step, what, more: None,
) -> Exported:
    """Write a bundle to a new folder, or to a new file when the name ends with `.zip`. Nothing stands under the name until everything is written.

    Raises `NeedsFix`: `export_exists`, `export_unwritable`; `MustStop`: `entry_malformed` (an entry whose bytes cannot stand on one line), and as
    reading the log does.
    """
    if out.exists():
        raise NeedsFix("export_exists", "the bundle", "choose a name that is not there yet; nothing is overwritten")
    with _partial(out) as folder:
        entries, batches = _write_log(reader, folder / "log", note)
        keys = tuple(vkey(each.name, each.public) for each in signer.verifiers)
        (folder / "verifier-keys.txt").write_text("\n".join(keys) + "\n", "utf-8")
        shutil.copyfile(Path(__file__).with_name("second_verifier.py"), folder / "verify.py")
        _write_frames(reader, folder, filters, now, entries, note)
        period = " – ".join(day.isoformat() if day else "…" for day in (filters.first, filters.last))
        words = {"origin": signer.origin, "at": utc_text(now), "version": version, "entries": entries, "period": period}
        (folder / "README.txt").write_text(_README.format(**words), "utf-8")
        files = list(_listed(folder))
        made: dict[str, object] = {"format": FORMAT, **words, "batches": batches, "files": files}
        manifest = document(made)
        (folder / "manifest.json").write_bytes(manifest)
        digest = sha256(manifest).digest()
        (folder / "manifest.note").write_text(signer.sign_manifest(digest), "utf-8")
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    return Exported(out, entries, batches, len(files) + 2, size, digest.hex(), keys)


def _write_log(reader: LogReader, folder: Path, note: Note) -> tuple[int, int]:
    """The evidence up to the entries that there are now; how many entries and requests."""
    folder.mkdir()
    last, batches, count = reader.count() - 1, list[bytes](), 0
    mark = f'"type":"{EntryType.BATCH.value}"'.encode()
    with (folder / "entries.jsonl").open("wb") as lines, (folder / "leaves.bin").open("wb") as leaves:
        for _, body, leaf in reader.bodies(0, last):
            if b"\n" in body:
                raise MustStop(
                    "entry_malformed", f"entry {count}", "run `nestaudience audit verify`; the entry's bytes are not an entry"
                )
            lines.write(body + b"\n")
            leaves.write(leaf)
            if mark in body:
                batches.append(_batch_id(body))
            count += 1
            note("entries", "", 1)
    with (folder / "checkpoints.jsonl").open("w", encoding="utf-8") as file:
        for size, text in reader.notes():
            if size <= last + 1:
                file.write(json.dumps({"size": size, "note": text}, ensure_ascii=False) + "\n")
    with (folder / "membership.bin").open("wb") as file_of_leaves:
        for batch_id in batches:
            kept = reader.batch_leaves(batch_id)
            if kept is not None and len(batch_id) == _ID_SIZE:
                file_of_leaves.write(batch_id + (len(kept) // HASH_SIZE).to_bytes(8, "big") + kept)
            note("requests", "", 1)
    return count, len(batches)


def _batch_id(body: bytes) -> bytes:
    """The id in the bytes of a batch entry; empty where there is none, so that its leaves are missed."""
    try:
        return bytes.fromhex(str(json.loads(body)["fields"]["batch_id"]))
    except (ValueError, KeyError, TypeError):
        return b""


def _write_frames(reader: LogReader, folder: Path, filters: Filters, now: datetime, entries: int, note: Note) -> None:
    (folder / "frames").mkdir()

    def made(name: str) -> pd.DataFrame:
        kind = FRAMES[name]
        return kind.make(reader.entries(0, entries - 1, types=kind.types) if entries else iter(()), filters, now)

    apart = small_transfers(made("batches"))
    for name, kind in FRAMES.items():
        table = suppressed(name, made(name), kind.columns, apart)
        for suffix, write in (("csv", write_csv), ("parquet", write_parquet), ("json", write_json)):
            write(table, folder / "frames" / f"{name}.{suffix}")
        note("frames", "", 1)
    (folder / "columns.json").write_bytes(document(columns_document({name: kind.columns for name, kind in FRAMES.items()})))


def _listed(folder: Path) -> Iterator[dict[str, object]]:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest = sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        yield {"path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "sha256": digest.hexdigest()}


@contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """A private folder beside `out` that becomes `out` at the end, and goes away when anything fails."""
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    packed = folder.with_suffix(".zip")
    failed = False
    try:
        folder.mkdir(mode=0o700, parents=True)
        yield folder
        made = _packed(folder, packed) if out.suffix == ".zip" else folder
        if out.exists():
            raise NeedsFix("export_exists", "the bundle", "choose a name that is not there yet; nothing is overwritten")
        made.rename(out)
        sync_directory(out.parent)
    except OSError:
        failed = True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if packed.exists():
            packed.unlink()
    if failed:
        raise NeedsFix("export_unwritable", "the bundle", "choose a folder that this user may write, with room on the disk")


def _packed(folder: Path, packed: Path) -> Path:
    with zipfile.ZipFile(packed, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in _paths(folder):
            how = zipfile.ZIP_STORED if path.suffix in (".bin", ".parquet") else zipfile.ZIP_DEFLATED
            archive.write(path, path.relative_to(folder).as_posix(), how)
    return packed


def _paths(folder: Path) -> Sequence[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())

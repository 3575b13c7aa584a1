"""Bundles in memory for tests: the files of one, made from evidence that may have been tampered with, and a root that is walked like a folder."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from nestaudience.audit import second_verifier
from nestaudience.audit.verify import Evidence
from nestaudience.ledger.checkpoint import Signer

Files = dict[str, bytes]


@dataclass(frozen=True)
class Root:
    """A folder in memory, as much of pathlib as the second verifier uses."""

    files: Files
    name: str = ""

    def iterdir(self) -> Iterator["Root"]:
        return (Root(self.files, name) for name in self.files)

    def is_file(self) -> bool:
        return self.name != ""

    def joinpath(self, name: str) -> "Root":
        return Root(self.files, name)

    def open(self, _mode: str) -> BinaryIO:
        return io.BytesIO(self.files[self.name])


def files_of(evidence: Evidence) -> Files:
    """The evidence in the layout of a bundle."""
    rows = list(evidence.entries)
    notes = [json.dumps({"size": size, "note": note}, ensure_ascii=False) for size, note in evidence.notes]
    members = [batch_id + (len(kept) // 32).to_bytes(8, "big") + kept for batch_id, kept in evidence.batch_leaves]
    return {
        "log/entries.jsonl": b"".join(body + b"\n" for _, body, _ in rows),
        "log/leaves.bin": b"".join(leaf for _, _, leaf in rows),
        "log/checkpoints.jsonl": "".join(line + "\n" for line in notes).encode(errors="surrogatepass"),
        "log/membership.bin": b"".join(members),
    }


def with_manifest(files: Files, signer: Signer) -> Files:
    """These files with a manifest that lists them, signed."""
    listed = [{"path": name, "size": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()]
    manifest = json.dumps({"files": listed}).encode()
    return files | {"manifest.json": manifest, "manifest.note": signer.sign_manifest(sha256(manifest).digest()).encode()}


def second(files: Files, keys: list[str], brought: list[str] | None = None) -> second_verifier.Verifier:
    """What the second verifier finds."""
    check = second_verifier.Verifier(Root(files), [second_verifier.parse_key(key) for key in keys], brought or [])
    check.run()
    return check


def read_back(folder: Path) -> Evidence:
    """The evidence in a bundle's folder, for the package's own verification."""
    bodies = (folder / "log" / "entries.jsonl").read_bytes().split(b"\n")[:-1]
    leaves = (folder / "log" / "leaves.bin").read_bytes()
    notes = [json.loads(line) for line in (folder / "log" / "checkpoints.jsonl").read_text("utf-8").splitlines()]
    members, packed = [], (folder / "log" / "membership.bin").read_bytes()
    while packed:
        size = int.from_bytes(packed[16:24], "big") * 32
        members.append((packed[:16], packed[24 : 24 + size]))
        packed = packed[24 + size :]
    rows = [(index, body, leaves[index * 32 : index * 32 + 32]) for index, body in enumerate(bodies)]
    return Evidence(rows, [(note["size"], note["note"]) for note in notes], members)

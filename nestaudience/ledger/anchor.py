"""Anchors: copies of signed checkpoints that leave this machine, so that not even its owner can write the log anew unseen.

A directory on another machine, or a mounted bucket that is written once, takes one small file a run. It signs nothing and proves nothing by
itself: `audit verify --checkpoint FILE` compares.
"""

from pathlib import Path

from nestaudience.errors import NeedsFix
from nestaudience.ledger.checkpoint import SignedCheckpoint


def anchor(directory: Path, signed: SignedCheckpoint) -> None:
    """Write a checkpoint into the directory under its size; a file that is there already is left as it is. Where that is another checkpoint of
    this size (one that a recovery gave up), the new one's name has the beginning of its root as well.

    Raises `NeedsFix`: `anchor_unwritable`.
    """
    name = f"checkpoint-{signed.size:012d}"
    failed = False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for place in (directory / f"{name}.txt", directory / f"{name}-{signed.root.hex()[:8]}.txt"):
            if _put(place, signed.note):
                return
    except (OSError, UnicodeDecodeError):
        failed = True
    if failed:
        raise NeedsFix(
            "anchor_unwritable", "ledger.anchor_directory", "make it writable; tonight's checkpoint did not leave this machine"
        )


def _put(place: Path, note: str) -> bool:
    """True when the file holds this note now."""
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(note)
    except FileExistsError:
        return place.read_text("utf-8") == note
    return True

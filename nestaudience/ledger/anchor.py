"""Anchors: copies of signed checkpoints that leave this machine, so that not even its owner can write the log anew unseen.

A directory on another machine, or a mounted bucket that is written once, takes one small file a run. It signs nothing and proves nothing by
itself: `audit verify --checkpoint FILE` compares.
"""

from pathlib import Path

from nestaudience.errors import NeedsFix
from nestaudience.ledger.checkpoint import SignedCheckpoint


def anchor(directory: Path, signed: SignedCheckpoint) -> None:
    """Write a checkpoint into the directory under its size; a file that is there already is left as it is.

    Raises `NeedsFix`: `anchor_unwritable`.
    """
    failed = False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"checkpoint-{signed.size:012d}.txt").open("x", encoding="utf-8") as file:
            file.write(signed.note)
    except FileExistsError:
        return
    except OSError:
        failed = True
    if failed:
        raise NeedsFix(
            "anchor_unwritable", "ledger.anchor_directory", "make it writable; tonight's checkpoint did not leave this machine"
        )

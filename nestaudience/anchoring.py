"""The end of a run leaves this machine: its checkpoint and the noes that are new, with an entry that says so.

It keeps nothing and decides nothing; what cannot leave fails no run that is over.
"""

from pathlib import Path

from nestaudience.errors import NestAudienceError
from nestaudience.ledger.anchor import anchor
from nestaudience.ledger.checkpoint import SignedCheckpoint
from nestaudience.ledger.entries import Context, EntryType, Value
from nestaudience.ledger.log import TransferLog
from nestaudience.parts import Parts
from nestaudience.remembering import anchor_noes


def let_leave(
    parts: Parts, log: TransferLog, context: Context, signed: SignedCheckpoint, directory: Path
) -> tuple[NestAudienceError, ...]:
    """Write both into the directory, and the entry into the log; what went wrong (`anchor_unwritable`). Raises what the ledger raises."""
    failure: NestAudienceError | None = None
    try:
        anchor(directory, signed)
        noes = anchor_noes(parts, directory)
    except NestAudienceError as error:
        failure = error.with_traceback(None)
    if failure is not None:
        return (failure,)
    fields: dict[str, Value] = {"kind": "directory", "size": signed.size, "root": signed.root.hex(), **noes}
    log.append_and_seal([(EntryType.ANCHOR, context, fields)])
    return ()

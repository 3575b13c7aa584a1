"""What the auditor and the person ask: verify, list, show, export. It reads the ledger and changes nothing.

In a notebook, every frame comes from a ledger that is opened for reading:

    from datetime import UTC, datetime
    from pathlib import Path
    from nestaudience import audit, wiring

    evidence = wiring.open_evidence(Path("nestaudience.toml"), lambda: datetime.now(UTC), read_only=True)
    google = audit.frame("transfers", evidence.reader, audit.Filters(recipient="google"))
    why = audit.frame("funnel", evidence.reader)
    audit.FRAMES["transfers"].columns["sent"].meaning

Frames: `transfers` `batches` `funnel` `removals` `open_removals` `lookups` `nights` `sizes` `changes`. Columns are
Arrow-backed, and each says what it means, with its unit, in `FRAMES`. A frame verifies nothing: run `nestaudience audit
verify` first. These names are loaded when they are first used: pandas is slow to load, and most commands need none of this.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nestaudience.audit.catalogue import FRAMES as FRAMES
    from nestaudience.audit.catalogue import FrameKind as FrameKind
    from nestaudience.audit.catalogue import frame as frame
    from nestaudience.audit.columns import Column as Column
    from nestaudience.audit.columns import Filters as Filters

_HOME: Final = {"FRAMES": "catalogue", "FrameKind": "catalogue", "frame": "catalogue", "Column": "columns", "Filters": "columns"}

__all__ = ["FRAMES", "Column", "Filters", "FrameKind", "frame"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(import_module(f"nestaudience.audit.{_HOME[name]}"), name)

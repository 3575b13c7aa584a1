"""Builds small, complete ledgers from a seed: keys, head, database, and nights with transfers.

The same seed gives the same bytes, so that a ledger file of a release can be built once and kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from sqlalchemy.engine import Engine

from nestaudience.audit.verify import Evidence
from nestaudience.ledger.checkpoint import Signer, Verifier
from nestaudience.ledger.engine import Place, open_ledger
from nestaudience.ledger.entries import Context, EntryType
from nestaudience.ledger.keys import KeyRing, new_keys
from nestaudience.ledger.log import NewEntry, TransferLog, keep_batch_leaves
from nestaudience.ledger.merkle import HASH_SIZE, leaf_hash, membership_root
from nestaudience.vocabulary import Environment, RunKind

ORIGIN = "nestit.example/nestaudience/sandbox"
START = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


class Chance:
    """Bytes that look random and are the same every time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            out += sha256(self._seed + self._drawn.to_bytes(8, "big")).digest()
            self._drawn += 1
        return out[:size]


class Clock:
    """A clock that moves 250 ms at every look, and can be set."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=250)
        return self.now


def context(run_id: str = "run-1", kind: RunKind = RunKind.NIGHTLY, controller: str = "bok") -> Context:
    return Context(run_id, kind, controller, "2026-01", "0.1.0", "0123456789ab", sha256(b"config").hexdigest(), "service")


def members(chance: Chance, count: int) -> bytes:
    return b"".join(sorted(leaf_hash(chance(HASH_SIZE)) for _ in range(count)))


@dataclass
class BuiltLedger:
    """One installation in a directory; its ledger may lie elsewhere. `log` is its open writer; `reopen` is what the next process would do."""

    directory: Path
    seed: str = "ledger"
    clock: Clock = field(default_factory=Clock)
    place: Place | None = None

    def __post_init__(self) -> None:
        self.chance = Chance(self.seed)
        self.keys: KeyRing = new_keys(Chance(self.seed + " keys"))
        self.path = self.place or self.directory / "ledger.db"
        self.head_path = self.directory / "head"
        self.verifiers = [Verifier.parse(text) for text in self.keys.vkeys(ORIGIN)]
        self.reopen()

    def reopen(self) -> TransferLog:
        self.engine: Engine = open_ledger(self.path, environment=Environment.SANDBOX, origin=ORIGIN, clock=self.clock)
        self.signer = Signer(self.keys.signing_key(), ORIGIN, self.head_path)
        self.log = TransferLog(self.engine, self.signer, clock=self.clock, randomness=self.chance)
        return self.log

    def evidence(self) -> Evidence:
        """The ledger's evidence as lists, to be tampered with."""
        rows = list(self.log.bodies())
        ids = [bytes.fromhex(entry["fields"]["batch_id"]) for entry in self.log.entries(types=frozenset({EntryType.BATCH}))]
        return Evidence(rows, self.log.notes(), [(batch_id, self.log.batch_leaves(batch_id) or b"") for batch_id in ids])

    def heartbeats(self, count: int) -> None:
        for _ in range(count):
            self.log.append_and_seal([(EntryType.HEARTBEAT, context(), {})])

    def intent(self, transfer: str, *, additions: int, removals: int, list_id: str = "list-1") -> NewEntry:
        fields = {
            "transfer_id": transfer,
            "audience": f"bok/{list_id}/google",
            "controller": "bok",
            "recipient": "Google Ireland Ltd",
        }
        fields |= {"destination": "google_data_manager", "ad_account": "1234567890", "list_id": list_id}
        return EntryType.TRANSFER_INTENT, context(), fields | {"planned_removals": removals, "planned_additions": additions}

    def batch(self, transfer: str, operation: str, leaves: bytes, *, list_id: str = "list-1", **more: object) -> str:
        """Log a batch as delivery does, sealed; its id."""
        batch_id = self.chance(16)
        fields = {"transfer_id": transfer, "batch_id": batch_id.hex(), "audience": f"bok/{list_id}/google", "list_id": list_id}
        fields |= {"operation": operation, "number": 1, "count": len(leaves) // HASH_SIZE, **more}
        entry = (EntryType.BATCH, context(), fields | {"membership_root": membership_root(leaves).hex()})
        self.log.append_and_seal([entry], lambda connection, _: keep_batch_leaves(connection, batch_id, leaves))
        return batch_id.hex()

    def result(self, transfer: str, batch_id: str, outcome: str = "accepted") -> None:
        fields = {"transfer_id": transfer, "batch_id": batch_id, "outcome": outcome, "code": "ok", "request_id": "r-1"}
        self.log.append([(EntryType.BATCH_RESULT, context(), fields)])

    def status(self, batch_id: str, state: str, records: int = 1) -> None:
        self.log.append([(EntryType.PLATFORM_STATUS, context(), {"batch_id": batch_id, "state": state, "records": records})])

    def night(self, night: date, *, additions: int = 3, removals: int = 0, list_id: str = "list-1") -> None:
        """One whole night: removals first, then additions, all accepted."""
        run, transfer = context(f"run-{night}"), f"transfer-{night}-{list_id}"
        self.clock.now = datetime(night.year, night.month, night.day, 2, 30, tzinfo=UTC)
        started = (EntryType.RUN_STARTED, run, {"night": night.isoformat()})
        self.log.append_and_seal([started, self.intent(transfer, additions=additions, removals=removals, list_id=list_id)])
        for operation, count in (("remove", removals), ("add", additions)):
            if count:
                batch_id = self.batch(transfer, operation, members(self.chance, count), list_id=list_id)
                self.result(transfer, batch_id)
        self.log.append_and_seal([(EntryType.RUN_FINISHED, run, {"night": night.isoformat(), "outcome": "done"})])


def nights(first: date, count: int) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range(count))

"""What a run works with, opened: the ledger, the store, the keys, the destinations. `wiring` opens them; `sync` and the commands use them.

It opens nothing and knows no adapter: stores and destinations stand here as their ports.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Engine

from nestaudience.config.schema import Document, LedgerTable
from nestaudience.config.settings import Settings
from nestaudience.customers.port import CustomerStore
from nestaudience.destinations.port import Destination
from nestaudience.errors import NestAudienceError
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.keys import KeyRing, Randomness
from nestaudience.ledger.log import LogReader, TransferLog
from nestaudience.ledger.memory import Memory
from nestaudience.screening.engine import EngineLimits
from nestaudience.vocabulary import Environment

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The ledger, opened: what an auditor's commands need, and no more."""

    environment: Environment
    table: LedgerTable
    engine: Engine
    memory: Memory
    reader: LogReader
    document: Document
    base: Path


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a run works with. `absent`: destinations that could not be opened, with what a person must do."""

    settings: Settings
    evidence: Evidence
    store: CustomerStore
    keys: KeyRing
    tokens: Tokens
    signer: Signer
    destinations: dict[str, Destination]
    absent: dict[str, NestAudienceError]
    limits: EngineLimits
    clock: Clock
    commit: str
    randomness: Randomness = field(repr=False)

    @property
    def memory(self) -> Memory:
        """What the ledger remembers."""
        return self.evidence.memory

    def open_log(self) -> TransferLog:
        """The transfer log, for the one that writes it."""
        return TransferLog(self.evidence.engine, self.signer, clock=self.clock, randomness=self.randomness)

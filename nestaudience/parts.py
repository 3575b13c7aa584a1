"""What a run works with, opened: the ledger, the store, the keys, the destinations. `wiring` opens them; `sync` and the commands use them.

It opens nothing and knows no adapter: stores and destinations stand here as their ports.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Engine

import nestaudience
from nestaudience.config.schema import Document, LedgerTable
from nestaudience.config.settings import Settings
from nestaudience.customers.port import CustomerStore
from nestaudience.destinations.port import Destination
from nestaudience.errors import NestAudienceError
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.entries import Context
from nestaudience.ledger.keys import KeyRing, Randomness
from nestaudience.ledger.log import LogReader, TransferLog
from nestaudience.ledger.memory import Memory
from nestaudience.screening.engine import EngineLimits
from nestaudience.vocabulary import Environment, RunKind

Clock = Callable[[], datetime]


def context_of(settings: Settings, commit: str, run_id: str, kind: RunKind, actor: str, controller: str = "") -> Context:
    """The context of entries; for whoever has not opened everything yet. An empty controller means the whole group."""
    return Context(
        run_id=run_id,
        run_kind=kind,
        controller=controller,
        policy_version=settings.policy.version,
        software_version=nestaudience.__version__,
        commit=commit,
        config_digest=settings.digest,
        actor=actor,
    )


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

    def context(self, run_id: str, kind: RunKind, actor: str, controller: str = "") -> Context:
        """What every entry of a run says of where it comes from."""
        return context_of(self.settings, self.commit, run_id, kind, actor, controller)

    def open_log(self) -> TransferLog:
        """The transfer log, for the one that writes it."""
        return TransferLog(self.evidence.engine, self.signer, clock=self.clock, randomness=self.randomness)

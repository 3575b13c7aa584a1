"""From a configuration file to opened parts: the only module that knows the configuration and the adapters.

Secrets are read here, at the start of each run, by name. A destination whose secret is missing is left out with its error; everything else still
opens. It decides nothing and sends nothing.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from nestaudience.config.load import from_document, from_text, ledger_of, parse
from nestaudience.config.schema import LedgerTable
from nestaudience.config.settings import Settings
from nestaudience.config.standing import still_needed
from nestaudience.destinations.port import Destination
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import Place, PostgresLedger, open_ledger, open_older
from nestaudience.ledger.entries import uuid7
from nestaudience.ledger.grants import grants, may_change_evidence
from nestaudience.ledger.keys import KeyRing, Randomness, keys_from_text, load_keys
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.memory import RECOVERING, Memory
from nestaudience.ledger.migrate import Migrated, migrate
from nestaudience.parts import Clock as Clock
from nestaudience.parts import Evidence as Evidence  # handed on: whoever opens parts has their types
from nestaudience.parts import Parts as Parts
from nestaudience.parts import context_of
from nestaudience.screening.engine import EngineLimits
from nestaudience.stores import open_store
from nestaudience.transports import open_destination, secret
from nestaudience.vocabulary import RunKind


def open_evidence(config: Path, clock: Clock, *, read_only: bool = False) -> Evidence:
    """Open the ledger that a configuration names. Raises `NeedsFix` and `MustStop` as the ledger and the configuration do."""
    document = parse(config)
    base = config.absolute().parent
    environment, table = ledger_of(document)
    place = _place(table, base)
    if not read_only and isinstance(place, Path):
        _make_directory(place.parent)
    engine = open_ledger(place, environment=environment, origin=table.origin, clock=clock, read_only=read_only)
    return Evidence(environment, table, engine, Memory(engine), LogReader(engine), document, base)


def migrate_ledger(
    config: Path, *, clock: Clock, actor: str, backed_up: bool = False, randomness: Randomness = os.urandom
) -> Migrated:
    """Bring the ledger that a configuration names to this program's schema. Raises as `open_ledger`, `open_keys` and `migrate` do."""
    document = parse(config)
    base = config.absolute().parent
    environment, table = ledger_of(document)
    settings = from_document(document)
    place = _place(table, base)
    engine = open_older(place, environment=environment, origin=table.origin)
    try:
        keys = open_keys(Evidence(environment, table, engine, Memory(engine), LogReader(engine), document, base))
        context = context_of(settings, commit_of(), uuid7(clock(), randomness(10)), RunKind.MANUAL, actor)
        signer = _signer(keys, table, base)
        return migrate(engine, place, signer, context, clock=clock, randomness=randomness, backed_up=backed_up)
    finally:
        engine.dispose()


def ledger_grants(config: Path, role: str) -> str:
    """The SQL that gives a role what the runs need of the ledger that a configuration names. It connects to nothing.

    Raises `NeedsFix`: `role_malformed`, `ledger_not_postgres`, and what `ledger_of` raises.
    """
    _, table = ledger_of(parse(config))
    if table.url is None:
        raise NeedsFix("ledger_not_postgres", "ledger.url", "only a ledger on PostgreSQL knows roles; this one is a file")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", role):
        raise NeedsFix("role_malformed", "the role", "name it in lower-case letters, digits and underscores")
    return grants(table.tables_schema, role)


def evidence_can_be_changed(evidence: Evidence) -> bool:
    """True when the runs connect to a ledger on PostgreSQL as somebody who may change its evidence. Raises as the ledger does."""
    return may_change_evidence(evidence.engine)


def _place(table: LedgerTable, base: Path) -> Place:
    """Where the ledger lies. Raises `NeedsFix`: `secret_missing`."""
    if table.url is None:
        return base / (table.path or "")
    return PostgresLedger(secret(table.url, base), table.tables_schema)


def open_signer(evidence: Evidence) -> Signer:
    """The signer of an opened ledger. Raises `NeedsFix` when the keys are missing or readable by others."""
    return _signer(open_keys(evidence), evidence.table, evidence.base)


def _signer(keys: KeyRing, table: LedgerTable, base: Path) -> Signer:
    return Signer(keys.signing_key(), table.origin, base / table.head, keys.older_signing_keys())


@contextmanager
def open_parts(config: Path, *, clock: Clock, randomness: Randomness = os.urandom) -> Iterator[Parts]:
    """Open everything that a configuration names, and close it again.

    Raises `NeedsFix` and `MustStop` only where nothing can run: no usable configuration, no ledger, no keys.
    """
    evidence = open_evidence(config, clock)
    try:
        with _opened(evidence, clock, randomness) as parts:
            yield parts
    finally:
        evidence.engine.dispose()


@contextmanager
def _opened(evidence: Evidence, clock: Clock, randomness: Randomness) -> Iterator[Parts]:
    settings = settings_in_use(evidence)
    keys = open_keys(evidence)
    signer = _signer(keys, evidence.table, evidence.base)
    _make_directory((evidence.base / evidence.table.head).parent)
    destinations, absent = open_destinations(settings, evidence)
    spill = settings.engine.spill_directory
    limits = EngineLimits(settings.engine.memory, settings.engine.threads, evidence.base / spill if spill else None)
    store = open_store(settings.store, evidence.base, frozenset(settings.screening.irrelevant_purposes))
    tokens = Tokens(keys.index.reveal())
    try:
        yield Parts(settings, evidence, store, keys, tokens, signer, destinations, absent, limits, clock, commit_of(), randomness)
    finally:
        for destination in destinations.values():
            destination.close()


def open_destinations(settings: Settings, evidence: Evidence) -> tuple[dict[str, Destination], dict[str, NestAudienceError]]:
    """The destinations by name, and what went wrong with those that could not be opened. Close them afterwards."""
    opened: dict[str, Destination] = {}
    absent: dict[str, NestAudienceError] = {}
    for name, table in settings.destinations.items():
        try:
            opened[name] = open_destination(table, evidence.environment, evidence.base)
        except NestAudienceError as error:
            absent[name] = error.with_traceback(None)
    return opened, absent


def settings_in_use(evidence: Evidence) -> Settings:
    """The configuration, mended from the last accepted one where it is wrong or forgets a list that still holds people."""
    text = evidence.memory.accepted_config()
    accepted = from_text(text) if text is not None else None
    settings = from_document(evidence.document, accepted)
    if accepted is None:
        return settings
    former = from_document(accepted)
    bound = evidence.memory.lists()
    if still_needed(settings, former, {remote.audience for remote in bound}).problems == settings.problems:
        return settings  # nothing was dropped, whoever may be on the lists: the memberships need not be counted
    sizes = evidence.memory.sizes(datetime.fromisoformat("9999-01-01T00:00:00+00:00"))
    needed = {remote.audience for remote in bound if sizes.get(remote.list_no) or (remote.state == RECOVERING and remote.list_id)}
    return still_needed(settings, former, needed)


def open_keys(evidence: Evidence) -> KeyRing:
    """The key ring. Raises `NeedsFix` when it is missing or readable by others."""
    return _read_keys(evidence.table, evidence.base)


def keys_alone(config: Path) -> tuple[KeyRing, LedgerTable]:
    """The key ring and the ledger's table of a configuration, whether there is a ledger yet or not. Raises as `parse` and `open_keys` do."""
    _, table = ledger_of(parse(config))
    return _read_keys(table, config.absolute().parent), table


def _read_keys(table: LedgerTable, base: Path) -> KeyRing:
    kind, _, place = table.keys.partition(":")
    if kind == "env":
        return keys_from_text(secret(table.keys, base))
    return load_keys(base / place)


def _make_directory(path: Path) -> None:
    failed = False
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        failed = True
    if failed:
        raise MustStop("ledger_unavailable", "the ledger's directory", "choose a directory that this user may write")


def commit_of() -> str:
    """The commit of the program that runs: from NESTAUDIENCE_COMMIT, else from the tree it runs in, else `unknown`."""
    named = os.environ.get("NESTAUDIENCE_COMMIT", "")
    git = Path(__file__).parents[1] / ".git"
    try:
        head = (git / "HEAD").read_text("ascii").strip()
        found = (git / head.removeprefix("ref: ")).read_text("ascii").strip() if head.startswith("ref: ") else head
    except (OSError, UnicodeDecodeError):
        found = ""
    commit = named or found
    return commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else "unknown"

"""What a report is made from, read from the log in one go: transfers with what their entries say of themselves, runs, and everything rare.

It judges nothing and hides nothing; the sections do. Times are UTC text as in the entries; nights and periods are days in Stockholm.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from sys import intern
from typing import Any, Final

from nestaudience.audit.columns import Filters, day_of
from nestaudience.audit.report.readable import texts_of
from nestaudience.audit.transfers import TRANSFER_TYPES, Transfer, read_transfers
from nestaudience.audit.verify import Verification
from nestaudience.config.settings import Settings
from nestaudience.ledger.checkpoint import Checkpoint
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import STOCKHOLM, Language, RunKind

Entries = Callable[[frozenset[EntryType] | None], Iterable[dict[str, Any]]]
"""Gives the decoded entries of these types in order, from the first, each time it is asked; None: all."""

RARE: Final = frozenset(
    {
        EntryType.CONFIG_CHANGED,
        EntryType.APPROVAL,
        EntryType.RELEASE,
        EntryType.INCIDENT,
        EntryType.LOOKUP,
        EntryType.ACCESS,
        EntryType.ERASURE,
        EntryType.RECTIFICATION,
        EntryType.SUPPRESSION,
        EntryType.BINDING_CHANGED,
        EntryType.LIST_CREATED,
        EntryType.LIST_DELETED,
        EntryType.EPOCH_OPENED,
        EntryType.KEY_EVENT,
        EntryType.REDACTION,
        EntryType.LEDGER_MIGRATED,
    }
)
"""Entries that are few, and kept as they are."""
_RUNS: Final = frozenset({EntryType.RUN_STARTED, EntryType.RUN_FINISHED, EntryType.SNAPSHOT, EntryType.ANCHOR})
NIGHTLY: Final = frozenset({RunKind.NIGHTLY.value, RunKind.SANDBOX.value})
_Rare = dict[EntryType, tuple[dict[str, Any], ...]]
_HEADER: Final = ("policy_version", "software_version", "commit", "config_digest")


@dataclass(frozen=True, slots=True)
class Sent:
    """A transfer, with what its intent's entry says of policy, program and configuration."""

    transfer: Transfer
    policy_version: str
    software_version: str
    commit: str
    config_digest: str


@dataclass(slots=True)
class Run:
    """One run. `outcome` is empty while it has no end; `anchors` are the kinds of places that its checkpoint went to."""

    index: int
    run_id: str
    kind: str
    night: str
    started_at: str
    actor: str
    policy_version: str
    software_version: str
    commit: str
    config_digest: str
    ended_at: str = ""
    outcome: str = ""
    exit_codes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    anchors: list[str] = field(default_factory=list)
    freshness_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """Everything, for the sections. `filters` say what was asked for (company and period); `now` is the time of making, UTC.

    `sent` and `runs` are those that were asked for; `every` is each transfer of the log, for what is open today; `rare` holds entries by type, of
    the period and company. `brought` counts checkpoints that were given to compare with.
    """

    language: Language
    settings: Settings
    verification: Verification
    brought: int
    head: Checkpoint | None
    filters: Filters
    now: datetime
    entries: Entries
    every: tuple[Sent, ...]
    sent: tuple[Sent, ...]
    runs: tuple[Run, ...]
    rare: Mapping[EntryType, tuple[dict[str, Any], ...]]
    begins: str
    ends: str

    def t(self, swedish: str, english: str) -> str:
        """The words in the report's language."""
        return swedish if self.language is Language.SV else english

    def of(self, *kinds: EntryType) -> list[dict[str, Any]]:
        """The rare entries of these types, in order of the log."""
        return sorted((entry for kind in kinds for entry in self.rare.get(kind, ())), key=lambda entry: int(entry["index"]))

    @property
    def first_night(self) -> date | None:
        """The first day that the report is about; None for a log without entries."""
        return self.filters.first or (day_of(self.begins) if self.begins else None)

    @property
    def last_night(self) -> date | None:
        """The last day that the report is about."""
        return self.filters.last or (day_of(self.ends) if self.ends else None)

    def company(self, key: str) -> str:
        """A company's legal name; its key where the configuration no longer has it; the group for ''."""
        known = self.settings.controllers.get(key)
        return known.legal_name if known is not None else key or self.t("hela gruppen", "the whole group")


def gather(
    entries: Entries,
    settings: Settings,
    verification: Verification,
    *,
    language: Language,
    filters: Filters,
    now: datetime,
    brought: int = 0,
    head: Checkpoint | None = None,
) -> Material:
    """Read the log. Raises what reading it raises."""
    headers: dict[str, tuple[str, ...]] = {}
    transfers = read_transfers(_noting(entries(TRANSFER_TYPES), headers))
    every = tuple(Sent(each, *headers.get(key, ("", "", "", ""))) for key, each in transfers.items())
    sent = tuple(each for each in every if _taken(each.transfer, filters))
    rest = _others(entries(RARE | _RUNS), filters)
    return Material(language, settings, verification, brought, head, filters, now, entries, every, sent, *rest)


def stockholm(at: str) -> str:
    """A time as people in Stockholm read it, to the second; empty for an empty one."""
    return datetime.fromisoformat(at).astimezone(STOCKHOLM).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def utc(at: str) -> str:
    """The same time in UTC, for a second line; with its date where that is another."""
    if not at:
        return ""
    there = datetime.fromisoformat(at).astimezone(UTC)
    return there.strftime("%H:%M:%S UTC" if there.date() == day_of(at) else "%Y-%m-%d %H:%M:%S UTC")


def night_of(run: Run) -> date | None:
    """The night that a run was for; None where its entry names none."""
    try:
        return date.fromisoformat(run.night)
    except ValueError:
        return None


def in_numbers(m: Material, caption: str) -> str:
    """The caption of a chart's table."""
    return m.t(f"{caption}, i siffror", f"{caption}, in numbers")


def _noting(entries: Iterable[dict[str, Any]], headers: dict[str, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """Pass entries on, and keep what the intents' headers say. Words that come again and again are kept once."""
    for entry in entries:
        if entry["type"] == EntryType.TRANSFER_INTENT:
            fields = entry["fields"]
            entry["fields"] = {name: intern(value) if isinstance(value, str) else value for name, value in fields.items()}
            headers.setdefault(str(fields.get("transfer_id", "")), tuple(intern(str(entry[name])) for name in _HEADER))
        yield entry


def _others(entries: Iterable[dict[str, Any]], filters: Filters) -> tuple[tuple[Run, ...], _Rare, str, str]:
    runs: dict[str, Run] = {}
    rare: dict[EntryType, list[dict[str, Any]]] = {}
    begins = ends = ""
    for entry in entries:
        kind, at = entry["type"], str(entry["at"])
        begins, ends = begins or at, at
        if kind == EntryType.RUN_STARTED:
            runs[entry["run_id"]] = _run(entry)
        elif entry["run_id"] in runs and kind in _RUNS:
            _more(runs[entry["run_id"]], entry)
        if kind in RARE and _asked_for(entry, filters):
            rare.setdefault(EntryType(kind), []).append(entry)
    taken = tuple(run for run in runs.values() if filters.take_day(day_of(run.started_at)))
    return taken, {kind: tuple(found) for kind, found in rare.items()}, begins, ends


def _run(entry: Mapping[str, Any]) -> Run:
    night = str(entry["fields"].get("night", ""))
    policy, software, commit, config = (str(entry[name]) for name in _HEADER)
    place = (int(entry["index"]), entry["run_id"], entry["run_kind"], night, entry["at"], entry["actor"])
    return Run(*place, policy, software, commit, config)


def _more(run: Run, entry: Mapping[str, Any]) -> None:
    fields = entry["fields"]
    if entry["type"] == EntryType.ANCHOR:
        run.anchors.append(str(fields.get("kind", "")))
    elif entry["type"] == EntryType.SNAPSHOT:
        run.freshness_unknown = fields.get("freshness") == "unknown"
    else:
        run.ended_at, run.outcome = str(entry["at"]), str(fields.get("outcome", ""))
        run.exit_codes = texts_of(fields, "exit_codes")
        run.errors = texts_of(fields, "errors")


def _taken(transfer: Transfer, filters: Filters) -> bool:
    place = {name: str(transfer.intent.get(name, "")) for name in ("recipient", "audience")}
    return filters.take(transfer.started_at, controller=transfer.controller, run=transfer.run_id, kind=transfer.run_kind, **place)


def _asked_for(entry: Mapping[str, Any], filters: Filters) -> bool:
    """True for an entry of the period that speaks of the company, or of the whole group."""
    mine = filters.controller is None or entry["controller"] in ("", filters.controller)
    return mine and filters.take_day(day_of(str(entry["at"])))

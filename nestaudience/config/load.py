"""From a TOML file to `Settings`: every problem at once, each with its place and its remedy, and none with a value.

A wrong part stops the audiences that depend on it and nothing else: what they need for removals is taken from the last accepted
configuration, which the ledger keeps. It opens no store, no ledger and no secret.
"""

import hashlib
import json
import tomllib
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from nestaudience.config.schema import DISCLOSED_INPUTS, LISTS, RECIPIENT_OF, SINGLES, Document, LedgerTable
from nestaudience.config.settings import Audience, Problem, Settings
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import AudienceKey, Environment, EventSource

_LOOPBACK: Final = ("localhost:", "127.0.0.1:", "[::1]:")


class _Reader:
    """Collects problems while it turns a document into typed tables. `places` says which entry of the file became which table."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[tuple[str, str, str, tuple[str, int] | None]] = []
        self.singles: dict[str, Any] = {}
        self.lists: dict[str, dict[int, Any]] = {}
        self.sources: dict[str, EventSource] = {}
        self.environment: Environment | None = None

    def add(self, path: str, message: str, remedy: str, item: tuple[str, int] | None = None) -> None:
        self.problems.append((path, message, remedy, item))

    def read(self) -> None:
        known = {*LISTS, *SINGLES, "environment", "sources"}
        for name in sorted(set(self.document) - known):
            self.add(name, "unknown table or key", "correct its name or take it out")
        try:
            self.environment = Environment(self.document.get("environment", ""))
        except ValueError:
            self.add("environment", "must be sandbox, staging or production", "name where this installation stands")
        for name, model in SINGLES.items():
            raw = self.document.get(name)
            required = any(field.is_required() for field in model.model_fields.values())
            if raw is None and required:
                self.add(name, "missing table", f"add [{name}]")
            else:
                self.singles[name] = self._validate(model, raw or {}, name, None)
        for name, model in LISTS.items():
            raw_items = self.document.get(name, [])
            if not isinstance(raw_items, list) or not raw_items:
                self.add(name, "missing or not a list of tables", f"add at least one [[{name}]]")
                raw_items = []
            values = {n: self._validate(model, item, f"{name}[{n}]", (name, n)) for n, item in enumerate(raw_items)}
            self.lists[name] = {n: value for n, value in values.items() if value is not None}
        sources = self.document.get("sources")
        if not isinstance(sources, dict) or not sources:
            self.add("sources", "missing table", "add [sources]: the store's names of sources, and what the rules call them")
            sources = {}
        for name, value in sources.items():
            try:
                self.sources[name] = EventSource(value)
            except ValueError:
                self.add(f"sources.{name}", "not a source that the rules know", "map it to one of: " + ", ".join(EventSource))

    def _validate(self, model: Any, raw: object, path: str, item: tuple[str, int] | None) -> Any:
        errors: list[tuple[str, str]] = []
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False, include_context=False):
                where = ".".join([path, *(str(part) for part in detail["loc"])])
                errors.append((where, _MESSAGES.get(detail["type"], "does not have the form that this key needs")))
        for where, message in errors:
            self.add(where, message, "see the comments in config/nestaudience.toml", item)
        return None


_MESSAGES: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "greater_than_equal": "below the smallest value allowed",
    "less_than_equal": "above the largest value allowed",
    "enum": "not one of the values allowed",
    "literal_error": "not one of the values allowed",
    "timezone_aware": "a time needs a zone",
}


def audience_key(controller: str, segment: str, recipient: str) -> AudienceKey:
    """The key of an audience."""
    return AudienceKey(f"{controller}/{segment}/{recipient}")


def parse(path: Path) -> Document:
    """Read the file. Raises `NeedsFix` when it cannot be read or is not TOML."""
    failure: tuple[str, str] | None = None
    document: Document = {}
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError:
        failure = ("config_unreadable", "name an existing file with --config")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        failure = ("config_not_toml", "correct the file's syntax; compare with config/nestaudience.toml")
    if failure:
        raise NeedsFix(failure[0], "the configuration file", failure[1])
    return document


def load(path: Path, accepted: Document | None = None) -> Settings:
    """The configuration in use. `accepted` is the last one that had no problem, from the ledger.

    Raises `NeedsFix` only where nothing can run: no readable file, and no environment or ledger table in it.
    """
    return from_document(parse(path), accepted)


def from_document(document: Document, accepted: Document | None = None) -> Settings:
    """As `load`, from a parsed file."""
    settings, problems, missing = _assemble(document)
    if accepted is None or not problems:
        if settings is None:
            raise _unusable(problems)
        return replace(settings, problems=tuple(problems))
    former, _, _ = _assemble(accepted)
    if former is None:
        raise _unusable(problems)
    if settings is None or missing:
        return replace(former, problems=tuple(replace(p, audiences=None) for p in problems), digest=digest_of(document))
    wrong = {problem.path.split(".")[0].split("[")[0] for problem in problems}
    affected = {key for problem in problems for key in (problem.audiences or former.audiences)}
    audiences = {**settings.audiences, **{key: former.audiences[key] for key in affected if key in former.audiences}}
    return replace(
        settings,
        audiences=audiences,
        destinations={**former.destinations, **settings.destinations},
        controllers={**former.controllers, **settings.controllers},
        recipients={**former.recipients, **settings.recipients},
        texts=former.texts if "texts" in wrong else settings.texts,
        sources=former.sources if "sources" in wrong else settings.sources,
        problems=tuple(problems),
    )


def _unusable(problems: list[Problem]) -> NeedsFix:
    listed = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
    return NeedsFix("config_unusable", "the configuration file", f"mend first: {listed}")


def digest_of(document: Document) -> str:
    """SHA-256 over the document in a form that does not depend on order or layout."""
    return hashlib.sha256(to_text(document).encode()).hexdigest()


def to_text(document: Document) -> str:
    """The document as JSON text, for the ledger."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def from_text(text: str) -> Document:
    """The document that `to_text` wrote; times come back as text, which the models read as well."""
    document: Document = json.loads(text)
    return document


def _plain(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError("a configuration holds text, numbers, truth values, dates, lists and tables")


def _assemble(document: Document) -> tuple[Settings | None, list[Problem], bool]:
    """Settings as far as they go (None without environment, ledger or store), all problems, and whether a whole table is missing."""
    reader = _Reader(document)
    reader.read()
    tables = {name: list(values.values()) for name, values in reader.lists.items()}
    audiences = _audiences(reader, tables)
    _check_tables(reader, tables)
    problems = [Problem(path, message, remedy, _affected(document, item)) for path, message, remedy, item in reader.problems]
    single = reader.singles
    missing = any(single.get(name) is None for name in SINGLES)
    if reader.environment is None or single.get("ledger") is None or missing:
        return None, problems, True
    settings = Settings(
        environment=reader.environment,
        policy=single["policy"],
        store=single["store"],
        ledger=single["ledger"],
        engine=single["engine"],
        screening=single["screening"],
        gates=single["gates"],
        controllers={c.key: c for c in tables["controllers"]},
        recipients={r.key: r for r in tables["recipients"]},
        texts=tuple(tables["texts"]),
        sources=reader.sources,
        destinations={d.name: d for d in tables["destinations"]},
        audiences=audiences,
        document=document,
        digest=digest_of(document),
    )
    return settings, problems, False


def _audiences(reader: _Reader, tables: dict[str, list[Any]]) -> dict[AudienceKey, Audience]:
    """Audiences whose every part is there; a missing part is a problem of that audience."""
    controllers = {c.key: c for c in tables["controllers"]}
    recipients = {r.key: r for r in tables["recipients"]}
    segments = {(s.controller, s.code): s for s in tables["segments"]}
    accounts = {(a.controller, a.destination): a for a in tables["ad_accounts"]}
    destinations = {d.name for d in tables["destinations"]}
    found: dict[AudienceKey, Audience] = {}
    for n, table in reader.lists["audiences"].items():
        place, item = f"audiences[{n}]", ("audiences", n)
        recipient = RECIPIENT_OF[table.destination]
        parts: dict[str, Any] = {
            "controller": controllers.get(table.controller),
            "segment": segments.get((table.controller, table.segment)),
            "recipient": recipients.get(recipient),
            "ad account": accounts.get((table.controller, table.destination)),
        }
        for word, part in parts.items():
            if part is None:
                reader.add(
                    f"{place}.{word.replace(' ', '_')}",
                    f"no such {word} in this file",
                    f"add it, or correct the audience's {word}",
                    item,
                )
        if table.destination not in destinations:
            reader.add(f"{place}.destination", "no such destination in this file", "add [[destinations]] for it", item)
        key = audience_key(table.controller, table.segment, recipient.value)
        if key in found:
            reader.add(place, "the same segment and recipient twice", "keep one of them", item)
        controller, segment, known, account = parts.values()
        if controller and segment and known and account and table.destination in destinations:
            found[key] = Audience(key, controller, known, segment, account, table)
    return found


def _check_tables(reader: _Reader, tables: dict[str, list[Any]]) -> None:
    """What must hold beyond one table, but for audiences."""
    # A company whose own table is wrong is still named: its audiences stop, not those of everybody who shares a text with it.
    listed = reader.document.get("controllers")
    named = [raw.get("key") for raw in listed if isinstance(raw, dict)] if isinstance(listed, list) else []
    controllers = {key for key in named if isinstance(key, str)}
    for name, keys in (
        ("controllers", ("key",)),
        ("recipients", ("key",)),
        ("texts", ("version",)),
        ("segments", ("controller", "code")),
    ):
        seen: set[tuple[Any, ...]] = set()
        for n, value in reader.lists[name].items():
            identity = tuple(getattr(value, key) for key in keys)
            if identity in seen:
                reader.add(f"{name}[{n}]", "the same key twice", "keep one of them", (name, n))
            seen.add(identity)
    for n, controller in reader.lists["controllers"].items():
        if controller.joint_with:
            reader.add(
                f"controllers[{n}].joint_with",
                "joint controllers are not supported",
                "give each company its own audiences",
                ("controllers", n),
            )
    for n, segment in reader.lists["segments"].items():
        if segment.controller not in controllers:
            reader.add(
                f"segments[{n}].controller", "no such controller in this file", "add it, or correct the key", ("segments", n)
            )
        if not set(segment.data_inputs) <= DISCLOSED_INPUTS:
            reader.add(
                f"segments[{n}].data_inputs",
                "an input that the policy does not disclose",
                "use orders, visits, clicks",
                ("segments", n),
            )
    for n, text in reader.lists["texts"].items():
        if not set(text.controllers) <= controllers:
            reader.add(f"texts[{n}].controllers", "no such controller in this file", "add it, or correct the key", ("texts", n))
    for n, account in reader.lists["ad_accounts"].items():
        if account.controller not in controllers:
            reader.add(
                f"ad_accounts[{n}].controller",
                "no such controller in this file",
                "add it, or correct the key",
                ("ad_accounts", n),
            )
    for n, destination in reader.lists["destinations"].items():
        _check_destination(reader, n, destination)
    ledger = reader.singles.get("ledger")
    if ledger is not None and reader.environment is Environment.PRODUCTION and ledger.anchor_directory is None:
        reader.add(
            "ledger.anchor_directory", "missing", "name a directory outside this machine: in production checkpoints must leave it"
        )
    limits = reader.singles.get("screening")
    if limits is not None and not limits.require_verified_address and limits.unverified_decision is None:
        reader.add(
            "screening.unverified_decision",
            "missing",
            "name the data protection officer's decision, or require verified addresses",
        )


def _check_destination(reader: _Reader, n: int, destination: Any) -> None:
    place, item = f"destinations[{n}]", ("destinations", n)
    sandbox = reader.environment is Environment.SANDBOX
    if destination.endpoint is not None and not sandbox:
        reader.add(f"{place}.endpoint", "an endpoint may be overridden in the sandbox only", "take it out", item)
    if sandbox and destination.endpoint is None:
        reader.add(
            f"{place}.endpoint",
            "the sandbox needs an endpoint on this machine",
            "start `nestaudience sandbox` and name its address",
            item,
        )
    if sandbox and destination.endpoint is not None and not destination.endpoint.startswith(_LOOPBACK):
        reader.add(f"{place}.endpoint", "the sandbox talks to this machine only", "use localhost and the sandbox's port", item)
    if destination.terms_accepted_by is None or destination.terms_accepted_on is None:
        reader.add(f"{place}.terms_accepted_by", "nobody is named who accepted the platform's terms", "name who and when", item)


def _affected(document: Document, item: tuple[str, int] | None) -> frozenset[AudienceKey] | None:
    """The audiences that depend on one entry of the file, by the raw text of the file; None when all do."""
    if item is None:
        return None
    name, n = item
    raw = document[name][n] if isinstance(document[name][n], dict) else {}
    covered = raw.get("controllers") if name == "texts" else []
    if not isinstance(covered, list) or (name == "texts" and not covered):
        return None
    audiences = document.get("audiences")
    keys = set()
    for audience in audiences if isinstance(audiences, list) else []:
        if not isinstance(audience, dict):
            continue
        recipient = RECIPIENT_OF.get(str(audience.get("destination")))
        same = {
            "audiences": audience is raw,
            "controllers": audience.get("controller") == raw.get("key"),
            "recipients": recipient is not None and recipient.value == raw.get("key"),
            "destinations": audience.get("destination") == raw.get("name"),
            "segments": (audience.get("controller"), audience.get("segment")) == (raw.get("controller"), raw.get("code")),
            "ad_accounts": (audience.get("controller"), audience.get("destination"))
            == (raw.get("controller"), raw.get("destination")),
            "texts": audience.get("controller") in covered,
        }[name]
        if same:
            value = recipient.value if recipient else "unknown"
            keys.add(audience_key(str(audience.get("controller")), str(audience.get("segment")), value))
    return frozenset(keys)


def ledger_of(document: Document) -> tuple[Environment, LedgerTable]:
    """The two things that must be right before anything else can be read: the environment, and where the ledger lies.

    Raises `NeedsFix`: `config_unusable`.
    """
    reader = _Reader(document)
    reader.read()
    ledger = reader.singles.get("ledger")
    if reader.environment is None or ledger is None:
        problems = [Problem(path, message, remedy, None) for path, message, remedy, _ in reader.problems]
        raise _unusable([p for p in problems if p.path.split(".")[0] in ("environment", "ledger")] or problems)
    return reader.environment, ledger

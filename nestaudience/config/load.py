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
from typing import Any

from nestaudience.config.coherence import affected, audience_key, check_tables
from nestaudience.config.disclosure import check_disclosure, emptied
from nestaudience.config.policy import registry, switched
from nestaudience.config.reader import Reader
from nestaudience.config.schema import READ_ALONE, RECIPIENT_OF, SINGLES, STOPS_NOTHING, Alerts, Document, LedgerTable
from nestaudience.config.settings import Audience, Problem, Settings
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import AudienceKey, Environment


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
        return replace(
            former,
            emptied=emptied(document),
            kill_switch=switched(document, former.kill_switch),
            problems=tuple(replace(p, audiences=None) for p in problems),
            digest=digest_of(document),
        )
    wrong = {problem.path.split(".")[0].split("[")[0] for problem in problems}
    stopping = [problem for problem in problems if problem.path.split(".")[0] not in STOPS_NOTHING]
    affected = {key for problem in stopping for key in (problem.audiences or former.audiences)}
    audiences = {**settings.audiences, **{key: former.audiences[key] for key in affected if key in former.audiences}}
    return replace(
        settings,
        audiences=audiences,
        destinations={**former.destinations, **settings.destinations},
        controllers={**former.controllers, **settings.controllers},
        recipients={**former.recipients, **settings.recipients},
        texts=former.texts if "texts" in wrong else settings.texts,
        sources=former.sources if "sources" in wrong else settings.sources,
        alerts=former.alerts if "alerts" in wrong else settings.alerts,
        purposes=former.purposes if "purposes" in wrong else settings.purposes,
        kill_switch=switched(document, former.kill_switch),
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
    reader = Reader(document)
    reader.read()
    tables = {name: list(values.values()) for name, values in reader.lists.items()}
    audiences = _audiences(reader, tables)
    check_tables(reader)
    check_disclosure(reader)
    problems = [Problem(path, message, remedy, affected(document, item)) for path, message, remedy, item in reader.problems]
    single = reader.singles
    missing = any(single.get(name) is None for name in SINGLES if name not in STOPS_NOTHING | READ_ALONE)
    if reader.environment is None or single.get("ledger") is None or missing:
        return None, problems, True
    settings = Settings(
        environment=reader.environment,
        policy=single["policy"],
        purposes=registry(single["policy"].version, tuple(tables["purposes"])),
        sensitive=single["sensitive"],
        retention=single["retention"],
        kill_switch=switched(document),
        emptied=emptied(document),
        store=single["store"],
        ledger=single["ledger"],
        engine=single["engine"],
        execution=single["execution"],
        screening=single["screening"],
        gates=single["gates"],
        alerts=_alerts(reader),
        controllers={c.key: c for c in tables["controllers"]},
        recipients={r.key: r for r in tables["recipients"]},
        texts=tuple(tables["texts"]),
        sources=reader.sources,
        destinations={d.name: d for d in tables["destinations"]},
        ad_accounts=tuple(tables["ad_accounts"]),
        audiences=audiences,
        document=document,
        digest=digest_of(document),
    )
    return settings, problems, False


def _alerts(reader: Reader) -> Alerts:
    """The table, or its defaults, with nobody to tell, when something in it is wrong."""
    found = reader.singles.get("alerts")
    wrong = any(path.split(".")[0] == "alerts" for path, _, _, _ in reader.problems)
    return Alerts() if wrong or found is None else found


def _audiences(reader: Reader, tables: dict[str, list[Any]]) -> dict[AudienceKey, Audience]:
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


def ledger_of(document: Document) -> tuple[Environment, LedgerTable]:
    """The two things that must be right before anything else can be read: the environment, and where the ledger lies.

    Raises `NeedsFix`: `config_unusable`.
    """
    reader = Reader(document)
    reader.read()
    ledger = reader.singles.get("ledger")
    if reader.environment is None or ledger is None:
        problems = [Problem(path, message, remedy, None) for path, message, remedy, _ in reader.problems]
        raise _unusable([p for p in problems if p.path.split(".")[0] in ("environment", "ledger")] or problems)
    return reader.environment, ledger

"""The contract as SQL to start from: stand-ins for a shop's tables, an append-only log of consents, the nine views, a role that reads them.

Pure: made from `contract.VIEWS`, and it opens nothing. A shop replaces the stand-ins with its own tables; the views' names, columns and
types stay.
"""

from dataclasses import dataclass
from typing import Final, Literal

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, VIEWS, Column, View
from nestaudience.customers.sheets import CLOCK_OF
from nestaudience.customers.sqlite_sql import second

DialectName = Literal["postgres", "sqlite"]
"""The dialects in which the contract can be printed."""
READER: Final = "nestaudience_reader"
"""The role that the printed script makes in PostgreSQL."""

_TYPES: Final = {
    "postgres": {"text": "text", "time": "timestamptz", "boolean": "boolean", "integer": "bigint", "number": "numeric"},
    "sqlite": {"text": "TEXT", "time": "TEXT", "boolean": "INTEGER", "integer": "INTEGER", "number": "REAL"},
}
_MEANS: Final = {
    "postgres": {"time": "moment with a zone", "boolean": "boolean", "integer": "whole number", "number": "decimal number"},
    "sqlite": {"time": "ISO 8601 in UTC with Z", "boolean": "0 or 1", "integer": "whole number", "number": "decimal number"},
}
_ABOUT: Final = {
    "account": "Who has an account. account_id is unique in the whole group.",
    "consent_event": "What account holders granted and withdrew. Append-only.",
    "rights_event": "Objections, restrictions, erasures, closures; without an account they carry the address that they reach. Append-only.",
    "segment_member": "The candidates of every audience.",
    "segment_status": "When each segment was computed, and how many rows it has. Needed in production.",
    "feed_status": "How far each view is complete, and from which load it comes. Needed in production.",
    "order_line": "What account holders bought. Needed only by what uses it.",
    "site_event": "Visits and clicks on the controllers' own sites. Needed only by what uses it.",
    "purchase": "Orders with the address given at checkout. Needed only by what uses it.",
}
_LOGS: Final = {"consent_event": "consent_log", "rights_event": "rights_log"}
"""The views over tables that only ever grow."""
_INDEXED: Final = ("account_id", "recorded_at", "changed_at")
_EVENT: Final = "account_id, controller_id, purpose, recipient, action, occurred_at, recorded_at, source, confirmed, text_version"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the script: its name, what it is for, and its statements."""

    name: str
    about: str
    statements: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"name": self.name, "about": self.about, "statements": list(self.statements)}


def parts(dialect: DialectName) -> tuple[Part, ...]:
    """The whole script, in the order in which it runs on an empty database."""
    logs = [base for view in VIEWS if view.name in _LOGS for base in [_base(dialect, view)]]
    append_only = [statement for table in logs for statement in _append_only(dialect, table)]
    return (
        Part(
            "tables",
            "Stand-ins for a shop's own tables: use your own instead, and index account_id, recorded_at and changed_at"
            + ("." if dialect == "postgres" else "; the last two as below, to the letter: a text that is no time counts as new."),
            (*(["CREATE SCHEMA shop"] if dialect == "postgres" else []), *_tables(dialect)),
        ),
        Part(
            "append_only",
            "Consents and rights are only ever added: whoever changes or deletes one is refused.",
            tuple(append_only),
        ),
        Part(
            "flag",
            "Only where a shop keeps no more than a flag: every change of the flag becomes an event. The text that was shown goes with it."
            + ("" if dialect == "postgres" else " Write by UPDATE or upsert, never by REPLACE, which no trigger sees."),
            _flag(dialect),
        ),
        Part(
            "views",
            "The contract. Names, phones, postal addresses and personal identity numbers are in no view.",
            (*(["CREATE SCHEMA nestaudience"] if dialect == "postgres" else []), *(_view(dialect, view) for view in VIEWS)),
        ),
        *_role(dialect),
    )


def script(dialect: DialectName) -> str:
    """The parts as one text."""
    return "\n".join(
        f"-- {part.about}\n\n" + "".join(f"{statement};\n\n" for statement in part.statements) for part in parts(dialect)
    )


def _base(dialect: DialectName, view: View) -> str:
    return f"shop{'.' if dialect == 'postgres' else '_'}{_LOGS.get(view.name, view.name)}"


def _tables(dialect: DialectName) -> list[str]:
    kinds = _TYPES[dialect]
    statements = []
    for view in VIEWS:
        lines = [f"    {column.name} {kinds[column.kind]}{_rules(column, view)}" for column in view.columns]
        if view is ACCOUNT:
            no = "false" if dialect == "postgres" else "0"
            lines += [f"    ads_consent {kinds['boolean']} NOT NULL DEFAULT {no}", f"    ads_consent_text {kinds['text']}"]
        if len(view.key) > 1:
            lines.append(f"    PRIMARY KEY ({', '.join(view.key)})")
        table = _base(dialect, view)
        statements.append(f"CREATE TABLE {table} (\n" + ",\n".join(lines) + "\n)" + (" STRICT" if dialect == "sqlite" else ""))
        prefix = table.replace(".", "_")
        statements += [
            f"CREATE INDEX {prefix}_{name} ON {table} ({_as_asked(dialect, name)})"
            for name in _INDEXED
            if name in view.names and view.key != (name,)
        ]
    return statements


def _as_asked(dialect: DialectName, name: str) -> str:
    """The column in the words in which it is asked for: an index on any other is not used."""
    return second(name) if dialect == "sqlite" and name in CLOCK_OF.values() else name


def _rules(column: Column, view: View) -> str:
    """What the table itself holds: the key, no null, the closed set."""
    words = "" if column.nullable else " NOT NULL"
    words += " PRIMARY KEY" if view.key == (column.name,) else ""
    if column.values is not None:
        words += f" CHECK ({column.name} IN ({', '.join(repr(value) for value in sorted(column.values))}))"
    return words


def _view(dialect: DialectName, view: View) -> str:
    """The view over its stand-in, one column a line, with what each holds."""
    name = f"nestaudience.{view.name}" if dialect == "postgres" else view.name
    width = max(len(word) for word in view.names) + 2
    last = view.columns[-1].name
    lines = [
        f"    {column.name + ('' if column.name == last else ','):<{width}}-- {_meaning(dialect, column)}"
        for column in view.columns
    ]
    return f"-- {_ABOUT[view.name]}\nCREATE VIEW {name} AS SELECT\n" + "\n".join(lines) + f"\nFROM {_base(dialect, view)}"


def _meaning(dialect: DialectName, column: Column) -> str:
    words = f"one of {', '.join(sorted(column.values))}" if column.values else _MEANS[dialect].get(column.kind, "text")
    return words + ("; may be null" if column.nullable else "")


def _append_only(dialect: DialectName, table: str) -> list[str]:
    word = table.replace(".", "_")
    if dialect == "postgres":
        refuse = "BEGIN RAISE EXCEPTION 'append-only: add an event instead'; END"
        return [
            f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {refuse} $$",
            f"CREATE TRIGGER {word}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
            f"CREATE TRIGGER {word}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
        ]
    refuse = "SELECT RAISE(ABORT, 'append-only: add an event instead'); END"
    again = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE event_id = NEW.event_id)"  # noqa: S608 - own words
    return [
        f"CREATE TRIGGER {word}_no_update BEFORE UPDATE ON {table} BEGIN {refuse}",
        f"CREATE TRIGGER {word}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}",
        f"CREATE TRIGGER {word}_no_replace BEFORE INSERT ON {table} {again} BEGIN {refuse}",
    ]


def _flag(dialect: DialectName) -> tuple[str, ...]:
    """A flag that is set is a grant, one that is taken away or emptied a withdrawal; one that was never set is neither."""
    account, log = _base(dialect, ACCOUNT), _base(dialect, CONSENT_EVENT)
    event = f"INSERT INTO {log} (event_id, {_EVENT})"
    values = (
        "NEW.account_id, NEW.controller_id, 'ad_matching', '*', CASE WHEN NEW.ads_consent THEN 'grant' ELSE 'withdraw' END,"
        " {now}, {now}, 'web_account_settings', {yes}, NEW.ads_consent_text"
    )
    if dialect == "postgres":
        body = f"{event}\n    VALUES (gen_random_uuid()::text, {values.format(now='clock_timestamp()', yes='true')});"
        changed = "FOR EACH ROW WHEN (NEW.ads_consent IS DISTINCT FROM OLD.ads_consent)"
        return (
            f"CREATE FUNCTION {account}_flag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n    {body}\n    RETURN NULL;\nEND $$",
            f"CREATE TRIGGER flag_set AFTER INSERT ON {account} FOR EACH ROW WHEN (NEW.ads_consent) EXECUTE FUNCTION {account}_flag()",
            f"CREATE TRIGGER flag_changed AFTER UPDATE OF ads_consent ON {account} {changed} EXECUTE FUNCTION {account}_flag()",
        )
    values = values.format(now="strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", yes="1")
    body = f"BEGIN\n    {event}\n    VALUES (lower(hex(randomblob(16))), {values});\nEND"
    return (
        f"CREATE TRIGGER flag_set AFTER INSERT ON {account} WHEN NEW.ads_consent {body}",
        f"CREATE TRIGGER flag_changed AFTER UPDATE OF ads_consent ON {account} WHEN NEW.ads_consent IS NOT OLD.ads_consent {body}",
    )


def _role(dialect: DialectName) -> tuple[Part, ...]:
    """A file has no roles: whoever may read the file may read it."""
    if dialect == "sqlite":
        return ()
    return (
        Part(
            "role",
            "A role that reads the views and nothing else; give it a password or a certificate in your own way.",
            (
                f"CREATE ROLE {READER} LOGIN",
                f"GRANT USAGE ON SCHEMA nestaudience TO {READER}",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA nestaudience TO {READER}",
                f"ALTER ROLE {READER} SET default_transaction_read_only = on",
            ),
        ),
    )

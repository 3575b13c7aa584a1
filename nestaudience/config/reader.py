"""From a parsed file to typed tables, one by one, collecting every problem with its place. It compares no table with another."""

import re
from typing import Any, Final

from pydantic import ValidationError

from nestaudience.config.schema import LISTS, MAY_BE_LEFT_OUT, SINGLES, STOPS_NOTHING, Document
from nestaudience.vocabulary import Environment, EventSource


class Reader:
    """Collects problems while it turns a document into typed tables. `places` says which entry of the file became which table."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[tuple[str, str, str, tuple[str, int] | None]] = []
        self.singles: dict[str, Any] = {}
        self.lists: dict[str, dict[int, Any]] = {}
        self.sources: dict[str, EventSource] = {}
        self.environment: Environment | None = None

    def add(self, path: str, message: str, remedy: str, item: tuple[str, int] | None = None) -> None:
        """Note a problem; `item` is the list and place of the entry that it concerns, None when it concerns the whole."""
        self.problems.append((path, message, remedy, item))

    def read(self) -> None:
        """Read every table."""
        known = {*LISTS, *SINGLES, "environment", "sources"}
        for name in sorted(set(self.document) - known):
            self.add(_shown(name), "unknown table or key", "correct its name or take it out")
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
                self.singles[name] = self._validate(
                    model, {} if raw is None else raw, name, (name, 0) if name in STOPS_NOTHING else None
                )
        for name, model in LISTS.items():
            raw_items = self.document.get(name, [])
            if (not isinstance(raw_items, list) or not raw_items) and not (name in MAY_BE_LEFT_OUT and name not in self.document):
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
                where = ".".join([path, *(_shown(part) for part in detail["loc"])])
                errors.append((where, _MESSAGES.get(detail["type"], "does not have the form that this key needs")))
        for where, message in errors:
            self.add(where, message, "see the comments in config/nestaudience.toml", item)
        return None


def _shown(key: object) -> str:
    """A key or place of the file as a problem may name it: a word that is no name of ours in form could be a value in a wrong place."""
    return str(key) if _KEY.fullmatch(str(key)) else "(a key)"


_KEY: Final = re.compile(r"[a-z0-9_]{1,40}")
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
    "ledger_needs_one_place": "the ledger needs `path` or `url`, and not both",
    "store_needs_path": "a sqlite or parquet store needs `path`",
    "store_needs_url": "a postgres store needs `url`",
    "store_has_no_path": "a postgres store has `url`, not `path`",
    "store_has_no_url": "only a postgres store has `url` and `live_url`",
}

"""What must hold between the tables of a configuration, and which audiences a wrong entry stops. It reads no file."""

from collections.abc import Callable
from typing import Any, Final

from nestaudience.config.reader import Reader
from nestaudience.config.schema import DISCLOSED_INPUTS, RECIPIENT_OF, STOPS_NOTHING, Document
from nestaudience.vocabulary import AudienceKey, Environment

_LOOPBACK: Final = ("localhost:", "127.0.0.1:", "[::1]:")
_NO_CONTROLLER: Final = ("no such controller in this file", "add it, or correct the key")
_KEYS: Final = {"controllers": ("key",), "recipients": ("key",), "texts": ("version",), "segments": ("controller", "code")}
"""What identifies an entry of a list of tables."""


def audience_key(controller: str, segment: str, recipient: str) -> AudienceKey:
    """The key of an audience."""
    return AudienceKey(f"{controller}/{segment}/{recipient}")


def check_tables(reader: Reader) -> None:
    """Everything that must hold beyond one table, but for audiences."""
    _check_keys(reader)
    controllers = _named_controllers(reader.document)
    checks: dict[str, Callable[[Reader, int, Any, set[str]], None]] = {
        "controllers": _check_controller,
        "segments": _check_segment,
        "texts": _check_text,
        "ad_accounts": _check_ad_account,
        "destinations": _check_destination,
    }
    for name, check in checks.items():
        for n, table in reader.lists[name].items():
            check(reader, n, table, controllers)
    _check_singles(reader)


def _named_controllers(document: Document) -> set[str]:
    """A company whose own table is wrong is still named: its audiences stop, not those of everybody who shares a text with it."""
    listed = document.get("controllers")
    named = [raw.get("key") for raw in listed if isinstance(raw, dict)] if isinstance(listed, list) else []
    return {key for key in named if isinstance(key, str)}


def _check_keys(reader: Reader) -> None:
    for name, keys in _KEYS.items():
        seen: set[tuple[Any, ...]] = set()
        for n, value in reader.lists[name].items():
            identity = tuple(getattr(value, key) for key in keys)
            if identity in seen:
                reader.add(f"{name}[{n}]", "the same key twice", "keep one of them", (name, n))
            seen.add(identity)


def _check_controller(reader: Reader, n: int, controller: Any, _known: set[str]) -> None:
    if controller.joint_with:
        what, remedy = "joint controllers are not supported", "give each company its own audiences"
        reader.add(f"controllers[{n}].joint_with", what, remedy, ("controllers", n))


def _check_segment(reader: Reader, n: int, segment: Any, known: set[str]) -> None:
    item = ("segments", n)
    if segment.controller not in known:
        reader.add(f"segments[{n}].controller", *_NO_CONTROLLER, item)
    if not set(segment.data_inputs) <= DISCLOSED_INPUTS:
        what = "an input that the policy does not disclose"
        reader.add(f"segments[{n}].data_inputs", what, "use orders, visits, clicks", item)


def _check_text(reader: Reader, n: int, text: Any, known: set[str]) -> None:
    if not set(text.controllers) <= known:
        reader.add(f"texts[{n}].controllers", *_NO_CONTROLLER, ("texts", n))


def _check_ad_account(reader: Reader, n: int, account: Any, known: set[str]) -> None:
    if account.controller not in known:
        reader.add(f"ad_accounts[{n}].controller", *_NO_CONTROLLER, ("ad_accounts", n))


def _check_destination(reader: Reader, n: int, destination: Any, _known: set[str]) -> None:
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


def _check_singles(reader: Reader) -> None:
    ledger = reader.singles.get("ledger")
    if ledger is not None and reader.environment is Environment.PRODUCTION and ledger.anchor_directory is None:
        remedy = "name a directory outside this machine: in production checkpoints must leave it"
        reader.add("ledger.anchor_directory", "missing", remedy)
    limits = reader.singles.get("screening")
    if limits is not None and not limits.require_verified_address and limits.unverified_decision is None:
        remedy = "name the data protection officer's decision, or require verified addresses"
        reader.add("screening.unverified_decision", "missing", remedy)
    _check_alerts(reader)


def _check_alerts(reader: Reader) -> None:
    alerts, item = reader.singles.get("alerts"), ("alerts", 0)
    if alerts is None:
        return
    if alerts.webhook is not None and alerts.smtp is not None:
        reader.add("alerts", "two ways of telling", "keep either webhook or smtp", item)
    smtp = alerts.smtp
    if smtp is not None and (smtp.user is None) != (smtp.password is None):
        reader.add("alerts.smtp", "user and password go together", "name both, or neither", item)
    if smtp is not None and smtp.security == "none" and smtp.password is not None:
        reader.add("alerts.smtp.security", "a password needs TLS", "use starttls or tls, or leave out user and password", item)


def affected(document: Document, item: tuple[str, int] | None) -> frozenset[AudienceKey] | None:
    """The audiences that depend on one entry of the file, by the raw text of the file; None when all do."""
    if item is None:
        return None
    name, n = item
    if name in STOPS_NOTHING:
        return frozenset()
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

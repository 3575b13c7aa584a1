"""What must hold between the tables of a configuration, and which audiences a wrong entry stops. It reads no file."""

import re
from collections.abc import Callable
from typing import Any, Final

from nestaudience.config.forms import DISCLOSED_INPUTS
from nestaudience.config.policy import INPUTS_OF
from nestaudience.config.reader import Reader
from nestaudience.config.schema import RECIPIENT_OF, STOPS_NOTHING, Document
from nestaudience.vocabulary import AudienceKey, Environment, Purpose, Recipient

_LOOPBACK: Final = ("localhost:", "127.0.0.1:", "[::1]:")
LONGEST_AT_META: Final = 180
"""Days: developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience (read 2026-11)."""
_VERSIONS: Final = {"google_ads": r"v[0-9]+", "meta": r"v[0-9]+\.[0-9]"}
_VERSION_REMEDY: Final = "write it as the platform does: v26 for google_ads, v26.0 for meta; google_data_manager has none"
_NO_CONTROLLER: Final = ("no such controller in this file", "add it, or correct the key")
_KEYS: Final = {
    "controllers": ("key",),
    "recipients": ("key",),
    "purposes": ("key",),
    "texts": ("version",),
    "segments": ("controller", "code"),
}
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
        "audiences": _check_audience,
    }
    for name, check in checks.items():
        for n, table in reader.lists[name].items():
            check(reader, n, table, controllers)
    _check_owners(reader)
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
    item, place = ("ad_accounts", n), f"ad_accounts[{n}].business_id"
    if account.controller not in known:
        reader.add(f"ad_accounts[{n}].controller", *_NO_CONTROLLER, item)
    at_meta, open_there = account.destination == "meta", account.state != "closed"
    if at_meta and open_there and account.business_id is None and reader.environment is Environment.PRODUCTION:
        remedy = "name the id of the business portfolio that owns the account: in production two numbers must say whose it is"
        reader.add(place, "missing", remedy, item)
    if not at_meta and account.business_id is not None:
        reader.add(place, "only ad accounts at Meta belong to a business portfolio", "take it out", item)


def _check_owners(reader: Reader) -> None:
    """An ad account belongs to one company: otherwise the one's people would reach the other."""
    owners: dict[tuple[Recipient, str], set[str]] = {}
    for account in reader.lists["ad_accounts"].values():
        owners.setdefault((RECIPIENT_OF[account.destination], account.account_id), set()).add(account.controller)
    for n, account in reader.lists["ad_accounts"].items():
        if len(owners[RECIPIENT_OF[account.destination], account.account_id]) > 1:
            place, what = f"ad_accounts[{n}].account_id", "one ad account for two companies"
            reader.add(place, what, "give each company the number of its own", ("ad_accounts", n))


def _check_audience(reader: Reader, n: int, audience: Any, _known: set[str]) -> None:
    if audience.destination == "meta" and audience.membership_days > LONGEST_AT_META:
        what, remedy = "above the largest value that Meta takes", f"name at most {LONGEST_AT_META} days"
        reader.add(f"audiences[{n}].membership_days", what, remedy, ("audiences", n))


def _check_destination(reader: Reader, n: int, destination: Any, _known: set[str]) -> None:
    place, item = f"destinations[{n}]", ("destinations", n)
    version = destination.api_version
    if version is not None and re.fullmatch(_VERSIONS.get(destination.name, "never"), version) is None:
        reader.add(f"{place}.api_version", "no version of this platform's", _VERSION_REMEDY, item)
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
    execution = reader.singles.get("execution")
    for key, what, remedy in execution.problems(sandbox=reader.environment is Environment.SANDBOX) if execution else ():
        reader.add(f"execution.{key}", what, remedy)
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
    if name == "purposes":
        return _of_purpose(document, raw.get("key"))
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


def _of_purpose(document: Document, key: object) -> frozenset[AudienceKey] | None:
    """The audiences whose segments are built on what a purpose stands for. List matching stands behind all; conversions fill no list."""
    if key == Purpose.ENHANCED_CONVERSIONS.value:
        return frozenset()
    inputs = next((inputs for purpose, inputs in INPUTS_OF.items() if purpose.value == key), None)
    if inputs is None:
        return None
    found: set[AudienceKey] = set()
    segments = document.get("segments")
    for n, raw in enumerate(segments if isinstance(segments, list) else []):
        built_on = raw.get("data_inputs") if isinstance(raw, dict) else None
        if isinstance(built_on, list) and any(each in inputs for each in built_on if isinstance(each, str)):
            found |= affected(document, ("segments", n)) or frozenset()
    return frozenset(found)

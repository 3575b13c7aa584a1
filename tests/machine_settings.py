"""The configuration of the small group that the state machine plays with: two companies, three lists, limits that let three people be a list."""

from functools import cache
from typing import Any, Final

from nestaudience.config.load import from_document
from nestaudience.config.settings import Settings

GOOGLE, META = "google_data_manager", "meta"
ACCOUNTS: Final = {("c1", GOOGLE): "111", ("c1", META): "222", ("c2", GOOGLE): "333"}
"""The ad account of each company at each destination."""
_DAYS: Final = {GOOGLE: 7, META: 30}
_APPROVAL: Final = {
    "owner": "growth-1",
    "approver": "privacy-1",
    "approved_on": "2026-09-01",
    "dpia": "DPIA-1",
    "sensitive": "reviewed_not_sensitive",
}
_RECIPIENTS: Final = {"google": "Google Ireland Limited", "meta": "Meta Platforms Ireland Limited"}
_SIGNALS: Final = ["ad_user_data", "ad_personalization"]


def _document(numbers: dict[tuple[str, str], int]) -> dict[str, Any]:
    everybody = ["c1", "c2"]
    return {
        "environment": "sandbox",
        "policy": {"version": "2025-09-08"},
        "store": {"path": "store.sqlite"},
        "ledger": {
            "path": "ledger.sqlite",
            "keys": "file:keys.json",
            "head": "head.json",
            "origin": "machine.example/sandbox",
            "anchor_directory": "anchors",
        },
        "engine": {"memory": "512MB", "threads": 1},
        "screening": {"irrelevant_purposes": ["newsletter", "sms"]},
        "gates": {},
        "controllers": [
            {"key": key, "legal_name": key.upper(), "organisation_number": f"559000-000{n}", "code": key}
            for n, key in enumerate(everybody)
        ],
        "recipients": [
            {
                "key": key,
                "legal_name": legal_name,
                "country": "IE",
                "transfer_mechanism": "DPF-1",
                "terms_reference": "T-1",
                "terms_confirmed_on": "2026-02-10",
            }
            for key, legal_name in _RECIPIENTS.items()
        ],
        "texts": [
            {
                "version": version,
                "valid_from": "2015-01-01T00:00:00Z",
                "controllers": everybody,
                "purposes": purposes,
                "recipients": recipients,
                "google_signals": _SIGNALS,
            }
            for version, purposes, recipients in (
                ("t1", ["ad_matching"], list(_RECIPIENTS)),
                ("t_cookies", ["web_behaviour", "enhanced_conversions"], ["google"]),
            )
        ],
        "sources": {"prefs": "account_prefs", "case": "support_case", "banner": "cookie_banner"},
        "destinations": [
            {
                "name": name,
                "credentials": "file:token",
                "endpoint": "localhost:1",
                "certificate": "ca.pem",
                "batch_size": 3,
                "terms_accepted_by": "lead",
                "terms_accepted_on": "2026-02-10",
            }
            for name in (GOOGLE, META)
        ],
        "ad_accounts": [
            {"controller": controller, "destination": destination, "account_id": account}
            for (controller, destination), account in ACCOUNTS.items()
        ],
        "segments": [
            {"code": "s1", "controller": key, "name": "Bought something", "data_inputs": ["orders"], "approval": _APPROVAL}
            for key in everybody
        ],
        "audiences": [
            {
                "controller": controller,
                "segment": "s1",
                "destination": destination,
                "number": numbers[controller, destination],
                "membership_days": _DAYS[destination],
            }
            for controller, destination in ACCOUNTS
        ],
    }


@cache
def settings(*numbers: int) -> Settings:
    """The settings with these list numbers, in the order of `ACCOUNTS`. The smallest list is one of one person, which no file may say."""
    found = from_document(_document(dict(zip(ACCOUNTS, numbers, strict=True))))
    return Settings(
        **{name: getattr(found, name) for name in Settings.__dataclass_fields__ if name != "gates"},
        gates=found.gates.model_copy(update={"smallest_list": 1}),
    )

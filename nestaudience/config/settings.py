"""The configuration in use: typed tables by key, and which audiences it may add people to.

Built by `load`; pure. An audience that the configuration gets wrong is `stopped`: nobody joins it, and its removals run from the last
accepted configuration.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from nestaudience.config.execution import Execution
from nestaudience.config.policy import Policy, PurposeTable, Retention, Sensitive
from nestaudience.config.schema import (
    AdAccount,
    Alerts,
    AudienceTable,
    Controller,
    DestinationTable,
    EngineTable,
    Gates,
    LedgerTable,
    RecipientTable,
    Screening,
    Segment,
    Store,
    Text,
)
from nestaudience.screening.rules import AudienceRule, ConsentText, Rules
from nestaudience.vocabulary import (
    AudienceKey,
    ControllerId,
    Environment,
    EventSource,
    KillSwitch,
    Purpose,
    Recipient,
    SegmentCode,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person must fix. `audiences` are those that it stops; None stops all. No value of the file is quoted."""

    path: str
    message: str
    remedy: str
    audiences: frozenset[AudienceKey] | None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        stopped = None if self.audiences is None else sorted(self.audiences)
        return {"path": self.path, "message": self.message, "remedy": self.remedy, "stops": stopped}


@dataclass(frozen=True, slots=True)
class Audience:
    """One remote list as configured, with everything that its transfers must name."""

    key: AudienceKey
    controller: Controller
    recipient: RecipientTable
    segment: Segment
    ad_account: AdAccount
    table: AudienceTable

    @property
    def rule(self) -> AudienceRule:
        """What screening needs of it."""
        return AudienceRule(
            self.key,
            ControllerId(self.controller.key),
            SegmentCode(self.segment.code),
            self.recipient.key,
            uses_orders=self.segment.uses_orders,
            uses_site=self.segment.uses_site,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a run is told. `document` is the file as read (it holds no secret); `digest` is its SHA-256.

    `purposes` has every purpose; `emptied` the audiences whose lists the file empties, with the code of the gate, whether or not the rest of it can
    be used.
    """

    environment: Environment
    policy: Policy
    purposes: dict[Purpose, PurposeTable]
    sensitive: Sensitive
    retention: Retention
    kill_switch: KillSwitch
    emptied: dict[AudienceKey, str]
    store: Store
    ledger: LedgerTable
    engine: EngineTable
    execution: Execution
    screening: Screening
    gates: Gates
    alerts: Alerts
    controllers: dict[str, Controller]
    recipients: dict[Recipient, RecipientTable]
    texts: tuple[Text, ...]
    sources: dict[str, EventSource]
    destinations: dict[str, DestinationTable]
    ad_accounts: tuple[AdAccount, ...]
    audiences: dict[AudienceKey, Audience]
    document: dict[str, Any]
    digest: str
    problems: tuple[Problem, ...] = ()

    @property
    def stopped(self) -> frozenset[AudienceKey]:
        """Audiences that nobody joins until the configuration is mended."""
        if any(problem.audiences is None for problem in self.problems):
            return frozenset(self.audiences)
        return frozenset().union(*(problem.audiences or frozenset() for problem in self.problems))

    @property
    def needs_freshness(self) -> bool:
        """True when a store that does not tell how fresh its views are may add nobody."""
        said = self.store.freshness
        return said == "required" or (said is None and self.environment is Environment.PRODUCTION)

    @property
    def freshness_unknown(self) -> bool:
        """True when somebody decided that lists are kept without knowing how fresh the store is: every report says so."""
        return self.store.freshness == "unknown"

    def rules(self) -> Rules:
        """What screening needs of the configuration."""
        limits = self.screening
        recipients = tuple(r for r in Recipient if any(a.recipient.key is r for a in self.audiences.values()))
        return Rules(
            controllers=frozenset(ControllerId(key) for key in self.controllers),
            recipients=recipients,
            texts=tuple(
                ConsentText(
                    text.version,
                    text.valid_from,
                    frozenset(ControllerId(key) for key in text.controllers),
                    frozenset(text.purposes),
                    frozenset(text.recipients),
                    frozenset(text.google_signals),
                )
                for text in self.texts
            ),
            sources=dict(self.sources),
            irrelevant_purposes=frozenset(limits.irrelevant_purposes),
            skew=timedelta(minutes=limits.skew_minutes),
            consent_months=limits.consent_months,
            cookie_months=limits.cookie_months,
            inactive_months=limits.inactive_months,
            countries=frozenset(limits.countries),
            require_verified_address=limits.require_verified_address,
            cookies_block=limits.cookies_block_matching,
            withdrawals_group_wide=limits.withdrawals_group_wide,
        )

    def smallest_list(self, key: AudienceKey) -> int:
        """The number of distinct wanted digests at which a list opens."""
        own = self.audiences[key].table.smallest_list
        return own if own is not None else self.gates.smallest_list


def ended(audience: Audience, today: date) -> bool:
    """True when the audience is past its last day."""
    return audience.table.ends_on is not None and today > audience.table.ends_on

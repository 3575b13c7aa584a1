"""The rules of screening as data: what the configuration decides, and nothing that a person did.

Pure. Times are UTC; `now` is never here, it is an argument of screening.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nestaudience.vocabulary import AudienceKey, ControllerId, EventSource, Purpose, Recipient, SegmentCode


@dataclass(frozen=True, slots=True)
class ConsentText:
    """A registered consent text: what it covered, and since when it was shown. `google_signals` names `ad_user_data` and
    `ad_personalization` where the text covers them.
    """

    version: str
    valid_from: datetime
    controllers: frozenset[ControllerId]
    purposes: frozenset[Purpose]
    recipients: frozenset[Recipient]
    google_signals: frozenset[str]

    def __post_init__(self) -> None:
        if self.valid_from.tzinfo is None:
            raise ValueError("valid_from needs a time zone")


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that the answer for a person depends on besides the store, the ledger's suppression and the clock."""

    controllers: frozenset[ControllerId]
    recipients: tuple[Recipient, ...]
    texts: tuple[ConsentText, ...]
    sources: dict[str, EventSource]
    """The store's names of sources; a name that is missing here is unmapped, and a grant from it unusable."""
    irrelevant_purposes: frozenset[str] = frozenset()
    """Purposes that the store keeps and that do not matter here (newsletter, SMS)."""
    skew: timedelta = timedelta(minutes=5)
    consent_months: int = 24
    cookie_months: int = 12
    inactive_months: int = 24
    order_lookback_months: int = 24
    site_lookback_days: int = 30
    countries: frozenset[str] = frozenset({"SE"})
    require_verified_address: bool = True
    cookies_block: bool = True
    withdrawals_group_wide: bool = True


@dataclass(frozen=True, slots=True)
class AudienceRule:
    """Whom one audience asks for: a segment of a controller, for a recipient, built on these inputs."""

    key: AudienceKey
    controller: ControllerId
    segment: SegmentCode
    recipient: Recipient
    uses_orders: bool
    uses_site: bool


@dataclass(frozen=True, slots=True)
class Funnel:
    """Candidates = eligible + the sum of `refused`, exactly. `refused` counts primary reasons by code."""

    candidates: int
    eligible: int
    refused: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.candidates != self.eligible + sum(self.refused.values()):
            raise ValueError("a funnel must sum exactly")

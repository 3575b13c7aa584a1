"""The configuration as data: one frozen model a table of the file. It reads no file and no secret.

Each model checks itself; what must fit together between tables is checked in `load`. Secrets are named, never held. Months are
calendar months; shares are percentages.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from nestaudience.config.execution import Execution
from nestaudience.config.forms import Code, ContactLine, DestinationName, Digits, MailAddress, Reference, SecretName
from nestaudience.config.forms import Table as _Table
from nestaudience.config.policy import Approval, KillSwitchTable, Policy, PurposeTable, Retention, Sensitive
from nestaudience.vocabulary import Purpose, Recipient

INCLUSION: Final = "inclusion"
EMAIL_DIGEST: Final = "email_digest"


class Controller(_Table):
    """A group company answerable for its customers' data. `code` is the neutral word for it in names of lists."""

    key: Code
    legal_name: str
    organisation_number: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}-[0-9]{4}$")]
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,3}$")]
    contact: ContactLine | None = None
    """How the company is reached by whoever asks about her data: address, mailbox or telephone of a function (GDPR art. 30(1)(a))."""
    dpo: ContactLine | None = None
    """How its data protection officer is reached, or the word that it has none."""
    joint_with: tuple[str, ...] = ()
    """Must stay empty: joint controllers are not supported."""
    state: Literal["active", "divested"] = "active"
    """`divested`: it left the group. Nobody joins its lists any more, and they are emptied."""


class RecipientTable(_Table):
    """The legal entity behind a recipient, and what lets data reach it."""

    key: Recipient
    legal_name: str
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    transfer_mechanism: Reference
    terms_reference: Reference
    terms_confirmed_on: date
    """The platform's terms. They, the contract and the mechanism are confirmed once a year; without a day of their own the others have this one."""
    contract_confirmed_on: date | None = None
    transfer_confirmed_on: date | None = None

    @property
    def confirmed(self) -> dict[str, date]:
        """Setting -> the day on which somebody looked last."""
        return {
            "terms_confirmed_on": self.terms_confirmed_on,
            "contract_confirmed_on": self.contract_confirmed_on or self.terms_confirmed_on,
            "transfer_confirmed_on": self.transfer_confirmed_on or self.terms_confirmed_on,
        }


class Text(_Table):
    """A consent text that was shown, and what it covered."""

    version: Reference
    valid_from: AwareDatetime
    controllers: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    recipients: tuple[Recipient, ...] = ()
    google_signals: tuple[Literal["ad_user_data", "ad_personalization"], ...] = ()


class Store(_Table):
    """The customer store: which adapter, and where."""

    kind: Literal["sqlite", "postgres", "parquet"] = "sqlite"
    path: str | None = None
    """SQLite: the file. Parquet: the folder."""
    url: SecretName | None = None
    """PostgreSQL: the connection's URL, by name; a replica will do."""
    live_url: SecretName | None = None
    """PostgreSQL: the primary's, for the last look; left out, `url` serves it too."""
    freshness: Literal["required", "unknown"] | None = None
    """Whether `feed_status` and `segment_status` must be there; left out, in production they must. `unknown`: they are not, and every report says so.
    What stands in them counts always."""
    views_schema: Annotated[str, StringConstraints(min_length=1, max_length=63)] = "nestaudience"
    """PostgreSQL: the schema that holds the views."""

    @model_validator(mode="after")
    def _has_its_place(self) -> "Store":
        needs_url = self.kind == "postgres"
        if (self.url if needs_url else self.path) is None:
            raise PydanticCustomError("store_needs_url" if needs_url else "store_needs_path", "the store's place is missing")
        if needs_url and self.path is not None:
            raise PydanticCustomError("store_has_no_path", "a setting of another kind")
        if not needs_url and (self.url is not None or self.live_url is not None):
            raise PydanticCustomError("store_has_no_url", "a setting of another kind")
        return self


class LedgerTable(_Table):
    """Where the ledger, its keys and its head lie. The head stays beside the keys, not beside the ledger."""

    path: str | None = None
    """SQLite: the file."""
    url: SecretName | None = None
    """PostgreSQL, instead of `path`: the connection's URL, by name."""
    tables_schema: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "nestaudience_ledger"
    """PostgreSQL: the schema that is the ledger's own."""
    keys: SecretName
    head: str
    origin: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]{2,99}$")]
    anchor_directory: str | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> "LedgerTable":
        if (self.path is None) == (self.url is None):
            raise PydanticCustomError("ledger_needs_one_place", "the ledger's place is missing, or there are two")
        return self


class EngineTable(_Table):
    """How much of the machine a run takes."""

    memory: Annotated[str, StringConstraints(pattern=r"^[0-9]+(MB|GB)$")] = "2GB"
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    spill_directory: str | None = None


class Screening(_Table):
    """The limits of the rules."""

    skew_minutes: Annotated[int, Field(ge=1, le=15)] = 5
    consent_months: Annotated[int, Field(ge=1, le=36)] = 24
    cookie_months: Annotated[int, Field(ge=1, le=24)] = 12
    inactive_months: Annotated[int, Field(ge=1, le=36)] = 24
    countries: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")], ...] = ("SE",)
    irrelevant_purposes: tuple[str, ...] = ()
    cookies_block_matching: bool = True
    withdrawals_group_wide: bool = True
    require_verified_address: bool = True
    unverified_decision: Reference | None = None
    """The data protection officer's decision; needed when `require_verified_address` is off."""


class Gates(_Table):
    """The limits of the brakes."""

    smallest_list: Annotated[int, Field(ge=100)] = 1000
    change_percent: Annotated[int, Field(ge=5, le=50)] = 20
    change_people: Annotated[int, Field(ge=100)] = 500
    feed_age_minutes: Annotated[int, Field(ge=5, le=1440)] = 60
    """A view that is complete up to longer ago than this holds additions."""
    vanished_percent: Annotated[int, Field(ge=1, le=20)] = 5
    """When more than this share of a company's accounts is gone at once, those who vanished wait for a person."""
    probe_people: Annotated[int, Field(ge=100, le=1000)] = 1000
    """The first fill of a list begins with so many people; the rest follows when the platform took them."""


class Smtp(_Table):
    """The mail server that alerts go through. Without TLS (`none`) there is no login."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretName | None = None
    sender: MailAddress
    recipients: tuple[MailAddress, ...] = Field(min_length=1)


class Alerts(_Table):
    """What people are told without asking, and where. A fault in this table stops no list: nobody is told until it is mended."""

    night_by: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "05:00"
    """By this time in Stockholm the night of the day must have had a run that ended."""
    removal_hours: Annotated[int, Field(ge=1, le=24)] = 6
    repeat_hours: Annotated[int, Field(ge=1, le=168)] = 24
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    certificate: str | None = None
    """A PEM file with the certificate authority of a receiver of our own; the machine's own authorities count as well."""
    webhook: SecretName | None = None
    """The name of the URL that alerts are posted to. The URL is a secret."""
    smtp: Smtp | None = None
    heartbeat: SecretName | None = None
    """The name of the URL that is asked for after each run that ended."""


class DestinationTable(_Table):
    """One transport to a recipient: credentials by name; endpoint and certificate only in the sandbox."""

    name: DestinationName
    credentials: SecretName | None = None
    """A service account's key file (Google; left out, the machine's own identity is used), or the token of a system user (Meta)."""
    app_secret: SecretName | None = None
    """Meta: the secret of the app, for the proof that goes with each call."""
    api_version: Annotated[str, StringConstraints(pattern=r"^v[0-9]{1,3}(\.[0-9])?$")] | None = None
    """Meta (`v26.0`) and Google Ads (`v26`): the version of the API; left out, the one that the SDK was made for."""
    endpoint: str | None = None
    certificate: str | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 120
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """How many people a request may hold; the platform's own limit holds as well."""
    removals_every_minutes: Annotated[int, Field(ge=5, le=720)] = 60
    """How often noes are sent between the nights."""
    terms_accepted_by: Reference | None = None
    terms_accepted_on: date | None = None


class AdAccount(_Table):
    """Which ad account belongs to which controller: the binding that a batch is checked against."""

    controller: str
    destination: DestinationName
    account_id: Digits
    login_account_id: Digits | None = None
    business_id: Digits | None = None
    """Meta: the business portfolio that owns the account, compared with what Meta says before the first request of each run."""
    state: Literal["active", "retiring", "closed"] = "active"
    """`retiring`: its lists are emptied and deleted. `closed`: nothing is sent there any more."""


class Segment(_Table):
    """A rule that selects account holders of one controller; the rule itself lives in the store."""

    code: Code
    controller: str
    name: str
    data_inputs: tuple[str, ...] = Field(min_length=1)
    approval: Approval

    @property
    def uses_orders(self) -> bool:
        """True when order lines feed the segment."""
        return "orders" in self.data_inputs

    @property
    def uses_site(self) -> bool:
        """True when visits or clicks feed it."""
        return bool({"visits", "clicks"} & set(self.data_inputs))


class AudienceTable(_Table):
    """One remote list: a segment for a recipient, through a destination."""

    controller: str
    segment: str
    destination: DestinationName
    number: Annotated[int, Field(ge=1, le=9999)]
    membership_days: Annotated[int, Field(ge=7, le=540)] = 30
    ends_on: date | None = None
    smallest_list: Annotated[int, Field(ge=100)] | None = None
    kind: Code = INCLUSION
    """What the list is for. Anything else than reaching the people on it is refused."""
    identifiers: tuple[Code, ...] = (EMAIL_DIGEST,)
    """By what people are known there. Anything else than digests of e-mail addresses is refused."""


RECIPIENT_OF: Final[dict[str, Recipient]] = {
    "google_ads": Recipient.GOOGLE,
    "google_data_manager": Recipient.GOOGLE,
    "meta": Recipient.META,
}
"""Which recipient a destination reaches. An audience may move from one to another of the same recipient: its list stays."""

LISTS: Final[dict[str, type[_Table]]] = {
    "controllers": Controller,
    "recipients": RecipientTable,
    "purposes": PurposeTable,
    "texts": Text,
    "destinations": DestinationTable,
    "ad_accounts": AdAccount,
    "segments": Segment,
    "audiences": AudienceTable,
}
"""The tables of which a file has several."""

SINGLES: Final[dict[str, type[_Table]]] = {
    "policy": Policy,
    "kill_switch": KillSwitchTable,
    "sensitive": Sensitive,
    "retention": Retention,
    "store": Store,
    "ledger": LedgerTable,
    "engine": EngineTable,
    "execution": Execution,
    "screening": Screening,
    "gates": Gates,
    "alerts": Alerts,
}
"""The tables of which a file has one."""
STOPS_NOTHING: Final = frozenset({"alerts"})
"""Tables in which a fault stops no list."""
READ_ALONE: Final = frozenset({"kill_switch"})
"""Tables that are read whatever else is wrong, and in which a fault makes no other table unusable."""
MAY_BE_LEFT_OUT: Final = frozenset({"purposes"})
"""Lists of tables that a file may do without."""

Document = dict[str, Any]
"""The file as TOML gives it."""

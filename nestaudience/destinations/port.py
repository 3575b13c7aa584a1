"""What every platform must be able to do for us, and the values that cross this line.

A destination creates and finds remote lists, turns a batch into one request, sends it, and says later what became of it. It decides
nothing about people, keeps no memory, and never retries a request that may have had an effect. Requests are made in two steps
so that the wire guard can look at the exact message: `prepare` builds it, `send` sends it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, runtime_checkable

from nestaudience.errors import NestAudienceError
from nestaudience.hashing.digests import Digests
from nestaudience.vocabulary import Operation, Recipient


@dataclass(frozen=True, slots=True)
class ConsentSignals:
    """What the grants of a batch's people cover, in Google's two words. Derived from the grants' texts, never assumed."""

    ad_user_data: bool
    ad_personalization: bool


@dataclass(frozen=True, slots=True)
class Account:
    """The ad account that a binding names. `login_account_id` is set when access goes through a manager account."""

    account_id: str
    login_account_id: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One remote list on its bound account."""

    account: Account
    list_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The people of one request, after the last look. Made in `delivery` only.

    `consent` is needed for additions at Google, the only recipient that takes such signals, and must be None otherwise.
    """

    batch_id: bytes
    operation: Operation
    digests: Digests
    consent: ConsentSignals | None = None

    def __post_init__(self) -> None:
        if len(self.batch_id) != 16:
            raise ValueError("a batch id has 16 bytes")
        if len(self.digests) == 0 or not self.digests.without_null():
            raise ValueError("a batch has at least one person, and a digest for each")
        if (self.consent is not None) != (self.operation is Operation.ADD and self.digests.recipient is Recipient.GOOGLE):
            raise ValueError("consent signals go with additions at Google, and with nothing else")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a prepared message really holds, read back from its serialised bytes."""

    account_id: str
    list_id: str
    operation: Operation
    identifiers: list[str] = field(repr=False)


class Prepared(Protocol):
    """One request, built and not yet sent."""

    def contents(self) -> Contents:
        """Parse the bytes that will go out, and say what they hold."""


@dataclass(frozen=True, slots=True)
class StillProcessing:
    """No result yet."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Applied in full. `records` is the platform's own count, `warnings` counts by reason code."""

    records: int
    warnings: tuple[tuple[str, int], ...] = ()
    match_rate: str | None = None


@dataclass(frozen=True, slots=True)
class PartlyRefused:
    """Some of the batch was refused; which people is not told."""

    records: int
    errors: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of the batch was applied."""

    errors: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class NeverSeen:
    """The platform does not know the request, or keeps no result so old."""

    code: str


Settlement = StillProcessing | Succeeded | PartlyRefused | Failed | NeverSeen


@dataclass(frozen=True, slots=True)
class Accepted:
    """The platform took the request; `request_id` asks for its result later.

    `settlement`: what became of it, where the platform says so in the same answer.
    """

    request_id: str
    settlement: Succeeded | PartlyRefused | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The platform refused the request, provably without effect. `code` is from the destination's error table.

    `rows`: None when the refusal is not about single people; otherwise the places in the batch of those whom it is about, each with a reason code,
    and empty when the platform does not say who they are. `passing`: what stands in the way passes by itself; `ready` waits for it, and then the same
    people may be sent in a request of their own.
    """

    code: str
    rows: tuple[tuple[int, str], ...] | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class NoReceipt:
    """No answer, or none that says what happened: the request may have had its effect."""

    code: str


Receipt = Accepted | Refused | NoReceipt


@dataclass(frozen=True, slots=True)
class ListSpec:
    """What a remote list is created with. `name` is opaque and `code` finds the list again after a lost answer."""

    code: str
    name: str
    membership_days: int


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What the platform says of a list. Sizes are None while it does not know them; `match_rate` is a percentage.

    `eligible_for`: the words of those uses for which the platform would take the list now; None where it does not say.
    """

    list_id: str
    code: str
    name: str
    open: bool
    membership_days: int | None
    size: int | None
    match_rate: int | None
    closing_reason: str | None
    eligible_for: tuple[str, ...] | None = None


@runtime_checkable
class Sweeping(Protocol):
    """A destination that can take off a list, in one request, whoever was last added to it before a moment."""

    def prepare_sweep(self, target: Target, as_of: datetime) -> Prepared:
        """Build the request; `as_of` is UTC. Its contents name no identifier. `send` sends it, and `status` says what became of it."""


@runtime_checkable
class CountsElsewhere(Protocol):
    """A destination whose allowance is counted in this process, and shared with others."""

    def count_elsewhere(self, requests: int) -> None:
        """So many requests about people were sent by other processes within the last minute: they count here as if they were sent now."""


@runtime_checkable
class OptsOut(Protocol):
    """A destination that can ask for people to be taken off every customer list of an ad account at once."""

    opt_out_size: int
    """How many people one such request may hold."""

    def prepare_opt_out(self, account: Account, batch: Batch) -> Prepared:
        """Build the one request of a batch of removals; its contents name no list. `send` sends it, and no answer to it proves anything."""


@runtime_checkable
class TellsTerms(Protocol):
    """A destination whose platform says whether an account accepted its terms for customer data."""

    def terms_accepted(self, account: Account) -> bool:
        """What the platform says. Raises as the methods of `Destination` do."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What the platform says of an ad account. None where it does not say.

    `business_id`: who owns it; `currency` as ISO 4217; `terms_accepted`: those for customer data. `api_version` answered; `upgraded`: the
    platform says that it was another one than was asked for, because that one has ended.
    """

    account_id: str
    business_id: str | None
    currency: str | None
    terms_accepted: bool
    api_version: str | None = None
    upgraded: bool = False

    def __post_init__(self) -> None:
        if not self.account_id:
            raise ValueError("an account has an id")


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What the platform says of our way to an account. None where it does not say.

    `missing`: permissions that the work needs and that were not granted. `system_user`: the credentials belong to a user that is no person.
    """

    missing: tuple[str, ...] | None
    system_user: bool | None


@runtime_checkable
class TellsAccount(Protocol):
    """A destination whose platform says whose an ad account is, and what our credentials may do there. Both raise as `Destination` does."""

    def account_facts(self, account: Account) -> AccountFacts:
        """What it says of the account: one read. Raises `MustStop`: `wrong_account` when it speaks of another one."""

    def access_facts(self, business_id: str | None) -> AccessFacts:
        """What it says of our credentials, and whether `business_id`, if it is known, lists their user: up to three reads."""


@dataclass(frozen=True, slots=True)
class ListSigns:
    """What a platform shows of a list of ours beyond its facts. None where it does not say.

    `owner`: the ad account that it belongs to; `operation` and `delivery`: the platform's own codes of how the list is, and whether ads may use it;
    `lower` and `upper`: bounds of its size. `deleted_on`: the day (UTC) on which the platform deletes it; `violating`: names of the list's fields
    that break the platform's rules. `lookalikes`: ids of audiences that are built on it; `shared_with`: the other ad accounts that may use it.
    `sessions_open`: uploads that do not say that they have ended, of the latest hundred.
    """

    list_id: str
    owner: str
    operation: int | None = None
    delivery: int | None = None
    lower: int | None = None
    upper: int | None = None
    deleted_on: date | None = None
    violating: tuple[str, ...] = ()
    lookalikes: tuple[str, ...] = ()
    shared_with: tuple[str, ...] | None = None
    sessions_open: int | None = None


@dataclass(frozen=True, slots=True)
class AccountSigns:
    """The signs of some lists, and how many customer lists other accounts share into theirs."""

    lists: tuple[ListSigns, ...]
    shared_in: int


@runtime_checkable
class TellsSigns(Protocol):
    """A destination whose platform shows more of a list than its facts."""

    def signs(self, account: Account, list_ids: frozenset[str]) -> AccountSigns:
        """The signs of these lists of one account; one that the platform shows nowhere is left out. Raises as `Destination` does."""


class Destination(Protocol):
    """The transport to one recipient.

    Every method may raise `NeedsFix` (credentials, permissions, terms), `TryAgain` (busy, down; nothing happened), `MustStop`
    (`wrong_account`: the platform speaks of another account than was asked for) and nothing else.
    `send` raises nothing: whatever happens on the way is a receipt.
    """

    name: str
    recipient: Recipient
    batch_size: int

    def find_list(self, account: Account, code: str) -> ListFacts | None:
        """The list with this code on this account; None when the account, read with our credentials, has none."""

    def create_list(self, account: Account, spec: ListSpec) -> ListFacts:
        """Create a list; raises `NotKnown` as well when the answer was lost (look it up by its code)."""

    def read_list(self, target: Target) -> ListFacts | None:
        """The list with this id; None only when an authenticated read of the account proves that it is gone."""

    def lists(self, account: Account) -> tuple[ListFacts, ...]:
        """Every customer list of this account that takes contact data, ours and foreign ones."""

    def delete_list(self, target: Target) -> None:
        """Delete a list for good; a list that is gone already is no error. Raises `NotKnown` as well when the answer was lost."""

    def ready(self, target: Target, operation: Operation, sent_today: int) -> None:
        """Wait, a minute or two at most, until one more request about people of this list may start; asked before each batch's last look.

        `sent_today`: requests that the ledger knows of the last 24 hours, to all lists of this destination. Raises `TryAgain` when that is all that
        the platform takes in a day; additions end a little earlier than removals.
        """

    def prepare(self, target: Target, batch: Batch) -> Prepared:
        """Build the one request of a batch."""

    def send(self, prepared: Prepared) -> Receipt:
        """Send it once."""

    def status(self, request_id: str, operation: Operation, *, sent_at: datetime, now: datetime) -> Settlement:
        """Ask what became of an accepted request. Times are UTC."""

    def error_of(self, code: str, where: str) -> NestAudienceError:
        """The error, by remedy, for a code of this destination; `where` is a key of ours."""

    def close(self) -> None:
        """Release connections."""

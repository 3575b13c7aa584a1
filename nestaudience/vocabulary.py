"""The words of the system as types: who, to whom, for what, and why not.

Pure data; reads nothing and decides nothing. The order of `Reason` is the order in which a refusal is reported: the first
reason that applies is the primary one.
"""

from enum import StrEnum
from typing import Final, NewType
from zoneinfo import ZoneInfo

STOCKHOLM: Final = ZoneInfo("Europe/Stockholm")
"""The zone in which times are shown, and by which a night has its date. Everything is kept in UTC."""

ControllerId = NewType("ControllerId", str)
"""Key of a group company that answers for its own customers' data."""
SegmentCode = NewType("SegmentCode", str)
"""Key of a rule that selects account holders of one controller."""
AudienceKey = NewType("AudienceKey", str)
"""`controller/segment/recipient`: one remote list on one ad account."""
RunId = NewType("RunId", str)
"""UUIDv7 in text form; orders by time of start."""


class Recipient(StrEnum):
    """A legal entity that receives digests. The set is closed: a third one is a change of the privacy policy."""

    GOOGLE = "google"
    META = "meta"


class Purpose(StrEnum):
    """What an address or an event may be used for (a closed registry)."""

    AD_MATCHING = "ad_matching"
    ENHANCED_CONVERSIONS = "enhanced_conversions"
    WEB_BEHAVIOUR = "web_behaviour"
    ORDER_ANALYSIS = "order_analysis"


class EventSource(StrEnum):
    """Where an event was given; the store's own names are mapped to these in the configuration."""

    ACCOUNT_PREFS = "account_prefs"
    CHECKOUT_OPTIN = "checkout_optin"
    COOKIE_BANNER = "cookie_banner"
    COMM_SETTINGS = "comm_settings"
    SIGNUP = "signup"
    NEWSLETTER = "newsletter"
    SUPPORT_CASE = "support_case"
    DSR = "dsr"
    IMPORT = "import"


class Environment(StrEnum):
    """Where this installation stands. A ledger is born with one and refuses any other."""

    SANDBOX = "sandbox"
    STAGING = "staging"
    PRODUCTION = "production"


class Operation(StrEnum):
    """What a batch asks of a platform."""

    ADD = "add"
    REMOVE = "remove"


class RunKind(StrEnum):
    """Which job wrote an entry."""

    NIGHTLY = "nightly"
    WITHDRAWALS = "withdrawals"
    BACKFILL = "backfill"
    MANUAL = "manual"
    DRILL = "drill"
    SANDBOX = "sandbox"


class KillSwitch(StrEnum):
    """What a person has stopped by hand, in the configuration."""

    OFF = "off"
    ADDITIONS = "additions"
    """Nobody joins a list; removals leave."""
    EVERYTHING = "everything"
    """Nothing is sent, not even a no: it stays owed, and its clock runs."""


class Mode(StrEnum):
    """What a run sends to the lists in its scope."""

    DIFF = "diff"
    """What brings each list into line."""
    RESEND = "resend"
    """That, and everybody who should be there once more."""
    REPLACE = "replace"
    """The same; and when the platform took everybody, whoever is on the list from before is swept off."""
    RETRACT = "retract"
    """Noes, and exactly the people whom one earlier run added; nobody joins."""


class Cause(StrEnum):
    """Why a person did something by hand. Free text is kept elsewhere, under a case."""

    CAMPAIGN_START = "campaign_start"
    FEED_FAULT = "feed_fault"
    RULE_CHANGE = "rule_change"
    PLATFORM_FAULT = "platform_fault"
    MISSED_NIGHT = "missed_night"
    TEST = "test"
    OTHER_SEE_CASE = "other_see_case"


class Language(StrEnum):
    """The languages in which a data subject is answered."""

    SV = "sv"
    EN = "en"


class Reason(StrEnum):
    """Why an account is not eligible, in order of report. A reason's bit in a mask is its position here."""

    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_LOCKED = "account_locked"
    VANISHED = "vanished"
    OTHER_CONTROLLER = "other_controller"
    ERASURE = "erasure"
    RESTRICTED = "restricted"
    OBJECTED = "objected"
    SUPPRESSED = "suppressed"
    MINOR = "minor"
    PROTECTED = "protected"
    CONSENT_MISSING = "consent_missing"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    COOKIES_REFUSED = "cookies_refused"
    CONSENT_EXPIRED = "consent_expired"
    CONSENT_TEXT_INSUFFICIENT = "consent_text_insufficient"
    CONSENT_OTHER_SCOPE = "consent_other_scope"
    CONSENT_UNUSABLE = "consent_unusable"
    BEHAVIOUR_CONSENT_MISSING = "behaviour_consent_missing"
    ANALYSIS_OBJECTED = "analysis_objected"
    LOOKBACK_EXCEEDED = "lookback_exceeded"
    BUSINESS_CONTACT = "business_contact"
    INACTIVE = "inactive"
    COUNTRY_OUT_OF_SCOPE = "country_out_of_scope"
    TEST_OR_STAFF = "test_or_staff"
    MALFORMED = "malformed"
    ADDRESS_INVALID = "address_invalid"
    ADDRESS_NOT_FROM_ACCOUNT = "address_not_from_account"
    ADDRESS_UNVERIFIED = "address_unverified"
    ADDRESS_SHARED_WITH_BLOCKED = "address_shared_with_blocked"

    @property
    def bit(self) -> int:
        """The reason's place in a mask of reasons: a power of two below 2**29."""
        return 1 << _ORDER[self]


_ORDER: Final = {reason: place for place, reason in enumerate(Reason)}

NO_REASONS: Final = frozenset(
    {
        Reason.ERASURE,
        Reason.RESTRICTED,
        Reason.OBJECTED,
        Reason.ANALYSIS_OBJECTED,
        Reason.SUPPRESSED,
        Reason.MINOR,
        Reason.PROTECTED,
        Reason.ACCOUNT_CLOSED,
        Reason.CONSENT_WITHDRAWN,
        Reason.COOKIES_REFUSED,
        Reason.CONSENT_EXPIRED,
        Reason.ADDRESS_SHARED_WITH_BLOCKED,
    }
)
"""The reasons that are a no: positive, well-formed evidence that the person must not be on a list."""

NO_MASK: Final = sum(reason.bit for reason in NO_REASONS)
"""`mask & NO_MASK` is non-zero when any reason in the mask is a no."""

URGENT_REASONS: Final = NO_REASONS - {
    Reason.ACCOUNT_CLOSED,
    Reason.CONSENT_WITHDRAWN,
    Reason.COOKIES_REFUSED,
    Reason.CONSENT_EXPIRED,
}
"""Noes that wait for no destination's cadence: rights that somebody used, what memory keeps of them, and whoever must not be advertised to."""
URGENT_MASK: Final = sum(reason.bit for reason in URGENT_REASONS)
"""`mask & URGENT_MASK` is non-zero when any reason in the mask waits for no cadence."""


def reasons_in(mask: int) -> tuple[Reason, ...]:
    """The reasons of a mask, primary first."""
    return tuple(reason for reason in Reason if mask & reason.bit)


class KeyUse(StrEnum):
    """What a key is for. No key has two uses."""

    INDEX = "index"
    """Person and account tokens."""
    SUPPRESSION = "suppression"
    """Tokens of remembered noes."""
    SEAL = "seal"
    """Sealed digests of memberships."""
    MASTER = "master"
    """Person keys, together with a person's salt."""
    NAME = "name"
    """Opaque names of remote lists."""
    SIGNING = "signing"
    """Checkpoints (Ed25519 seed)."""

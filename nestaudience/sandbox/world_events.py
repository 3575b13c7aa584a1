"""What the people of the demo's store said: consents and rights, story by story, and the texts that they were shown.

Every history is built so that its story's reason follows from it; this module decides nothing about anybody.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from nestaudience.sandbox.world_people import COMPANIES, CONSENTED, DAY, Ints, People, iso
from nestaudience.screening.rules import ConsentText
from nestaudience.vocabulary import ControllerId, EventSource, Purpose, Recipient

_SIGNALS: Final = frozenset({"ad_user_data", "ad_personalization"})
_EVERYBODY: Final = frozenset(ControllerId(company) for company in COMPANIES)


def _text(
    version: str, since: datetime, purposes: set[Purpose], recipients: set[Recipient], signals: frozenset[str]
) -> ConsentText:
    return ConsentText(version, since, _EVERYBODY, frozenset(purposes), frozenset(recipients), signals)


_COOKIES: Final = {Purpose.WEB_BEHAVIOUR, Purpose.ENHANCED_CONVERSIONS}
TEXTS: Final = (
    _text("ads-2022-06", datetime(2022, 6, 1, tzinfo=UTC), {Purpose.AD_MATCHING}, set(Recipient), _SIGNALS),
    _text("ads-google-2025-03", datetime(2025, 3, 1, tzinfo=UTC), {Purpose.AD_MATCHING}, {Recipient.GOOGLE}, _SIGNALS),
    _text("ads-2025-09", datetime(2025, 9, 1, tzinfo=UTC), {Purpose.AD_MATCHING}, set(Recipient), _SIGNALS),
    _text("cookies-2022-06", datetime(2022, 6, 1, tzinfo=UTC), _COOKIES, {Recipient.GOOGLE}, _SIGNALS),
)
"""The registered consent texts of the demo. The store also holds `ads-test-b`, which nobody registered."""

SOURCES: Final = {
    "web_account_settings": EventSource.ACCOUNT_PREFS,
    "checkout_box": EventSource.CHECKOUT_OPTIN,
    "cookie_banner": EventSource.COOKIE_BANNER,
    "communication_page": EventSource.COMM_SETTINGS,
    "signup_form": EventSource.SIGNUP,
    "newsletter_form": EventSource.NEWSLETTER,
    "customer_service": EventSource.SUPPORT_CASE,
    "privacy_request": EventSource.DSR,
    "crm_import": EventSource.IMPORT,
}
"""The store's names of sources. It also holds events from `till_tablet`, which is not mapped."""

IRRELEVANT_PURPOSES: Final = frozenset({"newsletter", "sms"})
"""Purposes that the store keeps and that do not matter for lists."""

_SWITCH: Final = int(datetime(2025, 9, 1, tzinfo=UTC).timestamp())
_CONSENT = "account_id company purpose recipient action occurred_at recorded_at source source_seq confirmed text_version"
_RIGHT = "account_id email company action purpose occurred_at recorded_at source source_seq case_id"
CONSENT_COLUMNS: Final = tuple(_CONSENT.split())
"""The columns of `shop_consent` but the id."""
RIGHT_COLUMNS: Final = tuple(_RIGHT.split())
"""The columns of `shop_right` but the id."""
_NO_PLAIN_GRANT: Final = (
    "never_asked",
    "expired",
    "text_google_only",
    "text_unregistered",
    "other_company_grant",
    "google_only_grant",
    "unconfirmed",
    "unusable_source",
    "odd_clock",
)
"""Stories whose grants, if any, are told apart."""


class Said:
    """Events as they are said. `consents` and `rights` are rows in the order of `CONSENT_COLUMNS` and `RIGHT_COLUMNS`."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.consents: list[tuple[Any, ...]] = []
        self.rights: list[tuple[Any, ...]] = []

    def consent(
        self,
        rows: Ints,
        at: Ints,
        *,
        action: str = "grant",
        purpose: str = "ad_matching",
        recipient: str = "*",
        source: str | Sequence[str] = "web_account_settings",
        seq: int | None = None,
        confirmed: int = 1,
        text: str | None = None,
        company: Sequence[str] | None = None,
        delay: int = 2,
        clocks: Sequence[str | None] | None = None,
    ) -> None:
        """One event for each of these accounts, recorded `delay` seconds after it was said. `clocks` replaces `occurred_at`.

        Without `text`, a grant has the text that was in force.
        """
        texts: list[str | None] = [text] * len(rows)
        if text is None and action == "grant":
            texts = [_in_force(purpose, moment) for moment in at.tolist()]
        sources = [source] * len(rows) if isinstance(source, str) else list(source)
        self.consents += [
            (who, where, purpose, recipient, action, said, recorded, origin, seq, confirmed, shown)
            for who, where, said, recorded, origin, shown in zip(
                self.people.account_id[rows].tolist(),
                self.people.company[rows].tolist() if company is None else company,
                iso(at) if clocks is None else clocks,
                iso(at + delay),
                sources,
                texts,
                strict=True,
            )
        ]

    def right(
        self,
        rows: Ints,
        at: Ints,
        action: str,
        *,
        purpose: str = "ad_matching",
        source: str = "privacy_request",
        emails: Sequence[str | None] | None = None,
        seq: int | None = None,
    ) -> None:
        """One event for each of these accounts; with `emails` it names the address and no account."""
        first = len(self.rights)
        cased = source in {"privacy_request", "customer_service"}
        self.rights += [
            (
                None if emails else who,
                email,
                where,
                action,
                purpose,
                said,
                recorded,
                source,
                seq,
                f"C-{first + k}" if cased else None,
            )
            for k, (who, email, where, said, recorded) in enumerate(
                zip(
                    self.people.account_id[rows].tolist(),
                    emails or [None] * len(rows),
                    self.people.company[rows].tolist(),
                    iso(at),
                    iso(at + 3_600 if cased else at + 2),
                    strict=True,
                )
            )
        ]


def _in_force(purpose: str, at: int) -> str | None:
    if purpose == "ad_matching":
        return "ads-2025-09" if at >= _SWITCH else "ads-2022-06"
    return "cookies-2022-06" if purpose in {"web_behaviour", "enhanced_conversions"} else None


def numbered(rows: list[tuple[Any, ...]], columns: Sequence[str], letter: str, first: int) -> dict[str, list[Any]]:
    """Columns with event ids, in the order of recording."""
    place = columns.index("recorded_at")
    ordered = sorted(rows, key=lambda row: (row[place], str(row)))
    table = {name: [row[k] for row in ordered] for k, name in enumerate(columns)}
    return {"event_id": [f"{letter}{first + k:09}" for k in range(len(ordered))]} | table


class Histories:
    """The first histories of a whole store, as it stands at `end` (seconds since 1970)."""

    def __init__(self, rng: np.random.Generator, people: People, end: int) -> None:
        self._rng = rng
        self._people = people
        self._end = end
        self.said = Said(people)
        self.asked = self._grant_times()
        """When each account was asked for list matching; the stories' grants are given then."""
        self.cookies = np.full(len(people), -1, dtype=np.int64)
        """When each account granted `web_behaviour`, -1 for those who did not."""

    def tell(self) -> Said:
        """All of it."""
        self._newsletters()
        self._cookies()
        self._good_grants()
        self._weak_grants()
        self._withdrawals()
        self._objections()
        self._other_rights()
        self._faults()
        return self.said

    def _grant_times(self) -> Ints:
        """Between 40 and 600 days ago, and after the account was opened."""
        earliest = np.maximum(self._people.created + 3_600, self._end - 600 * DAY)
        latest = self._end - 38 * DAY
        times: Ints = earliest + (self._rng.random(len(self._people)) * (latest - earliest)).astype(np.int64)
        return times

    def _later(self, rows: Ints) -> Ints:
        """A moment after the grant, at least an hour ago."""
        start = self.asked[rows] + 3_600
        return start + (self._rng.random(len(rows)) * (self._end - 7_200 - start)).astype(np.int64)

    def _some(self, rows: Ints, share: float) -> Ints:
        some: Ints = rows[self._rng.random(len(rows)) < share]
        return some

    def _newsletters(self) -> None:
        everyone = np.arange(len(self._people))
        readers = self._some(everyone, 0.4)
        self.said.consent(readers, self.asked[readers] - 1_800, purpose="newsletter", source="newsletter_form")
        tired = self._some(readers, 0.3)
        self.said.consent(tired, self._later(tired), purpose="newsletter", action="withdraw", source="communication_page")
        texted = self._some(everyone, 0.1)
        self.said.consent(texted, self.asked[texted], purpose="sms", source="signup_form")

    def _cookies(self) -> None:
        """Seven in ten accept cookies, a fifth of those who were never asked refuse them."""
        people = self._people
        silent = np.isin(people.story.astype(str), ("never_asked", "cookies_refused", "cookies_accepted_again"))
        accepts = (self._rng.random(len(people)) < 0.7) | people.anchor
        rows = np.flatnonzero(accepts & ~silent)
        recent = np.maximum(people.created[rows] + 60, self._end - self._rng.integers(45 * DAY, 330 * DAY, len(rows)))
        self.cookies[rows] = recent
        self.said.consent(rows, recent, purpose="web_behaviour", source="cookie_banner")
        both = self._some(rows, 0.6)
        self.said.consent(both, self.cookies[both], purpose="enhanced_conversions", recipient="google", source="cookie_banner")
        refusing = self._some(people.told("never_asked"), 0.2)
        self._refuse(refusing)
        self._refuse(people.told("cookies_refused"))
        again = people.told("cookies_accepted_again")
        self._refuse(again)
        self.cookies[again] = self._end - self._rng.integers(29 * DAY, 37 * DAY, len(again))
        self.said.consent(again, self.cookies[again], purpose="web_behaviour", source="cookie_banner")

    def _refuse(self, rows: Ints) -> None:
        self.said.consent(rows, self.asked[rows] + 60, purpose="web_behaviour", action="withdraw", source="cookie_banner")

    def _good_grants(self) -> None:
        """Everybody whose story does not say otherwise granted list matching, in the settings or at a checkout."""
        people = self._people
        rows = np.flatnonzero(~np.isin(people.story.astype(str), _NO_PLAIN_GRANT))
        places = np.array(["web_account_settings", "checkout_box", "communication_page"], dtype=object)
        source = places[self._rng.choice(3, len(rows), p=(0.5, 0.4, 0.1))].tolist()
        self.said.consent(rows, self.asked[rows], source=source)
        doubled = self._some(people.told(CONSENTED), 0.1)
        self.said.consent(doubled, self._later(doubled), recipient="meta", source="checkout_box")

    def _weak_grants(self) -> None:
        """Grants that are too old, cover too little, are given elsewhere, or do not count."""
        people, asked = self._people, self.asked
        recent = self._end - self._rng.integers(40 * DAY, 200 * DAY, len(people))
        old = self._end - self._rng.integers(760 * DAY, 1_100 * DAY, len(people))
        for story, at, how in (
            ("expired", old, {}),
            ("text_google_only", recent, {"text": "ads-google-2025-03"}),
            ("text_unregistered", recent, {"text": "ads-test-b"}),
            ("google_only_grant", asked, {"recipient": "google"}),
            ("unconfirmed", asked, {"confirmed": 0, "source": "checkout_box"}),
        ):
            rows = people.told(story)
            self.said.consent(rows, np.maximum(at[rows], people.created[rows] + 60), **how)
        rows = people.told("other_company_grant")
        sister = [COMPANIES[(COMPANIES.index(company) + 1) % len(COMPANIES)] for company in people.company[rows].tolist()]
        self.said.consent(rows, asked[rows], company=sister)
        rows = people.told("unusable_source")
        self.said.consent(
            rows, asked[rows], source=np.resize(["signup_form", "newsletter_form", "till_tablet"], len(rows)).tolist()
        )

    def _withdrawals(self) -> None:
        people = self._people
        rows = people.told("withdrew_all")
        self.said.consent(rows, self._later(rows), action="withdraw")
        rows = people.told("withdrew_one")
        for recipient, part in (("google", rows[::2]), ("meta", rows[1::2])):
            self.said.consent(part, self._later(part), action="withdraw", recipient=recipient)
        rows = people.told("granted_again")
        away = self._later(rows) - 1_800
        self.said.consent(rows, away, action="withdraw", source="customer_service")
        self.said.consent(rows, away + 1_200, source="checkout_box")
        # Two clicks in one minute: inside the skew, so that only the source's own sequence can tell which was last.
        rows = people.told("quick_change")
        once = self._later(rows)
        for half, actions in enumerate((("withdraw", "grant"), ("grant", "withdraw"))):
            for place, action in enumerate(actions):
                self.said.consent(rows[half::2], once[half::2] + 20 * place, action=action, seq=place + 1)

    def _objections(self) -> None:
        people = self._people
        rows = people.told("objected")
        self.said.right(rows[::2], self._later(rows[::2]), "object")
        self.said.right(rows[1::2], self._later(rows[1::2]), "object", purpose="*", source="web_account_settings")
        rows = people.told("objection_lifted", "lift_without_grant")
        at = self.asked[rows] + DAY
        self.said.right(rows, at, "object")
        self.said.right(rows, at + 20 * DAY, "lift_objection", source="web_account_settings")
        back = people.told("objection_lifted")
        self.said.consent(back, self.asked[back] + 22 * DAY)
        rows = people.told("analysis_objected")
        self.said.right(rows[::2], self._later(rows[::2]), "object", purpose="order_analysis")
        self.said.consent(rows[1::2], self._later(rows[1::2]), purpose="order_analysis", action="withdraw")
        strangers = np.arange(min(20, len(people)))
        emails = [f"gast.{row}@example.se" for row in strangers]
        self.said.right(strangers, self._end - strangers * DAY - 2 * DAY, "object", purpose="*", emails=emails)

    def _other_rights(self) -> None:
        people = self._people
        rows = people.told("restricted", "unrestricted")
        self.said.right(rows, self.asked[rows] + DAY, "restrict", purpose="*")
        rows = people.told("unrestricted")
        self.said.right(rows, self.asked[rows] + 15 * DAY, "unrestrict", purpose="*")
        rows = people.told("erasing")
        self.said.right(rows, self._later(rows) - 3_600, "erase", purpose="*")
        rows = people.told("closed_by_event")
        self.said.right(rows, self._later(rows), "close", purpose="*", source="web_account_settings")
        rows = people.told("erased_by_address")
        self.said.right(rows, self._later(rows) - 3_600, "erase", purpose="*", emails=people.email[rows].tolist())
        rows = people.told("registered_again")
        self.said.right(rows, people.created[rows] - 30 * DAY, "erase", purpose="*", emails=people.email[rows].tolist())

    def _faults(self) -> None:
        """What a feed gets wrong: clocks, and words outside the contract. A handful of each."""
        people = self._people
        rows = people.told("odd_clock")
        at = self.asked[rows]
        ahead = iso(at + 2 * DAY)
        odd = (None, "2025-06-01T10:00:00", "01/06/2025 10:00", "2025-02-30T10:00:00Z", "2099-01-01T00:00:00Z")
        self.said.consent(rows, at, clocks=[odd[k] if k < len(odd) else ahead[k] for k in range(len(rows))])
        rows = people.told("unknown_action")
        self.said.consent(rows, self._later(rows), action="revoke?", source="crm_import")
        rows = people.told("unknown_words")
        self.said.consent(rows[::2], self._later(rows[::2]), action="withdraw", recipient="tiktok")
        self.said.consent(rows[1::2], self._later(rows[1::2]), action="withdraw", purpose="all_marketing")

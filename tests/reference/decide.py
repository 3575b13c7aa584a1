"""Who may be on a list, decided account by account (rules §4 rules 1-9 and 12, §5): the answer that screening must equal.

Slow and plain on purpose. Of the ledger it knows the remembered noes that it is given (rule 13); rules 10 and 11 and the gates are not here.
Where the rules leave room, "Read as:" says what was chosen.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta

from nestaudience.screening.rules import AudienceRule, ConsentText, Funnel, Rules
from nestaudience.vocabulary import EventSource, Purpose, Reason, Recipient

from .events import Event, beats, clocks_of_no, clocks_usable, mapped_source, read_events, unfollowed, usable_grant
from .memory import CODES, with_first_seen, without_alike, worth_keeping
from .people import Person, people_of, same_address
from .rows import Row, World
from .values import form_at, moment, months_after

Decisions = dict[str, frozenset[Reason]]

_COOKIES = (Purpose.WEB_BEHAVIOUR.value, Purpose.ENHANCED_CONVERSIONS.value)
_GOOGLE_SIGNALS = {"ad_user_data", "ad_personalization"}


def decide(world: World, rules: Rules, audience: AudienceRule, now: datetime, remembered: Iterable[Event] = ()) -> Decisions:
    """Every reason that was evaluated and applies, for each candidate of the audience by account id; none means eligible.

    Read as: a row of `segment_member` without account id is no candidate; an account that has several counts once, and every
    reason that any of its rows gives applies. `remembered` are noes as `remembered_noes` gives them.
    """
    candidates: dict[str, list[Row]] = defaultdict(list)
    for row in world.segment_member:
        account_id = row["account_id"]
        if row["segment_code"] == audience.segment and row["controller_id"] == audience.controller and account_id is not None:
            candidates[account_id].append(row)
    store = _Store(world, rules, now, tuple(remembered))
    return {account_id: frozenset(_with_memory(store, audience, account_id, rows)) for account_id, rows in candidates.items()}


def remembered_noes(world: World, rules: Rules, now: datetime) -> list[Event]:
    """What a night at this time remembers of a world, and had not remembered before."""
    store = _Store(world, rules, now)
    standing = store.standing_restrictions()
    noes = [e for e in store.consents + store.rights if e.action != "restrict" or e in standing]
    return worth_keeping(noes, store.people, rules, now)


def _with_memory(store: "_Store", audience: AudienceRule, account_id: str, rows: list[Row]) -> set[Reason]:
    """Read as: a code that the store alone gives stays; where memory adds a code that is a no, `suppressed` is added in its place. That somebody's
    visits may not be used is no such code: it stays what it is.
    """
    alone = _Question(store, audience, account_id).answer(rows)
    if not store.remembered:
        return alone
    more = _Question(store.with_memory(), audience, account_id).answer(rows) - alone
    return alone | (more & {Reason.BEHAVIOUR_CONSENT_MISSING}) | ({Reason.SUPPRESSED} if more & CODES else set())


def funnel(decisions: Mapping[str, frozenset[Reason]]) -> Funnel:
    """Candidates, eligible, and refused by primary reason."""
    primary = Counter(next(reason.value for reason in Reason if reason in reasons) for reasons in decisions.values() if reasons)
    return Funnel(len(decisions), sum(not reasons for reasons in decisions.values()), dict(primary))


class _Store:
    """A world with its events and people read, the same for every candidate."""

    def __init__(self, world: World, rules: Rules, now: datetime, remembered: tuple[Event, ...] = ()) -> None:
        self.rules, self.now, self.remembered = rules, now, remembered
        self.consents = with_first_seen(read_events("consent_event", world.consent_event), remembered)
        self.rights = with_first_seen(read_events("rights_event", world.rights_event), remembered)
        self.consents, self.rights = without_alike(self.consents, self.rights, rules)
        self.people = people_of(world.account, self.consents + self.rights, rules, now)

    def with_memory(self) -> "_Store":
        """The same people and events, and the noes that memory keeps."""
        both = copy(self)
        both.consents = self.consents + [e for e in self.remembered if e.view == "consent_event"]
        both.rights = self.rights + [e for e in self.remembered if e.view == "rights_event"]
        return both

    def standing_restrictions(self) -> list[Event]:
        """Read as: an `unrestrict` needs usable clocks, and nothing of its source."""
        ends = [e for e in self.rights if e.action == "unrestrict" and clocks_usable(e, self.now, self.rules.skew)]
        return [
            no
            for no in self.rights
            if no.action == "restrict" and not any(e.holder == no.holder and beats(e, no, self.rules.skew) for e in ends)
        ]


class _Question:
    """One candidate of one audience."""

    def __init__(self, store: _Store, audience: AudienceRule, account_id: str) -> None:
        self.store, self.rules, self.now, self.audience = store, store.rules, store.now, audience
        self.account_id = account_id
        self.person = store.people.get(account_id)
        self.texts = {text.version: text for text in store.rules.texts}
        self.own_grants = [e for e in store.consents if e.account == account_id and e.action == "grant"]

    def answer(self, rows: list[Row]) -> set[Reason]:
        """Read as: a vanished account keeps the consent and rights codes of its own events, a `close` and an objection to
        `order_analysis` among them, and nothing else.
        """
        reasons = self._rights() | self._consent()
        if self.person is None:
            return reasons | {Reason.VANISHED}
        reasons |= self._account(self.person) | self._address(self.person)
        if any(unfollowed(e, self._events()) for e in self._events() if e.account == self.account_id):
            reasons.add(Reason.MALFORMED)
        for row in rows:
            reasons |= self._segment(row)
        return reasons

    def _events(self) -> list[Event]:
        return self.store.consents + self.store.rights

    # --- reach -----------------------------------------------------------------------------------------------------------

    def _reaches(self, no: Event) -> bool:
        """Rule 7: its own account, and every account with the same canonical address."""
        if no.account is not None and no.account == self.account_id:
            return True
        origin = self.store.people.get(no.account) if no.account is not None else None
        address = origin.canonical if origin is not None else no.address
        address = no.kept if no.remembered else address
        return address is not None and self.person is not None and self.person.canonical == address

    def _withdrawal_reaches(self, no: Event) -> bool:
        """Rule 7 with the setting that narrows withdrawals.

        Read as: a withdrawal without controller is in doubt, and is not narrowed; a vanished account is the audience's controller's.
        """
        controller = self.audience.controller if self.person is None else self.person.facts["controller_id"]
        here = no.controller is None or no.controller == controller
        return self._reaches(no) and (self.rules.withdrawals_group_wide or here)

    def _beats_all(self, yes: Event, noes: Iterable[Event]) -> bool:
        return all(beats(yes, no, self.rules.skew) for no in noes)

    # --- rights ----------------------------------------------------------------------------------------------------------

    def _rights(self) -> set[Reason]:
        reasons = set()
        rights = self.store.rights
        if any(e.action == "close" and e.account == self.account_id for e in rights):
            reasons.add(Reason.ACCOUNT_CLOSED)
        if any(e.action == "erase" and self._erased_by(e) for e in rights):
            reasons.add(Reason.ERASURE)
        if any(self._reaches(no) for no in self.store.standing_restrictions()):
            reasons.add(Reason.RESTRICTED)
        objections = [e for e in rights if e.action == "object" and self._reaches(e)]
        if any(not self._lifted(no) for no in objections if no.purpose != Purpose.ORDER_ANALYSIS):
            reasons.add(Reason.OBJECTED)
        if self.audience.uses_orders and any(not self._analysis_lifted(no) for no in self._analysis_objections(objections)):
            reasons.add(Reason.ANALYSIS_OBJECTED)
        return reasons

    def _erased_by(self, no: Event) -> bool:
        """Rule 9's last sentence, with the erasure's clocks by rule 3."""
        created = self.person.created if self.person is not None else None
        return self._reaches(no) and not (created is not None and created > max(clocks_of_no(no)))

    def _analysis_objections(self, objections: list[Event]) -> list[Event]:
        """Read as: a withdrawal of `order_analysis` is an objection in every way, so the setting does not narrow it."""
        withdrawn = [e for e in self.store.consents if e.action == "withdraw" and e.purpose == Purpose.ORDER_ANALYSIS]
        return [e for e in objections if e.purpose != Purpose.AD_MATCHING] + [e for e in withdrawn if self._reaches(e)]

    def _lifts(self, no: Event, purpose: Purpose) -> list[Event]:
        """Rule 9: lifts given here, from the account settings or a case, that name the purpose and beat the objection.

        Read as: an objection to any other purpose than the two it may name is one to `*`; a lift of an unknown purpose lifts
        nothing.
        """
        return [
            e
            for e in self.store.rights
            if e.action == "lift_objection"
            and (e.account, e.controller) == (self.account_id, self.audience.controller)
            and e.purpose in {purpose.value, "*"}
            and self._from_settings_or_case(e)
            and clocks_usable(e, self.now, self.rules.skew)
            and beats(e, no, self.rules.skew)
        ]

    def _from_settings_or_case(self, lift: Event) -> bool:
        source = mapped_source(lift, self.rules)
        return source is EventSource.ACCOUNT_PREFS or (source in {EventSource.SUPPORT_CASE, EventSource.DSR} and bool(lift.case))

    def _analysis_lifted(self, no: Event) -> bool:
        return bool(self._lifts(no, Purpose.ORDER_ANALYSIS))

    def _lifted(self, no: Event) -> bool:
        """A lift and a grant after it. Read as: the grant's mapped source suffices, for its view has no case."""
        allowed = {EventSource.ACCOUNT_PREFS, EventSource.SUPPORT_CASE, EventSource.DSR}
        grants = [g for g in self._counting() if mapped_source(g, self.rules) in allowed and beats(g, no, self.rules.skew)]
        return any(not _earlier(grant, lift) for lift in self._lifts(no, Purpose.AD_MATCHING) for grant in grants)

    # --- consent ---------------------------------------------------------------------------------------------------------

    def _text(self, event: Event, purpose: str) -> ConsentText | None:
        """The event's text, where it was in force and names the controller and the purpose (rule 5)."""
        text = self.texts.get(event.text) if event.text is not None else None
        if text is None or event.occurred is None or text.valid_from > event.occurred:
            return None
        return text if event.controller in text.controllers and purpose in text.purposes else None

    def _in_scope(self, grant: Event) -> bool:
        """Rule 6. Read as: `*` under a text that is not registered passes here, and fails at the text."""
        if grant.controller != self.audience.controller:
            return False
        text = self.texts.get(grant.text) if grant.text is not None else None
        star = grant.recipient == "*" and (text is None or self.audience.recipient in text.recipients)
        return star or grant.recipient == self.audience.recipient

    def _covered(self, grant: Event) -> bool:
        text = self._text(grant, Purpose.AD_MATCHING)
        if text is None or self.audience.recipient not in text.recipients:
            return False
        return self.audience.recipient is not Recipient.GOOGLE or text.google_signals >= _GOOGLE_SIGNALS

    def _unexpired(self, grant: Event, months: int) -> bool:
        return grant.occurred is not None and self.now < months_after(grant.occurred, months)

    def _matching_grants(self) -> list[Event]:
        return [e for e in self.own_grants if e.purpose == Purpose.AD_MATCHING]

    def _counting(self) -> list[Event]:
        """`ad_matching` grants that pass scope, usability and text, expired or not."""
        grants = [g for g in self._matching_grants() if self._in_scope(g) and usable_grant(g, self.now, self.rules)]
        return [g for g in grants if self._covered(g)]

    def _cookie_counting(self, purpose: str) -> list[Event]:
        """Cookie grants of this purpose given here that count. Read as: their recipient does not matter."""
        grants = [e for e in self.own_grants if e.purpose == purpose and e.controller == self.audience.controller]
        return [g for g in grants if usable_grant(g, self.now, self.rules) and self._text(g, purpose) is not None]

    def _withdrawals(self, fits: Callable[[Event], bool]) -> list[Event]:
        return [e for e in self.store.consents if e.action == "withdraw" and fits(e) and self._withdrawal_reaches(e)]

    def _unknown_purpose(self, no: Event) -> bool:
        """Read as: no purpose is an unknown one."""
        return no.purpose not in set(Purpose) | self.rules.irrelevant_purposes

    def _for_this_recipient(self, no: Event) -> bool:
        return no.recipient == self.audience.recipient or no.recipient not in set(Recipient)

    def _refusals(self) -> list[Event]:
        """Rule 8: cookies refused, while that stands for anything but an `ad_matching` grant."""
        if not self.rules.cookies_block:
            return []
        noes = self._withdrawals(lambda e: e.purpose in _COOKIES or self._unknown_purpose(e))
        return [
            no
            for no in noes
            if no.purpose not in _COOKIES or not any(self._beats_all(g, [no]) for g in self._cookie_counting(str(no.purpose)))
        ]

    def _consent(self) -> set[Reason]:
        reasons = self._filtered()
        counting = self._counting()
        withdrawn = self._withdrawals(
            lambda e: (e.purpose == Purpose.AD_MATCHING or self._unknown_purpose(e)) and self._for_this_recipient(e)
        )
        refused = self._refusals()
        best = [g for g in counting if self._beats_all(g, withdrawn + refused)]
        if best:
            lasting = any(self._unexpired(g, self.rules.consent_months) for g in best)
            return reasons if lasting else reasons | {Reason.CONSENT_EXPIRED}
        if withdrawn and not any(self._beats_all(g, withdrawn) for g in counting):
            reasons.add(Reason.CONSENT_WITHDRAWN)
        unbeaten = not any(self._beats_all(g, refused) for g in counting)
        if refused and (unbeaten or Reason.CONSENT_WITHDRAWN not in reasons):
            reasons.add(Reason.COOKIES_REFUSED)
        return reasons

    def _filtered(self) -> set[Reason]:
        """The step that leaves no grant. Read as: a grant under a conflicting id is there, and unusable."""
        grants = self._matching_grants()
        if not grants:
            return {Reason.CONSENT_MISSING}
        steps: list[tuple[Reason, Callable[[Event], bool]]] = [
            (Reason.CONSENT_OTHER_SCOPE, self._in_scope),
            (Reason.CONSENT_UNUSABLE, lambda g: usable_grant(g, self.now, self.rules)),
            (Reason.CONSENT_TEXT_INSUFFICIENT, self._covered),
            (Reason.CONSENT_EXPIRED, lambda g: self._unexpired(g, self.rules.consent_months)),
        ]
        for reason, passes in steps:
            grants = [grant for grant in grants if passes(grant)]
            if not grants:
                return {reason}
        return set()

    # --- segment, account, address -----------------------------------------------------------------------------------------

    def _segment(self, row: Row) -> set[Reason]:
        """Read as: a usable input date always counts for the lookback; it must be there only where the segment needs it."""
        reasons = set()
        orders, site = moment(row["oldest_order_at"]), moment(row["oldest_site_at"])
        if self.audience.uses_site and not (row["consented_when_collected"] == "1" and self._behaviour_allowed()):
            reasons.add(Reason.BEHAVIOUR_CONSENT_MISSING)
        old_order = orders is not None and months_after(orders, self.rules.order_lookback_months) < self.now
        if old_order or (site is not None and site + timedelta(days=self.rules.site_lookback_days) < self.now):
            reasons.add(Reason.LOOKBACK_EXCEEDED)
        if (self.audience.uses_orders and orders is None) or (self.audience.uses_site and site is None):
            reasons.add(Reason.MALFORMED)
        return reasons

    def _behaviour_allowed(self) -> bool:
        """A `web_behaviour` grant stands here."""
        noes = self._withdrawals(lambda e: e.purpose == Purpose.WEB_BEHAVIOUR or self._unknown_purpose(e))
        grants = self._cookie_counting(Purpose.WEB_BEHAVIOUR.value)
        return any(self._unexpired(g, self.rules.cookie_months) and self._beats_all(g, noes) for g in grants)

    def _account(self, person: Person) -> set[Reason]:
        """Read as: an account without controller is `malformed`, not another controller's."""
        facts = person.facts
        seen = facts["last_active_at"] if facts["last_active_at"] is not None else facts["created_at"]
        active = moment(seen)
        checks = {
            Reason.ACCOUNT_CLOSED: person.closed,
            Reason.ACCOUNT_LOCKED: facts["status"] == "locked",
            Reason.OTHER_CONTROLLER: facts["controller_id"] not in {None, self.audience.controller},
            Reason.MINOR: person.minor,
            Reason.PROTECTED: person.protected,
            Reason.BUSINESS_CONTACT: facts["account_type"] == "business",
            Reason.INACTIVE: active is not None and months_after(active, self.rules.inactive_months) <= self.now,
            Reason.COUNTRY_OUT_OF_SCOPE: facts["country"] not in self.rules.countries,
            Reason.TEST_OR_STAFF: facts["test_or_staff"] == "1",
            Reason.MALFORMED: person.malformed,
        }
        return {reason for reason, applies in checks.items() if applies}

    def _address(self, person: Person) -> set[Reason]:
        """Minimal reading: nothing of this is asked where the address was not read.

        Read as: an address whose source is not told is not from the account.
        """
        if not person.address_read:
            return set()
        blocked = (p for p in self.store.people.values() if p.minor or p.protected)
        checks = {
            Reason.ADDRESS_INVALID: form_at(self.audience.recipient, person.facts["email"]) is None,
            Reason.ADDRESS_NOT_FROM_ACCOUNT: person.facts["email_source"] != "account",
            Reason.ADDRESS_UNVERIFIED: self._unverified(person.facts),
            Reason.ADDRESS_SHARED_WITH_BLOCKED: any(same_address(person, other) for other in blocked),
        }
        return {reason for reason, applies in checks.items() if applies}

    def _unverified(self, facts: Row) -> bool:
        """Read as: an unusable time is a missing one here; the account is `malformed` as well. Without the requirement a
        verification in the future is only compared with the change.
        """
        verified, changed = moment(facts["email_verified_at"]), moment(facts["email_changed_at"])
        pending = changed is not None and (verified is None or changed > verified)
        return pending or (self.rules.require_verified_address and (verified is None or verified > self.now))


def _earlier(grant: Event, lift: Event) -> bool:
    """True when the grant is earlier than the lift on either clock; both have usable ones."""
    clocks = ((grant.occurred, lift.occurred), (grant.recorded, lift.recorded))
    return any(one is None or other is None or one < other for one, other in clocks)

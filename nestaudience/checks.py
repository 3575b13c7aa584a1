"""Everything that can be checked before a run: configuration, keys, ledger, store, credentials, lists, due dates. All problems at once.

It changes nothing and sends nothing to a list. It repeats no rule: what it finds is what the parts themselves say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from nestaudience.config.meta_versions import NEWEST, is_known, served
from nestaudience.config.settings import Audience, Settings
from nestaudience.delivery.accounts import difference
from nestaudience.delivery.lists import WRONG_ACCOUNT
from nestaudience.delta.approvals import (
    approval_faults,
    approval_remedy,
    review_missing,
    review_remedy,
    sensitive_words,
)
from nestaudience.delta.feeds import Facts, feed_problems
from nestaudience.destinations.port import (
    AccessFacts,
    Account,
    AccountFacts,
    Destination,
    ListFacts,
    TellsAccount,
    TellsSigns,
    TellsTerms,
)
from nestaudience.due import due_dates
from nestaudience.errors import NestAudienceError
from nestaudience.feed_facts import told_by
from nestaudience.parts import Parts
from nestaudience.texts_seen import unknown_texts
from nestaudience.transports import secret
from nestaudience.vocabulary import STOCKHOLM, Environment, KillSwitch
from nestaudience.wiring import evidence_can_be_changed, open_parts

_OVER: Final = {
    "terms": "the terms were last confirmed over a year ago",
    "contract": "the contract was last confirmed over a year ago",
    "transfer": "the transfer mechanism was last confirmed over a year ago",
    "approval": "the approval is over a year old",
    "api_version": "the platform serves this version no longer",
}
_NAME_OWNER: Final = (
    "name the business portfolio that owns the account: a second number that says whose it is; in production it must be there"
)
_USE_SYSTEM_USER: Final = (
    "give the installation the token of a system user: one of a person ends with their password or their job"
)
_USE_ROLE: Final = (
    "connect as a role that has no more than what `nestaudience ledger grants` prints, and not as the tables' owner"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to know of."""

    where: str
    what: str
    next_step: str
    exit_code: int = 2
    warning: bool = False

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"where": self.where, "what": self.what, "next": self.next_step, "warning": self.warning}


def check_everything(config: Path, *, clock: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Every finding, in the order in which a person would mend them."""
    found: list[Finding] = []
    try:
        with open_parts(config, clock=clock) as parts:
            found += _opened(parts, clock())
    except NestAudienceError as error:
        found.append(_of(error))
    return tuple(found)


def _opened(parts: Parts, now: datetime) -> Iterator[Finding]:
    for problem in parts.settings.problems:
        yield Finding(problem.path, problem.message, problem.remedy)
    for error in parts.absent.values():
        yield _of(error)
    yield from _log(parts)
    yield from _rights(parts)
    yield from _due(parts, now)
    yield from contacts_missing(parts.settings)
    yield from _approved(parts.settings, now.astimezone(STOCKHOLM).date())
    try:
        lenient = not parts.settings.needs_freshness
        for trouble in parts.store.check():
            absent = lenient and trouble.is_about_status and trouble.code == "view_missing"
            yield Finding(trouble.where, trouble.code, trouble.next_step, warning=trouble.is_warning or absent)
        yield from _feeds(parts, now)
        yield from _texts(parts)
    except NestAudienceError as error:
        yield _of(error)
    yield from _accounts(parts)


def _log(parts: Parts) -> Iterator[Finding]:
    """Whether the log is the one that was signed: what every run asks first."""
    found: Finding | None = None
    try:
        parts.open_log()
    except NestAudienceError as error:
        found = _of(error)
    if found is not None:
        yield found


def _rights(parts: Parts) -> Iterator[Finding]:
    """Whether the runs can change what is evidence: on PostgreSQL they need not be able to, and in production they may not."""
    if evidence_can_be_changed(parts.evidence):
        lenient = parts.evidence.environment is not Environment.PRODUCTION
        yield Finding("ledger.url", "its role may change evidence", _USE_ROLE, warning=lenient)


def _accounts(parts: Parts) -> Iterator[Finding]:
    """Every bound ad account, read once with our credentials, and how many customer lists it holds that are not ours."""
    asked: set[tuple[str, str]] = set()
    ours = {(remote.recipient, remote.list_id) for remote in parts.memory.lists()}
    for audience in parts.settings.audiences.values():
        name, account = audience.table.destination, audience.ad_account
        if name not in parts.destinations or (name, account.account_id) in asked:
            continue
        asked.add((name, account.account_id))
        destination, asking = parts.destinations[name], Account(account.account_id, account.login_account_id)
        place = f"{name}, account of {audience.controller.key}"
        found = [*_access(audience, asking, destination, place, parts.settings)]
        yield from found
        lists: tuple[ListFacts, ...] = ()
        failure: Finding | None = None
        try:
            lists = destination.lists(asking)
            accepted = not isinstance(destination, TellsTerms) or destination.terms_accepted(asking)
        except NestAudienceError as error:
            failure = _at(place, error)
        if failure is not None:
            yield from () if failure in found else (failure,)
            continue
        if not accepted:
            yield _at(place, destination.error_of("terms_missing", name))
        yield from _shared_in(destination, asking, place)
        foreign = sum((audience.recipient.key.value, facts.list_id) not in ours for facts in lists)
        if foreign:
            what = f"{foreign} customer lists that this installation did not make"
            next_step = "find out who fills them and on what basis; nothing here removes anybody from them"
            yield Finding(place, what, next_step, warning=True)


def _shared_in(destination: Destination, asking: Account, place: str) -> Iterator[Finding]:
    """Customer lists of others that the account may use. A platform that shows no such thing, or not now, says nothing here."""
    shared = 0
    try:
        if isinstance(destination, TellsSigns):
            shared = destination.signs(asking, frozenset()).shared_in
    except NestAudienceError:
        shared = 0
    if shared:
        what = f"{shared} customer lists that other accounts share into this one"
        yield Finding(
            place, what, "find out whose people they hold and on what basis; no no that is said here reaches them", warning=True
        )


def _access(audience: Audience, asking: Account, destination: Destination, place: str, settings: Settings) -> Iterator[Finding]:
    """Whose the platform says that an ad account is, and what our credentials may do there: every fault, where it says so at all."""
    if not isinstance(destination, TellsAccount):
        return
    facts: AccountFacts | None = None
    access: AccessFacts | None = None
    failure: Finding | None = None
    try:
        facts = destination.account_facts(asking)
        access = destination.access_facts(facts.business_id)
    except NestAudienceError as error:
        failure = _at(place, error)
    if failure is not None:
        yield failure
    if facts is None:
        return
    what, bound = difference(audience, facts), audience.ad_account.business_id
    if what is not None:
        yield Finding(place, WRONG_ACCOUNT, what, 5)
    if facts.business_id is None:
        yield _at(place, destination.error_of("account_without_business", place))
    elif bound is None:
        yield Finding(f"{place}, business_id", "not named", _NAME_OWNER, warning=True)
    if not facts.terms_accepted:
        yield _at(place, destination.error_of("terms_missing", place))
    asked_for = settings.destinations[destination.name].api_version or NEWEST
    if facts.upgraded or facts.api_version not in (None, asked_for):
        yield _at(place, destination.error_of("api_version_expired", place))
    if access is not None and access.missing:
        yield _at(place, destination.error_of("permission_denied", place))
    if access is not None and access.system_user is False:
        yield Finding(place, "the token is of no system user of the business", _USE_SYSTEM_USER, warning=True)


def _due(parts: Parts, now: datetime) -> Iterator[Finding]:
    """What must be confirmed again, what ends soon, and whether anybody would be told."""
    today = now.astimezone(STOCKHOLM).date()
    for due in due_dates(parts.settings, today):
        if due.past(today):
            yield Finding(due.where, _OVER[due.what], due.next_step)
        else:
            yield Finding(due.where, f"due on {due.on.isoformat()}", due.next_step, warning=True)
    meta = parts.settings.destinations.get("meta")
    if meta is not None and meta.api_version is not None and not is_known(meta.api_version):
        what, next_step = "no version that this program knows", f"name one that Meta serves: {', '.join(served(today))}"
        yield Finding("destinations.meta.api_version", what, next_step)
    alerts = parts.settings.alerts
    if parts.settings.environment is not Environment.SANDBOX and alerts.webhook is None and alerts.smtp is None:
        yield Finding("alerts", "nobody is told", "name a webhook or smtp", warning=True)
    for name in (alerts.webhook, alerts.heartbeat, alerts.smtp.password if alerts.smtp else None):
        yield from _missing_secret(name, parts)


def contacts_missing(settings: Settings) -> Iterator[Finding]:
    """What the record of processing lacks of each company, in production."""
    if settings.environment is not Environment.PRODUCTION:
        return
    for key, controller in settings.controllers.items():
        for name in ("contact", "dpo"):
            if controller.state == "active" and getattr(controller, name) is None:
                next_step = "name the address of the function: the record of processing (article 30) must have it"
                yield Finding(f"controllers.{key}.{name}", "not named", next_step, warning=True)


def _approved(settings: Settings, today: date) -> Iterator[Finding]:
    """What lets nobody join beside the dates that are over: approvals, reviews, dates in the future, and the kill switch."""
    words = sensitive_words(settings)
    for segment in {(a.segment.controller, a.segment.code): a.segment for a in settings.audiences.values()}.values():
        place = f"segments.{segment.code}.approval"
        faults = tuple(fault for fault in approval_faults(segment.approval, today) if fault != "too_old")
        if faults:
            yield Finding(place, "unapproved", approval_remedy(faults), 5)
        missing = review_missing(segment, words)
        if missing:
            yield Finding(place, "sensitive", review_remedy(missing), 5)
    for recipient in settings.recipients.values():
        for name, day in recipient.confirmed.items():
            if day > today:
                yield Finding(f"recipients.{recipient.key.value}.{name}", "in the future", "correct the date", 5)
    for key, code in sorted(settings.emptied.items()):
        yield Finding(key, code, "the list is being emptied: mend the segment, or retire the audience", 5)
    if settings.kill_switch is not KillSwitch.OFF:
        what = f"stops {settings.kill_switch.value}"
        yield Finding("kill_switch.position", what, "set it back to off when runs may go on", 5)


def _feeds(parts: Parts, now: datetime) -> Iterator[Finding]:
    """What the store says of its own feeds, and the clocks; what a night compares with an earlier one, `plan` shows."""
    settings = parts.settings
    if settings.freshness_unknown:
        what, next_step = "unknown", "nothing, if it was decided: no list knows how fresh the store is"
        yield Finding("store.freshness", what, next_step, warning=True)
    with parts.store.snapshot() as snapshot:
        told = told_by(snapshot, settings, parts.clock)
    for gate, where, what in feed_problems(settings, Facts(skew=told.skew, feeds=told.feeds, segments=told.segments), now):
        yield Finding(f"{gate}, {where}", what, "see the runbook: nobody joins the lists that it concerns", 5)


def _texts(parts: Parts) -> Iterator[Finding]:
    """Consents that count for nobody because the registry does not know their text."""
    with parts.store.snapshot() as snapshot:
        found = unknown_texts(snapshot, parts.settings.texts)
    if found.versions:
        what = f"{found.versions} text versions that the registry does not have, in consents of {found.accounts} accounts"
        next_step = "compare the versions in [[texts]] with the store's, letter by letter; such a consent makes nobody eligible"
        yield Finding("consent_event.text_version", what, next_step, warning=True)


def _missing_secret(name: str | None, parts: Parts) -> Iterator[Finding]:
    found: Finding | None = None
    try:
        if name is not None:
            secret(name, parts.evidence.base)
    except NestAudienceError as error:
        found = _of(error)
    if found is not None:
        yield found


def _of(error: NestAudienceError) -> Finding:
    return _at(error.where, error)


def _at(where: str, error: NestAudienceError) -> Finding:
    return Finding(where, error.code, error.next_step, error.exit_code)

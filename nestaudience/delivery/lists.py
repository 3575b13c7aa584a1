"""Remote lists: their opaque names, binding an audience to one, and making sure that it is still there.

A list is found again by its code after a lost answer, never adopted by its name. In a recovered ledger none is found again: there may be people on it
whom the ledger does not know, so it is deleted, and another begins. What the platform says about a list is written down; what it
means for additions is decided by gates.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy.engine import Connection

from nestaudience.config.settings import Audience
from nestaudience.delivery.accounts import difference, owner_untold
from nestaudience.delivery.deleting import deletion_ordered, finish_deletion
from nestaudience.delivery.requests import Tools
from nestaudience.destinations.port import Account, Destination, ListSpec, Target
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, TryAgain
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.keys import KeyRing
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.memory import RECOVERING, RemoteList

_CODE: Final = re.compile("na-[a-z2-7]{8}")

WRONG_ACCOUNT: Final = "wrong_account"
"""Code of the gate, the error and the incident: what is bound and what is found are two ad accounts, or two lists."""
_NO_MORE: Final = frozenset({"gone", "closed"})
T = TypeVar("T")


ELSEWHERE: Final = "the list is bound to another ad account than the configuration names; put it back"
"""What to do when the configuration and the ledger differ."""


def code_of(audience: Audience, keys: KeyRing) -> str:
    """The opaque code of an audience's list: `na-` and 8 letters that tell nobody without the key what the list is about."""
    text = "|".join((audience.controller.key, audience.segment.code, audience.recipient.key.value, str(audience.table.number)))
    digest = hmac.new(keys.name.reveal(), text.encode(), hashlib.sha256).digest()
    return "na-" + base64.b32encode(digest[:5]).decode().lower()


def name_of(audience: Audience, keys: KeyRing) -> str:
    """The list's name on the platform: its code, the controller's neutral code, and the audience's number."""
    return f"{code_of(audience, keys)} {audience.controller.code}-{audience.table.number:02d}"


def is_elsewhere(audience: Audience, remote: RemoteList) -> bool:
    """True when the configuration binds the audience to another ad account than the ledger does."""
    bound = (remote.ad_account, remote.login_account)
    return remote.state not in _NO_MORE and bound != (audience.ad_account.account_id, audience.ad_account.login_account_id)


def wrong_account(audience: Audience, list_id: str, what: str, tools: Tools) -> MustStop:
    """The error to raise before anybody is sent to what may be another's account, after it was written down as an incident."""
    fields: dict[str, Value] = {
        "code": WRONG_ACCOUNT,
        "audience": audience.key,
        "list_id": list_id,
        "ad_account": audience.ad_account.account_id,
    }
    tools.log.append_and_seal([(EntryType.INCIDENT, tools.context(audience.controller.key), fields)])
    return MustStop(WRONG_ACCOUNT, audience.key, f"nothing was sent: {what}")


def bind_list(audience: Audience, destination: Destination, tools: Tools) -> RemoteList:
    """Find the audience's list by its code, or create it, and remember it.

    Raises `MustStop`: `wrong_account` when the ledger knows the account as another company's, or the platform speaks of another one; `TryAgain`:
    `list_still_there` when the platform names a list that was deleted; and what the destination raises.
    """
    account = Account(audience.ad_account.account_id, audience.ad_account.login_account_id)
    code = code_of(audience, tools.keys)
    _no_other_company_there(audience, account, tools)
    confirm_account(audience, "", account, destination, tools, adding=True)
    if tools.log.epoch > 1:
        deleted = _delete_found(destination, account, code)
        if deleted:
            entries = [_deleted(audience.key, account, list_id, code, tools, "unknown_to_ledger") for list_id in deleted]
            tools.log.append_and_seal(entries)
    facts = _believed(audience, "", lambda: destination.find_list(account, code), tools)
    created = facts is None
    if facts is not None and any(each.list_id == facts.list_id and each.state in _NO_MORE for each in tools.memory.lists()):
        raise TryAgain("list_still_there", audience.key, "the platform still names a list that was deleted; run again in an hour")
    if facts is None:
        facts = destination.create_list(account, ListSpec(code, name_of(audience, tools.keys), audience.table.membership_days))
    values = _binding(audience, code, facts.list_id, "open")
    names = ("audience", "recipient", "destination", "ad_account", "list_id", "code", "membership_days")
    fields: dict[str, Value] = {name: values[name] for name in names}
    kind = EntryType.LIST_CREATED if created else EntryType.BINDING_CHANGED
    tools.log.append_and_seal(
        [(kind, tools.context(audience.controller.key), fields)], lambda connection, _: tools.memory.bind(connection, values)
    )
    return next(remote for remote in tools.memory.lists() if remote.audience == audience.key)


def _no_other_company_there(audience: Audience, account: Account, tools: Tools) -> None:
    """Raises `wrong_account` when the ledger knows the account as another company's."""
    place = (audience.recipient.key.value, account.account_id)
    there = [each for each in tools.memory.lists() if (each.recipient, each.ad_account) == place and each.state not in _NO_MORE]
    if any(each.controller != audience.controller.key for each in there):
        what = "another company's lists are on this ad account; name the account of this company"
        raise wrong_account(audience, "", what, tools)


def unknown_list(audience: Audience, keys: KeyRing) -> dict[str, str | int]:
    """The binding of an audience of which a restored ledger knows no list: whether there is one is asked before it is used."""
    return _binding(audience, code_of(audience, keys), "", RECOVERING)


def begin_anew(remote: RemoteList, audience: Audience | None, destination: Destination, tools: Tools) -> None:
    """Delete a list of a restored ledger, and every list with the code that it had or would get: nobody stays where the ledger does not know of it.

    The audience is free for a new list then. Safe to repeat. Raises what the destination raises; nothing is written then.
    """
    account = Account(remote.ad_account, remote.login_account)
    target = Target(account, remote.list_id)
    places = {(account, remote.code)}
    if audience is not None:
        own = Account(audience.ad_account.account_id, audience.ad_account.login_account_id)
        places.add((own, code_of(audience, tools.keys)))
    entries = []
    if remote.list_id:
        found = destination.read_list(target) is not None
        if found:
            destination.delete_list(target)
        entries.append(_deleted(remote.audience, account, remote.list_id, remote.code, tools, "recovery", found=found))
    for place, code in sorted(places, key=lambda each: each[1]):
        deleted = _delete_found(destination, place, code)
        entries += [_deleted(remote.audience, place, list_id, code, tools, "unknown_to_ledger") for list_id in deleted]
    fields: dict[str, Value] = {"audience": remote.audience, "list_id": remote.list_id, "ad_account": remote.ad_account}
    entries.append((EntryType.BINDING_CHANGED, tools.context(remote.controller), fields | {"state": "begins_anew"}))
    tools.log.append_and_seal(entries, lambda connection, _: tools.memory.unbind(connection, remote.list_no))


def report_strangers(account: Account, destination: Destination, tools: Tools) -> int:
    """Write an incident for each list of this account that has a code of ours and that the ledger does not know; how many.

    None is deleted: another installation may work on the account. Raises what the destination raises.
    """
    known = {remote.list_id for remote in tools.memory.lists()}
    entries: list[NewEntry] = []
    for facts in destination.lists(account):
        if _CODE.fullmatch(facts.code) and facts.list_id not in known:
            fields: dict[str, Value] = {"code": "list_unknown", "list_id": facts.list_id, "ad_account": account.account_id}
            entries.append((EntryType.INCIDENT, tools.context(""), fields | {"list_code": facts.code}))
    if entries:
        tools.log.append_and_seal(entries)
    return len(entries)


def mark_retiring(remote: RemoteList, orders: dict[str, Value], tools: Tools) -> None:
    """Write down that a list is to be emptied and deleted; `orders` say who wanted it and why."""
    fields: dict[str, Value] = {
        "audience": remote.audience,
        "list_id": remote.list_id,
        "ad_account": remote.ad_account,
        "state": "retiring",
    }
    tools.log.append_and_seal(
        [(EntryType.BINDING_CHANGED, tools.context(remote.controller), fields | orders)],
        lambda connection, _: tools.memory.set_list_state(connection, remote.list_no, "retiring"),
    )


def delete_list(remote: RemoteList, destination: Destination, tools: Tools) -> None:
    """Delete a list that holds nobody any more, and remember that it is closed. Raises what the destination raises; nothing is written then."""
    destination.delete_list(Target(Account(remote.ad_account, remote.login_account), remote.list_id))
    fields: dict[str, Value] = {
        "audience": remote.audience,
        "list_id": remote.list_id,
        "ad_account": remote.ad_account,
        "code": remote.code,
    }
    tools.log.append_and_seal(
        [(EntryType.LIST_DELETED, tools.context(remote.controller), fields)],
        lambda connection, _: tools.memory.set_list_state(connection, remote.list_no, "closed"),
    )


def _binding(audience: Audience, code: str, list_id: str, state: str) -> dict[str, str | int]:
    return {
        "audience": audience.key,
        "controller": audience.controller.key,
        "segment": audience.segment.code,
        "recipient": audience.recipient.key.value,
        "destination": audience.table.destination,
        "ad_account": audience.ad_account.account_id,
        "login_account": audience.ad_account.login_account_id or "",
        "code": code,
        "list_id": list_id,
        "data_inputs": " ".join(audience.segment.data_inputs),
        "state": state,
        "membership_days": audience.table.membership_days,
    }


def _delete_found(destination: Destination, account: Account, code: str) -> list[str]:
    """Delete every list with this code on this account; their ids. Raises `TryAgain`: `list_still_there` when a deleted one is found again."""
    deleted: list[str] = []
    while (facts := destination.find_list(account, code)) is not None:
        if facts.list_id in deleted:
            raise TryAgain(
                "list_still_there", code, "the platform still names a list that was just deleted; run again in an hour"
            )
        destination.delete_list(Target(account, facts.list_id))
        deleted.append(facts.list_id)
    return deleted


def _deleted(
    audience: str, account: Account, list_id: str, code: str, tools: Tools, cause: str, *, found: bool = True
) -> NewEntry:
    """The entry of a deletion that recovers a ledger. `found`: the platform still had the list."""
    fields: dict[str, Value] = {"audience": audience, "list_id": list_id, "ad_account": account.account_id, "code": code}
    return EntryType.LIST_DELETED, tools.context(audience.partition("/")[0]), fields | {"cause": cause, "found": found}


def confirm_list(audience: Audience, remote: RemoteList, destination: Destination, tools: Tools) -> None:
    """Ask the bound account for the list before anything is sent to it.

    Raises `MustStop`: `wrong_account`, with an incident, when the configuration binds another account than the ledger does, when the platform says
    that the list is another account's, or the account another owner's, when it is another audience's, and when the account keeps the audience's list
    under another id; `NeedsFix`: `list_gone` when the platform proves that the list is no more (whoever was on it is then on it no longer);
    `TryAgain`: `list_begins_anew` when it is gone because an earlier run deleted it and was cut off; and what the destination raises. An account that
    cannot be read holds nothing here: whoever adds asks `confirm_account`.
    """
    list_id, account = remote.list_id, Account(remote.ad_account, remote.login_account)
    if is_elsewhere(audience, remote):
        raise wrong_account(audience, list_id, ELSEWHERE, tools)
    facts = _believed(audience, list_id, lambda: destination.read_list(Target(account, list_id)), tools)
    if facts is not None:
        # A list that somebody renamed is still ours; one that carries the code of another of our lists is that other one.
        if facts.code != remote.code and any(facts.code == each.code for each in tools.memory.lists()):
            raise wrong_account(audience, list_id, "the list with the bound id is another audience's; restore the ledger", tools)
        confirm_account(audience, list_id, account, destination, tools, adding=False)
        return
    if remote.state == RECOVERING:
        raise TryAgain("recovering", remote.audience, "its list is gone already; the next run begins a new one")
    if _believed(audience, list_id, lambda: destination.find_list(account, remote.code), tools) is not None:
        raise wrong_account(audience, list_id, "the account keeps this list under another id; restore the ledger", tools)
    order = deletion_ordered(remote, tools)
    if order is not None:
        finish_deletion(remote, order, tools)
        raise TryAgain("list_begins_anew", remote.audience, "nothing: its list is deleted, and the next night begins a new one")
    fields: dict[str, Value] = {"code": "list_gone", "audience": remote.audience, "list_id": remote.list_id}

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        tools.memory.set_list_state(connection, remote.list_no, "gone")
        tools.memory.lapse_list(connection, remote.list_no)

    tools.log.append_and_seal([(EntryType.INCIDENT, tools.context(remote.controller), fields)], also)
    raise NeedsFix(
        "list_gone", remote.audience, "the list was deleted; give the audience another number to start a new one, or take it out"
    )


def confirm_account(
    audience: Audience, list_id: str, account: Account, destination: Destination, tools: Tools, *, adding: bool
) -> None:
    """Compare what the platform says of the ad account with the binding; it is asked once a run.

    Raises `MustStop`: `wrong_account`, with an incident, when id or owner differ. Whoever adds (`adding`) needs an answer: then it raises what the
    destination raises as well, and `NeedsFix`: `account_without_business` when the binding names an owner and the platform does not. Removals go on.
    """
    failure: NestAudienceError | None = None
    facts = None
    try:
        facts = tools.accounts.read(destination, account, adding=adding)
    except NestAudienceError as error:
        failure = error.with_traceback(None)
    if failure is not None and failure.code == WRONG_ACCOUNT:
        raise wrong_account(audience, list_id, failure.next_step, tools)
    if failure is not None and adding:
        raise failure
    what = None if facts is None else difference(audience, facts)
    if what is not None:
        raise wrong_account(audience, list_id, what, tools)
    if adding and facts is not None and owner_untold(audience, facts):
        raise destination.error_of("account_without_business", audience.key)


def _believed(audience: Audience, list_id: str, ask: Callable[[], T], tools: Tools) -> T:
    """What the platform says; an answer about another account is written down as an incident. Raises what was raised."""
    said: list[T] = []
    failure: NestAudienceError | None = None
    try:
        said.append(ask())
    except NestAudienceError as error:
        failure = error.with_traceback(None)
    if failure is None:
        return said[0]
    if failure.code == WRONG_ACCOUNT:
        raise wrong_account(audience, list_id, failure.next_step, tools)
    raise failure

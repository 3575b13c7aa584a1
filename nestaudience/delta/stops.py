"""Gates that are closed before any count is compared: a wrong configuration, a feed that cannot be believed, a list that is gone.

Pure: facts in, closed gates by audience out. A no passes all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from nestaudience.config.settings import Audience, Settings, ended
from nestaudience.customers.port import StoreProblem
from nestaudience.delta.approvals import EMPTIED, decided, switch
from nestaudience.delta.gates import Gate, only_noes, stop_additions
from nestaudience.screening.screen import Screened
from nestaudience.vocabulary import AudienceKey

ENDING: Final[Mapping[str, str]] = {
    "retiring": "nothing: the list was retired; it is deleted when it is empty. Take the audience out of the configuration then",
    "account_retiring": "nothing: the ad account is being left; set its `state` back to go on with it",
    "divested": "nothing: the company left the group",
    "ended": "nothing: its last day has passed; extend `ends_on` to go on",
}
"""Why a list is being emptied, and what opens the gate that goes with it."""

FORGETFUL: Final = stop_additions(
    "keys_incomplete", "put the key file back that has the retired keys: noes are remembered under them", exit_code=2
)
"""The gate on every list while a part of what is remembered cannot be compared with anybody."""


@dataclass(frozen=True, slots=True)
class ListStates:
    """What is known of lists. `gone`: proven gone; `closed`: deleted by us; `renumbered`: still under another number than the configuration gives;
    `elsewhere`: bound to another ad account than the configuration names; `recovering`: to be deleted, for a restored ledger does not know who is on
    it; `endings`: being emptied, with a code of `ENDING` or of `EMPTIED`.
    """

    gone: frozenset[AudienceKey] = frozenset()
    closed: frozenset[AudienceKey] = frozenset()
    renumbered: frozenset[AudienceKey] = frozenset()
    elsewhere: frozenset[AudienceKey] = frozenset()
    recovering: frozenset[AudienceKey] = frozenset()
    endings: Mapping[AudienceKey, str] = field(default_factory=dict)


def ending_of(audience: Audience, state: str, today: date) -> str | None:
    """Why an audience's list is to be emptied (a code of `ENDING`), or None. `state` is the list's in the ledger, empty without one."""
    if state == "retiring":
        return "retiring"
    if audience.controller.state == "divested":
        return "divested"
    if audience.ad_account.state != "active":
        return "account_retiring"
    return "ended" if ended(audience, today) else None


def closed_gates(
    settings: Settings,
    screened: Screened,
    problems: Iterable[StoreProblem],
    absent: frozenset[str],
    lists: ListStates,
    today: date,
    feeds: Mapping[AudienceKey, tuple[Gate, ...]] = MappingProxyType({}),
) -> dict[AudienceKey, tuple[Gate, ...]]:
    """The closed gates of each audience. `problems` are those of the store, a failure to read it among them; `absent` are destinations that could
    not be opened; `today` is the day in Stockholm; `feeds` are the closed gates on feeds.

    A list that is being emptied has no other gate than that of its account and the kill switch: it needs no feed to know who must leave.
    """
    everywhere, halted = _feed(problems), switch(settings)
    malformed = _malformed_controllers(screened)
    found: dict[AudienceKey, tuple[Gate, ...]] = {}
    for key, audience in settings.audiences.items():
        ending = lists.endings.get(key)
        if ending is not None:
            found[key] = (_ending_gate(ending), *_account_gate(key, lists), *halted)
            continue
        gates = [*everywhere, *feeds.get(key, ()), *_account_gate(key, lists), *_list_gates(key, lists), *halted]
        if key not in lists.closed:
            gates += decided(settings, audience, today)
        if key in settings.stopped:
            gates.append(stop_additions("config", "mend what `nestaudience check` lists for this audience", exit_code=2))
        if audience.controller.key in malformed:
            next_step = "too many values do not parse; see `nestaudience check`, mend the store's views"
            gates.append(only_noes("feed_malformed", next_step))
        if audience.table.destination in absent:
            gates.append(stop_additions("destination_absent", "give the destination its credentials", exit_code=2))
        found[key] = tuple(gates)
    return found


def _ending_gate(code: str) -> Gate:
    """Exit 0 for an end that is as it should be; a list that is emptied though its audience goes on needs a person."""
    if code in EMPTIED:
        return stop_additions(code, EMPTIED[code])
    return stop_additions(code, ENDING[code], exit_code=0)


def _account_gate(key: AudienceKey, lists: ListStates) -> list[Gate]:
    """A run that meets it sends no removal either; they count as owed, so that their clock runs."""
    if key not in lists.elsewhere:
        return []
    return [stop_additions("wrong_account", "name the ad account again to which the list is bound")]


def _list_gates(key: AudienceKey, lists: ListStates) -> list[Gate]:
    gates = []
    if key in lists.recovering:
        next_step = "nothing: its list could not be deleted yet after the ledger was restored; every run tries again"
        gates.append(stop_additions("recovering", next_step, exit_code=3))
    if key in lists.closed:
        next_step = "take the audience out of the configuration, or give it another number to start a new list"
        gates.append(stop_additions("list_closed", next_step, exit_code=0))
    if key in lists.gone:
        next_step = "give the audience another number to start a new list, or take it out"
        gates.append(stop_additions("list_gone", next_step, exit_code=2))
    if key in lists.renumbered:
        next_step = "put the list's number back; another starts a new list once this one is gone"
        gates.append(stop_additions("renumbered", next_step, exit_code=2))
    return gates


def _feed(problems: Iterable[StoreProblem]) -> list[Gate]:
    codes = {problem.code for problem in problems}
    gates = []
    if "environment" in codes:
        gates.append(only_noes("environment", "the store is of another environment; name the right one"))
    if codes - {"environment"}:
        gates.append(only_noes("feed_incomplete", "the store or a part of it cannot be read; see `nestaudience check`"))
    return gates


def _malformed_controllers(screened: Screened) -> frozenset[str]:
    """Controllers of which more than max(100 people, 0.1 %) have a malformed value in one view. Rows without a known controller
    speak for all.
    """
    accounts = screened.accounts()
    closed: set[str] = set()
    for counts in screened.malformed().values():
        for controller, people in counts.items():
            known = controller in accounts
            base = accounts[controller] if known else sum(accounts.values())
            if people > max(100, base // 1000):
                closed |= {controller} if known else set(accounts)
    return frozenset(closed)

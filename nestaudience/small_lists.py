"""Lists that stay too small: for how many nights, on which night they are retired, and the mark that retires them.

A list that holds less than it may is still a list of people; after two weeks far below the limit it is emptied and deleted as `retire` does. Only
nights count whose numbers can be believed: one in which another gate was closed, but for those of a first fill, neither counts nor ends the row. It
sends nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.lists import mark_retiring
from nestaudience.delta.plan import AudiencePlan
from nestaudience.delta.probing import PROBE_CODES
from nestaudience.history import NIGHTS_TOLD_BY, read_history
from nestaudience.ledger.memory import PROBING, RemoteList
from nestaudience.vocabulary import AudienceKey

NIGHTS: Final = 14
FAR_BELOW_PERCENT: Final = 80
"""Of the number at which a list opens."""
TOO_SMALL: Final = "too_small"
_BELIEVED: Final = PROBE_CODES | {TOO_SMALL}
"""Gates that say nothing against a night's numbers."""
IN_USE: Final = frozenset({"open", PROBING})

Funnel = Mapping[str, Any]
"""The fields of a funnel's entry."""


def nights_below(nights: Iterable[tuple[str, Funnel]], smallest: int) -> tuple[str, ...]:
    """The nights up to the last in which a list was far below `smallest`, without a better one between them, latest first.

    `nights` are (night, funnel) of completed nightly runs in their order; of several of one night the last counts.
    """
    found = []
    for night, funnel in sorted(dict(nights).items(), reverse=True):
        gates = set(funnel.get("gates", ()))
        if gates - _BELIEVED:
            continue
        if TOO_SMALL not in gates or not far_below(int(funnel.get("wanted", 0)), smallest):
            break
        found.append(night)
    return tuple(found)


def far_below(wanted: int, smallest: int) -> bool:
    """True for a list that may be retired when it stays so."""
    return wanted * 100 < smallest * FAR_BELOW_PERCENT


def retires_on(nights: tuple[str, ...]) -> date | None:
    """The night (its day in Stockholm) that empties the list if nothing changes; None when no night counts."""
    if not nights:
        return None
    return date.fromisoformat(nights[0]) + timedelta(days=max(NIGHTS - len(nights), 0) + 1)


def retire_small(
    plans: Iterable[AudiencePlan],
    remotes: Mapping[AudienceKey, RemoteList],
    smallest: Callable[[AudienceKey], int],
    night: str,
    tools: Tools,
) -> tuple[AudienceKey, ...]:
    """Mark as retiring what was far too small for so many nights, the run's own (`night`) among them; the next night empties it. The audiences."""
    small = {
        plan.key: (night, {"gates": [TOO_SMALL], "wanted": plan.counts.wanted})
        for plan in plans
        if TOO_SMALL in (codes := {gate.code for gate in plan.gates})
        and codes <= _BELIEVED
        and far_below(plan.counts.wanted, smallest(plan.key))
        and plan.key in remotes
        and remotes[plan.key].state in IN_USE
    }
    if not small:
        return ()
    history = read_history(tools.log.entries(types=NIGHTS_TOLD_BY))
    due = [key for key in sorted(small) if len(nights_below([*history.completed(key), small[key]], smallest(key))) >= NIGHTS]
    for key in due:
        mark_retiring(remotes[key], {"cause": TOO_SMALL, "nights": NIGHTS}, tools)
    return tuple(due)

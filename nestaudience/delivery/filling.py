"""The first fill of a list: a probe, the platform's word, the rest; and where that stands.

While it is not over the list's state is `probing`, which is written down before the probe is sent: a fill that was cut off goes on as one. It
waits for no answer: where the platform says at once what became of the probe, the rest follows in the same run, otherwise in a later one.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from nestaudience.delivery.deliver import Delivery, Tools
from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import AudiencePlan
from nestaudience.delta.probing import HELD, PROBE_CODES, WAITS, FirstFill, ProbeAnswer
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.memory import PROBING, SILENCE, TRIED_AGAIN, Memory, RemoteList, SentBatch
from nestaudience.vocabulary import AudienceKey, Operation

Intent = Callable[[str, Operation, int], None]
_NO_EFFECT: Final = frozenset({"refused", "lapsed"})


def first_fills(
    memory: Memory,
    remotes: Mapping[AudienceKey, RemoteList],
    keys: Iterable[AudienceKey],
    people: int,
    now: datetime,
    news: Mapping[int, str] | None = None,
) -> dict[AudienceKey, FirstFill]:
    """Of these audiences, those whose first fill is not over, and how far it is. `people`: how many a probe holds at most; `news` are results that
    are known and not written down (batch number -> state).
    """
    ever = memory.ever_filled()
    bound = {key: remotes[key] for key in keys if key in remotes}
    open_fills = {key: remote for key, remote in bound.items() if remote.state == PROBING or remote.list_no not in ever}
    batches = memory.additions_to(remote.list_no for remote in open_fills.values()) if open_fills else ()
    found = {}
    for key in keys:
        if key in open_fills:
            mine = [batch for batch in batches if batch.list_no == open_fills[key].list_no]
            found[key] = FirstFill(people, probe_answer(mine, now, news or {}))
        elif key not in bound:
            found[key] = FirstFill(people)
    return found


def probe_answer(batches: Iterable[SentBatch], now: datetime, news: Mapping[int, str]) -> ProbeAnswer:
    """What the requests of a first fill came to. Clean: one was taken whole, and none waits for its result."""
    known = [(batch, news.get(batch.batch_no, batch.state)) for batch in batches if batch.attempt != TRIED_AGAIN]
    states = {state for _, state in known}
    silent = now - SILENCE
    if any(state == "accepted" and datetime.fromisoformat(batch.sent_at) > silent for batch, state in known):
        return ProbeAnswer.WAITS
    if "confirmed" in states:
        return ProbeAnswer.CLEAN
    if states <= _NO_EFFECT:
        return ProbeAnswer.REFUSED if "refused" in states else ProbeAnswer.NOT_SENT
    batch, state = known[-1]
    if state == "partly":
        return ProbeAnswer.WAITS if batch.attempt == 1 else ProbeAnswer.PARTLY  # at first its people go once more, in halves
    return ProbeAnswer.UNKNOWN


def fill(
    delivery: Delivery,
    plan: AudiencePlan,
    remotes: Mapping[AudienceKey, RemoteList],
    intent: Intent,
    tools: Tools,
    gates: dict[AudienceKey, tuple[Gate, ...]],
) -> None:
    """Send a list's additions; of a first fill the probe, and the rest when the platform took it. What holds the rest then is put into `gates`.
    `remotes` has the list by now.

    Raises what the delivery raises.
    """
    remote = remotes[plan.key]
    if plan.probe is None:
        delivery.add(intent)
        if remote.state == PROBING and not plan.holds_additions:
            _mark(remote, "open", plan, tools)
        return
    if remote.state != PROBING:
        _mark(remote, PROBING, plan, tools)
    delivery.add(intent, people=plan.probe)
    answer = probe_answer(tools.memory.additions_to([remote.list_no]), tools.clock(), {})
    others = tuple(gate for gate in gates[plan.key] if gate.code not in PROBE_CODES)
    if answer is ProbeAnswer.CLEAN:
        gates[plan.key] = others
        delivery.add(intent, first=plan.probe)
        _mark(remote, "open", plan, tools)
    else:
        gates[plan.key] = (*others, HELD.get(answer, WAITS))


def opened(remote: RemoteList, plan: AudiencePlan, tools: Tools) -> None:
    """Write down that the first fill of a list is over, when nobody is left whom it would bring, and nothing hides that somebody is."""
    if remote.state == PROBING and not plan.counts.newcomers and not plan.gates:
        _mark(remote, "open", plan, tools)


def _mark(remote: RemoteList, state: str, plan: AudiencePlan, tools: Tools) -> None:
    """Say in one step, in the log and in memory, that a first fill begins or is over."""
    fields: dict[str, Value] = {
        "gate": WAITS.code,
        "audience": remote.audience,
        "list_id": remote.list_id,
        "state": state,
        "additions": plan.counts.newcomers,
    }
    tools.log.append_and_seal(
        [(EntryType.GATE, tools.context(remote.controller), fields if plan.probe is None else fields | {"probe": plan.probe})],
        lambda connection, _: tools.memory.set_list_state(connection, remote.list_no, state),
    )

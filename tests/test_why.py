"""Why a list gets nobody, in words, and a plan against the last completed night: through real plans, and as pure functions."""

from dataclasses import replace
from typing import Any

import pytest
from later_world import LISTS, LaterWorld
from nights import SandboxWorld

from nestaudience.accepting import changed_parts
from nestaudience.against import Against, against_last_night
from nestaudience.cli.plan_output import compare
from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import AudiencePlan, Counts
from nestaudience.delta.probing import HELD, ProbeAnswer
from nestaudience.history import read_history
from nestaudience.judging import judge
from nestaudience.ledger.entries import EntryType
from nestaudience.screening.rules import Funnel
from nestaudience.vocabulary import AudienceKey
from nestaudience.why import why
from nestaudience.wiring import open_parts

AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS
KEY = AudienceKey("computime/lapsed_buyers/google")


def plan(
    funnel: Funnel, *gates: Gate, held: int = 0, wanted: int = 0, additions: int = 0, ordinary: int = 0, **more: Any
) -> AudiencePlan:
    refresh, noes, ordered = (more.pop(name, 0) for name in ("refresh", "noes", "ordered"))
    counts = Counts(held, wanted, noes, ordered, ordinary, additions, removing=0, refresh=refresh)
    return AudiencePlan(KEY, funnel, counts, gates, **more)


FEED = Gate("feed_incomplete", True, True, "mend the store")
BRAKE = Gate("anomaly_additions", True, False, "look at the segment", releasable=True)
SMALL = Gate("too_small", True, False, "the list opens at 1000 people; 5 are wanted", exit_code=0)
LEAVING = Gate("anomaly_removals", False, True, "look at the segment", releasable=True)
SENSITIVE = Gate("sensitive", True, False, "its review says sensitive: the list is emptied")
RETIRING = Gate("retiring", True, False, "nothing: the list was retired", exit_code=0)
REFUSED = HELD[ProbeAnswer.REFUSED]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (plan(Funnel(0, 0)), {"no_candidates": "no candidates: segment_member has no row for lapsed_buyers at computime"}),
        (
            plan(Funnel(0, 0), FEED, held=5, wanted=0, ordinary=5),
            {
                "not_judged": "nobody was judged: the store, or a part of it, could not be read",
                "held": "held by feed_incomplete: mend the store",
            },
        ),
        (
            plan(Funnel(1204, 0, {"minor": 104, "consent_missing": 1100})),
            {"nobody_eligible": "all 1 204 candidates refused, most by consent_missing (1 100)"},
        ),
        (plan(Funnel(9, 9), held=9, wanted=9), {"in_line": "nothing to send: the list is in line"}),
        (
            plan(Funnel(9, 9), held=12, wanted=9),
            {"in_line": "nothing to send: the list is in line, or what is missing is on its way"},
        ),
        (plan(Funnel(9, 9), BRAKE, held=1, wanted=9, additions=8), {"held": "held by anomaly_additions: look at the segment"}),
        (
            plan(Funnel(5, 5), SMALL, wanted=5, additions=5),
            {"held": "held by too_small: the list opens at 1000 people; 5 are wanted"},
        ),
        (
            plan(Funnel(1350, 1350), wanted=1350, additions=1350, probe=1000),
            {"probe": "the first fill begins with 1 000; 350 follow when the platform took them"},
        ),
        (
            plan(Funnel(9, 9), held=1, wanted=9, additions=8, released=("anomaly_additions",)),
            {"released": "let through by a release: anomaly_additions"},
        ),
        (plan(Funnel(9, 9), held=1, wanted=9, additions=8), {}),
        # somebody leaves, as on nearly every night: nobody joins all the same, and that needs a word
        (
            plan(Funnel(9, 9), BRAKE, held=3, wanted=9, additions=8, noes=2),
            {"held": "held by anomaly_additions: look at the segment"},
        ),
        (
            plan(Funnel(9, 9), LEAVING, held=30, wanted=9, additions=8, ordinary=29),
            {"held": "held by anomaly_removals: look at the segment"},
        ),
        # a gate on growth holds no refresh
        (plan(Funnel(9, 9), SMALL, held=9, wanted=9, additions=4, refresh=4), {}),
        # it is emptied, and when it is empty it still says why it is
        (
            plan(Funnel(9, 9), SENSITIVE, held=9, ordered=9, emptied=True),
            {"emptied": "nobody joins: the list is being emptied (sensitive)"},
        ),
        (plan(Funnel(9, 9), SENSITIVE, emptied=True), {"emptied": "nobody joins: the list is being emptied (sensitive)"}),
        (plan(Funnel(9, 9), RETIRING, emptied=True), {"emptied": "nobody joins: the list is being emptied (retiring)"}),
        (
            plan(Funnel(9, 9), SENSITIVE, wanted=9, additions=9),
            {"held": "held by sensitive: its review says sensitive: the list is emptied"},
        ),
        (
            plan(Funnel(1350, 1350), REFUSED, wanted=1350, additions=1350, probe=1000),
            {
                "held": f"held by probe_refused: {REFUSED.next_step}",
                "probe": "the first fill begins with 1 000; 350 follow when the platform took them",
            },
        ),
    ],
)
def test_the_words(found: AudiencePlan, said: dict[str, str]) -> None:
    assert {each.code: each.text for each in why(found)} == said


def test_a_real_plan_says_why_it_is_empty(world: LaterWorld) -> None:
    world.store_file("DELETE FROM segment_row WHERE segment = 'coffee_lovers'")
    world.edit('"ad_matching"', '"web_behaviour"')
    said = {each.key: {reason.code for reason in why(each)} for each in world.plan()}
    assert said[COFFEE] == {"no_candidates", "held"}
    assert said[AUDIO] == {"nobody_eligible", "held"}


def against(world: SandboxWorld) -> Against | None:
    with (
        open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts,
        judge(parts, world.clock.now()) as judged,
    ):
        return compare(parts, judged)


def test_a_change_of_the_configuration_is_shown_by_cause(world: LaterWorld) -> None:
    """The store is as it was when the last night ran, so that what differs comes from the configuration alone."""
    world.night()
    world.settle()
    world.night()
    before = against(world)
    assert before is not None
    assert before.changed == ()
    assert all(then == now for each in before.audiences for then, now in (*each.reasons.values(), each.counts["candidates"]))
    world.edit('countries = ["SE"]', 'countries = ["FI"]')
    world.edit("change_people = 500", "change_people = 100")
    found = against(world)
    assert found is not None
    assert found.changed == ("gates.change_people", "screening.countries")
    assert found.former == ()
    for each in found.audiences:
        then, now = each.reasons["country_out_of_scope"]
        assert then is not None
        assert now > then
        lost = sum((then or 0) - now for code, (then, now) in each.reasons.items())
        assert each.counts["eligible"][1] - (each.counts["eligible"][0] or 0) == lost
    assert any("anomaly_removals" in each.closed for each in found.audiences)
    assert found.night == "2026-11-22"


def test_without_a_night_there_is_nothing_to_compare_with() -> None:
    assert against_last_night((), read_history([]), None, {}) is None


def night(day: str, *funnels: dict[str, Any], finished: bool = True) -> list[dict[str, Any]]:
    """The entries of a nightly run."""
    said: list[tuple[EntryType, dict[str, Any]]] = [(EntryType.RUN_STARTED, {"night": day})]
    said += [(EntryType.FUNNEL, fields) for fields in funnels]
    said += [(EntryType.RUN_FINISHED, {"night": day})] if finished else []
    return [
        {"type": kind, "fields": fields, "run_id": day, "run_kind": "nightly", "at": f"{day}T02:30:00Z", "index": 0}
        for kind, fields in said
    ]


def test_new_and_former_audiences_and_which_night() -> None:
    """A night that was cut off, and one in which nobody was judged, are no measure."""
    former = "computime/former/google"
    entries = [
        *night(
            "2026-11-20", {"audience": former, "candidates": 7}, {"audience": AUDIO, "candidates": 9, "refused": {"minor": 4}}
        ),
        *night("2026-11-21", {"audience": AUDIO, "candidates": 0, "gates": ["feed_incomplete"]}),
        *night("2026-11-22", {"audience": AUDIO, "candidates": 5}, finished=False),
    ]
    new, known = plan(Funnel(3, 3), wanted=3, additions=3), replace(plan(Funnel(9, 6, {"minor": 3})), key=AUDIO)
    found = against_last_night((new, known), read_history(entries), None, {})
    assert found is not None
    assert (found.night, found.former, found.changed) == ("2026-11-20", (former,), None)
    first, second = found.audiences
    assert (first.known, first.counts["candidates"], first.additions) == (False, (None, 3), 3)
    assert (second.known, second.counts["candidates"], second.reasons["minor"]) == (True, (9, 9), (4, 3))
    empty = night("2026-11-20", {"audience": AUDIO, "candidates": 0})
    found = against_last_night((known,), read_history(empty), {}, {})
    assert found is not None
    assert (found.night, found.changed) == ("2026-11-20", ())


def test_parts_of_a_configuration_are_named_and_never_their_values() -> None:
    one, two, three = ({"version": f"t{number}", "purposes": []} for number in (1, 2, 3))
    then = {
        "gates": {"a": 1, "b": 2},
        "texts": [one, two],
        "sources": {"shop word": "x"},
        "environment": "sandbox",
        "same": {"a": 1},
    }
    now = {"gates": {"a": 1, "b": 3, "c": 1}, "texts": [three, two | {"purposes": ["x"]}, one], "sources": {"other": "x"}, "environment": "staging",
           "same": {"a": 1}}  # fmt: skip
    # an entry of a list by its own key, wherever it stands: one that is put first moves no other
    assert changed_parts(then, now) == ("environment", "gates.b", "gates.c", "sources", "texts.t2", "texts.t3")
    assert changed_parts(then, then) == ()
    assert changed_parts({}, {"gates": {"a": 1}}) == ("gates.a",)
    assert changed_parts({}, {"texts": [{"version": "hon@post.se"}]}) == ("texts",), "what is no key is not repeated"

"""Which gates a release opens, against a plain reading of the rule: named, releasable, and at most 110 % of what was shown of all that it holds."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import AudiencePlan, Counts
from nestaudience.delta.releases import Release, let_through, plan_digest
from nestaudience.screening.rules import Funnel
from nestaudience.vocabulary import AudienceKey

KEY = AudienceKey("c/s/google")
UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
COUNT = st.integers(0, 300) | st.integers(0, 2_000_000)
CODES = ("anomaly_additions", "anomaly_removals", "segment_feed", "config")
GATES = st.lists(
    st.builds(
        lambda code, kinds, releasable: Gate(code, *kinds, "do this", releasable=releasable),
        st.sampled_from(CODES),
        st.sampled_from([(True, False), (False, True), (True, True)]),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda gate: gate.code,
)
RELEASES = st.lists(
    st.builds(lambda codes, a, o: Release(KEY, codes, a, o, UNTIL), st.frozensets(st.sampled_from(CODES)), COUNT, COUNT),
    max_size=3,
)


@given(GATES, COUNT, COUNT, RELEASES)
def test_a_gate_opens_when_one_release_covers_all_that_it_holds(
    gates: list[Gate], additions: int, ordinary: int, releases: list[Release]
) -> None:
    def may(shown: int, now: int) -> bool:
        return Fraction(now) <= Fraction(shown) * Fraction(11, 10)

    expected = [
        gate.code
        for gate in gates
        if gate.releasable
        and any(
            gate.code in release.gates
            and (not gate.additions or may(release.additions, additions))
            and (not gate.ordinary or may(release.ordinary, ordinary))
            for release in releases
        )
    ]
    closed, opened = let_through(gates, additions, ordinary, releases)
    assert list(opened) == expected
    assert [gate.code for gate in closed] == [gate.code for gate in gates if gate.code not in opened]
    for gate in closed:
        named = gate.releasable and any(gate.code in release.gates for release in releases)
        assert ("110 %" in gate.next_step) == named
        assert gate.next_step.endswith("do this")


@given(COUNT, COUNT, RELEASES, st.integers(0, 1000), st.integers(0, 1000))
def test_fewer_people_never_close_what_a_release_opened(
    additions: int, ordinary: int, releases: list[Release], less_a: int, less_o: int
) -> None:
    gates = [Gate("anomaly_additions", True, False, "x", releasable=True), Gate("segment_feed", True, True, "x", releasable=True)]
    _, opened = let_through(gates, additions, ordinary, releases)
    _, still = let_through(gates, max(0, additions - less_a), max(0, ordinary - less_o), releases)
    assert set(opened) <= set(still)


def test_the_digest_of_a_plan_is_about_everything_that_was_shown() -> None:
    counts = Counts(held=10, wanted=9, noes=1, ordered=0, ordinary=2, additions=3, removing=0, refresh=1)
    gate = Gate("anomaly_removals", False, True, "x", releasable=True)
    plan = AudiencePlan(KEY, Funnel(20, 9, {"minor": 11}), counts, (gate,))
    others = [
        replace(plan, key=AudienceKey("c/s/meta")),
        replace(plan, funnel=Funnel(20, 9, {"minor": 10, "protected": 1})),
        replace(plan, funnel=Funnel(21, 9, {"minor": 12})),
        replace(plan, funnel=Funnel(20, 8, {"minor": 12})),
        replace(plan, gates=()),
        *(
            replace(plan, counts=replace(counts, **{name: 7}))
            for name in ("held", "noes", "ordered", "ordinary", "additions", "refresh")
        ),
    ]
    digests = [plan_digest(each, "c") for each in (plan, *others)] + [plan_digest(plan, "d")]
    assert len(set(digests)) == len(digests)
    assert plan_digest(replace(plan, probe=1000), "c") == digests[0]

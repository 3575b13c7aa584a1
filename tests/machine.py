"""The state machine: random histories of a small group against the real path, with everything that can go wrong between it and its platforms.

A history is people who consent, refuse, move and vanish; platforms that lose, refuse, delay and forget; runs that crash, meet each other, look at a
store of yesterday. After every step `machine_truth` says what must hold; every history ends with all well again, and every list equal to consent.

`hunt` runs it without pytest, for mutants:

    PYTHONPATH=. python tests/machine.py 40 7          # 40 histories of seed 7; exit code 1 and the broken rule when one is found
    PYTHONPATH=. python tests/machine.py 2000 7 10     # with ten steps each; two seeds in two processes are the long form on two processors

A run that is told its steps leaves its number of histories where RELIABILITY_RESULTS says, one row for each seed in one part.
"""

import sys
from datetime import timedelta
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machine_people import PEOPLE, Life, first_world
from machine_platform import LOOKALIKES, REFUSING, Fault
from machine_settings import ACCOUNTS, GOOGLE, META
from machine_site import COPIES, RunStory, Site
from machine_truth import Truth

from nestaudience import endings, recovery, releasing, sync
from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.jobs import NIGHTLY, SETTLING, Job, Scope
from nestaudience.judging import judge
from nestaudience.parts import Parts
from nestaudience.vocabulary import AudienceKey, Cause, Mode, RunKind
from nestaudience.withdrawals import LONGEST_AGO, watermarks, withdrawals_job
from tests.reliability import Row, collect

KEYS: Final = tuple(AudienceKey(f"{controller}/s1/{place.partition('_')[0]}") for controller, place in ACCOUNTS)
STEPS: Final = 5
WHO: Final = st.sampled_from(PEOPLE)
WHAT: Final = st.sampled_from(
    (
        "grant",
        "grant",
        "withdraw",
        "withdraw",
        "rights",
        "lift",
        "close",
        "move",
        "vanish",
        "return",
        "segment",
        "segment",
        "guardian",
    )
)
CHOICE: Final = st.integers(0, 11)
EVENTS: Final = st.lists(st.tuples(WHAT, WHO, CHOICE), max_size=3)
DURING: Final = st.lists(st.tuples(st.integers(1, 10), WHAT, WHO, CHOICE), min_size=1, max_size=3)
PLACES: Final = st.sampled_from((GOOGLE, GOOGLE, META))
SEND_FAULTS: Final = st.sampled_from(
    (Fault.NONE, *[Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.PARTLY] * 2, Fault.REFUSED, Fault.FAILED, Fault.FORGOTTEN)
)
FAULTS: Final = st.lists(st.tuples(PLACES, SEND_FAULTS), min_size=1, max_size=4)
HOURS: Final = st.sampled_from((0.1, 1.0, 1.0, 5.0, 24.0, 24.0, 50.0, 100.0, 120.0, 192.0))
LAGS: Final = st.sampled_from((0.0, 0.2, 1.0, 10.0, 30.0, 47.0))
PAUSES: Final = st.sampled_from((0.1, 1.0, 5.0))
LOST: Final = st.lists(
    st.tuples(PLACES, st.sampled_from((Fault.NONE, Fault.LOST_AFTER, Fault.LOST_AFTER, Fault.FORGOTTEN))), max_size=3
)
THOUGHTS: Final = st.tuples(LAGS, LOST, PAUSES)
Events = list[tuple[str, str, int]]
During = list[tuple[int, str, str, int]]
Faults = list[tuple[str, Fault]]
Thought = tuple[float, Faults, float]
SAID: Final = frozenset({"list_gone", "list_begins_anew"})
"""Errors that a clean run may meet: somebody had deleted a list, or a run of ours that was cut off then."""


class Machine(RuleBasedStateMachine):
    """Rules are what happens; every run is followed by what must hold after it."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.site = Site(first_world(frozenset(), frozenset()))
        self.truth = Truth(self.site)
        self.backup = self.site.store.world
        self.restored = False

    @initialize(
        granted=st.frozensets(WHO, min_size=3),
        members=st.frozensets(WHO, min_size=3),
        faults=st.one_of(st.just([]), FAULTS),
        during=st.one_of(st.just([]), DURING),
        hours=st.sampled_from((0.1, 1.0, 1.0, 24.0)),
        lag=st.sampled_from((0.0, 0.0, 10.0, 47.0)),
    )
    def begin(
        self, granted: frozenset[str], members: frozenset[str], faults: Faults, during: During, hours: float, lag: float
    ) -> None:
        """A world, and its first night."""
        for platform in self.site.platforms.values():
            platform.lag = timedelta(hours=lag)
        self.backup = self.site.store.world = first_world(granted, members)
        self._fail(faults)
        self._speak(during)
        self._night()
        self._wait(hours)

    # -- days: something happens to people, a night's run with what goes wrong in it, and time

    @rule(events=EVENTS, faults=FAULTS, hours=HOURS)
    def a_day_of_trouble(self, events: Events, faults: Faults, hours: float) -> None:
        """Requests are lost, refused, taken in part."""
        self._live(events)
        self._fail(faults)
        self._night()
        self._wait(hours)

    @rule(events=EVENTS, during=DURING, faults=st.one_of(st.just([]), FAULTS), hours=HOURS)
    def a_day_in_which_people_speak(self, events: Events, during: During, faults: Faults, hours: float) -> None:
        """While the run is at work."""
        self._live(events)
        self._fail(faults)
        self._speak(during)
        self._night()
        self._wait(hours)

    @rule(events=EVENTS, crash=st.integers(20, 200), faults=st.one_of(st.just([]), FAULTS), hours=HOURS)
    def a_day_with_a_crash(self, events: Events, crash: int, faults: Faults, hours: float) -> None:
        """At some write or call of the run."""
        self._live(events)
        self._fail(faults)
        self.site.crash_at = crash
        self._night()
        self._wait(hours)

    @rule(events=EVENTS, lags=st.tuples(LAGS, LAGS), words=EVENTS, hours=HOURS)
    def a_day_in_which_answers_overtake(self, events: Events, lags: tuple[float, float], words: Events, hours: float) -> None:
        """What one run asks for waits longer, or shorter, than what the next one asks for minutes later."""
        self._live(events)
        for lag, again in zip(lags, (words, []), strict=True):
            for platform in self.site.platforms.values():
                platform.lag = timedelta(hours=lag)
            self._night()
            self._live(again)
        self._wait(hours)

    @rule(
        who=st.frozensets(WHO, min_size=2, max_size=4),
        first=st.sampled_from(("grant", "withdraw")),
        thoughts=st.tuples(THOUGHTS, THOUGHTS, THOUGHTS),
        hours=HOURS,
    )
    def a_day_of_second_thoughts(
        self, who: frozenset[str], first: str, thoughts: tuple[Thought, Thought, Thought], hours: float
    ) -> None:
        """The same people say yes, no, and yes again, or the other way round, within hours; after each word a run whose requests wait, or whose
        answers are lost or forgotten.
        """
        for number, (lag, lost, pause) in enumerate(thoughts):
            word = first if number != 1 else "withdraw" if first == "grant" else "grant"
            self._live([(word, one, 0) for one in sorted(who)])
            self.site.clock.real += timedelta(minutes=6)
            for platform in self.site.platforms.values():
                platform.lag = timedelta(hours=lag)
            self._fail(lost)
            self._night()
            self._wait(pause)
        self._wait(hours)

    def _live(self, events: Events) -> None:
        for event in events:
            self._happens(*event)
            self.site.clock.real += timedelta(minutes=6 if event[2] % 3 else 1)

    def _happens(self, what: str, who: str, choice: int) -> None:
        store = self.site.store
        store.world = self.life.happens(what, store.world, who, self.site.clock.real, choice)
        for row in store.world.account:
            self.truth.knows(row["email"])

    def _fail(self, faults: Faults) -> None:
        for place, fault in faults:
            self.site.platforms[place].faults["send"].append(fault)

    def _speak(self, during: During) -> None:
        for call, *event in during:
            self.site.during[call] = lambda event=event: self._happens(*event)  # type: ignore[misc]

    def _night(self) -> None:
        self.look_at(self.site.run())

    def _wait(self, hours: float) -> None:
        self.site.pass_time(timedelta(hours=hours))
        self.truth.remembered()

    @rule(events=EVENTS, faults=st.one_of(st.just([]), FAULTS), hours=st.sampled_from((0.1, 1.0)))
    def an_hour(self, events: Events, faults: Faults, hours: float) -> None:
        """Between nights: what became of earlier requests, then the noes that are new. Old ones that a restored store shows wait for the night."""
        self._live(events)
        self._fail(faults)
        self.hour()
        self._wait(hours)

    def hour(self) -> None:
        """One run of the hourly flow, and what must hold after it."""
        self.look_at(self.site.run(work=_settled))
        parts = self.site.parts
        job = withdrawals_job(parts.evidence.reader, parts.settings, self.site.clock.now(), due_only=False)
        if job is not None:
            marks = watermarks(parts.evidence.reader)
            keys = {key for key, a in parts.settings.audiences.items() if a.table.destination in job.scope.destinations}
            sure = not self.restored and all(self.site.clock.peek() - at < LONGEST_AGO for at in marks.values())
            self.look_at(self.site.run(job), keys if sure else set(), only_noes=True, hourly=True)

    # -- what changes around it

    @rule(
        what=st.sampled_from(("slow", "busy", "doubt", "locked", "dropped", "refusing")), place=PLACES, number=st.integers(0, 5)
    )
    def a_platform_changes(self, what: str, place: str, number: int) -> None:
        """It is slower or faster, answers no question, leaves a creation or deletion in doubt, shuts us out, takes nobody off (Meta) or does so
        again; or somebody deletes a list beside us.
        """
        platform = self.site.platforms[place]
        if what == "slow":
            platform.lag = timedelta(hours=(0.0, 0.7, 10.0, 30.0, 47.0, 0.0)[number])
        elif what == "busy":
            platform.faults[("read", "status")[number % 2]].extend([Fault.BUSY] * 4)
        elif what == "doubt":
            platform.faults[("create", "delete")[number % 2]].append((Fault.LOST_AFTER, Fault.LOST_BEFORE)[number % 3 % 2])
        elif what == "locked":
            platform.locked = not platform.locked
        elif what == "refusing":
            meta = self.site.platforms[META]
            meta.refusing, meta.keeping = (("", ""), (REFUSING[0], ""), (REFUSING[1], ""), (REFUSING[0], LOOKALIKES))[number % 4]
        else:
            remotes = list(self.site.remotes())
            for owner, remote in remotes[number : number + 1]:
                owner.drop(remote.list_id)

    @rule(what=st.sampled_from(("backup", "restore", "clock", "successor")), number=st.integers(0, 2))
    def our_side_changes(self, what: str, number: int) -> None:
        """The store is kept, or put back as it was; this host's clock goes wrong or right; an audience whose list is gone gets another number."""
        remote = self.site.remote(KEYS[number])
        if what == "backup":
            self.backup = self.site.store.world
        elif what == "restore":
            self.site.store.world = self.backup
            self.restored = True
        elif what == "clock":
            self.site.clock.offset = -timedelta(minutes=(0, 3, 12)[number])
        elif remote is not None and remote.state in {"gone", "closed"}:
            self.site.numbers[list(ACCOUNTS)[number]] += 10

    # -- the ledger is lost

    @rule(
        back=st.integers(1, COPIES),
        tried=st.booleans(),
        crash=st.one_of(st.just(0), st.integers(1, 130)),
        kept=st.sampled_from((0, 0, 3, 6)),
        hours=HOURS,
    )
    def the_ledger_is_put_back(self, back: int, tried: bool, crash: int, kept: int, hours: float) -> None:
        """As it was before one of the last runs. A run is perhaps `tried` at once, the recovery perhaps dies and is repeated; so many deletions
        are `kept` from arriving.
        """
        if self.truth.put_back(self.site.copies[-min(back, len(self.site.copies))]):
            for platform in self.site.platforms.values():
                platform.faults["delete"].extend([Fault.LOST_BEFORE] * kept)
            if tried:
                self.refused()
            self.recover(crash)
        self._wait(hours)

    def refused(self) -> None:
        """From a restored ledger nothing is sent."""
        before = [platform.writes for platform in self.site.platforms.values()]
        met = ""
        try:
            self.site.run()
        except MustStop as error:
            met = error.code
        assert met == "ledger_restored", "a run began with a restored ledger"
        assert [platform.writes for platform in self.site.platforms.values()] == before, "a restored ledger was sent from"

    def recover(self, crash: int = 0) -> None:
        """Until it is not cut off."""
        for dies in (crash, 0) if crash else (0,):
            self.site.crash_at = dies
            story, asked = self._recovered()
            if asked:  # a run died while noes left this machine, and the ledger that had them is lost
                assert asked == "anchor_unreadable"
                assert self._moved_away(), "a recovery refuses files that are whole"
                story, asked = self._recovered()
            self.truth.remembered()
        assert story.outcome is not None
        self.truth.recovered(story.outcome)
        self.look_at(story)

    def _recovered(self) -> tuple[RunStory, str]:
        """A recovery, and what it asks of a person."""
        asked = ""
        try:
            self.site.run(work=recovery.recover)
        except NeedsFix as error:
            asked = error.code
        return self.site.story, asked

    def _moved_away(self) -> int:
        """What a person does with files of noes that were cut off; how many there were."""
        files = (self.site.folder / "anchors").glob("noes-*.jsonl")
        broken = [file for file in files if not (file.read_bytes().splitlines() or [b""])[-1].startswith(b'["end"')]
        for file in broken:
            file.unlink()
        return len(broken)

    # -- other runs

    @rule(number=st.integers(0, 2), mode=st.sampled_from((Mode.RESEND, Mode.DIFF)), faults=st.one_of(st.just([]), FAULTS))
    def a_backfill(self, number: int, mode: Mode, faults: Faults) -> None:
        """A run for one list."""
        self._fail(faults)
        scope = Scope(audiences=frozenset({KEYS[number]}))
        self.look_at(self.site.run(Job(RunKind.BACKFILL, scope, mode, cause=Cause.TEST)), {KEYS[number]})

    @rule(back=st.integers(1, 3), events=EVENTS)
    def a_run_is_taken_back(self, back: int, events: Events) -> None:
        """One of the last runs that sent something."""
        self._live(events)
        intents = [e["run_id"] for e in self.site.reader.entries() if e["type"] == "transfer_intent"]
        if intents:
            job = endings.retract_job(self.site.parts.evidence, intents[-min(back, len(intents))], Cause.TEST, "")
            self.look_at(self.site.run(job), set(job.scope.audiences), only_noes=True)

    @rule(number=st.integers(0, 2), crash=st.one_of(st.just(0), st.integers(30, 90)))
    def a_list_is_retired(self, number: int, crash: int) -> None:
        """Emptied now, deleted when the platform says that it is empty."""
        parts, key = self.site.parts, KEYS[number]
        remote = self.site.remote(key)
        if remote is not None and remote.state not in {"gone", "closed", "recovering"}:
            self.site.crash_at = crash
            job = endings.retire_job(parts, key, Cause.TEST, "")
            self.look_at(self.site.run(work=lambda parts: endings.retire(parts, job)), {key})

    @rule(call=st.integers(1, 6))
    def two_runs_at_once(self, call: int) -> None:
        """A second run comes while one is at work: it is told to wait, and changes nothing."""

        def second() -> None:
            met = ""
            try:
                sync.run(self.site.parts)
            except TryAgain as error:
                met = error.code
            assert met == "leased", "two runs were at work at once"

        self.site.during[call] = second
        self._night()

    def look_at(
        self, story: RunStory, keys: set[AudienceKey] | None = None, *, only_noes: bool = False, hourly: bool = False
    ) -> None:
        """What must hold after a run."""
        self.truth.remembered()
        self.truth.memory.noes()
        if story.outcome is not None:
            self.truth.memory.left_with_anchors()
        if story.outcome is not None and story.looks:
            self.truth.left(story, keys if keys is not None else set(KEYS), only_noes=only_noes, hourly=hourly)

    def converge(self) -> None:
        """No faults any more, everything that waits is applied, two days of silence are over; then two runs, an hour apart."""
        for platform in self.site.platforms.values():
            platform.faults.clear()
            platform.lag, platform.locked = timedelta(0), False
            platform.refusing = platform.keeping = ""
        self.site.clock.offset = timedelta(0)
        self.site.during.clear()
        self.site.pass_time(timedelta(hours=49))
        self._accept_the_store()
        for hours in (1, 0):  # after the second no time passes: a consent may end in any hour
            story = self.site.run(NIGHTLY)
            assert story.outcome is not None
            met = [error for error in story.outcome.errors if error.code not in SAID]
            assert met == [], f"a clean run met {met}"
            self.look_at(story)
            self.site.pass_time(timedelta(hours=hours))
        self.restored = False
        self.truth.equal()

    def _accept_the_store(self) -> None:
        """A store that was put back adds nobody until somebody has looked at it."""
        parts = self.site.parts
        with judge(parts, self.site.clock.now()) as judged:
            held = [plan for plan in judged.plans if any(gate.code == "source_rollback" for gate in plan.gates)]
            shown = [releasing.offer(plan, parts.settings.digest) for plan in held]
        for each in shown:
            releasing.release(parts, each, Cause.FEED_FAULT, "")

    def teardown(self) -> None:
        """The end of every history that broke nothing so far."""
        try:
            if sys.exc_info()[0] is None:
                self.converge()
                self.truth.verified()
        finally:
            self.site.__exit__()


def _settled(parts: Parts) -> sync.Outcome:
    with sync.Run(parts, SETTLING) as run:
        run.settle()
        return run.finish()


def hunt(histories: int, first: int, *, steps: int = STEPS) -> None:
    """Run so many histories of one seed, and stop at the first that breaks a rule, without making it smaller."""
    how = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    run_state_machine_as_test(seed(first)(Machine), settings=how)


def tell(histories: int, steps: int, seeds: str) -> None:
    """The row of docs/reliability.md, where somebody asked for it."""
    collect("machine", [Row(f"everything at random: histories of a small group, {steps} steps each, {seeds}", histories)])


if __name__ == "__main__":
    count, first, *told = (int(word) for word in sys.argv[1:])
    hunt(count, first, steps=told[0] if told else STEPS)
    if told:
        tell(count, told[0], f"seed {first}")

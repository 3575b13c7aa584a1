"""A run that others work for, without a cluster: one process's shares and another's do together what one process does alone."""

import pickle
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nights import SandboxWorld
from postgres_server import Postgres
from test_postgres_ledger import PostgresWorld

from nestaudience.audit.verify import verify
from nestaudience.delivery.deliver import Sent
from nestaudience.destinations.google_quota import Allowance, Kind, Quota
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain
from nestaudience.ledger.lease import WRITER, Lease
from nestaudience.ledger.suppression import count
from nestaudience.outcome import Outcome, added_up
from nestaudience.parts import Parts
from nestaudience.sharing import Share, Turn, let_go, privately, share_of
from nestaudience.spreading import Spread
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_parts, open_signer


class Crew:
    """Shares in this process, as if each were in its own. Whatever would cross is pickled, and kept."""

    def __init__(self, world: SandboxWorld, run: Spread) -> None:
        self.world, self.run = world, run
        self.crossed: list[bytes] = []
        self.shares = {controller: self.share(controller) for controller in run.controllers}

    def share(self, controller: str) -> Share:
        return Share(self.crossing(self.run.assignment(str(self.world.config))), controller, self.opening)

    def opening(self, stack: ExitStack) -> Parts:
        parts = stack.enter_context(open_parts(self.world.config, clock=self.world.clock.now))
        return privately(parts, self.world.folder / "scratch", self.run.outcome.run_id)

    def crossing(self, value: Any) -> Any:
        self.crossed.append(pickle.dumps(value))
        return pickle.loads(self.crossed[-1])  # noqa: S301 (ours)

    def judge(self) -> tuple[AudienceKey, ...]:
        """Up to the moment when something may be sent."""
        self.run.settle()
        audiences = self.run.judged_elsewhere({name: self.crossing(share.judge()) for name, share in self.shares.items()})
        for share in self.shares.values():
            share.remember()
        self.run.begin_sending()
        return audiences

    def turn(self, audience: AudienceKey, **more: bool) -> Turn:
        assert self.run.lists.first_send is not None
        return self.crossing(Turn(audience, self.run.lists.first_send, **more))  # type: ignore[no-any-return]

    def close(self) -> None:
        for share in self.shares.values():
            share.close()


def spread(world: SandboxWorld) -> tuple[Outcome, list[dict[str, object]], list[bytes]]:
    """A night of which every list has its turn in the share of its controller: the outcome, the plans, and what crossed."""
    with open_parts(world.config, clock=world.clock.now) as parts, Spread(parts) as run:
        crew = Crew(world, run)
        audiences = crew.judge()
        for audience in audiences:
            run.keep(audience, crew.crossing(crew.shares[audience.partition("/")[0]].remove(crew.turn(audience))))
        for audience in audiences:
            run.keep(audience, crew.crossing(crew.shares[audience.partition("/")[0]].add(crew.turn(audience, moved=True))))
        run.close_lists()
        outcome = run.finish()
        crew.close()
        return outcome, [plan.as_dict() for plan in run.verdict.plans], crew.crossed


def remembered(world: SandboxWorld) -> int:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return count(evidence.engine)
    finally:
        evidence.engine.dispose()


@pytest.mark.parametrize("nights", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_shares_do_together_what_one_process_does(tmp_path: Path, nights: int) -> None:
    for name in ("alone", "spread"):
        (tmp_path / name).mkdir()
    with SandboxWorld(tmp_path / "alone") as alone, SandboxWorld(tmp_path / "spread") as world:
        the_same(alone, world, nights)


@pytest.mark.slow
def test_shares_do_the_same_with_a_ledger_on_postgres(tmp_path: Path, postgres: Postgres) -> None:
    for name in ("alone", "spread"):
        (tmp_path / name).mkdir()
    with SandboxWorld(tmp_path / "alone", accounts=3000) as alone, PostgresWorld(tmp_path / "spread", postgres) as world:
        the_same(alone, world, 2)


def the_same(alone: SandboxWorld, world: SandboxWorld, nights: int) -> None:
    """So many nights, in one process here and spread there."""
    for _ in range(nights):
        plans = [plan.as_dict() for plan in alone.plan()]
        expected = alone.night()
        outcome, found, crossed = spread(world)
        assert sorted(found, key=str) == sorted(plans, key=str)
        sent = {key: (each.removed, each.added, each.batches) for key, each in expected.sent.items()}
        assert {key: (each.removed, each.added, each.batches) for key, each in outcome.sent.items()} == sent
        assert outcome.exit_codes == expected.exit_codes
        assert remembered(world) == remembered(alone) > 0
        (world.folder / "scratch" / "of somebody else").mkdir(exist_ok=True)
        (world.folder / "scratch" / f"{outcome.run_id}.{'0' * 32}").mkdir()
        alone.advance_day()
        world.advance_day()
        assert world.members() == alone.members()
        everybody = {digest for members in world.members().values() for digest in members}
        assert len(everybody) > 500
        assert not any(digest.encode() in each or bytes.fromhex(digest) in each for digest in everybody for each in crossed)
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    assert verify(evidence.engine, open_signer(evidence).verifiers).ok
    evidence.engine.dispose()
    left = {path.name for path in (world.folder / "scratch").iterdir()}
    assert left == {"of somebody else", f"{outcome.run_id}.{'0' * 32}"}, "what the engines spilled is gone, and what others left"


def test_a_list_that_was_begun_is_begun_anew_and_others_are_kept_out(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path) as world:
        with open_parts(world.config, clock=world.clock.now) as parts, Spread(parts) as run:
            crew = Crew(world, run)
            first, *_ = crew.judge()
            controller = first.partition("/")[0]
            lost = crew.shares[controller]
            lost.add(crew.turn(first))  # and nobody heard what came of it
            again = crew.share(controller)
            done = again.add(crew.turn(first, anew=True))
            assert (done.errors, done.sent.added) == ((), 0), "whoever begins anew knows what was sent"
            run.keep(first, done)
            with open_parts(world.config, clock=world.clock.now) as others:
                Lease(others.evidence.engine, f"list:{first}", "another-run", world.clock.now).take()
            with pytest.raises(TryAgain, match="leased"):
                again.add(crew.turn(first))
            again.close()
            crew.close()
            run.finish()
        world.advance(timedelta(hours=1))
        assert any(world.members().values())


def test_a_share_ends_with_its_run_and_differs_in_nothing(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path) as world, open_parts(world.config, clock=world.clock.now) as parts:
        with Spread(parts) as run:
            crew = Crew(world, run)
            assignment = run.assignment(str(world.config))
            share = share_of(assignment, run.controllers[0], crew.opening)
            share.judge()
            assert not share.end_with_run()
            for wrong, code in ({"digest": "another"}, "config_differs"), ({"key_ids": {}}, "keys_differ"):
                values = {name: getattr(assignment, name) for name in assignment.__slots__} | wrong
                with pytest.raises(NeedsFix, match=code):
                    Share(type(assignment)(**values), run.controllers[0], crew.opening).judge()
        assert share.end_with_run(), "the run gave its lease back"
        assert (let_go(run.outcome.run_id), let_go(run.outcome.run_id)) == (1, 0)


def test_whoever_is_asked_to_end_tells_the_others(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path) as world, open_parts(world.config, clock=world.clock.now) as parts:
        asked: list[bool] = []
        with Spread(parts, interrupted=lambda: bool(asked)) as run:
            crew = Crew(world, run)
            first, *_ = crew.judge()
            assert run.go_on()
            asked.append(True)
            assert not run.go_on()
            done = crew.shares[first.partition("/")[0]].add(crew.turn(first))
            assert [error.code for error in done.errors] == ["interrupted"]
            run.keep(first, done)
            assert [error.code for error in run.outcome.errors] == ["interrupted"] * len({e.where for e in run.outcome.errors})
            crew.close()
        with open_parts(world.config, clock=world.clock.now) as after:
            Lease(after.evidence.engine, WRITER, "the next run", world.clock.now).take()


def test_two_deliveries_to_one_list_are_added_up() -> None:
    first, then = Sent(removed=3, batches=1, refused={"a": 1}), Sent(added=5, batches=2, refused={"a": 2, "b": 1}, late=1)
    first.times.measured["visible_to_accepted"].append((60, 3))
    both = added_up(first, then)
    assert (both.removed, both.added, both.batches, both.late) == (3, 5, 3, 1)
    assert both.refused == {"a": 3, "b": 1}
    assert both.times.measured["visible_to_accepted"] == [(60, 3)]


@pytest.mark.parametrize("kind", [NeedsFix, TryAgain, NotKnown, MustStop])
def test_an_error_crosses_as_what_it_is(kind: type[NestAudienceError]) -> None:
    crossed = pickle.loads(pickle.dumps(kind("code", "here", "do this")))  # noqa: S301 (ours)
    assert (type(crossed), crossed.as_dict()) == (kind, kind("code", "here", "do this").as_dict())


def test_what_another_process_sent_within_the_minute_counts() -> None:
    seconds, waits = [0.0], []
    quota = Quota({Kind.WRITE: Allowance(minute=10)}, clock=lambda: seconds[0], sleep=waits.append)
    quota.elsewhere(Kind.WRITE, 9)
    assert quota.ready(Kind.WRITE, removal=True) is None
    quota.elsewhere(Kind.WRITE, 1)

    def sleep(wait: float) -> None:
        waits.append(wait)
        seconds[0] += wait

    quota._sleep = sleep
    assert quota.ready(Kind.WRITE, removal=True) is None
    assert waits == [60.0]
    assert timedelta(seconds=sum(waits)) == timedelta(minutes=1)

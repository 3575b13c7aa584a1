"""An audience moves from one way to Google to the other, by configuration: its list, its members and its open requests go on as they are."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from nights import SandboxWorld

from nestaudience.checks import check_everything
from nestaudience.jobs import SETTLING
from nestaudience.ledger.memory import RemoteList
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sync import Outcome, Run
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_parts

AUDIO, LAPTOPS = AudienceKey("computime/bought_audio_12m/google"), AudienceKey("computime/viewed_laptops_30d/google")
CRIME = AudienceKey("bokhyllan/crime_readers/google")
RUN = "RunOfflineUserDataJob"
_TABLES = """
[[destinations]]
name = "google_ads"
credentials = "file:sandbox/token"
endpoint = "{endpoint}"
certificate = "sandbox/ads-ca.pem"
terms_accepted_by = "marketing-lead"
terms_accepted_on = 2026-02-10

[[ad_accounts]]
controller = "computime"
destination = "google_ads"
account_id = "{account}"
"""


class TwoWays:
    """A world whose Google can be reached by both ways, and the configuration before anything moved."""

    def __init__(self, folder: Path) -> None:
        self.world = SandboxWorld(folder, accounts=4000)
        self.ads = GoogleAdsSandbox(self.world.sandbox.state)
        self.ads.start()
        (folder / "sandbox" / "ads-ca.pem").write_bytes(self.ads.ca_pem)
        self.before = self.world.config.read_text("utf-8")

    def move(self, account: str = "1110000001") -> None:
        """The lists of computime go through Google Ads from now on."""
        text = re.sub(
            r'(controller = "computime"\nsegment = "\w+"\ndestination = )"google_data_manager"', r'\1"google_ads"', self.before
        )
        assert text.count('"google_ads"') == self.before.count('"google_ads"') + 2
        text += _TABLES.format(endpoint=self.ads.endpoint, account=account)
        self.world.config.write_text(text, "utf-8")

    def move_back(self) -> None:
        self.world.config.write_text(self.before, "utf-8")

    def settle(self) -> Outcome:
        self.world.advance(timedelta(hours=1))
        with open_parts(self.world.config, clock=self.world.clock.now) as parts, Run(parts, SETTLING) as this:
            this.settle()
            return this.finish()

    def remotes(self) -> dict[AudienceKey, RemoteList]:
        evidence = open_evidence(self.world.config, self.world.clock.now, read_only=True)
        try:
            return {remote.audience: remote for remote in evidence.memory.lists()}
        finally:
            evidence.engine.dispose()

    def batches(self, state: str) -> list[tuple[str, str]]:
        """The ways and operations of the requests in this state, in order."""
        evidence = open_evidence(self.world.config, self.world.clock.now, read_only=True)
        try:
            return [(batch.destination, batch.operation.value) for batch in evidence.memory.batches(frozenset({state}))]
        finally:
            evidence.engine.dispose()

    def sent(self) -> tuple[int, int]:
        """Jobs that were run, and requests that Data Manager got."""
        manager = self.world.sandbox
        return self.ads.seen(RUN), manager.seen("IngestAudienceMembers") + manager.seen("RemoveAudienceMembers")

    def checked(self) -> list[tuple[str, str]]:
        """What `check` finds at Google."""
        found = check_everything(self.world.config, clock=self.world.clock.now)
        return [(each.where, each.what) for each in found if each.where.startswith("google_")]

    def in_line(self) -> None:
        """Nothing is left to send, and the ledger holds who is on the lists."""
        members = self.world.members()
        for plan in self.world.plan():
            assert (plan.additions_to_send, plan.removals_to_send) == (0, 0), plan.key
            there = len(
                members[self.remotes()[plan.key].list_id]
            )  # of whom a lost removal may still act is remembered a while longer
            assert plan.counts.wanted == plan.counts.held - plan.counts.removing == there > 100


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[TwoWays]:
    two = TwoWays(tmp_path)
    yield two
    two.ads.stop()
    two.world.close()


def test_an_audience_moves_and_keeps_its_list(ways: TwoWays) -> None:
    world = ways.world
    assert world.night().exit_code == 0
    bound, (_, requests) = ways.remotes(), ways.sent()
    assert len(bound) == requests == 5

    ways.move()  # before anybody asked what became of the first night
    world.advance_day()
    second = world.night()
    assert second.exit_code == 0
    assert (second.settled, second.waiting) == (5, 0)  # what Data Manager took was asked there
    assert ways.batches("confirmed") == [("google_data_manager", "add")] * 5
    for key in (AUDIO, LAPTOPS):
        assert second.sent[key].added > 0 < second.sent[key].removed
    jobs, later = ways.sent()
    assert jobs == sum(second.sent[key].batches for key in (AUDIO, LAPTOPS))
    assert later - requests == sum(sent.batches for key, sent in second.sent.items() if key not in {AUDIO, LAPTOPS})

    assert ways.settle().waiting == 0
    ways.in_line()
    assert {key: remote.list_id for key, remote in ways.remotes().items()} == {key: each.list_id for key, each in bound.items()}
    assert ways.ads.seen("MutateUserLists") == 0
    assert len(world.members()) == 5
    assert ways.checked() == []
    accounts = world.sandbox.accounts
    accounts["1110000001"] = replace(accounts["1110000001"], terms_accepted=False)
    assert ways.checked() == [("google_ads, account of computime", "terms_missing")]
    accounts["1110000001"] = replace(accounts["1110000001"], terms_accepted=True)

    ways.move_back()  # and the other way round
    world.advance_day()
    third = world.night()
    assert (third.exit_code, ways.sent()[0]) == (0, jobs)
    assert third.sent[AUDIO].batches > 0
    ways.settle()
    ways.in_line()


def test_a_move_to_another_account_is_none(ways: TwoWays) -> None:
    """The binding is of the recipient and the account: another account is another list, whichever way leads there."""
    world = ways.world
    world.night()
    ways.move("1110000009")
    world.advance_day()
    outcome = world.night()
    assert {(error.code, error.where) for error in outcome.errors} == {("wrong_account", AUDIO), ("wrong_account", LAPTOPS)}
    assert ways.ads.seen(RUN) == 0
    assert outcome.sent[CRIME].removed > 0


@pytest.mark.slow
def test_nights_through_google_ads_converge_whatever_call_is_lost(ways: TwoWays) -> None:
    """Before the run nothing counts as sent, at the run it does; running again is all that has to be done."""
    world = ways.world
    ways.move()
    lost = dict.fromkeys(("CreateOfflineUserDataJob", "AddOfflineUserDataJobOperations"), FaultKind.ANSWER_LOST_AFTER_EFFECT)
    for method, kind in (
        lost | {"MutateUserLists": FaultKind.ANSWER_LOST_AFTER_EFFECT, RUN: FaultKind.ANSWER_LOST_BEFORE_EFFECT}
    ).items():
        ways.ads.faults.add(Fault(method, kind))
    found = []
    for _ in range(5):
        found.append(world.night())
        world.advance(timedelta(hours=1))
    assert {error.code for outcome in found for error in outcome.errors} >= {"unavailable", "lost_unavailable"}
    assert {code for outcome in found for sent in outcome.sent.values() for code in sent.refused} == {"unavailable"}
    assert {code for outcome in found for sent in outcome.sent.values() for code in sent.unknown} == {"lost_unavailable"}
    assert (found[-1].exit_code, ways.ads.faults.waiting) == (0, ())
    assert len(world.members()) == 5
    ways.in_line()
    world.advance_day()
    ways.ads.faults.add(Fault(RUN, FaultKind.ANSWER_LOST_AFTER_EFFECT, 2))
    assert world.night().exit_code == 4
    for _ in range(2):
        ways.settle()
        assert world.night().exit_code == 0
    ways.settle()
    ways.in_line()

"""What happened to a list at Meta behind our back is an incident once, stands in the status while it lasts, and is told again when it comes back.

The lists are made and nobody is sent: the night's last step alone is what is tried here, through the real parts.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from nights import SandboxWorld

from nestaudience.alerts import alerts
from nestaudience.checks import check_everything
from nestaudience.cli.status_command import notes_on
from nestaudience.config.load import load
from nestaudience.delivery.list_facts import note_facts
from nestaudience.delivery.lists import bind_list
from nestaudience.ledger.memory import RemoteList
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList
from nestaudience.status import AudienceStatus, Status, status
from nestaudience.sync import Run
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

COFFEE = AudienceKey("hemkraft/coffee_lovers/meta")
ACCOUNT, OTHER = "2220000003", "2220000001"


class Signs:
    """A world with one bound list at Meta."""

    def __init__(self, world: SandboxWorld) -> None:
        self.world = world
        assert world.meta is not None
        self.meta: MetaSandbox = world.meta
        with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, Run(parts) as run:
            self.remote: RemoteList = bind_list(parts.settings.audiences[COFFEE], parts.destinations["meta"], run.tools)
            run.log.seal()

    @property
    def kept(self) -> MetaList:
        """The list at the platform, whoever has it."""
        return next(
            each for account in (ACCOUNT, OTHER) for each in self.meta.lists(account) if each.list_id == self.remote.list_id
        )

    def look(self) -> list[tuple[str, str]]:
        """The night looks: (code, detail) of each new incident, in order."""
        world, before = self.world, len(self.incidents())
        world.clock.advance(timedelta(minutes=1))
        with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, Run(parts) as run:
            note_facts([(parts.settings.audiences[COFFEE], self.remote)], parts.destinations, run.tools)
            run.log.seal()
        return self.incidents()[before:]

    def incidents(self) -> list[tuple[str, str]]:
        evidence = open_evidence(self.world.config, self.world.clock.now, read_only=True)
        try:
            entries = [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "incident"]
            assert all((each["audience"], each["list_id"]) == (COFFEE, self.remote.list_id) for each in entries)
            return [(each["code"], each.get("detail", "")) for each in entries]
        finally:
            evidence.engine.dispose()

    def status(self) -> Status:
        evidence = open_evidence(self.world.config, self.world.clock.now, read_only=True)
        try:
            return status(evidence, settings_in_use(evidence), self.world.clock.now())
        finally:
            evidence.engine.dispose()

    def told(self) -> AudienceStatus:
        return next(each for each in self.status().audiences if each.audience == COFFEE)


@pytest.fixture
def signs(tmp_path: Path) -> Iterator[Signs]:
    with SandboxWorld(tmp_path, accounts=600, meta=True) as world:
        yield Signs(world)


def test_a_list_as_we_left_it_has_no_signs(signs: Signs) -> None:
    assert signs.look() == []
    said = {name: value for name, value in signs.told().platform.items() if name != "at"}
    assert said == {"open": True, "operation": 410, "delivery": 300, "lower": 0, "upper": 100, "sessions_open": 0}
    assert notes_on(signs.told(), signs.world.clock.now()) == []


def test_each_sign_is_an_incident_once_and_stands_in_the_status(signs: Signs) -> None:
    kept = signs.kept
    kept.display_name, kept.lookalikes = "Asthma patients", 1
    kept.deleted_at, kept.shared_with = signs.world.clock.now() + timedelta(days=90), (OTHER,)
    signs.meta.flag_list(ACCOUNT, kept.list_id)
    found = [
        ("list_expires", "2027-02-19"),
        ("list_flagged", "NAME"),
        ("list_lookalike", f"{kept.list_id}00"),
        ("list_renamed", ""),
        ("list_shared", OTHER),
    ]
    assert signs.look() == found
    assert signs.look() == [], "while it stays as it is"
    seen = signs.status()
    told = notes_on(signs.told(), signs.world.clock.now())
    assert (
        len([note for note in told if any(word in note for word in ("flagged it (NAME)", OTHER, "2027-02-19", "00 is built"))])
        == 4
    )
    assert "Asthma" not in str(seen.as_dict())
    standing = alerts(seen, load(signs.world.config).alerts, signs.world.clock.now())
    assert sorted(alert.about for alert in standing if alert.code == "incident") == [code for code, _ in found]
    kept.lookalikes, kept.shared_with, kept.deleted_at = 2, (), None
    kept.display_name = f"{signs.remote.code} c3-10"
    assert signs.look() == [("list_lookalike", f"{kept.list_id}01")]
    assert [sign.partition(":")[0] for sign in signs.told().platform["signs"]] == [
        "list_flagged",
        "list_lookalike",
        "list_lookalike",
    ]
    kept.shared_with = (OTHER,)
    assert signs.look() == [("list_shared", OTHER)], "it came back"


def test_a_night_that_could_not_ask_tells_nothing_anew(signs: Signs) -> None:
    kept = signs.kept
    kept.lookalikes, kept.shared_with = 1, (OTHER,)
    assert len(signs.look()) == 2
    signs.meta.faults.add(Fault("ReadSharing", FaultKind.EXHAUSTED_UNEXPLAINED))
    signs.meta.faults.add(Fault("ReadSharingOutside", FaultKind.EXHAUSTED_UNEXPLAINED))
    assert signs.look() == [], "with whom it is shared was not told"
    signs.meta.faults.clear()
    signs.meta.faults.add(Fault("ListAudiences", FaultKind.EXHAUSTED_UNEXPLAINED, 2))
    assert signs.look() == [], "nothing was told"
    signs.meta.faults.clear()
    assert signs.look() == []
    assert len(signs.told().platform["signs"]) == 2


def test_a_list_that_another_account_owns(signs: Signs) -> None:
    signs.meta.hand_over(ACCOUNT, signs.remote.list_id, OTHER)
    assert signs.look() == [("list_owner_changed", OTHER)]
    assert signs.look() == []
    assert signs.told().platform["open"] is False
    assert any(f"ad account {OTHER} owns it" in note for note in notes_on(signs.told(), signs.world.clock.now()))


def test_check_counts_what_others_share_into_an_account(signs: Signs) -> None:
    def shared() -> list[str]:
        found = check_everything(signs.world.config, clock=signs.world.clock.now)
        return [each.what for each in found if "share into" in each.what]

    assert shared() == []
    signs.meta.accounts["9"] = MetaAccount(tokens=frozenset({"another"}))
    signs.meta.add_list("9", MetaList("", "theirs", "", shared_with=(ACCOUNT,)))
    assert shared() == ["1 customer lists that other accounts share into this one"]

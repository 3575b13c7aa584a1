"""One company's people never reach another's account: whatever is swapped, no request about anybody goes there, removals included.

A site with both platforms lives through a first night; then each test swaps something in a copy of its folder and lets the next night and the
next hour run. The platforms keep every request that they get, and these are what is looked at.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import parse_qs

import adbc_driver_sqlite.dbapi
import pytest
from canary_site import CanarySite, written_down
from google.ads import datamanager_v1 as dm

from nestaudience.checks import Finding, check_everything
from nestaudience.config.load import load
from nestaudience.delivery.lists import name_of
from nestaudience.ledger.keys import load_keys, new_keys
from nestaudience.ledger.memory import RemoteList
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_access import MetaAccess
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.sandbox.site import ACCOUNTS, META_ACCOUNTS
from nestaudience.status import Status, status
from nestaudience.sync import Outcome, run
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_parts
from nestaudience.withdrawals import withdrawals_job

NIGHT = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
PLATFORMS = ("google", "meta")
ONE_IN_SHORT = ("google", pytest.param("meta", marks=pytest.mark.slow))
THE_HOUR_IN_SHORT = ("hour", pytest.param("night", marks=pytest.mark.slow))
COMPUTIME, BOKHYLLAN, HEMKRAFT = range(3)


MADE: list[Path] = []
"""A copy for each swap that was tried."""


@dataclass
class Swapped:
    """A copy of the site on the morning after, and the platforms' requests since it was made."""

    site: CanarySite
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "nestaudience.toml"

    def edit(self, change: Callable[[str], str]) -> None:
        before = self.config.read_text("utf-8")
        self.config.write_text(change(before), "utf-8")
        assert self.config.read_text("utf-8") != before

    def ledger(self, *statements: str) -> None:
        """Somebody with access to the ledger's file changes it. Through the library that the ledger itself is opened with."""
        database = adbc_driver_sqlite.dbapi.connect(str(self.folder / "ledger" / "ledger.sqlite"), autocommit=True)
        with closing(database) as opened, opened.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def remotes(self) -> dict[AudienceKey, RemoteList]:
        evidence = open_evidence(self.config, self.site.clock.now, read_only=True)
        try:
            return {remote.audience: remote for remote in evidence.memory.lists()}
        finally:
            evidence.engine.dispose()

    def night(self) -> Outcome:
        with open_parts(self.config, clock=self.site.clock.now) as parts:
            return run(parts)

    def hour(self) -> Outcome:
        with open_parts(self.config, clock=self.site.clock.now) as parts:
            job = withdrawals_job(parts.evidence.reader, parts.settings, parts.clock(), due_only=False)
            assert job is not None
            return run(parts, job)

    def status(self) -> Status:
        evidence = open_evidence(self.config, self.site.clock.now, read_only=True)
        try:
            return status(evidence, load(self.config), self.site.clock.now())
        finally:
            evidence.engine.dispose()

    def incidents(self) -> set[tuple[str, str]]:
        evidence = open_evidence(self.config, self.site.clock.now, read_only=True)
        try:
            found = [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "incident"]
            return {(str(fields["code"]), str(fields["audience"])) for fields in found}
        finally:
            evidence.engine.dispose()

    def reached(self) -> dict[tuple[str, str], int]:
        """(ad account, list id) -> members in requests that reached it; Meta's requests name no account."""
        found: dict[tuple[str, str], int] = {}
        kinds = {
            "IngestAudienceMembers": dm.IngestAudienceMembersRequest,
            "RemoveAudienceMembers": dm.RemoveAudienceMembersRequest,
        }
        for method, raw in self.site.sandbox.received:
            if method in kinds:
                request = kinds[method].pb().FromString(raw)
                for goal in request.destinations:
                    place = goal.operating_account.account_id, goal.product_destination_id
                    found[place] = found.get(place, 0) + len(request.audience_members)
        for kind, raw in self.site.meta.received:
            if kind in {"AddUsers", "RemoveUsers"}:
                line, _, body = raw.partition(b"\r\n\r\n")
                numbered = re.search(rb"/([0-9]+)/users", line)
                assert numbered
                people = len(json.loads(parse_qs(body.decode())["payload"][0])["data"])
                place = "", numbered[1].decode()
                found[place] = found.get(place, 0) + people
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanarySite]:
    """The first night is over, and a day has passed: every list has somebody who must leave and somebody who may join."""
    here = CanarySite(tmp_path_factory.mktemp("swapped") / "s", SandboxClock(NIGHT), accounts=2500)
    try:
        here.one_call("first")
        assert here.codes["first"] == (0,)
        here.clock.advance(timedelta(hours=1))
        here.one_call("settling")
        here.next_day()
        yield here
    finally:
        here.close()


@pytest.fixture
def swapped(site: CanarySite, tmp_path: Path) -> Iterator[Swapped]:
    folder = tmp_path / "s"
    shutil.copytree(site.folder, folder)
    google, meta = dict(site.sandbox.accounts), dict(site.meta.accounts)
    site.sandbox.received.clear()
    site.meta.received.clear()
    MADE.append(folder)
    yield Swapped(site, folder)
    site.sandbox.accounts.update(google)
    site.meta.accounts.update(meta)
    site.meta.faults.clear()
    site.meta.access = MetaAccess()


def lists_of(here: Swapped, platform: str, company: str) -> dict[AudienceKey, RemoteList]:
    return {
        key: remote for key, remote in here.remotes().items() if key.endswith(f"/{platform}") and remote.controller == company
    }


def nothing_reached(here: Swapped, remotes: dict[AudienceKey, RemoteList]) -> None:
    """No request about anybody reached one of these lists, or any list of their accounts; others were reached."""
    reached = here.reached()
    accounts = {remote.ad_account for remote in remotes.values()}
    list_ids = {remote.list_id for remote in remotes.values()}
    assert not {place for place in reached if place[0] in accounts or place[1] in list_ids}
    assert reached, "the others are served"


def clock_runs(here: Swapped, keys: set[AudienceKey], *, gate: bool) -> None:
    found = {each.audience: each for each in here.status().audiences}
    for key in keys:
        assert found[key].open_removals > 0, key
        assert found[key].oldest_removal_at
        assert ("wrong_account" in found[key].gates) == gate


def swap(text: str, one: str, other: str) -> str:
    return text.replace(one, "\0").replace(other, one).replace("\0", other)


def test_names_on_the_platforms_tell_nothing_without_the_key(site: CanarySite) -> None:
    """A code that another key makes is another one, and no name says which segment or company it is."""
    settings = load(site.place.config)
    other = new_keys(Random(99).randbytes)
    own = load_keys(site.place.keys)
    names = {name for _, _, name in site.platforms.members()}
    assert names == {name_of(audience, own) for audience in settings.audiences.values()}
    assert not names & {name_of(audience, other) for audience in settings.audiences.values()}
    words = {
        word for audience in settings.audiences.values() for word in (audience.controller.key, *audience.segment.code.split("_"))
    }
    assert not [name for name in names if any(word in name for word in words if len(word) > 3)]


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
def test_without_a_swap_everybody_is_served(swapped: Swapped, platform: str) -> None:
    """The control: this night does have people to send to all of these lists."""
    assert swapped.night().exit_codes == (0,)
    reached = {list_id for _, list_id in swapped.reached()}
    for company in ("computime", "bokhyllan", "hemkraft"):
        assert {remote.list_id for remote in lists_of(swapped, platform, company).values()} <= reached
    assert swapped.incidents() == set()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_two_companies_accounts_swapped_in_the_configuration(swapped: Swapped, platform: str) -> None:
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    remotes = lists_of(swapped, platform, "computime") | lists_of(swapped, platform, "bokhyllan")
    swapped.edit(lambda text: swap(text, numbers[COMPUTIME], numbers[BOKHYLLAN]))
    outcome = swapped.night()
    assert outcome.exit_codes == (0, 5)
    assert [error.code for error in outcome.errors] == ["wrong_account"] * 4
    nothing_reached(swapped, remotes)
    assert swapped.incidents() == {("wrong_account", key) for key in remotes}
    clock_runs(swapped, set(remotes), gate=True)
    swapped.site.sandbox.received.clear()
    swapped.site.meta.received.clear()
    hour = swapped.hour()
    assert {error.code for error in hour.errors} <= {"wrong_account"}
    assert not {place for place in swapped.reached() if place[1] in {remote.list_id for remote in remotes.values()}}


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
def test_the_hour_between_meets_the_swap_first(swapped: Swapped, platform: str) -> None:
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    remotes = lists_of(swapped, platform, "computime") | lists_of(swapped, platform, "bokhyllan")
    swapped.edit(lambda text: swap(text, numbers[COMPUTIME], numbers[BOKHYLLAN]))
    outcome = swapped.hour()
    assert 5 in outcome.exit_codes
    nothing_reached(swapped, remotes)
    told = swapped.incidents()
    assert told
    assert told <= {("wrong_account", key) for key in remotes}


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
def test_one_account_for_two_companies(swapped: Swapped, platform: str) -> None:
    """The configuration itself is wrong then: what is accepted goes on, and nobody joins."""
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    remotes = lists_of(swapped, platform, "computime")
    before = swapped.site.platforms.members()
    swapped.edit(lambda text: text.replace(numbers[HEMKRAFT], numbers[BOKHYLLAN]))
    outcome = swapped.night()
    assert 2 in outcome.exit_codes
    stopped = lists_of(swapped, platform, "bokhyllan") | lists_of(swapped, platform, "hemkraft")
    assert {key for key, gates in outcome.gates.items() if any(gate.code == "config" for gate in gates)} == set(stopped)
    swapped.site.platforms.advance(timedelta(minutes=1))
    after = swapped.site.platforms.members()
    for kind, account, name in before:
        if kind == platform and account in numbers[1:]:
            assert after[kind, account, name] <= before[kind, account, name], name
    assert {remote.list_id for remote in remotes.values()} <= {place[1] for place in swapped.reached()}


def owners_changed(remotes: dict[AudienceKey, RemoteList]) -> set[tuple[str, str]]:
    """What a night's look at the lists says besides, at Meta: they are another account's than the ledger's."""
    return {("list_owner_changed", key) for key in remotes}


def other_list(here: Swapped, platform: str, one: str, other: str) -> dict[AudienceKey, RemoteList]:
    """Swap the ids of two lists in the ledger; the two lists."""
    remotes = here.remotes()
    pair = {AudienceKey(f"{key}/{platform}"): remotes[AudienceKey(f"{key}/{platform}")] for key in (one, other)}
    first, second = pair.values()
    here.ledger(
        f"UPDATE remote_list SET list_id = '{second.list_id}' WHERE list_no = {first.list_no}",
        f"UPDATE remote_list SET list_id = '{first.list_id}' WHERE list_no = {second.list_no}",
    )
    return pair


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("computime/bought_audio_12m", "bokhyllan/crime_readers"),
        ("bokhyllan/crime_readers", "bokhyllan/lapsed_readers"),
    ],
    ids=["of two companies", "of one company"],
)
def test_two_lists_swapped_in_the_ledger(swapped: Swapped, platform: str, one: str, other: str) -> None:
    """The platform's own answer shows it: the id is another account's, or carries another audience's code. Nothing lapses."""
    pair = other_list(swapped, platform, one, other)
    outcome = swapped.night()
    assert [error.code for error in outcome.errors] == ["wrong_account"] * 2
    reached = swapped.reached()
    assert not {place for place in reached if place[1] in {remote.list_id for remote in pair.values()}}
    assert reached
    assert swapped.incidents() - owners_changed(pair) == {("wrong_account", key) for key in pair}
    clock_runs(swapped, set(pair), gate=False)
    assert {swapped.remotes()[key].state for key in pair} == {"open"}
    assert all(each.held > 0 for each in swapped.status().audiences if each.audience in pair)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_account_moved_in_configuration_and_ledger_alike(swapped: Swapped, platform: str) -> None:
    """Both say the same, so only the platform can tell: it keeps the list in another account."""
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    remotes = lists_of(swapped, platform, "computime") | lists_of(swapped, platform, "bokhyllan")
    swapped.edit(lambda text: swap(text, numbers[COMPUTIME], numbers[BOKHYLLAN]))
    for key, remote in remotes.items():
        moved = numbers[BOKHYLLAN] if remote.ad_account == numbers[COMPUTIME] else numbers[COMPUTIME]
        swapped.ledger(f"UPDATE remote_list SET ad_account = '{moved}' WHERE audience = '{key}'")
    outcome = swapped.night()
    reached = swapped.reached()
    assert not {place for place in reached if place[1] in {remote.list_id for remote in remotes.values()}}
    if platform == "meta":
        assert {error.code for error in outcome.errors} == {"wrong_account"}
        assert swapped.incidents() == {("wrong_account", key) for key in remotes} | owners_changed(remotes)
    else:  # Google says that the account has no such list, and nothing of another one: that is a list that is gone
        assert {error.code for error in outcome.errors} == {"list_gone"}


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
def test_a_token_of_another_company(swapped: Swapped, platform: str) -> None:
    """The platform refuses it for every account but its owner's, before anybody is named."""
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    box = swapped.site.sandbox if platform == "google" else swapped.site.meta
    for number, company in zip(numbers, ("computime", "bokhyllan", "hemkraft"), strict=True):
        box.accounts[number] = replace(box.accounts[number], tokens=frozenset({f"token-of-{company}"}))  # type: ignore[assignment, type-var]
    name = "token" if platform == "google" else "meta-token"
    (swapped.folder / "sandbox" / name).write_text("token-of-computime")
    remotes = lists_of(swapped, platform, "bokhyllan") | lists_of(swapped, platform, "hemkraft")
    outcome = swapped.night()
    assert 2 in outcome.exit_codes
    nothing_reached(swapped, remotes)
    assert {remote.list_id for remote in lists_of(swapped, platform, "computime").values()} <= {
        place[1] for place in swapped.reached()
    }
    clock_runs(swapped, set(remotes), gate=False)
    assert {swapped.remotes()[key].state for key in remotes} == {"open"}


@pytest.mark.parametrize("platform", ONE_IN_SHORT)
def test_a_new_list_on_the_account_of_another_company(swapped: Swapped, platform: str) -> None:
    """Before the first list of a company is made on an account, the ledger is asked whose lists are there."""
    numbers = ACCOUNTS if platform == "google" else META_ACCOUNTS
    swapped.edit(lambda text: swap(text, numbers[HEMKRAFT], numbers[BOKHYLLAN]))
    coffee = AudienceKey(f"hemkraft/coffee_lovers/{platform}")
    at_bokhyllan = lists_of(swapped, platform, "bokhyllan")
    swapped.ledger(f"UPDATE remote_list SET state = 'closed' WHERE audience = '{coffee}'")
    swapped.edit(
        lambda text: re.sub(rf'(segment = "coffee_lovers"\ndestination = "{platform}\w*"\nnumber = )\d+', r"\g<1>77", text)
    )
    made = swapped.site.sandbox.seen("CreateUserList"), swapped.site.meta.seen("CreateAudience")
    outcome = swapped.night()
    assert ("wrong_account", coffee) in swapped.incidents()
    assert (5, "wrong_account", coffee) in {(error.exit_code, error.code, error.where) for error in outcome.errors}
    nothing_reached(swapped, at_bokhyllan)
    assert (swapped.site.sandbox.seen("CreateUserList"), swapped.site.meta.seen("CreateAudience")) == made


def at_meta(here: Swapped) -> dict[str, Finding]:
    """What `check` says of Meta's accounts: its code or words -> the finding."""
    found = check_everything(here.config, clock=here.site.clock.now)
    return {each.what: each for each in found if each.where.startswith("meta, account of computime")}


def owned_by(here: Swapped, business: str | None, **changed: bool) -> None:
    accounts = here.site.meta.accounts
    accounts[META_ACCOUNTS[0]] = replace(accounts[META_ACCOUNTS[0]], business_id=business, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("when", THE_HOUR_IN_SHORT)
def test_an_account_of_another_business(swapped: Swapped, when: str) -> None:
    """The number is the bound one and the lists are ours: only the owner tells that somebody sold it, or that it never was the company's."""
    owned_by(swapped, "4449999999")
    remotes = lists_of(swapped, "meta", "computime")
    asked = swapped.site.meta.seen("ReadAccount")
    outcome = swapped.night() if when == "night" else swapped.hour()
    assert [(error.code, error.exit_code) for error in outcome.errors] == [("wrong_account", 5)] * len(remotes)
    nothing_reached(swapped, remotes)
    assert swapped.incidents() == {("wrong_account", key) for key in remotes}
    if when == "night":  # an hour's small look has no funnel
        clock_runs(swapped, set(remotes), gate=False)
    assert swapped.site.meta.seen("ReadAccount") - asked == len(META_ACCOUNTS), "each account once a run"
    assert {what: finding.exit_code for what, finding in at_meta(swapped).items()} == {"wrong_account": 5}


@pytest.mark.parametrize("when", THE_HOUR_IN_SHORT)
def test_noes_leave_an_account_that_cannot_be_compared(swapped: Swapped, when: str) -> None:
    """Its lists were confirmed by their own reads; nobody joins before somebody knows whose the account is."""
    before, asked = swapped.site.platforms.members(), swapped.site.meta.seen("ReadAccount")
    swapped.site.meta.faults.add(Fault("ReadAccount", FaultKind.ABORTED, 500))
    outcome = swapped.night() if when == "night" else swapped.hour()
    asked = swapped.site.meta.seen("ReadAccount") - asked
    after = swapped.site.platforms.members()
    at_meta = {key: sent for key, sent in outcome.sent.items() if key.endswith("/meta")}
    assert len(at_meta) == 5
    assert all(sent.removed and not sent.added for sent in at_meta.values())
    assert all(after[place] <= before[place] for place in before if place[0] == "meta")
    if when == "night":
        assert {error.code for error in outcome.errors} == {"update_in_progress"}
        assert asked == 2 * len(META_ACCOUNTS), "once for all who leave, once for all who join"
        assert all(sent.added for key, sent in outcome.sent.items() if key.endswith("/google"))
    else:
        assert (outcome.errors, asked) == ([], len(META_ACCOUNTS))
    assert swapped.incidents() == set()


def test_what_check_says_of_an_account(swapped: Swapped) -> None:
    """Every fault in a line of its own, all at once, each with what to do."""
    assert at_meta(swapped) == {}
    owned_by(swapped, None, tos_accepted=False)
    swapped.site.meta.access.permissions["ads_management"] = "declined"
    found = at_meta(swapped)
    assert set(found) == {"account_without_business", "terms_missing", "permission_denied"}
    assert all(finding.exit_code == 2 and finding.next_step for finding in found.values())
    owned_by(swapped, "4440000001", tos_accepted=True)
    swapped.site.meta.access = MetaAccess(system_users=())
    swapped.edit(lambda text: text.replace('business_id = "4440000001"', "", 1))
    found = at_meta(swapped)
    assert set(found) == {"not named", "the token is of no system user of the business"}
    assert all(finding.warning for finding in found.values())
    swapped.site.meta.accounts[META_ACCOUNTS[0]] = MetaAccount(tokens=frozenset({"another"}))
    assert set(at_meta(swapped)) == {"account_wrong"}, "the same fault is told once"


def test_versions_that_check_knows(swapped: Swapped) -> None:
    def told() -> dict[str, Finding]:
        found = check_everything(swapped.config, clock=swapped.site.clock.now)
        return {each.where: each for each in found if "api_version" in each.where or each.what == "api_version_expired"}

    assert told() == {}
    for version, what in (
        ("v24.0", "the platform serves this version no longer"),
        ("v99.0", "no version that this program knows"),
    ):
        swapped.edit(lambda text, v=version: re.sub(r'(?m)^(# )?api_version = "v\d+\.\d"', f'api_version = "{v}"', text))  # type: ignore[misc]
        assert told()["destinations.meta.api_version"].what == what
        assert told()["destinations.meta.api_version"].exit_code == 2
    swapped.edit(lambda text: text.replace('"v99.0"', '"v24.0"'))
    swapped.site.meta.upgrades = frozenset({"v24.0"})
    try:
        assert {finding.what for finding in told().values()} >= {"api_version_expired"}
    finally:
        swapped.site.meta.upgrades = frozenset()


def test_it_is_written_down() -> None:
    """The row of docs/reliability.md, where somebody asked for it."""
    if MADE:
        written_down("wrong_account", [{"fault": "accounts, tokens and lists swapped", "runs": len(MADE), "wrong": 0}])

"""Something is wrong on the morning after: nobody joins where it matters, whoever said no leaves, and a person is told what to do.

Every test starts from the same past: a first night, and a day in which people withdrew, objected, closed their accounts, and came. Then one thing
breaks. Messages hold codes, keys, places and remedies: no address, digest, account or secret.
"""

import hashlib
import re
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_sqlite.dbapi
import pytest
from later_world import LISTS, LaterWorld, Past
from nights import ACCOUNTS

from nestaudience import sync
from nestaudience.checks import check_everything
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.world import reload_store
from nestaudience.wiring import open_parts
from tests.reference.values import canonical, google_form

CONSENTS = ("withdrew_all", "withdrew_google", "cookies_refused")
RIGHTS = ("objected", "restricted")
ACCOUNT_ROW = ("closed",)
ALL_NOES = (*CONSENTS, *RIGHTS, *ACCOUNT_ROW)
EVERYWHERE = frozenset(LISTS)
AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS


def digests(past: Past, *kinds: str, alone: bool = False) -> frozenset[str]:
    """The digests of the people of these stories of the day; `alone`: only of those who share their address with nobody."""
    ids = {who for kind in kinds for who in past.day.accounts[kind]} & past.address.keys()
    shared = Counter(canonical(address) for address in past.address.values())
    ids = {who for who in ids if not alone or shared[canonical(past.address[who])] == 1}
    return frozenset(hashlib.sha256(str(google_form(past.address[who])).encode()).hexdigest() for who in ids)


def assert_silent(world: LaterWorld, *texts: str) -> None:
    """No address, account, digest or secret in what people are told."""
    together = "\n".join(texts)
    assert "@" not in together
    assert not re.search(r"[0-9a-fA-F]{32,}", together)
    assert world.sandbox.token not in together
    assert str(world.folder) not in together
    assert not any(re.search(rf"\b{re.escape(who)}\b", together) for who in world.past.address)


def texts_of(outcome: sync.Outcome) -> list[str]:
    return [str(e) + str(e.as_dict()) for e in outcome.errors] + [g.next_step for gates in outcome.gates.values() for g in gates]


def findings(world: LaterWorld) -> dict[str, str]:
    """What `check` says must be mended, besides what the store has anyway: place -> what. It changes nothing."""
    writes = world.sandbox.writes
    found = [f for f in check_everything(world.config, clock=world.clock.now) if not f.warning]
    assert world.sandbox.writes == writes
    assert_silent(world, *(f"{f.where} {f.what} {f.next_step}" for f in found))
    return {f.where: f.what for f in found if (f.where, f.what) not in world.past.faults}


@dataclass(frozen=True)
class Held:
    """What a night with a fault must have done."""

    gate: str
    exit_code: int
    noes: tuple[str, ...]
    """Stories whose people must be gone from every list."""
    stopped: frozenset[str] = EVERYWHERE
    """Lists that nobody joins."""
    ordinary_waits: bool = True
    alone: bool = False
    """Nobody's address can be read, so that a no reaches its own account only."""


def assert_night(world: LaterWorld, expected: Held) -> sync.Outcome:
    outcome = world.night()
    world.settle()
    assert outcome.exit_code == expected.exit_code
    assert_silent(world, *texts_of(outcome))
    said_no = digests(world.past, *expected.noes, alone=expected.alone)
    all_noes = digests(world.past, *ALL_NOES, "erased", "changed_verified", "changed_unverified")
    joined = 0
    for key in LISTS:
        codes = [gate.code for gate in outcome.gates.get(key, ())]
        list_id = world.remote(key).list_id
        assert not world.members()[list_id] & said_no
        if key in expected.stopped:
            assert expected.gate in codes
            assert not world.joined(key)
        else:
            assert codes == []
            joined += len(world.joined(key))
        if expected.ordinary_waits and key in expected.stopped:
            ordinary = digests(world.past, "returned_orders") & world.before[list_id] - all_noes
            assert not ordinary & world.left(key)
    assert sum(len(world.left(key)) for key in LISTS) >= len(said_no & frozenset().union(*world.before.values()))
    assert joined or expected.stopped == EVERYWHERE
    return outcome


def test_the_day_before_is_worth_it(past: Past, world: LaterWorld) -> None:
    on_lists = frozenset().union(*world.before.values())
    assert all(digests(past, kind) & on_lists for kind in ALL_NOES)
    assert all(plan.additions_to_send for plan in world.plan() if plan.key != LAPSED)


# --- the store


@pytest.mark.parametrize(
    ("view", "noes"),
    [
        ("account", (*CONSENTS, *RIGHTS)),
        ("consent_event", (*RIGHTS, *ACCOUNT_ROW)),
        ("rights_event", (*CONSENTS, *ACCOUNT_ROW)),
        ("segment_member", ALL_NOES),
    ],
)
def test_a_missing_view(world: LaterWorld, view: str, noes: tuple[str, ...]) -> None:
    world.store_file(f"DROP VIEW {view}")
    assert findings(world)[view] == "view_missing"
    assert_night(world, Held("feed_incomplete", 5, noes, alone=view == "account"))


@pytest.mark.parametrize(
    ("view", "old", "new", "place"),
    [
        ("account", "email, email_from", "email_from", "account.email"),
        ("consent_event", "recorded_at, source", "source", "consent_event.recorded_at"),
        ("consent_event", "confirmed, text", "text", "consent_event.confirmed"),
    ],
)
def test_a_missing_column(world: LaterWorld, view: str, old: str, new: str, place: str) -> None:
    world.change_view(view, old, new)
    assert findings(world)[place] == "column_missing"
    assert_night(world, Held("feed_incomplete", 5, ALL_NOES, alone=place == "account.email"))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (
            "occurred_at, recorded_at",
            "CAST(strftime('%s', occurred_at) AS INTEGER) AS occurred_at, CAST(strftime('%s', recorded_at) AS INTEGER) AS recorded_at",
            "consent_event.occurred_at",
        ),
        ("confirmed, text", "CASE confirmed WHEN 1 THEN 'yes' ELSE 'no' END AS confirmed, text", "consent_event.confirmed"),
    ],
)
def test_a_wrong_type(world: LaterWorld, old: str, new: str, place: str) -> None:
    world.change_view("consent_event", old, new)
    assert findings(world)[place] == "wrong_type"
    assert_night(world, Held("feed_malformed", 5, ALL_NOES))


def test_a_store_of_another_environment(world: LaterWorld) -> None:
    world.change_view("feed_status", "'sandbox'", "'production'")
    assert_night(world, Held("environment", 5, ALL_NOES))


@pytest.mark.parametrize(
    ("fault", "code", "exit_code"),
    [("missing", "store_missing", 5), ("text", "store_unreadable", 5), ("locked", "store_busy", 5)],
)
def test_a_store_that_cannot_be_read(world: LaterWorld, fault: str, code: str, exit_code: int) -> None:
    """Nothing can be judged: nobody joins and nobody leaves for a fault of ours; the next night is as if this had not been."""
    kept = world.folder / "kept.sqlite"
    shutil.copyfile(world.store, kept)
    if fault == "missing":
        world.store.unlink()
    elif fault == "text":
        world.store.write_text(
            "this is no database, but it has more than a hundred characters in it, as SQLite wants to see a header " * 3
        )
    if fault == "locked":
        with closing(adbc_driver_sqlite.dbapi.connect(world.store.as_uri())) as other, other.cursor() as cursor:
            cursor.execute("PRAGMA locking_mode = EXCLUSIVE")
            cursor.execute("DELETE FROM feed_load WHERE 0")
            other.commit()  # a lock that is taken in this mode stays
            outcome = world.night()
    else:
        assert findings(world)["store.path"] == code
        outcome = world.night()
    world.settle()
    assert code in {error.code for error in outcome.errors}
    assert outcome.exit_code == exit_code
    assert all(next(gate.code for gate in gates) == "feed_incomplete" for gates in outcome.gates.values())
    assert_silent(world, *texts_of(outcome))
    assert world.members() == world.before
    shutil.copyfile(kept, world.store)
    assert reload_store(world.store, world.clock.now())
    if fault == "missing":
        _mended(world)


# --- the configuration


def test_an_unknown_controller(world: LaterWorld) -> None:
    world.edit('[[audiences]]\ncontroller = "hemkraft"', '[[audiences]]\ncontroller = "hemkraftt"')
    assert findings(world)["audiences[4].controller"] == "no such controller in this file"
    assert_night(world, Held("config", 2, ALL_NOES, frozenset({COFFEE}), ordinary_waits=False))


def test_an_unknown_segment(world: LaterWorld) -> None:
    world.edit('segment = "crime_readers"', 'segment = "crime_writers"')
    assert findings(world)["audiences[2].segment"] == "no such segment in this file"
    assert_night(world, Held("config", 2, ALL_NOES, frozenset({CRIME}), ordinary_waits=False))


def test_an_audience_dropped_while_people_are_on_it(world: LaterWorld) -> None:
    text = world.config.read_text("utf-8")
    world.config.write_text(text[: text.rindex("[[audiences]]")], "utf-8")
    assert findings(world)["audiences"] == f"{COFFEE} still holds people and is no longer configured"
    assert_night(world, Held("config", 2, ALL_NOES, frozenset({COFFEE}), ordinary_waits=False))


def test_another_number_while_people_are_on_the_list(world: LaterWorld) -> None:
    """The list of the old number must not be forgotten with people on it."""
    world.edit("number = 5", "number = 15")
    assert_night(world, Held("renumbered", 2, ALL_NOES, frozenset({COFFEE}), ordinary_waits=False))


def test_a_broken_consent_text_and_a_broken_source(world: LaterWorld) -> None:
    """Nobody leaves because the configuration no longer understands a consent: it is judged by what was accepted."""
    world.edit('version = "ads-2025-09"', 'version = "ads 2025 09"')
    world.edit('web_account_settings = "account_prefs"', 'web_account_settings = "account_preferences"')
    found = findings(world)
    assert "texts[2].version" in found
    assert found["sources.web_account_settings"] == "not a source that the rules know"
    assert_night(world, Held("config", 2, ALL_NOES, ordinary_waits=False))
    assert sum(len(world.left(key)) for key in LISTS) < 60


def test_a_file_that_is_no_toml(world: LaterWorld) -> None:
    """Without a readable file nobody knows where the ledger lies: nothing runs, and the message says what to do."""
    world.edit('environment = "sandbox"', "environment = sandbox")
    writes = world.sandbox.writes
    with pytest.raises(NeedsFix) as caught:
        world.night()
    assert (caught.value.code, caught.value.exit_code) == ("config_not_toml", 2)
    assert_silent(world, str(caught.value))
    assert findings(world) == {"the configuration file": "config_not_toml"}
    assert world.sandbox.writes == writes


def test_an_endpoint_in_production(world: LaterWorld) -> None:
    """A new installation says production and still names an endpoint: nothing goes anywhere, not even a question."""
    for name in ("ledger", "keys/head.json"):
        place = world.folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    world.edit('environment = "sandbox"', 'environment = "production"')
    seen = (world.sandbox.reads, world.sandbox.writes)
    found = findings(world)
    assert found["destinations[0].endpoint"] == "an endpoint may be overridden in the sandbox only"
    assert found["google_data_manager"] == "endpoint_override"
    outcome = world.night()
    assert outcome.exit_code == 5
    assert "endpoint_override" in {error.code for error in outcome.errors}
    assert all({"config", "destination_absent"} <= {gate.code for gate in gates} for gates in outcome.gates.values())
    assert_silent(world, *texts_of(outcome))
    assert (world.sandbox.reads, world.sandbox.writes) == seen


def test_the_ledger_of_another_environment(world: LaterWorld) -> None:
    world.edit('environment = "sandbox"', 'environment = "staging"')
    seen = (world.sandbox.reads, world.sandbox.writes)
    with pytest.raises(MustStop) as caught:
        world.night()
    assert (caught.value.code, caught.value.exit_code) == ("environment", 5)
    assert_silent(world, str(caught.value))
    assert findings(world) == {"the ledger": "environment"}
    assert (world.sandbox.reads, world.sandbox.writes) == seen


# --- secrets, keys and rights


def _owed_until_mended(world: LaterWorld, code: str, exit_code: int) -> None:
    """Nothing can be sent; what is owed leaves in the next night."""
    before = world.members()
    outcome = world.night()
    world.settle()
    assert outcome.exit_code == exit_code
    assert code in {error.code for error in outcome.errors}
    assert_silent(world, *texts_of(outcome))
    assert world.members() == before


def _mended(world: LaterWorld) -> None:
    assert world.night().exit_code == 0
    world.settle()
    assert not frozenset().union(*world.members().values()) & digests(world.past, *ALL_NOES)
    assert sum(len(world.joined(key)) for key in LISTS) > 0


def test_a_missing_secret_then_a_wrong_one(world: LaterWorld) -> None:
    """Three nights in which nothing can be sent: no file, no variable, a token that Google does not know. The fourth sends what is owed."""
    token, unset = world.folder / "sandbox" / "token", "env:NESTAUDIENCE_TEST_TOKEN_THAT_NOBODY_SET"
    token.unlink()
    assert findings(world) == {"file:sandbox/token": "secret_missing"}
    _owed_until_mended(world, "secret_missing", 2)
    world.edit("file:sandbox/token", unset)
    assert findings(world) == {unset: "secret_missing"}
    _owed_until_mended(world, "secret_missing", 2)
    world.edit(unset, "file:sandbox/token")
    token.write_text("not-the-token")
    assert set(findings(world).values()) == {"unauthenticated"}
    _owed_until_mended(world, "unauthenticated", 2)
    token.write_text(world.sandbox.token)
    _mended(world)


def test_a_token_without_rights_to_one_account(past: Past, tmp_path: Path) -> None:
    accounts = {account: SandboxAccount() for account in ACCOUNTS}
    accounts[ACCOUNTS[1]] = SandboxAccount(tokens=frozenset({"somebody-elses"}))
    with LaterWorld(past, tmp_path / "here", accounts=accounts) as world:
        assert findings(world) == {"google_data_manager, account of bokhyllan": "permission_denied"}
        outcome = world.night()
        world.settle()
        assert outcome.exit_code == 2
        assert {error.code for error in outcome.errors} == {"permission_denied"}
        assert_silent(world, *texts_of(outcome))
        for key in (CRIME, LAPSED):
            assert not world.left(key)
            assert not world.joined(key)
        for key in (AUDIO, LAPTOPS, COFFEE):
            assert world.joined(key)
            assert not world.members()[world.remote(key).list_id] & digests(past, *ALL_NOES)
        accounts[ACCOUNTS[1]] = SandboxAccount()
        _mended(world)


def test_a_list_that_is_gone(world: LaterWorld) -> None:
    """Whoever was on it is on it no longer; the others go on; another number starts a new list."""
    gone = world.remote(COFFEE)
    world.sandbox.drop_list(gone.ad_account, gone.list_id)
    outcome = world.night()
    world.settle()
    assert [error.code for error in outcome.errors] == ["list_gone"]
    assert outcome.exit_code == 2
    assert_silent(world, *texts_of(outcome))
    assert all(world.joined(key) for key in (AUDIO, LAPTOPS, CRIME))
    again = world.night()
    assert [gate.code for gate in again.gates[COFFEE]] == ["list_gone"]
    assert again.sent[COFFEE].batches == 0
    world.edit("number = 5", "number = 15")
    third = world.night()
    world.settle()
    assert third.exit_code == 0
    assert world.remote(COFFEE).list_id != gone.list_id
    assert third.sent[COFFEE].added == len(world.members()[world.remote(COFFEE).list_id]) > 100


def test_keys_that_others_may_read(world: LaterWorld) -> None:
    (world.folder / "keys" / "keys.json").chmod(0o644)
    seen = (world.sandbox.reads, world.sandbox.writes)
    with pytest.raises(NestAudienceError) as caught:
        world.night()
    assert caught.value.exit_code == 2
    assert_silent(world, str(caught.value))
    assert len(findings(world)) == 1
    assert (world.sandbox.reads, world.sandbox.writes) == seen
    (world.folder / "keys" / "keys.json").chmod(0o600)
    _mended(world)


def test_a_head_that_is_damaged_frees_the_writer_again(world: LaterWorld) -> None:
    """A run that could not begin leaves no lease behind: this process may run again at once."""
    head = world.folder / "keys" / "head.json"
    kept = head.read_bytes()
    head.unlink()
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, pytest.raises(MustStop) as caught:
        sync.run(parts)
    assert caught.value.exit_code == 5
    assert_silent(world, str(caught.value))
    head.write_bytes(kept)
    _mended(world)

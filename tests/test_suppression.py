"""A no holds when the whole store forgets it: real nights and hours, and what they wrote down."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from later_world import LaterWorld
from lists_by_rule import rows_of
from sqlalchemy.engine import Engine
from typer.testing import CliRunner, Result

from nestaudience import sync
from nestaudience.cli import app
from nestaudience.config.load import load
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.hashing.digests import Addresses
from nestaudience.judging import judge
from nestaudience.ledger.engine import open_engine, write
from nestaudience.ledger.keys import KeyUse, rotate_key
from nestaudience.ledger.schema import SUPPRESSION
from nestaudience.ledger.suppression import WITHDRAWALS, remembered
from nestaudience.ledger.suppression_files import lacking, write_new
from nestaudience.objecting import Objection
from nestaudience.objecting import enter as enter_objection
from nestaudience.recovery import recover
from nestaudience.remembering import forget_old
from nestaudience.sandbox.world import StoreFile
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import Reason
from nestaudience.wiring import open_evidence, open_parts
from nestaudience.withdrawals import withdrawals_job
from tests.ledger.ledger_builder import context
from tests.reference.values import google_form


def entries(world: LaterWorld, entry_type: str) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry for entry in evidence.reader.entries() if entry["type"] == entry_type]
    finally:
        evidence.engine.dispose()


def memory(world: LaterWorld) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        rows: list[dict[str, Any]] = remembered(evidence.engine).to_pylist()
        return rows
    finally:
        evidence.engine.dispose()


def someone_on_a_list(world: LaterWorld) -> tuple[str, str]:
    """Account id and address of somebody whose address is on a list, and who has it alone."""
    everyone = frozenset().union(*world.members().values())
    addresses = [str(row["email"]) for row in rows_of(world.store).account]
    for row in rows_of(world.store).account:
        address = str(row["email"])
        if addresses.count(address) == 1 and digest_of(address) in everyone:
            return str(row["account_id"]), address
    raise AssertionError("nobody is on a list")


def digest_of(address: str) -> str:
    return hashlib.sha256(str(google_form(address)).encode()).hexdigest()


def on_a_list(world: LaterWorld, address: str) -> bool:
    return any(digest_of(address) in people for people in world.members().values())


def withdraw(world: LaterWorld, account: str) -> None:
    now = moment(world.clock.now())
    company = {"c": "computime", "b": "bokhyllan", "h": "hemkraft"}[account[0]]
    values = f"'no-1', '{account}', '{company}', 'ad_matching', '*', 'withdraw', '{now}', '{now}', 'web_account_settings', NULL, 1, NULL"
    world.store_file(f"INSERT INTO shop_consent VALUES ({values})")


def forget_the_no(world: LaterWorld) -> None:
    """Somebody cleans up in the store: no event that says no is there any more."""
    world.change_view("consent_event", "FROM shop_consent", "FROM shop_consent WHERE action = 'grant'")


def test_each_no_is_remembered_once_and_counted(world: LaterWorld) -> None:
    """The first night remembered every no; a second look finds nothing new, and nobody's address, account or digest is in the table or the log."""
    first = entries(world, "suppression")
    assert [entry["fields"]["noes"] for entry in first] == [len(memory(world))]
    assert sum(first[0]["fields"]["kinds"].values()) == len(memory(world)) > 0
    account, address = someone_on_a_list(world)
    withdraw(world, account)
    before = len(memory(world))
    world.night()
    after = memory(world)
    world.advance(timedelta(hours=1))
    world.night()
    assert memory(world) == after
    assert any(row["kind"] == "withdrawn" for row in after[before:])
    content = b"".join(
        path.read_bytes() for path in (world.folder / load(world.config).ledger.path).parent.glob("ledger.sqlite*")
    )
    assert address.encode() not in content
    assert digest_of(address).encode() not in content
    assert bytes.fromhex(digest_of(address)) not in content


def test_a_store_that_forgets_does_not_bring_anybody_back(world: LaterWorld) -> None:
    account, address = someone_on_a_list(world)
    withdraw(world, account)
    world.night()
    world.advance(timedelta(hours=1))
    assert not on_a_list(world, address)
    forget_the_no(world)
    world.advance(timedelta(days=1))
    world.accept_the_store()
    outcome = world.night()
    world.advance(timedelta(hours=1))
    assert outcome.exit_code in {0, 4}
    assert not on_a_list(world, address)
    refused = [entry["fields"]["refused"] for entry in entries(world, "funnel")]
    assert any(Reason.SUPPRESSED.value in each for each in refused[-5:])


def test_an_hour_remembers_as_well(world: LaterWorld) -> None:
    """Whoever says no between the nights, and of whom the store knows nothing at night, stays off."""
    world.night()
    account, address = someone_on_a_list(world)
    world.advance(timedelta(hours=2))
    withdraw(world, account)
    before = len(memory(world))
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now())
        assert job is not None
        sync.run(parts, job)
    assert len(memory(world)) == before + 1
    forget_the_no(world)
    assert digest_of(address) not in frozenset().union(*look_in(world).values())


def consent_again(world: LaterWorld) -> tuple[str, str]:
    """Somebody on a list who says no, and yes an hour later; memory has the no, and she stays on her lists."""
    account, address = someone_on_a_list(world)
    withdraw(world, account)
    world.advance(timedelta(hours=1))
    grant(world, account, "yes-1")
    world.night()
    world.advance(timedelta(hours=1))
    world.night()
    assert on_a_list(world, address)
    return account, address


def test_a_lost_key_stops_who_would_join_and_nobody_who_leaves(world: LaterWorld) -> None:
    """Noes of the first night stand under a key that is gone. The same key put back lets the next night go on."""
    kind, _, place = load(world.config).ledger.keys.partition(":")
    path = world.folder / place
    assert kind == "file"
    rotate_key(path, KeyUse.SUPPRESSION, world.randomness)
    whole = path.read_text("utf-8")
    ring = json.loads(whole)
    path.write_text(json.dumps(ring | {"retired": {**ring["retired"], "suppression": []}}), "utf-8")
    account, address = someone_on_a_list(world)
    withdraw(world, account)
    before = world.members()
    outcome = world.night()
    world.settle()
    assert {gate.code for gates in outcome.gates.values() for gate in gates} >= {"keys_incomplete"}
    assert outcome.exit_code == 2
    assert not on_a_list(world, address)
    assert not any(people - before[list_id] for list_id, people in world.members().items())
    path.write_text(whole, "utf-8")
    world.advance(timedelta(hours=1))
    assert not any(gate.code == "keys_incomplete" for gates in world.night().gates.values() for gate in gates)


@pytest.mark.parametrize("view", ["account", "consent_event"])
def test_a_store_that_cannot_show_her_later_yes_takes_nobody_off(world: LaterWorld, view: str) -> None:
    """She stays for what is only remembered, but for an objection by hand, which nothing in a store can end."""
    _, address = consent_again(world)
    world.store_file(f"DROP VIEW {view}")
    before = look_in(world)
    assert digest_of(address) in frozenset().union(*before.values())
    enter_now(world, address, Objection("K-7"))
    after = look_in(world)
    assert frozenset().union(*(before[list_id] - after[list_id] for list_id in before)) == {digest_of(address)}


def test_an_hour_that_does_not_read_her_yes_leaves_her_alone(world: LaterWorld) -> None:
    """Another account with her address speaks, and the hour reads that account alone."""
    account, address = consent_again(world)
    other = next(
        str(row["account_id"]) for row in rows_of(world.store).account if row["account_id"][0] == account[0] != row["account_id"]
    )
    now = moment(world.clock.now())
    world.store_file(f"UPDATE shop_account SET email = '{address}', changed_at = '{now}' WHERE account_id = '{other}'")
    world.advance(timedelta(hours=2))
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now())
        assert job is not None
        sync.run(parts, job)
    world.advance(timedelta(hours=1))
    assert on_a_list(world, address)


def test_old_withdrawals_are_forgotten_with_an_entry(world: LaterWorld) -> None:
    """After 36 months, and nothing but withdrawals."""
    kinds = Counter(row["kind"] in WITHDRAWALS for row in memory(world))
    assert kinds[True] > 0
    world.advance(timedelta(days=36 * 31))
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        forget_old(parts, parts.open_log(), context(), world.clock.now())
    assert Counter(row["kind"] in WITHDRAWALS for row in memory(world)) == Counter({False: kinds[False]})
    assert entries(world, "retention")[-1]["fields"] == {"what": "remembered_withdrawals", "months": 36}


def test_without_memory_the_same_store_brings_her_back(world: LaterWorld) -> None:
    """The counter-proof: it is memory that keeps her off."""
    account, address = someone_on_a_list(world)
    withdraw(world, account)
    world.night()
    world.advance(timedelta(hours=1))
    forget_the_no(world)
    with sqlite3.connect(world.folder / load(world.config).ledger.path) as ledger:
        ledger.execute("DELETE FROM suppression")
    world.advance(timedelta(days=1))
    world.accept_the_store()
    world.night()
    world.advance(timedelta(hours=1))
    assert on_a_list(world, address)


def enter(world: LaterWorld, address: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["rights", "object", *words, "--config", str(world.config)], input=address)


def enter_now(world: LaterWorld, address: str, what: Objection) -> None:
    """As the command does it, by the world's own clock."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        enter_objection(parts, Addresses(pa.array([address])), what)


def look_in(world: LaterWorld) -> dict[str, frozenset[str]]:
    """A night later: who is on the lists. A store that has forgotten something was looked at and let through."""
    world.advance(timedelta(days=1))
    world.accept_the_store()
    world.night()
    world.advance(timedelta(hours=1))
    return world.members()


def test_an_objection_by_hand_holds_until_a_case_lifts_it(world: LaterWorld) -> None:
    account, address = someone_on_a_list(world)
    enter_now(world, f" {address.upper()}", Objection("K-7"))
    assert digest_of(address) not in frozenset().union(*look_in(world).values())
    grant(world, account, "yes-1")
    assert digest_of(address) not in frozenset().union(*look_in(world).values())
    enter_now(world, address, Objection("K-8", lift=True))
    assert digest_of(address) not in frozenset().union(*look_in(world).values())
    grant(world, account, "yes-2")
    assert digest_of(address) in frozenset().union(*look_in(world).values())
    said = [entry["fields"] for entry in entries(world, "suppression") if "case_id" in entry["fields"]]
    assert [(each["what"], each["case_id"]) for each in said] == [("objected", "K-7"), ("lifted", "K-8")]
    assert all(address.lower() not in str(entry).lower() for entry in entries(world, "suppression"))


def grant(world: LaterWorld, account: str, event: str) -> None:
    """She consents in her account, like the first time, now."""
    now = moment(world.clock.now())
    with StoreFile(world.store) as store:
        columns = [str(row[1]) for row in store.rows("PRAGMA table_info(shop_consent)")]
    first = f"SELECT * FROM shop_consent WHERE account_id = '{account}' AND purpose = 'ad_matching' AND action = 'grant' LIMIT 1"
    changed = {"event_id": f"'{event}'", "occurred_at": f"'{now}'", "recorded_at": f"'{now}'", "source": "'web_account_settings'"}
    changed["source_seq"] = "NULL"
    chosen = ", ".join(changed.get(name, name) for name in columns)
    world.store_file(f"INSERT INTO shop_consent SELECT {chosen} FROM ({first})")


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--yes",), "case_missing", 2),
        (("--case", "K-7", "--lift", "--yes"), "nothing_to_lift", 2),
        (("--case", "K-7", "--purpose", "order_analysis", "--recipient", "google", "--yes"), "recipient_without_meaning", 2),
    ],
)
def test_what_is_wrong_with_an_objection_is_said(world: LaterWorld, words: tuple[str, ...], code: str, exit_code: int) -> None:
    told = enter(world, "someone@kund.example", *words)
    assert (told.exit_code, code in told.output) == (exit_code, True), told.output
    assert "someone" not in told.output
    assert not [row for row in memory(world) if row["case_id"]]


def test_nothing_is_entered_unasked(world: LaterWorld) -> None:
    assert enter(world, "someone@kund.example", "--case", "K-7").exit_code == 0
    assert enter(world, "no address", "--case", "K-7", "--yes").exit_code == 2
    assert not [row for row in memory(world) if row["case_id"]]


def test_an_objection_for_one_recipient_leaves_the_other_alone(world: LaterWorld) -> None:
    _, address = someone_on_a_list(world)
    told = enter(world, address, "--case", "K-7", "--recipient", "meta", "--yes", "--json")
    said = {"entered": True, "case": "K-7", "lift": False, "purpose": "ad_matching", "recipient": "meta"}
    assert json.loads(told.stdout) == said
    assert digest_of(address) in frozenset().union(*look_in(world).values())
    assert enter(world, address, "--case", "K-7", "--recipient", "google", "--yes").exit_code == 0
    assert digest_of(address) not in frozenset().union(*look_in(world).values())


def a_no_after_the_backup(world: LaterWorld) -> tuple[str, str]:
    """With anchors elsewhere: a night, a copy of the ledger, and a night after somebody said no. Her account id and address."""
    world.edit('head = "keys/head.json"', 'anchor_directory = "elsewhere"\nhead = "keys/head.json"')
    account, address = someone_on_a_list(world)
    world.night()
    ledger, kept = world.folder / load(world.config).ledger.path, world.folder / "backup.sqlite"
    with closing(sqlite3.connect(ledger)) as one, closing(sqlite3.connect(kept)) as other:
        one.backup(other)
    world.advance(timedelta(hours=1))
    withdraw(world, account)
    world.night()
    return account, address


def put_back(world: LaterWorld) -> None:
    """The copy takes the ledger's place, and the store has forgotten the no as well."""
    ledger = world.folder / load(world.config).ledger.path
    for left in ledger.parent.glob(ledger.name + "*"):
        left.unlink()
    (world.folder / "backup.sqlite").rename(ledger)
    forget_the_no(world)


def test_noes_come_back_after_a_recovery(world: LaterWorld) -> None:
    """An older copy of the ledger is put back, the store has forgotten the no, and the no still holds: it left this machine with the anchors."""
    account, address = a_no_after_the_backup(world)
    before = memory(world)
    files = sorted((world.folder / "elsewhere").glob("noes-*.jsonl"))
    said = [entry["fields"] for entry in entries(world, "anchor")]
    written = {fields["noes_digest"] for fields in said if fields["noes"]}
    assert {hashlib.sha256(file.read_bytes()).hexdigest() for file in files} == written
    assert len(files) == len(said) == 2
    content = b"".join(file.read_bytes() for file in files).lower()
    assert not any(word.encode() in content for word in (address, digest_of(address), account))
    put_back(world)
    assert len(memory(world)) < len(before)
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        recover(parts)
    assert {str(row) for row in memory(world)} == {str(row) for row in before}
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        recover(parts)  # again: nothing is there twice
    assert len(memory(world)) == len(before)
    taken = [entry["fields"]["noes"] for entry in entries(world, "suppression") if entry["fields"]["what"] == "taken_back"]
    assert len(taken) == 1
    look_in(world)
    everyone = frozenset().union(*look_in(world).values())
    assert digest_of(address) not in everyone
    assert everyone


def test_a_recovery_that_cannot_read_the_noes_changes_nothing(world: LaterWorld) -> None:
    """The file of the lost night is emptied, changed or no file of ours: no epoch is opened, no night runs, and with a whole copy all is well."""
    a_no_after_the_backup(world)
    before = len(memory(world))
    put_back(world)
    *_, file = sorted((world.folder / "elsewhere").glob("noes-*.jsonl"))
    whole = file.read_bytes()
    for damaged in (b"", whole.splitlines(keepends=True)[-1], whole.replace(b"withdrawn", b"objected_"), b"who knows\n"):
        file.write_bytes(damaged)
        with (
            open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts,
            pytest.raises(NeedsFix, match="anchor_unreadable"),
        ):
            recover(parts)
    with pytest.raises(MustStop, match="ledger_restored"):
        world.night()
    assert not entries(world, "epoch_opened")
    file.write_bytes(whole)
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        recover(parts)
    assert len(memory(world)) == before
    (epoch,), (taken,) = entries(world, "epoch_opened"), entries(world, "suppression")[-1:]
    assert (taken["fields"], taken["index"]) == ({"what": "taken_back", "noes": 1}, epoch["index"] + 1)


def test_an_objection_by_hand_takes_off_whom_the_store_has_lost(world: LaterWorld) -> None:
    """A no, which nothing holds, and no mere vanishing, which gates may hold; lifted like any other."""
    world.night()
    world.advance(timedelta(hours=1))
    world.night()
    account, address = someone_on_a_list(world)
    assert enter(world, address, "--case", "K-7", "--yes").exit_code == 0
    hers = [row for row in memory(world) if row["case_id"]]
    assert len(hers) == 2
    assert len({row["token"] for row in hers}) == 1
    world.store_file(
        f"DELETE FROM segment_row WHERE account_id = '{account}'", f"DELETE FROM shop_account WHERE account_id = '{account}'"
    )

    def leaving() -> tuple[int, int]:
        now = world.clock.now()
        with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, judge(parts, now) as judged:
            return sum(plan.counts.noes for plan in judged.plans), sum(plan.counts.ordinary for plan in judged.plans)

    noes, ordinary = leaving()
    assert noes > 0
    assert ordinary == 0


KEY, OLD_KEY = b"k" * 32, b"o" * 32


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(tmp_path / "ledger.sqlite")
    write(made, lambda c: SUPPRESSION.create(c, checkfirst=True))
    yield made
    made.dispose()


def remember_some(engine: Engine, first: int, last: int) -> None:
    rows = [
        {"token": number.to_bytes(16, "big"), "account_token": bytes(16), "kind": "erased", "purpose": "*", "recipient": "*"}
        | {"controller": "c1", "source": "1", "first_seen_at": "2026-11-22T02:30:00.000000Z", "case_id": "", "key_id": "k k"}
        for number in range(first, last + 1)
    ]
    write(engine, lambda c: c.execute(sa.insert(SUPPRESSION), rows))


def lost(engine: Engine, left: int) -> None:
    """The backup has so many noes."""
    write(engine, lambda c: c.execute(sa.delete(SUPPRESSION).where(SUPPRESSION.c.suppression_no > left)))


def test_files_of_several_nights_and_keys_are_put_together(engine: Engine, tmp_path: Path) -> None:
    """A file that was cut off does no harm once another holds the same; one that is missing in between does."""
    place, nights = tmp_path / "elsewhere", ((1, 3, OLD_KEY), (4, 5, KEY), (6, 6, KEY))
    for first, last, key in nights:
        remember_some(engine, first, last)
        assert write_new(engine, place, first - 1, key).noes == last - first + 1
    assert write_new(engine, place, 6, KEY).noes == 0
    whole = (place / "noes-000000000005.jsonl").read_bytes()
    assert lacking(engine, place, [KEY, OLD_KEY]) == []
    lost(engine, 2)
    assert [int.from_bytes(row["token"], "big") for row in lacking(engine, place, [KEY, OLD_KEY])] == [3, 4, 5, 6]
    with pytest.raises(NeedsFix, match="anchor_unreadable"):
        lacking(engine, place, [KEY])
    for damage in (whole[: len(whole) // 2], b'["00', None):
        (place / "noes-000000000005.jsonl").unlink()
        if damage is not None:
            (place / "noes-000000000005.jsonl").write_bytes(damage)
        with pytest.raises(NeedsFix, match="anchor_unreadable"):
            lacking(engine, place, [KEY, OLD_KEY])
        (place / "noes-000000000005.jsonl").write_bytes(whole)
    (place / "noes-000000000004.jsonl").write_bytes(whole[:40])  # a night that found the directory full
    assert len(lacking(engine, place, [KEY, OLD_KEY])) == 4


def test_every_change_of_a_file_is_seen(engine: Engine, tmp_path: Path) -> None:
    """Each single byte, changed or taken away, and each line."""
    remember_some(engine, 1, 2)
    write_new(engine, tmp_path, 0, KEY)
    lost(engine, 0)
    (file,) = tmp_path.glob("noes-*.jsonl")
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    changed += [whole[:at] + whole[at + 1 :] for at in range(len(whole))]
    changed += [b"".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    for content in changed:
        file.write_bytes(content)
        with pytest.raises(NeedsFix, match="anchor_unreadable"):
            lacking(engine, tmp_path, [KEY])
    file.write_bytes(whole)
    assert len(lacking(engine, tmp_path, [KEY])) == 2

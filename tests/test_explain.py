"""`nestaudience explain`: its answers are those of the slow reference, its lists those of the platform, and every look stands in the log."""

import hashlib
import json
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from later_world import LaterWorld
from lists_by_rule import parts_of, rows_of
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.config.load import load
from nestaudience.explaining import Explanation, explain
from nestaudience.hashing.digests import Addresses
from nestaudience.sandbox.world_schema import moment
from nestaudience.screening.tracing import Verdict
from nestaudience.sentences import ACTIONS, ON_LIST, PURPOSES, REASONS, VERDICTS, said
from nestaudience.vocabulary import NO_REASONS, Language, Reason, Recipient
from nestaudience.wiring import open_evidence, open_parts
from tests.reference.decide import decide
from tests.reference.rows import World
from tests.reference.values import canonical, form_at

CASE = "DSR-2026-0007"


def run(world: LaterWorld, address: str | bytes, *words: str) -> Result:
    return CliRunner().invoke(app, ["explain", *words, "--config", str(world.config)], input=address)


def looked(world: LaterWorld, address: str) -> Explanation:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return explain(parts, Addresses(pa.array([address])), CASE)


def lookups(world: LaterWorld) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "lookup"]
    finally:
        evidence.engine.dispose()


def digest_of(address: str) -> str:
    return hashlib.sha256(str(form_at(Recipient.GOOGLE, address)).encode()).hexdigest()


def families(world: LaterWorld) -> dict[str, World]:
    """Canonical address -> everything that the reference needs to judge its accounts."""
    found = {}
    for part in parts_of(rows_of(world.store)):
        for row in part.account:
            found[canonical(row["email"]) or ""] = part
    return found


def test_the_answers_are_those_of_the_reference(world: LaterWorld) -> None:
    """For people of every kind, with the address written in another way than the store does."""
    settings, everything, now = load(world.config), families(world), world.clock.now()
    store = rows_of(world.store)
    said_something = {row["account_id"] for row in (*store.consent_event, *store.rights_event) if row["account_id"]}
    rows = [row for row in store.account if row["account_id"] in said_something and canonical(row["email"])]
    met: set[Reason] = set()
    for row in Random(7).sample(rows, 15):
        found, part = looked(world, f"  {str(row['email']).upper()} "), everything[canonical(row["email"]) or ""]
        number = {account: n for n, (account, _) in enumerate(found.accounts)}
        for key, audience in settings.audiences.items():
            for account, reasons in decide(part, settings.rules(), audience.rule, now).items():
                if account in number:
                    of_it = [a for a in found.answers if (a.audience, a.account) == (key, number[account]) and a.in_segment]
                    assert [(set(answer.reasons), answer.eligible) for answer in of_it] == [(reasons, not reasons)], (
                        key,
                        account,
                    )
                    met |= reasons
    assert len(met) > 5
    assert [entry["case_id"] for entry in lookups(world)] == [CASE] * 15


def test_what_the_lists_hold_is_what_the_platform_holds(world: LaterWorld) -> None:
    with open_parts(world.config, clock=world.clock.now) as parts:
        on = {remote.audience: world.before[remote.list_id] for remote in parts.memory.lists()}
    for digest in Random(3).sample(sorted(frozenset().union(*on.values())), 3):
        address = next(a for a in world.past.address.values() if digest_of(a) == digest)
        found = looked(world, address)
        assert {key for key, state in found.on_lists.items() if state == "confirmed"} == {key for key in on if digest in on[key]}


def test_whoever_withdrew_hears_it_and_sees_that_she_is_still_on_a_list(world: LaterWorld) -> None:
    (who,) = Random(5).sample(sorted(set(world.past.day.accounts["withdrew_all"]) & set(world.past.address)), 1)
    found = looked(world, world.past.address[who])
    assert Verdict.STANDS in {event.verdict for event in found.events if event.action == "withdraw"}
    assert all(set(answer.reasons) & NO_REASONS for answer in found.answers)


def test_a_no_without_an_account_is_found_by_its_address(world: LaterWorld) -> None:
    now = moment(world.clock.now())
    row = rows_of(world.store).account[11]
    world.store_file(
        "INSERT INTO shop_right (event_id, account_id, email, company, action, purpose, occurred_at, recorded_at, source, source_seq, case_id) "
        f"VALUES ('alone', NULL, 'nobody.at.all@kund.example', '{row['controller_id']}', 'object', '*', '{now}', '{now}', 'dsr', NULL, 'C-1')"
    )
    found = looked(world, "Nobody.At.All@kund.example")
    assert [(event.account, event.action, event.verdict) for event in found.events] == [(None, "object", Verdict.STANDS)] * 2
    assert (found.accounts, found.answers, found.on_lists) == ((), (), {})


def test_nothing_of_her_is_written_anywhere_but_the_count(world: LaterWorld) -> None:
    address = next(iter(world.past.address.values()))
    found = looked(world, address)
    assert address not in repr(found)
    assert lookups(world) == [{"what": "explain", "case_id": CASE, "accounts": len(found.accounts)}]


@pytest.mark.parametrize(
    ("given", "words", "code"),
    [
        (b"", ["--case", CASE], "address_invalid"),
        (b"two@kund.example\nlines@kund.example\n", ["--case", CASE], "address_invalid"),
        (b"\xff\xfe@kund.example", ["--case", CASE], "address_invalid"),
        (b"no address\n", ["--case", CASE], "address_invalid"),
        (b"one@kund.example\n", [], "case_missing"),
        (b"one@kund.example\n", ["--case", "a case with spaces"], "case_missing"),
    ],
)
def test_without_one_address_and_a_case_nobody_is_looked_up(world: LaterWorld, given: bytes, words: list[str], code: str) -> None:
    result = run(world, given, *words)
    assert (result.exit_code, result.output.split(" ")[0]) == (2, code)
    assert "kund.example" not in result.output
    assert lookups(world) == []


def test_the_command_speaks_swedish_or_english_and_never_says_the_address(world: LaterWorld) -> None:
    row = next(row for row in rows_of(world.store).account if row["account_id"] in world.past.day.accounts["withdrew_all"])
    for language, sentence, head in (
        ("sv", "Samtycket är återkallat.", "Listorna"),
        ("en", "The consent was withdrawn.", "The lists"),
    ):
        result = run(world, f"{row['email']}\n", "--case", CASE, "--language", language)
        assert result.exit_code == 0, result.output
        assert sentence in " ".join(result.output.replace("│", " ").split())
        assert head in result.output
        assert str(row["email"]) not in result.output
    document = json.loads(run(world, f"{row['email']}\n", "--case", CASE, "--json").stdout)
    assert document["accounts"][0]["account_id"] == row["account_id"]
    assert {"audience", "account", "eligible", "in_segment", "reasons", "why"} == set(document["answers"][0])


def test_everything_that_can_be_found_has_its_words() -> None:
    assert set(REASONS) == set(Reason)
    assert set(VERDICTS) == set(Verdict)
    for words in (*REASONS.values(), *VERDICTS.values(), *ACTIONS.values(), *PURPOSES.values(), *ON_LIST.values()):
        assert len({said(words, language) for language in Language}) == 2

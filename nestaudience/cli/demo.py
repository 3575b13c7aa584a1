"""The demo: two nights through Prefect against the sandbox, with what happened in between, shown step by step.

It uses the parts as an operator would and adds nothing to them. Its last table counts, by what people did during the day, how many of them
were on a list before and are on one after.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import typer

from nestaudience.cli import audit_commands, output
from nestaudience.cli.run_commands import (
    outcome_document,
    plan_document,
    run_nightly,
    show_deltas,
    show_funnels,
    show_leaving,
    show_outcome,
)
from nestaudience.customers.contract import ACCOUNT
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.judging import judge
from nestaudience.sandbox import site
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.world import build_store
from nestaudience.sandbox.world_day import DayFacts, advance_store
from nestaudience.vocabulary import Recipient
from nestaudience.wiring import open_parts

LEAVERS = ("withdrew_all", "withdrew_google", "cookies_refused", "objected", "restricted", "closed", "erased")
"""What people of the demo do in a day after which nobody of them may be on a Google list."""


def run_demo(folder: Path, *, accounts: int, seed: int, today: datetime, quiet: bool) -> dict[str, object]:
    """Lay out the folder, run both nights, and say what happened. `as_expected` is False when somebody who said no is still on a list."""
    evening = site.start_of_night(today) - timedelta(days=1)
    clock = SandboxClock(evening, ticking=time.monotonic)
    with site.open_sandbox(clock) as server:
        place = site.lay_out(
            folder, endpoint=server.endpoint, randomness=os.urandom, smallest_list=None if accounts >= 50_000 else 100
        )
        site.publish(folder, server)
        _prefect_home(folder / "prefect")
        _say(quiet, f"Building a store of {accounts} accounts in {place.store} ...")
        build_store(place.store, seed=seed, accounts=accounts, now=clock.now())
        first = _night(place, server, clock, "The first night", quiet=quiet)
        before = _on_lists(server)
        _say(quiet, "\nA day passes: people withdraw, object, change address, are erased, leave, join.")
        clock.advance(timedelta(hours=23))
        old = _digests_of_everybody(place, clock.now())
        facts = advance_store(place.store, seed=seed + 1, now=clock.now())
        second = _night(place, server, clock, "The second night", quiet=quiet)
        after = _on_lists(server)
        story = _story(facts, old, before, after)
        if not quiet:
            _show_end(place, story)
    expected = all(row["still_on_a_list"] == 0 for kind, row in story.items() if kind in LEAVERS)
    return {"folder": str(folder), "first_night": first, "second_night": second, "people": story, "as_expected": expected}


def _night(place: site.Site, server: DataManagerSandbox, clock: SandboxClock, title: str, *, quiet: bool) -> dict[str, object]:
    """Plan, run through Prefect, let the platform apply it, and show the three side by side."""
    _say(quiet, f"\n── {title}, {output.local(clock.now())} in Stockholm ──")
    before = {key: len(members) for key, members in _on_lists(server).items()}
    with open_parts(place.config, clock=clock.now) as parts, judge(parts, clock.now()) as judged:
        planned = plan_document(judged, ())
        if not quiet:
            show_funnels(judged.plans)
            show_deltas(judged.plans)
            show_leaving(judged)
    with output.progress(watched=not quiet) as watch:
        outcome = run_nightly(place.config, watch, clock.now)
    clock.advance(timedelta(hours=1))
    after = {key: len(members) for key, members in _on_lists(server).items()}
    if not quiet:
        show_outcome(outcome)
        rows = [(account, name, before.get((account, name), 0), count) for (account, name), count in after.items()]
        output.table("What the platform's lists hold", ("ad account", "list", "before", "after"), rows)
    return {"plan": planned, "run": outcome_document(outcome), "lists": {f"{a} {name}": n for (a, name), n in after.items()}}


def _on_lists(server: DataManagerSandbox) -> dict[tuple[str, str], frozenset[str]]:
    return {
        (account, remote.display_name): server.members(account, remote.list_id)
        for account in site.ACCOUNTS
        for remote in server.lists(account)
    }


def _digests_of_everybody(place: site.Site, now: datetime) -> Mapping[str, str | None]:
    """Account id -> Google digest as it stood before the day: the demo looks at its invented people to show what became of them."""
    found: dict[str, str | None] = {}
    tokens = Tokens(os.urandom(32))
    with SqliteStore(place.store).snapshot() as snapshot:
        for sheet in snapshot.read(ACCOUNT, now=now):
            if sheet.addresses is not None:
                digests = hash_addresses(sheet.addresses, tokens, (Recipient.GOOGLE,)).digests[Recipient.GOOGLE].column
                ids: pa.StringArray = sheet.facts.column("account_id")
                found |= {
                    key: digest.hex() if digest else None
                    for key, digest in zip(ids.to_pylist(), digests.to_pylist(), strict=True)
                }
    return found


def _story(
    facts: DayFacts,
    old: Mapping[str, str | None],
    before: Mapping[tuple[str, str], frozenset[str]],
    after: Mapping[tuple[str, str], frozenset[str]],
) -> dict[str, dict[str, int]]:
    """By what people did: how many, how many were on a list with their old address, how many of those still are."""
    were, are = frozenset().union(*before.values()), frozenset().union(*after.values())
    rows = {}
    for kind, accounts in facts.accounts.items():
        digests = {old[account] for account in accounts if old.get(account)} & were
        rows[kind] = {"people": len(accounts), "were_on_a_list": len(digests), "still_on_a_list": len(digests & are)}
    return rows


def _show_end(place: site.Site, story: Mapping[str, Mapping[str, int]]) -> None:
    rows = [(kind.replace("_", " "), row["people"], row["were_on_a_list"], row["still_on_a_list"]) for kind, row in story.items()]
    output.table(
        "What people did during the day, and where their address is now", ("", "people", "were on a list", "still are"), rows
    )
    output.say("Whoever withdrew only from Meta, or left one of several segments, stays where they still may be.")
    output.say("\n── The log of both nights, as an auditor reads it ──")
    for command in (audit_commands.transfers, audit_commands.verify):
        with contextlib.suppress(typer.Exit):
            command(place.config)
    output.say("\nEverything lies in this folder. Go on with:")
    for words in ("audit show", "audit transfers", "audit verify", "status"):
        output.say(f"  nestaudience {words}{' RUN-OR-TRANSFER' if words == 'audit show' else ''} --config {place.config}")


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        output.say(text)


def _prefect_home(folder: Path) -> None:
    """Prefect keeps its database in the demo's folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(folder.absolute()))

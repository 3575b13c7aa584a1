"""The demo: two nights through Prefect against both platforms' stand-ins, with what happened in between, shown step by step.

It uses the parts as an operator would and adds nothing to them. Its last table counts, by what people did during the day, how many of them
were on a list before and are on one after.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import typer

from nestaudience.cli import audit_commands, output
from nestaudience.cli.plan_output import show_why
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
from nestaudience.delta.probing import WAITS
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.judging import judge
from nestaudience.sandbox import site
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.world import build_store, reload_store
from nestaudience.sandbox.world_day import DayFacts, advance_store
from nestaudience.vocabulary import Recipient
from nestaudience.wiring import open_parts

STAYS_OFF = {
    "google": ("withdrew_all", "withdrew_google", "cookies_refused", "objected", "restricted", "closed", "erased"),
    "meta": ("withdrew_all", "withdrew_meta", "cookies_refused", "objected", "restricted", "closed", "erased"),
}
"""What people of the demo do in a day after which nobody of them may be on its lists; after a closure another account of hers may be."""
OnLists = Mapping[tuple[str, str, str], frozenset[str]]
"""(platform, ad account, list's name) -> digests, in hexadecimal."""


def run_demo(folder: Path, *, accounts: int, seed: int, today: datetime, quiet: bool) -> dict[str, object]:
    """Lay out the folder, run both nights, and say what happened. `as_expected` is False when somebody who said no is still on a list."""
    evening = site.start_of_night(today) - timedelta(days=1)
    clock = SandboxClock(evening, ticking=time.monotonic)
    with site.Platforms(clock) as platforms:
        small = None if accounts >= 50_000 else 100
        place = site.lay_out(folder, platforms=platforms, randomness=os.urandom, smallest_list=small, probe_people=small)
        site.publish(folder, platforms)
        _prefect_home(folder / "prefect")
        _say(quiet, f"Building a store of {accounts} accounts in {place.store} ...")
        build_store(place.store, seed=seed, accounts=accounts, now=clock.now())
        first = _night(place, platforms, "The first night", quiet=quiet)
        rest = _rest(place, platforms, first, quiet=quiet)
        before = platforms.members()
        _say(quiet, "\nA day passes: people withdraw, object, change address, are erased, leave, join.")
        clock.advance(evening + timedelta(days=1) - clock.now())
        old = _digests_of_everybody(place, clock.now())
        facts = advance_store(place.store, seed=seed + 1, now=clock.now())
        second = _night(place, platforms, "The second night", quiet=quiet)
        story = _story(facts, old, before, platforms.members())
        if not quiet:
            _show_end(place, story)
    expected = all(_stayed_off(story[kind], platform) for platform, kinds in STAYS_OFF.items() for kind in kinds)
    nights = {"first_night": first, "rest_of_first_night": rest, "second_night": second}
    return {"folder": str(folder), **nights, "people": story, "as_expected": expected}


def _night(place: site.Site, platforms: site.Platforms, title: str, *, quiet: bool) -> dict[str, object]:
    """Plan, run through Prefect, let the platforms apply it, and show the three side by side."""
    clock = platforms.clock
    _say(quiet, f"\n── {title}, {output.local(clock.now())} in Stockholm ──")
    before = {key: len(members) for key, members in platforms.members().items()}
    with open_parts(place.config, clock=clock.now) as parts, judge(parts, clock.now()) as judged:
        planned = plan_document(judged, ())
        if not quiet:
            show_funnels(judged.plans)
            show_deltas(judged.plans)
            show_leaving(judged)
            show_why(judged)
    with output.progress(watched=not quiet) as watch:
        outcome = run_nightly(place.config, watch, clock.now)
    clock.advance(timedelta(hours=1))
    after = {key: len(members) for key, members in platforms.members().items()}
    if not quiet:
        show_outcome(outcome)
        rows = [(*key, before.get(key, 0), count) for key, count in after.items()]
        output.table("What the platforms' lists hold", ("platform", "ad account", "list", "before", "after"), rows)
    return {"plan": planned, "run": outcome_document(outcome), "lists": {" ".join(key): n for key, n in after.items()}}


def _rest(place: site.Site, platforms: site.Platforms, first: Mapping[str, object], *, quiet: bool) -> dict[str, object] | None:
    """An hour after the first night: new lists whose probe a platform has taken by now get the rest. None when no list waits."""
    run = first["run"]
    if not isinstance(run, dict) or not any(WAITS.code in gates for gates in run["gates"].values()):
        return None
    local = output.local(platforms.clock.now())
    _say(quiet, f"\n── {local}: Google took the first people of each new list, so the rest of the first night follows ──")
    reload_store(place.store, platforms.clock.now())
    with output.progress(watched=not quiet) as watch:
        outcome = run_nightly(place.config, watch, platforms.clock.now)
    platforms.clock.advance(timedelta(hours=1))
    if not quiet:
        show_outcome(outcome)
    return outcome_document(outcome)


def _digests_of_everybody(place: site.Site, now: datetime) -> Mapping[str, Mapping[str, str]]:
    """Platform -> account id -> digest as it stood before the day: the demo looks at its invented people to show what became of them."""
    found: dict[str, dict[str, str]] = {recipient.value: {} for recipient in Recipient}
    tokens = Tokens(os.urandom(32))
    with SqliteStore(place.store).snapshot() as snapshot:
        for sheet in snapshot.read(ACCOUNT, now=now):
            if sheet.addresses is None:
                continue
            ids: pa.StringArray = sheet.facts.column("account_id")
            for recipient, digests in hash_addresses(sheet.addresses, tokens, tuple(Recipient)).digests.items():
                pairs = zip(ids.to_pylist(), digests.column.to_pylist(), strict=True)
                found[recipient.value] |= {key: digest.hex() for key, digest in pairs if digest}
    return found


def _stayed_off(row: Mapping[str, int], platform: str) -> bool:
    """Nobody is on the platform's lists any more but by another account with her address, where one account does not speak for the other."""
    return row[f"{platform}_after"] == row.get(f"{platform}_by_another_account", 0)


def _story(facts: DayFacts, old: Mapping[str, Mapping[str, str]], before: OnLists, after: OnLists) -> dict[str, dict[str, int]]:
    """By what people did: how many, and for each platform how many were on a list with their old address, and how many of those still are."""
    rows: dict[str, dict[str, int]] = {}
    shared = {platform: {d for d, n in Counter(digest_of.values()).items() if n > 1} for platform, digest_of in old.items()}
    for kind, accounts in facts.accounts.items():
        rows[kind] = {"people": len(accounts)}
        for platform, digest_of in old.items():
            were, are = _everybody(before, platform), _everybody(after, platform)
            digests = {digest_of[account] for account in accounts if account in digest_of} & were
            rows[kind] |= {f"{platform}_before": len(digests), f"{platform}_after": len(digests & are)}
            if kind == "closed":  # a closure is no no of the person
                rows[kind][f"{platform}_by_another_account"] = len(digests & are & shared[platform])
    return rows


def _everybody(lists: OnLists, platform: str) -> frozenset[str]:
    return frozenset().union(*(members for (where, _, _), members in lists.items() if where == platform))


def _show_end(place: site.Site, story: Mapping[str, Mapping[str, int]]) -> None:
    names = ("people", "google_before", "google_after", "meta_before", "meta_after")
    rows: list[list[output.Cell]] = [[kind.replace("_", " "), *(row[name] for name in names)] for kind, row in story.items()]
    heads = ("", "people", "on a Google\nlist before", "still\nthere", "on a Meta\nlist before", "still\nthere")
    output.table("What people did during the day, and where their address is now", heads, rows)
    output.say(
        "Whoever withdrew from one platform only, left one of several segments, or closed one of several accounts with the same address, "
        "stays where they still may be."
    )
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

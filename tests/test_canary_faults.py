"""Nobody is in anything that is written when platforms, the store, the configuration or whoever is to be told fail; nor is a secret.

Every kind of fault is made on every method that matters, on both platforms, with every logger on and Python's HTTP client printing. A fault that did
not happen would prove nothing: each one is seen to be used up, and each night to have met the code that it was made for.
"""

import hashlib
import http.client
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from canary_site import HOSTILE, LISTED, CanarySite, loud, quiet_terminal, written_down
from customers.store_rows import write_parquet, write_postgres
from leaks import Needles, found_in, found_in_folder
from lists_by_rule import rows_of
from meta_bytes import digests_in
from postgres_server import Postgres
from receivers import HttpReceiver

from nestaudience.checks import check_everything
from nestaudience.customers.contract import VIEWS
from nestaudience.destinations.port import Account, ListSpec, Target
from nestaudience.errors import NestAudienceError
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.site import ACCOUNTS, META_ACCOUNTS
from nestaudience.sandbox.world import StoreFile
from nestaudience.wiring import open_parts

pytestmark = pytest.mark.slow  # the nights of `test_canaries` are the short form
NIGHT: Final = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
CANARY: Final = LISTED["capitals"]
ON_PEOPLE: Final = {
    "google": ("RemoveAudienceMembers", "IngestAudienceMembers", "GetUserList", "RetrieveRequestStatus"),
    "meta": ("RemoveUsers", "AddUsers", "ReadAudience"),
}
ON_LISTS: Final = {
    "google": ("CreateUserList", "ListUserLists", "DeleteUserList"),
    "meta": ("CreateAudience", "ListAudiences", "DeleteAudience"),
}
MOST_NIGHTS: Final = 14
PROOF: Final = "Kx-the-apps-own-secret-7f"


def fault(method: str, kind: FaultKind) -> Fault:
    return Fault(method, kind, seconds=1.4 if kind is FaultKind.HANG else 0.0)


def boxes(here: CanarySite) -> dict[str, Any]:
    return {"google": here.sandbox, "meta": here.meta}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanarySite]:
    """A site with every secret that a configuration can name, and a receiver of alerts."""
    with HttpReceiver() as receiver:
        here = CanarySite(tmp_path_factory.mktemp("faults") / "s", SandboxClock(NIGHT), accounts=2500)
        try:
            hook, beat = here.hide("hook", receiver.url), here.hide("beat", receiver.url + "/beat")
            here.edit("[alerts]", f'[alerts]\nwebhook = "{hook}"\nheartbeat = "{beat}"')
            here.edit("timeout_seconds = 10 ", "timeout_seconds = 1 ")
            here.edit("# app_secret = ", f'app_secret = "{here.hide("app", PROOF)}"\n# ')
            here.edit('credentials = "file:sandbox/meta-token"', 'timeout_seconds = 1\ncredentials = "file:sandbox/meta-token"')
            here.receiver = receiver  # type: ignore[attr-defined]
            here.typed_at_first = {str(row["email"]) for row in rows_of(here.place.store).account}  # type: ignore[attr-defined]
            here.night("first")
            assert here.codes["first"] == (0,)
            yield here
        finally:
            here.close()


@pytest.fixture(scope="module")
def faults(site: CanarySite) -> int:
    """Every kind of fault on every method that carries people or asks about them: nights until all have happened. How many there were."""
    made = 0
    for platform, methods in ON_PEOPLE.items():
        for method in methods:
            for kind in FaultKind:
                boxes(site)[platform].faults.add(fault(method, kind))
                made += 1
    receiver: HttpReceiver = site.receiver  # type: ignore[attr-defined]
    for night in range(MOST_NIGHTS):
        receiver.answers = [500, "drop", 403, 302, 429, "hang"][night % 6 :]
        site.next_day()
        site.night(f"faults-{night}")
        if not any(box.faults.waiting for box in boxes(site).values()):
            break
    return made


@pytest.fixture(scope="module")
def lists(site: CanarySite, faults: int, request: pytest.FixtureRequest) -> int:
    """Every kind on making, listing and deleting a list, by the destinations themselves. How many there were."""
    kinds = list(FaultKind) if request.config.getoption("--long") else list(FaultKind)[-7:]
    made = 0
    escaped: list[str] = []
    ways = (("google_data_manager", "google", ACCOUNTS[0]), ("meta", "meta", META_ACCOUNTS[0]))
    with loud(site.out / "lists.log"), quiet_terminal(site.out / "lists.out"), (site.out / "lists.codes").open("w") as told:
        for (name, platform, number), (n, kind) in product(ways, enumerate(kinds)):
            account, place = Account(number), "abcdefghijklmnopqrstuvwxyz"[n]
            spec = ListSpec(f"na-faulted{place}", f"na-faulted{place} c1-01", 30)
            other = replace(spec, code=f"na-deleted{place}", name=f"na-deleted{place} c1-01")
            target: Target | None = None
            for method in ON_LISTS[platform]:
                # A run each: one that was told of a limit asks nothing for a while.
                with open_parts(site.place.config, clock=site.clock.now) as parts:
                    destination = parts.destinations[name]
                    target = target or Target(account, destination.create_list(account, other).list_id)
                    create, listing, _ = ON_LISTS[platform]
                    call = {
                        create: lambda: destination.create_list(account, spec),  # noqa: B023  called at once
                        listing: lambda: destination.lists(account),  # noqa: B023
                    }.get(method, lambda: destination.delete_list(target))  # noqa: B023
                    boxes(site)[platform].faults.add(fault(method, kind))
                    made += 1
                    _say(call, told.write, escaped)
                    assert boxes(site)[platform].faults.waiting == (), (method, kind)
    assert escaped == []
    return made


def _say(call: Callable[[], object], tell: Callable[[str], object], escaped: list[str]) -> None:
    try:
        tell(f"{call()!r}\n")
    except NestAudienceError as error:
        tell(f"{error!r} {error}\n")
    except Exception as error:  # noqa: BLE001  (a foreign exception is what must not happen)
        escaped.append(type(error).__name__)


def no_proof(here: CanarySite) -> None:
    """Meta flags one list, refuses small removals on another, and wants terms for the third account."""
    account = here.meta.accounts
    for remote in here.meta.lists(META_ACCOUNTS[0])[:1]:
        here.meta.flag_list(META_ACCOUNTS[0], remote.list_id)
    account[META_ACCOUNTS[1]] = replace(account[META_ACCOUNTS[1]], refuse_small_removals_below=1 << 30)
    account[META_ACCOUNTS[2]] = replace(account[META_ACCOUNTS[2]], tos_accepted=False)


def google_unready(here: CanarySite) -> None:
    """Google wants terms for one account, its allow-list for the second, and closed a list of the third."""
    account = here.sandbox.accounts
    account[ACCOUNTS[0]] = replace(account[ACCOUNTS[0]], terms_accepted=False)
    account[ACCOUNTS[1]] = replace(account[ACCOUNTS[1]], allowlisted=False)
    for remote in here.sandbox.lists(ACCOUNTS[2]):
        here.sandbox.close_list(ACCOUNTS[2], remote.list_id)


def meta_out_of_calls(here: CanarySite) -> None:
    for number in META_ACCOUNTS:
        here.meta.accounts[number] = replace(here.meta.accounts[number], calls_per_hour=1)


def lists_dropped(here: CanarySite) -> None:
    here.sandbox.drop_list(ACCOUNTS[0], here.sandbox.lists(ACCOUNTS[0])[0].list_id)
    here.meta.drop_list(META_ACCOUNTS[1], here.meta.lists(META_ACCOUNTS[1])[0].list_id)


def store_changed(statement: str) -> Callable[[CanarySite], None]:
    def change(here: CanarySite) -> None:
        with StoreFile(here.place.store) as store:
            store.run(*statement.split(";"))

    return change


def _spoil(here: CanarySite) -> None:
    """An error whose cause is a person's own value."""
    with StoreFile(here.place.store) as store:
        text = str(store.rows("SELECT sql FROM sqlite_master WHERE name = 'account'")[0][0])
        store.run(
            "DROP VIEW account",
            text.replace("account", "account_kept", 1),
            "CREATE VIEW account AS SELECT * FROM account_kept WHERE json(email) IS NOT NULL",
        )


def edited(old: str, new: str) -> Callable[[CanarySite], None]:
    return lambda here: here.edit(old, new)


def token_cut(name: str) -> Callable[[CanarySite], None]:
    return lambda here: (here.folder / "sandbox" / name).write_text("")  # type: ignore[return-value]


BEFORE: Final[dict[str, tuple[Callable[[CanarySite], None], str]]] = {
    "meta's refusals": (no_proof, "list_flagged"),
    "google's refusals": (google_unready, "terms_missing"),
    "meta's limit": (meta_out_of_calls, "quota_exhausted"),
    "lists dropped": (lists_dropped, "list_gone"),
    "a view that fails on an address": (lambda here: _spoil(here), "store_"),
    "an address for a key": (edited("[gates]", f'[gates]\n"{CANARY}" = 3'), "config"),
    "an address for an owner": (edited('owner = "growth-2"', f'owner = "{CANARY}"'), "config"),
    "an address for a destination's endpoint": (edited('endpoint = "127', f'endpoint = "{CANARY}:127'), "sandbox_endpoint"),
    "no token": (token_cut("meta-token"), "secret_missing"),
    "a file that is no TOML": (edited("[policy]", f"[policy] {CANARY}"), "config_not_toml"),
}
"""What is broken before a night -> how, and the code that the night must have met."""
MID_RUN: Final[dict[str, tuple[Callable[[CanarySite], None], str]]] = {
    "the store is cut short": (lambda here: _cut(here.place.store), "store_"),
    "the store is another file": (lambda here: _overwrite(here.place.store), "store_"),
    "the consents are gone": (store_changed("DROP VIEW consent_event"), ""),
    "the ledger is gone": (lambda here: (here.folder / "ledger" / "ledger.sqlite").unlink(), ""),
}
"""What breaks when everybody has been judged."""


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def _overwrite(path: Path) -> None:
    path.write_bytes(CANARY.encode() * 40_000)


@pytest.fixture(scope="module")
def broken(site: CanarySite, request: pytest.FixtureRequest) -> dict[str, str]:
    """One night for each of `BEFORE` and `MID_RUN`, or for every second; then everything is as it was. Step -> the code that it should have met."""
    expected = {}
    for table in (BEFORE, MID_RUN):
        for step, (breaks, code) in list(table.items())[:: 1 if request.config.getoption("--long") else 2]:
            site.next_day()
            kept = [
                (path, path.read_bytes())
                for path in (site.place.store, site.place.config, site.folder / "sandbox" / "meta-token")
            ]
            ledger = [(path, path.read_bytes()) for path in (site.folder / "ledger").iterdir()] if "ledger" in step else []
            accounts = {name: dict(box.accounts) for name, box in boxes(site).items()}
            name = re.sub(r"\W", "_", step)
            expected[name] = code
            if table is BEFORE:
                breaks(site)
                site.night(name)
            else:
                site.night(name, between=lambda breaks=breaks: breaks(site))
            if step.startswith(("an address", "a file")):
                with quiet_terminal(site.out / f"{name}.check"), suppress(NestAudienceError):
                    for finding in check_everything(site.place.config, clock=site.clock.now):
                        os.write(1, repr(finding).encode())
            for path, data in (*kept, *ledger):
                path.write_bytes(data)
            for box_name, box in boxes(site).items():
                box.accounts.update(accounts[box_name])
    return expected


def test_every_fault_of_a_platform_happened(site: CanarySite, faults: int, lists: int) -> None:
    assert {name: box.faults.waiting for name, box in boxes(site).items()} == {"google": (), "meta": ()}
    assert (faults, lists) >= (13 * 7, 42)
    nights = [step for step in site.codes if step.startswith("faults-")]
    assert all(min(site.codes[step]) >= 0 for step in nights), "no foreign exception left a run"
    met = set().union(*(site.told[step] for step in nights))
    assert met >= {"lost_unavailable", "lost_deadline_exceeded", "lost_unreadable", "unreadable", "update_in_progress"}
    assert met >= {"alerts_unreachable", "alerts_refused"}, "people could not be told, in more than one way"


def test_every_other_fault_happened(site: CanarySite, broken: dict[str, str]) -> None:
    missed = {
        step: site.told[step]
        for step, code in broken.items()
        if code and not any(told.startswith(code) for told in site.told[step])
    }
    assert missed == {}
    assert all(max(site.codes[step]) > 0 and min(site.codes[step]) >= 0 for step in broken), {s: site.codes[s] for s in broken}


def test_nothing_that_was_written_holds_anybody_or_a_secret(
    site: CanarySite, faults: int, lists: int, broken: dict[str, str]
) -> None:
    """Also what the parts of a run say of themselves when somebody prints them."""
    with open_parts(site.place.config, clock=site.clock.now) as parts:
        said = [repr(parts), str(parts.settings), repr(parts.keys), repr(parts.tokens)]
        said += [f"{destination!r} {vars(destination)!r}" for destination in parts.destinations.values()]
        digest = parts.settings.digest
    (site.out / "representations").write_text("\n".join(said))
    hidden = site.folder / "secrets" / "app"
    hidden.write_text("another secret of the app")
    with open_parts(site.place.config, clock=site.clock.now) as parts:
        assert parts.settings.digest == digest, "a secret is no part of what identifies a configuration"
    hidden.write_text(PROOF)
    report = found_in_folder(site.folder, site.needles.everything, but=site.where_they_belong)
    assert report == {}
    shown = (site.out / "faults-0.log").read_text("utf-8")
    assert "sqlalchemy.engine" in shown, "the loggers were on"


def test_all_that_meta_received_is_digests_structure_and_ids(site: CanarySite, faults: int) -> None:
    """Every byte of every request: the line names no person and nothing but ids, names of fields and the two proofs; a form holds what we sent."""
    digests, kinds = 0, set()
    for kind, raw in site.meta.received:
        line, _, body = raw.partition(b"\r\n\r\n")
        kinds.add(kind)
        assert found_in(line, site.needles.addresses) == found_in(line, site.needles.digests) == set(), kind
        assert found_in(body, site.needles.addresses) == set(), kind
        verb, url, _ = line.decode("ascii").split(" ")
        assert urlsplit(url).path.startswith(("/v25.0/", "/v26.0/"))
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked.pop("access_token") == site.meta.token
        assert "appsecret_proof" in asked
        assert verb == "GET" or set(asked) == {"appsecret_proof"}
        digests += len(digests_in(raw))
    assert kinds >= {"AddUsers", "RemoveUsers", "CreateAudience", "ReadAudience", "ListAudiences"}
    assert digests > 500


def test_what_a_client_prints_would_be_found(tmp_path: Path) -> None:
    """The control: Python's HTTP client does print the token and a person's digest, and a logger that is on does reach the file."""
    needles = Needles.of(CANARY, secrets={"token": "EAAB-a-token-of-Meta"})
    digest = hashlib.sha256(CANARY.lower().encode()).hexdigest()
    with MetaSandbox({}, SandboxClock(NIGHT)) as box, loud(tmp_path / "log"), quiet_terminal(tmp_path / "out"):
        connection = http.client.HTTPConnection(box.endpoint)
        connection.request("POST", "/v26.0/1/users?access_token=EAAB-a-token-of-Meta", f"payload=%5B%22{digest}%22%5D".encode())
        connection.getresponse().read()
        connection.close()
        sys.stdout.flush()
        logging.getLogger("urllib3.connectionpool").debug("%s", CANARY)
    assert found_in_folder(tmp_path, needles.everything) == {
        "log": {f"address of {CANARY}"},
        "out": {"secret token", f"digest of {CANARY}"},
    }


def test_hostile_addresses_are_read_by_the_first_night(site: CanarySite) -> None:
    """The control: they were in the store's view. Some people change their address in the days after it."""
    assert set(HOSTILE.values()) <= site.typed_at_first  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[tuple[CanarySite, dict[str, str]]]:
    """A site whose customers are in PostgreSQL, and then in Parquet files, while these break: an error's text there quotes values and statements."""
    now = SandboxClock(datetime.now(UTC))  # a server has a clock of its own, and what it says is compared
    here = CanarySite(tmp_path_factory.mktemp("postgres") / "s", now, accounts=3000)
    try:
        yield here, _postgres_nights(here, postgres, _all_views(here.place.store))
    finally:
        here.close()


def _all_views(store: Path) -> dict[str, Any]:
    """Every row of the contract's views, from a copy: two SQLite libraries in one process drop each other's locks."""
    with TemporaryDirectory() as folder, closing(sqlite3.connect(copyfile(store, Path(folder) / "copy"))) as con:
        con.row_factory = sqlite3.Row
        return {view.name: [dict(row) for row in con.execute(f"SELECT * FROM {view.name}")] for view in VIEWS}


def _postgres_nights(here: CanarySite, server: Postgres, rows: dict[str, Any]) -> dict[str, str]:
    url = server.database()
    write_postgres(url, "ads", rows)
    user, password = server.name("reader"), "Pw-of-the-reader-5c1"
    server.run(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    server.run(f"GRANT USAGE ON SCHEMA ads TO {user}", f"GRANT SELECT ON ALL TABLES IN SCHEMA ads TO {user}", url=url)
    place = here.hide("store", server.as_user(f"{user}:{password}", url))
    here.secrets["the store's password"] = password
    here.hide("password", password)
    here.edit('kind = "sqlite" ', f'kind = "postgres"\nurl = "{place}"\nviews_schema = "ads"\n# ')
    here.edit('path = "store.sqlite" ', "# ")
    view = "CREATE VIEW ads.account AS SELECT *"
    breaks = {
        "pg_first": ("SELECT 1::text", ""),
        "pg_value_in_error": (
            f"ALTER TABLE ads.account RENAME TO kept; {view} FROM ads.kept WHERE email::text::integer > 0",
            "store_unreadable",
        ),
        "pg_statement_in_error": (
            f"DROP VIEW ads.account; {view} FROM ads.kept WHERE 1 / (length(email::text) - length(email::text)) = 1",
            "store_",
        ),
        "pg_no_right": ("DROP VIEW ads.account; CREATE VIEW ads.account AS SELECT * FROM ads.kept", ""),
        "pg_wrong_password": (f"ALTER ROLE {user} NOLOGIN", "store_"),
    }
    for step, (statements, _) in breaks.items():
        server.run(
            *statements.split("; "),
            *([f"GRANT SELECT ON ads.account TO {user}"] if step in {"pg_value_in_error", "pg_statement_in_error"} else []),
            url=url,
        )
        if step != "pg_first":  # which comes while the store is as it was copied, and its server's clock is this one
            here.next_day()
        here.night(step)
        with loud(here.out / f"{step}.check.log"), quiet_terminal(here.out / f"{step}.check"):
            os.write(1, repr(check_everything(here.place.config, clock=here.clock.now)).encode())
    here.edit('kind = "postgres"', 'kind = "parquet"\npath = "views"\n#')
    here.edit('url = "file:secrets/store"\nviews_schema = "ads"', "#")
    write_parquet(here.folder / "views", rows)
    here.night("parquet")
    _cut(here.folder / "views" / "account.parquet")
    here.night("parquet_cut")
    return {step: code for step, (_, code) in breaks.items()} | {"parquet": "", "parquet_cut": "store_"}


def test_stores_that_break_elsewhere_tell_of_nobody(elsewhere: tuple[CanarySite, dict[str, str]]) -> None:
    here, expected = elsewhere
    assert here.codes["pg_first"] == (0,)
    assert sum(sent.added for sent in here.outcomes["pg_first"].sent.values()) > 500
    missed = {
        step: here.told[step]
        for step, code in expected.items()
        if code and not any(told.startswith(code) for told in here.told[step])
    }
    assert missed == {}
    assert found_in_folder(here.folder, here.needles.everything, but=[*here.where_they_belong, here.folder / "views"]) == {}


def test_it_is_written_down(site: CanarySite, faults: int, lists: int, broken: dict[str, str], elsewhere: Any) -> None:
    """The rows of docs/reliability.md, where somebody asked for them. They stand here only when all of the above could be made."""
    written_down(
        "leaks",
        [
            {"fault": "canaries: what a platform answers, about people and their lists", "runs": faults + lists, "leaks": 0},
            {"fault": "canaries: refusals, and configuration, store and ledger that break", "runs": len(broken), "leaks": 0},
            {"fault": "canaries: PostgreSQL and Parquet stores that break", "runs": len(elsewhere[1]) - 2, "leaks": 0},
        ],
    )

"""An installation with canaries among its customers, for the canary tests: what it does, and everything that it writes, in one folder."""

import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from leaks import Needles

from nestaudience.sandbox import site
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.world import StoreFile, build_store, reload_store
from nestaudience.sandbox.world_day import advance_store
from nestaudience.sandbox.world_schema import moment
from nestaudience.sync import Outcome, Run, run
from nestaudience.watching import watch
from nestaudience.wiring import open_parts

ROOT: Final = Path(__file__).parents[1]
LISTED: Final = {
    "plain": "Qx7zwKanarie.Plain@Example.se",
    "capitals": "QX7ZWKANARIE.CAPITALS@EXAMPLE.SE",
    "dots": "q.x.7.z.w.kanarie.dots@gmail.com",
    "plus": "Qx7zwKanarie.Plus+shop@Gmail.com",
    "googlemail": "qx7zw.kanarie.old@googlemail.com",
    "letters": "qx7zwkanarie.Åsa@blåbär.example",
    "spaces": "  qx7zwkanarie.spaces@example.se ",
}
"""Canaries that are put on a list: one for each odd way to write an address."""
HOSTILE: Final = {
    "a line's end": "qx7zwkanarie.line\nend@example.se",
    "markup": "<qx7zwkanarie.markup@example.se>",
    "a format": "qx7zwkanarie.%s%n{0}@example.se",
    "a quote": "qx7zwkanarie.o'quote@example.se",
    "quoted": '"qx7zwkanarie.quoted"@example.se',
    "two at-signs": "qx7zwkanarie.twice@a@example.se",
    "long": f"qx7zwkanarie.{'long' * 80}@example.se",
    "backslash": "qx7zwkanarie.back\\slash@example.se",
    "no at-sign": "qx7zwkanarie.nowhere.example.se",
    "a tab": "qx7zwkanarie\ttab@example.se",
}
"""Canaries whose addresses might break out of whatever prints them."""
PAID_WITH: Final = "qx7zwkanarie.checkout@example.se"
"""An address that only an order knows; nothing of the nightly run may read it."""
ANONYMOUS: Final = "qx7zwkanarie.letter@example.se"
"""Somebody without an account who asked to be forgotten."""


class CanarySite:
    """A folder with store, keys, ledger, configuration, and a sandbox that keeps every request. What is captured goes to `out`."""

    def __init__(self, folder: Path, clock: SandboxClock, *, accounts: int = 3000) -> None:
        self.folder, self.clock = folder, clock
        self.platforms = site.Platforms(clock, google_takes=timedelta(0), keep_requests=True)
        self.platforms.__enter__()
        self.sandbox, self.meta = self.platforms.google, self.platforms.meta
        self.place = site.lay_out(folder, platforms=self.platforms, randomness=Random(7).randbytes, smallest_list=100)
        self.edit("timeout_seconds = 120", "timeout_seconds = 1")
        site.publish(folder, self.platforms)
        self.out = folder / "out"
        self.out.mkdir()
        self.codes: dict[str, tuple[int, ...]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.told: dict[str, set[str]] = {}
        facts = build_store(self.place.store, seed=3, accounts=accounts, now=clock.now())
        self.people = self._plant(facts.accounts)
        self._people = (*LISTED.values(), *HOSTILE.values(), *self.people.values(), PAID_WITH, ANONYMOUS)
        self.secrets = {"Google's token": self.sandbox.token, "Meta's token": self.meta.token} | self._keys()
        self.needles = Needles.of(*self._people, secrets=self.secrets)
        self._days = 0

    def _keys(self) -> dict[str, str]:
        """Every key, in hexadecimal."""
        written = json.loads(self.place.keys.read_text("utf-8"))
        return {f"key {use}": text for use, text in written.items() if isinstance(text, str) and len(text) == 64}

    def hide(self, name: str, text: str) -> str:
        """Keep a secret in a file of its own, which is not searched, and look for it in everything else. What a configuration calls it."""
        place = self.folder / "secrets" / name
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.write_text(text)
        place.chmod(0o600)
        self.secrets[name] = text
        self.needles = Needles.of(*self._people, secrets=self.secrets)
        return f"file:secrets/{name}"

    @property
    def where_they_belong(self) -> list[Path]:
        """Where people and secrets may be: the store, the keys, and the files of secrets."""
        return [self.place.store, self.place.keys.parent, self.folder / "sandbox", self.folder / "secrets"]

    def _plant(self, stories: object) -> dict[str, str]:
        """Give one account of every story, and each of `LISTED`, a canary's address. Story -> address."""
        assert isinstance(stories, dict)
        planted = {}
        with StoreFile(self.place.store) as store:
            good = set(stories["consented"])
            on_a_list = (
                "SELECT account_id FROM segment_row JOIN shop_account USING (account_id, company) WHERE country = 'SE' ORDER BY 1"
            )
            ordinary = [row[0] for row in store.rows(on_a_list) if row[0] in good]
            update = "UPDATE shop_account SET email = ? WHERE account_id = ?"
            self.listed = dict(zip(LISTED, dict.fromkeys(ordinary), strict=False))
            store.many(update, [(LISTED[name], account) for name, account in self.listed.items()])
            taken = {accounts[0] for accounts in stories.values() if accounts} | set(self.listed.values())
            others = [account for account in dict.fromkeys(ordinary) if account not in taken]
            store.many(update, list(zip(HOSTILE.values(), others, strict=False)))
            for story, accounts in stories.items():
                if story not in {"consented", "vanished"} and accounts:  # the vanished have no row
                    planted[story] = f"Qx7zwKanarie.{story}@Example.se"
                    store.many(update, [(planted[story], accounts[0])])
            store.run(f"UPDATE shop_order SET checkout_email = '{PAID_WITH}'")
            now = moment(self.clock.now() - timedelta(hours=1))
            store.many(
                "INSERT INTO shop_right VALUES ('canary-right', NULL, ?, 'computime', 'erase', 'ad_matching', ?, ?, 'privacy_request', 1, NULL)",
                [(ANONYMOUS, now, now)],
            )
        return planted

    def close(self) -> None:
        self.platforms.__exit__()

    def edit(self, old: str, new: str) -> None:
        text = self.place.config.read_text("utf-8")
        assert old in text
        self.place.config.write_text(text.replace(old, new), "utf-8")

    def next_day(self) -> None:
        """A day passes, so that there is something to remove and something to add."""
        self._days += 1
        self.clock.advance(timedelta(days=1))
        advance_store(self.place.store, seed=100 + self._days, now=self.clock.now())

    def withdraw(self, *names: str) -> None:
        """Some of `LISTED` say no, now."""
        at = moment(self.clock.now())
        with StoreFile(self.place.store) as store:
            for name in names:
                account = self.listed[name]
                company = store.rows(f"SELECT company FROM shop_account WHERE account_id = '{account}'")[0][0]
                store.many(
                    "INSERT INTO shop_right VALUES (?, ?, NULL, ?, 'object', 'ad_matching', ?, ?, 'privacy_request', 1, NULL)",
                    [(f"canary-no-{name}", account, company, at, at)],
                )

    def night(self, step: str, *, between: Callable[[], None] = lambda: None) -> None:
        """One night in this process, with everything loud; `between` happens when everybody has been judged. Its exit codes are kept."""
        self.loaded()
        with loud(self.out / f"{step}.log"), quiet_terminal(self.out / f"{step}.out"):
            try:
                with (
                    open_parts(self.place.config, clock=self.clock.now, randomness=os.urandom) as parts,
                    Run(parts, actor="test") as here,
                ):
                    keys = here.judge()
                    between()
                    for key in keys:
                        here.remove(key)
                    for key in keys:
                        here.add(key)
                    here.close_lists()
                    self.outcomes[step] = here.finish()
                    self.codes[step] = self.outcomes[step].exit_codes
                    self.told[step] = codes_of(self.outcomes[step])
                    told = watch(parts.evidence, parts.settings, self.clock.now(), run_ended=True)
                    self.told[step] |= {error.code for error in told.errors}
            except Exception as error:  # noqa: BLE001 (whatever escapes is written down and searched)
                (self.out / f"{step}.traceback").write_text("".join(traceback.format_exception(error)))
                self.codes[step] = (getattr(error, "exit_code", -1),)
                self.told[step] = {getattr(error, "code", type(error).__name__)}

    def loaded(self) -> None:
        """A load came through shortly before, and found the store as it is."""
        reload_store(self.place.store, self.clock.now())

    def one_call(self, step: str) -> None:
        """One night by the public function."""
        self.loaded()
        with (
            loud(self.out / f"{step}.log"),
            quiet_terminal(self.out / f"{step}.out"),
            open_parts(self.place.config, clock=self.clock.now) as parts,
        ):
            self.codes[step] = run(parts).exit_codes

    def command(self, step: str, *words: str, file_limit: int | None = None, **environment: str) -> int:
        """A command as a process of its own; what it says is kept in `out`. `file_limit`: no file may grow beyond so many bytes."""
        own = ("-m", "nestaudience", *words, "--config", str(self.place.config))
        return self.python(step, *own, file_limit=file_limit, **environment)

    def python(self, step: str, *words: str, file_limit: int | None = None, **environment: str) -> int:
        """A Python process, kept and limited like a command."""
        # The limit is set by the new process itself: code between fork and exec would run gRPC's fork handlers, which may abort.
        limit = (
            "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); "
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        limited = [] if file_limit is None else [sys.executable, "-c", limit, str(file_limit)]
        with (self.out / f"{step}.stdout").open("wb") as told, (self.out / f"{step}.stderr").open("wb") as warned:
            process = subprocess.Popen(
                [
                    *limited,
                    sys.executable,
                    "-X",
                    "faulthandler",
                    *words,
                ],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_LOGGING_LEVEL": "DEBUG"} | environment,
                stdout=told,
                stderr=warned,
            )
            stuck, words_of = False, set()
            end = time.monotonic() + 90
            while process.poll() is None and time.monotonic() < end:
                words_of |= arguments_of(process.pid)
                time.sleep(0.05)
            (self.out / f"{step}.arguments").write_bytes(b"\n".join(sorted(words_of)))
            if process.poll() is None:
                stuck = True
                process.send_signal(signal.SIGABRT)  # it says where every thread stands
                process.wait(10)
        assert not stuck, (self.out / f"{step}.stderr").read_text("utf-8", "replace")[-6000:]
        self.codes[step] = (process.returncode,)
        return process.returncode


def codes_of(outcome: Outcome) -> set[str]:
    """Every code that something in a run has."""
    codes = {error.code for error in outcome.errors} | {gate.code for gates in outcome.gates.values() for gate in gates}
    return codes | {code for sent in outcome.sent.values() for code in (*sent.refused, *sent.unknown)}


def arguments_of(pid: int) -> set[bytes]:
    """The arguments of a process and of all that it started, as anybody on the machine can read them."""
    found, todo = set(), [pid]
    while todo:
        here = Path(f"/proc/{todo.pop()}")
        try:
            found.add((here / "cmdline").read_bytes())
            todo += map(int, (here / "task" / here.name / "children").read_text().split())
        except OSError:  # it has just ended
            continue
    return found


def written_down(name: str, rows: list[dict[str, object]]) -> None:
    """Rows for docs/reliability.md, in the folder that somebody named: what was tried, how often, and what came of it."""
    folder = os.environ.get("RELIABILITY_RESULTS")
    if folder:
        nothing = {"wrong": None, "mutants": None, "caught": None, "leaks": None}
        part = {"rows": [nothing | row for row in rows], "clocks": [], "at": datetime.now(UTC).date().isoformat()}
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(part, indent=1) + "\n", "utf-8")


@contextmanager
def loud(path: Path) -> Iterator[None]:
    """Every logger at DEBUG, into one file that masks nothing; Python's HTTP client prints what it sends."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    before = {root: (root.level, root.disabled, root.propagate)}
    for logger in [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]:
        before[logger] = (logger.level, logger.disabled, logger.propagate)
        logger.setLevel(logging.DEBUG)
        logger.disabled, logger.propagate = False, True
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    http.client.HTTPConnection.debuglevel = 1
    try:
        yield
    finally:
        http.client.HTTPConnection.debuglevel = 0
        root.removeHandler(handler)
        handler.close()
        for logger, (level, disabled, propagate) in before.items():
            logger.setLevel(level)
            logger.disabled, logger.propagate = disabled, propagate


@contextmanager
def quiet_terminal(path: Path) -> Iterator[None]:
    """Standard output and error of this process, of its libraries too, go to a file: what Python prints, and what native code writes."""
    with ExitStack() as stack:
        target = stack.enter_context(path.open("w", encoding="utf-8", buffering=1))
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(target.fileno(), number)
        stack.enter_context(redirect_stdout(target))  # pytest has put files of its own in their place
        stack.enter_context(redirect_stderr(target))
        yield

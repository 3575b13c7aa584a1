"""Faults that somebody could write into the path, one by one: each is a small edit of a copy of the package, and the state machine must find it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One fault: its name, and the edits (file, old text, new text) that make it; each old text stands once in its file."""

    name: str
    edits: tuple[tuple[str, str, str], ...]


_ENTRY = "tools.log.append_and_seal([(EntryType.BATCH, self.context(), fields)], also)"
_SEND = "sent_at, receipt = tools.clock(), line.destination.send(prepared)"
_DELIVER, _REQUESTS = "delivery/deliver.py", "delivery/requests.py"
_MEMORY, _MEMBERSHIPS, _DELTA = "ledger/memory.py", "ledger/memberships.py", "delta/sql/01_delta.sql"

MUTANTS: Final = (
    Mutant(
        "one membership state instead of two",
        ((_DELTA, "held WHERE (confirmed AND NOT getvariable('resend')) OR in_flight OR removing OR unanswered", "held"),),
    ),
    Mutant(
        "still confirmed while removing",
        ((_MEMBERSHIPS, "m.batch_removed IS NULL AND a.sent_at > {due} AS confirmed", "a.sent_at > {due} AS confirmed"),),
    ),
    Mutant(
        "marked after sending",
        (
            (
                _REQUESTS,
                f"{_ENTRY}\n        {_SEND}",
                f"{_SEND}\n        {_ENTRY}",
            ),
        ),
    ),
    Mutant(
        "forgotten before the removal is answered",
        (
            (
                _MEMBERSHIPS,
                "(r.state = 'confirmed' AND r.sent_at >= a.certain_at)",
                "(r.state IN ('confirmed', 'accepted') AND r.sent_at >= a.certain_at)",
            ),
        ),
    ),
    Mutant(
        "a removal counts as gone although an earlier addition is unsettled",
        ((_MEMBERSHIPS, "(r.state = 'confirmed' AND r.sent_at >= a.certain_at)", "r.state = 'confirmed'"),),
    ),
    Mutant(
        "withdrawals looked up in the segment only",
        (
            (
                "screening/sql/03_noes.sql",
                "FROM consent WHERE action = 'withdraw' AND purpose <> 5",
                "FROM consent WHERE action = 'withdraw' AND purpose <> 5 AND account_token IN (SELECT account_token FROM member)",
            ),
        ),
    ),
    Mutant("the last look keeps everybody", ((_DELIVER, "kept = staying(rows, look.keep, self._left)", "kept = rows"),)),
    Mutant("late removals are not sent", ((_DELIVER, "if not leaving.num_rows:", "if leaving.num_rows >= 0:"),)),
    Mutant(
        "additions before removals",
        (
            (
                "sync.py",
                "for key in audiences:\n        run.remove(key)\n    for key in audiences:\n        run.add(key)",
                "for key in audiences:\n        run.add(key)\n    for key in audiences:\n        run.remove(key)",
            ),
        ),
    ),
    Mutant(
        "what is on its way is sent again", ((_DELTA, "OR in_flight OR removing OR unanswered", "OR removing OR unanswered"),)
    ),
    Mutant(
        "refused counts as confirmed",
        ((_REQUESTS, '{"state": "refused", "settled_at": at}', '{"state": "confirmed", "settled_at": at}'),),
    ),
    Mutant(
        "unknown counts as refused",
        ((_REQUESTS, 'values = {"state": "unknown"}', 'values = {"state": "refused", "settled_at": at}'),),
    ),
    Mutant(
        "lapsed too early",
        (("delivery/settle.py", "timedelta(days=remote.membership_days)", "timedelta(days=remote.membership_days - 5)"),),
    ),
    Mutant(
        "accepted in part counts as whole",
        (("delivery/answers.py", 'Answer("partly", "partly_refused"', 'Answer("confirmed", "partly_refused"'),),
    ),
    Mutant(
        "never seen counts as refused",
        (("delivery/answers.py", 'Answer("unknown", "never_seen"', 'Answer("refused", "never_seen"'),),
    ),
    Mutant("an addition does not wait for an unanswered removal", ((_DELTA, "OR removing OR unanswered", "OR removing"),)),
    Mutant(
        "an unanswered removal is forgotten with a later one",
        ((_MEMBERSHIPS, "WHERE (unanswered OR NOT gone)", "WHERE NOT gone"),),
    ),
    Mutant(
        "a removal that was not done is not owed",
        (
            (_MEMBERSHIPS, "asked AND NOT gone AS owed", "0 AS owed"),
            (_MEMBERSHIPS, "coalesce((r.state = 'accepted'", "coalesce((r.state <> 'confirmed'"),
        ),
    ),
    Mutant(
        "a recovery marks no list", ((_MEMORY, ".where(used).values(state=RECOVERING)", ".where(used).values(state='open')"),)
    ),
    Mutant(
        "a list that waits for its deletion is joined",
        (("delta/stops.py", "if key in lists.recovering:", "if key in lists.recovering & lists.gone:"),),
    ),
    Mutant(
        "a recovery takes no noes back",
        (
            (
                "recovery.py",
                "rows = list(_unknown(parts)), lost_noes(parts)",
                "rows = list(_unknown(parts)), list[dict[str, Any]]()",
            ),
        ),
    ),
    Mutant(
        "remembered noes are not asked", (("remembering.py", "Recall(to_engine(rows),", "Recall(to_engine(rows.slice(0, 0)),"),)
    ),
    Mutant(
        "a no is remembered when its run is over",
        (
            ("sync.py", '        remember(self.parts, judged.screened, self.log, self._context(""), self.started)\n', ""),
            (
                "sync.py",
                "    run.close_lists()\n",
                '    run.close_lists()\n    remember(run.parts, run.judged.screened, run.log, run._context(""), run.started)\n',
            ),
        ),
    ),
)
"""In an order of their own; the first word of a name is no code."""


def mutilated(mutant: Mutant, folder: Path) -> Path:
    """A copy of the package with this fault, and of what the machine needs. Raises ValueError when an edit no longer fits the code."""
    shutil.copytree(ROOT / "nestaudience", folder / "nestaudience", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in mutant.edits:
        path = folder / "nestaudience" / name
        text = path.read_text("utf-8")
        if text.count(old) != 1:
            problem = f"{mutant.name}: {name} no longer holds its text once"
            raise ValueError(problem)
        path.write_text(text.replace(old, new), "utf-8")
    return folder


def hunted(folder: Path, histories: int, seed: int) -> tuple[int, str]:
    """Run the machine on such a copy: its exit code and what it said."""
    return said_in(folder, str(folder / "tests" / "machine.py"), str(histories), str(seed))


def played(folder: Path) -> tuple[int, str]:
    """Play the smallest histories, which are written by hand in `test_machine_findings`, on such a copy: the exit code and what was said."""
    return said_in(
        folder, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(folder / "tests" / "test_machine_findings.py")
    )


def said_in(folder: Path, *words: str) -> tuple[int, str]:
    """Run Python with these words in such a copy: the exit code and what it said."""
    place = os.pathsep.join((str(folder), str(folder / "tests")))
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr

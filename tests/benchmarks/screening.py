"""How long screening takes beside a hand-written query that only knows "the latest event wins": 10 million accounts, 30 million consent events.

    .venv/bin/python -m tests.benchmarks.screening                        # about ten minutes, 3 GB on disk
    .venv/bin/python -m tests.benchmarks.screening --accounts 1000000     # smaller; the events grow with it

The store is a directory of Parquet files, made by the engine from a seed: three companies, three events an account, a tenth of them withdrawals, one
right exercised by every tenth, 20 segments of a twentieth each. The query by hand is measured twice: over the very tables that the rules judge
(tokens and times, in the same engine), and from the files to the digests of everybody on each list, as the whole of our side is, in a process of its
own. Prints one JSON document: seconds by step (medians), the two ratios, and the peak memory of each process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb

from nestaudience.customers.parquet import ParquetStore
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, open_engine
from nestaudience.screening.intake import read_all
from nestaudience.screening.rules import AudienceRule, ConsentText, Rules
from nestaudience.screening.screen import screen
from nestaudience.vocabulary import AudienceKey, ControllerId, EventSource, Purpose, Recipient, SegmentCode

NOW: Final = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
CONTROLLERS: Final = ("c1", "c2", "c3")
SEGMENTS: Final = 20
MAKE: Final = """
COPY (SELECT 'a' || n AS account_id, 'c' || (1 + n % 3) AS controller_id,
             CASE n % 100 WHEN 0 THEN 'closed' WHEN 1 THEN 'locked' ELSE 'active' END AS status,
             CASE n % 50 WHEN 7 THEN 'business' ELSE 'private' END AS account_type,
             CASE WHEN n % 10 = 3 THEN 'First.Last' || n || '+shop@gmail.com' WHEN n % 10 = 4 THEN ' Person' || n || '@Example.SE'
                  ELSE 'person' || n || '@example' || n % 1000 || '.se' END AS email,
             'account' AS email_source, TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(n % 1000000) AS email_verified_at,
             NULL::TIMESTAMPTZ AS email_changed_at, 'SE' AS country, 1940 + n % 75 AS birth_year, n % 1000 = 5 AS protected,
             false AS test_or_staff, TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_seconds(n % 1000000) AS created_at,
             TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(n % 1000000) AS last_active_at, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS changed_at
      FROM range($accounts) r(n)) TO '{folder}/account.parquet' (FORMAT parquet);
COPY (SELECT 'e' || n AS event_id, 'a' || (n * 7919 % $accounts) AS account_id, 'c' || (1 + (n * 7919 % $accounts) % 3) AS controller_id,
             CASE n % 10 WHEN 8 THEN 'web_behaviour' WHEN 9 THEN 'newsletter' ELSE 'ad_matching' END AS purpose,
             CASE n % 4 WHEN 0 THEN 'google' WHEN 1 THEN 'meta' ELSE '*' END AS recipient,
             CASE WHEN hash(n) % 10 = 0 THEN 'withdraw' ELSE 'grant' END AS action,
             TIMESTAMPTZ '2025-02-01 00:00:00+00' + to_seconds(hash(n) % 50000000) AS occurred_at,
             TIMESTAMPTZ '2025-02-01 00:00:10+00' + to_seconds(hash(n) % 50000000) AS recorded_at,
             CASE n % 3 WHEN 0 THEN 'prefs' WHEN 1 THEN 'checkout' ELSE 'banner' END AS source, n AS source_seq, n % 50 <> 9 AS confirmed,
             'text-1' AS text_version
      FROM range(3 * $accounts) r(n)) TO '{folder}/consent_event.parquet' (FORMAT parquet);
COPY (SELECT 'r' || n AS event_id, 'a' || (n * 10) AS account_id, NULL::VARCHAR AS email, 'c' || (1 + (n * 10) % 3) AS controller_id,
             CASE n % 4 WHEN 0 THEN 'object' WHEN 1 THEN 'restrict' WHEN 2 THEN 'erase' ELSE 'lift_objection' END AS action, '*' AS purpose,
             TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(n) AS occurred_at, TIMESTAMPTZ '2026-01-01 00:00:10+00' + to_seconds(n) AS recorded_at,
             'prefs' AS source, NULL::BIGINT AS source_seq, NULL::VARCHAR AS case_id
      FROM range($accounts // 10) r(n)) TO '{folder}/rights_event.parquet' (FORMAT parquet);
COPY (SELECT 's' || s AS segment_code, 'c' || (1 + n % 3) AS controller_id, 'a' || n AS account_id,
             TIMESTAMPTZ '2025-06-01 00:00:00+00' AS oldest_order_at, NULL::TIMESTAMPTZ AS oldest_site_at, NULL::BOOLEAN AS consented_when_collected
      FROM range($accounts) r(n), range({segments}) t(s) WHERE (n // 3) % {segments} = s) TO '{folder}/segment_member.parquet' (FORMAT parquet);
"""
BY_HAND: Final = """
CREATE TABLE latest AS
SELECT account_id, recipient, arg_max(action, recorded_at) AS action, max(occurred_at) FILTER (action = 'grant') AS granted
FROM (SELECT account_id, unnest(CASE recipient WHEN '*' THEN ['google', 'meta'] ELSE [recipient] END) AS recipient, action, occurred_at, recorded_at
      FROM '{folder}/consent_event.parquet' WHERE purpose = 'ad_matching')
GROUP BY account_id, recipient;
CREATE TABLE refused AS SELECT DISTINCT account_id FROM '{folder}/rights_event.parquet' WHERE action IN ('object', 'restrict', 'erase');
CREATE TABLE person AS
SELECT a.account_id, a.controller_id, l.recipient, unhex(sha256(lower(trim(a.email)))) AS digest
FROM '{folder}/account.parquet' a JOIN latest l USING (account_id) ANTI JOIN refused USING (account_id)
WHERE l.action = 'grant' AND l.granted > TIMESTAMPTZ '2024-11-21 02:30:00+00' AND a.status = 'active' AND a.account_type = 'private'
  AND NOT a.protected AND 2026 - a.birth_year > 18 AND a.country = 'SE' AND a.email_verified_at IS NOT NULL;
CREATE TABLE listed AS
SELECT m.segment_code, m.controller_id, p.recipient, p.digest FROM '{folder}/segment_member.parquet' m
JOIN person p ON p.account_id = m.account_id AND p.controller_id = m.controller_id;
"""

OVER_OUR_TABLES: Final = """
CREATE TABLE by_hand_latest AS
SELECT account_token, side, arg_max(action, recorded) AS action, max(occurred) FILTER (action = 'grant') AS granted
FROM (SELECT account_token, unnest(CASE recipient WHEN 4 THEN [1, 2] ELSE [recipient] END) AS side, action, occurred, recorded
      FROM consent WHERE purpose = 1)
GROUP BY account_token, side;
CREATE TABLE by_hand AS
SELECT m.segment, m.controller, l.side, CASE l.side WHEN 1 THEN s.digest_google ELSE s.digest_meta END AS digest
FROM member m JOIN (SELECT * FROM subject WHERE own AND mask = 0) s ON s.account_token = m.account_token AND s.controller = m.controller
JOIN by_hand_latest l ON l.account_token = m.account_token
ANTI JOIN (SELECT DISTINCT account_token FROM rights WHERE action IN ('object', 'restrict', 'erase')) r ON r.account_token = m.account_token
WHERE l.action = 'grant' AND l.granted > TIMESTAMP '2024-11-21 02:30:00';
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of screening")
    parser.add_argument("--accounts", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="a store that was made before; it is kept")
    parser.add_argument("--side", choices=("ours", "by_hand"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        said = ours(given.folder) if given.side == "ours" else by_hand(given.folder)
        said["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sys.stdout.write(json.dumps(said))
        return
    with tempfile.TemporaryDirectory(prefix="nestaudience-benchmark-") as made:
        folder = given.folder or Path(made)
        if not (folder / "account.parquet").exists():
            make(folder, given.accounts)
        results = {side: [measured(folder, side) for _ in range(given.runs)] for side in ("by_hand", "ours")}
    whole = {side: round(median(run["seconds"]["whole"] for run in runs), 1) for side, runs in results.items()}
    shown: dict[str, Any] = {side: runs[0] | {"whole": whole[side]} for side, runs in results.items()}
    judged = median(run["seconds"]["judge"] / run["seconds"]["by_hand"] for run in results["ours"])
    ratios = {"judging": round(judged, 2), "files_to_digests": round(whole["ours"] / whole["by_hand"], 2)}
    shown |= {"cores": os.cpu_count(), "accounts": given.accounts, "ratios": ratios}
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")


def make(folder: Path, accounts: int) -> None:
    """The store's files."""
    with duckdb.connect(
        ":memory:", config={"threads": 2, "memory_limit": "2GB", "temp_directory": str(folder / "spill")}
    ) as engine:
        for statement in MAKE.format(folder=folder, segments=SEGMENTS).split(";\n"):
            if statement.strip():
                engine.execute(statement.replace("$accounts", str(accounts)))


def measured(folder: Path, side: str) -> dict[str, Any]:
    """One side in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.screening", "--side", side, "--folder", str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def by_hand(folder: Path) -> dict[str, Any]:
    """The query that somebody would write first."""
    begun = time.perf_counter()
    spill = tempfile.mkdtemp()
    with duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "2GB", "temp_directory": spill}) as engine:
        engine.execute(BY_HAND.format(folder=folder))
        rows = engine.execute("SELECT count(*) FROM listed").fetchall()
    return {"seconds": {"whole": time.perf_counter() - begun}, "listed": rows[0][0]}


def ours(folder: Path) -> dict[str, Any]:
    """The same through the store's port and every rule."""
    seconds: dict[str, float] = {}
    begun = last = time.perf_counter()
    audiences = [
        AudienceRule(
            AudienceKey(f"{c}/s{s}/{r.value}"), ControllerId(c), SegmentCode(f"s{s}"), r, uses_orders=True, uses_site=False
        )
        for c in CONTROLLERS
        for s in range(SEGMENTS)
        for r in Recipient
    ]
    segments = frozenset((str(a.controller), str(a.segment)) for a in audiences)

    def note(view: str, _rows: int) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[view] = seconds.get(view, 0.0) + now - last
        last = now

    spill = Path(tempfile.mkdtemp()) / "spill"
    with open_engine(EngineLimits("2GB", 2, spill)) as engine, ParquetStore(folder).snapshot() as snapshot:
        screened = screen(
            engine,
            lambda intake: read_all(intake, snapshot, segments, NOW),
            rules=rules(),
            audiences=audiences,
            tokens=Tokens(bytes(32)),
            now=NOW,
            progress=note,
        )
        seconds["judge"] = time.perf_counter() - last
        eligible = sum(screened.funnel(a.key).eligible for a in audiences)
        seconds["whole"] = time.perf_counter() - begun
        last = time.perf_counter()
        engine.execute(OVER_OUR_TABLES)
        seconds["by_hand"] = time.perf_counter() - last
        ((simple,),) = engine.execute("SELECT count(*) FROM by_hand").fetchall()
        assert abs(simple - eligible) < eligible / 1000, "they differ only where a yes follows a no within minutes"
    return {"seconds": {name: round(value, 2) for name, value in seconds.items()}, "listed": eligible}


def rules() -> Rules:
    """The rules with their usual limits."""
    everybody = frozenset(ControllerId(c) for c in CONTROLLERS)
    text = ConsentText(
        "text-1",
        datetime(2024, 1, 1, tzinfo=UTC),
        everybody,
        frozenset({Purpose.AD_MATCHING, Purpose.WEB_BEHAVIOUR}),
        frozenset(Recipient),
        frozenset({"ad_user_data", "ad_personalization"}),
    )
    return Rules(
        controllers=everybody,
        recipients=tuple(Recipient),
        texts=(text,),
        sources={"prefs": EventSource.ACCOUNT_PREFS, "checkout": EventSource.CHECKOUT_OPTIN, "banner": EventSource.COOKIE_BANNER},
        irrelevant_purposes=frozenset({"newsletter"}),
        skew=timedelta(minutes=5),
    )


if __name__ == "__main__":
    main()

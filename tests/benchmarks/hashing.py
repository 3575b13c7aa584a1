"""How long addresses take to become digests, beside Google's own formatter, a plain loop, and hashing alone.

    .venv/bin/python -m tests.benchmarks.hashing                          # ten million addresses, about five minutes
    .venv/bin/python -m tests.benchmarks.hashing --addresses 1000000 --runs 3
    .venv/bin/python -m tests.benchmarks.hashing --kernels                # SHA-256 and HMAC-SHA-256, every implementation at hand

The addresses come as they do: a tenth Gmail with dots and tags, one in a hundred not ASCII, white space around one in 25, capitals in one in 20, a
few that are no address. Each side has a process of its own and reads the same file, 65 536 addresses at a time; reading is not counted, nor is
making Python's strings for the sides that loop over them. Prints medians; `--json` prints everything, with the profile of our side.
"""

import argparse
import cProfile
import hashlib
import hmac
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import stringzilla
from google.ads.datamanager_util import Formatter
from google.ads.datamanager_util.format import Encoding

from nestaudience.hashing.addresses import normalise
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.kernel import hmac_column, sha256_column
from nestaudience.hashing.tokens import Tokens
from nestaudience.vocabulary import Recipient
from tests.benchmarks.side_by_side import asked, middle, say, shown

BATCH_ROWS: Final = 65_536
MAKE: Final = """
COPY (SELECT CASE WHEN n % 1000 = 7 THEN 'no.address.' || n WHEN n % 1000 = 17 THEN 'two words' || n || '@example.se'
                  WHEN n % 1000 = 27 THEN 'someone' || n || '@localhost' WHEN n % 1000 = 13 THEN 'anna.berg' || n || '@googlemail.com'
                  WHEN n % 20 = 3 THEN first || '.' || last || h % 10000 || '+shop@gmail.com'
                  WHEN n % 20 = 14 THEN first || '.' || last || h % 10000 || '@gmail.com'
                  WHEN n % 10000 = 104 THEN 'a' || chr(778) || 'sa.' || last || h % 10000 || '@example.se'
                  WHEN n % 100 = 5 THEN 'åsa.öberg' || h % 10000 || '@example.se'
                  WHEN n % 25 = 6 THEN ' ' || first || h % 10000 || '@example.se '
                  WHEN n % 20 = 8 THEN upper(first[1]) || first[2:] || '.' || upper(last[1]) || last[2:] || '@Example' || h % 50 || '.SE'
                  ELSE first || '.' || last || h % 10000 || '@' || ['example.se', 'mail.example.com', 'post.example.nu'][1 + h % 3] END AS email
      FROM (SELECT n, (hash(n + 20261129) >> 2)::BIGINT AS h,
                   ['anna', 'erik', 'karin', 'lars', 'margareta', 'bo', 'christina', 'per'][1 + h % 8] AS first,
                   ['andersson', 'berg', 'lindqvist', 'ek', 'holmstrom', 'nyman'][1 + h // 8 % 6] AS last FROM range($rows) r(n)))
TO '{path}' (FORMAT parquet)
"""
ROWS: Final = {
    "google": "Google's own formatter, digest as text",
    "plain": "`strip().lower()` and `hashlib` in a loop",
    "ours": "ours: to Google's digest",
    "whole": "ours: digests for two recipients, three tokens",
    "floor": "hashing alone: StringZilla, what we use",
    "floor_duckdb": "hashing alone: DuckDB, two threads",
    "floor_hashlib": "hashing alone: `hashlib` in a loop",
}
STEPS: Final = {
    "which are addresses": "ascii_addresses",
    "not ASCII, one by one": "_shared_forms",
    "Gmail's dots and tags": "_gmail_forms",
    "putting the forms together": "_taken",
    "SHA-256": "_sha256_rows",
    "HMAC-SHA-256": "_hmac_rows",
}
TOKENS: Final = Tokens(bytes(32))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of hashing")
    parser.add_argument("--addresses", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kernels", action="store_true", help="compare implementations of the hashes alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        say(partial(SIDES[given.side], given.file))
    elif given.kernels:
        kernels(min(given.addresses, 1_000_000), given.runs, as_json=given.json)
    else:
        beside(given.addresses, given.runs, as_json=given.json)


def beside(addresses: int, runs: int, *, as_json: bool) -> None:
    """Every side in turn, as often as there are runs."""
    with tempfile.TemporaryDirectory(prefix="nestaudience-benchmark-") as folder:
        file = Path(folder) / "addresses.parquet"
        make(file, addresses)
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in ROWS}
        for _ in range(runs):
            for side, said in found.items():
                said.append(asked("hashing", side, "--file", str(file)))
        profile, same = (asked("hashing", side, "--file", str(file)) for side in ("profile", "same"))
    seconds = {side: middle(said, "wall") for side, said in found.items()}
    ratio = {side: round(seconds["google"] / value, 2) for side, value in seconds.items()}
    document = {"addresses": addresses, "runs": found, "times_googles_formatter": ratio, "profile": profile, "same": same["same"]}
    micro = 1e6 / addresses
    rows = [
        (
            name,
            f"{seconds[side] * micro:.3f}",
            f"{middle(found[side], 'cpu') * micro:.3f}",
            ratio[side],
            f"{middle(found[side], 'peak_mb'):.0f}",
        )
        for side, name in ROWS.items()
    ]
    rows += [(f"of `hash_addresses`: {step}", "", "", f"{share:.0%}", "") for step, share in profile["shares"].items()]
    rows += [(f"addresses: {what}", count, "", "", "") for what, count in same["same"].items()]
    shown(document, ("what", "µs an address", "µs of processor", "times as fast as Google's", "peak MB"), rows, as_json=as_json)


def make(file: Path, addresses: int) -> None:
    """The addresses as a file."""
    with duckdb.connect(":memory:", config={"threads": 2}) as engine:
        engine.execute(MAKE.format(path=file).replace("$rows", str(addresses)))


def batches(file: Path) -> Iterator[pa.StringArray]:
    """The addresses as they are read."""
    for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, use_threads=False):
        yield batch.column(0)


def timed(batches: Iterable[Any], work: Callable[[Any], object]) -> dict[str, Any]:
    """Seconds by the clock and of processor that the work takes."""
    wall = cpu = 0.0
    for batch in batches:
        clock, processor = time.perf_counter(), time.process_time()
        work(batch)
        wall, cpu = wall + time.perf_counter() - clock, cpu + time.process_time() - processor
    return {"wall": wall, "cpu": cpu}


def googles(formatter: Formatter, address: str) -> str | None:
    try:
        return str(formatter.process_email_address(address, Encoding.HEX))
    except ValueError:
        return None


def ours(column: pa.StringArray) -> pa.FixedSizeBinaryArray:
    return sha256_column(normalise(Addresses(column)).form(Recipient.GOOGLE).reveal())


def whole(column: pa.StringArray) -> object:
    return hash_addresses(Addresses(column), TOKENS, tuple(Recipient))


def normalised(file: Path) -> Iterator[pa.StringArray]:
    """What is left to be hashed."""
    for column in batches(file):
        yield normalise(Addresses(column)).form(Recipient.GOOGLE).reveal().drop_null()


def lists(columns: Iterable[pa.Array]) -> Iterator[list[Any]]:
    return (column.to_pylist() for column in columns)


def in_duckdb(expression: Any) -> Callable[[pa.Array], object]:
    """A private DuckDB over pieces that its threads share out; the result stays hexadecimal text."""
    engine = duckdb.connect(":memory:", config={"threads": 2})

    def work(column: pa.Array) -> object:
        values = column.cast(pa.binary())
        pieces = [values.slice(start, 16_384) for start in range(0, len(values), 16_384)]
        return engine.from_arrow(pa.table({"x": pa.chunked_array(pieces)})).select(expression.alias("y")).to_arrow_table()

    return work


def call(name: str, *arguments: Any) -> Any:
    return duckdb.FunctionExpression(name, *arguments)


def profile(file: Path) -> dict[str, Any]:
    """Which step of `hash_addresses` takes what share."""
    seen = cProfile.Profile()
    for column in batches(file):
        seen.runcall(whole, column)
    took: Counter[str] = Counter()
    for (_, _, name), (_, _, _, cumulative, _) in pstats.Stats(seen).stats.items():  # type: ignore[attr-defined]
        took[name] += cumulative
    shares = {step: round(took[name] / took["whole"], 3) for step, name in STEPS.items()}
    return {"seconds": took["whole"], "shares": shares | {"everything else": round(1 - sum(shares.values()), 3)}}


def same(file: Path) -> dict[str, Any]:
    """How often our digest is that of Google's formatter."""
    formatter, counts = Formatter(), Counter[str]()
    for column in batches(file):
        mine = [None if digest is None else digest.hex() for digest in ours(column).to_pylist()]
        for one, other in zip(mine, (googles(formatter, address) for address in column.to_pylist()), strict=True):
            words = {
                (True, True): "refused by both",
                (True, False): "refused by us alone",
                (False, True): "refused by Google's alone",
            }
            counts[words.get((one is None, other is None), "the same digest" if one == other else "another digest")] += 1
    return {"same": dict(counts.most_common())}


def plain_loop(addresses: list[str]) -> object:
    return [hashlib.sha256(address.strip().lower().encode()).hexdigest() for address in addresses]


def hashlib_loop(values: list[str]) -> object:
    return [hashlib.sha256(value.encode()).digest() for value in values]


def google_loop(formatter: Formatter, addresses: list[str]) -> object:
    return [googles(formatter, address) for address in addresses]


SIDES: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "google": lambda file: timed(lists(batches(file)), partial(google_loop, Formatter())),
    "plain": lambda file: timed(lists(batches(file)), plain_loop),
    "ours": lambda file: timed(batches(file), ours),
    "whole": lambda file: timed(batches(file), whole),
    "floor": lambda file: timed(normalised(file), sha256_column),
    "floor_duckdb": lambda file: timed(normalised(file), in_duckdb(call("sha256", duckdb.ColumnExpression("x")))),
    "floor_hashlib": lambda file: timed(lists(normalised(file)), hashlib_loop),
    "profile": profile,
    "same": same,
}


def kernels(rows: int, runs: int, *, as_json: bool) -> None:
    """SHA-256 and HMAC-SHA-256 alone, in this process: µs a value by the clock, and of processor."""
    values = pa.array([f"anna.lindqvist{number}@example.se" for number in range(rows)])
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name, both in implementations().items():
        for hashed, work in zip(("sha256", "hmac_sha256"), both, strict=True):
            said = [timed(pieces(values, to_list=name.startswith("hashlib")), work) for _ in range(runs)]
            middles = (middle(said, part) / rows * 1e6 for part in ("wall", "cpu"))
            found.setdefault(name, {})[hashed] = (next(middles), next(middles))
    rows_shown = [
        (name, *(f"{number:.3f}" for hashed in ("sha256", "hmac_sha256") for number in both[hashed]))
        for name, both in found.items()
    ]
    shown(found, ("implementation", "SHA-256, clock", "processor", "HMAC, clock", "processor"), rows_shown, as_json=as_json)


def pieces(values: pa.StringArray, *, to_list: bool) -> Iterator[Any]:
    for start in range(0, len(values), BATCH_ROWS):
        piece = values.slice(start, BATCH_ROWS)
        yield piece.cast(pa.binary()).to_pylist() if to_list else piece


def implementations() -> dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]]:
    """Name -> what hashes a column (or a list), and what makes its HMAC."""
    key, value = b"k" * 32, duckdb.ColumnExpression("x")
    inner, outer = (duckdb.ConstantExpression(bytes(byte ^ pad for byte in key.ljust(64, b"\0"))) for pad in (0x36, 0x5C))
    nested = call("sha256", call("||", outer, call("unhex", call("sha256", call("||", inner, value)))))
    threads = ThreadPoolExecutor(2)

    def digest(one: bytes) -> bytes:
        return hashlib.sha256(one).digest()

    def keyed(one: bytes) -> bytes:
        return hmac.digest(key, one, "sha256")

    made: dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]] = {}
    everything = tuple(stringzilla.__capabilities__)
    for words, width in (
        ("", everything),
        (", SHA instructions", ("serial", "westmere", "goldmont")),
        (", no instructions", ("serial",)),
    ):
        made[f"StringZilla{words}"] = (
            partial(narrowed, width, sha256_column),
            partial(narrowed, width, partial(hmac_column, key)),
        )
    made["DuckDB, two threads"] = (in_duckdb(call("sha256", value)), in_duckdb(nested))
    made["hashlib, one by one"] = (lambda column: list(map(digest, column)), lambda column: list(map(keyed, column)))
    made["hashlib, two threads"] = (lambda column: halves(threads, digest, column), lambda column: halves(threads, keyed, column))
    if find_spec("datafusion") is not None:
        made["DataFusion"] = in_datafusion(key)
    return made


def narrowed(width: tuple[str, ...], work: Callable[[pa.Array], object], column: pa.Array) -> None:
    """Work as on a processor that can do so much only."""
    everything = tuple(stringzilla.__capabilities__)
    stringzilla.reset_capabilities(width)
    work(column)
    stringzilla.reset_capabilities(everything)


def halves(threads: ThreadPoolExecutor, one: Callable[[bytes], bytes], column: list[bytes]) -> object:
    middle_row = len(column) // 2
    return list(threads.map(lambda part: list(map(one, part)), (column[:middle_row], column[middle_row:])))


def in_datafusion(key: bytes) -> tuple[Callable[[Any], object], Callable[[Any], object]]:
    """Where it is installed; it is no dependency."""
    from datafusion import SessionContext, col, functions, lit

    context = SessionContext()
    inner, outer = (lit(bytes(byte ^ pad for byte in key.ljust(64, b"\0"))) for pad in (0x36, 0x5C))

    def over(expression: Any, column: pa.Array) -> object:
        values = column.cast(pa.binary())
        parts = [[pa.record_batch([values.slice(at, 8192)], names=["x"]) for at in range(0, len(values), 8192)]]
        return context.create_dataframe(parts).select(expression.alias("y")).collect()

    once = functions.sha256(col("x"))
    twice = functions.sha256(functions.concat(outer, functions.sha256(functions.concat(inner, col("x")))))
    return partial(over, once), partial(over, twice)


if __name__ == "__main__":
    main()

"""The shape of the code, held by reading it: which room may import which, where a library may be named, who may make what, and house style.

design.md section 4 is the source of the directions. A new room is added to `MAY_IMPORT` with what it needs, and nothing more.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "nestaudience").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
WORDS = {"vocabulary", "errors", "__init__"}
"""Pure words and the version: everybody may use them."""
STORE = {"customers.contract", "customers.port"}
"""What the customer store promises, without an adapter."""

MAY_IMPORT: dict[str, set[str]] = {
    # pure, and pure over columns
    "vocabulary": set(),
    "errors": set(),
    "logs": set(),
    "core_dumps": set(),
    "interrupting": {"errors"},
    "hashing": WORDS,
    "screening": WORDS | STORE | {"hashing"},
    "delta": WORDS | STORE | {"screening", "config.settings", "config.schema", "config.policy"},
    "config": WORDS | {"screening.rules"},
    # ports, then adapters; an adapter knows its own port and no other adapter
    "customers": WORDS | {"hashing.digests"},
    "destinations.port": WORDS | {"hashing.digests"},
    "destinations": WORDS | {"destinations.port"},
    "ledger": WORDS,
    # the path
    "delivery": WORDS
    | STORE
    | {"interrupting", "hashing", "screening", "delta", "ledger", "destinations.port", "config.settings", "config.policy"},
    "feed_facts": WORDS | STORE | {"screening", "delta.feeds", "config.settings"},
    "accepted": WORDS | {"delta", "ledger.entries"},
    "accepting": WORDS | {"config", "delta.approvals", "ledger.entries"},
    "anchoring": WORDS | {"remembering", "ledger", "parts"},
    "jobs": WORDS | {"config.settings"},
    "parts": WORDS | STORE | {"hashing", "screening", "ledger", "destinations.port", "config"},
    "by_hand": WORDS | {"ledger", "parts"},
    "objecting": WORDS | {"by_hand", "remembering", "jobs", "parts", "ledger", "hashing", "screening.engine"},
    "letters": WORDS,
    "rotating": WORDS | {"by_hand", "parts", "ledger"},
    "erasing": WORDS | {"by_hand", "letters", "remembering", "jobs", "parts", "ledger", "hashing", "screening.engine"},
    "retaining": WORDS | {"by_hand", "erasing", "remembering", "parts", "ledger"},
    "remembering": WORDS | {"hashing", "screening", "ledger", "parts"},
    "releasing": WORDS | {"by_hand", "delta", "ledger", "parts", "jobs"},
    "judging": WORDS
    | STORE
    | {
        "accepted",
        "feed_facts",
        "interrupting",
        "hashing",
        "screening",
        "delta",
        "delivery",
        "ledger",
        "config",
        "parts",
        "jobs",
        "releasing",
        "remembering",
        "verdict",
    },
    "verdict": WORDS | {"accepted", "delivery.fields", "delta", "ledger.entries"},
    "bringing": WORDS | {"interrupting", "jobs", "judging", "outcome", "parts", "withdrawals", "delivery", "delta", "ledger"},
    "withdrawals": WORDS
    | STORE
    | {"judging", "screening", "delta", "delivery", "ledger", "config.settings", "parts", "jobs", "remembering"},
    "sync": WORDS
    | {
        "accepted",
        "accepting",
        "anchoring",
        "bringing",
        "verdict",
        "interrupting",
        "judging",
        "withdrawals",
        "lists_anew",
        "small_lists",
        "sweeping",
        "remembering",
        "outcome",
        "hashing",
        "screening",
        "delta",
        "delivery",
        "ledger",
        "config",
        "parts",
        "jobs",
    },
    "sharing": WORDS
    | {
        "bringing",
        "judging",
        "remembering",
        "verdict",
        "outcome",
        "parts",
        "jobs",
        "delivery",
        "delta",
        "ledger",
        "destinations.port",
    },
    "spreading": WORDS | {"sync", "sharing", "judging", "verdict", "outcome", "interrupting", "delta.feeds", "ledger"},
    "transports": WORDS | {"destinations", "config.schema"},
    "stores": WORDS | {"customers", "config.schema", "transports"},
    "wiring": WORDS | {"hashing", "screening", "ledger", "destinations", "config", "parts", "transports", "stores"},
    # what people use
    "due": WORDS | {"config.settings", "config.meta_versions", "delta.approvals"},
    "texts_seen": WORDS | STORE | {"config.schema"},
    "checks": WORDS
    | {"wiring", "parts", "destinations.port", "due", "transports", "config.settings", "delta.approvals", "texts_seen"}
    | {"feed_facts", "delta.feeds", "config.meta_versions", "delivery.accounts", "delivery.lists"},
    "history": WORDS | {"ledger", "audit", "delta.stops", "delta.probing", "delta.feeds"},
    "small_lists": WORDS | {"delivery", "delta", "ledger", "history"},
    "why": WORDS | {"delta"},
    "against": WORDS | {"accepting", "config.schema", "delta", "history"},
    "outcome": WORDS | {"delivery", "delta"},
    "lists_anew": WORDS | {"delivery", "destinations.port", "ledger", "parts"},
    "sweeping": WORDS | {"delivery", "destinations.port", "ledger", "parts"},
    "recovery": WORDS | {"by_hand", "remembering", "sync", "judging", "jobs", "parts", "delivery", "ledger"},
    "status": WORDS
    | {"wiring", "parts", "ledger", "audit", "config", "delivery", "history", "due"}
    | {"delta", "releasing", "small_lists"},
    "alerts": WORDS | {"status", "config", "due"},
    "telling": WORDS | {"alerts", "config.schema", "transports"},
    "watching": WORDS | {"alerts", "telling", "status", "config", "ledger", "parts"},
    "audiences": WORDS | {"status", "config", "ledger", "destinations.port"},
    "preview": WORDS | {"judging", "parts", "jobs", "ledger"},
    "finding": WORDS | STORE | {"hashing"},
    "explaining": WORDS
    | STORE
    | {"by_hand", "finding", "judging", "jobs", "parts", "delivery", "delta.stops", "ledger", "hashing", "screening"}
    | {"remembering"},
    "accessing": WORDS
    | {"audit", "by_hand", "erasing", "explaining", "finding", "hashing", "jobs", "judging", "ledger", "parts"},
    "proving": WORDS | {"accessing", "audit", "by_hand", "erasing", "hashing", "jobs", "ledger", "parts"},
    "sampling": WORDS
    | STORE
    | {"accessing", "audit", "by_hand", "delivery", "explaining", "finding", "hashing", "jobs", "ledger", "parts", "screening"},
    "verifying": WORDS
    | {"audit", "by_hand", "delivery.held", "hashing", "jobs", "judging", "ledger", "parts", "remembering", "screening"},
    "sentences": WORDS | {"screening.tracing"},
    "endings": WORDS | {"interrupting", "sync", "judging", "jobs", "parts", "delivery", "ledger"},
    "unfinished": WORDS | {"parts", "ledger"},
    "audit": WORDS | {"ledger", "hashing"},
    "audit.report": WORDS | {"audit", "ledger", "config", "sentences"},
    "sandbox": WORDS | {"screening.rules", "ledger.keys"},
    "flows": WORDS
    | {
        "retaining",
        "interrupting",
        "withdrawals",
        "watching",
        "judging",
        "sync",
        "wiring",
        "parts",
        "jobs",
        "preview",
        "unfinished",
        "core_dumps",
        "delta.plan",
        "config.settings",
        "config.schema",
        "config.execution",
        "logs",
        "ledger.lease",
        "sharing",
        "spreading",
        "verdict",
    },
    "cli": {"*"},
    "__main__": {"cli"},
    "__init__": set(),
}
LIBRARIES = {
    "prefect": {"flows/*.py"},
    "prefect_dask": {"flows/cluster.py", "flows/spread.py"},
    "distributed": {"flows/cluster.py", "flows/spread.py"},
    "google": {"nestaudience/destinations/google_*.py", "nestaudience/sandbox/*.py"},
    "grpc": {"nestaudience/destinations/google_*.py", "nestaudience/sandbox/*.py"},
    "grpc_status": {"nestaudience/destinations/google_*.py", "nestaudience/sandbox/*.py"},
    "httpx": {"nestaudience/telling.py"},
    "jinja2": {"nestaudience/audit/report/page.py"},
    "facebook_business": {"nestaudience/destinations/meta_wire.py"},
    "requests": {"nestaudience/destinations/meta_wire.py"},
    "duckdb": {
        "nestaudience/customers/parquet_asked.py",
        "nestaudience/screening/engine.py",
        "nestaudience/screening/intake.py",
        "nestaudience/screening/screen.py",
        "nestaudience/delta/plan.py",
        "nestaudience/delivery/last_look.py",
        "nestaudience/delivery/salts.py",
    },
    "stringzilla": {"nestaudience/hashing/kernel.py"},
    "adbc_driver_sqlite": {"nestaudience/customers/sqlite.py", "nestaudience/sandbox/world.py"},
    "adbc_driver_postgresql": {"nestaudience/customers/postgres.py"},
    "psycopg": {"nestaudience/ledger/on_postgres.py"},
    "adbc_driver_manager": {"nestaudience/customers/*.py"},
    "sqlalchemy": {
        "nestaudience/ledger/**.py",
        "nestaudience/delivery/*.py",
        "nestaudience/audit/verify.py",
        "nestaudience/audit/persons.py",
    }
    | {"nestaudience/parts.py", "nestaudience/wiring.py"},
    "alembic": {"nestaudience/ledger/**.py"},
    "cryptography": {
        "nestaudience/audit/second_verifier.py",
        "nestaudience/ledger/*.py",
        "nestaudience/hashing/sealing.py",
        "nestaudience/sandbox/certificates.py",
    },
    "pandas": {"nestaudience/audit/*.py", "nestaudience/cli/*.py"},
    "typer": {"nestaudience/cli/*.py"},
    "rich": {"nestaudience/cli/*.py"},
}
"""A library -> the only files that may name it. `sqlite3` is Python's own and is the ledger's engine."""

MADE_ONLY_IN = {
    "Batch": {"nestaudience/delivery/requests.py", "nestaudience/delivery/opting_out.py"},
    "Screened": {"nestaudience/screening/screen.py"},
    "Delta": {"nestaudience/delta/plan.py"},
    "Addresses": {"nestaudience/customers/sheets.py", "nestaudience/hashing/digests.py", "nestaudience/hashing/addresses.py"}
    | {"nestaudience/cli/person.py"},
    "Digests": {
        "nestaudience/hashing/digests.py",
        "nestaudience/hashing/columns.py",
        "nestaudience/hashing/sealing.py",
        "nestaudience/screening/intake.py",
        "nestaudience/delivery/held.py",
    },
}
"""A type of the path -> the only files that may build one: what one step accepts, only the step before it makes."""
KEYS_ARE_REVEALED_IN = {
    "nestaudience/objecting.py",
    "nestaudience/erasing.py",
    "nestaudience/accessing.py",
    "nestaudience/audit/memberships.py",
    "nestaudience/verifying.py",
    "nestaudience/remembering.py",
    "nestaudience/wiring.py",
    "nestaudience/delivery/*.py",
}
"""Keys have a `reveal` of their own. Outside their own file and `hashing` these files may call it, on something that is named a key."""
FENCES = {
    "flows/fence.py": 1,
    "nestaudience/cli/options.py": 1,
    "nestaudience/destinations/google_ads.py": 1,
    "nestaudience/destinations/google_data_manager.py": 1,
    "nestaudience/destinations/meta_wire.py": 1,
}
"""Where everything is caught, and how often: each turns what it caught into a code."""
LONGEST_FILE, LONGEST_FUNCTION, LONG_FUNCTION = 420, 60, 40
ONE_FILE = {"nestaudience/audit/second_verifier.py": 610}
"""A program that must be one file, because an auditor takes it away and reads the whole of it, and how long it may be."""
TOO_LONG: dict[str, int] = {}
"""Functions over the limit that wait to be divided, with their length. It may only shrink."""
LONG: set[str] = set()
"""Functions of more than 40 lines that are there today. It may only shrink."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_of(path: Path) -> str:
    """`customers.sqlite`, `flows.nightly`, `__init__`: the dotted name inside the package, a package by its own name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "flows" else parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in the file, with the line. Names that are modules themselves count as such."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports by dots"
            for alias in node.names:
                below = ROOT.joinpath(*f"{node.module}.{alias.name}".split("."))
                is_module = below.with_suffix(".py").exists() or (below / "__init__.py").exists()
                yield (f"{node.module}.{alias.name}" if is_module else str(node.module)), node.lineno


def room_of(module: str) -> str:
    """The entry of `MAY_IMPORT` that speaks for a module: the longest that fits."""
    fitting = [room for room in MAY_IMPORT if module == room or module.startswith(room + ".")]
    assert fitting, f"{module} has no entry in MAY_IMPORT: say what it may use"
    return max(fitting, key=len)


def test_imports_run_one_way() -> None:
    wrong = []
    for path in SOURCES:
        module = module_of(path)
        room = room_of(module)
        for target, line in imported(path):
            first, _, rest = target.partition(".")
            if first not in {"nestaudience", "flows"}:
                continue
            inside = f"flows.{rest}".rstrip(".") if first == "flows" else rest or "__init__"
            own = room_of(inside) == room
            allowed = MAY_IMPORT[room]
            if not own and "*" not in allowed and not any(inside == may or inside.startswith(may + ".") for may in allowed):
                wrong.append(f"{name_of(path)}:{line} imports {target}")
    assert wrong == []


def test_adapters_never_import_each_other() -> None:
    """Files of one destination share its name's first word; a store's adapter likewise. The printed contract is no adapter."""
    shared = {"port", "remedies", "contract", "__init__", "sheets", "comparing", "reading_sql", "adbc_session"}
    for room in ("destinations", "customers"):
        for path in (ROOT / "nestaudience" / room).glob("*.py"):
            family = path.stem.partition("_")[0]
            for target, line in imported(path):
                other = target.removeprefix(f"nestaudience.{room}.")
                if other != target and path.stem != "__init__" and (path.stem, other) != ("ddl", "sqlite_sql"):
                    assert other in shared or other.partition("_")[0] == family, f"{name_of(path)}:{line} imports {target}"


def test_libraries_stay_in_their_rooms() -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {target}"
        for path in SOURCES
        for target, line in imported(path)
        if (allowed := LIBRARIES.get(target.partition(".")[0])) is not None
        and not any(fnmatch(name_of(path), pattern) for pattern in allowed)
    ]
    assert wrong == []


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def test_each_step_alone_makes_what_the_next_accepts() -> None:
    wrong = [
        f"{name_of(path)}:{call.lineno} builds {made}"
        for path in SOURCES
        for call in calls(path)
        if (made := called(call)) in MADE_ONLY_IN and name_of(path) not in MADE_ONLY_IN[made]
    ]
    assert wrong == []


def called(call: ast.Call) -> str:
    """The last name of what is called: `Batch` in `port.Batch(...)`."""
    target = call.func
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def test_addresses_are_revealed_in_the_hashing_room_only() -> None:
    for path in SOURCES:
        for call in calls(path):
            if called(call) != "reveal" or name_of(path).startswith(("nestaudience/hashing/", "nestaudience/ledger/keys.py")):
                continue
            place = f"{name_of(path)}:{call.lineno} {ast.unparse(call)}"
            assert any(fnmatch(name_of(path), pattern) for pattern in KEYS_ARE_REVEALED_IN), place
            assert re.search(r"key", ast.unparse(call.func)), f"{place}: this is no key"


def test_everything_is_caught_only_at_the_fences() -> None:
    found: dict[str, int] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type is not None else "BaseException"
                if re.search(r"\b(Base)?Exception\b", caught):
                    found[name_of(path)] = found.get(name_of(path), 0) + 1
    assert found == FENCES


def test_files_and_functions_stay_short() -> None:
    long = set()
    for path in SOURCES:
        assert len(path.read_text("utf-8").splitlines()) <= ONE_FILE.get(name_of(path), LONGEST_FILE), name_of(path)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "/versions/" not in name_of(
                path
            ):  # migrations never change
                lines = (node.end_lineno or 0) - node.lineno + 1
                longest = TOO_LONG.get(f"{name_of(path)}: {node.name}", LONGEST_FUNCTION)
                assert lines <= longest, f"{name_of(path)}: {node.name} has {lines} lines"
                if lines > LONG_FUNCTION:
                    long.add(f"{name_of(path)}: {node.name}")
    assert long <= LONG, f"new long functions: {sorted(long - LONG)}"
    assert long >= LONG, f"no longer long, take them off the list: {sorted(LONG - long)}"


def test_the_engine_is_asked_where_its_own_words_are_dropped() -> None:
    """What DuckDB says when it fails could quote a value: `ask`, `fetch` and `run_file` are the only ways to it on the path."""
    rooms = ("nestaudience/screening/", "nestaudience/delta/", "nestaudience/delivery/")
    bare = {
        name_of(path)
        for path in SOURCES
        if name_of(path).startswith(rooms)
        for call in calls(path)
        if called(call) in {"execute", "executemany", "sql"}
    }
    assert bare == {"nestaudience/screening/engine.py"}


def test_nothing_prints() -> None:
    assert [
        name_of(path) for path in SOURCES for call in calls(path) if isinstance(call.func, ast.Name) and call.func.id == "print"
    ] == []


def test_names_say_something() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "core", "manager", "managers", "base", "misc", "lib"}
    assert [name_of(path) for path in SOURCES if empty & {path.stem, *path.relative_to(ROOT).parts}] == []


def test_everything_public_is_described() -> None:
    bare = []
    for path in SOURCES:
        if "/versions/" in name_of(path):
            continue  # a migration is described by its module
        if not ast.get_docstring(tree(path)):
            bare.append(name_of(path))
        bare += [f"{name_of(path)}:{line} {name}" for name, line in undescribed(tree(path))]
    assert bare == []


def undescribed(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Public functions and classes at the top of a module, and public methods, that have no docstring."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not each.name.startswith("_"):
            if not ast.get_docstring(each):
                yield each.name, each.lineno
            if isinstance(each, ast.ClassDef):
                yield from undescribed(each)


def test_every_data_file_is_packaged() -> None:
    """What the code reads beside itself must be in the wheel: SQL, and the sandbox's description."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["nestaudience"]
    package = ROOT / "nestaudience"
    data = [path for path in package.rglob("*") if path.suffix in {".sql", ".md", ".toml", ".yml", ".json", ".html", ".css"}]
    assert any(path.suffix == ".sql" for path in data)
    left_out = [name for path in data if not any(fnmatch(name := path.relative_to(package).as_posix(), p) for p in patterns)]
    assert left_out == []


def test_tests_of_the_ledger_run_on_both_databases() -> None:
    """They ask for `place` or `ledger`, and reach around the ledger with `places`. What is about one database says so by its name."""
    about_one = {"test_on_sqlite.py", "test_on_postgres.py", "places.py", "conftest.py"} | {"test_migrate.py"}  # a file's backup
    wrong = [
        f"{path.name}:{line} imports {module}"
        for path in (ROOT / "tests" / "ledger").glob("*.py")
        for module, line in imported(path)
        if module.partition(".")[0] in {"sqlite3", "psycopg"} and path.name not in about_one
    ]
    wrong += [
        f"{path.name}:{call.lineno} builds a ledger without a place"
        for path in (ROOT / "tests" / "ledger").glob("test_*.py")
        for call in calls(path)
        if called(call) == "BuiltLedger" and "place" not in {word.arg for word in call.keywords} and path.name not in about_one
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}, key=str), ids=name_of)
def test_every_folder_of_code_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").exists()

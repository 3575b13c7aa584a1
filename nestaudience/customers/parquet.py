"""The customer store as a directory of Parquet files: `account.parquet` or `account/*.parquet`, and so on for each view.

The files of a snapshot are named once, when it is opened; they must not change, and one that does ends the read. Each is streamed in
batches, made the port's text and moments, and filtered; the address of a row that may not be read is gone before a sheet leaves. Memory
holds a batch, and the account ids of the people whose address may be read. It never writes. How a store is compared with the contract:
`parquet_check`.

There is no index: a read by account goes through the whole view.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nestaudience.customers.contract import ACCOUNT, VIEWS, View
from nestaudience.customers.parquet_asked import SAID, have_spoken
from nestaudience.customers.parquet_check import compare, unusable
from nestaudience.customers.parquet_text import as_moments, as_text, is_moment
from nestaudience.customers.port import MOMENT, PEOPLE_VIEWS, Sheet, StoreProblem
from nestaudience.customers.sheets import (
    BATCH_ROWS,
    CLOCK_OF,
    MINOR_YEARS,
    READABLE_TIME,
    missing,
    names_of,
    refuse_misuse,
    sealed,
    valid_text,
)
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain

_FAILURES: Final = (pa.ArrowException, OSError)
_NONE: Final = pa.scalar(None, pa.string())


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it was when the snapshot was opened."""

    path: Path
    stamp: tuple[int, int, int]
    schema: Any


class ParquetStore:
    """A directory of Parquet files that hold the contract's views.

    `irrelevant_purposes` are the consents that the configuration names as known and irrelevant: their withdrawal is no reason to read an
    address.
    """

    def __init__(self, path: str | Path, *, irrelevant_purposes: frozenset[str] = frozenset()) -> None:
        self._path = Path(path)
        self._irrelevant = irrelevant_purposes

    @contextmanager
    def snapshot(self, *, live: bool = False) -> Iterator["ParquetSnapshot"]:
        """The files that are there now; files that come later are not seen. Files are always read as they are.

        Raises `NeedsFix` (`store_missing`, `store_layout`, `store_unreadable`), `TryAgain` (`store_changed`).
        """
        if not self._path.is_dir():
            raise NeedsFix("store_missing", "store.path", "name the directory that holds the views' Parquet files")
        yield ParquetSnapshot(_files(self._path), self._irrelevant)

    def check(self) -> tuple[StoreProblem, ...]:
        """Every view compared with the contract, in one pass each. Raises as `snapshot` does."""
        with self.snapshot() as snapshot:
            found = [problem for problem in snapshot.problems if problem.code != "wrong_type"]
            return (*found, *compare(snapshot.schemas, snapshot.texts))


class ParquetSnapshot:
    """The files as they stood when the snapshot was opened. `problems` names views and columns that are missing or have no spelling as text."""

    def __init__(self, files: Mapping[str, tuple[_File, ...]], irrelevant: frozenset[str]) -> None:
        self._files = files
        self._irrelevant = irrelevant
        self.schemas = {view: tuple(file.schema for file in found) for view, found in files.items()}
        self.problems = (*missing(_present(self.schemas)), *unusable(self.schemas))

    def read(
        self,
        view: View,
        *,
        accounts: pa.StringArray | None = None,
        noes_since: datetime | None = None,
        grants_too: bool = False,
        segments: frozenset[tuple[str, str]] | None = None,
        now: datetime | None = None,
    ) -> Iterator[Sheet]:
        """Stream a view in stretches of at most 65 536 rows. See `Snapshot.read`."""
        refuse_misuse(view, accounts, noes_since, segments, now)
        if view.name not in self._files or segments == frozenset():
            return iter(())
        ids = None if accounts is None else pc.drop_null(pc.unique(accounts))
        whole = self._people(ids, now) if now is not None else self._columns(view, view.names, _moments(self.schemas, view))
        late = None if noes_since is None else (noes_since, grants_too)
        return self._sheets(view, whole, ids, late, segments)

    def server_time(self) -> datetime | None:
        """None: files have no clock of their own."""
        return None

    def _sheets(
        self,
        view: View,
        whole: Iterator[pa.RecordBatch],
        ids: pa.StringArray | None,
        late: tuple[datetime, bool] | None,
        segments: frozenset[tuple[str, str]] | None,
    ) -> Iterator[Sheet]:
        for batch in whole:
            part = batch
            if ids is not None:
                part = _of_accounts(part, ids)
            if late is not None:
                part = part.filter(_late(view, part, *late))
            if segments is not None:
                part = part.filter(_in_segments(part, segments))
            if part.num_rows:
                yield sealed(view, names_of(view), part)

    def texts(self, view: View, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of a view, all text, in the files' order; a column that a file does not have is null. The address is among them."""
        return self._columns(view, names, frozenset())

    def _columns(self, view: View, names: Sequence[str], moments: frozenset[str]) -> Iterator[pa.RecordBatch]:
        for file in self._files[view.name]:
            for batch in _batches(file, [name for name in names if name in file.schema.names]):
                nothing = pa.nulls(batch.num_rows)
                found = [(name, batch.column(name) if name in batch.schema.names else nothing) for name in names]
                columns = [as_moments(column) if name in moments else as_text(column) for name, column in found]
                yield valid_text(pa.RecordBatch.from_arrays(columns, names=list(names)))

    def _people(self, ids: pa.StringArray | None, now: datetime) -> Iterator[pa.RecordBatch]:
        """`account` with `email_read`, and no address where it is `0`. Who asked is looked up once, for the whole view."""
        asked = have_spoken(self._account_ids(), self._said(ids), self._irrelevant)
        first, place = now.astimezone(UTC).year - MINOR_YEARS, 0
        for batch in self._columns(ACCOUNT, ACCOUNT.names, _moments(self.schemas, ACCOUNT)):
            may = pc.or_(_own_reason(batch, first), asked.slice(place, batch.num_rows))
            place += batch.num_rows
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns["email"] = pc.if_else(may, columns["email"], _NONE)
            yield pa.RecordBatch.from_arrays([*columns.values(), pc.if_else(may, "1", "0")], names=list(names_of(ACCOUNT)))

    def _account_ids(self) -> pa.ChunkedArray:
        return pa.chunked_array([batch.column(0) for batch in self.texts(ACCOUNT, ("account_id",))], pa.string())

    def _said(self, ids: pa.StringArray | None) -> dict[str, Iterator[pa.RecordBatch]]:
        """What was said, or what these accounts said: the columns of `SAID`."""
        views = [view for view in VIEWS if view.name in SAID and view.name in self._files]
        whole = {view.name: self.texts(view, SAID[view.name]) for view in views}
        if ids is None:
            return whole
        return {view: (_of_accounts(batch, ids) for batch in batches) for view, batches in whole.items()}


def _of_accounts(batch: pa.RecordBatch, ids: pa.StringArray) -> pa.RecordBatch:
    return batch.filter(pc.is_in(batch.column("account_id"), value_set=ids))


def _true(condition: Any) -> Any:
    return pc.fill_null(condition, False)  # noqa: FBT003 - a value, not a switch


def _own_reason(batch: pa.RecordBatch, first: int) -> Any:
    """Why an account row alone allows to read its address: a minor, or a protected person."""
    year = batch.column("birth_year")
    short = _true(pc.match_substring_regex(year, "^[0-9]{1,18}$"))
    endless = pc.and_(_true(pc.match_substring_regex(year, "^[0-9]+$")), pc.invert(short))
    born = _true(pc.greater_equal(pc.if_else(short, year, _NONE).cast(pa.int64()), first))
    return pc.or_(_true(pc.equal(batch.column("protected"), "1")), pc.or_(born, endless))


def _late(view: View, batch: pa.RecordBatch, since: datetime, grants_too: bool) -> Any:  # noqa: FBT001 - the port's own word
    """Rows that may hold a new no, or anything new. Seconds decide, rounded down: a few rows too many, never one too few."""
    clock = batch.column(CLOCK_OF[view.name])
    second = since.astimezone(UTC).replace(microsecond=0)
    if clock.type == MOMENT:
        old = _true(pc.less(clock, pa.scalar(second, MOMENT)))
    else:
        readable = _true(pc.match_substring_regex(clock, READABLE_TIME))
        old = pc.and_(readable, _true(pc.less(pc.utf8_slice_codeunits(clock, 0, 19), second.strftime("%Y-%m-%dT%H:%M:%S"))))
    yes = {"consent_event": ["grant"], "rights_event": ["lift_objection", "unrestrict"]}.get(view.name)
    if yes is None or grants_too:
        return pc.invert(old)
    return pc.invert(pc.or_(old, pc.is_in(batch.column("action"), value_set=pa.array(yes))))


def _in_segments(batch: pa.RecordBatch, segments: frozenset[tuple[str, str]]) -> Any:
    chosen = pa.repeat(pa.scalar(value=False), batch.num_rows)
    for controller, code in sorted(segments):
        both = pc.and_(pc.equal(batch.column("controller_id"), controller), pc.equal(batch.column("segment_code"), code))
        chosen = pc.or_(chosen, _true(both))
    return chosen


def _moments(schemas: Mapping[str, tuple[Any, ...]], view: View) -> frozenset[str]:
    """The columns that cross as moments: times that every file of the view which has them keeps as such."""
    found = set()
    for column in view.columns:
        if column.kind == "time" and view.name in PEOPLE_VIEWS:
            kinds = [schema.field(column.name).type for schema in schemas[view.name] if column.name in schema.names]
            known = [kind for kind in kinds if not pa.types.is_null(kind)]
            if known and all(is_moment(kind) for kind in known):
                found.add(column.name)
    return frozenset(found)


def _present(schemas: Mapping[str, tuple[Any, ...]]) -> dict[str, dict[str, str]]:
    """The columns that every file of a view has."""
    every = {view: set.intersection(*(set(schema.names) for schema in found)) for view, found in schemas.items()}
    return {view: dict.fromkeys(names, "") for view, names in every.items()}


def _files(folder: Path) -> dict[str, tuple[_File, ...]]:
    """The files of every view that has some."""
    failed = False
    try:
        paths = {view.name: _paths(folder, view.name) for view in VIEWS}
    except OSError:
        failed = True
    if failed:
        raise NeedsFix("store_unreadable", "store.path", "let this user list the directory and its folders")
    return {view: tuple(_opened(path) for path in found) for view, found in paths.items() if found}


def _paths(folder: Path, view: str) -> list[Path]:
    """The files of one view. Raises `NeedsFix` where some of its rows could be overlooked."""
    single, many = folder / f"{view}.parquet", folder / view
    inside = [path for path in sorted(many.iterdir()) if not path.name.startswith((".", "_"))] if many.is_dir() else []
    if inside and single.exists():
        raise NeedsFix("store_layout", view, "keep the view as one file or as one folder, not both")
    if any(path.suffix != ".parquet" or path.is_dir() for path in inside):
        raise NeedsFix("store_layout", view, "put nothing but files named *.parquet into the view's folder, and no folders")
    if single.is_dir():
        raise NeedsFix("store_layout", view, f"name the folder {view}, not {view}.parquet")
    return inside or ([single] if single.exists() else [])


def _opened(path: Path) -> _File:
    failure: NestAudienceError | None = None
    try:
        with pq.ParquetFile(path) as file:
            return _File(path, _stamp(path), file.schema_arrow)
    except _FAILURES:
        failure = NeedsFix("store_unreadable", path.parent.name + "/" + path.name, "write the file anew; it is no intact Parquet")
    raise failure


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _batches(file: _File, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The file's batches. Raises `TryAgain` when it is no longer the file of the snapshot."""
    failed = False
    try:
        with pq.ParquetFile(file.path, pre_buffer=False) as opened:  # read ahead, it would keep what it has read
            yield from opened.iter_batches(BATCH_ROWS, columns=names)
    except _FAILURES:
        failed = True
    if _changed(file):
        raise TryAgain("store_changed", "store.path", "let the export finish and change no file in place; run again", after=60.0)
    if failed:
        raise NeedsFix("store_unreadable", "store.path", "write the view's files anew; one is no intact Parquet")


def _changed(file: _File) -> bool:
    try:
        return _stamp(file.path) != file.stamp
    except OSError:
        return True

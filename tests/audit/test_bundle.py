"""The bundle: whole, signed, the same numbers in every form, and verified where nothing of the package can be imported."""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import cryptography
import pandas as pd
import pyarrow.parquet as pq
import pytest
from bundles import read_back
from ledger_builder import ORIGIN, START, BuiltLedger, context
from typer.testing import CliRunner

from nestaudience.audit import FRAMES
from nestaudience.audit.bundle import export
from nestaudience.audit.columns import Filters
from nestaudience.audit.files import csv_text, suppressed
from nestaudience.audit.frames import TRANSFER_COLUMNS
from nestaudience.audit.small import LEAST, hidden
from nestaudience.audit.verify import verify, verify_evidence
from nestaudience.cli import app
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.checkpoint import Verifier, open_note
from nestaudience.ledger.entries import EntryType
from nestaudience.wiring import Evidence, open_evidence, open_signer

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def evidence(two_nights: Any) -> Iterator[Evidence]:
    opened = open_evidence(two_nights.world.config, two_nights.world.clock.now, read_only=True)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="module")
def bundle(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "bundle"
    made = export(evidence.reader, open_signer(evidence), folder, now=NOW, version="test")
    assert (made.entries, made.path) == (evidence.reader.count(), folder)
    return folder


@pytest.fixture
def taken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "taken"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which `cryptography` can be imported, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    site = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", "cffi", *(each.name for each in site.glob("_cffi_backend*"))):
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


def verified(folder: Path, bare: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """What the bundle's own verifier says, in a Python that has no package but one."""
    code = f"import sys, runpy; sys.path.append({str(bare)!r})\n"
    code += "try:\n import nestaudience\nexcept ImportError: pass\nelse: sys.exit(9)\n"
    code += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = folder / "verify.py" if folder.is_dir() else bare / "verify.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(script), str(folder), "--json", *words],
        cwd=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {"said": done.stdout + done.stderr}


def codes(found: dict[str, Any]) -> set[str]:
    return {code for _, code in found["problems"]}


def test_a_bundle_is_verified_with_nothing_of_the_package_installed(bundle: Path, bare: Path, evidence: Evidence) -> None:
    code, found = verified(bundle, bare)
    assert (code, found["problems"]) == (0, [])
    assert found["entries"] == found["sealed"] == evidence.reader.count()
    assert found["keys_from_bundle"] is True
    mine = verify(evidence.engine, open_signer(evidence).verifiers)
    assert (found["root"], found["checkpoints"]) == (mine.root.hex(), mine.checkpoints)


def test_the_package_verifies_what_was_exported(bundle: Path, evidence: Evidence) -> None:
    again = verify_evidence(read_back(bundle), open_signer(evidence).verifiers)
    assert again == verify(evidence.engine, open_signer(evidence).verifiers)


def test_the_manifest_names_every_file(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {each["path"] for each in manifest["files"]} == there - {"manifest.json", "manifest.note"}
    for each in manifest["files"]:
        data = (bundle / each["path"]).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (each["size"], each["sha256"])
    assert all(name in there for name in ("README.txt", "verify.py", "verifier-keys.txt", "columns.json"))


def test_what_is_signed_can_never_be_taken_for_a_checkpoint(bundle: Path, evidence: Evidence) -> None:
    note = (bundle / "manifest.note").read_text("utf-8")
    for verifiers in (
        open_signer(evidence).verifiers,
        [Verifier(f"{each.name}/bundle", each.public) for each in open_signer(evidence).verifiers],
    ):
        with pytest.raises(MustStop, match="note_malformed"):
            open_note(note, verifiers)
    with pytest.raises(ValueError, match="32 bytes"):
        open_signer(evidence).sign_manifest(b"anything else")


def test_the_same_numbers_stand_in_every_form(bundle: Path) -> None:
    meanings = json.loads((bundle / "columns.json").read_text("utf-8"))
    assert set(meanings) == set(FRAMES)
    for name in FRAMES:
        stem = bundle / "frames" / name
        table = pq.read_table(f"{stem}.parquet")
        rows = json.loads(stem.with_suffix(".json").read_text("utf-8"))
        raw = stem.with_suffix(".csv").read_bytes()
        assert raw.startswith(b"\xef\xbb\xbf")
        with stem.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter=";"))
        assert lines[0] == table.column_names == list(meanings[name])
        assert len(lines) - 1 == table.num_rows == len(rows)
        for line, plain, row in zip(lines[1:], rows, table.to_pylist(), strict=True):
            assert line == [as_csv(value) for value in plain.values()]
            numbers = {key: value for key, value in row.items() if not isinstance(value, datetime | date)}
            assert numbers == {key: plain[key] for key in numbers}


def as_csv(value: Any) -> str:
    if value is None:
        return ""
    return (
        {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else csv_text(value)
        if isinstance(value, str)
        else str(value)
    )


def test_small_counts_of_people_are_not_named_and_the_evidence_is_whole(bundle: Path, evidence: Evidence) -> None:
    raw = FRAMES["batches"].make(evidence.reader.entries(), Filters(), NOW)
    rows = json.loads((bundle / "frames" / "batches.json").read_text("utf-8"))
    small = 0
    for before, after in zip(raw.to_dict("records"), rows, strict=True):
        if 0 < before["people"] < LEAST:
            small += 1
            assert after["people"] is None
            assert "people" in after["under_10"].split()
        else:
            assert after["people"] == before["people"]
        assert after["number"] == before["number"]  # a place is no count
    assert small > 0
    bodies = [body for _, body, _ in evidence.reader.bodies()]
    assert (bundle / "log" / "entries.jsonl").read_bytes() == b"".join(body + b"\n" for body in bodies)
    for name in FRAMES:
        for row in json.loads((bundle / "frames" / f"{name}.json").read_text("utf-8")):
            assert row.get("people") is None or row["people"] == 0 or row["people"] >= LEAST


def rows_of_frame(bundle: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((bundle / "frames" / f"{name}.json").read_text("utf-8"))
    return rows


def test_no_sum_gives_a_small_count_back(bundle: Path) -> None:
    """Whoever subtracts what is shown from a sum that is exact is left with nobody, never with a few."""
    requests, funnels = rows_of_frame(bundle, "batches"), rows_of_frame(bundle, "funnel")
    exact = 0
    for row in rows_of_frame(bundle, "transfers"):
        mine = [each for each in requests if each["transfer_id"] == row["transfer_id"] and not each["late"]]
        of_requests = {o: [each["people"] for each in mine if each["outcome"] == o] for o in ("accepted", "refused", "unknown")}
        for outcome, people in of_requests.items():
            if row[outcome] is not None and outcome not in row["in_tens"].split():
                assert row[outcome] - sum(each or 0 for each in people) == 0
                exact += row[outcome] > 0
        parts = [row[name] for name in of_requests]
        if row["sent"] is not None and "sent" not in row["in_tens"].split():
            assert not hidden(abs(row["sent"] - sum(each or 0 for each in parts)))
        assert row["planned"] in (None, 0) or row["planned"] % 10 == 0
    assert exact > 0
    for row in funnels:
        mine = [each["people"] or 0 for each in funnels if (each["run_id"], each["audience"]) == (row["run_id"], row["audience"])]
        if row["candidates"] is not None and "candidates" not in row["in_tens"].split():
            assert row["candidates"] == sum(mine)
    for row in rows_of_frame(bundle, "nights"):
        assert all(row[name] in (None, 0) or row[name] % 10 == 0 for name in ("additions", "removals", "unknown"))


@pytest.mark.parametrize(
    ("counts", "apart", "shown", "in_tens"),
    [
        ((10_005, 10_005, 0, 0), True, (10_010, 10_010, 0, 0), "sent accepted"),  # of two requests one names five
        ((10_020, 10_020, 0, 0), False, (10_020, 10_020, 0, 0), ""),
        ((10_003, 10_000, 3, 0), False, (10_000, 10_000, None, 0), "sent"),
        ((7, 7, 0, 0), True, (None, None, 0, 0), ""),
    ],
)
def test_what_would_give_a_few_away_is_in_tens(
    counts: tuple[int, ...], apart: bool, shown: tuple[int | None, ...], in_tens: str
) -> None:
    columns = {
        name: TRANSFER_COLUMNS[name] for name in ("transfer_id", "sent", "accepted", "refused", "unknown", "late_removals")
    }
    frame = pd.DataFrame([dict(zip(columns, ("t", *counts, 0), strict=True))])
    (row,) = suppressed("transfers", frame, columns, frozenset({"t"} if apart else ())).to_pylist()
    assert tuple(row[name] for name in ("sent", "accepted", "refused", "unknown")) == shown
    assert row["in_tens"] == in_tens


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+46", "'+46"),
        ("-1", "'-1"),
        ("@a", "'@a"),
        ("120210000000000005", "'120210000000000005"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_spreadsheet_calculates_and_rounds_nothing(text: str, cell: str) -> None:
    assert csv_text(text) == cell


def test_a_zip_says_the_same(evidence: Evidence, tmp_path: Path, bare: Path, bundle: Path) -> None:
    packed = tmp_path / "bundle.zip"
    export(evidence.reader, open_signer(evidence), packed, now=NOW, version="test")
    shutil.copy(bundle / "verify.py", bare / "verify.py")
    code, found = verified(packed, bare)
    assert (code, found["problems"]) == (0, [])
    with zipfile.ZipFile(packed) as archive:
        assert archive.read("log/entries.jsonl") == (bundle / "log" / "entries.jsonl").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]


def test_nothing_is_overwritten_and_a_failed_export_leaves_nothing(evidence: Evidence, tmp_path: Path) -> None:
    signer = open_signer(evidence)
    (tmp_path / "there").mkdir()
    with pytest.raises(NeedsFix, match="export_exists"):
        export(evidence.reader, signer, tmp_path / "there", now=NOW, version="test")

    def ended(step: str, what: str, more: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(evidence.reader, signer, tmp_path / "new", now=NOW, version="test", note=ended)
    (tmp_path / "file").write_text("")
    with pytest.raises(NeedsFix, match="export_unwritable"):
        export(evidence.reader, signer, tmp_path / "file" / "new", now=NOW, version="test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def test_a_period_chooses_rows_of_tables_and_never_of_the_log(
    evidence: Evidence, tmp_path: Path, bundle: Path, bare: Path
) -> None:
    folder = tmp_path / "b"
    export(
        evidence.reader,
        open_signer(evidence),
        folder,
        now=NOW,
        version="test",
        filters=Filters(first=date(2001, 1, 1), last=date(2001, 1, 2)),
    )
    assert json.loads((folder / "frames" / "transfers.json").read_text()) == []
    assert (folder / "log" / "entries.jsonl").read_bytes() == (bundle / "log" / "entries.jsonl").read_bytes()
    assert "2001-01-01" in (folder / "README.txt").read_text("utf-8")
    assert verified(folder, bare)[0] == 0


# -- five ways of tampering with a bundle, each found without the package


def lines_of(taken: Path) -> list[bytes]:
    return (taken / "log" / "entries.jsonl").read_bytes().split(b"\n")[:-1]


def put(taken: Path, lines: list[bytes]) -> None:
    (taken / "log" / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (taken / "log" / "leaves.bin").write_bytes(b"".join(sha256(b"\0" + line).digest() for line in lines))


def test_a_changed_count_is_found_at_its_entry(taken: Path, bare: Path) -> None:
    lines = lines_of(taken)
    place = next(number for number, line in enumerate(lines) if b'"planned_additions":' in line)
    lines[place] = lines[place].replace(b'"planned_additions":', b'"planned_additions":1', 1)
    (taken / "log" / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    code, found = verified(taken, bare)
    assert code == 5
    assert found["first_bad_entry"] == place
    assert {"leaf_wrong", "file_not_as_listed:log/entries.jsonl"} <= codes(found)


def test_an_entry_that_was_taken_out_is_found(taken: Path, bare: Path) -> None:
    lines = lines_of(taken)
    place = next(number for number, line in enumerate(lines) if b'"type":"batch"' in line)
    put(taken, lines[:place] + lines[place + 1 :])
    code, found = verified(taken, bare)
    assert code == 5
    assert {"index_wrong", "root_wrong"} <= codes(found)
    assert found["first_bad_entry"] == place


def test_an_end_that_was_cut_off_is_found_by_a_checkpoint_that_was_kept(taken: Path, bare: Path, tmp_path: Path) -> None:
    notes = (taken / "log" / "checkpoints.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "kept.txt").write_text(json.loads(notes[-1])["note"], "utf-8")
    size = json.loads(notes[-6])["size"]
    put(taken, lines_of(taken)[:size])
    (taken / "log" / "checkpoints.jsonl").write_text("".join(line + "\n" for line in notes[:-5]), "utf-8")
    code, found = verified(taken, bare, "--checkpoint", str(tmp_path / "kept.txt"))
    assert code == 5
    assert "shorter_than_brought" in codes(found)
    assert "shorter_than_checkpoint" not in codes(found)


def test_a_person_who_was_put_into_a_request_is_found(taken: Path, bare: Path) -> None:
    packed = bytearray((taken / "log" / "membership.bin").read_bytes())
    packed[24 + 31] ^= 1
    (taken / "log" / "membership.bin").write_bytes(packed)
    code, found = verified(taken, bare)
    assert code == 5
    assert "leaves_root" in codes(found)


def test_a_bundle_of_another_key_is_found_by_the_key_that_the_auditor_holds(bundle: Path, bare: Path, tmp_path: Path) -> None:
    forged = BuiltLedger(tmp_path / "forged" if (tmp_path / "forged").mkdir() is None else tmp_path, seed="forged")
    forged.night(date(2026, 3, 1))
    export(forged.log, forged.signer, tmp_path / "b", now=NOW, version="test")
    assert verified(tmp_path / "b", bare)[0] == 0  # it is a good bundle of somebody else's log
    code, found = verified(tmp_path / "b", bare, "--public-key", str(bundle / "verifier-keys.txt"))
    assert code == 5
    assert {"manifest_not_signed", "checkpoint_bad"} <= codes(found)


def test_a_changed_table_is_found(taken: Path, bare: Path) -> None:
    path = taken / "frames" / "transfers.csv"
    path.write_bytes(path.read_bytes().replace(b"accepted", b"refused_"))
    code, found = verified(taken, bare)
    assert (code, codes(found)) == (5, {"file_not_as_listed:frames/transfers.csv"})


def test_what_cannot_be_read_is_said_and_ends_with_five(taken: Path, bare: Path) -> None:
    (taken / "verifier-keys.txt").write_text("nonsense")
    code, found = verified(taken, bare)
    assert code == 5
    assert "cannot be read" in found["said"]


# -- people who were forgotten, and evidence that cannot be carried


def test_half_of_the_people_are_shredded_and_everything_still_verifies(two_nights: Any, tmp_path: Path, bare: Path) -> None:
    base = two_nights.world.config.parent
    for name in ("ledger", "keys"):
        shutil.copytree(base / name, tmp_path / name, copy_function=shutil.copy)
        (tmp_path / name).chmod(0o700)
    config = Path(shutil.copy(two_nights.world.config, tmp_path / "nestaudience.toml"))
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as plain:
        everybody = plain.execute("SELECT count(*) FROM person").fetchone()[0]
        gone = plain.execute("DELETE FROM person WHERE person_no % 2 = 0").rowcount
    assert 0 < gone < everybody
    opened = open_evidence(config, two_nights.world.clock.now, read_only=True)
    assert verify(opened.engine, open_signer(opened).verifiers).ok
    export(opened.reader, open_signer(opened), tmp_path / "b", now=NOW, version="test")
    opened.engine.dispose()
    assert verified(tmp_path / "b", bare)[0] == 0


def test_bytes_that_cannot_stand_on_a_line_are_no_entry(ledger: BuiltLedger, tmp_path: Path) -> None:
    ledger.heartbeats(1)
    with sqlite3.connect(ledger.path) as plain:
        for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            plain.execute(f"DROP TRIGGER {name}")
        plain.execute("UPDATE log_entry SET body = CAST('a\nb' AS BLOB)")
    with pytest.raises(MustStop, match="entry_malformed"):
        export(ledger.log, ledger.signer, tmp_path / "b", now=NOW, version="test")
    assert not (tmp_path / "b").exists()


def test_entries_without_a_seal_are_worth_knowing_and_keys_that_were_rotated_verify(
    ledger: BuiltLedger, tmp_path: Path, bare: Path
) -> None:
    ledger.night(date(2026, 3, 1))
    ledger.log.append([(EntryType.HEARTBEAT, context(), {})])
    export(ledger.log, ledger.signer, tmp_path / "b", now=START, version="test")
    code, found = verified(tmp_path / "b", bare)
    assert code == 0
    assert [ledger.log.count() - 1, "unsealed"] in found["notices"]
    assert found["keys"] == list(ledger.keys.vkeys(ORIGIN))


def test_the_command_writes_a_bundle_and_says_which_keys_to_compare(two_nights: Any, tmp_path: Path, bare: Path) -> None:
    words = ["audit", "export", "--config", str(two_nights.world.config), "--out", str(tmp_path / "b")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b" / "verifier-keys.txt").read_text().strip() in result.stdout
    assert verified(tmp_path / "b", bare)[0] == 0
    again = CliRunner().invoke(app, [*words, "--json"])
    assert again.exit_code == 2
    assert json.loads(again.stdout)["errors"][0]["code"] == "export_exists"

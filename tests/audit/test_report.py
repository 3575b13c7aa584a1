"""The report says what the log says, hides what is small, escapes what is hostile, and comes out whatever was done to the log."""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from report_log import DEAD, FIRST, GAP, Told, material, settings, some_months
from report_tables import Read, people

from nestaudience.audit.clocks import CLOCKS
from nestaudience.audit.frames import Filters, transfers
from nestaudience.audit.limits import CANNOT_PROVE
from nestaudience.audit.report.compose import compose, to_report
from nestaudience.audit.report.material import Material, gather
from nestaudience.audit.report.words import GLOSSARY, LIMITS_SV, WHAT_SV, WORDS
from nestaudience.audit.small import beside, hidden, number, shown, tens, total
from nestaudience.audit.story import Finding
from nestaudience.audit.verify import WHAT
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import Language, RunKind

SECTIONS = [
    "verdict",
    "exceptions",
    "transfers",
    "funnel",
    "removals",
    "rights",
    "configuration",
    "processing",
    "limits",
    "glossary",
]
PEOPLE = ("planned", "accepted", "refused", "unknown", "late_removals")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return some_months(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def swedish(told: Told) -> Read:
    return Read(to_report(material(told)))


@pytest.fixture(scope="module")
def english(told: Told) -> Read:
    return Read(to_report(material(told, Language.EN)))


def test_the_sections_stand_in_their_order(swedish: Read, english: Read) -> None:
    for read in (swedish, english):
        assert [given["id"] for given in read.of("section")] == SECTIONS


def test_each_transfer_stands_there_with_the_numbers_of_audit_transfers(told: Told, english: Read) -> None:
    frame = transfers(told.ledger.log.entries()).to_dict("records")
    head, *rows = english.tables["Each transfer"]
    rows = [row for row in rows if not row[0].startswith("Sum")]
    assert [head.index(name) for name in ("Planned", "Accepted", "Refused", "Unknown", "Late")] == [5, 6, 7, 8, 9]
    assert len(rows) == len(frame) == 41
    for row, wanted in zip(rows, frame, strict=True):
        for said, name in zip(row[5:10], PEOPLE, strict=True):
            count = int(wanted[name])
            assert said == "fewer than 10" if hidden(count) else people(said) == count, name
        assert row[4] == {"add": "added", "remove": "removed"}[wanted["operation"]]


def test_sums_add_what_the_rows_say(english: Read, told: Told) -> None:
    rows = english.tables["Each transfer"]
    frame = transfers(told.ledger.log.entries())
    for operation, word in (("add", "added"), ("remove", "removed")):
        foot = next(row for row in rows if row[0] == f"Sum, {word}")
        counts = [int(count) for count in frame[frame["operation"] == operation]["accepted"]]
        value, whole = total(counts)
        assert foot[2].replace("\u00a0", "") == (str(value) if whole else f"≥ {value}")
    assert "Google: 1\u00a0645 added, ≥ 124 removed." in english.text, "nine people left in three nights of three"


def test_what_a_transfer_must_name_is_named(english: Read) -> None:
    text = english.text
    for said in (
        "Computime Electronics AB", "Google Ireland Limited, Ireland (IE)", "Meta Platforms Ireland Limited, Ireland (IE)", "1110000001",
        "na-00000001",
        "Bought audio equipment within twelve months", "consent", "ads-2025-09", "2025-09-08", "DPF-2026-01", "google-ccdpt-2026-02", "DPIA-2026-04",
        "growth-1", "privacy-1", "hashed account e-mail address", "r-1", "3f1c2ab", "2026-03-01 03:30:00", "02:30:00 UTC", "run-2026-03-01",
    ):  # fmt: skip
        assert said in text, said


def test_exceptions_tell_of_everything_that_went_wrong(english: Read) -> None:
    rows = english.tables["Exceptions"][1:]
    kinds = {(row[0], row[1], row[5]) for row in rows}
    assert ("OPEN", "unknown result", "–") in kinds
    assert ("OPEN", "frozen removal", "frozen") in kinds
    assert ("OPEN", "remark", "run_unfinished") in kinds
    assert {("noted", "gap", "–"), ("noted", "released gate", "anomaly"), ("noted", "incident", "list_renamed")} <= kinds
    assert next(row for row in rows if row[1] == "gap")[2] == GAP.isoformat()
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=lambda state: state == "noted")
    assert f"{sum(row[0] == 'OPEN' for row in rows)} open exceptions" in re.sub(r"\s+", " ", english.text)


def test_nights_and_their_anchors(english: Read) -> None:
    rows = {row[0]: row for row in english.tables["Each night and its anchors"][1:]}
    assert len(rows) == 12
    assert rows[GAP.isoformat()][1] == "no run"
    assert rows[DEAD.isoformat()][1] == "no end"
    assert rows[FIRST.isoformat()][1:3] == ["done", "the anchor directory"]
    assert rows["2026-03-04"][2] == "none"


def test_removals_have_three_clocks_and_what_is_open(english: Read) -> None:
    clocks = english.tables["The three clocks"][1:]
    assert [row[1:] for row in clocks] == [["seen → accepted by the platform", "400", "60 min", "2 h 0 min", "23 h 0 min"]]
    open_rows = english.tables["Open removals by age, in numbers"][1:]
    assert [(row[2], row[4], row[5]) for row in open_rows] == [
        ("computime/bought_audio_12m/google", "15", "unknown result"),
        ("bokhyllan/crime_readers/meta", "fewer than 10", "frozen: refused"),
    ]
    assert "within 24 hours" in english.text


def test_cases_are_counted_and_named(english: Read) -> None:
    assert english.tables["Cases by kind"][1:] == [
        ["access", "1", "1"], ["erasure", "1", "1"], ["rectification", "0", "0"], ["objection", "1", "1"], ["lookup", "1", "1"],
    ]  # fmt: skip
    assert {row[2] for row in english.tables["Each case"][1:]} == {"DSR-0", "DSR-1", "DSR-2", "DSR-9"}
    assert all(row[5] in ("fewer than 10 accounts", "–") for row in english.tables["Each case"][1:])


def test_the_record_of_processing_has_each_company_and_every_letter(english: Read, swedish: Read) -> None:
    for read, word in ((english, "({})"), (swedish, "{})")):
        terms = re.findall(r"<dt>([^<]*)</dt>", read.html)
        for letter in "abcdefg":
            assert sum(term.startswith(word.format(letter) + " ") for term in terms) == 3, letter
    for said in ("556295-9394", "DPF-2026-02", "9-annonsering-och-matchning", "5 years", "36 months"):
        assert said in english.text


def test_who_to_ask_stands_in_the_record_and_an_incident_is_a_sentence(told: Told, english: Read, swedish: Read) -> None:
    text = english.text
    assert "Contact: Box 120, 100 00 Exempelstad; dataskydd@computime.example." in text
    assert "Data protection officer: dataskyddsombud@computime.example" in text
    assert "Somebody changed the list's name on the platform" in text
    assert "Någon har bytt listans namn på plattformen" in swedish.text
    known = material(told, Language.EN)
    nameless = {key: c.model_copy(update={"contact": None, "dpo": None}) for key, c in known.settings.controllers.items()}
    bare = Read(to_report(replace(known, settings=replace(known.settings, controllers=nameless)))).text
    assert "Contact: not in the configuration. Data protection officer: not in the configuration." in bare
    assert "@computime" not in bare


def test_the_reasons_are_said_in_words(swedish: Read, english: Read) -> None:
    assert ["consent_missing", "There is no consent to matching for advertising on the account.", "2\u00a0400"] in english.tables[
        "Why people were refused, in numbers"
    ]
    assert ["minor", "Enligt födelseåret är kontoinnehavaren, eller kan vara, under 18 år.", "färre än 10"] in swedish.tables[
        "Varför människor nekades, i siffror"
    ]


def test_limits_glossary_and_the_rule_for_small_counts_are_printed(swedish: Read, english: Read) -> None:
    for sentence in CANNOT_PROVE:
        assert sentence in english.text
    for sentence in LIMITS_SV:
        assert sentence in swedish.text
    for words, _ in GLOSSARY:
        assert words[0] in swedish.text
        assert words[1] in english.text
    assert "fewer than 10" in english.text
    assert "≥" in english.text


def test_both_languages_say_the_same_in_words_of_their_own(swedish: Read, english: Read) -> None:
    assert swedish.of("html")[0]["lang"] == "sv"
    assert english.of("html")[0]["lang"] == "en"
    assert len(swedish.tables) == len(english.tables)
    for (sv, ours), (en, theirs) in zip(swedish.tables.items(), english.tables.items(), strict=True):
        assert sv != en
        assert [len(row) for row in ours] == [len(row) for row in theirs]
    assert [[people(cell) for cell in row] for row in swedish.tables["Varje överföring"]] == [
        [people(cell) for cell in row] for row in english.tables["Each transfer"]
    ]


def test_every_word_exists_in_both_languages() -> None:
    assert set(WHAT_SV) == set(WHAT)
    assert len(LIMITS_SV) == len(CANNOT_PROVE)
    assert set(WORDS["clock"]) == set(CLOCKS)
    assert set(WORDS["run_kind"]) == {kind.value for kind in RunKind}
    pairs = [pair for words in WORDS.values() for pair in words.values()]
    assert all(sv and en for sv, en in (*pairs, *(pair for entry in GLOSSARY for pair in entry)))


def test_small_counts_of_people_stand_nowhere(told: Told, english: Read) -> None:
    """Wherever a table counts people, no number of one to nine is in it; zero and ten are."""
    columns = {
        "Planned",
        "Accepted",
        "Refused",
        "Unknown",
        "Late",
        "People",
        "Added",
        "Removed",
        "In the segment",
        "Eligible",
        "Wanted",
    }
    columns |= {"Noes", "Other removals", "Additions", "First", "Smallest", "Largest", "Last"}
    seen = 0
    for rows in english.tables.values():
        for place, name in enumerate(rows[0]):
            if name in columns:
                counts = [people(row[place]) for row in rows[1:] if len(row) == len(rows[0])]
                assert not any(hidden(count) for count in counts if count is not None), name
                seen += len(counts)
    assert seen > 200
    assert not re.search(r"[^0-9 \u00a0][1-9] (people|personer|accounts)\b", english.text)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], (0, True)),
        ([0, 0], (0, True)),
        ([12, 30], (42, True)),
        ([12, 3], (12, False)),
        ([12, 3, 3], (12, False)),
        ([12, 9, 9], (30, True)),
    ],
)
def test_a_sum_gives_no_hidden_part_away(parts: list[int], said: tuple[int, bool]) -> None:
    assert total(parts) == said


def test_a_total_beside_its_parts_gives_none_away() -> None:
    assert beside(1000, [1000, 0, 0]) == (1000, True)
    assert beside(1000, [997, 3, 0]) == (1000, False)
    assert beside(1004, [1000, 0, 0]) == (1000, False), "the difference is four people"
    assert [shown(count) for count in (0, 1, 9, 10)] == [0, None, None, 10]
    assert [tens(count) for count in (0, 4, 5, 14, 15)] == [0, 0, 10, 10, 20]
    assert (number(3), number(3, "en"), number(0), number(12345)) == ("färre än 10", "fewer than 10", "0", "12\u00a0345")


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>&amp;{{7*7}}'


def test_plan_and_transfer_together_tell_of_no_few(english: Read) -> None:
    """Noes and other removals are one transfer's people, which stand in another table: what was planned is told in tens."""
    head, *rows = english.tables["Each list, last night of the period"]
    for name in ("Noes", "Other removals", "Additions"):
        said = {row[head.index(name)] for row in rows}
        assert said <= {"0", "fewer than 10"} or all(text.startswith("≈ ") and text.endswith("0") for text in said), said


def test_hostile_names_stay_text(told: Told) -> None:
    def change(document: dict[str, Any]) -> None:
        document["controllers"][0]["legal_name"] = HOSTILE
        document["recipients"][0]["legal_name"] = HOSTILE
        document["segments"][0]["name"] = HOSTILE

    html = to_report(material(told, known=settings(change)))
    read = Read(html)
    assert not read.of("script")
    assert not read.of("img")
    assert not any(name.startswith("on") for _, given in read.tags for name in given)
    assert read.text.count(HOSTILE) > 5


def test_the_page_needs_nothing_else(english: Read) -> None:
    assert not english.of("script")
    assert english.of("link") == [{"rel": "icon", "href": "data:,"}]
    assert not re.search(r"url\((?!#)|@import|src=", english.html)
    addresses = {given["href"] for given in english.of("a")}
    assert all(address.startswith("#") for address in addresses)
    ids = [given["id"] for _, given in english.tags if "id" in given]
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert {address[1:] for address in addresses} <= set(ids)


def test_a_period_and_a_company_leave_the_rest_out(told: Told) -> None:
    filters = Filters(controller="bokhyllan", first=date(2026, 3, 2), last=date(2026, 3, 4))
    read = Read(to_report(material(told, Language.EN, filters)))
    rows = [row for row in read.tables["Each transfer"][1:] if not row[0].startswith("Sum")]
    assert len(rows) == 6
    assert {row[2].replace("\n", "") for row in rows} == {"Bokhyllan i Svalöv AB"}
    assert [row[0] for row in read.tables["Each night and its anchors"][1:]] == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert "Computime" not in read.text
    assert "2026-03-02 – 2026-03-04" in read.text
    assert [row[1] for row in read.tables["Exceptions"][1:]] == ["remark", "frozen removal"], (
        "what is open today is told whatever the period"
    )


def test_an_empty_log_has_a_report(tmp_path: Path) -> None:
    read = Read(to_report(material(some_months(tmp_path, 0), Language.EN)))
    assert [given["id"] for given in read.of("section")] == SECTIONS


def test_a_log_that_does_not_verify_says_so_first(tmp_path: Path) -> None:
    told = some_months(tmp_path, 3)
    with sqlite3.connect(told.ledger.path) as plain:
        plain.execute("DROP TRIGGER log_entry_no_update")
        plain.execute("UPDATE log_entry SET body = replace(body, 'run-2026-03-02', 'run-2026-03-09') WHERE idx = 20")
        plain.execute("UPDATE log_entry SET body = 'nonsense' WHERE idx = 6")
    found = material(told, Language.EN)
    assert not found.verification.ok
    read = Read(to_report(found))
    assert read.text.index("The log is NOT verified") < read.text.index("Exceptions\n") < read.text.index("Each transfer")
    assert read.tables["Exceptions"][1][1] == "proof broken"
    assert {row[5] for row in read.tables["Exceptions"][1:]} >= {"leaf_wrong", "entry_malformed"}


GARBAGE: list[Any] = ["x", -1, 10**12, True, [], ["x"], {}, {"x": "y"}, {"people": "x"}]


def spoilt(told: Told, kind: EntryType, spoil: Callable[[dict[str, Any]], None]) -> Material:
    """Material from a log in which every entry of one type was altered after it was read."""
    whole = material(told, Language.EN)

    def entries(types: frozenset[EntryType] | None) -> list[dict[str, Any]]:
        found = []
        for entry in whole.entries(types):
            if entry["type"] == kind:
                spoil(entry["fields"])
            found.append(entry)
        return found

    return gather(entries, whole.settings, whole.verification, language=Language.EN, filters=Filters(), now=whole.now)


def names_of(told: Told, kind: EntryType) -> list[str]:
    entries = [entry for entry in told.ledger.log.entries() if entry["type"] == kind]
    return sorted({name for entry in entries for name in entry["fields"]})


def test_fields_of_another_form_break_no_report(small: Told) -> None:
    """Whoever alters a log alters fields: the verifier names the entry, and the report still comes out."""
    for kind in EntryType:
        garbage = {name: GARBAGE[place % len(GARBAGE)] for place, name in enumerate(names_of(small, kind))}
        if garbage:
            assert to_report(spoilt(small, kind, lambda fields, garbage=garbage: fields.update(garbage)))  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(EntryType), ids=str)
def test_fields_of_any_form_break_no_report(small: Told, kind: EntryType) -> None:
    for name in names_of(small, kind):
        for value in GARBAGE:
            assert to_report(spoilt(small, kind, lambda fields, name=name, value=value: fields.update({name: value})))  # type: ignore[misc]
        assert to_report(spoilt(small, kind, lambda fields, name=name: fields.pop(name, None)))  # type: ignore[misc]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Told:
    told = some_months(tmp_path_factory.mktemp("small"), 2)
    told.rare(date(2026, 3, 3))
    return told


def test_many_transfers_are_told_month_by_month(told: Told) -> None:
    read = Read(to_report(material(told, Language.EN), rows=40))
    assert "Each transfer" not in read.tables
    rows = [row for row in read.tables["Transfers month by month"][1:] if not row[0].startswith("Sum")]
    frame = transfers(told.ledger.log.entries())
    assert sum(int(row[3]) for row in rows) == len(frame)
    for row in rows:
        mine = frame[
            (frame["operation"] == {"added": "add", "removed": "remove"}[row[2]])
            & frame["audience"].map(lambda key, row=row: key in LISTS[row[1]])
        ]
        assert people(row[5]) == int(mine["accepted"].sum())
    assert "nestaudience audit export" in read.text


LISTS = {"na-00000001": "computime/bought_audio_12m/google", "na-00000008": "bokhyllan/crime_readers/meta"}


def test_every_problem_of_a_verification_is_an_open_exception(told: Told) -> None:
    found = material(told)
    problems = tuple(Finding(None, code, WHAT[code]) for code in WHAT)
    read = Read(to_report(replace(found, verification=replace(found.verification, problems=problems))))
    rows = read.tables["Avvikelser"][1:]
    assert [row[4] for row in rows[: len(WHAT)]] == [WHAT_SV[code] for code in WHAT]
    assert {row[0] for row in rows[: len(WHAT)]} == {"ÖPPEN"}


def test_of_a_log_that_is_wrong_from_end_to_end_the_first_thousand_are_printed(told: Told) -> None:
    found = material(told, Language.EN)
    problems = tuple(Finding(index, "leaf_wrong", WHAT["leaf_wrong"]) for index in range(5000))
    read = Read(to_report(replace(found, verification=replace(found.verification, problems=problems))))
    assert len(read.tables["Exceptions"]) == 1 + 1000
    assert "The first 1000 stand here." in read.text
    assert "5\u00a0003 open exceptions" in read.text


def test_a_report_is_made_of_the_same_parts_whoever_asks(told: Told) -> None:
    assert compose(material(told)) == compose(material(told))

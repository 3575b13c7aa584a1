"""Due dates: the same days in `check`, `status` and the alerts, and each stage told once."""

import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from nestaudience.config.load import from_document
from nestaudience.config.settings import Settings
from nestaudience.due import DueDate, due_dates

EXAMPLE = Path(__file__).parents[1] / "config" / "nestaudience.toml"
DAY = date(2027, 2, 10)
"""A year after the example's terms were confirmed."""


def settings(**changes: Any) -> Settings:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    document["audiences"][0] |= changes
    return from_document(document)


@pytest.mark.parametrize(
    ("ahead", "stage"),
    [
        (400, None),
        (46, None),
        (45, 45),
        (44, 45),
        (15, 45),
        (14, 14),
        (13, 14),
        (4, 14),
        (3, 3),
        (1, 3),
        (0, 3),
        (-1, 0),
        (-400, 0),
    ],
)
def test_stages_of_what_is_yearly(ahead: int, stage: int | None) -> None:
    for what in ("terms", "contract", "transfer", "approval", "runs_out"):
        assert DueDate(what, "x", DAY, "y").stage(DAY - timedelta(days=ahead)) == stage


@pytest.mark.parametrize(("ahead", "stage"), [(45, None), (15, None), (14, 14), (3, 14), (0, 14), (-1, 0)])
def test_stages_of_a_last_day(ahead: int, stage: int | None) -> None:
    assert DueDate("ends", "x", DAY, "y").stage(DAY - timedelta(days=ahead)) == stage


def test_what_is_due_in_the_example() -> None:
    found = {(due.what, due.where, due.on) for due in due_dates(settings(), DAY - timedelta(days=45))}
    kinds = ("terms", "contract", "transfer")
    assert found == {(kind, f"recipients.{name}.{kind}_confirmed_on", DAY) for name in ("google", "meta") for kind in kinds}
    assert due_dates(settings(), DAY - timedelta(days=46)) == ()
    last_day = date(2027, 8, 31)  # on the first of September it is twelve months old
    names = ("bought_audio_12m", "viewed_laptops_30d", "crime_readers", "lapsed_readers", "coffee_lovers")
    approvals = {due.where: due for due in due_dates(settings(), last_day) if due.what == "approval"}
    assert set(approvals) == {f"segments.{name}.approval" for name in names}
    assert not any(due.past(last_day) for due in approvals.values())
    assert all(due.past(last_day + timedelta(days=1)) for due in approvals.values())


def test_an_audience_that_ended_is_not_due() -> None:
    ending = settings(ends_on=date(2026, 11, 30))
    by_day = {day: [d.what for d in due_dates(ending, date(2026, 11, day))] for day in (15, 16, 30)}
    assert by_day == {15: [], 16: ["ends"], 30: ["ends"]}
    assert due_dates(ending, date(2026, 12, 1)) == ()


def test_what_has_no_day_of_its_own_goes_with_the_terms() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for recipient in document["recipients"]:
        del recipient["contract_confirmed_on"], recipient["transfer_confirmed_on"]
    assert {due.what for due in due_dates(from_document(document), DAY)} == {"terms"}


def test_a_version_that_ends_is_told_sixty_days_ahead() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    meta = next(table for table in document["destinations"] if table["name"] == "meta")
    assert "api_version" not in {due.what for due in due_dates(from_document(document), date(2026, 11, 22))}
    meta["api_version"] = "v24.0"
    last = date(2026, 10, 5)
    for ahead, stage in ((61, None), (60, 60), (15, 60), (14, 14), (3, 3), (0, 3), (-1, 0)):
        found = [due for due in due_dates(from_document(document), last - timedelta(days=ahead)) if due.what == "api_version"]
        assert [due.stage(last - timedelta(days=ahead)) for due in found] == ([] if stage is None else [stage])
        assert all((due.where, due.on) == ("destinations.meta.api_version", last) for due in found)

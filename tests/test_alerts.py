"""Alerts as a pure function, and their memory against a plain model of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.alerts import alerts
from nestaudience.config.schema import Alerts
from nestaudience.due import DueDate
from nestaudience.history import GATE_EXITS, Incident
from nestaudience.ledger.engine import open_ledger
from nestaudience.ledger.told import ToldAlerts
from nestaudience.status import AudienceStatus, Status
from nestaudience.vocabulary import Environment
from nestaudience.watching import SLACK, is_due

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
QUIET = Status(
    at=NOW, environment="sandbox", audiences=(), last_night=None, running=None, due_night="2026-11-22", missing=False, unfinished=False,
    gaps=(), entries=0, checkpoint=None, unsettled=0, problems=(), incidents=(), due=(),
)  # fmt: skip
LIST = AudienceStatus(
    audience="c/s/google", code="na-1", list_id="7", state="open", held=1000, last_clean_night="", in_flight=0, overdue=0, unknown=0,
    open_removals=0, oldest_removal_at="", frozen_removals=0, gates=(), closed_since=(), runs_out_on="",
)  # fmt: skip


def found(*lists: AudienceStatus, **changes: object) -> list[tuple[str, str]]:
    stands = alerts(replace(QUIET, audiences=lists, **changes), Alerts(), NOW)  # type: ignore[arg-type]
    assert len({alert.key for alert in stands}) == len(stands)
    return [(alert.code, alert.about) for alert in stands]


def test_a_quiet_day() -> None:
    assert found(LIST) == []


@pytest.mark.parametrize(
    ("hours", "limit", "stands"), [(5, 6, False), (6, 6, False), (6.01, 6, True), (2, 1, True), (23, 24, False)]
)
def test_how_old_a_removal_may_get(hours: float, limit: int, stands: bool) -> None:
    asked = (NOW - timedelta(hours=hours)).isoformat()
    waiting = replace(QUIET, audiences=(replace(LIST, open_removals=3, oldest_removal_at=asked),))
    got = alerts(waiting, Alerts(removal_hours=limit), NOW)
    assert [(alert.code, alert.count, alert.since) for alert in got] == ([("removal_old", 3, asked)] if stands else [])


def test_removals_that_are_refused() -> None:
    """At once; with the moment of the deletion where a no is among them."""
    since, until = (NOW - timedelta(minutes=5)).isoformat(), (NOW + timedelta(hours=19, minutes=55)).isoformat()
    for deleted_from, said in ((until, "after 2026-11-23 08:55 deletes the list"), ("", "every run tries again")):
        waits = replace(LIST, open_removals=2, refused_since=since, deleted_from=deleted_from)
        (alert,) = alerts(replace(QUIET, audiences=(waits,)), Alerts(), NOW)
        assert (alert.code, alert.since, alert.count, alert.repeats) == ("removal_refused", since, 2, True)
        assert said in alert.next_step
    assert 5 in replace(QUIET, audiences=(waits,)).exit_codes


def test_gates_that_are_as_they_should_be_are_no_alert() -> None:
    normal = tuple(gate for gate, code in GATE_EXITS.items() if code == 0)
    gates = (*normal, "anomaly_removals", "list_gone")
    closed = replace(LIST, gates=gates, closed_since=("2026-11-20",) * len(gates))
    assert found(closed) == [("gate_closed", "anomaly_removals"), ("gate_closed", "list_gone")]


def test_a_list_without_people_does_not_run_out() -> None:
    assert found(replace(LIST, runs_out_on="2026-12-02")) == [("date_due", "runs_out")]
    assert found(replace(LIST, runs_out_on="2026-12-02", held=0)) == []


@pytest.mark.parametrize(("night_by", "since"), [("05:00", "2026-11-22T04:00:00+00:00"), ("23:30", "2026-11-22T22:30:00+00:00")])
def test_a_night_without_an_end(night_by: str, since: str) -> None:
    (alert,) = alerts(replace(QUIET, unfinished=True), Alerts(night_by=night_by), NOW)
    assert (alert.code, alert.where, alert.since) == ("night_unfinished", "2026-11-22", since)


def test_each_incident_is_its_own() -> None:
    told = (Incident(7, "2026-11-22T03:00:00.000Z", "list_gone", "c/s/google"), Incident(9, "2026-11-22T03:00:00.000Z", "x", ""))
    got = alerts(replace(QUIET, incidents=told), Alerts(), NOW)
    assert [(a.key, a.about, a.where, a.repeats) for a in got] == [
        ("incident:7", "list_gone", "c/s/google", False),
        ("incident:9", "x", "the log", False),
    ]


def told_in_a_year(path: Path, due: DueDate, repeat_hours: int = 24) -> list[int]:
    """On which days (ahead of the date) a date is told, when somebody looks every hour and nobody renews it."""
    memory = ToldAlerts(engine(path))
    days = []
    for hour in range(24 * 60):
        now = datetime(due.on.year, due.on.month, due.on.day, 12, tzinfo=UTC) + timedelta(hours=hour - 24 * 55)
        stands = alerts(replace(QUIET, due=(due,)), Alerts(), now)
        known = memory.stand({alert.key: alert.code for alert in stands}, now)
        for alert in stands:
            if is_due(alert, known[alert.key], repeat_hours, now):
                memory.told([alert.key], now)
                days.append((due.on - now.date()).days)
    return days


def engine(path: Path):  # type: ignore[no-untyped-def]
    return open_ledger(path / "ledger.sqlite", environment=Environment.SANDBOX, origin="nestit.example/test", clock=lambda: NOW)


def test_a_date_is_told_at_45_14_and_3_days_and_daily_when_it_is_over(tmp_path: Path) -> None:
    days = told_in_a_year(tmp_path, DueDate("terms", "recipients.google", date(2026, 11, 20), "read"))
    assert days[:3] in ([45, 14, 3], [46, 15, 4])  # Stockholm's midnight comes before UTC's
    over = days[3:]
    assert len(over) in (4, 5)
    assert all(day <= 0 for day in over)


def test_what_ended_long_ago_is_forgotten_but_an_incident_is_not_told_twice(tmp_path: Path) -> None:
    memory = ToldAlerts(engine(tmp_path))
    memory.stand({"stands": "removal_old", "ended": "removal_old", "incident:7": "incident"}, NOW)
    memory.stand({"stands": "removal_old"}, NOW)
    assert memory.forget_ended(NOW) == 0  # it ended now, not before
    assert memory.forget_ended(NOW + timedelta(seconds=1)) == 1
    assert set(memory.all()) == {"stands", "incident:7"}


KEYS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(st.tuples(st.frozensets(KEYS), st.booleans(), st.integers(min_value=1, max_value=30)), min_size=1, max_size=12)


@given(STEPS, st.integers(min_value=2, max_value=40))
@settings(max_examples=40, deadline=None)
def test_the_memory_of_telling_against_a_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[frozenset[str], bool, int]], repeat_hours: int
) -> None:
    """Each step: which keys stand, whether somebody can be told, how many hours pass. The model: one line a key."""
    memory = ToldAlerts(engine(tmp_path_factory.mktemp("told")))
    model: dict[str, datetime | None] = {}
    now = NOW
    example = alerts(replace(QUIET, unfinished=True), Alerts(), NOW)[0]
    for standing, reachable, hours in steps:
        known = memory.stand(dict.fromkeys(standing, "code"), now)
        due = {key for key in standing if is_due(replace(example, key=key), known[key], repeat_hours, now)}
        model = {key: model.get(key) for key in standing}  # what ended is forgotten
        wait = timedelta(hours=repeat_hours) - SLACK
        assert due == {key for key, told in model.items() if told is None or now - told >= wait}
        if reachable:
            memory.told(sorted(due), now)
            model |= dict.fromkeys(due, now)
        else:
            memory.not_told(sorted(due), "alerts_unreachable", now)
        rows = memory.all()
        assert {key for key, row in rows.items() if not row.cleared_at} == standing
        assert {key for key in standing if rows[key].failure} >= (set() if reachable else due)
        assert not any(rows[key].failure for key in due if reachable)
        now += timedelta(hours=hours)

"""The backfill flow: the nightly run with a filter, started by a person, for a reason. The same steps and gates, no way around either.

It needs no pause of the nightly: whoever comes second waits for the other. Parameters are read here and not by Prefect, so that what somebody
typed by mistake stands in no log.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, get_type_hints

from prefect import flow, task
from prefect.client.schemas.objects import State
from pydantic import Field, TypeAdapter, ValidationError, WithJsonSchema

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows import artifacts
from flows.fence import fenced
from flows.steps import FLOW, ConfigPath, End, SessionKey, conclude, declared, deliver, held
from nestaudience import jobs
from nestaudience.config.settings import Settings
from nestaudience.errors import NeedsFix
from nestaudience.jobs import Job, Scope
from nestaudience.judging import judge
from nestaudience.preview import preview
from nestaudience.vocabulary import STOCKHOLM, Cause, Mode, RunKind
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

Keys = Annotated[list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", max_length=40)]], Field(max_length=50)]
Sending = Literal["diff", "resend", "replace"]
Why = Literal[
    "campaign_start", "feed_fault", "rule_change", "platform_fault", "missed_night", "test", "other_see_case"
]  # the words of `Cause`, as a form shows them
# Prefect's server knows no dates: the pattern is what it enforces.
Night = Annotated[
    date,
    WithJsonSchema({"type": "string", "format": "date", "pattern": r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}),
]
Case = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_./-]*)?$", max_length=80)]


@flow(name="backfill", **FLOW)
def backfill(
    reason: Why,
    config: ConfigPath = "",
    controllers: Keys | None = None,
    segments: Keys | None = None,
    destinations: Keys | None = None,
    mode: Sending = "diff",
    for_night: Night | None = None,
    case: Case = "",
    dry_run: bool = True,  # noqa: FBT001, FBT002  (a form's field)
    session_key: SessionKey = "",
) -> State[Any]:
    """Bring some lists into line now, with the consents of now. A dry run only shows what would be sent.

    Args:
        reason: Why this run is started. It stands in the log.
        config: The configuration file on the machine that runs this flow. Empty: NESTAUDIENCE_CONFIG there, or nestaudience.toml.
        controllers: Keys of companies, as in the configuration. None: all.
        segments: Codes of segments. None: all.
        destinations: Names of destinations. None: all.
        mode: diff sends what brings the lists into line; resend sends that, and everybody who should be there once more; replace does so and, when
            Google took everybody, takes off whoever else is on the list: a later run does that.
        for_night: The night that is being repaired, of the last 31 days. It stands in the log; today's consents decide.
        case: The number of a case that says more. Needed for other_see_case. No names, no addresses.
        dry_run: Judge and show only. Nothing is sent or written.
        session_key: Left empty by people and schedules.

    """
    given = {
        "reason": reason,
        "controllers": controllers,
        "segments": segments,
        "destinations": destinations,
        "mode": mode,
        "for_night": for_night,
        "case": case,
        "dry_run": dry_run,
    }
    return conclude(config, session_key, "form", lambda key: _ordered(key, given))


_WANTED: Final = {
    "reason": f"one of {', '.join(Cause)}",
    "controllers": "a list of at most 50 keys of companies",
    "segments": "a list of at most 50 codes of segments",
    "destinations": "a list of at most 50 names of destinations",
    "mode": "diff, resend or replace",
    "for_night": "a date, as 2026-11-21",
    "case": "letters, digits and _ . / - only, at most 80",
    "dry_run": "true or false",
}
_HARMLESS: Final[dict[str, Any]] = {"reason": "test", "mode": "diff", "case": "", "dry_run": True}
"""What stands for a parameter that could not be read while the others are looked at. Nothing is run with it."""


def _ordered(key: str, given: Mapping[str, object]) -> End:
    """The dry run, or the run. Bad orders end here, before a task that would write a traceback into Prefect's log."""
    read, wrong = _read(given)
    job = _checked(key, read, wrong)
    held(key).orders = lambda _: job
    if not read["dry_run"]:
        return deliver(key)
    look(key)
    return _shown(key)


@fenced
def _shown(key: str) -> End:
    found = held(key).preview
    if found is None:
        raise RuntimeError("nothing was looked at")
    artifacts.leave_preview(RunKind.BACKFILL.value, found)
    return End(artifacts.in_words(found))


@task(**declared(name="preview", task_run_name="preview"))
@fenced
def look(key: str) -> None:
    """Judge without a trace, and keep what the run would do in the session."""
    here = held(key)
    with open_parts(here.config, clock=here.clock) as parts:
        job = here.orders(parts)
        with judge(parts, here.clock(), here.note, job=job) as judged:
            here.preview = preview(parts, judged)


def _read(given: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """The parameters by the types that the flow declares, and what is wrong with those that do not fit."""
    types = get_type_hints(backfill.fn, include_extras=True)
    read: dict[str, Any] = {}
    wrong = []
    for name, value in given.items():
        try:
            read[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError:
            read[name] = _HARMLESS.get(name)
            wrong.append(f"{name}: {_WANTED[name]}")
    return read, wrong


@fenced
def _checked(key: str, read: Mapping[str, Any], wrong: list[str]) -> Job:
    """The orders. Raises `Stopped`: `backfill_refused`, with everything at once that the types and the configuration forbid."""
    here = held(key)
    evidence = open_evidence(here.config, here.clock)
    try:
        settings = settings_in_use(evidence)
    finally:
        evidence.engine.dispose()
    found: list[Job] = []
    told = list(wrong)
    try:
        found.append(_job(settings, here.clock().astimezone(STOCKHOLM).date(), read))
    except NeedsFix as refused:
        told.append(refused.next_step)
    if told:
        raise NeedsFix("backfill_refused", "the backfill's parameters", "; ".join(told))
    return found[0]


def _job(settings: Settings, today: date, read: Mapping[str, Any]) -> Job:
    scope = Scope(
        controllers=frozenset(read["controllers"] or ()),
        segments=frozenset(read["segments"] or ()),
        destinations=frozenset(read["destinations"] or ()),
    )
    return jobs.backfill(
        settings,
        today,
        scope=scope,
        mode=Mode(read["mode"]),
        for_night=read["for_night"],
        cause=Cause(read["reason"]),
        case_id=read["case"],
    )

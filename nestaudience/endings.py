"""Ends by hand: retire a list (empty it, wait for the platform's word, delete it), and take back what one run added.

Both are runs like any other: the same path, the same log, noes included. It decides nothing about people; who is still wanted after a retraction is
added again by the next night, unless what put them there is mended first.
"""

from nestaudience.delivery.lists import mark_retiring
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.interrupting import Interrupted, never
from nestaudience.jobs import Job, Scope, check_case
from nestaudience.judging import Note, silent, transfers_of
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.memory import RECOVERING
from nestaudience.parts import Evidence, Parts
from nestaudience.sync import Outcome, Run, through
from nestaudience.vocabulary import AudienceKey, Cause, Mode, RunId, RunKind


def retire_job(parts: Parts, key: AudienceKey, cause: Cause, case_id: str) -> Job:
    """The orders to end one audience. Raises `NeedsFix`: `audience_unknown`, `case_missing`."""
    check_case(cause, case_id)
    if key not in parts.settings.audiences:
        raise NeedsFix(
            "audience_unknown", "AUDIENCE", "name one of those that `nestaudience status` lists: controller/segment/recipient"
        )
    return Job(RunKind.MANUAL, Scope(audiences=frozenset({key})), cause=cause, case_id=case_id)


def retract_job(evidence: Evidence, run: str, cause: Cause, case_id: str) -> Job:
    """The orders to take back what a run added; its id may be cut short while it stays unique.

    Raises `NeedsFix`: `run_unknown`, `run_ambiguous`, `run_added_nobody`, `case_missing`.
    """
    check_case(cause, case_id)
    run_id = _whole(evidence, run)
    audiences = frozenset(transfers_of(evidence.reader, run_id).values())
    if not audiences:
        raise NeedsFix("run_added_nobody", "RUN", "it sent nothing; `nestaudience audit transfers` lists the runs that did")
    return Job(RunKind.MANUAL, Scope(audiences=audiences), Mode.RETRACT, cause=cause, case_id=case_id, retracts=run_id)


def retire(parts: Parts, job: Job, *, actor: str = "cli", note: Note = silent, interrupted: Interrupted = never) -> Outcome:
    """Mark the one list of the job as retiring, and take everybody off it. It is deleted by this run where the platform confirms at once, by a later
    night otherwise. Raises `NeedsFix`: `nothing_to_retire`; `TryAgain`: `recovering`; and what a run raises.
    """
    (key,) = job.scope.audiences
    with Run(parts, job, actor=actor, note=note, interrupted=interrupted) as run:
        remote = next((remote for remote in parts.memory.lists() if remote.audience == key), None)
        if remote is None or remote.state in {"gone", "closed"}:
            raise NeedsFix("nothing_to_retire", key, "it has no list; take the audience out of the configuration")
        if remote.state == RECOVERING:
            raise TryAgain(
                "recovering", key, "its list is deleted by the next run, because the ledger was restored; retire it then"
            )
        if remote.state != "retiring":
            mark_retiring(remote, dict(job.fields()), run.tools)
        return through(run)


def _whole(evidence: Evidence, run: str) -> RunId:
    started = evidence.reader.entries(types=frozenset({EntryType.RUN_STARTED}))
    found = sorted({entry["run_id"] for entry in started if entry["run_id"].startswith(run.lower())}) if run else []
    if not found:
        raise NeedsFix("run_unknown", "RUN", "name a run that `nestaudience audit transfers` shows")
    if len(found) > 1:
        raise NeedsFix("run_ambiguous", "RUN", "several runs begin like this; give more of its id")
    return RunId(found[0])

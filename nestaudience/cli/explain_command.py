"""`nestaudience explain`: why one person is, or is not, on each list, in words that can be read to her."""

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.vocabulary import Language

if TYPE_CHECKING:
    from nestaudience.config.settings import Settings
    from nestaudience.explaining import Explanation
    from nestaudience.screening.tracing import TracedAnswer

Case = Annotated[str, typer.Option("--case", help="Number of the case for which you look; it goes to the log.")]
In = Annotated[Language, typer.Option("--language", help="The language of the answer.")]
_HEADS = {
    Language.SV: ("Konto", "När", "Vad", "Bolag", "För", "Källa", "Text", "Så bedöms det"),
    Language.EN: ("Account", "When", "What", "Company", "For", "Source", "Text", "How it is judged"),
}
_ANSWERS = {Language.SV: ("Lista", "Konto", "Nu", "Varför"), Language.EN: ("List", "Account", "Now", "Why")}


def explain(case: Case = "", language: In = Language.SV, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say why one person is, or is not, on each list. The address is typed unseen, or read from standard input; each look is logged with its case."""
    with guarded(as_json):
        from nestaudience.cli.person import asked_address
        from nestaudience.explaining import explain as look
        from nestaudience.wiring import open_parts

        address = asked_address()
        with open_parts(config, clock=clock) as parts, output.progress(watched=not as_json) as watch:
            found = look(parts, address, case, note=watch)
            settings = parts.settings
        if as_json:
            output.as_json(_document(found, language))
        else:
            _show(found, settings, language)


def _document(found: "Explanation", language: Language) -> dict[str, object]:
    from nestaudience.sentences import REASONS, said

    events = [
        {
            "account": None if event.account is None else event.account + 1,
            "occurred_at": event.occurred_at,
            "recorded_at": event.recorded_at,
            "action": event.action,
            "controller": event.controller,
            "purpose": event.purpose,
            "recipients": list(event.recipients),
            "source": event.source,
            "text": event.text_version,
            "verdict": event.verdict.value,
        }
        for event in found.events
    ]
    answers = [
        {
            "audience": answer.audience,
            "account": answer.account + 1,
            "eligible": answer.eligible,
            "in_segment": answer.in_segment,
            "reasons": [reason.value for reason in answer.reasons],
            "why": [said(REASONS[reason], language) for reason in answer.reasons],
        }
        for answer in found.answers
    ]
    accounts = [{"account_id": account, "controller": controller} for account, controller in found.accounts]
    return {"case": found.case_id, "accounts": accounts, "events": events, "answers": answers, "on_lists": dict(found.on_lists)}


def _show(found: "Explanation", settings: "Settings", language: Language) -> None:
    swedish = language is Language.SV
    names = {key: controller.legal_name for key, controller in settings.controllers.items()}
    if not found.accounts:
        output.say(
            "Inget konto med den adressen kan komma i fråga: ingen har samtyckt för den."
            if swedish
            else "No account with that address can come into question: nobody consented for it."
        )
    for number, (account, controller) in enumerate(found.accounts, 1):
        output.say(f"{'Konto' if swedish else 'Account'} {number}: {account}, {names.get(controller, controller)}")
    show_events(found, language)
    _show_lists(found, settings, language)
    output.hint(f"{'Uppslaget är loggat under' if swedish else 'This look is logged under'} {found.case_id}.")


def show_events(found: "Explanation", language: Language) -> None:
    """What was said, as a table for people."""
    from nestaudience.sentences import ACTIONS, PURPOSES, VERDICTS, said

    if found.events:
        rows = [
            (
                "–" if event.account is None else str(event.account + 1),
                output.local(event.occurred_at or event.recorded_at or ""),
                f"{said(ACTIONS[event.action], language)}: {said(PURPOSES[event.purpose], language)}",
                event.controller,
                ", ".join(event.recipients),
                event.source,
                event.text_version,
                said(VERDICTS[event.verdict], language),
            )
            for event in found.events
        ]
        output.table("Vad som har sagts" if language is Language.SV else "What was said", _HEADS[language], rows)


def _show_lists(found: "Explanation", settings: "Settings", language: Language) -> None:
    from nestaudience.sentences import ON_LIST, said

    by_list = defaultdict(list)
    for answer in found.answers:
        by_list[answer.audience].append(answer)
    keys = [key for key in settings.audiences if key in by_list or key in found.on_lists]
    if keys:
        rows_of_lists = [
            (key, str(answer.account + 1), said(ON_LIST[found.on_lists.get(key, "")], language), _why(answer, language))
            for key in keys
            for answer in by_list[key]
        ]
        rows_of_lists += [(key, "–", said(ON_LIST[found.on_lists[key]], language), "") for key in keys if not by_list[key]]
        output.table("Listorna" if language is Language.SV else "The lists", _ANSWERS[language], rows_of_lists)


def _why(answer: "TracedAnswer", language: Language) -> str:
    from nestaudience.sentences import ELIGIBLE, NOT_IN_SEGMENT, REASONS, said

    if answer.eligible:
        return said(ELIGIBLE, language)
    sentences = [] if answer.in_segment else [said(NOT_IN_SEGMENT, language)]
    return " ".join([*sentences, *(said(REASONS[reason], language) for reason in answer.reasons)])

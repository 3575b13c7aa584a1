"""`nestaudience rights access`: the answer to one person who asks what is known of her, as text to read or as JSON."""

from typing import TYPE_CHECKING

from nestaudience.cli import output
from nestaudience.cli.explain_command import Case, In, show_events
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, guarded
from nestaudience.cli.options import clock as now
from nestaudience.vocabulary import AudienceKey, Language

if TYPE_CHECKING:
    from nestaudience.accessing import Access


def access(case: Case = "", language: In = Language.SV, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Answer one person: who got her address's digest, from whom, when and why, and what she said. One address a line; each look is logged."""
    with guarded(as_json):
        from nestaudience.accessing import MOST
        from nestaudience.accessing import access as answer
        from nestaudience.cli.person import asked_addresses
        from nestaudience.wiring import open_parts

        addresses = asked_addresses(MOST)
        with open_parts(config, clock=now) as parts, output.progress(watched=not as_json) as watch:
            found = answer(parts, addresses, case, note=watch)
            companies = {key: controller.legal_name for key, controller in parts.settings.controllers.items()}
        if as_json:
            output.as_json(document(found, companies))
        else:
            show(found, companies, language)


def document(found: "Access", companies: dict[str, str]) -> dict[str, object]:
    """The answer as JSON. `provided` is what she gave herself (art. 20): her accounts and what she said; no digest, token or address."""
    disclosed = [
        {name: getattr(one, name) for name in one.__dataclass_fields__}
        | {"controller": companies.get(one.controller, one.controller), "list": found.lists.get(one.audience, "")}
        | {"on_it_now": _now(found, one.audience)}
        for one in found.disclosures
    ]
    provided = [
        {
            "accounts": [{"account_id": account, "company": companies.get(key, key)} for account, key in look.accounts],
            "said": [
                {
                    "account": None if event.account is None else event.account + 1,
                    "action": event.action,
                    "purpose": event.purpose,
                    "recipients": list(event.recipients),
                    "at": event.occurred_at or event.recorded_at,
                    "company": companies.get(event.controller, event.controller),
                    "text": event.text_version,
                }
                for event in look.events
            ],
        }
        for look in found.looks
    ]
    return {"case": found.case_id, "transfers": found.transfers, "disclosed": disclosed, "provided": provided}


def show(found: "Access", companies: dict[str, str], language: Language) -> None:
    """The answer for people."""
    from nestaudience.letters import ACCESS_HEADS, ACCESS_NOBODY, ACCESS_NOTES, ACCESS_TITLE
    from nestaudience.sentences import ON_LIST, said

    rows = [
        (
            f"{one.recipient} ({one.country})",
            companies.get(one.controller, one.controller),
            found.lists.get(one.audience, one.audience),
            *(output.local(at) for at in (one.first, one.last, one.removal_asked, one.removal_done)),
            said(ON_LIST[_now(found, one.audience)], language),
        )
        for one in found.disclosures
    ]
    if rows:
        output.table(ACCESS_TITLE[language], ACCESS_HEADS[language], rows)
    else:
        output.say(ACCESS_NOBODY[language])
    for look in found.looks:
        show_events(look, language)
    for sentence in ACCESS_NOTES[language]:
        output.say(sentence)


def _now(found: "Access", audience: str) -> str:
    """What the list holds of her now, by any of her addresses."""
    states = [look.on_lists[AudienceKey(audience)] for look in found.looks if audience in look.on_lists]
    order = ("owed", "removing", "possible", "in_flight", "confirmed")
    return min(states, key=order.index) if states else ""

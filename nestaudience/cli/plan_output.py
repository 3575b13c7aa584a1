"""How a plan is explained in a terminal: why lists get nobody, and what is different from the last completed night. It opens nothing."""

from typing import TYPE_CHECKING

from nestaudience.cli import output

if TYPE_CHECKING:
    from nestaudience.against import Against, Compared
    from nestaudience.judging import Judged
    from nestaudience.parts import Parts


def show_why(judged: "Judged") -> None:
    """One sentence for each reason why a list gets nobody, or not everybody at once."""
    from nestaudience.why import why

    for plan in judged.plans:
        for each in why(plan):
            output.say(f"- {plan.key}: {each.text}")


def compare(parts: "Parts", judged: "Judged") -> "Against | None":
    """The plan against the last completed night; None without one."""
    from nestaudience.against import against_last_night
    from nestaudience.config.load import from_text, to_text
    from nestaudience.history import read_history

    text = parts.memory.accepted_config()
    accepted = None if text is None else from_text(text)
    now = from_text(to_text(parts.evidence.document))  # times as text on both sides
    return against_last_night(judged.plans, read_history(parts.evidence.reader.entries()), accepted, now)


def show_against(found: "Against | None") -> None:
    """Then and now for each audience, the reasons that differ, gates, and the parts of the configuration that differ."""
    if found is None:
        output.say("No night has come to its end yet: there is nothing to compare with.")
        return
    rows: list[tuple[output.Cell, ...]] = [
        (
            each.audience,
            *(_then_now(*each.counts[name]) for name in ("candidates", "eligible", "wanted")),
            each.removals,
            each.additions,
            _gates(each),
        )
        for each in found.audiences
    ]
    names = ("audience", "candidates", "eligible", "wanted", "would be\nremoved", "would be\nadded", "gates")
    output.table(f"Against the night of {found.night}: then → now", names, rows)
    reasons: list[tuple[output.Cell, ...]] = [
        (each.audience, code, then, now, f"{now - then:+}")
        for each in found.audiences
        for code, (then, now) in each.reasons.items()
        if then is not None and then != now
    ]
    if reasons:
        output.table("Refused by their first reason, where it differs", ("audience", "reason", "then", "now", ""), reasons)
    if found.former:
        output.say(f"No longer in the configuration: {', '.join(found.former)}.")
    if found.changed is None:
        output.say("No configuration was accepted yet.")
    elif found.changed:
        output.say(f"Parts of the configuration that differ from the last accepted one: {', '.join(found.changed)}.")
    else:
        output.say("The configuration is the last accepted one: what differs comes from the store, the clock and the lists.")


def _then_now(then: int | None, now: int) -> str:
    return f"new → {now}" if then is None else f"{then} → {now}" if then != now else f"{now}"


def _gates(each: "Compared") -> str:
    said = [f"closed: {', '.join(each.closed)}"] if each.closed else []
    said += [f"opened: {', '.join(each.opened)}"] if each.opened else []
    return "; ".join(said)

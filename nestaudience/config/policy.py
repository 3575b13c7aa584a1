"""The policy as data: the registry of purposes, who approved a segment, how long things are kept, and the kill switch.

The rules hold a closed table of purposes (`RULES`); a configuration says where its policy discloses each, and may not differ from it.
Nobody is authenticated here: names are data of a reviewed file, and presence, difference and age are all that is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from nestaudience.config.forms import Reference, Table
from nestaudience.config.sensitive_words import SENSITIVE_WORDS
from nestaudience.vocabulary import KillSwitch, Purpose, Recipient

Basis = Literal["consent", "cookie_consent", "legitimate_interest"]
"""A legal basis, as the log names it."""
Kept = Literal["until_removed", "for_the_run", "with_the_log"]
"""How long what is made of a purpose's data is kept, person by person: memberships until they are removed; nothing beyond the run;
commitments as long as the log.
"""
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z -]{0,59}$")]


class Policy(Table):
    """The privacy policy that the system implements."""

    version: Reference
    updated_on: date | None = None
    """The policy's own date of last change."""


class PurposeTable(Table):
    """What data may be used for, and where the policy says so."""

    key: Purpose
    basis: Basis
    recipients: tuple[Recipient, ...] = ()
    data_category: Category
    retention: Kept
    disclosed_in: Reference
    """The version of the policy in which somebody read it."""
    section: Reference
    """Where in the policy it stands."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the rules say of a purpose. A configuration that says anything else is refused."""

    basis: Basis
    recipients: frozenset[Recipient]
    data_category: str
    retention: Kept


RULES: Final[Mapping[Purpose, Rule]] = {
    Purpose.AD_MATCHING: Rule("consent", frozenset(Recipient), "hashed account e-mail address", "until_removed"),
    Purpose.ENHANCED_CONVERSIONS: Rule(
        "cookie_consent", frozenset({Recipient.GOOGLE}), "hashed checkout e-mail address", "with_the_log"
    ),
    Purpose.WEB_BEHAVIOUR: Rule("cookie_consent", frozenset(), "visits and clicks while logged in", "for_the_run"),
    Purpose.ORDER_ANALYSIS: Rule("legitimate_interest", frozenset(), "order lines", "for_the_run"),
}
"""The closed registry of the rules: list matching rests on consent, per recipient, and on nothing else."""
INPUTS_OF: Final[Mapping[Purpose, frozenset[str]]] = {
    Purpose.WEB_BEHAVIOUR: frozenset({"visits", "clicks"}),
    Purpose.ORDER_ANALYSIS: frozenset({"orders"}),
}
"""The inputs of segments that a purpose stands for."""


def registry(policy_version: str, tables: tuple[PurposeTable, ...]) -> dict[Purpose, PurposeTable]:
    """Every purpose. One that the file does not name is as the rules have it, with no place in the policy but its version."""
    named = {table.key: table for table in tables}
    return {
        key: named.get(key)
        or PurposeTable(
            key=key,
            basis=rule.basis,
            recipients=tuple(sorted(rule.recipients)),
            data_category=rule.data_category,
            retention=rule.retention,
            disclosed_in=policy_version,
            section="unnamed",
        )
        for key, rule in RULES.items()
    }


class Approval(Table):
    """Who asked for a segment and who let it pass. Recorded and checked, not authenticated. What is missing stops additions."""

    owner: Reference
    approver: Reference | None = None
    """Somebody else than the owner."""
    approved_on: date | None = None
    dpia: Reference | None = None
    """The number of the impact assessment that covers it."""
    sensitive: Literal["reviewed_not_sensitive", "reviewed_sensitive", "not_reviewed"] = "not_reviewed"
    reviewer: Reference | None = None
    """Who looked whether it is sensitive; needed when its name says that it might be."""
    commit: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,39}$")] | None = None
    """The commit, or the case, at which it was approved; a long one is cut at 40 characters."""


class Sensitive(Table):
    """Words that ask for a second pair of eyes before a segment may be used."""

    words: tuple[Annotated[str, StringConstraints(pattern=r"^\w{2,40}$")], ...] = SENSITIVE_WORDS
    """Whole words, in any case, of a segment's name and code. An ending counts only where it is listed."""


class Retention(Table):
    """How long what is kept. The rules give the bounds."""

    log_years: Annotated[int, Field(ge=5, le=10)] = 5
    """Years beside the current one."""
    memberships: Literal["until_removed"] = "until_removed"
    salt_days: Annotated[int, Field(ge=30, le=90)] = 30
    """Days from the receipt of an erasure until the person's salt is destroyed: the time for questions."""
    withdrawal_months: Annotated[int, Field(ge=36, le=120)] = 36
    """A remembered withdrawal stays for so long: a grant lives no longer."""


class KillSwitchTable(Table):
    """The switch that a person throws. It is read whatever else is wrong with the file."""

    position: KillSwitch = KillSwitch.OFF


def switched(document: Mapping[str, Any], before: KillSwitch = KillSwitch.OFF) -> KillSwitch:
    """The position of a file's kill switch. One that cannot be read stops additions, and stays where it was `before` when that stops more."""
    found: KillSwitch | None = None
    try:
        found = KillSwitchTable.model_validate(document.get("kill_switch", {})).position
    except ValidationError:
        found = None
    if found is not None:
        return found
    return KillSwitch.EVERYTHING if before is KillSwitch.EVERYTHING else KillSwitch.ADDITIONS

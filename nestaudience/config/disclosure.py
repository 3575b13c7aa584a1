"""What the policy discloses, and what follows: purposes as the rules have them, texts and segments within them, lists of one kind. Reads no file.

Every deviation is a problem with a sentence; what a file decides about emptying a list is found in its raw text, so that nothing else that is
wrong with it stands in the way.
"""

from typing import Any, Final

from nestaudience.config.coherence import affected
from nestaudience.config.forms import DISCLOSED_INPUTS
from nestaudience.config.policy import INPUTS_OF, RULES, PurposeTable
from nestaudience.config.reader import Reader
from nestaudience.config.schema import EMAIL_DIGEST, INCLUSION, Document
from nestaudience.vocabulary import AudienceKey, Purpose

SENSITIVE: Final = "sensitive"
INPUT_UNDISCLOSED: Final = "input_undisclosed"
"""Why a file empties a list, as codes of gates."""
_NEVER_LEGITIMATE_INTEREST: Final = (
    "list matching cannot rest on legitimate interest: authorities, and both platforms, ask for the person's consent"
)


def check_disclosure(reader: Reader) -> None:
    """Every problem of the registry, and of what goes beyond it."""
    for n, table in reader.lists["purposes"].items():
        _check_purpose(reader, n, table)
    disclosed = _disclosed(reader)
    if Purpose.AD_MATCHING not in disclosed:
        reader.add("purposes", "ad_matching is not in the registry", "add it: without it no list may be filled")
    for n, text in reader.lists["texts"].items():
        _check_text(reader, n, text, disclosed)
    for n, segment in reader.lists["segments"].items():
        for purpose, inputs in INPUTS_OF.items():
            if purpose not in disclosed and inputs & set(segment.data_inputs):
                what = f"{purpose.value} is not in the registry, and the segment is built on it"
                reader.add(f"segments[{n}].data_inputs", what, "add the purpose, or take the input out", ("segments", n))
    for n, audience in reader.lists["audiences"].items():
        _check_kind(reader, n, audience)


def emptied(document: Document) -> dict[AudienceKey, str]:
    """The audiences whose lists a file empties, and why (`sensitive`, `input_undisclosed`): a review that says sensitive, or an input that the policy
    does not disclose.
    """
    found: dict[AudienceKey, str] = {}
    segments = document.get("segments")
    for n, raw in enumerate(segments if isinstance(segments, list) else []):
        if not isinstance(raw, dict):
            continue
        inputs, approval = raw.get("data_inputs"), raw.get("approval")
        named = {each for each in inputs if isinstance(each, str)} if isinstance(inputs, list) else set()
        reviewed = isinstance(approval, dict) and approval.get("sensitive") == "reviewed_sensitive"
        if reviewed or named - DISCLOSED_INPUTS:
            found |= dict.fromkeys(affected(document, ("segments", n)) or (), SENSITIVE if reviewed else INPUT_UNDISCLOSED)
    return found


def _disclosed(reader: Reader) -> frozenset[Purpose]:
    """The purposes that the file names, rightly or wrongly: a wrong one is told of once. All of them when it names none."""
    listed = reader.document.get("purposes")
    if not isinstance(listed, list):
        return frozenset(Purpose)
    named = {raw.get("key") for raw in listed if isinstance(raw, dict) and isinstance(raw.get("key"), str)}
    return frozenset(purpose for purpose in Purpose if purpose.value in named)


def _check_purpose(reader: Reader, n: int, table: PurposeTable) -> None:
    rule, place, item = RULES[table.key], f"purposes[{n}]", ("purposes", n)
    if table.basis != rule.basis:
        forbidden = table.key is Purpose.AD_MATCHING and table.basis == "legitimate_interest"
        what = _NEVER_LEGITIMATE_INTEREST if forbidden else "another basis than the rules give this purpose"
        reader.add(f"{place}.basis", what, f"write {rule.basis}: there is no switch for it", item)
    if frozenset(table.recipients) != rule.recipients:
        remedy = "name exactly: " + (", ".join(sorted(rule.recipients)) or "none")
        reader.add(f"{place}.recipients", "other recipients than the rules give this purpose", remedy, item)
    if table.data_category != rule.data_category:
        what = "another category of data than the rules give this purpose"
        reader.add(f"{place}.data_category", what, f"write: {rule.data_category}", item)
    if table.retention != rule.retention:
        what = "another retention than the rules give this purpose"
        reader.add(f"{place}.retention", what, f"write {rule.retention}", item)
    policy = reader.singles.get("policy")
    if policy is not None and table.disclosed_in != policy.version:
        what = "read in another version of the policy than the one in force"
        reader.add(f"{place}.disclosed_in", what, "look whether the policy in force still says so, and name its version", item)


def _check_text(reader: Reader, n: int, text: Any, disclosed: frozenset[Purpose]) -> None:
    place, item = f"texts[{n}]", ("texts", n)
    if not set(text.purposes) <= disclosed:
        what = "covers a purpose that the registry does not disclose"
        reader.add(f"{place}.purposes", what, "add the purpose to the registry, or take it out of the text", item)
    to = [RULES[purpose].recipients for purpose in text.purposes if RULES[purpose].recipients]
    if to and not set(text.recipients) <= frozenset().union(*to):
        what = "covers a recipient that the registry discloses for none of its purposes"
        reader.add(f"{place}.recipients", what, "name only recipients of the text's purposes", item)


def _check_kind(reader: Reader, n: int, audience: Any) -> None:
    place, item = f"audiences[{n}]", ("audiences", n)
    if audience.kind != INCLUSION:
        what = "only lists of people who are to be reached: exclusion lists and look-alike seeds are no purpose of the policy"
        reader.add(f"{place}.kind", what, f"write {INCLUSION}, or take the audience out", item)
    if set(audience.identifiers) != {EMAIL_DIGEST}:
        what = "only digests of e-mail addresses: no other identifier is disclosed"
        reader.add(f"{place}.identifiers", what, f"write {EMAIL_DIGEST} alone", item)

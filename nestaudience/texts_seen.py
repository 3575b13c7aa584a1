"""Consents under texts that the registry does not know: a typo in the registry, or a text that somebody showed and nobody registered.

Counts only: what stands in the store's column could be anything, and is not repeated. It decides nothing; screening refuses such a consent.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.config.schema import Text
from nestaudience.customers.contract import CONSENT_EVENT
from nestaudience.customers.port import Snapshot
from nestaudience.vocabulary import Purpose

_CONSENTED: Final = pa.array([Purpose.AD_MATCHING.value, Purpose.ENHANCED_CONVERSIONS.value, Purpose.WEB_BEHAVIOUR.value])


@dataclass(frozen=True, slots=True)
class UnknownTexts:
    """How many versions of texts the store's consents name that no text has, and how many accounts have such a consent."""

    versions: int
    accounts: int


def unknown_texts(snapshot: Snapshot, texts: tuple[Text, ...]) -> UnknownTexts:
    """Read every consent once. A consent that names no text counts for nothing here. Raises as the store does."""
    known = pa.array([text.version for text in texts], pa.string())
    versions: list[pa.Array] = []
    accounts: list[pa.Array] = []
    for sheet in snapshot.read(CONSENT_EVENT):
        facts = sheet.facts
        given = pc.and_(pc.equal(facts.column("action"), "grant"), pc.is_in(facts.column("purpose"), value_set=_CONSENTED))
        version = facts.column("text_version")
        strange = pc.and_(pc.is_valid(version), pc.invert(pc.is_in(version, value_set=known)))
        rows = facts.filter(pc.fill_null(pc.and_(given, strange), False))  # noqa: FBT003 - a value, not a switch
        if rows.num_rows:
            versions.append(pc.unique(rows.column("text_version")))
            accounts.append(pc.unique(rows.column("account_id")))
    return UnknownTexts(_distinct(versions), _distinct(accounts))


def _distinct(found: list[pa.Array]) -> int:
    return int(pc.count_distinct(pa.chunked_array(found, pa.string())).as_py()) if found else 0

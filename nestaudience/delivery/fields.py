"""What the log says of an audience's plan and of a transfer, as fields of entries: keys and counts. It writes nothing."""

from collections.abc import Iterable

from nestaudience.config.policy import PurposeTable
from nestaudience.config.settings import Audience, Settings
from nestaudience.delta.plan import AudiencePlan
from nestaudience.destinations.port import Accepted, Batch, NoReceipt, Receipt, Refused
from nestaudience.hashing.addresses import NORMALISER_VERSION
from nestaudience.ledger.entries import Value
from nestaudience.ledger.memory import RemoteList
from nestaudience.ledger.merkle import root_of
from nestaudience.vocabulary import AudienceKey, Operation, Purpose, Recipient


def funnel_fields(plan: AudiencePlan) -> dict[str, Value]:
    """What a funnel entry says: one audience's numbers, and the gates that are closed."""
    return {
        "audience": plan.key,
        "candidates": plan.funnel.candidates,
        "eligible": plan.funnel.eligible,
        "refused": dict(plan.funnel.refused),
        "held": plan.counts.held,
        "wanted": plan.counts.wanted,
        "noes": plan.counts.noes,
        "ordered": plan.counts.ordered,
        "ordinary": plan.counts.ordinary,
        "additions": plan.counts.additions,
        "refresh": plan.counts.refresh,
        "vanished": plan.counts.vanished,
        "gates": [gate.code for gate in plan.gates],
        "released": list(plan.released),
    }


def intent_fields(
    audience: Audience, remote: RemoteList, transfer: str, operation: Operation, people: int, purpose: PurposeTable
) -> dict[str, Value]:
    """What a transfer intent says: who sends what about whom to whom, for which purpose, and who let it. An empty word: nobody said."""
    adds = operation is Operation.ADD
    approval = audience.segment.approval
    return {
        "transfer_id": transfer,
        "operation": operation.value,
        "audience": audience.key,
        "segment": audience.segment.code,
        "destination": audience.table.destination,
        "recipient": audience.recipient.key.value,
        "recipient_name": audience.recipient.legal_name,
        "recipient_country": audience.recipient.country,
        "transfer_mechanism": audience.recipient.transfer_mechanism,
        "ad_account": remote.ad_account,
        "list_id": remote.list_id,
        "list_code": remote.code,
        "terms_reference": audience.recipient.terms_reference,
        "purpose": purpose.key.value,
        "legal_basis": purpose.basis,
        "data_category": purpose.data_category,
        "disclosed_in": purpose.disclosed_in,
        "disclosed_at": purpose.section,
        "consent_signals": ["ad_personalization", "ad_user_data"] if adds and audience.recipient.key is Recipient.GOOGLE else [],
        "normaliser_version": NORMALISER_VERSION,
        "dpia": approval.dpia or "",
        "approved_by": approval.approver or "",
        "owner": approval.owner,
        "approved_on": approval.approved_on.isoformat() if approval.approved_on is not None else "",
        "sensitive": approval.sensitive,
        "reviewed_by": approval.reviewer or "",
        "approval_commit": approval.commit or "",
        "planned_removals": 0 if adds else people,
        "planned_additions": people if adds else 0,
    }


def batch_fields(
    audience: AudienceKey, remote: RemoteList, batch: Batch, leaves: bytes, transfer: str, number: int, marks: Iterable[str]
) -> dict[str, Value]:
    """What a batch entry says: one request, how many people, and the root over their leaves. `number` is its place in its transfer."""
    return {
        "transfer_id": transfer,
        "batch_id": batch.batch_id.hex(),
        "audience": audience,
        "list_id": remote.list_id,
        "ad_account": remote.ad_account,
        "recipient": batch.digests.recipient.value,
        "operation": batch.operation.value,
        "number": number,
        "count": len(batch.digests),
        "membership_root": root_of(leaves).hex(),
        **dict.fromkeys(marks, True),
    }


def result_fields(transfer: str, batch_id: bytes, receipt: Receipt) -> dict[str, Value]:
    """What a result entry says: the answer to one request."""
    said: dict[str, Value] = {"transfer_id": transfer, "batch_id": batch_id.hex(), "code": "", "request_id": ""}
    match receipt:
        case Accepted(request_id):
            return said | {"outcome": "accepted", "request_id": request_id}
        case Refused(code):
            return said | {"outcome": "refused", "code": code}
        case NoReceipt(code):
            return said | {"outcome": "unknown", "code": code}


def texts_for(audience: Audience, settings: Settings) -> list[str]:
    """The texts under which somebody of this audience may have consented."""
    return sorted(
        text.version
        for text in settings.texts
        if Purpose.AD_MATCHING in text.purposes
        and audience.controller.key in text.controllers
        and audience.recipient.key in text.recipients
    )

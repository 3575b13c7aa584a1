"""Meta's messages: a batch turned into the bytes of one form, and answers turned into the port's values.

It builds and reads; it opens no connection, asks nobody and imports no SDK. A request exists here only as the body that will go out,
so what the wire guard reads back is what is sent. Nothing of a person is anywhere but in that body.

Form, session and answers: https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences
(read 2026-11). One shape is used for all: schema `["EMAIL"]`, rows of one value; a list that was filled in one shape refuses another.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, urlencode

from nestaudience.destinations.meta_errors import LOST
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    Contents,
    ListFacts,
    ListSpec,
    NeverSeen,
    NoReceipt,
    Receipt,
    Settlement,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.vocabulary import Operation, Recipient

MAX_ROWS: Final = 10_000
MAX_OPT_OUT: Final = 200
"""Rows of a request for a whole account. Meta names no number for it; this many would still fit into an URL, where Meta documents them."""
MOST_DAYS: Final = 180
"""https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience (read 2026-11)."""
CUSTOMER_LIST: Final = "CUSTOM"
"""The subtype of a list that is filled with customers' data."""
LIST_FIELDS: Final = (
    "id,account_id,name,subtype,operation_status,approximate_count_lower_bound,approximate_count_upper_bound,retention_days"
)

_OURS: Final = "na-"
_NO_UPLOAD: Final = 410
_REPLACING: Final = 414
_CLOSED: Final = {100: "expiring", 470: "account_inactive", 471: "flagged"}
"""`operation_status` -> why nobody should be added any more."""
_REQUEST_ID: Final = re.compile(r"([0-9]{1,20}):([1-9][0-9]{0,18})")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_SESSION: Final = {"session_id", "batch_seq", "last_batch_flag", "estimated_num_total"}


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One request to a list's `/users`, as the bytes of its form. It prints nothing of them and cannot be pickled.

    A request to Meta names the list alone; `account_id` is the account that Meta itself said the list belongs to. Without a list it goes to the
    account's `/usersofanyaudience`, and names the account alone.
    """

    account_id: str
    list_id: str
    session_id: int
    people: int
    message: bytes = field(repr=False)

    def contents(self) -> Contents:
        """Parse the bytes afresh. Whatever is not a row of exactly one value, in our one form, shows as an empty string."""
        pairs = parse_qsl(self.message.decode("ascii", "replace"), keep_blank_values=True)
        fields = dict(pairs)
        operation = Operation.REMOVE if "method" in fields else Operation.ADD
        expected = {"payload", "session"} | ({"method"} if operation is Operation.REMOVE else set())
        usual = len(pairs) == len(fields) and set(fields) == expected and fields.get("method", "DELETE") == "DELETE"
        rows = _rows(fields) if usual else None
        identifiers = [""] if rows is None else [_sole_value(row) for row in rows]
        return Contents(self.account_id, self.list_id, operation, identifiers)

    @property
    def path(self) -> tuple[str, str]:
        """Where it goes."""
        return (self.list_id, "users") if self.list_id else (f"act_{self.account_id}", "usersofanyaudience")

    def fields(self) -> dict[str, str]:
        """The form's fields in their order, made from the bytes."""
        return dict(parse_qsl(self.message.decode("ascii"), keep_blank_values=True, strict_parsing=True))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a prepared request cannot be pickled or copied")


def _rows(fields: Mapping[str, str]) -> list[Any] | None:
    """The rows of a payload in our one form with a fitting session, or None."""
    payload, session = _canonical(fields["payload"]), _canonical(fields["session"])
    if payload is None or session is None or set(payload) != {"schema", "is_raw", "data"} or set(session) != _SESSION:
        return None
    rows = payload["data"]
    if payload["schema"] != ["EMAIL"] or payload["is_raw"] is not True or not isinstance(rows, list):
        return None
    whole = session["batch_seq"] == 1 and session["last_batch_flag"] is True and session["estimated_num_total"] == len(rows)
    return rows if whole else None


def _canonical(text: str) -> dict[str, Any] | None:
    """A JSON object that is written exactly as we write it: no field twice, nothing that two readers read differently."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _compact(found) == text else None


def _sole_value(row: Any) -> str:
    return row[0] if isinstance(row, list) and len(row) == 1 and isinstance(row[0], str) else ""


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def form_of(fields: Mapping[str, str]) -> bytes:
    """The body of a form with these fields, in their order."""
    return urlencode(fields).encode("ascii")


def session_id_of(batch_id: bytes) -> int:
    """The session of a batch: a positive 63-bit number that follows from the batch's id, so two batches never share one."""
    return int.from_bytes(hashlib.sha256(batch_id).digest()[:8]) >> 1 or 1


def prepare_request(target: Target, batch: Batch) -> PreparedRequest:
    """The bytes of a batch's one request. Raises ValueError for one that is too large or not for Meta.

    A removal is a POST that says `method=DELETE` in its form: the plain DELETE would carry all digests in the URL
    (custom-audiences guide, "Remove", read 2026-11). The session is opened and closed by this one request.
    """
    people = len(batch.digests)
    if people > MAX_ROWS or batch.digests.recipient is not Recipient.META:
        raise ValueError("a batch for Meta has at most 10 000 digests made by Meta's rule")
    return _prepared(target.account.account_id, target.list_id, batch)


def prepare_opt_out(account: Account, batch: Batch) -> PreparedRequest:
    """The bytes of the one request that takes a batch's people off every list of the account. Raises ValueError for one that is too large, or no
    removal for Meta.

    "Send the same fields as a user update" (custom-audience reference, "Updating", read 2026-11). Meta documents a plain DELETE there, which would
    carry all digests in the URL; `method=DELETE` in the form of a POST is documented for `/users`, and Graph takes it on other edges as a rule.
    """
    if (
        len(batch.digests) > MAX_OPT_OUT
        or batch.digests.recipient is not Recipient.META
        or batch.operation is not Operation.REMOVE
    ):
        raise ValueError("an opt-out at Meta is a removal of at most 200 digests made by Meta's rule")
    return _prepared(account.account_id, "", batch)


def _prepared(account_id: str, list_id: str, batch: Batch) -> PreparedRequest:
    people, session_id = len(batch.digests), session_id_of(batch.batch_id)
    session = {"session_id": session_id, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": people}
    fields = {"method": "DELETE"} if batch.operation is Operation.REMOVE else {}
    fields["payload"] = _compact({"schema": ["EMAIL"], "is_raw": True, "data": [[digest] for digest in batch.digests.hex()]})
    fields["session"] = _compact(session)
    return PreparedRequest(account_id, list_id, session_id, people, form_of(fields))


def receipt_of(prepared: PreparedRequest, told: Mapping[str, Any]) -> Receipt:
    """What a good answer to an upload says. Counts are those of the session, which is this request's alone.

    `num_invalid_entries` is Meta's estimate, kept as a warning. Samples of invalid entries are never read: they hold digests. What Meta answers for
    a whole account is documented nowhere: nothing of it is believed, but that it is no error.
    """
    if not prepared.list_id:
        return Accepted(f"act_{prepared.account_id}:{prepared.session_id}")
    if not _is(told, "audience_id", prepared.list_id) or not _is(told, "session_id", str(prepared.session_id)):
        return NoReceipt(LOST + "answer_of_another")
    received, invalid = count(told.get("num_received")), count(told.get("num_invalid_entries", 0))
    if received != prepared.people or invalid is None:
        return NoReceipt(LOST + "counts_differ")
    return Accepted(f"{prepared.list_id}:{prepared.session_id}", Succeeded(received, _warnings(invalid)))


def _is(told: Mapping[str, Any], name: str, expected: str) -> bool:
    """True when a field is not given, or says what it must."""
    return told.get(name) is None or str(told[name]) == expected


def count(value: object) -> int | None:
    """A number that is given as one or as digits; None for anything else."""
    if type(value) is int and value >= 0:
        return value
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def _warnings(invalid: int) -> tuple[tuple[str, int], ...]:
    return (("invalid_entries", invalid),) if invalid else ()


def upload_of(request_id: str) -> tuple[str, str] | None:
    """The list and the session that a receipt's id names; None for an id that this destination never gave."""
    parts = _REQUEST_ID.fullmatch(request_id)
    return None if parts is None else (parts[1], parts[2])


def settlement_of(told: Mapping[str, Any], session_id: str) -> Settlement:
    """The result of an upload from the answer of `/sessions`, whose values are all text."""
    rows = told.get("data")
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    row = next((row for row in known if str(row.get("session_id")) == session_id), None)
    if row is None:
        return NeverSeen("request_unknown")
    received, invalid = count(row.get("num_received")), count(row.get("num_invalid_entries", 0))
    return Succeeded(received, _warnings(invalid or 0)) if ended(row) and received is not None else StillProcessing()


def ended(row: Mapping[str, Any]) -> bool:
    """True when a session says that it has ended. The stages are not documented: whatever does not say so has not."""
    return str(row.get("stage")).lower() in {"finished", "completed", "complete"} or str(row.get("progress")) == "100"


def list_fields(spec: ListSpec) -> dict[str, str]:
    """The fields that create a customer list. No description: Meta judges lists by their words
    (https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences, read 2026-11).
    """
    return {
        "name": spec.name,
        "subtype": CUSTOMER_LIST,
        "customer_file_source": "USER_PROVIDED_ONLY",
        "retention_days": str(spec.membership_days),
    }


def created_facts(list_id: str, spec: ListSpec) -> ListFacts:
    """What is known of a list that was just created."""
    return ListFacts(
        list_id=list_id,
        code=spec.code,
        name=spec.name,
        open=True,
        membership_days=spec.membership_days,
        size=None,
        match_rate=None,
        closing_reason=None,
    )


def first_word(name: str) -> str:
    """The word of a list's name that is its code, if the list is ours. Meta has no other field for one."""
    return name.partition(" ")[0]


def account_of(item: Mapping[str, Any]) -> str:
    """The id of the ad account that owns a list, without `act_`; empty when it is not told."""
    return str(item.get("account_id") or "").removeprefix("act_")


def facts_of(item: Mapping[str, Any]) -> ListFacts:
    """What Meta says of a list. Its size is the upper bound of the estimate, None before the first upload and while it is negative."""
    name, status = str(item.get("name") or ""), status_code(item.get("operation_status"))
    size = count(item.get("approximate_count_upper_bound"))
    code = first_word(name)
    return ListFacts(
        list_id=str(item["id"]),
        code=code if code.startswith(_OURS) else "",
        name=name,
        open=status not in _CLOSED,
        membership_days=count(item.get("retention_days")) or None,
        size=None if status == _NO_UPLOAD else size,
        match_rate=None,
        closing_reason=_CLOSED.get(status),
    )


def is_updating(item: Mapping[str, Any]) -> bool:
    """True while Meta replaces the people of a list: it takes no others meanwhile."""
    return status_code(item.get("operation_status")) == _REPLACING


def status_code(value: Any) -> int:
    """The number in an `operation_status` or a `delivery_status`; 0, not available, when there is none. One of Meta's examples calls it `status`."""
    told = value if isinstance(value, dict) else {}
    return count(told.get("code", told.get("status"))) or 0

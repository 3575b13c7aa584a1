"""The Meta destination: the form it builds, what it makes of answers, and its lists. The contract suite has the rest."""

import hashlib
import json
import pickle
from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import hypothesis
import pyarrow as pa
import pytest
from answering_http import AnsweringHttp, answering, told
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_messages import (
    PreparedRequest,
    facts_of,
    prepare_request,
    receipt_of,
    session_id_of,
    settlement_of,
)
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ListSpec,
    NeverSeen,
    NoReceipt,
    Receipt,
    Refused,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList
from nestaudience.vocabulary import Operation, Recipient

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT = Account("1112223333")
OTHER = Account("4445556666")
TARGET = Target(ACCOUNT, "120210000000000001")
BATCH_ID = bytes(range(16))
ADD, REMOVE = Operation.ADD, Operation.REMOVE


def digests(*names: str, recipient: Recipient = Recipient.META) -> Digests:
    return Digests(pa.array([hashlib.sha256(name.encode()).digest() for name in names], pa.binary(32)), recipient)


def batch(operation: Operation, *names: str, batch_id: bytes = BATCH_ID) -> Batch:
    return Batch(batch_id, operation, digests(*names))


@pytest.fixture
def sandbox() -> Iterator[MetaSandbox]:
    accounts = {ACCOUNT.account_id: MetaAccount(), OTHER.account_id: MetaAccount()}
    with MetaSandbox(accounts, SandboxClock(START), keep_requests=True) as running:
        yield running


def settings(sandbox: MetaSandbox) -> MetaSettings:
    return MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}")


@pytest.fixture
def meta(sandbox: MetaSandbox) -> Iterator[Meta]:
    destination = Meta(settings(sandbox), sleep=lambda _: None, clock=lambda: sandbox.clock.now().timestamp())
    yield destination
    destination.close()


def ready(meta: Meta, code: str = "na-00000001") -> Target:
    return Target(ACCOUNT, meta.create_list(ACCOUNT, ListSpec(code, f"{code} x", 30)).list_id)


# --- the message


@hypothesis.settings(deadline=None)
@given(
    st.sampled_from(list(Operation)),
    st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True),
    st.binary(min_size=16, max_size=16),
)
def test_a_form_holds_the_batch_and_nothing_else(operation: Operation, names: list[str], batch_id: bytes) -> None:
    prepared = prepare_request(TARGET, batch(operation, *names, batch_id=batch_id))
    form = parse_qs(prepared.message.decode("ascii"), strict_parsing=True)
    assert {name: len(values) for name, values in form.items()} == dict.fromkeys(form, 1)
    expected = {"payload", "session"} if operation is ADD else {"method", "payload", "session"}
    assert set(form) == expected
    assert form.get("method", ["DELETE"]) == ["DELETE"]
    hexes = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    assert json.loads(form["payload"][0]) == {"schema": ["EMAIL"], "is_raw": True, "data": [[one] for one in hexes]}
    session = json.loads(form["session"][0])
    number = session.pop("session_id")
    assert session == {"batch_seq": 1, "last_batch_flag": True, "estimated_num_total": len(names)}
    assert session["last_batch_flag"] is True
    assert type(number) is int
    assert 0 < number < 2**63
    contents = prepared.contents()
    assert (contents.account_id, contents.list_id, contents.operation) == (ACCOUNT.account_id, TARGET.list_id, operation)
    assert contents.identifiers == hexes


def test_a_session_follows_from_the_batch_and_is_its_own() -> None:
    ids = [number.to_bytes(16) for number in range(20_000)]
    assert len({session_id_of(one) for one in ids}) == len(ids)
    assert session_id_of(BATCH_ID) == int(hashlib.sha256(BATCH_ID).hexdigest()[:16], 16) >> 1


PAYLOAD = {"schema": ["EMAIL"], "is_raw": True, "data": [["a" * 64], ["b" * 64]]}
SESSION = {"session_id": 7, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": 2}


def read(**fields: object) -> list[str]:
    compact = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in fields.items()
    }
    message = urlencode(compact).encode()
    return PreparedRequest("1", "2", 7, 2, message).contents().identifiers


def test_contents_show_whatever_does_not_belong() -> None:
    good = ["a" * 64, "b" * 64]
    assert read(payload=PAYLOAD, session=SESSION) == good
    assert read(method="DELETE", payload=PAYLOAD, session=SESSION) == good
    for row in ([], ["a" * 64, "anna@example.com"], "a" * 64, [1], [None], {"EMAIL": "a" * 64}):
        assert read(payload={**PAYLOAD, "data": [row, ["b" * 64]]}, session=SESSION) == ["", "b" * 64]
    for payload in (
        {**PAYLOAD, "schema": "EMAIL"},
        {**PAYLOAD, "schema": ["EMAIL", "PHONE"]},
        {**PAYLOAD, "schema": "EMAIL_SHA256"},
        {**PAYLOAD, "is_raw": False},
        {**PAYLOAD, "is_raw": 1},
        {**PAYLOAD, "app_ids": [1]},
        {"schema": ["EMAIL"], "data": PAYLOAD["data"]},
        {**PAYLOAD, "data": {}},
        {**PAYLOAD, "data": [["a" * 64]]},
        [],
        "",
        "{",
        json.dumps(PAYLOAD),
        '{"schema":["EMAIL"],"is_raw":true,"data":[["anna@example.com"],["x"]],"data":[["a"],["b"]]}',
    ):
        assert read(payload=payload, session=SESSION) == [""], payload
    for session in ({}, {**SESSION, "batch_seq": 2}, {**SESSION, "last_batch_flag": False}, {**SESSION, "more": 1}, "[]"):
        assert read(payload=PAYLOAD, session=session) == [""], session
    assert read(payload=PAYLOAD) == [""]
    assert read(payload=PAYLOAD, session=SESSION, customer="anna@example.com") == [""]
    assert read(method="delete", payload=PAYLOAD, session=SESSION) == [""]
    compact = {name: json.dumps(value, separators=(",", ":")) for name, value in {"payload": PAYLOAD, "session": SESSION}.items()}
    once = urlencode(compact).encode()
    assert PreparedRequest("1", "2", 7, 2, once).contents().identifiers == good
    assert PreparedRequest("1", "2", 7, 2, b"payload=anna&" + once).contents().identifiers == [""]
    assert PreparedRequest("1", "2", 7, 2, b"\xff\x00").contents().identifiers == [""]


def test_a_prepared_request_is_neither_copied_nor_printed() -> None:
    prepared = prepare_request(TARGET, batch(ADD, "a"))
    for keep in (pickle.dumps, copy, deepcopy):
        with pytest.raises(TypeError):
            keep(prepared)
    assert hashlib.sha256(b"a").hexdigest() not in repr(prepared) + str(prepared) + f"{prepared}"


def test_batches_that_are_not_metas_are_not_built(meta: Meta) -> None:
    target = ready(meta)
    foreign = Batch(BATCH_ID, REMOVE, digests("a", recipient=Recipient.GOOGLE))
    huge = batch(REMOVE, *[str(number) for number in range(10_001)])
    for wrong in (foreign, huge):
        with pytest.raises(ValueError, match="10 000 digests"):
            meta.prepare(target, wrong)
    with pytest.raises(TypeError):
        meta.send(object())  # type: ignore[arg-type]


def test_ids_that_are_no_numbers_never_reach_meta(sandbox: MetaSandbox, meta: Meta) -> None:
    for odd in (Account("act_1"), Account(""), Account("1/users"), Account("²")):
        for ask in (
            lambda odd=odd: meta.find_list(odd, "c"),
            lambda odd=odd: meta.lists(odd),
            lambda odd=odd: meta.read_list(Target(odd, "1")),
            lambda odd=odd: meta.delete_list(Target(odd, "1")),
            lambda odd=odd: meta.create_list(odd, ListSpec("c", "c n", 30)),
            lambda odd=odd: meta.prepare(Target(odd, "1"), batch(ADD, "a")),
            lambda odd=odd: meta.read_list(Target(ACCOUNT, odd.account_id)),
            lambda odd=odd: meta.prepare(Target(ACCOUNT, odd.account_id), batch(REMOVE, "a")),
        ):
            with pytest.raises(NeedsFix) as caught:
                ask()
            assert caught.value.code == "account_wrong"
    assert (sandbox.reads, sandbox.writes) == (0, 0)


def test_no_addition_is_built_before_the_terms_are_accepted(sandbox: MetaSandbox, meta: Meta) -> None:
    target = ready(meta)
    careless = Meta(replace(settings(sandbox), terms_accepted=False))
    with pytest.raises(NeedsFix) as caught:
        careless.prepare(target, batch(ADD, "a"))
    assert caught.value.code == "terms_missing"
    assert careless.prepare(target, batch(REMOVE, "a")).contents().list_id == target.list_id
    careless.close()


def test_a_list_is_bound_to_the_account_that_meta_names(sandbox: MetaSandbox, meta: Meta) -> None:
    """A request to Meta names no account, so nothing else would keep one company's people off another's list."""
    target = ready(meta)
    for destination in (meta, Meta(settings(sandbox))):
        for operation in Operation:
            with pytest.raises(MustStop) as caught:
                destination.prepare(Target(OTHER, target.list_id), batch(operation, "a"))
            assert caught.value.code == "wrong_account"
    fresh = Meta(settings(sandbox))
    assert fresh.prepare(target, batch(ADD, "a")).contents().account_id == ACCOUNT.account_id
    reads = sandbox.reads
    fresh.prepare(target, batch(ADD, "b"))
    assert sandbox.reads == reads  # once is enough
    sandbox.drop_list(ACCOUNT.account_id, target.list_id)
    with pytest.raises(TryAgain) as gone:
        Meta(settings(sandbox)).prepare(target, batch(ADD, "a"))
    assert gone.value.code == "list_gone"


# --- receipts


def test_a_receipt_is_already_the_result(sandbox: MetaSandbox, meta: Meta) -> None:
    target = ready(meta)
    prepared = meta.prepare(target, batch(ADD, "a", "b"))
    receipt = meta.send(prepared)
    number = session_id_of(BATCH_ID)
    assert receipt == Accepted(f"{target.list_id}:{number}", Succeeded(2))
    assert meta.status(receipt.request_id, ADD, sent_at=START, now=START) == Succeeded(2)
    kind, raw = sandbox.received[-2]
    assert kind == "AddUsers"
    assert raw.endswith(b"\r\n\r\n" + prepared.message)  # type: ignore[attr-defined]


def receipt(**changed: object) -> Receipt:
    prepared = prepare_request(TARGET, batch(ADD, "a", "b"))
    told = {"audience_id": TARGET.list_id, "session_id": str(prepared.session_id), "num_received": 2, "num_invalid_entries": 0}
    return receipt_of(prepared, {name: value for name, value in {**told, **changed}.items() if value != "left out"})


def test_counts_must_be_those_of_the_batch() -> None:
    request_id = f"{TARGET.list_id}:{session_id_of(BATCH_ID)}"
    for fine in (
        {},
        {"num_received": "2"},
        {"audience_id": int(TARGET.list_id), "session_id": session_id_of(BATCH_ID)},
        {"audience_id": "left out", "session_id": "left out", "num_invalid_entries": "left out", "account_id": "1"},
    ):
        assert receipt(**fine) == Accepted(request_id, Succeeded(2))
    for wrong in (0, 1, 3, "3", -2, 2.0, True, None, "two", "", [2], "left out"):
        assert receipt(num_received=wrong) == NoReceipt("lost_counts_differ")
    for wrong in (-1, "many", 1.0, [], True):
        assert receipt(num_invalid_entries=wrong) == NoReceipt("lost_counts_differ")
    for field in ("audience_id", "session_id"):
        for other in ("9", 9, "", True):
            assert receipt(**{field: other}) == NoReceipt("lost_answer_of_another")


def test_invalid_entries_are_a_warning_and_their_samples_are_dropped() -> None:
    digest = hashlib.sha256(b"a").hexdigest()
    accepted = receipt(num_invalid_entries=1, invalid_entry_samples={"0": digest})
    assert accepted == Accepted(f"{TARGET.list_id}:{session_id_of(BATCH_ID)}", Succeeded(2, (("invalid_entries", 1),)))
    assert digest not in repr(accepted)


def row(**changed: object) -> dict[str, object]:
    fields = {"session_id": "7", "stage": "finished", "progress": "100", "num_received": "3", "num_invalid_entries": "0"}
    return {**fields, **changed}


def test_sessions_are_read_with_care() -> None:
    def read(*rows: object) -> object:
        return settlement_of({"data": list(rows)}, "7")

    assert read(row(session_id="8"), row()) == Succeeded(3)
    assert read(row(num_invalid_entries="2")) == Succeeded(3, (("invalid_entries", 2),))
    assert read(row(stage="an unknown word")) == Succeeded(3)
    for unfinished in (row(stage="uploading", progress="99"), row(stage=None, progress=None), row(num_received="?")):
        assert read(unfinished) == StillProcessing()
    for unknown in ((), (row(session_id="70"),), ("7",), (None,)):
        assert read(*unknown) == NeverSeen("request_unknown")
    assert settlement_of({"data": None}, "7") == NeverSeen("request_unknown")


@pytest.mark.parametrize(
    "request_id", ["", ":", "1:", ":1", "1:0", "1:-1", "1:x", "1:1:1", "act_1:1", "1/users:1", "1:99999999999999999999", " 1:1"]
)
def test_ids_that_we_never_gave_are_not_asked_for(sandbox: MetaSandbox, meta: Meta, request_id: str) -> None:
    assert meta.status(request_id, ADD, sent_at=START, now=START) == NeverSeen("request_unknown")
    assert sandbox.reads == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.UNAVAILABLE, "lost_unavailable"),
        (FaultKind.DEADLINE, "lost_unavailable"),
        (FaultKind.INTERNAL, "lost_unavailable"),
        (FaultKind.HTML_OK, "lost_unreadable"),
        (FaultKind.EMPTY_BODY, "lost_unreadable"),
        (FaultKind.MALFORMED_DETAILS, "lost_unreadable"),
        (FaultKind.UNKNOWN_REASON, "lost_unknown"),
        (FaultKind.NO_REQUEST_ID, "lost_unreadable"),
        (FaultKind.ANSWER_LOST_BEFORE_EFFECT, "lost_unavailable"),
        (FaultKind.ANSWER_LOST_AFTER_EFFECT, "lost_unavailable"),
    ],
)
@pytest.mark.parametrize("operation", list(Operation))
def test_what_proves_nothing_is_no_receipt(
    sandbox: MetaSandbox, meta: Meta, kind: FaultKind, code: str, operation: Operation
) -> None:
    target = ready(meta)
    sandbox.faults.add(Fault("*", kind))
    assert meta.send(meta.prepare(target, batch(operation, "a"))) == NoReceipt(code)
    assert sandbox.writes == 2  # the list, and one request: never a second one


def test_a_call_that_outlasts_the_timeout_is_no_receipt(sandbox: MetaSandbox) -> None:
    hasty = Meta(replace(settings(sandbox), timeout_seconds=0.3))
    target = ready(hasty)
    sandbox.faults.add(Fault("AddUsers", FaultKind.HANG, seconds=1.0))
    assert hasty.send(hasty.prepare(target, batch(ADD, "a"))) == NoReceipt("lost_deadline_exceeded")
    assert sandbox.seen("AddUsers") == 1
    hasty.close()


def test_what_meta_refuses_has_no_effect(sandbox: MetaSandbox, meta: Meta) -> None:
    target = ready(meta)
    meta.send(meta.prepare(target, batch(ADD, "a", batch_id=bytes(16))))
    held = sandbox.members(ACCOUNT.account_id, target.list_id)
    prepared = {operation: meta.prepare(target, batch(operation, "a", "b")) for operation in Operation}

    def refused(code: str, *operations: Operation, passing: bool = False) -> None:
        for operation in operations or tuple(Operation):
            assert meta.send(prepared[operation]) == Refused(code, passing=passing)
        assert sandbox.members(ACCOUNT.account_id, target.list_id) == held

    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(tos_accepted=False)
    refused("terms_missing")
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(tokens=frozenset())
    refused("list_gone")
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(refuse_small_removals_below=1)
    refused("removal_refused_too_small", REMOVE)
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(calls_per_hour=1)
    refused("quota_exhausted")
    with pytest.raises(TryAgain) as caught:
        meta.read_list(target)
    assert caught.value.code == "quota_exhausted"
    assert caught.value.after is not None
    assert 0 < caught.value.after <= 3600
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount()
    sandbox.advance(timedelta(hours=2))
    sandbox.set_status(ACCOUNT.account_id, target.list_id, 414)
    refused("update_in_progress", passing=True)
    sandbox.flag_list(ACCOUNT.account_id, target.list_id)
    refused("list_flagged")


def test_nothing_is_asked_while_meta_wants_silence(sandbox: MetaSandbox, meta: Meta) -> None:
    target = ready(meta)
    prepared = meta.prepare(target, batch(REMOVE, "a"))
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(calls_per_hour=1)
    assert meta.send(prepared) == Refused("quota_exhausted")
    calls = sandbox.reads + sandbox.writes
    for operation in Operation:
        with pytest.raises(TryAgain) as caught:
            meta.ready(target, operation, 0)
        assert caught.value.after is not None
        assert 90 < caught.value.after <= 3600
    assert meta.send(prepared) == Refused("quota_exhausted")
    with pytest.raises(TryAgain):
        meta.read_list(target)
    assert sandbox.reads + sandbox.writes == calls
    assert meta.lists(OTHER) == ()  # another account has an allowance of its own
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount()
    sandbox.advance(timedelta(hours=1))
    meta.ready(target, REMOVE, 0)
    assert isinstance(meta.send(prepared), Accepted)


def test_additions_slow_down_before_the_limit_and_removals_later(sandbox: MetaSandbox) -> None:
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(calls_per_hour=20)
    slept: list[float] = []
    slow = Meta(settings(sandbox), sleep=slept.append, clock=lambda: sandbox.clock.now().timestamp())
    target = ready(slow)
    pauses: dict[Operation, list[float]] = {ADD: [], REMOVE: []}
    stopped = None
    for number in range(1, 19):
        for operation in Operation:
            before = sum(slept)
            try:
                slow.ready(target, operation, 0)
            except TryAgain:
                stopped = stopped or (number, operation)
            pauses[operation].append(sum(slept) - before)
        assert isinstance(slow.send(slow.prepare(target, batch(REMOVE, "a", batch_id=bytes([number]) * 16))), Accepted)
    assert pauses[ADD] == sorted(pauses[ADD])
    assert pauses[ADD][10] == 0 < pauses[ADD][-1]
    assert all(removal <= addition for removal, addition in zip(pauses[REMOVE], pauses[ADD], strict=True))
    assert stopped is None or stopped[1] is ADD
    slow.close()


def test_a_list_that_meta_updates_is_looked_at_until_it_is_done(sandbox: MetaSandbox) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            sandbox.set_status(ACCOUNT.account_id, target.list_id, None)

    patient = Meta(settings(sandbox), sleep=sleep)
    target = ready(patient)
    prepared = patient.prepare(target, batch(REMOVE, "a"))
    sandbox.set_status(ACCOUNT.account_id, target.list_id, 414)
    assert patient.send(prepared) == Refused("update_in_progress", passing=True)
    patient.ready(target, REMOVE, 0)
    assert len(waited) == 2
    assert isinstance(patient.send(prepared), Accepted)
    patient.ready(target, REMOVE, 0)
    assert len(waited) == 2
    sandbox.set_status(ACCOUNT.account_id, target.list_id, 414)
    assert isinstance(patient.send(prepared), Refused)
    with pytest.raises(TryAgain) as caught:
        patient.ready(target, REMOVE, 0)
    assert caught.value.code == "update_in_progress"
    assert 60 <= sum(waited[2:]) <= 90
    patient.close()


def test_versions_and_proofs(sandbox: MetaSandbox) -> None:
    old = Meta(replace(settings(sandbox), api_version="v24.0"))
    with pytest.raises(NeedsFix) as caught:
        old.lists(ACCOUNT)
    assert caught.value.code == "api_version_expired"
    assert Meta(replace(settings(sandbox), api_version="v25.0")).lists(ACCOUNT) == ()
    with MetaSandbox({ACCOUNT.account_id: MetaAccount()}, SandboxClock(START), app_secret="s") as strict:
        for secret in (None, "another"):
            with pytest.raises(NeedsFix):
                Meta(replace(settings(strict), app_secret=secret)).lists(ACCOUNT)
        assert Meta(replace(settings(strict), app_secret="s")).lists(ACCOUNT) == ()


# --- lists


def outside(name: str, **changed: object) -> MetaList:
    return replace(MetaList("", name, ""), **changed)  # type: ignore[arg-type]


def test_two_lists_with_one_code_are_for_a_person_to_decide(sandbox: MetaSandbox) -> None:
    paging = Meta(replace(settings(sandbox), page_size=1))
    for name in ("na-twice one", "na-twice two"):
        sandbox.add_list(ACCOUNT.account_id, outside(name))
    with pytest.raises(NeedsFix) as caught:
        paging.find_list(ACCOUNT, "na-twice")
    assert caught.value.code == "list_code_twice"
    assert sandbox.seen("ListAudiences") == 2
    sandbox.add_list(ACCOUNT.account_id, outside(" begins with a space"))
    assert paging.find_list(ACCOUNT, "") is None


def test_every_page_is_read(sandbox: MetaSandbox, meta: Meta) -> None:
    for number in range(45):
        sandbox.add_list(ACCOUNT.account_id, outside(f"na-{number:08d} x"))
    assert [facts.code for facts in meta.lists(ACCOUNT)] == [f"na-{number:08d}" for number in range(45)]
    assert sandbox.seen("ListAudiences") == 3
    assert meta.find_list(ACCOUNT, "na-00000044") is not None


def test_lists_of_other_kinds_are_not_customer_lists(sandbox: MetaSandbox, meta: Meta) -> None:
    sandbox.add_list(ACCOUNT.account_id, outside("na-site x", subtype="WEBSITE"))
    sandbox.add_list(ACCOUNT.account_id, outside("newsletter"))
    (facts,) = meta.lists(ACCOUNT)
    assert (facts.code, facts.name, facts.membership_days) == ("", "newsletter", None)
    with pytest.raises(NeedsFix) as caught:
        meta.find_list(ACCOUNT, "na-site")
    assert caught.value.code == "list_wrong_type"


def test_a_list_tells_its_size_and_why_nobody_should_be_added(sandbox: MetaSandbox, meta: Meta) -> None:
    target = ready(meta)
    made = meta.read_list(target)
    assert made is not None
    assert (made.size, made.match_rate, made.closing_reason, made.open) == (None, None, None, True)
    meta.send(meta.prepare(target, batch(ADD, *[str(number) for number in range(150)])))
    filled = meta.read_list(target)
    assert filled is not None
    assert (filled.size, filled.open) == (200, True)
    for status, reason in ((100, "expiring"), (470, "account_inactive"), (471, "flagged")):
        sandbox.set_status(ACCOUNT.account_id, target.list_id, status)
        closed = meta.read_list(target)
        assert closed is not None
        assert (closed.open, closed.closing_reason, closed.size) == (False, reason, 200)


def test_facts_that_are_odd_are_read_with_care() -> None:
    item = {"id": 5, "name": "na-1 x", "operation_status": {"status": 471}, "approximate_count_upper_bound": -1}
    facts = facts_of(item)
    assert (facts.list_id, facts.code, facts.size, facts.open, facts.closing_reason) == ("5", "na-1", None, False, "flagged")
    for status in (None, 200, "200", {}, {"code": 414}, {"code": "?"}):
        facts = facts_of({"id": "5", "operation_status": status, "retention_days": 0, "approximate_count_upper_bound": "7"})
        assert (facts.open, facts.closing_reason, facts.membership_days, facts.size, facts.name) == (True, None, None, 7, "")


def test_wishes_that_meta_cannot_fulfil(sandbox: MetaSandbox, meta: Meta) -> None:
    for days in (0, -1, 181, 540):
        with pytest.raises(NeedsFix) as caught:
            meta.create_list(ACCOUNT, ListSpec("c", "c n", days))
        assert caught.value.code == "membership_too_long"
    for name in ("n", "", "c-n", " c"):
        with pytest.raises(ValueError, match="begins with its code"):
            meta.create_list(ACCOUNT, ListSpec("c", name, 30))
    assert sandbox.writes == 0
    assert meta.create_list(ACCOUNT, ListSpec("c", "c n", 180)).membership_days == 180
    (made,) = sandbox.lists(ACCOUNT.account_id)
    assert (made.description, made.source, made.subtype, made.retention_days) == ("", "USER_PROVIDED_ONLY", "CUSTOM", 180)


def test_a_list_with_lookalikes_stays(sandbox: MetaSandbox, meta: Meta) -> None:
    kept = sandbox.add_list(ACCOUNT.account_id, outside("na-1 x", lookalikes=1))
    with pytest.raises(NeedsFix) as caught:
        meta.delete_list(Target(ACCOUNT, kept.list_id))
    assert caught.value.code == "list_has_lookalikes"
    assert [remote.list_id for remote in sandbox.lists(ACCOUNT.account_id)] == [kept.list_id]


ITEM = {"id": TARGET.list_id, "account_id": ACCOUNT.account_id, "name": "na-1 x", "subtype": "CUSTOM"}


@pytest.fixture
def pair() -> Iterator[tuple[AnsweringHttp, Meta]]:
    with answering() as made:
        yield made


def test_a_listing_that_does_not_end_well_proves_nothing(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    more = {"next": "http://127.0.0.1:1/x?access_token=t"}
    for page in (
        {"data": [], "paging": {"cursors": {"after": "a"}, **more}},
        {"data": [], "paging": {"cursors": {}, **more}},
        {"data": [], "paging": {"cursors": None, **more}},
        {"data": [{"id": "1"}]},
        {"data": [{"account_id": "1"}]},
        {"data": ["1"]},
        {"data": {}},
        {"paging": {}},
    ):
        server.always(told(page))
        with pytest.raises(TryAgain) as caught:
            meta.find_list(ACCOUNT, "na-1")
        assert caught.value.code == "unreadable"
        assert len(server.calls) <= 2
    for page in ({"data": []}, {"data": [], "paging": {"cursors": {"after": "a"}}}, {"data": [], "paging": None}):
        server.always(told(page))
        assert meta.find_list(ACCOUNT, "na-1") is None
        assert len(server.calls) == 1


def test_lists_that_others_share_are_not_ours(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    shared = {**ITEM, "account_id": OTHER.account_id}
    server.always(told({"data": [shared, {**ITEM, "id": "2", "account_id": f"act_{ACCOUNT.account_id}", "name": "na-2 x"}]}))
    assert meta.find_list(ACCOUNT, "na-1") is None
    assert [facts.code for facts in meta.lists(ACCOUNT)] == ["na-2"]


def test_a_list_is_gone_only_if_the_account_says_so(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    missing = told({"error": {"code": 100, "error_subcode": 33}}, 400)

    def ask(listing: object) -> object:
        server.answer = lambda call: listing if "customaudiences" in call.url else missing  # type: ignore[return-value]
        return meta.read_list(TARGET)

    assert ask(told({"data": [{**ITEM, "id": "2"}]})) is None
    for hidden, code in ((missing, "account_wrong"), (told({"data": [ITEM]}), "permission_denied")):
        with pytest.raises(NeedsFix) as caught:
            ask(hidden)
        assert caught.value.code == code
    # A missing permission says nothing about the list, whatever the listing shows.
    missing = told({"error": {"code": 200}}, 403)
    with pytest.raises(NeedsFix) as caught:
        ask(told({"data": []}))
    assert caught.value.code == "permission_denied"
    server.always(told({**ITEM, "id": "2"}))
    with pytest.raises(MustStop, match="wrong_account"):
        meta.read_list(TARGET)


def test_a_created_list_without_an_id_is_not_known(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    for answer in ({"id": None}, {"id": "a/b"}, {"success": True}):
        server.always(told(answer))
        with pytest.raises(Exception, match="lost_unreadable"):
            meta.create_list(ACCOUNT, ListSpec("c", "c n", 30))
        assert len(server.calls) == 1


# --- settings


def test_settings_cannot_be_built_wrong() -> None:
    for wrong in (
        {"access_token": ""},
        {"access_token": "two words"},
        {"access_token": "line\n"},
        {"app_secret": ""},
        {"api_version": "26.0"},
        {"api_version": "v26.0/x"},
        {"endpoint": "https://graph.facebook.com"},
        {"endpoint": "http://10.0.0.1:80"},
        {"endpoint": "http://127.0.0.1"},
        {"endpoint": "http://127.0.0.1.example.com:1"},
        {"endpoint": "http://localhost:1@example.com"},
        {"endpoint": "127.0.0.1:1"},
        {"timeout_seconds": 0.0},
        {"timeout_seconds": 601.0},
        {"read_waits": (-1.0,)},
        {"page_size": 0},
        {"page_size": 101},
    ):
        with pytest.raises(ValueError, match=r".") as caught:
            MetaSettings(**{"access_token": "very-secret", "terms_accepted": True, **wrong})  # type: ignore[arg-type]
        assert "very-secret" not in str(caught.value)
    for endpoint in ("http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"):
        assert MetaSettings("t", terms_accepted=True, endpoint=endpoint).endpoint == endpoint
    secret = MetaSettings("very-secret", terms_accepted=True, app_secret="as-secret")
    assert "secret" not in repr(secret).replace("app_secret", "")


def test_meta_itself_is_reached_over_tls_only() -> None:
    meta = Meta(MetaSettings("t", terms_accepted=True))
    connected = meta._connected
    assert connected is not None
    assert connected.api._session.GRAPH == "https://graph.facebook.com"
    assert connected.session.verify
    assert (connected.session.trust_env, connected.api._session.timeout) == (False, 60.0)
    meta.close()

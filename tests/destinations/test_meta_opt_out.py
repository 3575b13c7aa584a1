"""Taking people off every list of an ad account at Meta: the one request, what leaves, and what is made of answers."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs

import pyarrow as pa
import pytest
import requests

from nestaudience.delivery.guard import inspect, inspect_opt_out
from nestaudience.delivery.refused import STAYS_REFUSED
from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_errors import REMEDIES
from nestaudience.destinations.meta_messages import MAX_OPT_OUT, prepare_opt_out
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.meta_wire import Wire
from nestaudience.destinations.port import Accepted, Account, Batch, ListSpec, NoReceipt, OptsOut, Refused, Target
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.vocabulary import Operation, Recipient
from tests.sandbox.meta_calls import START

ACCOUNT, OTHER = Account("1112223333"), Account("4445556666")


def batch(*names: str, operation: Operation = Operation.REMOVE, number: int = 1, recipient: Recipient = Recipient.META) -> Batch:
    column = pa.array([hashlib.sha256(name.encode()).digest() for name in names], pa.binary(32))
    return Batch(number.to_bytes(16), operation, Digests(column, recipient))


@pytest.fixture
def sandbox() -> Iterator[MetaSandbox]:
    accounts = {ACCOUNT.account_id: MetaAccount(), OTHER.account_id: MetaAccount()}
    with MetaSandbox(accounts, SandboxClock(START), keep_requests=True, opt_out_by_post=True) as running:
        yield running


@pytest.fixture
def meta(sandbox: MetaSandbox) -> Iterator[Meta]:
    settings = MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}")
    destination = Meta(settings, sleep=lambda _: None)
    yield destination
    destination.close()


def filled(meta: Meta, account: Account, code: str) -> Target:
    """A list with three people."""
    target = Target(account, meta.create_list(account, ListSpec(code, f"{code} x", 30)).list_id)
    addition = batch("a", "b", "c", operation=Operation.ADD, number=int.from_bytes(code.encode()[-8:]))
    assert isinstance(meta.send(meta.prepare(target, addition)), Accepted)
    return target


def test_people_leave_every_list_of_the_account_and_no_other(sandbox: MetaSandbox, meta: Meta) -> None:
    here, there = [filled(meta, ACCOUNT, f"na-{n}") for n in range(2)], filled(meta, OTHER, "na-3")
    assert isinstance(meta, OptsOut)
    asked = batch("a", "nobody")
    prepared = meta.prepare_opt_out(ACCOUNT, asked)
    inspect_opt_out(prepared.contents(), asked, ACCOUNT)
    receipt = meta.send(prepared)
    assert isinstance(receipt, Accepted)
    assert receipt.settlement is None  # it proves nothing
    assert [len(sandbox.members(t.account.account_id, t.list_id)) for t in (*here, there)] == [2, 2, 3]
    kind, raw = sandbox.received[-1]
    line, _, body = raw.partition(b"\r\n\r\n")
    assert (kind, line.split()[0]) == ("OptOut", b"POST")
    hexes = asked.digests.hex()
    assert not any(one.encode() in line for one in hexes)
    form = parse_qs(body.decode())
    assert set(form) == {"method", "payload", "session"}
    assert form["method"] == ["DELETE"]
    assert json.loads(form["payload"][0]) == {"schema": ["EMAIL"], "is_raw": True, "data": [[one] for one in hexes]}


def test_what_it_will_not_build(meta: Meta) -> None:
    assert meta.opt_out_size == MAX_OPT_OUT == 200
    full = batch(*(str(n) for n in range(MAX_OPT_OUT)))
    assert len(meta.prepare_opt_out(ACCOUNT, full).contents().identifiers) == MAX_OPT_OUT
    for wrong in (
        batch(*(str(n) for n in range(MAX_OPT_OUT + 1))),
        batch("a", operation=Operation.ADD),
        batch("a", recipient=Recipient.GOOGLE),
    ):
        with pytest.raises((ValueError, TypeError)):
            meta.prepare_opt_out(ACCOUNT, wrong)
    with pytest.raises(NeedsFix):
        meta.prepare_opt_out(Account("act_1"), batch("a"))


def test_the_guard_reads_it_back() -> None:
    asked = batch("a", "b")
    contents = prepare_opt_out(ACCOUNT, asked).contents()
    inspect_opt_out(contents, asked, ACCOUNT)
    for changed, code in (
        ({"account_id": OTHER.account_id}, "guard_account"),
        ({"list_id": "1"}, "guard_list"),
        ({"operation": Operation.ADD}, "guard_operation"),
        ({"identifiers": contents.identifiers[:1]}, "guard_people"),
        ({"identifiers": [*contents.identifiers, "c" * 64]}, "guard_people"),
        ({"identifiers": ["a@b.se"]}, "guard_not_digests"),
    ):
        with pytest.raises(MustStop) as caught:
            inspect_opt_out(replace(contents, **changed), asked, ACCOUNT)  # type: ignore[arg-type]
        assert caught.value.code == code
    with pytest.raises(MustStop):  # nor does it pass for a removal from a list
        inspect(contents, asked, Target(ACCOUNT, "1"))
    with pytest.raises(MustStop):
        inspect_opt_out(replace(contents, operation=Operation.ADD), batch("a", "b", operation=Operation.ADD), ACCOUNT)


def test_refusals_and_lost_answers(sandbox: MetaSandbox, meta: Meta) -> None:
    target = filled(meta, ACCOUNT, "na-1")
    held = sandbox.members(ACCOUNT.account_id, target.list_id)
    prepared = meta.prepare_opt_out(ACCOUNT, batch("a"))
    sandbox.opt_out_by_post = False  # Meta does not take this form
    assert meta.send(prepared) == Refused("opt_out_not_taken")
    sandbox.opt_out_by_post = True
    for account, code in (
        (MetaAccount(tos_accepted=False), "terms_missing"),
        (MetaAccount(business_id=None), "account_without_business"),
    ):
        sandbox.accounts[ACCOUNT.account_id] = account
        assert meta.send(prepared) == Refused(code)
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount()
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == held
    sent = sandbox.writes
    sandbox.faults.add(Fault("OptOut", FaultKind.HTML_OK))
    assert meta.send(prepared) == NoReceipt("lost_unreadable")
    assert sandbox.writes == sent + 1  # once
    assert STAYS_REFUSED | {"opt_out_not_taken"} <= set(REMEDIES)


def test_the_wire_never_lets_people_into_an_url() -> None:
    """What the SDK's own call would do."""
    wire, session = Wire(), requests.Session()
    session.mount("http://", wire)
    payload = json.dumps({"schema": ["EMAIL"], "is_raw": True, "data": [["a" * 64]]})
    wire.expect(b"")
    url = f"http://127.0.0.1:9/v26.0/act_1/usersofanyaudience?access_token=t&payload={payload}"
    with pytest.raises(ValueError, match="not the prepared one"):
        session.delete(url)
    assert wire.changed

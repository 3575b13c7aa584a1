"""Every byte that Meta gets in two whole nights: digests of people who may be listed, opaque names, ids and counts. Anything else fails."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from nights import SandboxWorld

from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.site import META_ACCOUNTS

_LINE = re.compile(r"(GET|POST|DELETE) (\S+) HTTP/1\.1")
_PATH = re.compile(
    r"/v\d+\.\d/(?:act_\d{1,20}|\d{1,20}|me)(?:/(?:users|customaudiences|sessions|permissions|adaccounts|shared_account_info))?/?"
)
_QUERY = {
    "access_token": re.compile(r"[\w-]+"),
    "appsecret_proof": re.compile(r"[0-9a-f]{64}"),
    "fields": re.compile(r"[a-z_,]+"),
    "limit": re.compile(r"\d{1,3}"),
    "after": re.compile(r"[\w-]+"),
    "session_id": re.compile(r"\d{1,19}"),
}
_FORM = {
    "method": re.compile("DELETE"),
    "name": re.compile(r"na-[a-z2-7]{8} c\d-\d\d"),
    "subtype": re.compile("CUSTOM"),
    "customer_file_source": re.compile("USER_PROVIDED_ONLY"),
    "retention_days": re.compile(r"\d{1,3}"),
}
_DIGEST = re.compile("[0-9a-f]{64}")


def digests_of(payload: str) -> list[str]:
    """The rows of a payload, which must be digests and nothing else."""
    read = json.loads(payload)
    assert set(read) == {"schema", "is_raw", "data"}
    assert (read["schema"], read["is_raw"]) == (["EMAIL"], True)
    assert all(len(row) == 1 and _DIGEST.fullmatch(row[0]) for row in read["data"])
    return [row[0] for row in read["data"]]


def digests_in(line: str, body: bytes) -> list[str]:
    """The digests of one request, every other byte of which is of a known form."""
    said = _LINE.fullmatch(line)
    assert said is not None
    url = urlsplit(said[2])
    assert _PATH.fullmatch(url.path)
    for name, value in parse_qsl(url.query, keep_blank_values=True, strict_parsing=True):
        assert _QUERY[name].fullmatch(value)
    found: list[str] = []
    form = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True) if body else []
    assert len(dict(form)) == len(form)
    for name, value in form:
        if name == "payload":
            found = digests_of(value)
        elif name == "session":
            session = json.loads(value)
            assert set(session) == {"session_id", "batch_seq", "last_batch_flag", "estimated_num_total"}
            assert all(isinstance(number, int) for number in session.values())
        else:
            assert _FORM[name].fullmatch(value)
    return found


def test_nothing_but_digests_reaches_meta(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path, accounts=2000, meta=True, keep_requests=True) as world:
        assert isinstance(world.meta, MetaSandbox)
        world.meta.faults.add(Fault("AddUsers", FaultKind.ABORTED))  # an update on its way: waited for, and sent again
        first = world.night()
        assert first.exit_code == 0
        filled = {
            d
            for account in META_ACCOUNTS
            for each in world.meta.lists(account)
            for d in world.meta.members(account, each.list_id)
        }
        added = world.meta.received[:]
        world.advance_day()
        world.night()
        kinds = {kind for kind, _ in world.meta.received}
        sent = [digests_in(*split(raw)) for _, raw in world.meta.received]
    assert {"AddUsers", "RemoveUsers", "CreateAudience", "ReadAudience"} <= kinds
    assert sum(counted.added for key, counted in first.sent.items() if str(key).endswith("/meta")) > 200
    assert {
        d for found in sent[: len(added)] for d in found
    } == filled  # everybody who was sent is listed, and the other way round


def split(raw: bytes) -> tuple[str, bytes]:
    """(request line, body)."""
    line, _, body = raw.partition(b"\r\n\r\n")
    return line.decode("ascii"), body

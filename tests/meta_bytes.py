"""Reads a whole request to Meta, byte by byte: only what is of a known form passes, and what people it names comes out.

for _, raw in sandbox.received:
    digests_in(raw)     # lower-case hex; AssertionError or KeyError for anything that is not known
"""

import json
import re
from urllib.parse import parse_qsl, urlsplit

_LINE = re.compile(r"(GET|POST|DELETE) (\S+) HTTP/1\.1")
_EDGES = "users|customaudiences|sessions|permissions|system_users|adaccounts|shared_account_info|usersofanyaudience"
_PATH = re.compile(rf"/v\d+\.\d/(?:act_\d{{1,20}}|\d{{1,20}}|me)(?:/(?:{_EDGES}))?/?")
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


def digests_in(raw: bytes) -> list[str]:
    """The digests of one request, every other byte of which is of a known form: the request line and the body, an empty line between them."""
    line, _, body = raw.partition(b"\r\n\r\n")
    said = _LINE.fullmatch(line.decode("ascii"))
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

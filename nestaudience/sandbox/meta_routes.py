"""Which call of the Graph protocol a request is, and who answers it. It decides nothing about tokens or limits."""

import re
from datetime import timedelta
from typing import Any, Final, NamedTuple

from nestaudience.sandbox import meta_audiences, meta_users
from nestaudience.sandbox import meta_refusals as refuse
from nestaudience.sandbox.meta_http import Call
from nestaudience.sandbox.meta_refusals import Refusal
from nestaudience.sandbox.meta_state import MetaState

UNKNOWN: Final = "Unknown"
WRITES: Final = frozenset({"AddUsers", "RemoveUsers", "CreateAudience", "DeleteAudience", "OptOut"})

OF_THE_TOKEN: Final = frozenset({"ReadMe", "ReadPermissions", "ReadSystemUsers"})
"""Calls that are about whoever calls, and no ad account."""

_PATH: Final = re.compile(r"/(?:(v[0-9]+\.[0-9]+)/)?(act_)?([0-9]+|me)(?:/([a-z_]+))?/?")
_OF_ME: Final = {("GET", None): "ReadMe", ("GET", "permissions"): "ReadPermissions"}
_OF_ACCOUNT: Final = {
    ("GET", None): "ReadAccount",
    ("GET", "customaudiences"): "ListAudiences",
    ("POST", "customaudiences"): "CreateAudience",
    ("DELETE", "usersofanyaudience"): "OptOut",
}
_OF_LIST: Final = {
    ("GET", None): "ReadAudience",
    ("DELETE", None): "DeleteAudience",
    ("POST", "users"): "AddUsers",
    ("DELETE", "users"): "RemoveUsers",
    ("GET", "sessions"): "ReadSessions",
    ("GET", "adaccounts"): "ReadSharing",
    ("GET", "shared_account_info"): "ReadSharingOutside",
    ("GET", "system_users"): "ReadSystemUsers",
}


class Route(NamedTuple):
    """The kind of a call, the version that its path names, and the account or list that it is for."""

    kind: str
    version: str | None
    account_id: str | None
    list_id: str | None


def route_of(call: Call, *, opt_out_by_post: bool = False) -> Route:
    """What a request asks for. `method=DELETE` in the form makes a removal of a POST to `/users`, and of nothing else; with `opt_out_by_post` of
    one to `/usersofanyaudience` as well.
    """
    parts = _PATH.fullmatch(call.path)
    if parts is None:
        return Route(UNKNOWN, None, None, None)
    version, is_account, number, edge = parts.groups()
    override = call.form.get("method", "").upper()
    takes_it = edge == "users" or (opt_out_by_post and edge == "usersofanyaudience")
    verb = override if override and call.verb == "POST" and takes_it else call.verb
    if override and verb != override:
        return Route(UNKNOWN, version, None, None)
    if number == "me":
        return Route(UNKNOWN if is_account else _OF_ME.get((verb, edge), UNKNOWN), version, None, None)
    if is_account:
        return Route(_OF_ACCOUNT.get((verb, edge), UNKNOWN), version, number, None)
    return Route(_OF_LIST.get((verb, edge), UNKNOWN), version, None, number)


def carry_out(
    state: MetaState, route: Route, account_id: str, call: Call, own_url: str, apply_after: timedelta
) -> dict[str, Any] | Refusal:
    """The answer to a call that is allowed; `own_url` is the address that it was sent to."""
    if route.kind == "ReadAccount":
        return meta_audiences.read_account(state, account_id, call.query)
    if route.kind == "ListAudiences":
        return meta_audiences.list_all(state, account_id, call.query, own_url)
    if route.kind == "CreateAudience":
        return meta_audiences.create(state, account_id, call.form)
    fields = call.form if call.verb == "POST" else call.query
    if route.kind == "OptOut":
        return meta_users.opt_out(state, account_id, fields, apply_after)
    remote = state.lists[account_id].get(route.list_id or "")
    if remote is None:
        return refuse.missing()
    if route.kind == "ReadAudience":
        return meta_audiences.read(state, account_id, remote, call.query)
    if route.kind == "DeleteAudience":
        return meta_audiences.delete(state, account_id, remote)
    if route.kind in {"ReadSharing", "ReadSharingOutside"}:
        return meta_audiences.read_sharing(state, account_id, remote, outside=route.kind == "ReadSharingOutside")
    if route.kind == "ReadSessions":
        return meta_audiences.read_sessions(state, account_id, remote, call.query)
    return meta_users.change_members(
        state, account_id, remote, fields, addition=route.kind == "AddUsers", apply_after=apply_after
    )

"""Who calls the local Graph server, and what they may do: the token's user, the permissions that it was granted, the business's system users.

One answer for every token of a sandbox. It knows no transport and no ad account.

https://developers.facebook.com/docs/graph-api/reference/user/permissions and
https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/business/system_users (read 2026-11).
"""

from dataclasses import dataclass, field
from typing import Any, Final

from nestaudience.sandbox import meta_refusals as refuse
from nestaudience.sandbox.meta_refusals import Refusal

USER: Final = "61550000000001"
"""The user of every token."""
TO_WRITE: Final = "ads_management"
TO_LIST_USERS: Final = "business_management"


@dataclass(slots=True)
class MetaAccess:
    """Permission -> its status (`granted`, `declined`, `expired`), and the ids of the business's system users. A test may change both."""

    permissions: dict[str, str] = field(default_factory=lambda: dict.fromkeys((TO_WRITE, "ads_read", TO_LIST_USERS), "granted"))
    system_users: tuple[str, ...] = (USER,)

    def has(self, permission: str) -> bool:
        """True for a permission that is granted."""
        return self.permissions.get(permission) == "granted"

    def told(self, kind: str) -> dict[str, Any] | Refusal:
        """The answer to a call about the token."""
        if kind == "ReadMe":
            return {"id": USER}
        if kind == "ReadPermissions":
            return {"data": [{"permission": name, "status": status} for name, status in self.permissions.items()]}
        if not self.has(TO_LIST_USERS):
            return refuse.not_permitted()
        return {"data": [{"id": one, "name": "A system user", "role": "EMPLOYEE"} for one in self.system_users]}

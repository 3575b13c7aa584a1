"""The forms that values of the configuration have: keys, references, names of secrets, digits. It reads nothing and knows no table."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A key: lower-case letters, digits, underscores."""
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,79}$")]
"""The number of a document or case kept elsewhere."""
SecretName = Annotated[str, StringConstraints(pattern=r"^(env:[A-Z][A-Z0-9_]*|file:.+)$")]
"""Where a secret lies: `env:NAME` or `file:PATH`. Never the secret."""
DestinationName = Literal["google_ads", "google_data_manager", "meta"]
"""The transports that a configuration may name."""
MailAddress = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}$")]
"""An address of the people who look after the system."""
ContactLine = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f<>]{3,200}$")]
"""How a company is reached in a matter of data protection: the address, mailbox or telephone of a function, in one line; no person's name."""
Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
DISCLOSED_INPUTS: Final = frozenset({"orders", "visits", "clicks"})
"""What a segment may be built on: the policy discloses nothing else for advertising."""


class Table(BaseModel):
    """What every table of the file has in common: frozen, no unknown key, no value in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

"""Where the work of a run is done: in the process that starts it, or on a Dask cluster that somebody runs. It reads no file."""

from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from nestaudience.config.forms import Table

LOOPBACK: Final = ("tcp://127.0.0.1:", "tcp://localhost:", "tcp://[::1]:")


class Execution(Table):
    """The runner, and what the one on several machines needs. Places are relative to the configuration file, which is the same on every machine."""

    runner: Literal["here", "dask"] = "here"
    scheduler: Annotated[str, StringConstraints(pattern=r"^(tls|tcp)://[A-Za-z0-9.:\[\]-]{1,253}:[0-9]{1,5}$")] | None = None
    """Dask's scheduler: `tls://host:8786`; without TLS in the sandbox only, and only on this machine."""
    certificate_authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    """PEM files: the authority of the cluster's certificates, and the certificate and key by which we are let in."""
    scratch: str | None = None
    """A directory that every worker has, shared or its own: each keeps what its engine spills in a directory of its own there."""

    def problems(self, *, sandbox: bool) -> list[tuple[str, str, str]]:
        """(key, what is wrong, what to do)."""
        if self.runner == "here":
            return []
        wrong = []
        if self.scheduler is None:
            wrong.append(("scheduler", "missing", "name the address of Dask's scheduler, as tls://host:8786"))
        if self.scratch is None:
            wrong.append(("scratch", "missing", "name a directory in which workers may spill keyed tokens"))
        plain = self.scheduler is not None and self.scheduler.startswith("tcp://")
        if plain and not (sandbox and self.scheduler is not None and self.scheduler.startswith(LOOPBACK)):
            wrong.append(("scheduler", "without TLS outside this machine's sandbox", "use tls://, with certificates"))
        if not plain and None in {self.certificate_authority, self.certificate, self.key}:
            wrong.append(("certificate", "missing", "name certificate_authority, certificate and key"))
        return wrong

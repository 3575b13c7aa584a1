"""A Dask scheduler and workers as processes of their own, over loopback with TLS, and a site whose runs are spread over them.

    with DaskCluster(folder) as cluster:
        cluster.worker("one")
        cluster.use(site)                       # the site's configuration names this cluster

Only processes that were started here are ever stopped, by their number.
"""

import ipaddress
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from canary_site import CanarySite
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.flows.standing import PATIENCE, ROOT

NO_SPILLING: Final = {"DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False", "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False"}
AT_ONCE: Final = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}


class DaskCluster:
    """A scheduler in `folder`, and as many workers as are asked for. What they say is in `<name>.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tls://127.0.0.1:{free.getsockname()[1]}"
        write_certificates(folder)

    def __enter__(self) -> "DaskCluster":
        port = self.address.rpartition(":")[2]
        words = ["--host", "127.0.0.1", "--port", port, "--protocol", "tls", "--no-dashboard", "--no-show"]
        self._start("scheduler", "distributed.cli.dask_scheduler", *words, **AT_ONCE)
        self._until("scheduler", "Scheduler at")
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(tuple(self._running)):
            self.stop(name)

    def worker(self, name: str, **environment: str) -> int:
        """One more worker, until it is there: the number of its process."""
        words = [self.address, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        words += ["--local-directory", str(self.folder / "dask")]
        pid = self._start(name, "distributed.cli.dask_worker", *words, **(NO_SPILLING | environment))
        self._until(name, "Registered to")
        return pid

    def use(self, site: CanarySite) -> None:
        """Let this site's runs be spread over the cluster."""
        lines = f"""runner = "dask"
scheduler = "{self.address}"
certificate_authority = "{self.folder / "ca.pem"}"
certificate = "{self.folder / "node.pem"}"
key = "{self.folder / "node.key"}"
scratch = "scratch"
"""
        text = site.place.config.read_text("utf-8")
        assert 'runner = "here"' in text
        site.place.config.write_text(re.sub('runner = "here".*\n', lines, text), "utf-8")

    def stop(self, name: str) -> None:
        """Ask a process to end, and wait."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    @property
    def scheduler(self) -> int:
        """The number of the scheduler's process."""
        return self._running["scheduler"].pid

    def kill(self, pid: int) -> str:
        """SIGKILL the process with this number; its name."""
        (name,) = [name for name, process in self._running.items() if process.pid == pid]
        os.kill(pid, signal.SIGKILL)
        self._running.pop(name).wait(10)
        return name

    def said(self) -> str:
        """What all of them said."""
        return "\n".join(path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("*.log")))

    def _start(self, name: str, module: str, *words: str, **environment: str) -> int:
        tls = ["--tls-ca-file", "ca.pem", "--tls-cert", "node.pem", "--tls-key", "node.key"]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "DASK"))}
        kept |= {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "PREFECT_HOME": str(self.folder / "prefect")}
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words, *tls], env=kept | environment, stdout=log, stderr=log, cwd=self.folder
            )
        self._running[name] = process
        return process.pid

    def _until(self, name: str, line: str) -> None:
        path, end = self.folder / f"{name}.log", time.monotonic() + PATIENCE
        while line not in path.read_text("utf-8", "replace"):
            assert self._running[name].poll() is None, path.read_text("utf-8", "replace")
            assert time.monotonic() < end, path.read_text("utf-8", "replace")
            time.sleep(0.1)


def write_certificates(folder: Path) -> None:
    """An authority (`ca.pem`), and one certificate by which every node, and we, are let in (`node.pem`, `node.key`)."""
    authority, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("a test's cluster", "a node")]
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(names[0]).public_key(key)
        begun = begun.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        return begun.not_valid_after(now + timedelta(days=1))

    own = certificate(names[0], authority.public_key())
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
    of_node = certificate(names[1], node.public_key())
    places = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    of_node = of_node.add_extension(x509.SubjectAlternativeName(places), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    of_node = of_node.add_extension(identifier, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(own.sign(authority, hashes.SHA256()).public_bytes(pem))
    (folder / "node.pem").write_bytes(of_node.sign(authority, hashes.SHA256()).public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    (folder / "node.key").write_bytes(node.private_bytes(pem, form, serialization.NoEncryption()))
    (folder / "node.key").chmod(0o600)

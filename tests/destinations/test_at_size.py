"""Many people through each way to a platform: exactly the right ones are on the list in the end, and the sender's memory does not grow with it.

The sender is a process of its own, so that only its memory counts: the platform's stand-in has to hold everybody. A million people with `--long`,
50 000 without; all of them join, then every second one leaves.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from tests.reliability import Row, collect

ACCOUNT = "1112223333"
GROWTH_KB = 10_000
"""How much larger a sender's peak may be at the end than after its third request. A million people held as text would be 100 000 and more."""
_SENDER = """
import json, sys
import numpy as np
import pyarrow as pa
from nestaudience.destinations import destination_class
from nestaudience.destinations.google_connection import GoogleDataManagerSettings, SandboxEndpoint, SandboxToken
from nestaudience.destinations.port import Accepted, Account, Batch, ConsentSignals, ListSpec, Target
from nestaudience.hashing.digests import Digests
from nestaudience.vocabulary import Operation, Recipient

def peak():
    with open("/proc/self/status") as status:  # not getrusage: it begins at the parent's size
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

name, endpoint, certificate, token, account_id, people, step, word, list_id = sys.argv[1:]
operation, account = Operation(word), Account(account_id)
if name == "meta":
    from nestaudience.destinations.meta_settings import MetaSettings
    settings = MetaSettings(token, True, endpoint="http://" + endpoint)
elif name == "google_ads":
    from nestaudience.destinations.google_ads_connection import GoogleAdsSettings
    settings = GoogleAdsSettings(SandboxToken(token), True, SandboxEndpoint(endpoint, open(certificate, "rb").read()))
else:
    settings = GoogleDataManagerSettings(SandboxToken(token), True, SandboxEndpoint(endpoint, open(certificate, "rb").read()))
destination = destination_class(name)(settings)
recipient = destination.recipient
target = Target(account, list_id or destination.create_list(account, ListSpec("na-1", "na-1 x", 30)).list_id)
consent = ConsentSignals(True, True) if operation is Operation.ADD and recipient is Recipient.GOOGLE else None
peaks, requests = [], []
numbers = np.arange(0, int(people), int(step), dtype="<u8")
for first in range(0, len(numbers), 10_000):
    raw = np.zeros((len(numbers[first : first + 10_000]), 4), "<u8")
    raw[:, 0] = numbers[first : first + 10_000]
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(raw), [None, pa.py_buffer(raw)])
    batch = Batch(word.encode()[:3] + bytes(9) + first.to_bytes(4), operation, Digests(column, recipient), consent)
    prepared = destination.prepare(target, batch)
    assert len(set(prepared.contents().identifiers)) == len(raw)
    receipt = destination.send(prepared)
    assert isinstance(receipt, Accepted), receipt
    requests.append(receipt.request_id)
    peaks.append(peak())
print(json.dumps({"list_id": target.list_id, "requests": requests, "early": peaks[min(2, len(peaks) - 1)], "late": peaks[-1]}))
"""


class Sending:
    """One way to a platform, and what its senders told. `platform` holds the people."""

    def __init__(self, way: str, folder: Path, stack: ExitStack) -> None:
        self.way, self.ca, clock = way, folder / "ca.pem", SandboxClock(datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
        self.platform: DataManagerSandbox | MetaSandbox
        if way == "meta":
            self.platform = stack.enter_context(MetaSandbox({ACCOUNT: MetaAccount()}, clock))
            self.endpoint = self.platform.endpoint
            return
        self.platform = stack.enter_context(DataManagerSandbox({ACCOUNT: SandboxAccount()}, clock))
        server: DataManagerSandbox | GoogleAdsSandbox = self.platform
        if way == "google_ads":
            server = stack.enter_context(GoogleAdsSandbox(self.platform.state))
        self.endpoint = server.endpoint
        self.ca.write_bytes(server.ca_pem)

    def send(self, operation: str, people: int, step: int, list_id: str = "") -> dict[str, object]:
        options = [
            self.way,
            self.endpoint,
            str(self.ca),
            self.platform.token,
            ACCOUNT,
            str(people),
            str(step),
            operation,
            list_id,
        ]
        done = subprocess.run([sys.executable, "-c", _SENDER, *options], capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
        told: dict[str, object] = json.loads(done.stdout)
        return told


def everybody(sending: Sending, people: int) -> None:
    hexadecimal: Callable[[int], str] = lambda number: number.to_bytes(32, "little").hex()  # noqa: E731
    added = sending.send("add", people, 1)
    list_id = str(added["list_id"])
    sending.platform.advance(timedelta(hours=1))
    assert sending.platform.members(ACCOUNT, list_id) == {hexadecimal(number) for number in range(people)}
    removed = sending.send("remove", people, 2, list_id)
    sending.platform.advance(timedelta(hours=1))
    assert sending.platform.members(ACCOUNT, list_id) == {hexadecimal(number) for number in range(1, people, 2)}
    for told in (added, removed):
        growth = int(str(told["late"])) - int(str(told["early"]))
        assert growth < GROWTH_KB, (sending.way, growth)


WAYS = pytest.mark.parametrize("way", ["google_ads", "google_data_manager", "meta"])


@WAYS
def test_fifty_thousand_people(way: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        everybody(Sending(way, tmp_path, stack), 50_000)


@pytest.mark.slow
@WAYS
def test_a_million_people(way: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        everybody(Sending(way, tmp_path, stack), 1_000_000)
    collect("at_size", [Row(f"a million people join through {way}, half of them leave; exact, the sender's memory flat", 1)])

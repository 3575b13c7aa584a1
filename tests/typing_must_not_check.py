"""Wrong uses of the types of the path. Each must be refused by the type checker; `test_typing.py` fails when one becomes legal.

Nothing here is ever run. The comment on each line names the refusal that is expected; one that is not needed any more is an error.
"""

import pyarrow as pa

from nestaudience.delivery.deliver import Delivery
from nestaudience.delivery.last_look import LastLook
from nestaudience.delta.plan import AudiencePlan, Delta, work_out
from nestaudience.destinations.port import Account, Batch, ConsentSignals, Destination, Prepared, Target
from nestaudience.hashing.addresses import normalise
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses, Digests
from nestaudience.hashing.sealing import seal
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.intake import Intake
from nestaudience.screening.screen import Screened
from nestaudience.vocabulary import AudienceKey, Operation, Recipient


def addresses_are_no_text(addresses: Addresses, tokens: Tokens) -> None:
    normalise("anna@example.se")  # type: ignore[arg-type]
    hash_addresses("anna@example.se", tokens, (Recipient.GOOGLE,))  # type: ignore[arg-type]
    hash_addresses(["anna@example.se"], tokens, (Recipient.GOOGLE,))  # type: ignore[arg-type]
    "x".join(addresses)  # type: ignore[arg-type]
    addresses + "x"  # type: ignore[operator]
    for _ in addresses:  # type: ignore[attr-defined]
        pass


def a_recipient_is_one_of_a_closed_set(addresses: Addresses, tokens: Tokens) -> None:
    hash_addresses(addresses, tokens, ("tiktok",))  # type: ignore[arg-type]


def only_digests_are_sent(addresses: Addresses, tokens: Tokens, signals: ConsentSignals) -> None:
    Batch(bytes(16), Operation.ADD, addresses, signals)  # type: ignore[arg-type]
    Batch(bytes(16), Operation.ADD, ["0" * 64], signals)  # type: ignore[arg-type]
    Batch(bytes(16), Operation.ADD, hash_addresses(addresses, tokens, (Recipient.GOOGLE,)), signals)  # type: ignore[arg-type]
    Batch(bytes(16), "add", hash_addresses(addresses, tokens, ()).digests[Recipient.GOOGLE], signals)  # type: ignore[arg-type]
    seal(bytes(32), bytes(16), addresses)  # type: ignore[arg-type]


def consent_is_said_in_its_own_words(digests: Digests) -> None:
    Batch(bytes(16), Operation.ADD, digests, True)  # type: ignore[arg-type]
    ConsentSignals(True)  # type: ignore[call-arg]


def digests_have_a_recipient(digests: Digests) -> None:
    Digests(pa.array([], pa.binary(32)))  # type: ignore[call-arg]
    Digests(pa.array([], pa.binary(32)), "google")  # type: ignore[arg-type]
    digests.reveal()  # type: ignore[attr-defined]


def a_destination_takes_batches_and_sends_what_it_prepared(
    destination: Destination, batch: Batch, prepared: Prepared, digests: Digests
) -> None:
    target = Target(Account("1110000001"), "1")
    destination.prepare(target, digests)  # type: ignore[arg-type]
    destination.prepare("1110000001", batch)  # type: ignore[arg-type]
    destination.send(batch)  # type: ignore[arg-type]
    destination.send(digests.hex())  # type: ignore[arg-type]
    prepared.contents().identifiers = []  # type: ignore[misc]


def the_steps_have_an_order(screened: Screened, delta: Delta, look: LastLook, delivery: Delivery, intake: Intake) -> None:
    work_out(intake, {}, {})  # type: ignore[arg-type]
    Delta(intake, {})  # type: ignore[arg-type]
    delta.additions("computime/bought_audio_12m/google")  # type: ignore[arg-type]
    screened.funnel("computime/bought_audio_12m/google")  # type: ignore[arg-type]
    delivery.add("computime/bought_audio_12m/google")  # type: ignore[arg-type]
    look.at_batch(AudienceKey("computime/bought_audio_12m/google"), pa.table({}))  # type: ignore[arg-type]


def what_was_decided_stays_decided(screened: Screened, plan: AudiencePlan, batch: Batch) -> None:
    screened.counts = {}  # type: ignore[misc]
    plan.gates = ()  # type: ignore[misc]
    batch.consent = None  # type: ignore[misc]

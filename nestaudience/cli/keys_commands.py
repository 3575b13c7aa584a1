"""`nestaudience keys show` and `keys rotate`. No command prints a secret."""

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead
from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import KeyUse

if TYPE_CHECKING:
    from nestaudience.rotating import Change

Use = Annotated[KeyUse, typer.Option("--use", help="Which key.")]
BACK_UP: Final = (
    "Back up the key file now, where no copy of the ledger is: older rows need the retired key, new ones the new key."
)
TELL: Final = "Give every auditor the verifier keys below, the old ones too: they verify old checkpoints, and the new key those from now on."


def show(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show the ids of the keys, current and retired, where they come from, and the log's public verifier keys. Nothing secret."""
    with guarded(as_json):
        from nestaudience.rotating import ids_of
        from nestaudience.wiring import keys_alone

        ring, table = keys_alone(config)
        kind = "environment" if table.keys.startswith("env:") else "file"
        ids, vkeys, missing = ids_of(ring, table.origin), ring.vkeys(table.origin), _missing(config)
        if as_json:
            keys = {use.value: {"current": each[0], "retired": list(each[1:])} for use, each in ids.items()}
            not_logged = None if missing is None else [each.fields() for each in missing]
            output.as_json({"source": kind, "place": table.keys, "keys": keys, "vkeys": list(vkeys), "not_logged": not_logged})
            return
        output.table(
            "Keys", ("use", "key id", "retired"), [(use.value, each[0], " ".join(each[1:])) for use, each in ids.items()]
        )
        output.say(f"From the {kind}: {table.keys}")
        output.say("The log's verifier keys, for its auditors; the current one first:\n" + "\n".join(vkeys))
        if missing is None:
            output.say("The ledger cannot be read here: whether the log names every rotation is not known.")
        for each in missing or ():
            output.say(
                f"Not in the log yet: the new {each.use.value} key. Run `nestaudience keys rotate --use {each.use.value}`."
            )


def rotate(use: Use, config: Config = DEFAULT_CONFIG, yes: Yes = False, as_json: Json = False) -> None:
    """Give one use a new key, and write that down in the log. The old key stays, to read what was written under it. Asks first."""
    with guarded(as_json):
        from nestaudience.rotating import check_rotation
        from nestaudience.rotating import rotate as do
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            check_rotation(parts, use)
            question = f"Make a new {use.value} key?"
            if not go_ahead(yes=yes, as_json=as_json, question=question, nothing="No key was changed. Add --yes to do it."):
                if as_json:
                    output.as_json({"done": False, "use": use.value})
                return
            done = do(parts, use)
        if as_json:
            change = None if done.change is None else done.change.fields()
            good = [each.fields() for each in done.made_good]
            output.as_json({"done": True, "use": use.value, "change": change, "made_good": good, "vkeys": list(done.vkeys)})
            return
        for each in done.made_good:
            output.say(
                f"Written down now, from a rotation that was cut off: {each.use.value} {each.old_key_id} -> {each.new_key_id}."
            )
        if done.change is not None:
            output.say(f"New {use.value} key: {done.change.new_key_id}. Retired: {done.change.old_key_id}.")
        output.say(BACK_UP)
        if use is KeyUse.SIGNING:
            output.say(TELL + "\n" + "\n".join(done.vkeys))


def _missing(config: Config) -> "tuple[Change, ...] | None":
    """Rotations of which the log does not know; None where the ledger cannot be read."""
    from nestaudience.ledger.entries import EntryType
    from nestaudience.rotating import unlogged
    from nestaudience.wiring import open_evidence, open_keys

    try:
        evidence = open_evidence(config, clock, read_only=True)
        try:
            events = evidence.reader.entries(types=frozenset({EntryType.KEY_EVENT}))
            return unlogged(open_keys(evidence), evidence.table.origin, events)
        finally:
            evidence.engine.dispose()
    except NestAudienceError:
        return None

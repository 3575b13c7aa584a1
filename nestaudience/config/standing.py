"""What a configuration must not drop while lists still hold people: their audiences, their bindings, and the credentials that reach them.

Pure: the new configuration, the last accepted one and the audiences that hold people in; the new one out, mended, with its problems. Removals go on
from what is mended; nobody joins such a list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nestaudience.config.schema import DestinationTable
from nestaudience.config.settings import Problem, Settings
from nestaudience.vocabulary import AudienceKey


def still_needed(settings: Settings, former: Settings, held: set[AudienceKey]) -> Settings:
    """The settings with everything that the lists of `held` still need, and a problem for each thing that was dropped too early."""
    forgotten = sorted(key for key in held if key not in settings.audiences and key in former.audiences)
    audiences = {**settings.audiences, **{key: former.audiences[key] for key in forgotten}}
    reached = {audiences[key].table.destination for key in held if key in audiences}
    dropped = sorted(
        name for name in reached if _without_credentials(settings.destinations.get(name), former.destinations.get(name))
    )
    problems = (*_forgotten(forgotten), *_closed(settings, held), *_dropped(dropped, settings, former, held))
    destinations = {**former.destinations, **settings.destinations} if forgotten else dict(settings.destinations)
    return replace(
        settings,
        audiences=audiences,
        destinations={**destinations, **{name: former.destinations[name] for name in dropped}},
        problems=settings.problems + problems,
    )


def _without_credentials(now: DestinationTable | None, before: DestinationTable | None) -> bool:
    return before is not None and before.credentials is not None and (now is None or now.credentials is None)


def _forgotten(keys: list[AudienceKey]) -> Iterator[Problem]:
    for key in keys:
        what = f"{key} still holds people and is no longer configured"
        yield Problem("audiences", what, "put it back and retire it: `nestaudience retire`", frozenset({key}))


def _closed(settings: Settings, held: set[AudienceKey]) -> Iterator[Problem]:
    for key in sorted(held & settings.audiences.keys()):
        if settings.audiences[key].ad_account.state == "closed":
            what = f"{key} still holds people on an ad account that is closed here"
            yield Problem("ad_accounts.state", what, 'set it to "retiring" until its lists are empty', frozenset({key}))


def _dropped(names: Sequence[str], settings: Settings, former: Settings, held: set[AudienceKey]) -> Iterator[Problem]:
    for name in names:
        keys = {
            key
            for key in held
            for known in (settings, former)
            if key in known.audiences and known.audiences[key].table.destination == name
        }
        what = f"the credentials of {name} were taken out, and {len(keys)} of its lists still hold people"
        yield Problem("destinations.credentials", what, "put them back until the lists are empty", frozenset(keys))

"""The transports to the recipients, by name. One line per destination; each is imported only when it is asked for."""

from importlib import import_module
from typing import Final

from nestaudience.errors import NeedsFix

DESTINATIONS: Final[dict[str, str]] = {
    "google_ads": "nestaudience.destinations.google_ads:GoogleAds",
    "google_data_manager": "nestaudience.destinations.google_data_manager:GoogleDataManager",
    "meta": "nestaudience.destinations.meta:Meta",
}
"""Name in the configuration -> `module:Class`, a `nestaudience.destinations.port.Destination`."""


def destination_class(name: str) -> type:
    """The class of a destination. Imports its SDK now, and not earlier; raises `NeedsFix` for a name that is not registered."""
    place = DESTINATIONS.get(name)
    if place is None:
        raise NeedsFix("destination_unknown", "destinations", f"name one of: {', '.join(sorted(DESTINATIONS))}")
    module, _, class_name = place.partition(":")
    found: type = getattr(import_module(module), class_name)
    return found

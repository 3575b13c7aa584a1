"""Prefect flows: thin wrappers over `nestaudience.sync`. Keys and counts only cross their boundaries.

Importing this package sets Prefect's settings before Prefect itself is imported: nothing is persisted or cached, nothing is reported to
anybody, and logs pass a formatter that masks what looks like an address or a digest. Values that the environment already has are kept.
"""

import os
from pathlib import Path
from typing import Final

SETTINGS: Final = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "false",
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    "PREFECT_LOGGING_LOG_PRINTS": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

_LOGGING = Path(__file__).parent / "logging.yml"
if _LOGGING.exists():
    os.environ.setdefault("PREFECT_LOGGING_SETTINGS_PATH", str(_LOGGING))

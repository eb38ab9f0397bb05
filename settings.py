"""What the environment says for the whole program: where the cache is, whether to stay offline."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "EDGEARK_CACHE"
OFFLINE_VARIABLE = "EDGEARK_OFFLINE"

# ONNX Runtime reports file names and hashes of the models that it loads, from 1.29 on, on import.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def cache_folder() -> Path:
    """Toolchains, downloads and logs: ``$EDGEARK_CACHE``, or the user's cache folder."""
    if variable := os.environ.get(CACHE_VARIABLE):
        return Path(variable).expanduser().resolve()
    return user_cache_path("edgeark")


def is_offline() -> bool:
    """Whether nothing may be fetched; ``--offline`` sets the variable for the process."""
    return os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def go_offline() -> None:
    """Fetch nothing from now on, in this process and those that it starts."""
    os.environ[OFFLINE_VARIABLE] = "1"

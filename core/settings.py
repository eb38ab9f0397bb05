"""What the environment says for the whole program: its cache, whether it is offline, its trust."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from ..errors import EdgearkError

CACHE_VARIABLE = "EDGEARK_CACHE"
OFFLINE_VARIABLE = "EDGEARK_OFFLINE"
TRUST_VARIABLE = "EDGEARK_TRUST"

# ONNX Runtime reports file names and hashes of the models that it loads, from 1.29 on, on import.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def cache_folder() -> Path:
    """Toolchains, downloads and logs: ``$EDGEARK_CACHE``, or the user's cache folder.

    Raises:
        EdgearkError: the variable names no place.
    """
    variable = os.environ.get(CACHE_VARIABLE)
    if not variable:
        return user_cache_path("edgeark")
    try:
        return Path(variable).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:  # no such user, a loop of links
        raise EdgearkError(f"${CACHE_VARIABLE} is {variable[:200]}: {error}") from None


def is_offline() -> bool:
    """Whether nothing may be fetched; ``--offline`` sets the variable for the process."""
    return os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def go_offline() -> None:
    """Fetch nothing from now on, in this process and those that it starts."""
    os.environ[OFFLINE_VARIABLE] = "1"


def trusts_files() -> bool:
    """Whether files that hold programs may run as this user; ``--trust`` sets the variable."""
    return os.environ.get(TRUST_VARIABLE, "0") not in ("", "0")


def trust_files() -> None:
    """Run what files hold with all rights from now on, in this process and those that it starts."""
    os.environ[TRUST_VARIABLE] = "1"

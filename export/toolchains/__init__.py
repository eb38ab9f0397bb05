"""Vendor toolchains, each in its own environment and its own process.

Converters pin mutually exclusive versions, crash with signals, print to stdout and drop files
where they stand. So each has a folder here with ``requirements.in`` (what we ask for),
``requirements.txt`` (compiled, with hashes) and ``worker.py`` (functions that run inside its
environment). A worker whose packages take seconds to import has them imported once, and a process
forked for each call.
"""

from .environment import Hint, Toolchain, ToolchainError, ToolchainUnavailable
from .process import TIMEOUT_S, call

__all__ = ["TIMEOUT_S", "Hint", "Toolchain", "ToolchainError", "ToolchainUnavailable", "call"]

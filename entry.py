"""Where the program begins: it can be ended in its first second as well, without a traceback."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """``edgeark``."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _leave)
    from .cli import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """While modules are imported there is nothing to clean up."""
    os.write(2, b"Aborted.\n")
    os._exit(128 + number)

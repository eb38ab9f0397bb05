"""``edgeark`` and ``python -m edgeark``: Ctrl-C ends it in its first second too, in one line."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line, which takes the signals over once it is imported."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _leave)
    from .cli import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """While modules are imported there is nothing to clean up."""
    os.write(2, b"Aborted.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()

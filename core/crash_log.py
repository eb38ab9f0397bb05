"""What becomes of an error that nobody foresaw: one line, and a log with all of it."""

from __future__ import annotations

import contextlib
import os
import traceback
from datetime import datetime, timezone
from pathlib import Path

from ..errors import EdgearkError
from .settings import cache_folder

DEBUG_VARIABLE = "EDGEARK_DEBUG"
_NAME = "faults.log"
_MOST_BYTES = 2**20  # of the log; then it begins again


def is_debugging() -> bool:
    """Whether errors go on as they are; ``--debug`` sets the variable for the process."""
    return os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


def describe_fault(error: BaseException) -> str:
    """An unforeseen error in one line, with the log that has its traceback."""
    said = " ".join(str(error).split())[:300]
    line = f"{type(error).__name__}{': ' + said if said else ''}"
    if isinstance(error, OSError):  # the machine's, not a program's
        return said or type(error).__name__
    if isinstance(error, MemoryError):
        return f"out of memory ({line})"
    log = _keep(error)
    where = f"; log: {log}" if log else ""
    return f"{line}: a fault of edgeark's; please report it with what --debug prints{where}"


def is_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether it is a KeyboardInterrupt, or what a library made of one, as modules in C++ do."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _keep(error: BaseException) -> Path | None:
    """The log to which the traceback was added; None where there is none to be had."""
    words = "".join(traceback.format_exception(error))
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with contextlib.suppress(OSError, EdgearkError):
        path = cache_folder() / "logs" / _NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        is_long = path.exists() and path.stat().st_size > _MOST_BYTES
        with path.open("w" if is_long else "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{now}\n{words}\n")
        return path
    return None

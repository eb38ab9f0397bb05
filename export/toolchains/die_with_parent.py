"""Become another program that dies with the process that started this one.

    python -I -S die_with_parent.py PROGRAM ARGUMENTS...

The standard library alone; Linux alone: elsewhere the program is simply started.
"""

import ctypes
import os
import signal
import sys

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() == 1:
        sys.exit(1)
os.execv(sys.argv[1], sys.argv[1:])

"""Confine this process, for good: it writes to named folders alone, and has no network.

This file runs inside toolchains' environments, under their Pythons (3.7 or later), so it imports
the standard library alone. It asks Linux for Landlock (5.13 and later) and a seccomp filter; what
was open before stays open. Both are inherited by all that the process starts. So it also confines
any program, which it becomes:

    python -I -S confine.py '{"writable": ["/folder"], "memory_bytes": 0}' PROGRAM ARGUMENTS...
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import struct
import sys
from pathlib import Path

# Numbers of Linux's user-space headers, which never change.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_BENEATH_PATH = 1
_NO_NEW_PRIVS, _SET_SECCOMP, _SECCOMP_FILTER = 38, 22, 2
_IO_URING_SETUP = 425
_WRITE_FILE = 1 << 1
_IOCTL_DEVICES = 1 << 15
# AUDIT_ARCH, and the numbers of socket(2); a machine that is not here is not confined.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
# What changes files, by the release of Landlock that knows it.
_CHANGES = {1: _WRITE_FILE | sum(1 << bit for bit in range(4, 13)), 2: 1 << 13, 3: 1 << 14}
_X32 = 0x40000000


def can_confine() -> bool:
    """Whether this machine has what :func:`confine` needs."""
    return platform.machine() in _MACHINES and _landlock_release() > 0


def confine(writable: list[str], memory_bytes: int = 0, with_gpu: bool = False) -> None:
    """Give up writing outside ``writable``, the network, and memory above a limit.

    Args:
        writable: folders that exist. ``/dev/null`` can be written to as well.
        memory_bytes: of the process's own data; 0: no limit.
        with_gpu: a GPU's devices can be written to as well, and the network stays: its driver
            makes sockets.

    Raises:
        OSError: the kernel refuses.
    """
    import resource

    if memory_bytes:
        with contextlib.suppress(ValueError):  # a lower limit is there already
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    devices = Path("/dev").glob("nvidia*") if with_gpu else ()
    _restrict_files(libc, writable, [Path("/dev/null"), *devices])
    if not with_gpu:
        _restrict_network(libc)


def _landlock_release() -> int:
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, 1))


def _restrict_files(libc: ctypes.CDLL, writable: list[str], devices: list[Path]) -> None:
    release = _landlock_release()
    handled = sum(bits for since, bits in _CHANGES.items() if since <= release)
    handled |= _IOCTL_DEVICES if release >= 5 else 0
    network = 0b11 if release >= 4 else 0  # bind and connect of TCP
    scoped = 0b11 if release >= 6 else 0  # abstract sockets, and signals to other processes
    words = [handled, network, scoped][: 3 if release >= 6 else 2 if release >= 4 else 1]
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _check(libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        of_file = handled & (_WRITE_FILE | _CHANGES[3] | _IOCTL_DEVICES)
        allowed_on = [(each, handled) for each in writable]
        allowed_on += [(str(each), handled if each.is_dir() else of_file) for each in devices]
        for path, allowed in allowed_on:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", allowed, place)
                _check(libc.syscall(_ADD_RULE, ruleset, _BENEATH_PATH, rule, 0))
            finally:
                os.close(place)
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _restrict_network(libc: ctypes.CDLL) -> None:
    """Refuse socket(2), and io_uring, which makes sockets without it."""
    machine, socket = _MACHINES[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    refuse, allow = 0x00050000 | 1, 0x7FFF0000  # 1: EPERM
    program = [
        (load, 0, 0, 4),  # the machine whose numbers the call uses
        (equal, 0, 4, machine),
        (load, 0, 0, 0),  # the call's number
        (at_least, 2, 0, _X32),
        (equal, 1, 0, socket),
        (equal, 0, 1, _IO_URING_SETUP),
        (answer, 0, 0, refuse),
        (answer, 0, 0, allow),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    content = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(content))
    _check(libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, filter_, 0, 0))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    confine(**json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])

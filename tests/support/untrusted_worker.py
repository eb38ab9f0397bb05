"""A worker that tries what a confined one must not be able to."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path


def misbehave(arguments, arrays):
    path = Path(arguments["path"])
    actions = {
        "write": lambda: path.write_bytes(b"x"),
        "delete": path.unlink,
        "truncate": lambda: os.truncate(path, 1),
        "child": lambda: subprocess.run(f"echo x > '{path}'", shell=True, check=True),
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "kill": lambda: os.kill(os.getppid(), 0),
        "memory": lambda: bytearray(2**30),
    }
    actions[arguments["what"]]()
    return {}, {}


def behave(arguments, arrays):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_text("x")
    Path("here").write_text("x")
    done = subprocess.run(
        "cat here > there && echo done", shell=True, check=True, capture_output=True, text=True
    )
    return {"temporary": Path("there").read_text() == "x", "child": done.stdout.strip()}, {}

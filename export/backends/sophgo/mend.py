"""Mend tpu-mlir's wheel, and see that it works; once, in its environment, after the installation.

``lib/third_party`` of the wheel holds libraries of Ubuntu 22.04, where the wheel's programs look
first. With its C library there they die on a newer Linux: ``version `GLIBC_2.36' not found``. So
the five that every Linux has go. uv may share their files with its cache, which keeps its own.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

_SYSTEM = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1")
_MODULES = ("pymlir", "pyruntime_cvi", "pyruntime_bm")  # no process can have two of them
_IMPORT = "import sys; sys.path.append(sys.argv[1]); __import__(sys.argv[2])"


def main() -> int | str:
    """0, or what does not work."""
    spec = find_spec("tpu_mlir")
    if spec is None or spec.origin is None:
        return "tpu_mlir is not installed"
    package = Path(spec.origin).parent
    for name in _SYSTEM:
        (package / "lib" / "third_party" / name).unlink(missing_ok=True)
    commands = [[str(package / "bin" / "tpuc-opt"), "--version"]]
    for name in _MODULES:
        commands.append([sys.executable, "-I", "-c", _IMPORT, str(package / "python"), name])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            return f"{Path(command[0]).name} {command[-1]}: {words[-1]}"
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The benchmarks that need nothing but edgeark, in one go: ``make benchmarks`` or this file.

Each is a process of its own and says what it says by itself; what it took is printed behind it,
and once more for all at the end. One that fails does not stop the others; the exit status is 1
where one has. ``--quick`` passes the options that make each short: whether it runs, and no figures
to quote. Those that train, or need data sets or packages of others, are left out; see README.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUICK = {
    "startup": "--runs 1",
    "growth": "--runs 1 --blocks 2",
    "kpu_simulator": "",
    "k210_models": "mnist_kpu",
    "k210_vs_nncase": "mnist_kpu --limit 20",
    "engines": "mnist_kpu --rounds 1 --images 10",
    "inference": "--pairs mobilenet_v1* --seconds 1 --threads 1",
    "memory": "--images 200 --steps 2",
    "bundles": "mnist --to onnxruntime --limit 5",
    "faults": "--minutes 0.5",
}
FULL = {"k210_vs_nncase": "mnist_kpu"}  # others have data sets that may not be here


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUICK)}")
    parser.add_argument("--quick", action="store_true", help="short, for a look")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in QUICK:
            parser.error(f"no {name}; there are {', '.join(QUICK)}")
    ended = []
    for name in arguments.names or QUICK:
        options = (QUICK if arguments.quick else FULL).get(name, "").split()
        _say(f"== {name} {' '.join(options)}".rstrip())
        start = time.perf_counter()
        status = subprocess.run(
            [sys.executable, HERE / f"{name}.py", *options], check=False
        ).returncode
        ended.append((name, time.perf_counter() - start, status))
        _say(_line(*ended[-1]))
    _say("\n" + "\n".join(_line(*each) for each in ended))
    return int(any(status for _, _, status in ended))


def _line(name: str, seconds: float, status: int) -> str:
    return f"{name:<15} {seconds:8.1f} s{f'  failed: status {status}' if status else ''}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

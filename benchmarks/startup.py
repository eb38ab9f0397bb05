"""What starting costs: ``python benchmarks/startup.py [--runs N]``.

Each line is a fresh process, the lines in turn, so that a busy machine slows all of them alike; CPU
seconds are the operating system's own account of the finished process. Prints medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

EXPORT = "edgeark export mnist --to onnxruntime"
CASES = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import edgeark": [sys.executable, "-c", "import edgeark"],
    "import edgeark; create_model": [
        *(sys.executable, "-c", "import edgeark; edgeark.create_model('mnist', pretrained=True)")
    ],
    "import everything that an export needs": [
        *(sys.executable, "-c", "import edgeark.export.pipeline, edgeark.cli")
    ],
    EXPORT: [sys.executable, "-m", *EXPORT.split()],
}


def measure(
    command: list[str], folder: str, allowed: tuple[int, ...] = (0,)
) -> tuple[float, float]:
    """Wall and CPU seconds of one run.

    Raises:
        CalledProcessError: it ended with another status than is ``allowed``.
    """
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True)
    if done.returncode not in allowed:
        sys.stderr.buffer.write(done.stderr)
        done.check_returncode()
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for counted in range(-1, runs):  # the first round warms the disk's cache
            for name, command in CASES.items():
                result = measure(command, folder)
                if counted >= 0:
                    results[name].append(result)
    medians = {
        name: tuple(statistics.median(values) for values in zip(*rows, strict=True))
        for name, rows in results.items()
    }
    torch_cpu = medians["import torch"][1]
    sys.stdout.write("| what | wall s | CPU s | CPU s beyond import torch |\n|---|--:|--:|--:|\n")
    for name, (wall, cpu) in medians.items():
        sys.stdout.write(f"| `{name}` | {wall:.2f} | {cpu:.2f} | {cpu - torch_cpu:+.2f} |\n")


if __name__ == "__main__":
    main()

"""A program: a Ray cluster of two workers on this machine, one of which can be killed.

It prints the address, and ends with its input. At a line ``kill`` it kills a worker's process that
runs a task, and prints its number.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "memory": 4 * 2**30, "object_store_memory": 80 * 2**20}


def running_tasks(raylets: set[int]) -> list[int]:
    """Processes of workers that run a task of edgeark's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if title.startswith(b"ray::edgeark") and parent in raylets:
            found.append(int(folder.name))
    return found


def main() -> None:
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(**NODE) for _ in range(2)]
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        assert line.strip() == "kill"
        deadline = time.monotonic() + 120
        while not (found := running_tasks(raylets)) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(found[0], signal.SIGKILL)
        sys.stdout.write(f"{found[0]}\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    main()

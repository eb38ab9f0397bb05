"""Several exports at a time: order, errors, Ctrl-C, and that no toolchain's process outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.prepare import EvalContext
from edgeark.export.toolchains.parallel import map_in_order
from edgeark.export.toolchains.process import run_command
from edgeark.zoo import create_model, model_entry, spec_of


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_items_order(jobs: int) -> None:
    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    waits = [0.2, 0.1, 0.0, 0.15]
    assert map_in_order(wait, waits, jobs) == waits


def test_jobs_overlap() -> None:
    """Neither gets past the barrier alone."""
    barrier = threading.Barrier(2)
    assert sorted(map_in_order(lambda _: barrier.wait(10), [0, 1], 2)) == [0, 1]


def test_an_error_ends_the_processes_and_leaves_what_has_not_begun(tmp_path: Path) -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            while not (tmp_path / "pid").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt  # what Ctrl-C raises where it is waited for
        tell = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
        command = [sys.executable, "-c", tell]
        run_command("slow", "wait", command, cwd=tmp_path, log=tmp_path / "log", timeout=60)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        map_in_order(work, [0, 1, 2, 3], 2)
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert {2, 3} - set(begun)


CTRL_C = """
import signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from edgeark.export.toolchains.parallel import map_in_order
from edgeark.export.toolchains.process import run_command

def work(number):
    tell = f"import os, time; open('pid{number}', 'w').write(str(os.getpid())); time.sleep(60)"
    folder = Path(sys.argv[1])
    run_command("slow", "wait", [sys.executable, "-c", tell], cwd=folder,
                log=folder / f"log{number}", timeout=60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it else
map_in_order(work, [0, 1, 2], 2)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_export_leaves_no_process(number: int, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CTRL_C, tmp_path], stderr=subprocess.PIPE)
    files = [tmp_path / f"pid{i}" for i in range(2)]
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files):
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(number)
    parent.communicate(timeout=30)
    assert parent.returncode != 0
    if number == signal.SIGINT:  # after SIGKILL a worker asks the kernel itself: test_toolchains
        for file in files:
            with pytest.raises(ProcessLookupError):
                os.kill(int(file.read_text()), 0)
    else:
        for file in files:
            os.kill(int(file.read_text()), signal.SIGKILL)
    assert not (tmp_path / "pid2").exists()


def test_two_threads_share_a_graphs_files(tmp_path: Path) -> None:
    model = create_model("mnist_kpu", width=0.25)
    graph = Graph(model, spec_of(model), tmp_path)
    paths = map_in_order(graph.onnx, [13, 18, 13, 18], 4)
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28), np.uint8)
    wanted = graph.reference(images)[0]
    scaled = ((images - np.float32(graph.spec.mean[0])) / graph.spec.std[0]).astype(np.float32)
    for path in paths:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers = [np.asarray(session.run(None, {"input": x[None]})[0]) for x in scaled]
        np.testing.assert_allclose(np.concatenate(answers), wanted, atol=1e-5)


def test_all_threads_share_one_reading_of_the_calibration_images() -> None:
    readings = []

    def read() -> Any:
        readings.append(time.sleep(0.05))
        return object()

    nothing: Any = None
    context = EvalContext("mnist", model_entry("mnist").spec, nothing, nothing, [], read)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: context.calibration, range(4)))
    assert len(readings) == 1 and len({id(images) for images in found}) == 1

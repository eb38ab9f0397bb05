"""What the workers of MNN and OpenVINO must not do: install packages, or phone home."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path

import pytest
from edgeark.export.graph.files import Graph
from edgeark.zoo import create_model
from support.target_base import installed_target

# Runs in the toolchain's environment: the worker, with every way out recorded.
WATCHER = textwrap.dedent(
    """
    import importlib.util, json, os, sys
    import numpy as np

    worker_path, onnx, folder = sys.argv[1:]
    calls = []

    def watch(event, arguments):
        if event.startswith(("socket.connect", "socket.getaddrinfo", "subprocess", "os.system")):
            calls.append([event, repr(arguments)])

    sys.addaudithook(watch)
    spec = importlib.util.spec_from_file_location("worker", worker_path)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 28, 28), dtype=np.uint8)
    settings = {"mean": [30.0], "std": [80.0], "inputs": ["input"], "outputs": ["output"]}
    name = os.environ["ARTIFACT"]
    job = {"onnx": onnx, "out": os.path.join(folder, name), "settings": settings}
    job |= {"half": False, "model_info": {}}
    worker.convert(job, {"images": images})
    job = {"folder": folder, "files": [name], "settings": settings}
    _, outputs = worker.run(job, {"images": images})
    report = {"calls": calls, "modules": sorted(sys.modules), "shape": outputs["output0"].shape}
    with open(os.path.join(folder, "report.json"), "w") as file:
        json.dump(report, file)
    os._exit(0)
    """
)


@pytest.mark.parametrize(("name", "artifact"), [("mnn", "model.mnn"), ("openvino", "model.xml")])
def test_nothing_is_installed_and_nothing_sent(name: str, artifact: str, tmp_path: Path) -> None:
    toolchain = installed_target(name).toolchain
    assert toolchain is not None
    python = toolchain.ensure()
    home, scratch, out = (tmp_path / part for part in ("home", "scratch", "out"))
    for folder in (home, scratch, out):
        folder.mkdir()
    model = create_model("mnist", width=0.1)
    onnx = Graph(model, model.spec, tmp_path).onnx()
    # NNCF is silent under pytest of its own accord, and in CI: neither may help here.
    environment = {key: value for key, value in os.environ.items() if "CI" not in key}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "ARTIFACT": artifact}
    done = subprocess.run(
        [python, "-I", "-c", WATCHER, toolchain.worker, onnx, out],
        cwd=scratch,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["shape"] == [8, 10, 1, 1]
    assert report["calls"] == []
    assert not any(module.startswith("MNN.tools") for module in report["modules"])
    assert not list(home.iterdir())

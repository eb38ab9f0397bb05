"""Ultralytics' own loader opens exports: their names, strides and tasks are in the ONNX file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.results.manifest import read_manifest
from edgeark.export.results.views import write_views
from edgeark.export.targets.isolated import borrowed_packages
from edgeark.export.toolchains import Toolchain, ToolchainUnavailable
from edgeark.zoo import spec_of
from support.exports import export

# uv pip compile --universal --generate-hashes --override overrides.txt -o requirements.txt
# requirements.in. Under the AGPL, and no dependency of edgeark's.
READER = Toolchain(
    name="ultralytics-loader",
    packages=("ultralytics",),
    home=Path(__file__).parent,
    python=">=3.11",
    download_mb=80,
)
SCRIPT = """
import json, sys
sys.path.append(sys.argv[1])
import torch
from ultralytics.nn.autobackend import AutoBackend
found = {}
for path in sys.argv[2:]:
    backend = AutoBackend(path, device=torch.device("cpu"), verbose=False)
    outputs = backend(torch.zeros(1, backend.channels, *backend.imgsz))
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    found[path] = {
        "names": list(backend.names.values()), "stride": int(backend.stride), "task": backend.task,
        "shapes": [list(output.shape) for output in outputs],
    }
print(json.dumps(found))
"""
NAMES = ("red cell", "white's", "größe")
MODELS = {"yolov5n": "detect", "unet_8": "segment", "mobilenet_v1_025": "classify"}


def test_its_loader_reads_names_of_our_onnx_files(tmp_path: Path) -> None:
    try:
        python, packages = READER.ensure(), borrowed_packages(READER)
    except ToolchainUnavailable as error:
        pytest.skip(str(error))
    known = {}
    for model in MODELS:
        (tmp_path / model).mkdir()
        options = {"num_classes": 3, "in_channels": 3, "spec": {"classes": NAMES}}
        network, folder = export(model, tmp_path / model, **options)
        shapes = [output.shape for output in read_manifest(folder).outputs]
        write_views(folder / "model.onnx", spec_of(network), shapes)
        known[model] = (folder / "model.onnx", spec_of(network), shapes)
    settings = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [python, "-c", SCRIPT, packages, *(path for path, *_ in known.values())],
        env={**os.environ, **settings, "YOLO_CONFIG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for model, (path, spec, shapes) in known.items():
        read = found[str(path)]
        assert (read["names"], read["task"]) == (list(NAMES), MODELS[model])
        assert read["stride"] == max(spec.strides, default=1)
        assert [np.prod(shape) for shape in read["shapes"]] == [np.prod(shape) for shape in shapes]

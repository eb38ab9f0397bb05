"""``reproduce.py`` converts and runs with the vendor's packages alone, in its own Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext, prepare_source
from edgeark.export.sources import InputOptions, open_source
from edgeark.export.targets.base import Precision, Quantization
from support.target_base import installed_target
from torch import nn

# Without edgeark: importing it fails. What rknn-toolkit2 declares and edgeark's environment lacks,
# PyTorch, lies in the folder of the second argument.
RUN = """
import runpy, sys
sys.modules["edgeark"] = None
sys.path.append(sys.argv.pop())
runpy.run_path("reproduce.py", run_name="__main__")
"""
CASES: list[tuple[str, Precision]] = [
    ("onnxruntime", "float32"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
    ("mnn", "float16"),
    ("mnn", "int8"),
    ("opencv", "float32"),
    ("ncnn", "float32"),
    ("rknn:rv1106", "int8"),
    ("qnn:v73", "float16"),
    ("qnn:v73", "int8"),
    ("tflm", "int8"),
    ("cvitek:cv181x", "int8"),
]
# The runtime reads edgeark's own file there: of ONNX, or with ranges that edgeark has chosen.
NOT_CONVERTED = [("onnxruntime", "float32"), ("mnn", "int8"), ("opencv", "float32")]
NOT_CONVERTED += [("tflm", "int8")]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 4, 1),
    )  # fmt: skip
    options = InputOptions(shapes="3x24x32", mean=(120, 100, 90), std=(60, 70, 80))
    source = open_source(network, options)
    folder = tmp_path_factory.mktemp("graph")
    return prepare_source(source, folder, quantization=Quantization(count=8))


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_the_script_answers_as_the_export(
    context: EvalContext, name: str, precision: Precision, tmp_path: Path
) -> None:
    target = installed_target(name)
    row = export_one(context, target, precision, tmp_path)
    assert row.artifact is not None, row.message
    folder = row.artifact.parent
    script = (folder / "reproduce.py").read_text()
    pinned = target.toolchain.pinned_versions() if target.toolchain else target.versions()
    assert all(f"{p}=={v}" in script for p, v in pinned.items())
    python = target.toolchain.ensure() if target.toolchain else sys.executable
    packages = str(Path(torch.__file__).parents[1]) if name.startswith("rknn") else str(tmp_path)
    done = subprocess.run(
        [python, "-c", RUN, packages],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("max. difference from the export") == 1
    is_converted = (name, precision) not in NOT_CONVERTED
    assert (folder / "reproduced" / row.artifact.name).exists() == is_converted

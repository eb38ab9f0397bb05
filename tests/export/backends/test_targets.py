"""Every target family, through its real converter and runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgeark.core.settings import cache_folder
from edgeark.export.targets.base import Evidence, Placement
from support.target_base import TargetTester


class TestOnnxRuntime(TargetTester):
    target = "onnxruntime"


class TestWeb(TargetTester):
    models = ("mnist", "mobilenet_v1_025")
    target = "web"


class TestTorchScript(TargetTester):
    target = "torchscript"
    precisions = ("float32",)


class TestOpenCv(TargetTester):
    target = "opencv"
    precisions = ("float32",)


class TestOpenCv5(TargetTester):
    target = "opencv5"
    precisions = ("float32",)


class TestMnn(TargetTester):
    target = "mnn"
    precisions = ("float32", "float16", "int8")


class TestOpenVino(TargetTester):
    target = "openvino"
    precisions = ("float32", "float16", "int8")


class TestLiteRt(TargetTester):
    models = ("mnist",)  # the converter takes ten seconds for a network
    target = "litert"


class TestExecuTorch(TargetTester):
    models = ("mnist",)  # the converter takes ten seconds for a network
    target = "executorch"


class TestTflm(TargetTester):
    models = ("mnist",)  # the converter takes ten seconds for a network
    target = "tflm:rp2040"

    def check_placement(self, placement: object) -> None:
        assert isinstance(placement, Placement) and placement.npu_mac_fraction is None
        assert 0 < placement.memory["RAM"]["used"] < placement.memory["RAM"]["limit"] == 270_336


class TestRknn(TargetTester):
    target = "rknn:rk3588"
    evidence = Evidence.SIMULATED
    precisions = ("float16", "int8")
    npu = True

    def check_placement(self, placement: object) -> None:
        assert isinstance(placement, Placement)
        assert placement.npu_mac_fraction == 1.0
        assert placement.cpu_ops == ()
        assert placement.weights_bytes and placement.activation_bytes


def test_exports_leave_nothing_at_home(tmp_path: Path) -> None:
    """Runtimes that report their use keep an identity in the home folder; see ``NO_TELEMETRY``."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "EDGEARK_CACHE": str(cache_folder())}
    command = [sys.executable, "-m", "edgeark", "export", "mnist_kpu", "--limit", "20", "--int8"]
    command += ["--to", "onnxruntime,opencv,mnn,openvino", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []

"""Every target family, through its real converter and runtime."""

from __future__ import annotations

from edgeark.export.target import Evidence, Placement
from target_base import TargetTester


class TestOnnxRuntime(TargetTester):
    target = "onnxruntime"


class TestTorchScript(TargetTester):
    target = "torchscript"
    precisions = ("float32",)


class TestOpenCv(TargetTester):
    target = "opencv"
    precisions = ("float32",)


class TestMnn(TargetTester):
    target = "mnn"


class TestOpenVino(TargetTester):
    target = "openvino"


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

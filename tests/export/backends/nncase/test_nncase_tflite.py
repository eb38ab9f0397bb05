"""The K210 by nncase from TFLite: what it computes where ONNX fails, its rules, its names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.nncase.examples_tflite import EXAMPLES
from edgeark.export.backends.nncase.rules_tflite import rules
from edgeark.export.backends.nncase.tflite_names import TfliteNames, count_tflite_macs
from edgeark.export.graph.files import Graph
from edgeark.export.lint import Example, Finding, capture_network, check
from edgeark.export.targets import find_target, find_targets
from edgeark.export.targets.base import Artifact, Conversion, Evidence, Placement
from edgeark.export.toolchains import ToolchainError
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.spec import ModelSpec
from support.nncase_cases import COLORS, SPEC, Between, make_images, set_batch_norm, sqnr_db
from support.nncase_cases import convert as convert_onnx
from support.settled import Heads
from support.target_base import TargetTester, installed_target
from torch import nn

TARGET = "k210-nncase-tflite"


class TestNncaseTflite(TargetTester):
    models = ("mnist",)  # the converter takes ten seconds for a network
    target = TARGET
    evidence = Evidence.SIMULATED
    precisions = ("int8",)
    npu = True

    def check_placement(self, placement: object) -> None:
        """``mnist`` is made of 5x5 convolutions: the head and the normalisation are the KPU's."""
        assert isinstance(placement, Placement)
        assert placement.npu_mac_fraction == pytest.approx((5_000 + 784) / (2_293_000 + 784))
        assert placement.weights_bytes and placement.activation_bytes


@pytest.fixture(scope="module")
def toolchain() -> None:
    installed_target(TARGET)


needs_toolchain = pytest.mark.usefixtures("toolchain")


def convert(model: nn.Module, folder: Path, spec: ModelSpec = SPEC) -> tuple[Artifact, Graph]:
    (folder / "graph").mkdir()
    graph, out = Graph(model, spec, folder / "graph"), folder / "tflite"
    out.mkdir()
    job = Conversion(graph, "int8", out, folder / "log.txt", make_images(8, 1, spec))
    return find_target(TARGET).convert(job), graph


def findings(name: str, model: nn.Module, spec: ModelSpec = SPEC) -> dict[str, Finding]:
    """The errors among them, by rule."""
    found = check(capture_network(model, spec.input_shape), find_target(name).rules(), name)
    return {finding.rule: finding for finding in found if finding.severity == "error"}


def test_is_another_way_to_the_chip() -> None:
    assert TARGET not in {target.full_name for target in find_targets("all")}
    assert {"nncase", "litert-torch"} <= find_target(TARGET).versions().keys()


@needs_toolchain
def test_a_bilinear_unet_is_wrong_by_onnx_and_right_here(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("unet_8", input_size=(64, 64), upsample="bilinear")
    spec = spec_of(model)
    set_batch_norm(model, make_images(16, 3, spec))
    refused = findings("k210-nncase", model, spec)
    assert [*refused] == ["half-pixel-bilinear"]
    assert TARGET in refused["half-pixel-bilinear"].fix
    assert not findings(TARGET, model, spec)
    artifact, graph = convert(model, tmp_path, spec)
    by_onnx = tmp_path / "onnx"
    by_onnx.mkdir()
    other, theirs, _ = convert_onnx(model, by_onnx, spec)
    assert sqnr_db(artifact, graph, TARGET) > 15
    assert sqnr_db(other, graph) < 8
    placement = find_target(TARGET).placement(artifact)
    assert placement is not None and placement.npu_mac_fraction == theirs.npu_mac_fraction == 1
    macs = [sum(row["macs"] for row in each.layers) for each in (placement, theirs)]
    assert macs[0] == macs[1] > 0
    assert "ResizeImage (decoder.steps.0.up;1)" in placement.cpu_ops


@needs_toolchain
def test_many_outputs_of_a_colour_image(tmp_path: Path) -> None:
    """In the network's order, maps and vectors, each channel with its own mean and deviation."""
    torch.manual_seed(0)
    model = Heads()
    set_batch_norm(model, make_images(16, 3, COLORS))
    artifact, graph = convert(model, tmp_path, COLORS)
    images = make_images(8, 2, COLORS)
    result = find_target(TARGET).run(artifact, images, tmp_path / "log.txt")
    assert result is not None
    for answer, wanted in zip(result.outputs, graph.reference(images), strict=True):
        np.testing.assert_allclose(answer, wanted, atol=0.2 * np.abs(wanted).max())
    placement = find_target(TARGET).placement(artifact)
    assert placement is not None and placement.npu_mac_fraction == 1
    macs = {row["name"].split(";")[0]: row["macs"] for row in placement.layers if row["macs"]}
    heads = {f"heads.{i}": (13 - i) * 8 * 9 * 4 * 5 for i in range(9)}
    stem = {"normalize": 3 * 3 * 32 * 40, "stem.0": 8 * 3 * 9 * 16 * 20}
    assert macs.pop("serving_default_output_0_output/fc") == 8 * 5  # of no module, to litert-torch
    assert macs == {**stem, **heads}


@pytest.mark.parametrize(
    "layer", [nn.ConstantPad2d((0, 1, 0, 1), 0.5), nn.Upsample(size=(40, 40), mode="bilinear")]
)
def test_what_onnx_cannot_is_no_error(layer: nn.Module) -> None:
    assert findings("k210-nncase", Between(layer)) and not findings(TARGET, Between(layer))


ERRORS = {rule.name for rule in rules if rule.severity == "error"}


@needs_toolchain
@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.rule in ERRORS], ids=lambda example: example.rule
)
def test_errors_fail_or_are_wrong(example: Example, tmp_path: Path) -> None:
    spec = replace(SPEC, input_size=example.input_shape("bad")[2:])
    try:
        artifact, graph = convert(example.network("bad"), tmp_path, spec)
    except ToolchainError:
        return
    assert sqnr_db(artifact, graph, TARGET) < 12


@needs_toolchain
def test_what_nncase_does_not_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"Unsupported tflite opcode.*try k210-nncase"):
        convert(Between(nn.GELU("tanh")), tmp_path)


def test_counts_macs() -> None:
    rows = [
        ("CONV_2D", [[1, 32, 40, 3], [8, 3, 3, 3], [8]], [1, 16, 20, 8]),
        ("DEPTHWISE_CONV_2D", [[1, 16, 20, 8], [1, 3, 3, 8], [8]], [1, 16, 20, 8]),
        ("TRANSPOSE_CONV", [[4], [4, 2, 2, 8], [1, 16, 20, 8]], [1, 32, 40, 4]),
        ("FULLY_CONNECTED", [[2, 16, 10], [7, 160], [7]], [2, 7]),
        ("BATCH_MATMUL", [[2, 5, 6], [2, 6, 7]], [2, 5, 7]),
        ("ADD", [[1, 2], [1, 2]], [1, 2]),
    ]
    operators = [
        {"name": op, "op": op, "inputs": inputs, "output": output} for op, inputs, output in rows
    ]
    assert [*count_tflite_macs(operators).items()] == [
        ("CONV_2D", 8 * 3 * 9 * 16 * 20),
        ("DEPTHWISE_CONV_2D", 8 * 9 * 16 * 20),
        ("TRANSPOSE_CONV", 8 * 4 * 4 * 16 * 20),
        ("FULLY_CONNECTED", 2 * 160 * 7),
        ("BATCH_MATMUL", 2 * 5 * 6 * 7),
    ]


def test_names_are_of_modules() -> None:
    names, root = TfliteNames(Heads()), "support.settled.Heads"
    stem = f"{root}/torch.nn.modules.container.Sequential_stem"
    conv, head = f"{stem}/torch.nn.modules.conv.Conv2d_0", "torch.nn.modules.conv.Conv2d_7"
    for listed, name in (
        (f"{stem}/torch.nn.modules.activation.SiLU_2;;{conv};2/conv", "stem.0;2/conv"),
        (f"{root}/{head};1", "heads.7;1"),
        (f"{root};;{root};/binary", "Heads/binary"),
        (f"{conv};", "stem.0"),
        ("serving_default_output_0_output/fc", "serving_default_output_0_output/fc"),
    ):
        assert names.find(listed) == name

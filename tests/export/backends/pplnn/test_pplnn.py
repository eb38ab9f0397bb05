"""pplnn: the file and the script, what PPLNN cannot read, and a stand-in for its program."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark import cli
from edgeark.export.backends.pplnn.onnx_passes import (
    LAST_VERSIONS,
    find_unread,
    interpolation_matrix,
)
from edgeark.export.backends.pplnn.rules import UNKNOWN, rules
from edgeark.export.graph.files import Graph
from edgeark.export.lint import check
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion
from edgeark.export.targets.tools import set_tools
from edgeark.export.toolchains import ToolchainError
from edgeark.zoo import create_model, model_entry, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support import pplnn_double
from support.target_base import prepared
from support.zoo_cases import create_small, one_per_family, ready
from torch import Tensor, nn
from torch.nn import functional as f

SPEC = replace(
    model_entry("mnist").spec, input_size=(12, 12), color="rgb", mean=(120.0,) * 3, std=(60.0,) * 3
)
Function = Callable[[Tensor], Tensor]


class Calls(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def network_of(function: Function) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Calls(function)).eval()


def make_images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PPLNN of this machine's shall not take part."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PPLNN_CALLS", str(tmp_path / "calls"))


@pytest.fixture(scope="module")
def digits() -> EvalContext:
    context = prepared("mnist")
    reference = [output[:12] for output in context.reference]
    return replace(context, test=context.test.head(12), reference=reference)


def test_a_row_claims_nothing_that_was_not_run(digits: EvalContext, tmp_path: Path) -> None:
    row = export_one(digits, find_target("pplnn"), "float32", tmp_path).to_dict()
    assert (row["status"], row["evidence"]) == ("ok", "generated")
    assert [row[key] for key in ("max_abs_error", "metric", "run_ms")] == [None, None, None]
    assert row["message"].startswith("generated: no runtime or simulator of pplnn has run it; on a")
    (source,) = row["source_results"]
    assert source["file"] == "model.onnx" and 0 < source["max_abs_error"] < 1e-4
    folder = Path(row["artifact"]).parent
    assert onnx.load(folder / "model.onnx").opset_import[0].version == 11
    text = (folder / "run_pplnn.py").read_text()
    ast.parse(text, feature_version=(3, 6))
    assert text.isascii() and max(map(len, text.splitlines())) <= 110
    readme = (folder / "README.md").read_text()
    assert "--reshaped-inputs input-1_1_28_28-fp32.dat" in readme
    assert "`pplnn_output-output.dat` (float32, 10x1x1)" in readme
    assert str(tmp_path) not in text + readme


@pytest.mark.parametrize("where", ["named", "on PATH"])
def test_a_program_of_the_users_runs_it(
    where: str, digits: EvalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, program = find_target("pplnn"), pplnn_double.install(tmp_path / "a bin")
    if where == "named":
        set_tools([target], {"pplnn": program})
    else:
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    row = export_one(digits, target, "float32", tmp_path)
    assert (row.status, row.evidence, row.message) == ("ok", "executed", "")
    assert row.max_abs_error is not None and 0 < row.max_abs_error < 1e-4
    assert row.metric is not None and row.metric.n == 12
    assert row.metric.value == row.metric.float > 0.5
    assert row.run_ms == 0.75
    *others, last = map(json.loads, (tmp_path / "calls").read_text().splitlines())
    assert len(others) == 11
    model = others[0][2]
    assert others[0] == [
        *("--use-x86", "--onnx-model", model, "--reshaped-inputs", "input-1_1_28_28-fp32.dat"),
        *("--save-outputs", "--save-data-dir", ".", "--num-threads", "1"),
    ]
    assert last[: len(others[0])] == others[0]
    assert last[len(others[0]) :] == [
        *("--enable-profiling", "--warmup-iterations", "3"),
        *("--min-profiling-iterations", "10", "--min-profiling-seconds", "0"),
    ]
    assert row.artifact is not None
    script = [sys.executable, str(row.artifact.parent / "run_pplnn.py"), "--pplnn", "./pplnn"]
    again = subprocess.run(script, cwd=program.parent, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr


def test_a_program_that_fails_is_an_error_with_its_words(
    digits: EvalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPLNN_FAIL", "1")
    target = find_target("pplnn")
    set_tools([target], {"pplnn": pplnn_double.install(tmp_path / "bin")})
    row = export_one(digits, target, "float32", tmp_path)
    assert (row.status, row.evidence) == ("error", None)
    assert "ended with status 255" in row.message
    assert row.log is not None and "unsupported case" in row.log.read_text()


def test_the_command_line_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = pplnn_double.install(tmp_path / "bin")
    command = ["edgeark", "export", "mnist", "--to", "pplnn", "--limit", "4", "--int8", "--json"]
    command += ["--tool", f"pplnn={program}", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["evidence"], row["precision"]) == ("executed", "float32")


def convert(model: nn.Module, folder: Path, spec: object = SPEC) -> tuple[Graph, Artifact]:
    graph = Graph(model, spec, folder)  # type: ignore[arg-type]
    out = folder / "out"
    out.mkdir()
    job = Conversion(graph, "float32", out, folder / "log.txt")
    return graph, find_target("pplnn").convert(job)


def assert_equal(graph: Graph, answers: list[np.ndarray], images: np.ndarray) -> None:
    for wanted, answer in zip(graph.reference(images), answers, strict=True):
        np.testing.assert_allclose(answer, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


def assert_file_is_equal(graph: Graph, artifact: Artifact) -> None:
    """On ONNX Runtime."""
    images = make_images(2, graph.spec.input_shape[1:])
    (source,) = find_target("pplnn").run_sources(artifact, images).values()
    assert_equal(graph, source.outputs, images)


def test_the_script_keeps_nine_outputs_in_order(tmp_path: Path) -> None:
    target, model = find_target("pplnn"), create_small("yolox_nano", input_size=(64, 96))
    target.tool_path = pplnn_double.install(tmp_path / "bin")
    graph, artifact = convert(ready(model, 3, 64, 96), tmp_path, spec_of(model))
    images = make_images(2, (3, 64, 96))
    result = target.run(artifact, images, tmp_path / "log.txt")
    assert result is not None
    assert_equal(graph, result.outputs, images)


@pytest.mark.parametrize("name", one_per_family())
def test_the_zoo_is_within_its_limits(name: str, tmp_path: Path) -> None:
    model = create_small(name)
    spec = spec_of(model)
    graph, artifact = convert(ready(model, *spec.input_shape[1:]), tmp_path, spec)
    assert check(graph.network, rules.of(), "pplnn") == []
    assert_file_is_equal(graph, artifact)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "bilinear_ac", "transpose"])
def test_every_way_of_upsampling(upsample: str, tmp_path: Path) -> None:
    model = create_model("unet_8", input_size=(32, 64), upsample=upsample)
    spec = spec_of(model)
    graph, artifact = convert(ready(model, *spec.input_shape[1:]), tmp_path, spec)
    nodes = onnx.load(artifact.path).graph.node
    how = {
        attribute.s.decode()
        for node in nodes
        for attribute in node.attribute
        if attribute.name == "coordinate_transformation_mode"
    }
    wanted = {"nearest": {"asymmetric"}, "bilinear": {"pytorch_half_pixel"}}
    assert how == wanted.get(upsample, set())
    assert ("MatMul" in {node.op_type for node in nodes}) == (upsample == "bilinear_ac")
    assert_file_is_equal(graph, artifact)


@given(st.integers(1, 9), st.integers(2, 20), st.integers(1, 9), st.integers(2, 20))
@settings(max_examples=40)
def test_two_products_are_bilinear_resizing(height: int, high: int, width: int, wide: int) -> None:
    x = torch.rand(1, 2, height, width)
    wanted = f.interpolate(x, size=(high, wide), mode="bilinear", align_corners=True)
    rows, columns = interpolation_matrix(height, high), interpolation_matrix(width, wide)
    np.testing.assert_allclose(rows @ x.numpy() @ columns.T, wanted.numpy(), atol=1e-5)


RESIZES: dict[str, Function] = {
    "half-pixel by a factor": lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "half-pixel to a size": lambda x: f.interpolate(x, size=(21, 7), mode="bilinear"),
    "corners to a size": lambda x: f.interpolate(
        x, size=(21, 7), mode="bilinear", align_corners=True
    ),
    "twice": lambda x: f.interpolate(
        f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
        scale_factor=2.0,
        mode="bilinear",
    ),
}


@pytest.mark.parametrize("case", RESIZES)
def test_rewritten_resizing_answers_alike(case: str, tmp_path: Path) -> None:
    graph, artifact = convert(network_of(RESIZES[case]), tmp_path)
    before = find_unread(onnx.load(graph.onnx(11)))
    assert before and all("PPLNN has no Resize that is linear and" in line for line in before)
    assert find_unread(onnx.load(artifact.path)) == []
    assert_file_is_equal(graph, artifact)


def test_one_pixel_is_left_alone(tmp_path: Path) -> None:
    """There pixel centres differ between the two names; the file is refused."""
    model = network_of(lambda x: f.interpolate(x, size=(1, 6), mode="bilinear"))
    with pytest.raises(ToolchainError, match="no Resize that is linear and half_pixel"):
        convert(model, tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_the_files_opset_counts(tmp_path: Path) -> None:
    """What PPLNN has of ReduceSum ends at 12; from 13 on it ignores the axes."""
    graph = Graph(network_of(lambda x: x.sum((2, 3), keepdim=True)), SPEC, tmp_path)
    assert find_unread(onnx.load(graph.onnx(11))) == []
    found = find_unread(onnx.load(graph.onnx(16)))
    assert found and all("has ReduceSum up to opset 12, not 16" in line for line in found)


SCALE = torch.linspace(0.5, 2, 8)
FORMS: dict[str, Function] = {
    "abs": torch.abs,
    "even padding": lambda x: f.pad(x, (1, 1, 1, 1)),
    "uneven padding": lambda x: f.pad(x, (0, 1, 2, 1)),
    "glu": lambda x: f.glu(x, 1),
    "chunks of an odd axis": lambda x: torch.cat(x[:, :, 1:].chunk(2, 2)[::-1], 2),
    "square": lambda x: x * x,
    "twice": lambda x: x + x,
    "nothing": lambda x: x - x,
    "variance": lambda x: x.var((2, 3), keepdim=True),
    "size of another map": lambda x: f.interpolate(
        f.avg_pool2d(x, 2), size=x.shape[-2:], mode="bilinear"
    ),
    "constant of three axes": lambda x: x * SCALE.view(8, 1, 1) + SCALE.view(8, 1, 1),
    "constant of one axis": lambda x: x.flatten(2).transpose(1, 2) * SCALE - SCALE[:1],
    "constant in where": lambda x: torch.where(x > 0, x, SCALE[:, None, None]),
    "bicubic": lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic"),
}


@pytest.mark.parametrize("case", FORMS)
def test_equal_forms_of_what_pplnn_computes_wrongly(case: str, tmp_path: Path) -> None:
    """The rules are silent, the file has the form that PPLNN computes, and answers alike."""
    graph, artifact = convert(network_of(FORMS[case]), tmp_path)
    assert check(graph.network, rules.of(), "pplnn") == []
    assert_file_is_equal(graph, artifact)
    proto = onnx.shape_inference.infer_shapes(onnx.load(artifact.path), data_prop=True)
    values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in values}
    ranks |= {tensor.name: len(tensor.dims) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        assert node.op_type != "Abs"
        assert node.op_type != "Pad" or "" not in node.input
        assert node.op_type != "Split" or any(a.name == "split" for a in node.attribute)
        if node.op_type in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Where"):
            assert len({ranks[name] for name in node.input}) == 1, node
            assert node.op_type == "Max" or node.input[0] != node.input[1]


def test_a_second_reader_of_a_constant_keeps_its_shape(tmp_path: Path) -> None:
    model = network_of(lambda x: (x * SCALE.view(8, 1, 1)).flatten(2).transpose(1, 2) * SCALE)
    graph, artifact = convert(model, tmp_path)
    assert_file_is_equal(graph, artifact)


ANYTHING: dict[str, Function] = {
    "log_softmax": lambda x: x.log_softmax(1),
    "group_norm": nn.GroupNorm(2, 8),
    "instance_norm": nn.InstanceNorm2d(8),
    "linalg_vector_norm": lambda x: x.norm(dim=1),
    "logsumexp": lambda x: x.logsumexp(1),
    "elu": f.elu,
    "selu": f.selu,
    "mish": f.mish,
    "softplus": f.softplus,
    "hardshrink": f.hardshrink,
    "round": torch.round,
    "fmod": lambda x: torch.fmod(x, 0.5),
    "reciprocal": torch.reciprocal,
    "argmin": lambda x: x.argmin(1),
    "atan": torch.atan,
    "isnan": lambda x: x * torch.isnan(x),
    "__or__": lambda x: x * ((x > 0) | (x < -1)),
    "__xor__": lambda x: x * ((x > 0) ^ (x < 1)),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_operator_is_written_as_the_rule_says(kind: str, tmp_path: Path) -> None:
    """And PPLNN's list is without it."""
    model = network_of(ANYTHING[kind])
    graph = Graph(model, SPEC, tmp_path)
    assert kind in {op.kind for op in graph.network.ops}
    assert UNKNOWN[kind] in {node.op_type for node in onnx.load(graph.onnx(11)).graph.node}
    assert UNKNOWN[kind] not in LAST_VERSIONS
    with pytest.raises(ToolchainError, match=f"PPLNN has no {UNKNOWN[kind]}"):
        convert(model, tmp_path)

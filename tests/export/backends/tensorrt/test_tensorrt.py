"""tensorrt: the files of each precision, the script, and a stand-in for TensorRT and CUDA."""

from __future__ import annotations

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.pipeline import export_model, export_one
from edgeark.export.prepare import EvalContext
from edgeark.export.sources import InputOptions
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Precision
from edgeark.export.targets.tools import set_tools
from edgeark.export.toolchains import ToolchainError
from edgeark.export.toolchains.confine import can_confine
from edgeark.zoo import spec_of
from onnx import TensorProto, numpy_helper
from support import tensorrt_double
from support.target_base import prepared
from support.toolkit_pythons import make_python
from support.zoo_cases import create_small, one_per_family, ready
from torch import Tensor, nn

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")


@pytest.fixture(scope="module")
def digits() -> EvalContext:
    return prepared("mnist")


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python of its own that has the stand-in, and what that needs, installed."""
    monkeypatch.setenv("TENSORRT_CALLS", str(tmp_path / "calls"))
    return make_python(tmp_path / "venv", tensorrt_double.install(tmp_path / "double"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_row_claims_nothing_that_was_not_run(
    precision: Precision, digits: EvalContext, tmp_path: Path
) -> None:
    """The file is held to the limits of its own precision, on ONNX Runtime."""
    row = export_one(digits, find_target("tensorrt"), precision, tmp_path).to_dict()
    assert (row["status"], row["evidence"]) == ("ok", "generated"), row["message"]
    assert [row[key] for key in ("max_abs_error", "metric", "run_ms")] == [None, None, None]
    (source,) = row["source_results"]
    assert source["file"] == "model.onnx" and source["metric"]["value"] > 0.8
    least = {"float32": 100, "float16": 50, "int8": 25}[precision]
    assert least < source["sqnr_db"] < (200 if precision == "float32" else 80)
    folder = Path(row["artifact"]).parent
    text, readme = ((folder / name).read_text() for name in ("run_tensorrt.py", "README.md"))
    ast.parse(text, feature_version=(3, 8))
    assert text.isascii() and str(tmp_path) not in text + readme
    assert "trtexec --onnx=model.onnx --saveEngine=model.engine --stronglyTyped" in readme


class Rounding(nn.Module):
    """The difference of weights around 64, which have steps of 1/16 in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        for conv in (self.first, self.second):
            nn.init.uniform_(conv.weight, 63.9, 64.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) - self.second(x)


def test_float16_is_held_against_half_of_the_same_network(tmp_path: Path) -> None:
    inputs = InputOptions(shapes="3x16x16")
    rows = export_model(Rounding(), ["tensorrt"], inputs=inputs, out=tmp_path)
    (row,) = (row for row in rows if row.precision == "float16")
    (source,) = row.source_results
    assert source.sqnr_db < 40 and row.status == "ok", row.message


def types_of(proto: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in proto.graph.initializer if len(tensor.dims) == 4}


def test_the_file_says_its_precision(digits: EvalContext, tmp_path: Path) -> None:
    files = {}
    for precision in PRECISIONS:
        row = export_one(digits, find_target("tensorrt"), precision, tmp_path)
        assert row.artifact is not None
        files[precision] = onnx.load(row.artifact)
        assert files[precision].opset_import[0].version == 17
        ends = (*files[precision].graph.input, *files[precision].graph.output)
        assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}
    assert types_of(files["float32"]) == {TensorProto.FLOAT}
    assert types_of(files["float16"]) == {TensorProto.FLOAT16}
    assert types_of(files["int8"]) == {TensorProto.INT8}


def test_int8_is_as_tensorrt_wants_it(digits: EvalContext, tmp_path: Path) -> None:
    """Zero points of 0 alone, int8 alone, biases in float."""
    row = export_one(digits, find_target("tensorrt"), "int8", tmp_path)
    assert row.artifact is not None
    graph = onnx.load(row.artifact).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type.endswith("eLinear")]
    kinds = {node.op_type for node in pairs}
    assert kinds == {"QuantizeLinear", "DequantizeLinear"}
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    biases = [node.input[2] for node in convolutions if len(node.input) == 3]
    assert biases and {values[name].dtype for name in biases} == {np.dtype(np.float32)}
    assert np.int32 not in {value.dtype for value in values.values()}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_python_with_tensorrt_runs_it(
    precision: Precision, digits: EvalContext, python: Path, tmp_path: Path
) -> None:
    few = replace(digits, test=digits.test.head(20), reference=[digits.reference[0][:20]])
    target = find_target("tensorrt")
    set_tools([target], {"tensorrt": python})
    row = export_one(few, target, precision, tmp_path)
    assert (row.status, row.evidence) == ("ok", "executed"), row.message
    assert row.metric is not None and row.metric.n == 20 and row.run_ms
    assert row.sqnr_db is not None and row.sqnr_db > 25
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    size = Path(str(row.artifact)).stat().st_size
    assert calls == [["create_network", 2], ["clear_flag", 7], ["deserialize", size]]


@pytest.mark.skipif(not can_confine(), reason="no Landlock here")
def test_an_export_of_others_writes_nowhere(
    digits: EvalContext, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in keeps its calls in a file, outside of the scratch folder."""
    target, log, images = find_target("tensorrt"), tmp_path / "log.txt", digits.test.images[:2]
    set_tools([target], {"tensorrt": python})
    (out := tmp_path / "out").mkdir()
    artifact = target.convert(Conversion(digits.graph, "float32", out, log))
    with pytest.raises(ToolchainError, match="tensorrt: run failed"):
        target.run_untrusted(artifact, images, log)
    assert "Permission denied" in log.read_text() and not (tmp_path / "calls").exists()
    monkeypatch.setenv("TENSORRT_CALLS", "/dev/null")
    result = target.run_untrusted(artifact, images, log)
    assert result is not None
    np.testing.assert_allclose(result.outputs[0], digits.reference[0][:2], atol=1e-4)


@pytest.mark.parametrize(("stage", "words"), [("parse", "told to fail"), ("build", "no engine")])
def test_a_failure_is_an_error_with_its_words(
    stage: str,
    words: str,
    digits: EvalContext,
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TENSORRT_FAIL", stage)
    target = find_target("tensorrt")
    set_tools([target], {"tensorrt": python})
    row = export_one(digits, target, "float32", tmp_path)
    assert (row.status, row.evidence) == ("error", None)
    assert "tensorrt: run failed" in row.message and words in row.message


def test_a_python_without_cuda_says_so(digits: EvalContext, tmp_path: Path) -> None:
    double = tensorrt_double.install(tmp_path / "double")
    shutil.rmtree(double / "cuda" / "bindings")
    target = find_target("tensorrt")
    set_tools([target], {"tensorrt": make_python(tmp_path / "venv", double)})
    row = export_one(digits, target, "float32", tmp_path)
    assert row.status == "error" and "install tensorrt and cuda-python" in row.message


@pytest.mark.parametrize("name", one_per_family())
def test_the_zoo_in_float(name: str, tmp_path: Path) -> None:
    """Weights are random: float16 is held against ten times its rounding of a layer's sums."""
    model = create_small(name)
    spec = spec_of(model)
    graph = Graph(ready(model, *spec.input_shape[1:]), spec, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, *spec.input_shape[1:]), dtype=np.uint8)
    target, wanted = find_target("tensorrt"), graph.reference(images)
    for precision, tolerance in (("float32", 1e-4), ("float16", 5e-2)):
        out = tmp_path / precision
        out.mkdir()
        artifact = target.convert(Conversion(graph, precision, out, tmp_path / "log.txt"))
        (source,) = target.run_sources(artifact, images).values()
        for answer, reference in zip(source.outputs, wanted, strict=True):
            atol = tolerance * max(1, np.abs(reference).max())
            np.testing.assert_allclose(answer, reference, atol=atol)

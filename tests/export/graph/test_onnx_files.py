"""Other people's ONNX files: read without trust, made static, cleaned, moved to another opset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeark.export.graph.onnx_files import clean_onnx, convert_opset, load_onnx, opset_of
from edgeark.export.graph.onnx_operators import OnnxError
from onnx import TensorProto, helper, numpy_helper
from support.onnx_cases import make_model, of, wrap


def save(path: Path, *shapes: Sequence[int | str] | None, external: bool = False) -> Path:
    """A file that adds its inputs and a weight."""
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    weight = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")
    proto = wrap([helper.make_node("Sum", [*names, "w"], ["y"])], inputs, ["y"], [weight])
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 3, 1, 1)))
    onnx.save_model(
        proto, path, save_as_external_data=external, location="net.bin", size_threshold=0
    )
    return path


def shapes_of(values: Sequence[onnx.ValueInfoProto]) -> list[list[int]]:
    return [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]


@pytest.mark.parametrize(
    ("shapes", "given", "wanted"),
    [
        ([("n", 3, 4, 5)], None, [[1, 3, 4, 5]]),
        ([(1, 3, "h", "w")], {"x0": (3, 8, 9)}, [[1, 3, 8, 9]]),
        ([("n", 3, "h", "w"), (1, 3, "h", "w")], {"x1": (1, 3, 8, 9)}, [[1, 3, 8, 9]] * 2),
        ([None], {"x0": (1, 3, 2, 2)}, [[1, 3, 2, 2]]),
    ],
)
def test_sizes_are_fixed(
    shapes: list, given: Mapping[str, Sequence[int]] | None, wanted: list, tmp_path: Path
) -> None:
    proto = load_onnx(save(tmp_path / "net.onnx", *shapes), given)
    assert shapes_of(proto.graph.input) == wanted
    assert shapes_of(proto.graph.output) == wanted[:1]


@pytest.mark.parametrize(
    ("shapes", "given", "message"),
    [
        ([(1, 3, "h", 5)], None, "input x0 is 1x3xhx5, .*--input-shape x0="),
        ([None], None, "input x0 is of any shape, .*--input-shape x0="),
        ([(1, 3, 4, 5)], {"x0": (3, 4, 6)}, "x0=1x3x4x6: the file says 1x3x4x5"),
        ([(1, 3, 4, 5)], {"image": (3, 4, 5)}, "no input image; the file has x0"),
        (
            [(1, 3, "h", 5), (1, 3, "h", 5)],
            {"x0": (3, 4, 5), "x1": (3, 6, 5)},
            "x1=1x3x6x5: h is 4 in another input",
        ),
    ],
)
def test_sizes_that_are_not_known_are_named(
    shapes: list, given: Mapping[str, Sequence[int]] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OnnxError, match=message) as error:
        load_onnx(save(tmp_path / "net.onnx", *shapes), given)
    assert "\n" not in str(error.value)


def test_external_data_is_read_from_the_folder(tmp_path: Path) -> None:
    proto = load_onnx(save(tmp_path / "net.onnx", (1, 3, 4, 5), external=True), None)
    (weight,) = proto.graph.initializer
    assert numpy_helper.to_array(weight).tolist() == np.ones((1, 3, 1, 1)).tolist()


def _relocate(path: Path, place: str) -> None:
    proto = onnx.load_model(path, load_external_data=False)
    entries = proto.graph.initializer[0].external_data
    next(e for e in entries if e.key == "location").value = place
    path.write_bytes(proto.SerializeToString())


def _link(path: Path) -> None:
    (path.parent / "net.bin").rename(path.parent.parent / "elsewhere.bin")
    (path.parent / "net.bin").symlink_to(path.parent.parent / "elsewhere.bin")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: (p.parent / "net.bin").unlink(), "data file net.bin is missing"),
        (lambda p: (p.parent / "net.bin").write_bytes(b"1"), "data file net.bin is cut off"),
        (lambda p: _relocate(p, "../net.bin"), "lies outside of its folder: ../net.bin"),
        (lambda p: _relocate(p, "/etc/hostname"), "lies outside of its folder"),
        (_link, "lies outside of its folder"),
        (lambda p: p.write_bytes(p.read_bytes()[:-20]), "is cut off|not a valid"),
        (lambda p: p.write_bytes(b""), "no ONNX file, or is cut off"),
        (lambda p: p.write_text("not a network"), "no ONNX file, or is cut off"),
        (lambda p: p.unlink(), "no file .*net.onnx"),
    ],
)
def test_a_file_that_is_broken_or_reaches_out_is_refused(
    harm: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = save(folder / "net.onnx", (1, 3, 4, 5), external=True)
    harm(path)
    with pytest.raises(OnnxError, match=message) as error:
        load_onnx(path, None)
    assert "\n" not in str(error.value)


def test_cleaning_computes_what_is_constant() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Identity", ["r"], ["i"]),
        helper.make_node("Relu", ["i"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))
    cleaned = clean_onnx(wrap(nodes, [x], ["y"]))
    assert not {"Shape", "Identity"} & {node.op_type for node in cleaned.graph.node}
    assert [entry.domain for entry in cleaned.opset_import] == [""]


def test_an_opset_is_converted_and_proven() -> None:
    proto = make_model(of("Softmax", (2, 3, 4), opset=11, axis=1))
    assert opset_of(convert_opset(proto, 13)) == 13
    assert convert_opset(proto, 11) is proto


def test_an_opset_that_the_converter_has_no_way_to_for_types_alone() -> None:
    """Relu and Reshape 14 to 13 and before: what PyTorch's exporter writes by default has both."""
    shape = numpy_helper.from_array(np.array([1, -1]), "shape")
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["f"], allowzero=1),
        helper.make_node("ReduceMean", ["f", "axes"], ["y"], keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 3))
    axes = numpy_helper.from_array(np.array([1]), "axes")
    proto = wrap(nodes, [x], ["y"], [shape, axes], opset=20)
    converted = convert_opset(proto, 11)
    assert opset_of(converted) == 11 and len(converted.opset_import) == 1
    assert [node.op_type for node in converted.graph.node if node.op_type != "Constant"] == [
        *("Relu", "Reshape", "ReduceMean")
    ]


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_an_operator_that_the_opset_lacks_is_written_out(approximate: str) -> None:
    proto = make_model(of("Gelu", (2, 3), opset=20, approximate=approximate))
    converted = convert_opset(proto, 13)
    assert opset_of(converted) == 13
    kinds = {node.op_type for node in converted.graph.node}
    assert "Gelu" not in kinds and not any("Cast" in kind for kind in kinds)


def test_an_opset_without_the_operator_is_refused() -> None:
    proto = make_model(of("GridSample", (1, 1, 2, 2), (1, 2, 2, 2), opset=20))
    with pytest.raises(OnnxError, match="from opset 20 to 11") as error:
        convert_opset(proto, 11)
    assert "\n" not in str(error.value)

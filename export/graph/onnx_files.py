"""ONNX files of other people: read without trust, made static, cleaned, moved to another opset.

Every change is proven: ONNX Runtime has to answer the same on the file before and after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    TensorProto,
    ValueInfoProto,
    checker,
    external_data_helper,
    inliner,
    shape_inference,
)

from ...core.messages import format_shape
from ...core.scratch import scratch_folder
from .ceil_mode import settle_ceil_mode
from .onnx_equality import prove_equal
from .onnx_operators.registry import OnnxError
from .onnx_opsets import convert_version
from .onnx_session import open_session

_SIZES = ("ConstantOfShape", "Shape")
_LARGEST = 2**31 - 1  # protobuf's limit, and more than any of the chips can hold


def load_onnx(path: Path | str, input_shapes: Mapping[str, Sequence[int]] | None) -> ModelProto:
    """Read a file and make it static.

    Args:
        path: external data has to lie in its folder.
        input_shapes: sizes by input, with or without the batch. A batch that is left open is 1.
            A single one named ``input`` is for the only input, whatever its name.

    Returns:
        Checked, weights inside, without local functions, every shape that follows noted.

    Raises:
        OnnxError: no such file, it is broken or larger than 2 GiB, its data is missing or outside
            of its folder, or a size is left open; the message names the input.
    """
    path = Path(path)
    proto = _parse(path)
    _load_external_data(proto, path)
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    if not proto.graph.input:
        raise OnnxError(f"{path} has no input")
    _pin(proto.graph, dict(input_shapes or {}))
    inferred = _infer(proto, str(path))
    try:
        checker.check_model(inferred)
    except Exception as error:
        raise OnnxError(f"{path} is not a valid ONNX file: {_first_line(error)}") from error
    return inferred


def clean_onnx(proto: ModelProto, seed: int = 0) -> ModelProto:
    """A copy with what is constant computed, proven equal; operators are ONNX's own.

    Raises:
        OnnxError: ONNX Runtime cannot read the file, or answers otherwise afterwards.
    """
    with scratch_folder("onnx") as folder:
        path = folder / "clean.onnx"
        try:
            open_session(proto, optimization="basic", optimized=path, quiet=True)
            cleaned = onnx.load(path)
        except Exception as error:
            raise OnnxError(f"ONNX Runtime cannot read the file: {_first_line(error)}") from error
    _drop_unused_domains(cleaned)
    cleaned = settle_ceil_mode(_infer(cleaned, "the cleaned file"))
    prove_equal(proto, cleaned, "the cleaned file", seed)
    return cleaned


def fold_sizes(proto: ModelProto) -> ModelProto:
    """The same, or where the file computes sizes from shapes, a copy with constants in their place.

    PyTorch's exporter leaves such computations behind ``x.flatten(2)`` and resizing to another
    map's size at old opsets; compilers that want static sizes do not evaluate them.

    Raises:
        OnnxError: as :func:`clean_onnx`.
    """
    is_computed = any(node.op_type in _SIZES for node in proto.graph.node)
    return clean_onnx(proto) if is_computed else proto


def convert_opset(proto: ModelProto, opset: int, seed: int = 0) -> ModelProto:
    """A copy at another opset of ONNX's own operators, proven equal.

    Raises:
        OnnxError: there is no way there, or ONNX Runtime answers otherwise afterwards.
    """
    present = opset_of(proto)
    if present == opset:
        return proto
    try:
        converted = convert_version(proto, present, opset)
    except Exception as error:
        raise OnnxError(
            f"the file cannot be converted from opset {present} to {opset}: {_first_line(error)}"
        ) from error
    converted = _infer(converted, f"the file at opset {opset}")
    prove_equal(proto, converted, f"the file at opset {opset}", seed)
    return converted


def opset_of(proto: ModelProto) -> int:
    """Of ONNX's own operators."""
    versions = [e.version for e in proto.opset_import if e.domain in ("", "ai.onnx")]
    if not versions:
        raise OnnxError("the file does not say its opset")
    return versions[0]


def _parse(path: Path) -> ModelProto:
    if not path.is_file():
        raise OnnxError(f"no file {path}")
    size = path.stat().st_size
    if size > _LARGEST:
        raise OnnxError(f"{path} is larger than 2 GiB, more than an ONNX file can be")
    try:
        proto = onnx.load_model(path, format="protobuf", load_external_data=False)
    except Exception as error:
        raise OnnxError(f"{path} is no ONNX file, or is cut off: {_first_line(error)}") from error
    if not proto.graph.node or not proto.opset_import:
        raise OnnxError(f"{path} is no ONNX file, or is cut off: it holds no network")
    return proto


def _load_external_data(proto: ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    outside = [t for t in _tensors(proto) if t.data_location == TensorProto.EXTERNAL]
    total = path.stat().st_size
    for tensor in outside:
        total += _check_external(tensor, folder, path)
    if total > _LARGEST:
        raise OnnxError(f"{path} with its weights is larger than 2 GiB; no target can take it")
    for tensor in outside:
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_external(tensor: TensorProto, folder: Path, path: Path) -> int:
    """The bytes that it takes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = Path(os.path.normpath(folder / location)) if location else folder
    if not location or Path(location).is_absolute() or not place.is_relative_to(folder):
        raise OnnxError(f"{path}: the data of {tensor.name} lies outside of its folder: {location}")
    if not place.is_file():
        raise OnnxError(f"{path}: its data file {location} is missing; put it beside {path.name}")
    if not place.resolve().is_relative_to(folder):
        raise OnnxError(f"{path}: the data of {tensor.name} lies outside of its folder: {location}")
    available = place.stat().st_size
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(available - offset)))
    except ValueError as error:
        raise OnnxError(f"{path}: the data of {tensor.name} is not described by numbers") from error
    if offset < 0 or length < 0 or offset + length > available:
        raise OnnxError(f"{path}: its data file {location} is cut off: {tensor.name} is not in it")
    return length


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _attribute_tensors(node.attribute)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Sequence[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _pin(graph: GraphProto, given: Mapping[str, Sequence[int]]) -> None:
    """Give every input its sizes; a name for a size means the same in all of them."""
    names = [value.name for value in graph.input]
    if list(given) == ["input"] and len(names) == 1:
        given = {names[0]: given["input"]}
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise OnnxError(f"no input {unknown[0]}; the file has {', '.join(names)}")
    symbols: dict[str, int] = {}
    for value in graph.input:
        if value.name in given:
            _pin_input(value, [int(n) for n in given[value.name]], symbols)
    for value in graph.input:
        _pin_by_symbols(value, symbols)
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _pin_input(value: ValueInfoProto, shape: list[int], symbols: dict[str, int]) -> None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        for n in shape:
            kind.shape.dim.add().dim_value = n
        return
    dims = kind.shape.dim
    if len(shape) == len(dims) - 1:
        shape = [dims[0].dim_value or 1, *shape]
    fits = len(shape) == len(dims) and all(
        n > 0 and d.dim_value in (0, n) for n, d in zip(shape, dims, strict=False)
    )
    if not fits:
        raise OnnxError(
            f"--input-shape {value.name}={format_shape(shape)}: the file says {_describe(value)}"
        )
    for n, dim in zip(shape, dims, strict=True):
        if dim.dim_param and symbols.setdefault(dim.dim_param, n) != n:
            raise OnnxError(
                f"--input-shape {value.name}={format_shape(shape)}: {dim.dim_param} is "
                f"{symbols[dim.dim_param]} in another input"
            )
        dim.dim_value = n


def _pin_by_symbols(value: ValueInfoProto, symbols: Mapping[str, int]) -> None:
    kind = value.type.tensor_type
    described = _describe(value)
    for i, dim in enumerate(kind.shape.dim):
        if dim.dim_value <= 0:
            size = symbols.get(dim.dim_param, 0) or (i == 0)
            dim.dim_value = int(size)
    if not kind.HasField("shape") or any(dim.dim_value <= 0 for dim in kind.shape.dim):
        raise OnnxError(
            f"input {value.name} is {described}, with sizes that are not fixed: "
            f"fix them, as --input-shape {value.name}=3x224x224"
        )


def _describe(value: ValueInfoProto) -> str:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return "of any shape"
    return "x".join(str(d.dim_value or d.dim_param or "?") for d in kind.shape.dim)


def _infer(proto: ModelProto, what: str) -> ModelProto:
    try:
        return shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except Exception as error:
        raise OnnxError(f"{what}: its shapes do not fit: {_first_line(error)}") from error


def _drop_unused_domains(proto: ModelProto) -> None:
    used = {node.domain for node in proto.graph.node} | {""}
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

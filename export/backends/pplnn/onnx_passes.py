"""An ONNX file as PPLNN's x86 engine reads it, and what it does not read of it.

Facts of ppl.nn at bb84dc9 (2024-11-07): the operator table of its documents, the operators that its
source has besides, and the cases that its Resize kernel has; and what builds of 76ed936 were seen
to do, where these say otherwise. A node's version is the file's opset.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ...graph.onnx_passes import known_shapes

LAST_OPSET = 16
# Operators whose last version is less than that, and the rest.
_ENDING: Mapping[str, int] = {
    **dict.fromkeys(("ArgMax", "GatherND", "OneHot"), 11),
    **dict.fromkeys(("If", "Loop", "NonZero", "ReduceSum"), 12),
    **dict.fromkeys(("BatchNormalization", "Identity", "LSTM"), 13),
    "Shape": 14,
    **dict.fromkeys(("RoiAlign", "ScatterElements", "ScatterND"), 15),
}
_LASTING = """
    Add And AveragePool Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos
    CumSum DepthToSpace Div Dropout Equal Erf Exp Expand Flatten Floor Gather Gemm
    GlobalAveragePool Greater LeakyRelu Less Log MatMul Max MaxPool MaxUnpool Min Mul
    NonMaxSuppression Not PRelu Pad Pow Range ReduceMax ReduceMean ReduceMin Relu Reshape Resize
    SequenceAt Sigmoid Sin Slice Softmax Split SplitToSequence Sqrt Squeeze Sub Sum Tanh Tile
    TopK Transpose Unsqueeze Where
"""
# In the source and not in the documents; the first was seen to run.
_UNDOCUMENTED = "HardSigmoid HardSwish Neg Sign GRU Einsum"
LAST_VERSIONS: Mapping[str, int] = {
    **dict.fromkeys(f"{_LASTING} {_UNDOCUMENTED}".split(), LAST_OPSET),
    **_ENDING,
}
_RESIZES = {
    ("linear", "pytorch_half_pixel"),
    ("cubic", "pytorch_half_pixel"),
    ("nearest", "asymmetric"),
}


def rewrite_resizes(proto: ModelProto) -> ModelProto:
    """A copy in which bilinear and bicubic resizing have a kernel of PPLNN's; it answers alike.

    Pixel centres at half-integers become ``pytorch_half_pixel``, which differs for an output of one
    pixel alone. Where corners meet (``align_corners``), two products with constant matrices do it:
    resizing is linear along each axis.

    Args:
        proto: a static network, with the shapes of its tensors.
    """
    rewritten = ModelProto()
    rewritten.CopyFrom(proto)
    graph = rewritten.graph
    shapes = known_shapes(proto)
    for index, node in reversed(list(enumerate(graph.node))):
        attributes = _attributes(node)
        if node.op_type != "Resize" or attributes["mode"] not in ("linear", "cubic"):
            continue
        before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
        if len(before) != 4 or len(after) != 4 or 1 in after[2:] or 0 in (*before, *after):
            continue
        coordinates = attributes["coordinate_transformation_mode"]
        if coordinates == "align_corners" and attributes["mode"] == "linear":
            nodes = _as_products(graph, node, before[2:], after[2:])
            del graph.node[index]
            for new in reversed(nodes):
                graph.node.insert(index, new)
        elif coordinates == "half_pixel":
            _set(node, "coordinate_transformation_mode", "pytorch_half_pixel")
    _drop_unread(rewritten)
    onnx.checker.check_model(rewritten)
    return rewritten


def find_unread(proto: ModelProto) -> list[str]:
    """What PPLNN does not read, a line each: the node, and why."""
    opset = proto.opset_import[0].version
    found = []
    for node in proto.graph.node:
        last = LAST_VERSIONS.get(node.op_type)
        if last is None:
            found.append(f"{node.name}: PPLNN has no {node.op_type}")
        elif opset > last:
            found.append(f"{node.name}: PPLNN has {node.op_type} up to opset {last}, not {opset}")
        elif node.op_type == "Resize":
            attributes = _attributes(node)
            how = (attributes["mode"], attributes["coordinate_transformation_mode"])
            if how not in _RESIZES:
                found.append(f"{node.name}: PPLNN has no Resize that is {how[0]} and {how[1]}")
    return found


def interpolation_matrix(before: int, after: int) -> np.ndarray:
    """What linear interpolation with meeting corners does along an axis: ``[after, before]``."""
    where = np.linspace(0, before - 1, after) if after > 1 else np.zeros(1)
    low = np.minimum(np.floor(where).astype(int), max(before - 2, 0))
    matrix = np.zeros((after, before))
    rows = np.arange(after)
    matrix[rows, low] = 1 - (where - low)
    if before > 1:
        matrix[rows, low + 1] = where - low
    return matrix.astype(np.float32)


def _as_products(
    graph: onnx.GraphProto, node: NodeProto, before: list[int], after: list[int]
) -> list[NodeProto]:
    """``rows @ (x @ columns)``."""
    matrices = {
        f"{node.name}.rows": interpolation_matrix(before[0], after[0]),
        f"{node.name}.columns": interpolation_matrix(before[1], after[1]).T.copy(),
    }
    for name, matrix in matrices.items():
        graph.initializer.append(numpy_helper.from_array(matrix, name))
    rows, columns = matrices
    wide = f"{node.name}.wide"
    return [
        helper.make_node("MatMul", [node.input[0], columns], [wide], name=wide),
        helper.make_node("MatMul", [rows, wide], list(node.output), name=f"{node.name}.high"),
    ]


def _attributes(node: NodeProto) -> dict[str, str]:
    """Of a Resize, with ONNX's defaults; of others, nothing of interest."""
    defaults = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}
    given = {a.name: a.s.decode() for a in node.attribute if a.type == onnx.AttributeProto.STRING}
    return {**defaults, **given}


def _set(node: NodeProto, name: str, value: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _drop_unread(proto: ModelProto) -> None:
    """Nodes and constants that served a node which is gone."""
    graph = proto.graph
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        idle = [node for node in graph.node if not read & set(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    for value in [value for value in graph.value_info if value.name not in used]:
        graph.value_info.remove(value)

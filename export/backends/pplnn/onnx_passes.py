"""An ONNX file as PPLNN's x86 engine reads it, and what it does not read of it.

Facts of ppl.nn at bb84dc9 (2024-11-07): the operator table of its documents, the operators that its
source has besides, and the cases that its Resize kernel has; and what builds of 76ed936 were seen
to do, where these say otherwise. A node's version is the file's opset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from ...graph.onnx_passes import add_constant, onnx_pass, replace_node, static_shape

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
_COORDINATES = "coordinate_transformation_mode"
_RESIZES = {
    ("linear", "pytorch_half_pixel"),
    ("cubic", "pytorch_half_pixel"),
    ("nearest", "asymmetric"),
}


@onnx_pass
def rewrite_resizes(model: ir.Model) -> None:
    """A copy in which bilinear and bicubic resizing have a kernel of PPLNN's; it answers alike.

    Pixel centres at half-integers become ``pytorch_half_pixel``, which differs for an output of one
    pixel alone. Where corners meet (``align_corners``), two products with constant matrices do it:
    resizing is linear along each axis.

    Args:
        model: a static network, with the shapes of its tensors.
    """
    for node in list(model.graph):
        if node.op_type != "Resize":
            continue
        mode, coordinates = _how(node)
        before, after = static_shape(node.inputs[0]) or (), static_shape(node.outputs[0]) or ()
        if len(before) != 4 or len(after) != 4 or 1 in after[2:] or 0 in (*before, *after):
            continue
        if (mode, coordinates) == ("linear", "align_corners"):
            _replace_by_products(model.graph, node, before[2:], after[2:])
        elif mode in ("linear", "cubic") and coordinates == "half_pixel":
            node.attributes.add(ir.AttrString(_COORDINATES, "pytorch_half_pixel"))


def find_unread(proto: ModelProto) -> list[str]:
    """What PPLNN does not read, a line each: the node, and why."""
    opset = proto.opset_import[0].version
    found = []
    for node in ir.from_proto(proto).graph:
        last = LAST_VERSIONS.get(node.op_type)
        if last is None:
            found.append(f"{node.name}: PPLNN has no {node.op_type}")
        elif opset > last:
            found.append(f"{node.name}: PPLNN has {node.op_type} up to opset {last}, not {opset}")
        elif node.op_type == "Resize" and (how := _how(node)) not in _RESIZES:
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


def _replace_by_products(
    graph: ir.Graph, node: ir.Node, before: Sequence[int], after: Sequence[int]
) -> None:
    """``rows @ (x @ columns)``."""
    rows = interpolation_matrix(before[0], after[0])
    columns = interpolation_matrix(before[1], after[1]).T.copy()
    tape = ir.tape.Tape()
    right = add_constant(graph, f"{node.name}.columns", columns)
    wide = tape.op("MatMul", [node.inputs[0], right], name=f"{node.name}.wide")
    left = add_constant(graph, f"{node.name}.rows", rows)
    high = tape.op("MatMul", [left, wide], name=f"{node.name}.high")
    replace_node(node, tape.nodes, [high])


def _how(node: ir.Node) -> tuple[str, str]:
    """Mode and coordinates of a Resize, with ONNX's defaults."""
    given = node.attributes
    return given.get_string("mode", "nearest"), given.get_string(_COORDINATES, "half_pixel")
